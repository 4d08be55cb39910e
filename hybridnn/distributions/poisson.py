"""The Poisson distribution."""
from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.utils import _parameter, _point, _random, _times
from hybridnn.functions.math import lgamma, log
from hybridnn.utils.cache import cached_property

__all__ = ["Poisson"]


class Poisson(Distribution):
    """Distribution of counts: probability lam^x exp(-lam) / x! of x = 0, 1, 2, ..."""

    def __init__(self, lam):
        self.lam = _parameter(lam)

    @cached_property
    def _log_lam(self):
        return log(self.lam)

    @property
    def batch_shape(self):
        return self.lam.shape

    @property
    def event_shape(self):
        return ()

    @property
    def params(self):
        return {"lam": self.lam}

    @property
    def support(self):
        return "non negative integer"

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
        return _random(self.lam.dtype, "poisson", self.lam, size=(n, *self.batch_shape))


@register_kl(Poisson, Poisson)
def _kl_poisson_poisson(p, q):
    return p.lam * (p._log_lam - q._log_lam) - p.lam + q.lam
