"""Python's operators on Variables, each bound to its operation."""
import numpy as np

from hybridnn.backend import is_array
from hybridnn.core import arithmetic
from hybridnn.core.variable import OPS, Op, Variable, apply

__all__ = ["OPERANDS"]

OPERANDS = (Variable, float, np.ndarray, int, np.generic, complex)


def _binary(op: Op, refuse=None):
    """The method of an operator and its reflection. (No function between them and ``apply``: every call in them costs as much as adding two numbers.)"""
    def binary(self, other):
        if isinstance(other, OPERANDS) or is_array(other):
            return apply(op, (self, other))
        return NotImplemented if refuse is None else refuse(other)

    def reflected(self, other):
        if isinstance(other, OPERANDS) or is_array(other):
            return apply(op, (other, self))
        return NotImplemented if refuse is None else refuse(other)
    return binary, reflected


def _refuse_repeating(other):
    """Python would repeat a sequence ``self`` times."""
    if isinstance(other, (list, tuple, str, bytes)):
        raise TypeError(f"unsupported operand types for *: Variable and {type(other).__name__}")
    return NotImplemented


def _matmul(self, other):
    return arithmetic.matmul.of(self, other) if isinstance(other, OPERANDS) or is_array(other) else NotImplemented


def _rmatmul(self, other):
    return arithmetic.matmul.of(other, self) if isinstance(other, OPERANDS) or is_array(other) else NotImplemented


def _unary(op: Op):
    def unary(self):
        return apply(op, (self,))
    return unary


def _bind():
    for python, name in dict(add="add", sub="sub", mul="mul", truediv="div", pow="pow", floordiv="floor_divide", mod="remainder").items():
        binary, reflected = _binary(OPS[name], _refuse_repeating if name == "mul" else None)
        setattr(Variable, f"__{python}__", binary)
        setattr(Variable, f"__r{python}__", reflected)
    for python, name in dict(lt="less", le="less_equal", gt="greater", ge="greater_equal", eq="equal", ne="not_equal").items():
        setattr(Variable, f"__{python}__", _binary(OPS[name])[0])
    for python, name in dict(neg="neg", abs="absolute").items():
        setattr(Variable, f"__{python}__", _unary(OPS[name]))
    Variable.__matmul__, Variable.__rmatmul__ = _matmul, _rmatmul


_bind()
