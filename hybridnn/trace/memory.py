"""What one traced callable has learned: its statistics, the trees of its paths and the plans that skip Python, and how much of them is kept."""
import logging
import os
import sys
import threading
import warnings
from dataclasses import dataclass, field, fields

from hybridnn.config import state
from hybridnn.errors import TraceWarning
from hybridnn.trace.events import Event, below, terminals
from hybridnn.trace.proof_costs import PATIENCE, CallTimes
from hybridnn.trace.signature import described, described_value

__all__ = ["COMPARE_AGAIN", "COMPARE_PLAN_AFTER", "EAGER_CALLS", "IDLE_EARNS", "IN_VAIN", "MAX_PROOFS", "SERVED", "Memory", "Root", "Stats", "account",
           "nap", "new_root"]

log = logging.getLogger("hybridnn.trace")
MAX_PROOFS, IN_VAIN = 16, 4        # of one signature; in a row while no call skips Python: twice as many calls lie before each of the next ones
SERVED = 64            # calls for which plans have to have run until they have paid for another proof
COMPARE_PLAN_AFTER, COMPARE_AGAIN = 128, 64     # calls after which a plan is timed against eager ones
COMPARE_AFTER, MANY_SEARCHES = 64, 256     # replays that run Python, and plans tried in vain, after which calls are timed against eager ones
# Recording costs more than running eagerly, so it is paid for: a callable begins with credit for twice max_paths recordings; hits and, slowly, calls
# that run eagerly for want of credit earn more. So a function that never repeats settles at eager speed.
PASSING = 3      # calls that may give up recording for what may happen once, before their signature runs eagerly
PASSING_COSTS = 8       # calls that skip Python make up for one of these; of as many as PASSING at most
HIT_EARNS, IDLE_EARNS = 1 / 512, 1 / 4096
EAGER_CALLS, FIRST_NAP, LONGER = 20_000, 1000, 4      # a signature runs eagerly for so many calls at most, the first time, and how many times as many each time
                                                      # after: paths may have settled by then, or what could not be recorded be gone


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
        return ", ".join(f"{f.name}={getattr(self, f.name):{'.3g' if f.name == 'compile_seconds' else ''}}" for f in fields(self))


@dataclass(eq=False)
class Root(Event):
    """The root of one signature's tree."""
    signature: tuple = ()
    reason: str = ""
    misses: int = 0
    asleep: int = 0                # eager calls that are to come
    naps: int = 0                  # how often replays were found to take longer than eager calls
    passing: int = 0               # how often recording was given up for what may happen once, less what calls that skip Python have made up for
    passed_at: int = 0             # how many of these there had been by then
    proofs: int = 0
    proved_at: int = 0             # how many calls had skipped Python when one was last proved
    vain: int = 0                  # how many were proved in a row while none skipped Python
    waits_until: int = 0           # how many replays there have to be before another one is, then
    places: tuple = ()             # of objects among the arguments, which plans guard by identity
    met: dict = field(default_factory=dict)         # ids of objects among the arguments -> how many calls with these had no plan
    lack: str = ""                 # why no plan fits this call: the guard that failed first
    futile: set = field(default_factory=set)        # such reasons behind which a proof failed, or a recording was given up
    astray: int = 0                # how many calls have left their path while they were followed
    stray: int = 0                 # how many in a row, since one stayed on its path
    replays: int = 0
    took: CallTimes = field(default_factory=CallTimes)
    compare_at: int = COMPARE_AFTER
    uses: tuple | None = None      # (version, which events use a value) of the tree
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
    restless: set = field(default_factory=set)      # ids of dicts that change between calls
    counters: set = field(default_factory=set)      # places that the function assigns
    windows: set = field(default_factory=set)       # places of lists that the function has been seen to replace by their last members
    changing: set = field(default_factory=set)      # places of a list or dict that the function changes, if it does not only assign another one
    writing: set = field(default_factory=set)       # the program's lines at which NumPy has been seen to write into arrays that operations had taken
    choosing: dict = field(default_factory=dict)    # the program's lines at which ints choose elements as data -> along which axes
    identities: dict = field(default_factory=dict)  # place of an argument -> id of the object that was there; see ``Objects``
    first_found: dict = field(default_factory=dict)         # what the first proof has found at a place: a parameter's array, weakly, or a length
    locks: tuple = (0, None)
    credit: float | None = None
    patience: float = PATIENCE       # seconds that proofs may take
    advance: float = PATIENCE        # those of them that no plan has earned
    proof_seconds: float = 0.0       # what the proof of a signature takes, by those there were
    resting: int = 0       # calls that are to run eagerly: skipping Python takes longer; -1: calls are timed to find that out
    naps: int = 0          # how often it was found that to find a path takes longer
    learned: int = 0       # calls that were recorded or followed, which takes many times as long as others
    idle: int = 0          # calls in a row that were to run eagerly
    searched: int = 0      # plans that were tried in vain
    sizes: dict = field(default_factory=dict)       # place of a list or dict among the arguments -> its id, length, by how much it grew, and how often
    growing: dict = field(default_factory=dict)     # place of one that keeps growing -> its id, length, and whether it holds plain numbers
    grown_ids: frozenset = frozenset()              # ids of these
    refilled: dict = field(default_factory=dict)    # place of one that turned out to begin anew -> how often it has to grow until it counts as growing again
    index: tuple | None = None      # see ``plan_index``
    lack: str = ""         # the guard that failed first in this call
    compare_at: int = MANY_SEARCHES
    search_times: dict = field(default_factory=lambda: {True: [], False: []})      # seconds of calls that look for their path (True) and of eager ones

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
            self.resting = self.searched = self.idle = 0
            self.patience, self.advance, self.proof_seconds = PATIENCE, PATIENCE, 0.0
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

    def gave_up(self, root, reason, line, passing=False):
        """Calls of this signature run eagerly for long; only this one, the first few times, if it may be ``passing``."""
        if passing:
            skipped = self.stats.python_skipped
            root.passing = 1 + max(-PASSING, root.passing - (skipped - root.passed_at) // PASSING_COSTS)
            root.passed_at = skipped
        if passing and root.passing < PASSING:
            self.note("ran eagerly", f"{reason} ({line})")
            return
        if root.lack:
            root.futile.add(root.lack)
        root.reason, root.asleep = f"{reason} ({line})", nap(root.naps)
        root.naps += 1
        self.note("runs eagerly", f"for {root.asleep} calls: {root.reason}")

    def note(self, what, text):
        self.why.append((what, text))
        del self.why[:-100]
        log.info("%s: %s: %s", self.name, what, text)

    def warn_once(self, cause, text):
        if cause not in self.warned:
            self.warned.add(cause)
            log.warning("%s: %s", self.name, text)
            warnings.warn(f"{self.name}: {text}", TraceWarning, stacklevel=5)


def nap(naps):
    """How many calls run eagerly after as many such naps."""
    return min(EAGER_CALLS, FIRST_NAP * LONGER ** naps)


def new_root(memory, key):
    with memory.lock:
        root = memory.roots[key] = Root("root", signature=key)
        return root


def account(memory, root, call, end):
    stats = memory.stats
    memory.clock += 1
    if end is not None:
        end.last_used = memory.clock
        end.hits += not call.recorded
    if call.left:
        stats.fallbacks += 1
        memory.note("left a known path", call.left)
    if call.recorded:
        with memory.lock:
            memory.version += 1
            stats.recordings += 1
            root.misses += 1
            memory.credit -= 1
            memory.note("recorded", f"{len(call.path)} events, signature {described(root.signature)}")
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
        memory.note("evicted", f"a path of signature {described(r.signature)}")
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
                    return f"argument {k} changes: {described_value(b)}, then {described_value(a)}"
            return "other arguments, or another configuration"
    split = next((e for e in call.path if len(e.parent.children) > 1), call.path[-1])
    return f"the path changes at {split.line}"


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
    used = {id(s) for r in memory.roots.values() for e in below(r) for s in e.segments.values()} | {id(s) for p in memory.plans for s in p.segments}
    memory.segments[:] = [s for s in memory.segments if id(s) in used]
