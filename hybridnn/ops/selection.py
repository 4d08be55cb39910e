"""Elements by their numbers: one of each row, an order, the largest, places along an axis."""
import numpy as np

from hybridnn.core.arithmetic import where
from hybridnn.core.indexing import put, take
from hybridnn.core.op import operation
from hybridnn.core.shapes import reshape
from hybridnn.errors import InvalidType
from hybridnn.ops.embedding import iota_equal
from hybridnn.ops.reduction import amax


def _rows(xp, t):
    return xp.arange(len(t))


def _check_columns(arrays, attrs):
    x, t = arrays
    if t.size and (t.min() < 0 or t.max() >= x.shape[1]):
        raise InvalidType("select_item", f"0 <= t < {x.shape[1]}", f"t from {t.min()} to {t.max()}")


def _select_decompose(x, t):
    """The largest of the element that is meant and what is below all others: that keeps the signs of zeros."""
    kind = x.dtype.kind
    lowest = -np.inf if kind == "f" else False if kind == "b" else int(np.iinfo(x.dtype).min)
    return amax(where(iota_equal(t, depth=x.shape[1]), x, lowest), axis=(1,), keepdims=False)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(3, 4)).astype(dtype), np.array([2, 0, 2], "i")), {})], decompose=_select_decompose,
           check=_check_columns)
def select_item(xp, x, t):
    """x[i, t[i]] for every row i."""
    if xp is np:
        _check_columns((x, t), {})
    return x[_rows(xp, t), t]


@select_item.vjp_of("x")
def _(g, t, shapes):
    return put_selected(g, t, shape=shapes[0])


def _put_decompose(g, t, *, shape):
    return where(iota_equal(t, depth=shape[1]), reshape(g, shape=(shape[0], 1)), 0)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(3,)).astype(dtype), np.array([2, 0, 2], "i")), {"shape": (3, 4)})], decompose=_put_decompose)
def put_selected(xp, g, t, *, shape):
    """Zeros of ``shape`` with g[i] at (i, t[i]): the adjoint of ``select_item``."""
    y = xp.zeros(shape, g.dtype)
    y[_rows(xp, t), t] = g
    return y


@put_selected.vjp_of("g")
def _(g, t):
    return select_item(g, t)


def _permutation_samples(rng, dtype):
    for inv in (False, True):
        yield (rng.normal(size=(2, 3)).astype(dtype), np.array([2, 0, 1])), {"axis": 1, "inv": inv}


@operation(samples=_permutation_samples, like_first=True)
def permutate(xp, x, indices, *, axis, inv=False):
    """Slices along an axis in the order of ``indices``, which must be a permutation, or of its inverse."""
    order = xp.argsort(indices)
    if not (indices[order] == xp.arange(len(indices))).all():
        raise InvalidType("permutate", f"a permutation of 0 to {len(indices) - 1}", str(indices))
    return x.take(order if inv else indices, axis)


@permutate.vjp_of("x")
def _(g, indices, axis, inv):
    return permutate(g, indices, axis=axis, inv=not inv)


def _distinct(rng, dtype):
    yield (rng.permutation(24).reshape(2, 3, 4).astype(dtype),), {"k": 2, "axis": 2, "largest": True}
    yield (rng.permutation(24).reshape(2, 3, 4).astype(dtype),), {"k": 2, "axis": 1, "largest": False}


@operation(samples=_distinct, takes_all=True)
def top_indices(xp, x, *, k, axis, largest):
    """Indices (int64) of the k largest (smallest) elements along an axis, best first; no gradient."""
    order = xp.argsort(-x if largest else x, axis=axis, kind="stable")
    return order[(slice(None),) * axis + (slice(0, k),)]


_SOME = np.array([[2, 0, 0, 1], [1, 1, 0, 2]])


def _grid(sizes, indices, axis):
    """The index arrays that go with ``indices`` along an axis."""
    n = len(sizes)
    return [indices if a == axis % n else np.arange(k).reshape((-1,) + (1,) * (n - 1 - a)) for a, k in enumerate(sizes)]


def _every(n):
    return tuple([("array", k) for k in range(n)])


def _take_along_parts(x, indices, *, axis):
    return take(x, *_grid(x.shape, indices, axis), pattern=_every(x.ndim))


def _put_along_parts(g, indices, *, shape, axis):
    return put(g, *_grid(g.shape, indices, axis), shape=tuple(shape), pattern=_every(len(shape)))


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), _SOME), {"axis": 1})], decompose=_take_along_parts)
def take_along(xp, x, indices, *, axis):
    """Elements at ``indices`` along an axis; the other axes broadcast."""
    return xp.take_along_axis(x, indices, axis)


@take_along.vjp_of("x")
def _(g, indices, shapes, axis):
    return put_along(g, indices, shape=shapes[0], axis=axis)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 4)).astype(dtype), _SOME), {"shape": (2, 3), "axis": 1})],
           decompose=_put_along_parts)
def put_along(xp, g, indices, *, shape, axis):
    """Zeros of ``shape`` to which g is added at ``indices`` along an axis: the adjoint of ``take_along``."""
    y = xp.zeros(shape, g.dtype)
    grid = list(xp.ogrid[tuple(slice(n) for n in g.shape)])
    grid[axis] = indices
    xp.add.at(y, tuple(grid), g)
    return y


@put_along.vjp_of("g")
def _(g, indices, axis):
    return take_along(g, indices, axis=axis)
