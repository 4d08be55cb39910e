"""Links: layers with their parameters, and networks made of them. Names, arguments and defaults are Chainer v7's where Chainer
has the thing."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.links._paths import PATHS as _PATHS
from hybridnn.links.activation import Maxout, PReLU, SimplifiedDropconnect, Swish
from hybridnn.links.attention import MultiHeadAttention, TransformerDecoderLayer, TransformerEncoderLayer
from hybridnn.links.classifier import Classifier
from hybridnn.links.connection import Bias, Inception, InceptionBN, MLPConvolution2D, Parameter, Scale
from hybridnn.links.convolution import *
from hybridnn.links.deconvolution import Deconvolution1D, Deconvolution2D, Deconvolution3D, DeconvolutionND
from hybridnn.links.gru import GRU, StatefulGRU, StatefulMGU, StatelessGRU, StatelessMGU
from hybridnn.links.importers import TheanoFunction
from hybridnn.links.linear import Bilinear, EmbedID, Highway, Linear
from hybridnn.links.loss import BinaryHierarchicalSoftmax, BlackOut, CRF1d, NegativeSampling
from hybridnn.links.lstm import LSTM, StatefulPeepholeLSTM, StatefulZoneoutLSTM, StatelessLSTM
from hybridnn.links.n_step import (
    NStepBiGRU,
    NStepBiLSTM,
    NStepBiRNNReLU,
    NStepBiRNNTanh,
    NStepGRU,
    NStepLSTM,
    NStepRNNReLU,
    NStepRNNTanh,
)
from hybridnn.links.normalization import *
from hybridnn.links.tree_lstm import ChildSumTreeLSTM, NaryTreeLSTM
from hybridnn.links.vision import GoogLeNet, ResNet50Layers, ResNet101Layers, ResNet152Layers, VGG16Layers, VGG19Layers
from hybridnn.links.weight_norm import WeightNorm
from hybridnn.utils.paths import open_paths as _open_paths

__getattr__ = _names_of(__name__)
__all__ = [name for name in dir() if name[0].isupper()]

_open_paths(__name__, _PATHS)
