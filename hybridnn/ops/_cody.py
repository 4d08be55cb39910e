"""erf, erfc and erfcx on NumPy arrays by W. J. Cody's rational approximations (Mathematics of Computation 23, 1969).

Three ranges of |x|: up to 0.46875 a ratio in x^2 gives erf(x) / x; up to 4 a ratio in |x|, beyond 4 one in 1 / x^2, give
erfc(x) exp(x^2). The error is about 1e-16 relative.
"""
import math
from math import pi, sqrt

import numpy as np

SMALL = ((1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
         (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3))
MIDDLE = ((2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
           8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
          (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3, 3.29079923573345963e3,
           4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3))
LARGE = ((1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
          6.58749161529837803e-4),
         (1.0, 2.56852019228982242e0, 1.87295284992346047e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
          2.33520497626869185e-3))


# erf(x) / x in x^2 for |x| <= 3.925, beyond which erf is 1 to single precision: our own fit (least squares, reweighted until the
# relative error is level), 2e-8.
SINGLE_LIMIT, CHUNK, FEW = 3.925, 16384, 128
SINGLE = ((2.04601242e-06, 0.0002848438458, 0.003772589576, 0.0527694209, 0.1905947486, 1.128379146),
          (3.804763595e-05, 0.001163866217, 0.01498327847, 0.1141831238, 0.5022429285, 1.0))


def _ratio(tables, t):
    """Both polynomials by Horner's rule, in place."""
    values = []
    for first, second, *rest in tables:
        y = t * first
        y += second
        for c in rest:
            y *= t
            y += c
        values.append(y)
    return values[0] / values[1]


def _scaled_tail(a):
    """erfc(a) exp(a^2) for a > 0.46875."""
    y = np.empty_like(a)
    far = a > 4
    near = ~far
    y[near] = _ratio(MIDDLE, a[near])
    b = a[far]
    t = 1 / (b * b)
    y[far] = (1 / sqrt(pi) - t * _ratio(LARGE, t)) / b
    return y


def _gauss(a):
    """exp(-a^2), with a split so that its square is exact."""
    high = np.trunc(a * 16) / 16
    return np.exp(-high * high) * np.exp(-(a - high) * (a + high))


def _split(x, center, outer):
    """``center(x)`` where |x| <= 0.46875, ``outer(x)`` elsewhere; NaN stays. Works in float64 (float32 in, float32 out)."""
    x = np.asarray(x)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype("float64")
    flat = x.astype(np.float64).ravel()
    y = np.empty_like(flat)
    mid = np.absolute(flat) <= .46875
    rest = ~mid
    y[mid] = center(flat[mid])
    y[rest] = outer(flat[rest])
    return y.reshape(x.shape).astype(dtype)


def _erf_center(x):
    return x * _ratio(SMALL, x * x)


def _erfc_tail(x):
    a = np.minimum(np.absolute(x), 30)
    return _gauss(a) * _scaled_tail(a)


def _single(x):
    """erf to single precision: one formula for all x, in pieces that stay in the cache."""
    x = np.asarray(x)
    y = np.empty(x.shape, x.dtype)
    source, target = np.ascontiguousarray(x).reshape(-1), y.reshape(-1)
    for i in range(0, x.size, CHUNK):
        a = np.maximum(source[i:i + CHUNK], -SINGLE_LIMIT, dtype=np.float64)
        np.minimum(a, SINGLE_LIMIT, out=a)
        target[i:i + CHUNK] = a * _ratio(SINGLE, a * a)
    return y


def _few(function, x):
    """Element by element in Python: the fastest way for up to FEW elements. None for more, and for no floating-point array."""
    if not isinstance(x, np.ndarray) or x.size > FEW or x.dtype.kind != "f":
        return None
    return np.array([*map(function, x.ravel().tolist())], x.dtype).reshape(x.shape)


def erf(x):
    """Error function."""
    few = _few(math.erf, x)
    if few is not None:
        return few
    if getattr(x, "dtype", None) in (np.float32, np.float16):
        return _single(x)
    return _split(x, _erf_center, lambda x: np.copysign(1 - _erfc_tail(x), x))


def erfc(x):
    """1 - erf(x), exact in the far tail."""
    few = _few(math.erfc, x)
    if few is not None:
        return few
    return _split(x, lambda x: 1 - _erf_center(x), lambda x: np.where(x > 0, _erfc_tail(x), 2 - _erfc_tail(x)))


def _erfcx_outer(x):
    y = _scaled_tail(np.absolute(x))
    below = x < 0
    with np.errstate(over="ignore"):
        y[below] = 2 * np.exp(x[below] ** 2) - y[below]
    return y


def erfcx(x):
    """erfc(x) exp(x^2)."""
    return _split(x, lambda x: (1 - _erf_center(x)) * np.exp(x * x), _erfcx_outer)
