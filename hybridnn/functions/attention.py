"""Attention, and the rotary embedding of positions."""

import numpy as np

from hybridnn.backend import beside
from hybridnn.core import apply, as_variable
from hybridnn.core.arithmetic import cast, greater_equal, where
from hybridnn.core.fixed import fixed_array
from hybridnn.core.indexing import get_item
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape
from hybridnn.functions.array import concat
from hybridnn.functions.noise import dropout
from hybridnn.ops import math as ops
from hybridnn.ops.expect import expect, expect_float
from hybridnn.ops.softmax import softmax

__all__ = ["rotary_embedding", "scaled_dot_product_attention"]


def scaled_dot_product_attention(query, key, value, mask=None, causal=False, scale=None, dropout_ratio=0.0):
    """``softmax(scale * query @ key.T) @ value`` (Vaswani et al. 2017).

    Args:
        query: (..., queries, units).
        key: (..., keys, units).
        value: (..., keys, out).
        mask: broadcast to (..., queries, keys): bool, True where a query may see a key, or floats that are added to the scores;
            None: all is seen.
        causal: let a query see no key behind its own place, the last query standing at the last key.
        scale: factor of the scores; None: 1 / sqrt(units).
        dropout_ratio: share of the weights that is dropped while ``config.train``.

    Returns: (..., queries, out); zeros for a query that a bool mask lets see nothing.
    """
    name = "scaled_dot_product_attention"
    query, key, value = as_variable(query), as_variable(key), as_variable(value)
    expect_float(name, query=query, key=key, value=value)
    ok = (
        min(map(len, (query.shape, key.shape, value.shape))) >= 2
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
    )
    expect(ok, name, "query (..., queries, units), key (..., keys, units) and value (..., keys, out)", query=query, key=key, value=value)
    scores = apply(matmul, (query, key), {"transa": False, "transb": True}) * (
        query.shape[-1] ** -0.5 if scale is None else scale
    )
    mask, bias = (mask, None) if mask is None or mask.dtype.kind == "b" else (None, mask)
    scores = scores if bias is None else scores + bias
    visible = _visible(mask, causal, query, key)
    if visible is not None:
        scores = apply(where, (visible, scores, float(np.finfo(scores.dtype).min)))
    weights = apply(softmax, (scores,), {"axis": (len(scores.shape) - 1,)})
    if mask is not None:
        weights = apply(where, (visible, weights, 0))
    if dropout_ratio:
        weights = dropout(weights, dropout_ratio)
    return apply(matmul, (weights, value), {"transa": False, "transb": False})


def _visible(mask, causal, query, key):
    if not causal:
        return mask
    queries, keys = query.shape[-2], key.shape[-2]
    past = apply(greater_equal, [beside(a, query) for a in (fixed_array(_column, keys - queries, keys), fixed_array(np.arange, keys))])
    return past if mask is None else apply(where, (past, mask, False))


def _column(start, stop):
    return np.arange(start, stop)[:, None]


def rotary_embedding(x, positions=None, base=10000.0):
    """Pairs of units turned by angles that grow with the position, so that products of queries and keys depend on distances (Su
    et al. 2021).

    Unit i of the first half and unit i of the second are turned by ``position * base ** (-2 i / units)``.

    Args:
        x: (..., length, units), units even.
        positions: (length,) numbers, or with more axes (..., length); None: 0, 1, 2, ...
    """
    expect_float("rotary_embedding", x=x)
    expect(
        len(x.shape) >= 2 and x.shape[-1] % 2 == 0, "rotary_embedding", "x (..., length, units) with an even number of units", x=x
    )
    x, half = as_variable(x), x.shape[-1] // 2
    if positions is None:
        cos, sin = (beside(fixed_array(_turns, fn, x.shape[-2], half, base, x.dtype), x) for fn in (np.cos, np.sin))
    else:
        expect(positions.shape[-1:] == x.shape[-2:-1], "rotary_embedding", "one position per place", x=x, positions=positions)
        angles = reshape.to(as_variable(positions), (*positions.shape, 1)) * beside(fixed_array(_speeds, half, base), x)
        cos, sin = (apply(cast, (apply(fn, (angles,)),), {"dtype": x.dtype.str}) for fn in (ops.cos, ops.sin))
    first, second = get_item.index(x, (Ellipsis, slice(None, half))), get_item.index(x, (Ellipsis, slice(half, None)))
    return concat((first * cos - second * sin, second * cos + first * sin), axis=len(x.shape) - 1)


def _turns(fn, length, half, base, dtype):
    """``fn`` (cos or sin) of the angles at the first so many positions."""
    return fn(np.arange(length)[:, None] * _speeds(half, base)).astype(dtype)


def _speeds(half, base):
    return base ** (-np.arange(half) / max(half, 1))
