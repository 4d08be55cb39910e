"""Convolutions over images and over any number of axes."""
from hybridnn import functions as F
from hybridnn.core import as_array
from hybridnn.core.argument import refuse_kwargs
from hybridnn.initializers import HeNormal, Zero
from hybridnn.link import Chain, Link
from hybridnn.links.linear import check_bias
from hybridnn.links.weights import add_weights, as_pair, as_tuple, channels_of, grouped, new_bias, new_weight

__all__ = ["Convolution1D", "Convolution2D", "Convolution3D", "ConvolutionND", "DeformableConvolution2D",
           "DeformableConvolution2DSampler", "DepthwiseConvolution2D", "DilatedConvolution2D", "LocalConvolution2D"]


class Convolution2D(Link):
    """Two-dimensional convolution.

    ``Convolution2D(out_channels, ksize)`` and ``in_channels=None`` take the number of input channels from the first call.

    Args:
        in_channels, out_channels: numbers of channels.
        ksize, stride, pad: numbers or pairs.
        nobias: leave out ``b``.
        initialW: initial ``W`` (out_channels, in_channels / groups, kh, kw).
        initial_bias: initial ``b`` (out_channels,).
        dilate: distance between the kernel's taps; number or pair.
        groups: number of groups that channels are split into.
    """

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None,
                 *, dilate=1, groups=1, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "deterministic")
        super().__init__()
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        self.in_channels, self.out_channels, self.ksize = in_channels, out_channels, ksize
        self.stride, self.pad, self.dilate, self.groups = as_pair(stride), as_pair(pad), as_pair(dilate), int(groups)
        add_weights(self, in_channels, out_channels, initialW, initial_bias, nobias)

    def _initialize_params(self, in_channels):
        grouped(self, in_channels, self.out_channels, self.groups)
        self.W.initialize((self.out_channels, in_channels // self.groups, *as_pair(self.ksize)))

    @classmethod
    def from_params(cls, W, b=None, stride=1, pad=0, nobias=False, *, dilate=1, groups=1):
        """A link over given arrays ``W`` and ``b`` (or None)."""
        out_channels, in_channels, *ksize = W.shape
        check_bias(cls, out_channels, b)
        return cls(in_channels * groups, out_channels, tuple(ksize), stride, pad, nobias, as_array(W), as_array(b),
                   dilate=dilate, groups=groups)

    @property
    def printable_specs(self):
        for name in ("in_channels", "out_channels", "ksize", "stride", "pad"):
            yield name, getattr(self, name)
        yield "nobias", self.b is None
        yield "dilate", self.dilate
        yield "groups", self.groups

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4))
        return F.convolution_2d(x, self.W, self.b, self.stride, self.pad, dilate=self.dilate, groups=self.groups)


class ConvolutionND(Link):
    """Convolution over ``ndim`` axes; arguments as ``Convolution2D``.

    Args:
        ndim: number of spatial axes.
        cover_all: pad so that every input is covered.
    """

    def __init__(self, ndim, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, initialW=None,
                 initial_bias=None, cover_all=False, dilate=1, groups=1):
        super().__init__()
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        self.ndim, self.in_channels, self.out_channels, self.ksize = ndim, in_channels, out_channels, as_tuple(ksize, ndim)
        self.stride, self.pad, self.cover_all = stride, pad, cover_all
        self.dilate, self.groups = as_tuple(dilate, ndim), int(groups)
        add_weights(self, in_channels, out_channels, initialW, initial_bias, nobias)

    def _initialize_params(self, in_channels):
        grouped(self, in_channels, self.out_channels, self.groups)
        self.W.initialize((self.out_channels, in_channels // self.groups, *self.ksize))

    @classmethod
    def from_params(cls, W, b=None, stride=1, pad=0, nobias=False, *, cover_all=False, dilate=1, groups=1):
        """A link over given arrays ``W`` and ``b`` (or None)."""
        out_channels, in_channels, *ksize = W.shape
        check_bias(cls, out_channels, b)
        return ConvolutionND(len(ksize), in_channels * groups, out_channels, tuple(ksize), stride, pad, nobias, as_array(W),
                             as_array(b), cover_all, dilate, groups)

    @property
    def printable_specs(self):
        for name in ("ndim", "in_channels", "out_channels", "ksize", "stride", "pad"):
            yield name, getattr(self, name)
        yield "nobias", self.b is None
        for name in ("cover_all", "dilate", "groups"):
            yield name, getattr(self, name)

    def forward(self, x):
        """``x`` (n, in_channels, d1, ..., dN) to (n, out_channels, o1, ..., oN)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, self.ndim + 2))
        return F.convolution_nd(x, self.W, self.b, self.stride, self.pad, cover_all=self.cover_all, dilate=self.dilate,
                                groups=self.groups)


class Convolution1D(ConvolutionND):
    """``ConvolutionND`` over one axis."""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None,
                 cover_all=False, dilate=1, groups=1):
        super().__init__(1, in_channels, out_channels, ksize, stride, pad, nobias, initialW, initial_bias, cover_all, dilate,
                         groups)


class Convolution3D(ConvolutionND):
    """``ConvolutionND`` over three axes."""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None,
                 cover_all=False, dilate=1, groups=1):
        super().__init__(3, in_channels, out_channels, ksize, stride, pad, nobias, initialW, initial_bias, cover_all, dilate,
                         groups)


class DilatedConvolution2D(Link):
    """Convolution with gaps of ``dilate`` between the kernel's taps; arguments as ``Convolution2D``."""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, dilate=1, nobias=False, initialW=None,
                 initial_bias=None):
        super().__init__()
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        self.in_channels, self.out_channels, self.ksize = in_channels, out_channels, ksize
        self.stride, self.pad, self.dilate = as_pair(stride), as_pair(pad), as_pair(dilate)
        add_weights(self, in_channels, out_channels, initialW, initial_bias, nobias)

    def _initialize_params(self, in_channels):
        self.W.initialize((self.out_channels, in_channels, *as_pair(self.ksize)))

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4))
        return F.dilated_convolution_2d(x, self.W, self.b, self.stride, self.pad, self.dilate)


class DepthwiseConvolution2D(Link):
    """Every input channel convolved with ``channel_multiplier`` kernels of its own.

    Args:
        in_channels: number of channels, or None to take it from the first call.
        channel_multiplier: outputs per input channel.
        ksize, stride, pad, nobias: as ``Convolution2D``.
        initialW: initial ``W`` (channel_multiplier, in_channels, kh, kw); ``HeNormal(1 / sqrt(2))`` by default.
        initial_bias: initial ``b`` (channel_multiplier * in_channels,).
    """

    def __init__(self, in_channels, channel_multiplier, ksize, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None):
        super().__init__()
        self.ksize, self.stride, self.pad = ksize, as_pair(stride), as_pair(pad)
        self.channel_multiplier, self.nobias = channel_multiplier, nobias
        with self.init_scope():
            self.W = new_weight(HeNormal(2 ** -.5) if initialW is None else initialW)
            self.b = None if nobias else new_bias(initial_bias)
        if in_channels is not None:
            self._initialize_params(in_channels)

    def _initialize_params(self, in_channels):
        self.W.initialize((self.channel_multiplier, in_channels, *as_pair(self.ksize)))
        if self.b is not None:
            self.b.initialize(self.channel_multiplier * in_channels)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, in_channels * channel_multiplier, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4))
        return F.depthwise_convolution_2d(x, self.W, self.b, self.stride, self.pad)


class DeformableConvolution2DSampler(Link):
    """Convolution that reads its input at places shifted by ``offset``; parameters as ``Convolution2D``, starting at 0."""

    def __init__(self, in_channels, out_channels, ksize, stride=1, pad=0, nobias=False, initialW=None, initial_bias=None):
        super().__init__()
        self.ksize, self.stride, self.pad, self.out_channels = ksize, as_pair(stride), as_pair(pad), out_channels
        with self.init_scope():
            self.W = new_weight(Zero() if initialW is None else initialW)
            self.b = None if nobias else new_bias(initial_bias)
        if in_channels is not None:
            self._initialize_params(in_channels)

    def _initialize_params(self, in_channels):
        self.W.initialize((self.out_channels, in_channels, *as_pair(self.ksize)))
        if self.b is not None:
            self.b.initialize(self.out_channels)

    def forward(self, x, offset):
        """``x`` (n, in_channels, h, w), ``offset`` (n, 2 kh kw, oh, ow) to (n, out_channels, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4))
        return F.deformable_convolution_2d_sampler(x, offset, self.W, self.b, self.stride, self.pad)


class DeformableConvolution2D(Chain):
    """A convolution that learns where to look: one convolution gives the offsets, the other samples there (Dai et al. 2017).

    Args:
        in_channels, out_channels, ksize, stride, pad: as ``Convolution2D``.
        offset_nobias, offset_initialW, offset_initial_bias: of the convolution that gives the offsets.
        deform_nobias, deform_initialW, deform_initial_bias: of the one that samples.
    """

    def __init__(self, in_channels, out_channels, ksize, stride=1, pad=0, offset_nobias=False, offset_initialW=None,
                 offset_initial_bias=None, deform_nobias=False, deform_initialW=None, deform_initial_bias=None):
        super().__init__()
        kh, kw = as_pair(ksize)
        with self.init_scope():
            self.offset_conv = Convolution2D(in_channels, 2 * kh * kw, ksize, stride, pad, offset_nobias, offset_initialW,
                                             offset_initial_bias)
            self.deform_conv = DeformableConvolution2DSampler(in_channels, out_channels, ksize, stride, pad, deform_nobias,
                                                              deform_initialW, deform_initial_bias)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, oh, ow)."""
        return self.deform_conv(x, self.offset_conv(x))


class LocalConvolution2D(Link):
    """Convolution with a kernel of its own at every place.

    Args:
        in_channels, out_channels: numbers of channels; in_channels may be None.
        in_size: height and width of the input (number or pair), or None to take them from the first call.
        ksize, stride, nobias: as ``Convolution2D``.
        initialW: initial ``W`` (out_channels, oh, ow, in_channels, kh, kw).
        initial_bias: initial ``b`` (out_channels, oh, ow).
    """

    def __init__(self, in_channels, out_channels, in_size=None, ksize=None, stride=1, nobias=False, initialW=None,
                 initial_bias=None):
        super().__init__()
        self.ksize, self.stride, self.nobias, self.out_channels = ksize, as_pair(stride), nobias, out_channels
        with self.init_scope():
            self.W = new_weight(initialW)
            self.b = None if nobias else new_bias(initial_bias)
            if in_channels is not None and in_size is not None:
                self._initialize_params(in_channels, as_pair(in_size))

    def _initialize_params(self, in_channels, in_size):
        kernel = as_pair(self.ksize)
        out = tuple((n - k) // s + 1 for n, k, s in zip(in_size, kernel, self.stride, strict=True))
        self.W.initialize((self.out_channels, *out, in_channels, *kernel))
        if self.b is not None:
            self.b.initialize((self.out_channels, *out))

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, oh, ow)."""
        if not self.W.is_initialized:
            self._initialize_params(channels_of(self, x, 4), x.shape[2:])
        return F.local_convolution_2d(x, self.W, self.b, self.stride)
