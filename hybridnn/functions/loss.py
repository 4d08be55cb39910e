"""Losses of classification and regression."""
import numpy as np

from hybridnn.config import config
from hybridnn.core import Variable, apply, as_variable
from hybridnn.core.arithmetic import cast, not_equal, reshape, sum_, where
from hybridnn.errors import InvalidType
from hybridnn.ops import loss as ops
from hybridnn.ops.expect import describe, expect, expect_choice, expect_float
from hybridnn.ops.math import exp, log1p, maximum
from hybridnn.ops.softmax import log_softmax

__all__ = ["mean_squared_error", "softmax_cross_entropy"]


def _operand(x):
    return x if hasattr(x, "shape") else as_variable(x)


def softmax_cross_entropy(x, t, normalize=True, cache_score=True, class_weight=None, ignore_label=-1, reduce="mean",
                          enable_double_backprop=False, soft_target_loss="cross-entropy", label_smoothing=0.0):
    """Cross entropy of ``softmax(x)`` along the second axis.

    Args:
        x: scores (n, classes, ...).
        t: labels (n, ...) as integers, or target probabilities of x's shape.
        normalize: divide by the number of labels that count rather than by n.
        cache_score, enable_double_backprop: accepted as at Chainer; the gradient is always differentiable.
        class_weight: array (classes,) that weighs each sample's loss by its label, or None.
        ignore_label: samples with this label give no loss and no gradient.
        reduce: ``"mean"``: a 0-d result; ``"no"``: one of t's shape.
        soft_target_loss: ``"cross-entropy"`` or ``"kl-divergence"``, for target probabilities.
        label_smoothing: share of the target probability that is spread evenly over all classes (Szegedy et al. 2016).
    """
    x, t = _operand(x), _operand(t)
    if reduce != "mean" or soft_target_loss != "cross-entropy":
        expect_choice("softmax_cross_entropy", "reduce", reduce, ("mean", "no"))
        expect_choice("softmax_cross_entropy", "soft_target_loss", soft_target_loss, ("cross-entropy", "kl-divergence"))
    if t.dtype.kind == "f":
        return _soft_targets(x, t, reduce, soft_target_loss)
    if x.dtype.kind != "f" or t.dtype.kind not in "iu" or len(x.shape) < 2 or t.shape != x.shape[:1] + x.shape[2:]:
        raise InvalidType("softmax_cross_entropy", "x (n, classes, ...) of floats and t (n, ...) of integers", describe(x=x, t=t))
    if class_weight is None and reduce == "mean" and not label_smoothing:
        return apply(ops.softmax_cross_entropy, (x, t), {"ignore_label": ignore_label, "normalize": bool(normalize)})[0]
    return _composed(x, t, normalize, class_weight, ignore_label, reduce, label_smoothing)


def _composed(x, t, normalize, class_weight, ignore_label, reduce, label_smoothing):
    log_p = apply(log_softmax, (x,), {"axis": (1,)})
    if class_weight is not None:
        log_p = log_p * _spread_weight(class_weight, x)
    losses = -apply(ops.pick_label, (log_p, t), {"ignore_label": ignore_label})
    if label_smoothing:
        even = apply(sum_, (log_p,), {"axis": (1,), "keepdims": False}) * (-1 / x.shape[1])
        losses = losses * (1 - label_smoothing) + apply(where, (not_equal(t, ignore_label), even, 0)) * label_smoothing
    return losses if reduce == "no" else _mean_over_labels(losses, t, normalize, ignore_label)


def _spread_weight(class_weight, x):
    if isinstance(class_weight, Variable) or getattr(class_weight, "ndim", 0) != 1 or class_weight.dtype.kind != "f":
        raise InvalidType("softmax_cross_entropy", "class_weight as an array (classes,) of a floating dtype", describe(class_weight=class_weight))
    expect(class_weight.shape[0] == x.shape[1], "softmax_cross_entropy", "one class_weight per class", x=x, class_weight=class_weight)
    return class_weight.reshape((-1,) + (1,) * (len(x.shape) - 2)).astype(x.dtype, copy=False)


def _mean_over_labels(losses, t, normalize, ignore_label):
    acc = ops.accumulator(losses.dtype).str
    total = apply(sum_, (apply(cast, (losses,), {"dtype": acc}),), {"axis": None, "keepdims": False})
    if normalize:
        valid = apply(cast, (apply(not_equal, (t, ignore_label)),), {"dtype": acc})
        total = total / apply(maximum, (apply(sum_, (valid,), {"axis": None, "keepdims": False}), 1))
    else:
        total = total * (1 / max(t.shape[0], 1))
    return _in_dtype(total, losses.dtype)


def _soft_targets(x, t, reduce, kind):
    expect(x.dtype.kind == "f" and x.shape == t.shape and len(x.shape) >= 2, "softmax_cross_entropy",
           "target probabilities of x's shape (n, classes, ...)", x=x, t=t)
    log_p = apply(log_softmax, (x,), {"axis": (1,)})
    t = as_variable(t)
    terms = t * (_log(t + 1e-7) - log_p) if kind == "kl-divergence" else -(t * log_p)
    losses = apply(sum_, (terms,), {"axis": (1,), "keepdims": False})
    return losses if reduce == "no" else _sum(losses) * (1 / max(losses.size, 1))


def _in_dtype(y, dtype):
    return y if y.dtype == dtype else apply(cast, (y,), {"dtype": np.dtype(dtype).str})


def _sum(x, axis=None, keepdims=False):
    return apply(sum_, (x,), {"axis": axis, "keepdims": keepdims})


def mean_squared_error(x0, x1):
    """Mean of ``(x0 - x1) ** 2`` over all elements of two arrays of one shape."""
    x0, x1 = _operand(x0), _operand(x1)
    _check_same("mean_squared_error", x0, x1)
    return apply(ops.mean_squared_error, (x0, x1))


def _check_same(name, x0, x1):
    expect(x0.shape == x1.shape, name, "two arrays of one shape", x0=x0, x1=x1)
    expect_float(name, x0=x0, x1=x1)
