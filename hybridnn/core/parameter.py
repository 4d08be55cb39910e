"""``Parameter``: a Variable that a Link owns and an optimizer updates."""
import numpy as np

from hybridnn.backend import get_array_module
from hybridnn.config import config
from hybridnn.core.variable import Leaf, Variable
from hybridnn.errors import InvalidType

__all__ = ["Parameter"]


class Parameter(Variable):
    """A trainable Variable, possibly without a shape yet.

    Args:
        initializer: an initializer (called with an empty array to fill), an array, a number, or None for NaN.
        shape: shape, or None to decide it later by ``initialize``.
        name: the attribute name its Link gives it.
        layout: accepted for Chainer's signature; only None.
    """
    initializer = None
    update_rule = None
    _grad_wanted = True

    def __init__(self, initializer=None, shape=None, name=None, *, layout=None):
        super().__init__(name=name)
        self.initializer = np.nan if initializer is None else initializer
        if shape is not None:
            self.initialize(shape)
        elif isinstance(initializer, np.ndarray) or np.isscalar(initializer) and not isinstance(initializer, (str, bytes)):
            if isinstance(initializer, np.ndarray):
                self._set(initializer)

    @property
    def is_initialized(self):
        """Whether the array exists."""
        return self._array is not None

    def initialize(self, shape):
        """Create the array of ``shape`` and fill it by the initializer."""
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        dtype = np.dtype(getattr(self.initializer, "dtype", None) or _default_dtype())
        a = np.empty(shape, dtype)
        if callable(self.initializer):
            self.initializer(a)
        elif isinstance(self.initializer, np.ndarray) and self.initializer.shape != shape:
            raise InvalidType("Parameter.initialize", f"an initial array of shape {shape}", str(self.initializer.shape))
        else:
            a[...] = self.initializer
        self._set(a if self._initial_device is None else self._initial_device.send(a))

    def _set(self, a):
        self._array = a
        self._tape = Leaf(a.shape, a.dtype)
        if self._grad_wanted:
            self._tape.grad = get_array_module(a).full_like(a, np.nan)

    def cleargrad(self):
        """Set the gradient to None; an uninitialised parameter starts without one."""
        super().cleargrad()
        if self._array is None:
            self._grad_wanted = False

    def zerograd(self):
        """Set the gradient to zeros, now or at initialisation."""
        if self._array is not None:
            super().zerograd()

    def update(self):
        """Apply the update rule to this parameter, if it has one."""
        if self.update_rule is not None:
            self.update_rule.update(self)


def _default_dtype():
    return "float32" if config.dtype == "mixed16" else config.dtype
