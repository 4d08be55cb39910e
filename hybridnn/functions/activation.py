"""Activation functions."""
from hybridnn.config import config
from hybridnn.core.application import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.arithmetic import cast
from hybridnn.core.random import draw
from hybridnn.core.shapes import reshape
from hybridnn.core.variable import as_variable
from hybridnn.errors import InvalidType
from hybridnn.functions.array import concat
from hybridnn.functions.math import max as _max
from hybridnn.ops import activation as _a
from hybridnn.ops import math as _m
from hybridnn.ops import softmax as _softmax
from hybridnn.ops.axes import axis_of, check_float, of_shape, scalar_for
from hybridnn.ops.util import zeros_for

__all__ = ["clipped_relu", "crelu", "elu", "gelu", "hard_sigmoid", "hardswish", "leaky_relu", "log_softmax", "maxout",
           "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softmax", "softplus", "swish", "tanh"]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def relu(x):
    """max(0, x), elementwise."""
    return apply(_a.relu, (x,))


def sigmoid(x):
    """1 / (1 + exp(-x)), elementwise, exact in both tails."""
    return apply(_a.sigmoid, (x,))


def tanh(x):
    """Hyperbolic tangent, elementwise."""
    return apply(_m.tanh, (x,))


def clipped_relu(x, z=20.0):
    """min(max(0, x), z), elementwise, for a number z > 0."""
    if not z > 0:
        raise InvalidType("clipped_relu", "z > 0", f"z={z}")
    return apply(_a.clipped_relu, (x, scalar_for(x, z)))


def relu6(x):
    """min(max(0, x), 6), elementwise."""
    return apply(_a.clipped_relu, (x, 6.0))


def leaky_relu(x, slope=0.2):
    """x where x >= 0, else slope * x."""
    return apply(_a.leaky_relu, (x, scalar_for(x, slope)))


def elu(x, alpha=1.0):
    """x where x >= 0, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    return apply(_a.elu, (x, scalar_for(x, alpha)))


def selu(x, alpha=_SELU_ALPHA, scale=_SELU_SCALE):
    """scale * elu(x, alpha), whose defaults keep mean and variance (Klambauer et al. 2017)."""
    return scalar_for(x, scale) * apply(_a.elu, (x, scalar_for(x, alpha)))


def crelu(x, axis=1):
    """relu(x) and relu(-x), joined along ``axis`` (Shang et al. 2016)."""
    x = as_variable(x)
    check_float("crelu", x)
    axis = axis_of("crelu", axis, x.ndim)
    return concat((relu(x), relu(-x)), axis)


def hard_sigmoid(x):
    """0.2 x + 0.5, held between 0 and 1."""
    return apply(_a.hard_sigmoid, (x,))


def softplus(x, beta=1.0):
    """log(1 + exp(beta * x)) / beta, without overflow."""
    return apply(_a.softplus, (x, scalar_for(x, beta)))


def _channelwise(name, x, parameter):
    """``parameter`` with axes appended so that its own stand for those of ``x`` behind the first."""
    x, parameter = of_shape(x), of_shape(parameter)
    if x.shape[1:1 + parameter.ndim] != parameter.shape:
        raise InvalidType(name, "a parameter whose axes are those of x behind the first",
                          f"x.shape={x.shape}, parameter.shape={parameter.shape}")
    extra = x.ndim - 1 - parameter.ndim
    return x, reshape.to(parameter, (*parameter.shape, *(1,) * extra)) if extra > 0 and parameter.ndim else parameter


def prelu(x, W):
    """x where x >= 0, else W * x; the axes of ``W`` stand for those of ``x`` behind the batch axis (He et al. 2015)."""
    return apply(_a.prelu, _channelwise("prelu", x, W))


def swish(x, beta):
    """x * sigmoid(beta * x); the axes of ``beta`` stand for those of ``x`` behind the batch axis (Ramachandran et al. 2017)."""
    return apply(_a.swish, _channelwise("swish", x, beta))


def rrelu(x, l=1.0 / 8, u=1.0 / 3, *, r=None, return_r=False, **kwargs):
    """Leaky ReLU whose slopes are drawn from [l, u) in training, and are the middle otherwise (Xu et al. 2015).

    Args:
        x: Variable or array.
        l, u: bounds of the slope, 0 <= l < u < 1.
        r: the slopes, of ``x``'s shape and dtype, instead of drawing them.
        return_r: also return the slopes.
    """
    if kwargs:
        refuse_kwargs(kwargs, "train")
    if not 0 <= l < u < 1:
        raise InvalidType("rrelu", "0 <= l < u < 1", f"l={l}, u={u}")
    x = as_variable(x)
    if not config.train:
        r = apply(zeros_for, (x,), {"shape": x.shape}) + scalar_for(x, (l + u) / 2)
    elif r is None:
        r = apply(cast, (draw("uniform", l, u, x.shape, near=x),), {"dtype": x.dtype.str})
    elif r.shape != x.shape or r.dtype != x.dtype:
        raise InvalidType("rrelu", f"r of x's shape and dtype, {x.dtype}{list(x.shape)}", f"{r.dtype}{list(r.shape)}")
    y = apply(_a.leaky_relu, (x, r))
    return (y, getattr(r, "array", r)) if return_r else y


def maxout(x, pool_size, axis=1):
    """The largest of every ``pool_size`` neighbours along an axis, which becomes that much shorter (Goodfellow et al. 2013)."""
    x = as_variable(x)
    axis = axis_of("maxout", axis, x.ndim)
    if pool_size <= 0 or x.shape[axis] % pool_size:
        raise InvalidType("maxout", f"pool_size > 0 that divides x.shape[{axis}]={x.shape[axis]}", f"pool_size={pool_size}")
    shape = (*x.shape[:axis], x.shape[axis] // pool_size, pool_size, *x.shape[axis + 1:])
    return _max(reshape.to(x, shape), axis=axis + 1)


def softmax(x, axis=1):
    """exp(x) over its sum along ``axis``."""
    return _along("softmax", _softmax.softmax, x, axis)


def log_softmax(x, axis=1):
    """Logarithm of ``softmax``, exact where softmax itself would vanish."""
    return _along("log_softmax", _softmax.log_softmax, x, axis)


def _along(name, op, x, axis):
    x = of_shape(x)
    check_float(name, x)
    return apply(op, (x,), {"axis": (axis_of(name, axis, len(x.shape)),)})


def silu(x):
    """x * sigmoid(x), elementwise."""
    return apply(_a.silu, (x,))


def mish(x):
    """x * tanh(softplus(x)), elementwise (Misra 2019)."""
    return apply(_a.mish, (x,))


def hardswish(x):
    """x * min(max(x + 3, 0), 6) / 6, elementwise (Howard et al. 2019)."""
    return apply(_a.hardswish, (x,))


def gelu(x, approximate="none"):
    """x times the normal distribution's function (Hendrycks and Gimpel 2016).

    Args:
        x: Variable or array.
        approximate: ``"none"`` (exact, by erf) or ``"tanh"`` (their formula by tanh).
    """
    if approximate not in ("none", "tanh", None):
        raise InvalidType("gelu", "approximate to be 'none' or 'tanh'", repr(approximate))
    if approximate == "tanh":
        return apply(_a.gelu_tanh, (x,))
    return apply(_a.gelu, (x,))[0]
