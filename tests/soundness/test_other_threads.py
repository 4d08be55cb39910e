"""Other threads go on from what a call has computed, while that call runs: for them, too, its Variables have a graph."""
import threading
import time

import numpy as np
import pytest
from worlds import MODES, arr, check

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.trace import backward, running
from hybridnn.trace.operands import same_bytes
from hybridnn.trace.values import Values

pytestmark = pytest.mark.parametrize("mode", MODES)


def elsewhere(fn, *args):
    """What another thread gets from ``fn``."""
    results = []
    thread = threading.Thread(target=lambda: results.append(fn(*args)))
    thread.start()
    thread.join()
    return results[0]


class Tanh(hnn.FunctionNode):
    def forward(self, inputs):
        self.retain_outputs((0,))
        return F.tanh(inputs[0]).array,

    def backward(self, indexes, gs):
        y, = self.get_retained_outputs()
        return gs[0] * (1 - y * y),


def through_backward(net, y):
    net.cleargrads()
    elsewhere(F.sum(y * y).backward)


def through_backward_of_what_is_set(net, y):
    net.cleargrads()
    y.grad = arr(*y.shape)
    elsewhere(y.backward)


def through_grad(net, y):
    net.W.grad, net.b.grad = [g.array for g in elsewhere(hnn.grad, [F.sum(y * y)], [net.W, net.b])]


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("way", [through_backward, through_backward_of_what_is_set, through_grad])
def test_gradients_come_from_another_thread(mode, way, looked):
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))

        @wrap
        def f(x):
            y = net(x)
            first = float(y.array[0, 0]) if looked else None
            way(net, y)
            return y, first, net.W.grad
        return [net], [lambda: f(arr(2, 4)), lambda: f(arr(5, 4))]
    check(make, mode)


@pytest.mark.parametrize("operate", [lambda y: sum(F.split_axis(F.tanh(y), 3, axis=1)), lambda y: Tanh().apply((y,))[0]], ids=["operations", "function"])
@pytest.mark.parametrize("looked", [False, True])
def test_operations_of_another_thread(mode, operate, looked):
    """Somebody goes back through them after the call."""
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))

        @wrap
        def f(x):
            y = net(x)
            first = float(y.array[0, 0]) if looked else None
            return elsewhere(operate, y), first

        def call():
            net.cleargrads()
            z, first = f(arr(2, 4))
            F.sum(z).backward()
            return z, first, net.W.grad
        return [net], [call]
    check(make, mode)


@pytest.mark.parametrize("inner", ["auto", "verify", "eager"])
def test_another_thread_updates(mode, inner):
    """What is pending comes from the values before."""
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))
        opt = hnn.optimizers.SGD(0.1).setup(net)
        x = arr(2, 4)

        def step():
            net.cleargrads()
            loss = F.sum(net(x) ** 2)
            loss.backward()
            opt.update()
            return loss
        traced_step = wrap(step, mode=inner)

        @wrap
        def f():
            y = net(x)
            loss = elsewhere(traced_step)
            return y, loss, net(x)
        return [net, opt], [traced_step, f]
    check(make, mode)


def test_another_thread_updates_while_backward_begins(mode, monkeypatch):
    """It has the values kept that are pending here, of which some are just being looked at."""
    net, opt = L.Linear(4, 3, initialW=arr(3, 4)), hnn.optimizers.SGD(0.1)
    opt.setup(net)
    for p in net.params():
        p.grad = np.zeros_like(p.array)

    @hnn.trace(mode=mode)
    def f(x):
        y = F.tanh(x * 2)
        y.array
        loss = F.sum(net(y) ** 2)
        v = hnn.Variable(y.array)
        z = F.sum(v * v * 2)
        z.backward()
        return loss, v.grad
    expected = f(arr(2, 4))
    looks = []

    def look(a, b):
        if not looks:
            looks.append(True)
            elsewhere(opt.update)
        return same_bytes(a, b)
    for _ in range(4):
        f(arr(2, 4))
    monkeypatch.setattr(backward, "same_bytes", look)
    for _ in range(4):
        looks.clear()
        got = f(arr(2, 4))
        np.testing.assert_allclose(got[0].array, expected[0].array, 1e-6)
        np.testing.assert_allclose(got[1], expected[1], 1e-6)
    assert looks or mode == "auto"


def test_another_thread_looks_while_an_update_is_computed(mode, monkeypatch):
    """The call waits until that thread has a parameter's array copied: the copy, with what the array held before, was written back over the update."""
    main, reached = threading.current_thread(), threading.Event()

    def in_two_steps(self, vid, a):
        copied = a.copy()
        self.snapshots[vid] = (a, copied)
        if threading.current_thread() is not main:
            reached.set()
            time.sleep(0.1)
        self.values[vid] = copied
    monkeypatch.setattr(Values, "snapshot", in_two_steps)

    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))
        opt = hnn.optimizers.MomentumSGD(0.1).setup(net)

        @wrap
        def f(x):
            net.cleargrads()
            loss = F.sum(net(x) ** 2)
            loss.backward()
            reached.clear()
            thread = threading.Thread(target=lambda: net.W.array)
            thread.start()
            reached.wait(0.05)
            opt.update()
            thread.join()
            return loss
        return [net, opt], [lambda: f(arr(2, 4))]
    check(make, mode)


@pytest.mark.parametrize("others", [0, 1])
def test_another_thread_clears_what_is_running(mode, others):
    """The call ends as any other; what it ran is not asked again."""
    f = hnn.trace(lambda x, k: F.tanh(x) * k, mode=mode)
    for n in range(1, 2 + others):
        for _ in range(8):
            f(arr(n, 4), 2)
    for plan in f._memory.plans[::-1]:
        f.clear()
        assert running._skipped(f._memory, plan, 5) == 5 and not f._memory.plans
    np.testing.assert_allclose(f(arr(3, 4), 2).array, np.tanh(arr(3, 4)) * 2, 1e-6)
