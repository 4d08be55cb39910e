"""Functions as objects that are written one by one, because they do more than apply a function.

``Dropout(.5).apply((x,))`` is a tuple of outputs; ``backward(indexes, grad_outputs)`` gives gradients of the last application.
"""
from hybridnn.core.application import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.backprop import grad
from hybridnn.core.random import draw
from hybridnn.core.variable import Variable, as_array, as_variable
from hybridnn.errors import InvalidType
from hybridnn.functions.activation import rrelu, sigmoid, tanh
from hybridnn.functions.array import concat, stack, where
from hybridnn.functions.connection import convolution_2d, convolution_nd, deconvolution_2d, deconvolution_nd, local_convolution_2d
from hybridnn.functions.math import einsum, mean, rsqrt
from hybridnn.functions.noise import dropout, gaussian, simplified_dropconnect
from hybridnn.functions.normalization import batch_normalization
from hybridnn.functions.pooling import average_pooling_nd, max_pooling_nd
from hybridnn.functions.sparse import sparse_matmul
from hybridnn.ops.embedding import embed_grad
from hybridnn.ops.expect import tuple_of
from hybridnn.ops.linalg import einsum_spread

__all__ = ["AveragePooling2D", "AveragePoolingND", "BatchNormalization", "Convolution2DFunction", "ConvolutionND", "CooMatMul", "Deconvolution2DFunction",
           "DeconvolutionND", "DiagEinSum", "Dropout", "EmbedIDGrad", "Gaussian", "LSTMGrad", "LocalConvolution2DFunction", "MaxPooling2D",
           "MaxPoolingND", "MulInvStd", "RReLU", "SLSTMGrad", "SigmoidGrad", "SimplifiedDropconnect", "TanhGrad", "Zoneout"]


class _Function:
    """Base: subclasses define ``call(*inputs)``, which takes Variables to a Variable or a tuple of them."""
    inputs = outputs = ()

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def call(self, *inputs):
        """Variables to a Variable."""
        return self.function(*inputs, *self.args, **self.kwargs)

    def apply(self, inputs):
        """The outputs for Variables or arrays, as a tuple of Variables."""
        self.inputs = tuple([x if isinstance(x, Variable) else Variable(x) for x in inputs])
        result = self.call(*self.inputs)
        self.outputs = result if isinstance(result, tuple) else (result,)
        return self.outputs

    def __call__(self, *inputs):
        """The output, or a tuple of several."""
        outputs = self.apply(inputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def backward(self, target_input_indexes, grad_outputs):
        """Gradients of the chosen inputs of the last application, as a tuple of Variables."""
        targets = self.inputs if len(self.inputs) == 1 else [self.inputs[i] for i in target_input_indexes]
        return tuple(grad(self.outputs, targets, [as_variable(g) for g in grad_outputs]))


class Dropout(_Function):
    """``dropout`` that keeps its mask from one application to the next."""

    def __init__(self, dropout_ratio, mask=None, return_mask=False):
        self.dropout_ratio, self.mask, self.return_mask = dropout_ratio, mask, return_mask

    def call(self, x):
        y, self.mask = dropout(x, self.dropout_ratio, mask=self.mask, return_mask=True)
        return y


class Gaussian(_Function):
    """``gaussian`` that keeps its normal numbers from one application to the next."""

    def __init__(self, eps=None):
        self.eps = eps

    def call(self, mean, ln_var):
        y, self.eps = gaussian(mean, ln_var, eps=self.eps, return_eps=True)
        return y


class RReLU(_Function):
    """``rrelu`` that keeps its slopes from one application to the next."""

    def __init__(self, lower=1 / 8, upper=1 / 3, r=None):
        self.lower, self.upper, self.r = lower, upper, r

    def call(self, x):
        y, self.r = rrelu(x, self.lower, self.upper, r=self.r, return_r=True)
        return y


class SimplifiedDropconnect(_Function):
    """``simplified_dropconnect`` that keeps its mask from one application to the next."""

    def __init__(self, ratio, mask=None, use_batchwise_mask=True):
        self.ratio, self.mask, self.use_batchwise_mask = ratio, mask, use_batchwise_mask

    def call(self, x, W, b=None):
        if self.mask is None:
            self.mask = as_array(draw("rand", *(x.shape[:1] if self.use_batchwise_mask else ()), *W.shape, near=x)) >= self.ratio
        return simplified_dropconnect(x, W, b, self.ratio, mask=self.mask, use_batchwise_mask=self.use_batchwise_mask)


class Zoneout(_Function):
    """``zoneout`` that draws anew in each application; ``flag_x`` and ``flag_h`` tell what came from where."""

    def __init__(self, zoneout_ratio):
        self.zoneout_ratio = zoneout_ratio

    def call(self, h, x):
        self.flag_x = as_array(draw("rand", *x.shape, near=x)) >= self.zoneout_ratio
        self.flag_h = ~self.flag_x
        return where(self.flag_x, x, h)


class BatchNormalization(_Function):
    """``batch_normalization`` that moves the running statistics which it was given, and tells the last batch's (``mean``, ``inv_std``)."""
    mean = inv_std = None

    def __init__(self, eps=2e-5, mean=None, var=None, decay=0.9, axis=None):
        self.eps, self.running_mean, self.running_var, self.decay = eps, mean, var, decay
        self.axis = (axis,) if isinstance(axis, int) else axis

    def call(self, x, gamma, beta):
        y = batch_normalization(x, gamma, beta, self.eps, self.running_mean, self.running_var, self.decay, self.axis)
        if self.axis is None:
            self.axis = 0, *range(gamma.ndim + 1, x.ndim)
        self.mean = x.array.mean(self.axis, dtype=gamma.dtype)
        self.inv_std = (x.array.var(self.axis, dtype=gamma.dtype) + gamma.dtype.type(self.eps)) ** -0.5
        return y


class MaxPoolingND(_Function):
    """``max_pooling_nd`` over ``ndim`` axes. ``indexes`` holds the places of the maxima in their windows."""
    indexes = None

    def __init__(self, ndim, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
        super().__init__(ksize, stride, pad, cover_all)
        _keep_windows(self, ndim, ksize, stride, pad)
        self.cover_all, self.return_indices = cover_all, return_indices

    def call(self, x):
        y, self.indexes = max_pooling_nd(x, *self.args, return_indices=True)
        return y


class MaxPooling2D(MaxPoolingND):
    """``max_pooling_2d``."""

    def __init__(self, ksize, stride=None, pad=0, cover_all=True, return_indices=False):
        super().__init__(2, ksize, stride, pad, cover_all, return_indices)


class AveragePoolingND(_Function):
    """``average_pooling_nd`` over ``ndim`` axes."""
    function = staticmethod(average_pooling_nd)

    def __init__(self, ndim, ksize, stride=None, pad=0, cover_all=False, pad_value=0):
        _no_cover(cover_all)
        super().__init__(ksize, stride, pad, pad_value)
        _keep_windows(self, ndim, ksize, stride, pad)


class AveragePooling2D(AveragePoolingND):
    """``average_pooling_2d``, which has no ``cover_all``."""

    def __init__(self, ksize, stride=None, pad=0, cover_all=False):
        super().__init__(2, ksize, stride, pad, cover_all)


def _keep_windows(pooling, ndim, ksize, stride, pad):
    stride = ksize if stride is None else stride
    pooling.ndim = ndim
    pooling.ksize, pooling.stride, pooling.pad = [tuple_of(n, ndim, "pooling", name) for name, n in (("ksize", ksize), ("stride", stride), ("pad", pad))]


def _no_cover(cover_all):
    if cover_all:
        raise InvalidType("average pooling", "cover_all=False", "True")


class _Convolution(_Function):
    """A convolution of x, W and perhaps b."""

    def call(self, *inputs):
        if not 2 <= len(inputs) <= 3:
            raise InvalidType(type(self).__name__, "x, W and perhaps b", f"{len(inputs)} inputs")
        return self.function(*inputs, **self.kwargs)


class Convolution2DFunction(_Convolution):
    """``convolution_2d``."""
    function = staticmethod(convolution_2d)

    def __init__(self, stride=1, pad=0, cover_all=False, *, dilate=1, groups=1, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "deterministic", "requires_x_grad")
        super().__init__(stride=stride, pad=pad, cover_all=cover_all, dilate=dilate, groups=groups)


class ConvolutionND(_Convolution):
    """``convolution_nd`` over ``ndim`` axes."""
    function = staticmethod(convolution_nd)

    def __init__(self, ndim, stride=1, pad=0, cover_all=False, dilate=1, groups=1):
        super().__init__(stride=stride, pad=pad, cover_all=cover_all, dilate=dilate, groups=groups)
        self.ndim = ndim


class Deconvolution2DFunction(_Convolution):
    """``deconvolution_2d``."""
    function = staticmethod(deconvolution_2d)

    def __init__(self, stride=1, pad=0, outsize=None, *, dilate=1, groups=1, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "deterministic", "requires_x_grad")
        super().__init__(stride=stride, pad=pad, outsize=outsize, dilate=dilate, groups=groups)


class DeconvolutionND(_Convolution):
    """``deconvolution_nd`` over ``ndim`` axes."""
    function = staticmethod(deconvolution_nd)

    def __init__(self, ndim, stride=1, pad=0, outsize=None, dilate=1, groups=1):
        super().__init__(stride=stride, pad=pad, outsize=outsize, dilate=dilate, groups=groups)
        self.ndim = ndim


class LocalConvolution2DFunction(_Convolution):
    """``local_convolution_2d``."""
    function = staticmethod(local_convolution_2d)

    def __init__(self, stride=1):
        super().__init__(stride=stride)


class TanhGrad(_Function):
    """The gradient of ``tanh`` with respect to its input ``x``, of (y, gy): what ``tanh`` gave, and the gradient of that."""

    def __init__(self, x):
        self.x = x

    def call(self, y, gy):
        return gy * (1 - y * y)


class SigmoidGrad(_Function):
    """The gradient of ``sigmoid`` with respect to its input, of (y, gy): what ``sigmoid`` gave, and the gradient of that."""

    def __init__(self, inputs):
        self.x = inputs[0]

    def call(self, y, gy):
        return gy * y * (1 - y)


class EmbedIDGrad(_Function):
    """The gradient of ``embed_id`` with respect to W, of (x, gradient of the rows).

    Args:
        w_shape: shape of W, (vocabulary, units).
        ignore_label: the number in x whose rows do not count.
    """

    def __init__(self, w_shape, ignore_label=None):
        self.w_shape, self.ignore_label = w_shape, ignore_label

    def call(self, x, gy):
        return apply(embed_grad, (x, gy), {"rows": self.w_shape[0], "ignore_label": self.ignore_label})


class MulInvStd(_Function):
    """The second input divided by the standard deviation of the first, row by row.

    Args:
        eps: is added to the variance.
        mean, inv_std, dummy_gamma: not needed; the first input tells them.
    """

    def __init__(self, eps, mean, inv_std, dummy_gamma):
        self.eps = eps

    def call(self, x, y):
        centred = x - mean(x, axis=1, keepdims=True)
        return y * rsqrt(mean(centred * centred, axis=1, keepdims=True) + self.eps)


class _Coo:
    def __init__(self, data, row, col, shape):
        self.data, self.row, self.col, self.shape = data, row, col, tuple(shape)


class CooMatMul(_Function):
    """The product of a sparse matrix, given by its entries, and a dense one.

    Args:
        sp_row, sp_col, sp_shape, sp_order: places of the entries, shape and order of the sparse matrix.
        transa, transb, transc: transpose the sparse, the dense matrix, the product.
    """

    def __init__(self, sp_row, sp_col, sp_shape, sp_order="other", transa=False, transb=False, transc=False, dtype=None):
        self.places = (sp_row, sp_col, sp_shape)
        self.transposed = (transa, transb, transc)

    def call(self, data, dense):
        transa, transb, transc = self.transposed
        sparse = _Coo(data, *self.places)
        if transc:
            return sparse_matmul(dense, sparse, not transb, not transa)
        return sparse_matmul(sparse, dense, transa, transb)


class DiagEinSum(_Function):
    """Einstein summation whose output may name subscripts that no input has (repeated along them) or one twice (on its diagonal).

    Args:
        in_subs, out_sub: subscripts of the inputs, parted by commas, and of the output.
        out_shape: shape of the output; None where the inputs give it.
    """

    def __init__(self, in_subs, out_sub, out_shape=None):
        self.in_subs, self.out_sub, self.out_shape = in_subs, out_sub, out_shape

    def call(self, *inputs):
        subs, known = self.in_subs.split(","), "".join(dict.fromkeys(c for c in self.out_sub if c in self.in_subs))
        partial = einsum(f"{self.in_subs}->{known}", *inputs)
        sizes = {c: n for x, s in zip(inputs, subs) for c, n in zip(s, x.shape)}
        shape = tuple([sizes[c] for c in self.out_sub]) if self.out_shape is None else tuple(self.out_shape)
        return apply(einsum_spread, (partial,), {"source": known, "target": self.out_sub, "shape": shape})


def _cell_gradients(cells, xs, c_next, gc, gh):
    """Gradients of the cells and of the gates' inputs (batch, 4 * units, ...) of an LSTM with one or several of both, as one tuple."""
    n = gh.shape[0]
    gates = [x.reshape((n, x.shape[1] // 4, 4, *x.shape[2:])) for x in xs]
    tanh_c, o = tanh(c_next[:n]), sigmoid(sum([r[:, :, 3] for r in gates]))
    g, go = gh * o * (1 - tanh_c * tanh_c) + gc[:n], gh * tanh_c * o * (1 - o)
    g_cells, g_xs = [], []
    for c, r in zip(cells, gates):
        a, i, f = tanh(r[:, :, 0]), sigmoid(r[:, :, 1]), sigmoid(r[:, :, 2])
        g_cells.append(concat([g * f, gc[n:]], axis=0))
        gx = stack([g * i * (1 - a * a), g * a * i * (1 - i), g * c[:n] * f * (1 - f), go], axis=2)
        g_xs.append(gx.reshape((n, 4 * gx.shape[1], *gx.shape[3:])))
    return (*g_cells, *g_xs)


class LSTMGrad(_Function):
    """The gradients of ``lstm`` with respect to c_prev and x, of (c_prev, x, c_next, gc, gh)."""

    def call(self, c_prev, x, c_next, gc, gh):
        return _cell_gradients([c_prev], [x], c_next, gc, gh)


class SLSTMGrad(_Function):
    """The gradients of ``slstm`` with respect to its inputs, of (c_prev1, c_prev2, x1, x2, c_next, gc, gh)."""

    def call(self, c_prev1, c_prev2, x1, x2, c_next, gc, gh):
        return _cell_gradients([c_prev1, c_prev2], [x1, x2], c_next, gc, gh)
