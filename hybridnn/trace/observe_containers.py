"""Tuples, lists, dicts and slices, as the observer follows them."""
import operator
import types
from collections import Counter, OrderedDict, deque

import numpy as np

from hybridnn.core.indexing import told_by_numpy
from hybridnn.core.variable import Variable
from hybridnn.link import ChainList
from hybridnn.sequential import Sequential
from hybridnn.trace.calculations import calculate
from hybridnn.trace.computed import Computed, folded, is_last, sources_of, value_of
from hybridnn.trace.drawing import FEW_MEMBERS, pick
from hybridnn.trace.elements import open_axes
from hybridnn.trace.free_numbers import is_open, varies
from hybridnn.trace.lengths import settle
from hybridnn.trace.observe_stores import any_member
from hybridnn.trace.overlap import memory_of
from hybridnn.trace.refs import (
    DICTS,
    SCALARS,
    Doubt,
    Pending,
    Raised,
    Ref,
    check_key,
    class_lookup,
    constant,
    is_named_tuple,
    is_numeric,
    is_plain_key,
    is_pure,
    mirror,
)

__all__ = ["SEQUENCE_CODE", "Containers"]

LOOKUPS = {**{name: vars(dict)[name] for name in ("__contains__", "__getitem__", "get")}, "__missing__": None}
SEQUENCE_CODE = frozenset([fn.__code__ for kind in (ChainList, Sequential) for fn in (
    kind.__iter__, kind.__len__, kind.__getitem__, getattr(kind, "__reversed__", kind.__iter__))])

MAKERS = np.c_, np.r_, np.mgrid, np.ogrid       # of arrays, by what stands between brackets


class Containers:
    """Instructions that build containers and go through them."""

    def op_BINARY_SUBSCR(self, f, i):
        key, box = f.stack.pop(), self.use(f.stack.pop())
        if self.varied and not isinstance(box.value, np.ndarray):
            settle([key])
        if self.calls_item(f, box, key):
            return
        if isinstance(box.value, np.ndarray):
            key = self.without_lists(key)
        part = self.array_part(box, key) or pick(self, box, key)
        if part is not None:
            f.stack.append(part)
            return
        key = self._key_for(box, key)
        if box.kind == "mirror" and isinstance(box.value, dict) and self.gives_default(f, box.value, self.joined_key(key)):
            return
        if box.kind == "mirror":
            f.stack.append(self._mirror_item(box, self.joined_key(key) if isinstance(box.value, dict) else key))
        elif box.kind == "namespace":
            f.stack.append(self.namespace_item(box.value, self.plain(key)))
        elif isinstance(box.value, Variable):
            self._variable_item(f, box, key)
        elif box.kind == key.kind == "static" and (found := self._item_from_outside(box.value, key.value)) is not None:
            f.stack.append(found)
        elif type(box.value) is Counter:
            raise Doubt("indexes a Counter that has no such number", by_chance=True)
        elif box.kind == "static" and is_pure(key.value) and isinstance(class_lookup(type(box.value), "__getitem__"), types.FunctionType):
            getter = class_lookup(type(box.value), "__getitem__")
            self.guard("class", box.value, type(box.value))
            self.guard("classattr", type(box.value), "__getitem__", getter)
            f.waiting = ("call", constant(getter), [box, key], {}, "push")
        elif isinstance(box.value, (np.ndarray, np.generic)):
            self._array_item(f, box, key)
        elif any(box.value is maker for maker in MAKERS):
            self.guard("classattr", type(box.value), "__getitem__", class_lookup(type(box.value), "__getitem__"))
            f.waiting = ("make", None, [], {}, calculate(self, box.value.__getitem__, [key], {}))       # its Python runs meanwhile
        elif box.value is np.s_:
            f.waiting = ("make", None, [], {}, key)
        else:
            raise Doubt(f"indexes a {type(box.value).__name__}")

    def _variable_item(self, f, box, key):
        if key.kind != "mirror" and isinstance(key.value, np.ndarray) and key.value.dtype == bool:
            key = Ref("mask", key.value, calculate(self, np.nonzero, [key], {}))
        elif key.kind == "mirror" and type(key.value) is list and _has_changing_ints(key.value):
            key = Ref("mask", key.value, mirror(tuple, [calculate(self, np.array, [key], {})]))
        self._operators_of(box, "__getitem__")
        f.waiting = ("call", Ref("static", "__getitem__"), [box, key], {}, "push")

    def _item_from_outside(self, box, key):
        """The Ref of a member of a container from outside; None for what is no container of a known kind, or has no such member."""
        kind = type(box)
        if kind is deque and type(key) is int and -len(box) <= key < len(box):
            return self._member_of_deque(box, key)
        if kind is Counter and type(key) in SCALARS and type(dict.get(box, key)) in (int, float):
            self.plain_counter(box)
            return self._static_item(box, key)
        if kind in (list, tuple, str, *DICTS) or isinstance(box, dict) and kind is not Counter and self.looks_up_plainly(box):
            return self._static_item(box, key)
        if type(key) is int and isinstance(box, tuple) and is_named_tuple(kind):
            self.guard_named(kind)
            return self.member_of_tuple(box, key)
        return None

    def _key_for(self, box, key):
        """A key as it is needed for what ``box`` is: most are to be the same on every call."""
        if isinstance(box.value, Variable) and box.kind != "mirror" and not told_by_numpy(value_of(key)):
            key = self.variable_key(box.value, key)
        key = key if self.places or isinstance(box.value, np.ndarray) and is_open(key) else self.use(key)
        if isinstance(box.value, (ChainList, Sequential)) and is_numeric(key) and isinstance(key.value, np.integer):
            key = self.pinned(key)
        if type(box.value) in DICTS:
            key = self.key_of_classes(key)
        if box.kind == "mirror" or type(box.value) in (list, tuple):
            key = folded(key)
            if key.kind == "array" and isinstance(key.value, np.integer) and not isinstance(box.value, dict) and len(box.value) <= FEW_MEMBERS:
                key = self.pinned(key)
        if box.kind == "mirror" or type(box.value) in (list, tuple, str) or isinstance(box.value, dict):
            check_key(key)
        return key

    def variable_key(self, x, key):
        """A key of a Variable: its ints are operands where the path takes them so, else part of the path."""
        axes = open_axes(self.call, x, value_of(key))
        if not axes:
            return self.pinned_key(key)
        several = type(key.value) is tuple
        given = key.value if key.kind == "mirror" else [*map(constant, key.value)] if several else [key]
        parts = [r if k in axes else self.pinned_key(r) for k, r in enumerate(given)]
        self.places = [parts[k] for k in axes]
        return Ref("mirror", tuple(parts)) if several else key

    def pinned_key(self, key):
        """A key of a Variable, whose ints are part of the path, also those that the call computes: a plan looks whether they come out as they did."""
        if key.kind == "mirror" and type(key.value) is tuple:
            return Ref("mirror", tuple(map(self.pinned_key, key.value)))
        whole = type(key.value) is int or isinstance(key.value, np.integer)
        if not whole or not isinstance(key.source, Computed) or key.kind == "number" and not sources_of(key):
            return key
        return self.pinned(key)

    def pinned(self, ref):
        """An int that the call computes, as a constant: a plan leaves if it comes out as another one."""
        same = Ref("number", True, Computed(operator.eq, [ref, constant(int(ref.value))], {}, len(self.call.path), safe=True, last=is_last(ref)))
        self.keep += [ref, same]
        self.pins[id(same)] = int(ref.value)
        if same.source.last:
            self.effects.append(("compute", same))
        self.decides(same)
        return constant(int(ref.value))

    def key_of_classes(self, ref):
        """A tuple of classes as a constant, as which it may be a key."""
        classes = ref.kind == "mirror" and type(ref.value) is tuple and ref.value and all(r.kind == "static" and type(r.value) is type for r in ref.value)
        return constant(tuple([r.value for r in ref.value])) if classes else ref

    def _array_item(self, f, box, key):
        if box.kind in ("arg", "state", "view") and key.kind == "static" and type(key.value) is int and box.value.ndim > 1:
            f.stack.append(self.view(box, key.value))
        else:
            f.stack.append(calculate(self, operator.getitem, [box, key], {}))

    def without_lists(self, key):
        """A key of an array in which lists of ints, that may be others on every call, are arrays, as which NumPy takes them."""
        key = self.use(key) if key.kind == "arg" and type(key.value) is list else key
        if key.kind != "mirror" or not (type(key.value) is list and any(map(varies, key.value)) or type(key.value) is tuple and any(
                type(r.value) is list for r in key.value)):
            return key
        parts = [*map(self.without_lists, key.value)] if type(key.value) is tuple else [*key.value]
        before, found = self.unlisted.get(id(key), ([], key))
        if list(map(id, before)) != list(map(id, parts)):        # a list may have got other members since
            found = Ref("mirror", tuple(parts)) if type(key.value) is tuple else calculate(self, np.array, [Ref("mirror", parts)], {})
            self.keep.append(key)
            self.unlisted[id(key)] = parts, found
        return found

    def view(self, ref, k):
        """A row of an array that came from outside: NumPy makes a new view, which is found again by its memory."""
        row = Ref("view", ref.value[k], ("row", ref.source, k))
        self.keep.append(row)
        self.views[memory_of(row.value)] = row
        self.rows[id(row)] = ref, Ref("static", k)
        return row

    def _mirror_item(self, box, key):
        if key.kind != "static":
            raise Doubt("an index that is not the same on every call")
        if type(box.value) in (dict, OrderedDict) and key.value not in box.value:
            raise Raised(KeyError)
        if type(box.value) in (list, tuple, deque) and type(key.value) is int and not -len(box.value) <= key.value < len(box.value):
            raise Raised(IndexError)
        item = box.value[key.value]
        if not isinstance(key.value, slice):
            return item
        whole = type(item) is tuple and len(item) == len(box.value) and key.value.step in (None, 1)
        return box if whole else Ref("mirror", item)       # the tuple itself, or a new one

    def _static_item(self, box, key):
        if type(box) is list and type(key) is int and key < 0:
            recent = self.recent_member(box, key)
            if recent is not None:
                return recent
            self.guard("length", box, len(self.members_before(box)))
            key %= len(box)
        assigned = self.overlaid("item", box, key)
        if assigned is not None:
            return assigned
        if type(box) in (tuple, str) and type(key) is int and not -len(box) <= key < len(box):
            raise Raised(IndexError)
        if type(box) in (tuple, str):
            return self.member_of_tuple(box, key) if isinstance(box[key], (Variable, np.ndarray)) else Ref("static", box[key])
        if type(box) in (dict, OrderedDict) and is_plain_key(key) and key not in box:
            self.guard("lacks", box, key)
            raise Raised(KeyError, by_chance=True)
        if isinstance(box, dict) and key not in box:
            raise Doubt("an exception is raised, or a default made", by_chance=True)
        if self.is_counted(box):
            raise Doubt("reads a number that an update has counted")
        value = box[key]
        if isinstance(key, slice):
            recent = self.recent_of(box, key)
            if recent is not None:
                return recent
            self._freeze(box)
            return mirror(list, [self.loaded(box[k], ("item", box, k, box[k])) for k in range(*key.indices(len(box)))])
        if id(box) in self.trimmed:
            raise Doubt("looks at the members of a list of which it has deleted some")
        if id(box) in self.popped:
            key += self.popped[id(box)]
        return self.loaded(value, ("item", box, key, value))

    def looks_up_plainly(self, box):
        """Whether an object of a class that is derived from ``dict`` is read as dicts are."""
        cls = type(box)
        if any(class_lookup(cls, name) is not attr for name, attr in LOOKUPS.items()):
            return False
        self.guard("class", box, cls)
        for name, attr in LOOKUPS.items():
            self.guard("classattr", cls, name, attr)
        return True

    def _freeze(self, box):
        """A list or dict that existed before: its length and members are guarded."""
        if id(box) in self.grown or type(box) is list and id(box) in self.rewritten:
            raise Doubt("looks at a container after it has got other members")
        if type(box) is set and not all(map(is_pure, box)):
            raise Doubt("looks at a set of objects, which may have hashes of their own")
        self.guard("members", box, tuple(box))

    def freeze_length(self, box):
        """A container that existed before: how many members it has is guarded."""
        if type(box) is list and id(box) not in self.grown and id(box) not in self.popped:
            self.guard("length", box, len(box))
        else:
            self._freeze(box)

    def _freeze_list(self, box):
        """A list that existed before, whose members are about to be loaded, which guards each of them: its length, if it gets other members on every call."""
        if any_member(box) in self.counters:
            self.freeze_length(box)
        else:
            self._freeze(box)

    def op_BUILD_TUPLE(self, f, i):
        f.stack.append(mirror(tuple, self._take(f, i.arg)))

    def op_BUILD_LIST(self, f, i):
        f.stack.append(mirror(list, self._take(f, i.arg)))

    def _take(self, f, n):
        items = f.stack[len(f.stack) - n:]
        del f.stack[len(f.stack) - n:]
        return items

    def op_BUILD_MAP(self, f, i):
        items = self._take(f, 2 * i.arg)
        f.stack.append(Ref("mirror", {self._key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}))

    def op_BUILD_CONST_KEY_MAP(self, f, i):
        keys = f.stack.pop().value
        f.stack.append(Ref("mirror", dict(zip(keys, self._take(f, i.arg), strict=True))))

    def _key(self, ref):
        ref = self.joined_key(self.use(ref))
        if ref.kind != "static" or not is_plain_key(ref.value):
            raise Doubt("a dict key that is not a plain constant")
        return ref.value

    def joined_key(self, ref):
        """A tuple of plain constants, which the call has made, as one constant."""
        if ref.kind == "mirror" and type(ref.value) is tuple and ref.source is None and ref.value:
            items = [self.use(r) for r in ref.value]
            if all(r.kind == "static" and type(r.value) in SCALARS for r in items):
                return constant(tuple([r.value for r in items]))
        return ref

    def op_BUILD_SLICE(self, f, i):
        f.stack.append(self.slice_of(self._take(f, i.arg)))

    def op_DELETE_SUBSCR(self, f, i):
        key, box = self.use(f.stack.pop()), self.use(f.stack.pop())
        check_key(key)
        if box.kind == key.kind == "static" and type(box.value) is list and type(key.value) is slice and _leaves_last(key.value):
            self.trim(box.value, -key.value.stop)
            return
        if box.kind == key.kind == "static" and type(box.value) in (list, deque) and type(key.value) is int and key.value == 0:
            self.take_first(box.value)
            return
        if box.kind != "mirror" or box.source is not None or isinstance(box.value, tuple) or key.kind != "static":
            raise self.changed_outside(box, "deletes a member of a container that may be seen from outside")
        del box.value[key.value]

    def op_LIST_EXTEND(self, f, i):
        items = self._items(f.stack.pop())
        f.stack[-i.arg].value.extend(items)

    def op_LIST_APPEND(self, f, i):
        item = f.stack.pop()
        f.stack[-i.arg].value.append(item)

    def op_MAP_ADD(self, f, i):
        value, key = f.stack.pop(), f.stack.pop()
        f.stack[-i.arg].value[self._key(key)] = value

    def op_LIST_TO_TUPLE(self, f, i):
        f.stack.append(mirror(tuple, f.stack.pop().value))

    def op_DICT_MERGE(self, f, i):
        other = self.use(f.stack.pop())
        if other.kind == "static" and type(other.value) in DICTS:
            other = self._dict_members(other.value)
        elif other.kind == "namespace":
            other = self.namespace_members(other.value)
        if other.kind != "mirror":
            raise Doubt("** of a dict from outside")
        f.stack[-i.arg].value.update(other.value)

    op_DICT_UPDATE = op_DICT_MERGE

    def op_UNPACK_EX(self, f, i):
        items = self._items(f.stack.pop())
        first, last = i.arg & 0xFF, i.arg >> 8
        if len(items) < first + last:
            raise Doubt("unpacks a different number of values")
        middle = len(items) - last
        f.stack += [*items[middle:][::-1], mirror(list, items[first:middle]), *items[:first][::-1]]

    def op_UNPACK_SEQUENCE(self, f, i):
        items = self._items(f.stack.pop())
        if len(items) != i.arg:
            raise Doubt("unpacks a different number of values")
        f.stack += items[::-1]

    def _items(self, ref):
        """The members of a sequence, as Refs."""
        ref = self.use(ref)
        if ref.kind == "static" and type(ref.value) in DICTS:
            ref = self._dict_members(ref.value)
        elif ref.kind == "namespace":
            ref = self.namespace_members(ref.value)
        if ref.kind == "mirror":
            return [constant(k) for k in ref.value] if isinstance(ref.value, dict) else list(ref.value)
        if ref.kind == "iterator":
            self.ask(ref.value)
            return ref.value.rest()
        if ref.kind == "set" and len(ref.value) < 2:        # the order of more depends on how the set came about
            return [constant(v) for v in ref.value]
        if ref.kind == "recent":
            return self.recent_items(ref)
        items = self._items_from_outside(ref.value) if ref.kind == "static" else None
        if items is not None:
            return items
        if isinstance(ref.value, Variable):
            if self.frames[-1].retrying is None:
                raise Pending(True)
            return self.rows_of(ref).rest()
        if isinstance(ref.value, np.ndarray) and ref.source is not None and ref.value.ndim:
            ref = self.fixed_array(ref.value) if ref.kind == "static" else ref
            if ref.kind in ("array", "fresh") or ref.value.ndim == 1:
                return [calculate(self, operator.getitem, [ref, constant(k)], {}) for k in range(len(ref.value))]
            return [self.view(ref, k) for k in range(len(ref.value))]
        if ref.kind == "static" and isinstance(ref.value, (ChainList, Sequential)):
            return self._layers(ref)
        raise Doubt(f"goes through a {type(ref.value).__name__}")

    def _items_from_outside(self, box):
        """The members of a container from outside; None for what is no sequence of a known kind."""
        kind = type(box)
        if kind in (tuple, range, str):
            return [Ref("static", v) if is_pure(v) else self._static_item(box, k) for k, v in enumerate(box)]
        if isinstance(box, tuple) and is_named_tuple(kind):
            self.guard_named(kind)
            return [self.member_of_tuple(box, k) for k in range(len(box))]
        if kind in (set, frozenset):
            return self._members_of_set(box)
        if kind is deque or kind is list and self.keeps_objects(box):
            return self._members_of_deque(box)
        if kind is list:
            self._freeze_list(box)
            return [self.overlaid("item", box, k) or self.loaded(v, ("item", box, k, v)) for k, v in enumerate(box)]
        return None

    def _member_of_deque(self, box, key):
        recent = self.recent_member(box, key) if key < 0 else None
        return self._members_of_deque(box)[key] if recent is None else recent

    def _members_of_deque(self, box):
        """The members that a deque from outside, or a list to which this call has appended, has by now, where it is as long as before on every call."""
        if id(box) in self.rewritten:
            raise Doubt("goes through a list or deque after it has got other members")
        before = self.members_before(box)
        self.guard("length", box, len(before))
        found = [self.loaded(v, ("item", box, k, v)) for k, v in enumerate(before)][self.popped.get(id(box), 0):] + self.appended_to(box)
        return found if type(box) is list or box.maxlen is None else found[max(len(found) - box.maxlen, 0):]

    def member_of_tuple(self, box, k):
        """A member of a tuple from outside, which stays the same object."""
        return constant(box[k]) if is_pure(box[k]) else self.loaded(box[k], ("item", box, k, box[k]))

    def _members_of_set(self, box):
        """The members of a set from outside, in the order in which it gives them."""
        if any(type(v) not in SCALARS for v in box):
            raise Doubt("goes through a set of objects")
        if type(box) is set:
            self.guard("order", box, tuple(box))
        return [constant(v) for v in box]

    def _layers(self, ref, method="__iter__"):
        """The layers of a ``ChainList`` or ``Sequential``, whose ``__iter__`` gives its list's."""
        obj, cls = ref.value, type(ref.value)
        base = Sequential if isinstance(obj, Sequential) else ChainList
        self.passing = SEQUENCE_CODE
        if class_lookup(cls, method) is not getattr(base, method):
            raise Doubt(f"{cls.__name__} defines its own {method}")
        name = "_layers" if base is Sequential else "_children"
        self.guard("class", obj, cls)
        self.guard("classattr", cls, method, getattr(base, method))
        return self._items(self.loaded(obj.__dict__[name], ("attr", obj, name, obj.__dict__[name])))


def _leaves_last(key):
    """Whether a slice takes all but the last few."""
    return key.start in (None, 0) and key.step in (None, 1) and type(key.stop) is int and key.stop < 0


def _has_changing_ints(items):
    """Whether a list holds ints only, some of which may be others on every call."""
    return any(r.kind != "static" for r in items) and all(type(r.value) is int or isinstance(r.value, np.integer) for r in items)
