"""Initializers of parameters. Random ones draw from ``numpy.random`` (or from their ``rng``), as Chainer's do: the same seed
gives the same values."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.initializer import Initializer, get_fans
from hybridnn.initializers.constant import Constant, Identity, NaN, One, Zero
from hybridnn.initializers.conversion import generate_array, get_initializer, with_dtype
from hybridnn.initializers.orthogonal import Orthogonal
from hybridnn.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Uniform,
)
from hybridnn.initializers.sampling import DownsamplingConvFilter, UpsamplingDeconvFilter
from hybridnn.utils.paths import open_paths as _open_paths

__getattr__ = _names_of(__name__)
__all__ = ["Constant", "DownsamplingConvFilter", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
           "Initializer", "LeCunNormal", "LeCunUniform", "NaN", "Normal", "One", "Orthogonal", "Uniform",
           "UpsamplingDeconvFilter", "Zero", "generate_array", "get_fans", "get_initializer", "with_dtype"]

_get_initializer = get_initializer      # Chainer's name, which links of its users call

_open_paths(__name__, {"normal": "GlorotNormal HeNormal LeCunNormal Normal", "uniform": "GlorotUniform HeUniform LeCunUniform Uniform"})
