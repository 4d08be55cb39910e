"""oneDNN's convolutions as native steps (extra ``onednn``, or the system's library).

A :class:`Layout` says how an array lies in memory: in C order (:func:`plain`) or in a blocked order that a primitive asked for
(:func:`free` leaves the choice to it). A primitive is made from layouts and says which ones it takes; :func:`reorder` goes
between two. Carry blocked layouts from one primitive to the next: a reorder costs about as much as reading and writing the array
once.

All arrays are float32. Everything here raises ``Unsupported`` where oneDNN is missing or has no implementation: then im2col and BLAS do the work
(:mod:`hybridnn.jit.im2col`, :mod:`hybridnn.jit.blas`).
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_int, c_int64, c_void_p
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybridnn.jit import onednn_code, threads
from hybridnn.jit.native import Step
from hybridnn.jit.onednn_library import Handle, Layout, Library, Unsupported, dims, find, free, layout_of, library, must, plain

__all__ = ["Geometry", "Layout", "Primitive", "Unsupported", "convolution", "convolution_backward_data", "convolution_backward_weights", "find", "free",
           "one_thread", "plain", "reorder"]

# dnnl_types.h of version 3
USER_SCRATCHPAD, TRAINING, DIRECT = 1, 64, 1
ARGS = {"src": 1, "dst": 17, "weights": 33, "scratchpad": 80, "diff_src": 129, "diff_dst": 145, "diff_weights": 161}
QUERY = {"src": 129, "diff_src": 130, "weights": 131, "diff_weights": 132, "dst": 133, "diff_dst": 134, "scratchpad": 136,
         "ndims": 256, "dims": 257, "implementation": 8}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Primitive:
    """A compiled operation. ``layouts`` names its operands, and how each must lie; "scratchpad" if it wants one."""

    layouts: Mapping[str, Layout]
    implementation: str
    description: Handle = field(repr=False)
    threads: int = 1

    @functools.cached_property
    def handle(self) -> Handle:
        """The primitive itself, compiled when it is needed: many only say how arrays must lie."""
        dll, primitive = library().dll, c_void_p()
        with _thread_count(self.threads):
            must(dll.dnnl_primitive_create(byref(primitive), c_void_p(self.description.value)), "dnnl_primitive_create")
        return Handle(primitive.value or 0, dll.dnnl_primitive_destroy)

    def step(
        self, operands: Mapping[str, tuple[int, int]], name: str = "oneDNN", units: int = 1, strides: Mapping[str, int] | None = None
    ) -> Step:
        """A step of a plan; ``operands`` gives buffer index and byte offset (64-aligned) for each name in ``layouts``.

        With ``units`` it is executed so often, shared between threads, each time on operands ``strides[name]`` bytes further.

        Raises ``ValueError`` if the names differ.
        """
        if operands.keys() != self.layouts.keys():
            raise ValueError(f"Primitive.step: operands {sorted(operands)} given, {sorted(self.layouts)} needed")
        lib, n = library(), len(operands)
        pairs = [w for name in self.layouts for w in operands[name]]
        described = [w for name, layout in self.layouts.items() for w in (ARGS[name], layout.handle.value)]
        steps = [(strides or {}).get(name, 0) for name in self.layouts]
        fixed = [*onednn_code.entry_points(), threads.TABLE.ctypes.data, self.threads, self.handle.value, lib.stream, lib.engine, n]
        args = np.array([*fixed, *pairs, *described, *steps], np.int64)
        return Step(onednn_code.code().address("execute"), args, 0, units, int(units > 1), name, self)


_most_threads = contextvars.ContextVar("most threads", default=sys.maxsize)


@contextmanager
def one_thread() -> Iterator[None]:
    """Primitives that are made inside run on the thread that executes them."""
    token = _most_threads.set(1)
    try:
        yield
    finally:
        _most_threads.reset(token)


def _make(constructor: str, *args: Any, names: Sequence[str]) -> Primitive:
    """Runs a ``..._primitive_desc_create``, which says how the operands lie."""
    lib, out = library(), c_void_p()
    with _thread_count(_most_threads.get()) as count:
        attributes = _attributes(lib)
        status = getattr(lib.dll, f"dnnl_{constructor}_primitive_desc_create")(byref(out), *args, c_void_p(attributes.value))
        must(status, constructor)
        description = Handle(out.value or 0, lib.dll.dnnl_primitive_desc_destroy)
    layouts = {n: _query(lib, out, n) for n in (*names, "scratchpad")}
    text = ctypes.c_char_p()
    lib.dll.dnnl_primitive_desc_query(out, c_int(QUERY["implementation"]), c_int(0), byref(text))
    wanted = {n: layout for n, layout in layouts.items() if layout is not None and layout.size}
    return Primitive(wanted, (text.value or b"").decode(), description, count)


@contextmanager
def _thread_count(most: int) -> Iterator[int]:
    """Primitives are made for, and run on, as many threads as :func:`threads.limit` says when they are made, and ``most`` at most."""
    openmp, count = threads.openmp(), min(int(threads.TABLE[threads.LIMIT]), most)
    if openmp is None:
        yield count
        return
    before = openmp.omp_get_max_threads()
    openmp.omp_set_num_threads(count)
    try:
        yield count
    finally:
        openmp.omp_set_num_threads(before)


def _attributes(lib: Library) -> Handle:
    attributes = c_void_p()
    must(lib.dll.dnnl_primitive_attr_create(byref(attributes)), "dnnl_primitive_attr_create")
    owned = Handle(attributes.value or 0, lib.dll.dnnl_primitive_attr_destroy)
    must(lib.dll.dnnl_primitive_attr_set_scratchpad_mode(attributes, c_int(USER_SCRATCHPAD)), "scratchpad mode")
    return owned


def _query(lib: Library, description: c_void_p, name: str) -> Layout | None:
    """The layout of an operand, or None where the primitive has no such operand."""
    found = lib.dll.dnnl_primitive_desc_query_md(description, c_int(QUERY[name]), c_int(0))
    if not found or not lib.dll.dnnl_memory_desc_get_size(c_void_p(found)):
        return None
    copy = c_void_p()
    must(lib.dll.dnnl_memory_desc_clone(byref(copy), c_void_p(found)), "dnnl_memory_desc_clone")
    return layout_of(_shape(lib, copy), copy)


def _shape(lib: Library, handle: c_void_p) -> tuple[int, ...]:
    ndim, dims = c_int(), POINTER(c_int64)()
    lib.dll.dnnl_memory_desc_query(handle, c_int(QUERY["ndims"]), byref(ndim))
    lib.dll.dnnl_memory_desc_query(handle, c_int(QUERY["dims"]), byref(dims))
    return tuple(dims[: ndim.value])


def _engine() -> c_void_p:
    return c_void_p(library().engine)


def _md(layout: Layout | None) -> c_void_p:
    return c_void_p(layout.handle.value if layout else None)


@dataclass(frozen=True)
class Geometry:
    """One entry per spatial axis; ``after`` is the padding behind the end; dilation 1 is a dense kernel."""

    stride: tuple[int, ...]
    pad: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]

    def words(self) -> list[Any]:
        return [dims(self.stride), dims([d - 1 for d in self.dilation]), dims(self.pad), dims(self.after)]


def convolution(src: Layout, weights: Layout, dst: Layout, geometry: Geometry) -> Primitive:
    """``dst = src * weights``: (N, C, *in), (O, C, *k), (N, O, *out); grouped: weights (G, O/G, C/G, *k)."""
    args = [_engine(), c_int(TRAINING), c_int(DIRECT), _md(src), _md(weights), _md(None), _md(dst), *geometry.words()]
    return _make("convolution_forward", *args, names=("src", "weights", "dst"))


def convolution_backward_data(
    diff_src: Layout, weights: Layout, diff_dst: Layout, geometry: Geometry, forward: Primitive
) -> Primitive:
    """The gradient with respect to ``src``. ``forward`` is the primitive (same geometry) whose gradient this is."""
    args = [_engine(), c_int(DIRECT), _md(diff_src), _md(weights), _md(diff_dst), *geometry.words()]
    return _make("convolution_backward_data", *args, c_void_p(forward.description.value), names=("diff_src", "weights", "diff_dst"))


def convolution_backward_weights(
    src: Layout, diff_weights: Layout, diff_dst: Layout, geometry: Geometry, forward: Primitive
) -> Primitive:
    """The gradient with respect to ``weights``."""
    args = [_engine(), c_int(DIRECT), _md(src), _md(diff_weights), _md(None), _md(diff_dst), *geometry.words()]
    return _make("convolution_backward_weights", *args, c_void_p(forward.description.value), names=("src", "diff_weights", "diff_dst"))


def reorder(src: Layout, dst: Layout) -> Primitive:
    """Copies an array from one layout to another of the same shape."""
    return _make("reorder", _md(src), _engine(), _md(dst), _engine(), names=("src", "dst"))
