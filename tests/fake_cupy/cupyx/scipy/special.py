"""SciPy's special functions on the arrays of the stand-in, as far as CuPy has them."""
import scipy.special
from cupy import NAMES, _function


def __getattr__(name):
    if name not in NAMES["special"] or name.startswith("__"):
        raise AttributeError(f"module 'cupyx.scipy.special' has no attribute {name!r}")
    return _function(scipy.special, name, None)
