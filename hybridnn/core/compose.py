"""Compositions of operations, run on symbols instead of arrays."""
import operator

from hybridnn.config import state
from hybridnn.core.programs import OPS
from hybridnn.core.variable import Variable

__all__ = ["compose"]


def compose(fn, operands, attrs, emit):
    """Run ``fn(*operands, **attrs)``, a function written with ops, on symbols instead of arrays.

    ``operands`` holds per operand a pair (handle, Spec), or a plain number or array. Every application of an op calls ``emit(op,
    operands, attrs)``, whose operands are handles or plain values, each as a pair ("handle", h) or ("value", x), and which
    returns pairs (handle, Spec), one per output; arithmetic on run-time numbers (weak specs) calls it with a function of
    ``operator`` in place of the op. Returns what ``fn`` returned, in the same pairs.
    """
    recorder = _Recorder(emit)
    before, state.tracer = state.tracer, recorder
    try:
        result = fn(*[recorder.symbol(*x) if isinstance(x, tuple) else x for x in operands], **attrs)
    finally:
        state.tracer = before
    return [recorder.operand(y) for y in (result if isinstance(result, (tuple, list)) else (result,))]


class _Recorder:
    """The tracer that is installed meanwhile."""

    def __init__(self, emit):
        self.emit = emit

    def symbol(self, handle, spec):
        if spec.weak:
            return _SymbolicNumber(self, handle, spec)
        v = object.__new__(Variable)
        v._pending, v._spec, v._requires_grad = _Symbol(handle, spec), spec, False
        return v

    def operand(self, x):
        if isinstance(x, _SymbolicNumber):
            return "handle", x.handle
        if isinstance(x, Variable):
            return ("value", x._array) if x._pending is None else ("handle", x._pending.handle)
        return "value", x

    def apply(self, op, inputs, attrs):
        outputs = tuple([self.symbol(*o) for o in self.emit(op, [self.operand(x) for x in inputs], attrs)])
        return outputs if op.multi else outputs[0]

    def number(self, fn, inputs):
        (result,) = self.emit(fn, [self.operand(x) for x in inputs], {})
        return self.symbol(*result)

    def _no(self, *args):
        raise TypeError("a composition of ops looks at values")

    expose = read = assign = backward = grad = apply_inplace = unchain = _no


class _Symbol:
    """In place of a Variable's array: what it is called and what it looks like."""

    def __init__(self, handle, spec):
        self.handle, self.spec = handle, spec

    def materialize(self, variable):
        raise TypeError("a composition of ops looks at values")


class _SymbolicNumber:
    """A Python number that is known at run time only."""
    shape, ndim, size = (), 0, 1
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, recorder, handle, spec):
        self.recorder, self.handle, self.spec, self.dtype = recorder, handle, spec, spec.dtype

    def __bool__(self):
        raise TypeError("a composition of ops branches on a number")

    __float__ = __int__ = __index__ = __bool__

    def __neg__(self):
        return self.recorder.number(operator.neg, (self,))


def _arithmetic(name, fn, reflected):
    def method(self, other):
        pair = (other, self) if reflected else (self, other)
        if isinstance(other, Variable):
            return self.recorder.apply(OPS[name], pair, {})
        return self.recorder.number(fn, pair)
    return method


for _name, _python in dict(add="add", sub="sub", mul="mul", div="truediv", pow="pow").items():
    _fn = getattr(operator, _python)
    setattr(_SymbolicNumber, f"__{_python}__", _arithmetic(_name, _fn, False))
    setattr(_SymbolicNumber, f"__r{_python}__", _arithmetic(_name, _fn, True))
