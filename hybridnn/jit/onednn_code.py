"""The native code that executes oneDNN's primitives."""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_void_p
from typing import TYPE_CHECKING

from hybridnn.jit import threads
from hybridnn.jit.native import LIBRARY_ERROR
from hybridnn.jit.onednn_library import library

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["code", "entry_points"]

MOST_OPERANDS = 16
SET_THREADS, MAX_THREADS, FORKED = threads.SET_THREADS, threads.MAX_THREADS, threads.FORKED


@functools.cache
def entry_points() -> tuple[int, ...]:
    dll = library().dll
    names = "dnnl_primitive_execute", "dnnl_memory_create", "dnnl_memory_destroy", "dnnl_memory_set_data_handle"
    return tuple(ctypes.cast(getattr(dll, n), c_void_p).value or 0 for n in names)


@functools.cache
def code() -> Module:
    from hybridnn.jit import lowlevel as low

    return low.load("onednn", _emit)


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
