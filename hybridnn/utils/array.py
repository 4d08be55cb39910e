"""Helpers for arrays."""
from math import prod

import numpy as np

from hybridnn.backend import get_array_module
from hybridnn.config import warn

__all__ = ["as_mat", "as_vec", "empty_like", "force_array", "force_type", "size_of_shape", "sum_to"]


def _deprecated(name, instead):
    warn(f"utils.array.{name} is deprecated: use {instead}", DeprecationWarning, stacklevel=3)


def as_vec(x):
    """``x.ravel()``. Deprecated, as in Chainer."""
    _deprecated("as_vec", "numpy.ravel")
    return x if x.ndim == 1 else x.ravel()


def as_mat(x):
    """``x`` with all axes but the first joined. Deprecated, as in Chainer."""
    _deprecated("as_mat", "numpy.reshape")
    return x if x.ndim == 2 else x.reshape(len(x), -1)


def empty_like(x):
    """``numpy.empty_like(x)``, or CuPy's. Deprecated, as in Chainer."""
    _deprecated("empty_like", "numpy.empty_like")
    return get_array_module(x).empty_like(x)


def force_array(x, dtype=None):
    """``x`` as an array: NumPy turns results without axes into scalars, this turns them back."""
    if np.isscalar(x):
        return np.array(x, dtype)
    return x if dtype is None else x.astype(dtype, copy=False)


def force_type(dtype, value):
    """A number or array in ``dtype``."""
    if np.isscalar(value):
        return np.dtype(dtype).type(value)
    return value.astype(dtype, copy=False)


def size_of_shape(shape):
    """Number of elements of an array of this shape."""
    return int(prod(shape))


def sum_to(x, shape):
    """An array summed over the axes that broadcasting ``shape`` to ``x.shape`` would add or repeat."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1)
    return x.sum(axis=axes, keepdims=True).reshape(shape)
