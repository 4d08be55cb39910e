"""The Cauchy distribution."""
from math import log, pi

import numpy as np

from hybridnn.config import warn
from hybridnn.core.variable import as_variable
from hybridnn.distributions.univariate import LocationScale
from hybridnn.functions import math as F
from hybridnn.utils.cache import cached_property

__all__ = ["Cauchy"]


def _cauchy_icdf(x):
    """The standard value that is exceeded with probability 1 - x."""
    return F.tan((as_variable(x) - .5) * pi)


class Cauchy(LocationScale):
    """Distribution with density scale / ((x - loc)^2 + scale^2) / pi. It has neither mean nor variance: they are NaN, with a warning."""
    _standard_draw = ("standard_cauchy",)

    def _undefined(self, what):
        warn(f"{what} of a Cauchy distribution is undefined", RuntimeWarning, stacklevel=5)
        return as_variable(self.xp.full(self.batch_shape, np.nan, self.loc.dtype))

    @cached_property
    def mean(self):
        return self._undefined("the mean")

    @cached_property
    def variance(self):
        return self._undefined("the variance")

    @cached_property
    def entropy(self):
        return F.log(4 * pi * self.scale)

    def log_prob(self, x):
        return F.log(self.scale) - log(pi) - F.log((x - self.loc) ** 2 + self.scale ** 2)

    def cdf(self, x):
        return F.arctan(self._standard(x)) * (1 / pi) + .5

    def icdf(self, x):
        return self.loc + self.scale * _cauchy_icdf(x)
