"""Attributes of operations that are equal to others, but of another type or sign: eager refuses some, and computes something else with others."""
import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


class Settings:
    """What an operation takes that is no array."""

    def __init__(self, value):
        self.value = value


def put(s, value, run):
    """A call with another value."""
    def call():
        s.value = value
        return run()
    return call


def switching(fn, values):
    """A scenario whose calls are with one after the other of the values."""
    def make(wrap):
        s = Settings(values[0])
        step = wrap(lambda x: fn(x, s.value))
        return None, [put(s, value, lambda: step(var(2, 3, 4, 4))) for value in values]
    return make


@pytest.mark.parametrize("fn, values", [
    (lambda x, k: F.sum(x, axis=1, keepdims=k), [True, 1.0, 1, np.True_]), (lambda x, k: F.max(x, axis=1, keepdims=k), [False, 0.0, -0.0, 0]),
    (lambda x, k: F.mean(x, axis=1, keepdims=k), [False, np.False_, 0]), (lambda x, k: F.sum(x, axis=k), [1, True, 1.0, np.int64(1)]),
    (lambda x, k: F.broadcast_to(x, (5, 2, k, 4, 4)), [3, 3.0, np.int64(3)]), (lambda x, k: F.local_response_normalization(x, n=k), [3, 3.0]),
    (lambda x, k: F.convolution_2d(x, arr(2, 3, 3, 3), groups=k), [1, True, 1.0]), (lambda x, k: F.softmax(x, axis=k), [1, True, 1.0]),
    (lambda x, k: F.max_pooling_2d(x, k, 1), [2, 2.0, np.int64(2)]), (lambda x, k: x[k], [1, True, np.int64(1)]),
    (lambda x, k: x[:k], [1, True, 1.0]), (lambda x, k: F.transpose(x, k), [(1, 0, 2, 3), (True, False, 2, 3), (1.0, 0, 2, 3), (np.int64(1), 0, 2, 3)]),
    (lambda x, k: F.reshape(x, k), [(2, 48), (2.0, 48), (np.int64(2), 48)]),
])
def test_equal_ones_of_other_types(fn, values, mode):
    check(switching(fn, values), mode, steps=[0, 0, 0, 0, *[k for n in range(1, len(values)) for k in (n, n, 0, n, n)], 0])


def test_zeros_of_both_signs(mode):
    def outcome(y):
        return y, np.signbit(y.array)
    check(switching(lambda x, k: outcome(F.pad(x, 1, "constant", constant_values=k)), [0.0, -0.0, 0, (0.0, -0.0)]), mode)
    check(switching(lambda x, k: outcome(F.pad(x, 1, "constant", constant_values=k)), [-0.0, 0.0, ((-0.0, 0.0),), ((-0.0, -0.0),)]), mode)


def test_loss_scales_of_both_signs(mode):
    def make(wrap):
        s = Settings(0.0)

        @wrap
        def step(x):
            F.sum(x * 2).backward(loss_scale=s.value)
            return np.signbit(x.grad)
        return None, [put(s, value, lambda: step(var(3))) for value in (0.0, -0.0, 1, True, 1.0)]
    check(make, mode)


def test_a_row_that_is_stored_under_an_equal_key(mode):
    """``a[True]`` is the whole array."""
    def make(wrap):
        a, w = arr(2, 3), hnn.Parameter(arr(3))

        @wrap
        def step():
            row = a[1]
            row += 1
            a[True] = row
            return F.sum(w * 2)
        return a, [step]
    check(make, mode)
