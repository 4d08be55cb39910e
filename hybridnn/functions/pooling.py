"""Pooling, unpooling and regions of interest."""
from hybridnn.core import apply, as_variable
from hybridnn.errors import InvalidType
from hybridnn.ops.expect import describe, expect, expect_float, tuple_of
from hybridnn.ops.pooling import max_pooling, max_pooling_grad, sum_pooling, sum_pooling_grad
from hybridnn.ops.windows import conv_outsize, deconv_outsize

__all__ = ["max_pooling_1d", "max_pooling_2d", "max_pooling_3d", "max_pooling_nd"]


def _geometry(name, x, ksize, stride, pad, cover_all):
    """The attributes of a pooling op, checked."""
    expect_float(name, x=x)
    ndim = len(x.shape) - 2
    expect(ndim >= 1, name, "x (n, channels, ...) with at least one spatial axis", x=x)
    ksize = tuple_of(ksize, ndim, name, "ksize")
    stride = ksize if stride is None else tuple_of(stride, ndim, name, "stride")
    pad = tuple_of(pad, ndim, name, "pad")
    out = [conv_outsize(n, k, s, p, cover_all) for n, k, s, p in zip(x.shape[2:], ksize, stride, pad) if s > 0]
    expect(min(*ksize, *stride) > 0 and min(pad) >= 0 and min(out) > 0, name, "windows that fit into the padded image", x=x, ksize=ksize, stride=stride, pad=pad)
    return dict(ksize=ksize, stride=stride, pad=pad, cover_all=bool(cover_all))


def _check_axes(name, x, n):
    expect(len(x.shape) == n + 2, name, f"x with {n + 2} axes: (n, channels and {n} more)", x=x)


def max_pooling_nd(x, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
    """The maximum of every window.

    Args:
        x: (n, channels, d_1, ..., d_k).
        ksize, stride, pad: an int, or one per spatial axis; ``stride=None`` is ksize. What is padded never wins.
        cover_all: let the windows reach every element, also where the stride leaves a remainder.
        return_indices: return the pair (result, array of the places of the maxima: row-major numbers within their windows).
    """
    return _max_pooling("max_pooling_nd", x, ksize, stride, pad, cover_all, return_indices)


def _max_pooling(name, x, ksize, stride, pad, cover_all, return_indices):
    y, places = apply(max_pooling, (x,), _geometry(name, x, ksize, stride, pad, cover_all))
    return (y, places.array) if return_indices else y


def max_pooling_1d(x, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
    """``max_pooling_nd`` over one spatial axis."""
    _check_axes("max_pooling_1d", x, 1)
    return _max_pooling("max_pooling_1d", x, ksize, stride, pad, cover_all, return_indices)


def max_pooling_2d(x, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
    """``max_pooling_nd`` over images."""
    _check_axes("max_pooling_2d", x, 2)
    return _max_pooling("max_pooling_2d", x, ksize, stride, pad, cover_all, return_indices)


def max_pooling_3d(x, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
    """``max_pooling_nd`` over three spatial axes."""
    _check_axes("max_pooling_3d", x, 3)
    return _max_pooling("max_pooling_3d", x, ksize, stride, pad, cover_all, return_indices)
