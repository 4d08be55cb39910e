"""What a call assigns is what it reads afterwards: by another way to the same place, and in the library's own code."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizer_hooks, optimizers, reporter
from hybridnn.optimizers.ema import ExponentialMovingAverage

pytestmark = pytest.mark.parametrize("mode", MODES)
RATES = {"SGD": "lr", "MomentumSGD": "lr", "Adam": "alpha"}


def assign(obj, name, value):
    obj.__dict__[name] = value


SCHEDULES = {
    "the optimizer's": lambda s, rate: setattr(s.opt, s.name, rate), "the hyperparameter": lambda s, rate: setattr(s.opt.hyperparam, s.name, rate),
    "in its namespace": lambda s, rate: assign(s.opt.hyperparam, s.name, rate), "of one rule": lambda s, rate: setattr(s.rule.hyperparam, s.name, rate),
    "decay": lambda s, rate: setattr(s.decay, "rate", rate), "decay in its namespace": lambda s, rate: assign(s.decay, "rate", rate),
    "threshold": lambda s, rate: setattr(s.clip, "threshold", rate * 10), "enabled": lambda s, rate: setattr(s.rule, "enabled", s.opt.t % 2 == 0),
    "number of updates": lambda s, rate: s.opt._steps.__setitem__(0, 3)}


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_schedules(mode, schedule, optimizer, place):
    def make(wrap):
        net = L.Linear(4, 4, initialW=arr(4, 4))
        s = types.SimpleNamespace(opt=getattr(optimizers, optimizer)(0.01).setup(net), name=RATES[optimizer], rule=net.W.update_rule,
                                  decay=optimizer_hooks.WeightDecay(0.1), clip=optimizer_hooks.GradientClipping(1.0))
        setattr(s.rule.hyperparam, s.name, 0.01)
        for hook in (s.decay, s.clip):
            s.opt.add_hook(hook)
        change = SCHEDULES[schedule]

        def learn(x):
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            s.opt.update()
            return loss

        @wrap
        def step(x, rate):
            if place == "before":
                change(s, rate * 0.9 ** s.opt.t)
            loss = learn(x)
            if place == "between":
                change(s, rate * 0.9 ** s.opt.t)
                loss = loss + learn(x)
            if place == "after":
                change(s, rate * 0.9 ** s.opt.t)
            return loss
        return [net, s.opt.hyperparam], [lambda: step(var(3, 4), 0.02), lambda: step(var(3, 4), 0.03)]
    traces = check(make, mode)
    if schedule in ("the optimizer's", "the hyperparameter", "in its namespace", "of one rule"):
        skipped(traces, mode, least=4)


class Holder:
    k = 0.25


def scaled(s, way):
    """Multiply the number that ``way`` names, and take it by another name."""
    if way == "True is 1":
        s.table[True] = s.table[1] * 1.1
        return s.table[1]
    if way == "1.0 is 1":
        s.table[1.0] = s.table[1] * 1.1
        return s.table[1]
    if way == "-0.0 is 0":
        s.table[-0.0] = s.table[0] * 1.1
        return s.table[0.0]
    if way == "namespace":
        s.space["k"] = s.space["k"] * 1.1
        return s.a.k
    if way == "attribute":
        s.a.k = s.a.k * 1.1
        return s.space["k"]
    if way == "shared namespace":
        s.a.k = s.a.k * 1.1
        return s.b.k
    s.module.__dict__["k"] = s.module.k * 1.1
    return s.module.k


@pytest.mark.parametrize("way", ["True is 1", "1.0 is 1", "-0.0 is 0", "namespace", "attribute", "shared namespace", "module"])
def test_one_place_by_several_names(mode, way):
    def make(wrap):
        s = types.SimpleNamespace(a=Holder(), b=Holder(), table={1: 0.5, 0: 0.25}, module=types.ModuleType("module"))
        s.a.k, s.module.k = 0.5, 0.5
        s.b.__dict__ = s.space = s.a.__dict__
        step = wrap(lambda x: F.tanh(x) * scaled(s, way))
        return s.table, [lambda: step(var(3, 4)), lambda: (s.table.update({1: np.float64(2).item()}), step(var(3, 4)))]
    check(make, mode)


def test_a_place_that_is_no_dicts(mode):
    """A slot, and a member of the namespace with its name."""
    class Base:
        __slots__ = ("k",)

    class Both(Base):
        pass

    def make(wrap):
        b = Both()
        b.k = b.__dict__["k"] = 0.5

        @wrap
        def step(x):
            b.k = b.k * 1.1
            return F.tanh(x) * b.k * b.__dict__["k"]
        return [], [lambda: step(var(3, 4)), lambda: (b.__dict__.update(k=2.0), step(var(3, 4)))]
    check(make, mode)


def kept_and_put_back(s, rate, learn):
    before = s.opt.lr
    s.opt.lr = rate
    learn()
    s.opt.lr = before
    return before, s.opt.lr


def kept_in_a_list(s, rate, learn):
    before = [s.opt.hyperparam.lr, f"{s.opt.lr:.3f}"]
    s.opt.hyperparam.lr = rate
    learn()
    return before[0], before


def lowered_twice(s, rate, learn):
    before = s.opt.lr
    s.opt.lr = before * 0.9
    between = s.opt.lr
    learn()
    s.opt.lr = between * 0.9 if rate > 0.01 else before
    learn()
    return between, before, s.opt.lr


def assigned_between(s, rate, learn):
    before = s.opt.momentum
    learn()
    s.opt.momentum = rate
    return before, s.opt.momentum


@pytest.mark.parametrize("body", [kept_and_put_back, kept_in_a_list, lowered_twice, assigned_between])
def test_hyperparameters_that_were_read_before(mode, body):
    def make(wrap):
        net = L.Linear(3, 3, initialW=arr(3, 3))
        s, turns = types.SimpleNamespace(opt=optimizers.MomentumSGD(0.1).setup(net)), iter(range(1, 1000))

        @wrap
        def step(x, rate):
            def learn():
                loss = F.sum(net(x) ** 2)
                net.cleargrads()
                loss.backward()
                s.opt.update()
            first, *others = body(s, rate, learn)
            return F.tanh(x) * first, first, others
        return [net, s.opt.hyperparam], [lambda: step(arr(2, 3), 0.1 / next(turns)), lambda: step(arr(2, 3), 0.05)]
    skipped(check(make, mode), mode)


def test_how_often_an_average_was_updated(mode):
    def make(wrap):
        net = L.Linear(3, 3, initialW=arr(3, 3))
        opt, average = optimizers.SGD(0.1).setup(net), ExponentialMovingAverage(0.9)
        opt.add_hook(average)

        @wrap
        def step(x, times):
            before = average.updates
            for _ in range(times):
                loss = F.sum(net(x) ** 2)
                net.cleargrads()
                loss.backward()
                opt.update()
            return F.tanh(x) * average.updates, average.updates, before
        return [net, average], [lambda: step(arr(2, 3), 1), lambda: step(arr(2, 3), 2), lambda: (setattr(average, "updates", 0), step(arr(2, 3), 1))]
    skipped(check(make, mode), mode)


def test_reports_that_are_looked_at(mode):
    """In the Reporter, in the dict that it reports to, and in an argument."""
    def make(wrap):
        net, s = L.Linear(3, 3, initialW=arr(3, 3)), types.SimpleNamespace(reporter=reporter.Reporter(), seen={"net/mean": 0.5}, other={"net/mean": 0.25})
        s.reporter.add_observer("net", net)

        @wrap
        def step(x, given):
            y = F.tanh(net(x))
            before = s.seen.get("net/mean")
            reporter.report({"mean": float(F.mean(y).array)}, net)
            return y * given["net/mean"], before, s.seen.get("net/mean")

        def under(observation, given):
            with s.reporter.scope(observation):
                return step(arr(2, 3), given)
        return [s.seen, s.other], [lambda: under(s.other, {"net/mean": 0.75}), lambda: under(s.seen, {"net/mean": 0.75}), lambda: under({}, s.seen),
                                   lambda: under(s.other, s.other), lambda: (s.seen.clear(), under(s.seen, s.seen))]
    skipped(check(make, mode), mode, least=5)
