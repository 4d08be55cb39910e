"""The Dirichlet distribution."""
import numpy as np

from hybridnn.backend import beside, to_cpu
from hybridnn.core.variable import as_array, as_variable
from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.utils import _parameter, _point, _times_log
from hybridnn.functions.array import expand_dims
from hybridnn.functions.math import digamma, lgamma
from hybridnn.functions.math import sum as sum_
from hybridnn.utils.cache import cached_property

__all__ = ["Dirichlet"]


def _lbeta(alpha):
    return sum_(lgamma(alpha), axis=-1) - lgamma(sum_(alpha, axis=-1))


class Dirichlet(Distribution):
    """Distribution over vectors of k shares: density proportional to the product of x_i^(alpha_i - 1), for ``alpha`` (..., k)."""

    def __init__(self, alpha):
        self.alpha = _parameter(alpha)

    @cached_property
    def alpha0(self):
        """Sum of ``alpha`` over the last axis."""
        return sum_(self.alpha, axis=-1)

    @property
    def batch_shape(self):
        return self.alpha.shape[:-1]

    @property
    def event_shape(self):
        return self.alpha.shape[-1:]

    @property
    def params(self):
        return {"alpha": self.alpha}

    @property
    def support(self):
        return "[0, 1]"

    @cached_property
    def mean(self):
        return self.alpha / expand_dims(self.alpha0, -1)

    @cached_property
    def variance(self):
        total = expand_dims(self.alpha0, -1)
        return self.alpha * (total - self.alpha) / total ** 2 / (total + 1)

    @cached_property
    def entropy(self):
        return (_lbeta(self.alpha) + (self.alpha0 - self.event_shape[0]) * digamma(self.alpha0)
                - sum_((self.alpha - 1) * digamma(self.alpha), axis=-1))

    def log_prob(self, x):
        return sum_(_times_log(self.alpha - 1, _point(x, self.alpha)), axis=-1) - _lbeta(self.alpha)

    def sample_n(self, n):
        alpha = to_cpu(as_array(self.alpha))
        shares = np.random.standard_gamma(alpha, (n, *alpha.shape))
        return as_variable(beside((shares / shares.sum(-1, keepdims=True)).astype(alpha.dtype), self.alpha))


@register_kl(Dirichlet, Dirichlet)
def _kl_dirichlet_dirichlet(p, q):
    mean_log = digamma(p.alpha) - expand_dims(digamma(p.alpha0), -1)
    return _lbeta(q.alpha) - _lbeta(p.alpha) + sum_((p.alpha - q.alpha) * mean_log, axis=-1)
