"""What probability distributions have in common, and divergences between them."""
from math import prod

from hybridnn.backend import get_array_module
from hybridnn.functions.math import exp, sqrt

__all__ = ["Distribution", "cross_entropy", "kl_divergence", "register_kl"]


class Distribution:
    """Base of probability distributions.

    A distribution holds a batch of independent events that need not be distributed alike; a sample holds any number of batches.
    So a sample has the shape ``sample_shape + batch_shape + event_shape``, and a function of a sample, such as ``log_prob``,
    gives a Variable of shape ``sample_shape + batch_shape``. All results are differentiable in the parameters, and where that
    makes sense in the sample.

    A subclass defines what it can; the rest raises ``NotImplementedError``.
    """

    def _missing(self, what):
        return NotImplementedError(f"{type(self).__name__} does not define {what}")

    @property
    def batch_shape(self):
        """Shape of the batch: of the parameters, less the axes of an event."""
        raise self._missing("batch_shape")

    @property
    def event_shape(self):
        """Shape of one event; () for a distribution of numbers."""
        raise self._missing("event_shape")

    @property
    def params(self):
        """The parameters: a dict of Variables."""
        raise self._missing("params")

    @property
    def support(self):
        """Where the density is not 0, in words."""
        raise self._missing("support")

    @property
    def mean(self):
        """Expected value: ``batch_shape + event_shape``."""
        raise self._missing("mean")

    @property
    def mode(self):
        """The likeliest value: ``batch_shape + event_shape``."""
        raise self._missing("mode")

    @property
    def variance(self):
        """Variance of each element: ``batch_shape + event_shape``."""
        raise self._missing("variance")

    @property
    def stddev(self):
        """Standard deviation of each element: the root of ``variance``."""
        return sqrt(self.variance)

    @property
    def covariance(self):
        """Covariance of the elements of an event: ``batch_shape + (d, d)``."""
        raise self._missing("covariance")

    @property
    def entropy(self):
        """Entropy in nats: ``batch_shape``."""
        raise self._missing("entropy")

    def log_prob(self, x):
        """Logarithm of the density (of the probability, for a discrete distribution) at ``x``."""
        raise self._missing("log_prob")

    def prob(self, x):
        """Density (probability) at ``x``: exp of ``log_prob``."""
        return exp(self.log_prob(x))

    def cdf(self, x):
        """Probability of a value of at most ``x``."""
        raise self._missing("cdf")

    def log_cdf(self, x):
        """Logarithm of ``cdf``."""
        raise self._missing("log_cdf")

    def icdf(self, x):
        """The value that ``cdf`` takes to the probability ``x``."""
        raise self._missing("icdf")

    def survival_function(self, x):
        """Probability of a value above ``x``: 1 - cdf."""
        raise self._missing("survival_function")

    def log_survival_function(self, x):
        """Logarithm of ``survival_function``."""
        raise self._missing("log_survival_function")

    def perplexity(self, x):
        """Perplexity at ``x``."""
        raise self._missing("perplexity")

    def sample(self, sample_shape=()):
        """Draw: a Variable ``sample_shape + batch_shape + event_shape``. ``sample_shape`` is a tuple or a number.

        Calls ``sample_n``, which is what a subclass overrides.
        """
        sample_shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return self.sample_n(prod(sample_shape)).reshape(sample_shape + self.batch_shape + self.event_shape)

    def sample_n(self, n):
        """Draw ``n`` batches: a Variable ``(n,) + batch_shape + event_shape``."""
        raise self._missing("sample_n")

    @property
    def xp(self):
        """The array module of the parameters."""
        return get_array_module(*self.params.values())


_RULES: dict = {}


def register_kl(Dist1, Dist2):
    """Decorator: the function below gives ``kl_divergence`` of a ``Dist1`` and a ``Dist2``."""
    def register(rule):
        _RULES[Dist1, Dist2] = rule
        return rule
    return register


def kl_divergence(dist1, dist2):
    """Kullback-Leibler divergence, the mean of log p(x) - log q(x) under p (Kullback and Leibler 1951).

    Args:
        dist1, dist2: the distributions p and q. A rule for their classes, or for bases of both, has to be registered with
            ``register_kl``.
    Returns: a Variable ``batch_shape``.
    """
    for first in type(dist1).__mro__:
        for second in type(dist2).__mro__:
            if (first, second) in _RULES:
                return _RULES[first, second](dist1, dist2)
    names = f"{type(dist1).__name__} and {type(dist2).__name__}"
    raise NotImplementedError(f"kl_divergence: no rule for {names}\n  hint: write one and decorate it with register_kl")


def cross_entropy(dist1, dist2):
    """Cross entropy, the mean of -log q(x) under p: the entropy of ``dist1`` and ``kl_divergence(dist1, dist2)``."""
    return dist1.entropy + kl_divergence(dist1, dist2)
