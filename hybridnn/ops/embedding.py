"""Rows of a table by number, the gradient into the table, and a comparison with the class number that kernels can fuse."""

import numpy as np

from hybridnn.core.arithmetic import mul, not_equal, where
from hybridnn.core.indexing import put, take
from hybridnn.core.op import operation
from hybridnn.core.shapes import reshape
from hybridnn.ops.expect import class_labels

__all__ = ["embed", "embed_grad", "iota_equal"]


def _iota_samples(rng, dtype):
    return [((np.array([1, 0, 3]),), {"depth": 3}), ((np.array([[1, 0], [2, 0]]),), {"depth": 3, "axis": 1})]


@operation(kind="elementwise_iota", samples=_iota_samples)
def iota_equal(xp, t, *, depth, axis=-1):
    """``y[..., i, ...] = (t[...] == i)`` for i below ``depth`` along a new ``axis``, as bool."""
    y = xp.expand_dims(t, axis)
    return y == xp.arange(depth, dtype=t.dtype).reshape(-1, *[1] * (y.ndim - 1 - axis % y.ndim))


def _rows(t, ignore_label):
    """The row numbers with 0 in place of the ignored ones, and the mask of the others as a column."""
    mask = not_equal(t, ignore_label)
    return where(mask, t, 0), reshape(mask, shape=(*t.shape, 1))


def _embed_decompose(t, W, *, ignore_label):
    if ignore_label is None:
        return take(W, t, pattern=(("array", 0),))
    rows, mask = _rows(t, ignore_label)
    return where(mask, take(W, rows, pattern=(("array", 0),)), 0)


_HINT = "an id is the number of a row of W: EmbedID(in_size, out_size) takes those below in_size"


def _embed_samples(rng, dtype):
    table = rng.normal(size=(4, 3)).astype(dtype)
    return [((np.array([1, 3, 1]), table), {"ignore_label": None}), ((np.array([[1, -1], [0, 2]]), table), {"ignore_label": -1})]


def _check_rows(arrays, attrs):
    t, W = arrays
    class_labels(np, t, W.shape[0], attrs["ignore_label"], "embed_id", "id", _HINT)


@operation(kind="gather", samples=_embed_samples, decompose=_embed_decompose, check=_check_rows)
def embed(xp, t, W, *, ignore_label):
    """Row ``t`` of the table ``W`` for every number in ``t``; zeros where it is ``ignore_label`` (None: nothing is ignored)."""
    safe, valid = class_labels(xp, t, W.shape[0], ignore_label, "embed_id", "id", _HINT)
    return W[safe] if valid is None else xp.where(valid[..., None], W[safe], W.dtype.type(0))


@embed.vjp_of("W")
def _(g, t, shapes, ignore_label):
    return embed_grad(t, g, rows=shapes[1][0], ignore_label=ignore_label)


def _grad_decompose(t, gy, *, rows, ignore_label):
    if ignore_label is not None:
        t, mask = _rows(t, ignore_label)
        gy = mul(mask, gy)
    return put(gy, t, shape=(rows, gy.shape[-1]), pattern=(("array", 0),))


def _grad_samples(rng, dtype):
    return [((np.array([[1, -1], [0, 1]]), rng.normal(size=(2, 2, 3)).astype(dtype)), {"rows": 4, "ignore_label": -1})]


@operation(kind="scatter", samples=_grad_samples, decompose=_grad_decompose)
def embed_grad(xp, t, gy, *, rows, ignore_label):
    """The adjoint of ``embed`` in the table: rows of ``gy`` added where they came from."""
    columns = gy.shape[-1]
    t, gy = t.reshape(-1), gy.reshape(t.size, columns)
    if ignore_label is not None:
        keep = t != ignore_label
        t, gy = t[keep], gy[keep]
    y = xp.zeros(rows * columns, gy.dtype)
    # Over flat indices ufunc.at takes a path that is several times faster than over rows.
    xp.add.at(y, (t[:, None] * columns + xp.arange(columns)).reshape(-1), gy.reshape(-1))
    return y.reshape(rows, columns)


@embed_grad.vjp_of("gy")
def _(g, t, ignore_label):
    return embed(t, g, ignore_label=ignore_label)
