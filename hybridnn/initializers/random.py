"""Normal and uniform initializers, plain and scaled by the fans of the weight.

LeCun et al., Efficient BackProp (1998); Glorot and Bengio (2010); He et al., Delving Deep into Rectifiers (2015).
"""
import numpy as np

from hybridnn.backend import copyto
from hybridnn.initializer import Initializer, get_fans

__all__ = ["GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LeCunNormal", "LeCunUniform", "Normal", "Uniform"]


def _fill(array, rng, kind, **how):
    source = np.random if rng is None else rng
    copyto(array, getattr(source, kind)(size=array.shape, **how).astype(array.dtype, copy=False))


def _fill_normal(array, rng, scale):
    _fill(array, rng, "normal", loc=0.0, scale=scale)


def _fill_uniform(array, rng, scale):
    _fill(array, rng, "uniform", low=-scale, high=scale)


class _Random(Initializer):
    """A distribution whose width is ``scale`` times what ``_width(fan_in, fan_out)`` says.

    Args:
        scale: factor of the width.
        rng: a ``numpy.random.RandomState`` (or ``Generator``) to draw from; None: the global one.
    """
    _draw = staticmethod(_fill_normal)

    def __init__(self, scale=1.0, dtype=None, *, rng=None):
        self.scale, self.rng = scale, rng
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        self._draw(array, self.rng, self.scale * self._width(*get_fans(array.shape)))


class _Plain(Initializer):
    """A distribution of width ``scale``."""

    def __init__(self, scale=0.05, dtype=None, *, rng=None):
        self.scale, self.rng = scale, rng
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        self._draw(array, self.rng, self.scale)


class Normal(_Plain):
    """Normal with standard deviation ``scale``."""
    _draw = staticmethod(_fill_normal)


class Uniform(_Plain):
    """Uniform on ``[-scale, scale)``."""
    _draw = staticmethod(_fill_uniform)


class LeCunNormal(_Random):
    """Normal with standard deviation ``scale * sqrt(1 / fan_in)``; the default of links."""

    def _width(self, fan_in, fan_out):
        return np.sqrt(1.0 / fan_in)


class GlorotNormal(_Random):
    """Normal with standard deviation ``scale * sqrt(2 / (fan_in + fan_out))``."""

    def _width(self, fan_in, fan_out):
        return np.sqrt(2.0 / (fan_in + fan_out))


class HeNormal(_Random):
    """Normal with standard deviation ``scale * sqrt(2 / fan)``.

    Args:
        fan_option: ``"fan_in"`` or ``"fan_out"``: which fan.
    """

    def __init__(self, scale=1.0, dtype=None, fan_option="fan_in", *, rng=None):
        if fan_option not in ("fan_in", "fan_out"):
            raise ValueError(f"fan_option is 'fan_in' or 'fan_out'; got {fan_option!r}")
        self.fan_option = fan_option
        super().__init__(scale, dtype, rng=rng)

    def _width(self, fan_in, fan_out):
        return np.sqrt(2.0 / (fan_in if self.fan_option == "fan_in" else fan_out))


class LeCunUniform(_Random):
    """Uniform on plus or minus ``scale * sqrt(3 / fan_in)``."""
    _draw = staticmethod(_fill_uniform)

    def _width(self, fan_in, fan_out):
        return np.sqrt(3.0 / fan_in)


class GlorotUniform(_Random):
    """Uniform on plus or minus ``scale * sqrt(6 / (fan_in + fan_out))``."""
    _draw = staticmethod(_fill_uniform)

    def _width(self, fan_in, fan_out):
        return np.sqrt(6.0 / (fan_in + fan_out))


class HeUniform(_Random):
    """Uniform on plus or minus ``scale * sqrt(6 / fan_in)``."""
    _draw = staticmethod(_fill_uniform)

    def _width(self, fan_in, fan_out):
        return np.sqrt(6.0 / fan_in)
