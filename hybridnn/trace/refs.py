"""What the observer knows of a value (``Ref``), whose code a frame runs, and how arguments are bound."""
import functools
import sys
import types
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hybridnn import _other_names
from hybridnn._other_names import NOTHING, class_lookup
from hybridnn.core.variable import Variable
from hybridnn.link import Link

__all__ = ["ASKED", "CONTAINERS", "DICTS", "FOLLOWED", "HASH_OF_MEMBERS", "IMMUTABLE_TYPE", "LINK_CODE", "MOST_MEMBERS", "PURE_TYPES", "SCALARS", "TRUSTED",
           "TUPLE_METHODS", "Cell", "Closure", "Default", "Doubt", "Generator", "Iterator", "Pending", "Raised", "Ref", "Rowwise", "TRACED", "VariableRows",
           "bind_arguments", "check_key", "class_has", "class_lookup", "code_of", "constant", "identity", "is_drawn", "is_library", "is_library_code",
           "is_library_module", "is_loaded", "is_named_tuple", "is_numeric", "is_plain_key", "is_pure", "is_slot", "is_traced", "looks_only", "mirror",
           "names_class", "outermost", "place", "plain_to_see", "real_array", "trusted_kind"]

SCALARS = frozenset([int, float, bool, str, bytes, type(None), complex])
DICTS = (dict, OrderedDict, defaultdict)
CONTAINERS = (list, set, *DICTS)
MOST_MEMBERS = 256      # of containers among the arguments that are looked at one by one
TRACED = "a traced method"
IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: a class that cannot be changed
OBJECT = vars(object)
HASH_OF_MEMBERS = vars(Enum)["__hash__"].__code__      # which takes their names
PLAIN_KEYS = {"__hash__": (OBJECT["__hash__"], vars(Enum)["__hash__"]), "__eq__": (OBJECT["__eq__"],), "__index__": (None,)}
TUPLE_METHODS = ("__getitem__", "__iter__", "__len__", "__getattribute__", "__eq__", "__bool__", "__init__")
PURE_TYPES = SCALARS | {slice, range, type(...), np.dtype, type(NotImplemented), tuple, frozenset, type}


def is_pure(value):
    """Whether a value is immutable and plain, so that operators and builtins on it have no effects."""
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return all(map(is_pure, value))
    return kind in PURE_TYPES or isinstance(value, np.dtype)


def names_class(value):
    """Whether a value is a class, whose text and attributes may change, or has one."""
    return type(value) is type or type(value) in (tuple, frozenset) and any(map(names_class, value))


def is_plain_key(key):
    """Whether a key of a dict is a plain constant, a tuple of such, or a member of an enumeration, which is found by its name and is equal to itself only."""
    return type(key) in SCALARS or type(key) is tuple and all(type(x) in SCALARS for x in key) or isinstance(key, Enum) and is_only_itself(key)


def is_only_itself(key):
    """Whether a key is looked up without code of the user's, and equal to no other."""
    return all(class_lookup(type(key), name) in plain for name, plain in PLAIN_KEYS.items())


def check_key(ref):
    """What stands between brackets, if it is the same on every call, is looked up without code of the user's: the observer looks it up as well."""
    value, cls = ref.value, type(ref.value)
    if ref.kind != "static" or is_pure(value) or isinstance(value, (Variable, np.ndarray)) or cls.__flags__ & IMMUTABLE_TYPE and cls not in (tuple, frozenset):
        return
    if not is_only_itself(value):
        raise Doubt(f"looks up a {cls.__name__}, which has a hash of its own")


class Doubt(Exception):
    """Why a run could not be proved to depend on guarded facts only. ``by_chance``: another run of the same function may well be."""

    def __init__(self, reason, line="", by_chance=False):
        super().__init__(f"{reason} ({line})" if line else reason)
        self.reason, self.line, self.by_chance = reason, line, by_chance


class Raised(Doubt):
    """An instruction raises an exception of a class of Python's own: a doubt, unless the function catches it. CPython tells whether it does raise."""

    def __init__(self, kind, by_chance=False):
        super().__init__(f"an exception is raised ({kind.__name__})", by_chance=by_chance)
        self.kind = kind


@dataclass(eq=False, slots=True)
class Ref:
    """A value and its origin.

    Kinds: ``static`` the same object on every call, given the guards; ``arg`` from the arguments, read by ``source``; ``state`` an array or Variable read
    from a namespace on every call; ``made`` a Variable that the function makes of an array; ``fresh`` a Variable made by the call;
    ``view`` a row of an outside array; ``array`` what NumPy makes of others (``value`` is the observer's own copy), ``varied`` such an array that may be
    longer or shorter on the next call, and ``number`` a Python number made that way; ``hole`` a number read from a Variable; ``mirror`` a container whose
    members are Refs; ``closure``, ``iterator``, ``method``, ``null``.
    """
    kind: str
    value: object
    source: object = None

    def __post_init__(self):
        if not plain_to_see(type(self.value)):
            raise Doubt(f"a {type(self.value).__name__}, whose class runs code when somebody asks what it is")


@dataclass(frozen=True, slots=True)
class Default:
    """Stands for what makes the values of a ``defaultdict`` of the call where a key is missing: the Ref of that function."""
    factory: Ref

    def __call__(self):
        raise Doubt("a default is made where nobody expects it")


@dataclass(eq=False, slots=True)
class Cell:
    """A variable shared by followed functions."""
    ref: Ref | None = None


@dataclass(eq=False, slots=True)
class Closure:
    """A function made during the call."""
    code: object
    cells: list
    defaults: list
    kwdefaults: dict


class Iterator:
    """An iterator over known Refs, or over a list of them, which may change meanwhile. ``live``: asking for an item runs code; ``runs_library``: some of that
    is the library's. ``passing``: the library's code that runs when CPython's own iterator takes an item."""
    live, runs_library, passing = False, False, ()

    def __init__(self, items):
        self.items, self.at = items, 0

    def next(self):
        """The next Ref, or None at the end."""
        self.at += 1
        if self.at <= len(self.items):
            return self.items[self.at - 1]
        self.items = ()         # it stays at its end, whatever a list gets
        return None

    def rest(self):
        """All Refs that are left."""
        found = []
        while (item := self.next()) is not None:
            found.append(item)
        return found


class VariableRows(Iterator):
    """The rows of a Variable, ``items``, of which the library makes each when somebody asks for it: ``made_row(items, k)`` finds the one that the
    instruction has made."""
    runs_library = True

    def __init__(self, items, made_row):
        super().__init__(items)
        self.made_row = made_row

    @property
    def live(self):
        """Whether asking for an item runs the generator."""
        return self.at <= len(self.items.value)

    def next(self):
        k = self.more()
        return None if k is None else self.made_row(self.items, k)

    def more(self):
        """The number of the next row, or None."""
        self.at += 1
        return self.at - 1 if self.at <= len(self.items.value) else None


class Rowwise(Iterator):
    """An iterator that takes an item of each of others and makes one of them, as ``zip`` and ``enumerate`` do. ``strict``: all must end together."""

    def __init__(self, parts, make, strict=False):
        self.parts, self.make, self.strict, self.done = parts, make, strict, False
        self.runs_library = any(p.runs_library for p in parts)

    @property
    def live(self):
        return any(p.live for p in self.parts)

    def next(self):
        row = []
        for part in self.parts:
            item = None if self.done else part.next()
            if item is None:
                if self.strict and not self.done and (row or any(p.next() is not None for p in self.parts[1:])):
                    raise Doubt("an exception is raised")
                self.done = True
                return None
            row.append(item)
        return self.make(row)


class Generator(Iterator):
    """A generator of the user's: what it has yielded so far, and its frame while it waits."""

    def __init__(self, fn, code, local, cells):
        self.fn, self.code, self.locals, self.cells = fn, code, local, cells
        self.frame = self.returned = None
        self.yielded, self.done = [], False

    @property
    def live(self):
        """Whether asking for an item may run its code."""
        return not self.done

    def next(self):
        if self.yielded:
            return self.yielded.pop(0)
        if not self.done:
            raise Doubt("a generator that was not asked for its items one by one")
        return None


class Pending(Exception):
    """An instruction that makes generators run: it is followed once they have. ``passes``: the library's code may run meanwhile; ``iterator``: of which the
    instruction takes items."""

    def __init__(self, passes=False, iterator=None):
        self.passes, self.iterator = passes, iterator


def constant(value):
    """A Ref that is the same on every call."""
    return Ref("static", value)


def mirror(kind, items, origin=None):
    """A container of Refs; ``origin`` is set if the real one came from outside."""
    return Ref("mirror", kind(items), None if origin is None else origin.source)


def class_has(cls, name):
    """Whether the class or a base has such an attribute, which may be None."""
    return class_lookup(cls, name, NOTHING) is not NOTHING


def plain_to_see(cls):
    """Whether ``isinstance()`` of an object runs none of the program's code."""
    if cls.__flags__ & IMMUTABLE_TYPE:
        return True
    return class_lookup(cls, "__class__") is OBJECT["__class__"] and not isinstance(class_lookup(cls, "__getattribute__"), types.FunctionType)


def identity(x):
    """A hashable key: equal for tuples of the same objects, and of equal texts and ints that have no class of the user's."""
    return tuple(map(identity, x)) if type(x) is tuple else x if type(x) in (str, int) else (id(x),)


def is_slot(attr, name):
    """Whether a class attribute is the place that ``__slots__`` makes for this name."""
    return type(attr) is types.MemberDescriptorType and attr.__name__ == name


def is_numeric(ref):
    """Whether a Ref is an array, or a number of NumPy's that may differ from call to call."""
    return ref.kind == "array" or ref.kind != "mirror" and (type(ref.value) is np.ndarray or isinstance(ref.value, np.generic))


def real_array(ref):
    """The program's own array, which the observer may have a copy of."""
    return ref.source.real if ref.kind == "array" else ref.value


def place(ref):
    """Where a guard reads the value anew; None if it is the same object on every call."""
    return None if ref.kind == "static" else ref.source


def outermost(source):
    """Where that is read of which a source is a part."""
    while source[0] == "item":
        source = source[1]
    return source


def is_loaded(source):
    """Whether a source is a part of what is read from a namespace or a container from outside."""
    return outermost(source)[0] == "load"


def is_drawn(found):
    """Whether a source, or one within a fact, is a part of a list of objects that ``random.sample`` draws."""
    return type(found) is tuple and len(found) > 0 and (type(found[0]) is str and found[0] == "drawn" or any(map(is_drawn, found)))


def is_traced(obj):
    """Whether an object is a traced callable (whose module imports this one)."""
    return type(obj).__module__ == "hybridnn.trace.api" and type(obj).__name__ == "Traced"


def code_of(fn):
    """The code of a function, or of one made during the call."""
    return fn.value.code if fn.kind == "closure" else fn.value.__code__


def is_named_tuple(cls):
    """Whether a class is what ``collections.namedtuple`` or ``typing.NamedTuple`` makes, with nothing of a tuple's changed."""
    plain = cls.__mro__[1:] == (tuple, object) and isinstance(vars(cls).get("_fields"), tuple) and "__slots__" in vars(cls)
    return plain and not any(name in vars(cls) for name in TUPLE_METHODS)


def is_library_code(fn):
    """Whether a function is the library's own."""
    return isinstance(fn, types.FunctionType) and fn.__module__.split(".")[0] == "hybridnn"


# ------------------------------------------------------------------------------------------------------------- library's own code

OTHER_NAMES = vars(_other_names)
LINK_CODE = frozenset([fn.__code__ for fn in (Link.params, Link.namedparams, Link.links, Link.namedlinks, Link.children)])
LINK_MODULES = ("hybridnn.link", "hybridnn.core.parameter")
FOLLOWED = ("hybridnn.links", "hybridnn.link", "hybridnn.sequential", "hybridnn.device_resident", "hybridnn.backend", "hybridnn.utils", "hybridnn.dataset",
            "hybridnn.distribution", "hybridnn.training.updaters")
TRUSTED = ("hybridnn.functions", "hybridnn.ops", *[f"hybridnn.core.{name}" for name in ("arithmetic", "indexing", "product", "random", "shapes")])
CALLING = frozenset([("hybridnn.functions._metric_loss", "negative_sampling"),        # calls what the user gives it
                     ("hybridnn.functions._sequence_loss", "argmax_crf1d"), ("hybridnn.functions._sequence_loss", "_trace_back")])      # give arrays
VARIABLE_MODULES = tuple(f"hybridnn.core.{name}" for name in ("application", "backprop", "op", "op_node", "operators", "tape", "variable", "variable_node"))
VARIABLE_CODE = {
    "shape": "function", "dtype": "function", "ndim": "function", "size": "function", "T": "function", "__len__": "function", "__getitem__": "function",
    "reshape": "function", "transpose": "function", "requires_grad": "function", "xp": "function", "is_initialized": "function",
    "__pos__": "function", "binary": "operator", "reflected": "operator", "unary": "function", "_matmul": "operator", "_rmatmul": "operator",
    "__array_ufunc__": "operator", "backward": "backward", "grad": "grad-or-property", "grad_var": "grad_var", "cleargrad": "cleargrad", "copydata": "copydata",
    "to_device": "to_device", "unchain": "unchain", "unchain_backward": "unchain", "__float__": "read", "__int__": "read", "__bool__": "read",
    "__index__": "read", "item": "read", "array": "array", "__call__": "function", "as_variable": "function", "as_array": False,
    "apply": "function", "apply_inplace": "function", "__iter__": "rows", "<genexpr>": "function"}      # the last gives the rows of a Variable

FUNCTION_CODE = {"apply": "apply_function", "get_retained_inputs": "retained", "get_retained_outputs": "retained", "retain_inputs": False,
                 "retain_outputs": False}
OLD_FUNCTION_CODE = {"__call__": "apply_function", "retain_inputs": "retain", "retain_outputs": "retain"}


ASKED: set[types.CodeType] = set()       # methods of iterators that give batches


def is_library(frame):
    """Whether the frame runs the library's code, or what it rests on."""
    return is_library_module(frame.f_globals.get("__name__", ""))


@functools.cache
def is_library_module(name):
    """Whether a module of this name is the library's, or of what it rests on."""
    package = name.split(".")[0]
    return package in ("hybridnn", "numpy", "numba", "llvmlite", "_distutils_hack") or package in sys.stdlib_module_names or package.startswith("namedtuple_")


def looks_only(frame):
    """Whether the frame is that of ``Link.params`` and the like, or of what these call; or looks for an attribute that is not there."""
    if frame.f_globals is OTHER_NAMES:
        return True
    while frame is not None and frame.f_globals.get("__name__", "").startswith(LINK_MODULES):
        if frame.f_code in LINK_CODE:
            return True
        frame = frame.f_back
    return False


def trusted_kind(frame):
    """False for code to follow, a kind for library code whose effects are known, None for other library code."""
    module = frame.f_globals.get("__name__", "")
    if module.split(".")[0] != "hybridnn":
        return False
    name = frame.f_code.co_name
    if frame.f_code in ASKED:
        return "batch"
    if module == "hybridnn.link" and name in ("__setattr__", "cleargrads"):
        return name
    if module.startswith(FOLLOWED):
        return False
    if (module, name) in CALLING:
        return False
    if module == "hybridnn.ops.expect":         # looks at shapes and dtypes
        return "expect"
    if module.startswith(TRUSTED):
        return "function"
    if module == "hybridnn.config" and name in ("__getattr__", "enable_backprop") or module == "hybridnn.core.parameter" and name == "is_initialized":
        return "function"
    if module == "hybridnn.core.parameter" and name in ("array", "dtype", "grad", "cleargrad"):
        return VARIABLE_CODE[name]
    if module == "hybridnn.core.variable" and name == "__init__":
        return "made" if frame.f_code.co_varnames[:2] == ("self", "data") else None
    if module == "hybridnn.core.function_node" and name in FUNCTION_CODE:
        return FUNCTION_CODE[name]
    if module == "hybridnn.function":
        return OLD_FUNCTION_CODE.get(name)
    if module == "hybridnn.core.type_check":
        return False
    if module in VARIABLE_MODULES:
        return VARIABLE_CODE.get(name)
    if module == "hybridnn.reporter" and name == "report" and frame.f_code.co_varnames[:2] == ("values", "observer"):
        return "report"
    if module == "hybridnn.optimizer" and name == "_update_grouped":
        return "update"
    if module == "hybridnn.optimizer" and (name == "new_epoch" or name == "update" and "lossfun" in frame.f_code.co_varnames or name == "_backward"):
        return False
    return None


# ----------------------------------------------------------------------------------------------------------------- arguments

def bind_arguments(observer, code, fn, pos, kw):
    """Locals and cells of a new frame, as CPython would bind them."""
    names = code.co_varnames[:code.co_argcount]
    only = code.co_varnames[code.co_argcount:code.co_argcount + code.co_kwonlyargcount]
    local = dict(zip(names, pos))
    extra = pos[len(names):]
    kw = dict(kw)
    for name in [*names[len(local):], *only]:
        if name in kw:
            local[name] = kw.pop(name)
    _defaults(observer, fn, names, only, local)
    k = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & 4:
        local[code.co_varnames[k]] = mirror(tuple, extra)
        k += 1
    if code.co_flags & 8:
        local[code.co_varnames[k]] = Ref("mirror", kw)
    return local, _cells(code, fn, local)


def _defaults(observer, fn, names, only, local):
    if fn.kind == "closure":
        given, kwgiven = fn.value.defaults, fn.value.kwdefaults
    else:
        f = fn.value
        observer.guard("function", f, f.__code__, f.__defaults__, f.__kwdefaults__)
        given = [Ref("static", v) for v in f.__defaults__ or ()]
        kwgiven = {k: observer.loaded(v, ("item", f.__kwdefaults__, k, v)) for k, v in (f.__kwdefaults__ or {}).items()}
        for ref in given:
            if isinstance(ref.value, (Variable, np.ndarray)):
                ref.source = ("fixed",)
                observer.note_origin(ref)
    for name, ref in zip(names[len(names) - len(given):], given, strict=True):
        local.setdefault(name, ref)
    for name in only:
        if name in kwgiven:
            local.setdefault(name, kwgiven[name])


def _cells(code, fn, local):
    cells = {name: Cell(local.get(name)) for name in code.co_cellvars}
    if code.co_freevars:
        given = fn.value.cells if fn.kind == "closure" else fn.value.__closure__
        cells.update(zip(code.co_freevars, given, strict=True))
    return cells
