"""Functions as objects: what Chainer's modules hold besides their functions, for code that applies such an object itself.

``Dropout(.5).apply((x,))`` is a tuple of outputs; ``backward(indexes, grad_outputs)`` gives gradients of the last application.
"""
import numpy as np

from hybridnn.config import using_config
from hybridnn.core.application import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.backprop import grad
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.variable import Variable, as_variable
from hybridnn.errors import InvalidType
from hybridnn.functions import _roi, array, connection, evaluation, image, loss, normalization, rnn
from hybridnn.functions import activation as a
from hybridnn.functions import math as m
from hybridnn.functions._strided import stride_array
from hybridnn.functions.activation import sigmoid, tanh
from hybridnn.functions.array import concat, stack
from hybridnn.functions.connection import convolution_2d, convolution_nd, deconvolution_2d, deconvolution_nd, local_convolution_2d
from hybridnn.functions.math import einsum, mean, rsqrt
from hybridnn.functions.noise import dropout
from hybridnn.functions.pooling import average_pooling_2d, average_pooling_nd, max_pooling_2d, max_pooling_nd, unpooling_2d, unpooling_nd, upsampling_2d
from hybridnn.functions.sparse import sparse_matmul
from hybridnn.ops.linalg import einsum_spread

__all__ = ["NODES", "OBJECTS"]


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


class MaxPooling2D(_Function):
    """``max_pooling_2d``."""
    function = staticmethod(max_pooling_2d)

    def __init__(self, ksize, stride=None, pad=0, cover_all=True):
        super().__init__(ksize, stride, pad, cover_all)


class MaxPoolingND(_Function):
    """``max_pooling_nd`` over ``ndim`` axes."""
    function = staticmethod(max_pooling_nd)

    def __init__(self, ndim, ksize, stride=None, pad=0, cover_all=True):
        super().__init__(ksize, stride, pad, cover_all)
        self.ndim = ndim


class AveragePooling2D(_Function):
    """``average_pooling_2d``, which has no ``cover_all``."""
    function = staticmethod(average_pooling_2d)

    def __init__(self, ksize, stride=None, pad=0, cover_all=False):
        _no_cover(cover_all)
        super().__init__(ksize, stride, pad)


class AveragePoolingND(_Function):
    """``average_pooling_nd`` over ``ndim`` axes."""
    function = staticmethod(average_pooling_nd)

    def __init__(self, ndim, ksize, stride=None, pad=0, cover_all=False, pad_value=0):
        _no_cover(cover_all)
        super().__init__(ksize, stride, pad, pad_value)
        self.ndim = ndim


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


class _MulInvStd(_Function):
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


class _Applied(FunctionNode):
    """Base of functions as nodes: ``compute`` of the inputs and of what the constructor got."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def call(self, inputs):
        """The function of a sequence of Variables or arrays."""
        return self.compute(*inputs, *self.args, **self.kwargs)

    def forward(self, inputs):
        """Arrays to a tuple of arrays."""
        self.retain_inputs(range(len(inputs)))
        with using_config("enable_backprop", False):
            return tuple([y.array for y in _several(self.call(inputs))])

    def backward(self, target_input_indexes, grad_outputs):
        """Gradients by way of the function's own, on the retained inputs."""
        with using_config("enable_backprop", True):
            inputs = [m.identity(x) for x in self.get_retained_inputs()]      # nodes apart, also of an input that comes twice
            ys = _several(self.call(inputs))
            known = [(y, g) for y, g in zip(ys, grad_outputs) if g is not None]
            return tuple(grad([y for y, _ in known], [inputs[i] for i in target_input_indexes], [g for _, g in known], enable_double_backprop=True))


def _several(result):
    return result if isinstance(result, tuple) else (result,)


class _Gathered(_Applied):
    """A function of several inputs as one sequence."""

    def call(self, inputs):
        return self.compute(tuple(inputs), *self.args, **self.kwargs)


class _Settled(_Applied):
    """A function that takes what the constructor got before its inputs."""

    def call(self, inputs):
        return self.compute(*self.args, *inputs, **self.kwargs)


class _Called(_Applied):
    """A function that is also called: what ``Function`` is in Chainer."""

    def __call__(self, *inputs):
        """The output, or a tuple of several."""
        outputs = self.apply(inputs)
        return outputs if len(outputs) > 1 else outputs[0]


def _gathered(**functions):
    return _nodes(False, _Gathered, **functions)


def _called(**functions):
    return _nodes(False, _Called, **functions)


def _settled(**functions):
    return _nodes(False, _Settled, **functions)


def _mean(x, axis=None, keepdims=False):
    return mean(x, axis=axis, keepdims=keepdims)


def _scatter_add(a, b, slices):
    return array.scatter_add(a, slices, b)


def _resize_images(x, output_shape, mode="bilinear", align_corners=True):
    return image.resize_images(x, output_shape, mode=mode, align_corners=align_corners)


def _fourier(x, method):
    return {"fft": m.fft, "ifft": m.ifft}[method](x)


def _einsum(operands, in_subs, out_sub):
    return einsum(f"{in_subs}->{out_sub}".replace("@", "..."), *operands)


def _group_normalization(x, gamma, beta, groups, eps=1e-5):
    return normalization.group_normalization(x, groups, gamma, beta, eps)


def _unpooling_nd(x, ndim, *args, **kwargs):
    if len(x.shape) != ndim + 2:
        raise InvalidType("UnpoolingND", f"x (n, channels, ...) with {ndim} spatial axes", f"x.shape={x.shape}")
    return unpooling_nd(x, *args, **kwargs)


def det(a):
    """Determinants of matrices (n, k, k)."""
    return m.batch_det(a)


def _nodes(label_by_function, base=_Applied, **functions):
    """Classes of the given names; ``label`` is the function's name, or else the class's."""
    return {name: type(name, (base,), {"compute": staticmethod(f), "label": f.__name__ if label_by_function else name, "__module__": __name__,
                                           "__doc__": f"``{f.__name__}``."}) for name, f in functions.items()}


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


NODES = {
    ("activation", "clipped_relu"): _nodes(False, ClippedReLU=a.clipped_relu), ("activation", "crelu"): _nodes(False, CReLU=a.crelu),
    ("activation", "elu"): _nodes(False, ELU=a.elu), ("activation", "hard_sigmoid"): _nodes(False, HardSigmoid=a.hard_sigmoid),
    ("activation", "leaky_relu"): _nodes(False, LeakyReLU=a.leaky_relu), ("activation", "log_softmax"): _nodes(False, LogSoftmax=a.log_softmax),
    ("activation", "prelu"): _nodes(False, PReLUFunction=a.prelu), ("activation", "relu"): _nodes(False, ReLU=a.relu),
    ("activation", "sigmoid"): _nodes(False, Sigmoid=sigmoid), ("activation", "softmax"): _nodes(False, Softmax=a.softmax),
    ("activation", "softplus"): _nodes(False, Softplus=a.softplus), ("activation", "swish"): _nodes(False, Swish=a.swish),
    ("activation", "tanh"): _nodes(False, Tanh=tanh),
    ("math", "arctanh"): _nodes(False, Arctanh=m.arctanh), ("math", "digamma"): _nodes(True, DiGamma=m.digamma),
    ("math", "erf"): _nodes(True, Erf=m.erf), ("math", "erfc"): _nodes(True, Erfc=m.erfc), ("math", "erfcinv"): _nodes(True, ErfcInv=m.erfcinv),
    ("math", "erfcx"): _nodes(True, Erfcx=m.erfcx), ("math", "erfinv"): _nodes(True, ErfInv=m.erfinv),
    ("math", "exponential"): _nodes(True, Exp=m.exp, Log=m.log, Log2=m.log2, Log10=m.log10), ("math", "exponential_m1"): _nodes(True, Expm1=m.expm1),
    ("math", "fmod"): _nodes(True, Fmod=m.fmod), ("math", "hyperbolic"): _nodes(True, Cosh=m.cosh, Sinh=m.sinh),
    ("math", "identity"): _nodes(False, Identity=m.identity), ("math", "lgamma"): _nodes(True, LGamma=m.lgamma),
    ("math", "log_ndtr"): _nodes(True, LogNdtr=m.log_ndtr), ("math", "logarithm_1p"): _nodes(True, Log1p=m.log1p),
    ("math", "maximum"): _nodes(False, Maximum=m.maximum), ("math", "minimum"): _nodes(False, Minimum=m.minimum),
    ("math", "ndtr"): _nodes(True, Ndtr=m.ndtr), ("math", "ndtri"): _nodes(True, Ndtri=m.ndtri),
    ("math", "sqrt"): _nodes(True, Sqrt=m.sqrt), ("math", "square"): _nodes(True, Square=m.square),
    ("math", "trigonometric"): _nodes(True, Sin=m.sin, Cos=m.cos, Tan=m.tan, Arcsin=m.arcsin, Arccos=m.arccos, Arctan=m.arctan, Arctan2=m.arctan2),
}
_MORE = {
    "array": {
        "broadcast": _nodes(False, Broadcast=array.broadcast, BroadcastTo=array.broadcast_to), "cast": _nodes(False, Cast=array.cast),
        "concat": _gathered(Concat=concat), "depth2space": _nodes(False, Depth2Space=array.depth2space), "diagonal": _nodes(False, Diagonal=array.diagonal),
        "dstack": _gathered(Dstack=array.dstack), "expand_dims": _nodes(False, ExpandDims=array.expand_dims), "flip": _nodes(False, Flip=array.flip),
        "fliplr": _nodes(False, FlipLR=array.fliplr), "flipud": _nodes(False, FlipUD=array.flipud), "get_item": _nodes(False, GetItem=array.get_item),
        "hstack": _gathered(Hstack=array.hstack), "im2col": _nodes(False, Im2Col=image.im2col),
        "moveaxis": _nodes(False, Moveaxis=array.moveaxis), "pad": _nodes(False, Pad=array.pad),
        "permutate": _nodes(False, Permutate=array.permutate), "resize_images": _nodes(False, ResizeImages=_resize_images),
        "scatter_add": _nodes(False, ScatterAdd=_scatter_add), "separate": _nodes(False, Separate=array.separate),
        "where": _settled(Where=array.where),
        "repeat": _nodes(False, Repeat=array.repeat), "reshape": _nodes(False, Reshape=array.reshape), "rollaxis": _nodes(False, Rollaxis=array.rollaxis),
        "select_item": _nodes(False, SelectItem=array.select_item), "space2depth": _nodes(False, Space2Depth=array.space2depth),
        "split_axis": _nodes(False, SplitAxis=array.split_axis), "squeeze": _nodes(False, Squeeze=array.squeeze), "stack": _gathered(Stack=stack),
        "swapaxes": _nodes(False, Swapaxes=array.swapaxes), "tile": _nodes(False, Tile=array.tile), "transpose": _nodes(False, Transpose=array.transpose),
        "spatial_transformer_grid": _called(SpatialTransformerGrid=image.spatial_transformer_grid),
        "spatial_transformer_sampler": _called(SpatialTransformerSampler=image.spatial_transformer_sampler), "vstack": _gathered(Vstack=array.vstack)},
    "connection": {
        "embed_id": _nodes(False, EmbedIDFunction=connection.embed_id),
        "bilinear": _nodes(False, BilinearFunction=connection.bilinear), "linear": _nodes(False, LinearFunction=connection.linear),
        "shift": _nodes(False, Shift=connection.shift)},
    "evaluation": {
        "accuracy": _nodes(False, Accuracy=evaluation.accuracy), "binary_accuracy": _called(BinaryAccuracy=evaluation.binary_accuracy),
        "classification_summary": _called(ClassificationSummary=evaluation.classification_summary), "r2_score": _called(R2_score=evaluation.r2_score)},
    "loss": {
        "absolute_error": _nodes(False, AbsoluteError=loss.absolute_error), "contrastive": _nodes(False, Contrastive=loss.contrastive),
        "cross_covariance": _nodes(False, CrossCovariance=loss.cross_covariance), "decov": _called(DeCov=loss.decov),
        "hinge": _called(Hinge=loss.hinge), "huber_loss": _nodes(False, HuberLoss=loss.huber_loss),
        "mean_absolute_error": _nodes(False, MeanAbsoluteError=loss.mean_absolute_error),
        "mean_squared_error": _nodes(False, MeanSquaredError=loss.mean_squared_error),
        "sigmoid_cross_entropy": _nodes(False, SigmoidCrossEntropy=loss.sigmoid_cross_entropy),
        "softmax_cross_entropy": _nodes(False, SoftmaxCrossEntropy=loss.softmax_cross_entropy),
        "squared_error": _nodes(False, SquaredError=loss.squared_error), "triplet": _nodes(False, Triplet=loss.triplet)},
    "math": {
        "average": _nodes(False, Mean=_mean), "batch_l2_norm_squared": _nodes(False, BatchL2NormSquared=m.batch_l2_norm_squared),
        "clip": _nodes(False, Clip=m.clip), "einsum": _gathered(EinSum=_einsum), "fft": _gathered(FFT=_fourier),
        "polygamma": _nodes(True, PolyGamma=m.polygamma), "tensordot": _nodes(False, TensorDot=m.tensordot), "zeta": _nodes(True, _Settled, Zeta=m.zeta),
        "cholesky": _nodes(True, Cholesky=m.cholesky), "cumprod": _nodes(False, Cumprod=m.cumprod), "cumsum": _nodes(False, Cumsum=m.cumsum),
        "det": _nodes(True, BatchDet=det), "inv": _nodes(False, Inv=m.inv, BatchInv=m.batch_inv),
        "linear_interpolate": _nodes(False, LinearInterpolate=m.linear_interpolate), "logsumexp": _nodes(False, LogSumExp=m.logsumexp),
        "matmul": _nodes(False, MatMul=m.matmul), "minmax": _nodes(False, Max=m.max, Min=m.min, ArgMax=m.argmax, ArgMin=m.argmin),
        "prod": _nodes(False, Prod=m.prod), "sum": _nodes(False, Sum=m.sum, SumTo=m.sum_to)},
    "normalization": {
        "batch_normalization": _nodes(False, FixedBatchNormalization=normalization.fixed_batch_normalization),
        "group_normalization": _nodes(False, GroupNormalization=_group_normalization),
        "l2_normalization": _nodes(False, NormalizeL2=normalization.normalize),
        "layer_normalization": _nodes(False, LayerNormalization=normalization.layer_normalization),
        "local_response_normalization": _nodes(False, LocalResponseNormalization=normalization.local_response_normalization)},
    "pooling": {
        "unpooling_2d": _nodes(False, Unpooling2D=unpooling_2d), "unpooling_nd": _nodes(False, UnpoolingND=_unpooling_nd),
        "upsampling_2d": _nodes(False, Upsampling2D=upsampling_2d), "roi_pooling_2d": _nodes(False, ROIPooling2D=_roi.roi_pooling_2d),
        "roi_average_align_2d": _called(ROIAverageAlign2D=_roi.roi_average_align_2d),
        "roi_average_pooling_2d": _called(ROIAveragePooling2D=_roi.roi_average_pooling_2d),
        "roi_max_align_2d": _called(ROIMaxAlign2D=_roi.roi_max_align_2d), "roi_max_pooling_2d": _called(ROIMaxPooling2D=_roi.roi_max_pooling_2d)},
    "rnn": {"lstm": _nodes(False, LSTM=rnn.lstm), "slstm": _nodes(False, SLSTM=rnn.slstm), "tree_lstm": _called(TreeLSTM=rnn.tree_lstm)},
}


def _joined(*tables):
    joined = {}
    for table in tables:
        for path, members in table.items():
            joined[path] = joined.get(path, {}) | members
    return joined


OBJECTS = _joined({(area, module): members for area, modules in _MORE.items() for module, members in modules.items()}, {
    **NODES, ("array", "as_strided"): {"_stride_array": stride_array}, ("array", "flip"): {"_flip": np.flip},
    ("connection", "convolution_2d"): {"Convolution2DFunction": Convolution2DFunction},
    ("connection", "convolution_nd"): {"ConvolutionND": ConvolutionND},
    ("connection", "deconvolution_2d"): {"Deconvolution2DFunction": Deconvolution2DFunction},
    ("connection", "deconvolution_nd"): {"DeconvolutionND": DeconvolutionND},
    ("connection", "local_convolution_2d"): {"LocalConvolution2DFunction": LocalConvolution2DFunction},
    ("normalization", "group_normalization"): {"_MulInvStd": _MulInvStd},
    ("rnn", "lstm"): {"LSTMGrad": LSTMGrad}, ("rnn", "slstm"): {"SLSTMGrad": SLSTMGrad},
    ("math", "einsum"): {"DiagEinSum": DiagEinSum},
    ("noise", "dropout"): {"Dropout": Dropout}, ("math", "sparse_matmul"): {"CooMatMul": CooMatMul},
    ("pooling", "max_pooling_2d"): {"MaxPooling2D": MaxPooling2D}, ("pooling", "average_pooling_2d"): {"AveragePooling2D": AveragePooling2D},
    ("pooling", "max_pooling_nd"): {"MaxPoolingND": MaxPoolingND}, ("pooling", "average_pooling_nd"): {"AveragePoolingND": AveragePoolingND},
})
