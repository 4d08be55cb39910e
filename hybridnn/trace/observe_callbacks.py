"""Functions of the user's that a builtin function calls: keys of ``sorted``, ``min``, ``max`` and ``list.sort``, ``functools.reduce``, ``map``, ``filter``.

A builtin function that calls others while it runs is followed as a generator of calls: it is told what each of them returned, and gives the Ref of the
result at its end. ``map`` and ``filter`` call theirs whenever somebody asks for an item, which is followed once the items have been taken (``Pending``).
"""
import functools
import itertools
import types

from hybridnn.core.variable import Variable
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.numpy_functions import is_array_function
from hybridnn.trace.observe_iteration import through
from hybridnn.trace.refs import SCALARS, Doubt, Iterator, Ref, Rowwise, constant, is_pure, mirror
from hybridnn.trace.summaries import summarize

__all__ = ["Callbacks", "Mapped", "drives"]


PLAIN = ("push",), ("operator",)        # what becomes of the result of a call that another function makes


class Step:
    """Stands for the frame of a builtin function that calls one of the user's for an item."""
    kwnames, waiting, result, retrying, branch, last = (), None, None, None, None, None

    code = None

    def __init__(self, mapped, real):
        self.mapped, self.real, self.stack = mapped, real, []


class Mapped(Iterator):
    """What ``map`` or ``filter`` makes: ``row`` waits to be handed to the function, ``made`` has what it has given so far. ``runs_library``: the function is
    NumPy's, or ``Variable``, whose own Python is not followed."""

    def __init__(self, observer, fn, parts, keep):
        self.observer, self.fn, self.parts, self.keep = observer, fn, parts, keep
        self.row, self.made, self.called, self.done = None, [], False, False
        self.runs_library = fn is not None and fn.kind == "static" and (fn.value is Variable or is_array_function(fn.value))

    @property
    def live(self):
        """Whether asking for an item may run the function in a frame of its own."""
        if self.runs_library:
            return not self.done
        self._without_frame()
        return not self.done and not self.made

    def _take(self):
        if self.row is None and not self.done:
            row = []
            for part in self.parts:
                row.append(part.next())
                if row[-1] is None:         # the parts after it are not asked any more
                    self.done = True
                    return None
            self.row = row
        return self.row

    def waiting_step(self):
        """The next call that runs in a frame of its own, after the items for which none does."""
        while self._take() is not None:
            step = self._step()
            if step is not None:
                return step
        return None

    def _without_frame(self):
        """Go through items for which no frame runs, up to the first that is given."""
        while not self.made and self._take() is not None and self._step() is None:
            pass

    def _step(self):
        """The call for the item in ``row``, if it runs in a frame; else what it gives is noted."""
        if self.fn is None:
            self.give(self.row[0])
            return None
        step = Step(self, self.observer.frames[-1].real)
        self.observer._call(step, self.fn, list(self.row), {})
        if self.runs_library and step.waiting is not None:
            self.give(self._made_by_library(step))
            return None
        if step.waiting is None:
            if self.called and step.stack[-1].kind != "static":
                raise Doubt("map() of a function that runs in frames for some items only")
            self.give(step.stack[-1])
            return None
        if step.waiting[0] != "call" or step.waiting[4:] not in PLAIN and not drives(step.waiting):
            raise Doubt("map() of a function whose calls are not plain")
        return step

    def _made_by_library(self, step):
        """What a call gives that is not followed."""
        if step.waiting[0] == "make":
            return step.waiting[4]
        made, *_ = refs = step.waiting[2]
        summarize(self.observer, "made", refs, None, None)
        return made

    def give(self, result):
        """Note what the function has returned for the item."""
        row, self.row = self.row, None
        if not self.keep:
            self.made.append(result)
            return
        truth = self.observer.use(result)
        if truth.kind != "static" or not is_pure(truth.value):
            raise Doubt("filter() by what may differ from call to call")
        if truth.value:
            self.made += row

    def next(self):
        self._without_frame()
        if self.made:
            return self.made.pop(0)
        if not self.done:
            raise Doubt("map() or filter() that was not asked for its items one by one")
        return None


class Callbacks:
    """Calls of builtin functions that call others."""

    def make_mapped(self, args, keep=False):
        """The call of ``map`` or ``filter``."""
        parts = []
        for a in args[1:]:
            a = self.use(a)
            rows = a.kind != "mirror" and isinstance(a.value, Variable)
            parts.append(Iterator(self._items(a)) if rows else self.iterate(a))
        if not parts or any(p.live for p in parts) or any(p.passing for p in parts):
            raise Doubt(f"{'filter' if keep else 'map'}() of what runs code of its own")
        none = args[0].kind == "static" and args[0].value is None
        return Ref("iterator", Mapped(self, None if none and keep else args[0], parts, keep))

    def enter_mapped(self, frame, code, top):
        """Whether this frame runs the function of a ``map`` or ``filter`` whose items the instruction takes; if so, a ``Step`` waits for what it returns."""
        if frame.f_back is not top.real:
            return False
        found = [step for m in _mapped_in(top.waiting[4]) if (step := m.waiting_step()) is not None and _runs(step.waiting[1], code)]
        if len(found) > 1:
            raise Doubt(f"several iterators call {code.co_qualname}")
        if found:
            found[0].mapped.called = True
            self.frames.append(found[0])
        return bool(found)

    def returned(self, ref):
        """A call made by the instruction that is being followed has returned."""
        top = self.frames[-1]
        if not isinstance(top, Step):
            top.result = ref
            return
        if drives(top.waiting):
            top.result = ref
            self.go_on(top)
            if top.waiting is not None and top.waiting[0] != "make":
                return
            ref = top.stack.pop() if top.waiting is None else top.waiting[4]
        self.frames.pop()
        top.mapped.give(ref)

    def drive(self, f, calls, result=None):
        """Follow a builtin function from one of its calls to the next that runs in a frame, or to its end."""
        quiet = False       # whether one of the calls has run the library's Python, which is not followed
        while True:
            try:
                fn, args, *named = calls.send(result)
            except StopIteration as end:
                if quiet:
                    f.waiting = ("make", None, [], {}, end.value)
                else:
                    f.stack.append(end.value)
                return
            self._call(f, fn, args, *named or [{}])
            if f.waiting is None:
                result = f.stack.pop()
            elif f.waiting[0] == "make":
                quiet, result, f.waiting = True, f.waiting[4], None
            elif quiet or f.waiting[0] != "call" or f.waiting[4:] not in PLAIN:
                raise Doubt("a builtin function calls one whose calls are not plain")
            else:
                f.waiting = (*f.waiting[:4], calls)
                return

    def go_on(self, f):
        """A call that a builtin function made has returned; what it does next."""
        (*_, calls), result = f.waiting, f.result
        f.waiting = f.result = None
        if result.kind == "static" and result.value is NotImplemented:
            raise Doubt("an operator that is not implemented for these operands")
        self.drive(f, calls, result)

    def call_with_callbacks(self, f, fn, args, kw):
        """The call of a builtin function that calls others; False if it is none."""
        if (fn is map or fn is filter) and not kw and len(args) > 1:
            f.stack.append(self.make_mapped(args, fn is filter))
        elif fn is functools.reduce and not kw and len(args) in (2, 3):
            self.drive(f, _reduced(args[0], itertools.chain(args[2:], self._taken(args[1]))))
        elif fn is sorted and len(args) == 1 and _has_key(kw):
            self.drive(f, _sorted(self, list(self._items(args[0])), kw))
        elif (fn is min or fn is max) and args and _has_key(kw) and set(kw) == {"key"}:
            self.drive(f, _extreme(self, fn, self._taken(args[0]) if len(args) == 1 else args, kw["key"]))
        else:
            return False
        return True

    def _taken(self, ref):
        """The items of a sequence, which a builtin function takes one by one: a list may have changed meanwhile."""
        changes = ref.kind in ("mirror", "static") and type(ref.value) is list
        return through(self.iterate(ref)) if changes else iter(self._items(ref))

    def sort_list(self, f, box, kw):
        """``box.sort(key=..., reverse=...)`` of a list made in the call."""
        self.drive(f, _sorted_in_place(self, box, kw))


def drives(waiting):
    """Whether what an instruction waits for is a call that a builtin function makes."""
    return waiting is not None and isinstance(waiting[-1], types.GeneratorType)


def _mapped_in(iterator):
    """Each ``Mapped`` of a function of the user's of which an iterator takes items."""
    if isinstance(iterator, Mapped):
        return [] if iterator.runs_library else [iterator]
    return [m for part in iterator.parts for m in _mapped_in(part)] if isinstance(iterator, Rowwise) else []


def _runs(fn, code):
    return fn.kind == "closure" and fn.value.code is code or getattr(fn.value, "__code__", None) is code


def _has_key(kw):
    return "key" in kw and not (kw["key"].kind == "static" and kw["key"].value is None)


def _reduced(fn, items):
    """``functools.reduce``."""
    total = next(items, None)
    if total is None:
        raise Doubt("an exception is raised")
    for item in items:
        total = yield fn, [total, item]
    return total


def _keys(observer, items, fn):
    """The items, and the key of each: plain constants of one kind, so that comparing them runs no code of the user's."""
    found, keys = [], []
    for item in items:
        found.append(item)
        keys.append(observer.plain((yield fn, [item]) if fn is not None else item))
    return found, keys


def _sorted(observer, items, kw):
    if set(kw) - {"key", "reverse"}:
        raise Doubt("sorted() with unusual arguments")
    items, keys = yield from _keys(observer, items, kw.get("key") if _has_key(kw) else None)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse="reverse" in kw and bool(observer.plain(kw["reverse"])))
    return mirror(list, [items[k] for k in order])


def _sorted_in_place(observer, box, kw):
    items, box[:] = list(box), []       # as CPython does: whoever looks meanwhile sees an empty list
    found = yield from _sorted(observer, items, kw)
    box[:] = found.value
    return constant(None)


def _place_of(fn, *keys):
    """Where ``max`` or ``min`` of some numbers stands."""
    return fn(range(len(keys)), key=keys.__getitem__)


def _extreme(observer, fn, items, key):
    found, keys = [], []
    for item in items:
        found.append(item)
        keys.append((yield key, [item]))
    if not found:
        raise Doubt("an exception is raised")
    if observer._computes_numbers(*keys):       # which of them it is belongs to the path
        return found[observer.pinned(combine(observer, functools.partial(_place_of, fn), *keys)).value]
    keys = list(map(observer.plain, keys))
    if any(type(k) not in SCALARS | {tuple} for k in keys):
        raise Doubt(f"{fn.__name__}() of unusual keys")
    return found[fn(range(len(found)), key=keys.__getitem__)]
