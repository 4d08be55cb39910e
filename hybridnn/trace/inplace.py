"""Operations that change arrays in place (``apply_inplace``): updates, running statistics, gradients in hooks."""
import weakref

import numpy as np

from hybridnn._references import count_references
from hybridnn.core.application import apply_inplace_eager, run_checked
from hybridnn.core.variable import Variable
from hybridnn.errors import user_line
from hybridnn.exact import checker
from hybridnn.graph import Node
from hybridnn.spec import spec_of
from hybridnn.trace.events import App, Event, Outcome, vid_of
from hybridnn.trace.holdings import held_by_plans
from hybridnn.trace.matching import match
from hybridnn.trace.operands import array_of
from hybridnn.trace.overlap import lies_apart, overlapping
from hybridnn.trace.recording import operands_of
from hybridnn.trace.values import PARAMETER_REFS

__all__ = ["changes_shared_memory", "match_inplace", "record_inplace"]

_refs = count_references


def match_inplace(call, op, inputs, targets, attrs):
    """Whether a known event changes the same arrays in the same way."""
    for event in call.cursor.children:
        key = event.key
        if event.kind == "inplace" and key[0] is op and key[1] == attrs and event.exactly(attrs) and key[2] == targets and match(call, event.operands, inputs) \
                and _may_be_changed(call, event.operands, [array_of(x) for x in inputs], targets):
            call.release()
            call.advance(event)
            for k, (old, new) in zip(targets, event.rebinds, strict=True):
                _rebind(call, inputs[k], old, new)
            if not call.owner.holding or any(_is_shared(inputs[k]) for k in targets):
                call.flush()
            return True
    return False


def _eagerly(call, op, inputs, targets, attrs):
    with call.paused():
        apply_inplace_eager(op, inputs, targets, attrs)


def _results(op, plain, targets, attrs):
    """What replaces the targets; None if it does not fit them, or cannot be computed: then eager says why, and changes what it changes before that."""
    try:
        results = run_checked(op, plain, attrs)
    except (ValueError, TypeError):
        return None
    results = results if op.multi else (results,)
    fits = all(y.dtype == plain[k].dtype and y.shape == plain[k].shape for k, y in zip(targets, results, strict=True))
    return results if fits else None


def _can_be_written(a):
    return getattr(a.flags, "writeable", True)       # CuPy's flags have no such one


def _may_be_changed(call, operands, arrays, targets):
    """Whether the targets can be written, and each is nobody else's, or a view from outside that shares no memory with another operand: of what changes under
    such a one otherwise, ``unchanged`` tells."""
    for k in targets:
        a = arrays[k]
        if a is not None and not (_can_be_written(a) and (a.base is None or lies_apart(a) and call.introduced().oldest(vid_of(operands[k])) in call.leaves)):
            return False
    views = [a for a in arrays if type(a) is np.ndarray and a.base is not None]
    return not views or not overlapping([a for a in arrays if type(a) is np.ndarray], {id(arrays[k]) for k in targets})


def _is_shared(x):
    a = array_of(x)
    return a is not None and (a.base is not None or isinstance(x, Variable) and _refs(a) > PARAMETER_REFS + 2 + held_by_plans(a))


def changes_shared_memory(call):
    """Whether the call has changed a view in place that shares memory with another array that it takes: a path would take the change of one for none of the
    other, and no replay would fit it."""
    changed = {call.introduced().oldest(old) for e in call.path for old, _ in e.rebinds} & call.leaves.keys()
    views = {id(a) for a in map(call.actual, changed) if a.base is not None}
    return bool(views) and overlapping(map(call.actual, call.leaves), views)


def _is_taken_twice(arrays, targets):
    """Whether an array that changes is another operand as well: what is read of that may have been changed already, as where a parameter's array is its
    momentum's, too."""
    ids = list(map(id, arrays))
    return any(ids.count(ids[k]) > 1 for k in targets)


def _has_another_variable(call, a):
    """Whether the program has made another Variable of an array from outside: kernels that read it by its second name might come too late."""
    return bool(call.again) and call.is_given(a) and any(getattr(call.wrappers[vid], "_array", None) is a for vid in call.again.values())


def _rebind(call, x, old, vid):
    """From here on ``x``, which had the value ``old``, has ``vid``."""
    a = x._array if isinstance(x, Variable) else x
    if isinstance(x, Variable) and x._pending is call:
        call.renamed.append((weakref.ref(x), x._vid))
        x._vid = vid
    if call.again.get(id(x)) == old:
        call.again[id(x)] = vid
    if a is not None:
        call.ids[id(a)] = ~vid if isinstance(x, Variable) and x._requires_grad else vid
        call.wrappers[vid] = x
    if old in call.leaves or old in call.updated:
        call.updated[vid] = x
        call.dirty.add(id(a))
    call.fresh.add(vid)


def record_inplace(call, op, inputs, targets, attrs):
    """Change the arrays, and add that to the tree."""
    operands, plain, _ = operands_of(call, op, inputs, targets)
    if operands is not None and (_is_taken_twice(plain, targets) or not _may_be_changed(call, operands, plain, targets)):
        if all(_can_be_written(plain[k]) for k in targets):
            call.give_up(f"{op.name} changes an array in place that shares its memory with another")
        operands = None
    if operands is not None and any(_has_another_variable(call, plain[k]) for k in targets):
        call.give_up(f"{op.name} changes an array in place that another Variable was made of")
        operands = None
    if operands is None:
        _eagerly(call, op, inputs, targets, attrs)
        return
    results = _results(op, plain, targets, attrs)
    if results is None:
        _eagerly(call, op, inputs, targets, attrs)
        call.give_up(f"{op.name} computes other arrays than those that it changes")
        return
    for k, y in zip(targets, results, strict=True):
        plain[k][...] = y
    event = Event("inplace", (op, attrs, targets), operands, line=user_line())
    event.exactly = checker(attrs)
    vids = [vid_of(o) for o in operands]
    outs = [call.new_vid(spec_of(plain[k])) for k in targets]
    event.rebinds = tuple((vids[k], new) for k, new in zip(targets, outs, strict=True))
    event.apps.append(App(Node(op, tuple(vids), tuple(outs), tuple(attrs.items()), event.line), 0, False))
    written = {vids[k] for k in targets}
    call.stale |= {v for v in call.view_of if call.origin(v) in written or v in written}
    for k, new in zip(targets, outs, strict=True):
        _rebind(call, inputs[k], vids[k], new)
        call.values[new] = plain[k]
    call.dirty.clear()
    event.outs = tuple([Outcome(new, spec_of(plain[k]), False) for k, new in zip(targets, outs, strict=True)])
    event.flush = not call.owner.holding
    call.release()
    call.add(event)
    if event.flush:
        call.now_seen()
