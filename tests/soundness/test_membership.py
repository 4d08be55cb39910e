"""The operator ``in``, equality of sets, and models whose own choice of layers rests on it."""
import copy
import operator
from collections import Counter, OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_in_lists_tuples_and_dicts(mode):
    """What is made in the call, and what came from outside and changes."""
    def make(wrap):
        x, names, table, fixed = var(3, 4), ["a", "b"], {"a": 1.0}, ("b", "c")

        @wrap
        def f(x):
            y = x * 2 if "a" in names else x * 3
            if "b" in table and "c" not in fixed:
                y = y + 1
            for k in [name for name in names if name in fixed]:
                y = F.tanh(y) * len(k)
            return y if 2 in (1, len(names)) else -y

        def swap():
            names[0] = "c" if names[0] == "a" else "a"
            return f(x)

        def grow():
            table.setdefault("b", 2.0)
            names.append("z")
            return f(x)

        def shrink():
            table.pop("b", None)
            del names[2:]
            return f(x)
        return [x, names, table], [lambda: f(x), swap, grow, shrink]
    skipped(check(make, mode), mode)


def test_a_layer_that_the_optimizer_does_not_know(mode):
    """Its gradients add up from call to call, so that the second call takes another path, behind normalisations that were replayed."""
    def make(wrap):
        net = L.vision.resnet.BuildingBlock(1, 3, 4, 8, 1, initialW=hnn.initializers.Normal(0.1, rng=np.random.RandomState(0)))
        last = L.Linear(8 * 16, 4, initialW=np.full((4, 128), 0.01, "f"))
        optimizer = hnn.optimizers.SGD(0.01).setup(net)
        x, t = var(2, 3, 4, 4).array, np.array([0, 1], "i")

        @wrap
        def step(x, t):
            loss = F.softmax_cross_entropy(last(net(x)), t)
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss
        return [net, last], [lambda: (step(x, t), last.W.grad.copy())]
    skipped(check(make, mode), mode, 3)


class Mode:
    """Equal to itself only, until its class says otherwise."""


class Named:
    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return isinstance(other, Named) and self.name == other.name

    __hash__ = None


@pytest.mark.parametrize("kind", ["function", "link", "object", "class", "own equality"])
def test_objects_in_lists_and_tuples(mode, kind):
    def make(wrap):
        x = var(3, 4)
        a, b = {"function": (F.tanh, F.sigmoid), "link": (L.Linear(4, 4), L.Linear(4, 4)), "object": (Mode(), Mode()), "class": (Mode, Named),
                "own equality": (Named("a"), Named("b"))}[kind]
        box, known = {"chosen": a, "others": (b,)}, [a]

        @wrap
        def f(x):
            y = x * 2 if box["chosen"] in known else x * 3
            y = y + 1 if box["chosen"] in (b, None, 1) else y - 1
            return F.exp(y) if box["chosen"] not in box["others"] else y

        def swap():
            box["chosen"] = b if box["chosen"] is a else a
            return f(x)

        def grow():
            known.append(b)
            return f(x)

        def other_tuple():
            box["others"] = (a, b)
            return f(x)

        def equal():
            """All objects of the class are equal for a while."""
            Mode.__eq__ = lambda self, other: isinstance(other, Mode)
            try:
                return f(x)
            finally:
                del Mode.__eq__
        return [x], [lambda: f(x), swap, equal, grow, other_tuple]
    world = check(make, mode)
    if kind != "own equality":
        skipped(world, mode)


def grid(table, x):
    keys = sorted(table)
    return [table[k] * x for k in keys], keys, [table.get((i, 0), 0.5) for i in range(3)], max(table.values())


def connections(table, x):
    terms = [w * x for (i, j), w in sorted(table.items(), key=lambda pair: pair[0]) if j == 1]
    return sum(terms), [(j, i) for i, j in table], (0, 1) in table


def filled(table, x):
    reached = {(0, 0): x}
    for i in range(1, 3):
        for k in ((i - 1, 0), (i, 1)):
            reached[i, 0] = F.tanh(reached.get(k, x) * table.get(k, 2.0))
    return reached[2, 0], list(reached), reached.pop((1, 0))


def counted(table, x):
    for k in list(table):
        table[k] = table[k] * 0.5 + float(k[0])
    table[0, 1] += 1.0
    return x * table[0, 1], dict(table)


@pytest.mark.parametrize("body", [grid, connections, filled, counted])
def test_tuples_are_keys(mode, body):
    def make(wrap):
        table = {(0, 0): 1.5, (1, 0): 2.5, (0, 1): -1.0}
        f = wrap(lambda x: body(table, x))

        def changed(key, value=3.0):
            def call():
                known = dict(table)
                if key in table:
                    value_before = table.pop(key)
                    table[key] = value_before
                else:
                    table[key] = value
                try:
                    return f(var(3, 4))
                finally:
                    table.clear()
                    table.update(known)
            return call
        return [table], [lambda: f(var(3, 4)), lambda: f(var(2, 4)), changed((0, 0)), changed((False, 0)), changed((1.0, 0)), changed((2, 1)), changed("a"),
                         changed((0, 1, 2)), changed((0.0, (1, 2)))]

    def tried(wrap):
        state, calls = make(wrap)

        def call(fn):
            def run():
                try:
                    return fn()
                except (TypeError, ValueError) as error:
                    return type(error).__name__
            return run
        return state, [*map(call, calls)]
    skipped(check(tried, mode), mode)


@pytest.mark.parametrize("body", [
    lambda y, t: 3 in y.argmax(1),
    lambda y, t: [int(t[i]) in row for i, row in enumerate(np.argsort(-y, axis=1)[:, :2])],
    lambda y, t: 2 not in t or np.float32(0) in y,
    lambda y, t: y[0, 0] in y and True in (y > 0),
    lambda y, t: np.arange(2) in np.argsort(y, axis=1)[:, :2],
    lambda y, t: 1.5 in t.astype("f") / 2,
])
def test_in_arrays(mode, body):
    """``x in a`` is ``(a == x).any()``; its outcome decides the path."""
    def make(wrap):
        f = wrap(lambda x, t: F.sum(F.exp(x)) * 2 if body(x.array, t) else F.sum(x))
        x = var(3, 4)
        return [x], [lambda: f(x, np.array([0, 1, 2])), lambda: f(x, np.array([3, 3, 1])), lambda: f(hnn.Variable(-x.array), np.array([0, 1, 2])),
                     lambda: f(hnn.Variable(np.zeros((3, 4), "f")), np.array([1, 3, 0])), lambda: f(var(2, 4), np.array([1, 3])),
                     lambda: f(hnn.Variable(arr(3, 4)[:, ::-1]), np.array([0, 1, 2]))]
    check(make, mode)


@pytest.mark.parametrize("compared", [
    lambda made, n: operator.eq(divmod(n, 2), made), lambda made, n: made != [n], lambda made, n: (made == {"a": n}, {n: 1}.keys() == made),
    lambda made, n: (made == n, made == "a", made == frozenset([0, 1]))])
def test_sets_are_equal_to_no_others(mode, compared):
    def make(wrap):
        f = wrap(lambda x, numbers: (F.exp(x), compared({n % 2 for n in numbers}, len(x))))
        return [], [lambda: f(arr(3), [1, 2]), lambda: f(arr(3), [2, 4]), lambda: f(arr(2), [1, 2])]
    check(make, mode)


LAYERS = [lambda: (hnn.Parameter(arr(4, 3)), hnn.Parameter(arr(4))), lambda: (hnn.Parameter(arr(2, 4, seed=1)), hnn.Parameter(arr(2)))]


def functional(layers, state, x):
    for k, (W, b) in enumerate(layers):
        x = F.linear(x, W, b)
        if k < len(layers) - 1:
            x = F.tanh(x)
    return x


def by_number(layers, state, x):
    return F.linear(F.tanh(F.linear(x, layers[0][0], layers[0][1])), *layers[1])


def unpacked(layers, state, x):
    (W, b), last = layers
    return F.linear(F.tanh(F.linear(x, W) + b), last[0]) * last[-1].array.sum() + last[1:][0]


def updated(layers, state, x):
    y = functional(layers, state, x)
    for p in [p for pair in layers for p in pair]:
        p.cleargrad()
    F.sum(y ** 2).backward()
    for pair in layers:
        for p in pair:
            m, v = state.setdefault(id(p), (np.zeros_like(p.array), np.zeros_like(p.array)))
            m[...] = 0.9 * m + 0.1 * p.grad
            v[...] = 0.99 * v + 0.01 * p.grad ** 2
            p.array -= 0.01 * m / (np.sqrt(v) + np.float32(1e-3))
    return y


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("body", [functional, by_number, unpacked, updated])
def test_parameters_in_tuples(mode, body, kind):
    def make(wrap):
        layers, state = kind(make_layer() for make_layer in LAYERS), {}
        box = [layers]
        f = wrap(lambda x: body(box[0], state, x))

        def other():
            box[0] = kind(make_layer() for make_layer in LAYERS)
            state.clear()
            return f(arr(2, 3))

        def changed():
            box[0][0][0].array[...] *= 0.5
            return f(arr(2, 3))
        return [layers], [lambda: f(arr(2, 3)), lambda: f(arr(5, 3)), changed, other]
    skipped(check(make, mode, tolerance=10.0), mode, 8)


@pytest.mark.parametrize("places", [
    (3, 5), [3, 5], {3, 5}, {3: 0.5, 5: 0.25}, Counter([3, 5, 5]), range(3, 20, 2), OrderedDict([(3, 1), (5.0, 2)]), [3.0, True, "a", None],
    frozenset([3, 5]), [],
])
def test_counters_among_constants(mode, places):
    """``if step in milestones``: whether it is belongs to the path, not the number."""
    def make(wrap):
        s = SimpleNamespace(n=0, rate=1.0, places=copy.deepcopy(places))

        def body(x):
            s.n += 1
            if s.n in s.places:
                s.rate *= 0.5
            return F.sum(x) * s.rate, s.n not in s.places, s.n in (7, 9), s.n in [2, 4], F.sum(x).item() in s.places, s.n in {8}
        f = wrap(body)

        def back():
            s.n = 0
            return f(arr(3))

        def more():
            if type(s.places) in (list, set):
                s.places = type(s.places)([*s.places, 2])
            elif isinstance(s.places, dict):
                s.places[2] = 1
            return back()
        return [s], [lambda: f(arr(3)), back, more]
    skipped(check(make, mode, steps=[0] * 12 + [1] + [0] * 9 + [2] + [0] * 9), mode, least=8)


@pytest.mark.parametrize("places", [[3, np.float32(5)], [arr(1)[0], 3], [SimpleNamespace()], {(3,): 1}, "35", [[3]], [float("nan"), 5]])
def test_counters_among_others(mode, places):
    def make(wrap):
        s = SimpleNamespace(n=0)

        def body(x):
            s.n += 1
            return F.sum(x), s.n in places
        f = wrap(body)
        return [s], [lambda: f(arr(3))]
    check(make, mode, steps=[0] * 8)
