"""Connections: linear, embedding, bilinear, convolutions and their transposes, shift."""
import numpy as np

from hybridnn.core import apply, as_variable
from hybridnn.core.arithmetic import get_item, matmul, reshape, transpose
from hybridnn.errors import InvalidType
from hybridnn.functions.array import concat, pad
from hybridnn.functions.image import im2col, spatial_transformer_sampler
from hybridnn.ops.conv import convolution, convolution_grad_x
from hybridnn.ops.embedding import embed
from hybridnn.ops.expect import describe, expect, expect_float, tuple_of
from hybridnn.ops.linear import linear as linear_op
from hybridnn.ops.windows import conv_outsize, deconv_outsize

__all__ = ["bilinear", "convolution_1d", "convolution_2d", "convolution_3d", "convolution_nd", "deconvolution_1d", "deconvolution_2d", "deconvolution_3d",
           "deconvolution_nd", "deformable_convolution_2d_sampler", "depthwise_convolution_2d", "dilated_convolution_2d", "embed_id", "linear",
           "local_convolution_2d", "shift"]

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


def bilinear(e1, e2, W, V1=None, V2=None, b=None):
    """``y[n, l] = sum over j, k of e1[n, j] e2[n, k] W[j, k, l]``, and ``+ e1 @ V1 + e2 @ V2 + b`` (Socher et al. 2013).

    Args:
        e1, e2: (n, J) and (n, K); further axes count as one.
        W: (J, K, L).
        V1, V2, b: (J, L), (K, L) and (L,); all three, or None of them.
    """
    if any(p is None for p in (V1, V2, b)) and not all(p is None for p in (V1, V2, b)):
        raise InvalidType("bilinear", "V1, V2 and b together, or none of them", f"V1 given: {V1 is not None}, V2: {V2 is not None}, b: {b is not None}")
    e1, e2 = [_rows("bilinear", e) for e in (e1, e2)]
    (n, j), k = e1.shape, e2.shape[1]
    expect(e2.shape[0] == n and len(W.shape) == 3 and W.shape[:2] == (j, k), "bilinear", "e1 (n, J), e2 (n, K) and W (J, K, L)", e1=e1, e2=e2, W=W)
    pairs = (e1.reshape((n, j, 1)) * e2.reshape((n, 1, k))).reshape((n, j * k))
    y = _product(pairs, reshape.to(W, (j * k, W.shape[2])))
    if b is None:
        return y
    expect(V1.shape == (j, W.shape[2]) and V2.shape == (k, W.shape[2]) and b.shape == W.shape[2:], "bilinear", "V1 (J, L), V2 (K, L) and b (L,)",
           W=W, V1=V1, V2=V2, b=b)
    return y + _product(e1, V1) + _product(e2, V2) + b


def _rows(name, x):
    expect(len(x.shape) >= 2 and x.dtype.kind == "f", name, "an array (n, ...) of floats", x=x)
    width = 1
    for n in x.shape[1:]:
        width *= n
    return reshape.to(as_variable(x), (x.shape[0], width))


def _product(a, b):
    return apply(matmul, (a, b), {"transa": False, "transb": False})


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


# ----------------------------------------------------------------------------------------------------------- local and shifted

def local_convolution_2d(x, W, b=None, stride=1):
    """A convolution with other filters at every place.

    Args:
        x: (n, c_in, height, width).
        W: (c_out, out_h, out_w, c_in, k_h, k_w).
        b: (c_out, out_h, out_w) or None.
        stride: an int or two.
    """
    name = "local_convolution_2d"
    expect_float(name, x=x, W=W)
    expect(len(x.shape) == 4 and len(W.shape) == 6 and x.shape[1] == W.shape[3], name, "x (n, c_in, h, w) and W (c_out, out_h, out_w, c_in, k_h, k_w)", x=x, W=W)
    stride = tuple_of(stride, 2, name, "stride")
    c_out, oh, ow, c_in, *ksize = W.shape
    possible = [conv_outsize(n, k, s, 0) for n, k, s in zip(x.shape[2:], ksize, stride)]
    expect(oh <= possible[0] and ow <= possible[1], name, f"an x that has {oh} x {ow} windows", x=x, W=W, stride=stride)
    patches = get_item.index(im2col(x, tuple(ksize), stride, 0), (slice(None), slice(None), slice(0, oh), slice(0, ow)))
    width = c_in * ksize[0] * ksize[1]
    columns = transpose.by(patches, (2, 3, 0, 1)).reshape((oh * ow, x.shape[0], width))
    filters = reshape.to(transpose.by(W, (1, 2, 3, 4, 5, 0)), (oh * ow, width, c_out))
    y = _product(columns, filters).reshape((oh, ow, x.shape[0], c_out)).transpose((2, 3, 0, 1))
    if b is None:
        return y
    expect(b.shape == (c_out, oh, ow), name, "b (c_out, out_h, out_w)", W=W, b=b)
    return y + b


def shift(x, ksize=3, dilate=1):
    """Groups of channels moved by one place of a kernel each, without arithmetic (Wu et al. 2017).

    Args:
        x: (n, c, h, w), c at least k_h * k_w.
        ksize, dilate: an int or two; ksize odd. The last group, which has what is left of the channels, stays in place.
    """
    expect_float("shift", x=x)
    (kh, kw), (dy, dx) = tuple_of(ksize, 2, "shift", "ksize"), tuple_of(dilate, 2, "shift", "dilate")
    expect(kh % 2 == 1 and kw % 2 == 1, "shift", "an odd ksize", ksize=(kh, kw))
    expect(len(x.shape) == 4 and x.shape[1] >= kh * kw, "shift", f"x (n, c, h, w) with at least {kh * kw} channels", x=x)
    py, px = kh // 2 * abs(dy), kw // 2 * abs(dx)
    padded = pad(x, ((0, 0), (0, 0), (py, py), (px, px)), "constant")
    groups, width = kh * kw, x.shape[1] // (kh * kw)
    order = list(range(groups))
    order[groups // 2], order[-1] = order[-1], order[groups // 2]       # the centre comes last
    parts = []
    for i, place in enumerate(order):
        top, left = py - (place // kw - kh // 2) * dy, px - (place % kw - kw // 2) * dx
        channels = slice(i * width, None if i == groups - 1 else (i + 1) * width)
        parts.append(get_item.index(padded, (slice(None), channels, slice(top, top + x.shape[2]), slice(left, left + x.shape[3]))))
    return concat(parts, axis=1)


def deformable_convolution_2d_sampler(x, offset, W, b=None, stride=1, pad=0):
    """A convolution that looks at moved places (Dai et al. 2017), by bilinear interpolation.

    Args:
        x: (n, c_in, h, w).
        offset: (n, 2 * k_h * k_w, out_h, out_w): how far each kernel element's place is moved: all in x first, then all in y.
        W: (c_out, c_in, k_h, k_w).
        b: (c_out,) or None.
        stride, pad: an int or two.
    """
    name = "deformable_convolution_2d_sampler"
    expect_float(name, x=x, offset=offset, W=W)
    expect(len(x.shape) == len(W.shape) == len(offset.shape) == 4 and x.shape[1] == W.shape[1] and offset.shape[0] == x.shape[0], name,
           "x (n, c_in, h, w), offset (n, ...) and W (c_out, c_in, k_h, k_w)", x=x, offset=offset, W=W)
    c_out, c, kh, kw = W.shape
    expect(offset.shape[1] == 2 * kh * kw, name, f"an offset with {2 * kh * kw} channels (2 per kernel element)", offset=offset, W=W)
    stride, margin = tuple_of(stride, 2, name, "stride"), tuple_of(pad, 2, name, "pad")
    padded = _padded(x, margin)
    n, (oh, ow) = x.shape[0], offset.shape[2:]
    sampled = spatial_transformer_sampler(padded, _places(offset, (kh, kw), stride, padded.shape[2:]))
    rows = sampled.transpose((0, 3, 1, 2)).reshape((n * oh * ow, c * kh * kw))
    y = _product(rows, reshape.to(transpose.by(W, (1, 2, 3, 0)), (c * kh * kw, c_out)))
    return _add_bias(name, y.reshape((n, oh, ow, c_out)).transpose((0, 3, 1, 2)), b)


def _padded(x, margin):
    return pad(x, ((0, 0), (0, 0), (margin[0],) * 2, (margin[1],) * 2), "constant")


def _places(offset, ksize, stride, size):
    """Where every kernel element of every output looks, in the sampler's coordinates from -1 to 1: (n, 2, k_h * k_w, out_h * out_w)."""
    n, channels, oh, ow = offset.shape
    ky, kx = [k.reshape(-1, 1, 1) for k in np.meshgrid(*map(np.arange, ksize), indexing="ij")]
    x = kx + np.arange(ow) * stride[1] + np.zeros((oh, 1))
    y = ky + (np.arange(oh) * stride[0])[:, None] + np.zeros(ow)
    base = np.concatenate([x, y]).astype(offset.dtype)
    span = np.repeat([max(size[1] - 1, 1), max(size[0] - 1, 1)], channels // 2).reshape(-1, 1, 1).astype(offset.dtype)
    places = ((as_variable(offset) + base) / span - 0.5) * 2
    return places.reshape((n, 2, channels // 2, oh * ow))
