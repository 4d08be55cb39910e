"""The Bernoulli distribution."""
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.random import draw
from hybridnn.distribution import register_kl
from hybridnn.distributions.univariate import Univariate
from hybridnn.distributions.utils import _modified_xlogx, _parameter, _point
from hybridnn.functions.activation import sigmoid, softplus
from hybridnn.functions.array import where
from hybridnn.functions.math import log, log1p
from hybridnn.ops.probability import bernoulli_log_prob
from hybridnn.utils.cache import cached_property

__all__ = ["Bernoulli"]


def _bernoulli_log_prob(logit, x, binary_check=False):
    """Log probability of ``x`` under log odds; with ``binary_check``, -inf unless x is 0 or 1."""
    logit = _parameter(logit)
    x = _point(x, logit)
    return _if_binary(binary_check, x, apply(bernoulli_log_prob, (logit, x)), -float("inf"))


def _if_binary(check, x, y, otherwise):
    return where(x == 0, y, where(x == 1, y, otherwise)) if check else y


class Bernoulli(Univariate):
    """Distribution of a number that is 1 with probability ``p`` and 0 otherwise.

    Args:
        p: probability of 1; either it or ``logit`` is given.
        logit: log(p / (1 - p)).
        binary_check: give numbers other than 0 and 1 the probability 0.
    """
    _names = ("logit",)
    support = "{0, 1}"

    def __init__(self, p=None, logit=None, binary_check=False):
        if (p is None) == (logit is None):
            raise ValueError("Bernoulli: expected either p or logit, found both or neither")
        self._p, self._logit = (None if a is None else _parameter(a) for a in (p, logit))
        self.binary_check = binary_check

    @cached_property
    def p(self):
        """Probability of 1."""
        return sigmoid(self._logit) if self._p is None else self._p

    @cached_property
    def logit(self):
        """Log odds."""
        return log(self._p) - log1p(-self._p) if self._logit is None else self._logit

    def _given(self):
        return (self._logit if self._p is None else self._p,)

    @property
    def mean(self):
        return self.p

    @cached_property
    def variance(self):
        return self.p * (1 - self.p)

    @cached_property
    def stddev(self):
        return self.variance ** .5

    @property
    def entropy(self):
        return -_modified_xlogx(self.p) - _modified_xlogx(1 - self.p)

    def log_prob(self, x):
        return _bernoulli_log_prob(self.logit, x, self.binary_check)

    def prob(self, x):
        x = _point(x, self.p)
        return _if_binary(self.binary_check, x, x * self.p + (1 - x) * (1 - self.p), 0.)

    def sample_n(self, n):
        return apply(cast, (draw("rand", n, *self.batch_shape, near=self.p) < self.p,), {"dtype": "int64"})


@register_kl(Bernoulli, Bernoulli)
def _kl_bernoulli_bernoulli(p, q):
    return (p.logit - q.logit) * (p.p - 1) - softplus(-p.logit) + softplus(-q.logit)
