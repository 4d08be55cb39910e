"""Gradients: several forwards before a backward, retained and accumulated gradients, higher orders, the user's own functions."""
import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def cleared(*variables):
    for v in variables:
        v.cleargrad()


def test_backward_outside(mode):
    def make(wrap):
        x, w = var(3, 4), var(4, 2)
        f = wrap(lambda x: F.sum(F.tanh(F.matmul(x, w)) * 2))

        def call():
            cleared(x, w)
            y = f(x)
            y.backward()
            return y
        return [x, w], [call, lambda: (f(x).backward(), x.grad)[1]]
    check(make, mode)


def test_several_forwards_interleaved(mode):
    def make(wrap):
        link, n = L.Linear(3, 2), iter(range(1000))
        f = wrap(lambda x: F.sum(F.sigmoid(link(x)) ** 2))

        def call():
            link.cleargrads()
            xs = [var(4, 3, seed=next(n)) for _ in range(3)]
            ys = [f(x) for x in xs]
            ys[1].backward()
            z = f(xs[0])
            (ys[0] + ys[2] * z).backward()
            return ys, xs, z
        return [link], [call]
    check(make, mode)


def test_unused_outputs_and_none(mode):
    def make(wrap):
        x, unused, w = var(3), var(3, seed=1), var(3, seed=2)

        @wrap
        def f(x):
            return F.exp(x), F.sum(x * w), x * 1

        def call():
            cleared(x, unused, w)
            a, b, c = f(x)
            b.backward()
            return a, b, c, unused.grad
        return [x, w, unused], [call]
    check(make, mode)


def test_backward_inside(mode):
    def make(wrap):
        x, w, free = var(3), var(3, seed=1), var(3, seed=2)

        @wrap
        def f(x):
            y = F.sum(F.exp(x) * w)
            y.backward()
            return y, x.grad, free.grad
        return [x, w, free], [lambda: (cleared(x, w), f(x))[1], lambda: f(x)]
    check(make, mode, held=True)


def test_gradient_arrays_keep_their_identity(mode):
    def make(wrap):
        link, x = L.Linear(3, 2), arr(4, 3)
        before = [None]

        @wrap
        def f(x):
            F.sum(link(x) ** 2).backward()

        def clear():
            link.cleargrads()
            f(x)
            before[0] = link.W.grad

        def accumulate():
            before[0] = link.W.grad
            f(x)
            return link.W.grad is before[0], before[0]

        def zero():
            link.zerograds()
            before[0] = link.W.grad
            f(x)
            return link.W.grad is before[0], before[0]
        return [link], [clear, accumulate, zero]
    check(make, mode, held=True)


def test_retain_grad(mode):
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            h = F.exp(x)
            k = h * 2
            y = F.sum(k * k)
            y.backward(retain_grad=True)
            return h, k, y, h.grad, k.grad

        @wrap
        def g(x):
            h = F.exp(x)
            return h, F.sum(h * h)

        def outside():
            h, y = g(x)
            y.backward(retain_grad=True)
            return h, h.grad
        return [x], [lambda: (cleared(x), f(x))[1], lambda: (cleared(x), outside())[1]]
    check(make, mode)


def test_partial_and_repeated_backward_outside(mode):
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            h = F.exp(x)
            return h, F.sum(h * 2), F.sum(h * h)

        def call():
            cleared(x)
            h, a, b = f(x)
            a.backward()
            first = x.grad.copy()
            b.backward()
            b.backward()
            return first, a, b
        return [x], [call]
    check(make, mode)


def test_two_backwards_inside(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x):
            h = F.exp(x * w)
            F.sum(h * 2).backward()
            F.sum(h * h).backward()
            return h
        return [x, w], [lambda: (cleared(x, w), f(x))[1]]
    check(make, mode)


def test_explicit_initial_gradient(mode):
    def make(wrap):
        x, g = var(3), arr(3, seed=5)

        @wrap
        def f(x):
            y = F.exp(x)
            y.grad = g
            y.backward()
            return y

        @wrap
        def h(x):
            return F.exp(x)

        def outside():
            y = h(x)
            y.grad = g
            y.backward()
            return y
        return [x, g], [lambda: (cleared(x), f(x))[1], lambda: (cleared(x), outside())[1], lambda: (cleared(x), g.__imul__(2), f(x))[2]]
    check(make, mode)


def test_loss_scale_and_double_backprop_flags(mode):
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            y = F.sum(F.exp(x) * x)
            y.backward(loss_scale=8.0)
            return y

        @wrap
        def d(x):
            y = F.sum(F.exp(x) * x)
            y.backward(enable_double_backprop=True)
            g = x.grad_var
            x.cleargrad()
            z = F.sum(g * g)
            z.backward()
            return z
        return [x], [lambda: (cleared(x), f(x))[1], lambda: (cleared(x), d(x))[1]]
    check(make, mode)


def test_same_gradient_for_two_inputs(mode):
    """Both gradients of an addition are one array inside; outside they are two."""
    def make(wrap):
        x, y = var(3), var(3, seed=1)
        f = wrap(lambda x, y: F.sum(x + y).backward())
        g = wrap(lambda x, y: F.sum(F.reshape(x, (3,)) + y))

        def write():
            cleared(x, y)
            f(x, y)
            x.grad[0] = 9
            return y.grad
        return [x, y], [write, lambda: (cleared(x, y), f(x, x))[1], lambda: (cleared(x, y), g(x, y).backward())[1]]
    check(make, mode)


def test_freezing(mode):
    def make(wrap):
        a, b = L.Linear(3, 3), L.Linear(3, 2)
        net, x = hnn.Sequential(a, F.tanh, b), arr(4, 3)

        @wrap
        def f(x):
            net.cleargrads()
            y = F.sum(net(x) ** 2)
            y.backward()
            return y
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            net.cleargrads()
            y = F.sum(net(x) ** 2)
            y.backward()
            opt.update()
            return y
        return [net], [lambda: f(x), lambda: step(x), lambda: (a.disable_update(), step(x))[1], lambda: (a.enable_update(), step(x))[1],
                       lambda: (b.W.update_rule.__setattr__("enabled", False), step(x))[1]]
    check(make, mode)


def test_unchain(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x, how):
            h = F.exp(x * w)
            if how == 1:
                h.unchain_backward()
            elif how == 2:
                h.unchain()
            y = F.sum(h * w)
            return y, h

        @wrap
        def inside(x):
            h = F.exp(x * w)
            h.unchain_backward()
            y = F.sum(h * w)
            y.backward()
            return y, h

        def call(how):
            cleared(x, w)
            y, h = f(x, how)
            y.backward()
            return y, h
        return [x, w], [lambda: call(1), lambda: call(0), lambda: call(2), lambda: (cleared(x, w), inside(x))[1]]
    check(make, mode)


def test_unchain_of_state_from_before(mode):
    def make(wrap):
        lstm, x = L.LSTM(3, 2), arr(4, 3)

        @wrap
        def step(x):
            return F.sum(lstm(x) ** 2)

        def call():
            lstm.cleargrads()
            loss = 0
            for _ in range(3):
                loss += step(x)
            loss.backward()
            loss.unchain_backward()
            return loss, lstm.h, lstm.c
        return [lstm], [call, lambda: (lstm.reset_state(), call())[1]]
    check(make, mode, steps=[0] * 4 + [1, 0, 1, 1])


def test_grad_function(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x):
            y = F.sum(F.exp(x) * w * w)
            gx, gw, none = hnn.grad([y], [x, w, hnn.Variable(arr(3))])
            return y, gx, gw, none

        @wrap
        def stored(x):
            y = F.sum(F.exp(x) * w)
            return hnn.grad([y], [x, w], set_grad=True)

        @wrap
        def seeded(x):
            y = F.exp(x) * w
            return hnn.grad([y], [x], grad_outputs=[w], grad_inputs=[x]), hnn.grad([y], [x], [hnn.Variable(arr(3, seed=2))])

        @wrap
        def kept(x):
            h = F.exp(x)
            return hnn.grad([F.sum(h * w)], [x], retain_grad=True), h.grad
        return [x, w], [lambda: f(x), lambda: stored(x), lambda: seeded(x), lambda: kept(x)]
    check(make, mode)


def test_second_and_third_order_inside(mode):
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            y = F.sum(F.tanh(x) * x)
            g, = hnn.grad([y], [x], enable_double_backprop=True)
            h, = hnn.grad([F.sum(g * g)], [x], enable_double_backprop=True)
            t, = hnn.grad([F.sum(h)], [x])
            return y, g, h, t
        return [x], [lambda: f(x)]
    check(make, mode)


def test_second_order_outside(mode):
    def make(wrap):
        x = var(3)
        f = wrap(lambda x: F.sum(F.tanh(x) * x))

        def call():
            cleared(x)
            g, = hnn.grad([f(x)], [x], enable_double_backprop=True)
            h, = hnn.grad([F.sum(g * g)], [x], enable_double_backprop=True)
            F.sum(h).backward()
            return g, h
        return [x], [call]
    check(make, mode)


def test_gradient_penalty(mode):
    def make(wrap):
        net = hnn.Sequential(L.Linear(3, 4), F.tanh, L.Linear(4, 1))
        opt = hnn.optimizers.Adam().setup(net)

        @wrap
        def step(x):
            net.cleargrads()
            y = net(x)
            g, = hnn.grad([y], [x], enable_double_backprop=True)
            loss = F.mean(y) + F.mean((F.sqrt(F.sum(g * g, axis=1)) - 1) ** 2)
            loss.backward()
            opt.update()
            return loss
        n = iter(range(1000))
        return [net, opt], [lambda: step(var(5, 3, seed=next(n)))]
    check(make, mode)


def test_gradient_of_leaf_made_inside(mode):
    def make(wrap):
        w = var(3)

        @wrap
        def f(a):
            x = hnn.Variable(a)
            y = F.sum(F.exp(x) * w)
            y.backward()
            return x.grad, x
        a = arr(3, seed=3)
        return [w, a], [lambda: (cleared(w), f(a))[1]]
    check(make, mode)


def test_detach(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x, detach):
            h = F.exp(x)
            k = hnn.Variable(h.array) if detach == 1 else h.array if detach == 2 else h
            return F.sum(F.tanh(k) * w), k

        def call(detach):
            cleared(x, w)
            y, k = f(x, detach)
            y.backward()
            return y, k
        return [x, w], [lambda: call(0), lambda: call(2), lambda: call(1)]
    check(make, mode)


def test_attached_and_detached_on_one_signature(mode):
    def make(wrap):
        x, w, flag = var(3), var(3, seed=1), [False]

        @wrap
        def f(x):
            h = F.exp(x)
            h.array
            return F.sum(F.tanh(h.array if flag[0] else h) * w)

        def call(value):
            flag[0] = value
            cleared(x, w)
            y = f(x)
            y.backward()
            return y
        return [x, w], [lambda: call(False), lambda: call(True)]
    check(make, mode)


def test_numbers_in_gradient_rules_after_a_new_path(mode):
    def make(wrap):
        x, ks, flag = var(3), iter(np.linspace(0.5, 2, 100).tolist()), [False]

        @wrap
        def f(x, k):
            y = F.exp(x * k)
            y = F.tanh(y) if flag[0] else y * k
            F.sum(y).backward()
            return y

        def call(value):
            flag[0] = value
            cleared(x)
            return f(x, next(ks))
        return [x], [lambda: call(False), lambda: call(True)]
    check(make, mode)


class Double(hnn.FunctionNode):
    """A function of the user's own that notes its runs."""

    def __init__(self, log):
        self.log = log

    def forward(self, inputs):
        self.log.append("forward")
        self.retain_inputs((0,))
        return inputs[0] * 2,

    def backward(self, indexes, gys):
        self.log.append("backward")
        x, = self.get_retained_inputs()
        return gys[0] * 2 + x * 0,


def test_function_node(mode):
    def make(wrap):
        log, link = [], L.Linear(3, 2)
        opt = hnn.optimizers.SGD(0.1).setup(link)

        @wrap
        def step(x):
            link.cleargrads()
            y, = Double(log).apply((link(x),))
            loss = F.sum(y * y)
            loss.backward()
            opt.update()
            return loss, y

        @wrap
        def f(x):
            y, = Double(log).apply((F.exp(x),))
            return F.sum(y)
        x = var(4, 3)
        return [link, log, x], [lambda: step(x), lambda: (cleared(x), f(x).backward())[1], lambda: f(arr(4, 3))]
    check(make, mode)


def test_hook_on_gradients(mode):
    def make(wrap):
        link = L.Linear(3, 2)
        opt = hnn.optimizers.SGD(0.1).setup(link)
        seen = []

        def look(rule, param):
            seen.append((param.name, param.grad.copy()))
            param.grad *= 0.5
        link.W.update_rule.add_hook(look)

        @wrap
        def step(x):
            link.cleargrads()
            loss = F.sum(link(x) ** 2)
            loss.backward()
            opt.update()
            return loss
        x = arr(4, 3)
        return [link, seen], [lambda: step(x)]
    check(make, mode)


def test_released_graph_is_refused_or_right(mode):
    """Backward again, outside, from a loss that a traced step has been through already."""
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            y = F.sum(F.exp(x) * x)
            y.backward()
            return y
        return [x], [lambda: (cleared(x), f(x))[1]]
    wrap = check(make, mode)
    x = var(3)
    ys = [wrap[0](x) for _ in range(3)]
    before = x.grad.copy()
    try:
        ys[-1].backward()
    except hnn.errors.ReleasedGraphError as e:
        assert "backward" in str(e)
    else:
        np.testing.assert_allclose(x.grad, before / 3 * 4, rtol=1e-4)


def test_broadcast_and_sum_gradients(mode):
    def make(wrap):
        x, b = var(4, 3), var(3, seed=2)

        @wrap
        def f(x, b):
            F.sum((x + b) * F.broadcast_to(b, (4, 3)) + F.sum(x, axis=1, keepdims=True)).backward()
        return [x, b], [lambda: (cleared(x, b), f(x, b))[1], lambda: f(x, b)]
    check(make, mode)


def test_grads_of_arguments_in_lists(mode):
    def make(wrap):
        xs = [var(3, seed=k) for k in range(3)]

        @wrap
        def f(xs, more):
            y = F.sum(xs[0] * xs[1] + F.exp(more["a"]))
            y.backward()
            return y
        return [xs], [lambda: (cleared(*xs), f(xs, {"a": xs[2]}))[1], lambda: (cleared(*xs), f(xs, {"a": xs[0]}))[1]]
    check(make, mode)
