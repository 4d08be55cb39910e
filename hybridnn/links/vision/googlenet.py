"""GoogLeNet (Szegedy et al. 2014)."""
from functools import partial

from hybridnn import functions as F
from hybridnn.initializers import LeCunUniform, Zero
from hybridnn.links.connection import Inception
from hybridnn.links.convolution import Convolution2D
from hybridnn.links.linear import Linear
from hybridnn.links.vision import layers
from hybridnn.links.vision.layers import NamedLayers, available

__all__ = ["GoogLeNet", "available", "prepare"]

_MEAN = (104., 117., 123.)
prepare = partial(layers.prepare, mean=_MEAN)

# name: arguments of Inception
_INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64), "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64), "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128), "5b": (832, 384, 192, 384, 48, 128, 128)}


def _halve(x):
    return F.max_pooling_2d(x, ksize=3, stride=2)


def _normalize(x):
    return F.local_response_normalization(x, n=5, k=1, alpha=1e-4 / 5)


def _average5(x):
    return F.average_pooling_2d(x, ksize=5, stride=3)


def _average7(x):
    return F.average_pooling_2d(x, ksize=7, stride=1)


def _dropout(x):
    return F.dropout(x, ratio=.4)


class GoogLeNet(NamedLayers):
    """Nine inception modules, with two classifiers on the way for training.

    Args:
        pretrained_model: an npz file with weights, or None for random ones.
    """
    mean = _MEAN
    feature_layer = "pool5"
    branches = {"loss1_fc2": "inception_4a", "loss2_fc2": "inception_4d"}

    def __init__(self, pretrained_model=None):
        super().__init__(pretrained_model)
        how = {"initialW": Zero() if pretrained_model else LeCunUniform(scale=1.)}
        with self.init_scope():
            self.conv1 = Convolution2D(3, 64, 7, stride=2, pad=3, **how)
            self.conv2_reduce, self.conv2 = Convolution2D(64, 64, 1, **how), Convolution2D(64, 192, 3, stride=1, pad=1, **how)
            for name, sizes in _INCEPTIONS.items():
                setattr(self, "inc" + name, Inception(*sizes))
            self.loss3_fc = Linear(1024, 1000, **how)
            for k, channels in ((1, 512), (2, 528)):
                setattr(self, f"loss{k}_conv", Convolution2D(channels, 128, 1, **how))
                setattr(self, f"loss{k}_fc1", Linear(2048, 1024, **how))
                setattr(self, f"loss{k}_fc2", Linear(1024, 1000, **how))
        self._load(pretrained_model)

    @property
    def functions(self):
        """The stages by name."""
        stages = {"conv1": [self.conv1, F.relu], "pool1": [_halve, _normalize], "conv2_reduce": [self.conv2_reduce, F.relu],
                  "conv2": [self.conv2, F.relu, _normalize], "pool2": [_halve]}
        for name in _INCEPTIONS:
            stages["inception_" + name] = [self["inc" + name]]
            if name in ("3b", "4e"):
                stages[f"pool{name[0]}"] = [_halve]
        stages["pool5"], stages["loss3_fc"], stages["prob"] = [_average7], [_dropout, self.loss3_fc], [F.softmax]
        for k in (1, 2):
            layers = self[f"loss{k}_conv"], F.relu, self[f"loss{k}_fc1"], F.relu, self[f"loss{k}_fc2"]
            stages[f"loss{k}_fc2"] = [_average5, *layers]
        return stages
