"""Everything that a function reaches, and ways to change it: programs whose every part is replaced, deleted, copied or written into between two calls."""
import copy
import functools
import types

import numpy as np

import hybridnn as hnn
import hybridnn.functions as F

__all__ = ["mutate", "places"]

HIDDEN = ("_parent", "target", "_within_init_scope", "_update_groups", "_uninit")       # what leads out of an object, or is nobody's business
NO_PART = ("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__annotations__", "__abstractmethods__", "_abc_impl", "__orig_bases__",
           "__firstlineno__", "__static_attributes__", "__match_args__", "__new__", "_fields", "_field_defaults", "_make", "_replace", "_asdict",
           "__slots__", "__getnewargs__", "__replace__", "__dataclass_fields__", "__dataclass_params__")
DEEPEST = 7
NOTHING = object()


class Odd:
    """No value that a program expects; as an attribute of a class, a descriptor."""

    def __repr__(self):
        return "Odd"

    def __eq__(self, other):
        return type(other) is Odd

    __hash__ = None

    def __get__(self, obj, cls):
        return 2.5


def places(ns):
    """(path, way) of every change: where to go from the namespace, and what to do there."""
    found, seen = [], set()

    def visit(path, v, ways):
        found.extend((path, way) for way in ways)
        if len(path) > DEEPEST or id(v) in seen and not isinstance(v, (int, float, str, type(None), tuple)):
            return
        seen.add(id(v))
        found.extend((path, way) for way in INSIDE.get(kind_of(v, ns), ()))
        for key, part in parts(v, ns):
            visit([*path, key], part, replacements(part) if key[0] != "fixed" else ())
    for name in ns:
        if not name.startswith("__") and name != "step" and not isinstance(ns[name], types.ModuleType):
            visit([("global", name)], ns[name], replacements(ns[name]))
    return found


def kind_of(v, ns):
    if isinstance(v, types.FunctionType):
        return "function" if v.__globals__ is ns else None
    for kind, cls in (("box", (list, dict)), ("set", set), ("array", np.ndarray), ("partial", functools.partial), ("variable", hnn.Variable)):
        if isinstance(v, cls):
            return kind
    own = hasattr(v, "__dict__") and not isinstance(v, (type, property, staticmethod, classmethod, types.ModuleType, types.BuiltinFunctionType))
    return "object" if own else None


def parts(v, ns):
    """(key, part) of what a value consists of."""
    if isinstance(v, types.FunctionType):
        return [(("cell", i), c.cell_contents) for i, c in enumerate(v.__closure__ or ())] if v.__globals__ is ns else []
    if isinstance(v, type):
        return [(("attr", k), a) for k, a in vars(v).items() if k not in NO_PART] if v.__module__ == ns["__name__"] else []
    if isinstance(v, (list, dict)):
        return [(("item", k), v[k]) for k in (v if isinstance(v, dict) else range(len(v)))]
    if isinstance(v, tuple):
        return [(("fixed", k), x) for k, x in enumerate(v)]
    if isinstance(v, property):
        return [(("attr", "fget"), v.fget)]
    if isinstance(v, (staticmethod, classmethod)):
        return [(("attr", "__func__"), v.__func__)]
    if isinstance(v, functools.partial):
        return [(("attr", "func"), v.func)]
    own = hasattr(v, "__dict__") and not isinstance(v, (types.ModuleType, types.BuiltinFunctionType, np.ndarray))
    if isinstance(v, hnn.Variable):
        return [(("attr", "update_rule"), v.update_rule)] if getattr(v, "update_rule", None) is not None else []
    return [(("attr", k), x) for k, x in vars(v).items() if k not in HIDDEN] if own else []


def replacements(v):
    """Ways to put something else in a value's place."""
    ways = ["delete", "none", "copy", "odd"]
    if isinstance(v, bool):
        return [*ways, "negated"]
    if isinstance(v, (int, float)):
        return [*ways, "next", "other type", "numpy's", "large"]
    if isinstance(v, np.ndarray):
        return [*ways, "doubled", "double precision", "listed"]
    return [*ways, "other text"] if isinstance(v, str) else [*ways, "other function"] if callable(v) else ways


INSIDE = {"function": ("code", "defaults", "keyword defaults", "new attribute"), "box": ("clear", "reverse", "add", "refill", "pop"), "set": ("add", "clear"),
          "array": ("written", "read-only", "reshaped"), "partial": ("state",), "object": ("class", "namespace", "new attribute"),
          "variable": ("written", "new array", "double array", "gradient", "frozen", "named", "class")}
REPLACED = {"none": lambda v: None, "odd": lambda v: Odd(), "negated": lambda v: not v, "next": lambda v: v + 1, "large": lambda v: 10 ** 9,
            "copy": lambda v: type("Copy", (v,), {}) if isinstance(v, type) else copy.deepcopy(v),
            "other type": lambda v: float(v) if isinstance(v, int) else int(v), "numpy's": np.float32, "other text": lambda v: "sigmoid",
            "other function": lambda v: lambda *a, **k: F.tanh(a[-1]) if a and isinstance(a[-1], (hnn.Variable, np.ndarray)) else 2,
            "doubled": lambda v: (v * 2).astype(v.dtype), "double precision": lambda v: v.astype("d"), "listed": lambda v: v.tolist()}


def fetch(ns, path):
    obj = None
    for how, key in path:
        obj = ns[key] if how == "global" else obj.__closure__[key].cell_contents if how == "cell" else obj[key] if how in ("item", "fixed") else \
            vars(obj)[key] if isinstance(obj, type) else getattr(obj, key)
    return obj


def store(ns, path, value):
    """Put a value there, or delete what is there."""
    *before, (how, key) = path
    obj = ns if how == "global" else fetch(ns, before)
    if how == "cell":
        obj, how, key = obj.__closure__[key], "attr", "cell_contents"
    if value is NOTHING:
        delattr(obj, key) if how == "attr" else obj.__delitem__(key)
    else:
        setattr(obj, key, value) if how == "attr" else obj.__setitem__(key, value)


def mutate(ns, path, way):
    """Change what stands there."""
    v = fetch(ns, path)
    if way == "delete":
        store(ns, path, NOTHING)
    elif way in REPLACED:
        store(ns, path, REPLACED[way](v))
    else:
        CHANGES[kind_of(v, ns), way](v)


def number_up(values):
    return tuple([q + 1 if isinstance(q, (int, float)) else q for q in values])


def refill(box):
    kept = box.copy()
    box.clear()
    box.extend(kept) if isinstance(box, list) else box.update(kept)


def reverse(box):
    if isinstance(box, list):
        box.reverse()
    else:
        kept = list(box.items())[::-1]
        box.clear()
        box.update(kept)


def other_class(obj, **attrs):
    obj.__class__ = type("Other", (type(obj),), attrs)


CHANGES = {
    ("function", "code"): lambda f: setattr(f, "__code__", (lambda *a, **k: 2.5).__code__),
    ("function", "defaults"): lambda f: setattr(f, "__defaults__", number_up(f.__defaults__ or (0,))),
    ("function", "keyword defaults"): lambda f: setattr(f, "__kwdefaults__", {k: v + 1 for k, v in (f.__kwdefaults__ or {"z": 0}).items()}),
    ("function", "new attribute"): lambda f: setattr(f, "extra", 1), ("object", "new attribute"): lambda o: setattr(o, "extra", 1),
    ("box", "clear"): lambda b: b.clear(), ("box", "reverse"): reverse, ("box", "refill"): refill,
    ("box", "add"): lambda b: b.append(3) if isinstance(b, list) else b.update(extra=3),
    ("box", "pop"): lambda b: b.pop() if isinstance(b, list) else b.popitem(),
    ("set", "add"): lambda s: s.add(9), ("set", "clear"): lambda s: s.clear(),
    ("array", "written"): lambda a: np.copyto(a, ~a if a.dtype == bool else a * 2, casting="unsafe"),
    ("array", "read-only"): lambda a: setattr(a.flags, "writeable", False), ("array", "reshaped"): lambda a: setattr(a, "shape", (*a.shape, 1)),
    ("partial", "state"): lambda p: p.__setstate__((p.func, p.args, {**p.keywords, "q": 3.0}, {})),
    ("object", "class"): lambda o: other_class(o, k=9.0, act=lambda self, x: x, forward=lambda self, *a: a[0], rate=0.3, a=4.0),
    ("object", "namespace"): lambda o: setattr(o, "__dict__", dict(o.__dict__)),
    ("variable", "written"): lambda v: v.array.__imul__(2), ("variable", "new array"): lambda v: setattr(v, "array", v.array * 2),
    ("variable", "double array"): lambda v: setattr(v, "array", v.array.astype("d")),
    ("variable", "gradient"): lambda v: setattr(v, "grad", np.ones_like(v.array)),
    ("variable", "frozen"): lambda v: setattr(v, "_requires_grad", not v._requires_grad), ("variable", "named"): lambda v: setattr(v, "name", "q"),
    ("variable", "class"): lambda v: other_class(v, __add__=lambda self, o: self, __radd__=lambda self, o: self * 2, __matmul__=lambda self, o: self)}
