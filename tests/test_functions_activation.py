"""Activation functions against their definitions."""

import math

import numpy as np
import pytest
import scipy.special as special
from function_cases import Case, case, check_error, check_values, ids, untested

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.functions.activation
from hybridnn import Variable

S, T = (2, 3), (2, 3, 4)


def elu(x, alpha=1.0):
    return np.where(x >= 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def logistic(x):
    return special.expit(x)


def normalized(x, axis):
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


def tanh_gelu(x):
    return np.array(
        [v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x.ravel().tolist()]
    ).reshape(x.shape)


CASES = [
    case("relu", S, formula=lambda x: x * (x > 0)),
    case("relu6", S, formula=lambda x: np.clip(x, 0, 6), bounds=(-9, 9)),
    case("clipped_relu", S, formula=lambda x: np.clip(x, 0, 1), z=1.0),
    case("clipped_relu", S, formula=lambda x: np.clip(x, 0, 20), bounds=(-30, 30)),
    case("leaky_relu", S, formula=lambda x: np.where(x < 0, 0.2 * x, x)),
    case("leaky_relu", S, formula=lambda x: np.where(x < 0, 0.1 * x, x), slope=0.1),
    case("elu", S, formula=elu),
    case("elu", S, formula=lambda x: elu(x, 0.3), alpha=0.3),
    case("selu", S, formula=lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    case("selu", S, formula=lambda x: 0.9 * elu(x, 0.5), alpha=0.5, scale=0.9),
    case("crelu", T, formula=lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)),
    case("crelu", T, formula=lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 2), axis=-1),
    case("sigmoid", S, formula=logistic),
    case("sigmoid", S, formula=logistic, bounds=(-80, 80), note="tails"),
    case("tanh", S, formula=lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
    case("hard_sigmoid", S, formula=lambda x: np.clip(0.2 * x + 0.5, 0, 1), bounds=(-4, 4)),
    case("softplus", S, formula=lambda x: np.log(1 + np.exp(x))),
    case("softplus", S, formula=lambda x: np.log(1 + np.exp(2 * x)) / 2, beta=2.0),
    case("softplus", S, formula=lambda x: np.logaddexp(0, x), bounds=(-200, 200)),
    case("prelu", T, (3,), formula=lambda x, w: np.where(x > 0, x, x * w[:, None])),
    case("prelu", T, (3, 4), formula=lambda x, w: np.where(x > 0, x, x * w)),
    case("prelu", T, (), formula=lambda x, w: np.where(x > 0, x, x * w)),
    case("swish", T, (3,), formula=lambda x, b: x * logistic(x * b[:, None])),
    case("swish", T, (), formula=lambda x, b: x * logistic(x * b)),
    case("silu", S, formula=lambda x: x * logistic(x)),
    case("mish", S, formula=lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    case("hardswish", S, formula=lambda x: x * np.clip(x + 3, 0, 6) / 6, bounds=(-5, 5)),
    case("gelu", S, formula=lambda x: x * special.ndtr(x), bounds=(-5, 5)),
    case("gelu", S, formula=tanh_gelu, approximate="tanh"),
    case("maxout", (2, 6), formula=lambda x: x.reshape(2, 3, 2).max(2), pool_size=2),
    case("maxout", T, formula=lambda x: x.reshape(2, 3, 2, 2).max(3), pool_size=2, axis=-1),
    case("softmax", T, formula=lambda x: normalized(x, 1)),
    case("softmax", T, formula=lambda x: normalized(x, 2), axis=-1),
    case("log_softmax", T, formula=lambda x: np.log(normalized(x, 1))),
    case("log_softmax", T, formula=lambda x: np.log(normalized(x, 0)), axis=0),
    Case("rrelu", lambda x: F.rrelu(x, r=np.full(S, 0.25, x.dtype)), (S,), lambda x: np.where(x > 0, x, x / 4)),
]


@pytest.mark.parametrize("c", CASES, ids=ids(CASES))
def test_values(c):
    check_values(c)


def test_every_function_has_a_case():
    assert untested(hybridnn.functions.activation, CASES) == []


ONES = np.ones
ERRORS = [
    ("clipped_relu", lambda: F.clipped_relu(ONES(2), -1.0)),
    ("crelu", lambda: F.crelu(ONES((2, 3)), axis=2)),
    ("crelu", lambda: F.crelu(ONES((2, 3)), "a")),
    ("crelu", lambda: F.crelu(ONES((2, 3), int))),
    ("prelu", lambda: F.prelu(ONES((2, 3)), ONES(2))),
    ("swish", lambda: F.swish(ONES((2, 3)), ONES(2))),
    ("rrelu", lambda: F.rrelu(ONES(3), 0.5, 0.2)),
    ("rrelu", lambda: F.rrelu(ONES(3), r=ONES(2))),
    ("maxout", lambda: F.maxout(ONES((2, 3)), 2)),
    ("maxout", lambda: F.maxout(ONES((2, 3)), 0)),
    ("softmax", lambda: F.softmax(ONES(3))),
    ("softmax", lambda: F.softmax(ONES((2, 3), int))),
    ("log_softmax", lambda: F.log_softmax(ONES((2, 3)), axis=2)),
    ("gelu", lambda: F.gelu(ONES(2), approximate="sin")),
]


@pytest.mark.parametrize("name, call", ERRORS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ERRORS)])
def test_errors_name_the_function(name, call):
    check_error(call, name)


def test_rrelu_draws_as_numpy_does_and_averages_outside_training():
    x = np.linspace(-1, 1, 12, dtype="f").reshape(3, 4)
    np.random.seed(5)
    y, r = F.rrelu(x, 0.1, 0.3, return_r=True)
    np.random.seed(5)
    np.testing.assert_array_equal(r, np.random.uniform(0.1, 0.3, (3, 4)).astype("f"))
    np.testing.assert_array_equal(y.array, np.where(x >= 0, x, x * r))
    with hnn.using_config("train", False):
        y, r = F.rrelu(Variable(x), 0.1, 0.3, return_r=True)
        np.testing.assert_allclose(r, np.full((3, 4), 0.2, "f"))
        np.testing.assert_allclose(y.array, np.where(x >= 0, x, x * np.float32(0.2)), rtol=1e-6)
        np.testing.assert_array_equal(F.rrelu(x, 0.1, 0.3).array, y.array)


def test_nothing_overflows():
    """Warnings are errors here: large arguments must raise none."""
    x = np.array([-1e4, -100, 0, 100, 1e4], "f")
    for name in ("sigmoid", "softplus", "silu", "mish", "elu", "gelu", "hardswish"):
        v = Variable(x)
        y = getattr(F, name)(v)
        y.grad = np.ones_like(x)
        y.backward()
        assert np.isfinite(y.array).all() and np.isfinite(v.grad).all()
    np.testing.assert_allclose(F.softmax(x[None]).array, [[0, 0, 0, 0, 1]])
    np.testing.assert_allclose(F.log_softmax(x[None]).array, [x - 1e4])


def test_sigmoid_is_exact_far_to_the_left():
    x = np.array([-20, -50, -80], "f")
    np.testing.assert_allclose(F.sigmoid(x).array, np.exp(x.astype("d")), rtol=3e-7)


def test_nan_and_infinity_go_through():
    x = np.array([np.nan, np.inf, -np.inf], "f")
    for name, limits in (
        ("relu", (np.inf, 0)),
        ("sigmoid", (1, 0)),
        ("tanh", (1, -1)),
        ("elu", (np.inf, -1)),
        ("softplus", (np.inf, 0)),
    ):
        y = getattr(F, name)(x).array
        assert np.isnan(y[0]) and tuple(y[1:]) == limits


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize(("call", "expected"), [
    (F.relu, 0), (F.leaky_relu, 0.2), (lambda x: F.leaky_relu(x, 0.1), 0.1), (F.elu, 1), (lambda x: F.elu(x, 0.3), 0.3),
    (F.selu, 1.0507009873554805 * 1.6732632423543772), (lambda x: F.prelu(x, np.array(0.4)), 1), (lambda x: F.clipped_relu(x, 1.0), 0),
], ids=["relu", "leaky_relu", "leaky_relu_slope", "elu", "elu_alpha", "selu", "prelu", "clipped_relu"])
def test_gradients_at_zero_are_those_of_chainer(call, expected, trace):
    def gradient(x):
        v = Variable(x)
        F.sum(call(v)).backward()
        return v.grad

    step = hnn.trace(gradient) if trace else gradient
    for _ in range(8):
        np.testing.assert_allclose(step(np.array([0.0, -0.0])), [expected] * 2, rtol=1e-12)
