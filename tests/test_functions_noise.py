"""Functions that draw, and ``forget``: the numbers drawn are NumPy's, in NumPy's order; the rest is arithmetic."""

import gc
import weakref

import numpy as np
import pytest
from function_cases import check_error

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.functions.noise
from hybridnn import Variable

X, H = (np.random.default_rng(k).normal(size=(3, 4)).astype("f") for k in (1, 2))


def drawn(call, draw):
    """``call()`` and ``draw()`` from the same state of NumPy's stream, which both leave in the same state."""
    np.random.seed(7)
    y = call()
    after = np.random.random()
    np.random.seed(7)
    numbers = draw()
    assert np.random.random() == after
    return y, numbers


def test_every_function_is_tested():
    assert sorted(hybridnn.functions.noise.__all__) == [
        "dropout",
        "gaussian",
        "gumbel_softmax",
        "simplified_dropconnect",
        "zoneout",
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout(dtype):
    x = Variable(X.astype(dtype))
    y, r = drawn(lambda: F.dropout(x, 0.3), lambda: np.random.rand(3, 4))
    expected = np.where(r >= 0.3, np.asarray(1 / 0.7, dtype), 0).astype(dtype)
    np.testing.assert_array_equal(y.array, x.array * expected)
    y.grad = np.ones_like(x.array)
    y.backward()
    np.testing.assert_array_equal(x.grad, expected)
    assert y.dtype == dtype


def test_dropout_with_a_mask_and_outside_training():
    y, mask = F.dropout(X, 0.5, return_mask=True)
    assert type(mask) is np.ndarray
    np.testing.assert_array_equal(y.array, X * mask)
    again, same = F.dropout(X, 0.5, mask=mask, return_mask=True)
    assert same is mask
    np.testing.assert_array_equal(again.array, y.array)
    with hnn.using_config("train", False):
        y, mask = F.dropout(X, 0.5, return_mask=True)
        assert y.array is X and mask is None
        assert F.dropout(y) is y


def test_gaussian():
    mean, ln_var = Variable(X), Variable(H)
    (y, eps), numbers = drawn(lambda: F.gaussian(mean, ln_var, return_eps=True), lambda: np.random.standard_normal((3, 4)))
    np.testing.assert_array_equal(eps, numbers.astype("f"))
    np.testing.assert_allclose(y.array, X + np.exp(H / 2) * eps, rtol=1e-6)
    y.grad = np.ones_like(X)
    y.backward()
    np.testing.assert_allclose(ln_var.grad, np.exp(H / 2) * eps / 2, rtol=1e-6)
    np.testing.assert_array_equal(F.gaussian(mean, ln_var, eps=eps).array, y.array)


def test_gumbel_softmax():
    y, g = drawn(lambda: F.gumbel_softmax(X, tau=0.5), lambda: np.random.gumbel(size=(3, 4)))
    e = np.exp((X + g) / 0.5)
    np.testing.assert_allclose(y.array, e / e.sum(1, keepdims=True), rtol=1e-5)
    assert F.gumbel_softmax(np.zeros((), "f")).array == 1


def test_hard_gumbel_softmax_is_one_hot_with_the_soft_gradient():
    x = Variable(X)
    soft, _ = drawn(lambda: F.gumbel_softmax(x, 0.5, axis=0), lambda: np.random.gumbel(size=(3, 4)))
    soft.grad = H
    soft.backward()
    expected = x.grad
    x.cleargrad()
    hard, _ = drawn(lambda: F.gumbel_softmax(x, 0.5, axis=0, hard=True), lambda: np.random.gumbel(size=(3, 4)))
    np.testing.assert_array_equal(hard.array, soft.array == soft.array.max(0))
    hard.grad = H
    hard.backward()
    np.testing.assert_array_equal(x.grad, expected)


def test_zoneout():
    h, x = Variable(H), Variable(X)
    y, r = drawn(lambda: F.zoneout(h, x, 0.3), lambda: np.random.rand(3, 4))
    np.testing.assert_array_equal(y.array, np.where(r < 0.3, H, X))
    y.grad = np.ones_like(X)
    y.backward()
    np.testing.assert_array_equal(h.grad, r < 0.3)
    np.testing.assert_array_equal(x.grad, r >= 0.3)
    with hnn.using_config("train", False):
        assert F.zoneout(h, x) is x


@pytest.mark.parametrize("batchwise", [True, False])
def test_simplified_dropconnect(batchwise):
    W, b = np.random.default_rng(3).normal(size=(5, 4)).astype("f"), np.arange(5, dtype="f")
    shape = (3, 5, 4) if batchwise else (5, 4)
    y, r = drawn(lambda: F.simplified_dropconnect(X, W, b, 0.4, use_batchwise_mask=batchwise), lambda: np.random.rand(*shape))
    weights = np.broadcast_to(W * (r >= 0.4) / 0.6, (3, 5, 4))
    np.testing.assert_allclose(y.array, np.stack([w @ x for w, x in zip(weights, X)]) + b, rtol=1e-5, atol=1e-5)
    masked = F.simplified_dropconnect(X.reshape(3, 2, 2), W, b, 0.4, mask=r >= 0.4, use_batchwise_mask=batchwise)
    np.testing.assert_allclose(masked.array, y.array, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(F.simplified_dropconnect(X, W, train=False).array, X @ W.T, rtol=1e-5, atol=1e-5)


ERRORS = [
    ("dropout", lambda: F.dropout(X, 1.0)),
    ("dropout", lambda: F.dropout(X, -0.1)),
    ("dropout", lambda: F.dropout(X, mask=np.ones(2))),
    ("dropout", lambda: F.dropout(np.ones(3, int))),
    ("gaussian", lambda: F.gaussian(X, H[:2])),
    ("gaussian", lambda: F.gaussian(X, H, eps=H[:1])),
    ("gumbel_softmax", lambda: F.gumbel_softmax(np.ones((2, 2), int))),
    ("zoneout", lambda: F.zoneout(H[:2], X)),
    ("simplified_dropconnect", lambda: F.simplified_dropconnect(X, np.ones((5, 3), "f"))),
    ("simplified_dropconnect", lambda: F.simplified_dropconnect(X, np.ones((5, 4), "f"), np.ones(4, "f"))),
    ("simplified_dropconnect", lambda: F.simplified_dropconnect(X, np.ones((5, 4), "f"), mask=np.ones(2))),
    ("forget", lambda: F.forget(1)),
    ("forget", lambda: F.forget(lambda x: 1, X)),
]


@pytest.mark.parametrize("name, call", ERRORS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ERRORS)])
def test_errors_name_the_function(name, call):
    check_error(call, name)


# -------------------------------------------------------------------------------------------------------------------- forget


def cubic(x, w):
    return F.tanh(x * x * w) + x, x * w


def both_ways(use):
    """What ``use(function)`` gives with the function itself and with ``forget``."""
    return use(cubic), use(lambda *xs: F.forget(cubic, *xs))


def test_forget_gives_the_same_values_and_gradients():
    def use(f):
        x, w = Variable(X), Variable(H)
        y, z = f(x, w)
        F.sum(y * y + 3 * z).backward()
        return y.array, z.array, x.grad, w.grad

    for a, b in zip(*both_ways(use), strict=True):
        np.testing.assert_array_equal(a, b)


def test_forget_where_one_result_is_not_used():
    def use(f):
        x, w = Variable(X), Variable(H)
        F.sum(f(x, w)[1] ** 2).backward()
        return x.grad, w.grad

    for a, b in zip(*both_ways(use), strict=True):
        np.testing.assert_array_equal(a, b)


def test_forget_reaches_parameters_and_double_backprop():
    def use(f):
        x, w = Variable(X.astype("d")), Variable(H.astype("d"))
        y = f(lambda v: F.tanh(v * w) * v, x)
        (gx,) = hnn.grad([F.sum(y)], [x], enable_double_backprop=True)
        F.sum(gx * gx).backward()
        return gx.array, x.grad, w.grad

    plain = use(lambda function, x: function(x))
    forgotten = use(F.forget)
    np.testing.assert_allclose(forgotten[0], plain[0], rtol=1e-12)
    np.testing.assert_allclose(forgotten[1], plain[1], rtol=1e-12)


def test_forget_accumulates_into_parameters():
    x, w = Variable(X), Variable(H)
    F.sum(F.forget(lambda v: v * w, x)).backward()
    np.testing.assert_array_equal(w.grad, X)
    F.sum(F.forget(lambda v: v * w, x)).backward()
    np.testing.assert_array_equal(w.grad, X + X)
    assert isinstance(w.grad_var, Variable)


def test_forget_keeps_no_intermediate_array():
    alive = []

    def watched(x):
        h = F.exp(x)
        alive.append(weakref.ref(h.array))
        return F.tanh(h)

    x = Variable(X)
    y = F.forget(watched, x)
    gc.collect()
    assert alive[0]() is None
    F.sum(y).backward()
    assert len(alive) == 2


@pytest.mark.parametrize(
    "count, ordinal", [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")]
)
def test_forget_says_which_result_is_wrong(count, ordinal):
    with pytest.raises(RuntimeError, match=f"{ordinal} .*int"):
        F.forget(lambda x: (x,) * (count - 1) + (1,), X)
