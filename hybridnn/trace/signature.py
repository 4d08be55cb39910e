"""The exact signature of a call: structure, types and specs of the arguments, and the configuration that steers recording.

Values are not part of it. A replay runs the user's Python, which sees them, and the tree of events branches where they matter.
"""
from itertools import groupby

import numpy as np

from hybridnn.backend import cupy
from hybridnn.config import config
from hybridnn.core.variable import Variable
from hybridnn.trace.refs import IMMUTABLE_TYPE

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "described", "described_value", "signature"]

STEERING = ("enable_backprop", "train", "dtype")
MAX_ITEMS = 256
MAX_DEPTH = 4


def signature(args, kwargs, grown=frozenset()):
    """A hashable key; equal for calls that may share recordings. ``grown``: ids of lists and dicts that count as objects, not by their members."""
    key = tuple([_describe(x, 0, grown) for x in args])
    if kwargs:
        key += tuple([(name, _describe(x, 0, grown)) for name, x in kwargs.items()])
    return key, config._several(STEERING)


def described(key):
    """The arguments of a signature as users would write them: ``(float32[64, 8], Variable(float32[3]), train=bool)``."""
    given, _ = key
    return f"({', '.join([_text(d) if _is_argument(d) else f'{d[0]}={_text(d[1])}' for d in given])})"


def described_value(description, most=100):
    """One argument of a signature, as users would write it; no more than the beginning of a long one."""
    text = _text(description) if _is_argument(description) else _text(description[1])
    return text if len(text) <= most else f"{text[:most - 4]} ..."


def _is_argument(d):
    """Whether a part of a signature is an argument by position; by name, its name comes first."""
    return type(d) is not tuple or type(d[0]) is not str


def _text(d):
    if type(d) is not tuple:
        return d.__name__
    kind, *rest = d
    if kind is list:
        return f"[{_members(rest[0])}]"
    if kind is tuple:
        return f"({_members(rest[0])}{',' if len(rest[0]) == 1 else ''})"
    if kind is dict:
        return f"{{{', '.join([f'{k!r}: {_text(v)}' for _, k, v in rest[0]])}}}"
    spec = "" if rest[0] is None else f"{rest[1]}[{', '.join(map(str, rest[0]))}]"
    return spec if kind is np.ndarray else f"Variable({spec})" if rest[2] else f"Variable({spec}, requires_grad=False)"


def _members(descriptions):
    """The members of a list or tuple; such as are alike are said once."""
    groups = [(text, len([*same])) for text, same in groupby(map(_text, descriptions))]
    return ", ".join([text if n == 1 else f"{n} times {text}" for text, n in groups])


def _describe(x, depth, grown):
    kind = type(x)
    if issubclass(kind, Variable):       # isinstance() may run the program's code
        a = x._array if x._array is not None or not x.is_initialized else x
        if cupy is not None and isinstance(a, cupy.ndarray):
            return Variable, a.shape, a.dtype, x._requires_grad, a.device
        return (Variable, None, None, x._requires_grad) if a is None else (Variable, a.shape, a.dtype, x._requires_grad)
    if kind is np.ndarray:
        return kind, x.shape, x.dtype
    if depth < MAX_DEPTH and id(x) not in grown:
        if kind in (list, tuple) and len(x) <= MAX_ITEMS:
            return kind, tuple([_describe(i, depth + 1, grown) for i in x])
        if kind is dict and len(x) <= MAX_ITEMS:
            return kind, tuple([(type(k), k if type(k) is str else _key(k), _describe(v, depth + 1, grown)) for k, v in x.items()])
    return kind


def _key(k):
    """A key of a dict, or None instead of an object of a class of the user's, which may compare by code of its own."""
    if type(k) is tuple:
        return tuple(map(_key, k))
    return k if type(k).__flags__ & IMMUTABLE_TYPE else None
