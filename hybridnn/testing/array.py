"""Comparing and preparing arrays."""
import numpy as np

from hybridnn.backend import CpuDevice, get_array_module, there
from hybridnn.utils import force_array

__all__ = ["as_noncontiguous", "assert_allclose"]


def assert_allclose(x, y, atol=1e-5, rtol=1e-4, verbose=True):
    """Raise ``AssertionError``, with the worst element, unless ``|x - y| <= atol + rtol |y|`` everywhere.

    Args:
        x, y: arrays or numbers of any device; Variables count as their arrays.
        verbose: show the arrays.
    """
    x, y = (CpuDevice().send(force_array(getattr(a, "array", a))) for a in (x, y))
    try:
        np.testing.assert_allclose(x, y, atol=atol, rtol=rtol, verbose=verbose)
    except AssertionError as error:
        raise AssertionError(f"{error}\n\n{_worst(x, y, atol, rtol)}") from None


def _worst(x, y, atol, rtol):
    text = f"shapes {x.shape} {y.shape}, dtypes {x.dtype} {y.dtype}"
    if x.shape != y.shape or x.size == 0:
        return text
    a, b = np.atleast_1d(x).astype(np.float64), np.atleast_1d(y).astype(np.float64)
    with np.errstate(all="ignore"):
        error, allowed = abs(a - b), atol + rtol * abs(b)
        i = np.unravel_index(np.argmax(np.nan_to_num(error - allowed, nan=np.inf)), a.shape)
        relative = error[i] / abs(b[i])
    where = tuple(map(int, i))
    return f"{text}\nworst at {where}: {a[i]} against {b[i]}; error {error[i]} (relative {relative}), allowed {allowed[i]}"


def as_noncontiguous(array):
    """The same values in an array that is not contiguous (if it has several elements); sequences element by element."""
    if isinstance(array, (list, tuple)):
        return type(array)([as_noncontiguous(a) for a in array])
    if array is None or array.size <= 1:
        return array
    reversed_halves = (slice(None, None, -2),) * array.ndim
    with there(array):
        y = get_array_module(array).empty([2 * n for n in array.shape], array.dtype)[reversed_halves]
        y[...] = array
    return y


_as_noncontiguous_array = as_noncontiguous      # Chainer's name, which its tests use
