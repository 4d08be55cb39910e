"""What distributions of a number share."""
import numpy as np

from hybridnn.distribution import Distribution
from hybridnn.distributions.utils import _noise, _parameter

__all__ = ["LocationScale", "Univariate"]


class Univariate(Distribution):
    """Base of distributions of a number. Their parameters broadcast to the shape of the batch.

    A subclass says how its parameters are called (``_names``: attributes that are Variables) and what its ``support`` is.
    """
    _names: tuple[str, ...] = ()
    event_shape = ()

    @property
    def batch_shape(self):
        return np.broadcast_shapes(*[p.shape for p in self._given()])

    @property
    def params(self):
        return {name: getattr(self, name) for name in self._names}

    def _given(self):
        """The Variables that the distribution was made of; where ``params`` are computed of them, they need not be."""
        return self.params.values()


class LocationScale(Univariate):
    """Base of the distributions of loc + scale z, where the density of the number z is highest at 0.

    A subclass says how z is drawn (``_standard_draw``: a name in ``numpy.random`` and what it is called with before the size).
    """
    _names = ("loc", "scale")
    _standard_draw: tuple = ()
    support = "real"

    def __init__(self, loc, scale):
        self.loc, self.scale = _parameter(loc), _parameter(scale)

    @property
    def mode(self):
        return self.loc

    def _standard(self, x):
        return (x - self.loc) / self.scale

    def sample_n(self, n):
        return self.loc + self.scale * _noise(self.loc, *self._standard_draw, (n, *self.batch_shape))
