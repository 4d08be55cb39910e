"""Arrays of which each call may have another number of elements: what masks choose. Their Refs are ``varied`` as long as only NumPy takes them, for what
does not ask how long they are; anything else makes them ``array``, and a plan then looks whether they are as long as recorded."""
import functools
import operator

import numpy as np

from hybridnn.trace.changed_copies import CHANGES, is_changer, with_elements
from hybridnn.trace.computed import below, rests_on_constants
from hybridnn.trace.numpy_functions import OPERATORS, called_with

__all__ = ["SUCH_METHODS", "any_length", "bears", "chooses_some", "fitting", "is_varied", "keeps_length", "settle"]

_REDUCING = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")
_OPTIONS = frozenset(["axis", "keepdims"])
SUCH_METHODS = frozenset([*_REDUCING, "mean", "astype", "clip", "copy", "round", "cumsum", "argsort"])
"""Methods that arrays of any length have, and that warn of none."""
_MEANS = frozenset([np.mean, np.median])
_SUCH = frozenset([np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax, np.argmin, np.count_nonzero, np.sort, np.argsort, np.cumsum, np.unique,
                   np.zeros_like, np.ones_like, np.flatnonzero, np.nonzero, *_MEANS])
_JOINING = frozenset([np.concatenate, np.hstack, np.vstack, np.stack, np.isin, np.where, np.clip])
_CHOOSING = frozenset([np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress, np.setdiff1d, np.intersect1d, np.union1d])


def is_varied(refs):
    """Whether one of these Refs is ``varied``, or has one in it."""
    return any(r.kind == "varied" for ref in refs for r in below(ref, lambda found: False))


def settle(refs):
    """From here on these arrays, and those in these containers, have one length."""
    for ref in refs:
        for r in below(ref, lambda found: False):
            if r.kind == "varied":
                r.kind = "array"


def bears(fn, args, kw):
    """Whether a function takes arrays of any length, and what it gives has a length of its own or takes theirs."""
    if isinstance(fn, operator.methodcaller):
        name, given, named = called_with(fn)
        return name in SUCH_METHODS and named.keys() <= _OPTIONS
    if isinstance(fn, functools.partial) and fn.func is _fits:
        return True
    if isinstance(fn, np.ufunc) or fn in OPERATORS or fn is operator.getitem or fn is with_elements or fn in CHANGES.values() or is_changer(fn):
        return not kw
    return fn in _SUCH and len(args) <= 2 and kw.keys() <= _OPTIONS or fn in _JOINING and not kw


def keeps_length(fn):
    """Whether a function gives an array like its first operand."""
    return fn is with_elements or fn in CHANGES.values() or is_changer(fn)


def chooses_some(fn, args):
    """Whether elements of an array say how many there are in what a function gives."""
    if all(map(rests_on_constants, args)):
        return False
    if fn is operator.getitem:
        key = args[1]
        return any(isinstance(r.value, np.ndarray) and r.value.dtype == bool for r in (key.value if key.kind == "mirror" else [key]))
    if isinstance(fn, operator.methodcaller):
        return called_with(fn)[0] == "nonzero"
    return fn is np.where and len(args) == 1 or any(fn is known for known in _CHOOSING)


def fitting(shape):
    """A function that raises if values do not fit where a key says in an array of a shape."""
    return functools.partial(_fits, np.broadcast_to(False, shape))


def _fits(a, key, *values):
    chosen = a[key].shape
    return all(np.broadcast_to(value, chosen).shape == chosen for value in values)


def any_length(fn):
    """``fn`` of arrays of any length: of none, NumPy warns of some functions."""
    if isinstance(fn, operator.methodcaller) and called_with(fn)[0] == "mean" or any(fn is known for known in _MEANS):
        return functools.partial(_of_some, fn)
    return fn


def _of_some(fn, a, *args, **kw):
    if not np.size(a):
        raise FloatingPointError("NumPy warns of an array without elements")
    return fn(a, *args, **kw)
