"""The Poisson distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random, _times
from hybridnn.functions.math import lgamma, log
from hybridnn.utils.cache import cached_property

__all__ = ["Poisson"]


class Poisson(Univariate):
    """Distribution of counts: probability lam^x exp(-lam) / x! of x = 0, 1, 2, ..."""
    _names = ("lam",)
    support = "non negative integer"

    def __init__(self, lam):
        self.lam = _parameter(lam)

    @cached_property
    def _log_lam(self):
        return log(self.lam)

    @property
    def mean(self):
        return self.lam

    @property
    def variance(self):
        return self.lam

    def log_prob(self, x):
        x = _point(x, self.lam)
        return _times(x, self._log_lam) - lgamma(x + 1) - self.lam

    def sample_n(self, n):
        return _random("poisson", self.lam, size=(n, *self.batch_shape))


@register_kl(Poisson, Poisson)
def _kl_poisson_poisson(p, q):
    return p.lam * (p._log_lam - q._log_lam) - p.lam + q.lam
