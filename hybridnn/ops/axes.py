"""Checks and normal forms of axes, shapes and scalar operands, with errors that name the function."""
import operator

import numpy as np

from hybridnn.backend import beside
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.variable import Variable, as_array, as_variable
from hybridnn.errors import InvalidType
from hybridnn.spec import spec_of

__all__ = ["axes_of", "axis_of", "check_float", "in_dtype", "of_shape", "scalar_for", "slice_along"]


def axis_of(name, axis, ndim):
    """``axis`` as an int in [0, ndim)."""
    try:
        i = operator.index(axis)
    except TypeError:
        raise InvalidType(name, "axis as an int (or, where several are allowed, a tuple of ints)", *_instead_of_axis(axis)) from None
    if not -ndim <= i < ndim:
        raise InvalidType(name, f"{-ndim} <= axis < {ndim} (the array has {ndim} axes)", f"axis={axis}")
    return i + ndim if i < 0 else i


def _instead_of_axis(axis):
    """What came, and what it may have been meant for."""
    if hasattr(axis, "shape"):
        return str(spec_of(axis)), "several arrays are given as one list: (x, y)"
    return repr(axis), ""


def axes_of(name, axis, ndim):
    """``axis`` (None, an int, a tuple of ints) as None or a sorted tuple of distinct ints in [0, ndim)."""
    if axis is None:
        return None
    axes = tuple(sorted(axis_of(name, a, ndim) for a in (axis if isinstance(axis, tuple) else (axis,))))
    if len(set(axes)) != len(axes):
        raise InvalidType(name, "distinct axes", f"duplicate value in axis={axis}")
    return axes


def of_shape(x):
    """``x`` as something with ``shape``, ``dtype`` and ``ndim``: Python numbers and lists become Variables."""
    return x if isinstance(x, Variable) or hasattr(x, "shape") else as_variable(x)


def in_dtype(x, dtype):
    """``x`` in a dtype; itself if it has that one."""
    return x if x.dtype == dtype else apply(cast, (x,), {"dtype": np.dtype(dtype).str})


def scalar_for(x, value):
    """``value``, a setting of a function of ``x``, such that it leaves the dtype of ``x`` as a Python number does."""
    if isinstance(value, np.generic | np.ndarray) and of_shape(x).dtype.kind == "f":
        return beside(as_array(apply(cast, (value,), {"dtype": of_shape(x).dtype.str})), x)
    return value


def slice_along(axis, start, stop, step=None):
    """The encoded index (core.indexing.encode_index) that takes ``start:stop:step`` along one axis."""
    return (("slice", None, None, None),) * axis + (("slice", start, stop, step),)


def check_float(name, *xs):
    """Raise InvalidType unless every array holds floating-point numbers."""
    for x in xs:
        if x.dtype.kind != "f":
            raise InvalidType(name, "floating-point arrays", f"dtype {x.dtype}", "F.cast(x, 'float32') converts")
