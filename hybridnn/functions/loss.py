"""Losses of classification and regression."""

from math import log as _ln
from math import pi, prod

import numpy as np

from hybridnn.backend import beside
from hybridnn.core import Variable, apply, as_variable
from hybridnn.core.arithmetic import cast, not_equal, where
from hybridnn.core.fixed import fixed_array
from hybridnn.core.op_node import show
from hybridnn.core.product import matmul
from hybridnn.core.shapes import broadcast_to, reshape, sum_
from hybridnn.errors import InvalidType
from hybridnn.functions._metric_loss import (
    black_out,
    contrastive,
    discriminative_margin_based_clustering_loss,
    negative_sampling,
    triplet,
)
from hybridnn.functions._sequence_loss import argmax_crf1d, connectionist_temporal_classification, crf1d
from hybridnn.ops import loss as ops
from hybridnn.ops.activation import relu
from hybridnn.ops.axes import in_dtype, of_shape, scalar_for
from hybridnn.ops.expect import describe, expect, expect_choice, expect_float, label_hint
from hybridnn.ops.math import exp, expm1, maximum, squared_difference
from hybridnn.ops.reduction import mean
from hybridnn.ops.softmax import log_softmax

__all__ = [
    "UnknownNormError", "absolute_error", "argmax_crf1d", "bernoulli_nll", "black_out", "connectionist_temporal_classification", "contrastive",
    "crf1d", "cross_covariance", "decov", "discriminative_margin_based_clustering_loss", "focal_loss",
    "gaussian_kl_divergence", "gaussian_nll", "hinge", "huber_loss", "mean_absolute_error", "mean_squared_error",
    "negative_sampling", "sigmoid_cross_entropy", "softmax_cross_entropy", "squared_error", "triplet"]

_LN_2PI = _ln(2 * pi)


def softmax_cross_entropy(
    x,
    t,
    normalize=True,
    cache_score=True,
    class_weight=None,
    ignore_label=-1,
    reduce="mean",
    enable_double_backprop=False,
    soft_target_loss="cross-entropy",
    label_smoothing=0.0,
):
    """Cross entropy of ``softmax(x)`` along the second axis.

    Args:
        x: scores (n, classes, ...).
        t: labels (n, ...) as integers, or target probabilities of x's shape, which get no gradient (as in Chainer).
        normalize: divide by the number of labels that count rather than by n.
        cache_score: whether the loss's ``creator.y`` tells the probabilities (None if not).
        enable_double_backprop: accepted as at Chainer; the gradient is always differentiable.
        class_weight: array (classes,) that weighs each sample's loss by its label, or None.
        ignore_label: samples with this label give no loss and no gradient; None: all count.
        reduce: ``"mean"``: a 0-d result; ``"no"``: one of t's shape.
        soft_target_loss: ``"cross-entropy"`` or ``"kl-divergence"``, for target probabilities.
        label_smoothing: share of the target probability that is spread evenly over all classes (Szegedy et al. 2016).
    """
    x, t = of_shape(x), of_shape(t)
    if reduce != "mean" or soft_target_loss != "cross-entropy":
        expect_choice("softmax_cross_entropy", "reduce", reduce, ("mean", "no"))
        expect_choice("softmax_cross_entropy", "soft_target_loss", soft_target_loss, ("cross-entropy", "kl-divergence"))
    if t.dtype.kind == "f":
        loss = _soft_targets(x, t, reduce, soft_target_loss)
        return show(loss, y=_composed_probabilities if cache_score else _nothing)
    _check_labels("softmax_cross_entropy", x, t)
    if class_weight is None and reduce == "mean" and not label_smoothing and ignore_label is not None:
        loss = apply(ops.softmax_cross_entropy, (x, t), {"ignore_label": ignore_label, "normalize": bool(normalize)})[0]
        return show(loss, y=_probabilities if cache_score else _nothing)
    log_p = apply(log_softmax, (x,), {"axis": (1,)})
    loss = _composed(x, t, log_p, normalize, class_weight, ignore_label, reduce, label_smoothing)
    return show(loss, y=_composed_probabilities if cache_score else _nothing)


def _probabilities(node):
    return None if node.out is None else np.exp(node.out[1])


def _composed_probabilities(node):
    """All of the graph's paths back from the loss lead to the logarithms."""
    while node.program.op is not log_softmax:
        node = next(x if x.owner is None else x.owner for x in node.edges if x is not None)
    return None if node.out is None else np.exp(node.out)


def _nothing(node):
    return None


def _check_labels(name, x, t):
    if x.dtype.kind != "f" or t.dtype.kind not in "iu" or len(x.shape) < 2 or t.shape != x.shape[:1] + x.shape[2:]:
        raise InvalidType(name, "x (n, classes, ...) of floats and t (n, ...) of integers", describe(x=x, t=t), label_hint(x, t))


def _composed(x, t, log_p, normalize, class_weight, ignore_label, reduce, label_smoothing):
    if class_weight is not None:
        log_p = log_p * _spread_weight("softmax_cross_entropy", class_weight, x)
    losses = -apply(ops.pick_label, (log_p, t), {"ignore_label": ignore_label})
    if label_smoothing:
        even = sum_.over(log_p, (1,)) * (-1 / x.shape[1])
        losses = losses * (1 - label_smoothing) + _counted(even, t, ignore_label) * label_smoothing
    return losses if reduce == "no" else _mean_over_labels(losses, t, normalize, ignore_label)


def _counted(losses, t, ignore_label):
    """The losses, with 0 where the label is ignored."""
    return losses if ignore_label is None else apply(where, (apply(not_equal, (t, ignore_label)), losses, 0))


def _spread_weight(name, class_weight, x):
    if isinstance(class_weight, Variable) or getattr(class_weight, "ndim", 0) != 1 or class_weight.dtype.kind != "f":
        raise InvalidType(name, "class_weight as an array (classes,) of a floating dtype", describe(class_weight=class_weight))
    expect(class_weight.shape[0] == x.shape[1], name, "one class_weight per class", x=x, class_weight=class_weight)
    weight = in_dtype(as_variable(class_weight), x.dtype)
    return weight if x.ndim == 2 else reshape.to(weight, (weight.size, *[1] * (x.ndim - 2)))


def _mean_over_labels(losses, t, normalize, ignore_label):
    acc = ops.accumulator(losses.dtype)
    total = sum_.over(in_dtype(losses, acc))
    if normalize and ignore_label is None:
        total = total * (1 / max(t.size, 1))
    elif normalize:
        count = sum_.over(apply(cast, (apply(not_equal, (t, ignore_label)),), {"dtype": acc.str}))
        total = total / apply(maximum, (count, 1))
    else:
        total = total * (1 / max(t.shape[0], 1))
    return in_dtype(total, losses.dtype)


def _soft_targets(x, t, reduce, kind):
    expect(
        x.dtype.kind == "f" and x.shape == t.shape and len(x.shape) >= 2,
        "softmax_cross_entropy",
        "target probabilities of x's shape (n, classes, ...)",
        lambda: label_hint(x, t) if x.shape != t.shape else "",
        x=x,
        t=t,
    )
    log_p = apply(log_softmax, (x,), {"axis": (1,)})
    terms = apply(ops.divergence_terms if kind == "kl-divergence" else ops.cross_terms, (log_p, t))
    losses = sum_.over(terms, (1,))
    return losses if reduce == "no" else sum_.over(losses) * (1 / max(losses.size, 1))


def focal_loss(x, t, gamma=2.0, class_weight=None, normalize=True, ignore_label=-1, reduce="mean"):
    """Softmax cross entropy in which well classified samples count less: ``-(1 - p) ** gamma * log(p)``, p the label's
    probability (Lin et al. 2017).

    Args:
        gamma: 0 gives the cross entropy.
        class_weight: array (classes,), the paper's alpha per class, or None.
        x, t, normalize, ignore_label, reduce: as for ``softmax_cross_entropy``.
    """
    x, t = of_shape(x), of_shape(t)
    expect_choice("focal_loss", "reduce", reduce, ("mean", "no"))
    _check_labels("focal_loss", x, t)
    log_p = apply(ops.pick_label, (apply(log_softmax, (x,), {"axis": (1,)}), t), {"ignore_label": ignore_label})
    losses = -((apply(expm1, (log_p,)) * -1) ** gamma) * log_p
    if class_weight is not None:
        weight = apply(broadcast_to, (_spread_weight("focal_loss", class_weight, x),), {"shape": x.shape})
        losses = losses * apply(ops.pick_label, (weight, t), {"ignore_label": ignore_label})
    return losses if reduce == "no" else _mean_over_labels(losses, t, normalize, ignore_label)


def sigmoid_cross_entropy(x, t, normalize=True, reduce="mean"):
    """Cross entropy of independent yes-or-no decisions with probabilities ``sigmoid(x)``.

    Args:
        x: scores of any shape.
        t: integers of x's shape: 1, 0, or -1 for an element that does not count.
        normalize: divide by the number of elements that count rather than by ``len(x)``.
        reduce: ``"mean"`` or ``"no"``.
    """
    x, t = of_shape(x), of_shape(t)
    expect_choice("sigmoid_cross_entropy", "reduce", reduce, ("mean", "no"))
    expect(
        x.dtype.kind == "f" and t.dtype.kind in "iu" and x.shape == t.shape,
        "sigmoid_cross_entropy",
        "x of floats and t of integers, of one shape",
        "t.astype('int32'), or F.bernoulli_nll(t, x) for probabilities t" if t.dtype.kind == "f" else "",
        x=x,
        t=t,
    )
    target = apply(cast, (t,), {"dtype": np.dtype(x.dtype).str})
    losses = apply(where, (apply(not_equal, (t, -1)), apply(ops.sigmoid_nll, (x, target)), 0))
    return losses if reduce == "no" else _mean_over_labels(losses, t, normalize, -1)


# ----------------------------------------------------------------------------------------------------------------- regression


def _check_same(name, **pair):
    first, *others = pair.values()
    if any(x.shape != first.shape for x in others) or any(x.dtype.kind != "f" for x in pair.values()):
        expect_float(name, **pair)
        alike = prod(first.shape) == prod(others[0].shape)
        a, b, *_ = pair
        expect(False, name, "arrays of one shape", f"{b}.reshape({a}.shape) has the same elements" if alike else "", **pair)


def mean_squared_error(x0, x1):
    """Mean of ``(x0 - x1) ** 2`` over all elements of two arrays of one shape."""
    x0, x1 = of_shape(x0), of_shape(x1)
    _check_same("mean_squared_error", x0=x0, x1=x1)
    return apply(ops.mean_squared_error, (x0, x1))


def mean_absolute_error(x0, x1):
    """Mean of ``|x0 - x1|`` over all elements of two arrays of one shape."""
    return mean.over(absolute_error(x0, x1))


def absolute_error(x0, x1):
    """``|x0 - x1|`` elementwise, for two arrays of one shape."""
    x0, x1 = as_variable(x0), of_shape(x1)
    _check_same("absolute_error", x0=x0, x1=x1)
    return abs(x0 - x1)


def squared_error(x0, x1):
    """``(x0 - x1) ** 2`` elementwise, for two arrays of one shape."""
    x0, x1 = of_shape(x0), of_shape(x1)
    _check_same("squared_error", x0=x0, x1=x1)
    return apply(squared_difference, (x0, x1))


def huber_loss(x, t, delta, reduce="sum_along_second_axis"):
    """Half the square of ``x - t`` up to ``delta``, linear beyond (Huber 1964).

    Args:
        x, t: arrays of one shape.
        reduce: ``"sum_along_second_axis"`` or ``"no"``.
    """
    expect_choice("huber_loss", "reduce", reduce, ("sum_along_second_axis", "no"))
    x, t = as_variable(x), of_shape(t)
    _check_same("huber_loss", x=x, t=t)
    if reduce != "no" and len(x.shape) < 2:
        raise InvalidType("huber_loss", "x and t (n, k, ...), whose second axis is summed", describe(x=x, t=t), 'reduce="no" sums nothing')
    y = apply(ops.huber, (x - t, scalar_for(x, delta)))
    return y if reduce == "no" else sum_.over(y, (1,))


class UnknownNormError(InvalidType, NotImplementedError):
    """There is no such norm."""


def hinge(x, t, norm="L1", reduce="mean"):
    """One-against-all hinge loss: ``max(0, 1 - s x)`` with s = 1 for the label's class and -1 for the others, squared for
    ``norm="L2"``.

    Args:
        x: scores (n, classes).
        t: labels (n,).
        reduce: ``"mean"``: the sum over n; ``"no"``: all (n, classes).
    """
    if norm not in ("L1", "L2"):
        raise UnknownNormError("hinge", "norm as one of 'L1', 'L2'", f"norm={norm!r}")
    expect_choice("hinge", "reduce", reduce, ("mean", "no"))
    x, t = as_variable(x), of_shape(t)
    expect(
        x.dtype.kind == "f" and t.dtype.kind in "iu" and len(x.shape) == 2 and t.shape == x.shape[:1],
        "hinge",
        "x (n, classes) of floats and t (n,) of integers",
        lambda: label_hint(x, t),
        x=x,
        t=t,
    )
    ones = beside(fixed_array(np.ones, t.shape, x.dtype), x)
    label = apply(ops.put_label, (ones, t), {"classes": x.shape[1], "ignore_label": None})
    y = apply(relu, (1 + x * (1 - 2 * label),))
    y = y if norm == "L1" else y * y
    return y if reduce == "no" else sum_.over(y) * (1 / max(x.shape[0], 1))


# ------------------------------------------------------------------------------------------------------- densities, decorrelation


def _reduced(name, losses, reduce):
    expect_choice(name, "reduce", reduce, ("sum", "mean", "no"))
    return losses if reduce == "no" else sum_.over(losses) if reduce == "sum" else mean.over(losses)


def gaussian_kl_divergence(mean, ln_var, reduce="sum"):
    """Divergence of normal distributions (``mean``, exp(``ln_var``)) from the standard one: ``(mean ** 2 + var - ln_var - 1) /
    2``.

    ``reduce``: ``"sum"``, ``"mean"`` or ``"no"``.
    """
    mean, ln_var = as_variable(mean), as_variable(ln_var)
    return _reduced("gaussian_kl_divergence", (mean * mean + apply(exp, (ln_var,)) - ln_var - 1) * 0.5, reduce)


def bernoulli_nll(x, y, reduce="sum"):
    """-log likelihood of x under Bernoulli distributions with probability ``sigmoid(y)``; ``reduce``: ``"sum"``, ``"mean"`` or
    ``"no"``.
    """
    x, y = of_shape(x), as_variable(y)
    return _reduced("bernoulli_nll", apply(ops.sigmoid_nll, (y, x)), reduce)


def gaussian_nll(x, mean, ln_var, reduce="sum"):
    """-log likelihood of x under normal distributions (``mean``, exp(``ln_var``)); ``reduce``: ``"sum"``, ``"mean"`` or
    ``"no"``.
    """
    x, ln_var = as_variable(x), as_variable(ln_var)
    d = x - mean
    return _reduced("gaussian_nll", (ln_var + _LN_2PI + d * d * apply(exp, (-ln_var,))) * 0.5, reduce)


def cross_covariance(y, z, reduce="half_squared_sum"):
    """Covariances between the columns of y (n, k) and z (n, l); half the sum of their squares, or all with ``reduce="no"``."""
    expect_choice("cross_covariance", "reduce", reduce, ("half_squared_sum", "no"))
    y, z = as_variable(y), as_variable(z)
    expect_float("cross_covariance", y=y, z=z)
    expect(len(y.shape) == len(z.shape) == 2 and y.shape[0] == z.shape[0], "cross_covariance", "y (n, k) and z (n, l)", y=y, z=z)
    covariance = apply(matmul, (_centred(y), _centred(z)), {"transa": True, "transb": False}) * (1 / max(y.shape[0], 1))
    return covariance if reduce == "no" else sum_.over(covariance * covariance) * 0.5


def _centred(x):
    return x - mean.over(x, (0,), keepdims=True)


def decov(h, reduce="half_squared_sum"):
    """Covariances between different columns of h (n, k) (Cogswell et al. 2016); half the sum of their squares, or the matrix
    with ``reduce="no"``.
    """
    expect_choice("decov", "reduce", reduce, ("half_squared_sum", "no"))
    h = as_variable(h)
    expect(len(h.shape) == 2 and h.dtype.kind == "f", "decov", "h (n, k) of floats", h=h)
    covariance = cross_covariance(h, h, "no") * beside(fixed_array(_off_diagonal, h.shape[1], h.dtype), h)
    return covariance if reduce == "no" else sum_.over(covariance * covariance) * 0.5


def _off_diagonal(n, dtype):
    return 1 - np.eye(n, dtype=dtype)
