"""The log-normal distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.normal import LOGPROBC
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _noise, _parameter
from hybridnn.functions import math as F
from hybridnn.utils.cache import cached_property

__all__ = ["LogNormal"]


class LogNormal(Univariate):
    """Distribution of a positive number whose logarithm is normal with mean ``mu`` and standard deviation ``sigma``."""
    _names = ("mu", "sigma")
    support = "positive"

    def __init__(self, mu, sigma):
        self.mu, self.sigma = _parameter(mu), _parameter(sigma)

    @cached_property
    def _log_sigma(self):
        return F.log(self.sigma)

    @cached_property
    def mean(self):
        return F.exp(self.mu + .5 * self.sigma ** 2)

    @cached_property
    def variance(self):
        return F.exp(2 * self.mu + self.sigma ** 2) * F.expm1(self.sigma ** 2)

    @cached_property
    def entropy(self):
        return .5 - LOGPROBC + self._log_sigma + self.mu

    def log_prob(self, x):
        log_x = F.log(x)
        return LOGPROBC - self._log_sigma - log_x - .5 * ((log_x - self.mu) / self.sigma) ** 2

    def sample_n(self, n):
        return F.exp(self.sigma * _noise(self.mu, "standard_normal", (n, *self.batch_shape)) + self.mu)


@register_kl(LogNormal, LogNormal)
def _kl_log_normal_log_normal(p, q):
    return .5 * ((p.mu - q.mu) ** 2 + p.sigma ** 2) / q.sigma ** 2 - .5 + q._log_sigma - p._log_sigma
