"""The operations on shapes that Variables and backward themselves rest on: reshape, transpose, broadcasting and its adjoint, sums."""
import operator
from math import prod

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.op import operation
from hybridnn.errors import InvalidType

__all__ = ["broadcast_to", "keepdims_shape", "reshape", "sum_", "sum_to", "transpose"]


def _sample(size, /, **attrs):
    return lambda rng, dtype: [((rng.normal(size=size).astype(dtype),), attrs)]


@operation(kind="view", samples=_sample((2, 6), shape=(3, 4)))
def reshape(xp, x, *, shape):
    """The elements in row-major order under another shape."""
    return x.reshape(shape)


@reshape.vjp
def _(g, shapes):
    return reshape(g, shape=shapes[0])


def _reshape_to(x, shape):
    shape = (shape,) if isinstance(shape, int) else tuple(map(operator.index, shape))
    if -1 in shape:
        rest = -prod(shape)
        if shape.count(-1) > 1 or rest <= 0 or x.size % rest:
            raise InvalidType("reshape", "a shape with the same number of elements", f"x.shape={x.shape}, shape={shape}")
        shape = tuple(x.size // rest if n == -1 else n for n in shape)
    if prod(shape) != x.size:
        raise InvalidType("reshape", "a shape with the same number of elements", f"x.shape={x.shape}, shape={shape}")
    return apply(reshape, (x,), {"shape": shape})


reshape.to = _reshape_to


@operation(kind="view", samples=_sample((2, 3, 4), axes=(2, 0, 1)))
def transpose(xp, x, *, axes):
    """Permuted axes; ``axes`` is a full permutation."""
    return x.transpose(axes)


@transpose.vjp
def _(g, axes):
    return transpose(g, axes=tuple(int(i) for i in np.argsort(axes)))


def _transpose_by(x, axes=None):
    ndim = len(x.shape)
    if axes is None:
        order = tuple(range(ndim))[::-1]
    else:
        given = [operator.index(a) for a in axes] if hasattr(axes, "__iter__") else []
        order = tuple([a + ndim if a < 0 else a for a in given])
        if sorted(order) != list(range(ndim)) or not hasattr(axes, "__iter__"):
            raise InvalidType("transpose", f"a permutation of the {ndim} axes", str(axes))
    return apply(transpose, (x,), {"axes": order})


transpose.by = _transpose_by


@operation(kind="view", samples=_sample((3, 1), shape=(2, 3, 4)))
def broadcast_to(xp, x, *, shape):
    """x repeated along new and one-element axes, without copying."""
    return xp.broadcast_to(x, shape)


@broadcast_to.vjp
def _(g, shapes):
    return sum_to(g, shape=shapes[0])


@operation(kind="reduction", samples=_sample((2, 3, 4), shape=(3, 1)))
def sum_to(xp, x, *, shape):
    """The adjoint of ``broadcast_to``: sums over the axes that broadcasting ``shape`` to ``x.shape`` adds or repeats."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    # No view of a temporary where it can be helped: a gradient that owns its memory can be changed in place.
    if len(axes) == lead:
        return x.sum(axis=axes) if lead else x.reshape(shape)
    y = x.sum(axis=axes, keepdims=True)
    return y.reshape(shape) if lead else y


@sum_to.vjp
def _(g, shapes):
    return broadcast_to(g, shape=shapes[0])


@operation(name="sum", kind="reduction", samples=_sample((2, 3, 4), axis=(0, 2), keepdims=False))
def sum_(xp, x, *, axis=None, keepdims=False):
    """Sum over axes (a tuple; None: all)."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims) if type(x) is np.ndarray else x.sum(axis=axis, keepdims=keepdims)


def _sum_over(x, axis=None, keepdims=False):
    return apply(sum_, (x,), {"axis": axis, "keepdims": keepdims})


sum_.over = _sum_over
SMALL = 1 << 14       # elements up to which filling an array is faster than a view that repeats one


@sum_.vjp
def _(g, shapes, axis, keepdims):
    if type(g) is np.ndarray and prod(shapes[0]) <= SMALL:
        y = np.empty(shapes[0], g.dtype)
        y[...] = g if keepdims or axis is None else g.reshape(keepdims_shape(shapes[0], axis))
        return y
    return broadcast_to(g if keepdims else reshape(g, shape=keepdims_shape(shapes[0], axis)), shape=shapes[0])


def keepdims_shape(shape, axis):
    """``shape`` with 1 in place of the reduced axes (None: all)."""
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))
