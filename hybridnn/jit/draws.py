"""Uniform and normal numbers of NumPy's Mersenne Twisters by native code: the same numbers from the same state, in a third of the time. And where a stream of
NumPy's or Python's stands, in a thirtieth."""
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

__all__ = ["are_many", "faster", "go_back", "position", "put_words", "rand", "standard_normal", "words_of"]

FEW = 800           # numbers below which NumPy is about as fast
STATE = 4 * 625     # bytes of a Mersenne twister: its words, and which is the next
NORMAL = 16         # bytes in which a ``RandomState`` keeps a normal number: whether it does, and the number
SOUND = 1e-100, 1e100      # scales that neither overflow nor lose bits

Position: TypeAlias = tuple[np.random.RandomState, np.random.MT19937, bytes, bytes]
Drawn: TypeAlias = "np.ndarray | None"

_numpys_own = np.random.mtrand._rand


def faster(draw: Callable, example: Any) -> Callable:
    """``draw``, or for a method of a ``RandomState``, as the functions of ``numpy.random`` are, that has drawn an array as large as this one, a function that
    draws the same in less time."""
    owner, name = getattr(draw, "__self__", None), getattr(draw, "__name__", "")
    ours = _METHODS.get(name) if type(owner) is np.random.RandomState and are_many(example) else None
    if ours is None or draw != getattr(owner, name):
        return draw

    def drawn(*args: Any, **kw: Any) -> Any:
        y = ours(owner, *args, **kw)
        return draw(*args, **kw) if y is None else y
    return drawn


def are_many(drawn: Any) -> bool:
    """Whether native code draws so many numbers in less time than NumPy."""
    return type(drawn) is np.ndarray and drawn.size >= FEW


def _of_numpy(name: str) -> Callable:
    """The function of ``numpy.random``, in less time unless the program puts another in its place."""
    numpys = getattr(np.random, name)
    ours = faster(numpys, np.empty(FEW))

    def drawn(*args: Any) -> Any:
        found = getattr(np.random, name)
        return (ours if found is numpys else found)(*args)
    return drawn


def _rand(owner: np.random.RandomState, *shape: Any) -> Drawn:
    return _drawn(owner, shape, _fill, _agrees)


def _random(owner: np.random.RandomState, size: Any = None) -> Drawn:
    return _drawn(owner, size, _fill, _agrees)


def _uniform(owner: np.random.RandomState, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Drawn:
    return _scaled(_random(owner, size), low, high - low) if _is_number(low) and _is_number(high) and _is_sound(high - low) else None


def _randn(owner: np.random.RandomState, *shape: Any) -> Drawn:
    return _drawn(owner, shape, _fill_normal, _agrees_on_normals)


def _standard_normal(owner: np.random.RandomState, size: Any = None) -> Drawn:
    return _drawn(owner, size, _fill_normal, _agrees_on_normals)


def _normal(owner: np.random.RandomState, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Drawn:
    return _scaled(_standard_normal(owner, size), loc, scale) if _is_number(loc) and _is_number(scale) and _is_sound(scale) else None


def _is_number(x: Any) -> bool:
    return type(x) in (int, float) and (x == 0 or _is_sound(abs(x)))


def _is_sound(x: float) -> bool:
    return SOUND[0] < x < SOUND[1]


def _scaled(y: Drawn, start: float, scale: float) -> Drawn:
    if y is not None:
        if scale != 1:
            y *= scale
        y += start
    return y


def _drawn(owner: np.random.RandomState, size: Any, fill: Callable, agrees: Callable) -> Drawn:
    """The numbers; None for few of them, where the numbers have another source or the shape is none, all of which is left to NumPy."""
    shape = (size,) if type(size) is int else size
    if type(shape) is not tuple or not all([type(n) is int and n >= 0 for n in shape]) or math.prod(shape) < FEW:
        return None
    source = owner._bit_generator
    if type(source) is not np.random.MT19937 or not agrees():
        return None
    y = np.empty(shape)
    fill(owner, source, y)
    return y


_METHODS = {"rand": _rand, "random_sample": _random, "random": _random, "uniform": _uniform, "randn": _randn, "standard_normal": _standard_normal,
            "normal": _normal}
rand, standard_normal = _of_numpy("rand"), _of_numpy("standard_normal")


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


def _fill(owner: np.random.RandomState, source: np.random.MT19937, y: np.ndarray) -> None:
    with source.lock:
        _native()[0](source.ctypes.state_address, y.__array_interface__["data"][0], y.size)


def _fill_normal(owner: np.random.RandomState, source: np.random.MT19937, y: np.ndarray) -> None:
    kept = _kept_normal()
    assert kept is not None
    with source.lock:
        _native()[1](source.ctypes.state_address, id(owner) + kept, y.__array_interface__["data"][0], y.size, _logarithm())


@functools.cache
def _agrees() -> bool:
    """Whether this NumPy's states lie in memory as they are read here: tried from a position where a number's words are of two blocks."""
    return _draws_alike(_fill, "random_sample", 1248)


@functools.cache
def _agrees_on_normals() -> bool:
    """Whether it makes normal numbers in the same way too, of the same logarithm."""
    return _agrees() and _kept_normal() is not None and _logarithm() is not None and _draws_alike(_fill_normal, "standard_normal", 4001, 1248)


def _draws_alike(fill: Callable, name: str, *sizes: int) -> bool:
    ours, theirs = (np.random.RandomState(np.random.MT19937(5)) for _ in range(2))
    for r in (ours, theirs):
        r.randint(0, 2**32, dtype=np.uint32)
    same = True
    for n in sizes:
        y = np.empty(n)
        fill(ours, ours._bit_generator, y)
        same = same and np.array_equal(y, getattr(theirs, name)(n))
    (_, words, *where), (_, their_words, *theirs_there) = (r.get_state() for r in (ours, theirs))
    return bool(same and where == theirs_there and np.array_equal(words, their_words))


@functools.cache
def _logarithm() -> int | None:
    """Where the C library's function lies that NumPy takes, or None."""
    try:
        return ctypes.cast(ctypes.CDLL(np.random.mtrand.__file__).log, ctypes.c_void_p).value
    except (AttributeError, OSError):
        return None


@functools.cache
def _native() -> tuple[Callable, Callable]:
    from hybridnn.jit import lowlevel, mersenne  # llvmlite takes 0.1 s to import: not before many numbers are drawn

    code, where, count = lowlevel.load("mersenne", mersenne.emit), ctypes.c_void_p, ctypes.c_int64
    uniform, normal = ctypes.CFUNCTYPE(None, where, where, count), ctypes.CFUNCTYPE(None, where, where, where, count, where)
    return uniform(code.address("hnn_uniform")), normal(code.address("hnn_normal"))
