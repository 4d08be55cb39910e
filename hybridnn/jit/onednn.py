"""oneDNN's convolution, pooling, batch normalisation and matrix product as native steps (extra ``onednn``, or the system's
library).

A :class:`Layout` says how an array lies in memory: in C order (:func:`plain`) or in a blocked order that a primitive asked for
(:func:`free` leaves the choice to it). A primitive is made from layouts and says which ones it takes; :func:`reorder` goes
between two. Carry blocked layouts from one primitive to the next: a reorder costs about as much as reading and writing the array
once.

All arrays are float32 (the workspace of max pooling aside, which is opaque). Everything here returns None, or raises
``Unsupported``, where oneDNN is missing or has no implementation: then im2col and BLAS do the work (:mod:`hybridnn.jit.moves`,
:mod:`hybridnn.jit.blas`).
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_float, c_int, c_int64, c_uint, c_void_p
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybridnn.jit import onednn_code, threads
from hybridnn.jit.native import Step
from hybridnn.jit.onednn_library import Handle, Layout, Library, Unsupported, dims, find, free, layout_of, library, must, plain

__all__ = ["Geometry", "Layout", "Primitive", "Unsupported", "batch_normalization", "batch_normalization_backward", "convolution",
           "convolution_backward_data", "convolution_backward_weights", "find", "free", "matmul", "one_thread", "plain", "pooling", "pooling_backward",
           "reorder"]

# dnnl_types.h of version 3
USER_SCRATCHPAD = 1
TRAINING, INFERENCE, BACKWARD = 64, 96, 128
DIRECT, RELU = 1, 0x20
POOLING = {"max": 0x1FF, "average": 0x2FF, "average without padding": 0x3FF}
GLOBAL_STATS, USE_SCALE, USE_SHIFT, FUSE_RELU = 1, 2, 4, 8
ARGS = {
    "src": 1, "dst": 17, "weights": 33, "bias": 41, "mean": 49, "variance": 50, "scale": 51, "shift": 52,
    "workspace": 64, "scratchpad": 80,
    "diff_src": 129, "diff_dst": 145, "diff_weights": 161, "diff_bias": 169, "diff_scale": 255, "diff_shift": 256,
}  # fmt: skip
QUERY = {
    "src": 129, "diff_src": 130, "weights": 131, "diff_weights": 132, "dst": 133, "diff_dst": 134,
    "workspace": 135, "scratchpad": 136,
    "exec_arg": 255, "ndims": 256, "dims": 257, "implementation": 8,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Primitive:
    """A compiled operation. ``layouts`` names its operands, and how each must lie; "workspace", "scratchpad" if wanted."""

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


def _make(constructor: str, *args: Any, names: Sequence[str], given: Mapping[str, Layout], relu: bool = False) -> Primitive:
    """Runs a ``..._primitive_desc_create``; operands not in ``given`` lie as the primitive says."""
    lib, out = library(), c_void_p()
    with _thread_count(_most_threads.get()) as count:
        attributes = _attributes(lib, relu)
        status = getattr(lib.dll, f"dnnl_{constructor}_primitive_desc_create")(byref(out), *args, c_void_p(attributes.value))
        must(status, constructor)
        description = Handle(out.value or 0, lib.dll.dnnl_primitive_desc_destroy)
    layouts = {n: given.get(n) or _query(lib, out, n) for n in (*names, "workspace", "scratchpad")}
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


def _attributes(lib: Library, relu: bool) -> Handle:
    attributes = c_void_p()
    must(lib.dll.dnnl_primitive_attr_create(byref(attributes)), "dnnl_primitive_attr_create")
    owned = Handle(attributes.value or 0, lib.dll.dnnl_primitive_attr_destroy)
    must(lib.dll.dnnl_primitive_attr_set_scratchpad_mode(attributes, c_int(USER_SCRATCHPAD)), "scratchpad mode")
    if relu:
        after = c_void_p()
        must(lib.dll.dnnl_post_ops_create(byref(after)), "dnnl_post_ops_create")
        held = Handle(after.value or 0, lib.dll.dnnl_post_ops_destroy)
        must(lib.dll.dnnl_post_ops_append_eltwise(after, c_int(RELU), c_float(0), c_float(0)), "relu")
        must(lib.dll.dnnl_primitive_attr_set_post_ops(attributes, c_void_p(held.value)), "relu")
    return owned


def _query(lib: Library, description: c_void_p, name: str) -> Layout | None:
    """The layout of an operand, or None where the primitive has no such operand."""
    what, index = (QUERY[name], 0) if name in QUERY else (QUERY["exec_arg"], ARGS[name])
    found = lib.dll.dnnl_primitive_desc_query_md(description, c_int(what), c_int(index))
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


def convolution(
    src: Layout, weights: Layout, dst: Layout, geometry: Geometry, bias: bool = False, relu: bool = False, training: bool = True
) -> Primitive:
    """``dst = src * weights (+ bias)``, then relu: (N, C, *in), (O, C, *k), (N, O, *out); grouped: weights (G, O/G, C/G, *k)."""
    given = {"bias": plain((dst.shape[1],))} if bias else {}
    kind = c_int(TRAINING if training else INFERENCE)
    args = [_engine(), kind, c_int(DIRECT), _md(src), _md(weights), _md(given.get("bias")), _md(dst), *geometry.words()]
    return _make("convolution_forward", *args, names=("src", "weights", *given, "dst"), given=given, relu=relu)


def convolution_backward_data(
    diff_src: Layout, weights: Layout, diff_dst: Layout, geometry: Geometry, forward: Primitive
) -> Primitive:
    """The gradient with respect to ``src``. ``forward`` is the primitive (same geometry) whose gradient this is."""
    args = [_engine(), c_int(DIRECT), _md(diff_src), _md(weights), _md(diff_dst), *geometry.words()]
    names = "diff_src", "weights", "diff_dst"
    return _make("convolution_backward_data", *args, c_void_p(forward.description.value), names=names, given={})


def convolution_backward_weights(
    src: Layout, diff_weights: Layout, diff_dst: Layout, geometry: Geometry, forward: Primitive, bias: bool = False
) -> Primitive:
    """The gradients with respect to ``weights`` and, with ``bias``, to the bias."""
    given = {"diff_bias": plain((diff_dst.shape[1],))} if bias else {}
    args = [_engine(), c_int(DIRECT), _md(src), _md(diff_weights), _md(given.get("diff_bias")), _md(diff_dst), *geometry.words()]
    names = "src", "diff_weights", *given, "diff_dst"
    return _make("convolution_backward_weights", *args, c_void_p(forward.description.value), names=names, given=given)


def pooling(kind: str, src: Layout, dst: Layout, kernel: Sequence[int], geometry: Geometry, training: bool = True) -> Primitive:
    """Max or average pooling (``POOLING``); in training, max pooling writes a workspace that its gradient reads."""
    stride, dilation, pad, after = geometry.words()
    args = [_engine(), c_int(TRAINING if training else INFERENCE), c_int(POOLING[kind]), _md(src), _md(dst)]
    return _make("pooling_forward", *args, stride, dims(kernel), dilation, pad, after, names=("src", "dst"), given={})


def pooling_backward(
    kind: str, diff_src: Layout, diff_dst: Layout, kernel: Sequence[int], geometry: Geometry, forward: Primitive
) -> Primitive:
    """The gradient with respect to ``src``; operands diff_src, diff_dst, and the forward workspace of max pooling."""
    stride, dilation, pad, after = geometry.words()
    args = [_engine(), c_int(POOLING[kind]), _md(diff_src), _md(diff_dst), stride, dims(kernel), dilation, pad, after]
    names = "diff_src", "diff_dst"
    return _make("pooling_backward", *args, c_void_p(forward.description.value), names=names, given={})


def batch_normalization(src: Layout, dst: Layout, eps: float, training: bool = True, relu: bool = False) -> Primitive:
    """With scale and shift, both (C,). ``mean`` and ``variance`` (biased) are written in training, read otherwise.

    ``relu``: rectified afterwards, which in training writes a workspace for the gradient.
    """
    flags = USE_SCALE | USE_SHIFT | FUSE_RELU * relu | GLOBAL_STATS * (not training)
    per_channel = {n: plain((src.shape[1],)) for n in ("mean", "variance", "scale", "shift")}
    args = [_engine(), c_int(TRAINING if training else INFERENCE), _md(src), _md(dst), c_float(eps), c_uint(flags)]
    return _make("batch_normalization_forward", *args, names=("src", "dst", *per_channel), given=per_channel)


def batch_normalization_backward(
    diff_src: Layout, diff_dst: Layout, src: Layout, eps: float, forward: Primitive, relu: bool = False
) -> Primitive:
    """Gradients with respect to src, scale and shift, in training."""
    names = "mean", "variance", "scale", "diff_scale", "diff_shift"
    per_channel = {n: plain((src.shape[1],)) for n in names}
    flags = USE_SCALE | USE_SHIFT | FUSE_RELU * relu
    args = [_engine(), c_int(BACKWARD), _md(diff_src), _md(diff_dst), _md(src), c_float(eps), c_uint(flags)]
    names = "diff_src", "diff_dst", "src", *per_channel
    return _make("batch_normalization_backward", *args, c_void_p(forward.description.value), names=names, given=per_channel)


def reorder(src: Layout, dst: Layout) -> Primitive:
    """Copies an array from one layout to another of the same shape."""
    given = {"src": src, "dst": dst}
    return _make("reorder", _md(src), _engine(), _md(dst), _engine(), names=("src", "dst"), given=given)


def matmul(src: Layout, weights: Layout, dst: Layout, bias: bool = False, relu: bool = False) -> Primitive:
    """``dst = src @ weights (+ bias of shape (1, n))``, then relu; two or more axes, batch axes as in np.matmul."""
    given = {"bias": plain((1,) * (len(dst.shape) - 1) + dst.shape[-1:])} if bias else {}
    args = [_engine(), _md(src), _md(weights), _md(given.get("bias")), _md(dst)]
    return _make("matmul", *args, names=("src", "weights", *given, "dst"), given=given, relu=relu)
