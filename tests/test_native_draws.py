"""Uniform and normal numbers by native code are NumPy's, and leave its stream where NumPy would."""

import random
import re
import types

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.jit import draws
from hybridnn.trace.positions import put_stream_at, stream_at


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
    assert draws._agrees() and draws._agrees_on_normals()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert state() == after


MANY = np.empty(draws.FEW)
DRAWS = [("randn", (draws.FEW,)), ("randn", (3, 1001)), ("standard_normal", (5003,)), ("standard_normal", ((40, 50),)), ("normal", (0.5, 2, (60, 70))),
         ("normal", (-3, 0.1, 1001)), ("normal", (0, 1, [30, 40])), ("normal", (np.float32(0.5), 2.0, 2000)), ("normal", (0.0, 0.0, 2000)), ("randn", (0, 7)),
         ("uniform", (-0.3, 0.2, (50, 60))), ("uniform", (3, 5, 1248)), ("uniform", (0.2, -0.3, 2000)), ("random", ((3, 700),)), ("random_sample", (5003,)),
         ("standard_normal", (np.int64(2000),)), ("normal", ())]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("words, normals", [(0, 0), (1, 1), (623, 2), (624, 3)])
@pytest.mark.parametrize("name, args", DRAWS)
def test_what_is_drawn_faster_is_numpys(name, args, words, normals, own):
    stream = np.random.RandomState(np.random.MT19937(7)) if own else np.random
    stands_at(words)
    stream.randint(0, 2**32, words, dtype=np.uint32)
    stream.normal(size=normals)
    before, draw = stream.get_state(), getattr(stream, name)
    expected, after = draw(*args), stream.get_state()
    stream.set_state(before)
    assert draws.faster(draw, MANY) is not draw
    got, found = draws.faster(draw, MANY)(*args), stream.get_state()
    assert type(got) is type(expected)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(found[1], after[1])
    assert found[2:] == after[2:]


@pytest.mark.parametrize("args", [(-1,), ((3, -1),), ("a",), (2.5,)])
def test_a_shape_that_is_none_is_refused_as_numpy_refuses_it(args):
    with pytest.raises((TypeError, ValueError)) as numpys:
        np.random.standard_normal(*args)
    with pytest.raises(numpys.type, match=re.escape(str(numpys.value))):
        draws.standard_normal(*args)


@pytest.mark.parametrize("fn", [np.random.randint, np.random.default_rng(3).normal, random.random, len, random.Random(3).gauss,
                                types.MethodType(lambda stream, n: n, np.random.RandomState(3))])
def test_other_functions_stay(fn):
    assert draws.faster(fn, MANY) is fn


def test_few_numbers_are_numpys():
    assert draws.faster(np.random.randn, MANY[1:]) == np.random.randn


def test_numpy_draws_where_its_numbers_are_made_otherwise(monkeypatch):
    monkeypatch.setattr(draws, "_agrees_on_normals", lambda: False)
    np.random.seed(3)
    expected = np.random.randn(3000)
    np.random.seed(3)
    monkeypatch.setattr(draws, "_fill_normal", None)
    np.testing.assert_array_equal(draws.faster(np.random.randn, MANY)(3000), expected)


@pytest.mark.parametrize("draw", [
    lambda: np.random.randn(30, 40), lambda: np.random.normal(1, 2, (30, 40)), lambda: np.random.standard_normal((30, 40)),
    lambda: np.random.uniform(0, 3, (30, 40)),
])
def test_noise_of_traced_calls_is_that_of_eager(draw):
    def noisy(x):
        return F.gaussian(x, x * 0) + draw().astype("f")

    traced, x = hnn.trace(noisy), np.ones((30, 40), "f")
    for seed in range(8):
        np.random.seed(seed)
        np.random.randn(seed % 2)
        start = np.random.get_state()
        expected, after = noisy(x).array, state()
        np.random.set_state(start)
        np.testing.assert_allclose(traced(x).array, expected, 1e-6, 1e-6)
        assert state() == after
    assert traced.stats.python_skipped


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


def some_of(stream):
    return [*stream.rand(700), *stream.choice(5, 3, p=np.full(5, 0.2)), *stream.permutation(9), *stream.normal(size=3), *stream.beta(0.5, 2, 3), stream.randn(),
            *stream.gamma(2.5, size=3), *stream.binomial(40, 0.4, 3), *stream.poisson(20, 3)]


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("normals", [0, 1, 2])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("words", [0, 1, 623, 624, 1247])
def test_a_stream_goes_back_to_where_it_stood(own, words, normals, readable, monkeypatch):
    assert draws._kept_normal()
    if not readable:
        monkeypatch.setattr(draws, "_kept_normal", lambda: None)
    stands_at(words)
    stream = np.random.RandomState(3) if own else np.random
    stream.randint(0, 2**32, words, dtype=np.uint32)
    stream.normal(size=normals)
    (_, _, *before), found = stream.get_state(), stream_at(stream)
    assert (type(found) is tuple) is readable
    first = some_of(stream)
    put_stream_at(stream, found)
    assert stream.get_state()[2:] == (*before,)
    assert some_of(stream) == first


@pytest.mark.parametrize("stream", [
    np.random.RandomState(np.random.PCG64(3)), np.random.Generator(np.random.PCG64(3)), np.random.Generator(np.random.MT19937(3)),
], ids=["PCG64", "new", "new MT19937"])
def test_other_sources_of_numbers_are_asked(stream):
    found = stream_at(stream)
    assert type(found) is dict
    first = stream.uniform(size=5), stream.normal(size=3)
    put_stream_at(stream, found)
    for a, b in zip(first, (stream.uniform(size=5), stream.normal(size=3)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_call_that_draws_normal_numbers_goes_back():
    """What the second draw leads to is another path: the numbers of both are drawn again."""
    def step(x):
        noise = x.array + np.random.normal(0, 1, 3)
        return noise if np.random.randn() > 0.3 else noise * F.exp(x).array
    traced, x = hnn.trace(step), hnn.Variable(np.ones(3, "f"))
    with hnn.using_config("trace_compile", "sync"):
        for seed in range(40):
            np.random.seed(seed)
            np.random.randn(seed % 2)
            start = np.random.get_state()
            expected, after = step(x), state()
            np.random.set_state(start)
            np.testing.assert_allclose(traced(x), expected, 1e-6)
            assert state() == after
    assert traced.stats.python_skipped > 20


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
    assert (type(found[0]) is bytes) is readable
    first = [stream.random(), stream.gauss(0, 1), *stream.sample(range(700), 650)]
    put_stream_at(stream, found)
    assert stream.getstate() == state
    assert first == [stream.random(), stream.gauss(0, 1), *stream.sample(range(700), 650)]
