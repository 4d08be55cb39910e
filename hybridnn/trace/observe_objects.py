"""Objects that the program makes during the call, ``super()``, and ``with`` blocks of its own, as the observer follows them."""
import abc
import contextlib
import functools
import inspect
import types
import weakref
from dataclasses import dataclass

from hybridnn.core.variable import Variable
from hybridnn.jit.dictwatch import space_of
from hybridnn.link import Link
from hybridnn.trace.refs import IMMUTABLE_TYPE, Cell, Doubt, Pending, Raised, Ref, class_lookup, constant, is_library_module, is_named_tuple, is_slot
from hybridnn.utils.cache import cached_property

__all__ = ["ERRSTATE", "KEEP", "MADE_AGAIN", "MANAGER", "MANAGER_CODE", "Objects", "is_partial"]

PLAIN = {"__new__": object.__new__, "__getattribute__": object.__getattribute__, "__getattr__": None, "__del__": None}
"""What a class must not define, for its objects to be followed."""
ASSIGNED = "assigned"            # of objects of which the call assigns attributes each is followed on its own
ERRSTATE = "numpy.errstate"      # what the Ref of such a block has
KEEP = "keep"                    # what becomes of the value of a ``functools.cached_property``
CACHING = (functools.cached_property.__get__.__code__,)
MANAGER_CODE = contextlib.contextmanager(iter).__code__
MANAGER = type(contextlib.contextmanager(iter)(()))
MADE_AGAIN = class_lookup(MANAGER, "_recreate_cm")      # which a function that a context manager decorates calls on every call


@dataclass(eq=False, slots=True)
class Instance:
    """An object made during the call: its class, Refs by attribute, and the Ref of the dict of these. Or one among the arguments that is another on every
    call, and where it is."""
    cls: type
    attrs: dict
    space: object = None
    source: tuple | None = None


class Found(dict):
    """The Refs of an argument's attributes, each made when somebody asks for it, and the names that it is to lack. The observer has it, and would else not
    end, nor let go of the argument, before the collector comes."""

    def __init__(self, obj, source, note):
        super().__init__()
        self.obj, self.source, self.note, self.lacking = obj, source, weakref.WeakMethod(note), set()

    def __contains__(self, name):
        return name in (space_of(self.obj) or ()) or is_slot(class_lookup(type(self.obj), name), name) and hasattr(self.obj, name)

    def lack(self, name):
        """The object has no such attribute of its own."""
        if type(space_of(self.obj)) is dict:
            self.lacking.add(name)

    def __missing__(self, name):
        slot = class_lookup(type(self.obj), name)
        ref = self[name] = Ref("arg", getattr(self.obj, name), ("member", self.source, name, slot if is_slot(slot, name) else None))
        self.note()(ref)
        return ref


class Objects:
    """Calls of classes, attributes of what they make, ``super()`` and ``with``."""

    def make_object(self, f, cls, args, kw):
        """The call of a class of the user's."""
        if issubclass(cls, tuple) and is_named_tuple(cls):
            self._make_named(f, cls, args, kw)
            return
        plain = type(cls) in (type, abc.ABCMeta) and all(class_lookup(cls, name) is what for name, what in PLAIN.items()) and not inspect.isabstract(cls)
        init, setter = class_lookup(cls, "__init__"), class_lookup(cls, "__setattr__")
        plain = plain and (setter is object.__setattr__ or isinstance(setter, types.FunctionType))
        if not plain or issubclass(cls, (Variable, Link, BaseException)) or not isinstance(init, types.FunctionType) and (init is not object.__init__ or args):
            self._unknown(cls, args)
        for name in (*PLAIN, "__init__", "__setattr__", *(("__abstractmethods__",) if type(cls) is abc.ABCMeta else ())):
            self.guard("classattr", cls, name, class_lookup(cls, name))
        made = Ref("object", Instance(cls, {}))
        if isinstance(init, types.FunctionType):
            f.waiting = ("call", constant(init), [made, *args], kw, "variable")
        else:
            f.stack.append(made)

    def _make_named(self, f, cls, args, kw):
        names, new = cls._fields, class_lookup(cls, "__new__").__func__
        last = new.__defaults__ or ()
        defaults = dict(zip(names[len(names) - len(last):], last, strict=True))
        self.guard("function", new, new.__code__, new.__defaults__, new.__kwdefaults__)
        given = dict(zip(names, args), **kw)
        if len(args) + len(kw) != len(given) or set(given) | set(defaults) != set(names):
            raise Doubt("an exception is raised")
        self.guard("classattr", cls, "__new__", class_lookup(cls, "__new__"))
        f.waiting = ("make", None, [], {}, Ref("mirror", cls(*[given[n] if n in given else constant(defaults[n]) for n in names])))

    def changing_object(self, obj, source):
        """The Ref of an argument of a class of the user's of which another object comes with every call; None if it is one and the same, as far as is known.
        ``identities`` has the id of the object that was there in the first proof, None where there has been another one since, or ``ASSIGNED``."""
        known, cls = self.identities.setdefault(source, id(obj)), type(obj)
        if known is ASSIGNED or known == id(obj):
            return None
        self.identities[source] = None
        plain = type(cls) in (type, abc.ABCMeta) and all(class_lookup(cls, name) is what for name, what in PLAIN.items() if name != "__new__")
        own = all(base is object or not base.__flags__ & IMMUTABLE_TYPE for base in cls.__mro__) and not is_library_module(cls.__module__)
        if cls is not types.SimpleNamespace and (not plain or not own or issubclass(cls, (Link, Variable))):
            return None
        if source not in self.records:
            for name in PLAIN:
                self.guard("classattr", cls, name, class_lookup(cls, name))
            self.keep.append(obj)
            self.records[source] = Ref("object", Instance(cls, Found(obj, source, self.note_origin), source=source))
        return self.records[source]

    def object_attr(self, f, owner, name, method):
        """An attribute of an object made during the call."""
        cls, attrs = owner.value.cls, owner.value.attrs
        attr = class_lookup(cls, name)
        self.guard("classattr", cls, name, attr)
        if type(attr) is property and isinstance(attr.fget, types.FunctionType):
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(attr.fget), [owner], {}, "push")
        elif attr is vars(object)["__class__"]:
            self._push_attr(f, constant(cls), method)
        elif type(attr) is cached_property:
            self.kept_property(f, owner, attr, cls, method)
        elif name == "__dict__" and owner.value.source is not None:
            raise Doubt("the namespace of an argument")
        elif name == "__dict__" and type(attr) is types.GetSetDescriptorType and not any(vars(b).get("__slots__") for b in cls.__mro__):
            owner.value.space = owner.value.space or Ref("mirror", attrs)
            self._push_attr(f, owner.value.space, method)
        elif attr is not None and hasattr(type(attr), "__set__") and not is_slot(attr, name):
            raise Doubt(f"{cls.__name__}.{name} is a descriptor")
        elif name in attrs:
            self._push_attr(f, attrs[name], method)
        elif type(attr) is functools.cached_property and attr.attrname == name and cls.__dictoffset__:
            self._refuse_argument(owner, name)
            self.passing = CACHING
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(attr.func), [owner], {}, (KEEP, name))
        elif attr is None or is_slot(attr, name):
            if owner.value.source is not None:
                attrs.lack(name)
            raise Raised(AttributeError)
        else:
            if owner.value.source is not None:
                attrs.lack(name)
            self._bound(f, owner, attr, method, cls, name)

    def kept_property(self, f, owner, attr, cls, method):
        """A ``cached_property`` of the library's, whose own Python is followed."""
        get = class_lookup(cached_property, "__get__")
        f.stack += [Ref("null", None)] if method else []
        f.waiting = ("call", constant(get), [constant(attr), owner, constant(cls)], {}, "push")

    @staticmethod
    def keep_property(f, owner, name, value):
        """What a ``functools.cached_property`` has computed is an attribute from here on."""
        owner.value.attrs[name] = value
        f.stack.append(value)

    def store_object_attr(self, f, owner, name, value, after):
        """An assignment to an attribute of an object made in the call."""
        self._refuse_argument(owner, name)
        setter = class_lookup(owner.value.cls, "__setattr__")
        if setter is object.__setattr__:
            self.set_plainly(f, owner, name, value, after)
        else:
            f.waiting = ("call", constant(setter), [owner, constant(name), value], {}, after)

    def _refuse_argument(self, owner, name):
        if owner.value.source is not None:
            self.identities[owner.value.source] = ASSIGNED
            raise Doubt(f"assigns .{name} of an argument that is another object on every call", by_chance=True)

    def set_plainly(self, f, owner, name, value, after):
        """What ``object.__setattr__`` does."""
        cls = owner.value.cls
        self._refuse_argument(owner, name)
        attr = class_lookup(cls, name)
        self.guard("classattr", cls, name, attr)
        if type(attr) is property and isinstance(attr.fset, types.FunctionType):
            f.waiting = ("call", constant(attr.fset), [owner, value], {}, after)
            return
        if not is_slot(attr, name) and (attr is not None and hasattr(type(attr), "__set__") or not cls.__dictoffset__):
            raise Doubt(f"{cls.__name__}.{name} is a descriptor, or cannot be assigned")
        owner.value.attrs[name] = value
        if after == "push":
            f.stack.append(constant(None))

    def class_of(self, ref):
        """The class of a value, which stays it."""
        if ref.kind == "object":
            return ref.value.cls
        if ref.kind != "static":
            raise Doubt("an object whose class is not known")
        self.guard("class", ref.value, type(ref.value))
        return type(ref.value)

    # ---- super()

    def make_super(self, f, args):
        """``super()`` in a method, or ``super(Class, self)``."""
        if not args:
            cell = f.cells.get("__class__")
            first = f.cells.get(f.code.co_varnames[0]) or f.locals.get(f.code.co_varnames[0])
            owner = first.ref if isinstance(first, Cell) else first
            if cell is None or isinstance(cell, Cell) or not isinstance(owner, Ref):
                raise Doubt("super() in an unusual place")
            self.guard("cell", cell, cell.cell_contents)
            args = [constant(cell.cell_contents), owner]
        cls, owner = args[0].value, self.use(args[1])
        kind = self.class_of(owner)
        mro = kind.__mro__
        if args[0].kind != "static" or cls not in mro:
            raise Doubt("super() of a class")
        self.guard("bases", kind, mro)
        f.stack.append(Ref("super", (cls, owner, mro[mro.index(cls) + 1:])))

    def super_attr(self, f, ref, name, method):
        """The method of a class further up."""
        _, owner, bases = ref.value
        for base in bases:
            self.guard("classattr", base, name, class_lookup(base, name))
        base = next((b for b in bases if name in b.__dict__), None)
        attr = None if base is None else base.__dict__[name]
        if isinstance(attr, types.FunctionType):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, name, attr))]
        elif attr in (object.__setattr__, object.__init__) and method:
            f.stack += [constant(attr), owner]
        else:
            raise Doubt(f"reads super().{name}")

    # ---- with

    def op_BEFORE_WITH(self, f, i):
        ref = f.stack[-1]
        if ref.kind == "block":
            f.stack[-1] = Ref("exit", ref.value)
            self.errstates += ref.value is ERRSTATE
            f.waiting = ("make", None, [], {}, constant(None))
        elif ref.kind == "manager":
            entered = self._run_manager(ref.value)
            if entered is None:
                raise Doubt("a context manager that does not yield")
            f.stack[-1:] = [Ref("exit", ref), entered]
        else:
            ref = self.use(ref)
            cls = self.class_of(ref)
            enter, leave = class_lookup(cls, "__enter__"), class_lookup(cls, "__exit__")
            for name, fn in (("__enter__", enter), ("__exit__", leave)):
                if not isinstance(fn, types.FunctionType):
                    raise Doubt(f"a with statement on a {cls.__name__}")
                self.guard("classattr", cls, name, fn)
            f.stack[-1] = Ref("exit", (constant(leave), ref))
            f.waiting = ("call", constant(enter), [ref], {}, "push")

    def _run_manager(self, generator):
        """Let the generator of a ``contextlib.contextmanager`` run on."""
        if generator.live and self.frames[-1].retrying is None:
            raise Pending(True)
        return generator.next()

    def leave_block(self, f, fn):
        """The end of a ``with`` block, without an exception."""
        if fn.value is None or fn.value is ERRSTATE:
            self.errstates -= fn.value is ERRSTATE
            f.waiting = ("make", None, [], {}, constant(None))
        elif isinstance(fn.value, Ref):
            if self._run_manager(fn.value.value) is not None:
                raise Doubt("a context manager that yields twice")
            f.stack.append(constant(False))
        else:
            leave, owner = fn.value
            f.waiting = ("call", leave, [owner, constant(None), constant(None), constant(None)], {}, "push")

    def make_manager(self, f, fn, args, kw):
        """The call of a function that ``contextlib.contextmanager`` made of a generator function."""
        inner = dict(zip(fn.value.__code__.co_freevars, fn.value.__closure__))["func"].cell_contents
        if not isinstance(inner, types.FunctionType) or not inner.__code__.co_flags & 0x20:
            raise Doubt("a context manager of something else than a generator function")
        self.guard("function", fn.value, fn.value.__code__, fn.value.__defaults__, fn.value.__kwdefaults__)
        f.waiting = ("make", None, [], {}, Ref("manager", self.make_generator(constant(inner), args, kw).value))

    def make_manager_again(self, f, ref):
        """The manager that a function enters which one decorates: another one like it."""
        manager = ref.value
        for name in ("func", "args", "kwds"):
            self.guard("attr", manager, name, vars(manager)[name])
        args, kw = [*map(constant, manager.args)], {k: constant(v) for k, v in manager.kwds.items()}
        f.waiting = ("make", None, [], {}, Ref("manager", self.make_generator(constant(manager.func), args, kw).value))

    # ---- functools.partial

    def make_partial(self, args, kw):
        """The call of ``functools.partial``."""
        return Ref("partial", (args[0], args[1:], kw))

    def call_partial(self, f, fn, args, kw):
        """A ``functools.partial``: its function, with its arguments first."""
        given = fn.value
        self.guard("partial", given, given.func, given.args, given.keywords)
        named = self._dict_members(given.keywords).value
        self._call(f, constant(given.func), [*self._items(constant(given.args)), *args], {**named, **kw})


def is_partial(x):
    """Whether ``x`` is a plain ``functools.partial``."""
    return type(x) is functools.partial and not vars(x)
