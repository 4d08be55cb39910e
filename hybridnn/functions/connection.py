"""Connections: linear, embedding, bilinear, convolutions and their transposes, shift."""
from hybridnn.core import Variable, apply, as_variable
from hybridnn.core.arithmetic import matmul, reshape, transpose
from hybridnn.errors import InvalidType
from hybridnn.ops.conv import convolution, convolution_grad_x
from hybridnn.ops.embedding import embed
from hybridnn.ops.expect import describe, expect, expect_float, tuple_of
from hybridnn.ops.linear import linear as linear_op
from hybridnn.ops.windows import conv_outsize, deconv_outsize

__all__ = ["convolution_1d", "convolution_2d", "convolution_3d", "convolution_nd", "deconvolution_1d", "deconvolution_2d", "deconvolution_3d",
           "deconvolution_nd", "depthwise_convolution_2d", "dilated_convolution_2d", "embed_id", "linear"]

TRANSB = {"transa": False, "transb": True}


def linear(x, W, b=None, n_batch_axes=1):
    """``x @ W.T + b``.

    Args:
        x: (n, in); with more axes, those behind the first ``n_batch_axes`` count as one of size in.
        W: (out, in).
        b: (out,) or None.
        n_batch_axes: leading axes that index samples; the result has them and one more.
    """
    shape = x.shape
    if len(shape) != 2 or n_batch_axes != 1:
        return _linear_over_axes(x, W, b, n_batch_axes)
    if len(W.shape) != 2 or shape[1] != W.shape[1]:
        raise InvalidType("linear", "x (n, in) and W (out, in)", describe(x=x, W=W), f"x has {shape[1]} features per sample")
    if x.dtype.kind != "f" or W.dtype.kind != "f":
        expect_float("linear", x=x, W=W)
    if b is None:
        return apply(matmul, (x, W), TRANSB)
    if b.shape != W.shape[:1]:
        raise InvalidType("linear", "b (out,) for W (out, in)", describe(W=W, b=b))
    return apply(linear_op, (x, W, b))


def _linear_over_axes(x, W, b, n_batch_axes):
    expect(1 <= n_batch_axes < len(x.shape), "linear", "n_batch_axes from 1 to the number of x's axes less one", x=x, n_batch_axes=n_batch_axes)
    batch = x.shape[:n_batch_axes]
    rows = width = 1
    for n in batch:
        rows *= n
    for n in x.shape[n_batch_axes:]:
        width *= n
    y = linear(reshape.to(x, (rows, width)), W, b)
    return y if n_batch_axes == 1 else y.reshape((*batch, W.shape[0]))


def embed_id(x, W, ignore_label=None):
    """Rows of the table ``W`` (vocabulary, units) numbered by the integers in ``x``: x.shape + (units,).

    Args:
        ignore_label: a number in ``x`` that gives a row of zeros without gradient, or None.
    """
    x = x if hasattr(x, "shape") else as_variable(x)
    expect(x.dtype.kind in "iu", "embed_id", "x of an integer dtype", x=x)
    expect(len(W.shape) == 2 and W.dtype.kind == "f", "embed_id", "W (vocabulary, units) of a floating dtype", W=W)
    return apply(embed, (x, W), {"ignore_label": ignore_label})


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

    Returns: (n, c_out, o_1, ..., o_k), where o = (d + 2 pad - dilate (k - 1) - 1) // stride + 1.
    """
    return _convolution("convolution_nd", x, W, b, stride, pad, cover_all, dilate, groups)


def _convolution(name, x, W, b, stride, pad, cover_all, dilate, groups):
    ndim = _check_images(name, x, W)
    stride, pad, dilate = (tuple_of(v, ndim, name, what) for v, what in ((stride, "stride"), (pad, "pad"), (dilate, "dilate")))
    expect(min(stride, default=1) > 0 and min(dilate, default=1) > 0 and min(pad, default=0) >= 0, name,
           "positive stride and dilate, and pad of 0 or more", stride=stride, pad=pad, dilate=dilate)
    expect(groups > 0 and x.shape[1] == W.shape[1] * groups and W.shape[0] % groups == 0, name,
           "x (n, c_in, ...) and W (c_out, c_in / groups, ...), c_out a multiple of groups", x=x, W=W, groups=groups)
    out = [conv_outsize(n, k, s, p, cover_all, d) for n, k, s, p, d in zip(x.shape[2:], W.shape[2:], stride, pad, dilate)]
    expect(min(out, default=1) > 0, name, "windows that fit into the padded image", "a larger pad or a smaller kernel",
           x=x, W=W, stride=stride, pad=pad, dilate=dilate)
    y = apply(convolution, (x, W), dict(stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=bool(cover_all)))
    return _add_bias(name, y, b)


def _check_images(name, x, W):
    """Number of spatial axes."""
    expect_float(name, x=x, W=W)
    expect(len(x.shape) == len(W.shape) and len(x.shape) >= 3, name, "x (n, channels, ...) and W with as many axes, three or more", x=x, W=W)
    return len(x.shape) - 2


def _add_bias(name, y, b):
    if b is None:
        return y
    expect(b.shape == y.shape[1:2], name, f"b ({y.shape[1]},)", b=b)
    return y + reshape.to(b, (b.shape[0],) + (1,) * (len(y.shape) - 2))


def _check_spatial(name, x, n):
    expect(len(x.shape) == n + 2, name, f"x with {n + 2} axes: (n, channels and {n} more)", x=x)


def convolution_1d(x, W, b=None, stride=1, pad=0, cover_all=False, dilate=1, groups=1):
    """``convolution_nd`` over one spatial axis: x (n, c_in, d)."""
    _check_spatial("convolution_1d", x, 1)
    return _convolution("convolution_1d", x, W, b, stride, pad, cover_all, dilate, groups)


def convolution_2d(x, W, b=None, stride=1, pad=0, cover_all=False, *, dilate=1, groups=1):
    """``convolution_nd`` over images: x (n, c_in, height, width), W (c_out, c_in / groups, k_h, k_w)."""
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
    """Every channel convolved with filters of its own: x (n, c, h, w), W (multiplier, c, k_h, k_w), b (c * multiplier,); output channel
    ``i * multiplier + m`` is channel i under filter m.
    """
    expect(len(x.shape) == len(W.shape) == 4 and x.shape[1] == W.shape[1], "depthwise_convolution_2d",
           "x (n, c, h, w) and W (multiplier, c, k_h, k_w)", x=x, W=W)
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
        outsize: spatial size of the result, where a stride leaves a choice; None: the smallest,
            stride (d - 1) + dilate (k - 1) + 1 - 2 pad.
    """
    return _deconvolution("deconvolution_nd", x, W, b, stride, pad, outsize, dilate, groups)


def _deconvolution(name, x, W, b, stride, pad, outsize, dilate, groups):
    ndim = _check_images(name, x, W)
    stride, pad, dilate = (tuple_of(v, ndim, name, what) for v, what in ((stride, "stride"), (pad, "pad"), (dilate, "dilate")))
    expect(groups > 0 and x.shape[1] == W.shape[0] and x.shape[1] % groups == 0, name,
           "x (n, c_in, ...) and W (c_in, c_out / groups, ...), c_in a multiple of groups", x=x, W=W, groups=groups)
    geometry = list(zip(x.shape[2:], W.shape[2:], stride, pad, dilate))
    size = tuple([deconv_outsize(n, k, s, p, d=d) for n, k, s, p, d in geometry]) if outsize is None else tuple_of(outsize, ndim, name, "outsize")
    fits = all(o > 0 and conv_outsize(o, k, s, p, d=d) == n for o, (n, k, s, p, d) in zip(size, geometry))
    expect(fits, name, "an outsize whose convolution has x's size", x=x, W=W, outsize=size, stride=stride, pad=pad, dilate=dilate)
    y = apply(convolution_grad_x, (x, W), dict(size=size, stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=False))
    return _add_bias(name, y, b)


def deconvolution_1d(x, W, b=None, stride=1, pad=0, outsize=None, dilate=1, groups=1):
    """``deconvolution_nd`` over one spatial axis."""
    _check_spatial("deconvolution_1d", x, 1)
    return _deconvolution("deconvolution_1d", x, W, b, stride, pad, outsize, dilate, groups)


def deconvolution_2d(x, W, b=None, stride=1, pad=0, outsize=None, *, dilate=1, groups=1):
    """``deconvolution_nd`` over images."""
    _check_spatial("deconvolution_2d", x, 2)
    return _deconvolution("deconvolution_2d", x, W, b, stride, pad, outsize, dilate, groups)


def deconvolution_3d(x, W, b=None, stride=1, pad=0, outsize=None, dilate=1, groups=1):
    """``deconvolution_nd`` over three spatial axes."""
    _check_spatial("deconvolution_3d", x, 3)
    return _deconvolution("deconvolution_3d", x, W, b, stride, pad, outsize, dilate, groups)
