"""State: statistics, dropout, recurrent state, parameters loaded and tied, optimizers with schedules, hooks and snapshots."""
import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizer_hooks, optimizers, serializers

pytestmark = pytest.mark.parametrize("mode", MODES)


def mlp():
    return hnn.Sequential(L.Linear(3, 4), F.tanh, L.Linear(4, 2))


def stepper(wrap, net, *opts):
    """A whole training step."""
    @wrap
    def step(x, t):
        net.cleargrads()
        loss = F.softmax_cross_entropy(net(x), t)
        loss.backward()
        for opt in opts:
            opt.update()
        return loss
    return step


def batch(seed=0):
    return arr(5, 3, seed=seed), np.random.default_rng(seed).integers(0, 2, 5).astype("int32")


@pytest.mark.parametrize("name", ["SGD", "MomentumSGD", "Adam", "RMSprop", "AdaGrad", "AdaDelta", "NesterovAG", "AdamW"])
def test_optimizers(mode, name):
    def make(wrap):
        net = mlp()
        opt = getattr(optimizers, name)().setup(net)
        step, n = stepper(wrap, net, opt), iter(range(1000))
        return [net, opt], [lambda: step(*batch(next(n)))]
    w = check(make, mode, held=True)
    assert w.total("hits") >= 5 and w.total("recordings") == 1


def test_schedules_and_hyperparameters(mode):
    def make(wrap):
        net = mlp()
        opt = optimizers.MomentumSGD(0.1).setup(net)
        step, rates = stepper(wrap, net, opt), iter(np.linspace(1, 0.1, 100).tolist())

        def scheduled():
            opt.lr = next(rates)
            return step(*batch())

        def put(obj, name, value):
            return lambda: (setattr(obj, name, value), step(*batch()))[1]
        own = net[0].W.update_rule.hyperparam
        return [net, opt], [scheduled, put(opt, "lr", 1), put(opt, "momentum", 0.5), put(opt, "lr", np.float64(0.25)), put(own, "lr", 0.01),
                            put(own, "lr", 0.02), lambda: (delattr(own, "lr") if "lr" in vars(own) else None, step(*batch()))[1],
                            put(opt, "lr", 0.1), put(opt.hyperparam, "momentum", 0)]
    check(make, mode, steps=[*[0] * 12, 1, 1, 0, 0, 2, 2, 0, 3, 3, 3, 0, *[4] * 4, *[5] * 3, *[0] * 3, 6, 6, *[7] * 8, 5, 5, 6, 6, 0, 8, 8, 0])


def test_schedule_records_once(mode):
    def make(wrap):
        net = mlp()
        opt = optimizers.Adam().setup(net)
        step, rates = stepper(wrap, net, opt), iter(np.linspace(1, 0.1, 100).tolist())
        return [net, opt], [lambda: (setattr(opt, "alpha", next(rates)), step(*batch()))[1]]
    assert check(make, mode, steps=[0] * 12).total("recordings") == 1


def test_one_rule_frozen_for_a_while(mode):
    """Afterwards its counter differs from the others'."""
    def make(wrap):
        net = mlp()
        opt = optimizers.Adam().setup(net)
        step, rule = stepper(wrap, net, opt), net[2].W.update_rule
        return [net, opt], [lambda: step(*batch()), lambda: (setattr(rule, "enabled", False), step(*batch()))[1],
                            lambda: (setattr(rule, "enabled", True), step(*batch()))[1], lambda: (setattr(rule, "t", 1), step(*batch()))[1],
                            lambda: (setattr(opt, "t", 1), step(*batch()))[1]]
    check(make, mode, steps=[*[0] * 8, 1, 1, *[2] * 9, 3, *[0] * 9, 4, 0, 0])


def test_optimizer_hooks(mode):
    def make(wrap):
        net = mlp()
        opt = optimizers.SGD(0.1).setup(net)
        step, seen = stepper(wrap, net, opt), []

        def call(change):
            return lambda: (change(), step(*batch()))[1]

        def look(o):
            seen.append([p.grad.copy() for p in o.target.params()])
        return [net, opt, seen], [
            call(lambda: None), call(lambda: opt.add_hook(optimizer_hooks.WeightDecay(0.1))),
            call(lambda: opt.add_hook(optimizer_hooks.GradientClipping(0.01))), call(lambda: opt.remove_hook("WeightDecay")),
            call(lambda: opt.add_hook(look, "look")), call(lambda: opt.remove_hook("look")), call(lambda: opt.add_hook(optimizer_hooks.GradientNoise(0.1)))]
    check(make, mode, steps=[*[0] * 8, 1, *[0] * 8, 2, *[0] * 8, 3, *[0] * 8, 4, *[0] * 4, 5, *[0] * 8, 6, *[0] * 8])


def test_hooks_that_read_values(mode):
    def make(wrap):
        net = mlp()
        opt = optimizers.SGD(0.1).setup(net)
        opt.add_hook(optimizer_hooks.GradientClipping(0.5))
        opt.add_hook(optimizer_hooks.WeightDecay(0.01))
        step, n = stepper(wrap, net, opt), iter(range(1000))
        return [net, opt], [lambda: step(*batch(next(n)))]
    assert check(make, mode).total("hits") >= 3


def test_two_optimizers(mode):
    def make(wrap):
        a, b = L.Linear(3, 3), L.Linear(3, 2)
        one, two = optimizers.SGD(0.1).setup(a), optimizers.Adam().setup(b)
        net = hnn.Sequential(a, F.tanh, b)
        step = stepper(wrap, net, one, two)
        both = stepper(wrap, net, optimizers.SGD(0.1).setup(net), two)
        return [net, one, two], [lambda: step(*batch()), lambda: both(*batch(1))]
    check(make, mode)


def test_two_updates_and_a_branch_after(mode):
    def make(wrap):
        net, flag = mlp(), [False]
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            h = net(x)
            for _ in range(2):
                net.cleargrads()
                F.sum(net(x) ** 2).backward()
                opt.update()
            y = net(x)
            return F.exp(y) + h if flag[0] else (y * 2, h, F.sum(h) > F.sum(y))

        def call(value):
            flag[0] = value
            return step(arr(4, 3))
        return [net, opt], [lambda: call(False), lambda: call(True)]
    check(make, mode)


def test_tied_parameters(mode):
    def make(wrap):
        class Tied(hnn.Chain):
            def __init__(self):
                super().__init__()
                with self.init_scope():
                    self.a = L.Linear(3, 3)
                    self.b = L.Linear(3, 3)
                self.b.W = self.a.W

            def __call__(self, x):
                return self.b(F.tanh(self.a(x)))
        net = Tied()
        opt = optimizers.Adam().setup(net)
        step = stepper(wrap, net, opt)

        def untie():
            net.b.W = hnn.Parameter(arr(3, 3, seed=9))
            opt.setup(net)
            return step(*batch())
        return [net, opt], [lambda: step(*batch()), untie]
    check(make, mode, steps=[*[0] * 8, 1, *[0] * 8])


def test_batch_normalization(mode):
    def make(wrap):
        net = hnn.Sequential(L.Linear(3, 4), L.BatchNormalization(4), F.relu, L.Linear(4, 2))
        opt = optimizers.SGD(0.1).setup(net)
        step, n = stepper(wrap, net, opt), iter(range(1000))
        predict = wrap(lambda x: net(x))

        def test():
            with hnn.using_config("train", False):
                return predict(arr(4, 3))
        return [net, opt], [lambda: step(*batch(next(n))), test, lambda: predict(arr(4, 3)), lambda: (net[1].start_finetuning(), step(*batch()))[1]]
    check(make, mode, held=True)


def test_dropout_stream(mode):
    def make(wrap):
        net = hnn.Sequential(L.Linear(3, 8), lambda x: F.dropout(x, 0.5), L.Linear(8, 2))
        opt = optimizers.SGD(0.1).setup(net)
        step = stepper(wrap, net, opt)
        f = wrap(lambda x, r: F.dropout(x, r))
        return [net, opt], [lambda: step(*batch()), lambda: f(var(3), 0.25), lambda: (np.random.rand(), f(var(3), 0.75))[1],
                            lambda: (np.random.seed(1), step(*batch()))[1]]
    check(make, mode)


def test_stateful_lstm(mode):
    def make(wrap):
        class Net(hnn.Chain):
            def __init__(self):
                super().__init__()
                with self.init_scope():
                    self.l, self.o = L.LSTM(3, 4), L.Linear(4, 2)

            @wrap
            def __call__(self, x):
                return self.o(self.l(x))
        net = Net()
        opt = optimizers.SGD(0.1).setup(net)

        def sequence(length):
            net.l.reset_state()
            loss = 0
            for k in range(length):
                loss += F.sum(net(arr(2, 3, seed=k)) ** 2)
            net.cleargrads()
            loss.backward()
            loss.unchain_backward()
            opt.update()
            return loss
        return [net, opt], [lambda: sequence(3), lambda: sequence(5)]
    check(make, mode, steps=[0] * 5 + [1] * 3 + [0] * 2)


def test_whole_sequence_traced(mode):
    def make(wrap):
        net = L.LSTM(3, 4)
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(xs):
            net.reset_state()
            loss = 0
            for x in xs:
                loss += F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [net, opt], [lambda: step([arr(2, 3, seed=k) for k in range(3)]), lambda: step([arr(2, 3, seed=k) for k in range(4)])]
    check(make, mode)


def test_load_npz(mode, tmp_path):
    serializers.save_npz(tmp_path / "net.npz", mlp())

    def make(wrap):
        net = mlp()
        opt = optimizers.Adam().setup(net)
        step = stepper(wrap, net, opt)

        def load():
            serializers.load_npz(tmp_path / "net.npz", net)
            return step(*batch())

        def copy():
            net.copyparams(mlp())
            return step(*batch())
        return [net, opt], [lambda: step(*batch()), load, copy]
    check(make, mode, held=True)


def test_snapshot_and_resume(mode, tmp_path):
    def make(wrap):
        net = mlp()
        opt = optimizers.Adam().setup(net)
        step = stepper(wrap, net, opt)
        path = tmp_path / f"{id(net)}.npz"

        def save():
            serializers.save_npz(path, opt)
            return step(*batch())

        def resume():
            serializers.load_npz(path, opt)
            return step(*batch())
        return [net, opt], [lambda: step(*batch()), save, resume]
    check(make, mode, steps=[*[0] * 8, 1, *[0] * 3, 2, *[0] * 8])


def test_moving_average(mode):
    def make(wrap):
        net, mean = mlp(), mlp()
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x, t):
            net.cleargrads()
            loss = F.softmax_cross_entropy(net(x), t)
            loss.backward()
            opt.update()
            for p, m in zip(net.params(), mean.params()):
                m.array *= 0.9
                m.array += 0.1 * p.array
            return loss
        return [net, mean], [lambda: step(*batch())]
    check(make, mode)


def test_parameters_replaced(mode):
    def make(wrap):
        net = mlp()
        step = stepper(wrap, net, optimizers.SGD(0.1).setup(net))

        def replace():
            net[0].W.array = arr(4, 3, seed=3)
            return step(*batch())

        def layer():
            net[0].b = hnn.Parameter(arr(4))
            optimizers.SGD(0.1).setup(net)
            return step(*batch())
        return [net], [lambda: step(*batch()), replace, layer]
    check(make, mode, steps=[*[0] * 8, 1, *[0] * 8, 2, *[0] * 4])


def test_new_optimizer_and_target(mode):
    def make(wrap):
        net = mlp()
        box = [optimizers.SGD(0.1).setup(net)]

        @wrap
        def step(x, t):
            net.cleargrads()
            loss = F.softmax_cross_entropy(net(x), t)
            loss.backward()
            box[0].update()
            return loss

        def swap():
            box[0] = optimizers.Adam().setup(net)
            return step(*batch())
        return [net, box], [lambda: step(*batch()), swap]
    check(make, mode, steps=[*[0] * 8, 1, *[0] * 8, 1, *[0] * 3])


def test_update_with_lossfun(mode):
    def make(wrap):
        net = mlp()
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x, t):
            opt.update(lambda x, t: F.softmax_cross_entropy(net(x), t), x, t)
        return [net, opt], [lambda: step(*batch())]
    check(make, mode)


def test_persistent_values(mode):
    def make(wrap):
        class Net(hnn.Chain):
            def __init__(self):
                super().__init__()
                self.add_persistent("count", 0)
                self.add_persistent("mean", np.zeros(3, "float32"))
                with self.init_scope():
                    self.l = L.Linear(3, 2)

            @wrap
            def __call__(self, x):
                self.count += 1
                self.mean += x.mean(axis=0)
                return self.l(x - self.mean) * self.count
        net = Net()
        return [net], [lambda: net(arr(4, 3))]
    check(make, mode)


def test_mixed_precision(mode):
    def make(wrap):
        with hnn.using_config("dtype", "float16"):
            net = hnn.Sequential(L.Linear(3, 4), F.relu, L.Linear(4, 2))
        opt = optimizers.SGD(0.1)
        opt.use_fp32_update()
        opt.setup(net)
        opt.loss_scaling(scale=4)
        x, t = batch()

        @wrap
        def step(x, t):
            opt.update(lambda: F.softmax_cross_entropy(net(x), t))
        return [net, opt], [lambda: step(x.astype("float16"), t)]
    check(make, mode, steps=[0] * 6, tolerance=100)


def test_a_branch_behind_a_change_in_place(mode):
    """What batch normalisation does to its statistics does not take the gradients of a path that turns off behind it."""
    def make(wrap):
        net = hnn.ChainList(L.Linear(3, 4), L.BatchNormalization(4), L.Linear(4, 2))
        opt = optimizers.SGD(0.01).setup(net)
        turns = iter([0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 2, 0, 2, 1, 3, 0, 3, 3] * 10)

        @wrap
        def forward(x):
            h = net[1](net[0](x))
            turn = next(turns)
            h = (F.tanh, F.sigmoid, lambda h: h, F.relu)[turn](h)
            return F.mean(net[2](h) ** 2), h

        def step(inside):
            net.cleargrads()
            loss, h = forward(batch()[0])
            loss.backward(retain_grad=inside)
            opt.update()
            return loss, h, h.grad
        return [net, opt], [lambda: step(False), lambda: step(False), lambda: step(True)]
    check(make, mode)


def test_a_branch_behind_a_change_in_place_with_backward_inside(mode):
    def make(wrap):
        net = hnn.ChainList(L.Linear(3, 4), L.BatchNormalization(4), L.Linear(4, 2))
        opt = optimizers.SGD(0.01).setup(net)
        turns = iter([0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0] * 10)

        @wrap
        def step(x):
            net.cleargrads()
            h = net[1](net[0](x))
            loss = F.mean(net[2](F.tanh(h) if next(turns) else F.sigmoid(h)) ** 2)
            loss.backward()
            opt.update()
            return loss
        return [net, opt], [lambda: step(batch()[0])] * 3
    w = check(make, mode)
    assert mode == "eager" or w.total("hits") > 0


def test_scaled_gradients_before_plain_ones(mode):
    """The optimizer divides by the scale of the gradient that is there."""
    def make(wrap):
        net = L.Linear(3, 2)
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def gradients(x):
            net.cleargrads()
            y = F.sum(net(x) ** 2)
            y.backward()
            return y
        x = arr(4, 3)

        def scaled():
            net.cleargrads()
            F.sum(net(x)).backward(loss_scale=8.0)
        return [net, opt], [lambda: (gradients(x), opt.update())[0], lambda: (scaled(), gradients(x), opt.update())[1], lambda: (scaled(), opt.update())[1]]
    check(make, mode)


def test_gradients_and_containers_returned(mode):
    def make(wrap):
        net = L.Linear(3, 2)

        @wrap
        def f(x):
            net.cleargrads()
            y = F.sum(net(x) ** 2)
            y.backward()
            return y, net.W.grad_var

        @wrap
        def g(x):
            y = F.exp(x)
            made = [y]
            twice = (made, made)
            made.append(y * 2)
            return made, twice, {"a": made, "b": twice}, [made]

        def same():
            y, grad = f(arr(4, 3))
            return y, grad is net.W.grad_var, grad.array is net.W.grad
        return [net], [same, lambda: g(var(3))]
    check(make, mode, held=True)
