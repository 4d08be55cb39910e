"""Builtin functions, as the observer follows them: the small pure part of Python that it computes itself."""
import abc
import bisect
import functools
import itertools
import math
import operator
import types
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from hybridnn.core.variable import Variable
from hybridnn.jit.dictwatch import space_of
from hybridnn.link import ChainList
from hybridnn.sequential import Sequential
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.calculations import calculate, chosen
from hybridnn.trace.computed import is_number, sources_of
from hybridnn.trace.observe_heaps import ORDERING, Compared
from hybridnn.trace.observe_iteration import Lazy, Rows, through
from hybridnn.trace.observe_statistics import fsum
from hybridnn.trace.refs import (
    CONTAINERS,
    DICTS,
    IMMUTABLE_TYPE,
    Doubt,
    Generator,
    Iterator,
    Raised,
    Ref,
    Rowwise,
    VariableRows,
    class_has,
    class_lookup,
    constant,
    is_named_tuple,
    is_numeric,
    is_plain_key,
    is_pure,
    mirror,
    names_class,
)

__all__ = ["PURE_BUILTINS", "asks_class", "lacks"]

CLASS = vars(object)["__class__"]


def _static(observer, ref):
    ref = observer.use(ref)
    if ref.kind != "static" or not is_pure(ref.value):
        raise Doubt("a builtin function on a value that is not the same on every call")
    return ref.value


def _plain(fn):
    def handler(observer, args, kw):
        if fn in MATH and not kw and any(map(is_numeric, args)):
            args = [calculate(observer, float, [a], {}) if is_numeric(a) else a for a in args]       # as it asks for it itself
        args = [*map(observer.counting_truths, args)] if fn in (float, int) and not kw else args
        if fn in ARITHMETIC and not kw and observer._computes_numbers(*args):
            return combine(observer, fn, *args)
        given = [observer.whole(a) if fn is math.prod and a.kind == "mirror" else _static(observer, a) for a in args]
        if fn in (str, repr) and any(map(names_class, given)):
            raise Doubt("the text of a class")
        return constant(fn(*given, **{k: _static(observer, v) for k, v in kw.items()}))
    return handler


def _len(observer, args, kw):
    ref = observer.use(args[0])
    if ref.kind == "recent" and ref.value[2] is not None:
        return calculate(observer, len, [ref], {})
    if ref.kind == "recent":
        return combine(observer, operator.add, calculate(observer, len, [ref.value[0]], {}), constant(len(ref.source.value)))
    if ref.kind == "static" and isinstance(ref.value, (ChainList, Sequential)):
        return constant(len(observer._layers(ref, "__len__")))
    if ref.kind == "static" and type(ref.value) in (*CONTAINERS, deque):
        length = observer.length_of(ref.value)
        if length is not None:
            return length
        observer.freeze_length(ref.value)
    elif ref.kind == "static" and isinstance(ref.value, tuple) and is_named_tuple(type(ref.value)):
        observer.guard_named(type(ref.value))
    elif isinstance(ref.value, np.ndarray) or ref.kind in ("mirror", "set") or ref.kind == "static" and (is_pure(ref.value) or type(ref.value) is tuple):
        observer.guard_header(ref)
    else:
        raise Doubt(f"len() of a {type(ref.value).__name__}")
    return constant(len(ref.value))


def _iterator(observer, ref):
    """The iterator that goes through a value."""
    ref = observer.use(ref)
    if ref.kind != "mirror" and isinstance(ref.value, Variable):
        return observer.rows_of(ref)
    return observer.iterate(ref)


def _zip(observer, args, kw):
    columns = [_iterator(observer, a) for a in args]
    if kw and (set(kw) != {"strict"} or any(isinstance(c, (Rowwise, Generator, VariableRows)) for c in columns)):
        raise Doubt("zip(strict=...)")
    return Ref("iterator", Rowwise(columns, lambda row: mirror(tuple, row), bool(kw) and bool(_static(observer, kw["strict"]))))


def _enumerate(observer, args, kw):
    numbers = itertools.count(_static(observer, args[1]) if len(args) > 1 else _static(observer, kw["start"]) if kw else 0)
    return Ref("iterator", Rowwise([_iterator(observer, args[0])], lambda row: mirror(tuple, [constant(next(numbers)), *row])))


def _iter(observer, args, kw):
    if len(args) != 1:
        raise Doubt("iter() with a sentinel")
    return Ref("iterator", _iterator(observer, args[0]))


def _next(observer, args, kw):
    if args[0].kind == "static" and type(args[0].value) is itertools.count:
        return observer.next_of_count(args[0].value)
    if args[0].kind != "iterator":
        kind = type(args[0].value).__name__
        raise Doubt(f"next() of a {kind} that came from outside, which cannot be asked twice (ask it before the call, and hand over what it gives)")
    observer.ask(args[0].value)
    item = args[0].value.next()
    if item is None and len(args) == 1:
        raise Raised(StopIteration)
    return args[1] if item is None else item


def _reversed(observer, args, kw):
    if args[0].kind == "iterator":
        raise Doubt("reversed() of an iterator")
    made = observer.iterate(args[0], backwards=True)
    made.passing = observer.passing
    return Ref("iterator", made)


def _sorted(observer, args, kw):
    """By what is the same on every call: the items, or the first members of tuples, all different."""
    given = observer.use(args[0])
    if given.kind == "set" and any(v != v for v in given.value):
        raise Doubt("sorted() of NaN")
    items = [constant(v) for v in given.value] if given.kind == "set" else observer._items(given)
    if set(kw) - {"reverse"} and not ("key" in kw and kw["key"].value is None):
        raise Doubt("sorted() with a key")
    backwards = "reverse" in kw and bool(_static(observer, kw["reverse"]))
    if observer._computes_numbers(*items) and len({type(r.value) for r in items}) == 1:
        return calculate(observer, functools.partial(chosen, functools.partial(sorted, reverse=backwards)), [mirror(list, items)], {})
    keys = [_sorting(observer, r) for r in items]
    if len(set(keys)) < len(keys) and any(r.kind == "mirror" for r in items):
        keys = [Compared(observer, r) for r in items]
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=backwards)
    return mirror(list, [items[k] for k in order])


def _sorting(observer, ref):
    first = ref.value[0] if ref.kind == "mirror" and isinstance(ref.value, tuple) and ref.value else ref
    key = _static(observer, first)
    if not is_plain_key(key):
        raise Doubt(f"sorted() of {type(key).__name__} objects")
    return key


def _dict(observer, args, kw):
    pairs = {}
    if args:
        given = observer.use(args[0])
        if given.kind == "namespace":
            given = observer.namespace_members(given.value)
        elif given.kind == "static" and type(given.value) in DICTS:
            given = observer._dict_members(given.value)
        if given.kind == "mirror" and isinstance(given.value, dict):
            pairs.update(given.value)
        else:
            pairs.update({observer._key(k): v for k, v in map(observer._items, observer._items(given))})
    return Ref("mirror", {**pairs, **kw})


def _ordered(observer, args, kw):
    return Ref("mirror", OrderedDict(_dict(observer, args, kw).value))


def _defaulting(observer, args, kw):
    return observer.make_defaults(args, kw)


def _deque(observer, args, kw):
    return observer.make_deque(args, kw)


def _until(outcome):
    """``any`` or ``all``: asks for items until one decides."""
    def handler(observer, args, kw):
        items = _iterator(observer, args[0])
        observer.ask(items)
        while (item := items.next()) is not None:
            if bool(item.value if observer.decides(item) else _static(observer, item)) is outcome:
                return constant(outcome)
        return constant(not outcome)
    return handler


def _added(observer, items, total=None):
    """The sum of numbers, some of which may differ from call to call. Of no items, it is what the sum begins with."""
    total = constant(0) if total is None else total
    for item in items:
        if is_numeric(total) or is_numeric(item):
            total = calculate(observer, operator.add, [total, item], {})
        elif observer._computes_numbers(total, item):
            total = combine(observer, operator.add, total, item)
        else:
            total = constant(_static(observer, total) + _static(observer, item))
    return total


def _joined(observer, items, start):
    """The sum of lists, or of tuples."""
    if not items:
        return start
    kind, found = type(start.value), observer._items(start)
    for item in map(observer.use, items):
        if item.kind not in ("mirror", "static") or type(item.value) is not kind:
            raise Doubt("sum() of what is no list")
        found = found + observer._items(item)
    return mirror(kind, found)


def _place_in(fn):
    """``bisect`` in a list of numbers that are the same on every call."""
    def handler(observer, args, kw):
        if kw or len(args) != 2:
            raise Doubt(f"{fn.__name__}() with unusual arguments")
        numbers = [_static(observer, r) for r in observer._items(args[0])]
        if observer._computes_numbers(args[1]):
            return combine(observer, functools.partial(fn, numbers), args[1])
        return constant(fn(numbers, _static(observer, args[1])))
    return handler


def _ordering(fn):
    return lambda observer, args, kw: observer.order_list(fn, args, kw)


def _winner(fn, *numbers):
    """``fn(*numbers)``, of a type that the numbers decide: a plan has to find out before anything is changed in place."""
    return fn(*numbers)


def _over(fn):
    """``max``, ``min`` or ``sum`` of one sequence of constants, or of several constants."""
    def handler(observer, args, kw):
        if fn is not sum and not kw and len(args) > 1 and any(isinstance(r.value, np.generic) for r in args):
            behind = observer.writes_so_far() and any(map(sources_of, args))
            return calculate(observer, functools.partial(_winner, fn) if behind else fn, list(args), {})      # which keeps its type, at which a plan looks
        if fn is sum and len(args) == 2 and not kw and args[1].kind in ("mirror", "static") and type(args[1].value) in (list, tuple):
            return _joined(observer, observer._items(args[0]), args[1])
        if fn is sum and len(args) == 2 and not kw:
            return _added(observer, observer._items(args[0]), args[1])
        if len(args) != 1 or kw:
            return _plain(fn)(observer, args, kw)
        if (recent := observer.recent_of_whole(args[0])) is not None:
            return calculate(observer, fn, [recent], {})
        items = observer._items(args[0])
        if fn is sum and any(is_number(r) or is_numeric(r) for r in items):
            return _added(observer, items)
        if fn is not sum and observer._computes_numbers(*items):
            return combine(observer, fn, *items) if len(items) > 1 else items[0]
        return constant(fn([_static(observer, r) for r in items]))
    return handler


def _isinstance(observer, args, kw):
    x, classes = args[0] if args[0].kind in ("hole", "number") else observer.use(args[0]), args[1]
    known = _class_of(observer, x)
    options = [c.value for c in classes.value] if classes.kind == "mirror" else classes.value
    options = options if isinstance(options, (tuple, list)) else (options,)
    if class_lookup(known, "__class__") is not CLASS:
        raise Doubt(f"isinstance() of a {known.__name__}, which says itself what it is")
    observer.guard("classattr", known, "__class__", CLASS)
    observer.guard("bases", known, known.__mro__)
    for c in options:
        if type(c) is abc.ABCMeta and _is_decided(c, known):
            observer.guard("abctoken", abc.get_cache_token())
            observer.guard("classattr", c, "__subclasshook__", class_lookup(c, "__subclasshook__"))
        elif type(c).__instancecheck__ is not type.__instancecheck__:
            raise Doubt("isinstance() with a class that decides itself")
        observer.guard("classattr", type(c), "__instancecheck__", class_lookup(type(c), "__instancecheck__"))
    return constant(issubclass(known, tuple(options)))


def asks_class(ref):
    """Whether ``isinstance`` with these classes runs code of theirs."""
    options = [r.value for r in ref.value] if ref.kind == "mirror" else ref.value if isinstance(ref.value, tuple) else [ref.value]
    return any(type(c) is abc.ABCMeta for c in options)


def _is_decided(cls, known):
    """Whether only a registration can change which objects of ``known`` an abstract class takes for its own."""
    own = class_lookup(cls, "__subclasshook__") is not vars(object)["__subclasshook__"]
    return not own or cls.__module__ == "collections.abc" and known.__flags__ & IMMUTABLE_TYPE


def _class_of(observer, x):
    """The class of a value."""
    if type(x.value) is Rows or x.kind not in ("static", "arg", "state", "fresh", "made", "array", "view", "mirror", "object", "hole", "number", "set"):
        raise Doubt("the type of a value that is not known")
    if x.kind == "object":
        return x.value.cls
    if x.kind == "static" and not is_pure(x.value):
        observer.guard("class", x.value, type(x.value))
    if x.kind in ("static", "mirror", "set") or isinstance(x.value, (Variable, np.ndarray, np.generic, float, int)):
        return type(x.value)
    raise Doubt("the type of a value that is not known")


def _container(kind):
    def handler(observer, args, kw):
        if kind is tuple and args and type(args[0].value) is tuple and args[0].kind in ("mirror", "static", "arg"):
            return observer.use(args[0])        # the tuple itself
        return mirror(kind, observer._items(args[0]) if args else [])
    return handler


def _set(observer, args, kw):
    return Ref("set", set(observer.as_set(args[0])) if args else set())


def _frozenset(observer, args, kw):
    members = observer.as_set(args[0]) if args else ()
    return constant(frozenset(members))


def _callable(observer, args, kw):
    ref = observer.use(args[0])
    if ref.kind in ("closure", "method", "partial"):
        return constant(True)
    known = _class_of(observer, ref)
    observer.guard("classattr", known, "__call__", class_lookup(known, "__call__"))
    return constant(class_lookup(known, "__call__") is not None)


def _issubclass(observer, args, kw):
    classes = [a.value for a in (args[0], *(args[1].value if args[1].kind == "mirror" else [args[1]]))]
    if any(a.kind not in ("static", "mirror") for a in args) or any(type(c) is not type for c in classes):
        raise Doubt("issubclass() of what is not known")
    observer.guard("bases", classes[0], classes[0].__mro__)
    return constant(issubclass(classes[0], tuple(classes[1:])))


def _type(observer, args, kw):
    if len(args) != 1:
        raise Doubt("makes a class")
    x = observer.use(args[0])
    return constant(_class_of(observer, x))


def _getattr(observer, args, kw):
    if len(args) == 3 and lacks(observer, args[0], _static(observer, args[1])):
        return args[2]
    f = observer.frames[-1]
    observer._load_attr(f, args[0], _static(observer, args[1]), method=False)
    if f.waiting is not None:
        raise Doubt("getattr() of a property")
    return f.stack.pop()


def _id(observer, args, kw):
    """Of an object that is the same on every call."""
    ref = observer.use(args[0])
    if ref.kind != "static" or is_pure(ref.value):
        raise Doubt("id() of what need not be the same object on every call")
    return constant(id(ref.value))


def _vars(observer, args, kw):
    if len(args) != 1:
        raise Doubt("vars() of the function itself")
    return _getattr(observer, [args[0], constant("__dict__")], kw)


def _hasattr(observer, args, kw):
    if lacks(observer, args[0], _static(observer, args[1])):
        return constant(False)
    _getattr(observer, args, kw)
    return constant(True)


def lacks(observer, ref, name):
    """Whether an object of the user's has no such attribute; that it stays so is guarded."""
    ref = observer.use(ref)
    if ref.kind == "object":
        observer.guard("classattr", ref.value.cls, name, class_lookup(ref.value.cls, name))
        missing = name not in ref.value.attrs and not class_has(ref.value.cls, name)
        if missing and ref.value.source is not None:
            ref.value.attrs.lack(name)
        return missing
    obj, cls = ref.value, type(ref.value)
    if ref.kind != "mirror" and type(obj) is np.ndarray:
        return not hasattr(obj, name)
    if ref.kind in ("mirror", "set", "namespace", "iterator") or ref.kind == "static" and cls in (*CONTAINERS, str, tuple, deque):
        return _container_lacks(observer, dict if ref.kind == "namespace" else cls, name)
    if ref.kind == "static" and cls in (type, abc.ABCMeta):
        return _class_lacks(observer, obj, name)
    if ref.kind == "static" and cls is types.ModuleType:
        return _module_lacks(observer, obj, name)
    space = space_of(obj)
    if ref.kind != "static" or isinstance(obj, (type, Variable, types.ModuleType)) or type(space) is not dict or name in space:
        return False
    hidden = class_lookup(cls, "__getattr__") is not None or class_lookup(cls, "__getattribute__") is not object.__getattribute__
    if hidden or class_has(cls, name) or observer.overlaid("attr", obj, name) is not None:
        return False
    observer.guard("class", obj, cls)
    observer.guard("noattr", obj, name)
    for each in (name, "__getattr__", "__getattribute__"):
        observer.guard("classattr", cls, each, class_lookup(cls, each))
    return True


def _class_lacks(observer, cls, name):
    """Whether a class, of an ordinary kind, has no such attribute."""
    meta = type(cls)
    observer.guard("classattr", cls, name, class_lookup(cls, name))
    if not meta.__flags__ & IMMUTABLE_TYPE:
        observer.guard("metaclass", cls, meta)
        observer.guard("classattr", meta, name, class_lookup(meta, name))
    return not class_has(cls, name) and not class_has(meta, name)


def _module_lacks(observer, module, name):
    """Whether a module has no such attribute, and no ``__getattr__`` that may give it (PEP 562)."""
    if class_has(types.ModuleType, name) or any(each in vars(module) or observer.overlaid("attr", module, each) is not None for each in (name, "__getattr__")):
        return False
    observer.guard("class", module, types.ModuleType)
    for each in (name, "__getattr__"):
        observer.guard("noattr", module, each)
    return True


def _container_lacks(observer, cls, name):
    """Whether no container or text of a class, which may be one of named tuples, has such an attribute."""
    if cls is OrderedDict or not cls.__flags__ & IMMUTABLE_TYPE and not is_named_tuple(cls):
        raise Doubt(f"asks whether an iterator, a view or an OrderedDict has .{name}")
    for each in () if cls.__flags__ & IMMUTABLE_TYPE else (name, "__getattr__"):
        observer.guard("classattr", cls, each, class_lookup(cls, each))
    return class_lookup(cls, "__getattr__") is None and not class_has(cls, name)


def _rows_of(fn):
    """A function of ``itertools`` that takes all items first, and gives tuples of them."""
    def handler(observer, args, kw):
        sequences = fn is itertools.product
        columns = [observer._items(a) for a in args] if sequences else [observer._items(args[0])]
        given = [] if sequences else [_static(observer, a) for a in args[1:]]
        rows = list(itertools.islice(fn(*columns, *given, **{k: _static(observer, v) for k, v in kw.items()}), LONGEST + 1))
        if len(rows) > LONGEST:
            raise Doubt(f"{fn.__name__}() of too many")
        return Ref("iterator", Iterator([mirror(tuple, row) for row in rows]))
    return handler


def _chain(observer, args, kw):
    return Ref("iterator", Lazy(item for a in args for item in _ready(observer, a)))


def _ready(observer, ref):
    """An iterator over the items of what runs no code when it is asked for them, now or later."""
    it = _iterator(observer, ref)
    if it.live or it.passing or isinstance(it, Rowwise):
        raise Doubt("itertools with iterators that run code of their own")
    return through(it)


def _islice(observer, args, kw):
    return Ref("iterator", Lazy(itertools.islice(_ready(observer, args[0]), *[_static(observer, a) for a in args[1:]])))


def _pairwise(observer, args, kw):
    pairs = itertools.pairwise(_ready(observer, args[0]))
    return Ref("iterator", Lazy(mirror(tuple, pair) for pair in pairs))


def _repeat(observer, args, kw):
    n = _static(observer, args[1] if len(args) > 1 else kw["times"])
    if n > LONGEST:
        raise Doubt("repeat() of too many")
    return Ref("iterator", Iterator([args[0]] * n))


def _accumulate(observer, args, kw):
    """``accumulate`` of Python's numbers, which add up in the same way whenever somebody asks for them."""
    if len(args) > 1 or set(kw) - {"initial"}:
        raise Doubt("accumulate() with a function")
    first = kw.get("initial", constant(None))
    begin = [] if first.kind == "static" and first.value is None else [first]

    def add(x, y):
        both = observer._computes_numbers(x, y)
        return combine(observer, operator.add, x, y) if both else constant(_static(observer, x) + _static(observer, y))
    return Ref("iterator", Lazy(itertools.accumulate(itertools.chain(begin, _ready(observer, args[0])), add)))


def _longest(observer, args, kw):
    fill = kw.get("fillvalue", constant(None))
    rows = itertools.zip_longest(*[_ready(observer, a) for a in args], fillvalue=fill)
    return Ref("iterator", Lazy(mirror(tuple, row) for row in rows))


LONGEST = 1 << 12
ITERTOOLS: dict[Any, Any] = {fn: _rows_of(fn) for fn in (itertools.product, itertools.combinations, itertools.permutations,
                                                         itertools.combinations_with_replacement)}
ITERTOOLS.update({itertools.chain: _chain, itertools.islice: _islice, itertools.pairwise: _pairwise, itertools.repeat: _repeat,
                  itertools.accumulate: _accumulate, itertools.zip_longest: _longest})
MATH = frozenset([math.isnan, math.isinf, math.isfinite, math.sqrt, math.exp, math.log, math.log2, math.log10, math.tanh, math.sin, math.cos])
ARITHMETIC = frozenset([abs, float, int, max, min, pow, round, *[fn for fn in vars(math).values() if callable(fn)]])
PURE_BUILTINS: dict[Any, Any] = {fn: _plain(fn) for fn in (int, float, bool, str, abs, round, divmod, pow, range, slice, repr, ord, chr, operator.index)}
PURE_BUILTINS.update({fn: _plain(fn) for fn in vars(math).values() if callable(fn)})
PURE_BUILTINS.update({fn: _over(fn) for fn in (max, min, sum)})
PURE_BUILTINS[math.fsum] = fsum
PURE_BUILTINS.update(ITERTOOLS)
PURE_BUILTINS.update({fn: _ordering(fn) for fn in ORDERING})
PURE_BUILTINS.update({fn: _place_in(fn) for fn in (bisect.bisect_left, bisect.bisect_right)})
PURE_BUILTINS.update({len: _len, any: _until(True), all: _until(False), zip: _zip, enumerate: _enumerate, reversed: _reversed, isinstance: _isinstance,
                      issubclass: _issubclass, callable: _callable, iter: _iter, next: _next, sorted: _sorted, type: _type, getattr: _getattr,
                      hasattr: _hasattr, vars: _vars, id: _id, list: _container(list), tuple: _container(tuple), dict: _dict, OrderedDict: _ordered,
                      defaultdict: _defaulting, deque: _deque, set: _set, frozenset: _frozenset, np.dtype: _plain(np.dtype)})
