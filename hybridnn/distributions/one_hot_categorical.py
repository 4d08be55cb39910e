"""The categorical distribution over one-hot vectors."""
import numpy as np

from hybridnn.backend import beside
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.random import draw
from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.utils import _parameter, _point
from hybridnn.functions.array import expand_dims
from hybridnn.functions.math import log
from hybridnn.functions.math import sum as sum_
from hybridnn.ops.probability import pick
from hybridnn.utils.cache import cached_property

__all__ = ["OneHotCategorical"]


class OneHotCategorical(Distribution):
    """Distribution over the k one-hot vectors of length k, with probabilities ``p`` (..., k)."""

    def __init__(self, p):
        self.p = _parameter(p)

    @cached_property
    def log_p(self):
        """Logarithms of the probabilities."""
        return log(self.p)

    @property
    def batch_shape(self):
        return self.p.shape[:-1]

    @property
    def event_shape(self):
        return self.p.shape[-1:]

    @property
    def params(self):
        return {"p": self.p}

    @property
    def mean(self):
        return self.p

    @cached_property
    def variance(self):
        return self.p * (1 - self.p)

    def log_prob(self, x):
        return sum_(self.log_p * _point(x, self.p), axis=-1)

    def sample_n(self, n):
        categories = apply(pick, (self.p, draw("rand", n, *self.batch_shape, near=self.p)))
        chosen = expand_dims(categories, -1) == beside(np.arange(self.p.shape[-1]), self.p)
        return apply(cast, (chosen,), {"dtype": self.p.dtype.str})


@register_kl(OneHotCategorical, OneHotCategorical)
def _kl_one_hot_categorical_one_hot_categorical(p, q):
    return sum_(p.p * (p.log_p - q.log_p), axis=-1)
