"""One native call for a whole plan.

A *step* is a C function ``void step(int64_t *bufs, int64_t *args, int64_t lo, int64_t hi)``. ``bufs`` holds the base addresses of
one call (arena, inputs, outputs, scalars); ``args`` is the step's own constant record: for each operand a pair (index into
``bufs``, byte offset), then sizes, strides, flags. A *plan* is an array of steps that a native loop walks. Nothing of a call is
kept anywhere but on its stack, so threads may run one plan at the same time.

``bufs[-1]`` is the address of the call's status, two int64: a step that fails stores a code that is not 0 and a value there (see
``STATUS``), and the walk stops.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import struct
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hybridnn.jit import objects, threads

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Source

logger = logging.getLogger("hybridnn.jit")

# Codes that a step may leave in its status; the value that goes with it is in brackets.
STATUS = {1: "index out of bounds (the index)", 2: "a library call failed (its return code)"}
INDEX_ERROR, LIBRARY_ERROR = 1, 2

RECORD = 6  # int64 words of one step in a plan: function, args, lo, hi, grain, nanoseconds that it took (kept by the pool)
MAX_ON_STACK = 1024  # buffers; beyond, their addresses go to the heap


class View(NamedTuple):
    """An array as a plan sees it: buffer index, byte offset, shape, and strides in bytes."""

    buf: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @staticmethod
    def contiguous(buf: int, shape: Sequence[int], itemsize: int, offset: int = 0) -> View:
        strides, step = [], itemsize
        for n in reversed(shape):
            strides.append(step)
            step *= n
        return View(buf, offset, tuple(shape), tuple(reversed(strides)))

    @staticmethod
    def of(buf: int, array: np.ndarray, offset: int = 0) -> View:
        """Shape and strides of ``array``, whose first element lies ``offset`` bytes into buffer ``buf``."""
        return View(buf, offset, array.shape, array.strides)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def pairs(*views: View) -> list[int]:
    """Operands as the words of a step: for each the index of its buffer, and its byte offset there."""
    return [word for view in views for word in (view.buf, view.offset)]


class Step(NamedTuple):
    """One native function call.

    ``args`` is int64, one-dimensional. With ``grain`` above 0 the range ``lo..hi`` may be split between threads, at multiples of
    ``grain`` from ``lo``, if it is longer than ``grain``. ``keep`` is held as long as a plan has the step (compiled code, library
    objects).
    """

    fn: int
    args: np.ndarray
    lo: int = 0
    hi: int = 1
    grain: int = 0
    name: str = ""
    keep: Any = None


@dataclass(frozen=True, eq=False)
class NativePlan:
    """Steps ready to run. Build it with :meth:`build`.

    ``run(*buffers)`` walks the steps. Each argument is a buffer or a tuple or list of buffers, in the order of their indices: an
    ndarray stands for its data pointer, a Python float or int (bool) for a pointer to its float64 or int64 value, which is only
    valid during the call. It returns None, or ``(step, code, value)`` of the first step that failed; ``TypeError`` when the
    number of buffers is not ``n_bufs`` or one is something else, before any step ran. The caller answers for shapes and dtypes.
    A list must not be changed by another thread meanwhile.
    """

    n_bufs: int
    names: tuple[str, ...]
    run: Callable[..., tuple[int, int, int] | None] = field(repr=False)
    _held: tuple[Any, ...] = field(repr=False)

    @staticmethod
    def build(steps: Sequence[Step], n_bufs: int, release_gil: bool = False) -> NativePlan:
        """``release_gil``: let other Python threads run meanwhile; worth it from about 50 us on."""
        if any(s.grain for s in steps):
            _start_helpers()
        args, records = _pack(steps)
        header = np.array([_address(records), len(steps), n_bufs, int(release_gil), _address(runtime_table())], np.int64)
        held = header, records, args, tuple(s.keep for s in steps)
        run = _builtin("run", "hnn_run", held) if layout_holds() else functools.partial(_run_by_ctypes, held, None)
        return NativePlan(n_bufs, tuple(s.name for s in steps), run, held)

    def times(self, *buffers: Any) -> np.ndarray:
        """Runs the plan once, as ``run`` does, and gives the seconds each step took (float64, one per step)."""
        clocks = np.zeros((len(self.names) + 1, 2), np.int64)
        clocks[0] = divmod(time.clock_gettime_ns(time.CLOCK_MONOTONIC), 10**9)
        _run_by_ctypes(self._held, clocks[1:], *buffers)
        return np.diff(clocks @ [1.0, 1e-9])


def _pack(steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
    """The steps' args in one array, and the plan's records that point into it."""
    lengths = [len(s.args) for s in steps]
    args = np.concatenate([s.args for s in steps]).astype(np.int64) if steps else np.zeros(0, np.int64)
    starts = np.cumsum([0, *lengths[:-1]]) * 8 + _address(args) if steps else []
    rows = [(s.fn, int(start), s.lo, s.hi, s.grain, 0) for s, start in zip(steps, starts, strict=True)]
    return args, np.array(rows, np.int64).reshape(len(steps), RECORD)


def sequence(steps: Sequence[Step], name: str) -> Step:
    """Steps in a row as one: they share threads as they would on their own, and the first that fails ends them."""
    if any(s.grain for s in steps):
        _start_helpers()
    args, records = _pack(steps)
    words = np.array([_address(records), len(steps), _address(threads.TABLE)], np.int64)
    return Step(_code().address("hnn_sequence"), words, name=name, keep=(args, records, tuple(s.keep for s in steps)))


# The same without reading objects' memory, for interpreters that lay them out in another way


def _run_by_ctypes(held: tuple[Any, ...], clocks: np.ndarray | None, *buffers: Any) -> tuple[int, int, int] | None:
    header, objects = held[0], _flat(buffers)
    if len(objects) != header[2]:
        raise TypeError(f"NativePlan.run: the plan has {header[2]} buffers, the call gave {len(objects)}")
    arrays = [_as_buffer(i, b) for i, b in enumerate(objects)]
    block = np.array([0, 0, 0, *map(_address, arrays)], np.int64)
    base = block[2] = _address(block)
    call = [header[0], header[1], base + 24, base, _address(threads.TABLE)] + ([] if clocks is None else [_address(clocks)])
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(call))
    step = kind(_code().address("hnn_walk" if clocks is None else "hnn_walk_timed"))(*map(int, call))
    return None if step < 0 else (step, int(block[0]), int(block[1]))


def _flat(objects: Sequence[Any]) -> list[Any]:
    return [x for o in objects for x in (o if type(o) in (tuple, list) else (o,))]


def _as_buffer(index: int, obj: Any) -> np.ndarray:
    if isinstance(obj, np.ndarray):
        return obj
    if isinstance(obj, float):
        return np.array(obj, np.float64)
    if type(obj) in (int, bool) and -(2**63) <= obj < 2**63:
        return np.array(obj, np.int64)
    raise TypeError(f"NativePlan.run: buffer {index} is not an ndarray, a float or an int that fits 64 bits")


# The native code, and the tables it reads


_loading = threading.RLock()


def _code() -> Any:
    return _native()[0]


def _native() -> tuple[Any, int]:
    """The compiled walker, and the words of memory that its pool needs."""
    with objects.compiling(), _loading:
        return _load_native()


def walker_source() -> Source:
    """What is compiled once for all plans."""
    from hybridnn.jit import lowlevel, walker  # llvmlite takes 0.1 s to import: not before a plan is built

    return lowlevel.Source("walker", walker.emit, (RECORD, MAX_ON_STACK), as_written=True)


@functools.cache
def _load_native() -> tuple[Any, int]:
    from hybridnn.jit import pool

    code = walker_source().load()
    code.address("hnn_start_helpers")
    return code, pool.WORDS


def _start_helpers() -> None:
    code, words = _native()
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    threads.setup(words, kind(code.address("hnn_start_helpers")))


@functools.cache
def runtime_table() -> np.ndarray:
    """Addresses that native code compares with or calls, in the order of ``walker.RUNTIME_TABLE``."""
    objects = np.ndarray, float, int, bool, tuple, list, TypeError
    return np.array([*map(id, objects), _address(threads.TABLE)], np.int64)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


@functools.cache
def layout_holds() -> bool:
    """Whether this interpreter and NumPy lay objects out in memory as :mod:`walker` reads them: tried on real objects."""
    holds = (
        sys.implementation.name == "cpython"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and struct.calcsize("P") == 8
        and _array_layout_holds()
        and _object_layout_holds()
    )
    if not holds:
        logger.info("objects of this interpreter or NumPy have an unknown layout: plans are called through ctypes, more slowly")
    return holds


def _words(address: int, n: int) -> tuple[int, ...]:
    return tuple((ctypes.c_int64 * n).from_address(address))


def _array_layout_holds() -> bool:
    array = np.zeros((3, 5, 7), np.float32)[:, ::2]
    return np.ndarray.__basicsize__ >= 24 and _words(id(array), 3)[1:] == (id(np.ndarray), _address(array))


def _object_layout_holds() -> bool:
    pair, number = (1.5, "x"), -2.75
    row = [number, pair]
    (bits,) = struct.unpack("q", struct.pack("d", number))
    in_list, in_tuple = _words(id(row), 4), _words(id(pair), tuple.__basicsize__ // 8 + 2)
    return (
        in_tuple[1:3] + in_tuple[-2:] == (id(tuple), 2, id(pair[0]), id(pair[1]))
        and in_list[1:3] == (id(list), 2)
        and _words(in_list[3], 2) == (id(number), id(pair))
        and _words(id(number), 3)[2] == bits
    )


class _MethodDef(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_methods: list[_MethodDef] = []  # builtins point to them, and several threads may make the first at the same time


@functools.cache
def _method(name: str, function: str) -> _MethodDef:
    fastcall = 0x0080
    method = _MethodDef(name.encode(), _code().address(function), fastcall, None)
    _methods.append(method)
    return method


def _builtin(name: str, function: str, self: tuple[Any, ...]) -> Callable[..., Any]:
    """A builtin function around native code, which a call reaches in 40 ns where ctypes takes 300 and more. It holds ``self``."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p]
    builtin: Callable[..., Any] = make(ctypes.byref(_method(name, function)), self, None)
    return builtin
