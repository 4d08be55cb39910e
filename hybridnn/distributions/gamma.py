"""The gamma distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random, _times_log
from hybridnn.functions.array import where
from hybridnn.functions.math import digamma, lgamma, log
from hybridnn.utils.cache import cached_property

__all__ = ["Gamma"]


class Gamma(Univariate):
    """Distribution of positive numbers of shape ``k`` and scale ``theta``: density x^(k - 1) exp(-x / theta) / (theta^k Gamma(k))."""
    _names = ("k", "theta")
    support = "positive"

    def __init__(self, k, theta):
        self.k, self.theta = _parameter(k), _parameter(theta)

    @cached_property
    def mean(self):
        return self.k * self.theta

    @cached_property
    def variance(self):
        return self.mean * self.theta

    @cached_property
    def entropy(self):
        return self.k + log(self.theta) + lgamma(self.k) + (1 - self.k) * digamma(self.k)

    def log_prob(self, x):
        x = _point(x, self.k)
        inside = where(x >= 0, x, 1.)
        y = _times_log(self.k - 1, inside) - lgamma(self.k) - self.k * log(self.theta) - inside / self.theta
        return where(x >= 0, y, -float("inf"))

    def sample_n(self, n):
        return self.theta * _random("standard_gamma", self.k, size=(n, *self.batch_shape))


@register_kl(Gamma, Gamma)
def _kl_gamma_gamma(p, q):
    return ((p.k - q.k) * digamma(p.k) - lgamma(p.k) + lgamma(q.k) + q.k * (log(q.theta) - log(p.theta))
            + p.k * (p.theta / q.theta - 1))
