"""Classification losses as coarse operations: cross entropy of a softmax, and the pick of a label's entry that the others rest
on.
"""

import numpy as np

from hybridnn.core.arithmetic import cast, equal, log, neg, not_equal, sub, where
from hybridnn.core.op import elementwise, operation
from hybridnn.core.shapes import reshape, sum_
from hybridnn.ops.activation import sigmoid
from hybridnn.ops.embedding import iota_equal
from hybridnn.ops.expect import class_labels
from hybridnn.ops.math import exp, maximum, minimum
from hybridnn.ops.reduction import amax, argmax

__all__ = [
    "accumulator",
    "accuracy",
    "class_mask",
    "cross_terms",
    "divergence_terms",
    "huber",
    "mean_squared_error",
    "pick_label",
    "put_label",
    "sigmoid_nll",
    "softmax_cross_entropy",
]


def class_mask(t, classes, ignore_label=None):
    """bool (n, classes, ...): where the class axis, in second place, has the number of the label in t (n, ...)."""
    return iota_equal(t if ignore_label is None else where(not_equal(t, ignore_label), t, -1), depth=classes, axis=1)


def _grid(xp, t):
    """Index arrays of all axes of ``t``, which broadcast together with it."""
    return [xp.arange(n).reshape((-1,) + (1,) * (t.ndim - i - 1)) for i, n in enumerate(t.shape)]


def _at(xp, t):
    """The index into (n, classes, ...) of every label's entry."""
    first, *rest = _grid(xp, t)
    return (first, t, *rest)


def _check_labels(arrays, attrs):
    class_labels(np, arrays[1], arrays[0].shape[1], attrs["ignore_label"], "softmax_cross_entropy")


# ---------------------------------------------------------------------------------------------------------- pick a label's entry


def _pick_samples(rng, dtype):
    yield (rng.normal(size=(3, 4)).astype(dtype), np.array([1, -1, 3])), {"ignore_label": -1}
    yield (rng.normal(size=(2, 3, 2)).astype(dtype), np.array([[0, 2], [1, 0]])), {"ignore_label": None}


def _pick_decompose(x, t, *, ignore_label):
    mask = class_mask(t, x.shape[1], ignore_label)
    return sum_(where(mask, x, 0), axis=(1,), keepdims=False)


@operation(kind="gather", samples=_pick_samples, decompose=_pick_decompose, check=_check_labels)
def pick_label(xp, x, t, *, ignore_label):
    """``x[n, t[n, ...], ...]`` for x (n, classes, ...) and labels t (n, ...); 0 where the label is ignored."""
    safe, valid = class_labels(xp, t, x.shape[1], ignore_label, "pick_label")
    y = x[_at(xp, safe)]
    return y if valid is None else xp.where(valid, y, x.dtype.type(0))


@pick_label.vjp_of("x")
def _(g, t, shapes, ignore_label):
    return put_label(g, t, classes=shapes[0][1], ignore_label=ignore_label)


def _put_samples(rng, dtype):
    yield (rng.normal(size=3).astype(dtype), np.array([1, -1, 3])), {"classes": 4, "ignore_label": -1}
    yield (rng.normal(size=3).astype(dtype), np.array([1, 0, 1])), {"classes": 2, "ignore_label": None}


def _put_decompose(gy, t, *, classes, ignore_label):
    mask = class_mask(t, classes, ignore_label)
    return where(mask, reshape(gy, shape=(gy.shape[0], 1, *gy.shape[1:])), 0)


def _check_put(arrays, attrs):
    class_labels(np, arrays[1], attrs["classes"], attrs["ignore_label"], "put_label")


@operation(kind="scatter", samples=_put_samples, decompose=_put_decompose, check=_check_put)
def put_label(xp, gy, t, *, classes, ignore_label):
    """The adjoint of ``pick_label``: ``gy`` at the labels' entries of zeros (n, classes, ...)."""
    safe, valid = class_labels(xp, t, classes, ignore_label, "put_label")
    y = xp.zeros((t.shape[0], classes, *t.shape[1:]), gy.dtype)
    y[_at(xp, safe)] = gy if valid is None else xp.where(valid, gy, gy.dtype.type(0))
    return y


@put_label.vjp_of("gy")
def _(g, t, ignore_label):
    return pick_label(g, t, ignore_label=ignore_label)


# ---------------------------------------------------------------------------------------------------------- softmax cross entropy


def accumulator(dtype):
    """The dtype that sums are kept in: float32 for float16."""
    return np.dtype("float32") if dtype == np.float16 else np.dtype(dtype)


def _ce_samples(rng, dtype):
    t = np.array([1, -1, 3], "i")
    for normalize in (True, False):
        yield (rng.normal(size=(3, 4)).astype(dtype), t), {"ignore_label": -1, "normalize": normalize}
    yield (rng.normal(size=(2, 3, 2)).astype(dtype), np.array([[0, 2], [1, 0]])), {"ignore_label": 0, "normalize": True}


def _mean_factor(t, valid, normalize, dtype):
    """One over the number of labels that count (or of rows), at least 1."""
    if not normalize:
        return 1 / max(t.shape[0], 1)
    count = sum_(cast(valid, dtype=dtype.str), axis=None, keepdims=False)
    return 1 / maximum(count, 1)


def _ce_decompose(x, t, *, ignore_label, normalize):
    acc = accumulator(x.dtype)
    shifted = sub(x, amax(x, axis=(1,), keepdims=True))
    log_p = sub(shifted, log(sum_(exp(shifted), axis=(1,), keepdims=True)))
    valid = not_equal(t, ignore_label)
    mask = class_mask(t, x.shape[1], ignore_label)
    total = sum_(cast(where(mask, log_p, 0), dtype=acc.str), axis=None, keepdims=False)
    return cast(neg(total) * _mean_factor(t, valid, normalize, acc), dtype=np.dtype(x.dtype).str), log_p


@operation(kind="coarse", multi=True, samples=_ce_samples, decompose=_ce_decompose, check=_check_labels)
def softmax_cross_entropy(xp, x, t, *, ignore_label, normalize):
    """Mean over the labels that count of ``-log softmax(x)[label]``, and the log probabilities.

    x (n, classes, ...), t (n, ...). ``normalize``: divide by the number of labels that count, else by n.
    """
    safe, valid = class_labels(xp, t, x.shape[1], ignore_label, "softmax_cross_entropy")
    log_p = x - (np.maximum.reduce if xp is np else xp.max)(x, 1, keepdims=True)      # CuPy's maximum has no ``reduce``
    log_p -= xp.log(xp.add.reduce(xp.exp(log_p), 1, keepdims=True))
    picked = log_p[_at(xp, safe)]
    count = int(xp.count_nonzero(valid))
    total = xp.add.reduce(picked if count == t.size else picked[valid], None, accumulator(x.dtype))
    return (total * (-1 / max(count if normalize else t.shape[0], 1))).astype(x.dtype), log_p


@softmax_cross_entropy.vjp_of("x")
def _(gs, ys, t, ignore_label, normalize):
    log_p = ys[1]
    if gs[1] is None and type(log_p) is np.ndarray:
        return _fast_gradient(gs[0], log_p, t, ignore_label, normalize)
    p = exp(log_p)
    gx = None
    if gs[0] is not None:
        valid = not_equal(t, ignore_label)
        factor = cast(gs[0] * _mean_factor(t, valid, normalize, accumulator(p.dtype)), dtype=np.dtype(p.dtype).str)
        column = (t.shape[0], 1, *t.shape[1:])
        gx = (p - class_mask(t, p.shape[1])) * reshape(where(valid, factor, 0), shape=column)
    if gs[1] is not None:
        rest = gs[1] - p * sum_(gs[1], axis=(1,), keepdims=True)
        gx = rest if gx is None else gx + rest
    return gx


def _fast_gradient(g, log_p, t, ignore_label, normalize):
    """The same on NumPy arrays, in few passes."""
    valid = t != ignore_label
    count = np.count_nonzero(valid) if normalize else t.shape[0]
    gx = np.exp(log_p)
    if valid.all():
        gx[_at(np, t)] -= 1
        gx *= g * (1 / max(count, 1))
        return gx
    gx[_at(np, np.where(valid, t, 0))] -= valid
    gx *= np.where(valid, g * (1 / max(count, 1)), 0).reshape(t.shape[0], 1, *t.shape[1:])
    return gx


# ----------------------------------------------------------------------------------------------------------- regression, accuracy


def _pair_samples(rng, dtype):
    yield (rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(3, 4)).astype(dtype)), {}


def _mse_decompose(x0, x1):
    acc = accumulator(x0.dtype)
    d = sub(x0, x1)
    total = sum_(cast(d * d, dtype=acc.str) if acc != x0.dtype else d * d, axis=None, keepdims=False)
    return cast(total / max(x0.size, 1), dtype=np.dtype(d.dtype).str)


@operation(kind="coarse", samples=_pair_samples, decompose=_mse_decompose)
def mean_squared_error(xp, x0, x1):
    """Mean of (x0 - x1) ** 2 over all elements."""
    d = (x0 - x1).reshape(-1)
    acc = accumulator(d.dtype)
    return ((d * d).sum(dtype=acc) / max(d.size, 1)).astype(d.dtype)


@mean_squared_error.vjp
def _(g, x0, x1, want):
    gx = (x0 - x1) * (g * (2 / max(x0.size, 1)))
    return gx, -gx if want[1] else None


def _target_samples(rng, dtype):
    return [((np.log(rng.uniform(.1, .9, (2, 3))).astype(dtype), rng.uniform(0, 1, (2, 3)).astype(dtype)), {})]


@elementwise(samples=_target_samples)
def cross_terms(xp, log_p, t):
    """``-t log p``: what each class adds to the cross entropy with target probabilities t, which have no gradient (as in Chainer)."""
    return -(t * log_p)


@cross_terms.vjp_of("log_p")
def _(g, t):
    return -(g * t)


@elementwise(samples=_target_samples)
def divergence_terms(xp, log_p, t):
    """``t log(t / p)``: what each class adds to the divergence from target probabilities t, which have no gradient (as in Chainer)."""
    return t * (xp.log(t + 1e-7) - log_p)


@divergence_terms.vjp_of("log_p")
def _(g, t):
    return -(g * t)


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), rng.integers(0, 2, (2, 3)).astype(dtype)), {})])
def sigmoid_nll(xp, x, t):
    """-log of sigmoid(x) where t is 1, of sigmoid(-x) where t is 0; exact for large ``|x|``."""
    return xp.maximum(x, 0) - x * t + xp.log1p(xp.exp(-xp.absolute(x)))


@sigmoid_nll.vjp_of("x")
def _(g, x, t):
    return g * (sigmoid(x) - t)


@sigmoid_nll.vjp_of("t")
def _(g, x):
    return -(g * x)


@elementwise(samples=lambda rng, dtype: [((np.array([-3, -0.7, -0.2, 0.3, 0.8, 2], dtype), 0.5), {})])
def huber(xp, d, delta):
    """Half the square of d up to ``delta``, and linear from there on (Huber 1964)."""
    a = xp.absolute(d)
    return xp.where(a <= delta, d * d * 0.5, (a - delta * 0.5) * delta)


@huber.vjp_of("d")
def _(g, d, delta):
    return g * minimum(maximum(d, -delta), delta)


def _accuracy_samples(rng, dtype):
    for ignore_label in (None, 1):
        yield (rng.normal(size=(4, 3)).astype(dtype), np.array([0, 2, 1, 1])), {"ignore_label": ignore_label}
    yield (rng.normal(size=(2, 3, 2, 1)).astype(dtype), np.array([[0, 2], [1, 1]])), {"ignore_label": None}


def _accuracy_decompose(y, t, *, ignore_label):
    acc = accumulator(y.dtype).str
    right = equal(reshape(argmax(y, axis=(1,)), shape=tuple(t.shape)), t)
    if ignore_label is None:
        return cast(sum_(cast(right, dtype=acc), axis=None, keepdims=False) / max(t.size, 1), dtype=np.dtype(y.dtype).str)
    valid = cast(not_equal(t, ignore_label), dtype=acc)
    total = maximum(sum_(valid, axis=None, keepdims=False), 1)
    return cast(sum_(valid * right, axis=None, keepdims=False) / total, dtype=np.dtype(y.dtype).str)


@operation(kind="coarse", samples=_accuracy_samples, decompose=_accuracy_decompose)
def accuracy(xp, y, t, *, ignore_label):
    """Share of the labels t (n, ...) that are where y (n, classes, ...) is largest; those equal to ``ignore_label`` do not
    count. No gradient.
    """
    acc = accumulator(y.dtype)
    right = y.argmax(axis=1).reshape(t.shape) == t
    if ignore_label is None:
        return (right.sum(dtype=acc) / max(t.size, 1)).astype(y.dtype)
    valid = t != ignore_label
    return ((right & valid).sum(dtype=acc) / xp.maximum(valid.sum(dtype=acc), 1)).astype(y.dtype)
