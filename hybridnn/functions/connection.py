"""Connections: linear, embedding, bilinear, convolutions and their transposes, shift."""

import numpy as np

from hybridnn.backend import beside
from hybridnn.core import apply, as_variable
from hybridnn.core.fixed import fixed_array
from hybridnn.core.indexing import get_item
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape, transpose
from hybridnn.errors import InvalidType
from hybridnn.functions._convolution import (
    add_bias,
    convolution_1d,
    convolution_2d,
    convolution_3d,
    convolution_nd,
    deconvolution_1d,
    deconvolution_2d,
    deconvolution_3d,
    deconvolution_nd,
    depthwise_convolution_2d,
    dilated_convolution_2d,
    in_dtype_of,
    steps_of,
)
from hybridnn.functions.array import concat, pad
from hybridnn.functions.image import im2col, spatial_transformer_sampler
from hybridnn.ops.embedding import embed
from hybridnn.ops.expect import describe, expect, expect_arrays, expect_float, tuple_of
from hybridnn.ops.linear import linear as linear_op
from hybridnn.ops.windows import conv_outsize

__all__ = [
    "bilinear", "convolution_1d", "convolution_2d", "convolution_3d", "convolution_nd", "deconvolution_1d", "deconvolution_2d",
    "deconvolution_3d", "deconvolution_nd", "deformable_convolution_2d_sampler", "depthwise_convolution_2d",
    "dilated_convolution_2d", "embed_id", "linear", "local_convolution_2d", "shift"]

_TRANSB = {"transa": False, "transb": True}


def linear(x, W, b=None, n_batch_axes=1):
    """``x @ W.T + b``.

    Args:
        x: (n, in); with more axes, those behind the first ``n_batch_axes`` count as one of size in.
        W: (out, in).
        b: (out,) or None.
        n_batch_axes: leading axes that index samples; the result has them and one more.

    The result has x's dtype.
    """
    try:
        shape, matrix, usual = x.shape, W.shape, n_batch_axes == 1
        floats = x.dtype.kind == "f" and W.dtype.kind == "f" and (b is None or b.dtype.kind == "f")
    except AttributeError:
        expect_arrays("linear", **_named(x, W, b))
        raise
    if len(shape) != 2 or usual is not True:
        return _linear_over_axes(x, W, b, n_batch_axes)
    if len(matrix) != 2 or shape[1] != matrix[1]:
        raise InvalidType("linear", "x (n, in) and W (out, in)", describe(x=x, W=W), _widths(shape, matrix))
    if not floats:
        expect_float("linear", **_named(x, W, b))
    if b is None:
        return in_dtype_of(x, apply(matmul, (x, W), _TRANSB))
    if b.shape != matrix[:1]:
        raise InvalidType("linear", "b (out,) for W (out, in)", describe(W=W, b=b))
    return in_dtype_of(x, apply(linear_op, (x, W, b)))


def _named(x, W, b):
    return {"x": x, "W": W} if b is None else {"x": x, "W": W, "b": b}


def _widths(shape, matrix):
    return f"x has {shape[1]} features per sample, W takes {matrix[1]}" if len(matrix) == 2 else ""


def _linear_over_axes(x, W, b, n_batch_axes):
    expect(not hasattr(n_batch_axes, "shape") or isinstance(n_batch_axes, np.integer), "linear", "one array x, and n_batch_axes as an int",
           "F.concat((x, y), axis=1) makes one array of two", x=x, n_batch_axes=n_batch_axes)
    expect(len(x.shape) != 1, "linear", "x (n, in)", "x[None] makes a batch of one sample", x=x, W=W)
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
    x = x if hasattr(x, "shape") and not isinstance(x, np.generic) else as_variable(x)
    expect(x.dtype.kind in "iu", "embed_id", "x of an integer dtype", "x.astype('int32') makes ids of whole numbers", x=x)
    expect_arrays("embed_id", W=W)
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
        raise InvalidType(
            "bilinear",
            "V1, V2 and b together, or none of them",
            f"V1 given: {V1 is not None}, V2: {V2 is not None}, b: {b is not None}",
        )
    expect_arrays("bilinear", e1=e1, e2=e2, W=W)
    e1, e2 = [_rows("bilinear", e) for e in (e1, e2)]
    (n, j), k = e1.shape, e2.shape[1]
    expect(e2.shape[0] == n and len(W.shape) == 3 and W.shape[:2] == (j, k), "bilinear", "e1 (n, J), e2 (n, K) and W (J, K, L)", e1=e1, e2=e2, W=W)
    pairs = (e1.reshape((n, j, 1)) * e2.reshape((n, 1, k))).reshape((n, j * k))
    y = _product(pairs, reshape.to(W, (j * k, W.shape[2])))
    if b is None:
        return y
    expect_float("bilinear", V1=V1, V2=V2, b=b)
    expect(
        V1.shape == (j, W.shape[2]) and V2.shape == (k, W.shape[2]) and b.shape == W.shape[2:],
        "bilinear",
        "V1 (J, L), V2 (K, L) and b (L,)",
        W=W,
        V1=V1,
        V2=V2,
        b=b,
    )
    return y + _product(e1, V1) + _product(e2, V2) + b


def _rows(name, x):
    expect(len(x.shape) >= 2 and x.dtype.kind == "f", name, "an array (n, ...) of floats", x=x)
    width = 1
    for n in x.shape[1:]:
        width *= n
    return reshape.to(as_variable(x), (x.shape[0], width))


def _product(a, b):
    return apply(matmul, (a, b), {"transa": False, "transb": False})


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
    expect(
        len(x.shape) == 4 and len(W.shape) == 6 and x.shape[1] == W.shape[3],
        name,
        "x (n, c_in, h, w) and W (c_out, out_h, out_w, c_in, k_h, k_w)",
        x=x,
        W=W,
    )
    stride = steps_of(name, 2, stride, 0)[0]
    c_out, oh, ow, c_in, *ksize = W.shape
    possible = [conv_outsize(n, k, s, 0) for n, k, s in zip(x.shape[2:], ksize, stride)]
    expect(oh <= possible[0] and ow <= possible[1], name, f"an x that has {oh} x {ow} windows", x=x, W=W, stride=stride)
    patches = get_item.index(im2col(x, tuple(ksize), stride, 0), (slice(None), slice(None), slice(0, oh), slice(0, ow)))
    width = c_in * ksize[0] * ksize[1]
    columns = transpose.by(patches, (2, 3, 0, 1)).reshape((oh * ow, x.shape[0], width))
    filters = reshape.to(transpose.by(W, (1, 2, 3, 4, 5, 0)), (oh * ow, width, c_out))
    y = _product(columns, filters).reshape((oh, ow, x.shape[0], c_out)).transpose((2, 3, 0, 1))
    if b is not None:
        expect_float(name, b=b)
        expect(b.shape == (c_out, oh, ow), name, "b (c_out, out_h, out_w)", W=W, b=b)
        y = y + b
    return in_dtype_of(x, y)


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
    order[groups // 2], order[-1] = order[-1], order[groups // 2]  # the centre comes last
    parts = []
    for i, place in enumerate(order):
        top, left = py - (place // kw - kh // 2) * dy, px - (place % kw - kw // 2) * dx
        channels = slice(i * width, None if i == groups - 1 else (i + 1) * width)
        parts.append(
            get_item.index(padded, (slice(None), channels, slice(top, top + x.shape[2]), slice(left, left + x.shape[3])))
        )
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
    expect(
        len(x.shape) == len(W.shape) == len(offset.shape) == 4 and x.shape[1] == W.shape[1] and offset.shape[0] == x.shape[0],
        name,
        "x (n, c_in, h, w), offset (n, ...) and W (c_out, c_in, k_h, k_w)",
        x=x,
        offset=offset,
        W=W,
    )
    c_out, c, kh, kw = W.shape
    expect(
        offset.shape[1] == 2 * kh * kw, name, f"an offset with {2 * kh * kw} channels (2 per kernel element)", offset=offset, W=W
    )
    stride, margin = tuple_of(stride, 2, name, "stride"), tuple_of(pad, 2, name, "pad")
    padded = _padded(x, margin)
    n, (oh, ow) = x.shape[0], offset.shape[2:]
    sampled = spatial_transformer_sampler(padded, _places(offset, (kh, kw), stride, padded.shape[2:]))
    rows = sampled.transpose((0, 3, 1, 2)).reshape((n * oh * ow, c * kh * kw))
    y = _product(rows, reshape.to(transpose.by(W, (1, 2, 3, 0)), (c * kh * kw, c_out)))
    return add_bias(name, y.reshape((n, oh, ow, c_out)).transpose((0, 3, 1, 2)), b)


def _padded(x, margin):
    return pad(x, ((0, 0), (0, 0), (margin[0],) * 2, (margin[1],) * 2), "constant")


def _places(offset, ksize, stride, size):
    """Where every kernel element of every output looks, in the sampler's coordinates from -1 to 1: (n, 2, k_h * k_w, out_h *
    out_w).
    """
    n, channels, oh, ow = offset.shape
    base, span = (beside(a, offset) for a in (fixed_array(_regular, ksize, stride, (oh, ow), offset.dtype),
                                              fixed_array(_span, size, channels // 2, offset.dtype)))
    places = ((as_variable(offset) + base) / span - 0.5) * 2
    return places.reshape((n, 2, channels // 2, oh * ow))


def _regular(ksize, stride, out, dtype):
    """The places without offsets, in pixels."""
    ky, kx = [k.reshape(-1, 1, 1) for k in np.meshgrid(*map(np.arange, ksize), indexing="ij")]
    x = kx + np.arange(out[1]) * stride[1] + np.zeros((out[0], 1))
    y = ky + (np.arange(out[0]) * stride[0])[:, None] + np.zeros(out[1])
    return np.concatenate([x, y]).astype(dtype)


def _span(size, elements, dtype):
    """From the first pixel to the last, along x and along y."""
    return np.repeat([max(size[1] - 1, 1), max(size[0] - 1, 1)], elements).reshape(-1, 1, 1).astype(dtype)
