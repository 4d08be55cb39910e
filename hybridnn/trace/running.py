"""One call of a traced function: by a plan that skips Python, by a replay that Python runs beside, by recording, or eagerly."""
import random
import sys
import time
from dataclasses import dataclass

from hybridnn.config import config, global_config, state
from hybridnn.errors import RecordingForbidden, user_line
from hybridnn.trace.call import Call
from hybridnn.trace.compare import mismatch
from hybridnn.trace.floats import errors_may_wait
from hybridnn.trace.growing import grows, stays
from hybridnn.trace.memory import COMPARE_AGAIN, COMPARE_PLAN_AFTER, EAGER_CALLS, IDLE_EARNS, MAX_PROOFS, SERVED, account, nap, new_root
from hybridnn.trace.plan_index import MOST_OBJECTS, arena_of, asked_first, likely, new_objects
from hybridnn.trace.proof_costs import has_come_back, has_proved, has_waited, may_prove, was_followed
from hybridnn.trace.pure import members, taken
from hybridnn.trace.signature import signature
from hybridnn.trace.skip_plan import OTHERWISE, RESTLESS, Miss, Refused
from hybridnn.trace.unseen import unseen
from hybridnn.trace.watch import on_call

__all__ = ["run"]

MANY_MISSES = 200      # calls in a row that a plan may miss before it is forgotten
COMPARED_CALLS, COMPARED_SEARCHES = 8, 16      # how often a replay that runs Python is timed against eager, and the search for a path
CLEARLY = 1.05      # how many times as fast a replay that runs Python has to be to be made again and again
COMPARED_IN_A_ROW = 16      # calls of a plan, and then as many eager ones: a tiny function takes twice as long where another has just run
LARGE_ARENA = 1 << 24      # bytes
AT_LEAST, FAR, FAR_IF_LONG = 3, 3, 1.3      # eager calls that are enough where they take so many times as long; how many if a call takes ...
LONG = 2e-4      # ... so many seconds, of which others take a smaller part
AROUND = 0.5e-6     # seconds that a call of a plan takes beside what is timed, and an eager one does not
SELDOM, LEFT_COUNTS = 16, 4      # how many times as many misses or calls lie before the next comparison; how many replays more a path that is left counts for
WALK_LATER = 5e-6      # seconds by which backward outside takes longer through what such a call has left than through a graph of so few nodes
STRAY = 2      # calls in a row that may leave their path while they are followed
IDLE, RESTING = 64, 15      # eager calls in a row after which so many at a time are not asked whether they are eager, which takes some 4 us
_dice = random.Random(0)      # decides which replays are checked; the program's own random numbers stay what they are


@dataclass(frozen=True, slots=True)
class Ran:
    """The function has run in this turn, and gave ``value``."""
    value: object


@unseen
def run(memory, fn, self_object, args, kwargs):
    """One call of a traced function that does not rest."""
    asked = state.trace or global_config.trace
    if memory.resting < 0 and not on_call and not asked:
        return _compared_search(memory, fn, self_object, args, kwargs)
    if on_call:
        for watcher in on_call:
            watcher(memory, lambda *a, **k: run(memory, fn, self_object, a, k), fn, args, kwargs)
    memory.stats.calls += 1
    mode = (asked or memory.mode) if errors_may_wait() else "eager"
    if memory.plans and state.tracer is None and state.hooks is None and mode in ("auto", "pure") and sys.gettrace() is None and sys.getprofile() is None:
        refuting = ()
        for plan in memory.plans if len(memory.plans) <= 2 else likely(memory, args, kwargs):
            if refuting and any([plan.is_refuted(*found) for found in refuting]):
                continue
            usual = plan.times is None and not memory.check
            result = plan.run(self_object, args, kwargs) if usual else _unusual_turn(memory, plan, self_object, fn, args, kwargs)
            kind = type(result)
            if kind is Ran:
                return result.value
            if kind is Refused:
                return _refused(memory, plan, mode, fn, args, kwargs, result)
            if kind is not Miss:
                return _skipped(memory, plan, result)
            _missed(memory, plan, result)
            if result.decision is not None:
                refuting = (*refuting, (plan, result.decision))
    return _run_python(memory, mode, fn, args, kwargs)


@unseen
def _compared_search(memory, fn, self_object, args, kwargs):
    """Law L3: where paths take turns, to try one plan after the other, or such as have few operations, may take longer than Python; then the function runs
    eagerly for a while. What is learned meanwhile is paid for otherwise."""
    times, learned = memory.search_times, memory.learned
    traced = len(times[True]) <= len(times[False])
    memory.resting = 0
    start = time.perf_counter()
    if traced:
        result = run(memory, fn, self_object, args, kwargs)
    else:
        memory.stats.calls += 1
        result = fn(*args, **kwargs)
    if memory.learned == learned:
        times[traced].append(time.perf_counter() - start)
    memory.resting = -1
    if len(times[False]) >= COMPARED_SEARCHES or len(times[False]) == AT_LEAST == len(times[True]) and _is_far(max(times[True]), min(times[False])):
        searching, eager = _mean(times[True]), _mean(times[False])
        memory.search_times, memory.searched = {True: [], False: []}, 0
        memory.resting = nap(memory.naps) if eager < searching else 0
        for plan in memory.plans:
            plan.unsure = plan.unsure and not _is_far(searching, eager)
            plan.hits = min(plan.hits, COMPARE_PLAN_AFTER - COMPARE_AGAIN * (1 if eager < searching else SELDOM))
        if eager < searching:
            memory.naps += 1
            for root in memory.roots.values():
                _let_try_again(root)
            memory.note("runs eagerly", f"for {memory.resting} calls: finding a path took {searching * 1e6:.1f} us, an eager call {eager * 1e6:.1f} us")
        else:
            memory.compare_at *= SELDOM
    return result


def _is_far(traced, eager):
    """Whether eager calls take so much longer that a few of them leave no doubt."""
    return eager > (FAR if traced < LONG else FAR_IF_LONG) * traced


def _mean(times):
    """The mean of all but the longest eighth, beside which something else may have run. Where one plan in a few calls fits at once, the median says nothing of
    the others."""
    counted = sorted(times)[:-max(1, len(times) // 8)]
    return sum(counted) / len(counted)


@unseen
def _unusual_turn(memory, plan, self_object, fn, args, kwargs):
    """A call that is timed, or checked against the function itself: what the plan gives, or ``Ran``."""
    if plan.times is not None and len(plan.times[True]) >= COMPARED_IN_A_ROW:
        return Ran(_eager_turn(memory, plan, fn, args, kwargs))
    if memory.check and _dice.random() < memory.check:
        from hybridnn.trace.shadow import checked_replay
        result = checked_replay(memory, plan, self_object, fn, args, kwargs)
        if type(result) in (Miss, Refused):
            return result
        memory.stats.hits += 1
        return Ran(result)
    if plan.times is None:
        return plan.run(self_object, args, kwargs)
    start = time.perf_counter()
    result = plan.run(self_object, args, kwargs)
    plan.times[True].append(time.perf_counter() - start)
    return result


@unseen
def _run_python(memory, mode, fn, args, kwargs):
    """The function's own Python, traced where that may pay."""
    outer = state.tracer
    if mode == "eager" or state.hooks is not None or (outer is not None and outer.mode != "eager"):
        return fn(*args, **kwargs)
    if memory.growing:
        stays(memory, args, kwargs)
    key = signature(args, kwargs, memory.grown_ids)
    root = memory.roots.get(key)
    if root is None and grows(memory, args, kwargs):
        key = signature(args, kwargs, memory.grown_ids)
        root = memory.roots.get(key)
    if root is None:
        if memory.credit < 1 and mode != "error_on_record":
            memory.credit += IDLE_EARNS * _idle(memory)
            return fn(*args, **kwargs)
        root = new_root(memory, key)
    root.lack, memory.lack = memory.lack, ""
    earned = (root.asleep or root.proofs >= MAX_PROOFS) and _has_earned(memory, root, args, kwargs)
    if root.asleep and not (earned and may_prove(memory, root.took)):
        root.asleep = max(0, root.asleep - _idle(memory))
        return _eager_for_now(memory, root, fn, args, kwargs) if earned else fn(*args, **kwargs)
    follows = mode in ("auto", "pure") and outer is None and (earned or root.proofs < MAX_PROOFS and root.stray < STRAY and not _in_vain(memory, root))
    follows = follows and not sys.is_finalizing()
    waits = follows and not may_prove(memory, root.took)
    if waits and not root.replays:
        return _eager_for_now(memory, root, fn, args, kwargs)
    memory.idle, root.reason = 0, ""
    if root.replays >= root.compare_at and (waits or not follows):
        return _compared_run(memory, root, mode, fn, args, kwargs)
    return _waiting_run(memory, root, mode, fn, args, kwargs) if waits else _traced_run(memory, root, mode, fn, args, kwargs, follows)


def _has_earned(memory, root, args, kwargs):
    """Whether one more proof may pay: plans have served for so many calls since the last one, as where a target network is replaced once in a hundred calls; or
    so many calls had the same other objects among their arguments, as other models. What no proof was found for is not followed again."""
    objects = new_objects(memory, root, args, kwargs)
    root.lack = root.lack if objects is None else "other objects"
    if root.lack in root.futile or _in_vain(memory, root):
        return False
    served = memory.stats.python_skipped - root.proved_at >= SERVED
    if objects is None:
        return served and bool(root.lack or not root.asleep)
    if len(root.met) > MOST_OBJECTS:
        root.met.clear()
    root.met[objects] = (root.met.get(objects, 0) + 1) % SERVED
    return served or root.met[objects] == 0


def _in_vain(memory, root):
    """Whether no call has skipped Python since the last few proofs: the next one is left to a later call, ever more of them."""
    return memory.stats.python_skipped == root.proved_at and root.replays < root.waits_until


def _let_try_again(root):
    """What changed on every call, as the size of a buffer that is being filled, may stay by the time that eager calls are over."""
    root.proofs, root.waits_until = min(root.proofs, MAX_PROOFS - 1), 0


@unseen
def _eager_for_now(memory, root, fn, args, kwargs):
    """A call of a signature that has to wait for its proof."""
    if not root.reason:
        root.reason = f"to follow and plan it takes some {memory.proof_seconds:.2f} s, which its calls have not taken yet"
        memory.note("runs eagerly", f"for now: {root.reason}")
    start = time.perf_counter()
    result = fn(*args, **kwargs)
    has_waited(root.took, time.perf_counter() - start)
    return result


def _waiting_run(memory, root, mode, fn, args, kwargs):
    """A call of a signature whose proofs so far were for other ways through Python: what it computes is compiled, and only another proof has to wait."""
    start = time.perf_counter()
    result = _traced_run(memory, root, mode, fn, args, kwargs, follows=False)
    has_waited(root.took, time.perf_counter() - start)
    return result


def _idle(memory):
    """A call is to run eagerly. Behind many such calls in a row only one in a few finds out whether it is; gives how many this one stands for."""
    memory.idle += 1
    if memory.idle < IDLE or memory.resting:
        return 1
    memory.resting = RESTING
    return RESTING + 1


@unseen
def _compared_run(memory, root, mode, fn, args, kwargs):
    """Law L3: where Python always runs, matching tiny operations may cost more than doing them; then the signature runs eagerly for a while. No replay is
    followed meanwhile, which takes many times as long."""
    verified = len(root.times[True]) <= len(root.times[False])
    start = time.perf_counter()
    result = _traced_run(memory, root, mode, fn, args, kwargs, follows=False) if verified else fn(*args, **kwargs)
    root.times[verified].append(time.perf_counter() - start)
    if len(root.times[False]) == COMPARED_CALLS:
        replay, eager = min(root.times[True]), min(root.times[False])
        root.times = {True: [], False: []}
        slower = eager < replay * CLEARLY
        root.compare_at = root.replays + (0 if slower else EAGER_CALLS)
        if slower:
            root.asleep = nap(root.naps)
            root.naps += 1
            _let_try_again(root)
            memory.note("runs eagerly", f"for {root.asleep} calls: a verified replay took {replay * 1e6:.0f} us, an eager call {eager * 1e6:.0f} us")
    return result


@unseen
def _eager_turn(memory, plan, fn, args, kwargs):
    """Law L3: the guards of a function of few operations may take longer than the operations; then it runs eagerly for a while."""
    start = time.perf_counter()
    result = fn(*args, **kwargs)
    plan.times[False].append(time.perf_counter() - start)
    skipping, eager = min(plan.times[True]) + AROUND + (WALK_LATER if plan.leaves_graph else 0.0), min(plan.times[False])
    far = _is_far(skipping, eager)
    if len(plan.times[False]) == COMPARED_IN_A_ROW or len(plan.times[False]) == AT_LEAST and far:
        plan.times, plan.unsure = None, not far
        plan.hits = COMPARE_PLAN_AFTER - COMPARE_AGAIN * (1 if eager < skipping else SELDOM)
        if eager < skipping:
            memory.resting = EAGER_CALLS
            memory.note("runs eagerly", f"for {EAGER_CALLS} calls: skipping Python took {skipping * 1e6:.1f} us, an eager call {eager * 1e6:.1f} us")
    return result


def _skipped(memory, plan, result):
    """Count a call that ran no Python."""
    stats = memory.stats
    stats.hits += 1
    stats.python_skipped += 1
    memory.clock += 1
    memory.patience += plan.saves
    if plan.withheld:
        has_come_back(memory, plan)
    plan.used = memory.clock
    plan.misses = 0
    plan.hits += 1
    if plan.unsure and plan.hits == COMPARE_PLAN_AFTER:
        _compare_from_now(memory, plan)
    plan.end.hits += 1
    plan.end.last_used = memory.clock
    plans = memory.plans
    if plans and plans[0] is not plan:
        memory.lack, memory.idle = "", 0
        _ask_first(memory, plan)
    return result


def _compare_from_now(memory, plan):
    """Let the next calls find out whether a plan is faster than eager ones. Where it works on much memory it is: what it skips is little, and eager calls would
    need as much besides."""
    plan.unsure = max(map(arena_of, memory.plans), default=0) < LARGE_ARENA
    if plan.unsure and len(memory.plans) == 1:
        plan.times = {True: [], False: []}
    elif plan.unsure:
        memory.resting = -1       # calls that take other paths may gain more than this one loses: all are timed together


def _ask_first(memory, plan):
    """The plan that fitted last comes first, unless another thread has cleared or dropped it while it ran."""
    with memory.lock:
        if len(memory.plans) > 2:
            asked_first(memory, plan)
        elif any([p is plan for p in memory.plans]):
            memory.plans = [plan, *[p for p in memory.plans if p is not plan and not p.dead]]


@unseen
def _refused(memory, plan, mode, fn, args, kwargs, refused):
    """An operation raised in native code: the program raises it again, in Python, where the user's line is. Or it is another path that fits."""
    _missed(memory, plan, OTHERWISE)
    if refused.defect is not None:
        with memory.lock:
            memory.plans = [p for p in memory.plans if p is not plan]
        memory.warn_once("defect", f"Python is not skipped any more, by a defect of hybridnn: {refused.defect}")
    state.given_draws = list(refused.draws)
    try:
        return _run_python(memory, mode, fn, args, kwargs) if refused.otherwise else fn(*args, **kwargs)
    finally:
        state.given_draws = None


def _missed(memory, plan, miss):
    """Note a guard that failed; a plan that never fits any more goes."""
    plan.misses += 1
    plan.last_miss = miss
    memory.lack = memory.lack or miss.reason
    if miss is RESTLESS:
        memory.restless.update(map(id, plan.watched.restless))
        plan.dead = True
    memory.searched += 1
    if memory.searched >= memory.compare_at and not memory.resting:
        memory.resting = -1
    if plan.misses == MANY_MISSES or plan.dead:
        with memory.lock:
            memory.plans = [p for p in memory.plans if p is not plan]
        memory.note("guard failed", f"{miss.reason}, {plan.misses} times in a row")


@unseen
def _traced_run(memory, root, mode, fn, args, kwargs, follows):
    start = time.perf_counter()
    if mode == "error_on_record" and not root.children:
        raise _forbidden(memory, root)
    call, observer = _new_call(memory, root, mode, fn, args, kwargs, follows)
    given = members((args, kwargs)) if mode == "pure" and observer is not None else None
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
        state.tracer, state.config_reads, call.aside = outer, outer_reads, None      # it knows the observer, which knows the call
    state.tracer = None
    try:
        end = _finished(call)
        before = None
        if mode == "pure" and end is not None:
            before, end.seen = end.seen, taken(call)
        plan = None if observer is None else _proving().prove(memory, observer, call, end, given, result, before)
    finally:
        state.tracer = outer
    if call.recorded or observer is not None:
        memory.learned += 1
        was_followed(root.took, time.perf_counter() - start)
    if not call.left:
        root.stray = 0
    if plan is not None:
        has_proved(memory, root.took, plan)
    account(memory, root, call, end)
    if call.left and root.replays < root.compare_at:
        root.replays = min(root.replays + LEFT_COUNTS, root.compare_at)
    if call.difference is not None:
        raise mismatch(memory.name, *call.difference)
    return result


def _new_call(memory, root, mode, fn, args, kwargs, follows):
    """A call that records or replays, and who follows its Python, to prove that it may be skipped, or None."""
    call = Call(root, memory)
    call.forbid = mode == "error_on_record"
    root.replays += call.mode == "replay"
    observer = _proving().observer(root, call, fn, args, kwargs) if follows and call.mode == "replay" else None
    call.checked = call.mode == "replay" and memory.check and _dice.random() < memory.check
    call.interpreting = observer is not None or root.replays < 2 and config.trace_compile != "sync"
    call.aside = None if observer is None else observer.aside
    return call, observer


def _proving():
    """What follows Python is loaded when a function is first called twice: half of ``trace``, which importing hybridnn need not wait for."""
    from hybridnn.trace import proving
    return proving


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


def _forbidden(memory, root):
    return RecordingForbidden(f"{memory.name}: a call with a new signature would have been recorded, and trace is 'error_on_record'\n  at {user_line(3)}\n"
                              "  hint: call it once with such arguments before serving, or use trace='auto'")
