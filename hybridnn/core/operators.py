"""Python's operators and NumPy's functions on Variables, each bound to its operation."""
import numpy as np

from hybridnn.backend import is_array
from hybridnn.config import state
from hybridnn.core import arithmetic as ops
from hybridnn.core.application import apply, apply_eager
from hybridnn.core.op import OPS, Op
from hybridnn.core.product import matmul
from hybridnn.core.programs import NO_ATTRS
from hybridnn.core.variable import Variable

__all__ = ["OPERANDS"]

OPERANDS = (Variable, float, np.ndarray, int, np.generic, complex)
_UFUNC_OPS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow", "matmul": "matmul",
              "floor_divide": "floor_divide", "remainder": "remainder", "greater": "greater", "greater_equal": "greater_equal", "less": "less",
              "less_equal": "less_equal", "equal": "equal", "not_equal": "not_equal"}


def _binary(op: Op, refuse=None):
    """The method of an operator and its reflection. (No function between them and ``apply_eager``: every call in them costs as much as adding two numbers.)"""
    def binary(self, other):
        if isinstance(other, OPERANDS) or is_array(other):
            tracer = state.tracer
            return apply_eager(op, (self, other), NO_ATTRS) if tracer is None else tracer.apply(op, (self, other), NO_ATTRS)
        return NotImplemented if refuse is None else refuse(other)

    def reflected(self, other):
        if isinstance(other, OPERANDS) or is_array(other):
            tracer = state.tracer
            return apply_eager(op, (other, self), NO_ATTRS) if tracer is None else tracer.apply(op, (other, self), NO_ATTRS)
        return NotImplemented if refuse is None else refuse(other)
    return binary, reflected


def _refuse_repeating(other):
    """Python would repeat a sequence ``self`` times."""
    if isinstance(other, (list, tuple, str, bytes)):
        raise TypeError(f"unsupported operand types for *: Variable and {type(other).__name__}")
    return NotImplemented


def _matmul(self, other):
    return matmul.of(self, other) if isinstance(other, OPERANDS) or is_array(other) else NotImplemented


def _rmatmul(self, other):
    return matmul.of(other, self) if isinstance(other, OPERANDS) or is_array(other) else NotImplemented


def _unary(op: Op):
    def unary(self):
        return apply(op, (self,))
    return unary


def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
    op = _UFUNC_OPS.get(ufunc.__name__)
    if method == "__call__" and out is None and not kwargs and op is not None:
        return OPS[op].of(*inputs) if op == "matmul" else apply(OPS[op], inputs)
    if out is not None:
        kwargs["out"] = tuple([x.array if isinstance(x, Variable) else x for x in out])
    return getattr(ufunc, method)(*[x.array if isinstance(x, Variable) else x for x in inputs], **kwargs)


def _bind():
    for python, op in dict(add=ops.add, sub=ops.sub, mul=ops.mul, truediv=ops.div, pow=ops.pow_, floordiv=ops.floor_divide, mod=ops.remainder).items():
        binary, reflected = _binary(op, _refuse_repeating if op is ops.mul else None)
        setattr(Variable, f"__{python}__", binary)
        setattr(Variable, f"__r{python}__", reflected)
    for python, op in dict(lt=ops.less, le=ops.less_equal, gt=ops.greater, ge=ops.greater_equal, eq=ops.equal, ne=ops.not_equal).items():
        setattr(Variable, f"__{python}__", _binary(op)[0])
    for python, op in dict(neg=ops.neg, abs=ops.absolute).items():
        setattr(Variable, f"__{python}__", _unary(op))
    Variable.__matmul__, Variable.__rmatmul__ = _matmul, _rmatmul
    Variable.__array_ufunc__ = __array_ufunc__


_bind()
