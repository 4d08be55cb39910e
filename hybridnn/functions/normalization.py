"""Normalisation: layer, batch, group, instance, root mean square, renormalised and decorrelated batch, L2, local response."""


import numpy as np

from hybridnn.backend import beside
from hybridnn.config import warn
from hybridnn.core import apply, apply_inplace, as_variable
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.arithmetic import cast
from hybridnn.core.fixed import fixed_array
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape, sum_, transpose
from hybridnn.errors import InvalidType
from hybridnn.ops.axes import in_dtype, scalar_for
from hybridnn.ops.expect import axis_tuple, describe, expect, expect_arrays, expect_float
from hybridnn.ops.math import maximum, minimum, rsqrt, sqrt
from hybridnn.ops.normalization import constant, inverse_sqrt, running_average, safe_sqrt, standardize
from hybridnn.ops.pooling import sum_pooling

__all__ = [
    "batch_normalization", "batch_renormalization", "decorrelated_batch_normalization", "fixed_batch_normalization",
    "fixed_batch_renormalization", "fixed_decorrelated_batch_normalization", "group_normalization", "instance_normalization",
    "layer_normalization", "local_response_normalization", "normalize", "rms_normalization"]


def layer_normalization(x, gamma, beta, eps=1e-5):
    """Each row standardised, scaled and shifted: ``gamma * (x - mean) / sqrt(var + eps) + beta`` (Ba et al. 2016).

    Args:
        x: (n, units), or more leading axes; statistics run over the last axis.
        gamma, beta: (units,).
    """
    expect_float("layer_normalization", x=x, gamma=gamma, beta=beta)
    expect(
        len(x.shape) >= 2 and gamma.shape == beta.shape == x.shape[-1:],
        "layer_normalization",
        "x with two axes or more, gamma and beta of the size of its last",
        x=x,
        gamma=gamma,
        beta=beta,
    )
    y, _, _ = apply(standardize, (x, eps), {"axis": (len(x.shape) - 1,)})
    return in_dtype(y * gamma + beta, x.dtype)


def rms_normalization(x, gamma, eps=1e-6):
    """``gamma * x / sqrt(mean(x ** 2) + eps)`` over the last axis (Zhang and Sennrich 2019); gamma (units,)."""
    expect_float("rms_normalization", x=x)
    expect_arrays("rms_normalization", gamma=gamma)
    expect(len(x.shape) >= 1 and gamma.shape == x.shape[-1:], "rms_normalization", "gamma of the size of x's last axis", x=x, gamma=gamma)
    x = as_variable(x)
    work = apply(cast, (x,), {"dtype": "float32"}) if x.dtype == np.float16 else x
    mean = sum_.over(work * work, (len(x.shape) - 1,), keepdims=True) * (1 / max(x.shape[-1], 1))
    return in_dtype(work * apply(rsqrt, (mean + eps,)) * gamma, x.dtype)


def group_normalization(x, groups, gamma, beta, eps=1e-5):
    """Channels in ``groups`` groups, each standardised per sample, then scaled and shifted per channel (Wu and He 2018).

    Args:
        x: (n, channels, ...).
        groups: a divisor of the number of channels.
        gamma, beta: (channels,).
    """
    expect_float("group_normalization", x=x, gamma=gamma, beta=beta)
    expect(
        len(x.shape) >= 2 and gamma.shape == beta.shape == x.shape[1:2],
        "group_normalization",
        "x (n, channels, ...), gamma and beta (channels,)",
        x=x,
        gamma=gamma,
        beta=beta,
    )
    if groups < 1 or x.shape[1] % groups:
        raise InvalidType("group_normalization", "groups that divide the number of channels", f"groups={groups}, {describe(x=x)}")
    rows = reshape.to(x, (x.shape[0], groups, -1) if x.size else (x.shape[0], groups, 0))
    y, _, _ = apply(standardize, (rows, eps), {"axis": (2,)})
    column = (x.shape[1],) + (1,) * (len(x.shape) - 2)
    return in_dtype(y.reshape(x.shape) * reshape.to(gamma, column) + reshape.to(beta, column), x.dtype)


def instance_normalization(x, gamma, beta, eps=1e-5):
    """Every channel of every sample standardised over its spatial axes, then scaled and shifted (Ulyanov et al. 2016): ``gamma``
    and ``beta`` (channels,); ``eps`` is added to the variances."""
    expect_arrays("instance_normalization", x=x)
    return group_normalization(x, x.shape[1] if len(x.shape) > 1 else 1, gamma, beta, eps)


# ------------------------------------------------------------------------------------------------------------------ batch


def _batch_axes(op, x, gamma, axis):
    """(axes that the statistics run over, shape that spreads a parameter over x)."""
    if axis is None:
        axis = (0, *range(len(gamma.shape) + 1, len(x.shape)))
    elif not isinstance(axis, (int, tuple, list)):
        raise InvalidType(op, "axis as an int, a tuple of ints or None", repr(axis))
    axis = axis_tuple(axis, len(x.shape), op)
    spread = tuple(1 if i in axis else n for i, n in enumerate(x.shape))
    kept = tuple(n for i, n in enumerate(x.shape) if i not in axis)
    expect(gamma.shape == kept, op, f"parameters of x's shape without the axes {axis}: {kept}", x=x, gamma=gamma)
    return axis, spread


def _check_parameters(op, x, gamma, **others):
    expect_float(op, x=x, gamma=gamma, **others)
    for name, p in others.items():
        expect(p.shape == gamma.shape, op, f"{name} of gamma's shape", gamma=gamma, **{name: p})


def _update_running(x, gamma, mean, var, running_mean, running_var, decay):
    """Move the running statistics, in place; the variance is made unbiased, as at Chainer."""
    m = x.size // max(gamma.size, 1)
    if running_mean is not None:
        apply_inplace(running_average, (running_mean, mean, decay, 1 - decay), (0,))
    if running_var is not None:
        apply_inplace(running_average, (running_var, var, decay, (1 - decay) * (m / max(m - 1.0, 1.0))), (0,))


def batch_normalization(x, gamma, beta, eps=2e-5, running_mean=None, running_var=None, decay=0.9, axis=None, **kwargs):
    """``gamma * (x - mean) / sqrt(var + eps) + beta`` with the statistics of this batch (Ioffe and Szegedy 2015).

    Args:
        x: (n, channels, ...).
        gamma, beta: the shape of x without ``axis``.
        running_mean, running_var: arrays that are moved in place towards this batch's statistics, by ``1 - decay``, or None.
        axis: axes that the statistics run over; None: the first and all behind gamma's.
    """
    if kwargs:
        refuse_kwargs(kwargs, "train")
    _check_parameters("batch_normalization", x, gamma, beta=beta)
    axis, spread = _batch_axes("batch_normalization", x, gamma, axis)
    if x.size == gamma.size != 0:
        warn(f"batch_normalization: one element alone along the axes {axis} of x {x.shape} has no variance, so that the result is beta; "
                      "an evaluation needs using_config('train', False)", UserWarning, stacklevel=2)
    work = x if x.dtype == gamma.dtype else in_dtype(as_variable(x), np.promote_types(x.dtype, gamma.dtype))
    y, mean, var = apply(standardize, (work, eps), {"axis": axis})
    _update_running(x, gamma, mean, var, running_mean, running_var, decay)
    return in_dtype(y * reshape.to(gamma, spread) + reshape.to(beta, spread), x.dtype)


def fixed_batch_normalization(x, gamma, beta, mean, var, eps=2e-5, axis=None):
    """``gamma * (x - mean) / sqrt(var + eps) + beta`` with given statistics; arguments as ``batch_normalization``."""
    _check_parameters("fixed_batch_normalization", x, gamma, beta=beta, mean=mean, var=var)
    _, spread = _batch_axes("fixed_batch_normalization", x, gamma, axis)
    scale = as_variable(gamma) * apply(rsqrt, (as_variable(var) + eps,))
    return in_dtype((as_variable(x) - reshape.to(mean, spread)) * scale.reshape(spread) + reshape.to(beta, spread), x.dtype)


def batch_renormalization(
    x, gamma, beta, rmax, dmax, eps=2e-5, running_mean=None, running_var=None, decay=0.9, update_statistics=False
):
    """Batch normalisation corrected towards the running statistics (Ioffe 2017).

    The standardised batch is multiplied by ``r = clip(std / running_std, 1 / rmax, rmax)`` and shifted by
    ``d = clip((mean - running_mean) / running_std, -dmax, dmax)``; both count as constants in the gradient.

    Args:
        running_mean, running_var: arrays of gamma's shape, which ``update_statistics`` moves in place towards this batch's by ``1 - decay``.
        x, gamma, beta, eps: as ``batch_normalization`` takes them.
    """
    if running_mean is None or running_var is None:
        raise TypeError("batch_renormalization: running_mean and running_var are required")
    _check_parameters("batch_renormalization", x, gamma, beta=beta)
    axis, spread = _batch_axes("batch_renormalization", x, gamma, None)
    y, mean, var = apply(standardize, (x, eps), {"axis": axis})
    running_std = apply(sqrt, (as_variable(running_var) + eps,))
    r = _clip(apply(sqrt, (apply(constant, (var + eps,)),)) / running_std.reshape(spread), 1 / rmax, rmax)
    d = _clip((apply(constant, (mean,)) - reshape.to(running_mean, spread)) / running_std.reshape(spread), -dmax, dmax)
    if update_statistics:
        _update_running(x, gamma, mean, var, running_mean, running_var, decay)
    return in_dtype((y * r + d) * reshape.to(gamma, spread) + reshape.to(beta, spread), x.dtype)


def fixed_batch_renormalization(x, gamma, beta, mean, var, eps=2e-5):
    """Deprecated name of ``fixed_batch_normalization``."""
    warn("fixed_batch_renormalization is deprecated: use fixed_batch_normalization", DeprecationWarning, stacklevel=2)
    return fixed_batch_normalization(x, gamma, beta, mean, var, eps)


def _clip(x, low, high):
    return apply(minimum, (apply(maximum, (x, low)), high))


def normalize(x, eps=1e-5, axis=1):
    """``x / (norm(x) + eps)`` with the L2 norm along ``axis`` (an int or several)."""
    expect_float("normalize", x=x)
    axis = axis_tuple(axis, len(x.shape), "normalize")
    x = as_variable(x)
    squares = sum_.over(x * x, axis, keepdims=True)
    return x / (apply(safe_sqrt, (squares,)) + scalar_for(x, eps))


def local_response_normalization(x, n=5, k=2, alpha=1e-4, beta=0.75):
    """``x / (k + alpha * s) ** beta`` with s the sum of squares over the ``n`` channels around each (Krizhevsky et al. 2012).

    Args:
        x: (batch, channels, ...).
        n: width of the window over channels (``n // 2`` on either side).
    """
    expect_float("local_response_normalization", x=x)
    expect(len(x.shape) >= 2, "local_response_normalization", "x (batch, channels, ...)", x=x)
    x, half = as_variable(x), n // 2
    squares = (x * x).reshape((x.shape[0], 1, x.shape[1], -1) if x.size else (x.shape[0], 1, x.shape[1], 0))
    sums = apply(sum_pooling, (squares,), dict(ksize=(2 * half + 1, 1), stride=(1, 1), pad=(half, 0), cover_all=False))
    k, alpha, beta = (scalar_for(x, setting) for setting in (k, alpha, beta))
    return x * (sums.reshape(x.shape) * alpha + k) ** -beta


# ---------------------------------------------------------------------------------------------------------------- decorrelated


def _grouped(name, x, groups):
    """x (n, channels, ...) as (groups, channels / groups, n * positions)."""
    expect_float(name, x=x)
    expect(
        len(x.shape) >= 2 and groups > 0 and x.shape[1] % groups == 0,
        name,
        "x (n, channels, ...) and groups that divide the channels",
        x=x,
        groups=groups,
    )
    order = (1, 0, *range(2, len(x.shape)))
    return transpose.by(as_variable(x), order).reshape((groups, x.shape[1] // groups, x.size // max(x.shape[1], 1)))


def _ungrouped(y, shape):
    return y.reshape((shape[1], shape[0], *shape[2:])).transpose((1, 0, *range(2, len(shape))))


def _product(a, b, transb=False):
    return apply(matmul, (a, b), {"transa": False, "transb": transb})


def decorrelated_batch_normalization(x, *, groups=16, eps=2e-5, running_mean=None, running_projection=None, decay=0.9):
    """Channels of each group centred and made uncorrelated, with unit variance, by the symmetric (ZCA) whitening of this batch
    (Huang et al. 2018).

    Args:
        x: (n, channels, ...).
        groups: number of groups of channels that are whitened separately.
        eps: added to the diagonals of the covariances.
        decay: what is left of the running statistics after a batch.
        running_mean: (groups, channels / groups), moved in place towards this batch's mean, or None.
        running_projection: (groups, c, c) with c = channels / groups, moved in place towards this batch's whitening matrix, or
            None.
    """
    rows = _grouped("decorrelated_batch_normalization", x, groups)
    m = rows.shape[2]
    mean = sum_.over(rows, (2,), keepdims=True) * (1 / max(m, 1))
    centred = rows - mean
    c = rows.shape[1]
    ridge = as_variable(beside(fixed_array(np.eye, c, c, 0, rows.dtype), centred)) * scalar_for(x, eps)
    projection = apply(inverse_sqrt, (_product(centred, centred, transb=True) * (1 / max(m, 1)) + ridge,))
    if running_mean is not None:
        apply_inplace(running_average, (running_mean, mean, decay, 1 - decay), (0,))
    if running_projection is not None:
        apply_inplace(running_average, (running_projection, projection, decay, (1 - decay) * (m / max(m - 1.0, 1.0))), (0,))
    return _ungrouped(_product(projection, centred), x.shape)


def fixed_decorrelated_batch_normalization(x, mean, projection, groups=16):
    """``projection @ (x - mean)`` per group, with given statistics; see ``decorrelated_batch_normalization``."""
    rows = _grouped("fixed_decorrelated_batch_normalization", x, groups)
    expect_arrays("fixed_decorrelated_batch_normalization", mean=mean, projection=projection)
    expect(
        mean.shape == rows.shape[:2] and projection.shape == (*rows.shape[:2], rows.shape[1]),
        "fixed_decorrelated_batch_normalization",
        f"mean {rows.shape[:2]} and projection {(*rows.shape[:2], rows.shape[1])}",
        mean=mean,
        projection=projection,
    )
    return _ungrouped(_product(projection, rows - reshape.to(mean, (*rows.shape[:2], 1))), x.shape)
