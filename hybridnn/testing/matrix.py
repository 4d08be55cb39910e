"""Matrices with known singular values."""
import numpy as np

from hybridnn.utils.argument import parse_kwargs

__all__ = ["generate_matrix"]


def generate_matrix(shape, dtype=float, **kwargs):
    """Random matrices (the last two axes of ``shape``) with given singular values.

    Args:
        shape, dtype: of the result; a floating or complex type.
        singular_values: number or array that broadcasts to ``shape[:-2] + (min(shape[-2:]),)``; not negative.
    """
    values, = parse_kwargs(kwargs, ("singular_values", None))
    dtype = np.dtype(dtype)
    if len(shape) < 2:
        raise ValueError(f"a matrix has two axes or more; shape is {shape}")
    if dtype.kind not in "fc":
        raise TypeError(f"dtype is floating or complex, not {dtype}")
    if values is None or not np.isrealobj(np.asarray(values)):
        raise TypeError("singular_values are real numbers, and have to be given")
    if (np.asarray(values) < 0).any():
        raise ValueError("singular values are not negative")
    values = np.broadcast_to(values, (*shape[:-2], min(shape[-2:])))
    if 0 in shape:
        return np.empty(shape, dtype)
    a = np.random.randn(*shape)
    if dtype.kind == "c":
        a = a + 1j * np.random.randn(*shape)
    u, _, v = np.linalg.svd(a, full_matrices=False)
    return ((u * values[..., None, :]) @ v).astype(dtype)


_broadcast_to = np.broadcast_to      # Chainer's name, which its tests use
