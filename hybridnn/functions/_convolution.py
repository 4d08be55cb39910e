"""Convolutions over any number of axes, and their transposes."""

import numpy as np

from hybridnn.core import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.shapes import reshape, transpose
from hybridnn.ops.axes import in_dtype
from hybridnn.ops.conv import convolution, convolution_grad_x
from hybridnn.ops.expect import expect, expect_arrays, expect_float, tuple_of
from hybridnn.ops.windows import conv_outsize, deconv_outsize

__all__ = [
    "convolution_1d", "convolution_2d", "convolution_3d", "convolution_nd", "deconvolution_1d", "deconvolution_2d",
    "deconvolution_3d", "deconvolution_nd", "depthwise_convolution_2d", "dilated_convolution_2d"]

# -------------------------------------------------------------------------------------------------------------- convolution


def convolution_nd(x, W, b=None, stride=1, pad=0, cover_all=False, dilate=1, groups=1):
    """Cross correlation over any number of spatial axes.

    Args:
        x: (n, c_in, d_1, ..., d_k).
        W: (c_out, c_in / groups, k_1, ..., k_k).
        b: (c_out,) or None.
        stride, pad, dilate: an int, or one per spatial axis. ``pad`` zeros are added on both sides.
        cover_all: let the windows reach every element, also where a stride leaves a remainder (more output).
        groups: channels and filters are cut into as many independent convolutions.

    Returns: (n, c_out, o_1, ..., o_k) in x's dtype, where o = (d + 2 pad - dilate (k - 1) - 1) // stride + 1.
    """
    return _convolution("convolution_nd", x, W, b, stride, pad, cover_all, dilate, groups)


def _channels(x, taken):
    """What may be wrong with the number of channels."""
    n = len(x.shape)
    moved = f"; if they come last, x.transpose{(0, n - 1, *range(1, n - 1))} brings them there" if x.shape[-1] == taken else ""
    return f"x has {x.shape[1]} channels, on axis 1, W takes {taken}{moved}"


def _convolution(name, x, W, b, stride, pad, cover_all, dilate, groups):
    ndim = _check_images(name, x, W)
    stride, pad, dilate = steps_of(name, ndim, stride, pad, dilate)
    expect(
        isinstance(groups, (int, np.integer)) and groups > 0 and x.shape[1] == W.shape[1] * groups and W.shape[0] % groups == 0,
        name,
        "x (n, c_in, ...) and W (c_out, c_in / groups, ...), c_out a multiple of groups",
        lambda: _channels(x, W.shape[1]) if groups == 1 else "",
        x=x,
        W=W,
        groups=groups,
    )
    out = [conv_outsize(n, k, s, p, cover_all, d) for n, k, s, p, d in zip(x.shape[2:], W.shape[2:], stride, pad, dilate)]
    expect(
        min(out, default=1) > 0,
        name,
        "windows that fit into the padded image",
        "a larger pad or a smaller kernel",
        x=x,
        W=W,
        stride=stride,
        pad=pad,
        dilate=dilate,
    )
    y = apply(convolution, (x, W), dict(stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=bool(cover_all)))
    return in_dtype_of(x, add_bias(name, y, b))


def steps_of(name, ndim, stride, pad, dilate=1):
    """``stride``, ``pad`` and ``dilate`` as tuples of one int per spatial axis."""
    stride, pad, dilate = (tuple_of(v, ndim, name, what) for v, what in ((stride, "stride"), (pad, "pad"), (dilate, "dilate")))
    expect(
        min(stride, default=1) > 0 and min(dilate, default=1) > 0 and min(pad, default=0) >= 0,
        name,
        "positive stride and dilate, and pad of 0 or more",
        stride=stride,
        pad=pad,
        dilate=dilate,
    )
    return stride, pad, dilate


def _check_images(name, x, W):
    """Number of spatial axes."""
    expect_float(name, x=x, W=W)
    expect(len(x.shape) == len(W.shape) and len(x.shape) >= 3, name, "x (n, channels, ...) and W with as many axes, three or more", x=x, W=W)
    return len(x.shape) - 2


def in_dtype_of(x, y):
    """The result of a layer in its input's dtype, whatever the parameters' is, as in Chainer; it was summed in the wider one."""
    return in_dtype(y, x.dtype)


def add_bias(name, y, b):
    if b is None:
        return y
    expect_float(name, b=b)
    expect(b.shape == y.shape[1:2], name, f"b ({y.shape[1]},)", b=b)
    return y + reshape.to(b, (b.shape[0],) + (1,) * (len(y.shape) - 2))


def _check_spatial(name, x, n):
    expect_arrays(name, x=x)
    alone = len(x.shape) == n + 1
    expect(len(x.shape) == n + 2, name, f"x with {n + 2} axes: (n, channels and {n} more)", "x[None] is a batch of one" if alone else "", x=x)


def convolution_1d(x, W, b=None, stride=1, pad=0, cover_all=False, dilate=1, groups=1):
    """``convolution_nd`` over one spatial axis: x (n, c_in, d)."""
    _check_spatial("convolution_1d", x, 1)
    return _convolution("convolution_1d", x, W, b, stride, pad, cover_all, dilate, groups)


def convolution_2d(x, W, b=None, stride=1, pad=0, cover_all=False, *, dilate=1, groups=1, **kwargs):
    """``convolution_nd`` over images: x (n, c_in, height, width), W (c_out, c_in / groups, k_h, k_w)."""
    if kwargs:
        refuse_kwargs(kwargs, "deterministic")
    _check_spatial("convolution_2d", x, 2)
    return _convolution("convolution_2d", x, W, b, stride, pad, cover_all, dilate, groups)


def convolution_3d(x, W, b=None, stride=1, pad=0, cover_all=False, dilate=1, groups=1):
    """``convolution_nd`` over three spatial axes."""
    _check_spatial("convolution_3d", x, 3)
    return _convolution("convolution_3d", x, W, b, stride, pad, cover_all, dilate, groups)


def dilated_convolution_2d(x, W, b=None, stride=1, pad=0, dilate=1, cover_all=False):
    """``convolution_2d`` with holes: kernel elements lie ``dilate`` apart (Yu and Koltun 2016)."""
    return convolution_2d(x, W, b, stride, pad, cover_all, dilate=dilate)


def depthwise_convolution_2d(x, W, b=None, stride=1, pad=0):
    """Every channel convolved with filters of its own: x (n, c, h, w), W (multiplier, c, k_h, k_w), b (c * multiplier,); output
    channel ``i * multiplier + m`` is channel i under filter m.
    """
    expect_arrays("depthwise_convolution_2d", x=x, W=W)
    expect(
        len(x.shape) == len(W.shape) == 4 and x.shape[1] == W.shape[1],
        "depthwise_convolution_2d",
        "x (n, c, h, w) and W (multiplier, c, k_h, k_w)",
        x=x,
        W=W,
    )
    multiplier, channels, *ksize = W.shape
    filters = reshape.to(transpose.by(W, (1, 0, 2, 3)), (multiplier * channels, 1, *ksize))
    return convolution_2d(x, filters, b, stride, pad, groups=channels)


# ------------------------------------------------------------------------------------------------------------ deconvolution


def deconvolution_nd(x, W, b=None, stride=1, pad=0, outsize=None, dilate=1, groups=1):
    """Transposed convolution over any number of spatial axes: the adjoint of ``convolution_nd`` in its input.

    Args:
        x: (n, c_in, d_1, ..., d_k).
        W: (c_in, c_out / groups, k_1, ..., k_k).
        b: (c_out,) or None.
        stride, pad, dilate, groups: of the convolution that this is the adjoint of.
        outsize: spatial size of the result, where a stride leaves a choice: one that a convolution, with or without ``cover_all``,
            makes d of; None: stride (d - 1) + dilate (k - 1) + 1 - 2 pad.
    """
    return _deconvolution("deconvolution_nd", x, W, b, stride, pad, outsize, dilate, groups)


def _deconvolution(name, x, W, b, stride, pad, outsize, dilate, groups):
    ndim = _check_images(name, x, W)
    stride, pad, dilate = steps_of(name, ndim, stride, pad, dilate)
    expect(
        isinstance(groups, (int, np.integer)) and groups > 0 and x.shape[1] == W.shape[0] and x.shape[1] % groups == 0,
        name,
        "x (n, c_in, ...) and W (c_in, c_out / groups, ...), c_in a multiple of groups",
        lambda: _channels(x, W.shape[0]) if groups == 1 else "",
        x=x,
        W=W,
        groups=groups,
    )
    geometry = list(zip(x.shape[2:], W.shape[2:], stride, pad, dilate))
    size = (
        tuple([deconv_outsize(n, k, s, p, d=d) for n, k, s, p, d in geometry])
        if outsize is None
        else tuple_of(outsize, ndim, name, "outsize")
    )
    below, above = [[_fits(o, axis, cover_all) for o, axis in zip(size, geometry)] for cover_all in (True, False)]
    fits, cover_all = all(map(max, below, above)), not all(above) and all(below)
    expect(fits, name, "an outsize whose convolution has x's size", x=x, W=W, outsize=size, stride=stride, pad=pad, dilate=dilate)
    whole = size if all(above) or cover_all else _uncut(size, geometry)
    y = apply(convolution_grad_x, (x, W), dict(size=whole, stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all))
    if whole != size:
        y = y[(..., *[slice(o) for o in size])]
    return in_dtype_of(x, add_bias(name, y, b))


def _uncut(size, geometry):
    """The sizes that are not below what the windows reach: the others are cut to after the deconvolution."""
    return tuple([max(o, deconv_outsize(n, k, s, p, d=d)) for o, (n, k, s, p, d) in zip(size, geometry)])


def _fits(size, axis, cover_all):
    """Whether a convolution along an axis of ``size`` has the given size."""
    n, k, s, p, d = axis
    return size > 0 and conv_outsize(size, k, s, p, cover_all, d) == n


def deconvolution_1d(x, W, b=None, stride=1, pad=0, outsize=None, dilate=1, groups=1):
    """``deconvolution_nd`` over one spatial axis."""
    _check_spatial("deconvolution_1d", x, 1)
    return _deconvolution("deconvolution_1d", x, W, b, stride, pad, outsize, dilate, groups)


def deconvolution_2d(x, W, b=None, stride=1, pad=0, outsize=None, *, dilate=1, groups=1, **kwargs):
    """``deconvolution_nd`` over images."""
    if kwargs:
        refuse_kwargs(kwargs, "deterministic")
    _check_spatial("deconvolution_2d", x, 2)
    return _deconvolution("deconvolution_2d", x, W, b, stride, pad, outsize, dilate, groups)


def deconvolution_3d(x, W, b=None, stride=1, pad=0, outsize=None, dilate=1, groups=1):
    """``deconvolution_nd`` over three spatial axes."""
    _check_spatial("deconvolution_3d", x, 3)
    return _deconvolution("deconvolution_3d", x, W, b, stride, pad, outsize, dilate, groups)
