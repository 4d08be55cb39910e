"""``numpy.random.rand`` by native code: the same numbers from the same state, in a third of the time."""
from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable

import numpy as np

__all__ = ["rand"]

FEW = 1000          # numbers below which NumPy is as fast

_numpys = np.random.rand


def rand(*shape: int) -> np.ndarray:
    """``numpy.random.rand(*shape)``: float64 numbers in [0, 1) from NumPy's global stream."""
    size = math.prod(shape)
    if size < FEW or np.random.rand is not _numpys:
        return np.random.rand(*shape)
    source = np.random.get_bit_generator()
    if type(source) is not np.random.MT19937 or not _agrees():
        return np.random.rand(*shape)
    y = np.empty(shape)
    _fill(source, y)
    return y


def _fill(source: np.random.MT19937, y: np.ndarray) -> None:
    with source.lock:
        _uniform()(source.ctypes.state_address, y.__array_interface__["data"][0], y.size)


@functools.cache
def _agrees() -> bool:
    """Whether this NumPy's states lie in memory as they are read here: tried from a position where a number's words are of two blocks."""
    ours, theirs = (np.random.RandomState(np.random.MT19937(5)) for _ in range(2))
    for r in (ours, theirs):
        r.randint(0, 2**32, dtype=np.uint32)
    y = np.empty(1248)
    _fill(ours._bit_generator, y)
    expected = theirs.rand(y.size)
    (_, words, at, *_), (_, their_words, their_at, *_) = (r.get_state() for r in (ours, theirs))
    return bool(np.array_equal(y, expected) and at == their_at and np.array_equal(words, their_words))


@functools.cache
def _uniform() -> Callable[[int, int, int], None]:
    from hybridnn.jit import lowlevel, mersenne  # llvmlite takes 0.1 s to import: not before many numbers are drawn

    code = lowlevel.load("mersenne", mersenne.emit)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(code.address("hnn_uniform"))
