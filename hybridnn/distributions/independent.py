"""Batches of independent events seen as events."""
import numpy as np

from hybridnn.distribution import Distribution, kl_divergence, register_kl
from hybridnn.functions.math import prod
from hybridnn.functions.math import sum as sum_
from hybridnn.utils.array import size_of_shape
from hybridnn.utils.cache import cached_property

__all__ = ["Independent"]


class Independent(Distribution):
    """A distribution whose last batch axes are taken as axes of the event.

    Args:
        distribution: the distribution of the parts.
        reinterpreted_batch_ndims: how many batch axes to take; None: all but the first.
    """

    def __init__(self, distribution, reinterpreted_batch_ndims=None):
        axes = len(distribution.batch_shape)
        taken = max(0, axes - 1) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims
        if taken > axes:
            raise ValueError(f"Independent: expected at most as many axes as batch_shape {distribution.batch_shape} has, "
                             f"found reinterpreted_batch_ndims={taken}")
        self._distribution, self._taken = distribution, taken

    @property
    def distribution(self):
        """The distribution of the parts."""
        return self._distribution

    @property
    def reinterpreted_batch_ndims(self):
        """How many batch axes are taken as axes of the event."""
        return self._taken

    @property
    def _split(self):
        return len(self.distribution.batch_shape) - self._taken

    @property
    def batch_shape(self):
        return self.distribution.batch_shape[:self._split]

    @property
    def event_shape(self):
        return self.distribution.batch_shape[self._split:] + self.distribution.event_shape

    @property
    def params(self):
        return self.distribution.params

    @property
    def support(self):
        return self.distribution.support

    @property
    def mean(self):
        return self.distribution.mean

    @property
    def mode(self):
        return self.distribution.mode

    @property
    def variance(self):
        return self.distribution.variance

    @property
    def stddev(self):
        return self.distribution.stddev

    @cached_property
    def covariance(self):
        """Covariance of the elements of an event, in row-major order: the parts' covariances as blocks on the diagonal."""
        part = self.distribution
        parts, d = size_of_shape(part.batch_shape[self._split:]), size_of_shape(part.event_shape)
        blocks = part.covariance if part.event_shape else part.variance
        diagonal = np.eye(parts, dtype=blocks.dtype).reshape(parts, 1, parts, 1)
        return (blocks.reshape((*self.batch_shape, parts, d, 1, d)) * diagonal).reshape((*self.batch_shape, parts * d, parts * d))

    def _reduce(self, function, values):
        return function(values, axis=tuple(range(-self._taken, 0)))

    @property
    def entropy(self):
        return self._reduce(sum_, self.distribution.entropy)

    def log_prob(self, x):
        return self._reduce(sum_, self.distribution.log_prob(x))

    def prob(self, x):
        return self._reduce(prod, self.distribution.prob(x))

    def cdf(self, x):
        return self._reduce(prod, self.distribution.cdf(x))

    def log_cdf(self, x):
        return self._reduce(sum_, self.distribution.log_cdf(x))

    def icdf(self, x):
        """Raises ``RuntimeError``: several numbers have no inverse of their common distribution function."""
        raise RuntimeError("Independent.icdf: the cumulative distribution function of several variables has no inverse")

    def survival_function(self, x):
        return self._reduce(prod, self.distribution.survival_function(x))

    def log_survival_function(self, x):
        return self._reduce(sum_, self.distribution.log_survival_function(x))

    def perplexity(self, x):
        return self._reduce(prod, self.distribution.perplexity(x))

    def sample_n(self, n):
        return self.distribution.sample_n(n)

    @property
    def xp(self):
        return self.distribution.xp


@register_kl(Independent, Independent)
def _kl_independent_independent(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: expected events of one shape, found {p.event_shape} and {q.event_shape}")
    if p.distribution.event_shape != q.distribution.event_shape:
        raise NotImplementedError(f"kl_divergence: the parts of the events have different shapes, {p.distribution.event_shape} "
                                  f"and {q.distribution.event_shape}")
    return p._reduce(sum_, kl_divergence(p.distribution, q.distribution))
