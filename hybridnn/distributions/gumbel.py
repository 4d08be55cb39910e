"""The Gumbel distribution."""
from math import pi

from numpy import euler_gamma as EULER

from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.utils import _common, _noise, _parameter
from hybridnn.functions.math import exp, lgamma, log
from hybridnn.utils.cache import cached_property

__all__ = ["Gumbel"]


class Gumbel(Distribution):
    """Distribution with density exp(-z - exp(-z)) / scale, where z = (x - loc) / scale (Gumbel 1935)."""

    def __init__(self, loc, scale):
        self.loc, self.scale = _parameter(loc), _parameter(scale)

    @cached_property
    def _log_scale(self):
        return log(self.scale)

    @property
    def batch_shape(self):
        return _common(self.loc, self.scale)

    @property
    def event_shape(self):
        return ()

    @property
    def params(self):
        return {"loc": self.loc, "scale": self.scale}

    @property
    def support(self):
        return "real"

    @cached_property
    def mean(self):
        return self.loc + EULER * self.scale

    @property
    def mode(self):
        return self.loc

    @cached_property
    def variance(self):
        return pi ** 2 / 6 * self.scale ** 2

    @cached_property
    def entropy(self):
        return self._log_scale + (EULER + 1)

    def log_prob(self, x):
        z = (x - self.loc) / self.scale
        return -self._log_scale - z - exp(-z)

    def sample_n(self, n):
        return self.scale * _noise(self.loc.dtype, "gumbel", 0., 1., (n, *self.batch_shape)) + self.loc


@register_kl(Gumbel, Gumbel)
def _kl_gumbel_gumbel(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return q._log_scale - p._log_scale + EULER * (ratio - 1) + exp(lgamma(ratio + 1) - distance) - 1 + distance
