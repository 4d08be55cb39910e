"""What is computed behind an update decides what happens: early stopping, line searches, losses of models whose statistics have changed."""
import math

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizer_hooks, optimizers


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


class Stopper:
    """Stops when a loss has not become better for long."""

    def __init__(self, patience):
        self.patience, self.best, self.waited, self.rates = patience, np.inf, 0, []

    def __call__(self, loss, opt):
        if loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
            if self.waited % 2 == 0:
                name = "alpha" if isinstance(opt, optimizers.Adam) else "lr"
                setattr(opt, name, getattr(opt, name) * 0.5)
                self.rates.append(getattr(opt, name))
        return self.waited > self.patience


def model(normalized=False, dropout=False):
    inner = [*([L.BatchNormalization(4)] if normalized else []), F.tanh, *([F.dropout] if dropout else [])]
    return hnn.Sequential(L.Linear(3, 4, nobias=normalized, initialW=arr(4, 3)), *inner, L.Linear(4, 2, initialW=arr(2, 4)))


def train(net, opt, x, t):
    loss = F.softmax_cross_entropy(net(x), t)
    net.cleargrads()
    loss.backward()
    opt.update()
    return loss


@pytest.mark.parametrize(("optimizer", "normalized", "dropout", "checked"), [
    (optimizers.SGD, False, True, False), (optimizers.MomentumSGD, True, False, False), (optimizers.Adam, False, False, False),
    (optimizers.Adam, True, True, False), (optimizers.MomentumSGD, True, False, True), (optimizers.Adam, False, True, True)])
def test_early_stopping(mode, optimizer, normalized, dropout, checked):
    """A loss that is computed behind the update decides; rates go down where it has not become better."""
    def make(wrap):
        net, stopper, log = model(normalized, dropout), Stopper(5), []
        opt = optimizer(0.1).setup(net)
        opt.add_hook(optimizer_hooks.WeightDecay(1e-3))

        @wrap
        def epoch(x, t, vx, vt):
            loss = train(net, opt, x, t)
            with hnn.using_config("train", False), hnn.no_backprop_mode():
                valid = F.softmax_cross_entropy(net(vx), vt).item()
            log.append(math.exp(valid))
            return loss, stopper(valid, opt), valid

        def call(n=3, scale=1.0, labels=(0, 1)):
            return epoch(arr(n, 3), np.arange(n) % 2, arr(2, 3, seed=1) * np.float32(scale), np.array(labels))

        def worse():
            stopper.best = 0.0
            return call()

        def better():
            stopper.best = 1e9
            return call()
        return [net, opt, stopper, log], [call, worse, better, lambda: call(scale=np.nan), lambda: call(labels=(0, 7)), lambda: call(n=5)]
    world = check(make, mode, tolerance=30.0, **{"check": 1.0} if checked else {})
    assert not world.reasons
    skipped(world, mode) if not checked else None


@pytest.mark.parametrize("look", [
    lambda loss, net, x: loss.item() < 0.68,
    lambda loss, net, x: bool(F.sum(net(x)) > 0.1),
    lambda loss, net, x: float(net[0].W.array[0, 0]) > 0.2,
    lambda loss, net, x: math.exp(F.mean(net(x) ** 2).item()) > 1.5,
    lambda loss, net, x: np.sqrt((net(x).array ** 2).sum()) > 1.0 and int(net(x).array.argmax()) == 1,
    lambda loss, net, x: (net(x).array.argmax(1) == 1).sum() / max(1, (net(x).array > 0).sum()) > 0.3,
    lambda loss, net, x: [10, 20, 30, 40][int(net(x).array[0].argmax())],
    lambda loss, net, x: len(np.flatnonzero(net(x).array > 0)),
    lambda loss, net, x: max(net(x).array[0].tolist()) > 0,
    lambda loss, net, x: {0: "no", 1: "yes"}[int((net(x).array > 0).any())],
    lambda loss, net, x: ("low", "high")[net(x).array[0].argmax()],
    lambda loss, net, x: [net(x).array[0, 0] * k for k in range(int((net(x).array > 0).sum()))],
])
@pytest.mark.parametrize("times", [1, 3])
def test_looks_behind_updates(mode, look, times):
    def make(wrap):
        net, seen = model(), np.zeros(3, "f")
        opt = optimizers.MomentumSGD(0.05).setup(net)

        @wrap
        def f(x, t):
            found = None
            for k in range(times):
                seen[k] += 1
                loss = train(net, opt, x, t)
                found = look(loss, net, x)
                if isinstance(found, (bool, np.bool_)) and found:
                    break
            return loss, found, seen.copy()

        def set_to(value):
            for p in net.params():
                p.array[...] = value
            return f(arr(3, 3), np.arange(3) % 2)

        def scaled(by):
            for p in net.params():
                p.array[...] *= by
            return f(arr(3, 3), np.arange(3) % 2)
        return [net, opt, seen], [lambda: f(arr(3, 3), np.arange(3) % 2), lambda: scaled(-1.0), lambda: set_to(0.0), lambda: scaled(3.0),
                                  lambda: f(arr(3, 3, seed=3), np.arange(3) % 2), lambda: set_to(1e30), lambda: set_to(0.1)]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_line_search(mode):
    """Steps are halved until the loss has fallen; each is taken by an operation in place."""
    def make(wrap):
        net = model()
        opt = optimizers.SGD(2.0).setup(net)

        @wrap
        def f(x, t):
            loss = F.softmax_cross_entropy(net(x), t)
            net.cleargrads()
            loss.backward()
            tries, before = 0, loss.item()
            while tries < 3:
                opt.update()
                tries += 1
                with hnn.no_backprop_mode():
                    now = F.softmax_cross_entropy(net(x), t).item()
                if now < before:
                    break
                opt.lr = -opt.lr
                opt.update()
                opt.lr = -0.5 * opt.lr
            opt.lr = 2.0
            return before, now, tries
        return [net, opt], [lambda: f(arr(3, 3), np.arange(3) % 2), lambda: f(arr(3, 3) * 5, np.arange(3) % 2), lambda: f(arr(4, 3), np.arange(4) % 2)]
    check(make, mode, tolerance=30.0)


@pytest.mark.parametrize("arrange", [
    lambda net: setattr(net[0].W, "array", np.asfortranarray(net[0].W.array)),
    lambda net: setattr(net[0].W, "array", np.zeros((4, 6), "f")[:, ::2]),
    lambda net: setattr(net[0].b, "array", np.broadcast_to(np.zeros(4, "f"), (1, 4)).copy()[0]),
    lambda net: [setattr(p, "array", part.reshape(p.shape)) for p, part in zip(
        net.params(), np.split(np.arange(26, dtype="f") / 26, np.cumsum([p.size for p in net.params()])[:-1]))],
])
def test_parameters_of_any_layout_come_back(mode, arrange):
    def make(wrap):
        net, best = model(), [np.inf]
        arrange(net)
        opt = optimizers.Adam(0.05).setup(net)

        @wrap
        def f(x, t):
            train(net, opt, x, t)
            loss = F.softmax_cross_entropy(net(x), t)
            if loss.item() < best[0]:
                best[0] = loss.item()
                return loss
            return loss * 2

        def worse():
            best[0] = 0.0
            return f(arr(3, 3), np.arange(3) % 2)
        return [net, opt, best], [lambda: f(arr(3, 3), np.arange(3) % 2), worse]
    check(make, mode, tolerance=10.0)


def test_random_numbers_come_back(mode):
    """The program and the library draw before and behind the update."""
    def make(wrap):
        net, state = model(dropout=True), {"limit": 1e9}
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, t):
            noise = np.random.randn(*x.shape).astype("f")
            train(net, opt, x + noise, t)
            y = F.mean(net(x + np.random.rand(3).astype("f")) ** 2)
            if y.item() > state["limit"]:
                return y * np.random.rand()
            return y

        def call(limit):
            state["limit"] = limit
            return f(arr(3, 3), np.arange(3) % 2), np.random.rand()
        return [net], [lambda: call(1e9), lambda: call(0.0), lambda: call(0.2)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("first", [0.0, 1e9])
def test_running_means_between_updates_decide(mode, first):
    """Numbers are read between two updates, and what they come to decides behind both; the model's statistics change before all else."""
    def make(wrap):
        one, two = model(normalized=True), model()
        opts = [optimizers.SGD(0.1).setup(net) for net in (one, two)]
        means = {"one": first, "two": 0.0, "calls": 0}

        def fit(net, opt, loss):
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        @wrap
        def f(x):
            y = one(x)
            losses = {"two": fit(two, opts[1], F.mean(F.relu(1 - two(x))) + F.mean(two(y.array[:, :1] * x) ** 2))}
            losses["one"] = fit(one, opts[0], F.mean(y ** 2))
            for name, loss in losses.items():
                means[name] = 0.9 * means[name] + 0.1 * loss.item()
            if means["one"] < 0.2 or means["two"] > 10:
                return y
            means["calls"] += 1
            return dict(means), math.exp(-means["two"])

        def call(n=3, **changed):
            means.update(changed)
            return f(arr(n, 3))
        return [one, two, means], [call, lambda: call(one=5.0), lambda: call(two=100.0), lambda: call(two=-1e5), lambda: call(5)]
    skipped(check(make, mode, tolerance=30.0), mode)


@pytest.mark.parametrize("look", [
    lambda seen, k: math.exp(float(seen[k])) + math.sqrt(seen.sum()),
    lambda seen, k: seen[np.arange(3) % (1 + k)],
    lambda seen, k: np.where(seen > 1)[0] if seen.max() > 2 else None,
    lambda seen, k: np.flatnonzero(seen > 1),
    lambda seen, k: 1 / float(seen[2] - 7),
    lambda seen, k: np.diag(np.outer(seen, seen)) / np.maximum(seen, 1),
    lambda seen, k: np.diag(seen.reshape(1, 3)),
    lambda seen, k: 2.0 ** float(seen[k]) > 4 and [seen.argmax(), k],
])
@pytest.mark.parametrize("updates", [False, True])
def test_looks_at_arrays_that_numpy_has_written(mode, look, updates):
    """A count of the program's own, before all operations and behind them; what is looked at may be of another kind, or fail."""
    def make(wrap):
        net, seen = model(), np.zeros(3)
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, t, k):
            seen[k] += 1
            found = look(seen, k)
            loss = train(net, opt, x, t) if updates else F.softmax_cross_entropy(net(x), t)
            seen[0] += 0.5
            return loss, found, look(seen, k)

        def call(k=1, **changed):
            for name, value in changed.items():
                seen[int(name[1:])] = value
            return f(arr(3, 3), np.arange(3) % 2, k)
        return [net, seen], [call, lambda: call(0), lambda: call(2, _2=6), lambda: call(1, _1=2000), lambda: call(1, _0=-50), lambda: call(1, _0=0, _1=0)]
    check(make, mode)


@pytest.mark.parametrize("checked", [0.0, 1.0])
def test_lists_of_numbers_behind_an_update(mode, checked):
    """What is drawn by, or computed of, the updated model is kept as lists of numbers."""
    def make(wrap):
        net, log = model(), []
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, t):
            train(net, opt, x, t)
            with hnn.no_backprop_mode():
                y = net(x).array
            chosen = (np.random.rand(len(x), 1) > y.cumsum(1)).sum(1).clip(0, 1)
            rows = np.exp(y).tolist()
            log.append(chosen.tolist())
            return {"chosen": chosen.tolist(), "rows": rows, "first": rows[0][1], "sum": sum(rows[1]), "one": y.sum().tolist()}
        return [net, log], [lambda: f(arr(4, 3), np.arange(4) % 2), lambda: f(arr(4, 3, seed=1), np.arange(4) % 2)]
    world = check(make, mode, check=checked, tolerance=10.0)
    if not checked:
        skipped(world, mode)
