"""Arithmetic on LLVM values with Python operators: the notation in which `vecmath_bodies` is written.

A `V` pairs an IR builder with a scalar LLVM value (float, double, i1, i32, i64). Operators append instructions; numbers are
turned into constants of the other operand's type, so no literal can widen a float32 expression. Everything here is straight-
line code made of instructions and intrinsics that LLVM's loop vectoriser can widen: no branches, no library calls, no int64 <->
double conversions.
"""
from __future__ import annotations

from llvmlite import ir

F32, F64 = ir.FloatType(), ir.DoubleType()
I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


class V:
    """An LLVM value and the builder that made it."""

    __slots__ = ("b", "v")
    __hash__ = None

    def __init__(self, builder, value):
        self.b, self.v = builder, value

    @property
    def is_float(self):
        return self.v.type in (F32, F64)

    def _binary(self, other, float_op, int_op, swap=False):
        x, y = self.v, like(self, other).v
        if swap:
            x, y = y, x
        return V(self.b, getattr(self.b, float_op if self.is_float else int_op)(x, y))

    def _compare(self, op, other):
        y = like(self, other).v
        if not self.is_float:
            return V(self.b, self.b.icmp_signed(op, self.v, y))
        compare = self.b.fcmp_unordered if op == "!=" else self.b.fcmp_ordered
        return V(self.b, compare(op, self.v, y))

    def __add__(self, other):
        return self._binary(other, "fadd", "add")

    def __radd__(self, other):
        return self._binary(other, "fadd", "add", swap=True)

    def __sub__(self, other):
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other):
        return self._binary(other, "fsub", "sub", swap=True)

    def __mul__(self, other):
        return self._binary(other, "fmul", "mul")

    def __rmul__(self, other):
        return self._binary(other, "fmul", "mul", swap=True)

    def __truediv__(self, other):
        return self._binary(other, "fdiv", "sdiv")

    def __rtruediv__(self, other):
        return self._binary(other, "fdiv", "sdiv", swap=True)

    def __and__(self, other):
        return self._binary(other, "and_", "and_")

    def __or__(self, other):
        return self._binary(other, "or_", "or_")

    def __xor__(self, other):
        return self._binary(other, "xor", "xor")

    def __lshift__(self, other):
        return self._binary(other, "shl", "shl")

    def __rshift__(self, other):
        """Logical shift: AVX2 has no arithmetic one for 64 bits."""
        return self._binary(other, "lshr", "lshr")

    def __invert__(self):
        return V(self.b, self.b.not_(self.v))

    def __neg__(self):
        return V(self.b, self.b.fneg(self.v) if self.is_float else self.b.neg(self.v))

    def __lt__(self, other):
        return self._compare("<", other)

    def __le__(self, other):
        return self._compare("<=", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def __eq__(self, other):
        return self._compare("==", other)

    def __ne__(self, other):
        return self._compare("!=", other)


def like(x: V, number) -> V:
    """`number` as a constant of the type of `x`; a `V` passes through."""
    return number if isinstance(number, V) else V(x.b, ir.Constant(x.v.type, number))


def bits_of(x: V) -> V:
    """The bit pattern of a float as an integer of the same width."""
    return V(x.b, x.b.bitcast(x.v, I32 if x.v.type == F32 else I64))


def float_of(i: V) -> V:
    """The float with this bit pattern."""
    return V(i.b, i.b.bitcast(i.v, F32 if i.v.type == I32 else F64))


def widen(x: V) -> V:
    """float32 to float64, exact."""
    return V(x.b, x.b.fpext(x.v, F64))


def narrow(x: V) -> V:
    """float64 to float32, rounded to nearest even."""
    return V(x.b, x.b.fptrunc(x.v, F32))


def low32(i: V) -> V:
    """The low half of a 64-bit integer."""
    return V(i.b, i.b.trunc(i.v, I32))


def intrinsic_call(name: str, *xs: V) -> V:
    """Call an overloaded LLVM intrinsic whose result and operands share one type."""
    x = xs[0]
    t = x.v.type
    fn = x.b.module.declare_intrinsic(name, [t], ir.FunctionType(t, [t] * len(xs)))
    return V(x.b, x.b.call(fn, [like(x, y).v for y in xs]))


def fma(a: V, b, c) -> V:
    """a * b + c with one rounding."""
    return intrinsic_call("llvm.fma", a, like(a, b), like(a, c))


def fabs(x: V) -> V:
    return intrinsic_call("llvm.fabs", x)


def sqrt(x: V) -> V:
    return intrinsic_call("llvm.sqrt", x)


def copysign(x: V, sign: V) -> V:
    return intrinsic_call("llvm.copysign", x, like(x, sign))


def rint(x: V) -> V:
    return intrinsic_call("llvm.rint", x)


def select(condition: V, yes, no) -> V:
    """`yes` where `condition`, else `no`; at least one of the two is a `V`."""
    model = yes if isinstance(yes, V) else no
    return V(condition.b, condition.b.select(condition.v, like(model, yes).v, like(model, no).v))


def horner(x: V, coefficients) -> V:
    """The polynomial with these coefficients, constant term first, by fused multiply-adds. Long ones as an even and an odd part,
    whose chains run side by side."""
    if len(coefficients) >= 8:
        square = x * x
        return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[::2]))
    *rest, last = coefficients
    y = like(x, last)
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


def in_double(body, **options):
    """The float32 version of a float64 body: float64 arithmetic and one rounding at the end."""

    def single(*xs):
        return narrow(body(*map(widen, xs), **options))

    return single


def f16_to_f32(h: V) -> V:
    """The float32 of a float16's bit pattern (int16), exact."""
    return V(h.b, h.b.fpext(h.b.bitcast(h.v, ir.HalfType()), F32))


def f32_to_f16(x: V) -> V:
    """The bit pattern of the nearest float16."""
    return V(x.b, x.b.bitcast(x.b.fptrunc(x.v, ir.HalfType()), I16))
