"""``numpy.random.rand`` by native code: the same numbers from the same state, in a third of the time. And where a stream of NumPy's or Python's stands, in a
thirtieth."""
from __future__ import annotations

import ctypes
import functools
import math
import random
import struct
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["go_back", "position", "put_words", "rand", "words_of"]

FEW = 1000          # numbers below which NumPy is as fast
STATE = 4 * 625     # bytes of a Mersenne twister: its words, and which is the next
NORMAL = 16         # bytes in which a ``RandomState`` keeps a normal number: whether it does, and the number

Position: TypeAlias = tuple[np.random.RandomState, np.random.MT19937, bytes, bytes]

_numpys = np.random.rand
_numpys_own = np.random.mtrand._rand


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


def position(stream: Any) -> Position | None:
    """Where ``numpy.random`` or a ``RandomState`` stands, for ``go_back``; None if its numbers have another source, or are kept elsewhere."""
    owner = _numpys_own if stream is np.random else stream
    source, kept = owner._bit_generator, _kept_normal()
    if type(source) is not np.random.MT19937 or kept is None:
        return None
    with source.lock:
        return owner, source, ctypes.string_at(source.ctypes.state_address, STATE), ctypes.string_at(id(owner) + kept, NORMAL)


def go_back(found: Position) -> None:
    """The stream goes on where ``position`` found it."""
    owner, source, words, normal = found
    kept = _kept_normal()
    assert kept is not None
    with source.lock:
        ctypes.memmove(source.ctypes.state_address, words, STATE)
        ctypes.memmove(id(owner) + kept, normal, NORMAL)


@functools.cache
def _kept_normal() -> int | None:
    """Where in a ``RandomState`` lie whether it keeps a normal number for the next call, and that number. None if not all of this NumPy's states lies there
    and in the words of its source: looked at, and tried, over the end of a block of words."""
    source = np.random.MT19937(5)
    stream = np.random.RandomState(source)
    stream.normal(size=101)
    number, memory = stream.get_state()[4], ctypes.string_at(id(stream), type(stream).__basicsize__)
    kept = memory.find(struct.pack("d", number)) - 8
    if kept < object.__basicsize__ or memory.find(struct.pack("d", number), kept + 9) >= 0:
        return None
    for _ in range(2):      # the second time, no number is kept
        before = stream.get_state()
        words, normal = ctypes.string_at(source.ctypes.state_address, STATE), ctypes.string_at(id(stream) + kept, NORMAL)
        if struct.unpack("i", normal[:4]) != before[3:4]:
            return None
        first = [*stream.rand(1000), *stream.normal(size=4)]
        ctypes.memmove(source.ctypes.state_address, words, STATE)
        ctypes.memmove(id(stream) + kept, normal, NORMAL)
        (_, key, *rest), (_, found, *there) = before, stream.get_state()
        if not np.array_equal(key, found) or rest != there or first != [*stream.rand(1000), *stream.normal(size=4)]:
            return None
        stream.normal(size=1)
    return kept


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
