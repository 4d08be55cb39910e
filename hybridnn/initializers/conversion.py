"""What counts as an initializer, and arrays made by one."""
import copy

import numpy as np

from hybridnn.backend import get_device, get_dtype, is_array
from hybridnn.errors import InvalidType
from hybridnn.initializer import Initializer
from hybridnn.initializers.constant import Constant
from hybridnn.initializers.random import LeCunNormal

__all__ = ["generate_array", "get_initializer", "with_dtype"]


def get_initializer(initializer):
    """``initializer`` as a callable: None gives ``LeCunNormal``, a number or an array ``Constant``."""
    if initializer is None:
        return LeCunNormal()
    if is_array(initializer) or np.isscalar(initializer) and not isinstance(initializer, (str, bytes)):
        return Constant(initializer)
    if not callable(initializer):
        raise TypeError(f"an initializer is a callable, a number, an array or None; got {type(initializer).__name__}"
                        "\n  hint: initializers.GlorotUniform(), or numpy.asarray(values) of a list")
    return initializer


class _Typed(Initializer):
    """A plain function with a dtype."""

    def __init__(self, function, dtype):
        self.function = function
        super().__init__(dtype)

    def __call__(self, array):
        self.function(array)


def with_dtype(initializer, dtype):
    """A copy of an initializer that makes arrays of ``dtype``."""
    if not isinstance(initializer, Initializer):
        return _Typed(initializer, dtype)
    copied = copy.copy(initializer)
    copied.dtype = dtype
    return copied


def generate_array(initializer, shape, xp=np, dtype=None, device=None):
    """A new array of ``shape`` that the initializer filled.

    Args:
        initializer: a callable that fills an array.
        shape: shape of the array.
        xp: array module of the result.
        dtype: dtype; must be the initializer's if that has one. None: the initializer's, else ``config.dtype``.
        device: where the array goes; must agree with ``xp``.
    """
    own = getattr(initializer, "dtype", None)
    if dtype is not None and own is not None and np.dtype(dtype) != np.dtype(own):
        raise InvalidType("generate_array", f"the initializer's dtype {np.dtype(own)}", str(np.dtype(dtype)))
    if device is not None and get_device(device).xp is not xp:
        raise ValueError(f"generate_array: arrays of {xp.__name__} do not live on {get_device(device)}")
    array = np.empty(shape, get_dtype(own if dtype is None else dtype))
    initializer(array)
    return xp.asarray(array) if device is None else get_device(device).send(array)
