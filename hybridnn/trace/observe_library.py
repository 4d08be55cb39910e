"""The library's own functions, whose frames the observer does not enter."""
import operator
import types

import numpy as np

from hybridnn.core.fixed import is_fixed
from hybridnn.core.indexing import put, take
from hybridnn.core.variable import Variable
from hybridnn.functions.math import clip
from hybridnn.functions.noise import gumbel_softmax
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.computed import identify, is_number, rests_on_constants
from hybridnn.trace.events import Leaf, vid_of
from hybridnn.trace.overlap import memory_of
from hybridnn.trace.refs import CONTAINERS, DICTS, SCALARS, Doubt, Ref, is_numeric, real_array
from hybridnn.trace.summaries import array_of, result, summarize

__all__ = ["Library"]

INDEXING = (put,), (take,)
FLOWING = {gumbel_softmax: ("tau",), clip: ("x_min", "x_max")}      # numbers that a function hands on to an operation: they may change between calls


class Library:
    """What is handed to the library and what comes back."""

    def _before_trusted(self, kind, top):
        waiting = top.waiting
        if kind == "backward":
            self.meet_beginnings()
            if self.applied:
                self.note_gradients()
        if kind == "update":
            self.meet_changed(waiting[2][0].value)
        if kind in ("apply_function", "retained", "retain"):
            self.check_arguments(waiting[2][1:], waiting[3])
        elif kind == "report":
            self.check_arguments(waiting[2][1:], {k: v for k, v in waiting[3].items() if k == "observer"})
        elif isinstance(kind, str) and kind != "operator":
            self.check_arguments(*self._without_flowing(*waiting[1:4]))

    def _without_flowing(self, fn, args, kw):
        """Arguments of a library function but for the floats that only flow through it."""
        names = FLOWING.get(fn.value, ()) if isinstance(fn, Ref) and isinstance(fn.value, types.FunctionType) else ()
        if not names:
            return args, kw
        given = dict(zip(fn.value.__code__.co_varnames, args), **kw)
        flowing = {k for k, r in given.items() if k in names and is_number(r) and type(r.value) is float}
        if fn.value is clip and flowing and not self._bounds(*[given[name] for name in names if name in given]):
            flowing = set()
        return (), {k: r for k, r in given.items() if k not in flowing}

    def _bounds(self, *bounds):
        """Whether these are two numbers of Python's, of which the lower one is below the other on every call, or one."""
        if not all(r.value is None or type(r.value) in (int, float) for r in bounds):
            return False
        return len(bounds) < 2 or any(r.value is None for r in bounds) or self.decides(combine(self, operator.lt, *bounds))

    def array_of(self, ref, value):
        """The Ref of the array of a Variable."""
        return array_of(self, ref, value)

    def known_variable(self, v):
        """The Ref of a Variable that the library gives out."""
        return result(self, v)

    def check_arguments(self, args, kw):
        """What is handed to a library function must be the same on every call, or an array or Variable."""
        for ref in [*args, *kw.values()]:
            self._settle(ref)

    def _settle(self, ref):
        if any(ref is place for place in self.places):
            return
        ref = self.use(ref)
        if ref.kind == "mirror":
            for item in ref.value.values() if isinstance(ref.value, dict) else ref.value:
                self._settle(item)
        elif ref.kind in ("closure", "object", "manager", "super", "set", "partial", "exit", "block", "namespace"):
            raise Doubt("passes a function or an object made in the call to the library")
        elif ref.kind == "static":
            self._freeze_all(ref.value)

    def _freeze_all(self, value):
        """A container handed to the library is the same on every call, with all that is in it."""
        if type(value) in CONTAINERS:
            if id(value) in self.rewritten:
                raise Doubt("hands a container to the library after members of it were assigned")
            self._freeze(value)
        if type(value) in DICTS:
            for k, v in value.items():
                self.guard("item", value, k, v)
                self._freeze_all(v)
        elif type(value) in (list, tuple):
            for v in value:
                self._freeze_all(v)

    def _after_trusted(self, kind, start, value):
        waiting = self.frames[-1].waiting
        refs = [*waiting[2], *waiting[3].values()]
        if self.places:
            self._note_places(self.call.path[start:])
        for ref in refs:
            if ref.kind == "static" and isinstance(ref.value, Variable):
                self._same_array(ref.value)
        for event in self.call.path[start:]:
            self._note_numbers(event, refs)
        if kind == "operator":
            self._use_other_numbers(refs, start)
        self._numbers_are_noted(refs)
        if refs[-1:] and refs[-1].kind == "mask":
            self._identify_mask(refs.pop().source.value, start)
        if kind == "function":
            self._identify_lists(refs, start)
        if kind in ("function", "operator") and not (isinstance(value, Variable) and any(_is_over(value, r) for r in refs)):
            vids = {vid_of(o) for e in self.call.path[start:] for o in e.operands}
            leaves = [x._array if isinstance(x, Variable) else x for x in map(self.call.leaves.get, vids) if x is not None]
            newest = {new for e in self.call.path[start:] for _, new in e.rebinds}      # what the arrays that were changed are now
            self._only_operands(refs, vids | newest, {memory_of(a) for a in leaves if isinstance(a, np.ndarray)})
        return summarize(self, kind, refs, value, start)

    def _identify_mask(self, indices, start):
        """Indexing by a mask is indexing by where it is true, and by a list by an array of what is in it."""
        operands = self.call.path[start].operands[1:] if len(self.call.path) == start + 1 else ()
        if len(operands) != len(indices) or any(type(o).__name__ != "Leaf" for o in operands):
            raise Doubt("indexes a Variable by a mask")
        for o, ref in zip(operands, indices, strict=True):
            identify(self, ref, self.call.leaves[o.vid])

    def _identify_lists(self, refs, start):
        """A list that is the same on every call is an array where it is an index: ``x[[0, 2]]``."""
        operands = [o for e in self.call.path[start:] if e.key[:1] in INDEXING for o in e.operands[1:] if type(o) is Leaf]
        arrays = [self.call.leaves[o.vid] for o in operands]
        made = [a for a in arrays if type(a) is np.ndarray and a.ndim == 1 and id(a) not in self.origins and not is_fixed(a)]
        for numbers in _lists_in(refs) if made else ():
            indices = np.flatnonzero(numbers).tolist() if numbers and type(numbers[0]) is bool else numbers
            for a in made:
                if a.tolist() == indices:
                    self.origins[id(a)] = Ref("static", a, ("fixed",))
                    self.keep.append(a)

    def _only_operands(self, refs, operands, lying):
        """Arrays handed to the library are operands of its operations: it has not looked at their elements otherwise."""
        for ref in refs:
            if ref.kind == "mirror":
                self._only_operands(ref.value.values() if isinstance(ref.value, dict) else ref.value, operands, lying)
            elif is_numeric(ref) and not rests_on_constants(ref):
                real = real_array(ref)
                if isinstance(real, np.ndarray) and memory_of(real) in lying:
                    continue
                code = self.call.ids.get(id(real), 0)
                vids = [v for v in operands if self.call.scalars.get(v) is real] if isinstance(real, np.generic) else [code if code >= 0 else ~code]
                if not operands & {*vids} or not isinstance(real, np.generic) and id(real) not in self.call.ids:
                    raise Doubt("the library looks at the elements of an array")

    def _same_array(self, v):
        """What the library tells of a parameter rests on its array."""
        if v._array is None:
            raise Doubt("a parameter has no array yet")
        self.guard("inside" if self.is_rebound(v) else "variable", v, v._array)

    def _numbers_are_noted(self, refs):
        """A number that no operation takes as it is, at run time, must be the same on every call: an exponent may belong to the path."""
        found = [ref for ref in refs if ref.kind in ("arg", "hole", "number") and type(ref.value) in SCALARS]
        noted = {id(ref) for ref in self.numbers.values()} if found else ()
        for ref in found:
            if id(ref) not in noted:
                self.use(ref)

    def _note_numbers(self, event, refs):
        for o in event.operands:
            if type(o).__name__ == "Number" and o.value is None:
                x = self.call.values[o.vid]
                for ref in refs:
                    if ref.kind in ("arg", "hole") and ref.value is x or ref.kind == "number" and type(ref.value) is type(x) and repr(ref.value) == repr(x):
                        self.numbers[o.vid] = ref

    def _note_places(self, events):
        """Ints that chose an element are operands of what took it."""
        (event,), refs, self.places = events, self.places, ()
        self.numbers.update({o.vid: ref for o, ref in zip(event.operands[1:], refs, strict=True) if ref.kind != "static"})

    def _use_other_numbers(self, refs, start):
        """A number that the operator did not take as a run-time number, but made something else of, is the same on every call."""
        taken = [self.numbers.get(o.vid) for e in self.call.path[start:] for o in e.operands if type(o).__name__ == "Number"]
        for ref in refs:
            if is_number(ref) and not any(ref is r for r in taken):
                self.use(ref)


def _is_over(v, ref):
    """Whether a Variable has the very array, or view, that there is a Ref of."""
    real = real_array(ref)
    if v._array is real:
        return True
    return ref.kind == "view" and type(v._array) is type(real) is np.ndarray and memory_of(v._array) == memory_of(real)


def _lists_in(refs):
    """Lists whose members are the same on every call, among what was handed over and in tuples, lists and dicts there."""
    for ref in refs:
        if ref.kind == "static" and type(ref.value) is range:
            yield list(ref.value)
        if ref.kind not in ("mirror", "static") or type(ref.value) not in (list, tuple, dict):
            continue
        members = ref.value.values() if type(ref.value) is dict else ref.value
        members = list(members) if ref.kind == "mirror" else [Ref("static", m) for m in members]
        if type(ref.value) is list and all(m.kind == "static" for m in members) and {type(m.value) for m in members} in ({int}, {bool}):
            yield [m.value for m in members]
        else:
            yield from _lists_in(members)
