"""Sliding windows over the spatial axes of (n, channels, ...): geometry, views and their adjoint. Convolution and pooling rest
on it.

A ``Window`` is one op's geometry: per spatial axis the kernel size, stride, padding and dilation. ``cover_all`` makes the last
window reach the last element, where Chainer's rule does: the output grows, and the padding behind with it.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

__all__ = ["Window", "conv_outsize", "deconv_outsize"]


def conv_outsize(size, k, s, p, cover_all=False, d=1):
    """Number of windows along one axis of ``size`` elements."""
    reach = d * (k - 1) + 1
    return (size + 2 * p - reach + (s - 1 if cover_all else 0)) // s + 1


def deconv_outsize(size, k, s, p, cover_all=False, d=1):
    """Elements along one axis that ``size`` windows cover: an inverse of ``conv_outsize``."""
    reach = d * (k - 1) + 1
    return s * (size - 1) + reach - (s - 1 if cover_all else 0) - 2 * p


@dataclass(frozen=True)
class Window:
    """Geometry of windows over arrays (n, channels, *size): everything is a tuple with one entry per spatial axis."""

    size: tuple
    ksize: tuple
    stride: tuple
    pad: tuple
    dilate: tuple
    out: tuple

    @property
    def elements(self):
        return prod(self.ksize)

    @property
    def padded(self):
        """Size of the padded array: just what the windows reach, and at least what padding in front makes of it."""
        return tuple(
            [
                max(p + n, s * (o - 1) + d * (k - 1) + 1)
                for n, k, s, p, d, o in zip(self.size, self.ksize, self.stride, self.pad, self.dilate, self.out)
            ]
        )

    @property
    def inner(self):
        """Where the array itself lies in the padded one."""
        return (slice(None), slice(None), *[slice(p, p + n) for p, n in zip(self.pad, self.size)])

    def slots(self):
        """Per kernel offset in row-major order: the index of that element of every window in the padded array."""
        return _slots(self.ksize, self.stride, self.dilate, self.out)

    def pad_array(self, xp, x, fill=0):
        """``x`` with ``fill`` around it (itself if there is nothing to add)."""
        if self.padded == tuple(x.shape[2:]):
            return x
        y = xp.full((*x.shape[:2], *self.padded), fill, x.dtype)
        y[self.inner] = x
        return y

    def view(self, xp, x, fill=0):
        """(n, channels, *ksize, *out): a view of the padded array in which every window's elements are in place."""
        x = self.pad_array(xp, x, fill)
        lead, strides = x.strides[:2], x.strides[2:]
        steps = (*lead, *[t * d for t, d in zip(strides, self.dilate)], *[t * s for t, s in zip(strides, self.stride)])
        return xp.lib.stride_tricks.as_strided(x, (*x.shape[:2], *self.ksize, *self.out), steps)

    def add_columns(self, y, columns):
        """Add (n, channels, elements, *out) to the padded array y (n, channels, *padded), in place."""
        for i, slot in enumerate(self.slots()):
            y[slot] += columns[:, :, i]

    def scatter(self, xp, columns):
        """The adjoint of ``view``: (n, channels, elements, *out) summed into (n, channels, *size)."""
        y = xp.zeros((*columns.shape[:2], *self.padded), columns.dtype)
        self.add_columns(y, columns)
        return self.cropped(y)

    def cropped(self, y):
        """The padded array without its padding."""
        return y if self.padded == self.size else y[self.inner]


@lru_cache(maxsize=256)
def _slots(ksize, stride, dilate, out):
    whole = (slice(None), slice(None))
    return tuple(
        [
            whole + tuple([slice(d * i, d * i + s * (o - 1) + 1, s) for i, s, d, o in zip(offset, stride, dilate, out)])
            for offset in product(*map(range, ksize))
        ]
    )
