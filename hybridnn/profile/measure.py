"""What ``hnn.profile`` does: runs a function eagerly and traced, in turn, each call from the same state."""
import functools
import gc
import tracemalloc
from time import perf_counter

import numpy as np

from hybridnn.config import using_config
from hybridnn.function_hook import FunctionHook
from hybridnn.jit import on_run
from hybridnn.profile.heap import Heap
from hybridnn.profile.report import Report, Row, Span
from hybridnn.trace.report import Explanation
from hybridnn.trace.watch import watching

__all__ = ["profile_call"]

WARM_UP = 8        # calls after which a path is hot
SPLIT = 20         # calls from which the share of native code is taken
COUNTERS = "hits", "python_skipped", "recordings"
TINY = 1e-3        # differences count relative to this where all values are smaller: what is left of a cancellation is rounding


def profile_call(memory, traced, fn, args, kwargs, repeat, tolerance):
    """``profile`` of the plain function ``fn``, its traced callable, and what that has learned."""
    roots = dict(fn=fn, args=args, kwargs=kwargs)
    before = Heap.of(**roots)
    calls = {"eager": functools.partial(_eager, fn, args, kwargs), "traced": functools.partial(traced, *args, **kwargs)}
    try:
        with using_config("trace_compile", "sync"):
            calls["eager"]()      # parameters get their shapes, optimizers their states
            return _Profile(memory, calls, roots, repeat, tolerance).report()
    finally:
        before.restore()


def _eager(fn, args, kwargs):
    with using_config("trace", "eager"):
        return fn(*args, **kwargs)


class _Profile:
    """The measurements, each from the state that ``roots`` reach now."""

    def __init__(self, memory, calls, roots, repeat, tolerance):
        self.memory, self.calls, self.roots, self.repeat, self.tolerance = memory, calls, roots, repeat, tolerance
        self.heap = Heap.of(**roots)

    def report(self):
        difference, differences = self._compare()
        self._warm_up()
        counts = [getattr(self.memory.stats, name) for name in COUNTERS]
        times = self._times()
        counts = {name: getattr(self.memory.stats, name) - n for name, n in zip(COUNTERS, counts)}
        executables, native = self._split()
        peaks = {mode: self._peak(call) for mode, call in self.calls.items()}
        seconds = {mode: float(np.median(values)) for mode, values in times.items()}
        eager = Row("eager", seconds["eager"], memory_peak=peaks["eager"])
        steps = [s for exe in executables for s in exe.steps]
        kinds = [s.kind for s in steps]
        traced = Row("traced", seconds["traced"], native_seconds=native, kernels=kinds.count("kernel"), steps=len(steps),
                     python_steps=kinds.count("python"), memory_peak=peaks["traced"],
                     memory_planned=sum(exe.memory_bytes for exe in executables),
                     memory_lower_bound=sum(exe.memory_lower_bound for exe in executables), **counts)
        return Report(self.memory.name, self.repeat, (eager, traced), difference, differences, self.tolerance, self._spans(),
                      Explanation.of(self.memory))

    def _compare(self):
        """The greatest relative difference of what eager and traced calls leave behind, and what is beyond the tolerance.

        Also finds the arrays that calls change.
        """
        states, changed = {}, set()
        for mode in ("eager", "traced", "traced"):      # the second one is a replay
            self.heap.restore()
            result = self.calls[mode]()
            changed |= self.heap.changed()
            states[mode] = Heap.of(result=result, **self.roots).visible()
        self.heap.restore()
        self.heap.watched = changed
        found = sorted(_differences(states["eager"], states["traced"]), key=lambda pair: -pair[1])
        return max([d for _, d in found], default=0.0), tuple([pair for pair in found if pair[1] > self.tolerance])

    def _call(self, mode):
        """Seconds of one call."""
        self.heap.restore()
        start = perf_counter()
        self.calls[mode]()
        return perf_counter() - start

    def _warm_up(self):
        for _ in range(WARM_UP):
            self._call("eager")
            self._call("traced")

    def _times(self):
        times = {"eager": [], "traced": []}
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            for i in range(self.repeat):
                for mode in ("eager", "traced") if i % 2 == 0 else ("traced", "eager"):
                    times[mode].append(self._call(mode))
        finally:
            if collecting:
                gc.enable()
        return times

    def _split(self):
        """The segments that a call runs, and the median time it spends in them."""
        ran, shares = {}, []
        for _ in range(min(self.repeat, SPLIT)):
            spans = []
            with watching(on_run, lambda exe, start, end, spans=spans: spans.append((exe, end - start))):
                self._call("traced")
            ran.update({id(exe): exe for exe, _ in spans})
            shares.append(sum(seconds for _, seconds in spans))
        return list(ran.values()), float(np.median(shares))

    def _peak(self, call):
        """Bytes allocated during a call at the same time, at most. What the trace keeps from call to call is allocated anew, so that it counts."""
        self.heap.restore()
        for segment in [s for s in self.memory.segments if s.executable is not None]:
            segment.executable.release()
        gc.collect()
        running = tracemalloc.is_tracing()
        tracemalloc.start()
        try:
            start = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            call()
            return tracemalloc.get_traced_memory()[1] - start
        finally:
            if not running:
                tracemalloc.stop()

    def _spans(self):
        """Timelines of one eager call, operation by operation, and of one traced call, segment by segment."""
        self.heap.restore()
        hook = _Timeline()
        start = perf_counter()
        with hook:
            self.calls["eager"]()
        spans = [Span("eager", "call", start, perf_counter()), *hook.spans]
        self.heap.restore()
        inside = []
        start = perf_counter()
        with watching(on_run, lambda exe, a, b: inside.append(Span("traced", "segment", a, b, exe.steps))):
            self.calls["traced"]()
        end = perf_counter()
        self.heap.restore()
        shift = start - spans[0].end      # the traced call begins where the eager one ends
        return tuple(_from_zero([*spans, *[s.moved(shift) for s in [Span("traced", "call", start, end), *inside]]]))


def _from_zero(spans):
    first = min(s.start for s in spans)
    return [s.moved(first) for s in spans]


def _name(function):
    """The operation's name, as in traced timelines; of a user's function its label."""
    op = getattr(function, "op", None) or getattr(getattr(function, "program", None), "op", None)
    return function.label if op is None else op.name


class _Timeline(FunctionHook):
    """Notes when each operation runs, forward and backward."""
    name = "hybridnn.profile"

    def __init__(self):
        self.spans, self.open = [], []

    def _begin(self, *_):
        self.open.append(perf_counter())

    forward_preprocess = backward_preprocess = _begin

    def forward_postprocess(self, function, in_data):
        self.spans.append(Span("eager", _name(function), self.open.pop(), perf_counter()))

    def backward_postprocess(self, function, in_data, out_grad):
        self.spans.append(Span("eager", f"{_name(function)} backward", self.open.pop(), perf_counter()))


def _differences(a, b):
    """(path, greatest relative difference) over the arrays of two states; infinity for what only one has."""
    for path in a.keys() | b.keys():
        x, y = a.get(path), b.get(path)
        if x is None or y is None or x.shape != y.shape or x.dtype != y.dtype:
            yield path, float("inf")
        else:
            yield path, relative_difference(x, y)


def relative_difference(x, y):
    """Greatest difference, relative to the greatest value (at least ``TINY``); infinity where one alone is not finite."""
    if x.size == 0 or x.dtype.kind not in "fcbiu":
        return 0.0 if np.array_equal(x, y) else float("inf")
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    x, y = x.astype(wide), y.astype(wide)
    finite = np.isfinite(x)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True) or not np.isfinite(y[finite]).all():
        return float("inf")
    return float(np.abs(x[finite] - y[finite]).max(initial=0.0) / np.abs(x[finite]).max(initial=TINY))
