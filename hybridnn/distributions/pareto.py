"""The Pareto distribution."""
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _parameter, _point, _random
from hybridnn.functions.array import where
from hybridnn.functions.math import log
from hybridnn.utils.cache import cached_property

__all__ = ["Pareto"]

_INF = float("inf")


class Pareto(Univariate):
    """Distribution of numbers of at least ``scale`` with density alpha scale^alpha / x^(alpha + 1)."""
    _names = ("scale", "alpha")
    support = "[scale, inf]"

    def __init__(self, scale, alpha):
        self.scale, self.alpha = _parameter(scale), _parameter(alpha)

    @cached_property
    def _log_scale(self):
        return log(self.scale)

    @cached_property
    def _log_alpha(self):
        return log(self.alpha)

    @cached_property
    def mean(self):
        a = where(self.alpha > 1, self.alpha, _INF)
        return where(self.alpha > 1, self.scale / (1 - 1 / a), _INF)

    @cached_property
    def variance(self):
        a = where(self.alpha > 2, self.alpha, 3.)
        return where(self.alpha > 2, self.scale ** 2 * a / (a - 1) ** 2 / (a - 2), _INF)

    @property
    def mode(self):
        return self.scale

    @cached_property
    def entropy(self):
        return self._log_scale - self._log_alpha + 1 / self.alpha + 1

    def log_prob(self, x):
        x = _point(x, self.scale)
        inside = where(x >= self.scale, x, self.scale)
        y = self._log_alpha + self.alpha * self._log_scale - (self.alpha + 1) * log(inside)
        return where(x >= self.scale, y, -_INF)

    def sample_n(self, n):
        return self.scale * (_random("pareto", self.alpha, size=(n, *self.batch_shape)) + 1)


@register_kl(Pareto, Pareto)
def _kl_pareto_pareto(p, q):
    kl = q.alpha * (p._log_scale - q._log_scale) + p._log_alpha - q._log_alpha + (q.alpha - p.alpha) / p.alpha
    return where(p.scale >= q.scale, kl, _INF)
