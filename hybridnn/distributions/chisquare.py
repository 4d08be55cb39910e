"""The chi-squared distribution."""
from math import log

from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random, _times_log
from hybridnn.functions.math import digamma, lgamma
from hybridnn.utils.cache import cached_property

__all__ = ["Chisquare"]


class Chisquare(Univariate):
    """Distribution of the sum of k squared standard normal numbers: density x^(k/2 - 1) exp(-x/2) / (2^(k/2) Gamma(k/2))."""
    _names = ("k",)
    support = "positive"

    def __init__(self, k):
        self.k = _parameter(k)

    @cached_property
    def _half_k(self):
        return .5 * self.k

    @property
    def mean(self):
        return self.k

    @cached_property
    def variance(self):
        return 2 * self.k

    @cached_property
    def entropy(self):
        h = self._half_k
        return h + log(2) + lgamma(h) + (1 - h) * digamma(h)

    def log_prob(self, x):
        x, h = _point(x, self.k), self._half_k
        return _times_log(h - 1, x) - lgamma(h) - h * log(2) - .5 * x

    def sample_n(self, n):
        return _random("chisquare", self.k, size=(n, *self.batch_shape))
