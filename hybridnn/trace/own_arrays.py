"""Arrays that NumPy has made in a followed call, and that change in place before anybody else sees them."""
import dataclasses
import operator

import numpy as np

from hybridnn.core.variable import Variable
from hybridnn.trace.calculations import calculate
from hybridnn.trace.changed_copies import IN_PLACE
from hybridnn.trace.computed import Computed, note_uses, value_of
from hybridnn.trace.events import vid_of
from hybridnn.trace.refs import Doubt, Ref

__all__ = ["change_own", "check_own", "renew", "replace_uses", "view_again"]


def check_own(observer, x):
    """An array that NumPy has made may change in place: nobody else has seen it."""
    a = x.value
    if type(a) is not np.ndarray or a.base is not None or not a.flags.writeable or x.source.real is not None:
        raise Doubt("changes an array in place that may be seen elsewhere")
    if _is_taken(observer, x):
        raise Doubt("changes an array in place after it has been used")


def _is_operand_only(observer, a):
    """Whether nothing but operations has taken an array, and there are no views of it; whether a graph asks for it later is seen later."""
    call, vids = observer.call, set(_leaves_of(observer, a))
    over = any(isinstance(x, Variable) and x._array is a for x in call.leaves.values())
    taken = [e for e in call.path if not vids.isdisjoint([vid_of(o) for o in e.operands])]
    return bool(vids) and not over and vids.isdisjoint([base for base, *_ in call.view_of.values()]) and all(e.kind == "op" for e in taken)


def _leaves_of(observer, a):
    return [vid for vid, x in observer.call.leaves.items() if x is a]


def _leave_to_operations(observer, old):
    """What the user's array was is what operations have taken it for, which is going to change."""
    a, path = old.source.real, observer.call.path
    changed = [vid for vid in _leaves_of(observer, a) if vid not in observer.leaf_refs]
    observer.leaf_refs.update(dict.fromkeys(changed, old))
    observer.changed_operands.update(dict.fromkeys(changed, len(path)))
    observer.call.touch(a)


def change_own(observer, x, fn, args, kw):
    """An array that NumPy has made in this call, and that nobody else has seen but for operations, becomes what ``fn`` makes of Refs, ``x`` among them."""
    old = Ref(x.kind, x.value, x.source)
    alone = x.source.fn in IN_PLACE and fn in IN_PLACE and not observer.uses.get(id(x)) and args.count(x) == 1
    if x.source.real is not None and _is_operand_only(observer, x.source.real):
        _leave_to_operations(observer, old)
        x.source = dataclasses.replace(x.source, real=None)
        alone = False
    check_own(observer, x)
    renew(observer, x, old, fn, args, kw)
    x.source.alone = alone and not x.source.last


def renew(observer, x, old, fn, args, kw):
    """From here on ``x`` stands for what ``fn`` makes of Refs, ``x`` among them; what was computed of it before rests on ``old``, which is what it was."""
    views = replace_uses(observer, x, old)
    _rename_effect(observer, x, old)
    before = [(x, old), *views]
    made = calculate(observer, fn, [_all_replaced(r, before) for r in args], {k: _all_replaced(r, before) for k, r in kw.items()})
    if made.kind not in ("array", "varied") or type(made.value) is not np.ndarray or made.value.shape != x.value.shape or made.value.dtype != x.value.dtype or (
            made.value.strides != x.value.strides):
        raise Doubt("changes an array in place to something else")
    observer.keep += [old, made]
    x.kind, x.value, x.source = made.kind, made.value, made.source
    view_again(observer, views, x)
    _rename_effect(observer, made, x)
    observer.computed = [x if ref is made else ref for ref in observer.computed]


def _rename_effect(observer, before, after):
    """What is computed after all operations is that of another Ref."""
    observer.effects = [("compute", after) if e[0] == "compute" and e[1] is before else e for e in observer.effects]


def replace_uses(observer, x, old):
    """What was computed of ``x`` rests on ``old`` from here on. Gives the views of ``x``, which have to be made anew once it is what it becomes, each with the
    Ref of what it was."""
    observer.draws = [(old if ref is x else ref, *where) for ref, *where in observer.draws]
    views = []
    for computed, ref in observer.uses.pop(id(x), ()):
        if isinstance(ref.value, np.ndarray) and np.may_share_memory(ref.value, x.value):
            views.append(_kept_view(observer, ref, x))
        computed.args = [_replaced(r, x, old) for r in computed.args]
        computed.kw = {k: _replaced(r, x, old) for k, r in computed.kw.items()}
    return views


def _kept_view(observer, ref, x):
    """A view of an array ``x`` that is going to change, and another Ref, of what it was, on which rests what was computed of it."""
    found = ref.source
    if ref.kind != "array" or found.fn is not operator.getitem or found.args[0] is not x or found.last or _is_taken(observer, ref) or (
            found.real is not None and not _is_operand_only(observer, found.real)):
        raise Doubt("changes an array in place of which there are views")
    old = Ref("array", ref.value, found)
    if found.real is not None:
        _leave_to_operations(observer, old)
    observer.keep += [ref, old]
    if replace_uses(observer, ref, old):
        raise Doubt("changes an array in place of which there are views of views")
    return ref, old


def view_again(observer, views, x):
    """Views of ``x`` are views of what it is now."""
    if views and x.source.last:
        raise Doubt("changes an array in place of which there are views, after an update")
    for ref, _ in views:
        key = ref.source.args[1]
        found = Computed(operator.getitem, [x, key], {}, len(observer.call.path), safe=ref.source.safe)
        ref.source, ref.value = found, x.value[value_of(key)]
        note_uses(observer, found, ref)


def _is_taken(observer, x):
    return id(x) in observer.taken or any(x is part for fact in observer.guards.values() for part in fact)


def _all_replaced(ref, pairs):
    for x, old in pairs:
        ref = _replaced(ref, x, old)
    return ref


def _replaced(ref, x, old):
    if ref.kind != "mirror":
        return old if ref is x else ref
    parts = [_replaced(r, x, old) for r in ref.value]
    return ref if all(map(operator.is_, parts, ref.value)) else Ref("mirror", type(ref.value)(parts))
