"""Measures of how good predictions are. None of them has a gradient."""
from hybridnn.core import apply, as_variable
from hybridnn.errors import InvalidType
from hybridnn.ops.expect import describe, expect
from hybridnn.ops.loss import accuracy as accuracy_op

__all__ = ["accuracy"]


def _check_scores(name, y, t):
    """y (n, classes, ...) of a floating dtype, t (n, ...) of integers; y may have further axes of size 1."""
    ok = y.dtype.kind == "f" and t.dtype.kind in "iu" and len(y.shape) >= 2 and len(y.shape) >= len(t.shape) >= 1
    n = len(t.shape)
    if not ok or y.shape[0] != t.shape[0] or y.shape[2:n + 1] != t.shape[1:] or any(k != 1 for k in y.shape[n + 1:]):
        raise InvalidType(name, "y (n, classes, ...) of floats and t (n, ...) of integers", describe(y=y, t=t))


def _operand(x):
    return x if hasattr(x, "shape") else as_variable(x)


def accuracy(y, t, ignore_label=None):
    """Share of the labels that have the largest score.

    Args:
        y: scores (n, classes, ...).
        t: labels (n, ...).
        ignore_label: labels of this number do not count; None: all count.

    Returns: 0-d Variable of y's dtype; 0 where no label counts.
    """
    y, t = _operand(y), _operand(t)
    _check_scores("accuracy", y, t)
    return apply(accuracy_op, (y, t), {"ignore_label": ignore_label})
