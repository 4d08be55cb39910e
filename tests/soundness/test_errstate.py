"""``numpy.errstate`` inside a traced function: in some calls, around operations, looks, backward or an update."""
import contextlib

import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)
ZERO = np.array([0, 2, 1], "f")
BLOCKS = {None: contextlib.nullcontext, "ignore": lambda: np.errstate(all="ignore"), "raise": lambda: np.errstate(all="raise"),
          "warn": lambda: np.errstate(all="warn", under="ignore")}


class Settings:
    """What the program decides by."""
    action = None


def switching(run, s, actions=(None, "ignore", None, "warn", "raise")):
    """Calls with one after the other of the actions."""
    def call(action):
        def with_action():
            s.action = action
            return run()
        return with_action
    return [call(action) for action in actions]


SHAPES = {
    "all of it": lambda s, x: F.sum(inside(s, lambda: F.log(x) * 2)), "the first": lambda s, x: F.exp(inside(s, lambda: F.log(x))),
    "the last": lambda s, x: inside(s, lambda: F.log(F.log(x) * 0)), "a look": lambda s, x: inside(s, F.log(x).array.tolist),
    "a number": lambda s, x: inside(s, F.sum(F.log(x)).item), "a view": lambda s, x: inside(s, F.log(x).reshape(3, 1).transpose) * 2,
    "nothing": lambda s, x: (F.log(x), inside(s, lambda: None), F.log(x * 0))[::2], "NumPy": lambda s, x: F.log(x) + inside(s, lambda: np.log(ZERO)),
}


def inside(s, fn):
    with BLOCKS[s.action]():
        return fn()


@pytest.mark.parametrize("name", SHAPES)
def test_blocks_around_parts(name, mode):
    def make(wrap):
        s = Settings()
        step = wrap(lambda x: SHAPES[name](s, x))
        return None, switching(lambda: step(ZERO), s)
    check(make, mode)


def test_backward_and_updates(mode):
    def make(wrap):
        lin, s = L.Linear(3, 2), Settings()
        optimizer = optimizers.SGD(0.1).setup(lin)

        @wrap
        def step(x):
            loss = F.sum(F.sqrt(x * F.sum(lin(x[None])) * 0))
            lin.cleargrads()
            with BLOCKS[s.action]():
                loss.backward()
            lin.W.grad = lin.W.grad * 0 + 1
            lin.b.grad = lin.b.grad * 0 + 1
            optimizer.update()
            return loss

        @wrap
        def overflowing():
            lin.cleargrads()
            F.sum(lin(arr(1, 3))).backward()
            lin.W.grad[...] = 3e38
            with BLOCKS[s.action]():
                optimizer.update()
            lin.W.array[...] = 1
        optimizer.lr = 1e3
        return lin, [*switching(lambda: step(var(3).array), s), *switching(overflowing, s)]
    check(make, mode)


def test_a_state_that_is_left_behind(mode):
    def make(wrap):
        s = Settings()

        @wrap
        def step(x):
            y = F.log(x)
            if s.action:
                np.seterr(divide=s.action)
            return y, F.log(x)

        def run():
            before = np.geterr()
            try:
                return step(ZERO)
            finally:
                np.seterr(**before)
        return None, switching(run, s, (None, "ignore", None))
    check(make, mode)


INSIDE = {
    "logarithm": lambda x, a: np.log(x), "quotient": lambda x, a: np.where(x > 0, a / x, 0), "number": lambda x, a: float(np.log(x.sum())),
    "overflow": lambda x, a: np.exp(x * 100), "root": lambda x, a: np.nan_to_num(np.sqrt(x - 1.5)),
    "made": lambda x, a: np.divide(1, x, out=np.zeros_like(x), where=x > 0),
    "own": lambda x, a: changed(np.array(x), 1 / (x + 1)), "store": lambda x, a: changed(a, 1 / x),
}


def changed(a, value):
    a[:2] = value[:2]
    return a


@pytest.mark.parametrize("action", ["ignore", "warn", "raise"])
@pytest.mark.parametrize("name", INSIDE)
def test_blocks_around_numpy(name, action, mode):
    """Where nothing is to be said, a plan need not know of the block; else Python runs."""
    def make(wrap):
        lin, a = L.Linear(3, 3), arr(3)

        @wrap
        def step(x):
            with np.errstate(all=action, under="ignore"):
                y = INSIDE[name](x, a)
            return F.sum(lin(np.zeros((2, 3), "f") + y)), np.exp(x)
        good, huge = np.array([1, 2, 3], "f") / 8, np.array([1, 2e4, 3], "f")
        def quietly(x):
            with np.errstate(all="ignore"):
                return step(x)
        return a, [lambda: step(good), lambda: step(ZERO), lambda: step(huge), lambda: step(-good), lambda: quietly(good), lambda: quietly(ZERO)]
    traces = check(make, mode)
    assert mode != "auto" or name in ("made", "store", "overflow", "root", "own") or traces.total("python_skipped") > 5, traces[0].explain()


def test_blocks_behind_an_update(mode):
    def make(wrap):
        lin = L.Linear(3, 2)
        optimizer, total = optimizers.SGD(0.1).setup(lin), np.zeros(2, "f")

        @wrap
        def step(x):
            loss = F.sum(lin(x))
            lin.cleargrads()
            loss.backward()
            optimizer.update()
            with np.errstate(all="ignore"):
                found = np.log(lin.b.array * 0), np.log(loss.array * 0)
                total[:] = 1 / found[0]
            with np.errstate(divide="ignore"):
                early = 1 / (x[0] * 0)
            return found, early
        return (lin, total), [lambda: step(arr(2, 3)), lambda: step(arr(2, 3) * 1e30)]
    check(make, mode)


def test_a_block_that_is_left_early(mode):
    def make(wrap):
        lin = L.Linear(3, 2)

        @wrap
        def step(x):
            state = np.errstate(divide="raise", under="ignore")
            with state as nothing:
                if float(x[0, 0]) > 1e8:
                    return np.log(x[0] * 0), nothing
                y = np.sqrt(x * x)
            return F.sum(lin(y)), np.log(x[0] * 0)
        x = arr(2, 3)
        return lin, [lambda: step(x), lambda: step(x * 0 + 1e9), lambda: step(x * 0)]
    check(make, mode)
