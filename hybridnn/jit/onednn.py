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
import logging
import math
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit import threads
from hybridnn.jit.native import LIBRARY_ERROR, Step

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

logger = logging.getLogger("hybridnn.jit")

# dnnl_types.h of version 3
CPU, F32, ANY, IN_ORDER, USER_SCRATCHPAD = 1, 3, 1, 1, 1
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
    _must(dll.dnnl_engine_create(byref(engine), c_int(CPU), c_size_t(0)), "dnnl_engine_create")
    _must(dll.dnnl_stream_create(byref(stream), engine, c_uint(IN_ORDER)), "dnnl_stream_create")
    return Library(dll, (v.major, v.minor, v.patch), engine.value or 0, stream.value or 0)


def _must(status: int, what: str) -> None:
    if status:
        raise Unsupported(f"{what} failed with status {status}")


def _lib() -> Library:
    found = find()
    if found is None:
        raise Unsupported("oneDNN is not installed (extra 'onednn')")
    return found


# Layouts


class _Handle:
    """An object of oneDNN's that is destroyed with this."""

    def __init__(self, value: int, destroy: Any):
        self.value = value
        weakref.finalize(self, destroy, c_void_p(value)).atexit = False


@dataclass(frozen=True, eq=False)
class Layout:
    """Shape and memory order of a float32 array; ``size`` in bytes, which padding may make larger than the shape says."""

    shape: tuple[int, ...]
    size: int
    handle: _Handle = field(repr=False)

    def same(self, other: Layout) -> bool:
        """Whether both are the same order in memory, so that no reorder is needed."""
        return bool(_lib().dll.dnnl_memory_desc_equal(c_void_p(self.handle.value), c_void_p(other.handle.value)))

    @property
    def is_plain(self) -> bool:
        return self.same(plain(self.shape))

    def part(self, n: int) -> Layout:
        """The first ``n`` entries along axis 0, in the same order."""
        shape, out = (n, *self.shape[1:]), c_void_p()
        make = _lib().dll.dnnl_memory_desc_create_submemory
        _must(make(byref(out), c_void_p(self.handle.value), _dims(shape), _dims([0] * len(shape))), f"a part of {self.shape}")
        return _layout(shape, out)


def _dims(values: Sequence[int]) -> Any:
    return (c_int64 * 12)(*values)


def _layout(shape: Sequence[int], handle: c_void_p) -> Layout:
    dll = _lib().dll
    owned = _Handle(handle.value or 0, dll.dnnl_memory_desc_destroy)
    return Layout(tuple(shape), dll.dnnl_memory_desc_get_size(handle), owned)


def plain(shape: Sequence[int], strides: Sequence[int] | None = None) -> Layout:
    """C order, or strides in elements."""
    if strides is None:
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    out = c_void_p()
    make = _lib().dll.dnnl_memory_desc_create_with_strides
    _must(make(byref(out), c_int(len(shape)), _dims(shape), c_int(F32), _dims(strides)), f"a layout {tuple(shape)}")
    return _layout(shape, out)


def free(shape: Sequence[int]) -> Layout:
    """Any order: the primitive that is made with it chooses."""
    out = c_void_p()
    make = _lib().dll.dnnl_memory_desc_create_with_tag
    _must(make(byref(out), c_int(len(shape)), _dims(shape), c_int(F32), c_int(ANY)), f"a layout {tuple(shape)}")
    return _layout(shape, out)


# Primitives


@dataclass(frozen=True, eq=False)
class Primitive:
    """A compiled operation. ``layouts`` names its operands, and how each must lie; "workspace", "scratchpad" if wanted."""

    layouts: Mapping[str, Layout]
    implementation: str
    description: _Handle = field(repr=False)
    threads: int = 1

    @functools.cached_property
    def handle(self) -> _Handle:
        """The primitive itself, compiled when it is needed: many only say how arrays must lie."""
        dll, primitive = _lib().dll, c_void_p()
        with _thread_count(self.threads):
            _must(dll.dnnl_primitive_create(byref(primitive), c_void_p(self.description.value)), "dnnl_primitive_create")
        return _Handle(primitive.value or 0, dll.dnnl_primitive_destroy)

    def step(
        self, operands: Mapping[str, tuple[int, int]], name: str = "oneDNN", units: int = 1, strides: Mapping[str, int] | None = None
    ) -> Step:
        """A step of a plan; ``operands`` gives buffer index and byte offset (64-aligned) for each name in ``layouts``.

        With ``units`` it is executed so often, shared between threads, each time on operands ``strides[name]`` bytes further.

        Raises ``ValueError`` if the names differ.
        """
        if operands.keys() != self.layouts.keys():
            raise ValueError(f"Primitive.step: operands {sorted(operands)} given, {sorted(self.layouts)} needed")
        lib, n = _lib(), len(operands)
        pairs = [w for name in self.layouts for w in operands[name]]
        described = [w for name, layout in self.layouts.items() for w in (ARGS[name], layout.handle.value)]
        steps = [(strides or {}).get(name, 0) for name in self.layouts]
        fixed = [*_entry_points(), threads.TABLE.ctypes.data, self.threads, self.handle.value, lib.stream, lib.engine, n]
        args = np.array([*fixed, *pairs, *described, *steps], np.int64)
        return Step(_code().address("execute"), args, 0, units, int(units > 1), name, self)


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
    lib, out = _lib(), c_void_p()
    with _thread_count(_most_threads.get()) as count:
        attributes = _attributes(lib, relu)
        status = getattr(lib.dll, f"dnnl_{constructor}_primitive_desc_create")(byref(out), *args, c_void_p(attributes.value))
        _must(status, constructor)
        description = _Handle(out.value or 0, lib.dll.dnnl_primitive_desc_destroy)
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


def _attributes(lib: Library, relu: bool) -> _Handle:
    attributes = c_void_p()
    _must(lib.dll.dnnl_primitive_attr_create(byref(attributes)), "dnnl_primitive_attr_create")
    owned = _Handle(attributes.value or 0, lib.dll.dnnl_primitive_attr_destroy)
    _must(lib.dll.dnnl_primitive_attr_set_scratchpad_mode(attributes, c_int(USER_SCRATCHPAD)), "scratchpad mode")
    if relu:
        after = c_void_p()
        _must(lib.dll.dnnl_post_ops_create(byref(after)), "dnnl_post_ops_create")
        held = _Handle(after.value or 0, lib.dll.dnnl_post_ops_destroy)
        _must(lib.dll.dnnl_post_ops_append_eltwise(after, c_int(RELU), c_float(0), c_float(0)), "relu")
        _must(lib.dll.dnnl_primitive_attr_set_post_ops(attributes, c_void_p(held.value)), "relu")
    return owned


def _query(lib: Library, description: c_void_p, name: str) -> Layout | None:
    """The layout of an operand, or None where the primitive has no such operand."""
    what, index = (QUERY[name], 0) if name in QUERY else (QUERY["exec_arg"], ARGS[name])
    found = lib.dll.dnnl_primitive_desc_query_md(description, c_int(what), c_int(index))
    if not found or not lib.dll.dnnl_memory_desc_get_size(c_void_p(found)):
        return None
    copy = c_void_p()
    _must(lib.dll.dnnl_memory_desc_clone(byref(copy), c_void_p(found)), "dnnl_memory_desc_clone")
    return _layout(_shape(lib, copy), copy)


def _shape(lib: Library, handle: c_void_p) -> tuple[int, ...]:
    ndim, dims = c_int(), POINTER(c_int64)()
    lib.dll.dnnl_memory_desc_query(handle, c_int(QUERY["ndims"]), byref(ndim))
    lib.dll.dnnl_memory_desc_query(handle, c_int(QUERY["dims"]), byref(dims))
    return tuple(dims[: ndim.value])


def _engine() -> c_void_p:
    return c_void_p(_lib().engine)


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
        return [_dims(self.stride), _dims([d - 1 for d in self.dilation]), _dims(self.pad), _dims(self.after)]


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
    return _make("pooling_forward", *args, stride, _dims(kernel), dilation, pad, after, names=("src", "dst"), given={})


def pooling_backward(
    kind: str, diff_src: Layout, diff_dst: Layout, kernel: Sequence[int], geometry: Geometry, forward: Primitive
) -> Primitive:
    """The gradient with respect to ``src``; operands diff_src, diff_dst, and the forward workspace of max pooling."""
    stride, dilation, pad, after = geometry.words()
    args = [_engine(), c_int(POOLING[kind]), _md(diff_src), _md(diff_dst), stride, _dims(kernel), dilation, pad, after]
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


# Native code


@functools.cache
def _entry_points() -> tuple[int, ...]:
    dll = _lib().dll
    names = "dnnl_primitive_execute", "dnnl_memory_create", "dnnl_memory_destroy", "dnnl_memory_set_data_handle"
    return tuple(ctypes.cast(getattr(dll, n), c_void_p).value or 0 for n in names)


@functools.cache
def _code() -> Module:
    from hybridnn.jit import lowlevel as low

    return low.load("onednn", _emit)


MOST_OPERANDS = 16
SET_THREADS, MAX_THREADS, FORKED = threads.SET_THREADS, threads.MAX_THREADS, threads.FORKED


def _emit(m: Module) -> None:
    """``execute``: a step whose range is its units. Memory objects belong to the call, so that threads may share the primitive.

    Args: entry points, threads table, the primitive's words, the number of operands; buffer and offset of each, argument number and layout
    of each, bytes between units of each.
    """
    from hybridnn.jit import lowlevel as low

    launch = _emit_launch(m)
    f, bufs, args, lo, hi = low.step_function(m, "execute")
    execute, create, destroy, move, table, count, primitive, stream, engine, n = (f.load(low.I64, args, i) for i in range(10))
    places = f.at(args, 80)
    described, strides = f.at(places, n * 16), f.at(places, n * 32)
    pairs = f.stack(16 * MOST_OPERANDS)  # dnnl_exec_arg_t: int32 argument, pointer to a memory object
    failed = f.var(0)

    def address(i: Val, unit: Val) -> Val:
        base = f.load(low.PTR, bufs, f.load(low.I64, places, i * 2))
        return f.at(base, f.load(low.I64, places, i * 2 + 1) + unit * f.load(low.I64, strides, i))

    with f.range(0, n) as i:
        f.store(f.load(low.I64, described, i * 2), pairs, i * 2)
        f.store(0, pairs, i * 2 + 1)
        layout = f.to_ptr(f.load(low.I64, described, i * 2 + 1))
        status = f.call_address(create, low.I32, f.at(pairs, i * 16 + 8), layout, f.to_ptr(engine), address(i, lo))
        failed.set(failed.get() | f.widen(status))
    job = f.stack(8 * 8)
    for k, word in enumerate([execute, primitive, stream, n, f.to_int(pairs), table, count, f.value(0)]):
        f.store(word, job, k)
    with f.range(lo, hi) as unit:
        with f.when(unit > lo), f.range(0, n) as i:
            f.call_address(move, low.I32, f.load(low.PTR, pairs, i * 2 + 1), address(i, unit))
        with f.when(failed.get() == 0):
            _call_launch(m, f, launch, job, f.to_ptr(table))
            failed.set(f.load(low.I64, job, 7))
    with f.range(0, n) as i:
        f.call_address(destroy, low.I32, f.load(low.PTR, pairs, i * 2 + 1))
    with f.when(failed.get() != 0):
        status_words = f.load(low.PTR, bufs, -1)
        f.store(failed.get(), status_words, 1)
        f.store(LIBRARY_ERROR, status_words, 0)
    f.ret()


def _emit_launch(m: Module) -> Func:
    """``launch(job)``: executes a primitive with its number of threads, and sets the caller's number back."""
    from hybridnn.jit import lowlevel as low

    f = m.func("launch", low.PTR, [low.PTR])
    (job,) = f.params
    execute, primitive, stream, n, pairs, table, count = (f.load(low.I64, job, i) for i in range(7))
    setter, getter = (f.load(low.I64, f.to_ptr(table), i) for i in (SET_THREADS, MAX_THREADS))
    before = f.var(count)
    with f.when(setter != 0):
        before.set(f.widen(f.call_address(getter, low.I32)))
    changes = before.get() != count
    with f.when(changes):
        f.call_address(setter, low.VOID, f.narrow(count, low.I32))
    call = f.call_address(execute, low.I32, f.to_ptr(primitive), f.to_ptr(stream), f.narrow(n, low.I32), f.to_ptr(pairs))
    f.store(f.widen(call), job, 7)
    with f.when(changes):
        f.call_address(setter, low.VOID, f.narrow(before.get(), low.I32))
    f.ret(f.value(0, low.PTR))
    return f


def _call_launch(m: Module, f: Func, launch: Func, job: Val, table: Val) -> None:
    """In a forked child, OpenMP would wait for its parent's threads for ever; a fresh thread gets threads of its own."""
    from hybridnn.jit import lowlevel as low

    create = m.extern("pthread_create", low.I32, [low.PTR] * 4)
    join = m.extern("pthread_join", low.I32, [low.I64, low.PTR])
    with f.either(f.load(low.I64, table, FORKED) == 0) as (here, forked):
        with here:
            f.call(launch, job)
        with forked:
            thread, null = f.stack(8), f.value(0, low.PTR)
            entry = low.Val(f, launch.ir)
            status = f.widen(f.call(create, thread, null, entry, job))
            f.store(status, job, 7)
            with f.when(status == 0):
                f.call(join, f.load(low.I64, thread), null)
