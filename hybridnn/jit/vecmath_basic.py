"""Comparisons, rounding, selection and remainders as straight-line arithmetic, with NumPy's NaN and signed-zero rules."""
from __future__ import annotations

from hybridnn.jit.vecmath_expr import F32, V, bits_of, copysign, fabs, float_of, intrinsic_call, like, select

INF, NAN = float("inf"), float("nan")


def floor(x: V) -> V:
    return intrinsic_call("llvm.floor", x)


def ceil(x: V) -> V:
    return intrinsic_call("llvm.ceil", x)


def trunc(x: V) -> V:
    return intrinsic_call("llvm.trunc", x)


def isnan(x: V) -> V:
    return x != x


def isinf(x: V) -> V:
    return fabs(x) == INF


def isfinite(x: V) -> V:
    return fabs(x) < INF


def signbit(x: V) -> V:
    return copysign(like(x, 1.0), x) < 0.0


def maximum(x: V, y: V) -> V:
    """The larger; NaN if either is; y where they are equal (so NumPy's sign of zero)."""
    return select(isnan(x), _quiet(x), select(x > y, x, y))


def minimum(x: V, y: V) -> V:
    return select(isnan(x), _quiet(x), select(x < y, x, y))


def _quiet(x: V) -> V:
    """NaN, as arithmetic gives it, where x is NaN. With x itself there, LLVM would make `y = maximum(x, y)` in memory a store under a mask, which takes ten
    times as long on AMD's CPUs, and which the next load has to wait for on all."""
    return float_of(bits_of(x) | like(bits_of(x), 0x400000 if x.v.type == F32 else 1 << 51))


def fmax(x: V, y: V) -> V:
    """The larger; the number where one is NaN; y where they are equal (as in NumPy's vector loops)."""
    return select((x > y) | isnan(y), x, y)


def fmin(x: V, y: V) -> V:
    return select((x < y) | isnan(y), x, y)


def reduce_add(total: V, x: V) -> V:
    """total + x in a loop whose sum may be taken in any order: several partial sums, one per lane."""
    return V(x.b, x.b.fadd(total.v, x.v, flags=("reassoc",)))


def reduce_mul(total: V, x: V) -> V:
    return V(x.b, x.b.fmul(total.v, x.v, flags=("reassoc",)))


def reduce_max(largest: V, x: V) -> V:
    """The larger, NaN if either is: the form whose reduction LLVM vectorises. +0 is above -0."""
    return intrinsic_call("llvm.maximum", largest, x)


def reduce_min(smallest: V, x: V) -> V:
    return intrinsic_call("llvm.minimum", smallest, x)


def larger(largest: V, x: V) -> V:
    """The larger of two numbers; anything where one is NaN, and either zero of two. In a loop it is one instruction (that of `reduce_max` are five, one
    after the other); `magnitude`, `most` and `nan_if` tell whether there was a NaN."""
    return _extreme_of_numbers(largest, x, ">")


def smaller(smallest: V, x: V) -> V:
    return _extreme_of_numbers(smallest, x, "<")


def _extreme_of_numbers(extreme: V, x: V, sign: str) -> V:
    flags = ("nnan", "nsz")
    return V(x.b, x.b.select(x.b.fcmp_ordered(sign, x.v, extreme.v, flags=flags), x.v, extreme.v, flags=flags))


def magnitude(x: V) -> V:
    """An integer that grows with |x|, and is largest for NaN."""
    i = bits_of(x)
    return i & ((1 << (i.v.type.width - 1)) - 1)


def most(x: V, y: V) -> V:
    """The larger of two integers."""
    return select(x > y, x, y)


def nan_if(largest: V, x: V) -> V:
    """x, but NaN if the largest `magnitude` is that of a NaN."""
    return select(largest > bits_of(like(x, INF)), NAN, x)


def smallness(x: V) -> V:
    """An int32 that grows with |x| for float32 x, from -2^31 for the smallest subnormal number; zero gives the largest."""
    return magnitude(x) + 0x7FFFFFFF


def least(x: V, y: V) -> V:
    """The smaller of two integers."""
    return select(x < y, x, y)


def sign(x: V) -> V:
    """-1, 0 or 1; NaN stays NaN; both zeros give +0."""
    y = select(x > 0.0, 1.0, select(x < 0.0, -1.0, x))
    return select(x == 0.0, 0.0, y)


def heaviside(x: V, at_zero: V) -> V:
    y = select(x > 0.0, 1.0, select(x < 0.0, 0.0, at_zero))
    return select(isnan(x), x, y)


def where(condition: V, x: V, y: V) -> V:
    return select(condition, x, y)
