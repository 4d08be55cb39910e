"""Backward outside of traced functions: through graphs of several calls, changed in between, walked twice, cut, or with values that the caller changes."""
import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.first, self.norm, self.last = L.Linear(4, 6), L.BatchNormalization(6), L.Linear(6, 2)

    def forward(self, x):
        return self.last(F.relu(self.norm(self.first(x))))


def learner(net, optimizer):
    """``learn(loss)``: backward outside, and the update."""
    optimizer.setup(net)

    def learn(loss, clear=True):
        if clear:
            net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    return learn


def test_training_with_the_forward_pass_traced(mode):
    def make(wrap):
        net = Net()
        forward, learn = wrap(net.forward), learner(net, hnn.optimizers.Adam(0.01))
        x, t = arr(5, 4), np.array([0, 1, 1, 0, 1], "i")

        def call(x=x, t=t):
            return learn(F.softmax_cross_entropy(forward(x), t))

        def evaluated():
            with hnn.using_config("train", False):
                return learn(F.softmax_cross_entropy(forward(x), t))
        return net, [call, lambda: call(arr(3, 4), t[:3]), evaluated, lambda: learn(F.sum(forward(x) ** 2), clear=False)]
    check(make, mode)


def test_a_tree_of_calls(mode):
    """The results of calls are operands of others; all share their parameters."""
    def make(wrap):
        cell = L.Linear(6, 3)
        join = wrap(lambda a, b: F.tanh(cell(F.concat((a, b)))))
        xs = [var(1, 3, seed=k) for k in range(4)]

        def tree(shape):
            if isinstance(shape, int):
                return xs[shape]
            a, b = map(tree, shape)
            return join(a, b)

        def run(shape):
            cell.cleargrads()
            for x in xs:
                x.cleargrad()
            y = tree(shape)
            F.sum(y * y).backward()
            return y
        return [cell, xs], [lambda: run(((0, 1), (2, 3))), lambda: run((((0, 1), 2), 3)), lambda: run((0, 0))]
    check(make, mode)


def test_several_results(mode):
    """Gradients come to all results, to some, to one that another was computed from, and to one twice."""
    def make(wrap):
        w, x = var(4, 3, seed=1), var(2, 4)

        def body(x):
            h = F.tanh(F.matmul(x, w))
            a, b, c = F.split_axis(h * 2, 3, axis=1)
            return h, a, (b * c, F.exp(h))
        f = wrap(body)

        def run(loss):
            w.cleargrad(), x.cleargrad()
            y = f(x)
            loss(*y).backward()
            return y

        def grads(h, a, rest):
            a.grad = np.full(a.shape, 0.5, "f")
            return F.sum(rest[0])
        return [w, x], [lambda: run(lambda h, a, r: F.sum(h * h) + F.sum(a) * F.sum(r[0] * r[1][:, :1])), lambda: run(lambda h, a, r: F.sum(a)),
                        lambda: run(lambda h, a, r: F.sum(r[1])), lambda: run(grads), lambda: run(lambda h, a, r: F.sum(h) + F.sum(h * 3))]
    check(make, mode)


def test_walked_twice(mode):
    def make(wrap):
        net, x = L.Linear(4, 3), var(2, 4)
        f = wrap(lambda x: F.sigmoid(net(x)))

        def run(times):
            net.cleargrads(), x.cleargrad()
            y = f(x)
            for k in range(times):
                F.sum(y * (k + 1)).backward()
            return y
        return [net, x], [lambda: run(2), lambda: run(3), lambda: run(1)]
    check(make, mode)


def test_arrays_written_before_backward(mode):
    """Eager keeps arrays, not copies: what is written into parameters and arguments in between changes the gradients."""
    def make(wrap):
        net, x = L.Linear(4, 3), var(2, 4)
        f = wrap(lambda x: F.tanh(net(F.sin(x))) * F.sum(x))

        def run(write):
            net.cleargrads(), x.cleargrad()
            y = f(x)
            kept = net.W.array.copy(), x.array.copy()
            write()
            F.sum(y).backward()
            net.W.array[...], x.array[...] = kept
            return y

        def fill(a):
            a[...] = 0.5
        return [net, x], [lambda: run(lambda: None), lambda: run(lambda: fill(net.W.array)), lambda: run(lambda: fill(x.array)),
                          lambda: run(lambda: setattr(net.W, "array", np.ones_like(net.W.array)))]
    check(make, mode)


def test_graphs_cut_after_the_call(mode):
    def make(wrap):
        net, x = L.Linear(4, 3), var(2, 4)

        def body(x):
            h = net(x)
            return h, F.tanh(h) * 2
        f = wrap(body)

        def run(change):
            net.cleargrads(), x.cleargrad()
            h, y = f(F.exp(x))
            change(h, y)
            F.sum(y).backward()
            return h, y
        return [net, x], [lambda: run(lambda h, y: None), lambda: run(lambda h, y: h.unchain()), lambda: run(lambda h, y: h.unchain_backward()),
                          lambda: run(lambda h, y: y.unchain())]
    check(make, mode)


def test_frozen_between_forward_and_backward(mode):
    def make(wrap):
        net = Net()
        f, x = wrap(net.forward), arr(5, 4)

        def run(change=lambda: None):
            net.cleargrads()
            net.first.W.requires_grad = True
            y = f(x)
            change()
            F.sum(y * y).backward()
            return y
        return net, [run, lambda: run(lambda: setattr(net.first.W, "_requires_grad", True))]
    check(make, mode)


def test_other_ways_back(mode):
    """Gradients as Variables, kept gradients, hooks and loss scales."""
    def make(wrap):
        net, x = L.Linear(4, 3), var(2, 4)
        f = wrap(lambda x: F.sum(F.tanh(net(x)) ** 2))

        def cleared(run):
            def call():
                net.cleargrads(), x.cleargrad()
                return run(f(F.sin(x)))
            return call

        def hooked(y):
            with hnn.function_hooks.TimerHook() as hook:
                y.backward()
            return len(hook.call_history)

        def second(y):
            g, = hnn.grad([y], [x], enable_double_backprop=True)
            F.sum(g * g).backward()
            return g
        return [net, x], [cleared(lambda y: y.backward()), cleared(lambda y: y.backward(retain_grad=True)), cleared(hooked), cleared(second),
                          cleared(lambda y: y.backward(loss_scale=8.0)), cleared(lambda y: y.backward(enable_double_backprop=True)),
                          cleared(lambda y: hnn.grad([y], [x]))]
    check(make, mode)


def test_numbers_that_change(mode):
    def make(wrap):
        x, state = var(3, 4), dict(k=0.5)
        f = wrap(lambda k: F.tanh(x * k) / k + (k - x) ** 2 - k ** F.sin(x))

        def run(k=None):
            x.cleargrad()
            state["k"] += 0.25
            y = f(state["k"] if k is None else k)
            F.sum(y).backward()
            return y
        return [x, state], [run, lambda: run(2), lambda: run(1.0), lambda: run(np.float32(0.5))]
    check(make, mode)


def test_draws_and_indices(mode):
    def make(wrap):
        table, w, n = var(7, 4), var(4, 4, seed=1), iter(range(10 ** 6))

        def body(ids, flag):
            h = F.dropout(F.embed_id(ids, table) * 2, 0.3)
            return F.max(F.matmul(h, w), axis=1) if flag else F.log_softmax(F.matmul(h, w))[np.arange(len(ids)), ids % 4]
        f = wrap(body)

        def run(flag):
            table.cleargrad(), w.cleargrad()
            y = f(np.array([next(n) % 7, 3, 3, next(n) % 5], "i"), flag)
            F.sum(y * y).backward()
            return y
        return [table, w], [lambda: run(True), lambda: run(False)]
    check(make, mode)


def test_backward_inside_and_outside(mode):
    """What a call's own backward has walked is walked again outside."""
    def make(wrap):
        net, x = L.Linear(64, 64), var(40, 64)

        def body(x):
            y = F.exp(F.tanh(F.tanh(net(x)) * 2) * 0.5)
            net.cleargrads()
            F.sum(y).backward()
            return y
        f = wrap(body)

        def run(times):
            x.cleargrad()
            y = f(x)
            for _ in range(times):
                F.sum(y * y).backward()
            return y
        return [net, x], [lambda: run(1), lambda: run(0), lambda: run(2)]
    check(make, mode)


def test_values_that_are_not_numbers(mode):
    """NaN and infinities in gradients warn as in eager."""
    def make(wrap):
        x = var(3, 4)
        f = wrap(lambda x: F.log(x * x) / F.sqrt(x * x))

        def run(fill):
            x.cleargrad()
            x.array[0, 0] = fill
            with np.errstate(all="ignore"):
                y = f(x)
            F.sum(y).backward()
            return y
        return [x], [lambda: run(0.5), lambda: run(0.0), lambda: run(np.nan), lambda: run(np.inf)]
    check(make, mode)


def gradients_of(net, seed):
    """Gradients from outside for all parameters."""
    rng = np.random.default_rng(seed)
    for p in net.params():
        p.grad = rng.normal(size=p.shape).astype(p.dtype)


@pytest.mark.parametrize("optimizer", ["Adam(0.01)", "MomentumSGD(0.1)", "SGD(0.1)", "RMSprop(0.01)"])
def test_updates_alone(mode, optimizer):
    """The update takes gradients as they stand when it begins, whoever has put them there."""
    def make(wrap):
        net, n = Net(), iter(range(10 ** 6))
        net(arr(5, 4))
        opt = eval(f"hnn.optimizers.{optimizer}").setup(net)
        update = wrap(opt.update)

        def run(change=lambda: None):
            gradients_of(net, next(n))
            change()
            update()
            return [p.grad for p in net.params()]

        def strided():
            net.first.W.grad = np.asfortranarray(net.first.W.grad)

        def own():
            net.first.W.grad = net.first.W.array

        def view():
            net.norm.beta.grad = net.norm.gamma.array[::-1]

        def shared():
            net.norm.beta.grad = net.norm.gamma.grad

        def none():
            net.last.b.grad = None

        def variables():
            net.last.b.grad_var = hnn.Variable(np.ones(2, "f"))
        return [net, opt], [run, lambda: run(strided), lambda: run(own), lambda: run(view), lambda: run(shared), lambda: run(none), lambda: run(net.cleargrads),
                            lambda: run(variables), lambda: update()]
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 10


def test_an_update_between(mode):
    """Gradients from before the call are used up, cleared, computed anew where they lie, added to, or looked at in the call."""
    def make(wrap):
        net, n, x = L.Linear(4, 3), iter(range(10 ** 6)), arr(5, 4)
        opt = hnn.optimizers.Adam(0.01).setup(net)

        @wrap
        def later():
            opt.update()
            net.cleargrads()
            loss = F.sum(F.tanh(net(x)))
            loss.backward()
            return loss

        @wrap
        def added():
            opt.update()
            F.sum(net(x)).backward()
            opt.update()

        @wrap
        def cleared():
            opt.update()
            net.cleargrads()

        @wrap
        def seen():
            g = net.W.grad
            opt.update()
            return float(g.sum()), net.W.grad

        @wrap
        def assigned(value):
            net.W.grad = value
            opt.update()

        def given(fn, *args):
            def call():
                gradients_of(net, next(n))
                return fn(*args)
            return call
        return [net, opt], [given(later), later, given(added), given(cleared), given(seen), given(assigned, np.ones((3, 4), "f")), added]
    check(make, mode)


@pytest.mark.parametrize("hook", ["WeightDecay(0.1)", "GradientClipping(0.5)", "GradientHardClipping(-0.1, 0.1)", "Lasso(0.01)"])
def test_hooks_on_gradients_from_outside(mode, hook):
    """They change the caller's arrays in place, which may be one for two parameters, a part of another, or one that the function takes elsewhere."""
    def make(wrap):
        net, n = L.Linear(3, 3), iter(range(10 ** 6))
        net.add_param("again", (3, 3), "f", initializer=1)
        opt = hnn.optimizers.SGD(0.1).setup(net)
        opt.add_hook(eval(f"hnn.optimizer_hooks.{hook}"))
        kept, buffer = [], np.ones((3, 3), "f")
        update = wrap(opt.update)
        besides = wrap(lambda x: (opt.update(), F.sum(hnn.as_variable(x) * 2))[1])
        closed = wrap(lambda: (opt.update(), F.sum(hnn.as_variable(buffer) * 2))[1])

        def run(change=lambda: None, fn=update, *args):
            gradients_of(net, next(n))
            kept[:] = [net.W.grad]
            change()
            return kept, fn(*args)

        def part():
            net.b.grad = net.W.grad[:, 0]

        def one():
            net.again.grad = net.W.grad

        def closed_over():
            buffer[...] = 0.5
            net.W.grad = buffer

        def argument():
            gradients_of(net, next(n))
            return besides(net.W.grad)
        return [net, opt, kept], [run, lambda: run(part), lambda: run(one), lambda: run(lambda: None, besides, arr(3, 3)), argument,
                                  lambda: run(lambda: None, closed), lambda: run(closed_over, closed)]
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 10


def test_parameters_that_the_loss_does_not_use(mode):
    """They keep the gradients that they have."""
    def make(wrap):
        net, x = Net(), arr(5, 4)
        net(x)
        opt = hnn.optimizers.Adam(0.01).setup(net)

        @wrap
        def step(x):
            net.first.cleargrads()
            loss = F.sum(net.first(x) ** 2)
            loss.backward()
            opt.update()
            return loss

        def run(change):
            change()
            return step(x)

        def some():
            net.last.W.grad = np.ones((2, 6), "f")

        def none():
            net.last.W.grad = None
        return [net, opt], [lambda: run(lambda: None), lambda: run(some), lambda: run(none), lambda: run(lambda: gradients_of(net, 3))]
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 10


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("after", [False, True])
def test_gradients_from_outside_that_overlap(mode, first, after):
    """Hooks change them where they lie: in a buffer of which they share parts, or that the function takes elsewhere, whichever call was the first one."""
    def make(wrap):
        net, flat = L.Linear(4, 3, initialW=arr(3, 4)), arr(40, seed=8)
        opt = hnn.optimizers.SGD(0.1).setup(net)
        opt.add_hook(hnn.optimizer_hooks.WeightDecay(0.1))
        scale, q = arr(3, 4, seed=11), hnn.Parameter(arr(3, 4, seed=13))

        @wrap
        def plain():
            opt.update()
            return F.exp(q)

        @wrap
        def scaled():
            opt.update()
            return F.exp(q * scale)

        def run(weight, bias):
            net.W.grad, net.b.grad = weight(), bias()
            return (scaled if after else plain)(), net.W.grad, net.b.grad, flat, scale
        ways = [(lambda: arr(3, 4, seed=3), lambda: arr(3, seed=4)), (lambda: scale, lambda: arr(3, seed=4)),
                (lambda: flat[:12].reshape(3, 4), lambda: flat[10:13]), (lambda: flat[:12].reshape(3, 4), lambda: flat[20:23])]
        ways[0], ways[first] = ways[first], ways[0]
        return [net, opt], [lambda w=w: run(*w) for w in ways]
    traces = check(make, mode, tolerance=10.0)
    assert mode != "auto" or after or first == 2 or traces.total("python_skipped") > 10


@pytest.mark.parametrize("hooks", [[], ["WeightDecay(0.1)"]])
def test_scaled_gradients_from_outside(mode, hooks):
    """The update divides by the loss scale that backward was given."""
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))
        opt = hnn.optimizers.MomentumSGD(0.1).setup(net)
        for hook in hooks:
            opt.add_hook(eval(f"hnn.optimizer_hooks.{hook}"))
        update = wrap(opt.update)

        def run(scale):
            net.cleargrads()
            F.sum(net(arr(2, 4)) ** 2).backward(loss_scale=scale)
            update()
        return [net, opt], [lambda: run(None), lambda: run(2.0), lambda: run(4.0)]
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 10


@pytest.mark.parametrize("first", range(3))
def test_gradients_are_added_to_arrays_of_the_function(mode, first):
    """What a gradient is added to is an array that an operation takes, too, in some calls; or the parameter itself."""
    def make(wrap):
        net, x, scale = L.Linear(4, 3, initialW=arr(3, 4)), arr(2, 4), arr(3, 4, seed=11)

        @wrap
        def step():
            loss = F.sum(F.tanh(net(x))) + F.sum(net.W * scale)
            loss.backward()
            return loss

        def run(given):
            net.W.grad, net.b.grad = given(), arr(3, seed=4)
            return step(), net.W.grad, net.b.grad, scale
        ways = [lambda: arr(3, 4, seed=3), lambda: scale, lambda: net.W.array]
        ways[0], ways[first] = ways[first], ways[0]
        return [net], [lambda w=w: run(w) for w in ways]
    traces = check(make, mode)
    assert mode != "auto" or first or traces.total("python_skipped") > 10


@pytest.mark.parametrize("view", [lambda p: F.reshape(p, (1, 4)), lambda p: F.broadcast_to(p, (5, 4)), lambda p: p[:1], lambda p: F.reshape(p, (2, 2))[0, 1]])
def test_views_of_arrays_written_before_backward(mode, view):
    """The graph keeps a view of an array that the caller has, and writes into after the call: a parameter, an argument, a result."""
    def make(wrap):
        p = hnn.Parameter(arr(4))

        @wrap
        def forward(x):
            h = F.tanh(x * p)
            return x * view(p), p * x[0], h, h[1] * p

        def run(change):
            p.cleargrad()
            x = var(5, 4)
            ys = forward(x)
            change(x, ys)
            sum(F.sum(y * y) for y in ys).backward()
            return x.grad, p.grad

        def parameter(x, ys):
            p.array[...] *= 1.5

        def argument(x, ys):
            x.array[...] *= 2

        def result(x, ys):
            ys[2].array[...] *= 3
        return [p], [lambda: run(lambda x, ys: None), lambda: run(parameter), lambda: run(argument), lambda: run(result)]
    traces = check(make, mode, tolerance=10.0)
    assert mode != "auto" or traces.total("python_skipped") > 10


class Derived(np.ndarray):
    pass


def test_gradients_of_classes_derived_from_arrays(mode):
    """What comes to a finished call as such makes gradients of that class in it, too."""
    def make(wrap):
        link = L.Linear(3, 2, initialW=0.25)
        f = wrap(lambda x: F.tanh(link(x)))

        def back(weight):
            def run():
                x = var(4, 3)
                link.cleargrads()
                F.sum(f(x) * hnn.Variable(weight)).backward()
                return x.grad
            return run
        return link, [back(arr(4, 2)), back(arr(4, 2).view(Derived))]
    check(make, mode)
