"""Array modules. The only module that imports cupy."""
import numpy

try:
    import cupy
except ImportError:
    cupy = None

__all__ = ["cupy", "get_array_module", "is_array", "numpy"]


def get_array_module(*arrays):
    """The module (``numpy`` or ``cupy``) whose functions take these arrays; Variables count as their arrays."""
    if cupy is None:
        return numpy
    for x in arrays:
        if isinstance(getattr(x, "array", x), cupy.ndarray):
            return cupy
    return numpy


def is_array(x):
    """True for an ndarray of NumPy or CuPy."""
    return isinstance(x, numpy.ndarray) or (cupy is not None and isinstance(x, cupy.ndarray))
