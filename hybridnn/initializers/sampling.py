"""Filters that interpolate: for the convolution that shrinks an image and the deconvolution that enlarges it."""
import numpy as np

from hybridnn.backend import copyto
from hybridnn.errors import InvalidType
from hybridnn.initializer import Initializer

__all__ = ["DownsamplingConvFilter", "UpsamplingDeconvFilter"]


def _linear_filter(size, ndim):
    """A pyramid: the product over axes of 1 - distance from the centre, in units of half the size."""
    half = (size + 1) // 2
    centre = half - 1.0 if size % 2 else half - 0.5
    filt = 1.0
    for axis in np.ogrid[(slice(size),) * ndim]:
        filt = filt * (1.0 - abs(axis - centre) / half)
    return filt


class _SamplingFilter(Initializer):
    """Fills weights of shape (n, n, k, ..., k) or (n, 1, k, ..., k): one filter per channel.

    Args:
        interpolation: only ``"linear"``.
    """
    _normalize = False

    def __init__(self, interpolation="linear", dtype=None):
        if interpolation != "linear":
            raise ValueError(f"interpolation is 'linear'; got {interpolation!r}")
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        channels, depth, *kernel = array.shape
        if depth not in (1, channels):
            raise InvalidType(type(self).__name__, "a weight of shape (n, n, k, ...) or (n, 1, k, ...)", str(array.shape))
        if len(set(kernel)) != 1:
            raise ValueError(f"{type(self).__name__} needs a kernel with sides of one length; got {tuple(kernel)}")
        filt = _linear_filter(kernel[0], len(kernel))
        values = np.zeros(array.shape, array.dtype)
        values[np.arange(channels), np.arange(channels) % depth] = filt / filt.sum() if self._normalize else filt
        copyto(array, values)


class UpsamplingDeconvFilter(_SamplingFilter):
    """Makes a deconvolution interpolate between pixels."""


class DownsamplingConvFilter(_SamplingFilter):
    """Makes a convolution average over its window; the filter sums to 1."""
    _normalize = True
