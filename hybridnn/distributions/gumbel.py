"""The Gumbel distribution."""
from math import pi

from numpy import euler_gamma as EULER

from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import LocationScale
from hybridnn.functions.math import exp, lgamma, log
from hybridnn.utils.cache import cached_property

__all__ = ["Gumbel"]


class Gumbel(LocationScale):
    """Distribution with density exp(-z - exp(-z)) / scale, where z = (x - loc) / scale (Gumbel 1935)."""
    _standard_draw = ("gumbel", 0., 1.)

    @cached_property
    def _log_scale(self):
        return log(self.scale)

    @cached_property
    def mean(self):
        return self.loc + EULER * self.scale

    @cached_property
    def variance(self):
        return pi ** 2 / 6 * self.scale ** 2

    @cached_property
    def entropy(self):
        return self._log_scale + (EULER + 1)

    def log_prob(self, x):
        z = self._standard(x)
        return -self._log_scale - z - exp(-z)


@register_kl(Gumbel, Gumbel)
def _kl_gumbel_gumbel(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return q._log_scale - p._log_scale + EULER * (ratio - 1) + exp(lgamma(ratio + 1) - distance) - 1 + distance
