"""Measures of how good predictions are. None of them has a gradient."""

import numpy as np

from hybridnn.backend import beside
from hybridnn.core import apply
from hybridnn.core.arithmetic import cast, equal, greater_equal, not_equal
from hybridnn.core.fixed import fixed_array
from hybridnn.core.shapes import sum_
from hybridnn.errors import InvalidType
from hybridnn.ops import evaluation as ops
from hybridnn.ops.axes import of_shape
from hybridnn.ops.expect import describe, expect, expect_choice, expect_float, label_hint
from hybridnn.ops.loss import accumulator
from hybridnn.ops.loss import accuracy as accuracy_op
from hybridnn.ops.math import maximum
from hybridnn.ops.reduction import amax

__all__ = ["accuracy", "binary_accuracy", "classification_summary", "f1_score", "precision", "r2_score", "recall"]


def _check_scores(name, y, t):
    """y (n, classes, ...) of a floating dtype, t (n, ...) of integers; y may have further axes of size 1."""
    ok = y.dtype.kind == "f" and t.dtype.kind in "iu" and len(y.shape) >= 2 and len(y.shape) >= len(t.shape) >= 1
    n = len(t.shape)
    if not ok or y.shape[0] != t.shape[0] or y.shape[2 : n + 1] != t.shape[1:] or any(k != 1 for k in y.shape[n + 1 :]):
        raise InvalidType(name, "y (n, classes, ...) of floats and t (n, ...) of integers", describe(y=y, t=t), label_hint(y, t))


def accuracy(y, t, ignore_label=None):
    """Share of the labels that have the largest score.

    Args:
        y: scores (n, classes, ...).
        t: labels (n, ...).
        ignore_label: labels of this number do not count; None: all count.

    Returns: 0-d Variable of y's dtype; 0 where no label counts.
    """
    y, t = of_shape(y), of_shape(t)
    _check_scores("accuracy", y, t)
    return apply(accuracy_op, (y, t), {"ignore_label": ignore_label})


def binary_accuracy(y, t):
    """Share of the labels t (1, 0, or -1 for one that does not count) that the sign of the scores y, of t's shape, has right."""
    y, t = of_shape(y), of_shape(t)
    expect(
        y.shape == t.shape and y.dtype.kind == "f" and t.dtype.kind in "iu",
        "binary_accuracy",
        "y of floats and t of integers, of one shape",
        y=y,
        t=t,
    )
    right, count = [
        _count(x, accumulator(y.dtype)) for x in (apply(equal, (apply(greater_equal, (y, 0)), t)), apply(not_equal, (t, -1)))
    ]
    return apply(cast, (right / apply(maximum, (count, 1)),), {"dtype": np.dtype(y.dtype).str})


def _count(mask, dtype):
    return sum_.over(apply(cast, (mask,), {"dtype": dtype.str}))


def classification_summary(y, t, label_num=None, beta=1.0, ignore_label=-1):
    """Precision, recall, F-beta score and support of each class.

    Args:
        y: scores (n, classes, ...).
        t: labels (n, ...).
        label_num: number of classes; None: the largest label in ``t`` and one (``t`` is read then).
        beta: weight of recall in the F score.
        ignore_label: labels of this number do not count.

    Returns: four Variables (label_num,), all but the support float64; precision, recall and F are NaN for a class that they are
        undefined for.
    """
    y, t = of_shape(y), of_shape(t)
    _check_scores("classification_summary", y, t)
    if label_num is None:
        label_num = max(int(apply(amax, (t,), {"axis": None, "keepdims": False})) + 1, 0) if t.size else 0      # a trace takes a path for each
    attrs = {"label_num": label_num, "beta": beta, "ignore_label": ignore_label, "dtype": "float64"}
    return apply(ops.classification_summary, (y, t), attrs)


def precision(y, t, label_num=None, ignore_label=-1):
    """Of the samples put into each class, the share that belongs there; and the support. See ``classification_summary``."""
    summary = classification_summary(y, t, label_num, 1.0, ignore_label)
    return summary[0], summary[3]


def recall(y, t, label_num=None, ignore_label=-1):
    """Of the samples of each class, the share that was put there; and the support. See ``classification_summary``."""
    summary = classification_summary(y, t, label_num, 1.0, ignore_label)
    return summary[1], summary[3]


def f1_score(y, t, label_num=None, ignore_label=-1):
    """The harmonic mean of precision and recall of each class, and the support. See ``classification_summary``."""
    summary = classification_summary(y, t, label_num, 1.0, ignore_label)
    return summary[2], summary[3]


def r2_score(pred, true, sample_weight=None, multioutput="uniform_average"):
    """Coefficient of determination: 1 less the share of ``true``'s variance that ``pred`` leaves.

    Args:
        pred, true: arrays (n, ...) of one shape.
        sample_weight: (n,) weights, or None.
        multioutput: ``"uniform_average"``: the mean over columns; ``"raw_values"``: one per column. A column of equal values
            scores 0.
    """
    expect_choice("r2_score", "multioutput", multioutput, ("uniform_average", "raw_values"))
    pred, true = of_shape(pred), of_shape(true)
    expect_float("r2_score", pred=pred, true=true)
    expect(
        pred.shape == true.shape and len(pred.shape) >= 1, "r2_score", "pred and true (n, ...) of one shape", pred=pred, true=true
    )
    weight = beside(fixed_array(np.ones, pred.shape[:1], true.dtype), true) if sample_weight is None else sample_weight
    expect(weight.shape == pred.shape[:1], "r2_score", "sample_weight (n,)", pred=pred, sample_weight=weight)
    return apply(ops.r2_score, (pred, true, weight), {"several": multioutput == "raw_values"})
