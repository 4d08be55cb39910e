"""VGG (Simonyan and Zisserman 2014)."""
from functools import partial

from hybridnn import functions as F
from hybridnn.initializers import Normal, Zero
from hybridnn.links.convolution import Convolution2D
from hybridnn.links.linear import Linear
from hybridnn.links.vision import layers
from hybridnn.links.vision.layers import NamedLayers, available

__all__ = ["VGG16Layers", "VGG19Layers", "VGGLayers", "available", "prepare"]

_MEAN = (103.939, 116.779, 123.68)
prepare = partial(layers.prepare, mean=_MEAN)

_CHANNELS = (3, 64, 128, 256, 512, 512)


def _halve(x):
    return F.max_pooling_2d(x, ksize=2)


class VGGLayers(NamedLayers):
    """Five blocks of 3x3 convolutions, three linear layers.

    Args:
        pretrained_model: an npz file with weights, or None for random ones.
        n_layers: 16 or 19.
    """
    mean = _MEAN
    feature_layer = "fc7"

    def __init__(self, pretrained_model=None, n_layers=16):
        super().__init__(pretrained_model)
        if n_layers not in (16, 19):
            raise ValueError(f"VGG has 16 or 19 layers; got n_layers={n_layers}")
        self.n_layers = n_layers
        how = {"initialW": Zero() if pretrained_model else Normal(.01), "initial_bias": Zero()}
        with self.init_scope():
            for block in range(1, 6):
                for k in range(1, 3 if block < 3 else 4):
                    channels = _CHANNELS[block - (k == 1)]
                    setattr(self, f"conv{block}_{k}", Convolution2D(channels, _CHANNELS[block], 3, 1, 1, **how))
            self.fc6, self.fc7, self.fc8 = Linear(512 * 7 * 7, 4096, **how), Linear(4096, 4096, **how), Linear(4096, 1000, **how)
            for block in (3, 4, 5) if n_layers == 19 else ():
                setattr(self, f"conv{block}_4", Convolution2D(_CHANNELS[block], _CHANNELS[block], 3, 1, 1, **how))
        self._load(pretrained_model)

    @property
    def functions(self):
        """The stages by name."""
        stages = {}
        for block in range(1, 6):
            for k in range(1, 3 if block < 3 else 4 if self.n_layers == 16 else 5):
                stages[f"conv{block}_{k}"] = [self[f"conv{block}_{k}"], F.relu]
            stages[f"pool{block}"] = [_halve]
        stages["fc6"] = [self.fc6, F.relu, F.dropout]
        stages["fc7"] = [self.fc7, F.relu, F.dropout]
        stages["fc8"] = [self.fc8]
        stages["prob"] = [F.softmax]
        return stages


class VGG16Layers(VGGLayers):
    """VGG with 16 layers; see ``VGGLayers``."""

    def __init__(self, pretrained_model=None):
        super().__init__(pretrained_model, 16)


class VGG19Layers(VGGLayers):
    """VGG with 19 layers; see ``VGGLayers``."""

    def __init__(self, pretrained_model=None):
        super().__init__(pretrained_model, 19)
