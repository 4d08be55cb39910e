"""ResNet with bottleneck blocks (He et al. 2015)."""
from functools import partial

from hybridnn import functions as F
from hybridnn.initializers import HeNormal, Zero
from hybridnn.link import Chain
from hybridnn.links.convolution import Convolution2D
from hybridnn.links.linear import Linear
from hybridnn.links.normalization import BatchNormalization
from hybridnn.links.vision import layers
from hybridnn.links.vision.layers import NamedLayers, available

__all__ = ["BottleneckA", "BottleneckB", "BuildingBlock", "ResNet50Layers", "ResNet101Layers", "ResNet152Layers", "ResNetLayers", "available", "prepare"]

_MEAN = (103.063, 115.903, 123.152)
prepare = partial(layers.prepare, mean=_MEAN)

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _halve(x):
    return F.max_pooling_2d(x, 3, 2)


def _average(x):
    n, channels, *size = x.shape
    return F.reshape(F.average_pooling_2d(x, tuple(size), stride=1), (n, channels))


class ResNetLayers(NamedLayers):
    """A residual network for images of 224 x 224.

    Args:
        pretrained_model: an npz file with weights, or None for random ones.
        n_layers: 50, 101 or 152.
        downsample_fb: halve the image in the 3x3 convolutions instead of the 1x1 ones.
    """
    mean = _MEAN
    feature_layer = "pool5"

    def __init__(self, pretrained_model, n_layers, downsample_fb=False):
        super().__init__(pretrained_model)
        if n_layers not in _BLOCKS:
            raise ValueError(f"ResNet has 50, 101 or 152 layers; got n_layers={n_layers}")
        init = Zero() if pretrained_model else HeNormal(scale=1.)
        how = {"initialW": init, "downsample_fb": downsample_fb}
        counts = _BLOCKS[n_layers]
        with self.init_scope():
            self.conv1, self.bn1 = Convolution2D(3, 64, 7, 2, 3, initialW=init), BatchNormalization(64)
            self.res2 = BuildingBlock(counts[0], 64, 64, 256, 1, **how)
            self.res3 = BuildingBlock(counts[1], 256, 128, 512, 2, **how)
            self.res4 = BuildingBlock(counts[2], 512, 256, 1024, 2, **how)
            self.res5 = BuildingBlock(counts[3], 1024, 512, 2048, 2, **how)
            self.fc6 = Linear(2048, 1000)
        self._load(pretrained_model)

    @property
    def functions(self):
        """The stages by name."""
        return {"conv1": [self.conv1, self.bn1, F.relu], "pool1": [_halve], "res2": [self.res2], "res3": [self.res3],
                "res4": [self.res4], "res5": [self.res5], "pool5": [_average], "fc6": [self.fc6], "prob": [F.softmax]}


class ResNet50Layers(ResNetLayers):
    """ResNet with 50 layers; see ``ResNetLayers``."""

    def __init__(self, pretrained_model=None, downsample_fb=False):
        super().__init__(pretrained_model, 50, downsample_fb)


class ResNet101Layers(ResNetLayers):
    """ResNet with 101 layers; see ``ResNetLayers``."""

    def __init__(self, pretrained_model=None, downsample_fb=False):
        super().__init__(pretrained_model, 101, downsample_fb)


class ResNet152Layers(ResNetLayers):
    """ResNet with 152 layers; see ``ResNetLayers``."""

    def __init__(self, pretrained_model=None, downsample_fb=False):
        super().__init__(pretrained_model, 152, downsample_fb)


class BuildingBlock(Chain):
    """``BottleneckA`` (called ``a``), then ``n_layers - 1`` of ``BottleneckB`` (``b1``, ``b2``, ...).

    Args:
        n_layers: number of bottlenecks.
        in_channels, mid_channels, out_channels: channels before, inside and behind the bottlenecks.
        stride: of the first one.
        initialW: initial weights of the convolutions.
        downsample_fb: where the first one halves the image, see ``ResNetLayers``.
    """

    def __init__(self, n_layers, in_channels, mid_channels, out_channels, stride, initialW=None, downsample_fb=False):
        super().__init__()
        self._forward = ["a"] + [f"b{i}" for i in range(1, n_layers)]
        with self.init_scope():
            self.a = BottleneckA(in_channels, mid_channels, out_channels, stride, initialW, downsample_fb)
            for name in self._forward[1:]:
                setattr(self, name, BottleneckB(out_channels, mid_channels, initialW))

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        for name in self._forward:
            x = getattr(self, name)(x)
        return x


class BottleneckA(Chain):
    """Convolutions 1x1, 3x3 and 1x1, with a projection around them."""

    def __init__(self, in_channels, mid_channels, out_channels, stride=2, initialW=None, downsample_fb=False):
        super().__init__()
        first, second = (1, stride) if downsample_fb else (stride, 1)
        how = {"initialW": initialW, "nobias": True}
        with self.init_scope():
            self.conv1, self.bn1 = Convolution2D(in_channels, mid_channels, 1, first, 0, **how), BatchNormalization(mid_channels)
            self.conv2 = Convolution2D(mid_channels, mid_channels, 3, second, 1, **how)
            self.bn2 = BatchNormalization(mid_channels)
            self.conv3, self.bn3 = Convolution2D(mid_channels, out_channels, 1, 1, 0, **how), BatchNormalization(out_channels)
            self.conv4, self.bn4 = Convolution2D(in_channels, out_channels, 1, stride, 0, **how), BatchNormalization(out_channels)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + self.bn4(self.conv4(x)))


class BottleneckB(Chain):
    """Convolutions 1x1, 3x3 and 1x1, with the input added."""

    def __init__(self, in_channels, mid_channels, initialW=None):
        super().__init__()
        how = {"initialW": initialW, "nobias": True}
        with self.init_scope():
            self.conv1, self.bn1 = Convolution2D(in_channels, mid_channels, 1, 1, 0, **how), BatchNormalization(mid_channels)
            self.conv2, self.bn2 = Convolution2D(mid_channels, mid_channels, 3, 1, 1, **how), BatchNormalization(mid_channels)
            self.conv3, self.bn3 = Convolution2D(mid_channels, in_channels, 1, 1, 0, **how), BatchNormalization(in_channels)

    def forward(self, x):
        """``x`` (n, in_channels, h, w) to the same shape."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + x)
