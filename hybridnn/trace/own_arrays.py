"""Arrays that NumPy has made in a followed call, and that change in place before anybody else sees them."""
import operator

import numpy as np

from hybridnn.trace.calculations import calculate
from hybridnn.trace.changed_copies import IN_PLACE
from hybridnn.trace.computed import Computed, note_uses, value_of
from hybridnn.trace.refs import Doubt, Ref

__all__ = ["change_own", "check_own", "renew", "replace_uses", "view_again"]


def check_own(observer, x):
    """An array that NumPy has made may change in place: nobody else has seen it."""
    found, a = x.source, x.value
    if type(a) is not np.ndarray or a.base is not None or not a.flags.writeable or found.real is not None:
        raise Doubt("changes an array in place that may be seen elsewhere")
    if _is_taken(observer, x):
        raise Doubt("changes an array in place after it has been used")


def change_own(observer, x, fn, args, kw):
    """An array that NumPy has made in this call, and that nobody else has seen, becomes what ``fn`` makes of Refs, ``x`` among them."""
    found = x.source
    check_own(observer, x)
    alone = found.fn in IN_PLACE and fn in IN_PLACE and not observer.uses.get(id(x)) and args.count(x) == 1
    renew(observer, x, Ref("array", x.value, found), fn, args, kw)
    x.source.alone = alone and not x.source.last


def renew(observer, x, old, fn, args, kw):
    """From here on ``x`` stands for what ``fn`` makes of Refs, ``x`` among them; what was computed of it before rests on ``old``, which is what it was."""
    views = replace_uses(observer, x, old)
    _rename_effect(observer, x, old)
    made = calculate(observer, fn, [_replaced(r, x, old) for r in args], {k: _replaced(r, x, old) for k, r in kw.items()})
    if made.kind != "array" or type(made.value) is not np.ndarray or made.value.shape != x.value.shape or made.value.dtype != x.value.dtype or (
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
    """What was computed of ``x`` rests on ``old`` from here on. Gives the views of ``x``, which have to be made anew once it is what it becomes."""
    observer.draws = [(old if ref is x else ref, *where) for ref, *where in observer.draws]
    views = []
    for computed, ref in observer.uses.pop(id(x), ()):
        if isinstance(ref.value, np.ndarray) and np.may_share_memory(ref.value, x.value):
            views.append(_kept_view(observer, ref, x))
        computed.args = [_replaced(r, x, old) for r in computed.args]
        computed.kw = {k: _replaced(r, x, old) for k, r in computed.kw.items()}
    return views


def _kept_view(observer, ref, x):
    """A view of an array ``x`` that is going to change: what was computed of it rests on another Ref of what it was."""
    found = ref.source
    if ref.kind != "array" or found.fn is not operator.getitem or found.args[0] is not x or found.real is not None or found.last or (
            _is_taken(observer, ref)):
        raise Doubt("changes an array in place of which there are views")
    old = Ref("array", ref.value, found)
    observer.keep += [ref, old]
    if replace_uses(observer, ref, old):
        raise Doubt("changes an array in place of which there are views of views")
    return ref


def view_again(observer, views, x):
    """Views of ``x`` are views of what it is now."""
    if views and x.source.last:
        raise Doubt("changes an array in place of which there are views, after an update")
    for ref in views:
        key = ref.source.args[1]
        found = Computed(operator.getitem, [x, key], {}, len(observer.call.path), safe=ref.source.safe)
        ref.source, ref.value = found, x.value[value_of(key)]
        note_uses(observer, found, ref)


def _is_taken(observer, x):
    return id(x) in observer.taken or any(x is part for fact in observer.guards.values() for part in fact)


def _replaced(ref, x, old):
    if ref.kind == "mirror":
        return Ref("mirror", type(ref.value)([_replaced(r, x, old) for r in ref.value]))
    return old if ref is x else ref
