"""What a program has read from a place stays what it was when it assigns something else there, and then writes the old value into an array."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_places(mode):
    """Attributes, members, variables of enclosing functions: arrays and numbers."""
    def make(wrap):
        state = types.SimpleNamespace(a=arr(3), d={"a": arr(3, seed=1)}, members=[arr(3, seed=2), 2.0], n=1.0)
        buffer, cell, number = np.zeros(3, "f"), arr(3, seed=3), 1.5

        @wrap
        def f(x):
            nonlocal cell, number
            y = F.exp(x).array
            a, b, c, d = state.a, state.d["a"], state.members[0], cell
            m, n, k = state.n, state.members[1], number
            state.a, state.d["a"], state.members[0], cell = y, x, y * 2, x + y
            state.n, state.members[1], number = m * 0.9 + 0.1, n + 1, float(y[0])
            buffer[...] = buffer * 0.5 + a + b - c * d
            buffer[0] = m + n
            buffer[1] += k
            return buffer.copy(), a, m, n, k

        def other():
            state.n, state.a = 3.0, arr(3, seed=5)
            return f(arr(3, seed=6))
        return [state, buffer], [lambda: f(arr(3)), other, lambda: f(arr(3, seed=7))]
    skipped(check(make, mode), mode)


def test_parameters(mode):
    def make(wrap):
        p, buffer = hnn.Parameter(arr(3)), np.zeros(3, "f")

        @wrap
        def f(x):
            old, y = p.array, F.sum(p * x)
            p.array = old * np.float32(0.9)
            buffer[...] = buffer * 0.5 + old
            return y, buffer.copy()
        return [p, buffer], [lambda: f(arr(3)), lambda: f(arr(3, seed=1))]
    skipped(check(make, mode), mode)


def test_weights_of_the_step_before(mode):
    """A step that keeps a copy of the weights, and averages how they have changed since the last one."""
    def make(wrap):
        net = L.Linear(3, 2, initialW=arr(2, 3))
        optimizer = optimizers.SGD(0.1).setup(net)
        state = types.SimpleNamespace(weights=net.W.array.copy(), moved=np.zeros((2, 3), "f"), rate=0.5)

        @wrap
        def step(x):
            before, rate = state.weights, state.rate
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            optimizer.update()
            state.weights, state.rate = net.W.array.copy(), rate * 0.9
            state.moved[...] = state.moved * 0.9 + (before - net.W.array) * rate
            return loss, state.moved.sum(), float(np.abs(before - state.weights).sum())
        return [net, state], [lambda: step(arr(4, 3)), lambda: step(arr(2, 3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("check_", [0.0, 1.0])
def test_variable_with_a_gradient(mode, check_):
    """Of a Variable that the call replaces, also where replays are checked."""
    def make(wrap):
        state = types.SimpleNamespace(v=None, n=1.0)

        @wrap
        def f(x):
            loss = F.sum(state.v * x * state.v)
            state.v.cleargrad()
            loss.backward()
            old, state.v = state.v, F.exp(state.v)
            state.n = state.n * 0.5
            return loss, old.grad, state.n

        def begin(seed):
            state.v = hnn.Variable(arr(3, seed=seed))
            return f(arr(3))
        return [state], [lambda: begin(1), lambda: begin(2)]
    check(make, mode, check=check_)


def test_length_of_a_list(mode):
    def make(wrap):
        history, counts = [], []

        @wrap
        def f(x):
            n = len(history)
            history.append(float(F.sum(x).array))
            counts.append(n * 0.5)
            return n, len(history)

        def emptied():
            history.clear()
            return f(arr(3))
        return [history, counts], [lambda: f(arr(3)), emptied]
    skipped(check(make, mode), mode)
