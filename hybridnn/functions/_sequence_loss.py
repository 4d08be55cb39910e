"""Losses over sequences: connectionist temporal classification and linear-chain conditional random fields."""

import numpy as np

from hybridnn.backend import there
from hybridnn.core import apply, as_array, as_variable
from hybridnn.core.arithmetic import log, where
from hybridnn.core.indexing import get_item, take
from hybridnn.core.shapes import reshape, sum_
from hybridnn.errors import InvalidType
from hybridnn.functions.connection import embed_id
from hybridnn.ops.array import concat
from hybridnn.ops.expect import describe, expect, expect_arrays, expect_choice, expect_float
from hybridnn.ops.loss import pick_label
from hybridnn.ops.math import exp, maximum
from hybridnn.ops.normalization import constant
from hybridnn.ops.reduction import amax, argmax, mean
from hybridnn.ops.sequence import ctc_paths
from hybridnn.ops.softmax import log_softmax, logsumexp

__all__ = ["argmax_crf1d", "connectionist_temporal_classification", "crf1d"]


def _logsumexp(x, axis):
    return apply(logsumexp, (x,), {"axis": (axis,), "keepdims": False})


def _concat(xs):
    return apply(concat, tuple(xs), {"axis": 0})


def _head(x, n):
    return get_item.index(x, slice(None, n))


def _tail(x, n):
    return get_item.index(x, slice(n, None))


# -------------------------------------------------------------------------------------------------- conditional random fields


def _check_chain(name, cost, xs, ys=None):
    expect_arrays(name, cost=cost, **{f"xs[{t}]": x for t, x in enumerate(xs)}, **{f"ys[{t}]": y for t, y in enumerate(() if ys is None else ys)})
    expect(
        len(xs) > 0 and all(len(x.shape) == 2 for x in xs) and (ys is None or len(ys) == len(xs)),
        name,
        "xs (and as many ys), each x (batch_t, labels)",
        xs=xs,
    )
    k = xs[0].shape[1]
    expect(len(cost.shape) == 2 and cost.shape == (k, k), name, "cost (labels, labels)", cost=cost, x=xs[0])
    sizes = [x.shape[0] for x in xs]
    expect(sizes == sorted(sizes, reverse=True), name, "batch sizes that never grow", "sort the sequences by falling length", sizes=sizes)
    if ys is not None:
        expect([tuple(y.shape) for y in ys] == [(n,) for n in sizes], name, "ys[t] of shape (batch_t,)", sizes=sizes)
        expect(all(y.dtype.kind in "iu" for y in ys), name, "ys of integers", dtypes=[str(y.dtype) for y in ys])


def crf1d(cost, xs, ys, reduce="mean"):
    """-log likelihood of label sequences under a linear-chain conditional random field (Lafferty et al. 2001).

    A sequence's score is the sum of its x's entries at the labels and of ``cost`` at consecutive pairs of labels; the loss is
    logsumexp over all label sequences less the score.

    Args:
        cost: (labels, labels), from and to.
        xs: per time step (batch_t, labels), sequences sorted by falling length and transposed.
        ys: per time step the labels (batch_t,).
        reduce: ``"mean"`` over the sequences, or ``"no"``.
    """
    expect_choice("crf1d", "reduce", reduce, ("mean", "no"))
    _check_chain("crf1d", cost, xs, ys)
    losses = _log_partition(cost, xs) - _path_score(cost, xs, ys)
    return losses if reduce == "no" else sum_.over(losses) * (1 / max(xs[0].shape[0], 1))


def _log_partition(cost, xs):
    k = cost.shape[0]
    cost = reshape.to(cost, (1, k, k))
    alpha, done = as_variable(xs[0]), []
    for x in xs[1:]:
        n = x.shape[0]
        if alpha.shape[0] > n:
            done.append(_tail(alpha, n))
            alpha = _head(alpha, n)
        alpha = _logsumexp(alpha.reshape((n, k, 1)) + cost, 1) + x
    return _logsumexp(_concat([alpha, *reversed(done)]), 1)


def _pick(x, t):
    return apply(pick_label, (x, t), {"ignore_label": None})


def _path_score(cost, xs, ys):
    k = cost.shape[0]
    flat = reshape.to(cost, (k * k, 1))
    score, done = _pick(xs[0], ys[0]), []
    for x, y, before in zip(xs[1:], ys[1:], ys[:-1], strict=True):
        n = x.shape[0]
        if score.shape[0] > n:
            done.append(_tail(score, n))
            score, before = _head(score, n), _head(as_variable(before), n)
        score = score + _pick(x, y) + embed_id(as_variable(before) * k + y, flat).reshape((n,))
    return _concat([score, *reversed(done)])


def argmax_crf1d(cost, xs):
    """The most likely label sequences (Viterbi): their scores (batch,), and per time step an integer array (batch_t,).
    Arguments as ``crf1d``.
    """
    _check_chain("argmax_crf1d", cost, xs)
    k = cost.shape[0]
    cost = reshape.to(cost, (1, k, k))
    alpha, done, choices = as_variable(xs[0]), [], []
    for x in xs[1:]:
        n = x.shape[0]
        done.append(_tail(alpha, n))
        scores = _head(alpha, n).reshape((n, k, 1)) + cost
        choices.append(as_array(apply(argmax, (scores,), {"axis": (1,)})))
        alpha = apply(amax, (scores,), {"axis": (1,), "keepdims": False}) + x
    ends = _concat([alpha, *reversed(done)])
    return apply(amax, (ends,), {"axis": (1,), "keepdims": False}), _trace_back(alpha, done, choices)


def _trace_back(alpha, done, choices):
    best = as_array(apply(argmax, (alpha,), {"axis": (1,)}))
    path = [best]
    with there(best):
        for choice, ended in zip(reversed(choices), reversed(done)):
            best = np.take_along_axis(choice, best[:, None], 1)[:, 0]
            if ended.shape[0]:
                best = np.concatenate([best, as_array(apply(argmax, (ended,), {"axis": (1,)}))])
            path.append(best)
    return path[::-1]


# --------------------------------------------------------------------------------------- connectionist temporal classification


def connectionist_temporal_classification(x, t, blank_symbol, input_length=None, label_length=None, reduce="mean"):
    """-log probability that the symbols of x, blanks and repetitions removed, read t (Graves et al. 2006).

    Args:
        x: scores: a sequence of arrays (batch, symbols), or one array (time, batch, symbols).
        t: labels (batch, longest label).
        blank_symbol: number of the blank.
        input_length: (batch,) lengths of the inputs; None: all of x.
        label_length: (batch,) lengths of the labels; None: all of t.
        reduce: ``"mean"`` or ``"no"``.
    """
    name = "connectionist_temporal_classification"
    expect_choice(name, "reduce", reduce, ("mean", "no"))
    expect(hasattr(x, "__len__"), name, "x as a sequence of arrays, or one array (time, batch, symbols)", x=x)
    x = _stacked(name, x)
    steps, batch, symbols = x.shape
    t = _integers(t)
    expect(len(t.shape) == 2 and t.shape[0] == batch and t.dtype.kind in "iu", name, "t (batch, longest label) of integers", x=x, t=t)
    if not isinstance(blank_symbol, (int, np.integer)) or not 0 <= blank_symbol < symbols:
        raise InvalidType(name, f"blank_symbol from 0 to {symbols - 1}", repr(blank_symbol))
    lengths = [most if n is None else _integers(n) for n, most in ((input_length, steps), (label_length, t.shape[1]))]
    expect(
        all(isinstance(n, int) or tuple(n.shape) == (batch,) for n in lengths),
        name,
        "input_length and label_length (batch,)",
        input_length=lengths[0],
        label_length=lengths[1],
    )
    losses = _ctc(apply(log_softmax, (x,), {"axis": (2,)}), apply(ctc_paths, (t, *lengths), {"blank": int(blank_symbol), "steps": steps}))
    return losses if reduce == "no" else mean.over(losses)


def _integers(x):
    return x if hasattr(x, "shape") else np.asarray(x)


def _stacked(name, x):
    if isinstance(x, (list, tuple)):
        expect_arrays(name, **{f"x[{t}]": v for t, v in enumerate(x)})
        expect(
            len(x) > 0 and all(len(v.shape) == 2 and v.shape == x[0].shape for v in x),
            name,
            "x as arrays (batch, symbols) of one shape",
            x=list(x),
        )
        x = _concat([reshape.to(v, (1, *v.shape)) for v in x])
    expect_float(name, x=x)
    if len(x.shape) != 3:
        raise InvalidType(name, "x (time, batch, symbols)", describe(x=x))
    return x


def _ctc(log_y, paths):
    """The forward recursion over paths blank, t_1, blank, t_2, ..., blank; impossible has a large negative logarithm, so that
    gradients stay finite. Two positions in front of a path are always impossible.
    """
    row, symbols, start, inside, skips, running, one_row, last, before, some = paths
    never = -1e4 if log_y.dtype == np.float16 else -1e10
    width = inside.shape[1]
    emission = apply(take, (log_y, row, symbols), {"pattern": (("slice", None, None, None), ("array", 0), ("array", 1))})
    alpha = apply(where, (start, emission[0], never))
    for i in range(1, log_y.shape[0]):
        stay, step, skip = [get_item.index(alpha, (slice(None), slice(k, k + width))) for k in (2, 1, 0)]
        moved = _logsumexp_of_three(stay, step, apply(where, (skips, skip, never)))
        moved = apply(where, (inside, moved + emission[i, :, 2:], never))
        moved = apply(where, (running[i], moved, stay))
        alpha = apply(concat, (get_item.index(alpha, (slice(None), slice(0, 2))), moved), {"axis": 1})
    ends = [apply(take, (alpha, one_row, k), {"pattern": (("array", 0), ("array", 1))}) for k in (last, before)]
    ends[1] = apply(where, (some, ends[1], never))
    return -_logsumexp(_concat([e.reshape((1, -1)) for e in ends]), 0)


def _logsumexp_of_three(a, b, c):
    most = apply(constant, (apply(maximum, (a, apply(maximum, (b, c)))),))
    return apply(log, (sum(apply(exp, (x - most,)) for x in (a, b, c)),)) + most
