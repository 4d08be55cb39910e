"""Counts behind precision, recall and the coefficient of determination. No gradients."""

import numpy as np

from hybridnn.core.op import operation

__all__ = ["classification_summary", "r2_score"]


def _summary_samples(rng, dtype):
    scores = rng.permutation(np.eye(3, dtype=dtype)[[0, 2, 1, 0, 0, 1, 2, 0]])
    labels = rng.permutation(np.array([0, 2, 1, 1, 0, -1, 2, 0]))
    yield (np.concatenate([scores, np.eye(3, dtype=dtype)]), np.concatenate([labels, np.arange(3)])), {
        "label_num": 3, "beta": 1.0, "ignore_label": -1, "dtype": "float64"}


@operation(multi=True, samples=_summary_samples)
def classification_summary(xp, y, t, *, label_num, beta, ignore_label, dtype):
    """Precision, recall, F-beta and support of each class, for scores y (n, classes, ...) and labels t (n, ...). NaN where a
    class never occurs.
    """
    counts = xp.zeros((3, label_num + 1), "int64")
    ignored = (t == ignore_label).reshape(-1)
    truth = xp.where(ignored, label_num, t.reshape(-1))
    guess = xp.where(ignored, label_num, y.argmax(axis=1).reshape(-1))
    for row, labels in zip(counts, (truth, guess, xp.where(truth == guess, truth, label_num))):
        row += xp.bincount(labels, minlength=label_num + 1)[: label_num + 1]
    support, found, right = counts[:, :label_num]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = right / found, right / support
        f = (1 + beta * beta) * precision * recall / (beta * beta * precision + recall)
    return precision.astype(dtype), recall.astype(dtype), f.astype(dtype), support


def _r2_samples(rng, dtype):
    for several in (True, False):
        yield (tuple(rng.normal(size=(5, 3)).astype(dtype) for _ in range(2)) + (np.arange(1, 6).astype(dtype),), {"several": several})


@operation(samples=_r2_samples)
def r2_score(xp, pred, true, weight, *, several):
    """1 - residual / total sum of squares over the first axis, per column (``several``) or its mean; 0 for a column of equal
    values.
    """
    weight = weight.reshape(weight.shape + (1,) * (true.ndim - 1))
    mean = (true * weight).sum(axis=0) / weight.sum(axis=0)
    residual, total = [(weight * xp.square(d)).sum(axis=0) for d in (pred - true, true - mean)]
    flat = total == 0
    score = xp.where(flat, 0, 1 - residual / xp.where(flat, 1, total)).astype(pred.dtype)
    return score if several else score.mean(dtype=pred.dtype)
