"""Softmax, its logarithm and log-sum-exp: coarse for eager speed, with decompositions that a trace can fuse row by row."""
import numpy as np

from hybridnn.core.arithmetic import absolute, log, where
from hybridnn.core.op import operation
from hybridnn.core.shapes import broadcast_to, keepdims_shape, reshape, sum_
from hybridnn.ops.math import exp
from hybridnn.ops.reduction import amax


def _samples(rng, dtype):
    yield (rng.normal(size=(3, 4)).astype(dtype),), {"axis": (1,)}
    yield (rng.normal(size=(2, 3, 2)).astype(dtype),), {"axis": (0,)}


def _softmax_parts(x, axis):
    e = exp(x - amax(x, axis=axis, keepdims=True))
    return e / sum_(e, axis=axis, keepdims=True)


@operation(samples=_samples, decompose=_softmax_parts)
def softmax(xp, x, *, axis):
    """exp(x) over its sum along ``axis`` (a tuple), shifted by the maximum."""
    y = x - x.max(axis=axis, keepdims=True)
    xp.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y


@softmax.vjp
def _(g, y, axis):
    gy = g * y
    return gy - y * sum_(gy, axis=axis, keepdims=True)


def _log_softmax_parts(x, axis):
    d = x - amax(x, axis=axis, keepdims=True)
    return d - log(sum_(exp(d), axis=axis, keepdims=True))


@operation(samples=_samples, decompose=_log_softmax_parts)
def log_softmax(xp, x, *, axis):
    """Logarithm of softmax along ``axis`` (a tuple), exact where softmax itself would vanish."""
    y = x - x.max(axis=axis, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y


@log_softmax.vjp
def _(g, y, axis):
    return g - exp(y) * sum_(g, axis=axis, keepdims=True)


def _finite_maximum(x, axis):
    m = amax(x, axis=axis, keepdims=True)
    return where(absolute(m) < np.inf, m, 0)


def _logsumexp_parts(x, axis, keepdims):
    m = _finite_maximum(x, axis)
    y = log(sum_(exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else reshape(y, shape=_reduced(x.shape, axis))


def _reduced(shape, axis):
    return tuple(n for i, n in enumerate(shape) if not (axis is None or i in axis))


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 3, 2)).astype(dtype),), {"axis": a, "keepdims": k})
                                       for a, k in ((None, False), ((1,), False), ((0, 2), True))], decompose=_logsumexp_parts)
def logsumexp(xp, x, *, axis=None, keepdims=False):
    """log(sum(exp(x))) over axes (a tuple; None: all), shifted by the maximum where that is finite."""
    m = x.max(axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))
    with np.errstate(divide="ignore"):
        y = xp.log(xp.exp(x - m).sum(axis=axis, keepdims=True)) + m
    return y if keepdims else y.reshape(_reduced(x.shape, axis))


@logsumexp.vjp
def _(g, x, y, axis):
    shape = keepdims_shape(x.shape, axis)
    return exp(x - reshape(y, shape=shape)) * broadcast_to(reshape(g, shape=shape), shape=x.shape)
