"""Where values come from, as the observer knows it, and what has to be guarded so that they may count as the same on every call."""
import numpy as np

from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable
from hybridnn.trace.computed import Computed, is_number, leaves_of, sources_of
from hybridnn.trace.observe_stores import any_member, where_id
from hybridnn.trace.refs import MOST_MEMBERS, SCALARS, TUPLE_METHODS, Doubt, Ref, class_lookup, identity, is_loaded, is_named_tuple, mirror, outermost, place

__all__ = ["Origins"]


class Origins:
    """Guards, and Refs of what comes from outside."""

    def guard(self, *fact):
        ids = tuple(map(id, fact))
        if ids not in self.guarded:         # most facts are met again and again; objects of one that is known are alive, and so have these ids
            self.guarded.add(ids)
            self.keep.append(fact)
            self.guards[identity(fact)] = fact

    def root_object(self, value, source):
        """An object reached from an argument: the same object on every call, checked."""
        self.guard("root", source, value)
        return Ref("static", value, source)

    def note_origin(self, ref):
        if isinstance(ref.value, np.generic) and ref.source is not None and ref.kind in ("arg", "static") and ref.value.dtype.kind in "fiu":
            self.keep.append(ref.value)
            first = self.origins.setdefault(id(ref.value), ref)
            if first.source != ref.source and first.kind in ("arg", "static"):        # the path has one operand for both
                self.guard("alias", place(first), first.value, place(ref), ref.value)
        if isinstance(ref.value, (Variable, np.ndarray)) and ref.source is not None and ref.kind in ("arg", "static", "state"):
            self.keep.append(ref.value)
            self.origins.setdefault(id(ref.value), ref)
            array = ref.value._array if isinstance(ref.value, Variable) else ref.value
            first = self.memory.setdefault(id(array), ref)
            if first.source != ref.source or first.value is not ref.value:
                self.guard("alias", place(first), first.value, place(ref), ref.value)

    def use(self, ref):
        """``ref`` as something that is the same on every call: adds the guard that makes it so."""
        if ref.kind in ("static", "fresh", "state", "view", "made", "array", "varied", "mask", "closure", "iterator", "null", "method"):
            return ref
        if ref.kind == "arg":
            return self._use_argument(ref)
        if ref.kind in ("hole", "number"):
            return self._use_number(ref)
        if ref.kind == "text":
            return self._use_text(ref)
        if ref.kind == "span":
            return self.closed_slice(ref.source.args)
        return ref

    def _use_number(self, ref):
        """A number that is computed on every call, where it must be the same on every call: what it rests on is, or at least the number itself."""
        if sources_of(ref) or not isinstance(ref.source, Computed):
            if type(ref.value) is not int or not isinstance(ref.source, Computed):
                raise Doubt("a Python number read from a Variable decides what happens")
            return self.pinned(ref)
        leaves = leaves_of(ref)
        if all(r.kind == "arg" and is_number(r) and not self._counts(r) for r in leaves):
            for r in leaves:
                self.use(r)
        else:
            self.guard("number", ref, ref.value)
        return Ref("static", ref.value)

    def _use_text(self, ref):
        """A text that is made on every call, where it must be the same on every call: what it rests on is."""
        leaves = leaves_of(ref)
        if sources_of(ref) or not all(r.kind == "arg" and type(r.value) in SCALARS and not self._counts(r) for r in leaves):
            raise Doubt("a text that is not the same on every call decides what happens")
        for r in leaves:
            self.use(r)
        return Ref("static", ref.value)

    def _counts(self, ref):
        """Whether a number is read from a place that the function assigns."""
        if ref.source is None or not is_loaded(ref.source):
            return False
        where = outermost(ref.source)[1:]
        return where_id(where) in self.counters or where[0] == "item" and any_member(where[1]) in self.counters

    def _use_argument(self, ref):
        v = ref.value
        if isinstance(v, (Variable, np.ndarray)) or isinstance(v, np.generic) and v.dtype.kind in "fiu":
            return ref
        if type(v) in SCALARS:
            if type(v) is int and ref.source[0] == "load":
                self.guard(*ref.source[1:], v)
            else:
                self.guard("value", ref.source, v)
            return Ref("static", v)
        if isinstance(v, tuple) and len(v) <= MOST_MEMBERS and is_named_tuple(type(v)):
            self.guard_named(type(v))
            return Ref("mirror", type(v)(*[self._item(ref, k, x) for k, x in enumerate(v)]), ref.source)
        if type(v) is tuple and len(v) <= MOST_MEMBERS:
            return mirror(tuple, [self._item(ref, k, x) for k, x in enumerate(v)], ref)
        if type(v) in (list, dict) and len(v) <= MOST_MEMBERS and id(v) not in self.grown_ids and (type(v) is list or all(type(k) in SCALARS for k in v)):
            return self._box(ref)
        return self.changing_object(v, ref.source) or self.root_object(v, ref.source)

    def _box(self, ref):
        """The Ref of a list or dict among the arguments: one and the same, wherever it is met."""
        v = ref.value
        if id(v) not in self.boxes:
            self.keep.append(v)
            items = enumerate(v) if type(v) is list else v.items()
            members = {k: self._item(ref, k, x) for k, x in items}
            self.boxes[id(v)] = Ref("mirror", list(members.values()) if type(v) is list else members, ref.source)
        found = self.boxes[id(v)]
        if found.source != ref.source:
            self.guard("same", found.source, v, ref.source, v)
        return found

    def fresh(self, vid):
        """The Ref of a Variable that the library has just made inside an instruction."""
        found = next((v for v in reversed(self.call.pending) if v._vid == vid), None)
        if found is None:
            raise Doubt("a Variable that the library made inside an instruction, and that nobody has")
        self.keep.append(found)
        return Ref("fresh", found)

    def guard_named(self, cls):
        """A class of named tuples goes on doing what tuples do."""
        for name in TUPLE_METHODS:
            self.guard("classattr", cls, name, class_lookup(cls, name))

    def _item(self, ref, k, x):
        item = Ref("arg", x, ("item", ref.source, k))
        self.note_origin(item)
        return item

    def loaded(self, value, fact):
        """A value read from a namespace: numbers and objects are guarded; arrays and Variables are read anew on every call, and so are numbers of NumPy's."""
        if issubclass(type(value), (Variable, np.ndarray)) and not issubclass(type(value), Parameter) and not self._is_like_a_parameter(value):
            self.guard("spec", *fact)
            ref = Ref("state", value, ("load", *fact[:-1]))
        elif type(value) in (float, int) or isinstance(value, np.floating):
            self.guard("typed", ("load", *fact[:-1]), type(value))
            if type(value) is int:
                self._note_change(value, fact)
            ref = Ref("arg", value, ("load", *fact[:-1]))
        elif isinstance(value, (tuple, list, dict)) and self._is_replaced(value, fact):
            ref = Ref("arg", value, ("load", *fact[:-1]))
            self.carried[tuple(map(id, fact[:-1]))] = ref
        else:
            self.guard(*fact)
            ref = Ref("static", value, ("fixed",))
        self.note_origin(ref)
        return ref

    def _is_replaced(self, value, fact):
        """Whether a tuple, list or dict, of what a call carries over to the next one, is another one on every call: the function assigns it, or has found
        another tuple in an earlier proof. Then its members are read as those of an argument are."""
        if not 0 < len(value) <= MOST_MEMBERS or type(value) not in (tuple, list, dict) and not is_named_tuple(type(value)):
            return False
        where = where_id(fact[:-1])
        if where in self.changing:
            return False
        self._note_change(id(value), fact)
        return where in self.counters

    def _is_window(self, ref):
        """Whether a list is read from a place to which the function is known to assign another one, as long, when it has given it more members."""
        return ref.source is not None and ref.source[0] == "load" and where_id(ref.source[1:]) in self.windows

    def _note_change(self, found, fact):
        """A place that has something else than in an earlier proof, as others assign it, counts as one that the function assigns."""
        where = where_id(fact[:-1])
        if self.first_found.setdefault(where, found) != found:
            self.counters.add(where)

    def _is_like_a_parameter(self, value):
        """Whether a Variable gets other arrays from the function: it stays the same object, then."""
        return isinstance(value, Variable) and where_id(("attr", value, "_array")) in self.counters
