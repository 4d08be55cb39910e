"""Standardisation, the one operation behind layer, batch, group and instance normalisation, and its small helpers."""

import numpy as np

from hybridnn.core.arithmetic import cast, mul, sub, where
from hybridnn.core.op import elementwise, operation
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape, sum_, transpose
from hybridnn.openblas import factored
from hybridnn.ops.math import rsqrt

__all__ = ["constant", "inverse_sqrt", "lyapunov", "running_average", "safe_sqrt", "standardize"]


def _samples(rng, dtype):
    yield (rng.normal(size=(4, 5)).astype(dtype), 1e-3), {"axis": (1,)}
    yield (rng.normal(size=(3, 2, 2)).astype(dtype), 1e-3), {"axis": (0, 2)}


def _count(shape, axis):
    n = 1
    for a in axis:
        n *= shape[a]
    return n


def _decompose(x, eps, *, axis):
    dtype = np.dtype(x.dtype)
    if dtype == np.float16:
        x = cast(x, dtype="float32")
    scale = 1 / max(_count(x.shape, axis), 1)
    mean = sum_(x, axis=axis, keepdims=True) * scale
    centred = sub(x, mean)
    var = sum_(mul(centred, centred), axis=axis, keepdims=True) * scale
    y = centred * rsqrt(var + eps)
    return (cast(y, dtype=dtype.str) if dtype == np.float16 else y), mean, var


@operation(kind="coarse", multi=True, samples=_samples, decompose=_decompose)
def standardize(xp, x, eps, *, axis):
    """``(x - mean) / sqrt(var + eps)`` over ``axis`` (a tuple), and the mean and (biased) variance with those axes kept as 1.

    float16 is computed, and its statistics are returned, in float32.
    """
    work = x.astype("float32") if x.dtype == np.float16 else x
    scale = 1 / max(_count(x.shape, axis), 1)
    mean = xp.add.reduce(work, axis, keepdims=True) * scale
    centred = work - mean
    var = xp.add.reduce(centred * centred, axis, keepdims=True) * scale
    centred *= 1 / xp.sqrt(var + eps)
    return centred.astype(x.dtype, copy=False), mean, var


@standardize.vjp_of("x")
def _(gs, ys, eps, shapes, axis):
    y, _, var = ys
    g, g_mean, g_var = gs
    scale = 1 / max(_count(shapes[0], axis), 1)
    inv_std = rsqrt(var + eps)
    gx = 0
    if g is not None:
        mean_g = sum_(g, axis=axis, keepdims=True) * scale
        mean_gy = sum_(g * y, axis=axis, keepdims=True) * scale
        gx = (g - mean_g - y * mean_gy) * inv_std
    if g_mean is not None:
        gx = gx + g_mean * scale
    if g_var is not None:
        gx = gx + (2 * scale) * g_var * y / inv_std
    if gx.shape != shapes[0]:
        gx = gx + y * 0
    return gx


def _running_samples(rng, dtype):
    yield (rng.normal(size=3).astype(dtype), rng.normal(size=(1, 3, 1)).astype(dtype), 0.9, 0.15), {}


def _running_decompose(running, value, decay, gain):
    value = reshape(value, shape=tuple(running.shape))
    return cast(running * decay + value * gain, dtype=np.dtype(running.dtype).str)


@operation(kind="coarse", samples=_running_samples, decompose=_running_decompose)
def running_average(xp, running, value, decay, gain):
    """``decay * running + gain * value``: the new running statistic, in its own shape and dtype."""
    return (running * decay + value.reshape(running.shape) * gain).astype(running.dtype, copy=False)


@running_average.vjp
def _(g, decay, gain, shapes):
    return g * decay, reshape(g * gain, shape=shapes[1]), None, None


@elementwise()
def constant(xp, x):
    """The value itself, through which no gradient flows."""
    return x


@elementwise(domain=(0.3, 3.0))
def safe_sqrt(xp, x):
    """Square root whose gradient at zero is zero."""
    return xp.sqrt(x)


@safe_sqrt.vjp
def _(g, y):
    zero = y == 0
    return where(zero, 0, g / (where(zero, 1, y) * 2))


# ------------------------------------------------------------------------------------------- inverse square roots of matrices


def _eigen(xp, x):
    """Eigenvalues and vectors of the symmetric part; float16 is computed in float32, which the caller takes back."""
    x = x.astype("float32") if x.dtype == np.float16 else x
    return factored(xp.linalg.eigh, (x + x.swapaxes(-1, -2)) / 2)


def _symmetrized(x):
    n = len(x.shape)
    return (x + transpose(x, axes=(*range(n - 2), n - 1, n - 2))) * 0.5


def _positive(rng, dtype):
    x = rng.normal(size=(2, 3, 3))
    return (x @ x.swapaxes(1, 2) + np.eye(3)).astype(dtype)


def _dot(a, b):
    return matmul(a, b, transa=False, transb=False)


@operation(samples=lambda rng, dtype: [((_positive(rng, dtype),), {})])
def inverse_sqrt(xp, x):
    """The symmetric inverse square root of positive definite matrices (..., n, n), of which the symmetric part counts."""
    values, vectors = _eigen(xp, x)
    return ((vectors * (1 / xp.sqrt(values))[..., None, :]) @ vectors.swapaxes(-1, -2)).astype(x.dtype, copy=False)


@inverse_sqrt.vjp
def _(g, x, y):
    # With s = x ** 1/2 and y = s ** -1: dy = -y ds y, and ds solves s ds + ds s = dx.
    root = _dot(_symmetrized(x), y)
    return -lyapunov(root, _dot(_dot(y, _symmetrized(g)), y))


@operation(samples=lambda rng, dtype: [((_positive(rng, dtype), rng.normal(size=(2, 3, 3)).astype(dtype)), {})])
def lyapunov(xp, s, b):
    """The solution x of ``s x + x s = b`` for positive definite s (..., n, n), of which the symmetric part counts."""
    values, vectors = _eigen(xp, s)
    turned = vectors.swapaxes(-1, -2)
    x = (turned @ b @ vectors) / (values[..., :, None] + values[..., None, :])
    return (vectors @ x @ turned).astype(b.dtype, copy=False)


@lyapunov.vjp
def _(g, s, y):
    gb = lyapunov(s, g)
    gs = matmul(gb, y, transa=False, transb=True) + matmul(y, gb, transa=True, transb=False)
    return -_symmetrized(gs), gb
