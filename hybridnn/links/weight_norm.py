"""``WeightNorm``: a link whose weight is split into length and direction (Salimans and Kingma 2016)."""
import numpy as np

from hybridnn import functions as F
from hybridnn.core import Parameter
from hybridnn.errors import InvalidType
from hybridnn.initializers import Constant
from hybridnn.link import Chain
from hybridnn.links.deconvolution import Deconvolution2D, DeconvolutionND
from hybridnn.links.linear import initialize_weight

__all__ = ["WeightNorm", "output_axis"]


def output_axis(link):
    """The axis of a link's ``W`` that counts outputs: 1 in deconvolutions, else 0."""
    return 1 if isinstance(link, (Deconvolution2D, DeconvolutionND)) else 0


class WeightNorm(Chain):
    """Calls a link with the weight ``g * W / |W|``, the norm taken for each output; ``g`` starts as ``|W|``, so that nothing
    changes at first.

    Args:
        link: a linear, convolution or similar link.
        weight_name: name of its weight.
    """

    def __init__(self, link, weight_name="W"):
        super().__init__()
        if not isinstance(getattr(link, weight_name, None), Parameter):
            raise InvalidType("WeightNorm", f"a link with a parameter {weight_name!r}", type(link).__name__)
        self.weight_name, self.axis = weight_name, output_axis(link)
        with self.init_scope():
            self.link = link
            self.g = Parameter()
        if getattr(link, weight_name).is_initialized:
            self._initialize_params()

    def _initialize_params(self):
        v = getattr(self.link, self.weight_name).array
        others = tuple(i for i in range(v.ndim) if i != self.axis)
        self.g.initializer = Constant(np.sqrt((v * v).sum(axis=others, keepdims=True)), v.dtype)
        self.g.initialize(self.g.initializer.fill_value.shape)

    def forward(self, *args, **kwargs):
        """As the link's forward."""
        link, name = self.link, self.weight_name
        if not self.g.is_initialized:
            if not getattr(link, name).is_initialized:
                initialize_weight(link, args[0])
            self._initialize_params()
        v = getattr(link, name)
        link.__dict__[name] = self._normalized(v)
        try:
            return link(*args, **kwargs)
        finally:
            link.__dict__[name] = v

    def _normalized(self, v):
        others = tuple([i for i in range(len(v.shape)) if i != self.axis])
        return v * (self.g / F.sqrt(F.sum(v * v, axis=others, keepdims=True)))
