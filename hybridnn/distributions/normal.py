"""The normal distribution."""
from math import e, log, pi, sqrt

from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import LocationScale
from hybridnn.distributions.utils import _parameter
from hybridnn.functions import math as F
from hybridnn.utils.cache import cached_property

__all__ = ["ENTROPYC", "LOGPROBC", "PROBC", "Normal"]

ENTROPYC = .5 * log(2 * pi * e)
LOGPROBC = -.5 * log(2 * pi)
PROBC = 1 / sqrt(2 * pi)


class Normal(LocationScale):
    """Normal distribution with density exp(-(x - loc)^2 / (2 scale^2)) / sqrt(2 pi scale^2).

    Args:
        loc: mean.
        scale: standard deviation; either it or ``log_scale`` is given.
        log_scale: logarithm of the standard deviation.
    """
    _standard_draw = ("standard_normal",)

    def __init__(self, loc, scale=None, *, log_scale=None):
        if (scale is None) == (log_scale is None):
            raise ValueError("Normal: expected either scale or log_scale, found both or neither")
        self.loc = _parameter(loc)
        self._scale, self._log_scale = (None if p is None else _parameter(p) for p in (scale, log_scale))

    def _given(self):
        return self.loc, self._log_scale if self._scale is None else self._scale

    @cached_property
    def scale(self):
        """Standard deviation."""
        return F.exp(self._log_scale) if self._scale is None else self._scale

    @cached_property
    def log_scale(self):
        """Logarithm of the standard deviation."""
        return F.log(self._scale) if self._log_scale is None else self._log_scale

    @property
    def mean(self):
        return self.loc

    @property
    def stddev(self):
        return self.scale

    @cached_property
    def variance(self):
        return self.scale ** 2

    @cached_property
    def entropy(self):
        return self.log_scale + ENTROPYC

    def log_prob(self, x):
        return LOGPROBC - self.log_scale - .5 * self._standard(x) ** 2

    def prob(self, x):
        return PROBC / self.scale * F.exp(-.5 * self._standard(x) ** 2)

    def cdf(self, x):
        return F.ndtr(self._standard(x))

    def log_cdf(self, x):
        return F.log_ndtr(self._standard(x))

    def icdf(self, x):
        return self.loc + self.scale * F.ndtri(x)

    def survival_function(self, x):
        return F.ndtr(-self._standard(x))

    def log_survival_function(self, x):
        return F.log_ndtr(-self._standard(x))


@register_kl(Normal, Normal)
def _kl_normal_normal(p, q):
    return q.log_scale - p.log_scale + .5 * (p.variance + (p.loc - q.loc) ** 2) / q.variance - .5
