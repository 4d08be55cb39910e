"""Elementwise activation functions. Slopes, caps and scales are operands without a gradient, but PReLU's and Swish's have one."""
from math import pi, sqrt

import numpy as np

from hybridnn.core.arithmetic import where
from hybridnn.core.op import elementwise
from hybridnn.ops.math import exp, minimum, tanh
from hybridnn.ops.special import erf

SQRT_HALF, INV_SQRT_2PI = sqrt(.5), 1 / sqrt(2 * pi)
GELU_SCALE, GELU_CUBIC = sqrt(2 / pi), .044715


def _signed(*numbers):
    """Samples: an array away from zero, then the numbers."""
    return lambda rng, dtype: [(((rng.uniform(.2, 2, (2, 3)) * rng.choice([-1, 1], (2, 3))).astype(dtype), *numbers), {})]


def _with_parameter(rng, dtype):
    (x,), attrs = _signed()(rng, dtype)[0]
    return [((x, rng.uniform(.1, .9, (3,)).astype(dtype)), attrs)]


_ZERO = {np.dtype(t): np.zeros((), t) for t in "efd"}


def _relu(x):
    """With a zero at hand, NumPy need not convert one: half the time for small arrays."""
    zero = _ZERO.get(getattr(x, "dtype", None))
    return np.maximum(x, 0 if zero is None else zero)


@elementwise(fast=_relu, samples=_signed())
def relu(xp, x):
    """max(x, 0)"""
    return xp.maximum(x, 0)


@relu.vjp
def _(g, y):
    return g * (y > 0)


@elementwise(samples=_signed(1.1))
def clipped_relu(xp, x, z):
    """min(max(0, x), z)"""
    return xp.minimum(xp.maximum(0, x), z)


@clipped_relu.vjp_of("x")
def _(g, x, z):
    return g * (x > 0) * (x < z)


@elementwise(samples=_signed(.2))
def leaky_relu(xp, x, slope):
    """x where x >= 0, else slope * x."""
    return xp.where(x >= 0, x, x * slope)


@leaky_relu.vjp_of("x")
def _(g, x, slope):
    return where(x <= 0, g * slope, g)      # at 0 the slope, as in Chainer


@elementwise(samples=_signed(.7))
def elu(xp, x, alpha):
    """x where x >= 0, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    return xp.where(x >= 0, x, xp.expm1(xp.minimum(x, 0)) * alpha)


@elu.vjp_of("x")
def _(g, x, alpha):
    return where(x > 0, g, g * (exp(minimum(x, 0)) * alpha))    # at 0 alpha, as in Chainer


@elementwise(samples=_with_parameter)
def prelu(xp, x, w):
    """x where x >= 0, else w * x, with a learnt slope (He et al. 2015)."""
    return xp.where(x >= 0, x, x * w)


@prelu.vjp_of("x")
def _(g, x, w):
    return where(x >= 0, g, g * w)


@prelu.vjp_of("w")
def _(g, x):
    return g * minimum(x, 0)


def _logistic(xp, x):
    """1 / (1 + exp(-x)), without overflow: exp only sees numbers <= 0."""
    e = xp.exp(-xp.absolute(x))
    top = xp.maximum(e, xp.sign(x)) if xp is np else xp.where(x < 0, e, 1)  # the same; `where` costs NumPy five times as much
    return top / (1 + e)


@elementwise()
def sigmoid(xp, x):
    """1 / (1 + exp(-x)), without overflow."""
    return _logistic(xp, x)


@sigmoid.vjp
def _(g, y):
    return g * (y * (1 - y))


@elementwise(samples=lambda rng, dtype: [((np.array([[-4, -2, -.3], [.4, 2.2, 3]]).astype(dtype),), {})])
def hard_sigmoid(xp, x):
    """0.2 x + 0.5, held between 0 and 1."""
    return xp.minimum(xp.maximum(x * .2 + .5, 0), 1)


@hard_sigmoid.vjp
def _(g, x):
    return g * (x > -2.5) * (x < 2.5) * .2


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), 1.7), {})])
def softplus(xp, x, beta):
    """log(1 + exp(beta * x)) / beta, without overflow."""
    bx = x * beta
    return (xp.maximum(bx, 0) + xp.log1p(xp.exp(-xp.absolute(bx)))) / beta


@softplus.vjp_of("x")
def _(g, x, beta):
    return g * sigmoid(x * beta)


@elementwise(samples=_with_parameter)
def swish(xp, x, beta):
    """x * sigmoid(beta * x) with a learnt beta (Ramachandran et al. 2017)."""
    bx = x * beta
    return x * _logistic(xp, bx)


@swish.vjp_of("x")
def _(g, x, beta, y):
    s, by = sigmoid(x * beta), y * beta
    return g * (by + s * (1 - by))


@swish.vjp_of("beta")
def _(g, x, y):
    return g * (y * (x - y))


@elementwise()
def silu(xp, x):
    """x * sigmoid(x)"""
    return x * _logistic(xp, x)


@silu.vjp
def _(g, x, y):
    s = sigmoid(x)
    return g * (y + s * (1 - y))


@elementwise()
def mish(xp, x):
    """x * tanh(log(1 + exp(x))) (Misra 2019)."""
    return x * xp.tanh(xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.absolute(x))))


@mish.vjp
def _(g, x):
    t = tanh(softplus(x, 1))
    return g * (t + x * sigmoid(x) * (1 - t * t))


@elementwise(samples=lambda rng, dtype: [((np.array([[-4, -2, -.3], [.4, 2.2, 3.5]]).astype(dtype),), {})])
def hardswish(xp, x):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6


@hardswish.vjp
def _(g, x):
    return g * ((x >= 3) + (x > -3) * (x < 3) * (x * 2 + 3) / 6)


@elementwise(multi=True)
def gelu(xp, x):
    """GELU, x times the probability that a normal number is below x, which is (1 + erf(x / sqrt(2))) / 2; and that probability, so that the gradient computes
    no second erf."""
    below = (erf.forward(xp, x * SQRT_HALF) + 1) * .5
    return x * below, below


@gelu.vjp
def _(gs, ys, x):
    g, g_below = gs
    density = exp(x * x * -.5) * INV_SQRT_2PI
    total = 0 if g is None else g * (ys[1] + x * density)
    return total if g_below is None else total + g_below * density


@elementwise()
def gelu_tanh(xp, x):
    """GELU by its tanh formula: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    return x * (xp.tanh((x + x * x * x * GELU_CUBIC) * GELU_SCALE) + 1) * .5


@gelu_tanh.vjp
def _(g, x):
    xx = x * x
    t = tanh((x + x * xx * GELU_CUBIC) * GELU_SCALE)
    return g * ((t + 1) * .5 + x * (1 - t * t) * (xx * (3 * GELU_CUBIC) + 1) * (GELU_SCALE * .5))
