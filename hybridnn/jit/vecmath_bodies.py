"""Elementary functions as straight-line arithmetic (see `vecmath`): exponentials, logarithms, powers, hyperbolic and error
functions.

Every function takes and returns `vecmath_expr.V` values of one float type, gets NumPy's results for NaN, infinities, signed
zeros, subnormal numbers and overflow, and contains nothing that stops LLVM's loop vectoriser. Notation: `n` is an integral
float, `a` is |x|. Integers are read off the low bits of `x + magic` (1.5 * 2^mantissa), because AVX2 converts no int64 to
double or back.
"""
from __future__ import annotations

from dataclasses import dataclass

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
    select,
    sqrt,
)

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Format:
    """What the bodies need to know of a float type; `*_hi` + `*_lo` are constants in twice the precision."""

    key: str
    mantissa: int
    bias: int
    exp_low: float  # exp is 0 below
    expm1_range: tuple[float, float]  # beyond it expm1 is -1 or inf
    ln2: tuple[float, float]
    log2_e: tuple[float, float]
    log10_2: tuple[float, float]
    log10_e: tuple[float, float]
    root_half: int  # bits of sqrt(1/2), low half cleared for float64

    @property
    def magic(self):
        return 1.5 * 2.0**self.mantissa

    @property
    def tiny(self):
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


LOG2E = 1.4426950408889634
LOG2E_LO = 2.0355273740931033e-17
SINGLE = Format("f32", 23, 127, -105.0, (-18.0, 89.0), (0.6931471824645996, -1.9046542121259336e-09),
                (1.4426950216293335, 1.925963033500011e-08), (0.3010300099849701, -1.432098883924482e-08),
                (0.4342944920063019, -1.0103049952192578e-08), 0x3F3504F3)
DOUBLE = Format("f64", 52, 1023, -747.0, (-40.0, 710.1),
                (0.6931471805599453, 2.3190468138462996e-17), (LOG2E, LOG2E_LO), (0.3010299956639812, -2.8037281277851704e-18),
                (0.4342944819032518, 1.098319650216765e-17), 0x3FE6A09E00000000)


def format_of(x: V) -> Format:
    return SINGLE if x.v.type == F32 else DOUBLE


def clamp(x: V, low, high) -> V:
    """x within [low, high]; NaN stays."""
    return at_least(select(x > high, high, x), low)  # this first: LLVM then sees that -|x| does not need it


def at_least(x: V, low) -> V:
    """x, but `low` where it is below; NaN stays."""
    return select(x < low, low, x)


def pow2(n: V) -> V:
    """2^n as a normal number for integral n."""
    f = format_of(n)
    return _power_with(n + (f.magic + f.bias))


def _power_with(t: V) -> V:
    """The power of two whose exponent bits are the low bits of t."""
    return float_of(bits_of(t) << format_of(t).mantissa)


def split_exp(x: V, more: int = 0, up: bool = False, small: bool = False) -> tuple[V, V, V]:
    """x = n log(2) + r with |r| <= log(2)/2: (n, r, t), where the low bits of t are the exponent bits of 2^(n + more).

    ``up``: n + more is at most that of the largest normal numbers, and therefore r up to log(2) where exp(x) 2^more is finite, beyond it elsewhere.
    ``small``: x is not positive, and what exp(x) is added to so much larger that r in float32 may lack n times 2e-9.
    """
    f = format_of(x)
    shift, top = f.magic + f.bias + more, f.magic + 2 * f.bias
    t = fma(x, LOG2E, shift)
    t = select(t > top, top, t) if up else t
    n = t - shift
    r = fma(n, -f.ln2[0], x)
    return n, r if small and f is SINGLE else fma(n, -f.ln2[1], r), t


def times_power(q: V, n: V, t: V) -> V:
    """(1 + q) 2^n for integral n and 1 + q > 0.7 where the low bits of t are the exponent bits of 2^n, or would be if these were not negative.

    Subnormal where 2^n is, infinite where the result is too large.
    """
    # Arithmetic with a subnormal result takes a hundred cycles on Intel CPUs (their microcode does it), and masks of -1e9 are usual. So small results are
    # rounded to integers, which are their bit patterns: multiples of the smallest subnormal number.
    f = format_of(q)
    small, one = n < float(1 - f.bias), 2.0**f.mantissa
    bits = bits_of(like(q, one))
    s = float_of((bits_of(t) << f.mantissa) + select(small, like(bits, (f.mantissa + f.bias - 1) << f.mantissa), like(bits, 0)))
    y = fma(s, q, s) + select(small, like(q, one), like(q, -0.0))
    return float_of(bits_of(y) - select(small, bits, like(bits, 0)))


def exp(x: V) -> V:
    return _exp_over(x, 0, format_of(x).key)


def _exp_over(x: V, halvings: int, key: str) -> V:
    """exp(x) / 2^halvings."""
    return exp_of(*split_exp(at_least(x, format_of(x).exp_low), -halvings, up=True), tables.EXP_UP[key])


def exp_down(x: V) -> V:
    """exp(x) for x <= 0."""
    f = format_of(x)
    return exp_of(*split_exp(at_least(x, f.exp_low)), tables.EXP[f.key])


def exp_of(n: V, r: V, t: V, coefficients) -> V:
    """exp of what `split_exp` has split."""
    return times_power(fma(r * r, horner(r, coefficients), r), n, t)


def _reduced_expm1(x: V, key: str, more: int, small: bool = False) -> tuple[V, V, V]:
    """(n, q, s): exp(x) = 2^n (1 + q), s = 2^(n + more). ``small``: see `split_exp`."""
    n, r, t = split_exp(x, more, small=small)
    return n, fma(r * r, horner(r, tables.EXPM1[key]), r), _power_with(t)


def expm1(x: V) -> V:
    f = format_of(x)
    n, q, s = _reduced_expm1(clamp(x, *f.expm1_range), f.key, -1)
    y = fma(s, q, s - 0.5)
    return copysign(select(n == 0.0, q, y + y), x)


def exp2(x: V) -> V:
    f = format_of(x)
    large = x > 0.5 * f.bias  # where x - 1 is exact; so n stays below the largest exponent
    x = clamp(x - select(large, like(x, 1.0), like(x, 0.0)), -2.0 - f.bias - f.mantissa, float(f.bias))
    shift = f.magic + f.bias
    t = x + shift
    n = t - shift
    r = x - n
    return times_power(r * horner(r, tables.EXP2[f.key]), n, t) * select(large, like(x, 2.0), like(x, 1.0))


def split_log(x: V) -> tuple[V, V]:
    """x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for positive finite x: (e, f)."""
    f = format_of(x)
    small = x < f.tiny
    shift = f.mantissa + 2
    i = bits_of(select(small, x * 2.0**shift, x))
    t = i + ((f.bias << f.mantissa) - f.root_half)
    biased = float_of((t >> f.mantissa) | bits_of(like(x, 2.0**f.mantissa)))
    e = biased - select(small, like(x, 2.0**f.mantissa + f.bias + shift), like(x, 2.0**f.mantissa + f.bias))
    m = float_of((t & ((1 << f.mantissa) - 1)) + f.root_half)
    return e, m - 1.0


def _log1p_tail(f: V, tail, key: str) -> V:
    """log(1 + f) - f + tail for 1 + f between sqrt(1/2) and sqrt(2)."""
    if key == "f32":
        y = fma(f * f * f, horner(f, tables.LOG), tail) if tail is not None else f * f * f * horner(f, tables.LOG)
        return fma(f * f, -0.5, y)
    return fma(f * f, horner(f, tables.LOG1P[key]), tail if tail is not None else 0.0)


def _log_specials(x: V, y: V, f: V, pole: float = 0.0) -> V:
    """`y` with log's values where x is not positive (beyond `pole`) or not finite.

    They are computed, not chosen, so that the flags rise that NumPy's log raises: a division by zero at the pole, an invalid
    operation beyond it. The divisor has a factor (`f` is between -0.3 and 0.5, or NaN): where x was an integer, LLVM knows what x - pole is at the pole.
    """
    beyond = x < pole
    at_pole = x == pole
    y = select(x < INF, y, x)
    y = select(beyond, sqrt(select(beyond, x - pole, 1.0)), y)
    return select(at_pole, -1.0 / fabs(select(at_pole, x - pole, 1.0) * (f + 2.0)), y)


def log(x: V) -> V:
    e, f = split_log(x)
    return _log_specials(x, _log_of(e, f, format_of(x).key), f)


def log_within(x: V, key: str) -> V:
    """log(x) for positive finite x."""
    return _log_of(*split_log(x), key)


def _log_of(e: V, f: V, key: str) -> V:
    """log(2^e (1 + f))."""
    ln2 = format_of(f).ln2
    return fma(e, ln2[0], f + _log1p_tail(f, e * ln2[1], key))


def log1p(x: V) -> V:
    fmt = format_of(x)
    u = x + 1.0
    v = u - 1.0
    lost = (1.0 - (u - v)) + (x - v)
    e, f = split_log(u)
    # lost / u: as u = 2^e (1 + f), and 1 - f is close enough to 1 / (1 + f) where f is small, and elsewhere where the result is not.
    down = select(u < 2.0 ** (fmt.mantissa + 2), float_of(bits_of(f + 1.0) - bits_of(u) + (fmt.bias << fmt.mantissa)), 0.0)
    y = f + _log1p_tail(f, fma(e, fmt.ln2[1], lost * down * (1.0 - f)), fmt.key)
    y = select(x == 0.0, x, fma(e, fmt.ln2[0], y))
    return _log_specials(x, y, f, -1.0)


def log1p_unit(x: V) -> V:
    """log1p(x) for 0 <= x <= 1, where that needs no other logarithm."""
    f = format_of(x)
    normal = select(x < f.tiny, 0.0, x)     # products with subnormal numbers take a hundred cycles
    return x + normal * normal * horner(normal - 0.5, tables.LOG1P_UNIT[f.key])


def _log_scaled(x: V, key: str, per_e: tuple, per_f: tuple) -> V:
    """log(x) in another base: e * per_e + log(1 + f) * per_f, the factors in two pieces."""
    e, f = split_log(x)
    y = f + _log1p_tail(f, None, key)
    low = fma(y, per_f[1], e * per_e[1])
    exact = e * per_e[0]
    return _log_specials(x, exact + (fma(y, per_f[0], fma(e, per_e[0], -exact)) + low), f)


def log2(x: V) -> V:
    f = format_of(x)
    return _log_scaled(x, f.key, (1.0, 0.0), f.log2_e)


def log10(x: V) -> V:
    f = format_of(x)
    return _log_scaled(x, f.key, f.log10_2, f.log10_e)


def tanh(x: V) -> V:
    """-t / (t + 2) with t = exp(-2|x|) - 1, which never overflows."""
    f = format_of(x)
    _, q, s = _reduced_expm1(at_least(fabs(x) * -2.0, f.expm1_range[0] * 2.0), f.key, 0, small=True)
    t = fma(s, q, s - 1.0)
    return copysign(t / (t + 2.0), x)


def sigmoid(x: V) -> V:
    z = exp_down(-fabs(x))
    return select(x < 0.0, z, 1.0) / (z + 1.0)


def softplus(x: V) -> V:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|))."""
    return select(x < 0.0, 0.0, x) + log1p_unit(exp_down(-fabs(x)))


def sinh(x: V, key: str = "f64") -> V:
    """h + h / (2h + 1) with h = expm1(|x|) / 2, which is finite wherever the result is."""
    a = fabs(x)
    n, q, s = _reduced_expm1(clamp(a, 0.0, 710.5), key, -2)
    h = select(n == 0.0, q * 0.5, fma(s, q, s - 0.25) * 2.0)
    y = select(h < INF, h + h / (h + h + 1.0), h)
    return copysign(select(a < 2.0**-28, a, y), x)


def cosh(x: V, key: str = "f64") -> V:
    h = _exp_over(fabs(x), 1, key)
    return h + 0.25 / h


def arcsinh_f64(x: V) -> V:
    """log1p(a + a^2 / (1 + sqrt(a^2 + 1))); log(2a) for large a."""
    a = fabs(x)
    large = a > 2.0**60
    square = select(large, 0.0, a * a)
    y = log1p(select(large, a, a + square / (sqrt(square + 1.0) + 1.0)))
    return copysign(y + select(large, like(x, DOUBLE.ln2[0]), 0.0), x)


def arccosh_f64(x: V) -> V:
    """log1p(t + sqrt(2t + t^2)), t = x - 1; log(2x) for large x."""
    t = x - 1.0
    large = t > 2.0**60
    near = select(large, 0.0, t)
    y = log1p(select(large, t, near + sqrt(near * (near + 2.0))))
    return select(x < 1.0, NAN, y + select(large, like(x, DOUBLE.ln2[0]), 0.0))


def arctanh_f64(x: V) -> V:
    a = fabs(x)
    return copysign(log1p(2.0 * a / (1.0 - a)) * 0.5, x)


def logaddexp(x: V, y: V) -> V:
    """log(exp(x) + exp(y)) as the larger + log1p(exp(-|x - y|))."""
    top = select((x > y) | (x != x), x, y)
    difference = select(x == y, 0.0, fabs(x - y))
    return top + softplus(-difference)


def _exp_small_f32(x: V) -> V:
    """exp(x) for -80 < x <= 0.001, less exact than `exp_down`: what 1 is less."""
    _, r, t = split_exp(x, small=True)
    s = _power_with(t)
    return fma(s, fma(r * r, horner(r, tables.EXP["f32"]), r), s)


def _erf_near(x: V, key: str) -> V:
    z = x * x
    return fma(x, horner(z, tables.ERF[key]), x)


def erf_f32(x: V) -> V:
    a = fabs(x)
    far = 1.0 - _exp_small_f32(horner(select(a > 4.0, 4.0, a), tables.LOG_ERFC))
    return copysign(select(a < 0.9375, _erf_near(a, "f32"), far), x)


def _erfc_far(a: V, key: str) -> V:
    """erfc(a), a >= 0: exp(-a^2) with the rounding error of a^2 made good."""
    a = clamp(a, 0.0, 27.5)
    e = horner((a - 4.0) / (a + 4.0), tables.ERFCX[key]) / fma(a, 2.0, 1.0)
    square = a * a
    lost = fma(a, a, -square)
    return fma(-lost, e, e) * exp(-square)


def erf_f64(x: V) -> V:
    a = fabs(x)
    return copysign(select(a < 1.0, _erf_near(a, "f64"), 1.0 - _erfc_far(a, "f64")), x)


def erfc(x: V, key: str = "f64") -> V:
    a = fabs(x)
    y = _erfc_far(a, key)
    return select(a < 0.5, 1.0 - _erf_near(x, key), select(x < 0.0, 2.0 - y, y))


def rsqrt(x: V) -> V:
    return 1.0 / sqrt(x)
