"""``Initializer``: fills an array in place. ``get_fans``: how many inputs and outputs a weight connects."""
from math import prod

import numpy as np

from hybridnn.errors import InvalidType

__all__ = ["Initializer", "get_fans"]


class Initializer:
    """Base of initializers: ``initializer(array)`` fills the array.

    Args:
        dtype: dtype of the arrays that ``Parameter`` makes for it; None leaves it to ``config.dtype``.
    """
    dtype = None

    def __init__(self, dtype=None):
        self.dtype = dtype

    def __call__(self, array):
        """Fill ``array``."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(self, array)")

    def _check_dtype(self, array):
        if self.dtype is not None and array.dtype != np.dtype(self.dtype):
            raise InvalidType(type(self).__name__, f"an array of the initializer's dtype {np.dtype(self.dtype)}",
                              str(array.dtype))


def get_fans(shape):
    """``(fan_in, fan_out)`` of a weight of ``shape`` (outputs, inputs, *kernel): each times the size of the kernel."""
    if not isinstance(shape, tuple):
        raise ValueError(f"get_fans takes a shape as a tuple; got {type(shape).__name__}")
    if len(shape) < 2:
        raise ValueError(f"a weight that is scaled by its fans has at least two axes; got shape {shape}")
    kernel = prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel
