"""Sizes of convolutions, and the rearrangement of images into columns (two dimensions; see ``conv_nd`` for any number)."""
from hybridnn.utils.conv_nd import col2im_nd, get_conv_outsize, get_deconv_outsize, windows

__all__ = ["col2im", "col2im_cpu", "col2im_gpu", "get_conv_outsize", "get_deconv_outsize", "im2col", "im2col_cpu", "im2col_gpu"]


def im2col(img, kh, kw, sy, sx, ph, pw, cover_all=False, dy=1, dx=1, out_h=None, out_w=None):
    """Windows of a batch of images: (n, c, h, w) to (n, c, kh, kw, out_h, out_w).

    Args:
        kh, kw, sy, sx, ph, pw, dy, dx: window, stride, padding and dilation along each axis.
        cover_all: add windows until every pixel is covered.
        out_h, out_w: numbers of windows, instead of those that fit.
    """
    return im2col_cpu(img, kh, kw, sy, sx, ph, pw, 0, cover_all, dy, dx, out_h, out_w)


def im2col_cpu(img, kh, kw, sy, sx, ph, pw, pval=0, cover_all=False, dy=1, dx=1, out_h=None, out_w=None):
    """``im2col`` with a padding of ``pval``."""
    h, w = img.shape[2:]
    out_h = get_conv_outsize(h, kh, sy, ph, cover_all, dy) if out_h is None else out_h
    out_w = get_conv_outsize(w, kw, sx, pw, cover_all, dx) if out_w is None else out_w
    return windows(img, (kh, kw), (sy, sx), (ph, pw), pval, (out_h, out_w), (dy, dx))


def col2im(col, sy, sx, ph, pw, h, w, dy=1, dx=1):
    """The adjoint of ``im2col``: windows added up into images of h x w."""
    return col2im_nd(col, (sy, sx), (ph, pw), (h, w), (dy, dx))


col2im_cpu = col2im_gpu = col2im      # arrays of either kind
im2col_gpu = im2col
