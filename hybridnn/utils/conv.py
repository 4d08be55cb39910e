"""Sizes of convolutions, and the rearrangement of images into columns (two dimensions; see ``conv_nd`` for any number)."""
from hybridnn.utils.conv_nd import col2im_nd, get_conv_outsize, get_deconv_outsize, im2col_nd

__all__ = ["col2im", "col2im_cpu", "get_conv_outsize", "get_deconv_outsize", "im2col", "im2col_cpu"]


def im2col(img, kh, kw, sy, sx, ph, pw, pval=0, cover_all=False, dy=1, dx=1):
    """Windows of a batch of images: (n, c, h, w) to (n, c, kh, kw, out_h, out_w).

    Args:
        kh, kw, sy, sx, ph, pw, dy, dx: window, stride, padding and dilation along each axis.
        pval: value of the padding.
        cover_all: add windows until every pixel is covered.
    """
    return im2col_nd(img, (kh, kw), (sy, sx), (ph, pw), pval, cover_all, (dy, dx))


def col2im(col, sy, sx, ph, pw, h, w, dy=1, dx=1):
    """The adjoint of ``im2col``: windows added up into images of h x w."""
    return col2im_nd(col, (sy, sx), (ph, pw), (h, w), (dy, dx))


im2col_cpu = im2col
col2im_cpu = col2im
