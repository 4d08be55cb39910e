"""An interrupt may come between any two instructions: what it leaves of the library's own state is nothing, and the next call is right."""
import inspect
import os
import sys

import numpy as np
import pytest
from worlds import MODES, arr

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.config import state
from hybridnn.trace.floats import under

PACKAGE = os.path.dirname(hnn.__file__)
LABELS = np.array([0, 1, 2, 1], "i")


class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.a, self.norm, self.b = L.Linear(4, 6, nobias=True), L.BatchNormalization(6), L.Linear(6, 3)

    def forward(self, x):
        return self.b(F.dropout(F.relu(self.norm(self.a(x))), 0.3))


def training(wrap):
    """A model, what resets it, and a step with a gradient penalty."""
    np.random.seed(0)
    net = Net()
    optimizer = hnn.optimizers.MomentumSGD(0.01).setup(net)
    optimizer.add_hook(hnn.optimizer_hooks.WeightDecay(0.01))

    @wrap
    def step(x, t):
        y = net(x)
        g, = hnn.grad([F.sum(y * y)], [net.a.W], enable_double_backprop=True)
        loss = F.softmax_cross_entropy(y, t) + F.sum(g * g) * 0.01
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss, float(net.norm.avg_mean.sum())

    def reset():
        np.random.seed(1)
        net.norm.avg_mean, net.norm.avg_var, net.norm.N, optimizer.t = np.zeros(6, "f"), np.ones(6, "f"), 0, 1
        for p in net.params():
            p.array, p.grad, p.update_rule.t = np.random.normal(size=p.shape).astype("f"), None, 1
            p.update_rule.state["v"] = np.zeros_like(p.array)
    return net, reset, step


def struck(fn, number, events, names):
    """Run ``fn`` with an interrupt at an event of that number; whether there is one."""
    seen = 0

    def strike(frame, event, arg):
        nonlocal seen
        code = frame.f_code
        if code.co_flags & inspect.CO_GENERATOR:       # what is raised while one is closed is lost, traced or not
            return
        if event in events and arg is not sys.setprofile and code.co_filename.startswith(PACKAGE) and (not names or code.co_name in names):
            seen += 1
            if seen == number:
                raise KeyboardInterrupt
    before = sys.getprofile()
    try:
        sys.setprofile(strike)
        fn()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


@pytest.mark.parametrize("mode", ["eager", *MODES])
@pytest.mark.parametrize("events, names, stride", [(("call", "return"), ("__enter__", "__exit__"), 1), (("call",), (), 53), (("c_return",), (), 61)])
def test_interrupts(mode, events, names, stride):
    x = arr(4, 4)
    net, reset, step = training(lambda fn: hnn.trace(fn, mode=mode))
    expected, reset_expected, plain = training(lambda fn: fn)
    for _ in range(5):
        step(x, LABELS)
        plain(x, LABELS)
    number = 1
    while True:
        reset()
        if not struck(lambda: step(x, LABELS), number, events, names):
            break
        number += stride
        assert (state.tracer, state.updating, state.hooks, state.backprop, state.config_reads) == (None, False, None, None, None)
        assert not hnn.config.overrides() and sys.gettrace() is None
        reset()
        loss, mean = step(x, LABELS)
        reset_expected()
        other, other_mean = plain(x, LABELS)
        np.testing.assert_allclose(loss.array, other.array, rtol=1e-4)
        assert mean == pytest.approx(other_mean, rel=1e-4)
        for p, q in zip(net.params(), expected.params(), strict=True):
            np.testing.assert_allclose(p.array, q.array, rtol=1e-4, atol=1e-5)
    assert number > 1 or names


@pytest.mark.parametrize("mode", MODES)
def test_interrupted_where_numpy_restores_its_state(mode, monkeypatch):
    """``errstate`` ends with an interrupt before it has put anything back."""
    class Struck(np.errstate):
        def __exit__(self, *exc):
            raise KeyboardInterrupt
    before = np.geterr()
    monkeypatch.setattr(np, "errstate", Struck)
    with pytest.raises(KeyboardInterrupt):
        under({"all": "raise"}, np.add, 1, 2)
    assert np.geterr() == before
