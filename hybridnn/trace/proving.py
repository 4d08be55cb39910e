"""Proofs: one replay is followed through its bytecode, and what was seen becomes a plan that skips Python."""
import os
import sys
import types

from hybridnn import jit
from hybridnn.errors import raised_by_signal
from hybridnn.jit.collector import collector_at_rest
from hybridnn.trace.events import below
from hybridnn.trace.memory import COMPARE_AGAIN, COMPARE_PLAN_AFTER, IN_VAIN, MAX_PROOFS
from hybridnn.trace.observe_later import observer_type
from hybridnn.trace.plan_index import kept
from hybridnn.trace.pure import Vouched, members
from hybridnn.trace.refs import Doubt, class_lookup
from hybridnn.trace.skip import make_plan

__all__ = ["observer", "prove"]


def observer(root, call, fn, args, kwargs):
    """An observer for this replay, unless somebody else watches the thread."""
    observe = observer_type()
    if observe is None or sys.gettrace() is not None or sys.getprofile() is not None:
        return None
    root.proofs += 1
    _compile_ahead(root)
    if isinstance(fn, types.MethodType) and isinstance(fn.__func__, types.FunctionType):
        return observe(call, fn.__func__, fn.__self__, args, kwargs)
    if isinstance(fn, types.FunctionType):
        return observe(call, fn, None, args, kwargs)
    called = class_lookup(type(fn), "__call__")
    return observe(call, called, fn, args, kwargs) if isinstance(called, types.FunctionType) else None


def _compile_ahead(root):
    """What the plan will need of native code may be compiled while the call goes on."""
    kinds = {app.node.op.kind for e in below(root) for app in e.apps}
    if kinds:
        jit.compile_ahead(kinds)


def prove(memory, observer, call, end, given, result, before):
    """Turn an observed replay into a plan that skips Python, and return it, or note why not. ``given``: what the arguments held before, if the user vouches
    for the rest; ``before``: what the call before took from outside."""
    if call.mode != "replay" or end is None or call.left:
        _leave_for_others(call)
        return None
    try:
        seen = observer
        if observer.doubt is not None or observer.result is None:
            if given is None:
                doubt = observer.doubt or Doubt("the run was not seen to its end")
                raise Doubt(doubt.reason, doubt.line, doubt.by_chance)        # not the observer's own, which would get a traceback and so keep it
            if given != members((observer.args, observer.kwargs)):
                raise Doubt("changes what its arguments hold")
            seen = Vouched(call, observer.args, observer.kwargs, result, before)
        with collector_at_rest():
            plan = make_plan(seen, call, end, memory.version, frozenset(call.config_reads))
    except Doubt as d:
        end.doubt = str(d)
        call.root.proofs += 0 if d.by_chance else MAX_PROOFS // 4 - 1
        call.root.futile.add(call.root.lack)
        memory.note("python runs", end.doubt)
        return None
    except Exception as error:        # a defect of ours: tests see it, users get one warning and verified replay
        if os.environ.get("HYBRIDNN_STRICT") or raised_by_signal(error):
            raise
        call.root.proofs, end.doubt = MAX_PROOFS, f"the proof met {type(error).__name__}: {error}"
        memory.warn_once("proof", f"Python is not skipped: {end.doubt}")
        return None
    end.doubt = ""
    _count_in_vain(call.root, memory.stats.python_skipped)
    decided = plan.settled, tuple([outcome for _, outcome in plan.decisions])
    if decided not in end.proved and len(end.proved) < memory.max_paths:
        end.proved = end.proved | {decided}
        call.root.proofs -= 1        # it counts how often what is known is proved again
    for segment in [s for e in call.path for s in e.segments.values() if s.executable is not None]:
        segment.executable.release()
    plan.hits = 0 if any(e.apps for e in call.path) else COMPARE_PLAN_AFTER - COMPARE_AGAIN      # NumPy alone takes as long as in Python
    call.root.places, _ = plan.objects
    plan.signature, plan.used = call.root.signature, memory.clock
    with memory.lock:
        memory.plans = kept(memory, plan)
    for p in [p for p in memory.plans[1:] if p.last_miss is not None][:1]:
        memory.note("guard failed", p.last_miss.reason)
    memory.note("python is skipped", f"{len(plan.source.splitlines())} lines of guards and replay")
    return plan


def _count_in_vain(root, skipped):
    """Something has been proved, while so many calls have skipped Python."""
    root.vain = root.vain + 1 if skipped == root.proved_at else 1
    root.waits_until, root.proved_at = root.replays + 2 ** root.vain if root.vain >= IN_VAIN else 0, skipped


def _leave_for_others(call):
    """A call that was followed has left the path, and was recorded instead: the proof is left to another one, but not on and on."""
    root = call.root
    if call.recorded and root.astray < MAX_PROOFS:
        root.proofs, root.astray, root.stray = root.proofs - 1, root.astray + 1, root.stray + 1
