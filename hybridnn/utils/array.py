"""Helpers for arrays."""
from math import prod

import numpy as np

__all__ = ["force_array", "force_type", "size_of_shape", "sum_to"]


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
