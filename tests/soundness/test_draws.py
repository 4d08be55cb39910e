"""Random numbers that the program draws itself, between those of the library: the stream is always where eager would have it."""
import functools
import random
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import MODES, arr, check
from worlds import skipped as skipped_often

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import distributions, optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)
skipped = functools.partial(skipped_often, least=8)


def drawn():
    return np.random.rand(), np.random.randn()


def test_noise_of_the_program_and_of_the_library(mode):
    def make(wrap):
        net = L.Linear(3, 3)
        opt = optimizers.Adam().setup(net)
        table = np.linspace(0, 1, 7).astype("f")

        @wrap
        def f(x):
            t = np.random.randint(0, 7, size=len(x))
            eps = np.random.randn(*x.shape).astype(np.float32)
            a = table[t][:, None]
            y = F.dropout(net(np.sqrt(a) * x + np.sqrt(1 - a) * eps), 0.5)
            late = np.random.uniform(-1, 1, (3,)).astype("f")
            loss = F.mean(F.dropout(y + late, 0.3) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            np.random.rand(2)
            return loss, eps, late

        def seeded():
            np.random.seed(3)
            return f(arr(4, 3))

        def half():
            np.random.randn()          # one number of a pair is kept by the stream
            return f(arr(4, 3))

        def shorter():
            nonlocal table
            table = table[:4]
            try:
                return f(arr(4, 3))
            except IndexError as error:
                return str(error)
            finally:
                table = np.linspace(0, 1, 7).astype("f")
        return [net], [lambda: f(arr(4, 3)), drawn, seeded, half, lambda: f(arr(5, 3)), shorter, drawn]
    skipped(check(make, mode), mode)


def test_an_operation_raises_after_draws(mode):
    def make(wrap):
        emb = L.EmbedID(4, 2)

        @wrap
        def f(ids):
            noise = np.random.normal(0, 1, (2,)).astype("f")
            y = emb(ids) + noise
            return F.dropout(y, 0.5), np.random.rand(2)
        return [emb], [lambda: f(np.array([1, 2])), lambda: f(np.array([1, 7])), drawn, lambda: f(np.array([0, 3])), drawn]
    skipped(check(make, mode), mode)


def test_drawn_numbers_warn(mode):
    def make(wrap):
        scale = np.array([1.0, 2.0])

        @wrap
        def f(x):
            noise = np.random.rand(2) / scale
            return F.exp(x + noise)

        def zero():
            scale[0] = 0
            with np.errstate(divide="ignore"):
                result = f(arr(2, dtype="d"))
            scale[0] = 1
            return result
        return [], [lambda: f(arr(2, dtype="d")), zero, drawn]
    skipped(check(make, mode), mode)


def test_drawn_numbers_decide(mode):
    def make(wrap):
        @wrap
        def f(x):
            if np.random.rand(1)[0] > 0.5:
                return F.exp(x)
            return F.tanh(x) * np.random.rand()
        return [], [lambda: f(arr(3)), drawn]
    check(make, mode)


def test_arguments_of_draws(mode):
    def make(wrap):
        @wrap
        def f(x, n, high):
            return x + np.random.randint(0, high, n), np.random.permutation(n)
        return [], [lambda: f(hnn.Variable(arr(3)), 3, 5), lambda: f(hnn.Variable(arr(3)), 3, 50),
                    lambda: f(hnn.Variable(arr(3)), 3, np.array([1, 2, 3])), drawn]
    check(make, mode)


def test_other_streams(mode):
    def make(wrap):
        own, new = np.random.RandomState(3), np.random.default_rng(4)
        f = wrap(lambda x: F.relu(x) * own.rand(3) + new.random(3))
        return [], [lambda: f(arr(3)), lambda: (own.rand(), new.random(), f(arr(3)))]
    check(make, mode)


def test_draws_are_replaced(mode, monkeypatch):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) + np.random.rand(3).astype("f"))

        def other():
            with monkeypatch.context() as m:
                m.setattr(np.random, "rand", lambda n: np.zeros(n))
                return f(arr(3))
        return [], [lambda: f(arr(3)), other, drawn]
    skipped(check(make, mode), mode, least=1)


def test_draws_are_checked(mode):
    np.random.seed(5)
    f = hnn.trace(lambda x: F.dropout(F.exp(x) + np.random.rand(3).astype("f"), 0.5), mode=mode, check=1.0)
    traced = [f(arr(3)).array for _ in range(12)]
    np.random.seed(5)
    for y in traced:
        np.testing.assert_allclose(y, f.__wrapped__(arr(3)).array, rtol=1e-5)


def test_generators_of_the_program(mode):
    """NumPy's generators, new and old, between draws of the library: every stream is where eager would have it."""
    def make(wrap):
        net, box = L.Linear(3, 3), type("Box", (), {})()
        box.rng, old = np.random.default_rng(5), np.random.RandomState(6)
        other = np.random.Generator(np.random.MT19937(7))

        @wrap
        def f(x, low=-1.0):
            y = F.dropout(net(x + box.rng.normal(size=x.shape).astype("f")), 0.5)
            mask = box.rng.random(x.shape) < 0.7
            y = y * mask + old.uniform(low, 1, x.shape).astype("f") + other.standard_normal(3, dtype=np.float32)
            picked = old.randint(0, 3, 4)
            return F.sum(F.get_item(y, (slice(None), picked)) * np.random.rand(len(x), 4).astype("f"))

        def state():
            return box.rng.random(), old.rand(), other.random(), np.random.rand()

        def replaced():
            box.rng = np.random.default_rng(9)
            return f(arr(4, 3))

        def refused():
            try:
                return f(arr(4, 3), low=np.array(["a"]))
            except Exception as error:
                return type(error)
        return [net], [lambda: f(arr(4, 3)), state, replaced, lambda: f(arr(5, 3)), refused, state]
    skipped(check(make, mode), mode)


def test_a_generator_is_put_back(mode):
    """What raises behind a draw is run again by Python, which draws the same."""
    def make(wrap):
        rng, table = np.random.default_rng(1), [np.arange(6.0)]

        @wrap
        def f(x, k):
            noise = rng.normal(size=3).astype("f")
            return F.tanh(x + noise) * table[0][k].astype("f")

        def call(k):
            try:
                return f(hnn.Variable(arr(2, 3)), k), rng.random()
            except IndexError as error:
                return str(error), rng.random()
        ks = np.array([1, 2, 3]), np.array([1, 2, 9])
        return [table], [lambda: call(ks[0]), lambda: call(ks[1])]
    check(make, mode)


@pytest.mark.parametrize("body", [
    lambda x, y: np.random.beta(0.5, 0.5) * y,
    lambda x, y: (lambda lam: lam * y + (1 - lam) * y ** 2)(np.random.beta(1.0, 2.0)),
    lambda x, y: y + np.random.normal() * np.random.uniform(-1.0, 1.0),
    lambda x, y: y * (np.random.randint(5) + 1),
    lambda x, y: F.sum(y * (np.random.rand() * x)) + F.sum(F.dropout(y, 0.5)) * np.random.rand(),
    lambda x, y: y * 2 if np.random.rand() < 0.5 else y,
    lambda x, y: y[np.random.randint(2)],
    lambda x, y: y * max(np.random.rand(), 0.5) ** 2,
    lambda x, y: (y, np.random.rand(), float(np.random.randn()) * 2),
    lambda x, y: y * np.random.choice(3, 2)[0],
    lambda x, y: sum([y] * np.random.randint(1, 3)),
])
def test_numbers_that_are_drawn(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        opt = optimizers.SGD(0.1).setup(net)
        f = wrap(lambda x: body(x, net(x)))

        @wrap
        def step(x):
            y = body(x, net(x))
            loss = F.sum((y[0] if isinstance(y, tuple) else y) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * 2), lambda: step(arr(2, 3) * 0.1), drawn, lambda: step(arr(2, 3) * 0.1)]
    check(make, mode)


def test_mixtures_of_samples(mode):
    def make(wrap):
        net = L.Linear(3, 2)
        opt = optimizers.Adam().setup(net)

        @wrap
        def step(x, t):
            lam, index = np.random.beta(0.4, 0.4), np.random.permutation(len(x))
            y = net(lam * x + (1 - lam) * x[index])
            loss = lam * F.softmax_cross_entropy(y, t) + (1 - lam) * F.softmax_cross_entropy(y, t[index])
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        t = np.array([0, 1, 1, 0], "i")
        return [net], [lambda: step(arr(4, 3), t), drawn, lambda: step(arr(3, 3), t[:3])]
    skipped(check(make, mode), mode)


def batches(x, stream):
    order = np.arange(len(x))
    stream.shuffle(order)
    return sum([F.sum(F.exp(x[order[k:k + 2]])) * (k + 1) for k in range(0, 4, 2)]), order


def between(x, stream):
    first, order = np.random.rand(), np.arange(6) * 2
    doubled = order * 2
    stream.shuffle(order)
    return F.sum(F.exp(x)) * first, order, doubled, np.random.rand()


def twice_shuffled(x, stream):
    order = np.arange(6)
    stream.shuffle(order)
    stream.shuffle(order)
    return F.sum(F.exp(x[order[:2]])), order


def shuffled_in_every_epoch(x, stream):
    order, y = np.arange(len(x)), 0
    for _ in range(3):
        stream.shuffle(order)
        for k in range(0, 4, 2):
            part = order[k:k + 2]
            y = y + F.sum(F.exp(x[part])) * (k + 1)
    return y, order, part


def of_an_argument(x, stream):
    rows = x * 2
    stream.shuffle(rows)
    return F.sum(F.exp(rows) * x), rows


def seen_in_a_view(x, stream):
    order = np.arange(6)
    part = order[:2]
    stream.shuffle(order)
    return F.sum(F.exp(x[part])), part


def given(x, stream):
    stream.shuffle(x)
    return F.sum(F.exp(x[0]))


@pytest.mark.parametrize("body", [batches, between, twice_shuffled, shuffled_in_every_epoch, of_an_argument, seen_in_a_view, given])
@pytest.mark.parametrize("kind", ["global", "state", "generator"])
def test_orders_are_shuffled(mode, body, kind):
    def make(wrap):
        stream = {"global": np.random, "state": np.random.RandomState(0), "generator": np.random.default_rng(0)}[kind]
        f = wrap(lambda x: (body(x, stream), stream.random(2)))

        def wrong():
            try:
                f(arr(6, 0))
            except ValueError as error:
                return str(error)
        return [], [lambda: f(arr(6, 3)), lambda: f(arr(6, 3) * 2), lambda: f(arr(7, 3)), wrong]
    w = check(make, mode)
    if body is not given:
        skipped(w, mode)


def test_limits_of_draws_that_change(mode):
    """A memory that fills up: the numbers of its rows are drawn among those that are there."""
    def make(wrap):
        class Memory:
            size, rows = 1, arr(40, 3)
        memory = Memory()
        net = L.Linear(3, 1)
        net.W.array[...] = arr(1, 3)

        @wrap
        def f(n):
            k = np.random.randint(memory.size, size=3)
            return F.sum(net(memory.rows[k])) * n, k, np.random.randint(-1, memory.size, 2), np.random.rand()

        def grown():
            memory.size += 1
            return f(0)

        def wrong(size):
            memory.size, before = size, memory.size
            try:
                return f(0)
            except ValueError as error:
                return str(error), np.random.rand()
            finally:
                memory.size = before
        return [net], [grown, lambda: wrong(0), lambda: wrong(-3), lambda: f(1)]
    skipped(check(make, mode), mode)


def positive(x):
    return F.softplus(x) + 0.1


SAMPLED = {
    "gamma": lambda x: distributions.Gamma(positive(x), positive(x)),
    "beta": lambda x: distributions.Beta(positive(x), positive(x)),
    "dirichlet": lambda x: distributions.Dirichlet(positive(x)),
    "poisson": lambda x: distributions.Poisson(positive(x)),
    "geometric": lambda x: distributions.Geometric(F.sigmoid(x)),
    "chisquare": lambda x: distributions.Chisquare(positive(x)),
    "pareto": lambda x: distributions.Pareto(positive(x), positive(x)),
    "categorical": lambda x: distributions.Categorical(logit=x),
    "one-hot": lambda x: distributions.OneHotCategorical(F.softmax(x)),
    "bernoulli": lambda x: distributions.Bernoulli(logit=x),
}


@pytest.mark.parametrize("kind", SAMPLED)
def test_samples(mode, kind):
    """Whose parameters the call computes."""
    def make(wrap):
        net = L.Linear(3, 4)
        opt = optimizers.SGD(0.01).setup(net)

        @wrap
        def f(x):
            d = SAMPLED[kind](net(x))
            a = d.sample().array
            loss = F.sum(d.log_prob(a)) * 0.1
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, a

        def wrong():
            net.W.array[0] = np.nan
            try:
                with np.errstate(all="ignore"):
                    return f(arr(2, 3))
            except ValueError as error:
                return str(error)
            finally:
                net.W.array[...], net.b.array[...] = arr(4, 3), 0
        return [net], [lambda: f(arr(2, 3)), drawn, lambda: f(arr(4, 3)), wrong, drawn]
    skipped(check(make, mode, tolerance=100.0), mode, least=6)


def written(a):
    a[...] = 0
    return a


def another(a):
    return a.copy()


@pytest.mark.parametrize("change", [None, written, another])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sample_is_looked_at(mode, change, when):
    """And changed before, or after, an operation takes it again."""
    def make(wrap):
        net = L.Linear(3, 4)

        @wrap
        def f(x):
            d = distributions.Categorical(logit=net(x))
            a = d.sample().array
            if change is not None and when == "before":
                a = change(a)
            first = d.log_prob(a)
            if change is not None and when == "after":
                a = change(a)
            loss = F.sum(first) + F.sum(d.log_prob(hnn.as_variable(a)))
            net.cleargrads()
            loss.backward()
            return loss, a
        return [net], [lambda: f(arr(2, 3)), drawn, lambda: f(arr(4, 3)), drawn]
    world = check(make, mode)
    if change is None:
        skipped(world, mode)


@pytest.mark.parametrize("kind", ["functions", "arrays", "links", "arguments", "texts"])
def test_members_that_are_chosen(mode, kind):
    """By Python's own generator."""
    def make(wrap):
        links = hnn.ChainList(L.Linear(3, 3), L.Linear(3, 3))
        own = random.Random(5)
        box = {"functions": (F.tanh, F.sigmoid, F.exp), "arrays": [arr(2, 3), arr(2, 3, seed=1)], "links": [*links], "texts": ["tanh", "exp"]}.get(kind)

        def apply(x, chosen):
            if kind in ("functions", "links"):
                return chosen(x)
            return x * chosen if kind == "arrays" else F.exp(chosen) if kind == "arguments" else getattr(F, chosen)(x)

        @wrap
        def f(x, *given):
            members = given if kind == "arguments" else box
            y = F.sum(apply(x, random.choice(members)) + apply(x, own.choice(members)))
            return y, random.random()

        def run(*given):
            return lambda: f(arr(2, 3), *given)

        def grown():
            if type(box) is list:
                box.append(box[0])
            return run(arr(2), arr(2, seed=1), arr(2, seed=2))()

        def none():
            try:
                return f(arr(2, 3)) if kind == "arguments" else random.choice([])
            except IndexError as error:
                return str(error)
        return [links], [run(arr(2), arr(2, seed=1)), grown, none, run(arr(3), arr(3, seed=4))]
    skipped(check(make, mode), mode, least=1)


def window(data):
    i = np.random.randint(0, 20)
    return data[i:i + 4]


def windows(data):
    return np.stack([data[i:i + 4] for i in np.random.randint(0, 20, 3)])


def crop(data):
    i, j = np.random.randint(0, 3, 2)
    return np.pad(data[:4], 1)[i:i + 4, j:j + 2]


def by_python(data):
    i = random.randrange(20)
    return data[i:i + 2] * data[i, 1] + data[-i - 1]


def filled(data):
    x = np.zeros((6, 2), "f")
    i = np.random.randint(0, 4)
    x[i:i + 2] = data[:2]
    x[i, 0] = 3
    return x


def of_any_length(data):
    return data[np.random.randint(0, 3):]


@pytest.mark.parametrize("body", [window, windows, crop, by_python, filled, of_any_length])
def test_windows_at_places_that_are_drawn(mode, body):
    """Data that grow shorter give windows of other lengths, or none."""
    def make(wrap):
        net, box = L.Linear(2, 3), {"data": arr(24, 2)}

        @wrap
        def f(x):
            x = body(box["data"])
            y = net(x.reshape(-1, 2))
            loss = F.sum(F.tanh(y))
            net.cleargrads()
            loss.backward()
            return loss, x

        def shorter(n):
            box["data"] = arr(24, 2)[:n]
            try:
                return f(None)
            except (IndexError, ValueError) as error:
                return str(error)
            finally:
                box["data"] = arr(24, 2)
        return [net], [lambda: f(None), drawn, lambda: shorter(21), lambda: shorter(7), drawn, lambda: shorter(0)]
    world = check(make, mode)
    if body is not of_any_length:
        skipped(world, mode)


def by_priorities(a, x, y, noise, own):
    p = a ** 0.6
    p /= p.sum()
    i = np.random.choice(len(p), 3, p=p)
    return i, (len(p) * p[i]) ** -0.4, np.random.randn(2)


def by_width(a, x, y, noise, own):
    return np.random.normal(0, noise, 3), np.random.normal(a[0], a[1] + noise), np.random.rand()


def behind_an_operation(a, x, y, noise, own):
    p = F.softmax(y).array[0].astype("d")
    i = np.random.choice(4, p=p / p.sum())
    j = np.random.randint(0, 4)
    return a[i], a[j], x[j % 2], np.random.uniform(0, a[j], 2), np.random.normal(0, 1), random.random()


def behind_a_number(a, x, y, noise, own):
    k = random.randint(0, 2)
    i = np.random.choice([4, 5, 6], p=a[:3] / a[:3].sum())
    j = np.random.randint(0, 4)
    return a[i], a[j], a[k:k + 2], a[j:j + 1]


def by_a_generator(a, x, y, noise, own):
    i = own.choice(4, p=a[:4] / a[:4].sum())
    j = own.choice([1, 2, 3])
    return a[i], a[j], x[:, i % 3], own.normal(a[j], noise)


def decided(a, x, y, noise, own):
    i = int(np.random.choice(2, p=[noise, 1 - noise]))
    return (a[0], "first") if i else (a[1], np.random.rand())


@pytest.mark.parametrize("body", [by_priorities, by_width, behind_an_operation, behind_a_number, by_a_generator, decided])
def test_arguments_that_are_computed(mode, body):
    """Of arrays and numbers from outside and of what operations give; some are not accepted, and the stream is where it was."""
    def make(wrap):
        net, a = L.Linear(3, 4), np.abs(arr(8, dtype="d")) + 0.1
        own = np.random.default_rng(3)
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, noise):
            y = net(x)
            found = body(a, x, y, noise, own)
            loss = F.mean((y - np.float32(np.sum(found[0]))) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            a[...] = a[::-1] * 0.9
            return loss, found

        def run(noise=0.25, n=2, change=None):
            def call():
                if change is not None:
                    a[...] = change
                try:
                    return f(arr(n, 3), noise)
                except ValueError as error:
                    return str(error)
                finally:
                    if change is not None:
                        a[...] = np.abs(arr(8, dtype="d")) + 0.1
            return call
        return [net, a], [run(), drawn, run(0.5), run(-2.0), drawn, run(change=np.nan), run(n=3), run(change=-1.0), drawn, random.random,
                          own.random]
    skipped(check(make, mode, tolerance=100.0), mode)


def from_outside(width, y):
    return width


@pytest.mark.parametrize("scale", [from_outside, lambda s, y: np.abs(y.array[0]) + 0.1])
@pytest.mark.parametrize("when", ["before", "behind", "between", "around"])
def test_draws_with_arguments_and_dropout(mode, when, scale):
    def make(wrap):
        width, net = np.array([0.5, 1.0, 2.0]), L.Linear(3, 3)

        @wrap
        def f(x):
            x = F.dropout(x, 0.5) if when in ("before", "around") else x
            x = x * np.random.normal(0, scale(width, x)).astype("f")
            if when == "between":
                x = F.dropout(net(x), 0.25) * np.random.rand() + np.random.choice(width, p=width / width.sum()).astype("f")
            x = x * np.random.uniform(width[0], 2)
            return F.dropout(net(x), 0.5) if when in ("behind", "around") else x, np.random.randn()

        def failing():
            width[1] *= -1
            try:
                return f(hnn.Variable(arr(2, 3)))
            except ValueError as error:
                return str(error)
            finally:
                width[1] *= -1
        return [width, net], [lambda: f(hnn.Variable(arr(2, 3))), drawn, failing, drawn, lambda: f(hnn.Variable(arr(4, 3)))]
    w = check(make, mode)
    if scale is from_outside:
        skipped(w, mode)


@pytest.mark.parametrize("draw", [
    lambda rng, size: np.random.randint(0, size, 4), lambda rng, size: np.random.randint(size, size=4), lambda rng, size: np.random.choice(size, 2),
    lambda rng, size: np.random.choice(size, 2, replace=False), lambda rng, size: rng.integers(0, size, size=4), lambda rng, size: rng.choice(size, 3),
    lambda rng, size: np.array([random.randrange(size), random.randint(0, size - 1)]), lambda rng, size: np.random.randint(-1, size, 3),
])
def test_memories_that_fill(mode, draw):
    """What is drawn from lies below a number that grows, and may grow too far, in an array into which the same call writes before."""
    class Memory:
        def __init__(self):
            self.s, self.ptr, self.size, self.rng = np.zeros((20, 3), "f"), 0, 0, np.random.default_rng(3)

        def add(self, row):
            self.s[self.ptr] = row
            self.ptr = (self.ptr + 1) % 20
            self.size = min(self.size + 1, 25)

    def make(wrap):
        memory, net = Memory(), L.Linear(3, 2)
        opt = optimizers.SGD(0.01).setup(net)

        @wrap
        def f(x):
            memory.add(x[0])
            i = draw(memory.rng, memory.size)
            y = F.sum(F.tanh(net(memory.s[i])))
            net.cleargrads()
            y.backward()
            opt.update()
            return y, i

        def put(**values):
            vars(memory).update(values)
            return f(arr(2, 3))

        def settled(**values):
            vars(memory).update(values)
            try:
                return f(arr(2, 3))
            finally:
                memory.size, memory.ptr = 5, 3
        return [net, memory], [
            lambda: f(arr(2, 3)), lambda: put(size=0), lambda: put(size=1), lambda: settled(size=-3), lambda: settled(ptr=25), lambda: put(size=12),
            lambda: settled(size=24), lambda: settled(size=2.0), lambda: put(size=True), lambda: put(s=arr(30, 3)), lambda: put(s=arr(3, 3), ptr=0),
            lambda: settled(s=np.zeros((20, 3), "f"))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("drawn", [np.random.permutation, np.random.normal, lambda g: np.random.normal(0, np.abs(g)), lambda g: (np.random.permutation(g), g)])
def test_draws_that_take_a_gradient_from_before_the_call(mode, drawn):
    def make(wrap):
        p = hnn.Parameter(arr(3, 4))
        p.grad = arr(3, 4, seed=1)
        f = wrap(lambda x: (F.exp(x), drawn(p.grad), np.random.rand()))

        def with_gradient(g):
            def call():
                p.grad = g()
                return f(arr(3))
            return call
        return [p], [lambda: f(arr(3)), with_gradient(lambda: arr(3, 4, seed=2)), with_gradient(lambda: arr(4, 3).T), with_gradient(lambda: p.array)]
    skipped(check(make, mode), mode)


DRAWS_OF_ARRAYS = ["np.random.permutation(s)", "np.random.uniform(s, s + 1)", "np.random.choice(s[0])", "np.random.normal(np.abs(s).sum())",
                   "(np.random.permutation(s), np.random.normal(s))"]


@pytest.mark.parametrize("change", ["s *= 2", "s[0] = 5", "np.random.shuffle(s)", "np.clip(s, 0, 1, out=s)"])
@pytest.mark.parametrize("drawn", DRAWS_OF_ARRAYS)
@pytest.mark.parametrize("made", ["np.sort(x)", "F.tanh(x).array * 2"])
def test_arrays_that_change_behind_a_draw_of_them(mode, made, drawn, change):
    def make(wrap):
        space = {"np": np, "F": F}
        exec(f"def f(x):\n    s = {made}\n    found = {drawn}\n    {change}\n    return found, s", space)
        f = wrap(space["f"])
        return [], [lambda: f(arr(3, 4)), lambda: f(arr(3, 4, seed=1)), lambda: f(arr(2, 4))]
    skipped(check(make, mode), mode)


def test_choices_without_replacement_by_hand(mode):
    def make(wrap):
        @wrap
        def f(x):
            weights, chosen = np.abs(x) + 1, []
            for _ in range(3):
                chosen.append(np.random.choice(len(weights), p=weights / weights.sum()))
                weights[chosen[-1]] = 0
            return chosen, weights
        return [], [lambda: f(arr(4)), lambda: f(arr(4, seed=1)), lambda: f(arr(5))]
    check(make, mode)


DRAWS_INTO_ARRAYS = ["rng.standard_normal(out=a, dtype=a.dtype)", "rng.random(dtype='f', out=a)", "rng.standard_gamma(2.0, out=a, dtype='f')",
                     "rng.permuted(a, axis=0, out=a)", "rng.standard_exponential(dtype='f', out=a[1])", "rng.random(a.shape, 'f', a)",
                     "rng.random(size=a.shape, dtype='f', out=a)", "rng.random(out=a)"]


@pytest.mark.parametrize("draw", DRAWS_INTO_ARRAYS)
@pytest.mark.parametrize("place", ["box['a']", "W.array", "x", "np.ones((2, 3), 'f')", "x.T.copy().T"])
def test_draws_into_arrays(mode, place, draw):
    def make(wrap):
        rng, box, W = np.random.default_rng(0), {"a": arr(2, 3)}, hnn.Parameter(arr(2, 3, seed=1))
        space = {"np": np, "F": F, "rng": rng, "box": box, "W": W}
        exec(f"def f(x):\n    a = {place}\n    y, before = F.sum(x * W * a), a * 2\n    z = {draw}\n    return y, F.sum(x * W * a), before, a + 1, z", space)
        f = wrap(space["f"])

        def run(x):
            return f(x), rng.bit_generator.state["state"]

        def another():
            box["a"] = np.zeros((2, 3), "d")
            return run(arr(2, 3))
        return [box, W], [lambda: run(arr(2, 3)), lambda: run(arr(2, 3, seed=1)), another]
    check(make, mode)


@pytest.mark.parametrize("draw", ["np.random.multivariate_normal", "rng.multivariate_normal"])
@pytest.mark.parametrize("given", ["mean, cov, 4", "mean, cov", "mean=mean, cov=box.cov, size=x.shape[:1]", "x[0], np.eye(3) * np.float32(0.5), 2",
                                   "mean, box.cov, check_valid='ignore'", "W.array, box.cov, check_valid='raise'", "mean, cov, 4, 'warn'"])
def test_draws_of_vectors(mode, draw, given):
    def make(wrap):
        rng, W = np.random.default_rng(0), hnn.Parameter(arr(3))
        mean, cov = np.zeros(3), np.diag([1.0, 2.0, 0.5])
        box = SimpleNamespace(cov=cov)
        space = {"np": np, "F": F, "rng": rng, "box": box, "W": W, "mean": mean, "cov": cov}
        exec(f"def f(x):\n    z = {draw}({given})\n    return F.sum(x * W * z.astype('f').sum()), z", space)
        f = wrap(space["f"])

        def run():
            return f(arr(4, 3)), rng.bit_generator.state["state"]

        def with_covariance(c):
            box.cov = np.array(c, "d")
            return run()
        return [box], [
            run, lambda: with_covariance(np.eye(3)), lambda: with_covariance([[1, 2, 0], [2, 1, 0], [0, 0, 1]]),
            lambda: with_covariance(np.eye(2)), lambda: with_covariance(np.full((3, 3), np.nan))]
    world = check(make, mode)
    skipped(world, mode, least=0 if given.endswith("'warn'") else 8)


def test_draws_of_vectors_of_a_wrong_covariance(mode):
    """Which warns on every call, where the program draws."""
    def make(wrap):
        cov = np.array([[1, 2], [2, 1.0]])

        @wrap
        def f(x):
            return F.sum(F.exp(x * np.random.multivariate_normal(np.zeros(2), cov).astype("f")))
        return [], [lambda: f(arr(2)), lambda: f(arr(3, 2))]
    check(make, mode)


def an_action(p, k, own):
    chances = p.astype("d")
    return int(np.random.choice(len(p), p=chances / chances.sum() * k)), np.random.randn()


def of_weights(p, k, own):
    return [own.choice(4, p=p.astype("d") / float(p.sum(dtype="d")) * k) for _ in range(2)], own.normal(), random.choices([0, 1, 2, 3], weights=p.tolist())


def around_means(p, k, own):
    u = np.random.rand()
    return np.random.normal(p, 2 - k), np.random.normal(p[0] * u, 0.1), p[np.array([0, 2])] * u


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("body", [an_action, of_weights, around_means])
def test_draws_as_the_updated_model_says(mode, body, again):
    """The next action, samples; some chances are not accepted, which raises behind the update. ``again``: another update follows, of what was drawn."""
    def make(wrap):
        net, own, trail = hnn.Sequential(L.Linear(3, 6), F.tanh, F.dropout, L.Linear(6, 4)), np.random.default_rng(3), np.zeros(3, "f")
        opt, log = hnn.optimizers.Adam(0.01).setup(net), []
        opt.add_hook(hnn.optimizer_hooks.GradientClipping(1.0))

        def fit(x, t):
            loss = F.mean((net(x) - t) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        @wrap
        def step(x, k):
            loss = fit(x, 1.0)
            trail[...] = 0.9 * trail + x[0]
            log.append(loss.item())
            with hnn.no_backprop_mode(), hnn.using_config("train", False):
                p = F.softmax(net(x)).array[0]
            found = body(p, k, own)
            if again:
                loss = fit(x, np.random.randn(4).astype("f")) + loss
            log.append(found[-1])
            return found, loss

        def run(k, n=3):
            try:
                return step(arr(n, 3), k)
            except ValueError as error:
                return str(error)
        return [net, own, trail, log], [lambda: run(1.0), drawn, lambda: run(2.5), lambda: run(1.0), lambda: run(1.0, 2), own.random]
    world = check(make, mode, tolerance=100.0)
    if not again:
        skipped(world, mode)


@pytest.mark.parametrize("decides", [False, True])
def test_draws_behind_an_update_and_an_action(mode, decides):
    """The action is drawn as the network says; what is drawn after the update, of the same stream or of another, has arguments of its own."""
    def make(wrap):
        net, actions, world = L.Linear(3, 4), np.random.RandomState(3), np.random.default_rng(4)
        opt, state = hnn.optimizers.SGD(0.01).setup(net), np.zeros(3, "f")

        @wrap
        def step(x):
            p = F.softmax(net(x))
            chances = p.array[0].astype(np.float64)
            a = int(actions.choice(4, p=chances / chances.sum()))
            state[...] = 0.9 * state + world.normal(size=3)
            loss = -F.log(p[0, a])
            net.cleargrads()
            loss.backward()
            opt.update()
            explore = actions.rand()
            if decides and explore < 0.3:
                return a, loss, actions.randint(4)
            return a, loss, explore, actions.permutation(3), world.integers(5), np.random.rand()
        return [net, actions, world, state], [lambda: step(arr(2, 3)), lambda: step(arr(4, 3))]
    world = check(make, mode)
    if not decides:
        skipped(world, mode)


@pytest.mark.parametrize("kind", ["random", "Random", "RandomState", "Generator"])
def test_lists_of_numbers_are_shuffled(mode, kind):
    """As the order of examples is, where it is a list."""
    def make(wrap):
        net = L.Linear(3, 2)
        stream = {"random": random, "Random": random.Random(3), "RandomState": np.random.RandomState(3), "Generator": np.random.default_rng(3)}[kind]

        @wrap
        def epoch(x):
            order, scales = list(range(len(x))), [0.5, 1.0, 2.0]
            stream.shuffle(order)
            stream.shuffle(scales)
            total = 0
            for begin in range(0, len(x), 2):
                total = total + F.sum(net(x[order[begin:begin + 2]])) * scales[begin % 3]
            return total, order, stream.random()

        @wrap
        def other(x):
            parts, order = [x, 1], [0, 1, 2]
            stream.shuffle(parts)
            stream.shuffle(order)
            return len(parts), x[0] * order[0] if order[0] > 1 else x[1]
        return [net, stream], [lambda: epoch(arr(4, 3)), lambda: epoch(arr(6, 3)), lambda: other(arr(4, 3))]
    skipped_often(check(make, mode), mode)
