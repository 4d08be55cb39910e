"""NumPy in a followed function: the calls that do nothing but make an array or a number of others, which a plan makes again on every call."""
import functools
import operator
from collections import deque

import numpy as np

from hybridnn.trace.changed_copies import CHANGES, SORTED, with_elements
from hybridnn.trace.computed import Computed, below, is_last, is_number, note_uses, outside_arrays, rests_on_constants, sources_of, value_of
from hybridnn.trace.failures import recompute
from hybridnn.trace.floats import under
from hybridnn.trace.free_numbers import is_open, is_put_into_array, may_be_any
from hybridnn.trace.lengths import any_length, bears, chooses_some, is_varied, keeps_length, settle
from hybridnn.trace.numpy_functions import ARRAY_METHODS, EXACT, KEEPING, OPERATORS, PLACES, called_method, is_method_of_ufunc
from hybridnn.trace.refs import MOST_MEMBERS, Doubt, Ref, is_named_tuple, is_pure
from hybridnn.trace.warns import without_warnings

__all__ = ["MOST_NUMBERS", "calculate", "chosen", "numbers_of", "of_both", "operand"]

REFUSED = ("out", "where", "like", "casting", "subok", "order", "initial", "overwrite_input")
MOST_NUMBERS = 256    # in a list that the program makes of an array
LARGEST = 1 << 22      # elements of an array that the observer computes itself


def operand(observer, ref, varied=False):
    """A Ref as it may stand in a computation. ``varied``: in one that takes arrays of any length."""
    if ref.kind == "varied" and not varied:
        settle([ref])
    if ref.kind == "arg" and isinstance(ref.value, np.generic) or is_number(ref) and (type(ref.value) is float or is_open(ref)):
        return ref
    ref = observer.use(ref)
    if ref.kind == "static" and type(ref.value) is list and 0 < len(ref.value) <= MOST_MEMBERS:
        ref = Ref("mirror", _members(observer, ref))
    elif ref.kind == "static" and type(ref.value) is deque and 0 < len(ref.value) <= MOST_MEMBERS:
        ref = Ref("mirror", observer._items(ref))
    elif ref.kind == "mirror" and type(ref.value) is deque:
        ref = Ref("mirror", list(ref.value))
    value = ref.value
    if ref.kind == "tail":
        return ref
    if ref.kind == "mirror" and isinstance(value, (list, tuple)):
        return Ref("mirror", type(value)([operand(observer, r, varied) for r in value]))
    if ref.kind in ("array", "varied"):
        pass
    elif isinstance(value, np.ndarray):
        known = ref.kind in ("arg", "state", "view") and ref.source is not None or ref.kind == "fresh" and ref.source and ref.source[0] == "array"
        if ref.kind == "static" and ref.source == ("fixed",) and type(value) is np.ndarray:
            ref = observer.fixed_array(value)
        elif not known or type(value) is not np.ndarray:
            raise Doubt("NumPy on an array whose origin is not known")
    elif ref.kind != "static" or not (is_pure(value) or isinstance(value, np.generic)):
        raise Doubt("NumPy on a value that is not the same on every call")
    if isinstance(value, np.ndarray) and (not (value.size or ref.kind == "varied") or value.size > LARGEST or value.dtype.kind not in "fiubc"):
        raise Doubt("NumPy on an array that is empty, huge or not of numbers")
    return ref


def _members(observer, ref):
    """The members of a list from outside, as Refs: numbers may be others on every call."""
    box = ref.value
    if id(box) in observer.grown | observer.rewritten or not all([type(v) in (float, int) for v in box]):
        return observer._items(ref)
    observer.guard("length", box, len(box))
    return [observer.overlaid("item", box, k) or observer.loaded(v, ("item", box, k, v)) for k, v in enumerate(box)]


def _opened(observer, ref):
    """A list or tuple from outside as one of Refs, and those within; other Refs as they are."""
    ref = observer.use(ref) if ref.kind in ("arg", "mirror") and type(ref.value) in (list, tuple) else ref
    whole = ref.kind == "mirror" and type(ref.value) in (list, tuple)
    return Ref("mirror", type(ref.value)([_opened(observer, r) for r in ref.value])) if whole else ref


def calculate(observer, fn, args, kw, keyed=False):
    """The Ref of what a function of NumPy's gives for these Refs. ``keyed``: the second is a key that is known to fit the first."""
    recent = observer.recent_of_whole(args[0]) if args else None
    if recent is not None:
        (before, most, cut), appended = recent.value, recent.source
        fn, args = functools.partial(of_both, fn, most, cut), [before, appended, *args[1:]]
    if any(name in REFUSED for name in kw):
        raise Doubt("NumPy with unusual arguments")
    if isinstance(fn, np.ufunc) and len(args) != fn.nin or len(args) > (3 if is_method_of_ufunc(fn) else PLACES.get(id(fn), len(args))):
        raise Doubt("NumPy with unusual arguments")
    if fn in (np.array, np.asarray) and args:
        args = [_opened(observer, args[0]), *args[1:]]
    varied = observer.varied and is_varied([*args, *kw.values()])
    if varied and not bears(fn, args, kw):
        settle([*args, *kw.values()])
        varied = False
    known = keyed or fn is with_elements and any(args[1] is key for key in observer.opened.values())
    args = [a if known and k == 1 or may_be_any(observer, fn, a, args) or is_put_into_array(observer, fn, k, args, kw) else operand(observer, a, varied)
            for k, a in enumerate(args)]
    kw = {k: operand(observer, v, varied) for k, v in kw.items()}
    given, named = [*map(value_of, args)], {k: value_of(v) for k, v in kw.items()}
    fn = any_length(fn) if varied else without_warnings(fn, given, named)
    value = under({"all": "ignore"}, fn, *given, **named)
    for ref in args:
        if ref.kind != "mirror" and value is ref.value and isinstance(value, np.ndarray):
            return ref
    found = Computed(fn, args, kw, len(observer.call.path), safe=keyed or not varied and _is_safe(fn, args))
    ref = _result(value, found)
    if varied and not (keeps_length(fn) and args[0].kind == "array") or chooses_some(fn, args):
        _vary(observer, ref)
    note_uses(observer, found, ref)
    if observer.writes_so_far() and _has_to_wait(observer, found):
        _make_behind(observer, found, ref)
    elif not found.safe:
        _note_failures(observer, ref, found)
    return ref


def _vary(observer, ref):
    """What has been computed may be longer or shorter on the next call."""
    for r in ref.value if ref.kind == "mirror" else [ref]:
        if r.kind == "array" and isinstance(r.value, np.ndarray):
            r.kind, observer.varied = "varied", True


def of_both(fn, most, cut, before, appended, *args, **kw):
    """What a function gives for the last members of a list from outside and those that the call has appended; for so many at ``most``, or a slice of them."""
    items = before + appended
    if cut is not None:
        items = items[cut]
    return fn(items if most is None else items[len(items) - most:] if len(items) > most else items, *args, **kw)


def chosen(fn, items):
    """A list of some of the numbers in another one, or of all in another order."""
    return fn(items)


def _is_safe(fn, args):
    """Whether ``fn`` of an array of the same kind can neither fail nor warn, nor give anything of another kind."""
    plain = fn in (float, int, bool, operator.getitem) or isinstance(fn, operator.methodcaller) and called_method(fn) in EXACT
    return plain and (fn is not int or args[0].value.dtype.kind != "f") and all(map(_is_constant, args[1:]))


def _is_constant(ref):
    return ref.kind == "static" or ref.kind == "mirror" and all(map(_is_constant, ref.value))


def _make_behind(observer, found, ref):
    """What has to wait is made after all operations, or before the first change in place if nobody knows of what kind it is going to be."""
    observer.refuse_inside_errstate()
    certain = not is_varied([*found.args, *found.kw.values()])
    if certain and (found.safe or _keeps_kind(found.fn) or _chooses_elements(found) or _holds_number(found)) and ref.kind in ("array", "number"):
        found.last = True
        observer.effects.append(("compute", ref))
        return
    if certain and found.safe and ref.kind == "mirror":
        for part in _parts_of(ref, found):
            part.source.last = True
            observer.effects.append(("compute", part))
        return
    if not (observer.has_updated() and observer.can_compute_ahead(ref)):
        observer.compute_at_risk(ref)


def _note_failures(observer, ref, found):
    """What may warn or raise is computed on every call, also if nobody uses it; of constants it comes out as it does now."""
    parts = [*found.args, *found.kw.values()]
    if found.drawn or not all(map(rests_on_constants, parts)):
        observer.computed.append(ref)
        return
    try:
        recompute(found.fn, *map(value_of, found.args), **{k: value_of(v) for k, v in found.kw.items()})
    except ArithmeticError as error:
        raise Doubt("NumPy warns") from error


def _has_to_wait(observer, found):
    """Whether a computation after a change in place rests on what was changed, or may fail or warn when it is too late to run Python."""
    parts = [*found.args, *found.kw.values()]
    if any(map(is_last, parts)):
        return True
    if any(observer.is_written(a) for part in parts for a in outside_arrays(part)) or any(map(observer.rests_on_updated, parts)):
        return True
    return observer.has_updated() and not found.safe and any(map(sources_of, parts))


def _keeps_kind(fn):
    """Whether a function gives arrays and numbers of a kind that those of its operands decide, not their values."""
    if isinstance(fn, operator.methodcaller):
        return called_method(fn) in ARRAY_METHODS - {"nonzero", "tolist", "repeat", "take"}
    if isinstance(fn, functools.partial) and fn.func is of_both:
        return fn.args[0] in (np.mean, np.max, np.min, np.sum, np.std, np.median, sum, max, min)
    return isinstance(fn, np.ufunc) or fn in OPERATORS or fn in (with_elements, SORTED) or fn in CHANGES.values() or id(fn) in KEEPING


def _chooses_elements(found):
    """Whether an array is made of elements of two others: the places of what is true, which ``np.where`` gives of one argument, are as many as there are."""
    return found.fn is np.where and len(found.args) == 3


def _holds_number(found):
    """Whether an array is made of one float."""
    return found.fn in (np.array, np.asarray) and type(found.args[0].value) is float


def _result(value, found):
    """The Ref of what a computation gives."""
    args, kw = found.args, found.kw
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiubc":
        return Ref("array", value, found)
    if type(value) in (float, int, bool):
        return Ref("static", value) if all(map(rests_on_constants, [*args, *kw.values()])) else Ref("number", value, found)
    if isinstance(found.fn, functools.partial) and found.fn.func is chosen and value:
        return numbers_of(Ref("whole", value, found))
    if isinstance(found.fn, operator.methodcaller) and called_method(found.fn) == "tolist" and np.size(args[0].value) <= MOST_NUMBERS:
        return numbers_of(Ref("whole", value, found))
    named = is_named_tuple(type(value))
    if (named or type(value) in (list, tuple)) and len(value) <= 64 and all(isinstance(v, (np.ndarray, np.generic)) for v in value):
        whole = Ref("whole", value, found)
        items = [Ref("array", v, Computed(operator.getitem, [whole, Ref("static", k)], {}, found.at)) for k, v in enumerate(value)]
        return Ref("mirror", type(value)._make(items) if named else type(value)(items))
    raise Doubt(f"NumPy gives a {type(value).__name__}")


def _parts_of(ref, found):
    """The Refs of a list of numbers that ``found`` gives, of the lists within, and of the numbers, each behind those of which it is a part."""
    parts, numbers = {}, [r for r in below(ref, lambda _: False) if r.kind != "mirror"]
    for r in numbers:
        chain = [r]
        while chain[-1].source is not found:
            chain.append(chain[-1].source.args[0])
        parts |= {id(part): part for part in reversed(chain)}
    return parts.values()


def numbers_of(whole):
    """The Refs of a list of numbers, or of such lists."""
    items = []
    for k, v in enumerate(whole.value):
        found = Computed(operator.getitem, [whole, Ref("static", k)], {}, whole.source.at, safe=True)
        items.append(numbers_of(Ref("whole", v, found)) if type(v) is list else Ref("number", v, found))
    return Ref("mirror", items)
