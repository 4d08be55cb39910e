"""``check=p``: replays that are also run eagerly give eager's results, and raise ``TraceMismatch`` where the two differ; natively compiled."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers
from hybridnn.core.op import OPS
from hybridnn.errors import TraceMismatch

NATIVE = True
pytestmark = pytest.mark.parametrize("mode", MODES)


def hot(f, *args):
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(8):
            y = f(*args)
    return y


def test_training_step(mode):
    """Statistics, draws, counters, gradients and attributes change once per call."""
    def make(wrap):
        class Net(hnn.Chain):
            def __init__(self):
                super().__init__()
                self.last = None
                with self.init_scope():
                    self.a, self.n, self.b = L.Linear(3, 4, nobias=True), L.BatchNormalization(4), L.Linear(4, 2)      # a bias there has rounding for gradient

            def forward(self, x):
                self.last = F.dropout(F.relu(self.n(self.a(x))), 0.25)
                return self.b(self.last)
        net, n = Net(), iter(range(1000))
        opt = optimizers.Adam().setup(net)

        @wrap
        def step(x):
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, {"loss": loss, "h": [net.last]}
        return [net, opt], [lambda: step(arr(5, 3, seed=next(n)))]
    wrap = check(make, mode, check=1.0, held=True)
    assert wrap.total("hits") >= 5 and wrap.total("python_skipped") == 0


def test_side_effects_happen_once(mode):
    def make(wrap):
        x, w, log = var(3), var(3, seed=1), []

        @wrap
        def f(x):
            y = F.exp(x) * w
            if F.sum(y) > 0:
                print("positive")
                log.append(y)
            F.sum(y * y).backward()
            return y, np.random.rand()
        return [x, w, log], [lambda: (log.clear(), x.cleargrad(), f(x))[2], lambda: (log.clear(), f(x))[1]]
    check(make, mode, check=1.0)


def test_some_calls_are_checked(mode):
    f, x = hnn.trace(lambda x: F.tanh(x) * 2, mode=mode, check=0.5), var(3, 4)
    for _ in range(60):
        np.testing.assert_allclose(hot(f, x).array, np.tanh(x.array) * 2, rtol=1e-5)
    assert f.stats.hits > 50 and (50 < f.stats.python_skipped < 430 if mode == "auto" else f.stats.python_skipped == 0)


def test_first_operation_that_differs_is_named(mode, monkeypatch):
    """As if the kernel of tanh were wrong."""
    def fn(x):
        y = F.exp(x) * 2
        y = F.tanh(y)
        return F.sum(y * y + 1)
    f, x = hnn.trace(fn, mode=mode, check=1.0), var(3, 4)
    hot(f, x)
    op = OPS["tanh"]
    monkeypatch.setattr(op, "fast", None)
    monkeypatch.setattr(op, "forward", lambda xp, x: xp.tanh(x) * xp.float32(1.01))
    line = fn.__code__.co_firstlineno + 2
    with pytest.raises(TraceMismatch, match=rf"'tanh'(.|\n)*test_check.py:{line} in fn"):
        f(x)
    monkeypatch.undo()
    np.testing.assert_allclose(f(x).array, fn(x).array, rtol=1e-5)


def test_wrong_update_is_found_and_eager_has_the_last_word(mode, monkeypatch):
    link, x = L.Linear(3, 2), arr(4, 3)
    opt = optimizers.SGD(0.1).setup(link)

    @hnn.trace(mode=mode, check=1.0)
    def step(x):
        link.cleargrads()
        F.sum(link(x) ** 2).backward()
        opt.update()
    hot(step, x)
    op, forward = OPS["update_sgd"], OPS["update_sgd"].forward
    monkeypatch.setattr(op, "forward", lambda xp, p, g, lr, wide: forward(xp, p, g, lr * 2, wide=wide))
    monkeypatch.setattr(op, "run_inplace", None)      # eager stores what forward gives
    before = link.W.array.copy()
    with pytest.raises(TraceMismatch, match="'update_sgd'"):
        step(x)
    link.cleargrads()
    now, bias = link.W.array.copy(), link.b.array.copy()
    step.__wrapped__(x)
    assert not np.allclose(now, before) and not np.allclose(bias, link.b.array) and opt.t == 10


def test_a_broken_promise_of_pure(mode):
    table = {"scale": 2.0}
    view = types.MappingProxyType(table)

    def fn(x):
        y = F.exp(x)
        y = y * view["scale"]
        return F.tanh(y)
    f, x = hnn.trace(fn, mode="pure", check=1.0), var(3)
    hot(f, x)
    assert np.allclose(f(x).array, fn(x).array)
    table["scale"] = 3.0
    line = fn.__code__.co_firstlineno + 2
    with pytest.raises(TraceMismatch, match=rf"'mul'(.|\n)*test_check.py:{line} in fn"):
        f(x)
    table["scale"] = 2.0
    np.testing.assert_allclose(f(x).array, fn(x).array, rtol=1e-5)


def test_another_path_behind_a_promise_of_pure(mode):
    flag = {"other": False}
    view = types.MappingProxyType(flag)

    def fn(x):
        y = F.exp(x)
        return F.tanh(y) if view["other"] else F.sigmoid(y)
    f, x = hnn.trace(fn, mode="pure", check=1.0), var(3)
    hot(f, x)
    flag["other"] = True
    with pytest.raises(TraceMismatch, match=r"'tanh'(.|\n)*test_check.py:\d+ in fn"):
        f(x)


def test_update_in_another_dtype(mode):
    """A learning rate that is a NumPy scalar of float64: the result is cast to the parameter's dtype, and native code never writes past its end."""
    def make(wrap):
        link, x = L.Linear(3, 2), arr(4, 3)
        opt = optimizers.MomentumSGD(0.1).setup(link)

        @wrap
        def step(x):
            link.cleargrads()
            F.sum(link(x) ** 2).backward()
            opt.update()

        def call(rate):
            opt.lr = rate
            step(x)
        return [link, opt], [lambda: call(0.01), lambda: call(np.float64(0.02)), lambda: call(np.float32(0.01)), lambda: call(1)]
    check(make, mode, steps=[0, 0, 0, *[1] * 8, 0, *[2] * 6, 1, 3, 0], tolerance=100)


def test_places_of_all_kinds_are_taken_back(mode):
    """Between the replay and the eager run, slots, and attributes of classes that have a say in assignments from outside."""
    class Slots:
        __slots__ = ("n", "new")

        def __init__(self):
            self.n = 0

    class Picky:
        def __init__(self):
            self.n = 0

        def __delattr__(self, name):
            raise AttributeError(name)

    def make(wrap):
        slots, picky, x = Slots(), Picky(), var(3)

        @wrap
        def f(x):
            slots.n += 1
            slots.new = slots.n * 2
            picky.n += 1
            picky.new = slots.n
            return F.tanh(x) * slots.n

        def forget():
            del slots.new, vars(picky)["new"]
            return f(x), slots.n, slots.new
        return [x, picky], [lambda: (f(x), slots.n, slots.new), forget]
    check(make, mode, check=1.0)


@pytest.mark.parametrize("array", [lambda W: np.tanh(W.array), lambda W: W.array * np.float32(0.5), lambda W: np.random.rand(2, 3).astype("f")])
def test_updated_arrays_that_the_call_makes(mode, array):
    """There is nothing to take back in an array that is assigned to a parameter in the call itself: only the parameter gets its old one."""
    def make(wrap):
        link = L.Linear(3, 2, initialW=0.25)
        opt = optimizers.SGD(0.1).setup(link)

        @wrap
        def step(x):
            link.W.array = array(link.W)
            loss = F.mean(link(x) ** 2)
            link.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [link, opt], [lambda: step(arr(4, 3)), lambda: step(arr(4, 3, seed=1))]
    check(make, mode, check=1.0)


@pytest.mark.parametrize("place", [0, -1, 2])
def test_lists_that_have_become_shorter(mode, place):
    """A list of which a plan assigns a member that is not there any more: Python raises, at the program's line."""
    def make(wrap):
        kept = [1.0, 2.0, 3.0]

        @wrap
        def f(x):
            kept[place] = F.sum(x).item()
            return kept[place] * 2

        def emptied():
            kept.clear()
            try:
                return f(arr(3))
            finally:
                kept.extend([1.0, 2.0, 3.0])
        return [kept], [lambda: f(arr(3)), lambda: f(arr(3, seed=1)), emptied]
    check(make, mode, steps=[0, 1] * 4 + [2, 0, 1, 2, 0], check=1.0)
