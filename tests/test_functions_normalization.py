"""Normalisations against their formulas, running statistics, and what they say about arguments that do not fit."""

import numpy as np
import pytest
import scipy.linalg
from directional import check_gradients
from formulas import normals

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)
normal = normals(rng)


def standard(x, axis, eps):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def close(y, expected, rtol=1e-9):
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.array, expected, rtol=rtol, atol=rtol)


def test_layer_normalization():
    x, gamma, beta = normal(4, 6), normal(6), normal(6)
    close(F.layer_normalization(x, gamma, beta), gamma * standard(x, 1, 1e-5) + beta)
    close(F.layer_normalization(x, gamma, beta, eps=.3), gamma * standard(x, 1, .3) + beta)
    x = normal(2, 3, 6)
    close(F.layer_normalization(x, gamma, beta), gamma * standard(x, 2, 1e-5) + beta)
    check_gradients(lambda *a: F.layer_normalization(*a, eps=.1), normal(4, 6), gamma, beta)


def test_rms_normalization():
    x, gamma = normal(3, 4, 5), normal(5)
    close(F.rms_normalization(x, gamma, eps=.1), gamma * x / np.sqrt((x * x).mean(-1, keepdims=True) + .1))
    check_gradients(lambda *a: F.rms_normalization(*a, eps=.1), x, gamma)


def test_group_and_instance_normalization():
    x, gamma, beta = normal(3, 4, 2, 5), normal(4), normal(4)
    column = (4, 1, 1)
    grouped = standard(x.reshape(3, 2, 20), 2, 1e-5).reshape(x.shape)
    close(F.group_normalization(x, 2, gamma, beta), grouped * gamma.reshape(column) + beta.reshape(column))
    close(F.instance_normalization(x, gamma, beta), standard(x, (2, 3), 1e-5) * gamma.reshape(column) + beta.reshape(column))
    check_gradients(lambda x, g, b: F.group_normalization(x, 2, g, b, eps=.1), x, gamma, beta)


@pytest.mark.parametrize("shape, axis, inner", [((5, 3), None, (0,)), ((4, 3, 2, 2), None, (0, 2, 3)), ((4, 3, 2), (0, 1), (0,
1)),
                                                ((4, 3, 2), 0, (0,)), ((4, 3, 2), (0,), (0,))])
def test_batch_normalization(shape, axis, inner):
    x = normal(*shape)
    kept = tuple(n for i, n in enumerate(shape) if i not in inner)
    gamma, beta = normal(*kept), normal(*kept)
    spread = tuple(1 if i in inner else n for i, n in enumerate(shape))
    y = F.batch_normalization(x, gamma, beta, eps=1e-3, axis=axis)
    close(y, standard(x, inner, 1e-3) * gamma.reshape(spread) + beta.reshape(spread))
    mean, var = normal(*kept), rng.uniform(.5, 2, kept)
    fixed = F.fixed_batch_normalization(x, gamma, beta, mean, var, eps=1e-3, axis=axis)
    close(fixed, (x - mean.reshape(spread)) / np.sqrt(var.reshape(spread) + 1e-3) * gamma.reshape(spread) + beta.reshape(spread))


def test_batch_normalization_gradients():
    x, gamma, beta = normal(4, 3, 2), normal(3), normal(3)
    check_gradients(lambda *a: F.batch_normalization(*a, eps=.1), x, gamma, beta)
    check_gradients(lambda *a: F.fixed_batch_normalization(*a, eps=.1), x, gamma, beta, normal(3), rng.uniform(.5, 2, 3))


def test_running_statistics_move_in_place():
    x, mean, var = normal(4, 3, 2, dtype="f"), np.full(3, 2, "f"), np.full(3, 5, "f")
    F.batch_normalization(x, np.ones(3, "f"), np.zeros(3, "f"), running_mean=mean, running_var=var, decay=.7)
    np.testing.assert_allclose(mean, .7 * 2 + .3 * x.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, .7 * 5 + .3 * x.var((0, 2), ddof=1), rtol=1e-5)


def test_half_precision_is_normalised_with_single_parameters():
    x, gamma, beta = normal(8, 3, dtype="e"), normal(3, dtype="f"), normal(3, dtype="f")
    y = F.batch_normalization(x, gamma, beta)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.array, standard(x.astype("d"), 0, 2e-5) * gamma + beta, rtol=1e-2, atol=1e-2)
    assert F.layer_normalization(x, gamma.astype("e"), beta.astype("e")).dtype == np.float16
    assert F.rms_normalization(x, gamma.astype("e")).dtype == np.float16


def test_batch_renormalization():
    x, gamma, beta = normal(6, 3), normal(3), normal(3)
    mean, var = normal(3), rng.uniform(.5, 2, 3)
    before = mean.copy(), var.copy()
    std = np.sqrt(x.var(0) + 2e-5)
    running = np.sqrt(var + 2e-5)
    r, d = np.clip(std / running, 1 / 1.2, 1.2), np.clip((x.mean(0) - mean) / running, -.3, .3)
    close(F.batch_renormalization(x, gamma, beta, 1.2, .3, running_mean=mean, running_var=var),
          gamma * (standard(x, 0, 2e-5) * r + d) + beta)
    np.testing.assert_array_equal((mean, var), before)
    F.batch_renormalization(x, gamma, beta, 1.2, .3, running_mean=mean, running_var=var, update_statistics=True)
    np.testing.assert_allclose(mean, .9 * before[0] + .1 * x.mean(0))
    np.testing.assert_allclose(var, .9 * before[1] + .1 * x.var(0, ddof=1))
    with pytest.raises(TypeError, match="running_mean"):
        F.batch_renormalization(x, gamma, beta, 1, 0)
    with pytest.warns(DeprecationWarning, match="fixed_batch_normalization"):
        close(F.fixed_batch_renormalization(x, gamma, beta, mean, var), F.fixed_batch_normalization(x, gamma, beta, mean,
        var).array)


def test_l2_normalize():
    x = normal(3, 4, 2)
    close(F.normalize(x, eps=.1), x / (np.linalg.norm(x, axis=1, keepdims=True) + .1))
    close(F.normalize(x, axis=(1, 2)), x / (np.sqrt((x * x).sum((1, 2), keepdims=True)) + 1e-5))
    check_gradients(F.normalize, x)
    zero = hnn.Variable(np.zeros((2, 3)))
    F.sum(F.normalize(zero)).backward()
    assert np.isfinite(zero.grad).all()


def test_local_response_normalization():
    x = normal(2, 6, 3)
    for n, k, alpha, beta in ((5, 2, 1e-4, .75), (3, 1, .5, .6)):
        sums = np.stack([(x[:, max(c - n // 2, 0):c + n // 2 + 1] ** 2).sum(1) for c in range(6)], 1)
        close(F.local_response_normalization(x, n, k, alpha, beta), x / (k + alpha * sums) ** beta)
    check_gradients(lambda x: F.local_response_normalization(x, 3, 1, .5, .6), x)


def test_decorrelated_batch_normalization():
    x, mean, projection = normal(9, 4, 3), np.zeros((2, 2)), np.zeros((2, 2, 2))
    statistics = {"running_mean": mean, "running_projection": projection, "decay": .5}
    y = F.decorrelated_batch_normalization(x, groups=2, eps=1e-3, **statistics).array
    for g in range(2):
        rows = x[:, 2 * g:2 * g + 2].swapaxes(0, 1).reshape(2, -1)
        whitening = scipy.linalg.inv(scipy.linalg.sqrtm(np.cov(rows, bias=True) + 1e-3 * np.eye(2)))
        expected = whitening @ (rows - rows.mean(1, keepdims=True))
        np.testing.assert_allclose(y[:, 2 * g:2 * g + 2].swapaxes(0, 1).reshape(2, -1), expected, rtol=1e-8)
        np.testing.assert_allclose(mean[g], .5 * rows.mean(1))
        np.testing.assert_allclose(projection[g], .5 * 27 / 26 * whitening)
    fixed = F.fixed_decorrelated_batch_normalization(x, 2 * mean, 2 * 26 / 27 * projection, groups=2)
    np.testing.assert_allclose(fixed.array, y, rtol=1e-8, atol=1e-8)
    check_gradients(lambda x: F.decorrelated_batch_normalization(x, groups=2, eps=.1), x)
    check_gradients(lambda *a: F.fixed_decorrelated_batch_normalization(*a, groups=2), x, mean, projection)


@pytest.mark.parametrize("call, part", [
    (lambda: F.layer_normalization(normal(4, 6), normal(5), normal(5)), "gamma and beta"),
    (lambda: F.layer_normalization(np.ones((4, 6), int), normal(6), normal(6)), "floating"),
    (lambda: F.rms_normalization(normal(4, 6), normal(5)), "gamma of the size"),
    (lambda: F.group_normalization(normal(4, 6), 4, normal(6), normal(6)), "groups that divide"),
    (lambda: F.group_normalization(normal(4, 6), 2, normal(4), normal(4)), "gamma and beta (channels,)"),
    (lambda: F.batch_normalization(normal(4, 3), normal(4), normal(4)), "without the axes"),
    (lambda: F.batch_normalization(normal(4, 3), normal(3), normal(4)), "beta of gamma's shape"),
    (lambda: F.batch_normalization(normal(4, 3), normal(3), normal(3), axis="0"), "axis as an int"),
    (lambda: F.batch_normalization(normal(4, 3), normal(3), normal(3), axis=(0, 5)), "distinct axes"),
    (lambda: F.fixed_batch_normalization(normal(4, 3), normal(3), normal(3), normal(3), normal(2)), "var of gamma's shape"),
    (lambda: F.normalize(normal(4, 3), axis=2), "distinct axes"),
    (lambda: F.decorrelated_batch_normalization(normal(4, 3), groups=2), "groups that divide"),
    (lambda: F.fixed_decorrelated_batch_normalization(normal(4, 4), normal(2, 2), normal(2, 2), groups=2), "projection"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType) as caught:
        call()
    assert part in str(caught.value)
