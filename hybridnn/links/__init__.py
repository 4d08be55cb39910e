"""Links: layers with their parameters, and networks made of them. Names, arguments and defaults are Chainer v7's where Chainer has the thing."""
from hybridnn.links.classifier import Classifier
from hybridnn.links.convolution import Convolution1D, Convolution2D, Convolution3D, ConvolutionND, DeformableConvolution2D, \
    DeformableConvolution2DSampler, DepthwiseConvolution2D, DilatedConvolution2D, LocalConvolution2D
from hybridnn.links.deconvolution import Deconvolution1D, Deconvolution2D, Deconvolution3D, DeconvolutionND
from hybridnn.links.linear import Bilinear, EmbedID, Highway, Linear
from hybridnn.links.lstm import LSTM, StatefulPeepholeLSTM, StatefulZoneoutLSTM, StatelessLSTM
from hybridnn.links.normalization import BatchNormalization, BatchRenormalization, DecorrelatedBatchNormalization, GroupNormalization, \
    LayerNormalization, RMSNormalization

__all__ = [name for name in dir() if name[0].isupper()]
