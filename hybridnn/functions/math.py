"""Mathematics on Variables: elementwise, reductions, products, linear algebra, special functions."""
from math import inf

from hybridnn.config import warn
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import absolute as _absolute
from hybridnn.core.arithmetic import add as _add
from hybridnn.core.arithmetic import identity as _identity
from hybridnn.core.arithmetic import log as _log
from hybridnn.core.arithmetic import sign as _sign
from hybridnn.core.product import matmul as _matmul
from hybridnn.core.shapes import reshape, sum_
from hybridnn.core.shapes import sum_to as _sum_to
from hybridnn.core.variable import Variable, as_variable
from hybridnn.errors import InvalidType
from hybridnn.ops import linalg as _linalg
from hybridnn.ops import math as _m
from hybridnn.ops import reduction as _r
from hybridnn.ops import special as _s
from hybridnn.ops.axes import axes_of, axis_of, check_float, of_shape
from hybridnn.ops.softmax import logsumexp as _logsumexp

__all__ = ["absolute", "add", "arccos", "arcsin", "arctan", "arctan2", "arctanh", "argmax", "argmin", "average",
           "batch_det", "batch_inv", "batch_l2_norm_squared", "batch_matmul", "bias", "ceil", "cholesky", "clip", "cos",
           "cosh", "cumprod", "cumsum", "det", "digamma", "einsum", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp",
           "expm1", "fft", "fix", "floor", "fmod", "identity", "ifft", "inv", "lgamma", "linear_interpolate", "log",
           "log10", "log1p", "log2", "log_ndtr", "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum",
           "ndtr", "ndtri", "polygamma", "prod", "rsqrt", "scale", "sign", "sin", "sinh", "sqrt", "square",
           "squared_difference", "sum", "sum_to", "tan", "tensordot", "zeta"]


def _function(op, name=None):
    """A public function that is one op on all its arguments, in order."""
    if len(op.params) == 1:
        def f(x):
            return apply(op, (x,))
    else:
        def f(*xs):  # type: ignore[misc]
            return apply(op, xs)
    f.__name__ = f.__qualname__ = name or op.name
    f.__doc__ = f"{op.__doc__}\n\n    Elementwise; takes a Variable, an array or a number and returns a Variable.\n    "
    return f


absolute, log, sign = _function(_absolute), _function(_log), _function(_sign)
exp, expm1, log2, log10, log1p = map(_function, (_m.exp, _m.expm1, _m.log2, _m.log10, _m.log1p))
sqrt, rsqrt, square = map(_function, (_m.sqrt, _m.rsqrt, _m.square))
sin, cos, tan, arcsin, arccos, arctan = map(_function, (_m.sin, _m.cos, _m.tan, _m.arcsin, _m.arccos, _m.arctan))
sinh, cosh, arctanh = map(_function, (_m.sinh, _m.cosh, _m.arctanh))
floor, ceil, fix = map(_function, (_m.floor, _m.ceil, _m.fix))
erf, erfc, erfcx, erfinv, erfcinv = map(_function, (_s.erf, _s.erfc, _s.erfcx, _s.erfinv, _s.erfcinv))
ndtr, ndtri, log_ndtr, lgamma, digamma = map(_function, (_s.ndtr, _s.ndtri, _s.log_ndtr, _s.lgamma, _s.digamma))


def identity(*inputs):
    """The inputs themselves, as nodes of their own in the graph: a Variable, or a tuple of them if there are several."""
    ys = tuple([apply(_identity, (x,)) for x in inputs])
    return ys[0] if len(ys) == 1 else ys


def add(*xs):
    """Sum of two or more inputs, which broadcast."""
    if len(xs) == 1 and isinstance(xs[0], (tuple, list)):
        xs = tuple(xs[0])
    if not xs:
        raise InvalidType("add", "at least one input", "none")
    y = as_variable(xs[0])
    for x in xs[1:]:
        y = apply(_add, (y, x))
    return y


def arctan2(x1, x2):
    """Angle of the point (x2, x1), in [-pi, pi], elementwise."""
    return apply(_m.arctan2, (x1, x2))


def maximum(x1, x2):
    """The larger of both, elementwise; NaN if either is. At a tie the gradient goes to ``x1``."""
    return apply(_m.maximum, (x1, x2))


def minimum(x1, x2):
    """The smaller of both, elementwise; NaN if either is. At a tie the gradient goes to ``x1``."""
    return apply(_m.minimum, (x1, x2))


def fmod(x, divisor):
    """Remainder of the division rounded toward zero, elementwise."""
    return apply(_m.fmod, (x, divisor))


def squared_difference(x1, x2):
    """(x1 - x2) ** 2, elementwise."""
    return apply(_m.squared_difference, (x1, x2))


def linear_interpolate(p, x, y):
    """p * x + (1 - p) * y for three arrays of one shape."""
    p, x, y = of_shape(p), of_shape(x), of_shape(y)
    if not p.shape == x.shape == y.shape:
        raise InvalidType("linear_interpolate", "p, x and y of one shape", f"{p.shape}, {x.shape}, {y.shape}")
    return apply(_m.linear_interpolate, (p, x, y))


def clip(x, x_min, x_max):
    """x held between two numbers (one may be None: no bound). The gradient passes where ``x_min <= x <= x_max``."""
    if x_min is None and x_max is None:
        raise InvalidType("clip", "x_min or x_max to be set", "None for both")
    x_min, x_max = -inf if x_min is None else x_min, inf if x_max is None else x_max
    if not x_min < x_max:
        raise InvalidType("clip", "x_min < x_max", f"x_min={x_min}, x_max={x_max}")
    return apply(_m.clip, (x, x_min, x_max))


def polygamma(n, x):
    """n-th derivative of digamma at x, elementwise; ``n`` holds whole numbers and has no gradient."""
    return apply(_s.polygamma, (n, x))


def zeta(x, q):
    """Hurwitz zeta function: the sum of (k + q) ** -x over k >= 0. It has a gradient in ``q`` only."""
    return apply(_s.zeta, (x, q))


# ------------------------------------------------------------------------------------------------------------------ reductions

def _reduce(op, name, x, axis, keepdims):
    x = of_shape(x)
    if axis is not None:
        axis = axes_of(name, axis, x.ndim)
    return apply(op, (x,), {"axis": axis, "keepdims": keepdims})


def _extreme(op, name, x, axis, keepdims):
    x = of_shape(x)
    if not x.size:
        _check_elements(name, x, axis)
    return _reduce(op, name, x, axis, keepdims)


def _check_elements(name, x, axis):
    if not _r.count(x.shape, axes_of(name, axis, x.ndim)):
        raise InvalidType(name, "at least one element along the axes", f"x.shape={x.shape}, axis={axis}")


def sum(x, axis=None, keepdims=False):
    """Sum over axes.

    Args:
        x: Variable or array.
        axis: None (all), an int or a tuple of ints.
        keepdims: keep the reduced axes with length 1.
    """
    if axis is not None:
        axis = axes_of("sum", axis, of_shape(x).ndim)
    elif not isinstance(x, Variable):
        x = of_shape(x)
    return apply(sum_, (x,), {"axis": axis, "keepdims": keepdims})


def max(x, axis=None, keepdims=False):
    """Largest element over axes (see ``sum``). Elements that tie all get the gradient."""
    return _extreme(_r.amax, "max", x, axis, keepdims)


def min(x, axis=None, keepdims=False):
    """Smallest element over axes (see ``sum``). Elements that tie all get the gradient."""
    return _extreme(_r.amin, "min", x, axis, keepdims)


def prod(x, axis=None, keepdims=False):
    """Product over axes (see ``sum``). The gradient is exact where factors are zero."""
    return _reduce(_r.prod, "prod", x, axis, keepdims)


def logsumexp(x, axis=None):
    """log(sum(exp(x))) over axes (None, an int or a tuple of ints), shifted by the maximum."""
    return _reduce(_logsumexp, "logsumexp", x, axis, False)


def argmax(x, axis=None):
    """Index (int32) of the first largest element along one axis, or into the flat array; no gradient."""
    return _arg(_r.argmax, "argmax", x, axis)


def argmin(x, axis=None):
    """Index (int32) of the first smallest element along one axis, or into the flat array; no gradient."""
    return _arg(_r.argmin, "argmin", x, axis)


def _arg(op, name, x, axis):
    x = of_shape(x)
    axis = None if axis is None else (axis_of(name, axis, x.ndim),)
    if not x.size:
        _check_elements(name, x, axis)
    return apply(op, (x,), {"axis": axis})


def average(x, axis=None, weights=None, keepdims=False):
    """Weighted mean over axes.

    Args:
        x: Variable or array of floating-point numbers.
        axis: None (all), an int or a tuple of ints.
        weights: None, or an array as long as the one axis (of ``x``'s shape if ``axis`` is None).
        keepdims: keep the reduced axes with length 1.
    """
    x = of_shape(x)
    if axis is not None:
        axis = axes_of("average", axis, x.ndim)
    if weights is None:
        return apply(_r.mean, (x,), {"axis": axis, "keepdims": keepdims})
    return _weighted(x, axis, of_shape(weights), keepdims)


def _weighted(x, axis, weights, keepdims):
    if axis is not None and len(axis) > 1:
        raise InvalidType("average", "one axis (or None) with weights", f"axis={axis}")
    shape = x.shape if axis is None else tuple(n if i in axis else 1 for i, n in enumerate(x.shape))
    spread = weights if weights.shape == shape else reshape.to(weights, shape)
    total = sum(spread, axis, keepdims)
    return sum(x * spread, axis, keepdims) / total


mean = average


def sum_to(x, shape):
    """Sum over the axes that broadcasting ``shape`` to ``x.shape`` adds or repeats."""
    x, shape = as_variable(x), tuple(shape)
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[lead:])):
        raise InvalidType("sum_to", f"a shape that broadcasts to {x.shape}", str(shape))
    return apply(_sum_to, (x,), {"shape": shape})


def cumsum(x, axis=None):
    """Running sum along an axis (None: of the flattened array)."""
    return _scan(_r.cumsum, "cumsum", x, axis)


def cumprod(x, axis=None):
    """Running product along an axis (None: of the flattened array). The gradient is exact where factors are zero."""
    return _scan(_r.cumprod, "cumprod", x, axis)


def _scan(op, name, x, axis):
    x = of_shape(x)
    if axis is None:
        x, axis = reshape.to(x, (-1,)) if x.ndim != 1 else x, 0
    return apply(op, (x,), {"axis": axis_of(name, axis, x.ndim), "reverse": False})


def batch_l2_norm_squared(x):
    """Squared Euclidean norm of each of the N items of ``x`` (N, ...): shape (N,)."""
    x = as_variable(x)
    if x.ndim < 2:
        raise InvalidType("batch_l2_norm_squared", "an array with at least 2 axes", f"x.shape={x.shape}")
    return sum(square(x), tuple(range(1, x.ndim)))


# ----------------------------------------------------------------------------------------------------------- broadcast products

class _UnalignedError(InvalidType, AssertionError):
    """Axes of the second array are not those of the first."""


def _aligned(name, x, y, axis):
    if not 0 <= axis <= x.ndim - y.ndim:
        raise InvalidType(name, f"0 <= axis <= {x.ndim - y.ndim}", f"axis={axis}, x.shape={x.shape}, y.shape={y.shape}")
    if any(n not in (1, size) for n, size in zip(y.shape, x.shape[axis:], strict=False)):
        raise _UnalignedError(name, f"y.shape == x.shape[{axis}:{axis + y.ndim}], or ones there", f"x.shape={x.shape}, y.shape={y.shape}")
    return reshape.to(y, (*y.shape, *(1,) * (x.ndim - axis - y.ndim)))


def bias(x, y, axis=1):
    """x + y, where the axes of ``y`` stand for those of ``x`` from ``axis`` on, or are of size 1."""
    x, y = of_shape(x), of_shape(y)
    return apply(_add, (x, _aligned("bias", x, y, axis)))


def scale(x, y, axis=1):
    """x * y, where the axes of ``y`` stand for those of ``x`` from ``axis`` on, or are of size 1."""
    x, y = as_variable(x), of_shape(y)
    return x * _aligned("scale", x, y, axis)


def matmul(a, b, transa=False, transb=False):
    """Matrix product of the last two axes; leading axes broadcast.

    Args:
        a, b: Variables or arrays with at least one axis; a vector gains an axis that the result loses.
        transa, transb: transpose the last two axes of ``a`` or ``b`` first (no effect on a vector).
    """
    return _matmul.of(of_shape(a), of_shape(b), bool(transa), bool(transb))


def batch_matmul(a, b, transa=False, transb=False):
    """Matrix products of two batches (B, m, k) and (B, k, n); a (B, m) stands for (B, m, 1). Deprecated: ``matmul`` does it."""
    warn("batch_matmul is deprecated; matmul multiplies batches too", DeprecationWarning, stacklevel=2)
    a, b = (reshape.to(x, (*x.shape, 1)) if x.ndim == 2 else x for x in (of_shape(a), of_shape(b)))
    return _matmul.of(a, b, bool(transa), bool(transb))


def tensordot(a, b, axes=2):
    """Sum of products over several axes of two arrays.

    Args:
        axes: the number of last axes of ``a`` and first axes of ``b`` to sum over, or a pair of (sequences of) axes.
    """
    return _linalg.tensordot_of(of_shape(a), of_shape(b), axes)


def einsum(*operands):
    """Einstein summation, with NumPy's notation: ``einsum("ij,jk->ik", a, b)`` or ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""
    return _linalg.einsum_of(operands)


# -------------------------------------------------------------------------------------------------------------- linear algebra

def _square_matrices(name, a, ndim):
    a = of_shape(a)
    check_float(name, a)
    if a.ndim != ndim or a.shape[-1] != a.shape[-2]:
        raise InvalidType(name, "a square matrix" if ndim == 2 else "a batch (B, n, n) of square matrices", f"a.shape={a.shape}")
    return a


def inv(a):
    """Inverse of a matrix (n, n). A singular one raises InvalidType."""
    return apply(_linalg.inv, (_square_matrices("inv", a, 2),))


def batch_inv(a):
    """Inverses of matrices (B, n, n). A singular one raises InvalidType."""
    return apply(_linalg.inv, (_square_matrices("batch_inv", a, 3),))


def det(a):
    """Determinant of a matrix (n, n)."""
    return apply(_linalg.det, (_square_matrices("det", a, 2),))


def batch_det(a):
    """Determinants of matrices (B, n, n)."""
    return apply(_linalg.det, (_square_matrices("batch_det", a, 3),))


def cholesky(a):
    """Lower triangular L with L @ L.T equal to the positive definite symmetric matrix ``a`` (n, n). The gradient is symmetric."""
    return apply(_linalg.cholesky, (_square_matrices("cholesky", a, 2),))


def fft(x):
    """Discrete Fourier transform along the last axis of ``x``, a pair (real, imaginary part); returns such a pair."""
    return _fourier("fft", x, False)


def ifft(x):
    """Inverse of ``fft``."""
    return _fourier("ifft", x, True)


def _fourier(name, x, inverse):
    real, imag = of_shape(x[0]), of_shape(x[1])
    check_float(name, real, imag)
    if real.shape != imag.shape or real.dtype != imag.dtype or not real.ndim:
        raise InvalidType(name, "two arrays of one shape and dtype, with at least one axis",
                          f"{real.dtype}{list(real.shape)}, {imag.dtype}{list(imag.shape)}")
    return apply(_linalg.fft, (real, imag), {"inverse": inverse})
