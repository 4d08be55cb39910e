"""Random numbers, what they choose, and clocks in a followed function: a plan draws the same from the same streams, in the same order."""
import functools
import operator
import random
import time
from collections import deque

import numpy as np

from hybridnn.trace.calculations import MOST_NUMBERS, numbers_of, operand
from hybridnn.trace.computed import Computed, below, leaves_of, note_uses, outside_arrays, rests_on_constants, sources_of, value_of
from hybridnn.trace.free_numbers import is_limit
from hybridnn.trace.own_arrays import check_own, replace_uses, view_again
from hybridnn.trace.refs import Doubt, Ref, constant, is_drawn, mirror
from hybridnn.trace.streams import put_stream_back, stream_of, stream_state

__all__ = ["CLOCKS", "FEW_MEMBERS", "choose", "choose_some", "chooses", "draw", "pick", "read_clock", "sample", "sample_of_both", "samples", "shuffle"]

_OF_RANDOM = dict(vars(random.Random))
CLOCKS = frozenset([time.time, time.perf_counter, time.monotonic, time.process_time])
MOST_OBJECTS = 64     # that are drawn at once
OUTPUTS = {"random": 2, "standard_normal": 2, "standard_exponential": 3, "standard_gamma": 3}      # methods that draw into an array, and where they take it
MOST_PICKED, FEW_MEMBERS = 256, 16      # members that are chosen one by one; members of a list, which of them is taken may be part of the path


def draw(observer, fn, args, kw, stream):
    """The Ref of what a function that draws is going to give, or of the array into which it draws."""
    if len(args) > OUTPUTS.get(fn.__name__, len(args)):
        raise Doubt("draws into an array that has no name")
    if "out" in kw:
        return _draw_into(observer, fn, args, kw, stream)
    return _draw(observer, fn, args, _valid(args, kw) if fn.__name__ == "multivariate_normal" else kw, stream)


def _draw(observer, fn, args, kw, stream):
    """The Ref of what a draw is going to give: the observer draws the same numbers first, and puts the stream back."""
    if type(stream) is random.Random:
        if vars(stream).keys() - {"gauss_next"} or any(vars(random.Random).get(name) is not attr for name, attr in _OF_RANDOM.items()):
            raise Doubt("a random generator with methods of its own")
        observer.guard("class", stream, random.Random)
        observer.guard("surface", random.Random)
        observer.guard("methods", stream)
        if getattr(fn, "__name__", "") == "sample" and _holds_objects(args, kw):
            return _draw_objects(observer, fn, *args, stream)
        args = [_frozen(observer, a) for a in args]
    limits = [a for k, a in enumerate(args) if is_limit(observer, fn, k, args)]
    args, kw = [a if a in limits else operand(observer, a) for a in args], {k: operand(observer, v) for k, v in kw.items()}
    given, before = [*args, *kw.values()], [d.source for d, _, other in observer.draws if other is stream]
    same = all(a in limits and a.kind == "arg" or _is_given(a) for a in given)
    late = any(d.late for d in before) or not same
    behind = any(d.behind for d in before) or any(map(sources_of, given))
    at = len(observer.call.path)
    if behind and same and observer.writes_so_far():
        at = before[-1].at      # where the stream is known to have come to this
    elif late and any(observer.is_written(a) for part in given for a in outside_arrays(part)):
        raise Doubt("draws random numbers with arguments that are computed, or behind such a draw, after a change in place")
    if observer.samples and any(_is_picked(observer, r) for part in given for r in below(part)):
        raise Doubt("draws random numbers with arguments that others have chosen")
    if behind and not same and observer.writes_so_far():
        _compute_behind(observer, given)
    value = _tried(stream, fn, *map(value_of, args), **{k: value_of(v) for k, v in kw.items()})
    ref = _drawn(value, Computed(fn, args, kw, at, drawn=True, late=late, behind=behind))
    observer.draws.append((ref, len(observer.call.draws), stream))
    note_uses(observer, ref.source, ref)
    if ref.kind == "whole":
        return numbers_of(ref)
    return ref


def _compute_behind(observer, given):
    """The arguments of a draw behind an update are computed where they are, not after all else; if that, or the draw, fails, a plan takes back what has been
    written, as the stream goes back."""
    waiting = {id(r) for part in given for r in below(part) if isinstance(r.source, Computed) and r.source.last}
    found = [e[1] for e in observer.effects if e[0] == "compute" and id(e[1]) in waiting]
    if len(found) < len(waiting) or any(r.kind not in ("array", "number", "whole") or id(r) in observer.risky for r in found):
        raise Doubt("draws random numbers with arguments that are computed, or behind such a draw, after a change in place")
    for r in found:
        r.source.last = False
    observer.effects = [e for e in observer.effects if e[0] != "compute" or id(e[1]) not in waiting]
    observer.leaves_behind()


def _draw_into(observer, fn, args, kw, stream):
    """``fn(..., out=array)``: what it draws without ``out`` is copied there."""
    out, kw = kw["out"], {k: v for k, v in kw.items() if k != "out"}
    sized, a = fn.__name__ in OUTPUTS, out.value
    if type(a) is not np.ndarray or not (a.flags.c_contiguous and a.flags.aligned and a.flags.writeable):
        raise Doubt("draws into something that may not fit")
    if sized and ("size" in kw or len(args) > (fn.__name__ == "standard_gamma")):
        raise Doubt("draws a number of numbers into an array, which has its own")
    made = _draw(observer, fn, args, {**kw, "size": constant(a.shape)} if sized else kw, stream)
    if type(made.value) is not np.ndarray or made.value.dtype != a.dtype or made.value.shape != a.shape:
        raise Doubt("draws into an array of another kind")
    observer.store_elements(out, constant(...), made)
    return out


def _valid(args, kw):
    """The keywords of ``multivariate_normal``, so that it raises where it would warn: a plan then leaves it to Python, and a trial is no proof."""
    if len(args) > 3:
        raise Doubt("multivariate_normal with options that have no names")
    given = kw.get("check_valid", constant("warn"))
    return {**kw, "check_valid": constant("raise")} if given.kind == "static" and given.value == "warn" else kw


def _tried(stream, fn, *args, **kw):
    """What a draw gives; the stream stands where it stood."""
    found = stream_state(stream)
    try:
        return fn(*args, **kw)
    finally:
        put_stream_back(stream, found)


def _holds_objects(args, kw):
    """Whether some of the members of a list or deque from outside are drawn, which are no numbers."""
    box = args[0] if len(args) == 2 and not kw else None
    return box is not None and box.kind == "static" and type(box.value) in (list, deque) and not all(type(v) in (int, float) for v in box.value)


def _draw_objects(observer, fn, box, count, stream):
    """The Ref of a list of members of one from outside: each is looked at as those of arguments are."""
    count = observer.use(count)
    if count.kind != "static" or type(count.value) is not int or not 0 < count.value <= min(MOST_OBJECTS, len(box.value)):
        raise Doubt("draws an unknown number of objects, or many")
    appended = observer.appended_to(box.value)
    changed = id(box.value) in observer.rewritten | observer.popped.keys() | observer.trimmed.keys() or not all(map(_is_from_outside, appended))
    if any(d.source.late for d, *_ in observer.draws) or changed or id(box.value) in observer.grown and not appended:
        raise Doubt("draws from a list that has changed, or behind a draw with arguments that are computed")
    observer.guard("long", box.value, count.value - 1)
    value = _tried(stream, fn, box.value, count.value)
    found = Computed(functools.partial(sample_of_both, fn), [box, mirror(list, appended), count], {}, len(observer.call.path), drawn=True) if appended else \
        Computed(fn, [box, count], {}, len(observer.call.path), drawn=True)
    whole = Ref("whole", value, found)
    observer.draws.append((whole, len(observer.call.draws), stream))
    return sample(observer, whole)


def sample_of_both(draw, box, appended, count):
    """What ``draw(box, count)`` gives once ``box`` has these members, too: it draws places, whatever is there."""
    most = box.maxlen if type(box) is deque else None
    n = len(box) + len(appended)
    first = 0 if most is None else max(n - most, 0)
    return [box[k] if k < len(box) else appended[k - len(box)] for k in [first + place for place in draw(range(n - first), count)]]


def _is_from_outside(ref):
    """Whether a value is there before all else: an argument, a constant, or a new tuple of these."""
    if ref.kind == "mirror":
        return type(ref.value) is tuple and ref.source is None and all(map(_is_from_outside, ref.value))
    return ref.kind == "static" or ref.kind == "arg" and not is_drawn(ref.source)


def _frozen(observer, ref):
    """A list from outside, with the members that it has now."""
    if ref.kind != "static" or type(ref.value) is not list:
        return ref
    observer._freeze(ref.value)
    return Ref("mirror", [Ref("static", v) for v in ref.value])


def _drawn(value, found):
    """The Ref of what a draw gives: a number, some, or an array."""
    if type(value) in (float, int):
        return Ref("number", value, found)
    if type(value) is list and all(type(v) in (int, float) for v in value) and len(value) <= MOST_NUMBERS:
        return Ref("whole", value, found)
    if type(value) is not np.ndarray and not isinstance(value, np.generic) or value.dtype.kind not in "fiub":
        raise Doubt(f"draws a {type(value).__name__}")
    return Ref("array", value, found)


def _is_given(ref):
    """Whether an argument of a draw is the same on every call."""
    return rests_on_constants(ref) and not _has_array(ref)


def _has_array(ref):
    return any(map(_has_array, ref.value)) if ref.kind == "mirror" else ref.kind == "array"


def sample(observer, whole):
    """What has been drawn, or chosen by what was drawn, as something that is looked at as arguments are."""
    name = f"sample{len(observer.samples)}"
    observer.samples[name] = whole
    return Ref("arg", whole.value, ("drawn", name))


def pick(observer, box, key):
    """The Ref of the member of a list or deque from outside that a drawn number chooses, of which each is looked at as those of arguments are; None for
    other keys."""
    whole = key.kind == "array" and isinstance(key.value, np.integer) or key.kind == "number" and type(key.value) is int
    if not whole or box.kind != "static" or type(box.value) not in (list, deque) or sources_of(key) or not _is_chosen_by_draw(key):
        return None
    if not -len(box.value) <= key.value < len(box.value):
        raise Doubt("an exception is raised")
    value = box.value[key.value]
    if not isinstance(value, (tuple, np.ndarray, np.generic)) and type(value) not in (float, int, list, dict) and len(box.value) <= FEW_MEMBERS:
        return None
    if id(box.value) in observer.grown | observer.rewritten or len(observer.samples) >= MOST_PICKED:
        raise Doubt("draws from a list that has changed, or many times")
    observer.keep.append(key)
    return sample(observer, Ref("whole", value, Computed(operator.getitem, [Ref("static", box.value), key], {}, len(observer.call.path), safe=True)))


def _is_chosen_by_draw(key):
    return any(isinstance(r.source, Computed) and r.source.drawn for r in leaves_of(key))


def _is_picked(observer, ref):
    """Whether a Ref is a part of what drawn numbers have chosen of a list."""
    source = ref.source
    while type(source) is tuple and source:
        if source[0] == "drawn":
            return not observer.samples[source[1]].source.drawn
        source = source[1] if len(source) > 1 else None
    return False


def choose(observer, fn, box):
    """The Ref of the member of a list or tuple that ``random.choice`` gives: which one it is must be the same on every call."""
    items = observer._items(box)
    if not items:
        raise Doubt("an exception is raised")
    return items[observer.use(draw(observer, fn, [Ref("static", range(len(items)))], {}, fn.__self__)).value]


def chooses(fn, args, kw):
    """Whether a draw is ``random.choice`` of a list or tuple whose members are not all numbers."""
    box = args[0] if len(args) == 1 and not kw and type(stream_of(fn)) is random.Random and fn.__name__ == "choice" else None
    if box is None or box.kind not in ("mirror", "static", "arg") or type(box.value) not in (list, tuple):
        return False
    return not all(type(v.value if box.kind == "mirror" else v) in (int, float) for v in box.value)


def samples(fn, args, kw):
    """Whether a draw is ``random.sample`` of a list that the call has made, of what are no numbers."""
    known = len(args) + len(kw) == 2 and kw.keys() <= {"k"} and type(stream_of(fn)) is random.Random and fn.__name__ == "sample"
    box = args[0] if known else None
    return box is not None and box.kind == "mirror" and type(box.value) in (list, tuple) and not all(type(r.value) in (int, float) for r in box.value)


def choose_some(observer, fn, box, count):
    """The Refs of the members that ``random.sample`` gives of a list: which these are must be the same on every call."""
    items = observer._items(box)
    if len(items) > FEW_MEMBERS:
        raise Doubt("draws some of many objects of a list that the call has made, which of them belongs to the path")
    drawn = draw(observer, fn, [constant(range(len(items))), count], {}, fn.__self__)
    return Ref("mirror", [items[observer.use(r).value] for r in drawn.value])


def _shuffled(shuffle, a):
    """What ``a`` is after ``shuffle(a)``."""
    a = a.copy()
    shuffle(a)
    return a


def shuffle(observer, fn, args, kw, stream):
    """``fn(a)`` changes the order of an array that NumPy has made in this call: from here on its Ref stands for one that is drawn."""
    x = args[0] if len(args) == 1 and not kw else None
    if x is not None and x.kind == "mirror" and type(x.value) is list and x.source is None:
        return _shuffle_numbers(observer, fn, x.value, stream)
    if type(stream) is random.Random or x is None or x.kind != "array" or type(x.value) is not np.ndarray:
        raise Doubt("shuffles something that the call has not made")
    check_own(observer, x)
    old = Ref("array", x.value, x.source)
    views = replace_uses(observer, x, old)
    given = () if rests_on_constants(x) else (old,)
    made = _draw(observer, functools.partial(_shuffled, fn, *[] if given else [x.value.copy()]), given, {}, stream)
    observer.keep.append(old)
    observer.draws[-1] = (x, *observer.draws[-1][1:])
    x.value, x.source = made.value, made.source
    view_again(observer, views, x)
    return Ref("static", None)


def _shuffle_numbers(observer, fn, box, stream):
    """``fn(list)`` of numbers that the call has put into a list: from here on it has such as are drawn."""
    if not box or not all(r.kind == "static" and type(r.value) in (int, float) for r in box):
        raise Doubt("shuffles a list of what is no number, or may be another on the next call")
    made = _draw(observer, functools.partial(_shuffled, fn), [Ref("mirror", list(box))], {}, stream)
    box[:] = made.value
    return Ref("static", None)


def read_clock(observer, fn):
    """The Ref of what a clock says: before the first operation, or after the last."""
    if getattr(observer.call.owner, "check", 0):
        raise Doubt("reads a clock, which says something else when the call is checked")
    first = not observer.call.path
    ref = Ref("number", fn(), Computed(fn, [], {}, len(observer.call.path), safe=True, drawn=first, last=not first))
    if first:
        observer.draws.append((ref, len(observer.call.draws), None))
    else:
        observer.effects.append(("compute", ref))
    return ref
