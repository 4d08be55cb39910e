"""Deconvolutions: the transposes of convolutions."""
from hybridnn import functions as F
from hybridnn.core.argument import refuse_kwargs
from hybridnn.link import Link
from hybridnn.links.weights import add_weights, as_pair, as_tuple, channels_of, grouped

__all__ = ["Deconvolution1D", "Deconvolution2D", "Deconvolution3D", "DeconvolutionND"]


class Deconvolution2D(Link):
    """Two-dimensional transposed convolution.

    Args:
        in_channels, out_channels, ksize, stride, pad, nobias, dilate, groups: as ``Convolution2D``.
        outsize: height and width of the output, or None to work them out.
        initialW: initial ``W`` (in_channels, out_channels / groups, kh, kw).
        initial_bias: initial ``b`` (out_channels,).
    """

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, outsize=None, initialW=None,
                 initial_bias=None, *, dilate=1, groups=1, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "deterministic")
        super().__init__()
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        self.in_channels, self.out_channels, self.ksize = in_channels, out_channels, ksize
        self.stride, self.pad, self.dilate, self.groups = as_pair(stride), as_pair(pad), as_pair(dilate), int(groups)
        self.outsize = outsize
        add_weights(self, in_channels, out_channels, initialW, initial_bias, nobias)

    def _initialize_params(self, in_channels):
        grouped(self, in_channels, self.out_channels, self.groups)
        self.W.initialize((in_channels, self.out_channels // self.groups, *as_pair(self.ksize)))

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4))
        return F.deconvolution_2d(x, self.W, self.b, self.stride, self.pad, self.outsize, dilate=self.dilate, groups=self.groups)


class DeconvolutionND(Link):
    """Transposed convolution over ``ndim`` axes; other arguments as ``Deconvolution2D``."""

    def __init__(self, ndim, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, outsize=None, initialW=None,
                 initial_bias=None, dilate=1, groups=1):
        super().__init__()
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        self.ndim, self.in_channels, self.out_channels, self.ksize = ndim, in_channels, out_channels, as_tuple(ksize, ndim)
        self.stride, self.pad, self.outsize, self.dilate, self.groups = stride, pad, outsize, as_tuple(dilate, ndim), int(groups)
        add_weights(self, in_channels, out_channels, initialW, initial_bias, nobias)

    def _initialize_params(self, in_channels):
        grouped(self, in_channels, self.out_channels, self.groups)
        self.W.initialize((in_channels, self.out_channels // self.groups, *self.ksize))

    def forward(self, x):
        """``x`` (n, in_channels, d1, ..., dN) to (n, out_channels, o1, ..., oN)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, self.ndim + 2))
        return F.deconvolution_nd(x, self.W, b=self.b, stride=self.stride, pad=self.pad, outsize=self.outsize,
                                  dilate=self.dilate, groups=self.groups)


class Deconvolution1D(DeconvolutionND):
    """``DeconvolutionND`` over one axis."""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, outsize=None, initialW=None,
                 initial_bias=None, dilate=1, groups=1):
        super().__init__(1, in_channels, out_channels, ksize, stride, pad, nobias, outsize, initialW, initial_bias, dilate,
                         groups)


class Deconvolution3D(DeconvolutionND):
    """``DeconvolutionND`` over three axes."""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, outsize=None, initialW=None,
                 initial_bias=None, dilate=1, groups=1):
        super().__init__(3, in_channels, out_channels, ksize, stride, pad, nobias, outsize, initialW, initial_bias, dilate,
                         groups)
