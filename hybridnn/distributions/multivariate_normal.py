"""The multivariate normal distribution."""
import numpy as np

from hybridnn.backend import beside
from hybridnn.core.variable import as_variable
from hybridnn.distribution import Distribution, register_kl
from hybridnn.distributions.normal import ENTROPYC, LOGPROBC
from hybridnn.distributions.utils import _noise, _parameter
from hybridnn.functions.array import diagonal, expand_dims, squeeze
from hybridnn.functions.math import batch_inv, inv, log, matmul
from hybridnn.functions.math import sum as sum_
from hybridnn.utils.cache import cached_property

__all__ = ["MultivariateNormal"]


def _triangle(x, lower):
    """The triangular part of matrices: what lies on the other side is not looked at."""
    ones = np.ones(x.shape[-2:], x.dtype)
    return x * beside(np.tril(ones) if lower else np.triu(ones), x)


def _triangular_inv(x, lower=True):
    """Inverse of a triangular matrix."""
    return inv(_triangle(as_variable(x), lower))


def _batch_triangular_inv(x, lower=True):
    """Inverses of triangular matrices (N, d, d)."""
    return batch_inv(_triangle(as_variable(x), lower))


def _triangular_logdet(x):
    """Logarithms of the absolute determinants of triangular matrices (..., d, d)."""
    return sum_(log(abs(diagonal(x, axis1=-2, axis2=-1))), axis=-1)


class MultivariateNormal(Distribution):
    """Normal distribution of vectors of d elements.

    Args:
        loc: means (..., d).
        scale_tril: lower triangular matrices L (..., d, d); the covariance is L times its transpose.
    """

    def __init__(self, loc, *, scale_tril=None):
        if scale_tril is None:
            raise ValueError("MultivariateNormal: expected scale_tril (..., d, d), found none")
        self.loc, self.scale_tril = _parameter(loc), _parameter(scale_tril)

    @property
    def d(self):
        """Number of elements of an event."""
        return self.scale_tril.shape[-1]

    @property
    def batch_shape(self):
        return self.loc.shape[:-1]

    @property
    def event_shape(self):
        return self.loc.shape[-1:]

    @property
    def params(self):
        return {"loc": self.loc, "scale_tril": self.scale_tril}

    @property
    def support(self):
        return "real"

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @cached_property
    def covariance(self):
        return matmul(self.scale_tril, self.scale_tril, transb=True)

    @cached_property
    def variance(self):
        return sum_(self.scale_tril ** 2, axis=-1)

    @cached_property
    def entropy(self):
        return self._logdet_scale + ENTROPYC * self.d

    @cached_property
    def _logdet_scale(self):
        return _triangular_logdet(self.scale_tril)

    @cached_property
    def _scale_inverse(self):
        flat = self.scale_tril.reshape(-1, self.d, self.d)
        return _batch_triangular_inv(flat).reshape(self.scale_tril.shape)

    def _distance(self, x):
        """Squared Mahalanobis distance from the mean."""
        z = matmul(self._scale_inverse, expand_dims(x - self.loc, -1))
        return sum_(z ** 2, axis=(-2, -1))

    def log_prob(self, x):
        return LOGPROBC * self.d - self._logdet_scale - .5 * self._distance(x)

    def sample_n(self, n):
        eps = _noise(self.loc, "standard_normal", (n, *self.loc.shape, 1))
        return self.loc + squeeze(matmul(self.scale_tril, eps), axis=-1)


@register_kl(MultivariateNormal, MultivariateNormal)
def _kl_multivariatenormal_multivariatenormal(p, q):
    trace = sum_(matmul(q._scale_inverse, p.scale_tril) ** 2, axis=(-2, -1))
    return q._logdet_scale - p._logdet_scale + .5 * (trace + q._distance(p.loc) - p.d)
