"""Sizes of convolutions, and windows of images of any number of dimensions, for NumPy and CuPy alike."""
import itertools

from hybridnn.backend import get_array_module
from hybridnn.errors import InvalidType

__all__ = ["as_tuple", "col2im_nd", "col2im_nd_cpu", "col2im_nd_gpu", "get_conv_outsize", "get_deconv_outsize", "im2col_nd", "im2col_nd_cpu",
           "im2col_nd_gpu", "windows"]


def get_conv_outsize(size, k, s, p, cover_all=False, d=1):
    """Output size of a convolution along one axis.

    Args:
        size, k, s, p, d: sizes of input, window, stride, padding and dilation.
        cover_all: count a last, partly empty window if pixels would stay uncovered.
    """
    free = size + 2 * p - ((k - 1) * d + 1)
    return (free + s - 1 if cover_all else free) // s + 1


def get_deconv_outsize(size, k, s, p, cover_all=False, d=1):
    """Output size of a transposed convolution along one axis: the input size whose convolution has output ``size``."""
    full = s * (size - 1) + (k - 1) * d + 1 - 2 * p
    return full - s + 1 if cover_all else full


def as_tuple(x, n):
    """``x`` as n numbers: repeated if it is one, checked if it is a sequence."""
    if not hasattr(x, "__getitem__"):
        return (x,) * n
    assert len(x) == n, f"one number or {n} of them, not {x}"
    return tuple(x)


def _check_lengths(n, **named):
    assert all(len(x) == n for x in named.values()), f"{n} numbers for each of {', '.join(named)}, not {named}"


def _window_slices(ksize, stride, outs, dilate):
    """For each position in a window: its index, and the slices of the padded image that it runs over."""
    for at in itertools.product(*map(range, ksize)):
        starts = [i * d for i, d in zip(at, dilate)]
        yield at, tuple([slice(b, b + s * n, s) for b, s, n in zip(starts, stride, outs)])


def im2col_nd(img, ksize, stride, pad, cover_all=False, dilate=1):
    """Windows of a batch of images: (n, c, *dims) to (n, c, *ksize, *outs)."""
    return im2col_nd_cpu(img, ksize, stride, pad, 0, cover_all, dilate)


def im2col_nd_cpu(img, ksize, stride, pad, pval=0, cover_all=False, dilate=1):
    """``im2col_nd`` with a padding of ``pval``."""
    dims = img.shape[2:]
    _check_lengths(len(dims), ksize=ksize, stride=stride, pad=pad)
    dilate = as_tuple(dilate, len(dims))
    outs = tuple([get_conv_outsize(d, k, s, p, cover_all, e) for d, k, s, p, e in zip(dims, ksize, stride, pad, dilate)])
    return windows(img, ksize, stride, pad, pval, outs, dilate)


def windows(img, ksize, stride, pad, pval, outs, dilate):
    """As many windows as ``outs`` says along each axis."""
    xp, dims = get_array_module(img), img.shape[2:]
    if min(outs, default=1) <= 0:
        raise InvalidType("im2col", "windows that fit into the image", f"image {dims}, window {tuple(ksize)}, output {outs}")
    padded = xp.pad(img, ((0, 0), (0, 0), *((p, p + s - 1) for p, s in zip(pad, stride))), mode="constant", constant_values=pval)
    col = xp.empty((*img.shape[:2], *ksize, *outs), img.dtype)
    for at, slices in _window_slices(ksize, stride, outs, dilate):
        col[(slice(None), slice(None), *at)] = padded[(slice(None), slice(None), *slices)]
    return col


def col2im_nd(col, stride, pad, dims, dilate=1):
    """The adjoint of ``im2col_nd``: windows added up into images of ``dims``."""
    xp, n = get_array_module(col), len(dims)
    assert col.ndim == 2 + 2 * n, f"windows with {2 + 2 * n} axes, not {col.ndim}"
    _check_lengths(n, stride=stride, pad=pad, dims=dims)
    ksize, outs = col.shape[2:2 + n], col.shape[2 + n:]
    dilate = as_tuple(dilate, n)
    img = xp.zeros((*col.shape[:2], *(d + 2 * p + s - 1 for d, p, s in zip(dims, pad, stride))), col.dtype)
    for at, slices in _window_slices(ksize, stride, outs, dilate):
        img[(slice(None), slice(None), *slices)] += col[(slice(None), slice(None), *at)]
    return img[(slice(None), slice(None), *(slice(p, p + d) for p, d in zip(pad, dims)))]


col2im_nd_cpu = col2im_nd_gpu = col2im_nd      # arrays of either kind
im2col_nd_gpu = im2col_nd
