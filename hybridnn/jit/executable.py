"""``Executable``: what ``jit.compile`` returns. Native segments and Python steps over one arena, safe to call from several
threads.
"""
import functools
import time
import warnings
from dataclasses import dataclass
from math import prod
from weakref import getweakrefcount

import numpy as np

from hybridnn._references import count_references
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit import fpstatus
from hybridnn.jit.behind import behind, first_write, last_write, rest_on_writes
from hybridnn.jit.blas_threads import LARGE, one_thread, product_flops, with_threads
from hybridnn.jit.lower import bind
from hybridnn.jit.native import NativePlan
from hybridnn.jit.places import ARENA, CONSTANT, INPUT, OUTPUT, SCALAR
from hybridnn.jit.watching import on_run

__all__ = ["Executable", "StepRecord", "unheld"]

ALIGNMENT, POOL = 64, 4
PRODUCTS = "gemm", "im2col", "lapack"   # steps that call BLAS
LARGE_MATRIX = 400            # rows from which LAPACK gains by threads
# Status codes of a step that found floating-point flags: before the first write; at the end of steps that write nothing; after.
UNDOABLE, FINISHED, DONE = 4, 5, 6
KINDS = ((fpstatus.DIVIDE, "divide", "divide by zero"), (fpstatus.OVERFLOW, "over", "overflow"), (fpstatus.INVALID, "invalid", "invalid value"))
LARGE_OUTPUT = 1 << 16
LEAST_REUSED = 1 << 17        # bytes of outputs in all, below which looking for memory to use again takes longer than it saves
TOLD, TOLD_AGAIN = 8, 64            # calls in a row that have run twice, before they run for NumPy's sake alone; calls until native code is tried again
GENERATIONS = 3               # the last call's outputs are still in use when the next call begins
_refs = count_references
OURS_ALONE = 2                # the name in ``take`` and getrefcount's argument
FLAGGED = UNDOABLE, FINISHED, DONE
RELEASE_BYTES = 1 << 19       # plans that move more let other Python threads run meanwhile


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step, as ``explain()`` shows it.

    Attributes:
        kind: "kernel", "gemm", "copy", "python", ...
        name: the kernel's or the operation's name.
        ops: names of the operations it does.
        lines: the users' lines they come from.
        bytes: memory read and written, at the least.
        reason: for a Python step, why it is one.
    """
    kind: str
    name: str
    ops: tuple = ()
    lines: tuple = ()
    bytes: int = 0
    reason: str = ""


class Spare:
    """Large output arrays that nobody else holds any more, to be given out again: fresh memory costs a page fault every 4 KiB.

    An array that the caller, a view, or anything else refers to has more references than ours, and is never given out.
    """

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.given = shape, dtype, []

    def take(self):
        """An array that nobody else holds. ``pop`` and ``append`` are atomic, so two threads never get the same one."""
        for _ in range(len(self.given)):
            try:
                a = self.given.pop(0)
            except IndexError:
                break
            if _refs(a) == OURS_ALONE and not getweakrefcount(a):
                self.given.append(a)
                return a
            self.given.append(a)
        a = np.empty(self.shape, self.dtype)
        if len(self.given) < GENERATIONS:
            self.given.append(a)
        return a


class Executable:
    """A compiled graph. ``exe(arrays)`` returns fresh output arrays and performs ``graph.writes`` in the given arrays.

    ``arrays`` are aligned to ``graph.inputs``: C-contiguous aligned ndarrays of the specs' dtype and shape (not checked here),
    Python numbers where the spec is weak. An array that is written must not overlap another one. ``run_into(arrays, outputs)`` is
    the same into given arrays, ``reusing(arrays, numbers, old)`` into arrays that nobody needs any more.

    Attributes:
        steps: ``StepRecord`` per step.
        arena_bytes, arena_lower_bound: memory of the intermediate values of one call that do not lie in outputs which are written later, and the least that
            any plan could need for them.
        memory_bytes, memory_lower_bound: arena and outputs together, and the least that these could be for this order of steps.
        kernels_compiled, compile_seconds: kernels that were in no cache, and the time that compiling this graph took.
        sources: texts of its kernels.
        output_specs: Specs of the outputs.
        reusable: numbers of the outputs that ``reusing`` takes.
    """

    def __init__(self, graph, lowered, started):
        self.graph, self._lowered = graph, lowered
        self.output_specs = tuple([graph.specs[v] for v in graph.outputs])
        self._shapes = [(s.shape, s.dtype, Spare(s.shape, s.dtype) if s.nbytes >= LARGE_OUTPUT else None) for s in self.output_specs]
        native, loaded, texts = bind(lowered, len(graph.outputs))
        self.steps = tuple([StepRecord(s.kind, s.name, s.ops, s.lines, s.bytes, s.reason) for s in lowered.steps])
        self.arena_bytes, self.arena_lower_bound = lowered.plan.size, lowered.plan.lower_bound
        self.memory_bytes = lowered.plan.size + sum([s.nbytes for s in self.output_specs])
        self.memory_lower_bound = lowered.memory_bound
        self.kernels_compiled, self.sources = loaded.compiled, tuple(texts)
        self._constants = tuple(lowered.constants)
        self._told = 0       # how many calls in a row have run twice, natively and for what NumPy tells of errors
        self._arenas = []
        self._segments = self._split(native)
        first = self._segments[0] if len(self._segments) == 1 and not lowered.n_slots else None
        self._single = first.run if isinstance(first, _Native) else None
        large = [k for k in sorted(lowered.late_outputs) if self._shapes[k][2] is not None]
        self.reusable = tuple(large) if self._single is not None and sum([self.output_specs[k].nbytes for k in large]) >= LEAST_REUSED else ()
        self.compile_seconds = time.perf_counter() - started

    def _split(self, native):
        """Runs of native steps as plans, Python steps between them."""
        n_bufs = 1 + self._lowered.n_inputs + len(self._constants) + len(self.output_specs) + self._lowered.n_slots
        segments, run = [], []
        first = first_write(self._lowered.steps)
        last = last_write(self._lowered.steps) if None not in native else None
        self._last_write = last
        for number, (low, step) in enumerate(zip(self._lowered.steps, native)):
            if step is not None:
                run.append((number, step, low))
                continue
            segments += [_Native(run, n_bufs, first, last)] if run else []
            run = []
            segments.append(_Python(low))
        return segments + ([_Native(run, n_bufs, first, last)] if run else [])

    def __call__(self, arrays):
        empty = np.empty
        outputs = [empty(shape, dtype) if spare is None else spare.take() for shape, dtype, spare in self._shapes]
        return self.run_into(arrays, outputs) if not on_run else self._watched(arrays, outputs, None)

    def fresh(self, arrays):
        """As a call, into arrays that nobody else ever holds."""
        outputs = [np.empty(shape, dtype) for shape, dtype, _ in self._shapes]
        return self.run_into(arrays, outputs) if not on_run else self._watched(arrays, outputs, None)

    def reusing(self, arrays, numbers, old):
        """As a call, but outputs of these ``numbers``, all of which are ``reusable``, lie in the arrays of the list ``old`` where only that list holds one and
        it is like a new one.

        If an exception comes from a step, as the operation raises it, ``old`` is as it was, in values too; otherwise it is empty. Not for callers to whom
        floating-point warnings are exceptions.
        """
        outputs = [None] * len(self._shapes)
        for i, k in enumerate(numbers):
            outputs[k] = unheld(old, i, *self._shapes[k][:2])
        for k, (shape, dtype, spare) in enumerate(self._shapes):
            if outputs[k] is None:
                outputs[k] = np.empty(shape, dtype) if spare is None or k in numbers else spare.take()
        return self.run_into(arrays, outputs, old) if not on_run else self._watched(arrays, outputs, old)

    def _watched(self, arrays, outputs, old):
        start = time.perf_counter()
        self.run_into(arrays, outputs, old)
        end = time.perf_counter()
        for watcher in list(on_run):
            watcher(self, start, end)
        return outputs

    def run_into(self, arrays, outputs, old=None):
        """Run into ``outputs`` (a list of C-contiguous arrays of ``output_specs``, sharing no memory with anything else); returns
        it. ``old``: see ``reusing``.

        Where a Python step makes an output as a new array, that array replaces the one in the list.
        """
        arrays = arrays if type(arrays) is tuple else tuple(arrays)
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = _aligned(self.arena_bytes)
        if self._told >= TOLD and self._told % TOLD_AGAIN:
            self._told += 1
            self._interpret(arrays, outputs)
            if old:
                old.clear()
        elif self._single is not None:
            kept = None if old is None else [*old]
            if old:
                old.clear()       # a signal may come at any time
            failed = self._single(arena, arrays, self._constants, outputs)
            if failed is None:
                self._told = 0
            else:
                if failed[1] not in FLAGGED and old is not None:
                    old += kept
                if not self._floats(failed, arrays, outputs):
                    self._fail(failed, _Call(arena, arrays, self._constants, outputs, []), self._segments[0])
        else:
            self._run_segments(arena, arrays, outputs)
        if len(self._arenas) < POOL:
            self._arenas.append(arena)
        return outputs

    def _interpret(self, arrays, outputs):
        """Run the operations one by one in NumPy, which lays what it gives as it likes: outputs are C-contiguous, as steps make them."""
        outputs[:] = map(_owned, run(self.graph, arrays))

    def release(self):
        """Let go of the memory that is kept for the next call."""
        self._arenas.clear()
        for _, _, spare in self._shapes:
            if spare is not None:
                spare.given.clear()

    def _run_segments(self, arena, arrays, outputs):
        call = _Call(arena, arrays, self._constants, outputs, [arena] * self._lowered.n_slots)
        for segment in self._segments:
            failed = segment(call)
            if failed is None:
                continue
            if failed[1] in (UNDOABLE, FINISHED):
                self._interpret(call.inputs, outputs)
                return
            if not self._floats(failed, call.inputs, outputs):
                self._fail(failed, call, segment)
        for k, root in enumerate(self._lowered.outputs):
            if root is not None:
                # The output may be a reshape of what the step returned.
                outputs[k] = call.slots[root.index].reshape(self.output_specs[k].shape)

    def _floats(self, failed, arrays, outputs):
        """Whether the steps stopped only because arithmetic divided by zero, overflowed or made NaN; then NumPy has its say.

        Before anything was written, the operations run again one by one, and warn or raise as eager; so do those behind the last write, for what they warn of.
        In an update itself the category is all that can still be told.
        """
        code, flags = failed[1:]
        if code == UNDOABLE or code == FINISHED and _matter(flags):
            self._told += 1
            self._interpret(arrays, outputs)
        elif code == DONE:
            rest = self._rest if _matter(flags) else None
            tell(flags if rest is None else flags >> fpstatus.NOTED)
            if rest is not None:
                _run_late(rest[0], [[*arrays, *outputs][k] for k in rest[1]])
        return code in FLAGGED

    @functools.cached_property
    def _rest(self):
        """What can run again behind the last write, if that is all there is behind it; else None."""
        return behind(self.graph) if self._last_write is not None and rest_on_writes(self._lowered.steps) else None

    def _fail(self, failed, call, segment):
        """A native step reported an error: the operation itself raises it in Python.

        That which would have failed first, where the graph may run again: steps are not in the order of the graph.
        """
        if all(OPS.get(n.op.name) is n.op for n in self.graph.nodes):
            run(self.graph.replace(writes=()), call.inputs)
        number, code, value = failed
        step = self._lowered.steps[segment.numbers[number]]
        if step.node is not None:
            step.node.op.run([call.array(p) for p in step.reads[:len(step.node.inputs)]], dict(step.node.attrs))
        raise RuntimeError(f"{step.name}: the native step failed with code {code} ({value})")


def unheld(old, i, shape, dtype):
    """Array number ``i`` of a list if only the list holds it and it is like a new one, else None."""
    a = old[i]
    if _refs(a) != OURS_ALONE + 1 or type(a) is not np.ndarray or a.shape != shape or a.dtype is not dtype or getweakrefcount(a):
        return None
    flags = a.flags
    return a if flags.owndata and flags.carray else None


class _Native:
    """Native steps in a row."""

    def __init__(self, numbered, n_bufs, first_write, last_write):
        numbered = _with_flags(_with_blas_threads(numbered), first_write, last_write)
        self.numbers = [n for n, _, _ in numbered]
        steps = [s for _, s, _ in numbered]
        moved = sum({n: low.bytes for n, _, low in numbered}.values())
        self.plan = NativePlan.build(steps, n_bufs, release_gil=moved >= RELEASE_BYTES)
        self.run = self.plan.run

    def __call__(self, call):
        return self.run(call.arena, call.inputs, call.constants, call.outputs, call.slots)


def _with_flags(numbered, first_write, last_write):
    """The steps, with the floating-point flags cleared first and looked at before the first write, noted behind the last one if it has a number, and looked
    at at the end."""
    clear = fpstatus.clear_step()
    if clear is None:
        return numbered
    undoable, finished, done = (fpstatus.check_step(code, code == DONE and last_write is not None) for code in (UNDOABLE, FINISHED, DONE))
    number, _, low = numbered[0]
    result = [(number, clear, low)]
    written = first_write is not None and first_write < number
    for number, step, low in numbered:
        if number == first_write and not written:
            result.append((number, undoable, low))
            written = True
        if last_write is not None and number > last_write:
            result.append((number, fpstatus.note_step(), low))
            last_write = None
        result.append((number, step, low))
    return [*result, (number, done if written else finished, low)]


def _matter(flags):
    """Whether ``numpy.errstate`` asks for something where these flags are raised."""
    return any(np.geterr()[key] != "ignore" for bit, key, _ in KINDS if flags & bit)


def _run_late(graph, arrays):
    """Run operations for what NumPy warns of, when arrays have been changed already."""
    try:
        run(graph, arrays)
    except (FloatingPointError, RuntimeWarning) as error:
        raise _late(error) from None


def tell(flags):
    """Warn or raise, as ``numpy.errstate`` asks, of flags that an update raised."""
    for bit, key, text in KINDS:
        mode = np.geterr()[key]
        if not flags & bit or mode == "ignore":
            continue
        message = f"{text} encountered in an update"
        if mode == "raise":
            raise _late(FloatingPointError(message))
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=6)
        except RuntimeWarning as error:
            raise _late(error) from None


def _late(error):
    """``error``, marked as one that comes when arrays have been changed already."""
    error.after_update = True
    return error


def _with_blas_threads(numbered):
    """The steps, with OpenBLAS at one thread around all products but the large ones."""
    products = [low for _, _, low in numbered if low.kind in PRODUCTS]
    lower = one_thread() if products else None
    if lower is None or all(_is_large(step, low) for _, step, low in numbered if low.kind in PRODUCTS):
        return numbered
    result, restore, lowered = [], with_threads(), False
    for number, step, low in numbered:
        if low.kind in PRODUCTS and _is_large(step, low) is lowered:
            result.append((number, restore if lowered else lower, low))
            lowered = not lowered
        result.append((number, step, low))
    return [*result, (result[-1][0], restore, result[-1][2])] if lowered else result


def _is_large(step, low):
    """Whether OpenBLAS's threads pay: not where the product is divided between threads of ours."""
    if step.grain or low.kind == "im2col":
        return False
    if low.kind == "lapack":
        return low.reads[0].shape[-1] >= LARGE_MATRIX
    a, b, y = (prod(p.shape) for p in (*low.reads[:2], low.writes[0]))
    return product_flops(a, b, y, prod(low.writes[0].shape[:-2])) >= LARGE


class _Python:
    """One operation run by its own forward."""

    def __init__(self, low):
        self.low = low
        self.attrs = dict(low.node.attrs) if low.node is not None else {}

    def __call__(self, call):
        low = self.low
        arrays = [call.array(p) for p in low.reads]
        if low.node is None:
            np.copyto(call.array(low.writes[0]), arrays[0], casting="unsafe")
            return
        op = low.node.op
        results = op.run(arrays, self.attrs)
        for place, y in zip(low.writes, results if op.multi else (results,), strict=True):
            call.slots[place.root.index] = _owned(y)


def _owned(y):
    """``y`` as a C-contiguous array with memory of its own (a Python number as it is)."""
    if not isinstance(y, np.ndarray):
        return y
    if y.flags.c_contiguous and y.flags.owndata and y.flags.writeable:
        return y
    return y.copy(order="C")


class _Call:
    """The memory of one call."""

    def __init__(self, arena, inputs, constants, outputs, slots):
        self.arena, self.inputs, self.constants, self.outputs, self.slots = arena, inputs, constants, outputs, slots

    def array(self, place):
        """The array (or number) at a place."""
        root = place.root
        if root.kind == SCALAR:
            return self.inputs[root.index]
        if root.kind == ARENA:
            return np.ndarray(place.shape, place.dtype, self.arena, root.offset + place.offset, place.strides)
        base = {INPUT: self.inputs, CONSTANT: self.constants, OUTPUT: self.outputs}.get(root.kind, self.slots)[root.index]
        if not isinstance(base, np.ndarray):
            return base
        if base.shape == place.shape and base.strides == place.strides and base.dtype == place.dtype and place.offset == root.offset == 0:
            return base
        if base.nbytes == 0:
            return np.empty(place.shape, place.dtype)
        return np.ndarray(place.shape, place.dtype, base, root.offset + place.offset, place.strides)


def _aligned(nbytes):
    """Bytes that begin at a multiple of 64."""
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.__array_interface__["data"][0] % ALIGNMENT
    return block[start:start + max(nbytes, 1)]
