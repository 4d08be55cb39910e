"""Functions of NumPy's that call ``warnings.warn``, which no errstate turns off: the observer and plans call them only where they do not."""
import functools
import operator

import numpy as np

from hybridnn.trace.changed_copies import is_changer, with_elements
from hybridnn.trace.numpy_functions import called_with
from hybridnn.trace.refs import Doubt

__all__ = ["without_warnings"]

_OF_NAN = {id(fn): fn for fn in (np.nanargmax, np.nanargmin, np.nanmax, np.nanmean, np.nanmin, np.nanstd, np.nanvar)}
_OF_FREEDOM = frozenset(map(id, (np.std, np.var, np.nanstd, np.nanvar)))
_OF_PAIRS = frozenset(map(id, (np.cov, np.corrcoef)))


def without_warnings(fn, args, kw):
    """``fn``, or what does the same but raises a ``FloatingPointError`` where ``fn`` might warn; a ``Doubt`` if it might warn of these arguments, whose shapes
    are the same on every call."""
    if fn is np.cross and any(np.shape(a)[-1:] == (2,) for a in args):
        raise Doubt("NumPy warns of vectors with two elements")
    if _makes_real(fn, args, kw):
        raise Doubt("NumPy warns of complex numbers that become real")
    if id(fn) in _OF_PAIRS and (len(args) > 1 or kw or min(np.shape(args[0]), default=1) < 2) or not _is_free(fn, args, kw):
        raise Doubt("NumPy may warn of the degrees of freedom")
    if id(fn) not in _OF_NAN:
        return fn
    if any(map(_has_nan, args)):
        raise Doubt("NumPy may warn of NaN")
    return _checked(id(fn))


def _makes_real(fn, args, kw):
    """Whether complex numbers are to become real ones, which tells of their imaginary parts."""
    if not any(map(_is_complex, (*args, *kw.values()))):
        return False
    if fn is with_elements or is_changer(fn):
        return not _is_complex(args[0])
    if isinstance(fn, type) and issubclass(fn, (int, float, np.generic)):
        return not issubclass(fn, np.complexfloating)
    _, more, named = called_with(fn) if isinstance(fn, operator.methodcaller) else ("", (), {})
    asked = [d for d in map(_dtype, (*args, *more, *kw.values(), *named.values())) if d is not None]
    return getattr(fn, "__module__", "") == "math" or any([d.kind != "c" for d in asked])


def _is_complex(a):
    """Whether an array or a number is complex, or one of those in a list."""
    return any(map(_is_complex, a)) if isinstance(a, list | tuple) else isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "c"


def _dtype(a):
    """The dtype that an argument names; None if it is another argument."""
    try:
        return np.dtype(a) if isinstance(a, type | np.dtype | str) else None
    except TypeError:
        return None


def _is_free(fn, args, kw):
    """Whether a variance is taken of more elements than ``ddof``."""
    if isinstance(fn, operator.methodcaller):
        name, given, kw = called_with(fn)
        args = (*args, *given)
        if name not in ("std", "var"):
            return True
    elif id(fn) not in _OF_FREEDOM:
        return True
    freedom, axis = kw.get("ddof", args[4] if len(args) > 4 else 0), kw.get("axis", args[1] if len(args) > 1 else None)
    shape = np.shape(args[0])
    return not freedom or freedom < np.prod(shape if axis is None else [shape[k] for k in np.atleast_1d(axis)])


def _has_nan(a):
    a = np.asarray(a)
    return a.dtype.kind == "f" and bool(np.isnan(a).any())


@functools.cache
def _checked(number):
    """A function that looks for NaN first."""
    fn = _OF_NAN[number]

    def checked(*args, **kw):
        if any(map(_has_nan, args)):
            raise FloatingPointError("NumPy may warn of NaN")
        return fn(*args, **kw)
    return checked
