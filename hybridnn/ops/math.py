"""Elementwise mathematics."""
from math import log as _ln

import numpy as np

from hybridnn.core.op import elementwise

LN2, LN10 = _ln(2.0), _ln(10.0)


def distinct_pairs(rng, dtype):
    """Two operands, the second broadcast, that are nowhere near each other; each is the larger somewhere."""
    return [((rng.uniform(-1, 1, (2, 3)).astype(dtype), np.array([-2, 2, 3]).astype(dtype)), {})]


# ------------------------------------------------------------------------------------------------- exponentials and logarithms

@elementwise(fast=np.exp)
def exp(xp, x):
    """e to the power x."""
    return xp.exp(x)


@exp.vjp
def _(g, y):
    return g * y


@elementwise(fast=np.expm1)
def expm1(xp, x):
    """exp(x) - 1, exact for small x."""
    return xp.expm1(x)


@expm1.vjp
def _(g, y):
    return g * (y + 1)


@elementwise(fast=np.log2, domain=(.2, 3.0))
def log2(xp, x):
    """Logarithm to base 2."""
    return xp.log2(x)


@log2.vjp
def _(g, x):
    return g / (x * LN2)


@elementwise(fast=np.log10, domain=(.2, 3.0))
def log10(xp, x):
    """Logarithm to base 10."""
    return xp.log10(x)


@log10.vjp
def _(g, x):
    return g / (x * LN10)


@elementwise(fast=np.log1p, domain=(-.5, 3.0))
def log1p(xp, x):
    """log(1 + x), exact for small x."""
    return xp.log1p(x)


@log1p.vjp
def _(g, x):
    return g / (x + 1)


# ------------------------------------------------------------------------------------------------------------ powers and roots

@elementwise(fast=np.square)
def square(xp, x):
    """x * x"""
    return xp.square(x)


@square.vjp
def _(g, x):
    return g * (x * 2)


@elementwise(fast=np.sqrt, domain=(.3, 3.0))
def sqrt(xp, x):
    """Square root."""
    return xp.sqrt(x)


@sqrt.vjp
def _(g, y):
    return g / (y * 2)


@elementwise(domain=(.3, 3.0))
def rsqrt(xp, x):
    """1 / sqrt(x)"""
    return 1 / xp.sqrt(x)


@rsqrt.vjp
def _(g, x, y):
    return g * y / x * -.5


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(3,)).astype(dtype)), {})])
def squared_difference(xp, x0, x1):
    """(x0 - x1) ** 2"""
    d = x0 - x1
    return d * d


@squared_difference.vjp_of("x0")
def _(g, x0, x1):
    return g * ((x0 - x1) * 2)


@squared_difference.vjp_of("x1")
def _(g, x0, x1):
    return g * ((x1 - x0) * 2)


# --------------------------------------------------------------------------------------------------------------- trigonometry

@elementwise(fast=np.sin)
def sin(xp, x):
    """Sine."""
    return xp.sin(x)


@sin.vjp
def _(g, x):
    return g * cos(x)


@elementwise(fast=np.cos)
def cos(xp, x):
    """Cosine."""
    return xp.cos(x)


@cos.vjp
def _(g, x):
    return -(g * sin(x))


@elementwise(fast=np.tan, domain=(-1.2, 1.2))
def tan(xp, x):
    """Tangent."""
    return xp.tan(x)


@tan.vjp
def _(g, y):
    return g * (y * y + 1)


@elementwise(fast=np.arcsin, domain=(-.9, .9))
def arcsin(xp, x):
    """Inverse sine, in [-pi/2, pi/2]."""
    return xp.arcsin(x)


@arcsin.vjp
def _(g, x):
    return g * rsqrt(1 - x * x)


@elementwise(fast=np.arccos, domain=(-.9, .9))
def arccos(xp, x):
    """Inverse cosine, in [0, pi]."""
    return xp.arccos(x)


@arccos.vjp
def _(g, x):
    return -(g * rsqrt(1 - x * x))


@elementwise(fast=np.arctan)
def arctan(xp, x):
    """Inverse tangent, in [-pi/2, pi/2]."""
    return xp.arctan(x)


@arctan.vjp
def _(g, x):
    return g / (x * x + 1)


@elementwise(fast=np.arctan2, domain=(.3, 2.0))
def arctan2(xp, x1, x2):
    """Angle of the point (x2, x1), in [-pi, pi]."""
    return xp.arctan2(x1, x2)


@arctan2.vjp_of("x1")
def _(g, x1, x2):
    return g * x2 / (x1 * x1 + x2 * x2)


@arctan2.vjp_of("x2")
def _(g, x1, x2):
    return -(g * x1) / (x1 * x1 + x2 * x2)


@elementwise(fast=np.sinh)
def sinh(xp, x):
    """Hyperbolic sine."""
    return xp.sinh(x)


@sinh.vjp
def _(g, x):
    return g * cosh(x)


@elementwise(fast=np.cosh)
def cosh(xp, x):
    """Hyperbolic cosine."""
    return xp.cosh(x)


@cosh.vjp
def _(g, x):
    return g * sinh(x)


@elementwise(fast=np.tanh)
def tanh(xp, x):
    """Hyperbolic tangent."""
    return xp.tanh(x)


@tanh.vjp
def _(g, y):
    return g * (1 - y * y)


@elementwise(fast=np.arctanh, domain=(-.8, .8))
def arctanh(xp, x):
    """Inverse hyperbolic tangent, for |x| < 1."""
    return xp.arctanh(x)


@arctanh.vjp
def _(g, x):
    return g / (1 - x * x)


# ------------------------------------------------------------------------------------------------- rounding (gradient: none)

@elementwise(fast=np.floor)
def floor(xp, x):
    """The largest whole number not above x."""
    return xp.floor(x)


@elementwise(fast=np.ceil)
def ceil(xp, x):
    """The smallest whole number not below x."""
    return xp.ceil(x)


@elementwise(fast=np.trunc)
def fix(xp, x):
    """x without its fraction."""
    return xp.trunc(x)


# -------------------------------------------------------------------------------------------------------- choice and remainder

@elementwise(fast=np.maximum, samples=distinct_pairs)
def maximum(xp, x1, x2):
    """The larger of both; NaN if either is. At a tie the gradient goes to ``x1``."""
    return xp.maximum(x1, x2)


@maximum.vjp_of("x1")
def _(g, x1, x2):
    return g * (x1 >= x2)


@maximum.vjp_of("x2")
def _(g, x1, x2):
    return g * (x1 < x2)


@elementwise(fast=np.minimum, samples=distinct_pairs)
def minimum(xp, x1, x2):
    """The smaller of both; NaN if either is. At a tie the gradient goes to ``x1``."""
    return xp.minimum(x1, x2)


@minimum.vjp_of("x1")
def _(g, x1, x2):
    return g * (x1 <= x2)


@minimum.vjp_of("x2")
def _(g, x1, x2):
    return g * (x1 > x2)


def _clip_samples(rng, dtype):
    return [((rng.permutation(np.array([-2, -1, -.3, .2, .9, 3])).reshape(2, 3).astype(dtype), -.5, .5), {})]


@elementwise(samples=_clip_samples)
def clip(xp, x, low, high):
    """x held between two numbers. The gradient passes where low <= x <= high."""
    return xp.minimum(xp.maximum(x, low), high)


@clip.vjp_of("x")
def _(g, x, low, high):
    return g * (x >= low) * (x <= high)


def _fmod_samples(rng, dtype):
    x = rng.choice([-1, 1], (2, 3)) * rng.uniform(3.1, 3.9, (2, 3))
    return [((x.astype(dtype), rng.uniform(1.35, 1.45, (3,)).astype(dtype)), {})]


@elementwise(fast=np.fmod, samples=_fmod_samples)
def fmod(xp, x, divisor):
    """Remainder of the division rounded toward zero: it has the sign of x."""
    return xp.fmod(x, divisor)


@fmod.vjp_of("x")
def _(g):
    return g


@fmod.vjp_of("divisor")
def _(g, x, divisor):
    return -(g * fix(x / divisor))


@elementwise(samples=lambda rng, dtype: [(tuple(rng.uniform(.1, .9, (2, 3)).astype(dtype) for _ in range(3)), {})])
def linear_interpolate(xp, p, x, y):
    """p * x + (1 - p) * y"""
    return p * x + (1 - p) * y


@linear_interpolate.vjp_of("p")
def _(g, x, y):
    return g * (x - y)


@linear_interpolate.vjp_of("x")
def _(g, p):
    return g * p


@linear_interpolate.vjp_of("y")
def _(g, p):
    return g * (1 - p)
