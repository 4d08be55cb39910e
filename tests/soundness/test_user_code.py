"""Python around a training step as users write it: skipped, and right when what it rests on changes."""
import math
import random
import time
import types
from typing import NamedTuple

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import distribution, distributions, optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)
T = np.array([0, 1, 2, 0], np.int32)


class Net(hnn.Chain):
    def __init__(self, out=3):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2 = L.Linear(4, 5, initialW=arr(5, 4)), L.Linear(5, out, initialW=arr(out, 5))

    def forward(self, x):
        return self.l2(F.tanh(self.l1(x)))


def trainer(optimizer=None):
    net = Net()
    return net, (optimizer or optimizers.SGD(0.1)).setup(net)


def learn(net, opt, loss):
    net.cleargrads()
    loss.backward()
    opt.update()
    return loss


def setting(obj, **values):
    for name, value in values.items():
        setattr(obj, name, value)


class Settings(NamedTuple):
    scale: float = 2.0
    act: str = "relu"
    weights: object = None

    @property
    def twice(self):
        return self.scale * 2

    def applied(self, x):
        return getattr(F, self.act)(x) * self.twice


def test_settings_in_named_tuples(mode):
    def make(wrap):
        s = types.SimpleNamespace(cfg=Settings(weights=arr(4)))

        @wrap
        def step(x):
            scale, *_ = s.cfg
            return s.cfg.applied(x) * s.cfg.weights * scale * len(s.cfg) + s.cfg[0], s.cfg

        def put(cfg):
            before, s.cfg = s.cfg, cfg
            try:
                return step(var(3, 4))
            finally:
                s.cfg = before
        return s, [lambda: step(var(3, 4)), lambda: put(Settings(3.0, "tanh", arr(4, seed=1))), lambda: put(Settings(weights=arr(4)).applied),
                   lambda: put(Settings(1, "tanh", 2)), lambda: (s.cfg.weights.fill(3), step(var(3, 4)))]
    skipped(check(make, mode), mode)


def test_a_namespace_is_assigned(mode):
    def make(wrap):
        s = types.SimpleNamespace(n=0, total=0.0, busy=False, best=None)

        @wrap
        def step(x):
            s.busy = True
            s.n += 1
            y = F.tanh(x) * s.n
            s.total += float(F.sum(y).array) * len(x)
            s.busy = False
            return y, s.total / s.n, vars(s)["n"]
        return s, [lambda: step(var(3, 4)), lambda: (setting(s, n=-1), step(var(3, 4))), lambda: (setting(s, n=2.0, total=1), step(var(3, 4))),
                   lambda: (setting(s, n=1 << 60), step(var(3, 4))), lambda: (setting(s, n=0, total=0.0), step(var(3, 4)))]
    skipped(check(make, mode), mode)


class Meter:
    def __init__(self):
        self.sum = self.average = 0.0
        self.count = 0

    def update(self, value, n):
        self.sum += value * n
        self.count += n
        self.average = self.sum / self.count


def test_running_means_after_an_update(mode):
    def make(wrap):
        net, opt = trainer()
        meter = Meter()

        @wrap
        def step(x):
            loss = learn(net, opt, F.softmax_cross_entropy(net(x), T[:len(x)]))
            meter.update(float(loss.array), len(x))
            return meter.average
        x = arr(4, 4)
        return [net, meter], [lambda: step(x), lambda: (setting(meter, count=-4), step(x)), lambda: (setting(meter, count=1 << 60), step(x)),
                              lambda: (setting(meter, count=0, sum=0.0), step(x[:2])), lambda: (setting(meter, count=10 ** 400), step(x)),
                              lambda: (setting(meter, count=2.5, sum=3), step(x)), lambda: (setting(meter, count=0, sum=1.0), step(x))]
    skipped(check(make, mode), mode)


def test_arithmetic_on_what_was_read_may_fail(mode):
    def make(wrap):
        net, opt = trainer()

        @wrap
        def step(x):
            loss = F.softmax_cross_entropy(net(x), T)
            net.cleargrads()
            loss.backward()
            norm = math.sqrt(sum(float((p.grad ** 2).sum()) for p in net.params()))
            rate = math.log(float(F.sum(x[0, 0]).array))
            if norm > 1.0:
                for p in net.params():
                    p.grad *= 1.0 / norm
            opt.update()
            return loss, norm, rate, 1 // int(x.array[0, 1])
        calls = [var(4, 4) for _ in range(4)]
        for v, (a, b) in zip(calls, [(1, 1), (-1, 1), (0, 1), (1, 0)], strict=True):
            v.array[0, :2] = a, b
        calls += [hnn.Variable(calls[0].array * np.float32(0.99)), hnn.Variable(calls[0].array * np.float32(4))]
        return net, [lambda v=v: step(v) for v in calls]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_how_often_an_optimizer_has_updated(mode):
    def make(wrap):
        net, opt = trainer(optimizers.Adam(0.01, eps=0.01))

        @wrap
        def step(x):
            before = opt.t
            opt.alpha = 0.01 * min(1.0, (opt.t + 1) / 20)
            loss = learn(net, opt, F.softmax_cross_entropy(net(x), T))
            if opt.t % 7 == 0:
                opt.alpha *= 0.5
            return loss, before, opt.t, net.l1.W.update_rule.t

        def put(**values):
            setting(opt, **values)
            return step(arr(4, 4))
        return [net, opt], [lambda: step(arr(4, 4)), lambda: put(t=0), lambda: put(t=100.0), lambda: put(t=1), lambda: put(t=10 ** 20)]
    check(make, mode, tolerance=100.0)


def test_the_number_of_updates_is_read(mode):
    def make(wrap):
        net, opt = trainer()

        @wrap
        def step(x):
            n = opt.t
            return learn(net, opt, F.softmax_cross_entropy(net(x), T) * (1.0 + opt.t)), n, opt.t
        return [net, opt], [lambda: step(arr(4, 4)), lambda: (setting(opt, t=0), step(arr(4, 4))), lambda: (setting(opt, t=2.0), step(arr(4, 4)))]
    skipped(check(make, mode), mode)


def test_sets_from_outside_are_gone_through(mode):
    def make(wrap):
        net, names, fixed = Net(), {"l1", "l2"}, frozenset(["l2", "l1"])

        @wrap
        def step(x):
            y = net(x)
            for name in names:
                y = y * 2 + F.sum(net[name].W)
            for name in sorted(names):
                y = y * F.mean(net[name].b + 1)
            for name in fixed:
                y = y + F.sum(net[name].b)
            return y
        return net, [lambda: step(arr(4, 4)), lambda: (names.discard("l1"), step(arr(4, 4))), lambda: (names.add("l1"), step(arr(4, 4))),
                     lambda: (names.clear(), names.update(["l2", "l1"]), step(arr(4, 4)))]
    skipped(check(make, mode), mode)


def test_a_state_is_handed_on(mode):
    class Coder(hnn.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.embed, self.coder, self.decoder = L.EmbedID(6, 4, arr(6, 4)), L.LSTM(4, 4), L.LSTM(4, 4)

        def forward(self, xs, ts):
            self.coder.reset_state()
            self.decoder.reset_state()
            for x in xs:
                self.coder(self.embed(x))
            self.decoder.set_state(self.coder.c, self.coder.h)
            return F.stack([self.decoder(self.embed(t)) for t in ts])

    def make(wrap):
        net = Coder()
        xs = [np.array([1, 2], np.int32), np.array([3, 4], np.int32)]
        step = wrap(lambda a, b: net(a, b))
        return net, [lambda: step(xs, xs[::-1]), lambda: step(xs, xs[:1]), lambda: (net.coder.upward.W.array.__imul__(2), step(xs, xs[::-1]))[1]]
    skipped(check(make, mode), mode)


class Dropping(Net):
    def forward(self, x):
        return self.l2(F.dropout(F.tanh(self.l1(x)), 0.3))


def best(s, v):
    if v < s.best:
        s.best, s.wait = v, 0
    else:
        s.wait += 1


def finite(s, v):
    assert math.isfinite(v) and not math.isnan(v), "diverged"
    if np.isnan(v) or v > s.best and s.wait:
        s.wait += 1


@pytest.mark.parametrize("net", [Net, Dropping])
@pytest.mark.parametrize("look", ["float(loss.array)", "float(loss)", "loss.array", "loss.item()"])
@pytest.mark.parametrize("follow", [best, finite])
def test_a_loss_decides_after_the_update(mode, net, look, follow):
    def make(wrap):
        model = net()
        opt = optimizers.MomentumSGD(0.05).setup(model)
        s = types.SimpleNamespace(best=float("inf"), wait=0)
        scope = {"follow": follow, "s": s}
        exec(f"def track(loss):\n    v = {look}\n    follow(s, v)\n    return v", scope)

        @wrap
        def step(x, t):
            loss = learn(model, opt, F.softmax_cross_entropy(model(x), t))
            return scope["track"](loss)
        x = arr(4, 4)
        return [model, s], [lambda: step(x, T), lambda: step(x * 3, T), lambda: (setting(s, best=-1.0), step(x, T)), lambda: (setting(s, best=5), step(x, T)),
                            lambda: (np.random.seed(1), step(x, T))[1], lambda: step(x * np.float32(np.nan), T), lambda: step(x, T + 7)]
    skipped(check(make, mode, tolerance=10.0), mode)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_loss_decides_behind_an_update_that_has_begun(mode, scheduled):
    """Parameters without a gradient get one of zeros before the loss is looked at: what was counted and set for that is taken back."""
    def make(wrap):
        net = hnn.Chain(used=Net(), unused=L.Linear(2, 2, initialW=arr(2, 2)))
        opt = optimizers.MomentumSGD(0.05).setup(net)
        s = types.SimpleNamespace(best=1e9, at=0)

        @wrap
        def step(x, t):
            if scheduled:
                opt.lr *= 0.95
            loss = learn(net, opt, F.softmax_cross_entropy(net.used(x), t))
            v = float(loss.array)
            if v < s.best:
                s.best, s.at = v, opt.t
            return loss
        x = arr(4, 4)
        return [net, s, opt.hyperparam], [lambda: step(x, T), lambda: step(x * 3, T), lambda: (setting(s, best=-1.0), step(x, T)),
                                          lambda: (setting(s, best=1e9), step(x, T))]
    skipped(check(make, mode, tolerance=10.0), mode)


def test_a_value_decides_behind_draws(mode):
    """The numbers drawn are drawn again if it comes out otherwise, for whatever way the program takes then."""
    def make(wrap):
        net, st = Dropping(), types.SimpleNamespace(limit=0.0)

        @wrap
        def step(x):
            y = F.dropout(net(x) + np.random.rand(), 0.2)
            if F.mean(y).array > st.limit:
                y = F.dropout(y, 0.5) * np.random.rand(*y.shape).astype("f")
            return y if F.sum(y) > 0 else y * 2
        return net, [lambda: step(arr(4, 4)), lambda: step(arr(4, 4) * 3), lambda: (setting(st, limit=-1e9), step(arr(4, 4))),
                     lambda: (setting(st, limit=0.3), step(arr(4, 4)))]
    skipped(check(make, mode), mode)


def test_what_an_update_has_changed_decides(mode):
    def make(wrap):
        net, opt = trainer()
        s = types.SimpleNamespace(big=0)

        @wrap
        def step(x):
            loss = learn(net, opt, F.softmax_cross_entropy(net(x), T))
            if np.abs(net.l1.W.array).max() > 2.5:
                s.big += 1
            x += 1
            return loss, s.big if float(x.sum()) > 3 else -1
        return [net, s], [lambda: step(arr(4, 4)), lambda: (net.l1.W.array.__imul__(2), step(arr(4, 4)))[1], lambda: step(net.l1.W.array[:4])]
    check(make, mode)


class Policy(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.body, self.log_scale = Net(), hnn.Parameter(arr(3))

    def forward(self, x):
        mean = self.body(x)
        return distributions.Normal(mean, log_scale=F.broadcast_to(self.log_scale, mean.shape))


def test_a_policy_over_numbers(mode):
    def make(wrap):
        net = Policy()
        opt = optimizers.Adam(0.01, eps=0.01).setup(net)
        prior = distributions.Normal(np.zeros((4, 3), "f"), np.ones((4, 3), "f"))
        s = types.SimpleNamespace(prior=prior, beta=0.1)
        wide = distributions.Normal(np.zeros((4, 3), "f"), np.full((4, 3), 2, "f"))
        changed = {"mean": property(lambda self: self.loc + 1), "_given": lambda self: (self.loc,)}
        shifted = type("Shifted", (distributions.Normal,), changed)(wide.loc, wide.scale)

        @wrap
        def step(x, a, advantage):
            d = net(x)
            loss = -F.mean(F.sum(d.log_prob(a), axis=1) * advantage) - 0.01 * F.mean(d.entropy)
            kl = F.mean(hnn.kl_divergence(d, s.prior)) * s.beta
            return learn(net, opt, loss + kl), d.sample(), d.sample((2,)).shape, d.batch_shape

        def under(other):
            s.prior = other
            try:
                return run()
            finally:
                s.prior = prior

        def written():
            s.prior.scale.array[...] *= 1.5
            return run()

        def run():
            return step(arr(4, 4), arr(4, 3, seed=1), arr(4, seed=2))

        def without_graph():
            with hnn.no_backprop_mode():
                return net(arr(4, 4)).entropy, hnn.kl_divergence(s.prior, s.prior), s.prior.variance
        return [net], [run, lambda: under(wide), written, lambda: (setting(s, beta=0.5), run()), lambda: under(shifted), without_graph,
                       lambda: (np.random.seed(5), run())]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_a_policy_over_choices(mode):
    def make(wrap):
        net, opt = trainer()
        fixed = distributions.Categorical(logit=hnn.Variable(arr(4, 3)))

        @wrap
        def step(x, a):
            d = distributions.Categorical(logit=net(x))
            loss = -F.mean(d.log_prob(a)) - 0.01 * F.mean(d.entropy) + F.mean(hnn.kl_divergence(d, fixed))
            return learn(net, opt, loss), d.sample(), fixed.log_prob(a)

        @wrap
        def act(x):
            with hnn.no_backprop_mode(), hnn.using_config("train", False):
                d = distributions.Categorical(F.softmax(net(x)))
                return d.sample().array, d.p.array.max(axis=1)
        x = arr(4, 4)
        return [net], [lambda: (step(x, T), act(x)), lambda: (step(x, T[::-1]), act(x[:1])),
                       lambda: (setattr(fixed, "_logit", hnn.Variable(arr(4, 3, seed=3))), step(x, T)),
                       lambda: (fixed.__dict__.pop("log_p", None), fixed.__dict__.pop("entropy", None), step(x, T))[2]]
    skipped(check(make, mode, tolerance=10.0), mode)


class Scaled(distributions.Normal):
    def log_prob(self, x):
        return super().log_prob(x) * 2


def test_another_divergence_is_registered(mode, monkeypatch):
    def make(wrap):
        rules = dict(distribution._RULES)
        monkeypatch.setattr(distribution, "_RULES", rules)

        @wrap
        def step(x):
            p = Scaled(x, log_scale=x * 0.1)
            q = distributions.Normal(np.zeros(3, "f"), np.ones(3, "f"))
            return hnn.kl_divergence(p, q), hnn.cross_entropy(p, q), p.log_prob(x)

        def put(rule):
            rules[Scaled, distributions.Normal] = rule
            monkeypatch.setattr(distribution, "_RULES", rules)
            return step(var(2, 3))
        return [], [lambda: (rules.pop((Scaled, distributions.Normal), None), monkeypatch.setattr(distribution, "_RULES", rules), step(var(2, 3)))[2],
                    lambda: put(lambda p, q: p.loc * 3), lambda: put(lambda p, q: p.entropy)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("error", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["SGD(0.1)", "Adam(0.01, eps=0.01)", "MomentumSGD(0.05)"])
def test_several_updates_in_a_call(mode, optimizer, error):
    def make(wrap):
        net, opt = trainer(eval("optimizers." + optimizer))
        s = types.SimpleNamespace(size=3)

        @wrap
        def epoch(xs, ts):
            total, rates = 0.0, []
            for i in range(0, len(xs), s.size):
                loss = learn(net, opt, F.softmax_cross_entropy(net(xs[i:i + s.size]), ts[i:i + s.size]))
                total += float(loss.array)
                rates.append(opt.t)
            return total / len(xs), rates, net.l1.W.grad, loss
        xs, ts = arr(9, 4), np.arange(9, dtype=np.int32) % 3
        wrong = np.where(np.arange(9) == 4, 9, ts).astype(np.int32)

        def frozen():
            net.l1.disable_update()
            try:
                return epoch(xs, ts)
            finally:
                net.l1.enable_update()
        return [net, opt], [lambda: epoch(xs, ts), lambda: epoch(xs, wrong), lambda: (setting(opt, t=0), epoch(xs, ts)),
                            lambda: (setting(s, size=5), epoch(xs, ts)),
                            lambda: (setting(s, size=3), epoch(xs, ts)), frozen, lambda: (setting(net.l1.W.update_rule, t=5), epoch(xs, ts))]
    skipped(check(make, mode, tolerance=100.0, check=error), mode)


def test_updates_without_looking_between(mode):
    def make(wrap):
        net, opt = trainer()
        xs, ts = arr(6, 4), np.arange(6, dtype=np.int32) % 3

        @wrap
        def steps(x, t):
            for rate in (0.1, 0.05, 0.2):
                opt.lr = rate
                loss = learn(net, opt, F.softmax_cross_entropy(net(x), t))
            opt.lr *= 0.5
            return loss, opt.lr, opt.t

        @wrap
        def accumulated(x, t):
            for _ in range(2):
                net.cleargrads()
                for k in range(2):
                    F.softmax_cross_entropy(net(x[k::2]), t[k::2]).backward()
                opt.update()
            return [p.grad for p in net.params()]
        return [net, opt], [lambda: (steps(xs, ts), accumulated(xs, ts)), lambda: steps(xs, ts + 7), lambda: (setting(opt, lr=3.0), accumulated(xs, ts)),
                            lambda: (setting(opt, lr=1), steps(xs, ts)), lambda: accumulated(xs[:3], ts[:3])]
    skipped(check(make, mode), mode)


def test_a_critic_is_updated_more_often(mode):
    def make(wrap):
        generator, critic = Net(4), Net(1)
        first, second = optimizers.RMSprop(0.01, eps=0.01).setup(generator), optimizers.Adam(0.01, eps=0.01).setup(critic)

        @wrap
        def step(x):
            for _ in range(2):
                fake = generator(np.random.randn(4, 4).astype("f"))
                fake.unchain_backward()
                loss = learn(critic, second, F.mean(critic(fake)) - F.mean(critic(x)))
            critic.cleargrads()
            return loss, learn(generator, first, -F.mean(critic(generator(np.random.randn(4, 4).astype("f")))))
        return [generator, critic], [lambda: step(arr(4, 4)), lambda: (np.random.seed(1), step(arr(4, 4)))]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_draws_of_python(mode):
    def make(wrap):
        net = Net()
        s = types.SimpleNamespace(eps=0.5, own=random.Random(3), names=[1.0, 2.0, 4.0])

        @wrap
        def act(x):
            if random.random() < s.eps:
                return random.randrange(3), s.own.uniform(-1, 1), random.sample(range(9), 3)
            with hnn.no_backprop_mode():
                return int(net(x).array.argmax()), s.own.gauss(0, 1), random.choice(s.names) * 2

        @wrap
        def learn(x):
            rows = random.sample(range(4), 2)
            return F.tanh(net(x[rows])) * random.uniform(0.5, 1.5) + s.own.random()

        def other():
            s.own.setstate(random.Random(5).getstate())
            return act(arr(1, 4)), learn(arr(4, 4))

        def replaced():
            s.own.random = lambda: 0.25
            try:
                return learn(arr(4, 4))
            finally:
                del s.own.random
        return [net, s.names], [lambda: (act(arr(1, 4)), learn(arr(4, 4))), other, lambda: (random.seed(2), act(arr(1, 4))), replaced,
                                lambda: (setting(s, eps=0.0), act(arr(1, 4))), lambda: (s.names.append(8.0), act(arr(1, 4))),
                                lambda: (setting(s, own=random.Random(9)), learn(arr(4, 4)))]
    skipped(check(make, mode), mode)


def test_the_class_of_pythons_generators_is_changed(mode, monkeypatch):
    def make(wrap):
        own = random.Random(3)
        step = wrap(lambda x: F.tanh(x) * own.uniform(0.5, 1.5))

        def replaced(name, fn):
            monkeypatch.setattr(random.Random, name, fn)
            try:
                return step(var(3))
            finally:
                monkeypatch.undo()
        return [], [lambda: step(var(3)), lambda: replaced("uniform", lambda self, a, b: 0.5), lambda: replaced("random", lambda self: 0.5)]
    skipped(check(make, mode), mode)


def test_actions_are_drawn_by_their_probabilities(mode):
    def make(wrap):
        net = Net()
        s = types.SimpleNamespace(sharp=1.0, own=np.random.default_rng(3))

        @wrap
        def act(x):
            with hnn.no_backprop_mode():
                p = F.softmax(F.dropout(net(x), 0.2) * s.sharp).array[0]
            p = p.astype("d") / p.astype("d").sum()
            a = np.random.choice(len(p), p=p)
            b = s.own.choice(3, p=p)
            return a, b, p[a].astype("f")
        x = arr(1, 4)
        return [net], [lambda: act(x), lambda: act(x * 3), lambda: (np.random.seed(3), act(x))[1], lambda: (setting(s, sharp=float("nan")), act(x)),
                       lambda: (setting(s, sharp=2.0), act(x))]
    skipped(check(make, mode), mode)


def test_draws_behind_drawn_actions(mode):
    def make(wrap):
        net = Net()

        @wrap
        def act(x):
            p = F.softmax(net(x)).array[0].astype("d")
            a = np.random.choice(3, p=p / p.sum())
            return a, F.dropout(net(x), 0.5) if a else np.random.rand(), np.random.poisson(p)
        return [net], [lambda: act(arr(1, 4)), lambda: act(arr(1, 4) * 3)]
    check(make, mode)


def test_clocks_around_a_step(mode):
    net, opt = trainer()
    spent = []

    @hnn.trace(mode=mode)
    def step(x):
        start, begun = time.perf_counter(), time.time()
        loss = learn(net, opt, F.softmax_cross_entropy(net(x), T))
        end = time.perf_counter()
        spent.append(end - start)
        return loss, start, begun, end
    before = [time.perf_counter(), time.time()]
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(12):
            _, start, begun, end = step(arr(4, 4))
            assert before[0] <= start < end <= time.perf_counter() and before[1] <= begun <= time.time()
            assert spent.pop() == end - start > 0
            before = [end, begun]
    assert step.stats.python_skipped >= (5 if mode == "auto" else 0), step.explain()


def test_a_clock_is_replaced(mode, monkeypatch):
    def make(wrap):
        ticks = [0.0]
        step = wrap(lambda x: (F.tanh(x), (time.time() > 1.0) * 1))

        def at(t):
            monkeypatch.setattr(time, "time", lambda: t + len(ticks))
            try:
                return step(var(3))
            finally:
                monkeypatch.undo()
        return [], [lambda: step(var(3)), lambda: at(5.0), lambda: at(-5.0)]
    check(make, mode)


class Table:
    def __init__(self):
        self.rows = [1.0, 2.0]

    def __len__(self):
        return len(self.rows)


def test_numbers_that_the_call_has_computed(mode):
    """As operands they are passed on as soon as they are there."""
    def make(wrap):
        table, net = Table(), Net()

        @wrap
        def step(x):
            y = net(x)
            p = F.softmax(y).array[0].astype("d")
            return y * int(y.array.argmax()) + int(np.random.choice(3, p=p / p.sum())), y * len(table)
        return [net, table], [lambda: step(arr(4, 4)), lambda: step(arr(4, 4) * 3), lambda: (table.rows.append(3.0), step(arr(4, 4)))]
    skipped(check(make, mode), mode)
