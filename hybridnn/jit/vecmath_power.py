"""Powers, cube root and remainders as straight-line arithmetic (see `vecmath`)."""
from __future__ import annotations

from hybridnn.jit import vecmath_coefficients as tables
from hybridnn.jit.vecmath_basic import floor, trunc
from hybridnn.jit.vecmath_bodies import DOUBLE, INF, LOG2E, at_least, clamp, exp_of, log_within, pow2, split_exp, split_log
from hybridnn.jit.vecmath_expr import (
    F32,
    V,
    bits_of,
    copysign,
    fabs,
    float_of,
    fma,
    horner,
    in_double,
    like,
    narrow,
    rint,
    select,
    sqrt,
    widen,
)
from hybridnn.jit.vecmath_rare import rarely

TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def _two_sum(a: V, b: V) -> tuple[V, V]:
    """a + b and its rounding error."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _log1p_pair(f: V) -> tuple[V, V]:
    """log(1 + f) in two pieces, to about 2^-64: 2s + 2/3 s^3 + s^5 P(s^2), s = f / (2 + f)."""
    d = f + 2.0
    s = f / d
    s_low = fma(-s, f - (d - 2.0), fma(-s, d, f)) / d
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    cube = z * s
    cube_low = fma(z, s, -cube) + fma(z_low, s, z * s_low)
    t = cube * TWO_THIRDS[0]
    t_low = fma(cube, TWO_THIRDS[0], -t) + fma(cube_low, TWO_THIRDS[0], cube * TWO_THIRDS[1])
    high, low = _two_sum(s + s, t)
    return high, low + (fma(s_low, 2.0, t_low) + cube * z * horner(z, tables.LOG_ODD5))


def _log_pair(x: V) -> tuple[V, V]:
    """log(x) in two pieces for positive finite x."""
    e, f = split_log(x)
    high, low = _log1p_pair(f)
    product = e * DOUBLE.ln2[0]
    total, lost = _two_sum(product, high)
    return total, lost + (low + fma(e, DOUBLE.ln2[1], fma(e, DOUBLE.ln2[0], -product)))


def _within(a: V, y: V) -> V:
    """`y`, but 0 where a is 0, inf or NaN, for which nothing is to be computed: it would raise flags."""
    return select((a > 0.0) & (a < INF), y, 0.0)


def _at_ends(a: V, y: V, r: V) -> V:
    """`r`, but a^y itself where a is 0, inf or NaN."""
    end = select(y < 0.0, select(a == 0.0, INF, select(a == INF, 0.0, a)), a)
    return select((a > 0.0) & (a < INF), r, select(y == y, end, y))


def _positive_f64(a: V, y: V) -> V:
    """a^y for a >= 0 as exp(y log(a)), the product in two pieces."""
    high, low = _log_pair(a)
    high = _within(a, high)
    h = y * high
    h_low = select(fabs(h) < 2000.0, fma(y, low, fma(y, high, -h)), 0.0)
    n, r, t = split_exp(at_least(h, DOUBLE.exp_low), up=True)
    return _at_ends(a, y, exp_of(n, r + h_low, t, tables.EXP_UP["f64"]))


def _positive_f32(a: V, y: V) -> V:
    """a^y for a >= 0: float64 arithmetic with polynomials good to 1e-9."""
    a, y = widen(a), widen(y)
    h = clamp(y * _within(a, log_within(a, "f32d")) * LOG2E, -200.0, 200.0)
    n = rint(h)
    r = h - n
    return narrow(_at_ends(a, y, fma(r, horner(r, tables.EXP2["f32d"]), 1.0) * pow2(n)))


def power(x: V, y: V) -> V:
    """C's pow: a negative x needs an integral y; 1^y and x^0 are 1 even for NaN."""
    a = fabs(x)
    r = (_positive_f32 if x.v.type == F32 else _positive_f64)(a, y)
    r = select((a == 1.0) & (fabs(y) == INF), 1.0, r)
    half = y * 0.5
    integral = floor(y) == y
    odd = integral & (floor(half) != half)
    r = select(odd, copysign(r, x), r)
    # Computed, not chosen, so that the flags rise that NumPy's power raises. Where one operand of an inner choice is a constant, LLVM takes the choice away,
    # and the flags rise for each x that is not positive.
    beyond, pole = (x < 0.0) & (x > -INF) & ~integral, (x == 0.0) & (y < 0.0)
    r = select(beyond, sqrt(select(beyond, x, a)), r)
    r = select(pole, copysign(1.0 / select(pole, a, a + 1.0), r), r)
    return select((x == 1.0) | (y == 0.0), 1.0, r)


def _multiplied(x: V, n: int) -> V:
    """x^n, n >= 1, by squaring and multiplying."""
    if n == 1:
        return x
    half = _multiplied(x, n // 2)
    return half * half * x if n % 2 else half * half


def integer_power(n: int):
    """The body of x^n for a small constant n: |n| <= 4 in float64, |n| <= 8 in float32 (which multiplies in float64)."""

    def double(x):
        return _multiplied(x if n > 0 else 1.0 / x, abs(n))

    def body(x):
        return in_double(double)(x) if x.v.type == F32 and abs(n) > 2 else double(x)

    return body


def power_half(x: V) -> V:
    """x^0.5 as pow has it: +0 for -0, inf for -inf."""
    return select(x == -INF, INF, sqrt(x) + 0.0)


def power_minus_half(x: V) -> V:
    """x^-0.5 as pow has it: inf for both zeros, 0 for -inf."""
    return select(x == -INF, 0.0, 1.0 / (sqrt(x) + 0.0))


def cbrt_f64(x: V) -> V:
    """2^k cbrt(m), 1 <= m < 8: a polynomial, then one step of Halley's and one of Newton's method."""
    a = fabs(x)
    small = a < DOUBLE.tiny
    i = bits_of(select(small, a * 2.0**54, a))
    e = float_of((i >> 52) | bits_of(like(x, 2.0**52))) - (2.0**52 + 1023)
    k = rint((e - 1.0) * (1.0 / 3.0))
    m = float_of((i & ((1 << 52) - 1)) | (1023 << 52)) * pow2(e - 3.0 * k)
    y = horner(m, tables.CBRT)
    cube = y * y * y
    y = y * (cube + 2.0 * m) / (2.0 * cube + m)
    square = y * y
    y = y - fma(square, y, -m) / (3.0 * square)
    y = y * pow2(k - select(small, like(x, 18.0), 0.0))
    return copysign(select((a > 0.0) & (a < INF), y, a), x)


def fmod_f64(x: V, y: V) -> V:
    """x - trunc(x / y) y, exact: the quotient is at most one too large while it is below 2^53; beyond, C's fmod."""
    a, b = fabs(x), fabs(y)
    q = a / b
    r = fma(-trunc(q), b, a)
    r = select(r < 0.0, r + b, r)
    r = copysign(select((b == INF) & (a < INF), a, r), x)
    return rarely("fmod", 2.0**53, q, r, x, y)


def fmod(x: V, y: V) -> V:
    return in_double(fmod_f64)(x, y) if x.v.type == F32 else fmod_f64(x, y)


def remainder(x: V, y: V) -> V:
    """The remainder with the sign of y, as Python and NumPy have it."""
    m = fmod(x, y)
    moved = select((y < 0.0) ^ (m < 0.0), m + y, m)
    return select(m == 0.0, copysign(like(m, 0.0), y), moved)


def floor_divide(x: V, y: V) -> V:
    """NumPy's floor division: from the exact remainder, rounded to the nearest integer."""
    m = fmod(x, y)
    q = (x - m) / y
    q = select((m != 0.0) & ((y < 0.0) ^ (m < 0.0)), q - 1.0, q)
    down = floor(q)
    whole = select(q - down > 0.5, down + 1.0, down)
    whole = select(q == 0.0, copysign(like(q, 0.0), x / y), whole)
    return select(y == 0.0, x / y, whole)
