"""Measures of predictions against counting and scikit-learn."""

import warnings

import numpy as np
import pytest
import sklearn.metrics

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)
Y, T = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_accuracy(dtype):
    y = hnn.Variable(Y.astype(dtype))
    share = F.accuracy(y, T)
    assert share.dtype == dtype and share.shape == () and not share.requires_grad
    np.testing.assert_allclose(share.array, np.mean(Y.argmax(1) == T), rtol=1e-3)
    counted = T != 1
    np.testing.assert_allclose(F.accuracy(y, T, ignore_label=1).array, np.mean((Y.argmax(1) == T)[counted]), rtol=1e-3)
    assert F.accuracy(y, np.full(20, -1), ignore_label=-1).array == 0


@pytest.mark.parametrize("mode", ["eager", "verify"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_shares_of_all_are_one_and_means_are_rounded_once(dtype, mode):
    @hnn.trace(mode=mode)
    def measures(y, t):
        return F.accuracy(y, t), F.mean_squared_error(y, y * 0)
    for n in (41, 47, 55, 61, 7, 1):
        y, t = np.eye(2, dtype=dtype)[np.zeros(n, int)], (np.arange(n) >= n // 2 + 1).astype("i")
        for labels, right in ((np.zeros(n, "i"), n), (t, n // 2 + 1)):
            share, error = measures(y, labels)
            assert (share.array, error.array) == (dtype(right / n), .5)


def test_accuracy_over_places():
    y, t = rng.normal(size=(2, 3, 4, 1)), rng.integers(0, 3, (2, 4))
    np.testing.assert_allclose(F.accuracy(y, t).array, np.mean(y.argmax(1)[..., 0] == t))


def test_binary_accuracy():
    y, t = rng.normal(size=(5, 4)), rng.integers(-1, 2, (5, 4))
    right = [(a >= 0) == bool(b) for a, b in zip(y.ravel(), t.ravel(), strict=True) if b >= 0]
    np.testing.assert_allclose(F.binary_accuracy(y, t).array, np.mean(right))
    assert F.binary_accuracy(y.astype("f"), t).dtype == np.float32
    assert F.binary_accuracy(y, np.full_like(t, -1)).array == 0


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_classification_summary_is_sklearns(beta):
    expected = sklearn.metrics.precision_recall_fscore_support(T, Y.argmax(1), beta=beta, labels=range(3))
    for y, e in zip(F.classification_summary(Y, T, beta=beta), expected, strict=True):
        np.testing.assert_allclose(y.array, e)
    for k, function in enumerate((F.precision, F.recall, F.f1_score)):
        values, support = function(Y, T)
        if k < 2 or beta == 1:
            np.testing.assert_allclose(values.array, expected[k])
        np.testing.assert_array_equal(support.array, expected[3])


def test_classification_summary_ignores_labels_and_counts_absent_classes():
    kept = T != 2
    summary = F.classification_summary(Y, np.where(kept, T, -1), label_num=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn.metrics.precision_recall_fscore_support(T[kept], Y.argmax(1)[kept], labels=range(4))
    np.testing.assert_array_equal(summary[3].array, expected[3])
    np.testing.assert_allclose(summary[0].array[:2], expected[0][:2])
    np.testing.assert_allclose(summary[1].array[:2], expected[1][:2])
    assert np.isnan(summary[0].array[3]) and np.isnan(summary[1].array[3])


def test_r2_score_is_sklearns():
    pred, true, weight = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)), rng.random(6)
    r2 = sklearn.metrics.r2_score
    np.testing.assert_allclose(F.r2_score(pred, true).array, r2(true, pred))
    np.testing.assert_allclose(F.r2_score(pred, true, multioutput="raw_values").array, r2(true, pred, multioutput="raw_values"))
    np.testing.assert_allclose(F.r2_score(pred, true, sample_weight=weight).array, r2(true, pred, sample_weight=weight))
    assert F.r2_score(pred, np.ones((6, 2))).array == 0
    assert F.r2_score(pred.astype("f"), true.astype("f")).dtype == np.float32


@pytest.mark.parametrize("call, part", [
    (lambda: F.accuracy(Y, T[:3]), "t (n, ...)"),
    (lambda: F.accuracy(Y, T.astype("f")), "integers"),
    (lambda: F.accuracy(Y[..., None].repeat(2, 2), T), "y (n, classes, ...)"),
    (lambda: F.binary_accuracy(Y, T), "of one shape"),
    (lambda: F.precision(Y[0], T), "y (n, classes, ...)"),
    (lambda: F.r2_score(Y, Y[:2]), "of one shape"),
    (lambda: F.r2_score(Y, Y, multioutput="sum"), "multioutput as one of"),
    (lambda: F.r2_score(Y, Y, sample_weight=np.ones(3)), "sample_weight (n,)"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType) as caught:
        call()
    assert part in str(caught.value)
