"""Assignments, as the observer follows them: what the program changes outside becomes an effect of the path, and is read back from what was assigned."""
import operator
import types
from collections import Counter, deque

import numpy as np

from hybridnn._hyperparameter import Hyperparameter, PlainFloats
from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable
from hybridnn.jit.dictwatch import space_of
from hybridnn.link import Chain, Link
from hybridnn.optimizer import HyperparameterProxy
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.calculations import calculate
from hybridnn.trace.computed import folded
from hybridnn.trace.lengths import settle
from hybridnn.trace.plan_names import number_of
from hybridnn.trace.refs import (
    DICTS,
    SCALARS,
    Cell,
    Doubt,
    Ref,
    check_key,
    class_lookup,
    constant,
    identity,
    is_drawn,
    is_library_code,
    is_library_module,
    is_loaded,
    is_named_tuple,
    is_plain_key,
    is_slot,
    outermost,
)

__all__ = ["Stores"]

LINK_SETTERS = frozenset([Link.__setattr__.__code__, Chain.__setattr__.__code__])
UNFAILING = frozenset(["assign", "append", "count", "report", "clear"])      # effects that run no code and raise nothing
OWNED = (Parameter, Link)       # what a link may register when it is assigned
PLAIN_SETTERS = (object.__setattr__, types.SimpleNamespace.__setattr__)     # slot wrappers of one and the same C function
KEPT = ("static", "fresh", "arg", "state", "number", "hole", "array", "text", "made", "recent")     # kinds of values that can be assigned again on every call


class Stores:
    """Instructions that assign."""

    def op_STORE_FAST(self, f, i):
        f.locals[i.argval] = f.stack.pop()

    def op_DELETE_FAST(self, f, i):
        f.locals.pop(i.argval, None)

    def op_STORE_DEREF(self, f, i):
        cell = f.cells[i.argval]
        if isinstance(cell, Cell):
            cell.ref = f.stack.pop()
        else:
            self._assigned(("cell", cell), f.stack.pop(), f"the variable {i.argval!r} of an enclosing function")

    def op_STORE_GLOBAL(self, f, i):
        self._assigned(("global", f.real.f_globals, i.argval), f.stack.pop(), f"the global {i.argval!r}")

    def op_STORE_ATTR(self, f, i):
        owner = f.stack.pop()
        self._store_attr(f, owner, i.argval, f.stack.pop(), "drop")

    def op_STORE_SUBSCR(self, f, i):
        key, box, value = f.stack.pop(), self.use(f.stack.pop()), f.stack.pop()
        if self.varied and not isinstance(box.value, np.ndarray):
            settle([key, value])
        if self.calls_item(f, box, key, value):
            return
        if isinstance(box.value, np.ndarray) and self.open_key(box.value, key) is not None:
            self.store_elements(box, key, value)
            return
        key = folded(self.use(key))
        if box.kind == "static" and type(box.value) is list and key.value == slice(None) and (most := self.kept_of(box.value, value)):
            self.trim(box.value, most)
            return
        if box.kind in ("mirror", "static") and isinstance(box.value, dict):
            key = self.joined_key(key)
        check_key(key)
        if box.kind == "namespace":
            self.set_namespace_item(box.value, self.plain(key), value)
        elif box.kind == "mirror" and box.source is None and key.kind == "static" and not isinstance(box.value, tuple):
            box.value[key.value] = self._items(value) if isinstance(key.value, slice) else value
        elif box.kind == "mirror" and key.kind == "static" and id(value.value) in self.passed and self._is_there_already(box.value, key.value, value):
            pass        # what ``box[key] += y`` ends with
        elif box.kind == "mirror" and key.kind == "static" and type(box.value) in (list, dict):
            self.put_member(box, key.value, value)
        elif box.kind == "static" and type(box.value) in (list, *DICTS):
            self._store_item(box.value, key, value)
        elif box.kind == "static" and type(box.value) is Counter:
            self.plain_counter(box.value)
            self._store_item(box.value, key, value)
        elif isinstance(box.value, np.ndarray):
            self.store_elements(box, key, value)
        else:
            raise Doubt("stores into a container or array that may be seen from outside")

    @staticmethod
    def _is_there_already(box, key, value):
        """Whether a member of a container among the arguments is assigned itself."""
        if type(box) is list:
            return type(key) is int and -len(box) <= key < len(box) and box[key].value is value.value
        return type(box) is dict and key in box and box[key].value is value.value

    def _store_item(self, box, key, value):
        """A member of a list or dict from outside."""
        if key.kind != "static" or not is_plain_key(key.value) or type(box) is list and type(key.value) is not int:
            raise Doubt("stores into a container under a key that is not a plain constant")
        if type(box) is list:
            if not -len(box) <= key.value < len(box):
                raise Doubt("an exception is raised")
            self.guard("long", box, key.value)
            if self.appended_to(box) or id(box) in self.popped:
                raise Doubt("assigns a member of a list to which it has appended, or out of which it has taken members")
            if key.value < 0:
                self.guard("length", box, len(box))
                key = constant(key.value % len(box))
        elif key.value not in box:
            self.grown.add(id(box))
        if self.is_counted(box):
            raise Doubt("assigns a number that an update has counted")
        self.rewritten.add(id(box))
        self._assigned(("item", box, key.value), value, "a member of a container")

    def put_member(self, box, key, value):
        """A member of a list or dict among the arguments, whose Ref has it from here on."""
        if is_drawn(box.source):
            raise Doubt("changes what it has drawn")
        whole = self._original(box)
        if whole is None or type(key) not in SCALARS or type(whole) is list and (type(key) is not int or not 0 <= key < len(whole)):
            raise self.changed_outside(box, "stores into a container that may be seen from outside")
        self._will_change(box, whole, value)
        box.value[key] = value
        self.effects.append(("assign", ("put", box.source, key), value))

    def add_member(self, box, value):
        """``box.append(value)`` of a list among the arguments."""
        whole = self._original(box)
        if whole is None or is_drawn(box.source):
            raise self.changed_outside(box, "changes a list that came from outside (.append)")
        self._will_change(box, whole, value)
        box.value.append(value)
        self.effects.append(("append", ("grow", box.source), value))

    def _will_change(self, box, whole, value):
        """A list or dict among the arguments is going to get a member; what it has had is kept for the guards."""
        self._keepable(value, "a member of an argument")
        self.originals.setdefault(id(whole), (box.source, whole.copy()))

    def _original(self, box):
        """The list or dict of which a Ref stands among the arguments; None if it does not."""
        return next((x for x in self.keep if self.boxes.get(id(x)) is box), None)

    def changed_outside(self, box, how):
        """Why a list or dict from outside may not be changed so. One that the function replaces will count as the same on every call, which may be."""
        replaced = type(box.source) is tuple and is_loaded(box.source)
        if replaced:
            self.changing.add(where_id(outermost(box.source)[1:]))
        return Doubt(how, by_chance=replaced)

    def update_dict(self, box, items):
        """``box.update(items)`` for a dict from outside."""
        for key, value in items.items():
            self._store_item(box, constant(key), value)

    def plain_counter(self, box):
        """A ``Counter``'s members are read and assigned as a dict's are."""
        self.guard("class", box, Counter)
        for name in ("__getitem__", "__setitem__", "__missing__"):
            self.guard("classattr", Counter, name, class_lookup(Counter, name))
        if class_lookup(Counter, "__getitem__") is not dict.__getitem__ or class_lookup(Counter, "__setitem__") is not dict.__setitem__:
            raise Doubt("indexes a Counter")

    def namespace_item(self, obj, name):
        """``obj.__dict__[name]``."""
        found = self.overlaid("attr", obj, name)
        if found is None:
            if name not in obj.__dict__:
                raise Doubt("an exception is raised")
            found = self.loaded(obj.__dict__[name], ("attr", obj, name, obj.__dict__[name]))
        return found

    def namespace_members(self, obj):
        """``obj.__dict__`` as a dict of Refs; which names it has is guarded."""
        space = obj.__dict__
        self.guard("members", space, tuple(space))
        return Ref("mirror", {name: self.namespace_item(obj, name) for name in space}, ("fixed",))

    def set_namespace_item(self, obj, name, value):
        """``obj.__dict__[name] = value``, where an assignment of the attribute does the same."""
        cls = type(obj)
        attr, setter = class_lookup(cls, name), class_lookup(cls, "__setattr__")
        plain = setter in PLAIN_SETTERS or getattr(setter, "__code__", None) in LINK_SETTERS and not isinstance(value.value, Link) \
            or setter is PlainFloats.__setattr__ and not isinstance(value.value, np.floating)
        if type(name) is not str or not plain or attr is not None and hasattr(type(attr), "__set__"):
            raise Doubt("stores into the namespace of an object")
        self._guard_setter(obj, name, attr, setter)
        if isinstance(obj, Link):
            if obj._within_init_scope:
                raise Doubt("stores into the namespace of a link that is being made")
            there = "_within_init_scope" in obj.__dict__
            self.guard(*(("attr", obj, "_within_init_scope", False) if there else ("noattr", obj, "_within_init_scope")))
            self.guard("classattr", cls, "_within_init_scope", class_lookup(cls, "_within_init_scope"))
        self._set_attribute(obj, name, value)

    def _puts_back(self, where, value):
        """Whether an attribute that this call has assigned gets back what it had before the call, as is guarded; its assignments are then forgotten."""
        kind, obj, *name = where
        if kind != "attr" or value.kind != "static" or identity(("attr", obj, *name, value.value)) not in self.guards:
            return False
        others = [e for e in self.effects if e[0] != "assign" or where_id(e[1]) != where_id(where)]
        found = len(others) < len(self.effects)
        self.effects = others
        return found

    def append(self, box, value):
        """``box.append(value)`` for a list from outside: it is not looked at any more in this call."""
        if id(box) in self.trimmed:
            raise Doubt("appends to a list of which it has deleted members")
        self._keepable(value, "a member of a list")
        self._keep_members(box)
        self.grown.add(id(box))
        self.counters.add(where_id(("length", box)))
        self.effects.append(("append", ("append", box), value))

    def extend(self, box, values):
        """``box.extend(values)`` of a list or tuple for a list from outside."""
        for value in self._items(values):
            self.append(box, value)

    def next_of_count(self, counter):
        """``next(counter)`` of an ``itertools.count`` from outside; a plan takes it behind all else."""
        if getattr(self.call.owner, "check", 0):
            raise Doubt("takes a number from a count, which cannot be put back when the call is checked")
        taken, now = sum(e[0] == "call" and e[1] is next and e[2][0] is counter for e in self.effects), number_of(counter)
        if now is None:
            raise Doubt("next() of a count in other steps, or of other numbers than ints")
        before = Ref("arg", now - taken, ("load", "count", counter))
        self.counters.add(where_id(before.source[1:]))
        self.guard("typed", before.source, int)
        self.effects.append(("call", next, [counter]))
        return combine(self, operator.add, before, constant(taken))

    def take_first(self, box):
        """The first member is taken out of a list or deque from outside, as ``box.pop(0)`` does; gives its Ref."""
        k, before = self.popped.get(id(box), 0), self.members_before(box)
        if k >= len(before) or id(box) in self.rewritten | self.trimmed.keys() or type(box) is deque and box.maxlen is not None:
            raise Doubt("takes a member out of a container that has changed, or of a deque with a length of its own")
        self.guard("long", box, k)
        self._keep_members(box)
        self.popped[id(box)] = k + 1
        self.grown.add(id(box))
        self.counters.update([where_id(("length", box)), any_member(box)])
        self.effects.append(("take", ("members", box), k))
        if type(before[k]) is tuple or is_named_tuple(type(before[k])):
            found = Ref("arg", before[k], ("load", "item", box, k))
            self.note_origin(found)
            return found
        if type(before[k]) not in (float, int):
            return Ref("taken", None)
        found = Ref("arg", before[k], ("load", "item", box, k))
        self.guard("typed", found.source, type(before[k]))
        return found

    def trim(self, box, most):
        """``del box[:-most]`` of a list from outside."""
        if id(box) in self.popped or id(box) in self.rewritten or id(box) in self.trimmed or most <= 0:
            raise Doubt("deletes members of a list that has changed otherwise")
        self._keep_members(box)
        self.trimmed[id(box)] = most
        self.grown.add(id(box))
        self.counters.update([where_id(("length", box)), any_member(box)])
        self.effects.append(("trim", ("members", box), most))

    def _keep_members(self, box):
        """What a list or deque has before this call changes it."""
        self.befores.setdefault(id(box), [*box])

    def members_before(self, box):
        """The members that a list or deque from outside had before the call."""
        return self.befores.get(id(box), box)

    def length_of(self, box):
        """``len(box)`` of a list from outside to which the function is known to append, or that had another length in an earlier proof, or of a deque; None of
        other lists."""
        where, n = where_id(("length", box)), len(self.members_before(box))
        if type(box) is list and self.first_found.setdefault(where, n) != n:
            self.counters.add(where)
        if type(box) is not deque and (type(box) is not list or where not in self.counters):
            return None
        before = Ref("arg", n, ("load", "length", box))
        now = combine(self, operator.add, before, constant(len(self.appended_to(box)) - self.popped.get(id(box), 0)))
        most = box.maxlen if type(box) is deque else self.trimmed.get(id(box))
        return now if most is None else combine(self, min, now, constant(most))

    def _keepable(self, value, what):
        built = value.kind == "mirror" and (value.source is None or value.source[0] in ("arg", "kwarg", "item"))
        if value.kind not in KEPT and value.kind != "object" and not built:
            raise Doubt(f"assigns {what} a value that cannot be made again")

    def _assigned(self, where, value, what):
        """Note an assignment: ``where`` is the kind of place, what holds it, and the name or key there."""
        self._keepable(value, what)
        self.overlay[where_id(where)] = value
        self.counters.add(where_id(where))
        if value.kind == "recent" and self.replaces_window(where, value):
            self.windows.add(where_id(where))
            self.changing.discard(where_id(where))
        if where[0] == "item":
            self.counters.add(any_member(where[1]))      # others are likely to be assigned in other calls
        if not self._puts_back(where, value) and not self._takes_the_place(where, value):
            self.effects.append(("assign", where, value))

    def _takes_the_place(self, where, value):
        """Whether the call has assigned there just before, as a recurrent layer does that goes over many steps: nobody sees any value but the last."""
        for k in range(len(self.effects) - 1, -1, -1):
            kind, *rest = self.effects[k]
            if kind == "assign" and where_id(rest[0]) == where_id(where):
                self.effects[k] = ("assign", where, value)
                return True
            if kind not in UNFAILING:
                return False
        return False

    def _store_attr(self, f, owner, name, value, after):
        owner = self.use(owner)
        obj, cls = owner.value, type(owner.value)
        if owner.kind == "object":
            self.store_object_attr(f, owner, name, value, after)
            return
        if isinstance(obj, Variable):
            self._store_of_variable(f, owner, name, value, after)
            return
        if owner.kind == "static" and type(obj) is types.ModuleType and not is_library_module(obj.__name__):
            self.guard("class", obj, types.ModuleType)
            self._assigned(("global", obj.__dict__, name), value, f"{obj.__name__}.{name}")
            f.stack += [constant(None)] if after == "push" else []
            return
        if owner.kind != "static" or isinstance(obj, (types.ModuleType, type)):
            raise Doubt(f"assigns .{name}")
        attr, setter = class_lookup(cls, name), class_lookup(cls, "__setattr__")
        self._guard_setter(obj, name, attr, setter)
        if setter is object.__setattr__ and type(attr) is property and isinstance(attr.fset, types.FunctionType):
            f.waiting = ("call", constant(attr.fset), [owner, value], {}, after)
            return
        own = type(attr) is property and isinstance(attr.fset, types.FunctionType)
        if own and getattr(setter, "__code__", None) in LINK_SETTERS and not isinstance(value.value, OWNED):
            self.passing = LINK_SETTERS         # which end in object.__setattr__
            f.waiting = ("call", constant(attr.fset), [owner, value], {}, after)
            return
        if type(attr) is HyperparameterProxy:
            self.guard("attr", obj, "hyperparam", obj.hyperparam)
            self._hyperparameter(obj.hyperparam, attr._attr_name, self._plain_float(value))
            self._let_setter_run(f, after)
            return
        if setter is PlainFloats.__setattr__:
            self._set_attribute(obj, name, self._plain_float(value))
            self._let_setter_run(f, after)
            return
        self._set_attribute(obj, name, value)
        if setter not in PLAIN_SETTERS:
            if not is_library_code(setter):
                raise Doubt(f"assigns .{name}, and {cls.__name__} defines __setattr__")
            f.waiting = ("call", constant(setter), [], {}, after)
        elif after == "push":
            f.stack.append(constant(None))

    def _guard_setter(self, obj, name, attr, setter):
        """An attribute of an object goes on being set in the same way."""
        self.guard("class", obj, type(obj))
        self.guard("classattr", type(obj), name, attr)
        self.guard("classattr", type(obj), "__setattr__", setter)

    def _store_of_variable(self, f, owner, name, value, after):
        """The array or gradient of a Variable is assigned."""
        cls = type(owner.value)
        if name in ("array", "data"):
            attr = class_lookup(cls, name)
            self.guard("classattr", cls, name, attr)
            self.assign_array(f, owner, attr.fset, value, after)
        elif name == "grad" and value.kind == "static" and value.value is None:
            self.assign_none(f, owner, after)
        elif name == "grad" and owner.kind in ("static", "fresh"):
            (self.assign_gradient if owner.kind == "static" else self.begin_gradient)(f, owner, value, after)
        else:
            raise Doubt(f"assigns .{name}")

    def _set_attribute(self, obj, name, value):
        """An assignment that ends in the object's ``__dict__``."""
        if type(obj) is Hyperparameter:
            self._hyperparameter(obj, name, value)
        else:
            self._assigned(("attr", obj, name), value, f".{name}")

    def _plain_float(self, value):
        """What ``PlainFloats`` keeps of a value."""
        return calculate(self, float, [value], {}) if isinstance(value.value, np.floating) else value

    def _hyperparameter(self, hyperparam, name, value):
        """``optimizer.lr = rate`` or ``hyperparam.lr = rate``: the hyperparameter is set before the update reads it."""
        if value.kind not in ("static", "arg", "number") or type(value.value) is not float or type(hyperparam.__dict__.get(name)) is not float:
            raise Doubt(f"assigns a hyperparameter something else than a float ({name})")
        where = "attr", hyperparam, name
        self.overlay[where_id(where)] = value
        self.counters.add(where_id(where))
        self.effects.append(("hyper", where, value))

    def is_counted(self, box):
        """Whether an update of this call has counted here."""
        return any(steps is box for e in self.effects if e[0] == "update" for steps in e[1])

    def refuse_assigned(self, objects):
        """The library is about to read these objects, some of it in every call before anything is assigned: this call has assigned nothing there that it does
        not assign in its place, as it does hyperparameters."""
        read = {id(namespace_of(obj)) for obj in objects}
        known = {where_id(e[1]) for e in self.effects if e[0] == "hyper"} | {where_id(("attr", *e[1:])) for e in self.effects if e[0] == "count"}
        if any(key[1] in read for key in self.overlay.keys() - known):
            raise Doubt("assigns what an optimizer reads in its update")

    def overlaid(self, *where):
        """What this call has assigned to a place; None if it has not."""
        return self.overlay.get(where_id(where))


def where_id(where):
    """A hashable key of a place, the same for all ways to reach it: what holds it, and the name or key there. An attribute or a global lies in a dict."""
    kind, owner, *key = where
    if kind == "attr" and not is_slot(class_lookup(type(owner), key[0]), key[0]):
        owner = namespace_of(owner)
    return (kind == "cell", id(owner), *[k if is_plain_key(k) else (id(k), ()) for k in key])        # which is no plain key


def any_member(box):
    """Stands for all places in a list or dict of whose members a function assigns some."""
    return (False, id(box), ...)        # which is no plain key


def namespace_of(obj):
    """The dict of an object's attributes; the object itself if it has none."""
    space = space_of(obj)
    return space if type(space) is dict else obj


