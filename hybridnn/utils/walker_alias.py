"""Sampling from a discrete distribution in constant time (Walker 1974: the alias method)."""
import numpy as np

from hybridnn.backend import beside, there
from hybridnn.device_resident import DeviceResident
from hybridnn.errors import InvalidType

__all__ = ["WalkerAlias"]


class WalkerAlias(DeviceResident):
    """A discrete distribution over 0 ... n - 1.

    The interval [0, n) has n cells; cell i holds up to two outcomes, parted at ``threshold[i]``: ``values[2 i]`` below it,
    ``values[2 i + 1]`` above.

    Args:
        probs: weights, not negative; they are normalised.
    """

    def __init__(self, probs):
        p = np.array(probs, np.float32)
        if p.ndim != 1 or p.size == 0 or not (p >= 0).all() or p.sum() <= 0:
            raise InvalidType("WalkerAlias", "a vector of weights, none negative, not all zero", f"{p.dtype}{p.shape}")
        self.threshold, self.values = _cells(p / p.sum())

    def sample(self, shape):
        """int32 outcomes of this shape, drawn with one uniform number of NumPy's each."""
        return self.lookup(beside(np.random.uniform(0, len(self.threshold), shape), self.threshold))

    def lookup(self, position):
        """Outcomes for uniform numbers from [0, n)."""
        with there(self.threshold):
            index = position.astype(np.int32)
            above = self.threshold[index] < position.astype(np.float32) - index.astype(np.float32)
            return self.values[index * 2 + above.astype(np.int32)]

    def device_resident_accept(self, visitor):
        """Show the sampler and its tables to a visitor."""
        super().device_resident_accept(visitor)
        self.threshold, self.values = visitor.visit_array(self.threshold), visitor.visit_array(self.values)

    @property
    def use_gpu(self):
        return not isinstance(self.threshold, np.ndarray)


def _cells(p):
    """Fill cells from the least likely outcome up; an outcome with too much weight fills the free space of earlier cells."""
    n = len(p)
    threshold, values = np.empty(n, np.float32), np.zeros(2 * n, np.int32)
    filled = 0
    for cell, i in enumerate(np.lexsort((np.arange(n), p))):
        weight = float(p[i]) * n
        while weight > 1 and filled < cell:
            values[2 * filled + 1] = i
            weight -= 1.0 - float(threshold[filled])
            filled += 1
        threshold[cell] = weight
        values[2 * cell] = i
    return threshold, values
