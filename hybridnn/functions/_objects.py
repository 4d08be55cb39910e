"""Functions as objects: what Chainer's modules hold besides their functions, for code that applies such an object itself."""
import numpy as np

from hybridnn.errors import absent
from hybridnn.functions._function_nodes import ACTIVATION_AND_MATH, OTHER_AREAS
from hybridnn.functions._function_objects import (
    AveragePooling2D,
    AveragePoolingND,
    BatchNormalization,
    Convolution2DFunction,
    ConvolutionND,
    CooMatMul,
    Deconvolution2DFunction,
    DeconvolutionND,
    DiagEinSum,
    Dropout,
    EmbedIDGrad,
    Gaussian,
    LocalConvolution2DFunction,
    LSTMGrad,
    MaxPooling2D,
    MaxPoolingND,
    MulInvStd,
    RReLU,
    SigmoidGrad,
    SimplifiedDropconnect,
    SLSTMGrad,
    TanhGrad,
    Zoneout,
)
from hybridnn.functions._strided import stride_array

__all__ = ["OBJECTS"]


def _joined(*tables):
    joined = {}
    for table in tables:
        for path, members in table.items():
            joined[path] = joined.get(path, {}) | members
    return joined


OBJECTS = _joined(ACTIVATION_AND_MATH, {(area, module): members for area, modules in OTHER_AREAS.items() for module, members in modules.items()}, {
    ("array", "as_strided"): {"_stride_array": stride_array}, ("array", "flip"): {"_flip": np.flip},
    ("connection", "convolution_2d"): {"Convolution2DFunction": Convolution2DFunction},
    ("connection", "convolution_nd"): {"ConvolutionND": ConvolutionND},
    ("connection", "deconvolution_2d"): {"Deconvolution2DFunction": Deconvolution2DFunction},
    ("connection", "deconvolution_nd"): {"DeconvolutionND": DeconvolutionND},
    ("connection", "embed_id"): {"EmbedIDGrad": EmbedIDGrad},
    ("connection", "local_convolution_2d"): {"LocalConvolution2DFunction": LocalConvolution2DFunction},
    ("normalization", "batch_normalization"): {"BatchNormalization": BatchNormalization}, ("noise", "zoneout"): {"Zoneout": Zoneout},
    ("normalization", "group_normalization"): {"_MulInvStd": MulInvStd},
    ("rnn", "lstm"): {"LSTMGrad": LSTMGrad}, ("rnn", "slstm"): {"SLSTMGrad": SLSTMGrad},
    ("math", "einsum"): {"DiagEinSum": DiagEinSum},
    ("activation", "rrelu"): {"RReLU": RReLU}, ("activation", "sigmoid"): {"SigmoidGrad": SigmoidGrad}, ("activation", "tanh"): {"TanhGrad": TanhGrad},
    ("noise", "dropout"): {"Dropout": Dropout}, ("noise", "gaussian"): {"Gaussian": Gaussian},
    ("noise", "simplified_dropconnect"): {"SimplifiedDropconnect": SimplifiedDropconnect},
    ("math", "sparse_matmul"): {"CooMatMul": CooMatMul},
    ("pooling", "max_pooling_2d"): {"MaxPooling2D": MaxPooling2D}, ("pooling", "average_pooling_2d"): {"AveragePooling2D": AveragePooling2D},
    ("pooling", "max_pooling_nd"): {"MaxPoolingND": MaxPoolingND}, ("pooling", "average_pooling_nd"): {"AveragePoolingND": AveragePoolingND},
    ("pooling", "pooling_nd_kernel"): {
        f"PoolingNDKernel{way}": absent(f"PoolingNDKernel{way}", "F.max_pooling_nd and F.average_pooling_nd work on a GPU as well")
        for way in ("Forward", "Backward")},
})
