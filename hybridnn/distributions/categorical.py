"""The categorical distribution."""
import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.random import draw
from hybridnn.core.variable import as_variable
from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.utils import _modified_xlogx, _parameter
from hybridnn.functions.activation import log_softmax
from hybridnn.functions.math import exp, log
from hybridnn.functions.math import sum as sum_
from hybridnn.ops.probability import pick
from hybridnn.utils.cache import cached_property

__all__ = ["Categorical"]


class Categorical(Distribution):
    """Distribution over the numbers of k categories.

    Args:
        p: probabilities (..., k); either it or ``logit`` is given.
        logit: logarithms of the probabilities, up to a constant for each row.
    """

    def __init__(self, p=None, *, logit=None):
        if (p is None) == (logit is None):
            raise ValueError("Categorical: expected either p or logit, found both or neither")
        self._p, self._logit = (None if a is None else _parameter(a) for a in (p, logit))

    @cached_property
    def p(self):
        """Probabilities."""
        return exp(self.log_p) if self._p is None else self._p

    @cached_property
    def log_p(self):
        """Logarithms of the probabilities."""
        return log_softmax(self._logit, axis=-1) if self._p is None else log(self._p)

    @property
    def batch_shape(self):
        return (self._logit if self._p is None else self._p).shape[:-1]

    @property
    def event_shape(self):
        return ()

    @property
    def params(self):
        return {"p": self.p}

    @cached_property
    def entropy(self):
        return -sum_(_modified_xlogx(self.p), axis=-1)

    def log_prob(self, x):
        """Log probability of categories ``x`` (whole numbers)."""
        x = as_variable(x)
        if x.dtype.kind == "f":
            x = apply(cast, (x,), {"dtype": "int32"})
        return self.log_p[(*np.indices(self.batch_shape, sparse=True), x)]

    def sample_n(self, n):
        return apply(pick, (self.p, draw("rand", n, *self.batch_shape, near=self.p)))


@register_kl(Categorical, Categorical)
def _kl_categorical_categorical(p, q):
    return sum_(p.p * (p.log_p - q.log_p), axis=-1)
