"""Functions that draw random numbers, from ``numpy.random``'s stream, at the moment of the call."""
from hybridnn.config import config
from hybridnn.core.application import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.arithmetic import cast, greater_equal, mul, where
from hybridnn.core.op_node import show, tell
from hybridnn.core.product import matmul
from hybridnn.core.random import draw
from hybridnn.core.shapes import broadcast_to, reshape
from hybridnn.core.variable import as_array, as_variable
from hybridnn.errors import InvalidType
from hybridnn.functions.activation import softmax
from hybridnn.functions.math import exp
from hybridnn.ops.axes import axis_of, check_float, in_dtype, of_shape, scalar_for
from hybridnn.ops.noise import dropout_mask, one_hot_largest

__all__ = ["dropout", "gaussian", "gumbel_softmax", "simplified_dropconnect", "zoneout"]


def _uniform(shape, near):
    """An array of numbers from [0, 1), on the device of ``near``."""
    return draw("rand", *shape, near=near) if shape else draw("random_sample", (), near=near)


def dropout(x, ratio=.5, *, mask=None, return_mask=False, **kwargs):
    """Elements set to 0 with probability ``ratio``, the others scaled by 1 / (1 - ratio), in training (Srivastava et al. 2014).

    Args:
        x: Variable or array of floating-point numbers.
        ratio: 0 <= ratio < 1.
        mask: an array to multiply ``x`` with, instead of drawing one.
        return_mask: also return the mask (None when not training).
    """
    if kwargs:
        refuse_kwargs(kwargs, "train")
    if not 0 <= ratio < 1:
        raise InvalidType("dropout", "0 <= ratio < 1", f"ratio={ratio}")
    if not config.train:
        return (as_variable(x), None) if return_mask else as_variable(x)
    x = of_shape(x)
    if mask is None:
        check_float("dropout", x)
        mask = apply(dropout_mask, (_uniform(x.shape, x), ratio), {"dtype": x.dtype.str})
        if mask.dtype != x.dtype:       # the ratio is a NumPy scalar
            mask = apply(cast, (mask,), {"dtype": x.dtype.str})
    elif mask.shape != x.shape:
        raise InvalidType("dropout", f"a mask of x's shape {x.shape}", f"mask.shape={mask.shape}")
    y = apply(mul, (x, mask))
    y = show(y, mask=_second) if y.requires_grad else tell(y, mask=mask)
    return (y, as_array(mask)) if return_mask else y


def _first(node):
    return node.kept_inputs()[0]


def _not_first(node):
    return ~_first(node)


def _second(node):
    return node.kept_inputs()[1]


def gaussian(mean, ln_var, *, eps=None, return_eps=False):
    """A draw from normal distributions, differentiable in their parameters (Kingma and Welling 2014).

    Args:
        mean, ln_var: means and logarithms of the variances, of one shape and dtype.
        eps: standard normal numbers of that shape, instead of drawing them.
        return_eps: also return those numbers.
    """
    mean, ln_var = as_variable(mean), as_variable(ln_var)
    check_float("gaussian", mean, ln_var)
    if mean.shape != ln_var.shape or mean.dtype != ln_var.dtype:
        raise InvalidType("gaussian", "mean and ln_var of one shape and dtype",
                          f"{mean.dtype}{list(mean.shape)}, {ln_var.dtype}{list(ln_var.shape)}")
    if eps is None:
        eps = apply(cast, (draw("standard_normal", ln_var.shape, near=ln_var),), {"dtype": mean.dtype.str})
    elif eps.shape != mean.shape:
        raise InvalidType("gaussian", f"eps of shape {mean.shape}", f"eps.shape={eps.shape}")
    y = mean + exp(ln_var * .5) * eps
    return (y, as_array(eps)) if return_eps else y


def gumbel_softmax(log_pi, tau=.1, axis=1, hard=False):
    """A relaxed draw from categorical distributions (Jang et al. 2017, Maddison et al. 2017).

    Args:
        log_pi: logarithms of the probabilities (unnormalised ones do).
        tau: temperature.
        axis: the axis of the categories.
        hard: return one-hot arrays, through which gradients pass as through the relaxed ones.
    """
    log_pi = as_variable(log_pi)
    check_float("gumbel_softmax", log_pi)
    if log_pi.ndim < 1:
        return log_pi * 0 + 1
    g = apply(cast, (draw("gumbel", 0., 1., log_pi.shape, near=log_pi),), {"dtype": log_pi.dtype.str})
    y = softmax((log_pi + g) / scalar_for(log_pi, tau), axis=axis)
    return apply(one_hot_largest, (y,), {"axis": axis_of("gumbel_softmax", axis, y.ndim)}) if hard else y


def zoneout(h, x, ratio=.5, **kwargs):
    """``x``, where in training each element is that of ``h`` instead with probability ``ratio`` (Krueger et al. 2017)."""
    if kwargs:
        refuse_kwargs(kwargs, "train")
    if not config.train:
        return as_variable(x)
    x, h = of_shape(x), of_shape(h)
    if h.shape != x.shape:
        raise InvalidType("zoneout", "h and x of one shape", f"h.shape={h.shape}, x.shape={x.shape}")
    y = apply(where, (apply(greater_equal, (_uniform(x.shape, x), ratio)), x, h))
    return show(y, flag_x=_first, flag_h=_not_first)


def simplified_dropconnect(x, W, b=None, ratio=.5, train=True, mask=None, use_batchwise_mask=True):
    """A linear layer whose weights are dropped at random (Wan et al. 2013, without the Gaussian approximation).

    Args:
        x: batch (N, ...) of N vectors of length I when flattened.
        W: weights (O, I).
        b: biases (O,) or None.
        ratio: probability of dropping a weight.
        train: if false, none is dropped.
        mask: weights to keep, (N, O, I) or (O, I), instead of drawing them.
        use_batchwise_mask: a mask for each item of the batch.
    """
    x, W = as_variable(x), as_variable(W)
    check_float("simplified_dropconnect", x, W, *([] if b is None else [of_shape(b)]))
    if x.ndim < 2 or W.ndim != 2 or x.size != x.shape[0] * W.shape[1]:
        raise InvalidType("simplified_dropconnect", "x (N, ...) with I elements in each item, and W (O, I)",
                          f"x.shape={x.shape}, W.shape={W.shape}")
    if b is not None and of_shape(b).shape != W.shape[:1]:
        raise InvalidType("simplified_dropconnect", f"b of shape {W.shape[:1]}", f"b.shape={b.shape}")
    ratio = ratio if train else 0
    shape = (x.shape[0], *W.shape) if use_batchwise_mask else W.shape
    if mask is None:
        mask = apply(greater_equal, (_uniform(shape, x), ratio))
    elif mask.shape != shape:
        raise InvalidType("simplified_dropconnect", f"a mask of shape {shape}", f"mask.shape={mask.shape}")
    y = _dropconnect(x, W * (1 / (1 - ratio)) * mask, b)
    return show(y, mask=_weights_kept if W.requires_grad else lambda node: as_array(mask))


def _weights_kept(node):
    """The mask, which the masked weights' node keeps: the first operand's, as it is all the way back to there."""
    while node.program.op is not mul:
        node = node.edges[0]
    return _second(node)


def _dropconnect(x, W, b):
    if W.ndim == 2:
        W = apply(broadcast_to, (W,), {"shape": (x.shape[0], *W.shape)})
    y = reshape.to(matmul.of(W, reshape.to(x, (x.shape[0], W.shape[2], 1))), W.shape[:2])
    y = in_dtype(y, x.dtype)
    return y if b is None else y + b
