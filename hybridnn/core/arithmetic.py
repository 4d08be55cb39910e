"""The elementwise operations that Variables and backward themselves rest on: arithmetic, comparison, cast, choice."""
import operator

import numpy as np

from hybridnn.core.op import Op, elementwise
from hybridnn.core.tape import TracedNumber

__all__ = ["absolute", "add", "cast", "div", "equal", "floor_divide", "greater", "greater_equal", "identity", "less", "less_equal", "log", "mul", "neg",
           "not_equal", "pow_", "remainder", "sign", "sub", "where"]


@elementwise(fast=np.add)
def add(xp, x, y):
    """x + y"""
    return x + y


@add.vjp
def _(g):
    return g, g


@elementwise(fast=np.subtract)
def sub(xp, x, y):
    """x - y"""
    return x - y


@sub.vjp_of("x")
def _(g):
    return identity(g)


@sub.vjp_of("y")
def _(g):
    return -g


@elementwise(fast=np.multiply)
def mul(xp, x, y):
    """x * y"""
    return x * y


@mul.vjp_of("x")
def _(g, y):
    return g * y


@mul.vjp_of("y")
def _(g, x):
    return g * x


@elementwise(fast=np.true_divide, samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), rng.uniform(1, 2, (3,)).astype(dtype)), {})])
def div(xp, x, y):
    """x / y"""
    return x / y


@div.vjp_of("x")
def _(g, y):
    return g / y


@div.vjp_of("y")
def _(g, x, y):
    return -(g * x) / (y * y)


@elementwise(fast=np.negative)
def neg(xp, x):
    """-x"""
    return -x


@neg.vjp
def _(g):
    return -g


def _check_int_powers(arrays, attrs):
    """NumPy has no integer powers with negative exponents."""
    if np.size(arrays[1]) and np.min(arrays[1]) < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")


@elementwise(name="pow", fast=operator.pow, domain=(0.5, 2.0), check_ints=_check_int_powers)
def pow_(xp, x, y):
    """x ** y"""
    return x ** y


@pow_.vjp_of("x")
def _(g, x, y):
    return g * (y * x ** (y - 1))


@pow_.vjp_of("y")
def _(g, x, y):
    return g * (x ** y * (x.mapped(_log_of_number) if isinstance(x, TracedNumber) else _log_of_number(x) if isinstance(x, (float, int)) else log(x)))


def _log_of_number(x):
    return np.log(x).item()


@elementwise(fast=np.log, domain=(0.2, 3.0))
def log(xp, x):
    """Natural logarithm."""
    return xp.log(x)


@log.vjp
def _(g, x):
    return g / x


@elementwise(fast=np.absolute, samples=lambda rng, dtype: [(((rng.uniform(.2, 2, (2, 3)) * rng.choice([-1, 1], (2, 3))).astype(dtype),), {})])
def absolute(xp, x):
    """|x|"""
    return xp.absolute(x)


@absolute.vjp
def _(g, x):
    return g * sign(x)


@elementwise(fast=np.sign)
def sign(xp, x):
    """-1, 0 or 1 (the gradient is zero)."""
    return xp.sign(x)


@elementwise()
def floor_divide(xp, x, y):
    """x // y (no gradient)."""
    return xp.floor_divide(x, y)


@elementwise(samples=lambda rng, dtype: [((rng.uniform(3.1, 3.9, (2, 3)).astype(dtype), rng.uniform(1.3, 1.4, (3,)).astype(dtype)), {})])
def remainder(xp, x, y):
    """x % y, with the sign of y."""
    return xp.remainder(x, y)


@remainder.vjp_of("x")
def _(g):
    return g


@remainder.vjp_of("y")
def _(g, x, y):
    return -(g * floor_divide(x, y))


def _comparison(name, text):
    def body(xp, x, y):
        return getattr(xp, name)(x, y)
    body.__doc__ = f"x {text} y, elementwise, as bool."
    return Op(name, body, "elementwise", fast=getattr(np, name), domain=(-2.0, 2.0))


less, less_equal = _comparison("less", "<"), _comparison("less_equal", "<=")
greater, greater_equal = _comparison("greater", ">"), _comparison("greater_equal", ">=")
equal, not_equal = _comparison("equal", "=="), _comparison("not_equal", "!=")


def _where_samples(rng, dtype):
    return [((rng.random((2, 3)) > .5, rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(3,)).astype(dtype)), {})]


@elementwise(samples=_where_samples)
def where(xp, condition, x, y):
    """x where the condition holds, else y."""
    return xp.where(condition, x, y)


@where.vjp_of("x")
def _(g, condition):
    return where(condition, g, 0)


@where.vjp_of("y")
def _(g, condition):
    return where(condition, 0, g)


@elementwise(view=True)
def identity(xp, x):
    """The value itself, as a node of its own (figure 3 of the seed)."""
    return x.view() if hasattr(x, "view") else x


@identity.vjp
def _(g):
    return identity(g)


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype),), {"dtype": "float64"})])
def cast(xp, x, *, dtype):
    """The same numbers in another dtype."""
    return x.astype(dtype)


@cast.vjp
def _(g, dtypes):
    return None if dtypes[0].kind in "iub" else cast(g, dtype=dtypes[0].str)
