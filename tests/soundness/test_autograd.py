"""Gradients: several forwards before a backward, retained and accumulated gradients, higher orders, the user's own functions."""
import functools
import gc
import itertools
import types
import weakref

import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers
from hybridnn.core import application, op_node
from hybridnn.core import tape as core_tape
from hybridnn.errors import ReleasedGraphError
from hybridnn.trace import tape

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


@pytest.mark.parametrize("shape", [(3,), (1,), ()])
def test_one_gradient_variable_of_two_inputs(mode, shape):
    """Gradients that can be differentiated are Variables, which may be of any shape and zero."""
    def make(wrap):
        x, y = var(*shape), var(*shape, seed=1)

        @wrap
        def f(x, y, k):
            z = F.sum((x + y) * k)
            z.backward(enable_double_backprop=True)
            return x.grad_var is y.grad_var, x.grad_var * 2
        return [x, y], [lambda: (cleared(x, y), f(x, y, 0.5))[1], lambda: f(x, y, 0.25), lambda: (cleared(x, y), f(x, y, 0.0))[1]]
    check(make, mode, held=True)


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


@pytest.mark.parametrize("begin", [
    lambda y, x: hnn.grad([y], [x], enable_double_backprop=True)[0],
    lambda y, x: hnn.grad([y, F.sum(y)], [x], [None, np.array(2, "f")], enable_double_backprop=True)[0],
    lambda y, x: (F.sum(y * y).backward(retain_grad=True, enable_double_backprop=True), x.grad_var)[1]])
def test_a_path_is_left_behind_a_gradient_that_began_with_ones(mode, begin):
    """The second call is the first that finds gradients to add to: gradients of what the first walk began with are recorded there."""
    def make(wrap):
        gen, critic = L.Linear(3, 4), L.Linear(4, 2)
        opt = optimizers.SGD(0.1).setup(critic)

        @wrap
        def f(z):
            x = F.tanh(gen(z))
            critic.cleargrads()
            g = begin(critic(x), x)
            loss = F.sum(critic(x)) + F.sum((F.sqrt(F.sum(g * g, axis=1) + 1) - 1) ** 2)
            critic.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [gen, critic], [lambda: f(arr(5, 3)), lambda: (gen.cleargrads(), f(arr(5, 3)))[1]]
    assert not check(make, mode).reasons


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


def test_numbers_on_the_tape_of_a_recording(mode):
    """NumPy computes in float64 with subclasses of float."""
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            for _ in range(300):
                x = x * 0.999
            return F.sum(x)

        def call():
            cleared(x)
            y = f(x)
            y.backward()
            return y
        return [x], [call]
    check(make, mode, tolerance=0.1)


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


class Pair(hnn.FunctionNode):
    """Two outputs, a number of its own, and notes."""

    def __init__(self, log, k=2.0):
        self.log, self.k = log, k

    def forward(self, inputs):
        self.log.append("forward")
        self.retain_inputs((0,))
        self.retain_outputs((0,))
        return inputs[0] * np.float32(self.k), inputs[0].sum(axis=0)

    def backward(self, indexes, gys):
        self.log.append(("backward", indexes, [g is None for g in gys]))
        x, = self.get_retained_inputs()
        y, = self.get_retained_outputs()
        g = x * 0 + y * 0
        if gys[0] is not None:
            g = g + gys[0] * self.k
        return g if gys[1] is None else g + F.broadcast_to(gys[1], x.shape),


class Old(hnn.Function):
    def forward(self, inputs):
        return inputs[0] * 3,

    def backward(self, inputs, gs):
        return gs[0] * 3 + inputs[0],


def test_function_nodes_inside_a_step(mode):
    """Backward meets them: it walks in Python on every call."""
    def make(wrap):
        log, link = [], L.Linear(3, 3)
        opt = hnn.optimizers.Adam().setup(link)

        @wrap
        def step(x):
            link.cleargrads()
            a, b = Pair(log).apply((link(F.exp(x)),))
            a = Old()(F.reshape(a, (3, 4)))
            c, d = Pair(log, 0.5).apply((F.reshape(F.tanh(a * 0.1) * 2.5, (4, 3)),))
            loss = F.sum(c * c) + F.sum(b * 2) * 0.1 + F.sum(d)
            loss.backward()
            opt.update()
            return loss, c
        return [link, log, opt], [lambda: (log.clear(), step(var(4, 3)))[1], lambda: (log.clear(), step(arr(4, 3, seed=5)))[1]]
    w = check(make, mode)
    assert w.total("hits") >= 18 and w.total("recordings") <= 3 and not w.reasons


def test_function_nodes_and_gradients_from_before(mode):
    def make(wrap):
        x, w, log, n = var(3), var(3, seed=2), [], iter(range(10_000))

        class Product(hnn.FunctionNode):
            def forward(self, inputs):
                return inputs[0] * inputs[1],

            def backward(self, indexes, gys):
                log.append([gys[0].requires_grad, *[v.requires_grad for v in self.get_retained_inputs()]])
                grads = gys[0] * 2, F.reshape(F.reshape(gys[0], (1, 3)), (3,))
                return tuple([grads[k] for k in indexes])

        @wrap
        def f(x, k):
            a, = Product().apply((x, w))
            b, = Product().apply((w, x.array))
            y = F.sum(a * k + b * x)
            y.backward(loss_scale=2.0)
            z = F.sum(F.reshape(Product().apply((x, x))[0], (1, 3)) * k)
            z.backward()
            return y, z, x.grad, a

        def again():
            cleared(x, w)
            y, z, _, a = f(x, 0.5)
            y.backward()
            F.sum(a).backward()
            return y, z
        return [x, w, log], [lambda: (log.clear(), cleared(x, w), f(x, next(n) * 0.1))[2], lambda: (log.clear(), f(x, 1.5))[1], again]
    w = check(make, mode, held=True)
    assert w.total("hits") > 25 and not w.reasons


def test_function_nodes_whose_backward_changes(mode):
    def make(wrap):
        x, log, how = var(4, 3), [], [0]

        class Twice(hnn.FunctionNode):
            def forward(self, inputs):
                return inputs[0] * 2,

            def backward(self, indexes, gys):
                log.append(how[0])
                if how[0] == 2:
                    raise ValueError("in backward")
                return [gys[0] * 2, F.exp(gys[0]) * 0 + gys[0] * 2, None, hnn.Variable(gys[0].array * 2), None][how[0]],

        @wrap
        def f(x):
            h = F.exp(x)
            a, = Twice().apply((h,))
            b, = Twice().apply((h * 0.5,))
            c, = Twice().apply((a + b,))
            loss = F.sum(F.tanh(c * 0.1))
            loss.backward()
            return loss, h

        def call(k):
            how[0] = k
            log.clear()
            cleared(x)
            return f(x)
        return [x, log], [lambda k=k: call(k) for k in range(5)]
    w = check(make, mode)
    assert w.total("hits") > 30 and not w.reasons


def test_function_nodes_and_more_than_gradients(mode):
    """Double backprop, ``retain_grad`` and ``hnn.grad`` through them run eagerly."""
    def make(wrap):
        x, log = var(4, 3), []

        @wrap
        def f(x, how):
            a, b = Pair(log).apply((F.exp(x),))
            y = F.sum(F.tanh(a * 0.1))
            if how == "grad":
                g, = hnn.grad([y], [x], enable_double_backprop=True)
                F.sum(g * g).backward()
                return y, g
            y.backward(retain_grad=how == "retain", enable_double_backprop=how == "double")
            return y, x.grad_var, a.grad

        return [x, log], [lambda h=h: (log.clear(), cleared(x), f(x, h))[2] for h in ("plain", "retain", "double", "grad")]
    check(make, mode)


def test_function_nodes_replay(mode):
    """An opaque step between segments; its gradient is asked for outside."""
    def make(wrap):
        log, k, x = [], [2.0], var(4, 3)

        @wrap
        def f(x):
            a, b = Pair(log, k[0]).apply((F.exp(x),))
            c = Old()(a)
            return F.sum(F.tanh(c * 0.01)), F.sum(b * 2), c

        def call(which, value=2.0):
            k[0] = value
            cleared(x)
            a, b, c = f(x)
            root = {"a": a, "b": b, "both": a + b, "none": None}[which]
            if root is not None:
                root.backward()
                root.backward()
            return a, b, c, type(c.creator).__name__, c.creator.label
        return [log, x], [lambda: call("none"), lambda: call("a"), lambda: call("b"), lambda: call("both", 3.0), lambda: f(x.array),
                          lambda: f(hnn.Variable(arr(2, 3)))]
    w = check(make, mode)
    assert w.total("hits") > 30 and w.total("recordings") <= 4 and not w.reasons


def test_function_nodes_raise_and_change(mode):
    def make(wrap):
        log, bad, n, x = [], [None], [2], var(4)

        class Part(hnn.FunctionNode):
            def forward(self, inputs):
                log.append("forward")
                if bad[0] == "forward":
                    raise ValueError("in forward")
                return inputs[0][:n[0]].copy(),

            def backward(self, indexes, gys):
                log.append("backward")
                if bad[0] == "backward":
                    raise ValueError("in backward")
                return F.concat([gys[0], np.zeros(4 - n[0], "float32")], axis=0),

        @wrap
        def f(x):
            h = F.exp(x)
            log.append(h)
            y, = Part().apply((h,))
            return F.sum(y * y), y

        def call(how, size=2):
            bad[0], n[0] = how, size
            log.clear()
            cleared(x)
            s, y = f(x)
            s.backward()
            return s, y
        return [log, x], [lambda: call(None), lambda: call("forward"), lambda: call("backward"), lambda: call(None, 3), lambda: call("forward", 3)]
    check(make, mode)


def test_function_nodes_that_share_memory(mode):
    def make(wrap):
        class Views(hnn.FunctionNode):
            def forward(self, inputs):
                return inputs[0], inputs[0][1:]

            def backward(self, indexes, gys):
                return gys[0],

        class Writes(hnn.FunctionNode):
            buffer = np.zeros(4, "float32")

            def forward(self, inputs):
                inputs[0][0] += 1
                self.buffer[...] = inputs[0]
                return self.buffer,

            def backward(self, indexes, gys):
                return gys[0] * 2,
        x = var(4)

        @wrap
        def views(x):
            a, b = Views().apply((x,))
            h = F.exp(x)
            c, d = Views().apply((h,))
            return a, b, c, d, h

        @wrap
        def writes(x):
            h = F.exp(x)
            k = h * 2
            y, = Writes().apply((h,))
            z, = Writes().apply((F.exp(h * 0.1),))
            return h, k, h * 3, y * 2, z

        def call():
            cleared(x)
            out = writes(x)
            F.sum(out[1] + out[2] + out[3]).backward()
            return [v.array.copy() for v in out]
        return [x], [lambda: views(x), lambda: (x.array.__iadd__(0.1), views(x))[1], call, lambda: writes(x.array.copy())[2]]
    check(make, mode)


def test_functions_go_with_the_graph(mode):
    """Nothing but the values that are alive keeps a function of the user's."""
    class Kept(hnn.FunctionNode):
        def forward(self, inputs):
            refs.append(weakref.ref(self))
            return inputs[0] * 2,

        def backward(self, indexes, gys):
            return gys[0] * 2,
    refs, x = [], var(3)
    f = hnn.trace(lambda x: F.tanh(Kept().apply((F.exp(x),))[0]), mode=mode)
    gc.disable()
    try:
        for _ in range(6):
            y = f(x)
            assert refs[-1]() is not None
            F.sum(y).backward()
            del y
            assert refs[-1]() is None
    finally:
        gc.enable()
    assert f.stats.hits == 5


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


def test_walked_again_after_backward_inside(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x):
            h = F.exp(x) * w
            y = F.sum(h * h)
            y.backward()
            return y, h

        def twice():
            cleared(x, w)
            y, _ = f(x)
            y.backward()
            y.backward()
            return y, y.grad

        def elsewhere():
            cleared(x, w)
            y, h = f(x)
            z = F.sum(h * 3) + y
            z.backward()
            return y, z, h

        def second_order():
            cleared(x, w)
            y, h = f(x)
            g, = hnn.grad([y], [x], enable_double_backprop=True)
            x.cleargrad()
            F.sum(g * g).backward(retain_grad=True)
            return y, h, g
        return [x, w], [twice, elsewhere, second_order]
    w = check(make, mode)
    assert (w.total("python_skipped") > 0) is (mode == "auto")


def test_accumulated_and_walked_again(mode):
    def make(wrap):
        link = L.Linear(3, 2)
        opt = hnn.optimizers.SGD(0.1).setup(link)

        @wrap
        def part(x):
            loss = F.sum(link(x) ** 2)
            loss.backward()
            return loss

        def call():
            link.cleargrads()
            losses = [part(arr(2, 3, seed=k)) for k in range(3)]
            losses[1].backward()
            opt.update()
            return losses
        return [link, opt], [call]
    check(make, mode)


def test_a_path_is_left_with_a_graph_from_before_an_update_of_something_else(mode):
    """Backward has walked the graph, and an update has changed other parameters: what it needs is still there for ``hnn.grad`` and backward."""
    def make(wrap):
        link, scale = L.Linear(3, 2), hnn.Link()
        with scale.init_scope():
            scale.s = hnn.Parameter(np.ones(2, "float32"))
        opt, opt2 = hnn.optimizers.SGD(0.01).setup(link), hnn.optimizers.SGD(0.01).setup(scale)

        @wrap
        def step(x, y):
            h = link(x)
            loss = F.sum(h * scale.s)
            scale.cleargrads()
            loss.backward()
            opt2.update()
            g, = hnn.grad([F.sum(F.tanh(h) * y)], [link.W], enable_double_backprop=True)
            link.cleargrads()
            F.sum(F.tanh(g) * g).backward()
            opt.update()
            return g

        def call():
            y = var(4, 2)
            return step(arr(4, 3), y), y.grad

        def without(p):
            p.update_rule.enabled = False
            result = call()
            p.update_rule.enabled = True
            return result
        return [link, scale, opt, opt2], [call, lambda: without(link.b), lambda: without(link.W)]
    check(make, mode)


@pytest.mark.parametrize("looks", [False, True])
def test_a_path_is_left_with_a_graph_through_what_an_update_has_changed(mode, looks):
    """Nobody has walked it yet: what it needs was computed before the update, and is kept."""
    def make(wrap):
        link, more = hnn.Link(), [False]
        with link.init_scope():
            link.s = hnn.Parameter(arr(3))
        opt = optimizers.SGD(0.05).setup(link)

        @wrap
        def step(x):
            y = F.tanh(x * link.s) * x
            if looks:
                float(F.sum(y))
            link.cleargrads()
            F.sum(link.s * link.s).backward()
            opt.update()
            if more[0]:
                F.sum(y * x).backward()

        def call():
            x = var(4, 3)
            step(x)
            return x.grad

        def walk():
            more[0] = True
            result = call()
            more[0] = False
            return result
        return [link, opt], [call, walk]
    check(make, mode)


def test_a_path_is_left_behind_two_updates_of_an_array_that_is_an_argument(mode):
    def make(wrap):
        link = hnn.Link()
        with link.init_scope():
            link.s = hnn.Parameter(arr(3))
        opt = optimizers.SGD(0.05).setup(link)
        link.cleargrads()

        @wrap
        def step(x, a):
            F.sum(x * link.s).backward(loss_scale=2.0)
            opt.update()
            y = F.tanh(a) * x
            opt.update()
            F.sum(hnn.Variable(a) * y).backward()

        def call():
            x = var(4, 3)
            step(x, link.s.array)
            return x.grad
        return [link, opt], [call]
    check(make, mode)


def test_walked_again_after_an_update_is_refused(mode):
    link = L.Linear(3, 2)
    opt = hnn.optimizers.SGD(0.1).setup(link)

    @hnn.trace(mode=mode)
    def step(x):
        loss = F.sum(link(x) ** 2)
        link.cleargrads()
        loss.backward()
        opt.update()
        return loss
    for _ in range(8):
        loss = step(arr(4, 3))
    with pytest.raises(hnn.errors.ReleasedGraphError, match="update"):
        loss.backward()


def test_gradients_of_the_roots(mode):
    """As in Chainer: used up, unless ``retain_grad`` asks for all."""
    def make(wrap):
        x, leaf = var(3), hnn.Variable(np.array(2, "float32"))

        @wrap
        def f(x, how):
            y = F.sum(F.exp(x))
            if how == "given":
                y.grad = np.array(3, "float32")
            y.backward(retain_grad=how == "retained", loss_scale=4.0 if how == "scaled" else None)
            return y, y.grad

        @wrap
        def two(x):
            a, b = F.sum(F.exp(x)), F.sum(x * x)
            hnn.core.backward([a, b])
            return a, b

        @wrap
        def leaf_root(x):
            x.backward()
            return x * 2
        return [x, leaf], [*[lambda h=h: (cleared(x), f(x, h))[1] for h in ("plain", "given", "retained", "scaled")], lambda: (cleared(x), two(x))[1],
                           lambda: (cleared(leaf), leaf_root(leaf))[1], lambda: leaf_root(leaf)]
    check(make, mode)


def test_array_seen_and_written_or_replaced_before_backward(mode):
    def make(wrap):
        x, b = var(3), arr(3, seed=7)

        @wrap
        def f(x, how):
            y = F.exp(x)
            if how == "replaced":
                y.array = b
            elif how == "scaled":
                y.array *= 2
            elif how == "written":
                y.array[0] = 4
            elif how == "own":
                x.array = b.copy()
            z = y * x
            return y, z, F.sum(z)

        def call(how):
            x.array = arr(3)
            cleared(x)
            y, z, s = f(x, how)
            s.backward()
            return y, z
        return [x, b], [lambda h=h: call(h) for h in ("replaced", "scaled", "written", "own", "")]
    check(make, mode)


def test_gradients_cleared_before_a_path_is_left(mode):
    def make(wrap):
        link, y, how = L.Linear(4, 3), var(4, seed=2), [0]
        opt = hnn.optimizers.SGD(0.1).setup(link)

        @wrap
        def f(x):
            h = F.tanh(y)
            z = F.sum(h * h)
            a = F.sum(link(x) ** 2) + z
            a.backward()
            if how[0] != 2:
                link.cleargrads()
            z.backward()
            z.grad = np.array(5, "float32")
            if how[0] != 3:
                opt.update()
            return F.exp(z) if how[0] == 1 else z

        def call(value):
            how[0] = value
            cleared(y)
            link.cleargrads()
            return f(arr(2, 4))
        return [link, y, opt], [lambda k=k: call(k) for k in range(4)]
    check(make, mode)
    check(make, mode, steps=[0, 0, 0, 1, 3, 2, 0, 3, 1, 2])


def test_written_between_use_and_backward(mode):
    def make(wrap):
        x, w = var(3), var(3, seed=1)

        @wrap
        def f(x, what):
            h = F.exp(x)
            y = F.sum(h * w * w)
            if what == "leaf":
                w.array[...] *= 0.5
            elif what == "result":
                h.array[...] = 0
            y.backward()
            return y, h

        @wrap
        def g(x):
            y = F.sum(F.exp(x) * w * w)
            w.array[...] *= 0.5
            return hnn.grad([y], [x, w])

        def call(fn, *args):
            cleared(x, w)
            w.array[...] = arr(3, seed=1)
            return fn(x, *args)
        return [x, w], [lambda: call(f, "leaf"), lambda: call(f, "result"), lambda: call(f, ""), lambda: call(g)]
    check(make, mode)


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


def test_backward_where_no_graph_is_kept(mode):
    """Only the value that backward begins at gets a gradient."""
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            y = F.sum(F.exp(x))
            y.backward(enable_double_backprop=True)
            return y

        def without_graph():
            with hnn.no_backprop_mode():
                return f(x)
        return [x], [without_graph, lambda: (cleared(x), f(x))[1]]
    check(make, mode)


def test_a_gradient_that_is_a_constant_of_the_path(mode):
    """The caller may write into it."""
    def make(wrap):
        @wrap
        def f(x):
            y = x + 1.5
            y.backward()
            return y

        def call():
            x = hnn.Variable(np.array(2.0, "f"))
            f(x)
            x.grad += 5
            return x.grad
        return [], [call]
    check(make, mode)


def test_a_graph_walked_again(mode):
    """What the call's backward needed is computed again, from what the arrays held then."""
    def make(wrap):
        x, w = var(200, 300, seed=1), var(300, seed=2)

        @wrap
        def f(x, again):
            y = F.tanh(x * w + 0.5) * F.sigmoid(x) - F.exp(-x * x)
            loss = F.sum(y * y)
            cleared(x, w)
            loss.backward()
            return (loss, y) if again else loss

        def twice():
            loss = f(x, False)
            first = x.grad.copy()
            x.array[3] *= 1.5
            w.array[:] = -0.25
            loss.backward()
            return first, x.grad, w.grad

        def shown():
            loss, y = f(x, True)
            y.array[5] = 2
            loss.backward()
            return y, x.grad

        def kept():
            losses = [f(x, False) for _ in range(2)]
            x.array += 0.01
            return hnn.grad([losses[0]], [x, w]), losses[1].creator.inputs[0].data
        return [x, w], [lambda: f(x, False), twice, shown, kept]
    check(make, mode)


def branching(x, w):
    h = F.tanh(F.matmul(x, w))
    a, b = F.split_axis(h, 2, 1)
    y = a
    for _ in range(5):
        y = F.tanh(y * h[:, :2] + b) * y
    return F.sum(y * y), h, a, b


def test_grad_of_arguments_outside(mode):
    """The graph of a replay is made later than the nodes of Variables that nobody has differentiated yet, and than those made after it."""
    def make(wrap):
        w = hnn.Parameter(arr(4, 4))
        f = wrap(branching)

        def grads(double):
            x = var(3, 4)
            y, *inner = f(x, w)
            gs = hnn.grad([y], [x, *inner], enable_double_backprop=double)
            return (gs, hnn.grad([sum(F.sum(g * g) for g in gs)], [x, w])) if double else gs

        def backward():
            x = var(3, 4)
            y, h, a, b = f(x, w)
            w.cleargrad()
            (y + F.sum(h) + F.sum(a * b)).backward()
            return x.grad, w.grad
        return w, [lambda: grads(True), lambda: grads(False), backward]
    check(make, mode)


def test_order_of_nodes_after_many(mode, monkeypatch):
    """A program may have made any number of nodes before."""
    def make(wrap):
        w = hnn.Parameter(arr(4, 4))
        f = wrap(branching)

        def run():
            x = var(3, 4)
            y, *_ = f(x, w)
            w.cleargrad()
            y.backward()
            return x.grad, w.grad
        return w, [run]
    later = itertools.count(core_tape.next_seq() * 2 ** 32, core_tape.ROOM ** 2).__next__
    for module in (core_tape, op_node, application, tape):
        monkeypatch.setattr(module, "next_seq", later)
    check(make, mode)


def test_graphs_of_variables_made_in_the_call(mode):
    """Their leaves are made anew; one that is returned is the very leaf."""
    def make(wrap):
        x, w, rnn = var(3, 4, seed=1), var(4, 4, seed=2), L.NStepLSTM(1, 4, 3, 0.0)

        @wrap
        def f(x, shown):
            h = hnn.Variable(np.zeros((3, 4), "f"))
            y = F.tanh(F.matmul(x, w) + h * 2)
            return (y, h) if shown else y

        @wrap
        def sequences(xs):
            return rnn(None, None, xs)[2]

        def outside():
            cleared(x, w)
            y = f(x, False)
            F.sum(y).backward()
            return y, x.grad, w.grad

        def returned():
            cleared(x, w)
            y, h = f(x, True)
            F.sum(y * y).backward()
            return y, h, h.grad, w.grad

        def recurrent():
            rnn.cleargrads()
            ys = sequences([x, x[:2]])
            F.sum(ys[0] * ys[0]).backward()
            return ys, [p.grad for p in rnn.params()]
        return [x, w, rnn], [outside, returned, recurrent]
    check(make, mode)


@pytest.mark.parametrize("backward", [False, True])
def test_a_gradient_with_a_graph_from_before_an_update(mode, backward):
    """A path that is left behind an update still has the graph of gradients from before it, if all that it needs is there."""
    def make(wrap):
        net = hnn.Chain()
        with net.init_scope():
            net.p = hnn.Parameter(arr(4))
        optimizer, leaving = hnn.optimizers.SGD(0.1).setup(net), [False]

        @wrap
        def f(x):
            v, = hnn.grad([F.sum(F.tanh(net.p))], [net.p], enable_double_backprop=True)
            s = F.sum(net.p * net.p * x)
            net.cleargrads()
            if backward:
                s.backward()
            optimizer.update()
            y = (x * 2 if leaving[0] else x) + v
            return hnn.grad([F.sum(y * y)], [net.p])[0], y

        def call(leave):
            def run():
                net.p.array, leaving[0] = arr(4), leave
                return f(var(3, 4))
            return run
        return net, [call(False), call(True)]
    check(make, mode, steps=[0] * 5 + [1, 0, 1, 1, 0])


def test_grad_behind_what_was_released(mode):
    """Whether a value is behind a graph that has been given up nobody knows: asking raises, as walking it does."""
    link = L.Linear(4, 3)
    optimizer = hnn.optimizers.SGD(0.1).setup(link)

    @functools.partial(hnn.trace, mode=mode)
    def step(x):
        y = link(x)
        link.cleargrads()
        F.sum(y * y).backward()
        optimizer.update()
        return y
    for k in range(6):
        x = var(2, 4)
        y = step(x)
        if k > 1:
            with pytest.raises(ReleasedGraphError):
                hnn.grad([y], [x])


AXELESS = {
    "array": lambda p, k: setattr(p, "array", p.array - 0.1 * p.grad),
    "data": lambda p, k: setattr(p, "data", p.data * k),
    "grad": lambda p, k: setattr(p, "grad", np.asarray(p.grad * k)),
    "inside": lambda p, k: p.array.__isub__(0.1 * p.grad),
    "twice": lambda p, k: F.sum(p * k).backward(),
    "added": lambda p, k: p.addgrad(p),
}


@pytest.mark.parametrize("how", AXELESS)
def test_parameters_without_axes(mode, how):
    """What NumPy computes of arrays without axes are numbers of its own; arrays and gradients stay arrays."""
    def make(wrap):
        p, k = hnn.Parameter(np.full((), 0.7, "f")), np.full((), 0.9, "f")

        @wrap
        def step(x):
            y = F.sum(p * x)
            p.cleargrad()
            y.backward()
            AXELESS[how](p, k)
            return y, p.array, p.grad, p * 2 + F.tanh(p)

        def outside():
            AXELESS[how](p, k)
            return step(arr(3)), type(p.array) is type(p.grad) is np.ndarray
        return p, [lambda: step(arr(3)), outside]
    check(make, mode)


def test_leaves_that_the_call_has_computed(mode):
    """A gradient without a graph is a leaf of what is computed from it, also where the path is left after an update that lies between."""
    def make(wrap):
        net = L.Linear(3, 2)
        opt, count = hnn.optimizers.SGD(0.1).setup(net), [0]

        @wrap
        def step(x):
            g, = hnn.grad([F.sum(F.tanh(net.W))], [net.W])
            squared = g * g
            net.b.grad = np.ones(2, "f")
            opt.update()
            F.sum(F.tanh(squared) * F.exp(x)).backward()
            count[0] += 1
            if count[0] % 2 == 0:
                opt.update()
            return g, g.grad
        return [net], [lambda: step(var(2, 3))]
    check(make, mode)


@pytest.mark.parametrize("look", [
    lambda a, b, c: None,
    lambda a, b, c: float(F.sum(a[0] * b[1]).array),
    lambda a, b, c: a[0].array.fill(5),
    lambda a, b, c: b[0].array.fill(7),
    lambda a, b, c: F.sum(a[1]) + F.sum(b[1]),
])
def test_results_of_grad_that_are_one_variable(mode, look):
    """Of one input twice, of both sides of a sum, and of an output, whose gradient is the one that it was given."""
    def make(wrap):
        p, q = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1))
        kept = hnn.Variable(arr(3, seed=2))

        @wrap
        def f(x, gy):
            y, z = F.exp(p + q) * x, p + q
            a, b, c = hnn.grad([y], [p, q, p]), hnn.grad([z], [p, q], [gy]), hnn.grad([y, z], [y, z], [gy, gy])
            return look(a, b, c), a, b, c, [g is h for g in a + b + c for h in a + b + c]
        return [p, q, kept], [lambda: f(arr(3), hnn.Variable(arr(3, seed=4))), lambda: f(arr(3), kept), lambda: f(arr(3), arr(3, seed=4))]
    check(make, mode)


@pytest.mark.parametrize("hook", [hnn.optimizer_hooks.WeightDecay(0.3), hnn.optimizer_hooks.GradientLARS()])
def test_hooks_change_the_gradient_of_a_tied_parameter_twice(mode, hook):
    def make(wrap):
        net = hnn.ChainList(L.Linear(2, 2, nobias=True, initialW=arr(2, 2)), L.Linear(2, 2, nobias=True))
        net[1].W = net[0].W
        opt = hnn.optimizers.SGD(0.1).setup(net)
        opt.add_hook(hook)

        @wrap
        def f(x):
            loss = F.sum(F.tanh(net[0](x)) ** 2) + F.sum(net[1].W ** 3)
            parameters = list(net.params())
            for p, g in zip(parameters, hnn.grad([loss], parameters)):
                p.grad_var = g
            size = float(F.sum(net[0].W ** 2).array)
            opt.update()
            return loss, size
        return [net], [lambda: f(arr(2, 2)), lambda: f(arr(3, 2))]
    check(make, mode)


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_variables_of_gradients(mode, retain, double, n):
    """Whether they need gradients themselves, have a graph, and are one."""
    def make(wrap):
        p, q = hnn.Parameter(arr(n)), hnn.Parameter(arr(n, seed=1))

        @wrap
        def f(x, scale):
            a, b = p * 1, q * 2
            y = a + b
            z = F.sum(y * x + a)
            z.backward(retain_grad=retain, enable_double_backprop=double)
            found = [v.grad_var for v in (a, b, y, z, p, q)]
            if scale != 1:
                a.grad_var = p.grad_var * scale
            return found, [v.grad for v in (a, b, y, z, p, q)], a.grad_var is b.grad_var, F.sum(p.grad_var), F.sum(q.grad_var * x)

        def run(scale):
            p.cleargrad()
            q.cleargrad()
            return f(arr(n, seed=3), scale), F.sum(p.grad_var), F.sum(p.grad_var).creator is None
        return [p, q], [lambda: run(1), lambda: run(2)]
    check(make, mode)


@pytest.mark.parametrize("write", [
    lambda p, q, r: None,
    lambda p, q, r: p.grad.__imul__(2),
    lambda p, q, r: (p.grad.__setitem__(0, 9), q.grad.__iadd__(1)),
    lambda p, q, r: r.grad.fill(0),
])
@pytest.mark.parametrize("retain", [False, True])
def test_gradients_share_no_memory_after_a_path_is_left(mode, retain, write):
    def make(wrap):
        p, q, r = hnn.Parameter(arr(6)), hnn.Parameter(arr(2, 3)), hnn.Parameter(arr(3, 2))

        def step(x, other):
            z = F.reshape(p, (2, 3)) + q + F.transpose(r)
            loss = F.sum(z * x)
            cleared(p, q, r)
            loss.backward(retain_grad=retain)
            if other:
                F.exp(loss)
                write(p, q, r)
            return loss, [v.grad for v in (p, q, r, z)]

        def run():
            f = wrap(step)
            return [f(arr(2, 3), other) for other in (False, False, True, True, False)]
        return [p, q, r], [run]
    check(make, mode)


def test_gradients_share_no_memory_under_function_hooks(mode):
    class Looks(hnn.FunctionHook):
        name = "looks"

    def make(wrap):
        p, q = hnn.Parameter(arr(6)), hnn.Parameter(arr(2, 3))

        @wrap
        def f(x, retain):
            z = F.reshape(p, (2, 3)) + q
            loss = F.sum(z * x)
            cleared(p, q)
            with Looks():
                loss.backward(retain_grad=retain)
            p.grad *= 2
            return loss, p.grad, q.grad, z.grad, p.grad_var.requires_grad
        return [p, q], [lambda: f(arr(2, 3), False), lambda: f(arr(2, 3), True)]
    w = check(make, mode)
    assert not np.shares_memory(w.state[0].grad, w.state[1].grad)


@pytest.mark.parametrize("leave", [lambda opt: opt.add_hook(hnn.optimizer_hooks.WeightDecay(0.1), "decay"), lambda opt: setattr(opt, "lr", np.array(0.1, "f"))])
@pytest.mark.parametrize("whole", [False, True])
def test_a_path_is_left_behind_a_graph_that_was_cut(mode, whole, leave):
    """Backward runs again through what is forgotten after it: statistics have been updated before."""
    def make(wrap):
        net = hnn.ChainList(L.Linear(4, 3, initialW=arr(3, 4)), L.BatchNormalization(3), L.Linear(3, 2, initialW=arr(2, 3)))
        opt = hnn.optimizers.SGD(0.1).setup(net)

        def step(x):
            h = F.tanh(net[1](net[0](x)))
            loss = F.sum(net[2](h) ** 2)
            net.cleargrads()
            loss.backward()
            (loss if whole else h).unchain_backward()
            opt.update()
            return loss

        def run():
            f = wrap(step)
            before = [f(arr(4, 4)) for _ in range(3)]
            leave(opt)
            behind = [f(arr(4, 4)) for _ in range(2)]
            opt.lr = 0.1
            if opt._hooks is not None and "decay" in opt._pre_update_hooks:
                opt.remove_hook("decay")
            return before, behind, f(arr(4, 4))
        return [net], [run]
    check(make, mode, tolerance=10.0)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_a_value_that_dies_is_cut_off_after_the_call(mode, back, kept):
    def make(wrap):
        p, q = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1))

        @wrap
        def f(x):
            h = F.tanh(p * x)
            a, b = F.split_axis(F.tanh(h * q), [1], axis=0)
            return h, a, b, F.sum(a * 2) + F.sum(b ** 2)

        def run(which):
            cleared(p, q)
            results = list(f(arr(3)))
            (results[which].unchain_backward if back else results[which].unchain)()
            if not kept:
                del results[:3]
            results[-1].backward()
            return results, p.grad, q.grad
        return [p, q], [functools.partial(run, k) for k in range(3)]
    check(make, mode)


def test_a_value_that_dies_is_cut_off_behind_an_update(mode):
    def make(wrap):
        net = L.Linear(3, 2, initialW=arr(2, 3))
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, cut):
            h = net(x)
            loss = F.sum(h, axis=0)[0]
            opt.update()
            net.cleargrads()
            if cut:
                h.unchain_backward()
            F.sum(h).backward()
            loss.backward()
            return h, h.grad
        return [net], [lambda: f(arr(2, 3), False), lambda: f(arr(2, 3), True)]
    check(make, mode)


@pytest.mark.parametrize("change", [lambda p: p.grad.fill(1), lambda p: F.exp(p), lambda p: p.cleargrad()])
def test_a_path_is_left_behind_gradients_with_a_graph_that_were_looked_at(mode, change):
    def make(wrap):
        p = hnn.Parameter(arr(2, 3))

        def step(x, other):
            h = F.sum((x + p) ** 2, axis=1, keepdims=True) + p
            p.cleargrad()
            F.sum(h * x).backward(enable_double_backprop=True)
            z = F.sum(p.grad_var ** 2) if p.grad is not None else h
            p.cleargrad()
            z.backward()
            if other:
                change(p)
            return h, p.grad

        def run():
            f = wrap(step)
            return [f(arr(2, 3), other) for other in (False, False, True, True, False)]
        return [p], [run]
    check(make, mode)


@pytest.mark.parametrize("what", [
    lambda p, q, h: hnn.grad([F.sum(F.reshape(p, (2, 3)) + q + h)], [p, q, h]),
    lambda p, q, h: hnn.grad([F.sum(F.reshape(p, (2, 3)) + q + h)], [p, q, h], enable_double_backprop=True),
    lambda p, q, h: F.sum(h + q).backward(retain_grad=True, enable_double_backprop=True),
    lambda p, q, h: F.average(h * 1 + q).backward(retain_grad=True),
    lambda p, q, h: (setattr(q, "grad", arr(2, 3)), F.sum(q + h).backward()),
    lambda p, q, h: F.sum(h, axis=0)[0].backward(retain_grad=True),
])
def test_gradients_are_no_views(mode, what):
    """Not of each other, and not of one number."""
    def make(wrap):
        p, q = hnn.Parameter(arr(6)), hnn.Parameter(arr(2, 3))

        @wrap
        def f(h):
            found = what(p, q, h)
            return found, h.grad_var, q.grad_var, q.grad

        def run(h):
            cleared(p, q)
            return f(h), h.grad
        return [p, q], [lambda: run(var(2, 3)), lambda: run(var(2, 3) * 1)]
    check(make, mode)


class Pass(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] * 1,

    def backward(self, indexes, gys):
        return gys


def of_one_gradient():
    """Three parameters that are added, one of them in another shape, and their optimizer."""
    net = hnn.Chain()
    with net.init_scope():
        net.p, net.q, net.r = hnn.Parameter(arr(6)), hnn.Parameter(arr(2, 3)), hnn.Parameter(arr(2, 3, seed=1))
    return net, hnn.optimizers.SGD(0.1).setup(net)


@pytest.mark.parametrize("change", [
    lambda p, q, r: None,
    lambda p, q, r: p.grad.__imul__(2),
    lambda p, q, r: (p.grad.copy(), q.grad.__imul__(2)),
    lambda p, q, r: (q.grad.copy(), r.grad.__imul__(2)),
    lambda p, q, r: (r.grad.copy(), q.grad.__imul__(2)),
    lambda p, q, r: (q.grad.copy(), p.grad.__imul__(2)),
    lambda p, q, r: [v.grad.__imul__(k) for k, v in enumerate((p, q, r), 2)],
    lambda p, q, r: (float(F.sum(r.grad_var).array), q.grad.fill(3)),
    lambda p, q, r: r.grad,
])
@pytest.mark.parametrize("then", ["update", "use", "again"])
@pytest.mark.parametrize("behind", [False, True])
def test_one_gradient_of_several_parameters(mode, behind, then, change):
    """Each has it in an array of its own, into which the program may write; one sees it in another shape."""
    def make(wrap):
        net, opt = of_one_gradient()
        p, q, r = net.p, net.q, net.r

        @wrap
        def f(x):
            h = F.reshape(p, (2, 3)) + q + r
            if behind:
                h, = Pass().apply((h,))
            net.cleargrads()
            F.sum(h * x).backward()
            found = change(p, q, r)
            if then == "use":
                return found, [F.sum(v.grad_var * 2) for v in (p, q, r)]
            if then == "again":
                F.sum(h * 2 * q).backward()
            opt.update()
            return found, [v.grad for v in (p, q, r)] if then == "again" else None
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * 2)]
    check(make, mode)


@pytest.mark.parametrize("given", [lambda p, q, r: r.grad, lambda p, q, r: q.grad, lambda p, q, r: [v.grad for v in (p, q, r)], lambda p, q, r: p.grad])
@pytest.mark.parametrize("behind", [False, True])
def test_one_gradient_of_several_parameters_is_returned(mode, behind, given):
    def make(wrap):
        net, opt = of_one_gradient()
        p, q, r = net.p, net.q, net.r

        @wrap
        def f(x):
            h = F.reshape(p, (2, 3)) + q + r
            if behind:
                h, = Pass().apply((h,))
            net.cleargrads()
            F.sum(h * x).backward()
            opt.update()
            return given(p, q, r)
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * 2)]
    check(make, mode)


def test_a_path_is_left_behind_retained_gradients_of_what_has_died(mode):
    def make(wrap):
        p = hnn.Parameter(arr(3))

        @wrap
        def f(x, cut):
            h = F.linear(x, F.tile(F.reshape(p, (1, 3)), (3, 1)))
            F.sum(h, axis=0)[0].backward(retain_grad=True)
            if cut:
                h.unchain()
            return h
        return [p], [lambda: f(arr(2, 3), False), lambda: f(arr(2, 3), True)]
    check(make, mode)


@pytest.mark.parametrize("back", [
    lambda loss, q: loss.backward(),
    lambda loss, q: loss.backward(enable_double_backprop=True),
    lambda loss, q: loss.backward(retain_grad=True),
    lambda loss, q: (q.cleargrad(), loss.backward()),
    lambda loss, q: setattr(q, "grad_var", hnn.grad([loss], [q])[0]),
    lambda loss, q: setattr(q, "grad_var", hnn.grad([loss], [q], enable_double_backprop=True)[0]),
])
@pytest.mark.parametrize("layer", [lambda h, q: h + q, lambda h, q: F.reshape(F.reshape(h + q, (3, 2)), (2, 3)), lambda h, q: F.tanh(h) + q])
def test_a_state_whose_graph_grows_from_call_to_call(mode, layer, back):
    """Its gradients reach the same parameter, through another graph on every call."""
    def make(wrap):
        q, state = hnn.Parameter(arr(2, 3)), [None]

        @wrap
        def f(x):
            h = layer(x if state[0] is None else x + state[0], q)
            back(F.sum(h, axis=0)[0], q)
            state[0] = h
            return h

        def begin():
            state[0] = None
            q.cleargrad()
            return f(arr(2, 3))

        def cut():
            state[0].unchain_backward()
            return f(arr(2, 3))
        return [q], [lambda: f(arr(2, 3)), begin, cut]
    check(make, mode, steps=[0] * 9 + [1, 0, 0, 2, 0, 0, 0] * 2)


@pytest.mark.parametrize("how", ["backward", "double", "grad"])
def test_gradients_of_scales_are_no_views(mode, how):
    """Those of scales are sums that a rule gives another shape."""
    def make(wrap):
        net, norm = L.Linear(4, 3, initialW=arr(3, 4)), L.BatchNormalization(3)
        links = hnn.ChainList(net, norm)

        @wrap
        def f(x):
            y = F.sum(norm(net(x)) ** 2)
            links.cleargrads()
            if how == "grad":
                return [g.array.base is None for g in hnn.grad([y], list(links.params()))]
            y.backward(enable_double_backprop=how == "double")
            return [p.grad.base is None for p in links.params()]
        return [links], [lambda: f(arr(2, 4)), lambda: f(arr(2, 4) * 2)]
    check(make, mode)


def without_graph(x, p):
    with hnn.no_backprop_mode():
        return F.tanh(x)


def one_of_several(x, p):
    with hnn.no_backprop_mode():
        return F.split_axis(x, 3, 0)[1]


def unchained(x, p):
    y = F.tanh(x * p)
    y.unchain()
    return y


def accumulated(y, p):
    F.sum((y * p) ** 2).backward()
    F.sum(y * y).backward()


def of_gradients(y, p):
    gp, = hnn.grad([F.sum((y * p) ** 2)], [p], enable_double_backprop=True)
    F.sum(gp * gp).backward()


def added_to_what_was_given(y, p):
    y.grad = np.ones_like(y.array)
    F.sum(y * p).backward()


@pytest.mark.parametrize("made", [without_graph, one_of_several, unchained])
@pytest.mark.parametrize("back", [lambda y, p: F.sum((y * p) ** 2).backward(), accumulated, of_gradients, added_to_what_was_given])
@pytest.mark.parametrize("left", ["raises", "branches"])
def test_a_path_is_left_behind_the_gradient_of_a_value_without_a_graph(mode, made, back, left):
    def make(wrap):
        p, state = hnn.Parameter(arr(3)), types.SimpleNamespace(y=None, n=0)

        @wrap
        def f(x):
            p.cleargrad()
            y = state.y = made(x, p)
            back(y, p)
            if left == "raises":
                raise KeyError("it stays")
            if state.n % 3 == 2:
                F.sum(y * p * 2).backward()
            return y

        def run():
            state.n += 1
            return f(var(3, seed=state.n))
        return [p, state], [run]
    check(make, mode, steps=[0] * 9)
