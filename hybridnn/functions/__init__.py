"""Functions with Chainer v7's names, arguments and defaults. They take Variables, arrays and numbers, and return Variables."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.functions import activation as _activation
from hybridnn.functions import array as _array
from hybridnn.functions import attention as _attention
from hybridnn.functions import connection as _connection
from hybridnn.functions import evaluation as _evaluation
from hybridnn.functions import image as _image
from hybridnn.functions import loss as _loss
from hybridnn.functions import math as _math
from hybridnn.functions import noise as _noise
from hybridnn.functions import normalization as _normalization
from hybridnn.functions import pooling as _pooling
from hybridnn.functions import rnn as _rnn
from hybridnn.functions import sparse as _sparse
from hybridnn.functions import util as _util
from hybridnn.functions._objects import OBJECTS as _OBJECTS
from hybridnn.functions._paths import PATHS as _PATHS
from hybridnn.functions._paths import open_paths as _open_paths
from hybridnn.functions.activation import *
from hybridnn.functions.array import *
from hybridnn.functions.attention import *
from hybridnn.functions.connection import *
from hybridnn.functions.evaluation import *
from hybridnn.functions.image import *
from hybridnn.functions.loss import *
from hybridnn.functions.math import *
from hybridnn.functions.noise import *
from hybridnn.functions.normalization import *
from hybridnn.functions.pooling import *
from hybridnn.functions.rnn import *
from hybridnn.functions.sparse import *
from hybridnn.functions.util import *

_modules = (_activation, _array, _attention, _connection, _evaluation, _image, _loss, _math, _noise, _normalization, _pooling,
            _rnn, _sparse, _util)
__getattr__ = _names_of(__name__)
__all__ = sorted({name for module in _modules for name in module.__all__})

_open_paths({area: globals()[f"_{area}"] for area in _PATHS}, {name: getattr(module, name) for module in _modules for name in module.__all__},
            _OBJECTS)
