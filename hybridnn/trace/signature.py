"""The exact signature of a call: structure, types and specs of the arguments, and the configuration that steers recording.

Values are not part of it. A replay runs the user's Python, which sees them, and the tree of events branches where they matter.
"""
import numpy as np

from hybridnn.backend import cupy
from hybridnn.config import config
from hybridnn.core.variable import Variable
from hybridnn.trace.refs import IMMUTABLE_TYPE

__all__ = ["signature"]

STEERING = ("enable_backprop", "train", "dtype")
MAX_ITEMS = 256
MAX_DEPTH = 4


def signature(args, kwargs):
    """A hashable key; equal for calls that may share recordings."""
    key = tuple([_describe(x, 0) for x in args])
    if kwargs:
        key += tuple([(name, _describe(x, 0)) for name, x in kwargs.items()])
    return key, config._several(STEERING)


def _describe(x, depth):
    kind = type(x)
    if issubclass(kind, Variable):       # isinstance() may run the program's code
        a = x._array if x._array is not None or not x.is_initialized else x
        if cupy is not None and isinstance(a, cupy.ndarray):
            return Variable, a.shape, a.dtype, x._requires_grad, a.device
        return (Variable, None, None, x._requires_grad) if a is None else (Variable, a.shape, a.dtype, x._requires_grad)
    if kind is np.ndarray:
        return kind, x.shape, x.dtype
    if depth < MAX_DEPTH:
        if kind in (list, tuple) and len(x) <= MAX_ITEMS:
            return kind, tuple([_describe(i, depth + 1) for i in x])
        if kind is dict and len(x) <= MAX_ITEMS:
            return kind, tuple([(type(k), k if type(k) is str else _key(k), _describe(v, depth + 1)) for k, v in x.items()])
    return kind


def _key(k):
    """A key of a dict, or None instead of an object of a class of the user's, which may compare by code of its own."""
    if type(k) is tuple:
        return tuple(map(_key, k))
    return k if type(k).__flags__ & IMMUTABLE_TYPE else None
