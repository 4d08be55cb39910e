"""Names, attributes and the stack, as the observer follows them."""
import enum
import operator
import threading
import types
from collections import Counter, deque

import numpy as np

from hybridnn._update_rule import Counted
from hybridnn.config import config
from hybridnn.core import type_check
from hybridnn.core.type_check import LightTypeInfoTuple
from hybridnn.core.variable import Variable
from hybridnn.jit.dictwatch import space_of
from hybridnn.optimizer import HyperparameterProxy
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.batches import tells_where, told
from hybridnn.trace.calculations import calculate
from hybridnn.trace.lengths import SUCH_METHODS, settle
from hybridnn.trace.numpy_functions import ARRAY_METHODS, CHANGING, LIMITS_OF_TYPES, UFUNC_METHODS, is_array_function
from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.refs import (
    CONTAINERS,
    IMMUTABLE_TYPE,
    TRACED,
    Cell,
    Doubt,
    Raised,
    Ref,
    class_has,
    class_lookup,
    constant,
    is_loaded,
    is_named_tuple,
    is_pure,
    is_slot,
    is_traced,
)
from hybridnn.trace.streams import draws, is_stream
from hybridnn.utils.cache import cached_property

__all__ = ["Names"]

GENERIC = (object.__getattribute__, types.SimpleNamespace.__getattribute__, dict.__getattribute__)     # slot wrappers of one and the same C function
DTYPE_ATTRIBUTES = ("kind", "str", "name", "char", "itemsize", "type")       # of an object that never changes
ENUM_PLACES = {"value": "_value_", "name": "_name_"}


class Names:
    """Instructions that load and store."""

    def op_RESUME(self, f, i):
        """Nothing happens."""

    op_NOP = op_CACHE = op_PRECALL = op_MAKE_CELL = op_COPY_FREE_VARS = op_RESUME
    op_JUMP_FORWARD = op_JUMP_BACKWARD = op_JUMP_BACKWARD_NO_INTERRUPT = op_RESUME

    def op_EXTENDED_ARG(self, f, i):
        """CPython shows this one, and not the instruction that it belongs to."""
        self._begin(f, i.offset + 2)

    def op_LOAD_CONST(self, f, i):
        f.stack.append(constant(i.argval))

    def op_LOAD_FAST(self, f, i):
        f.stack.append(f.locals[i.argval])

    def op_LOAD_CLOSURE(self, f, i):
        f.stack.append(Ref("static", f.cells[i.argval]))

    def op_LOAD_DEREF(self, f, i):
        cell = f.cells[i.argval]
        if isinstance(cell, Cell):
            if cell.ref is None:
                raise Doubt("an empty cell")
            f.stack.append(cell.ref)
            return
        f.stack.append(self.overlaid("cell", cell) or self.loaded(cell.cell_contents, ("cell", cell, cell.cell_contents)))

    def op_LOAD_GLOBAL(self, f, i):
        if i.arg & 1:
            f.stack.append(Ref("null", None))
        name, space = i.argval, f.real.f_globals
        if name in space:
            f.stack.append(self.overlaid("global", space, name) or self.loaded(space[name], ("global", space, name, space[name])))
            return
        builtins = f.real.f_builtins
        if name not in builtins:
            raise Doubt(f"the name {name!r} is not defined")
        self.guard("builtin", space, builtins, name, builtins[name])
        f.stack.append(Ref("static", builtins[name]))

    def op_LOAD_ATTR(self, f, i):
        self._load_attr(f, f.stack.pop(), i.argval, method=False)

    def op_LOAD_METHOD(self, f, i):
        self._load_attr(f, f.stack.pop(), i.argval, method=True)

    def _load_attr(self, f, owner, name, method):
        if name == "append" and owner.kind == "arg" and type(owner.value) is list and is_loaded(owner.source) and id(owner.value) not in self.boxes \
                and not self._is_window(owner):
            raise self.changed_outside(owner, "appends to a list of an argument at which it has not looked")       # a guard would ask for its length
        owner = self.use(owner)
        obj = owner.value
        if owner.kind == "object":
            self.object_attr(f, owner, name, method)
            return
        if owner.kind == "super":
            self.super_attr(f, owner, name, method)
            return
        named = isinstance(obj, tuple) and owner.kind in ("mirror", "static") and (is_named_tuple(type(obj)) or type(obj) is LightTypeInfoTuple)
        if named and self._named_attr(f, owner, name, method):
            return
        if owner.kind == "mirror" and type(obj) is deque and name == "maxlen":
            self._push_attr(f, constant(obj.maxlen), method)
            return
        if owner.kind == "static" and type(obj) is Counter and name in ("get", "items", "keys", "update", "values"):
            self.plain_counter(obj)
            self.guard("classattr", Counter, name, class_lookup(Counter, name))
            self._push_attr(f, Ref("method", (owner, name)), method)
            return
        if owner.kind in ("mirror", "iterator", "set", "namespace") or owner.kind == "static" and type(obj) in (*CONTAINERS, str, tuple, deque):
            f.stack += [Ref("null", None), Ref("method", (owner, name))] if method else [Ref("method", (owner, name))]
            return
        if owner.kind == "varied" and name not in SUCH_METHODS and name not in ("dtype", "ndim", "itemsize"):
            settle([owner])
        if owner.kind not in ("static", "fresh", "arg", "state", "made", "array", "varied", "view", "retained"):
            raise Doubt(f"reads .{name} of what the call has made")
        assigned = self.overlaid("attr", obj, name)
        if assigned is not None:
            self._push_attr(f, assigned, method)
            return
        if isinstance(obj, Variable):
            self._variable_attr(f, owner, name, method)
        elif isinstance(obj, (np.ndarray, np.generic)) or owner.kind == "array":
            self._array_attr(f, owner, name, method)
        else:
            self._object_attr(f, owner, name, method)

    def _named_attr(self, f, owner, name, method):
        """A field, method or property of a named tuple; False if it is none of these."""
        cls = type(owner.value)
        attr = class_lookup(cls, name)
        self.guard("classattr", cls, name, attr)
        if owner.kind == "static":
            self.guard("class", owner.value, cls)
            self.guard_named(cls)
        if name in getattr(cls, "_fields", ()):
            k = cls._fields.index(name)
            self._push_attr(f, owner.value[k] if owner.kind == "mirror" else self.member_of_tuple(owner.value, k), method)
        elif isinstance(attr, types.FunctionType) and not name.startswith("_"):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, name, attr))]
        elif type(attr) is property and isinstance(attr.fget, types.FunctionType):
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(attr.fget), [owner], {}, "push")
        else:
            return False
        return True

    def _array_attr(self, f, owner, name, method):
        if name in ARRAY_METHODS or name in CHANGING and type(owner.value) is np.ndarray:
            f.stack += [Ref("null", None), Ref("method", (owner, name))] if method else [Ref("method", (owner, name))]
        elif name == "T" and isinstance(owner.value, np.generic):
            self._push_attr(f, owner, method)       # a number is its own transpose
        elif name == "T":
            self._push_attr(f, calculate(self, operator.methodcaller("transpose"), [owner], {}), method)
        elif name in ("real", "imag"):
            self._push_attr(f, calculate(self, operator.attrgetter(name), [owner], {}), method)
        elif name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes"):
            self.guard_header(owner)
            self._push_attr(f, constant(getattr(owner.value, name)), method)
        else:
            raise Doubt(f"reads .{name} of an array")

    def _variable_attr(self, f, owner, name, method):
        obj = owner.value
        attr = class_lookup(type(obj), name)
        self.guard("classattr", type(obj), name, attr)
        if isinstance(attr, types.FunctionType):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, name, attr))]
        elif type(attr) is property:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(attr.fget), [owner], {}, "push")
        elif owner.kind == "static" and name in obj.__dict__ and not name.startswith("_"):
            f.stack += [Ref("null", None)] if method else []
            f.stack.append(self.loaded(obj.__dict__[name], ("attr", obj, name, obj.__dict__[name])))
        else:
            raise Doubt(f"reads .{name} of a Variable")

    def _object_attr(self, f, owner, name, method):
        obj, cls = owner.value, type(owner.value)
        if owner.kind != "static":
            raise Doubt(f"reads .{name} of an object whose origin is not known")
        if type(obj) is types.ModuleType:
            space = obj.__dict__
            if name not in space:
                raise Doubt(f"the module has no {name!r} yet")
            self.guard("class", obj, types.ModuleType)
            self._push_attr(f, self.overlaid("global", space, name) or self.loaded(space[name], ("global", space, name, space[name])), method)
        elif isinstance(obj, type):
            self._push_attr(f, self._class_attr(obj, name), method)
        elif isinstance(obj, np.dtype) and name in DTYPE_ATTRIBUTES or cls is np.ufunc and is_array_function(obj) and name in (*UFUNC_METHODS, "at"):
            self._push_attr(f, constant(getattr(obj, name)), method)
        elif cls in (np.finfo, np.iinfo) and name in LIMITS_OF_TYPES:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, self._limit(getattr(obj, name)))       # some are properties, whose code runs meanwhile
        elif obj is config:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant("config"), [], {}, "push")     # the call notes which keys were read; the plan checks them
        elif is_stream(obj) and draws(obj, name):
            self._push_attr(f, Ref("method", (owner, name)), method)
        elif isinstance(obj, threading.local) and cls.__module__.startswith("hybridnn."):
            if not (isinstance(obj, type_check._State) and self.checks_types()):       # for which the library sets what they see, on every call
                self.guard("threadlocal", obj, name, getattr(obj, name))
            self._push_attr(f, constant(getattr(obj, name)), method)
        else:
            self._plain_attr(f, owner, name, method)

    def _limit(self, value):
        """What ``np.finfo`` or ``np.iinfo`` tells of a type."""
        if isinstance(value, (np.float16, np.float32, np.float64)):
            return calculate(self, type(value), [constant(float(value))], {})
        if not is_pure(value):
            raise Doubt(f"limits of {type(value).__name__}")
        return constant(value)

    def _plain_attr(self, f, owner, name, method):
        """An attribute that Python finds as it does those of most objects."""
        obj, cls = owner.value, type(owner.value)
        getter = class_lookup(cls, "__getattribute__")
        if getter not in GENERIC:
            raise Doubt(f"{cls.__name__} defines __getattribute__")
        if isinstance(obj, dict) and not self.looks_up_plainly(obj):
            raise Doubt(f"{cls.__name__} looks its members up in its own way")
        if tells_where(obj, name):
            raise Doubt(f"looks at {cls.__name__}.{name}, which its batches change")
        position = told(self, obj, name)
        if position is not None:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, position)        # the property's code runs meanwhile
            return
        attr = class_lookup(cls, name)
        space = space_of(obj)
        self.guard("class", obj, cls)
        self.guard("classattr", cls, "__getattribute__", getter)
        self.guard("classattr", cls, name, attr)
        if attr is not None and hasattr(type(attr), "__set__"):
            self._descriptor(f, owner, attr, cls, name, method)
        elif space is not None and name in space:
            if attr is not None:
                self._no_descriptor(attr)
            self._push_attr(f, self.loaded(space[name], ("attr", obj, name, space[name])), method)
        elif attr is None and not class_has(cls, name):
            self._missing_attr(f, owner, name, method)
        else:
            if space is not None:
                self.guard("noattr", obj, name)
            if attr is None:
                self._push_attr(f, constant(None), method)
            else:
                self._bound(f, owner, attr, method, cls, name)

    def _missing_attr(self, f, owner, name, method):
        """An attribute that neither the object nor its class has, but ``__getattr__`` may give, which ``__getitem__`` stands for in some classes of dicts."""
        cls = type(owner.value)
        getter = class_lookup(cls, "__getattr__")
        if space_of(owner.value) is not None:
            self.guard("noattr", owner.value, name)
        self.guard("classattr", cls, "__getattr__", getter)
        if isinstance(getter, types.FunctionType):
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(getter), [owner, constant(name)], {}, "push")
        elif isinstance(owner.value, dict) and getter in (vars(dict)["__getitem__"], vars(dict)["get"]):
            self._push_attr(f, self._static_item(owner.value, name), method)
        else:
            raise Raised(AttributeError) if getter is None else Doubt(f"{cls.__name__}.{name} is made by __getattr__ or missing")

    def _push_attr(self, f, ref, method):
        f.stack += [Ref("null", None), ref] if method else [ref]

    def _class_attr(self, cls, name):
        if cls is object and name == "__setattr__":
            return constant(object.__setattr__)
        if name in ("__name__", "__qualname__", "__module__") and class_lookup(type(cls), name) is class_lookup(type, name):
            self.guard("classname", cls, name, getattr(cls, name))
            return constant(getattr(cls, name))
        if name == "__mro__" and class_lookup(type(cls), name) is class_lookup(type, name):
            self.guard("bases", cls, cls.__mro__)
            return constant(cls.__mro__)
        attr, meta = class_lookup(cls, name), type(cls)
        plain = type(attr) in (types.FunctionType, staticmethod, classmethod) or not hasattr(type(attr), "__get__")
        if attr is None or not plain or class_lookup(meta, name) is not None or class_lookup(meta, "__getattribute__") is not type.__getattribute__:
            raise Doubt(f"reads {cls.__name__}.{name}")
        if not meta.__flags__ & IMMUTABLE_TYPE:
            self.guard("metaclass", cls, meta)
        self.guard("classattr", meta, "__getattribute__", type.__getattribute__)
        self.guard("classattr", meta, name, None)
        self._no_descriptor(attr)
        self.guard("classattr", cls, name, attr)
        if isinstance(attr, classmethod):
            return Ref("method", (constant(cls), "", attr.__func__))
        return constant(attr.__func__ if isinstance(attr, staticmethod) else attr)

    def _descriptor(self, f, owner, attr, cls, name, method):
        if type(attr) is HyperparameterProxy and attr._attr_name in owner.value.hyperparam.__dict__:
            self._hyperparameter_of(f, owner.value, attr._attr_name, method)
            return
        if attr is vars(object)["__class__"]:
            self._push_attr(f, constant(cls), method)
            return
        if type(attr) in (types.GetSetDescriptorType, types.MemberDescriptorType) and name == attr.__name__ == "__dict__":
            self._push_attr(f, Ref("namespace", owner.value), method)
            return
        if attr is vars(Counted)["t"]:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, self._count_of(owner.value))       # its getter runs meanwhile
            return
        if type(attr) is cached_property:
            self.kept_property(f, owner, attr, cls, method)
            return
        if is_slot(attr, name):
            where = ("slotattr", owner.value, name)
            value = attr.__get__(owner.value)
            self._push_attr(f, self.loaded(value, (*where, value)), method)
            return
        if isinstance(owner.value, enum.Enum) and name in ENUM_PLACES and attr is vars(enum.Enum)[name]:
            value, place = getattr(owner.value, ENUM_PLACES[name]), ENUM_PLACES[name]
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, self.loaded(value, ("attr", owner.value, place, value)))      # its __get__ runs meanwhile
            return
        if type(attr) is not property or attr.fget is None:
            raise Doubt(f"{cls.__name__}.{name} is a descriptor written in C")
        f.stack += [Ref("null", None)] if method else []
        if is_traced(attr.fget):
            self._call_traced(f, attr.fget, constant(attr.fget.__wrapped__), [owner], {})
            return
        f.waiting = ("call", constant(attr.fget), [owner], {}, "push")

    def _count_of(self, counted):
        """``optimizer.t``, or a rule's: read before all updates, of which those so far are added."""
        steps = counted.__dict__.get("_steps")
        if steps is None or type(steps[0]) is not int:
            raise Doubt("the number of updates is not counted yet")
        if self.overlaid("item", steps, 0) is not None:
            raise Doubt("assigns the number of updates")
        self.guard("attr", counted, "_steps", steps)
        self.counters.add(where_id(("item", steps, 0)))
        updates = sum(any(s is steps for s in e[1]) for e in self.effects if e[0] == "update")
        before = Ref("arg", steps[0] - updates, ("load", "item", steps, 0))
        self.guard("typed", before.source, int)
        return combine(self, operator.add, before, constant(updates))

    def _hyperparameter_of(self, f, optimizer, name, method):
        """``optimizer.lr``, an alias of ``optimizer.hyperparam.lr``."""
        hyperparam = optimizer.hyperparam
        self.guard("attr", optimizer, "hyperparam", hyperparam)
        value = hyperparam.__dict__[name]
        f.stack += [Ref("null", None)] if method else []
        f.waiting = ("make", None, [], {}, self.overlaid("attr", hyperparam, name) or self.loaded(value, ("attr", hyperparam, name, value)))

    def _bound(self, f, owner, attr, method, cls, name):
        if isinstance(attr, types.FunctionType):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, attr.__name__, attr))]
        elif type(attr) is staticmethod:
            self._push_attr(f, constant(attr.__func__), method)
        elif type(attr) is classmethod:
            f.stack += [constant(attr.__func__), constant(cls)] if method else [Ref("method", (constant(cls), "", attr.__func__))]
        elif hasattr(type(attr), "__get__"):
            if not is_traced(attr) or not isinstance(attr.__wrapped__, types.FunctionType):
                raise Doubt(f"{cls.__name__}.{name} is a descriptor whose effects are not known")
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, Ref("method", (owner, TRACED, attr)))      # its __get__ runs meanwhile
        else:
            self._no_descriptor(attr)
            self._push_attr(f, self.loaded(attr, ("classattr", cls, name, attr)) if isinstance(attr, (Variable, np.ndarray)) else constant(attr), method)

    def _no_descriptor(self, attr):
        """An object in a class stays what instances and the class give; its own class might learn to bind it."""
        for name in ("__get__", "__set__", "__delete__"):
            self.guard("classattr", type(attr), name, class_lookup(type(attr), name))

    def op_POP_TOP(self, f, i):
        f.stack.pop()

    def op_PUSH_NULL(self, f, i):
        f.stack.append(Ref("null", None))

    def op_COPY(self, f, i):
        f.stack.append(f.stack[-i.arg])

    def op_SWAP(self, f, i):
        f.stack[-1], f.stack[-i.arg] = f.stack[-i.arg], f.stack[-1]
