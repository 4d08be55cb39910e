"""Losses on distances between samples, and on sampled words."""

import numpy as np

from hybridnn.backend import beside, copied, there
from hybridnn.core import apply, as_array, as_variable
from hybridnn.core.arithmetic import not_equal, where
from hybridnn.core.indexing import take
from hybridnn.core.op_node import show
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape, sum_
from hybridnn.errors import InvalidType
from hybridnn.functions.connection import embed_id
from hybridnn.ops.activation import relu, softplus
from hybridnn.ops.array import concat
from hybridnn.ops.axes import scalar_for
from hybridnn.ops.embedding import embed
from hybridnn.ops.expect import expect, expect_arrays, expect_choice, expect_float
from hybridnn.ops.math import exp, log1p
from hybridnn.ops.normalization import safe_sqrt
from hybridnn.ops.reduction import mean
from hybridnn.ops.softmax import logsumexp

__all__ = ["black_out", "contrastive", "discriminative_margin_based_clustering_loss", "negative_sampling", "triplet"]


def _check_margin(name, margin):
    if margin <= 0:
        raise InvalidType(name, "a positive margin", f"margin={margin}")


def triplet(anchor, positive, negative, margin=0.2, reduce="mean"):
    """``max(0, |a - p|² - |a - n|² + margin)`` per sample (Schroff et al. 2015).

    Args:
        anchor, positive, negative: arrays (n, k) of one shape.
        reduce: ``"mean"`` over the samples, or ``"no"``.
    """
    _check_margin("triplet", margin)
    expect_choice("triplet", "reduce", reduce, ("mean", "no"))
    anchor, positive, negative = map(as_variable, (anchor, positive, negative))
    expect_float("triplet", anchor=anchor, positive=positive, negative=negative)
    expect(
        anchor.shape == positive.shape == negative.shape and len(anchor.shape) >= 2 and anchor.shape[0] > 0,
        "triplet",
        "three arrays (n, k) of one shape, n > 0",
        anchor=anchor,
        positive=positive,
        negative=negative,
    )
    near, far = anchor - positive, anchor - negative
    losses = apply(relu, (sum_.over(near * near - far * far, (1,)) + scalar_for(near, margin),))
    return losses if reduce == "no" else sum_.over(losses) * (1 / anchor.shape[0])


def contrastive(x0, x1, y, margin=1, reduce="mean"):
    """``(y d² + (1 - y) max(0, margin - d)²) / 2`` with d the distance of two samples (Hadsell et al. 2006).

    Args:
        x0, x1: (n, k).
        y: (n,) integers: 1 for similar pairs, 0 for others.
        reduce: ``"mean"`` over the samples, or ``"no"``.
    """
    _check_margin("contrastive", margin)
    expect_choice("contrastive", "reduce", reduce, ("mean", "no"))
    x0, x1, y = map(as_variable, (x0, x1, y))
    expect_float("contrastive", x0=x0, x1=x1)
    expect(
        len(x0.shape) == 2 and x0.shape == x1.shape and y.shape == x0.shape[:1] and y.dtype.kind in "iu" and x0.shape[0] > 0,
        "contrastive",
        "x0, x1 (n, k) and y (n,) of integers, n > 0",
        x0=x0,
        x1=x1,
        y=y,
    )
    d = x0 - x1
    squares = sum_.over(d * d, (1,))
    gap = apply(relu, (scalar_for(d, margin) - apply(safe_sqrt, (squares,)),))
    losses = apply(where, (apply(not_equal, (y, 0)), squares, gap * gap)) * 0.5
    return losses if reduce == "no" else sum_.over(losses) * (1 / x0.shape[0])


def negative_sampling(x, t, W, sampler, sample_size, reduce="sum", *, return_samples=False):
    """Negative sampling (Mikolov et al. 2013): ``-log sigmoid(x·w_t) - sum over sampled words s of log sigmoid(-x·w_s)``.

    Args:
        x: (n, k).
        t: (n,) word numbers; -1 gives no loss.
        W: (vocabulary, k).
        sampler: called once with the shape (n, sample_size + 1), returns word numbers; the first column is replaced by ``t``.
        sample_size: number of negative words.
        reduce: ``"sum"`` or ``"no"`` (per sample).
        return_samples: also return the array of word numbers (n, sample_size + 1).
    """
    expect_choice("negative_sampling", "reduce", reduce, ("sum", "no"))
    expect_arrays("negative_sampling", W=W)
    x, t = as_variable(x), t if hasattr(t, "shape") else as_variable(t)
    expect(
        len(x.shape) == 2 and x.dtype.kind == "f" and t.shape == x.shape[:1] and t.dtype.kind in "iu" and len(W.shape) == 2,
        "negative_sampling",
        "x (n, k) of floats, t (n,) of integers and W (vocabulary, k)",
        x=x,
        t=t,
        W=W,
    )
    drawn, sign = sampler((x.shape[0], sample_size + 1)), np.ones(sample_size + 1, x.dtype)
    sign[0] = -1
    if x.xp is np:
        samples = np.array(drawn)
        samples[:, 0] = as_array(t)
    else:
        samples, sign = _with_labels(drawn, as_array(t)), beside(sign, x)
    losses = _losses_of_words(x, t, W, samples, sign, reduce)
    return (losses, samples) if return_samples else losses


def _losses_of_words(x, t, W, samples, sign, reduce):
    """The losses of ``negative_sampling``; traced calls follow Python there, for the sampler's sake, and not here."""
    products = sum_.over(embed_id(samples, W, ignore_label=-1) * reshape.to(x, (x.shape[0], 1, x.shape[1])), (2,))
    losses = sum_.over(apply(softplus, (products * sign, 1.0)), (1,))
    losses = apply(where, (apply(not_equal, (t, -1)), losses, 0))
    told = _words_drawn if getattr(W, "requires_grad", False) else lambda node: as_array(samples)
    return show(losses if reduce == "no" else sum_.over(losses), samples=told)


def _words_drawn(node):
    """The words sampled, which the node that looks them up keeps: the first operand that needs a gradient, all the way back to there."""
    while node.program.op is not embed:
        node = next(x for x in node.edges if x is not None)
    return as_array(node.kept_inputs()[0])


def _with_labels(drawn, t):
    """A copy of what was drawn, on the GPU of the labels, which are its first column."""
    with there(t):
        samples = copied(beside(drawn, t))
        samples[:, 0] = t
    return samples


def black_out(x, t, W, samples, reduce="mean"):
    """BlackOut (Ji et al. 2016): ``-log p(t) - sum over samples s of log(1 - p(s))``, p the softmax over the label and its
    samples.

    Args:
        x: (n, k).
        t: (n,) labels.
        W: (vocabulary, k).
        samples: (n, m) numbers of negative words.
        reduce: ``"mean"`` or ``"no"``.
    """
    expect_choice("black_out", "reduce", reduce, ("mean", "no"))
    x, t, samples = as_variable(x), as_variable(t), as_variable(samples)
    expect(
        len(x.shape) == 2 and t.shape == x.shape[:1] and len(samples.shape) == 2 and samples.shape[0] == x.shape[0],
        "black_out",
        "x (n, k), t (n,) and samples (n, m)",
        x=x,
        t=t,
        samples=samples,
    )
    n, k = x.shape
    column = reshape.to(x, (n, k, 1))
    plain = {"transa": False, "transb": False}
    negative, positive = [
        apply(matmul, (embed_id(ids, W), column), plain).reshape(ids.shape) for ids in (samples, t.reshape((n, 1)))
    ]
    log_z = apply(logsumexp, (apply(concat, (positive, negative), {"axis": 1}),), {"axis": (1,), "keepdims": True})
    others = sum_.over(apply(log1p, (-apply(exp, (negative - log_z,)),)), (1,))
    losses = -((positive - log_z).reshape((n,)) + others)
    return losses if reduce == "no" else mean.over(losses)


def discriminative_margin_based_clustering_loss(
    embeddings, labels, delta_v, delta_d, max_embedding_dim, norm=1, alpha=1.0, beta=1.0, gamma=0.001
):
    """Instance segmentation by pulling pixels to their instance's centre and pushing centres apart (De Brabandere et al. 2017).

    Args:
        embeddings: (n, max_embedding_dim, height, width).
        labels: integers (n, height, width): 0 the background, c + 1 instance c.
        delta_v, delta_d: margins of the pull and of the push.
        norm: 1 or 2.
        alpha, beta, gamma: weights of the three terms.

    Returns: variance, distance and regularisation loss.
    """
    name = "discriminative_margin_based_clustering_loss"
    expect_arrays(name, labels=labels)
    x, labels = as_variable(embeddings), as_array(labels)
    if max_embedding_dim <= 0 or norm not in (1, 2):
        raise InvalidType(name, "max_embedding_dim > 0 and norm 1 or 2", f"max_embedding_dim={max_embedding_dim}, norm={norm}")
    expect(
        len(x.shape) == 4 and x.shape[1] == max_embedding_dim and labels.shape == x.shape[:1] + x.shape[2:],
        name,
        "embeddings (n, max_embedding_dim, h, w) and labels (n, h, w)",
        embeddings=x,
        labels=labels,
        max_embedding_dim=max_embedding_dim,
    )
    measure = _norm_1 if norm == 1 else _norm_2
    delta_v, delta_d, alpha, beta, gamma = (scalar_for(x, setting) for setting in (delta_v, delta_d, alpha, beta, gamma))
    n, count = x.shape[:2]
    with there(labels):
        masks = np.stack([labels == c + 1 for c in range(count)])[:, :, None]  # (instances, n, 1, h, w)
        of_pixels = (1 / np.maximum(masks.sum((2, 3, 4)), 1)[:, :, None]).astype(x.dtype)
        of_images = (1 / np.maximum(masks.sum((1, 2, 3, 4)), 1)).astype(x.dtype)
    x = x.reshape((1, *x.shape))
    centres = sum_.over(x * masks, (3, 4)) * of_pixels
    regular = sum_.over(measure(centres, (1, 2))) * (1 / (count * n))
    spread = apply(relu, (measure((centres.reshape((*centres.shape, 1, 1)) - x) * masks, (2,)) - delta_v,))
    variance = sum_.over(spread * spread, (1, 2, 3)) * of_images
    first, second = np.triu_indices(count, 1)
    gaps = apply(relu, (2 * delta_d - measure(_rows(centres, first) - _rows(centres, second), (2,)),))
    distance = sum_.over(gaps * gaps) * (1 / max(len(first) * n, 1))
    return alpha * (sum_.over(variance) * (1 / count)), beta * distance, gamma * regular


def _norm_1(x, axis):
    return sum_.over(abs(x), axis)


def _norm_2(x, axis):
    return apply(safe_sqrt, (sum_.over(x * x, axis),))


def _rows(x, index):
    return apply(take, (x, index), {"pattern": (("array", 0),)})
