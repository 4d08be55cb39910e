"""Small connecting links: biases, scales, free parameters, inception modules, convolutions followed by perceptrons."""
from itertools import pairwise

from hybridnn import functions as F
from hybridnn.backend import get_device_from_array, get_dtype
from hybridnn.core import Parameter as Param
from hybridnn.errors import InvalidArguments
from hybridnn.initializers import Constant
from hybridnn.link import Chain, ChainList, Link
from hybridnn.links.convolution import Convolution2D
from hybridnn.links.normalization import BatchNormalization
from hybridnn.utils.argument import parse_kwargs

__all__ = ["Bias", "Inception", "InceptionBN", "MLPConvolution2D", "Parameter", "Scale"]


class Bias(Link):
    """``x + b``, with b spread over x from ``axis`` on.

    Args:
        axis: axis of x that b's first axis matches.
        shape: shape of b; None: b is the second argument of the call.
    """

    def __init__(self, axis=1, shape=None):
        super().__init__()
        self.axis = axis
        if shape is not None:
            with self.init_scope():
                self.b = Param(Constant(0), shape)

    def forward(self, *xs):
        """``forward(x)``, or ``forward(x, y)`` if the link has no b."""
        return F.bias(*_operands(self, "b", xs), self.axis)


class Scale(Chain):
    """``x * W + bias``, with W spread over x from ``axis`` on.

    Args:
        axis: axis of x that W's first axis matches.
        W_shape: shape of W; None: W is the second argument of the call.
        bias_term: whether to add a learned bias.
        bias_shape: shape of the bias, needed if W is an argument.
    """

    def __init__(self, axis=1, W_shape=None, bias_term=False, bias_shape=None):
        super().__init__()
        self.axis = axis
        if bias_term and W_shape is None and bias_shape is None:
            raise ValueError("Scale: bias_shape is needed with bias_term if W is not a parameter")
        with self.init_scope():
            if W_shape is not None:
                self.W = Param(Constant(1), W_shape)
            if bias_term:
                self.bias = Bias(axis, bias_shape if W_shape is None else W_shape)

    def forward(self, *xs):
        """``forward(x)``, or ``forward(x, y)`` if the link has no W."""
        z = F.scale(*_operands(self, "W", xs), self.axis)
        return self.bias(z) if "bias" in self._children else z


def _operands(link, name, xs):
    own = name in link._params
    if len(xs) != (1 if own else 2):
        raise InvalidArguments(type(link).__name__, f"one argument, as it has {name}" if own
                               else f"two arguments, as it has no {name}", str(len(xs)))
    return (*xs, getattr(link, name)) if own else xs


class Parameter(Link):
    """One parameter ``W`` over the given array; calling the link returns it as a Variable."""

    def __init__(self, array):
        super().__init__()
        with self.init_scope():
            self.W = Param(array)
        self._device = get_device_from_array(array)

    def forward(self):
        """``W``."""
        return F.identity(self.W)


class Inception(Chain):
    """The inception module of GoogLeNet: convolutions of three sizes and a pooling, side by side (Szegedy et al. 2014).

    Args:
        in_channels: channels of the input, or None.
        out1, out3, out5: output channels of the 1x1, 3x3 and 5x5 convolutions.
        proj3, proj5: channels to which the input is projected before the 3x3 and 5x5 convolutions.
        proj_pool: output channels behind the pooling.
        conv_init, bias_init: initial weights and biases.
    """

    def __init__(self, in_channels, out1, proj3, out3, proj5, out5, proj_pool, conv_init=None, bias_init=None):
        super().__init__()
        how = {"initialW": conv_init, "initial_bias": bias_init}
        with self.init_scope():
            self.conv1 = Convolution2D(in_channels, out1, 1, **how)
            self.proj3 = Convolution2D(in_channels, proj3, 1, **how)
            self.conv3 = Convolution2D(proj3, out3, 3, pad=1, **how)
            self.proj5 = Convolution2D(in_channels, proj5, 1, **how)
            self.conv5 = Convolution2D(proj5, out5, 5, pad=2, **how)
            self.projp = Convolution2D(in_channels, proj_pool, 1, **how)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out1 + out3 + out5 + proj_pool, h, w)."""
        out1 = self.conv1(x)
        out3 = self.conv3(F.relu(self.proj3(x)))
        out5 = self.conv5(F.relu(self.proj5(x)))
        pool = self.projp(F.max_pooling_2d(x, 3, stride=1, pad=1))
        return F.relu(F.concat((out1, out3, out5, pool), axis=1))


class InceptionBN(Chain):
    """The inception module with batch normalisation, 5x5 convolutions split in two (Ioffe and Szegedy 2015).

    Args:
        in_channels: channels of the input, or None.
        out1, out3, out33: output channels of the 1x1, 3x3 and double 3x3 branches; out1 may be 0.
        proj3, proj33: channels of the projections before them.
        pooltype: ``"max"`` or ``"avg"``.
        proj_pool: output channels behind the pooling; None: no projection.
        stride: stride of the last layer of each branch; with a 1x1 branch it is 1.
        conv_init: initial weights.
        dtype: dtype of the normalisations.
    """

    def __init__(self, in_channels, out1, proj3, out3, proj33, out33, pooltype, proj_pool=None, stride=1, conv_init=None,
                 dtype=None):
        super().__init__()
        if pooltype not in ("max", "avg"):
            raise NotImplementedError(f"InceptionBN: pooltype is 'max' or 'avg'; got {pooltype!r}")
        if out1 > 0 and (stride != 1 or proj_pool is None):
            raise InvalidArguments("InceptionBN", f"stride 1 and a proj_pool with a 1x1 branch (out1={out1})", f"{stride}, {proj_pool}")
        self.out1, self.proj_pool, self.stride, self.pooltype = out1, proj_pool, stride, pooltype
        how, dtype = {"nobias": True, "initialW": conv_init}, get_dtype(dtype)
        with self.init_scope():
            self.proj3 = Convolution2D(in_channels, proj3, 1, **how)
            self.conv3 = Convolution2D(proj3, out3, 3, pad=1, stride=stride, **how)
            self.proj33 = Convolution2D(in_channels, proj33, 1, **how)
            self.conv33a = Convolution2D(proj33, out33, 3, pad=1, **how)
            self.conv33b = Convolution2D(out33, out33, 3, pad=1, stride=stride, **how)
            self.proj3n, self.conv3n = BatchNormalization(proj3, dtype=dtype), BatchNormalization(out3, dtype=dtype)
            self.proj33n = BatchNormalization(proj33, dtype=dtype)
            self.conv33an, self.conv33bn = BatchNormalization(out33, dtype=dtype), BatchNormalization(out33, dtype=dtype)
            if out1 > 0:
                self.conv1 = Convolution2D(in_channels, out1, 1, stride=stride, **how)
                self.conv1n = BatchNormalization(out1, dtype=dtype)
            if proj_pool is not None:
                self.poolp = Convolution2D(in_channels, proj_pool, 1, **how)
                self.poolpn = BatchNormalization(proj_pool, dtype=dtype)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to the branches' outputs, concatenated along channels."""
        outs = [F.relu(self.conv1n(self.conv1(x)))] if self.out1 > 0 else []
        h3 = F.relu(self.proj3n(self.proj3(x)))
        outs.append(F.relu(self.conv3n(self.conv3(h3))))
        h33 = F.relu(self.proj33n(self.proj33(x)))
        h33 = F.relu(self.conv33an(self.conv33a(h33)))
        outs.append(F.relu(self.conv33bn(self.conv33b(h33))))
        outs.append(self._pool(x))
        return F.concat(outs, axis=1)

    def _pool(self, x):
        if self.pooltype == "max":
            p = F.max_pooling_2d(x, 3, stride=self.stride, pad=1, cover_all=False)
        else:
            p = F.average_pooling_2d(x, 3, stride=self.stride, pad=1)
        return p if self.proj_pool is None else F.relu(self.poolpn(self.poolp(p)))


class MLPConvolution2D(ChainList):
    """A convolution, then 1x1 convolutions: a small perceptron at every place (Lin et al. 2014).

    Args:
        in_channels: channels of the input; ``MLPConvolution2D(out_channels, ksize)`` and None take it from the first call.
        out_channels: output channels of each layer, a sequence.
        ksize, stride, pad: of the first convolution.
        activation: function between layers.
        conv_init, bias_init: initial weights and biases.
    """

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0, activation=F.relu, *, conv_init=None,
                 bias_init=None, **kwargs):
        if kwargs:
            parse_kwargs(kwargs, wscale="MLPConvolution2D has no wscale: conv_init and bias_init scale the initial parameters")
        if ksize is None:
            out_channels, ksize, in_channels = in_channels, out_channels, None
        if not len(out_channels):
            raise ValueError("MLPConvolution2D: out_channels names at least one layer")
        how = {"initialW": conv_init, "initial_bias": bias_init}
        convs = [Convolution2D(in_channels, out_channels[0], ksize, stride, pad, **how)]
        convs += [Convolution2D(a, b, 1, **how) for a, b in pairwise(out_channels)]
        super().__init__(*convs)
        self.activation = activation

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels[-1], oh, ow)."""
        f = self.activation
        for layer in self[:-1]:
            x = f(layer(x))
        return self[-1](x)
