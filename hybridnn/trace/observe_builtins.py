"""Builtin functions, as the observer follows them: the small pure part of Python that it computes itself."""
import math
from typing import Any

import numpy as np

from hybridnn.trace.refs import CONTAINERS, Doubt, Iterator, Ref, Rows, constant, is_pure, mirror

__all__ = ["PURE_BUILTINS"]


def _static(observer, ref):
    ref = observer.use(ref)
    if ref.kind != "static" or not is_pure(ref.value):
        raise Doubt("a builtin function on a value that is not the same on every call")
    return ref.value


def _plain(fn):
    def handler(observer, args, kw):
        return constant(fn(*[_static(observer, a) for a in args], **{k: _static(observer, v) for k, v in kw.items()}))
    return handler


def _len(observer, args, kw):
    ref = observer.use(args[0])
    if ref.kind == "static" and type(ref.value) in CONTAINERS:
        observer._freeze(ref.value)
    elif isinstance(ref.value, np.ndarray) or ref.kind == "mirror" or ref.kind == "static" and is_pure(ref.value):
        pass
    else:
        raise Doubt(f"len() of a {type(ref.value).__name__}")
    return constant(len(ref.value))


def _zip(observer, args, kw):
    columns = [observer._items(a) for a in args]
    if kw and (set(kw) != {"strict"} or _static(observer, kw["strict"]) and len({len(c) for c in columns}) > 1):
        raise Doubt("zip(strict=...)")
    rows = zip(*columns)
    return Ref("iterator", Iterator([mirror(tuple, r) for r in rows]))


def _enumerate(observer, args, kw):
    start = _static(observer, args[1]) if len(args) > 1 else 0
    return Ref("iterator", Iterator([mirror(tuple, [constant(k), x]) for k, x in enumerate(observer._items(args[0]), start)]))


def _reversed(observer, args, kw):
    return Ref("iterator", Iterator(observer._items(args[0])[::-1]))


def _isinstance(observer, args, kw):
    x, classes = observer.use(args[0]), args[1]
    if type(x.value) is Rows:
        raise Doubt("the type of a view of a dict")
    options = [c.value for c in classes.value] if classes.kind == "mirror" else classes.value
    options = options if isinstance(options, (tuple, list)) else (options,)
    if any(type(c).__instancecheck__ is not type.__instancecheck__ for c in options):
        raise Doubt("isinstance() with a class that decides itself")
    if x.kind == "static" and not is_pure(x.value):
        observer.guard("class", x.value, type(x.value))
    return constant(isinstance(x.value, tuple(options)))


def _container(kind):
    def handler(observer, args, kw):
        return mirror(kind, observer._items(args[0]) if args else [])
    return handler


def _type(observer, args, kw):
    if len(args) != 1:
        raise Doubt("makes a class")
    x = observer.use(args[0])
    if type(x.value) is Rows:
        raise Doubt("the type of a view of a dict")
    if x.kind == "static" and not is_pure(x.value):
        observer.guard("class", x.value, type(x.value))
    return constant(type(x.value))


def _getattr(observer, args, kw):
    if len(args) != 2:
        raise Doubt("getattr() with a default")
    f = observer.frames[-1]
    observer._load_attr(f, args[0], _static(observer, args[1]), method=False)
    if f.waiting is not None:
        raise Doubt("getattr() of a property")
    return f.stack.pop()


def _hasattr(observer, args, kw):
    _getattr(observer, args, kw)
    return constant(True)


PURE_BUILTINS: dict[Any, Any] = {fn: _plain(fn) for fn in (int, float, bool, str, abs, min, max, round, divmod, pow, range, slice, sum, repr, ord, chr)}
PURE_BUILTINS.update({fn: _plain(fn) for fn in vars(math).values() if callable(fn)})
PURE_BUILTINS.update({len: _len, zip: _zip, enumerate: _enumerate, reversed: _reversed, isinstance: _isinstance, list: _container(list),
                      tuple: _container(tuple), type: _type, getattr: _getattr, hasattr: _hasattr})
