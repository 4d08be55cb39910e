"""What the distributions share."""
import numpy as np

from hybridnn.backend import beside, get_dtype, to_cpu
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.random import draw
from hybridnn.core.variable import as_array, as_variable
from hybridnn.functions.array import where
from hybridnn.functions.math import log
from hybridnn.ops.probability import xlogx

__all__: list[str] = []


def _parameter(x):
    """``x`` as a Variable; a Python number in the configured dtype."""
    return as_variable(np.asarray(x, get_dtype(None)) if isinstance(x, (int, float)) else x)


def _point(x, like):
    """A sample as a Variable; whole numbers in the dtype of the Variable ``like``, so that they do not widen the result."""
    x = as_variable(x)
    return x if x.dtype.kind == "f" else apply(cast, (x,), {"dtype": like.dtype.str})


def _noise(like, name, *args):
    """Random numbers that depend on no array: ``numpy.random.<name>(*args)`` in the dtype and on the device of the Variable ``like``."""
    return apply(cast, (draw(name, *args, near=like),), {"dtype": like.dtype.str})


def _random(name, *parameters, size):
    """``numpy.random.<name>`` of the values of parameters, in the first one's dtype and on its device. No gradient flows to them.

    The values are looked at here, so this is a function of its own, which no trace skips, and not a ``draw``.
    """
    values = getattr(np.random, name)(*[to_cpu(as_array(p)) for p in parameters], size=size)
    return as_variable(beside(np.asarray(values, parameters[0].dtype), parameters[0]))


def _modified_xlogx(x):
    """x log(x), elementwise; 0 at 0, and so is the gradient there."""
    return apply(xlogx, (x,))


def _times_log(a, x):
    """a log(x), 0 where both are 0."""
    return a * log(where(x == 0, where(a == 0, 1., x), x))


def _times(count, logarithm):
    """A whole number times a logarithm that may be infinite: 0 where the number is."""
    return count * where(count == 0, 0., logarithm)
