"""Ints that may be others on every call: in what NumPy computes, in arrays that it makes, as limits of draws."""
import operator

import numpy as np

from hybridnn.trace.computed import Computed, leaves_of, rests_on_constants, sources_of
from hybridnn.trace.refs import Ref

__all__ = ["MOST", "is_limit", "is_open", "is_place", "is_put_into_array", "is_small", "may_be_any", "varies"]

_WITH_INTS = frozenset([operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, np.add, np.subtract, np.multiply, np.divide, np.power,
                        np.maximum, np.minimum])
_WITH_INTS_OF_64_BITS = frozenset([operator.add, operator.sub, operator.mul, np.add, np.subtract, np.multiply])
_OF_FLOATS = frozenset([getattr(np, name) for name in (
    "arctan", "arctan2", "cos", "cosh", "exp", "exp2", "expm1", "float32", "float64", "interp", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan",
    "tanh", "true_divide")])       # give floats of the same kind for all small ints
_MAKING = {np.array: (0, 1), np.asarray: (0, 1), np.full: (1, 2)}      # where they take what an array is made of, and its dtype
_COMPARING = frozenset([operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge, np.less, np.less_equal, np.equal, np.not_equal,
                        np.greater, np.greater_equal])
LIMITS = {"choice": 1, "integers": 2, "randint": 2, "randrange": 2}      # how many arguments of a draw of ints may be limits
MOST = 1 << 53        # ints up to here are floats too


def is_small(value):
    """Whether arithmetic on a Python number cannot leave the numbers that floats hold exactly."""
    return type(value) is float or abs(value) < MOST


def is_open(ref):
    """Whether an int may be any on every call: one that is drawn, or found in what the call computes."""
    return ref.kind == "number" and any(isinstance(r.source, Computed) and r.source.drawn or r.kind == "fresh" for r in leaves_of(ref))


def varies(ref):
    """Whether a Ref is a small int from outside, or is computed of such, before all else."""
    return ref.kind in ("arg", "number") and type(ref.value) is int and is_small(ref.value) and not sources_of(ref) and not is_open(ref)


def is_place(ref):
    """Whether a Ref is a small int, of Python's or NumPy's, that may be another one on every call, and is known before all else; it may be drawn."""
    whole = ref.kind in ("arg", "number") and type(ref.value) is int or ref.kind == "array" and isinstance(ref.value, np.integer)
    return whole and is_small(ref.value) and not sources_of(ref) and not (ref.kind == "array" and rests_on_constants(ref))


def may_be_any(observer, fn, ref, args):
    """Whether an int from outside need not be the same on every call: in comparisons, in arithmetic with floats and ints of 64 bits, and in functions that
    give floats, it decides values only, as long as it is small."""
    if ref.kind not in ("arg", "number") or type(ref.value) is not int or sources_of(ref) or not is_small(ref.value):
        return False
    dtypes = [a.value.dtype for a in args if isinstance(a.value, (np.ndarray, np.number))]
    fits = fn in _COMPARING or fn in _WITH_INTS and dtypes[0].kind == "f" or fn in _WITH_INTS_OF_64_BITS and dtypes[0] == np.int64 if dtypes else False
    if not fits and fn not in (_OF_FLOATS if not dtypes else (np.interp,)):
        return False
    observer.guard("bounded", ref, False)
    return True


def _parts(ref):
    """What lies in a list or tuple of Refs, and in those within; or the Ref itself."""
    return [part for r in ref.value for part in _parts(r)] if ref.kind == "mirror" and type(ref.value) in (list, tuple) else [ref]


def is_put_into_array(observer, fn, k, args, kw):
    """Whether an operand of NumPy's is an int, or a list of such, that an array is made of: it may be any that the array's dtype holds; or a bool, or a list of
    such."""
    position, at = _MAKING.get(fn, (None, None))
    parts = _parts(args[k])
    if position == k and parts and all(type(r.value) is bool and r.kind in ("arg", "static") for r in parts):
        for r in [r for r in parts if r.kind == "arg"]:
            observer.guard("typed", r.source, bool)
        return True
    if position != k or not any(map(varies, parts)) or not all(varies(r) or r.kind == "static" and type(r.value) is int for r in parts):
        return False
    dtype = args[at] if len(args) > at else kw.get("dtype", Ref("static", int))
    if dtype.kind != "static" or np.dtype(dtype.value).kind not in "fi":
        return False
    dtype = np.dtype(dtype.value)
    low, high = (-MOST, MOST) if dtype.kind == "f" or dtype.itemsize == 8 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    for r in filter(varies, parts):
        observer.guard("within", r, low, high)
    return True


def is_limit(observer, fn, k, args):
    """Whether an argument of a draw is a limit for ints, and any number above the other limit would do as well."""
    name, ref = getattr(fn, "__name__", ""), args[k]
    if k >= LIMITS.get(name, 0) or ref.kind not in ("arg", "number") or not varies(ref) or name != "choice" and k == 0 and len(args) > 1:
        return False
    low = args[0] if k else Ref("static", 0)
    if low.kind != "static" or type(low.value) is not int or ref.value <= low.value:
        return False
    if ref.kind == "arg":
        observer.guard("above", ref.source, low.value, 1 << 31)
    else:
        observer.guard("within", ref, low.value + 1, 1 << 31)
    return True
