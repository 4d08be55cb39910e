"""Special functions. erf, erfc and erfcx are our own (Cody's rational approximations); the others need SciPy."""
from math import pi, sqrt

import numpy as np

from hybridnn.backend import special_functions
from hybridnn.core.op import elementwise, operation
from hybridnn.errors import BackendError
from hybridnn.ops import _cody
from hybridnn.ops.math import exp

TWO_OVER_SQRT_PI, HALF_SQRT_PI = 2 / sqrt(pi), sqrt(pi) / 2
SQRT_2PI, SQRT_2_OVER_PI, SQRT_HALF = sqrt(2 * pi), sqrt(2 / pi), sqrt(.5)


def _functions(xp, name):
    """Where the special functions of an array module are: a symbolic module has them itself, NumPy's are SciPy's."""
    if xp is not np:
        return special_functions(xp)
    try:
        import scipy.special
    except ImportError:
        raise BackendError(f"{name}: expected SciPy, which holds it, to be installed\n  hint: pip install scipy") from None
    return scipy.special


def _special(xp, name, *operands):
    """``scipy.special.<name>`` (or CuPy's) in the dtype of the floating operand."""
    y = getattr(_functions(xp, name), name)(*operands)
    dtype = np.result_type(*[x for x in operands if getattr(x, "dtype", np.dtype(int)).kind == "f"] or [float])
    return xp.asarray(y).astype(dtype, copy=False)


@elementwise()
def erf(xp, x):
    """Error function."""
    return _cody.erf(x) if xp is np else special_functions(xp).erf(x)


@erf.vjp
def _(g, x):
    return g * (exp(-(x * x)) * TWO_OVER_SQRT_PI)


@elementwise()
def erfc(xp, x):
    """1 - erf(x), exact in the far tail."""
    return _cody.erfc(x) if xp is np else special_functions(xp).erfc(x)


@erfc.vjp
def _(g, x):
    return -(g * (exp(-(x * x)) * TWO_OVER_SQRT_PI))


@operation(samples=lambda rng, dtype: [((rng.uniform(-1, 3, (2, 3)).astype(dtype),), {})])
def erfcx(xp, x):
    """erfc(x) exp(x^2), finite for large x."""
    return _cody.erfcx(x) if xp is np else special_functions(xp).erfcx(x)


@erfcx.vjp
def _(g, x, y):
    return g * (x * y * 2 - TWO_OVER_SQRT_PI)


@elementwise()
def ndtr(xp, x):
    """The normal distribution's function, exact in both tails: in float64, as what is rounded off ``x / sqrt(2)`` counts ``x ** 2`` times."""
    return (erfc.forward(xp, x.astype("f8") * -SQRT_HALF) * .5).astype(x.dtype)


@ndtr.vjp
def _(g, x):
    return g * (exp(x * x * -.5) / SQRT_2PI)


# ----------------------------------------------------------------------------------------------------------------- from SciPy

def _one(low, high):
    return lambda rng, dtype: [((rng.uniform(low, high, (2, 3)).astype(dtype),), {})]


@operation(samples=_one(-.8, .8))
def erfinv(xp, x):
    """Inverse of erf."""
    return _special(xp, "erfinv", x)


@erfinv.vjp
def _(g, y):
    return g * (exp(y * y) * HALF_SQRT_PI)


@operation(samples=_one(.2, 1.8))
def erfcinv(xp, x):
    """Inverse of erfc."""
    return _special(xp, "erfcinv", x)


@erfcinv.vjp
def _(g, y):
    return -(g * (exp(y * y) * HALF_SQRT_PI))


@operation(samples=_one(.1, .9))
def ndtri(xp, x):
    """Inverse of ``ndtr``."""
    return _special(xp, "ndtri", x)


@ndtri.vjp
def _(g, y):
    return g * (exp(y * y * .5) * SQRT_2PI)


@operation(samples=_one(-3, 2))
def log_ndtr(xp, x):
    """log(ndtr(x)), exact in the far left tail."""
    return _special(xp, "log_ndtr", x)


@log_ndtr.vjp
def _(g, x):
    return g * SQRT_2_OVER_PI / erfcx(x * -SQRT_HALF)


@operation(samples=_one(.4, 4))
def lgamma(xp, x):
    """Logarithm of the absolute gamma function."""
    return _special(xp, "gammaln", x)


@lgamma.vjp
def _(g, x):
    return g * digamma(x)


@operation(samples=_one(.4, 4))
def digamma(xp, x):
    """Logarithmic derivative of the gamma function."""
    return _special(xp, "digamma", x)


@digamma.vjp
def _(g, x):
    return g * polygamma(1, x)


@operation(samples=lambda rng, dtype: [((np.array([1, 2, 1]), rng.uniform(.6, 3, (2, 3)).astype(dtype)), {})])
def polygamma(xp, n, x):
    """n-th derivative of digamma; ``n`` holds whole numbers and has no gradient."""
    return _special(xp, "polygamma", n, x)


@polygamma.vjp_of("x")
def _(g, n, x):
    return g * polygamma(n + 1, x)


def _zeta_samples(rng, dtype):
    return [((rng.uniform(1.5, 4, (2, 3)).astype(dtype), rng.uniform(.6, 3, (2, 3)).astype(dtype)), {})]


@operation(samples=_zeta_samples)
def zeta(xp, x, q):
    """Hurwitz zeta function: the sum of (k + q) ** -x over k >= 0. It has a gradient in ``q`` only."""
    return _special(xp, "zeta", x, q)


@zeta.vjp_of("q")
def _(g, x, q):
    return -(g * x * zeta(x + 1, q))
