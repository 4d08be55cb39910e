"""``@trace``: the decorator, its statistics and its report."""
import copy
import functools
import inspect
import logging
import os
import random
import sys
import threading
import time
import types
import warnings
import weakref
from dataclasses import dataclass, field, fields

from hybridnn.config import config, global_config, state
from hybridnn.errors import RecordingForbidden, TraceWarning, raised_by_signal, user_line
from hybridnn.trace.call import Call
from hybridnn.trace.compare import mismatch
from hybridnn.trace.events import Event, path_to, terminals
from hybridnn.trace.floats import errors_may_wait
from hybridnn.trace.observe_later import observer_type
from hybridnn.trace.pure import Vouched, taken
from hybridnn.trace.refs import Doubt, class_lookup
from hybridnn.trace.report import Explanation
from hybridnn.trace.shadow import checked_replay
from hybridnn.trace.signature import signature
from hybridnn.trace.skip import Miss, Refused, make_plan
from hybridnn.trace.watch import on_call

__all__ = ["Stats", "Traced", "trace"]

log = logging.getLogger("hybridnn.trace")
MODES = ("auto", "verify", "pure", "eager")
MAX_PROOFS = 16
PLANS_PER_PATH = 8
MANY_MISSES = 200      # calls in a row that a plan may miss before it is forgotten
# Recording costs more than running eagerly, so it is paid for: a callable begins with credit for twice max_paths recordings; hits and, slowly, calls
# that run eagerly for want of credit earn more. So a function that never repeats settles at eager speed.
COMPARE_AFTER, COMPARED_CALLS, EAGER_CALLS = 64, 8, 20_000      # when a replay that runs Python is timed against eager, how often, and what follows
FEW, COMPARE_PLAN_AFTER, COMPARE_AGAIN = 3, 4096, 64    # operations of a plan that may take longer than eager does; calls after which it is timed
HIT_EARNS, IDLE_EARNS = 1 / 512, 1 / 4096
_dice = random.Random(0)      # decides which replays are checked; the program's own random numbers stay what they are
WRITTEN_IN_C = (types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType)


@dataclass
class Stats:
    """Counters of a traced callable; see the documentation of tracing for each."""
    calls: int = 0
    hits: int = 0
    recordings: int = 0
    fallbacks: int = 0
    paths: int = 0
    evictions: int = 0
    python_skipped: int = 0
    kernels: int = 0
    compile_seconds: float = 0.0
    arena_bytes: int = 0
    arena_lower_bound: int = 0
    retained_bytes: int = 0

    def __str__(self):
        return ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))


@dataclass(eq=False)
class Root(Event):
    """The root of one signature's tree."""
    signature: tuple = ()
    reason: str = ""
    misses: int = 0
    asleep: int = 0
    proofs: int = 0
    replays: int = 0
    compare_at: int = COMPARE_AFTER
    times: dict = field(default_factory=lambda: {True: [], False: []})     # seconds of verified replays (True) and of eager calls, while compared


class _Forks:
    """How many forks lie behind this process, and the lock under which others are made anew after one."""

    def __init__(self):
        self.generation, self.renewing = 0, threading.Lock()

    def renew(self):
        self.generation, self.renewing = self.generation + 1, threading.Lock()


forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.renew)


@dataclass(eq=False)
class Memory:
    """Everything that one traced callable (of one instance, for methods) has learned."""
    name: str
    mode: str = "auto"
    check: float = 0.0
    max_paths: int = 64
    max_events: int = 200_000
    stats: Stats = field(default_factory=Stats)
    roots: dict = field(default_factory=dict)
    segments: list = field(default_factory=list)
    plans: list = field(default_factory=list)
    why: list = field(default_factory=list)
    version: int = 0
    clock: int = 0
    warned: set = field(default_factory=set)
    counters: set = field(default_factory=set)      # places that the function assigns
    locks: tuple = (0, None)
    credit: float | None = None
    resting: int = 0       # calls that are to run eagerly: skipping Python takes longer

    def __post_init__(self):
        self.credit = 2.0 * self.max_paths

    @property
    def lock(self):
        """Guards what was learned. A forked child has its own: the thread that held this one is not there to release it."""
        generation, lock = self.locks
        if lock is None or generation != forks.generation:
            with forks.renewing:
                if self.locks[1] is None or self.locks[0] != forks.generation:
                    self.locks = forks.generation, threading.RLock()
            lock = self.locks[1]
        return lock

    @property
    def holding(self):
        """Whether an optimizer is in the middle of its update: in-place changes are settled together at its end."""
        return state.updating

    def clear(self):
        """Forget all recordings."""
        with self.lock:
            for root in self.roots.values():
                root.forget()
            self.roots.clear()
            self.segments.clear()
            self.plans = []
            self.resting = 0
            self.why.clear()
            self.stats.paths = self.stats.arena_bytes = self.stats.arena_lower_bound = self.stats.retained_bytes = 0
            self.version += 1

    def __del__(self):
        """Events hold each other: they are not to wait for the collector. Every call holds its memory, so that none is on its way.

        At the end of the interpreter objects may still call what the collector has already ended.
        """
        if sys.is_finalizing():
            return
        self.plans = []
        roots, self.roots = self.roots, {}
        for root in roots.values():
            root.forget(links=True)

    # ---- told by calls

    def compiled(self, segment):
        exe = segment.executable
        self.segments.append(segment)
        self.stats.kernels += exe.kernels_compiled
        self.stats.compile_seconds += exe.compile_seconds
        self.stats.arena_bytes = max(self.stats.arena_bytes, exe.arena_bytes)
        self.stats.arena_lower_bound = max(self.stats.arena_lower_bound, exe.arena_lower_bound)
        self.stats.retained_bytes = sum(s.executable.arena_bytes for s in self.segments if s.executable is not None)

    def gave_up(self, root, reason, line):
        root.reason = f"{reason} ({line})"
        self.note("runs eagerly", root.reason)

    def note(self, what, text):
        self.why.append((what, text))
        del self.why[:-100]
        log.info("%s: %s: %s", self.name, what, text)

    def warn_once(self, cause, text):
        if cause not in self.warned:
            self.warned.add(cause)
            log.warning("%s: %s", self.name, text)
            warnings.warn(f"{self.name}: {text}", TraceWarning, stacklevel=5)


def _run(memory, fn, self_object, args, kwargs):
    """One call of a traced function."""
    asked = state.trace or global_config.trace
    if memory.resting and not on_call and not asked:
        memory.resting -= 1
        memory.stats.calls += 1
        return fn(*args, **kwargs)
    if on_call:
        for watcher in on_call:
            watcher(memory, lambda *a, **k: _run(memory, fn, self_object, a, k), fn, args, kwargs)
    stats = memory.stats
    stats.calls += 1
    mode = asked or memory.mode
    outer = state.tracer
    if not errors_may_wait():
        mode = "eager"
    if memory.plans and outer is None and state.hooks is None and mode in ("auto", "pure") and sys.gettrace() is None and sys.getprofile() is None:
        plans = memory.plans
        if len(plans) > 2:
            key = signature(args, kwargs)
            plans = [p for p in plans if p.signature == key]
        for plan in plans:
            if plan.times is not None and len(plan.times[True]) > len(plan.times[False]):
                return _eager_turn(memory, plan, fn, args, kwargs)
            if memory.check and _dice.random() < memory.check:
                result = checked_replay(memory, plan, self_object, fn, args, kwargs)
                if type(result) not in (Miss, Refused):
                    stats.hits += 1
                    return result
            elif plan.times is not None:
                start = time.perf_counter()
                result = plan.run(self_object, args, kwargs)
                plan.times[True].append(time.perf_counter() - start)
            else:
                result = plan.run(self_object, args, kwargs)
            if type(result) is Refused:
                return _refused(fn, args, kwargs, result)
            if type(result) is not Miss:
                return _skipped(memory, plan, result)
            _missed(memory, plan, result)
    if mode == "eager" or state.hooks is not None or (outer is not None and outer.mode != "eager"):
        return fn(*args, **kwargs)
    key = signature(args, kwargs)
    root = memory.roots.get(key)
    if root is None:
        if memory.credit < 1 and mode != "error_on_record":
            memory.credit += IDLE_EARNS
            return fn(*args, **kwargs)
        root = _new_root(memory, key)
    if root.reason or root.asleep:
        root.asleep = max(0, root.asleep - 1)
        return fn(*args, **kwargs)
    if root.replays >= root.compare_at:
        return _compared_run(memory, root, mode, fn, args, kwargs)
    return _traced_run(memory, root, mode, fn, args, kwargs)


def _compared_run(memory, root, mode, fn, args, kwargs):
    """Law L3: where Python always runs, matching tiny operations may cost more than doing them; then the signature runs eagerly for a while."""
    verified = len(root.times[True]) <= len(root.times[False])
    start = time.perf_counter()
    result = _traced_run(memory, root, mode, fn, args, kwargs) if verified else fn(*args, **kwargs)
    root.times[verified].append(time.perf_counter() - start)
    if len(root.times[False]) == COMPARED_CALLS:
        replay, eager = min(root.times[True]), min(root.times[False])
        root.times = {True: [], False: []}
        root.compare_at = root.replays + (COMPARE_AFTER if eager < replay else EAGER_CALLS)
        if eager < replay:
            root.asleep = EAGER_CALLS
            memory.note("runs eagerly", f"for {EAGER_CALLS} calls: a verified replay took {replay * 1e6:.0f} us, an eager call {eager * 1e6:.0f} us")
    return result


def _eager_turn(memory, plan, fn, args, kwargs):
    """Law L3: the guards of a function of few operations may take longer than the operations; then it runs eagerly for a while."""
    start = time.perf_counter()
    result = fn(*args, **kwargs)
    plan.times[False].append(time.perf_counter() - start)
    if len(plan.times[False]) == COMPARED_CALLS:
        skipping, eager = min(plan.times[True]), min(plan.times[False])
        plan.times, plan.few, plan.hits = None, eager < skipping, COMPARE_PLAN_AFTER - COMPARE_AGAIN
        if plan.few:
            memory.resting = EAGER_CALLS
            memory.note("runs eagerly", f"for {EAGER_CALLS} calls: skipping Python took {skipping * 1e6:.1f} us, an eager call {eager * 1e6:.1f} us")
    return result


def _skipped(memory, plan, result):
    """Count a call that ran no Python."""
    stats = memory.stats
    stats.hits += 1
    stats.python_skipped += 1
    memory.clock += 1
    plan.misses = 0
    plan.hits += 1
    if plan.few and plan.hits == COMPARE_PLAN_AFTER:
        plan.times = {True: [], False: []}
    plan.end.hits += 1
    plan.end.last_used = memory.clock
    if memory.plans[0] is not plan:
        with memory.lock:
            memory.plans = [plan, *[p for p in memory.plans if p is not plan and not p.dead]]
    return result


def _refused(fn, args, kwargs, refused):
    """An operation raised in native code: the program raises it again, in Python, where the user's line is."""
    state.given_draws = list(refused.draws)
    try:
        return fn(*args, **kwargs)
    finally:
        state.given_draws = None


def _missed(memory, plan, miss):
    """Note a guard that failed; a plan that never fits any more goes."""
    plan.misses += 1
    plan.last_miss = miss
    if plan.misses == MANY_MISSES or plan.dead:
        with memory.lock:
            memory.plans = [p for p in memory.plans if p is not plan]
        memory.note("guard failed", f"{miss.reason}, {plan.misses} times in a row")


def _new_root(memory, key):
    with memory.lock:
        root = memory.roots[key] = Root("root", signature=key)
        return root


def _traced_run(memory, root, mode, fn, args, kwargs):
    if mode == "error_on_record" and not root.children:
        raise _forbidden(memory, root)
    call = Call(root, memory)
    call.forbid = mode == "error_on_record"
    root.replays += call.mode == "replay"
    observer = _observer(memory, root, mode, call, fn, args, kwargs) if root.replays >= 2 else None
    call.checked = call.mode == "replay" and memory.check and _dice.random() < memory.check
    call.interpreting = observer is not None or root.replays < 2 and config.trace_compile != "sync"
    outer, state.tracer = state.tracer, call
    outer_reads, state.config_reads = state.config_reads, call.config_reads
    try:
        call.begin()
        if observer is None:
            result = fn(*args, **kwargs)
        else:
            with observer:
                result = fn(*args, **kwargs)
    except BaseException:
        state.tracer = None
        _abandoned(call)
        raise
    finally:
        state.tracer, state.config_reads = outer, outer_reads
    state.tracer = None
    try:
        end = _finished(call)
        before = None
        if mode == "pure" and end is not None:
            before, end.seen = end.seen, taken(call)
        if observer is not None:
            _prove(memory, observer, call, end, mode == "pure", result, before)
    finally:
        state.tracer = outer
    _account(memory, root, call, end)
    if call.difference is not None:
        raise mismatch(memory.name, *call.difference)
    return result


def _finished(call):
    try:
        return call.finish()
    except BaseException:
        call.abandon()
        raise
    finally:
        call.end()


def _abandoned(call):
    try:
        call.abandon()
    finally:
        call.end()


def _observer(memory, root, mode, call, fn, args, kwargs):
    """An observer for this call, if it is time to try a proof and nobody else watches the thread."""
    if mode not in ("auto", "pure") or call.mode != "replay" or root.proofs >= MAX_PROOFS or state.tracer is not None:
        return None
    observe = observer_type()
    if observe is None or sys.gettrace() is not None or sys.getprofile() is not None or sys.is_finalizing():
        return None
    root.proofs += 1
    if isinstance(fn, types.MethodType) and isinstance(fn.__func__, types.FunctionType):
        return observe(call, fn.__func__, fn.__self__, args, kwargs)
    if isinstance(fn, types.FunctionType):
        return observe(call, fn, None, args, kwargs)
    called = class_lookup(type(fn), "__call__")
    return observe(call, called, fn, args, kwargs) if isinstance(called, types.FunctionType) else None


def _prove(memory, observer, call, end, pure, result, before):
    """Turn an observed replay into a plan that skips Python, or note why not. ``before``: what the call before took from outside."""
    if call.mode != "replay" or end is None or call.left:
        return
    try:
        seen = observer
        if observer.doubt is not None or observer.result is None:
            if not pure:
                doubt = observer.doubt or Doubt("the run was not seen to its end")
                raise Doubt(doubt.reason, doubt.line)        # not the observer's own, which would get a traceback and so keep it
            seen = Vouched(call, observer.args, observer.kwargs, result, before)
        plan = make_plan(seen, call, end, memory.version, frozenset(call.config_reads))
    except Doubt as d:
        end.doubt = str(d)
        call.root.proofs += MAX_PROOFS // 4 - 1
        memory.note("python runs", end.doubt)
        return
    except Exception as error:        # a defect of ours: tests see it, users get one warning and verified replay
        if os.environ.get("HYBRIDNN_STRICT") or raised_by_signal(error):
            raise
        call.root.proofs, end.doubt = MAX_PROOFS, f"the proof met {type(error).__name__}: {error}"
        memory.warn_once("proof", f"Python is not skipped: {end.doubt}")
        return
    end.doubt = ""
    plan.few = sum(len(e.apps) for e in call.path) <= FEW
    plan.signature = call.root.signature
    with memory.lock:
        twins = [p for p in memory.plans if p.end is end][PLANS_PER_PATH - 1:]
        memory.plans = [plan, *[p for p in memory.plans if p not in twins and not p.dead]][:memory.max_paths]
    for p in [p for p in memory.plans[1:] if p.last_miss is not None][:1]:
        memory.note("guard failed", p.last_miss.reason)
    memory.note("python is skipped", f"{len(plan.source.splitlines())} lines of guards and replay")


def _forbidden(memory, root):
    return RecordingForbidden(f"{memory.name}: a call with a new signature would have been recorded, and trace is 'error_on_record'\n  at {user_line(3)}\n"
                              "  hint: call it once with such arguments before serving, or use trace='auto'")


def _account(memory, root, call, end):
    stats = memory.stats
    memory.clock += 1
    if end is not None:
        end.last_used = memory.clock
        end.hits += not call.recorded
    if call.left:
        stats.fallbacks += 1
        memory.note("left a known path", user_line(3))
    if call.recorded:
        with memory.lock:
            memory.version += 1
            stats.recordings += 1
            root.misses += 1
            memory.credit -= 1
            memory.note("recorded", f"{len(call.path)} events, signature {root.signature[0]}")
            _bound_paths(memory, root, call)
    else:
        stats.hits += call.mode == "replay"
        root.misses = 0
        memory.credit = min(2.0 * memory.max_paths, memory.credit + HIT_EARNS)


def _bound_paths(memory, root, call):
    """Evict the least recently used paths over ``max_paths``; when the credit is spent, say once what causes it."""
    ends = [(r, e) for r in memory.roots.values() for e in terminals(r)]
    for r, e in sorted(ends, key=lambda pair: pair[1].last_used)[:max(0, len(ends) - memory.max_paths)]:
        _prune(memory, r, e)
        memory.stats.evictions += 1
        memory.note("evicted", f"a path of signature {r.signature[0]}")
    memory.stats.paths = min(len(ends), memory.max_paths)
    if memory.credit >= 1:
        return
    if root.misses > 16:
        root.asleep = 256
    memory.warn_once("paths", f"its calls keep taking new paths ({memory.stats.recordings} recorded, max_paths={memory.max_paths}); new ones run eagerly\n"
                              f"  cause: {_cause(memory, root, call)}")


def _cause(memory, root, call):
    """What differs between this call and others: an argument, or the line where Python took another way."""
    for other in memory.roots.values():
        if other is not root:
            mine, theirs = root.signature[0], other.signature[0]
            for k, (a, b) in enumerate(zip(mine, theirs)):
                if a != b:
                    return f"argument {k} changes: {_short(b)}, then {_short(a)}"
            return "other arguments, or another configuration"
    split = next((e for e in call.path if len(e.parent.children) > 1), call.path[-1])
    return f"the path changes at {split.line}"


def _short(description):
    kind, *rest = description if isinstance(description, tuple) else (description,)
    return f"{kind.__name__} {rest[0]}" if rest and isinstance(kind, type) else getattr(kind, "__name__", str(kind))


def _prune(memory, root, end):
    event = end
    while event.parent is not None and len(event.parent.children) == 1:
        event = event.parent
    if event.parent is None:
        memory.roots.pop(root.signature, None)
    else:
        event.parent.children.remove(event)
    event.forget()
    memory.plans = [p for p in memory.plans if p.end is not end]
    used = {id(s) for r in memory.roots.values() for s in _segments(r)} | {id(s) for p in memory.plans for s in p.segments}
    memory.segments[:] = [s for s in memory.segments if id(s) in used]


def _segments(event):
    stack = [event]
    while stack:
        e = stack.pop()
        stack += e.children
        yield from e.segments.values()


class Traced:
    """A traced callable. ``__wrapped__`` is the original; ``stats``, ``explain()`` and ``clear()`` tell and forget what was learned."""

    def __init__(self, fn, options):
        self._options = options
        self._memory = Memory(_name(fn), **options)
        self._instances = {}
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__defaults__", "__kwdefaults__"):
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))
        self.__wrapped__ = fn
        self._self = None if isinstance(fn, types.FunctionType) else getattr(fn, "__self__", fn)

    def __call__(self, *args, **kwargs):
        return _run(self._memory, self.__wrapped__, self._self, args, kwargs)

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return BoundTraced(self, instance)

    @property
    def stats(self):
        """Counters, see ``Stats``."""
        return self._memory.stats

    def explain(self):
        """A report of paths, segments, steps and reasons; prints itself, and holds the facts as data."""
        return Explanation.of(self._memory)

    def clear(self):
        """Forget all recordings."""
        self._memory.clear()

    def __repr__(self):
        return f"<traced {_name(self.__wrapped__)}>"

    def __reduce__(self):
        """A function pickles by its name, a link or bound method by its value."""
        fn = self.__wrapped__
        return self.__qualname__ if isinstance(fn, types.FunctionType) else (_decorate, (fn, self._options))

    def __deepcopy__(self, memo):
        fn = self.__wrapped__
        return Traced(fn if isinstance(fn, types.FunctionType) else copy.deepcopy(fn, memo), self._options)

    def _memory_of(self, instance):
        """The memory of one instance's method; it goes when the instance goes."""
        key = id(instance)
        entry = self._instances.get(key)
        if entry is None:
            memory = Memory(_name(self.__wrapped__), **self._options)
            try:
                ref = weakref.ref(instance, lambda _, key=key, table=self._instances: table.pop(key, None))
            except TypeError:
                return self._memory
            entry = self._instances[key] = (ref, memory)
        return entry[1]


class BoundTraced:
    """A traced method bound to its instance. Compares, copies and pickles as a bound method does."""
    __slots__ = ("__self__", "__wrapped__", "_memory", "_traced")

    def __init__(self, traced, instance):
        self._traced, self._memory = traced, traced._memory_of(instance)
        self.__wrapped__ = traced.__wrapped__.__get__(instance, type(instance))
        self.__self__ = instance

    def __call__(self, *args, **kwargs):
        return _run(self._memory, self.__wrapped__, self.__self__, args, kwargs)

    stats = property(lambda self: self._memory.stats)

    def explain(self):
        """See ``Traced.explain``."""
        return Explanation.of(self._memory)

    def clear(self):
        """See ``Traced.clear``."""
        self._memory.clear()

    def __eq__(self, other):
        return isinstance(other, BoundTraced) and self._traced is other._traced and self.__self__ is other.__self__

    def __hash__(self):
        return hash((id(self._traced), id(self.__self__)))

    def __reduce__(self):
        return getattr, (self.__self__, self.__wrapped__.__name__)

    def __deepcopy__(self, memo):
        return BoundTraced(self._traced, copy.deepcopy(self.__self__, memo))

    def __getattr__(self, name):
        return getattr(self.__wrapped__, name)

    def __repr__(self):
        return f"<traced {self.__wrapped__!r}>"


def _name(fn):
    return getattr(fn, "__qualname__", None) or type(fn).__name__


def trace(fn=None, *, mode="auto", check=0.0, max_paths=64):
    """Make a function fast without changing what it does (law L0).

    Args:
        fn: a function, method, static or class method, property, ``functools.partial``, lambda, or Link instance.
        mode: ``"auto"`` (skips Python where that is proved), ``"verify"`` (Python always runs), ``"pure"`` (the user vouches that only arguments and
            parameters matter), ``"eager"`` (off).
        check: probability with which a replay is also run eagerly and compared.
        max_paths: most control-flow paths kept at once.

    Raises:
        TypeError: for a class, a builtin, or anything that is not callable.
        ValueError: for an unknown mode or a bad number.
    """
    if mode not in MODES:
        raise ValueError(f"trace: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if isinstance(max_paths, bool) or not isinstance(max_paths, int) or max_paths < 1:
        raise ValueError(f"trace: max_paths must be a positive int, got {max_paths!r}")
    if isinstance(check, bool) or not isinstance(check, (int, float)) or not 0 <= check <= 1:
        raise ValueError(f"trace: check must be a probability between 0 and 1, got {check!r}")
    options = dict(mode=mode, check=float(check), max_paths=max_paths)
    return functools.partial(_decorate, options=options) if fn is None else _decorate(fn, options)


def _decorate(fn, options):
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_decorate(fn.__func__, options))
    if isinstance(fn, property):
        return property(*[f and _decorate(f, options) for f in (fn.fget, fn.fset, fn.fdel)], fn.__doc__)
    if isinstance(fn, type):
        raise TypeError(f"trace: {fn.__name__} is a class; decorate the method that does the work")
    if not callable(fn):
        raise TypeError(f"trace: expected a function, method or Link, got {type(fn).__name__}")
    inner = _innermost(fn)
    if isinstance(inner, type):
        raise TypeError(f"trace: {inner.__name__} is a class, which {_name(fn)} calls; wrap it in a Python function")
    if not isinstance(inner, types.FunctionType) and isinstance(class_lookup(type(inner), "__call__"), WRITTEN_IN_C):
        raise TypeError(f"trace: {_name(inner)} is written in C and cannot be traced; wrap it in a Python function")
    if inspect.isgeneratorfunction(fn) or inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"trace: {_name(fn)} is a generator or coroutine; decorate the step that it calls")
    return Traced(fn, options)


def _innermost(fn):
    """What a callable calls at last: behind partial objects, bound methods and wrappers."""
    for _ in range(100):
        if isinstance(fn, types.FunctionType):
            break
        inner = fn.func if isinstance(fn, functools.partial) else fn.__func__ if isinstance(fn, types.MethodType) else getattr(fn, "__wrapped__", fn)
        if inner is fn:
            break
        fn = inner
    return fn


def paths_of(memory):
    """(root, end event, its path) of every recorded path."""
    return [(r, e, path_to(e)) for r in memory.roots.values() for e in terminals(r)]
