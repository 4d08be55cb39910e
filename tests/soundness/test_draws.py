"""Random numbers that the program draws itself, between those of the library: the stream is always where eager would have it."""
import numpy as np
import pytest
from worlds import MODES, arr, check

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


def skipped(world, mode, least=8):
    assert world.total("python_skipped") >= (least if mode == "auto" else 0), world[0].explain()


def drawn():
    return np.random.rand(), np.random.randn()


def test_noise_of_the_program_and_of_the_library(mode):
    def make(wrap):
        net = L.Linear(3, 3)
        opt = optimizers.Adam().setup(net)
        table = np.linspace(0, 1, 7).astype("f")

        @wrap
        def f(x):
            t = np.random.randint(0, 7, size=len(x))
            eps = np.random.randn(*x.shape).astype(np.float32)
            a = table[t][:, None]
            y = F.dropout(net(np.sqrt(a) * x + np.sqrt(1 - a) * eps), 0.5)
            late = np.random.uniform(-1, 1, (3,)).astype("f")
            loss = F.mean(F.dropout(y + late, 0.3) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            np.random.rand(2)
            return loss, eps, late

        def seeded():
            np.random.seed(3)
            return f(arr(4, 3))

        def half():
            np.random.randn()          # one number of a pair is kept by the stream
            return f(arr(4, 3))

        def shorter():
            nonlocal table
            table = table[:4]
            try:
                return f(arr(4, 3))
            except IndexError as error:
                return str(error)
            finally:
                table = np.linspace(0, 1, 7).astype("f")
        return [net], [lambda: f(arr(4, 3)), drawn, seeded, half, lambda: f(arr(5, 3)), shorter, drawn]
    skipped(check(make, mode), mode)


def test_an_operation_raises_after_draws(mode):
    def make(wrap):
        emb = L.EmbedID(4, 2)

        @wrap
        def f(ids):
            noise = np.random.normal(0, 1, (2,)).astype("f")
            y = emb(ids) + noise
            return F.dropout(y, 0.5), np.random.rand(2)
        return [emb], [lambda: f(np.array([1, 2])), lambda: f(np.array([1, 7])), drawn, lambda: f(np.array([0, 3])), drawn]
    skipped(check(make, mode), mode)


def test_drawn_numbers_warn(mode):
    def make(wrap):
        scale = np.array([1.0, 2.0])

        @wrap
        def f(x):
            noise = np.random.rand(2) / scale
            return F.exp(x + noise)

        def zero():
            scale[0] = 0
            with np.errstate(divide="ignore"):
                result = f(arr(2, dtype="d"))
            scale[0] = 1
            return result
        return [], [lambda: f(arr(2, dtype="d")), zero, drawn]
    skipped(check(make, mode), mode)


def test_drawn_numbers_decide(mode):
    def make(wrap):
        @wrap
        def f(x):
            if np.random.rand(1)[0] > 0.5:
                return F.exp(x)
            return F.tanh(x) * np.random.rand()
        return [], [lambda: f(arr(3)), drawn]
    check(make, mode)


def test_arguments_of_draws(mode):
    def make(wrap):
        @wrap
        def f(x, n, high):
            return x + np.random.randint(0, high, n), np.random.permutation(n)
        return [], [lambda: f(hnn.Variable(arr(3)), 3, 5), lambda: f(hnn.Variable(arr(3)), 3, 50),
                    lambda: f(hnn.Variable(arr(3)), 3, np.array([1, 2, 3])), drawn]
    check(make, mode)


def test_other_streams(mode):
    def make(wrap):
        own, new = np.random.RandomState(3), np.random.default_rng(4)
        f = wrap(lambda x: F.relu(x) * own.rand(3) + new.random(3))
        return [], [lambda: f(arr(3)), lambda: (own.rand(), new.random(), f(arr(3)))]
    check(make, mode)


def test_draws_are_replaced(mode, monkeypatch):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) + np.random.rand(3).astype("f"))

        def other():
            with monkeypatch.context() as m:
                m.setattr(np.random, "rand", lambda n: np.zeros(n))
                return f(arr(3))
        return [], [lambda: f(arr(3)), other, drawn]
    skipped(check(make, mode), mode, 3)


def test_draws_are_checked(mode):
    np.random.seed(5)
    f = hnn.trace(lambda x: F.dropout(F.exp(x) + np.random.rand(3).astype("f"), 0.5), mode=mode, check=1.0)
    traced = [f(arr(3)).array for _ in range(12)]
    np.random.seed(5)
    for y in traced:
        np.testing.assert_allclose(y, f.__wrapped__(arr(3)).array, rtol=1e-5)
