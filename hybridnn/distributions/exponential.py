"""The exponential distribution."""
from hybridnn.core.variable import as_variable
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _noise, _parameter, _point
from hybridnn.functions.array import where
from hybridnn.functions.math import expm1, log, log1p
from hybridnn.utils.cache import cached_property

__all__ = ["Exponential"]


class Exponential(Univariate):
    """Distribution of positive numbers with density lam exp(-lam x)."""
    _names = ("lam",)
    support = "positive"

    def __init__(self, lam):
        self.lam = _parameter(lam)

    @cached_property
    def _log_lam(self):
        return log(self.lam)

    @cached_property
    def mean(self):
        return 1 / self.lam

    @cached_property
    def variance(self):
        return self.mean ** 2

    @cached_property
    def entropy(self):
        return 1 - self._log_lam

    def log_prob(self, x):
        x = _point(x, self.lam)
        return where(x >= 0, self._log_lam - self.lam * x, -float("inf"))

    def cdf(self, x):
        return -expm1(-self.lam * x)

    def icdf(self, x):
        return -1 / self.lam * log1p(-as_variable(x))

    def sample_n(self, n):
        return _noise(self.lam, "standard_exponential", (n, *self.batch_shape)) / self.lam


@register_kl(Exponential, Exponential)
def _kl_exponential_exponential(p, q):
    return p._log_lam - q._log_lam + q.lam / p.lam - 1
