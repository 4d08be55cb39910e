"""Pooling, unpooling and regions of interest."""

from math import ceil

import numpy as np

from hybridnn.core import apply, as_variable
from hybridnn.core.arithmetic import cast
from hybridnn.core.shapes import reshape
from hybridnn.errors import InvalidType
from hybridnn.functions._roi import (
    roi_average_align_2d,
    roi_average_pooling_2d,
    roi_max_align_2d,
    roi_max_pooling_2d,
    roi_pooling_2d,
)
from hybridnn.functions.array import concat
from hybridnn.ops.expect import expect, expect_arrays, expect_float, tuple_of
from hybridnn.ops.pooling import max_pooling, max_pooling_grad, sum_pooling, sum_pooling_grad
from hybridnn.ops.windows import conv_outsize, deconv_outsize

__all__ = [
    "average_pooling_1d", "average_pooling_2d", "average_pooling_3d", "average_pooling_nd", "max_pooling_1d",
    "max_pooling_2d", "max_pooling_3d", "max_pooling_nd", "roi_average_align_2d", "roi_average_pooling_2d",
    "roi_max_align_2d", "roi_max_pooling_2d", "roi_pooling_2d", "spatial_pyramid_pooling_2d", "unpooling_1d", "unpooling_2d",
    "unpooling_3d", "unpooling_nd", "upsampling_2d"]


def _windows(name, x, ksize, stride, pad):
    """Size, steps and padding of the windows, a number per spatial axis each."""
    expect_float(name, x=x)
    ndim = len(x.shape) - 2
    expect(ndim >= 1, name, "x (n, channels, ...) with at least one spatial axis", x=x)
    ksize = tuple_of(ksize, ndim, name, "ksize")
    return ksize, ksize if stride is None else tuple_of(stride, ndim, name, "stride"), tuple_of(pad, ndim, name, "pad")


def _geometry(name, x, ksize, stride, pad, cover_all):
    """The attributes of a pooling op, checked."""
    ksize, stride, pad = _windows(name, x, ksize, stride, pad)
    out = [conv_outsize(n, k, s, p, cover_all) for n, k, s, p in zip(x.shape[2:], ksize, stride, pad) if s > 0]
    expect(
        min(*ksize, *stride) > 0 and min(pad) >= 0 and min(out) > 0,
        name,
        "windows that fit into the padded image",
        x=x,
        ksize=ksize,
        stride=stride,
        pad=pad,
    )
    return dict(ksize=ksize, stride=stride, pad=pad, cover_all=bool(cover_all))


def _check_axes(name, x, n):
    expect_arrays(name, x=x)
    expect(len(x.shape) == n + 2, name, f"x with {n + 2} axes: (n, channels and {n} more)", x=x)


def max_pooling_nd(x, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
    """The maximum of every window.

    Args:
        x: (n, channels, d_1, ..., d_k).
        ksize, stride, pad: an int, or one per spatial axis; ``stride=None`` is ksize. What is padded never wins.
        cover_all: let the windows reach every element, also where the stride leaves a remainder.
        return_indices: return the pair (result, int64 array of the places of the maxima: row-major numbers within their windows).
    """
    return _max_pooling("max_pooling_nd", x, ksize, stride, pad, cover_all, return_indices)


def _max_pooling(name, x, ksize, stride, pad, cover_all, return_indices):
    y, places = apply(max_pooling, (x,), _geometry(name, x, ksize, stride, pad, cover_all))
    return (y, apply(cast, (places,), {"dtype": "<i8"}).array) if return_indices else y


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


# ------------------------------------------------------------------------------------------------------------------- averages


def average_pooling_nd(x, ksize, stride=None, pad=0, pad_value=0):
    """The mean of every window.

    Args:
        x: (n, channels, d_1, ..., d_k).
        ksize, stride, pad: an int, or one per spatial axis; ``stride=None`` is ksize.
        pad_value: 0: what is padded counts as zeros; None: it does not count.
    """
    return _average_pooling("average_pooling_nd", x, ksize, stride, pad, pad_value)


def _average_pooling(name, x, ksize, stride, pad, pad_value):
    if not (pad_value is None or (isinstance(pad_value, (int, float)) and pad_value == 0)):
        raise InvalidType(name, "pad_value as 0 or None", repr(pad_value))
    attrs = _geometry(name, x, ksize, stride, pad, False)
    y = apply(sum_pooling, (x,), attrs)
    if pad_value == 0 or not any(attrs["pad"]):
        return y / int(np.prod(attrs["ksize"]))
    return y / _elements_inside(x.shape[2:], y.shape[2:], attrs).astype(x.dtype)


def _elements_inside(size, out, attrs):
    """How many elements of every window are not padding: float64, shape ``out``."""
    count = np.ones(())
    for n, o, k, s, p in zip(size, out, attrs["ksize"], attrs["stride"], attrs["pad"]):
        start = np.arange(o) * s - p
        inside = np.minimum(start + k, n) - np.maximum(start, 0)
        count = count[..., None] * np.maximum(inside, 1)
    return count


def average_pooling_1d(x, ksize, stride=None, pad=0, pad_value=0):
    """``average_pooling_nd`` over one spatial axis."""
    _check_axes("average_pooling_1d", x, 1)
    return _average_pooling("average_pooling_1d", x, ksize, stride, pad, pad_value)


def average_pooling_2d(x, ksize, stride=None, pad=0):
    """``average_pooling_nd`` over images; padding counts as zeros."""
    _check_axes("average_pooling_2d", x, 2)
    return _average_pooling("average_pooling_2d", x, ksize, stride, pad, 0)


def average_pooling_3d(x, ksize, stride=None, pad=0, pad_value=0):
    """``average_pooling_nd`` over three spatial axes."""
    _check_axes("average_pooling_3d", x, 3)
    return _average_pooling("average_pooling_3d", x, ksize, stride, pad, pad_value)


# ------------------------------------------------------------------------------------------------------------------ unpooling


def _unpooled(name, x, ksize, stride, pad, outsize, cover_all):
    """The attributes of an unpooling op: a pooling's, and the size of what it pools."""
    ksize, stride, pad = _windows(name, x, ksize, stride, pad)
    expect(min(pad) >= 0, name, "pad of 0 or more", pad=pad)
    geometry = list(zip(x.shape[2:], ksize, stride, pad))
    size = (
        tuple([max(deconv_outsize(n, k, s, p, cover_all), 0) for n, k, s, p in geometry])
        if outsize is None
        else tuple_of(outsize, len(ksize), name, "outsize")
    )
    fits = min(stride) > 0 and all(o >= 0 and conv_outsize(o, k, s, p, cover_all) == n for o, (n, k, s, p) in zip(size, geometry))
    expect(fits, name, "an outsize that pools to x's size", x=x, outsize=size, ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)
    return dict(size=size, ksize=ksize, stride=stride, pad=pad, cover_all=bool(cover_all))


def unpooling_nd(x, ksize, stride=None, pad=0, outsize=None, cover_all=True):
    """Every element of x spread over its whole window, overlaps added: the adjoint of summing windows.

    Args:
        x: (n, channels, d_1, ..., d_k).
        ksize, stride, pad, cover_all: as for ``max_pooling_nd``.
        outsize: spatial size of the result; None: the smallest that pools to x's size.
    """
    return apply(sum_pooling_grad, (x,), _unpooled("unpooling_nd", x, ksize, stride, pad, outsize, cover_all))


def unpooling_1d(x, ksize, stride=None, pad=0, outsize=None, cover_all=True):
    """``unpooling_nd`` over one spatial axis."""
    _check_axes("unpooling_1d", x, 1)
    return unpooling_nd(x, ksize, stride, pad, outsize, cover_all)


def unpooling_2d(x, ksize, stride=None, pad=0, outsize=None, cover_all=True):
    """``unpooling_nd`` over images."""
    _check_axes("unpooling_2d", x, 2)
    return unpooling_nd(x, ksize, stride, pad, outsize, cover_all)


def unpooling_3d(x, ksize, stride=None, pad=0, outsize=None, cover_all=True):
    """``unpooling_nd`` over three spatial axes."""
    _check_axes("unpooling_3d", x, 3)
    return unpooling_nd(x, ksize, stride, pad, outsize, cover_all)


def upsampling_2d(x, indexes, ksize, stride=None, pad=0, outsize=None, cover_all=True):
    """Every element of x put where a maximum was found, the rest zero.

    Args:
        indexes: what ``max_pooling_2d(..., return_indices=True)`` returned, of x's shape.
        x, ksize, stride, pad, outsize, cover_all: as for ``unpooling_2d``.
    """
    _check_axes("upsampling_2d", x, 2)
    expect_arrays("upsampling_2d", indexes=indexes)
    expect(indexes.shape == x.shape and indexes.dtype.kind in "iu", "upsampling_2d", "indexes of integers, of x's shape", x=x, indexes=indexes)
    return apply(max_pooling_grad, (x, indexes), _unpooled("upsampling_2d", x, ksize, stride, pad, outsize, cover_all))


def spatial_pyramid_pooling_2d(x, pyramid_height, pooling=None):
    """Maxima over grids of 1, 2 x 2, 4 x 4, ... bins, as one long vector of a length that does not depend on the image's size
    (He et al. 2014).

    Args:
        x: (n, channels, height, width).
        pyramid_height: number of grids.
        pooling: ``"max"``.

    Returns: (n, channels * (4 ** pyramid_height - 1) / 3, 1, 1).
    """
    name = "spatial_pyramid_pooling_2d"
    _check_axes(name, x, 2)
    if pooling != "max":
        raise InvalidType(name, "pooling='max'", f"pooling={pooling!r}")
    levels = []
    for level in range(pyramid_height):
        bins = 2**level
        ksize = tuple([ceil(n / bins) for n in x.shape[2:]])
        pad = tuple([(k * bins - n) // 2 for k, n in zip(ksize, x.shape[2:])])
        y = max_pooling_2d(as_variable(x), ksize, None, pad, True)
        levels.append(reshape.to(y, (x.shape[0], y.shape[1] * y.shape[2] * y.shape[3], 1, 1)))
    return concat(levels, axis=1)
