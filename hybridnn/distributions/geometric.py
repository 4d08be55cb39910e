"""The geometric distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random, _times
from hybridnn.functions.math import log, log1p
from hybridnn.utils.cache import cached_property

__all__ = ["Geometric"]


class Geometric(Univariate):
    """Distribution of the number of trials up to the first success: probability p (1 - p)^(x - 1) of x = 1, 2, ..."""
    _names = ("p",)
    support = "positive integer"

    def __init__(self, p):
        self.p = _parameter(p)

    @cached_property
    def mean(self):
        return 1 / self.p

    @cached_property
    def variance(self):
        return (1 - self.p) / self.p ** 2

    def log_prob(self, x):
        return _times(_point(x, self.p) - 1, log1p(-self.p)) + log(self.p)

    def sample_n(self, n):
        return _random("geometric", self.p, size=(n, *self.batch_shape))


@register_kl(Geometric, Geometric)
def _kl_geometric_geometric(p, q):
    return (1 / p.p - 1) * (log1p(-p.p) - log1p(-q.p)) + log(p.p) - log(q.p)
