"""``math`` as it is in a kernel on a GPU: results have the operand's dtype, and infinities and NaN where Python raises."""
from types import SimpleNamespace

import numpy as np
from scipy import special

_SAME_NAMES = ("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "fmod", "copysign", "isinf",
               "isnan", "isfinite")


def _pow(x, y):
    """By arrays: of one exponent 0.5 NumPy makes a root, which -inf has none of."""
    return np.power(np.array([x, x]), np.array([y, y]))[0]


gpu_math = SimpleNamespace(**{name: getattr(np, name) for name in _SAME_NAMES}, asin=np.arcsin, acos=np.arccos, atan=np.arctan, atan2=np.arctan2,
                           asinh=np.arcsinh, acosh=np.arccosh, atanh=np.arctanh, pow=_pow, erf=special.erf, erfc=special.erfc)
