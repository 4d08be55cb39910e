"""``numpy.random.rand`` by native code: the same numbers from the same state, in a third of the time. And where a stream of NumPy's or Python's stands, in a
thirtieth."""
from __future__ import annotations

import ctypes
import functools
import math
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["go_back", "position", "put_words", "rand", "words_of"]

FEW = 1000          # numbers below which NumPy is as fast
STATE = 4 * 625     # bytes of a Mersenne twister: its words, and which is the next

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


def position(stream: Any) -> tuple[np.random.MT19937, bytes] | None:
    """Where ``numpy.random`` or a ``RandomState`` stands, for ``go_back``; None if its numbers have another source. A normal number that the stream keeps
    for the next call is no part of it."""
    source = np.random.get_bit_generator() if stream is np.random else stream._bit_generator
    if type(source) is not np.random.MT19937 or not _goes_back():
        return None
    with source.lock:
        return source, ctypes.string_at(source.ctypes.state_address, STATE)


def go_back(found: tuple[np.random.MT19937, bytes]) -> None:
    """The stream goes on where ``position`` found it."""
    source, words = found
    with source.lock:
        ctypes.memmove(source.ctypes.state_address, words, STATE)


@functools.cache
def _goes_back() -> bool:
    """Whether all of this NumPy's states lies in the memory that is kept: tried over the end of a block of words."""
    source = np.random.MT19937(5)
    stream = np.random.RandomState(source)
    stream.rand(100)
    before = stream.get_state()
    words = ctypes.string_at(source.ctypes.state_address, STATE)
    first = stream.rand(1000)
    go_back((source, words))
    (_, key, at, *_), (_, found, where, *_) = before, stream.get_state()
    return bool(np.array_equal(key, found) and at == where and np.array_equal(first, stream.rand(1000)))


def words_of(stream: random.Random) -> bytes | None:
    """Where a generator of Python's stands, for ``put_words``; None if this interpreter's lie otherwise. ``getstate`` makes 625 ints of it."""
    return ctypes.string_at(id(stream) + object.__basicsize__, STATE) if _python_goes_back() else None


def put_words(stream: random.Random, words: bytes) -> None:
    """The generator goes on where ``words_of`` found it."""
    ctypes.memmove(id(stream) + object.__basicsize__, words, STATE)


@functools.cache
def _python_goes_back() -> bool:
    """Whether all of a generator's state lies behind the head of its object, in this interpreter: looked at, and tried, over the end of a block of words."""
    if sys.implementation.name != "cpython" or random.Random.__base__.__basicsize__ < object.__basicsize__ + STATE:
        return False
    stream = random.Random(5)
    for _ in range(100):
        stream.random()
    before = stream.getstate()[1]
    words = ctypes.string_at(id(stream) + object.__basicsize__, STATE)
    numbers = np.frombuffer(words, np.uint32).tolist()
    if (*numbers[1:], numbers[0]) != before:
        return False
    first = [stream.random() for _ in range(1000)]
    put_words(stream, words)
    return stream.getstate()[1] == before and first == [stream.random() for _ in range(1000)]


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
