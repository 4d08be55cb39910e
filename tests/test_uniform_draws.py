"""Uniform numbers by native code are NumPy's, and leave its stream where NumPy would."""

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.jit import draws


def stands_at(words):
    """NumPy's stream, so many words of 32 bits after a seed."""
    np.random.seed(7)
    np.random.randint(0, 2**32, words, dtype=np.uint32)


def state():
    name, words, *rest = np.random.get_state()
    return name, words.tolist(), *rest


@pytest.mark.parametrize("words", [0, 1, 17, 622, 623, 624, 625, 1247])
@pytest.mark.parametrize("shape", [(draws.FEW,), (40, 50, 1), (1248,), (5003,)])
def test_the_numbers_and_the_state_afterwards_are_numpys(words, shape):
    stands_at(words)
    expected, after = np.random.rand(*shape), state()
    stands_at(words)
    got = draws.rand(*shape)
    assert draws._agrees()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert state() == after


def test_a_normal_number_that_is_kept_stays():
    np.random.seed(1)
    np.random.randn(1)
    draws.rand(3000)
    got = np.random.randn(2)
    np.random.seed(1)
    np.random.randn(1)
    np.random.rand(3000)
    np.testing.assert_array_equal(got, np.random.randn(2))


def test_another_generator_is_left_to_numpy():
    kept = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        got = draws.rand(2000)
        np.random.set_bit_generator(np.random.PCG64(3))
        np.testing.assert_array_equal(got, np.random.rand(2000))
    finally:
        np.random.set_bit_generator(kept)


def test_a_function_in_the_place_of_numpys_is_called(monkeypatch):
    monkeypatch.setattr(np.random, "rand", lambda *shape: np.full(shape, 0.25))
    assert (draws.rand(50, 60) == 0.25).all()


def test_masks_of_traced_dropout_are_those_of_eager():
    def noisy(x):
        return F.dropout(x, 0.3) + F.dropout(x, 0.6)

    traced, x = hnn.trace(noisy), np.ones((40, 50), "f")
    for seed in range(8):
        np.random.seed(seed)
        expected, after = noisy(x).array, state()
        np.random.seed(seed)
        np.testing.assert_array_equal(traced(x).array, expected)
        assert state() == after
    assert traced.stats.python_skipped
