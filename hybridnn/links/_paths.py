"""What Chainer's modules of links hold, by path."""
from hybridnn.links import vision
from hybridnn.links.convolution import DeformableConvolution2D, DeformableConvolution2DSampler
from hybridnn.links.gru import GRU, GRUBase, MGUBase, StatefulGRU, StatefulMGU, StatelessGRU, StatelessMGU
from hybridnn.links.importers import CaffeFunction, TheanoFunction
from hybridnn.links.loss import BinaryHierarchicalSoftmax, TreeParser
from hybridnn.links.lstm import LSTM, LSTMBase, StatelessLSTM
from hybridnn.links.n_step import (
    NStepBiGRU,
    NStepBiLSTM,
    NStepBiRNNReLU,
    NStepBiRNNTanh,
    NStepGRU,
    NStepGRUBase,
    NStepLSTM,
    NStepLSTMBase,
    NStepRNNBase,
    NStepRNNReLU,
    NStepRNNTanh,
    argsort_list_descent,
    permutate_list,
)
from hybridnn.links.vision import googlenet, resnet, vgg

__all__ = ["PATHS"]


def _named(*things):
    return {thing.__name__: thing for thing in things}


PATHS = {
    "activation.maxout": "Maxout", "activation.prelu": "PReLU", "activation.simplified_dropconnect": "SimplifiedDropconnect",
    "activation.swish": "Swish",
    "caffe": _named(CaffeFunction), "caffe.caffe_function": {"CaffeFunction": CaffeFunction, "available": False, "caffe_pb": None},
    "connection.bias": "Bias", "connection.bilinear": "Bilinear", "connection.convolution_2d": "Convolution2D",
    "connection.convolution_nd": "Convolution1D Convolution3D ConvolutionND", "connection.deconvolution_2d": "Deconvolution2D",
    "connection.deconvolution_nd": "Deconvolution1D Deconvolution3D DeconvolutionND",
    "connection.deformable_convolution_2d": _named(DeformableConvolution2D, DeformableConvolution2DSampler),
    "connection.depthwise_convolution_2d": "DepthwiseConvolution2D", "connection.dilated_convolution_2d": "DilatedConvolution2D",
    "connection.embed_id": "EmbedID", "connection.highway": "Highway", "connection.inception": "Inception",
    "connection.inceptionbn": "InceptionBN", "connection.linear": "Linear", "connection.local_convolution_2d": "LocalConvolution2D",
    "connection.mlp_convolution_2d": "MLPConvolution2D", "connection.parameter": "Parameter", "connection.scale": "Scale",
    "loss.black_out": "BlackOut", "loss.crf1d": "CRF1d", "loss.negative_sampling": "NegativeSampling",
    "loss.hierarchical_softmax": _named(BinaryHierarchicalSoftmax, TreeParser),
    "model.classifier": "Classifier", "model.vision": vision, "model.vision.googlenet": googlenet, "model.vision.resnet": resnet,
    "model.vision.vgg": vgg,
    "normalization.batch_normalization": "BatchNormalization", "normalization.batch_renormalization": "BatchRenormalization",
    "normalization.decorrelated_batch_normalization": "DecorrelatedBatchNormalization",
    "normalization.group_normalization": "GroupNormalization", "normalization.layer_normalization": "LayerNormalization",
    "rnn.gru": _named(GRU, GRUBase, StatefulGRU, StatelessGRU), "rnn.lstm": _named(LSTM, LSTMBase, StatelessLSTM),
    "rnn.mgu": _named(MGUBase, StatefulMGU, StatelessMGU),
    "rnn.n_step_gru": _named(NStepBiGRU, NStepGRU, NStepGRUBase), "rnn.n_step_lstm": _named(NStepBiLSTM, NStepLSTM, NStepLSTMBase),
    "rnn.n_step_rnn": _named(
        NStepBiRNNReLU, NStepBiRNNTanh, NStepRNNBase, NStepRNNReLU, NStepRNNTanh, argsort_list_descent, permutate_list),
    "rnn.peephole": "StatefulPeepholeLSTM", "rnn.tree_lstm": "ChildSumTreeLSTM NaryTreeLSTM", "rnn.zoneoutlstm": "StatefulZoneoutLSTM",
    "theano.theano_function": _named(TheanoFunction),
}
