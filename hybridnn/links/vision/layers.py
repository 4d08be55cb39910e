"""What the architectures share: named stages, activations by name, and images as input."""
import importlib.util

import numpy as np

from hybridnn import functions as F
from hybridnn.backend import get_dtype
from hybridnn.config import no_backprop_mode, using_config
from hybridnn.core import Variable
from hybridnn.core.argument import refuse_kwargs
from hybridnn.errors import BackendError
from hybridnn.link import Chain
from hybridnn.serializers import load_npz
from hybridnn.utils import imgproc

__all__ = ["NamedLayers", "available", "prepare"]

available = importlib.util.find_spec("PIL") is not None      # Pillow, which ``prepare`` needs


class NamedLayers(Chain):
    """A chain whose property ``functions`` maps names of stages to lists of callables, run in order."""
    mean = (0., 0., 0.)                     # of blue, green, red, taken off by ``extract`` and ``predict``
    feature_layer: str | None = None                    # what ``extract`` gives by default
    branches = {}                           # a stage that starts from the output of an earlier one, by name

    def __init__(self, pretrained_model):
        if pretrained_model == "auto":
            raise ValueError(f"{type(self).__name__}: no weights are downloaded; "
                             "pretrained_model is the name of an npz file, or None")
        super().__init__()

    @property
    def available_layers(self):
        """Names of the stages."""
        return list(self.functions)

    def _load(self, pretrained_model):
        if pretrained_model:
            load_npz(pretrained_model, self)

    def forward(self, x, layers=None, **kwargs):
        """The outputs of the stages named in ``layers`` (``["prob"]`` by default), as a dict; ``x`` (n, 3, h, w)."""
        if kwargs:
            refuse_kwargs(kwargs, "test", "train")
        functions = self.functions
        wanted = ["prob"] if layers is None else list(layers)
        if unknown := [name for name in wanted if name not in functions]:
            raise ValueError(f"{type(self).__name__} has no stage {', '.join(unknown)}; it has {', '.join(functions)}")
        sources = list(self.branches.values())
        found, kept = {}, {}
        for name, stage in functions.items():
            x = kept[self.branches[name]] if name in self.branches else x
            for f in stage:
                x = f(x)
            if name in sources:
                kept[name] = x
            if name in wanted:
                found[name] = x
            if not [name for name in wanted if name not in found]:
                break
        return found

    def extract(self, images, layers=None, size=(224, 224), **kwargs):
        """Outputs of stages for images (arrays (c, h, w) or PIL images), which are scaled to ``size``."""
        if kwargs:
            refuse_kwargs(kwargs, "test", "train", "volatile")
        layers = [self.feature_layer] if layers is None else layers
        return self(Variable(self.xp.asarray(np.stack([prepare(i, size, self.mean) for i in images]))), layers=layers)

    def predict(self, images, oversample=True):
        """Probabilities of the classes for images; ``oversample``: averaged over ten crops of each."""
        x = np.stack([prepare(i, (256, 256), self.mean) for i in images])
        x = imgproc.oversample(x, (224, 224)) if oversample else x[:, :, 16:240, 16:240]
        with no_backprop_mode(), using_config("train", False):
            y = self(Variable(self.xp.asarray(x)), layers=["prob"])["prob"]
            return F.mean(F.reshape(y, (len(images), 10, *y.shape[1:])), axis=1) if oversample else y


def prepare(image, size=(224, 224), mean=(0., 0., 0.)):
    """An image (PIL, or an array (c, h, w), (h, w, 3) or (h, w) with 0 to 255) as an array (3, h, w), blue first, without
    ``mean``; needs Pillow."""
    if not available:
        raise BackendError("preparing images needs Pillow, which is not installed\n"
                           "  hint: pip install pillow, or pass arrays (n, 3, h, w) to the link")
    from PIL import Image
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[0] in (1, 3):
            image = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
        image = Image.fromarray(image.astype(np.uint8))
    image = image.convert("RGB")
    image = image.resize(size) if size else image
    x = np.asarray(image, get_dtype())[:, :, ::-1] - np.array(mean, get_dtype())
    return x.transpose(2, 0, 1)
