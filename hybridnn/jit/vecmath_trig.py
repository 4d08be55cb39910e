"""Trigonometric functions and their inverses as straight-line arithmetic (see `vecmath`).

Arguments up to 2^30 are reduced by Cody and Waite's method with fused multiply-adds; beyond, `rarely` calls the C library.
"""
from __future__ import annotations

from hybridnn.jit import vecmath_coefficients as tables
from hybridnn.jit.vecmath_expr import (
    F32,
    V,
    bits_of,
    copysign,
    fabs,
    float_of,
    fma,
    horner,
    like,
    low32,
    narrow,
    select,
    sqrt,
    widen,
)
from hybridnn.jit.vecmath_rare import rarely

LIMIT = 2.0**30
INF = float("inf")
MAGIC = 1.5 * 2.0**52
TWO_OVER_PI = 0.6366197723675814
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)


def _quadrant(x: V) -> tuple[V, V]:
    """The nearest multiple of pi/2 to a float64: as a float64, and as an integer in the low bits of an int64."""
    shifted = fma(x, TWO_OVER_PI, MAGIC)
    return shifted - MAGIC, bits_of(shifted)


def _reduce_single(x: V) -> tuple[V, V, V]:
    """float32: remainder, its (zero) tail, quadrant as int32. The remainder is taken in float64."""
    wide = widen(x)
    n, quadrant = _quadrant(wide)
    return narrow(fma(n, -HALF_PI[1], fma(n, -HALF_PI[0], wide))), None, low32(quadrant)


def _reduce_double(x: V) -> tuple[V, V, V]:
    """float64: remainder in two pieces, and the quadrant as int64.

    x - n * HALF_PI[0] is exact: a multiple of 2^-53 below 1. The rest is a two-sum with the exact product n * HALF_PI[1]."""
    n, quadrant = _quadrant(x)
    high = fma(n, -HALF_PI[0], x)
    product = n * HALF_PI[1]
    below = fma(n, HALF_PI[1], -product)
    r = high - product
    back = high - r
    tail = (high - (r + back)) + (back - product)
    return r, tail - fma(n, HALF_PI[2], below), quadrant


def _sin_cos(r: V, tail) -> tuple[V, V]:
    """sin and cos of r + tail, |r| <= pi/4."""
    key = "f32" if r.v.type == F32 else "f64"
    z = r * r
    cubic = r * z * horner(z, tables.SIN[key])
    quartic = z * z * horner(z, tables.COS[key])
    half = z * 0.5
    top = 1.0 - half
    lost = (1.0 - top) - half
    if tail is None:
        return r + cubic, top + (quartic + lost)
    return r + (cubic + fma(half, -tail, tail)), top + (quartic + fma(r, -tail, lost))


def _flip(y: V, quadrant: V) -> V:
    """-y where bit 1 of the quadrant is set."""
    bits = bits_of(y)
    width = bits.v.type.width
    return float_of(bits ^ ((quadrant & 2) << (width - 2)))


def _reduced(x: V):
    return _reduce_single(x) if x.v.type == F32 else _reduce_double(x)


def _library(name: str, x: V) -> str:
    return name + "f" * (x.v.type == F32)


def sin(x: V) -> V:
    r, tail, quadrant = _reduced(x)
    s, c = _sin_cos(r, tail)
    y = _flip(select((quadrant & 1) == 0, s, c), quadrant)
    return rarely(_library("sin", x), LIMIT, x, select(x == 0.0, x, y), x)


def cos(x: V) -> V:
    r, tail, quadrant = _reduced(x)
    s, c = _sin_cos(r, tail)
    y = _flip(select((quadrant & 1) == 0, c, s), quadrant + 1)
    return rarely(_library("cos", x), LIMIT, x, y, x)


def _tan_double(x: V) -> V:
    r, tail, quadrant = _reduce_double(x)
    s, c = _sin_cos(r, tail)
    even = (quadrant & 1) == 0
    return select(even, s, -c) / select(even, c, s)


def tan(x: V) -> V:
    single = x.v.type == F32
    y = narrow(_tan_double(widen(x))) if single else _tan_double(x)
    return rarely(_library("tan", x), LIMIT, x, select(x == 0.0, x, y), x)


def _atan_positive(top: V, bottom: V, key: str) -> V:
    """atan(top / bottom) for top, bottom >= 0, by one division: the angle is measured from 0, pi/4 or pi/2."""
    low = top < bottom * 0.41421356237309503
    high = bottom < top * 0.41421356237309503
    t = select(low, top, select(high, -bottom, top - bottom)) / select(low, bottom, select(high, top, top + bottom))
    z = t * t
    base = select(low, 0.0, select(high, like(t, HALF_PI[0]), like(t, HALF_PI[0] / 2)))
    base_low = select(low, 0.0, select(high, like(t, HALF_PI[1]), like(t, HALF_PI[1] / 2)))
    return base + (t + fma(t * z, horner(z, tables.ATAN[key]), base_low))


def arctan(x: V, key: str = "f64") -> V:
    a = fabs(x)
    big = a > 1e300
    y = _atan_positive(select(big, 1e300, a), like(x, 1.0), key)
    return copysign(y, x)


def arctan2(y: V, x: V, key: str = "f64") -> V:
    """The angle of (x, y). Both are scaled by a power of two first, so that sums do not overflow nor quotients lose bits."""
    a, b = fabs(y), fabs(x)
    larger = select(a > b, a, b)
    factor = select(larger > 2.0**1000, 2.0**-60, select(larger < 2.0**-900, 2.0**120, like(x, 1.0)))
    angle = _atan_positive(a * factor, b * factor, key)
    up, along = a == INF, b == INF
    angle = select(up & along, HALF_PI[0] / 2, select((a == 0.0) & (b == 0.0), 0.0, angle))
    angle = select(up & (b < INF), HALF_PI[0], select(along & (a < INF), 0.0, angle))
    negative = copysign(like(x, 1.0), x) < 0.0
    angle = select(negative, (2 * HALF_PI[0] - angle) + 2 * HALF_PI[1], angle)
    return copysign(angle, y)


def _asin_parts(a: V, key: str) -> tuple[V, V, V, V]:
    """For 0 <= a <= 1: whether a <= 1/2; g, its rounding error and asin(g) - g, where g is a, or sqrt((1 - a)/2) above 1/2."""
    near = a <= 0.5
    z = select(near, a * a, fma(a, -0.5, like(a, 0.5)))
    root = sqrt(z)
    lost = select(near | (z == 0.0), 0.0, fma(root, -root, z) / (root + root))
    g = select(near, a, root)
    return near, g, lost, g * z * horner(z, tables.ASIN[key])


def arcsin(x: V, key: str = "f64") -> V:
    a = fabs(x)
    near, g, lost, rest = _asin_parts(a, key)
    far = (HALF_PI[0] - 2.0 * g) - 2.0 * ((lost + rest) - HALF_PI[1] / 2)
    return copysign(select(near, g + rest, far), x)


def arccos(x: V, key: str = "f64") -> V:
    near, g, lost, rest = _asin_parts(fabs(x), key)
    inner = HALF_PI[0] - (copysign(g, x) + (copysign(rest, x) - HALF_PI[1]))
    small = 2.0 * (g + (rest + lost))
    return select(near, inner, select(x < 0.0, (2 * HALF_PI[0] - small) + 2 * HALF_PI[1], small))
