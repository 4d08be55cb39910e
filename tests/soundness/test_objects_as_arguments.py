"""Objects of the program's own classes of which another one comes with every call: batches, transitions, states."""
import gc
import types
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


@dataclass
class Batch:
    x: np.ndarray
    t: np.ndarray
    weight: float = 1.0
    meta: dict = field(default_factory=dict)

    @property
    def size(self):
        return len(self.x)

    def scaled(self, k):
        return self.x * np.float32(k)


class Labelled(Batch):
    pass


@dataclass(frozen=True, slots=True)
class Transition:
    s: np.ndarray
    a: int
    r: float
    done: bool = False


def batch(seed=0, n=4, cls=Batch, **given):
    return cls(arr(n, 3, seed=seed), np.arange(n) % 2, **{"weight": 0.5 + seed % 3, "meta": {"scale": 1.0 + seed % 4}, **given})


def fitting(wrap, loss_of):
    """A training step on batches."""
    net = L.Linear(3, 2)
    opt = optimizers.MomentumSGD(0.01).setup(net)

    @wrap
    def f(b):
        loss = loss_of(net, b)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return net, f


def plain(net, b):
    return F.softmax_cross_entropy(net(b.x), b.t) * b.weight


def by_methods(net, b):
    return F.softmax_cross_entropy(net(b.scaled(2)), b.t) / b.size if isinstance(b, Batch) else F.sum(net(b.x))


def with_a_dict(net, b):
    return F.softmax_cross_entropy(net(b.x), b.t) * b.meta["scale"] + getattr(b, "bias", 0.0) * F.sum(net.W)


@pytest.mark.parametrize("loss_of", [plain, by_methods, with_a_dict])
def test_batches(mode, loss_of):
    def make(wrap):
        net, f = fitting(wrap, loss_of)
        seeds = iter(range(10 ** 6))
        same, x, looked = batch(), arr(4, 3), []

        def biased():
            b = batch(3)
            b.bias = 0.5
            return f(b)

        def incomplete():
            b = batch(3)
            del b.x
            return f(b)

        def hidden():
            b = batch(3)
            b.scaled = lambda k: b.x * np.float32(-k)
            return f(b)

        def replaced():
            before, Batch.scaled = Batch.scaled, lambda self, k: self.x / np.float32(k)
            try:
                return f(batch(2))
            finally:
                Batch.scaled = before

        def by_getattr():
            Batch.__getattr__ = lambda self, name: 0.25
            try:
                return f(batch(2))
            finally:
                del Batch.__getattr__

        def as_property():
            Batch.x = property(lambda self: looked.append(1) or vars(self)["x"] * 2)
            try:
                return f(batch(next(seeds)))
            finally:
                del Batch.x
        return [net, same, looked], [
            lambda: f(batch(next(seeds))), lambda: f(same), lambda: f(batch(1, n=6)), lambda: f(batch(2, cls=Labelled)), biased, incomplete, hidden, replaced,
            by_getattr, as_property, lambda: f(batch(1, weight=2)), lambda: f(batch(1, weight=np.float64(0.5))), lambda: f(batch(1, meta={})),
            lambda: f(batch(1, meta={"scale": 2.0, "n": 3})), lambda: f(Batch(net.W.array, np.arange(2))), lambda: f(Batch(net.W.array[:1], np.arange(1))),
            lambda: f(Batch(x, np.arange(4), meta={"scale": x[0]})), lambda: f(types.SimpleNamespace(x=x, t=np.arange(4), weight=1.0, meta={"scale": 2.0}))]
    skipped(check(make, mode), mode)


def test_lists_of_transitions(mode):
    def make(wrap):
        net, f = fitting(wrap, lambda net, b: F.mean((F.max(net(np.stack([t.s for t in b])), axis=1) - np.array([t.r * (1 - t.done) for t in b], "f")) ** 2))
        seeds = iter(range(10 ** 6))

        def memory(n=4, **given):
            return [Transition(arr(3, seed=next(seeds)), k, 0.5 * k, k == 1) for k in range(n)]

        def repeated():
            a, b, c, _ = memory()
            return f([a, b, c, a])
        same = memory()
        return [net], [lambda: f(memory()), lambda: f(same), repeated, lambda: f(memory(3)), lambda: f([*same[:3], Transition(net.W.array[0], 0, 1.0)])]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda state, b: (b, b.x, F.sum(F.tanh(b.x))),
    lambda state, b: setattr(state, "last", b) or F.sum(F.tanh(b.x)),
    lambda state, b: (b is state.last, F.sum(F.tanh(b.x))),
    lambda state, b: (b == state.last, F.sum(F.tanh(b.x))),
    lambda state, b: setattr(b, "weight", b.weight + 1) or F.sum(F.tanh(b.x)) * b.weight,
    lambda state, b: b.meta.update(n=2) or F.sum(F.tanh(b.x)) * b.weight,
    lambda state, b: b.meta.__setitem__("scale", b.weight * 2) or F.sum(F.tanh(b.x)) * b.meta["scale"],
    lambda state, b: (vars(b)["weight"], F.sum(F.tanh(b.x))),
    lambda state, b: setattr(state, "count", state.count + b.weight) or F.sum(F.tanh(b.x)) * state.count,
    lambda state, b: (sorted(vars(state)), b is None, b is not True, bool(b), F.sum(F.tanh(b.x))),
    lambda state, b: [F.sum(F.tanh(c.x)) for c in (b, state.kept, b)],
])
def test_what_is_done_with_them(mode, body):
    def make(wrap):
        state = types.SimpleNamespace(last=None, count=0.0, kept=batch(9))
        f = wrap(lambda b: body(state, b))
        seeds = iter(range(10 ** 6))

        def again():
            b = batch(next(seeds))
            return f(b), f(b), b

        def known():
            return f(state.kept)

        def of_variables():
            return f(Batch(var(4, 3, seed=next(seeds)), None))
        return [state], [lambda: f(batch(next(seeds))), again, known, of_variables, lambda: f(batch(next(seeds), n=5))]
    check(make, mode)


def test_agents_that_take_turns(mode):
    """What they count is assigned on every call: each has plans of its own."""
    def make(wrap):
        agents = [types.SimpleNamespace(count=0, scale=0.5 * k) for k in range(2)]

        @wrap
        def f(agent, x):
            agent.count += 1
            return F.sum(x * agent.scale), agent.count

        def both():
            return [f(agent, arr(3)) for agent in agents]
        return [agents], [both, lambda: f(agents[1], arr(4)), both]
    skipped(check(make, mode), mode)


def test_models_that_are_another_on_every_call(mode):
    """Links are no such objects: their parameters are the program's."""
    def make(wrap):
        f = wrap(lambda model, x: F.sum(model(x)))
        models = [L.Linear(3, 2) for _ in range(3)]
        count = iter(range(10 ** 6))
        return models, [lambda: f(models[next(count) % 3], arr(2, 3)), lambda: f(hnn.Sequential(models[0]), arr(2, 3))]
    check(make, mode)


@pytest.mark.parametrize("take", [
    lambda a, b: F.sum(np.stack([a.s, b.s]) * np.float32(0.5)),
    lambda a, b: F.sum(F.exp(a.s) * b.s),
    lambda a, b: F.sum(F.exp(a.s[0]) * 2 + F.tanh(b.s[0])),
    lambda a, b: F.sum(F.exp(a.s) * np.stack([b.s, a.s]).mean(0)),
    lambda a, b: F.sum(F.exp(hnn.Variable(a.s)) * 2 + F.tanh(hnn.Variable(b.s * 2))),
    lambda a, b: a.s.__setitem__(0, 2) or F.sum(np.stack([a.s, b.s]) * np.float32(0.5)),
    lambda a, b: a.s.__iadd__(1).sum() + F.sum(F.exp(b.s)),
    lambda a, b: (a.s is b.s, F.sum(np.stack([a.s, b.s]))),
    lambda a, b: (a.s, b.s, np.abs(a.s - b.s).max()),
    lambda a, b: F.sum(np.concatenate([a.s[0], b.s[1], a.s[1]]) * np.float32(2)) + F.sum(F.exp(b.s[1])),
])
def test_transitions_that_follow_each_other(mode, take):
    """The next state of one is the state of another, in some calls."""
    def make(wrap):
        f = wrap(lambda pair: take(*pair))
        seeds = iter(range(10 ** 6))

        def one(s=None):
            return Transition(arr(2, 3, seed=next(seeds)) if s is None else s, 0, 0.0)

        def same():
            a = one()
            return f([a, one(a.s)]), a

        def view():
            a = one()
            return f([a, one(a.s[::-1])]), a

        def rows():
            a = arr(4, 3, seed=next(seeds))
            return f([one(a[:2]), one(a[1:3])]), a
        return [], [same, lambda: f([one(), one()]), view, rows, lambda: f([one(), one()]), same]
    check(make, mode)


@pytest.mark.parametrize("made", [
    lambda xs, ts: (np.array(xs), np.array(ts)),
    lambda xs, ts: (np.stack(xs), np.asarray(ts, dtype="i")),
    lambda xs, ts: (np.array(xs, "f"), np.array([ts, ts[::-1]])[0]),
    lambda xs, ts: (np.array([*xs]), np.array([[t] for t in ts]).ravel()),
    lambda xs, ts: hnn.dataset.concat_examples(list(zip(xs, ts))),
    lambda xs, ts: (np.vstack(xs), np.array([(t, 0) for t in ts])[:, 0]),
])
@pytest.mark.parametrize("n", [3, 100])
def test_lists_of_rows_and_labels(mode, made, n):
    """Numbers and rows that come as lists, of which an array is made, are others on every call; also where they are many."""
    def make(wrap):
        net = L.Linear(2, 3, initialW=arr(3, 2))

        @wrap
        def f(xs, ts):
            x, t = made(xs, ts)
            return F.softmax_cross_entropy(net(x), t), x, t

        def call(seed, kind=list, **change):
            r = np.random.RandomState(seed)
            xs, ts = list(r.randn(n, 2).astype("f")), r.randint(0, 3, n).tolist()
            ts = [change.get("label", t) if k == 1 else t for k, t in enumerate(ts)]
            xs = [change.get("row", x) if k == 1 else x for k, x in enumerate(xs)]
            return f(kind(xs), kind(ts))
        seeds = iter(range(1000))
        return [net], [lambda: call(next(seeds)), lambda: call(1, label=7), lambda: call(2, label=True), lambda: call(3, label=1 << 40),
                       lambda: call(4, label=1.5), lambda: call(5, row=np.ones(2)),
                       lambda: call(6, row=np.ones((2, 4), "f")[:, ::2][0]), lambda: call(7, tuple)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("known", [True, False])
def test_they_end_with_the_call(mode, known):
    """An object is gone when the caller drops it, whether or not the call could be proved to depend on what it depends on."""
    f = hnn.trace(lambda b: F.tanh(b.x) * b.weight + (0 if known else len(dir(b))), mode=mode)
    gc.disable()
    try:
        for k in range(12):
            b = batch(k)
            gone = weakref.ref(b)
            f(b)
            del b
            assert gone() is None, k
    finally:
        gc.enable()


@pytest.mark.parametrize("n", [2, 7])
def test_models_of_a_population(mode, n):
    """Which optimizer, which model and which settings a call gets changes from call to call; models exchange parameters, and go."""
    def make(wrap):
        nets = [L.Linear(3, 2, initialW=arr(2, 3, seed=k)) for k in range(n)]
        opts = [optimizers.MomentumSGD(0.01 * (k + 1)).setup(net) for k, net in enumerate(nets)]
        turn = iter(range(10**6))

        @wrap
        def step(net, opt, x, other=None, sign=1.0):
            loss = F.sum(net(x) ** 2) * sign
            if other is not None:
                loss += F.sum(other(x))
                other.cleargrads()
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def each(**given):
            return [step(net, opt, arr(4, 3, seed=next(turn)), **given) for net, opt in zip(nets, opts)]

        def exploit():
            nets[0].copyparams(nets[-1])
            nets[1].W.array = nets[0].W.array * 0.5
            return each()

        def with_others():
            return [step(net, opts[k], arr(4, 3), other=nets[k - 1]) for k, net in enumerate(nets)]

        def themselves():
            return [step(net, opts[k], arr(4, 3), other=net) for k, net in enumerate(nets)]

        def another():
            nets[1] = L.Linear(3, 2, initialW=arr(2, 3, seed=9))
            opts[1] = optimizers.MomentumSGD(0.1).setup(nets[1])
            return each()

        def exchanged():
            opts[0], opts[1] = opts[1], opts[0]
            found = each()
            opts[0], opts[1] = opts[1], opts[0]
            return found
        return [nets, opts], [each, each, exploit, lambda: each(sign=-1.0), with_others, themselves, exchanged, another, each]
    skipped(check(make, mode), mode)
