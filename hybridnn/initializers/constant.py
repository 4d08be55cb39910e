"""Initializers that draw nothing."""
import numpy as np

from hybridnn.backend import copyto, is_array
from hybridnn.errors import InvalidType
from hybridnn.initializer import Initializer

__all__ = ["Constant", "Identity", "NaN", "One", "Zero"]


class Constant(Initializer):
    """One number everywhere, or the values of an array of the same shape (or one that broadcasts to it).

    Args:
        fill_value: number or array.
    """

    def __init__(self, fill_value, dtype=None):
        if not (is_array(fill_value) or np.isscalar(fill_value)) or isinstance(fill_value, (str, bytes)):
            raise ValueError(f"Constant takes a number or an array; got {type(fill_value).__name__}")
        self.fill_value = fill_value
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        if not is_array(self.fill_value):
            array[...] = self.fill_value
            return
        if not _broadcasts(self.fill_value.shape, array.shape):
            raise InvalidType(type(self).__name__, f"an initial array of shape {array.shape}", str(self.fill_value.shape))
        copyto(array, self.fill_value.astype(array.dtype, copy=False))


def _broadcasts(shape, target):
    """Whether NumPy assigns an array of ``shape`` to one of ``target``; axes of length 1 at its front do not count."""
    lead = len(target) - len(shape)
    own = shape[max(-lead, 0):]
    return all(n == 1 for n in shape[:max(-lead, 0)]) and all(n in (1, m) for n, m in zip(own, target[max(lead, 0):], strict=True))


class _Fixed(Constant):
    fill_value: float | None = None

    def __init__(self, dtype=None):
        super().__init__(self.fill_value, dtype)


class Zero(_Fixed):
    """Zeros."""
    fill_value = 0.0


class One(_Fixed):
    """Ones."""
    fill_value = 1.0


class NaN(_Fixed):
    """NaN: shows whoever uses the parameter before it is set."""
    fill_value = np.nan


class Identity(Initializer):
    """The identity matrix times ``scale``, for square matrices."""

    def __init__(self, scale=1.0, dtype=None):
        self.scale = scale
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise ValueError(f"Identity fills square matrices; got an array of shape {array.shape}")
        copyto(array, (np.identity(array.shape[0]) * self.scale).astype(array.dtype))
