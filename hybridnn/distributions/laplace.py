"""The Laplace distribution."""
from math import sqrt

from hybridnn.core.variable import as_variable
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import LocationScale
from hybridnn.functions.math import exp, expm1, log, maximum, minimum
from hybridnn.utils.cache import cached_property

__all__ = ["Laplace"]


def _laplace_cdf(x):
    """Probability of a standard value of at most x. At 0, where both halves meet, the gradient is that of the lower."""
    x = as_variable(x)
    return .5 * exp(minimum(x, 0.)) - .5 * expm1(-maximum(0., x))


def _laplace_icdf(x):
    """The standard value that ``_laplace_cdf`` takes to x."""
    x = as_variable(x)
    return log(2 * minimum(x, .5)) - log(2 * minimum(.5, 1 - x))


class Laplace(LocationScale):
    """Distribution with density exp(-|x - loc| / scale) / (2 scale)."""
    _standard_draw = ("laplace", 0., 1.)

    @property
    def mean(self):
        return self.loc

    @cached_property
    def stddev(self):
        return sqrt(2) * self.scale

    @cached_property
    def variance(self):
        return 2 * self.scale ** 2

    @cached_property
    def entropy(self):
        return 1 + log(2 * self.scale)

    def log_prob(self, x):
        return -log(2 * self.scale) - abs(x - self.loc) / self.scale

    def prob(self, x):
        return .5 / self.scale * exp(-abs(x - self.loc) / self.scale)

    def cdf(self, x):
        return _laplace_cdf(self._standard(x))

    def icdf(self, x):
        return self.loc + self.scale * _laplace_icdf(x)


@register_kl(Laplace, Laplace)
def _kl_laplace_laplace(p, q):
    distance = abs(p.loc - q.loc)
    return log(q.scale) - log(p.scale) + distance / q.scale + p.scale / q.scale * exp(-distance / p.scale) - 1
