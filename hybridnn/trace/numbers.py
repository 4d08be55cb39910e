"""Python numbers that a gradient rule got from a traced operand: what is computed from them is computed again on every replay."""
import operator
import weakref

from hybridnn.core.tape import TracedNumber

__all__ = ["TracedFloat", "TracedInt", "plain_numbers", "traced"]


def _binary(name, reflected=False):
    fn = getattr(operator, name)

    def method(self, other):
        if not isinstance(other, (int, float)):
            return NotImplemented
        args = (other, self) if reflected else (self, other)
        call = self.call()
        return fn(*plain_numbers(args)) if call is None else call.derive(fn, args)
    return method


class _Arithmetic(TracedNumber):
    """Operators that note what they compute in the call's current event."""
    __add__, __radd__ = _binary("add"), _binary("add", True)
    __sub__, __rsub__ = _binary("sub"), _binary("sub", True)
    __mul__, __rmul__ = _binary("mul"), _binary("mul", True)
    __truediv__, __rtruediv__ = _binary("truediv"), _binary("truediv", True)
    __pow__, __rpow__ = _binary("pow"), _binary("pow", True)

    def __neg__(self):
        call = self.call()
        return -self.plain() if call is None else call.derive(operator.neg, (self,))

    def mapped(self, fn):
        call = self.call()
        return fn(self.plain()) if call is None else call.derive(fn, (self,))

    def __bool__(self):
        call = self.call()
        if call is not None and not call.walking:
            call.give_up("a gradient rule branches on a number")
        return bool(self.plain())


class TracedFloat(_Arithmetic, float):
    """A float with the vid of its value."""

    def plain(self):
        return float.__float__(self)


class TracedInt(_Arithmetic, int):
    """An int with the vid of its value."""

    def plain(self):
        return int.__int__(self)


def traced(value, vid, call):
    """``value`` as a number that remembers its vid."""
    number = (TracedFloat if type(value) is float else TracedInt)(value)
    number.vid, number.call = vid, weakref.ref(call)      # the tape outlives the call, and the call holds the tape
    return number


def plain_numbers(xs):
    """Operands, with Python's own numbers for those that are followed: NumPy promotes others, even subclasses of float, differently."""
    return [x.plain() if isinstance(x, TracedNumber) else x for x in xs]
