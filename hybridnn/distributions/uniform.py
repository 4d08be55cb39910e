"""The uniform distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _noise, _parameter, _point
from hybridnn.functions.array import where
from hybridnn.functions.math import clip, log
from hybridnn.utils.cache import cached_property

__all__ = ["Uniform"]

_INF = float("inf")


class Uniform(Univariate):
    """Distribution of numbers between two bounds, all alike.

    Args:
        low, high: the bounds; either they or ``loc`` and ``scale`` are given.
        loc, scale: the lower bound and the distance of the upper one.
    """
    support = "[low, high]"

    def __init__(self, *, low=None, high=None, loc=None, scale=None):
        self._use_low_high = low is not None and high is not None
        if self._use_low_high == (loc is not None and scale is not None):
            raise ValueError("Uniform: expected either low and high or loc and scale, found both or neither")
        first, second = (low, high) if self._use_low_high else (loc, scale)
        self.low, self._second = _parameter(first), _parameter(second)

    @property
    def loc(self):
        """The lower bound."""
        return self.low

    @cached_property
    def high(self):
        """The upper bound."""
        return self._second if self._use_low_high else self.low + self._second

    @cached_property
    def scale(self):
        """Distance of the bounds."""
        return self._second - self.low if self._use_low_high else self._second

    @property
    def _names(self):
        return ("low", "high") if self._use_low_high else ("loc", "scale")

    def _given(self):
        return self.low, self._second

    @cached_property
    def mean(self):
        return (self.high + self.low) / 2

    @cached_property
    def variance(self):
        return self.scale ** 2 / 12

    @cached_property
    def entropy(self):
        return log(self.scale)

    def log_prob(self, x):
        x = _point(x, self.low)
        return where(x >= self.low, where(x <= self.high, -log(self.scale), -_INF), -_INF)

    def cdf(self, x):
        return clip((x - self.loc) / self.scale, 0., 1.)

    def icdf(self, x):
        return x * self.scale + self.loc

    def sample_n(self, n):
        return self.icdf(_noise(self.low, "rand", n, *self.batch_shape))


@register_kl(Uniform, Uniform)
def _kl_uniform_uniform(p, q):
    kl = log(q.high - q.low) - log(p.high - p.low)
    return where(p.high > q.high, _INF, where(p.low < q.low, _INF, kl))
