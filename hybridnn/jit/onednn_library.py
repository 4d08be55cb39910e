"""oneDNN itself: finding the library, and how arrays lie in its eyes."""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import weakref
from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_int64, c_size_t, c_uint, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridnn.jit import threads

__all__ = ["Handle", "Layout", "Library", "Unsupported", "dims", "find", "free", "layout_of", "library", "must", "plain"]

logger = logging.getLogger("hybridnn.jit")

CPU, F32, ANY, IN_ORDER = 1, 3, 1, 1      # dnnl_types.h of version 3


class Unsupported(RuntimeError):
    """oneDNN has no implementation for this."""


@dataclass(frozen=True)
class Library:
    """oneDNN, its engine for this CPU and a stream (execution is synchronous, so that threads may share it)."""

    dll: Any = field(repr=False)
    version: tuple[int, int, int]
    engine: int
    stream: int


@functools.cache
def find() -> Library | None:
    """oneDNN 3 or later from a wheel, else from the system; None if there is none that works, which is said once."""
    threads.openmp()  # first: it sets how long waiting threads spin
    for path in _candidates():
        try:
            return _open(ctypes.CDLL(path))
        except (OSError, AttributeError, Unsupported) as e:
            logger.debug("oneDNN from %s: %s", path, e)
    logger.info("no oneDNN 3 (libdnnl.so) found: convolutions run as im2col and matrix products")
    return None


def _candidates() -> list[str]:
    from importlib import metadata  # 20 ms to import

    found = []
    for name in ("onednn-cpu-gomp", "onednn"):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            continue
        found += sorted(str(Path(str(f.locate())).resolve()) for f in files if f.name.startswith("libdnnl.so"))
    return [*found[-1:], "libdnnl.so.3"]


class _Version(ctypes.Structure):
    _fields_ = [("major", c_int), ("minor", c_int), ("patch", c_int)]


def _open(dll: Any) -> Library:
    dll.dnnl_version.restype = POINTER(_Version)
    v = dll.dnnl_version().contents
    if v.major != 3:
        raise Unsupported(f"version {v.major}.{v.minor}.{v.patch}, not 3")
    dll.dnnl_memory_desc_get_size.restype = c_size_t
    dll.dnnl_primitive_desc_query_md.restype = c_void_p
    engine, stream = c_void_p(), c_void_p()
    must(dll.dnnl_engine_create(byref(engine), c_int(CPU), c_size_t(0)), "dnnl_engine_create")
    must(dll.dnnl_stream_create(byref(stream), engine, c_uint(IN_ORDER)), "dnnl_stream_create")
    return Library(dll, (v.major, v.minor, v.patch), engine.value or 0, stream.value or 0)


def must(status: int, what: str) -> None:
    """Raise ``Unsupported`` for a status that is not success."""
    if status:
        raise Unsupported(f"{what} failed with status {status}")


def library() -> Library:
    """The library; raises ``Unsupported`` where there is none."""
    found = find()
    if found is None:
        raise Unsupported("oneDNN is not installed (extra 'onednn')")
    return found


class Handle:
    """An object of oneDNN's that is destroyed with this."""

    def __init__(self, value: int, destroy: Any):
        self.value = value
        weakref.finalize(self, destroy, c_void_p(value)).atexit = False


@dataclass(frozen=True, eq=False)
class Layout:
    """Shape and memory order of a float32 array; ``size`` in bytes, which padding may make larger than the shape says."""

    shape: tuple[int, ...]
    size: int
    handle: Handle = field(repr=False)

    def same(self, other: Layout) -> bool:
        """Whether both are the same order in memory, so that no reorder is needed."""
        return bool(library().dll.dnnl_memory_desc_equal(c_void_p(self.handle.value), c_void_p(other.handle.value)))

    @property
    def is_plain(self) -> bool:
        return self.same(plain(self.shape))

    def part(self, n: int) -> Layout:
        """The first ``n`` entries along axis 0, in the same order."""
        shape, out = (n, *self.shape[1:]), c_void_p()
        make = library().dll.dnnl_memory_desc_create_submemory
        must(make(byref(out), c_void_p(self.handle.value), dims(shape), dims([0] * len(shape))), f"a part of {self.shape}")
        return layout_of(shape, out)


def dims(values: Sequence[int]) -> Any:
    """Sizes as oneDNN takes them."""
    return (c_int64 * 12)(*values)


def layout_of(shape: Sequence[int], handle: c_void_p) -> Layout:
    """The layout that owns a memory descriptor."""
    dll = library().dll
    owned = Handle(handle.value or 0, dll.dnnl_memory_desc_destroy)
    return Layout(tuple(shape), dll.dnnl_memory_desc_get_size(handle), owned)


def plain(shape: Sequence[int], strides: Sequence[int] | None = None) -> Layout:
    """C order, or strides in elements."""
    if strides is None:
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    out = c_void_p()
    make = library().dll.dnnl_memory_desc_create_with_strides
    must(make(byref(out), c_int(len(shape)), dims(shape), c_int(F32), dims(strides)), f"a layout {tuple(shape)}")
    return layout_of(shape, out)


def free(shape: Sequence[int]) -> Layout:
    """Any order: the primitive that is made with it chooses."""
    out = c_void_p()
    make = library().dll.dnnl_memory_desc_create_with_tag
    must(make(byref(out), c_int(len(shape)), dims(shape), c_int(F32), c_int(ANY)), f"a layout {tuple(shape)}")
    return layout_of(shape, out)
