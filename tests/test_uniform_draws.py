"""Uniform numbers by native code are NumPy's, and leave its stream where NumPy would."""

import random

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.jit import draws
from hybridnn.trace.positions import is_plain, put_stream_at, stream_at


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


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("words", [0, 1, 623, 624, 1247])
def test_a_stream_goes_back_to_where_it_stood(own, words):
    stands_at(words)
    stream = np.random.RandomState(3) if own else np.random
    stream.randint(0, 2**32, words, dtype=np.uint32)
    before, found = stream.get_state()[2], draws.position(stream)
    first = stream.rand(700), stream.choice(5, 3, p=np.full(5, 0.2)), stream.permutation(9)
    draws.go_back(found)
    assert stream.get_state()[2] == before
    again = stream.rand(700), stream.choice(5, 3, p=np.full(5, 0.2)), stream.permutation(9)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_sources_of_numbers_have_no_position():
    assert draws.position(np.random.RandomState(np.random.PCG64(3))) is None
    assert draws._goes_back()
    stream = np.random.RandomState(np.random.PCG64(3))
    found = stream_at(stream)
    first = stream.rand(5)
    put_stream_at(stream, found)
    np.testing.assert_array_equal(first, stream.rand(5))


@pytest.mark.parametrize("name", ["beta", "choice", "chisquare", "exponential", "gamma", "gumbel", "laplace", "logistic", "lognormal", "normal", "permutation",
                                  "rand", "randint", "randn", "random", "random_sample", "standard_normal", "uniform"])
def test_plain_draws_change_the_words_alone(name):
    """Those of normal numbers keep every second one."""
    stream = np.random.RandomState(0)
    args = {"choice": (5,), "permutation": (5,), "randint": (5,), "beta": (0.5, 2), "chisquare": (3,), "gamma": (2.5,)}.get(name, ())
    kept = set()
    for _ in range(20):
        getattr(stream, name)(*args)
        kept.add(stream.get_state()[3])
    assert kept == {0} or not is_plain(stream, [name])


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("before", [0, 100, 623, 624])
def test_a_generator_of_pythons_goes_back_to_where_it_stood(monkeypatch, before, readable):
    """Its words lie behind the head of the object; where they do not, Python tells its state."""
    assert draws._python_goes_back()
    if not readable:
        monkeypatch.setattr(draws, "_python_goes_back", lambda: False)
    stream = random.Random(7)
    stream.gauss(0, 1)
    for _ in range(before):
        stream.getrandbits(32)
    state, found = stream.getstate(), stream_at(stream)
    assert (type(found[0]) is bytes) is readable and is_plain(stream, [stream.gauss, stream.sample])
    first = [stream.random(), stream.gauss(0, 1), *stream.sample(range(700), 650)]
    put_stream_at(stream, found)
    assert stream.getstate() == state
    assert first == [stream.random(), stream.gauss(0, 1), *stream.sample(range(700), 650)]
