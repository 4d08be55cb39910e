"""What operations are called where people look at them: the class names and labels that Chainer gives its functions.

They are worked out when somebody asks; applying an operation knows nothing of them.
"""
import numbers

from hybridnn.backend import is_array

__all__ = ["FunctionCall", "array_label", "class_name", "label", "only_arrays"]

_CLASSES = {        # other names than the operation's in capitals
    "accuracy": "Accuracy", "amax": "Max", "amin": "Min", "argmax": "ArgMax", "argmin": "ArgMin", "clipped_relu": "ClippedReLU",
    "convolution": "ConvolutionND", "convolution_grad_w": "ConvolutionNDGradW", "convolution_grad_x": "DeconvolutionND", "det": "BatchDet",
    "digamma": "DiGamma", "einsum": "EinSum", "elu": "ELU", "embed": "EmbedIDFunction", "embed_grad": "EmbedIDGrad", "erfcinv": "ErfcInv",
    "erfinv": "ErfInv", "fft": "FFT", "gelu_tanh": "GELU", "im2col": "Im2Col", "leaky_relu": "LeakyReLU", "lgamma": "LGamma",
    "linear": "LinearFunction", "logsumexp": "LogSumExp", "lstm_cell": "LSTM", "matmul": "MatMul", "max_pooling": "MaxPoolingND",
    "max_pooling_grad": "MaxPoolingNDGrad", "pow": "PowVarVar", "prelu": "PReLUFunction", "put_item": "GetItemGrad", "r2_score": "R2_score", "relu": "ReLU",
    "resize": "ResizeImages", "silu": "SiLU", "split": "SplitAxis", "squared_difference": "SquaredError", "take": "GetItem",
}
_IMAGES = {"convolution": "Convolution2DFunction", "convolution_grad_w": "Convolution2DGradW", "convolution_grad_x": "Deconvolution2DFunction"}
_TEXTS = {"absolute": "|_|", "add": "_ + _", "div": "_ / _", "mul": "_ * _", "neg": "__neg__", "pow": "_ ** _", "sub": "_ - _"}
_TEXTS |= {name: name for name in (
    "arccos", "arcsin", "arctan", "arctan2", "cholesky", "cos", "cosh", "det", "digamma", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp",
    "expm1", "fmod", "lgamma", "log", "log10", "log1p", "log2", "log_ndtr", "ndtr", "ndtri", "polygamma", "rsqrt", "sin", "sinh",
    "sqrt", "square", "tan", "zeta")}
_WITH_CONSTANT = {        # (operation, place of the number): class, text, and which number they mean
    ("add", 0): ("AddConstant", "_ + {}", lambda c: c), ("add", 1): ("AddConstant", "_ + {}", lambda c: c),
    ("sub", 0): ("SubFromConstant", "{} - _", lambda c: c), ("sub", 1): ("AddConstant", "_ + {}", lambda c: -c),
    ("mul", 0): ("MulConstant", "_ * {}", lambda c: c), ("mul", 1): ("MulConstant", "_ * {}", lambda c: c),
    ("div", 0): ("DivFromConstant", "{} / _", lambda c: c), ("div", 1): ("MulConstant", "_ * {}", lambda c: 1 / c if c else float("inf")),
    ("pow", 0): ("PowConstVar", "{} ** _", lambda c: c), ("pow", 1): ("PowVarConst", "_ ** {}", lambda c: c),
}


def array_label(x):
    """Shape and dtype of an array or Variable as text."""
    return f"({', '.join(map(str, x.shape))}), {x.dtype}" if x.shape else str(x.dtype)


def class_name(op, operands=(), ndim=None):
    """What Chainer's class for this application is called.

    Args:
        op: an ``Op``.
        operands: the operands as far as they are known; Python numbers among them tell ``AddConstant`` from ``Add``.
        ndim: number of axes of the result, if known.
    """
    found = _constant(op, operands)
    if found is not None:
        return found[0]
    if ndim == 4 and op.name in _IMAGES:
        return _IMAGES[op.name]
    return _CLASSES.get(op.name) or "".join([part.capitalize() for part in op.name.split("_")])


def label(op, operands=(), ndim=None):
    """What an application is called in pictures and reports: a formula for arithmetic, else a name. Arguments as ``class_name``."""
    found = _constant(op, operands)
    if found is not None:
        return found[1]
    return _TEXTS.get(op.name) or class_name(op, ndim=ndim)


def _constant(op, operands):
    """Class and label of arithmetic with one Python number, or None."""
    for place, x in enumerate(operands):
        if isinstance(x, numbers.Real) and (op.name, place) in _WITH_CONSTANT:
            name, text, meant = _WITH_CONSTANT[op.name, place]
            c = meant(x)
            return name, text.format(f"({c})" if c < 0 else c)
    return None


class FunctionCall:
    """What a function hook is shown of an application."""
    rank, outputs, stack = 0, None, None      # as of a function that has not been applied yet, which is what hooks are shown in Chainer

    def __init__(self, op, inputs, attrs):
        self.op, self.inputs, self.attrs = op, inputs, attrs

    @property
    def label(self):
        return label(self.op, self.inputs, _axes(self.inputs))

    @property
    def _impl_name(self):
        return class_name(self.op, self.inputs, _axes(self.inputs))


def _axes(operands):
    """The number of axes of the first array."""
    return next((len(x.shape) for x in operands if hasattr(x, "shape")), 0)


def only_arrays(operands):
    """What a function hook is shown of operands: arrays, and None for those that were not kept. Numbers are part of the operation, as in Chainer."""
    return tuple([x for x in operands if x is None or is_array(x)])
