"""Updates with the hooks of optimizers, whose numbers, order and code change between calls."""
import warnings

import numpy as np
import pytest
from worlds import MODES, arr, check

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizer, optimizers
from hybridnn.optimizer_hooks import GradientClipping, GradientHardClipping, GradientLARS, Lasso, WeightDecay
from hybridnn.optimizer_hooks.decay import loss_scale_of

pytestmark = pytest.mark.parametrize("mode", MODES)

HOOKS = {
    "clipping": lambda: [GradientClipping(0.5)],
    "loose clipping": lambda: [GradientClipping(1e6)],
    "hard clipping": lambda: [GradientHardClipping(-0.1, 0.2)],
    "decay": lambda: [WeightDecay(0.1)],
    "lasso": lambda: [Lasso(0.1)],
    "average": lambda: [optimizers.ExponentialMovingAverage(0.9)],
    "trust ratios": lambda: [GradientLARS(0.1, weight_decay=0.01)],
    "several": lambda: [WeightDecay(0.1), GradientClipping(0.3), GradientLARS(0.5), Lasso(0.01), optimizers.ExponentialMovingAverage(0.5)],
}


def world(hooks, mode, more=(), kind=optimizers.Adam, least=10, tolerance=1.0):
    """``more``: functions of (run, optimizer, hooks, links) that make a call of the scenario."""
    def make(wrap):
        links = hnn.ChainList(L.Linear(3, 4), L.Linear(4, 2))
        opt = kind().setup(links)
        made = hooks()
        for hook in made:
            opt.add_hook(hook)

        @wrap
        def f(x):
            h = F.sum(F.tanh(links[1](F.relu(links[0](x)))) ** 2)
            links.cleargrads()
            h.backward()
            opt.update()
            return h
        averages = [h.averages for h in made if isinstance(h, optimizers.ExponentialMovingAverage)]
        counts = [h for h in made if isinstance(h, optimizers.ExponentialMovingAverage)]

        def run(x):
            return f(x), [p.grad.copy() for p in links.params()], [dict(a) for a in averages], [h.updates for h in counts]
        return [links], [lambda: run(arr(5, 3)), lambda: run(arr(5, 3) * 3), *[lambda m=m: m(lambda: run(arr(5, 3)), opt, made, links) for m in more]]
    w = check(make, mode, tolerance=tolerance)
    assert w.total("python_skipped") >= (least if mode == "auto" else 0), w[0].explain()


@pytest.mark.parametrize("name", HOOKS)
def test_hooks(mode, name):
    world(HOOKS[name], mode)


def older(kind, *args):
    with pytest.warns(DeprecationWarning):
        return kind(*args)


def test_hooks_of_older_names(mode):
    def rate(run, opt, made, links):
        made[0].rate *= 2
        return run()
    world(lambda: [older(optimizer.WeightDecay, 0.1), older(optimizer.Lasso, 0.01), older(optimizer.GradientHardClipping, -0.1, 0.2),
                   older(optimizer.GradientClipping, 0.3)], mode, [rate])


def test_two_hooks_of_one_kind(mode):
    """Their numbers are not mixed up."""
    def make():
        second = older(optimizer.WeightDecay, 0.5)
        second.name = "second"
        return [WeightDecay(0.1), second]

    def rate(run, opt, made, links):
        made[0].rate *= 2
        return run()
    world(make, mode, [rate], least=0)


def test_numbers_of_hooks_change(mode):
    def threshold(run, opt, made, links):
        made[1].threshold *= 0.5
        return run()

    def rate(run, opt, made, links):
        made[0].rate = made[0].rate * 2 if made[0].rate < 1 else 1
        return run()

    def decay(run, opt, made, links):
        made[3].decay = 0.25
        return run()
    world(HOOKS["several"], mode, [threshold, rate, decay])


def test_hooks_come_and_go(mode):
    def remove(run, opt, made, links):
        opt.remove_hook("WeightDecay")
        result = run()
        opt.add_hook(made[0])
        return result, run()

    def user(run, opt, made, links):
        seen = []
        opt.add_hook(lambda o: seen.append(o.t), name="user")
        result = run()
        opt.remove_hook("user")
        return result, seen, run()

    def own_code(run, opt, made, links):
        made[2].call_for_each_param = False
        made[2].__class__ = type("Mine", (Lasso,), {"__call__": lambda self, o: [p.grad.fill(0.5) for p in o.target.params()]})
        return run()
    world(HOOKS["several"], mode, [remove, user, own_code], tolerance=10.0)      # trust ratios and Adam magnify the rounding of 40 updates


def test_the_code_of_a_hook_is_replaced(mode, monkeypatch):
    def replaced(run, opt, made, links):
        with monkeypatch.context() as m:
            m.setattr(WeightDecay, "__call__", lambda self, rule, param: None)
            return run()
    world(HOOKS["decay"], mode, [replaced])


def test_averages_are_replaced(mode):
    def copied(run, opt, made, links):
        made[0].averages = {k: a.copy() for k, a in made[0].averages.items()}
        return run()

    def one(run, opt, made, links):
        name = next(iter(made[0].averages))
        made[0].averages[name] = np.zeros_like(made[0].averages[name])
        return run()

    def emptied(run, opt, made, links):
        made[0].averages.clear()
        return run()

    def applied(run, opt, made, links):
        with made[0].applied(links):
            return [p.array.copy() for p in links.params()], run()
    world(HOOKS["average"], mode, [copied, one, emptied, applied])


def test_loss_scaling_begins(mode):
    def scaled(run, opt, made, links):
        opt.loss_scaling(scale=2.0)
        return run()
    world(HOOKS["several"], mode, [scaled])


def test_dynamic_loss_scales_change_in_every_call(mode):
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))
        opt = optimizers.MomentumSGD(0.1).setup(net)
        opt.loss_scaling(interval=3)
        step = wrap(lambda x: opt.update(lambda: F.sum(net(x) ** 2)))

        def run(x):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step(x)
            return opt._loss_scale, opt.t, net.W.grad
        return [net, opt], [lambda: run(arr(2, 4)), lambda: run(arr(2, 4) * 2), lambda: run(arr(2, 4) + np.float32(np.inf)), lambda: run(arr(2, 4))]
    traces = check(make, mode)
    assert traces.total("recordings") <= 4


def test_scaled_steps_with_batch_normalization_replay(mode):
    def make(wrap):
        links = hnn.ChainList(L.Linear(4, 3, initialW=arr(3, 4)), L.BatchNormalization(3))
        opt = optimizers.MomentumSGD(0.1).setup(links)
        opt.loss_scaling(scale=8.0)
        step = wrap(lambda x: opt.update(lambda: F.sum(links[1](links[0](x)) ** 2)))
        return [links, opt], [lambda: step(arr(5, 4)), lambda: step(arr(5, 4) * 2)]
    traces = check(make, mode)
    assert traces.total("hits") > 4 and traces.total("recordings") == 1


@pytest.mark.parametrize("retain, double", [(False, False), (True, False), (False, True)])
def test_scales_of_losses_are_read_in_each_call(mode, retain, double):
    """Also where a call leaves its path behind backward."""
    def make(wrap):
        net = L.Linear(4, 3, initialW=arr(3, 4))

        @wrap
        def f(x, scale, late):
            h = F.tanh(net(x))
            y = F.sum(h)
            net.cleargrads()
            y.backward(loss_scale=scale[0], retain_grad=retain, enable_double_backprop=double)
            g = net.W.grad_var
            z = F.sum(g * g) if late else F.sum(g)
            return y, z, net.W.grad, y.grad, h.grad, loss_scale_of(net.W)
        return [net], [lambda s=s, late=late: f(arr(2, 4), [s], late)
                       for s, late in [(2.0, False), (3.0, False), (4.5, True), (3, False), (np.float32(2), True), (None, False), (1e30, False)]]
    check(make, mode)


def test_one_gradient_of_two_parameters(mode):
    def make(wrap):
        a, b = hnn.Parameter(arr(3)), hnn.Parameter(arr(3) + 1)
        link = hnn.Chain()
        with link.init_scope():
            link.a, link.b = a, b
        opt = optimizers.SGD(0.1).setup(link)
        opt.add_hook(WeightDecay(0.5))
        opt.add_hook(GradientClipping(0.4))

        @wrap
        def f(x):
            link.cleargrads()
            F.sum((a + b) * x).backward()
            opt.update()
            return a.array is b.array
        return [link], [lambda: f(arr(3)), lambda: f(arr(3) * 2)]
    check(make, mode)


def test_gradients_that_hooks_changed_are_returned(mode):
    def make(wrap):
        link = L.Linear(3, 2)
        opt = optimizers.MomentumSGD(0.1).setup(link)
        opt.add_hook(GradientClipping(0.1))

        @wrap
        def f(x):
            link.cleargrads()
            F.sum(link(x) ** 2).backward()
            before = link.W.grad_var
            opt.update()
            return before, link.b.grad_var, F.sum(link.W)
        return [link], [lambda: f(arr(4, 3)), lambda: f(arr(4, 3) * 0)]
    check(make, mode)


def test_gradients_from_before(mode):
    def make(wrap):
        link = L.Linear(3, 2)
        opt = optimizers.SGD(0.1).setup(link)
        opt.add_hook(GradientClipping(0.3))
        opt.add_hook(WeightDecay(0.1))

        @wrap
        def f(x):
            loss = F.sum(link(x) ** 2)
            loss.backward()
            opt.update()
            return loss
        return [link], [lambda: (link.cleargrads(), f(arr(4, 3)))[1], lambda: f(arr(4, 3))]
    check(make, mode)


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_a_parameter_without_a_gradient_gets_one_from_the_hooks(mode, kind, name):
    def make(wrap):
        net = hnn.Chain(l=L.Linear(3, 4))
        with net.init_scope():
            net.unused = hnn.Parameter(arr(2, 2))
        opt = kind().setup(net)
        for hook in HOOKS[name]():
            opt.add_hook(hook)

        @wrap
        def step(x):
            loss = F.sum(net.l(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [net], [lambda: step(arr(5, 3)), lambda: (step(arr(5, 3)), net.unused.grad.copy())]
    check(make, mode, tolerance=10.0)


def test_parameters_that_are_not_updated(mode):
    """Layers are frozen from the start, later, and freed again."""
    def make(wrap):
        links = hnn.ChainList(L.Linear(3, 4), L.Linear(4, 2))
        opt = optimizers.Adam().setup(links)
        opt.add_hook(WeightDecay(0.01))
        links[0].disable_update()

        @wrap
        def f(x):
            loss = F.sum(F.tanh(links[1](F.relu(links[0](x)))) ** 2)
            links.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def run(which=None, on=None):
            if which is not None:
                (links[which].enable_update if on else links[which].disable_update)()
            return f(arr(5, 3)), [p.grad.copy() for p in links.params()], [p.update_rule.t for p in links.params()], opt.t
        return [links], [run, lambda: run(1, False), lambda: run(1, True), lambda: run(0, True), lambda: run(0, False)]
    w = check(make, mode)
    assert w.total("python_skipped") >= (10 if mode == "auto" else 0), w[0].explain()


@pytest.mark.parametrize("name", [*HOOKS, "by hand"])
def test_hooks_come_where_gradients_are_views_of_one(mode, name):
    """The path of the first calls is left in the update, behind backward; every call is the first such one of its trace."""
    def make(wrap):
        net = hnn.Chain()
        with net.init_scope():
            net.p, net.q, net.r = hnn.Parameter(arr(6)), hnn.Parameter(arr(2, 3)), hnn.Parameter(arr(3, 2))
        opt = optimizers.SGD(0.1).setup(net)

        def step(x):
            loss = F.sum((F.reshape(net.p, (2, 3)) + net.q + F.transpose(net.r)) * x)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def by_hand(rule, param):
            param.grad *= 2
        by_hand.name, by_hand.call_for_each_param = "by hand", True

        def run():
            f = wrap(step)
            before = [f(arr(2, 3)) for _ in range(3)]
            hooks = HOOKS[name]() if name in HOOKS else [by_hand]
            for hook in hooks:
                opt.add_hook(hook)
            behind = [f(arr(2, 3)) for _ in range(2)]
            for hook in hooks:
                opt.remove_hook(hook.name)
            return before, behind, f(arr(2, 3))
        return [net], [run]
    check(make, mode)


def scaled(params):
    for p in params:
        p.grad *= 0.5


def noisy(params):
    for p in list(params)[1:]:
        p.grad += np.float32(0.01) * np.random.randn(*p.shape).astype("f")


def regularised(params):
    for p in params:
        p.grad += 0.01 * p.array


def replaced(params):
    for p in params:
        p.grad = p.grad + 0.01 * p.array


@pytest.mark.parametrize("again", ["", "update", "backward", "update and backward"])
@pytest.mark.parametrize("by_hand", [scaled, noisy, regularised, replaced])
@pytest.mark.parametrize("name", ["clipping", "hard clipping", "decay", "several"])
def test_gradients_that_the_program_has_changed_before(mode, name, by_hand, again):
    """Hooks change them further, in place, and what comes then adds to what they have made of them."""
    def make(wrap):
        links = hnn.ChainList(L.Linear(3, 4, initialW=arr(4, 3)), L.Linear(4, 2, initialW=arr(2, 4)))
        opt = optimizers.MomentumSGD(0.01).setup(links)
        for hook in HOOKS[name]():
            opt.add_hook(hook)

        @wrap
        def f(x):
            def loss():
                return F.sum(F.tanh(links[1](F.tanh(links[0](x)))) ** 2)
            h = loss()
            links.cleargrads()
            h.backward()
            by_hand(links.params())
            opt.update()
            if "update" in again:
                opt.update()
            if "backward" in again:
                loss().backward()
                opt.update()
            return h

        def run(x):
            return f(x), [p.grad.copy() for p in links.params()]
        return [links], [lambda: run(arr(5, 3)), lambda: run(arr(5, 3) * 2)]
    w = check(make, mode, tolerance=10.0)
    assert w.total("python_skipped") >= (10 if mode == "auto" else 0), w[0].explain()
