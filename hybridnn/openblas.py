"""OpenBLAS's threads around small products.

Below some million operations a second thread brings little, and with another process on its core it costs milliseconds (measured: a product
of 0.3 GFLOP went from 1.5 to 48 ms, a step with a hundred products of 10 MFLOP from 0.2 to more than a second). So the library runs
middle-sized products on one thread, and leaves alone a count that the user has set. The very small ones OpenBLAS runs on one thread itself.
"""
import contextlib
import ctypes
import functools
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LARGE", "Control", "control", "crowd", "product"]

_SMALL, LARGE = 5e5, 2e7      # operations of one product between which OpenBLAS would use threads that do not pay, or risk too much


@dataclass(frozen=True)
class Control:
    """OpenBLAS's functions that get and set its number of threads, and the number found first."""
    get: Any
    set: Any
    count: int

    def addresses(self):
        """The two functions' addresses."""
        return [ctypes.cast(f, ctypes.c_void_p).value for f in (self.get, self.set)]


@functools.cache
def control():
    """The control of NumPy's OpenBLAS; None if there is none, or if it has one thread anyway."""
    try:
        library = ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except OSError:
        return None
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("64_", ""):
            names = [f"{prefix}_{verb}_num_threads{suffix}" for verb in ("get", "set")]
            if all(hasattr(library, n) for n in names):
                get, setter = (getattr(library, n) for n in names)
                count = get()
                return Control(get, setter, count) if count > 1 else None
    return None


_crowds = [0]


@contextlib.contextmanager
def crowd():
    """While a thread of ours keeps a core busy for long: large products, too, take one thread meanwhile."""
    _crowds[0] += 1
    try:
        yield
    finally:
        _crowds[0] -= 1


def product(a, b, out=None):
    """``numpy.matmul(a, b, out)`` of arrays with two axes or more, on one thread where a second does not pay."""
    if a.size * b.shape[-1] < _SMALL / 2:
        return np.matmul(a, b, out)
    flops = 2. * a.shape[-2] * a.shape[-1] * b.shape[-1]
    found = control() if flops > _SMALL and (flops < LARGE or _crowds[0]) else None
    if found is None or found.get() != found.count:
        return np.matmul(a, b, out)
    found.set(1)
    try:
        return np.matmul(a, b, out)
    finally:
        found.set(found.count)
