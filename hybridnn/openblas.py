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

__all__ = ["LARGE", "Control", "control", "crowd", "factored", "product"]

_SMALL, LARGE = 5e5, 2e7      # operations of one product between which OpenBLAS would use threads that do not pay, or risk too much
_MANY_ROWS = 512              # of a matrix that is factored; up to there, two idle cores are 1 to 1.7 times as fast as one


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
    return _on_one_thread(np.matmul, a, b, out) if flops > _SMALL and (flops < LARGE or _crowds[0]) else np.matmul(a, b, out)


def factored(function, x):
    """``function(x)``, which factors the matrices in the last two axes, on one thread unless these are large: threads meet again for every few columns, which
    took 155 ms in place of 0.27 for the inverse of 100 rows while other processes ran."""
    return function(x) if x.shape[-1] > _MANY_ROWS or type(x) is not np.ndarray else _on_one_thread(function, x)


def _on_one_thread(function, *args):
    found = control()
    if found is None or found.get() != found.count:
        return function(*args)
    found.set(1)
    try:
        return function(*args)
    finally:
        found.set(found.count)
