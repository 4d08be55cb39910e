"""The beta distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random, _times_log
from hybridnn.functions.array import where
from hybridnn.functions.math import digamma, lgamma
from hybridnn.utils.cache import cached_property

__all__ = ["Beta"]


def _lbeta(a, b):
    return lgamma(a) + lgamma(b) - lgamma(a + b)


class Beta(Univariate):
    """Distribution over [0, 1] with density x^(a - 1) (1 - x)^(b - 1) / B(a, b)."""
    _names = ("a", "b")
    support = "[0, 1]"

    def __init__(self, a, b):
        self.a, self.b = _parameter(a), _parameter(b)

    @cached_property
    def _a_plus_b(self):
        return self.a + self.b

    @cached_property
    def mean(self):
        return self.a / self._a_plus_b

    @cached_property
    def variance(self):
        n = self._a_plus_b
        return self.a * self.b / n ** 2 / (n + 1)

    @cached_property
    def entropy(self):
        n = self._a_plus_b
        return (_lbeta(self.a, self.b) - (self.a - 1) * digamma(self.a) - (self.b - 1) * digamma(self.b)
                + (n - 2) * digamma(n))

    def log_prob(self, x):
        x = _point(x, self.a)
        inside = where(x >= 0, where(x <= 1, x, .5), .5)
        y = _times_log(self.a - 1, inside) + _times_log(self.b - 1, 1 - inside) - _lbeta(self.a, self.b)
        return where(x >= 0, where(x <= 1, y, -float("inf")), -float("inf"))

    def sample_n(self, n):
        return _random("beta", self.a, self.b, size=(n, *self.batch_shape))


@register_kl(Beta, Beta)
def _kl_beta_beta(p, q):
    n, m = p._a_plus_b, q._a_plus_b
    return (_lbeta(q.a, q.b) - _lbeta(p.a, p.b) + (p.a - q.a) * digamma(p.a) + (p.b - q.b) * digamma(p.b)
            + (m - n) * digamma(n))
