"""The affine map of a fully connected layer."""

import numpy as np

from hybridnn.core.arithmetic import add
from hybridnn.core.op import operation
from hybridnn.core.product import matmul
from hybridnn.core.shapes import sum_
from hybridnn.openblas import product

__all__ = ["linear"]


def _samples(rng, dtype):
    return [(tuple(rng.normal(size=s).astype(dtype) for s in ((4, 3), (2, 3), (2,))), {})]


def _decompose(x, W, b):
    return add(matmul(x, W, transa=False, transb=True), b)


def _fast(x, W, b):
    y = product(x, W.T)
    return np.add(y, b, y) if y.dtype is b.dtype else y + b


@operation(kind="coarse", fast=_fast, samples=_samples, decompose=_decompose)
def linear(xp, x, W, b):
    """``x @ W.T + b`` for x (n, in), W (out, in), b (out,)."""
    return _fast(x, W, b) if xp is np else xp.matmul(x, W.T) + b


# On plain arrays the rules call NumPy directly: an op's dispatch would cost as much as a small product.


@linear.vjp_of("x")
def _(g, W):
    return product(g, W) if type(g) is np.ndarray else g @ W


@linear.vjp_of("W")
def _(g, x):
    return product(g.T, x) if type(g) is np.ndarray else matmul(g, x, transa=True, transb=False)


@linear.vjp_of("b")
def _(g):
    return np.add.reduce(g, 0) if type(g) is np.ndarray else sum_(g, axis=(0,), keepdims=False)
