"""Changes of arrays in place, as functions that give a changed copy."""
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hybridnn.trace.numpy_functions import is_method_of_ufunc

__all__ = ["AUGMENTED", "CHANGERS", "CHANGES", "IN_PLACE", "SORTED", "changer_of", "is_changer", "put", "with_elements"]


def with_elements(a, key, value):
    """What an array is after ``a[key] = value``."""
    a = a.copy("K")
    a[key] = value
    return a


def put(a, key, value):
    """``with_elements`` for an array that nothing else needs."""
    a[key] = value
    return a


def _changed(fn, a, value):
    """What an array is after ``fn``, an operator in place."""
    return fn(a.copy("K"), value)


AUGMENTED = {f"{symbol}=": fn for symbol, fn in (
    ("+", operator.iadd), ("-", operator.isub), ("*", operator.imul), ("/", operator.itruediv), ("&", operator.iand), ("|", operator.ior),
    ("^", operator.ixor), ("//", operator.ifloordiv), ("%", operator.imod), ("**", operator.ipow))}
CHANGES = {symbol: functools.partial(_changed, fn) for symbol, fn in AUGMENTED.items()}
IN_PLACE: dict[Any, Callable[..., Any]] = {with_elements: put, **dict(zip(CHANGES.values(), AUGMENTED.values(), strict=True))}
"""What gives a changed copy -> what changes the array itself."""


def _changed_by(fn, a, *args, **kw):
    """What an array is after ``fn(a, ...)``, a function of NumPy's that changes it."""
    a = a.copy("K")
    fn(a, *args, **kw)
    return a


CHANGERS = {id(fn): functools.partial(_changed_by, fn) for fn in (np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask)}
"""ids of functions that change their first argument in place -> what gives a changed copy."""
SORTED = functools.partial(_changed_by, np.ndarray.sort)


def is_changer(fn):
    """Whether ``fn`` is what ``changer_of`` gives, or sorts."""
    return isinstance(fn, functools.partial) and fn.func is _changed_by


def changer_of(fn):
    """What gives a changed copy where ``fn``, such as ``np.fill_diagonal`` or ``np.add.at``, changes an array; None for other functions."""
    if is_method_of_ufunc(fn) and fn.__name__ == "at":
        return functools.partial(_changed_by, fn)
    return CHANGERS.get(id(fn))
