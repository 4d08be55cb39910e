"""Indexing, basic (views) and advanced, and the adjoints of both."""
import operator

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.op import operation

__all__ = ["decode_index", "decode_pattern", "encode_index", "get_item", "is_basic", "opened", "put", "put_item", "take", "told_by_numpy"]


def is_basic(i):
    """Whether an index (or a part of one) is an int, a slice, None or Ellipsis, so that the result is a view."""
    return i is None or i is Ellipsis or isinstance(i, (slice, int, np.integer)) and not isinstance(i, (bool, np.bool_))


def encode_index(index):
    """A basic index (ints, slices, None, Ellipsis) as a hashable tuple."""
    index = index if isinstance(index, tuple) else (index,)
    return tuple(("slice", _opt(i.start), _opt(i.stop), _opt(i.step)) if isinstance(i, slice) else
                 i if i is None or i is Ellipsis else operator.index(i) for i in index)


def _opt(i):
    return None if i is None else operator.index(i)


def decode_index(index):
    """The index that ``encode_index`` encoded."""
    return tuple(slice(*i[1:]) if isinstance(i, tuple) else i for i in index)


@operation(kind="view", samples=lambda rng, dtype: [((rng.normal(size=(4, 5)).astype(dtype),), {"index": (("slice", 0, 4, 2), 1)})])
def get_item(xp, x, *, index):
    """Basic indexing: a view. ``index`` is encoded by ``encode_index``."""
    return x[decode_index(index)]


@get_item.vjp
def _(g, shapes, index):
    return put_item(g, shape=shapes[0], index=index)


@operation(kind="pad", samples=lambda rng, dtype: [((rng.normal(size=(2,)).astype(dtype),), {"shape": (4, 5), "index": (("slice", 0, 4, 2), 1)})])
def put_item(xp, gy, *, shape, index):
    """Zeros of ``shape`` with ``gy`` at ``index``: the adjoint of ``get_item``."""
    y = xp.zeros(shape, gy.dtype)
    y[decode_index(index)] = gy
    return y


@put_item.vjp
def _(g, index):
    return get_item(g, index=index)


def _check_indices(arrays, attrs):
    """Raises ``IndexError`` as the indexing itself; on an array that takes no memory."""
    x, *indices = arrays
    np.broadcast_to(np.zeros((), bool), x.shape)[_fill(np, attrs["pattern"], indices)]


@operation(samples=lambda rng, dtype: [((rng.normal(size=(4, 5)).astype(dtype), np.array([1, 1, 3])), {"pattern": (("array", 0),)})], kind="gather",
           check=_check_indices)
def take(xp, x, *indices, pattern):
    """Advanced indexing: ``pattern`` is an encoded index whose ("array", k) entries stand for operand k of ``indices``."""
    return x[_fill(xp, pattern, indices)]


@take.vjp_of("x")
def _(g, xs, shapes, pattern):
    return put(g, *[getattr(i, "array", i) for i in xs[1:]], shape=shapes[0], pattern=pattern)


@operation(kind="scatter", samples=lambda rng, dtype: [((rng.normal(size=(3, 5)).astype(dtype), np.array([1, 1, 3])),
                                                        {"shape": (4, 5), "pattern": (("array", 0),)})])
def put(xp, gy, *indices, shape, pattern):
    """Zeros of ``shape`` to which ``gy`` is added at the indices, repeated ones too: the adjoint of ``take``."""
    y, at = xp.zeros(shape, gy.dtype), _fill(xp, pattern, indices)
    if not any([getattr(i, "ndim", 0) for i in indices]):      # one place
        y[at] = gy
    else:
        xp.add.at(y, at, gy)
    return y


@put.vjp_of("gy")
def _(g, xs, pattern):
    return take(g, *[getattr(i, "array", i) for i in xs[1:]], pattern=pattern)


def _fill(xp, pattern, indices):
    return tuple([_operand(xp, indices[i[1]]) if isinstance(i, tuple) and i[0] == "array" else i for i in decode_pattern(pattern)])


def _operand(xp, i):
    """An index as one by which NumPy gives no view."""
    return xp.asarray(i) if isinstance(i, np.integer) else i


def decode_pattern(pattern):
    return [slice(*i[1:]) if isinstance(i, tuple) and i[0] == "slice" else i for i in pattern]


def _get_item(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    if all(map(is_basic, parts)):
        if told_by_numpy(index):
            return _at_places(x, parts)
        return apply(get_item, (x,), {"index": encode_index(parts)})
    if len(parts) == 1 and isinstance(parts[0], list):
        index = _index_array(parts[0])
        parts = (index,)
    if len(parts) == 1 and isinstance(index, np.ndarray) and index.dtype == bool and index.ndim and index.shape == x.shape[:index.ndim]:
        parts = np.nonzero(index)         # what NumPy makes of a mask; the shape of the result then follows from those of the operands
    arrays, pattern = [], []
    for p in parts:
        if is_basic(p):
            pattern += encode_index((p,))
        else:
            pattern.append(("array", len(arrays)))
            arrays.append(_index_array(p) if isinstance(p, (list, bool, tuple, range, np.generic)) else p)
    return apply(take, (x, *arrays), {"pattern": tuple(pattern)})


def told_by_numpy(index):
    """Whether a basic index has ints of NumPy's: these are data (labels, actions, tokens), and so operands."""
    parts = index if type(index) is tuple else (index,)
    return any([isinstance(p, np.integer) for p in parts]) and all(map(is_basic, parts))


def _at_places(x, parts):
    """What lies where ints of NumPy's tell; no view."""
    places = [k for k, p in enumerate(parts) if isinstance(p, np.integer)]
    return apply(take, (x, *[parts[k] for k in places]), {"pattern": opened(parts, places)})


def opened(index, places):
    """The pattern of a basic index whose parts at these places are operands, in their order."""
    numbers = {k: n for n, k in enumerate(places)}
    return tuple([("array", numbers[k]) if k in numbers else encode_index((p,))[0] for k, p in enumerate(index)])


def _index_array(p):
    index = np.asarray(p)
    return index if index.size else index.astype(np.intp)       # an empty list has no dtype of its own


get_item.index = _get_item
