"""Replay: an operation of the user's program against the events that are known to come next."""
import numpy as np

from hybridnn.core.variable import Variable
from hybridnn.errors import InvalidType, raised_by_signal
from hybridnn.trace.events import Number, spec_along, vid_of
from hybridnn.trace.operands import is_number, same_number
from hybridnn.trace.values import FOREIGN

__all__ = ["bind", "match", "take_any", "unbind"]


def take_any(call, event, inputs):
    """The result of an operation, pending, if its operands are those of the event; else None."""
    if not call.reports_as_begun() or not match(call, event.operands, inputs):
        return None
    if event.check is not None and not _passes(call, event):
        call.forget(event.operands)
        return None
    call.advance(event)
    if event.views:
        call.view_of.update(event.views)
    outs = tuple([call.pend(o) for o in event.outs])
    if event.flush and not _takes(call, event):
        return None
    return outs if event.op.multi else outs[0]


def _takes(call, event):
    """Compute up to an operation that may refuse its operands. If anything raises, the operation is taken back: it will raise by itself, in its place."""
    try:
        call.flush()
    except Exception as error:
        if raised_by_signal(error) or getattr(error, "after_update", False):
            raise
        call.path.pop()
        call.cursor = event.parent
        call.forget(event.operands)
        made = {o.vid for o in event.outs}
        call.pending = [v for v in call.pending if v._vid not in made]
        call.noted = min(call.noted, len(call.path))
        return False
    return True


def _passes(call, event):
    """Whether the operands' values are fit; if not, the operation itself says so, at its place in the user's program."""
    vids = [vid_of(o) for o in event.operands]
    specs = [spec_along(event, v) for v in vids]
    if any(s.dtype.kind in "iu" and v not in call.values for v, s in zip(vids, specs)):
        call.flush()
    try:
        event.check([call.past(v) if s.dtype.kind in "iu" and v in call.values else s for v, s in zip(vids, specs)], event.key[1])
    except (InvalidType, KeyError, IndexError, ValueError):
        return False
    return True


def match(call, operands, inputs):
    """Whether the operands are those of a known event; binds leaves and numbers if so."""
    if len(operands) != len(inputs):
        return False
    bound = []
    for want, x in zip(operands, inputs):
        if type(want) is int:
            if call.code_of(x) == want:
                vid = want if want >= 0 else ~want
                if not call.snapshots or vid not in call.snapshots and vid not in call.view_of and not call.touched or call.unchanged(vid):
                    continue
        elif type(want) is Number:
            if type(x) is want.type and ((want.type is not int or x in want.within) if want.value is None else same_number(x, want.value)):
                call.values[want.vid] = x
                continue
        elif bind(call, want, x, bound):
            continue
        unbind(call, bound)
        return False
    return True


def unbind(call, bound):
    """Take back what ``bind`` did: another event may give the same number to another operand."""
    for vid, key in bound:
        call.let_go(vid)
        if type(key) is tuple:
            call.ids[key[0]] = key[1]
        elif key < 0:
            call.again.pop(-key, None)
        else:
            del call.ids[key]


def bind(call, leaf, x, bound):
    """Whether ``x`` comes from outside and is like the leaf; then it is bound to it; ``bound`` gets its number, and the id of its array."""
    variable = isinstance(x, Variable)
    a = x._array if variable else x
    if leaf.again == "written":
        return leaf.is_variable is variable and _bind_written(call, leaf, x, a, bound)
    if leaf.again:
        return leaf.is_variable is variable and _bind_again(call, leaf, x, a, bound)
    number = None
    if type(a) is not np.ndarray:
        if not is_number(a):
            return False
        number, x = x, np.asarray(x)
        a = x
    if id(a) in call.ids or variable and x._pending is not None:
        return False
    spec, graded = leaf.spec, variable and x._requires_grad
    if a.shape != spec.shape or a.dtype is not spec.dtype and a.dtype != spec.dtype or not _lies(a, leaf.strides):
        return False
    if leaf.requires_grad is not graded or leaf.has_creator is not (graded and x._tape is not None and not x._tape.is_leaf):
        return False
    vid = leaf.vid
    if number is not None:
        call.scalars[vid] = number
    call.ids[id(a)] = ~vid if graded else vid
    bound.append((vid, id(a)))
    call.hold(vid, x, a, leaf.strides is None)
    return True


def _bind_again(call, leaf, x, a, bound):
    """Whether ``x`` is, or is over, an array of this call's, like the leaf; then it is bound to it."""
    if type(a) is not np.ndarray or a.shape != leaf.spec.shape or a.dtype != leaf.spec.dtype or not _lies(a, leaf.strides):
        return False
    if leaf.requires_grad is not (leaf.is_variable and x._requires_grad):
        return False
    if not (call.code_of(x) is FOREIGN and call.made_again(x) if leaf.again == "made" else call.may_have_changed(x)):
        return False
    call.again[id(x)] = leaf.vid
    bound.append((leaf.vid, -id(x)))
    call.hold(leaf.vid, x, a, False)
    return True


def _bind_written(call, leaf, x, a, bound):
    """Whether ``x`` is something from outside, like the leaf, that the program has written into; then it is bound to it."""
    if not call.was_written(x) or a.shape != leaf.spec.shape or a.dtype != leaf.spec.dtype:
        return False
    if leaf.requires_grad is not (leaf.is_variable and x._requires_grad):
        return False
    bound.append((leaf.vid, (id(a), call.renew(x, a, leaf.vid))))
    call.hold(leaf.vid, x, a, True)
    return True


def _lies(a, strides):
    """Whether an array lies in memory as recorded: contiguous (``strides`` is None) or with gaps. (Its ``flags`` hold the array; ``hold`` counts who does.)"""
    flags = a.flags
    return flags.carray and strides is None or flags.aligned and (None if flags.c_contiguous else a.strides) == strides
