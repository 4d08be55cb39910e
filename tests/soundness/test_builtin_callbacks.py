"""Builtin functions that call functions of the user's, sets, ``itertools``, imports and patterns: each is followed, and each change is seen."""
import abc
import functools
import itertools
import sys
import types
from collections import OrderedDict, defaultdict, deque
from enum import Enum
from typing import NamedTuple

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def scale(x):
    return x * 2


def with_gradients(variables):
    a, b = variables
    F.sum(F.exp(a) * b).backward()
    return a.grad * 2, b.grad


class Times:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


@pytest.mark.parametrize("body", [
    lambda x, net: sorted({"b": x, "a": x * 2}.items(), key=lambda pair: pair[0])[0][1],
    lambda x, net: sum([F.sum(p * p) for _, p in sorted(net.namedparams(), key=lambda pair: pair[0], reverse=True)]),
    lambda x, net: x * max(range(3), key=lambda i: (i - 1) ** 2) * min([3, 1, 2], key=lambda v: -v),
    lambda x, net: x * max("aa", "b", key=len).count("a") * sorted([[2, 1], [1]], key=len)[0][0],
    lambda x, net: x * (values := [3, 1, 2], values.sort(), values)[0][0],
    lambda x, net: (pairs := [(2, x), (1, x * 3)], pairs.sort(key=lambda p: p[0]), pairs)[0][0][1],
    lambda x, net: functools.reduce(lambda a, b: a + b * 2, [x, F.exp(x), x]) + functools.reduce(lambda a, b: a + b, [1, 2], 4),
    lambda x, net: list(map(scale, [x, F.exp(x)])),
    lambda x, net: sum(map(lambda y: y * 3, [F.tanh(x), F.exp(x)])),
    lambda x, net: [y for y in map(F.exp, (x, x * 2))] + list(map(lambda a, b: a * b, [x, x * 2], [1.0, 2.0, 3.0])),
    lambda x, net: [a * b for a, b in zip(map(scale, [x, x]), map(F.tanh, [x, x]))],
    lambda x, net: x * sum(map(int, "123")) * sum(map(len, ["a", "bb"])) * list(map(str, [1, 2])).index("2"),
    lambda x, net: F.concat(list(filter(lambda y: y.shape[0] > 1, [x, x * 2])), axis=0) * len(list(filter(None, [1, 0, 2]))),
    lambda x, net: list(map(net, [x, x * 2])) + list(map(Times(3), [x])),
    lambda x, net: x * 2 if any(map(lambda n: n > 1, [0, 2, 3])) and all(p.array is not None for p in net.params()) else x,
    lambda x, net: dict(map(lambda k: (k, x * k), [1, 2])),
    lambda x, net: (lambda *ys: sum(ys))(*map(lambda k: x * k, (1, 2))),
    lambda x, net: F.concat(list(map(hnn.Variable, (x, x * 2))), axis=0),
    lambda x, net: [F.exp(v) for v in map(hnn.as_variable, [x, x])],
    lambda x, net: sum([F.sum(v) * k for k, v in enumerate(map(hnn.Variable, [x, x * 2]), 1)]),
    lambda x, net: F.tanh(np.concatenate([*map(np.atleast_3d, (x, x * 2))])),
    lambda x, net: [F.tanh(a) * b for a, b in [map(np.stack, zip(*[(x, x), (x, x * 2)]))]],
    lambda x, net: F.exp(next(map(hnn.Variable, [x, x]))) + F.exp(sum(map(np.tanh, [x, x]))),
    lambda x, net: with_gradients(map(hnn.Variable, (x, x * 2))),
    lambda x, net: list(map(functools.partial(F.leaky_relu, slope=0.3), [x])) + [functools.partial(scale)(x)],
])
def test_callbacks(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        f = wrap(lambda x: (body(x, net), F.sum(net(x))))

        def rescaled():
            code = scale.__code__
            scale.__code__ = (lambda x: x * 5).__code__
            try:
                return f(arr(2, 3))
            finally:
                scale.__code__ = code
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(3, 3)), rescaled]
    skipped(check(make, mode), mode)


def test_keys_that_come_from_outside(mode):
    """The order may change with what the keys are read from."""
    def make(wrap):
        order, log = {"a": 1, "b": 2}, []

        class Rank:
            def of(self, name):
                return order[name]
        rank = Rank()

        @wrap
        def f(x):
            y = x
            for name in sorted("ab", key=rank.of):
                y = F.exp(y) if name == "a" else y * 2
            return y, max("ab", key=lambda n: order[n]), list(map(order.get, "ab"))

        @wrap
        def g(x):
            return sorted([x, x * 2], key=lambda y: float(F.sum(y).array))[0]

        @wrap
        def h(x):
            return list(map(lambda y: log.append(1) or y * 2, [x, x]))

        def swapped():
            order.update(a=3)
            try:
                return f(arr(3))
            finally:
                order.update(a=1)

        def other():
            Rank.of = lambda self, name: -order[name]
            try:
                return f(arr(3))
            finally:
                Rank.of = of
        of = Rank.of
        return [order, log], [lambda: f(arr(3)), swapped, other, lambda: g(arr(3)), lambda: g(-arr(3)), lambda: h(arr(3))]
    skipped(check(make, mode), mode)


def test_lists_that_grow_while_they_are_gone_through(mode):
    def make(wrap):
        @wrap
        def f(x):
            ys = [x]
            for y in ys:
                if len(ys) < 3:
                    ys.append(y * 2)
            return ys

        @wrap
        def g(x):
            total = x
            for k in [1, 2]:
                found = [k]
                for n in found:
                    if n < 3:
                        found.append(n + 1)
                    total = total * n
            return total
        return [], [lambda: f(arr(3)), lambda: g(arr(3))]
    check(make, mode)


@pytest.mark.parametrize("body", [
    lambda x, names: x * 2 if "a" in {"a", *names} else x,
    lambda x, names: x * len({n[:1] for n in names}) * len(set(names) | {"z"}) * len({"a", "b"} & set(names)),
    lambda x, names: [x * k for k in sorted({3, 1, 2})],
    lambda x, names: (s := set(), s.add("q"), s.discard("w"), s.update(names), x * len(s), s.issuperset({"q"}))[4:],
    lambda x, names: x * 2 if {1, 2} == {2, 1} and {1} < {1, 2} and not set() and frozenset(names) >= {"a"} else x,
    lambda x, names: [y * len(seen) for seen in [set()] for y in [x, x * 2] if not seen or seen.add(1) is None],
])
def test_sets(mode, body):
    def make(wrap):
        names = ["a", "b"]
        f = wrap(lambda x: (body(x, names), F.sum(x)))

        def more():
            names.append("c")
            try:
                return f(arr(3))
            finally:
                names.pop()
        return [names], [lambda: f(arr(3)), more]
    skipped(check(make, mode), mode)


def test_sets_that_are_seen(mode):
    def make(wrap):
        kept = []

        @wrap
        def f(x):
            return F.exp(x), {1, 2}

        @wrap
        def g(x):
            kept.append({"a"})
            return F.exp(x)

        @wrap
        def h(x):
            y = x
            for k in {"a", "b", "c"}:
                y = F.exp(y) if k == "a" else y * 2
            return y
        return kept, [lambda: f(arr(3)), lambda: g(arr(3)), lambda: h(arr(3))]
    check(make, mode)


@pytest.mark.parametrize("body", [
    lambda x: sum(a * b for a, b in itertools.product([1, 2], (3, 4))) * x,
    lambda x: [a + b for a, b in itertools.combinations([x, x * 2, F.exp(x)], 2)],
    lambda x: [y for y in itertools.chain([x], (x * 2,), map(len, ["ab"]))],
    lambda x: [a * b for (a, b), _ in zip(itertools.pairwise([x, x * 2, x]), itertools.repeat(0, 3))],
    lambda x: list(itertools.islice([x, x * 2, x * 3], 1, None)) + [b is None for _, b in itertools.zip_longest([1, 2], [3])],
    lambda x: (d := OrderedDict(a=x), d.update(b=x * 2), OrderedDict(d))[2],
    lambda x: (a := {"k": x} | {"l": 2}, a.__len__ if False else [*a])[1],
    lambda x: (ys := [x, x * 2, x * 3], ys.pop(0), ys.copy(), [1, 2, 1].count(1), ("a", "b").index("b"))[2:],
    lambda x: ", ".join(["a", "b"]) + f"{x.shape} {x.dtype} {[1, 2.5]!r:>10}" + "%s %d" % ("w", 3) + " a ".strip(),  # noqa: UP031
    lambda x: x * 2 if (1, [2]) == (1, [2]) and {"a": 1} != {"a": 2} else x,
])
def test_small_python(mode, body):
    def make(wrap):
        f = wrap(lambda x: (body(F.exp(x)), F.sum(x)))
        return [], [lambda: f(arr(3)), lambda: f(arr(2, 3))]
    w = check(make, mode)
    if "dtype" not in body.__code__.co_names:
        skipped(w, mode)


def test_deleted_members(mode):
    def make(wrap):
        outside = {"a": 1.0}

        @wrap
        def f(x):
            parts = {"a": x, "b": F.exp(x)}
            del parts["a"]
            rows = [x, x * 2, x * 3]
            del rows[1]
            parts |= {"c": rows[1]}
            return parts, rows

        @wrap
        def g(x):
            outside["b"] = 2.0
            del outside["b"]
            return F.exp(x)
        return outside, [lambda: f(arr(3)), lambda: g(arr(3))]
    skipped(check(make, mode), mode, 5)


def test_containers_of_other_kinds(mode):
    """``OrderedDict``, ``defaultdict`` and ``deque`` from outside: what they hold, their order, and what is missing."""
    def make(wrap):
        layers, log, last = OrderedDict(a=F.exp, b=F.tanh), defaultdict(list), deque(maxlen=3)
        log["loss"].append(0.0)

        @wrap
        def f(x):
            y = x
            for layer in layers.values():
                y = layer(y)
            loss = F.sum(y)
            log["loss"].append(float(loss.array))
            last.append(loss)
            return loss

        @wrap
        def g(x):
            return F.exp(x) * len(log["new"])

        def moved():
            layers.move_to_end("a")
            try:
                return f(arr(3))
            finally:
                layers.move_to_end("b")

        def other():
            layers["b"] = F.sigmoid
            try:
                return f(arr(3))
            finally:
                layers["b"] = F.tanh

        def popped():
            log.pop("new", None)
            return g(arr(3))
        return [log, last], [lambda: f(arr(3)), moved, other, popped]
    skipped(check(make, mode), mode)


def test_deques_are_taken_back(mode):
    """A checked replay runs eagerly too, and the members of a deque are appended once."""
    def make(wrap):
        last = deque([0.0, 1.0], maxlen=3)

        @wrap
        def f(x):
            loss = F.sum(F.exp(x))
            last.append(float(loss.array))
            return loss
        return last, [lambda: f(arr(3))]
    check(make, mode, check=1.0)


def test_imports(mode):
    module = sys.modules["made_for_the_test"] = types.ModuleType("made_for_the_test")
    module.scale = 2.0

    def make(wrap):
        @wrap
        def f(x):
            import math

            import made_for_the_test
            from made_for_the_test import scale

            import hybridnn.functions as functions
            from hybridnn.functions import exp
            return functions.tanh(exp(x)) * math.pi * scale * made_for_the_test.scale

        @wrap
        def missing(x):
            try:
                import not_there_at_all  # noqa: F401
            except ImportError:
                return F.exp(x)

        def rescaled():
            module.scale = 3.0
            try:
                return f(arr(3))
            finally:
                module.scale = 2.0

        def replaced():
            other = types.ModuleType("made_for_the_test")
            other.scale = 7.0
            sys.modules["made_for_the_test"] = other
            try:
                return f(arr(3))
            finally:
                sys.modules["made_for_the_test"] = module

        def gone():
            del sys.modules["made_for_the_test"]
            try:
                return f(arr(3))
            finally:
                sys.modules["made_for_the_test"] = module
        return [], [lambda: f(arr(3)), rescaled, replaced, gone, lambda: missing(arr(3))]
    try:
        skipped(check(make, mode), mode)
    finally:
        sys.modules.pop("made_for_the_test", None)


class Kind(Enum):
    ONE = 1
    TWO = 2


class Shape:
    __match_args__ = ("width", "act")

    def __init__(self, width, act):
        self.width, self.act = width, act


def test_patterns(mode):
    def make(wrap):
        setting, kind = {"kind": "scale", "by": 2.0}, [Kind.ONE]

        @wrap
        def f(x):
            match setting:
                case {"kind": "scale", "by": by}:
                    y = x * by
                case {"kind": "exp"}:
                    y = F.exp(x)
                case _:
                    y = x
            match y.shape:
                case (n, 3):
                    y = y * n
                case [n]:
                    y = y + n
            match Shape(2, "exp"), kind[0]:
                case Shape(w, act="exp"), Kind.ONE:
                    y = F.exp(y) * w
                case Shape(), Kind.TWO as k:
                    y = y * k.value * len(k.name)
            match x.ndim:
                case int(n) if n > 1:
                    y = y * n
            return y

        def changed(by):
            setting.update(by=by)
            return f(arr(2, 3))

        def other():
            setting.update(kind="exp")
            try:
                return f(arr(2, 3))
            finally:
                setting.update(kind="scale")

        def two():
            kind[0] = Kind.TWO
            try:
                return f(arr(2, 3))
            finally:
                kind[0] = Kind.ONE

        def swapped():
            Shape.__match_args__ = ("act", "width")
            try:
                return f(arr(2, 3))
            finally:
                Shape.__match_args__ = ("width", "act")
        return [setting], [lambda: f(arr(2, 3)), lambda: f(arr(3)), lambda: changed(3.0), other, two, lambda: changed(2), swapped]
    skipped(check(make, mode), mode)


def test_abstract_classes(mode):
    """``isinstance`` of what may be registered any time, and of what says itself what it is."""
    def make(wrap):
        class Base(abc.ABC):
            @abc.abstractmethod
            def __call__(self, x):
                """One number for each."""

        class Own(Base):
            def __call__(self, x):
                return x * 2

        class Other:
            pass

        class Liar:
            @property
            def __class__(self):
                return Own
        objects = [Own(), Other(), Liar()]

        @wrap
        def f(x):
            return F.exp(x) * sum([k + 1 for k, o in enumerate(objects[:2]) if isinstance(o, Base)]) * callable(objects[0])

        @wrap
        def g(x):
            return F.exp(x) if isinstance(objects[2], Own) else x

        def registered():
            Base.register(Other)
            return f(arr(3))
        return [], [lambda: f(arr(3)), lambda: g(arr(3)), registered]
    skipped(check(make, mode, steps=[0] * 10 + [1] * 6 + [0] * 4 + [2] * 10), mode)


def test_links_in_maps(mode):
    """A training step whose layers are called by ``map`` and ``reduce``."""
    def make(wrap):
        net = hnn.ChainList(L.Linear(3, 3), L.Linear(3, 3))
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            y = functools.reduce(lambda y, layer: F.tanh(layer(y)), net, x)
            loss = sum(map(lambda p: F.sum(p * p), net.params())) * 1e-3 + F.sum(y)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [net], [lambda: step(arr(2, 3)), lambda: step(arr(3, 3))]
    check(make, mode)


def test_named_tuples_from_outside(mode):
    def make(wrap):
        class Settings(NamedTuple):
            rate: float
            act: object
            held: object
        given = [Settings(0.5, F.exp, hnn.Variable(arr(3), requires_grad=False))]

        @wrap
        def f(x):
            rate, act, held = given[0]
            return act(x) * rate * held

        @wrap
        def g(pair):
            x, y = pair
            return F.exp(x) * y

        def with_other(**kw):
            before = given[0]
            given[0] = before._replace(**kw)
            try:
                return f(arr(3))
            finally:
                given[0] = before

        def updated():
            given[0].held.array = given[0].held.array * np.float32(1.5)
            return f(arr(3))

        def own():
            Settings.__iter__ = lambda self: iter((2.0, F.tanh, 1.0))
            try:
                return f(arr(3))
            finally:
                del Settings.__iter__
        def pair():
            return g(Two(arr(3), 2.0))

        def own_pair():
            Two.__iter__ = lambda self: iter((self[0] * 2, 3.0))
            try:
                return pair()
            finally:
                del Two.__iter__

        class Two(NamedTuple):
            x: object
            y: float
        return [given], [lambda: f(arr(3)), lambda: with_other(rate=0.25), lambda: with_other(act=F.tanh), updated, own, pair, own_pair]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda x, losses: min(losses, key=losses.get),
    lambda x, losses: max([(k, v, x) for k, v in losses.items()], key=lambda item: item[1])[::2],
    lambda x, losses: max(range(3), key=lambda k: list(losses.values())[k]) * x,
    lambda x, losses: min(losses["a"], losses["b"], 0.25, key=lambda v: -v),
])
def test_best_of_what_has_been_computed(mode, body):
    """Which one is best belongs to the path: others are found where they are best."""
    def make(wrap):
        net = L.Linear(3, 3)
        opt = hnn.optimizers.SGD(0.01).setup(net)       # so little that rounding does not grow

        def step(x):
            y = net(x)
            losses = {"a": F.mean(y ** 2), "b": F.mean(F.exp(y)), "c": F.mean(abs(y))}
            net.cleargrads()
            sum(losses.values()).backward()
            opt.update()
            return body(x, {k: v.item() for k, v in losses.items()})
        f = wrap(step)
        return [net], [lambda k=k: f(arr(2, 3, seed=k) * (k + 1)) for k in range(4)] + [lambda: f(arr(2, 3) * np.float32("nan"))]
    skipped(check(make, mode, steps=[0, 1, 2, 3] * 8 + [4, 4]), mode)
