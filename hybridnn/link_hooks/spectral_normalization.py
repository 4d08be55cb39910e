"""``SpectralNormalization`` (Miyato et al. 2018)."""
import numpy as np

from hybridnn import functions as F
from hybridnn.backend import to_cpu
from hybridnn.config import config
from hybridnn.core import Parameter, Variable, apply, apply_inplace, as_array
from hybridnn.errors import InvalidType
from hybridnn.link_hooks.weight_hook import WeightHook
from hybridnn.links.weight_norm import output_axis
from hybridnn.ops.normalization import constant, running_average

__all__ = ["SpectralNormalization"]


class SpectralNormalization(WeightHook):
    """Divides the weight by its largest singular value, approximated by power iteration.

    The left singular vector is kept in the link as a persistent value, ``W_u``.

    Args:
        n_power_iteration: iterations per call.
        eps: added to norms.
        use_gamma: multiply by a learned ``gamma``, which starts as the largest singular value.
        factor: the largest singular value that the result is to have; None: 1.
        weight_name: attribute of the weight.
        name: the hook's name.
    """
    name = "SpectralNormalization"

    def __init__(self, n_power_iteration=1, eps=1e-6, use_gamma=False, factor=None, weight_name="W", name=None):
        if n_power_iteration < 1:
            raise ValueError(f"SpectralNormalization needs at least one power iteration; got {n_power_iteration}")
        super().__init__(weight_name, name)
        self.n_power_iteration, self.eps, self.use_gamma, self.factor = n_power_iteration, eps, use_gamma, factor
        self.vector_name = weight_name + "_u"
        self.axis = 0
        self._v = None

    @property
    def v(self):
        """The right singular vector (an array) of the last call, or None."""
        return as_array(self._v)

    def added(self, link):
        self.axis = output_axis(link)
        super().added(link)

    def deleted(self, link):
        """Take what the hook added off the link."""
        if self._ready:
            delattr(link, self.vector_name)
            if self.use_gamma:
                del link.gamma

    def prepare(self, link):
        W = getattr(link, self.weight_name)
        n = W.shape[self.axis]
        if n == 0:
            raise InvalidType("SpectralNormalization", f"a weight with outputs along axis {self.axis}", f"shape {W.shape}")
        u = np.random.normal(size=(n,)).astype(W.dtype)
        setattr(link, self.vector_name, link.device.send(u))
        link.register_persistent(self.vector_name)
        if self.use_gamma:
            largest = np.linalg.svd(to_cpu(self._matrix(W).array), compute_uv=False)[0]
            with link.init_scope():
                link.gamma = Parameter(link.device.send(np.asarray(largest, W.dtype)))

    def new_weight(self, link, W):
        matrix = self._matrix(W)
        u, v = self._vectors(link, matrix)
        sigma = F.matmul(F.matmul(u, matrix), v)
        if self.factor is not None:
            sigma = sigma / self.factor
        return (link.gamma * W if self.use_gamma else W) / sigma

    def _matrix(self, W):
        """The weight with outputs as rows."""
        if self.axis:
            W = F.moveaxis(W, self.axis, 0)
        return F.reshape(W, (W.shape[0], -1))

    def _vectors(self, link, matrix):
        """Singular vectors after the power iterations; constants to the gradient. While training, ``W_u`` is moved on."""
        stored = getattr(link, self.vector_name)
        if config.in_recomputing:
            return stored, self._v
        matrix = apply(constant, (matrix,))
        u = Variable(stored, requires_grad=False)
        for _ in range(self.n_power_iteration):
            v = self._unit(F.matmul(u, matrix))
            u = self._unit(F.matmul(matrix, v))
        self._v = v
        if config.train:
            apply_inplace(running_average, (stored, u, 0., 1.), (0,))
        return u, v

    def _unit(self, x):
        return x / (F.sqrt(F.sum(x * x)) + self.eps)
