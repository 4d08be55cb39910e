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
