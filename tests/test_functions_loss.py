"""Losses against their formulas, by loops or by enumeration, and what they say about arguments that do not fit."""

from itertools import groupby, pairwise, product

import numpy as np
import pytest
import scipy.special
import scipy.stats
from directional import check_gradients
from formulas import close, normals

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)
normal = normals(rng)


# ------------------------------------------------------------------------------------------------------------- cross entropies

X, T = normal(5, 4), np.array([1, -1, 3, 0, 3])
LOSSES = np.array([-scipy.special.log_softmax(X[i])[t] if t >= 0 else 0 for i, t in enumerate(T)])


def test_softmax_cross_entropy():
    close(F.softmax_cross_entropy(X, T), LOSSES.sum() / 4)
    close(F.softmax_cross_entropy(X, T, normalize=False), LOSSES.sum() / 5)
    close(F.softmax_cross_entropy(X, T, reduce="no"), LOSSES)
    close(F.softmax_cross_entropy(X, np.abs(T), ignore_label=3, reduce="no"),
          np.where(T == 3, 0, -scipy.special.log_softmax(X, axis=1)[range(5), np.abs(T)]))
    close(F.softmax_cross_entropy(X, np.full(5, -1)), 0)
    close(F.softmax_cross_entropy(X, np.abs(T), ignore_label=None), F.softmax_cross_entropy(X, np.abs(T)).array)
    with pytest.raises(InvalidType, match="label -1"):
        F.softmax_cross_entropy(X, T, ignore_label=None)
    close(F.softmax_cross_entropy(X, T, enable_double_backprop=True, cache_score=False), LOSSES.sum() / 4)


def test_softmax_cross_entropy_with_class_weights():
    weight = np.array([.5, 2, 1, .1])
    close(F.softmax_cross_entropy(X, T, class_weight=weight), (weight[T] * LOSSES).sum() / 4)
    close(F.softmax_cross_entropy(X, T, class_weight=weight, reduce="no"), weight[T] * LOSSES)


def test_softmax_cross_entropy_over_places():
    x, t = normal(2, 3, 4, 2), rng.integers(-1, 3, (2, 4, 2))
    rows = F.softmax_cross_entropy(np.moveaxis(x, 1, 3).reshape(-1, 3), t.reshape(-1))
    close(F.softmax_cross_entropy(x, t), rows.array)
    close(F.softmax_cross_entropy(x, t, normalize=False), rows.array * (t >= 0).sum() / 2)
    close(F.softmax_cross_entropy(x, t, reduce="no").reshape(-1),
          F.softmax_cross_entropy(np.moveaxis(x, 1, 3).reshape(-1, 3), t.reshape(-1), reduce="no").array)


def test_softmax_cross_entropy_with_target_probabilities():
    t = scipy.special.softmax(normal(5, 4), axis=1)
    entropy = -(t * scipy.special.log_softmax(X, axis=1)).sum(1)
    close(F.softmax_cross_entropy(X, t), entropy.mean())
    close(F.softmax_cross_entropy(X, t, reduce="no"), entropy)
    divergence = scipy.special.rel_entr(t, scipy.special.softmax(X, axis=1)).sum(1)
    close(F.softmax_cross_entropy(X, t, reduce="no", soft_target_loss="kl-divergence"), divergence, rtol=1e-5)


@pytest.mark.parametrize("kind", ["cross-entropy", "kl-divergence"])
@pytest.mark.parametrize("reduce", ["mean", "no"])
def test_target_probabilities_get_no_gradient_as_in_chainer(reduce, kind):
    x = hnn.Variable(X)
    t = F.softmax(hnn.Variable(normal(5, 4)))
    check_gradients(lambda x: F.softmax_cross_entropy(x, t.array, reduce=reduce, soft_target_loss=kind), X)
    loss = F.softmax_cross_entropy(x, t, reduce=reduce, soft_target_loss=kind)
    F.sum(loss).backward(retain_grad=True)
    close(x.grad_var, (F.softmax(X).array - t.array) / (5 if reduce == "mean" else 1))
    assert t.grad is None
    close(F.softmax(X), loss.creator.y)


def test_label_smoothing_is_a_mixture_with_the_even_distribution():
    target = np.where(T[:, None] >= 0, .9 * (T[:, None] == np.arange(4)) + .1 / 4, 0)
    expected = -(target * scipy.special.log_softmax(X, axis=1)).sum(1)
    close(F.softmax_cross_entropy(X, T, label_smoothing=.1, reduce="no"), expected)
    close(F.softmax_cross_entropy(X, T, label_smoothing=.1), expected.sum() / 4)


def test_focal_loss():
    p = np.exp(-LOSSES)
    close(F.focal_loss(X, T, gamma=2.0, reduce="no"), (1 - p) ** 2 * LOSSES)
    close(F.focal_loss(X, T, gamma=0), LOSSES.sum() / 4)
    weight = np.array([.5, 2, 1, .1])
    close(F.focal_loss(X, T, 1.5, weight), (np.where(T < 0, 0, weight[T]) * (1 - p) ** 1.5 * LOSSES).sum() / 4)


@pytest.mark.parametrize("kwargs", [
    {}, {"normalize": False}, {"reduce": "no"}, {"class_weight": np.array([.5, 2, 1, .1])}, {"label_smoothing": .2}])
def test_softmax_cross_entropy_gradients(kwargs):
    check_gradients(lambda x: F.softmax_cross_entropy(x, T, **kwargs), X)


def test_focal_loss_gradients():
    check_gradients(lambda x: F.focal_loss(x, T), X)


@pytest.mark.parametrize("dtype, tolerance", [("float16", 1e-2), ("float32", 1e-5)])
def test_softmax_cross_entropy_dtypes(dtype, tolerance):
    for kwargs in ({}, {"reduce": "no"}, {"class_weight": np.ones(4, dtype)}, {"label_smoothing": .1}):
        x = hnn.Variable(X.astype(dtype))
        y = F.softmax_cross_entropy(x, T.astype("i"), **kwargs)
        F.sum(y).backward()
        assert y.dtype == x.grad.dtype == dtype
        np.testing.assert_allclose(y.array, F.softmax_cross_entropy(X, T, **kwargs).array, rtol=tolerance, atol=tolerance)


def test_large_scores_do_not_overflow():
    x = np.array([[1e4, 0, -1e4]])
    close(F.softmax_cross_entropy(x, np.array([0])), 0)
    close(F.softmax_cross_entropy(x, np.array([2])), 2e4)
    close(F.sigmoid_cross_entropy(np.array([1e4, -1e4]), np.array([0, 0]), reduce="no"), [1e4, 0])


def test_sigmoid_cross_entropy():
    x, t = normal(3, 4) * 3, rng.integers(-1, 2, (3, 4))
    p = scipy.special.expit(x)
    losses = np.where(t == 1, -np.log(p), np.where(t == 0, -np.log(1 - p), 0))
    close(F.sigmoid_cross_entropy(x, t), losses.sum() / (t >= 0).sum())
    close(F.sigmoid_cross_entropy(x, t, normalize=False), losses.sum() / 3)
    close(F.sigmoid_cross_entropy(x, t, reduce="no"), losses)
    check_gradients(lambda x: F.sigmoid_cross_entropy(x, t), x)
    assert F.sigmoid_cross_entropy(x.astype("f"), t.astype("i")).dtype == np.float32


# ------------------------------------------------------------------------------------------------------------------ regression

def test_errors_between_arrays():
    a, b = normal(3, 4), normal(3, 4)
    close(F.mean_squared_error(a, b), ((a - b) ** 2).mean())
    close(F.mean_absolute_error(a, b), np.abs(a - b).mean())
    close(F.absolute_error(a, b), np.abs(a - b))
    close(F.squared_error(a, b), (a - b) ** 2)
    for f in (F.mean_squared_error, F.squared_error, F.mean_absolute_error):
        check_gradients(f, a, b)
        assert f(a.astype("e"), b.astype("e")).dtype == np.float16


def test_huber():
    a, b = normal(3, 4), normal(3, 4)
    expected = scipy.special.huber(.7, a - b)
    close(F.huber_loss(a, b, .7, reduce="no"), expected)
    close(F.huber_loss(a, b, .7), expected.sum(1))
    check_gradients(lambda a, b: F.huber_loss(a, b, .7), a, b)


@pytest.mark.parametrize("norm, power", [("L1", 1), ("L2", 2)])
def test_hinge(norm, power):
    x, t = normal(5, 3), np.array([0, 2, 1, 1, 0])
    sign = np.where(t[:, None] == np.arange(3), 1, -1)
    expected = np.maximum(0, 1 - sign * x) ** power
    close(F.hinge(x, t, norm, "no"), expected)
    close(F.hinge(x, t, norm), expected.sum() / 5)
    check_gradients(lambda x: F.hinge(x, t, norm), x)


def test_distances_between_samples():
    a, p, n, y = normal(5, 3), normal(5, 3), normal(5, 3), np.array([0, 1, 1, 0, 0])
    triplets = np.maximum(0, ((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + .5)
    close(F.triplet(a, p, n, .5, "no"), triplets)
    close(F.triplet(a, p, n, .5), triplets.mean())
    d = np.linalg.norm(a - p, axis=1)
    pairs = np.where(y == 1, d ** 2, np.maximum(0, 2.5 - d) ** 2) / 2
    close(F.contrastive(a, p, y, 2.5, "no"), pairs)
    close(F.contrastive(a, p, y, 2.5), pairs.mean())
    check_gradients(lambda *v: F.triplet(*v, .5), a, p, n)
    check_gradients(lambda *v: F.contrastive(*v, y, 2.5), a, p)
    same = hnn.Variable(np.ones((2, 3)))
    F.contrastive(same, np.ones((2, 3)), np.array([0, 1])).backward()
    np.testing.assert_array_equal(same.grad, 0)


# ------------------------------------------------------------------------------------------------------- densities, correlation

def reductions(function, expected, *arrays):
    close(function(*arrays, reduce="no"), expected)
    close(function(*arrays), expected.sum())
    close(function(*arrays, reduce="mean"), expected.mean())
    check_gradients(function, *arrays)


def test_likelihoods():
    x, mean, ln_var = normal(3, 4), normal(3, 4), normal(3, 4)
    reductions(F.gaussian_nll, -scipy.stats.norm.logpdf(x, mean, np.exp(ln_var / 2)), x, mean, ln_var)
    reductions(F.gaussian_kl_divergence, (mean ** 2 + np.exp(ln_var) - ln_var - 1) / 2, mean, ln_var)
    p, y = rng.random((3, 4)), normal(3, 4)
    reductions(F.bernoulli_nll, -p * scipy.special.log_expit(y) - (1 - p) * scipy.special.log_expit(-y), p, y)


def test_covariances():
    y, z = normal(6, 3), normal(6, 2)
    covariance = np.cov(y.T, z.T, bias=True)
    close(F.cross_covariance(y, z, "no"), covariance[:3, 3:])
    close(F.cross_covariance(y, z), (covariance[:3, 3:] ** 2).sum() / 2)
    off = covariance[:3, :3] * (1 - np.eye(3))
    close(F.decov(y, "no"), off)
    close(F.decov(y), (off ** 2).sum() / 2)
    check_gradients(F.cross_covariance, y, z)
    check_gradients(F.decov, y)


# --------------------------------------------------------------------------------------------------------------- sampled words

def test_negative_sampling():
    x, W, t = normal(4, 3), normal(6, 3), np.array([1, -1, 5, 0], "i")
    drawn = rng.integers(0, 6, (4, 4)).astype("i")
    shapes = []

    def sampler(shape):
        shapes.append(shape)
        return drawn

    expected = [0 if t[i] < 0 else -scipy.special.log_expit(x[i] @ W[t[i]]) - sum(scipy.special.log_expit(-x[i] @ W[s]) for s in
    drawn[i, 1:])
                for i in range(4)]
    close(F.negative_sampling(x, t, W, sampler, 3, reduce="no"), expected)
    loss, samples = F.negative_sampling(x, t, W, sampler, 3, return_samples=True)
    close(loss, sum(expected))
    np.testing.assert_array_equal(samples, np.concatenate([t[:, None], drawn[:, 1:]], 1))
    assert shapes == [(4, 4)] * 2
    check_gradients(lambda x, W: F.negative_sampling(x, t, W, sampler, 3), x, W)


def test_black_out():
    x, W, t, samples = normal(4, 3), normal(6, 3), np.array([1, 2, 5, 0]), rng.integers(0, 6, (4, 3))
    expected = []
    for i in range(4):
        p = scipy.special.softmax(W[[t[i], *samples[i]]] @ x[i])
        expected.append(-np.log(p[0]) - np.log(1 - p[1:]).sum())
    close(F.black_out(x, t, W, samples, "no"), expected)
    close(F.black_out(x, t, W, samples), np.mean(expected))
    check_gradients(lambda x, W: F.black_out(x, t, W, samples), x, W)


@pytest.mark.parametrize("norm", [1, 2])
def test_discriminative_clustering(norm):
    x, labels = normal(2, 3, 4, 3), rng.integers(0, 4, (2, 4, 3))
    length = (lambda v, axis: np.abs(v).sum(axis)) if norm == 1 else (lambda v, axis: np.sqrt((v * v).sum(axis)))
    centres = np.zeros((3, 2, 3))
    for c, n in np.ndindex(3, 2):
        inside = labels[n] == c + 1
        centres[c, n] = x[n][:, inside].sum(1) / max(inside.sum(), 1)
    pull = [sum(max(length(centres[c, n] - x[n, :, i, j], 0) - .1, 0) ** 2 for n, i, j in np.argwhere(labels == c + 1))
            / max((labels == c + 1).sum(), 1) for c in range(3)]
    pairs = [(n, a, b) for n in range(2) for a in range(3) for b in range(a)]
    push = [max(2 * 1.5 - length(centres[a, n] - centres[b, n], 0), 0) ** 2 for n, a, b in pairs]
    regular = length(centres, (1, 2)).sum() / 6
    ys = F.discriminative_margin_based_clustering_loss(x, labels, .1, 1.5, 3, norm, 2.0, .5, .1)
    for y, expected in zip(ys, (2 * np.mean(pull), .5 * np.mean(push), .1 * regular), strict=True):
        close(y, expected)
    check_gradients(lambda x: F.discriminative_margin_based_clustering_loss(x, labels, .1, 1.5, 3, norm), x)


# ------------------------------------------------------------------------------------------------------------------- sequences

COST, XS = normal(3, 3), [normal(3, 3), normal(3, 3), normal(2, 3), normal(1, 3)]
LENGTHS = [4, 3, 2]


def scores(k):
    """The score of every label sequence of sample k, by enumeration."""
    return {path: sum(XS[i][k, s] for i, s in enumerate(path)) + sum(COST[a, b] for a, b in pairwise(path))
            for path in product(range(3), repeat=LENGTHS[k])}


def test_crf_by_enumeration():
    paths = [(0, 2, 1, 1), (2, 2, 0), (1, 0)]
    ys = [np.array([p[i] for p in paths if len(p) > i]) for i in range(4)]
    expected = [scipy.special.logsumexp(list(scores(k).values())) - scores(k)[p] for k, p in enumerate(paths)]
    close(F.crf1d(COST, XS, ys, "no"), expected)
    close(F.crf1d(COST, XS, ys), np.mean(expected))
    check_gradients(lambda cost, *xs: F.crf1d(cost, xs, ys), COST, *XS)


def test_the_best_crf_path_by_enumeration():
    best, path = F.argmax_crf1d(COST, XS)
    for k in range(3):
        found = tuple(int(p[k]) for p in path[:LENGTHS[k]])
        assert found == max(scores(k), key=scores(k).get)
        np.testing.assert_allclose(best.array[k], scores(k)[found])
    assert [len(p) for p in path] == [3, 3, 2, 1]


def read(path, blank):
    return tuple(s for s, _ in groupby(path) if s != blank)


def test_ctc_by_enumeration():
    x, t = normal(4, 3, 3), np.array([[1, 1], [2, 1], [1, 0]])
    steps, sizes = np.array([4, 4, 3]), np.array([2, 2, 1])
    log_p = scipy.special.log_softmax(x, axis=2)
    expected = [-scipy.special.logsumexp([sum(log_p[i, b, s] for i, s in enumerate(path)) for path in product(range(3),
    repeat=steps[b])
                                          if read(path, 0) == tuple(t[b, :sizes[b]])]) for b in range(3)]
    ctc = F.connectionist_temporal_classification
    close(ctc(x, t, 0, steps, sizes, "no"), expected)
    close(ctc(list(x), t, 0, steps, sizes), np.mean(expected))
    close(ctc(x[:, :1], t[:1], 0, reduce="no"), expected[:1])
    check_gradients(lambda x: ctc(x, t, 0, steps, sizes), x)
    assert ctc(x.astype("f"), t.astype("i"), 0).dtype == np.float32


def test_ctc_of_an_empty_label_is_all_blanks():
    x = normal(3, 1, 4)
    expected = -scipy.special.log_softmax(x, axis=2)[:, 0, 2].sum()
    close(F.connectionist_temporal_classification(x, np.zeros((1, 1), int), 2, label_length=np.array([0])), expected)


# --------------------------------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize("call, part", [
    (lambda: F.softmax_cross_entropy(X, np.array([0, 1, 2, 3, 4])), "labels from 0 to 3"),
    (lambda: F.softmax_cross_entropy(X, np.array([0, 1, 2, 3, -2])), "label -2"),
    (lambda: F.softmax_cross_entropy(X, T[:4]), "t (n, ...)"),
    (lambda: F.softmax_cross_entropy(X, T[:, None]), "t (n, ...)"),
    (lambda: F.softmax_cross_entropy(X.astype(int), T), "floats"),
    (lambda: F.softmax_cross_entropy(X, T, reduce="sum"), "reduce as one of"),
    (lambda: F.softmax_cross_entropy(X, X[:, :2]), "probabilities"),
    (lambda: F.softmax_cross_entropy(X, X, soft_target_loss="mse"), "soft_target_loss as one of"),
    (lambda: F.softmax_cross_entropy(X, T, class_weight=np.ones(3)), "one class_weight per class"),
    (lambda: F.softmax_cross_entropy(X, T, class_weight=hnn.Variable(np.ones(4))), "class_weight as an array"),
    (lambda: F.sigmoid_cross_entropy(X, T), "of one shape"),
    (lambda: F.sigmoid_cross_entropy(X, X), "integers"),
    (lambda: F.focal_loss(X, T, reduce="sum"), "reduce as one of"),
    (lambda: F.mean_squared_error(X, X[:2]), "one shape"),
    (lambda: F.mean_squared_error(X, X.astype(int)), "floating"),
    (lambda: F.huber_loss(X, X, 1, reduce="mean"), "reduce as one of"), (lambda: F.huber_loss(X[0], X[0], 1), "second axis"),
    (lambda: F.hinge(X, np.array([0, 1, 2, 3, 4])), "labels from 0 to 3"),
    (lambda: F.hinge(X, T, norm="L3"), "norm as one of"),
    (lambda: F.triplet(X, X, X, margin=0), "positive margin"),
    (lambda: F.triplet(X, X, X[:1]), "one shape"),
    (lambda: F.contrastive(X, X, T.astype("f")), "y (n,) of integers"),
    (lambda: F.gaussian_nll(X, X, X, reduce="all"), "reduce as one of"),
    (lambda: F.cross_covariance(X, X[:2]), "y (n, k) and z (n, l)"),
    (lambda: F.negative_sampling(X, T[:2], X, None, 1), "t (n,)"),
    (lambda: F.black_out(X, T, X, T), "samples (n, m)"),
    (lambda: F.discriminative_margin_based_clustering_loss(normal(1, 2, 3, 3), np.zeros((1, 3, 3), int), 1, 1, 3),
    "max_embedding_dim"), (lambda: F.crf1d(normal(2, 2), XS, XS), "cost (labels, labels)"),
    (lambda: F.crf1d(COST, XS[::-1], XS), "never grow"),
    (lambda: F.crf1d(COST, XS, [x[:, 0] for x in XS]), "ys of integers"),
    (lambda: F.connectionist_temporal_classification(normal(4, 3, 3), np.zeros((3, 2), int), 3), "blank_symbol"),
    (lambda: F.connectionist_temporal_classification(normal(4, 3), np.zeros((3, 2), int), 0), "x (time, batch, symbols)"),
    (lambda: F.connectionist_temporal_classification(normal(4, 3, 3), np.zeros((2, 2), int), 0), "t (batch"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType) as caught:
        call()
    assert part in str(caught.value)
