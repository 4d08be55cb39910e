"""Functions as ``FunctionNode``s: a class for each, made from the function."""
from inspect import signature

import numpy as np

from hybridnn.config import using_config
from hybridnn.core.backprop import grad
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.variable import Variable
from hybridnn.errors import InvalidType
from hybridnn.functions import _roi, array, connection, evaluation, image, loss, normalization, rnn
from hybridnn.functions import activation as a
from hybridnn.functions import math as m
from hybridnn.functions.activation import sigmoid, tanh
from hybridnn.functions.array import concat, stack
from hybridnn.functions.math import einsum, mean
from hybridnn.functions.pooling import unpooling_2d, unpooling_nd, upsampling_2d
from hybridnn.ops.axes import axes_of, axis_of

__all__ = ["ACTIVATION_AND_MATH", "OTHER_AREAS"]

MOST_AXES = 64          # of NumPy's arrays


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
            for i in target_input_indexes:
                if not inputs[i].requires_grad:     # the program asks, not a walk
                    inputs[i] = Variable(inputs[i].array)
            ys = _several(self.call(inputs))
            known = [(y, g) for y, g in zip(ys, grad_outputs) if g is not None]
            return tuple(grad([y for y, _ in known], [inputs[i] for i in target_input_indexes], [g for _, g in known], enable_double_backprop=True))


def _several(result):
    return result if isinstance(result, tuple) else (result,)


class _Gathered(_Applied):
    """A function of several inputs as one sequence."""

    def call(self, inputs):
        return self.compute(tuple(inputs), *self.args, **self.kwargs)


class _Joined(_Gathered):
    """A function of several inputs along one axis."""

    def __init__(self, axis=1):
        if not isinstance(axis, (int, np.integer)):
            raise InvalidType(type(self).__name__, "axis as an int", repr(axis))
        super().__init__(axis)


class _Settled(_Applied):
    """A function that takes what the constructor got before its inputs."""

    def call(self, inputs):
        return self.compute(*self.args, *inputs, **self.kwargs)


class _Along(_Applied):
    """A function along axes, of which the constructor gets them: where they cannot be right, that raises."""

    def __init__(self, axis=None, *args, **kwargs):
        axes_of(type(self).__name__, axis, MOST_AXES)
        super().__init__(axis, *args, **kwargs)


class _AlongOne(_Applied):
    """A function along one axis."""

    def __init__(self, axis=None):
        if axis is not None:
            axis_of(type(self).__name__, axis, MOST_AXES)
        super().__init__(axis)


class _Called(_Applied):
    """A function that is also called: what ``Function`` is in Chainer."""

    def __call__(self, *inputs):
        """The output, or a tuple of several."""
        outputs = self.apply(inputs)
        return outputs if len(outputs) > 1 else outputs[0]


class _Named(_Called):
    """A function of any number of inputs, called by name with what the constructor got."""

    def __init__(self, *args, **kwargs):
        settings = [p.name for p in signature(self.compute).parameters.values() if p.kind is p.KEYWORD_ONLY]
        super().__init__(**dict(zip(settings, args, strict=False)), **kwargs)


# ------------------------------------------------------------------------------------------------------- classes of functions

def _classes(base, functions, label):
    return {name: type(name, (base,), {"compute": staticmethod(f), "label": label(name, f), "__module__": __name__, "__doc__": f"``{f.__name__}``."})
            for name, f in functions.items()}


def _nodes(base=_Applied, /, **functions):
    """Classes of the given names, which are also their labels."""
    return _classes(base, functions, lambda name, f: name)


def _labelled(base=_Applied, /, **functions):
    """Classes of the given names, whose labels are the functions' own names."""
    return _classes(base, functions, lambda name, f: f.__name__)


def _along(**functions):
    return _nodes(_Along, **functions)


def _gathered(**functions):
    return _nodes(_Gathered, **functions)


def _called(**functions):
    return _nodes(_Called, **functions)


def _settled(**functions):
    return _nodes(_Settled, **functions)


# ------------------------------------------------------------------- functions whose arguments Chainer's classes have otherwise

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


def _ctc(n_inputs, n_labels, t, *x, blank_symbol, reduce="mean"):
    return loss.connectionist_temporal_classification(x, t, blank_symbol, n_inputs, n_labels, reduce)


def _unpooling_nd(x, ndim, *args, **kwargs):
    if len(x.shape) != ndim + 2:
        raise InvalidType("UnpoolingND", f"x (n, channels, ...) with {ndim} spatial axes", f"x.shape={x.shape}")
    return unpooling_nd(x, *args, **kwargs)


def det(a):
    """Determinants of matrices (n, k, k)."""
    return m.batch_det(a)


# ---------------------------------------------------------------------------------------------------------------------- tables

ACTIVATION_AND_MATH = {
    ("activation", "clipped_relu"): _nodes(ClippedReLU=a.clipped_relu), ("activation", "crelu"): _nodes(CReLU=a.crelu),
    ("activation", "elu"): _nodes(ELU=a.elu), ("activation", "hard_sigmoid"): _nodes(HardSigmoid=a.hard_sigmoid),
    ("activation", "leaky_relu"): _nodes(LeakyReLU=a.leaky_relu), ("activation", "log_softmax"): _nodes(LogSoftmax=a.log_softmax),
    ("activation", "prelu"): _nodes(PReLUFunction=a.prelu), ("activation", "relu"): _nodes(ReLU=a.relu),
    ("activation", "sigmoid"): _nodes(Sigmoid=sigmoid), ("activation", "softmax"): _nodes(Softmax=a.softmax),
    ("activation", "softplus"): _nodes(Softplus=a.softplus), ("activation", "swish"): _nodes(Swish=a.swish),
    ("activation", "tanh"): _nodes(Tanh=tanh),
    ("math", "arctanh"): _nodes(Arctanh=m.arctanh), ("math", "digamma"): _labelled(DiGamma=m.digamma),
    ("math", "erf"): _labelled(Erf=m.erf), ("math", "erfc"): _labelled(Erfc=m.erfc), ("math", "erfcinv"): _labelled(ErfcInv=m.erfcinv),
    ("math", "erfcx"): _labelled(Erfcx=m.erfcx), ("math", "erfinv"): _labelled(ErfInv=m.erfinv),
    ("math", "exponential"): _labelled(Exp=m.exp, Log=m.log, Log2=m.log2, Log10=m.log10), ("math", "exponential_m1"): _labelled(Expm1=m.expm1),
    ("math", "fmod"): _labelled(Fmod=m.fmod), ("math", "hyperbolic"): _labelled(Cosh=m.cosh, Sinh=m.sinh),
    ("math", "identity"): _nodes(Identity=m.identity), ("math", "lgamma"): _labelled(LGamma=m.lgamma),
    ("math", "log_ndtr"): _labelled(LogNdtr=m.log_ndtr), ("math", "logarithm_1p"): _labelled(Log1p=m.log1p),
    ("math", "maximum"): _nodes(Maximum=m.maximum), ("math", "minimum"): _nodes(Minimum=m.minimum),
    ("math", "ndtr"): _labelled(Ndtr=m.ndtr), ("math", "ndtri"): _labelled(Ndtri=m.ndtri),
    ("math", "sqrt"): _labelled(Sqrt=m.sqrt), ("math", "square"): _labelled(Square=m.square),
    ("math", "trigonometric"): _labelled(Sin=m.sin, Cos=m.cos, Tan=m.tan, Arcsin=m.arcsin, Arccos=m.arccos, Arctan=m.arctan, Arctan2=m.arctan2),
}
OTHER_AREAS = {
    "array": {
        "broadcast": _nodes(Broadcast=array.broadcast, BroadcastTo=array.broadcast_to), "cast": _nodes(Cast=array.cast),
        "concat": _nodes(_Joined, Concat=concat), "depth2space": _nodes(Depth2Space=array.depth2space), "diagonal": _nodes(Diagonal=array.diagonal),
        "dstack": _gathered(Dstack=array.dstack), "expand_dims": _nodes(ExpandDims=array.expand_dims), "flip": _nodes(Flip=array.flip),
        "fliplr": _nodes(FlipLR=array.fliplr), "flipud": _nodes(FlipUD=array.flipud), "get_item": _nodes(GetItem=array.get_item),
        "hstack": _gathered(Hstack=array.hstack), "im2col": _nodes(Im2Col=image.im2col),
        "moveaxis": _nodes(Moveaxis=array.moveaxis), "pad": _nodes(Pad=array.pad),
        "permutate": _nodes(Permutate=array.permutate), "resize_images": _nodes(ResizeImages=_resize_images),
        "scatter_add": _nodes(ScatterAdd=_scatter_add), "separate": _nodes(Separate=array.separate),
        "where": _settled(Where=array.where),
        "repeat": _nodes(Repeat=array.repeat), "reshape": _nodes(Reshape=array.reshape), "rollaxis": _nodes(Rollaxis=array.rollaxis),
        "select_item": _nodes(SelectItem=array.select_item), "space2depth": _nodes(Space2Depth=array.space2depth),
        "split_axis": _nodes(SplitAxis=array.split_axis), "squeeze": _nodes(Squeeze=array.squeeze), "stack": _gathered(Stack=stack),
        "swapaxes": _nodes(Swapaxes=array.swapaxes), "tile": _nodes(Tile=array.tile), "transpose": _nodes(Transpose=array.transpose),
        "spatial_transformer_grid": _called(SpatialTransformerGrid=image.spatial_transformer_grid),
        "spatial_transformer_sampler": _called(SpatialTransformerSampler=image.spatial_transformer_sampler), "vstack": _gathered(Vstack=array.vstack)},
    "connection": {
        "embed_id": _nodes(EmbedIDFunction=connection.embed_id),
        "bilinear": _nodes(BilinearFunction=connection.bilinear), "linear": _nodes(LinearFunction=connection.linear),
        "shift": _nodes(Shift=connection.shift)},
    "evaluation": {
        "accuracy": _nodes(Accuracy=evaluation.accuracy), "binary_accuracy": _called(BinaryAccuracy=evaluation.binary_accuracy),
        "classification_summary": _called(ClassificationSummary=evaluation.classification_summary), "r2_score": _called(R2_score=evaluation.r2_score)},
    "loss": {
        "absolute_error": _nodes(AbsoluteError=loss.absolute_error), "contrastive": _nodes(Contrastive=loss.contrastive),
        "cross_covariance": _nodes(CrossCovariance=loss.cross_covariance),
        "ctc": _nodes(_Named, ConnectionistTemporalClassification=_ctc), "decov": _called(DeCov=loss.decov),
        "hinge": _called(Hinge=loss.hinge), "huber_loss": _nodes(HuberLoss=loss.huber_loss),
        "mean_absolute_error": _nodes(MeanAbsoluteError=loss.mean_absolute_error),
        "mean_squared_error": _nodes(MeanSquaredError=loss.mean_squared_error),
        "sigmoid_cross_entropy": _nodes(SigmoidCrossEntropy=loss.sigmoid_cross_entropy),
        "softmax_cross_entropy": _nodes(SoftmaxCrossEntropy=loss.softmax_cross_entropy),
        "squared_error": _nodes(SquaredError=loss.squared_error), "triplet": _nodes(Triplet=loss.triplet)},
    "math": {
        "average": _along(Mean=_mean), "batch_l2_norm_squared": _nodes(BatchL2NormSquared=m.batch_l2_norm_squared),
        "clip": _nodes(Clip=m.clip), "einsum": _gathered(EinSum=_einsum), "fft": _gathered(FFT=_fourier),
        "polygamma": _labelled(PolyGamma=m.polygamma), "tensordot": _nodes(TensorDot=m.tensordot), "zeta": _labelled(_Settled, Zeta=m.zeta),
        "cholesky": _labelled(Cholesky=m.cholesky), "cumprod": _nodes(Cumprod=m.cumprod), "cumsum": _nodes(Cumsum=m.cumsum),
        "det": _labelled(BatchDet=det), "inv": _nodes(Inv=m.inv, BatchInv=m.batch_inv),
        "linear_interpolate": _nodes(LinearInterpolate=m.linear_interpolate), "logsumexp": _along(LogSumExp=m.logsumexp),
        "matmul": _nodes(MatMul=m.matmul), "minmax": _along(Max=m.max, Min=m.min) | _nodes(_AlongOne, ArgMax=m.argmax, ArgMin=m.argmin),
        "prod": _along(Prod=m.prod), "sum": _along(Sum=m.sum) | _nodes(SumTo=m.sum_to)},
    "normalization": {
        "batch_normalization": _nodes(FixedBatchNormalization=normalization.fixed_batch_normalization),
        "group_normalization": _nodes(GroupNormalization=_group_normalization),
        "l2_normalization": _nodes(NormalizeL2=normalization.normalize),
        "layer_normalization": _nodes(LayerNormalization=normalization.layer_normalization),
        "local_response_normalization": _nodes(LocalResponseNormalization=normalization.local_response_normalization)},
    "pooling": {
        "unpooling_2d": _nodes(Unpooling2D=unpooling_2d), "unpooling_nd": _nodes(UnpoolingND=_unpooling_nd),
        "upsampling_2d": _nodes(Upsampling2D=upsampling_2d), "roi_pooling_2d": _nodes(ROIPooling2D=_roi.roi_pooling_2d),
        "roi_average_align_2d": _called(ROIAverageAlign2D=_roi.roi_average_align_2d),
        "roi_average_pooling_2d": _called(ROIAveragePooling2D=_roi.roi_average_pooling_2d),
        "roi_max_align_2d": _called(ROIMaxAlign2D=_roi.roi_max_align_2d), "roi_max_pooling_2d": _called(ROIMaxPooling2D=_roi.roi_max_pooling_2d)},
    "rnn": {"lstm": _nodes(LSTM=rnn.lstm), "slstm": _nodes(SLSTM=rnn.slstm), "tree_lstm": _called(TreeLSTM=rnn.tree_lstm)},
}
