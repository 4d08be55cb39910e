"""Objects that a traced function makes, ``super()``, ``with`` blocks, partial functions, named tuples and ``match``."""
import bisect
import contextlib
import functools
from collections import namedtuple
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


class Point:
    scale = 2.0

    def __init__(self, x, y=None):
        self.x, self.y = x, y

    @property
    def both(self):
        return self.x if self.y is None else self.x + self.y

    @both.setter
    def both(self, value):
        self.x = self.y = value

    def scaled(self, by):
        return Point(self.x * by * self.scale, self.y)

    def __call__(self, z):
        return self.both * z

    @classmethod
    def twice(cls, x):
        return cls(x, x)

    @staticmethod
    def exp(x):
        return F.exp(x)


@dataclass
class Config:
    width: int
    names: list = field(default_factory=list)
    rate: float = 0.5

    def __post_init__(self):
        self.names.append("x")


class Pair(NamedTuple):
    x: object
    t: object = 1.0

    def total(self):
        return self.x + self.t


Old = namedtuple("Old", ["a", "b"])


@pytest.mark.parametrize("body", [
    lambda x: Point(x).both,
    lambda x: Point(x, y=x * 2).scaled(3).both,
    lambda x: Point(x)(x) + Point.twice(x).both + Point.exp(x),
    lambda x: Point(x).x if isinstance(Point(x), Point) and Point(x) else None,
    lambda x: [p.x for p in (Point(x), Point(x * 2)) if p is not None],
    lambda x: setattr(p := Point(x), "both", x * 3) or p.y,
    lambda x: F.exp(x) * Config(3).width * Config(2, rate=0.25).rate * len(Config(1).names),
    lambda x: getattr(Point(x), "z", F.exp(x)),
    lambda x: F.exp(x) if hasattr(Point(x), "x") and not hasattr(Point(x), "z") else x,
    lambda x: Pair(F.exp(x), x),
    lambda x: (Old(a=F.exp(x), b=2), Old(1, x)._fields if False else 0),
    lambda x: Pair(F.exp(x)).t,
    lambda x: type(Point(x)).__name__ + str(type(Pair(1)) is Pair) and F.exp(x),
    lambda x: (lambda a, *b, **c: a * c["k"] + b[0])(*Pair(x, F.exp(x)), k=2),
])
def test_objects(mode, body):
    def make(wrap):
        f = wrap(lambda x: (body(x), F.sum(x)))

        def rescaled():
            Point.scale = 3.0
            try:
                return f(arr(3))
            finally:
                Point.scale = 2.0
        return [], [lambda: f(arr(3)), lambda: f(arr(2)), rescaled]
    skipped(check(make, mode), mode)


def test_objects_that_are_seen(mode):
    """Objects that leave the call, that hide something, or that tell when they die."""
    def make(wrap):
        log, kept = [], []

        class Slotted:
            __slots__ = ("x",)

            def __init__(self, x):
                self.x = x

        class Dying(Point):
            def __del__(self):
                log.append("gone")

        class Watched(Point):
            def __setattr__(self, name, value):
                log.append(name)
                object.__setattr__(self, name, value)

        class New(Point):
            def __new__(cls, x):
                log.append("new")
                return object.__new__(cls)

        @dataclass(frozen=True)
        class Frozen:
            x: object

        def variants(x):
            return [Slotted(x).x, Dying(x).x, Watched(x).x, New(x).x, Frozen(x).x]
        calls = [wrap(lambda x: F.exp(Slotted(x).x)), wrap(lambda x: F.exp(Dying(x).x)), wrap(lambda x: F.exp(Watched(x).x)),
                 wrap(lambda x: F.exp(New(x).x)), wrap(lambda x: F.exp(Frozen(x).x)), wrap(lambda x: (F.exp(x), Point(x))),
                 wrap(lambda x: kept.append(Point(x)) or F.exp(x)), wrap(lambda x: Point(x) == Point(x) or F.exp(x)),
                 wrap(lambda x: F.sum(sum(variants(x))))]
        return [log, kept], [lambda f=f: f(arr(3)) for f in calls]
    check(make, mode)


def test_classes_that_change(mode):
    def make(wrap):
        class Scale:
            def __init__(self, x):
                self.x = x

            def get(self):
                return self.x * 2

        @wrap
        def f(x):
            return F.exp(Scale(x).get())

        def method():
            old, Scale.get = Scale.get, lambda self: self.x * 3
            try:
                return f(arr(3))
            finally:
                Scale.get = old

        def setter():
            Scale.x = property(lambda self: 1.0, lambda self, value: None)
            try:
                return f(arr(3))
            finally:
                del Scale.x

        def initial():
            old = Scale.__init__
            Scale.__init__ = lambda self, x: setattr(self, "x", x + 1)
            try:
                return f(arr(3))
            finally:
                Scale.__init__ = old

        def truth():
            Scale.__setattr__ = lambda self, name, value: object.__setattr__(self, name, 5.0)
            try:
                return f(arr(3))
            finally:
                del Scale.__setattr__
        return [], [lambda: f(arr(3)), method, setter, initial, truth]
    skipped(check(make, mode), mode)


def test_named_tuples_as_arguments(mode):
    def make(wrap):
        net = L.Linear(3, 2)

        @wrap
        def f(batch, old=None):
            x, t = batch
            y = F.sum(net(batch.x) * batch[1]) + F.sum(batch.total())
            return y, batch, x, batch._replace(t=0) if False else t, len(batch)
        return [net], [lambda: f(Pair(arr(2, 3), 2.0)), lambda: f(Pair(arr(2, 3), 3.0)), lambda: f(Pair(arr(4, 3), arr(4, 1))),
                       lambda: f(Old(arr(2, 3), 2.0)) if False else f(Pair(arr(2, 3), 2)), lambda: f(Pair(x=hnn.Variable(arr(2, 3))))]
    skipped(check(make, mode), mode)


def test_super(mode):
    def make(wrap):
        class Base(hnn.Chain):
            def __init__(self):
                super().__init__(a=L.Linear(3, 3))

            def forward(self, x):
                return self.a(x)

        class Mixin:
            def forward(self, x):
                return super().forward(x) * 2

        class Left(Base):
            def forward(self, x):
                return super().forward(x) + 1

        class Net(Mixin, Left):
            def forward(self, x):
                return F.relu(super().forward(x)) + super(Left, self).forward(x)
        net = Net()
        f = wrap(lambda x: net(x))

        def base():
            old, Base.forward = Base.forward, lambda self, x: self.a(x) * 5
            try:
                return f(arr(2, 3))
            finally:
                Base.forward = old

        def between():
            old = Left.forward
            del Left.forward
            try:
                return f(arr(2, 3))
            finally:
                Left.forward = old

        def nearer():
            old = Mixin.forward
            Mixin.forward = lambda self, x: x
            try:
                return f(arr(2, 3))
            finally:
                Mixin.forward = old
        class Further(Base):
            def forward(self, x):
                return super().forward(x) - 1

        def others():
            Net.__bases__ = (Mixin, Further, Left)
            try:
                return f(arr(2, 3))
            finally:
                Net.__bases__ = (Mixin, Left)
        def another_class():
            cell, = Mixin.forward.__closure__
            cell.cell_contents = Left
            try:
                return f(arr(2, 3))
            finally:
                cell.cell_contents = Mixin
        return [net], [lambda: f(arr(2, 3)), base, between, nearer, others, another_class, lambda: f(arr(4, 3))]
    skipped(check(make, mode), mode)


def test_what_an_object_is(mode):
    def make(wrap):
        class Meta(type):
            pass

        class Base(metaclass=Meta):
            pass

        class Other:
            pass

        class Thing(Base):
            pass
        thing = Thing()

        @wrap
        def f(x):
            return F.tanh(x) * (2 if isinstance(thing, Base) else 3), isinstance(thing, Other), isinstance(x, (hnn.Variable, Base))

        def during(owner, name, value):
            def call():
                old = owner.__dict__.get(name, owner.__bases__)
                setattr(owner, name, value)
                try:
                    return f(var(2, 3))
                finally:
                    setattr(owner, name, old) if name == "__bases__" else delattr(owner, name)
            return call
        others = during(Thing, "__bases__", (Other,))
        return thing, [lambda: f(var(2, 3)), others, during(Meta, "__instancecheck__", lambda c, o: True), during(Thing, "__class__", Other)]
    skipped(check(make, mode), mode)


def test_blocks(mode):
    def make(wrap):
        log = {"phase": None, "n": 0}

        class Phase:
            def __init__(self, name):
                self.name = name

            def __enter__(self):
                log["phase"] = self.name
                return self

            def __exit__(self, kind, error, tb):
                log["phase"] = None
                log["n"] += 1

        @contextlib.contextmanager
        def doubled(x):
            log["n"] += 1
            try:
                yield x * 2
            finally:
                log["n"] += 10

        @contextlib.contextmanager
        def nothing():
            yield
        shared = Phase("shared")

        @wrap
        def f(x):
            with Phase("a") as p, doubled(x) as y:
                z = F.exp(y)
                with shared, nothing():
                    z = z * len(p.name)
            try:
                return z, log["n"]
            finally:
                log["n"] += 100

        def renamed():
            old = Phase.__exit__
            Phase.__exit__ = lambda self, *error: None
            try:
                return f(arr(3))
            finally:
                Phase.__exit__ = old
        return [log], [lambda: f(arr(3)), lambda: f(arr(2)), renamed]
    skipped(check(make, mode), mode)


def test_blocks_that_catch(mode):
    def make(wrap):
        log = []

        @contextlib.contextmanager
        def logged():
            try:
                yield
            except ValueError:
                log.append("caught")

        @contextlib.contextmanager
        def skipping():
            log.append("in")
            yield
            yield

        @wrap
        def f(x, fail):
            with logged():
                y = F.exp(x)
                if fail:
                    raise ValueError("no")
            return y

        @wrap
        def g(x):
            with contextlib.suppress(KeyError):
                return F.exp(x)

        @wrap
        def h(x):
            with skipping():
                return F.exp(x)

        @wrap
        def stacked(x):
            with contextlib.ExitStack() as stack:
                stack.enter_context(logged())
                return F.exp(x)
        return [log], [lambda: f(arr(3), False), lambda: f(arr(3), True), lambda: g(arr(3)), lambda: h(arr(3)), lambda: stacked(arr(3))]
    check(make, mode)


def test_partial_functions(mode):
    def make(wrap):
        net = L.Linear(3, 2)
        loss = functools.partial(F.mean_squared_error)
        clip = functools.partial(F.clip, x_min=-1.0, x_max=1.0)
        scale = functools.partial(lambda x, k, by=1: x * k + by, by=2.0)
        box = type("Box", (), {})()
        box.act = functools.partial(F.leaky_relu, slope=0.1)

        @wrap
        def f(x):
            y = box.act(clip(net(x)))
            inner = functools.partial(F.sum, axis=0) if False else F.sum
            return scale(y, 3), loss(y, np.zeros_like(y.array)), inner(y)

        def changed():
            clip.keywords["x_max"] = 0.1
            try:
                return f(arr(4, 3))
            finally:
                clip.keywords["x_max"] = 1.0

        def other():
            old, box.act = box.act, functools.partial(F.leaky_relu, slope=0.5)
            try:
                return f(arr(4, 3))
            finally:
                box.act = old
        return [net], [lambda: f(arr(4, 3)), changed, other, lambda: f(arr(2, 3))]
    skipped(check(make, mode), mode)


def test_matches(mode):
    def make(wrap):
        box = type("Box", (), {})()
        box.kind, box.shape = "max", [1, 2]

        @wrap
        def f(x):
            match box.kind:
                case "max":
                    y = F.max(x)
                case "mean" | "average":
                    y = F.mean(x)
                case _:
                    y = F.sum(x)
            match tuple(box.shape):
                case (a, b):
                    y = y * (a + b)
                case (a, *rest):
                    y = y - len(rest)
            return F.exp(y)

        def put(**values):
            box.__dict__.update(values)
            return f(arr(3))
        return [box], [lambda: f(arr(3)), lambda: put(kind="average"), lambda: put(kind=3), lambda: put(kind="max", shape=[1, 2, 3]), lambda: put(shape=[1, 2])]
    skipped(check(make, mode), mode, 5)


def test_dicts_and_defaults(mode):
    def make(wrap):
        net = L.Linear(3, 2)
        options = {"scale": 2.0, "bias": True}

        @wrap
        def f(x):
            stats = dict(options)
            stats.update(n=len(x)) if False else stats.update({"n": len(x)})
            stats.setdefault("more", []).append(F.sum(x))
            scale = stats.pop("scale", 1.0)
            y = net(x) * scale
            if getattr(net, "extra", None) is not None:
                y = y + net.extra
            return y, stats, stats.copy(), hasattr(net, "W2")

        def extra(value):
            net.extra = value
            return f(arr(2, 3))

        def without():
            if hasattr(net, "extra"):
                del net.extra
            return f(arr(2, 3))

        def scaled():
            options["scale"] += 1
            return f(arr(2, 3))
        return [net, options], [lambda: f(arr(2, 3)), lambda: extra(1.0), without, scaled, lambda: extra(None), lambda: extra(2), without]
    skipped(check(make, mode), mode)


def test_reasons_name_the_line(mode):
    """Why Python runs: what is done, in words, and the user's line, also if it is the library that does it."""
    net = L.Linear(3, 2)

    def own(x):
        y = F.sum(net(x))
        return y if not print(end="") else y * 2

    def inside(x):
        y = F.sum(net(x))
        net.enable_update()
        return y

    def deeper(x):
        y = F.sum(net(x))
        net.repeat(2)
        return y

    def given(x):
        return F.sum(x) if x.shape == [Point(x)] else F.sum(net(x))
    for fn, line, what in ((own, 2, "print"), (inside, 2, "inside hybridnn.link"), (deeper, 2, "inside "), (given, 1, "not the same on every call")):
        f = hnn.trace(fn, mode=mode)
        for _ in range(6):
            f(arr(2, 3))
        reasons = [p.reason for p in f.explain().paths]
        if mode == "auto":
            assert all(f"{__file__}:{fn.__code__.co_firstlineno + line} in {fn.__name__}" in r and what in r for r in reasons), reasons


def test_functions_that_context_managers_decorate(mode):
    """Each call enters a new manager, of the library's or of a generator function."""
    def make(wrap):
        net, log = L.Linear(3, 3), []
        opt = hnn.optimizers.SGD(0.01).setup(net)

        @contextlib.contextmanager
        def noted(name, train=False):
            log.append(name)
            with hnn.using_config("train", train):
                yield
            log.append(len(log))

        class Agent:
            @hnn.no_backprop_mode()
            def act(self, x):
                return net(x)

            @noted("evaluate")
            def evaluate(self, x):
                return F.dropout(net(x))
        agent = Agent()

        @wrap
        @hnn.no_backprop_mode()
        def act(x):
            return net(x)

        @wrap
        def step(x):
            y = agent.act(x)
            loss = F.sum((y - 2 * agent.evaluate(x)) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return y, loss
        return [net, log], [lambda: (act(arr(2, 3)), step(arr(2, 3))), lambda: (act(arr(4, 3)), step(arr(4, 3)))]
    skipped(check(make, mode), mode)


class Values:
    """A policy's values, of which each is computed when it is asked for first."""
    def __init__(self, q, asked):
        self.q, self.asked = q, asked

    @functools.cached_property
    def greedy(self):
        self.asked.append("greedy")
        return self.q.array.argmax(1)

    @functools.cached_property
    def largest(self):
        return F.select_item(self.q, self.greedy)

    @property
    def total(self):
        return F.sum(self.largest)


@pytest.mark.parametrize("given", [False, True])
def test_cached_properties_of_objects_that_are_made(mode, given):
    def make(wrap):
        net, asked = L.Linear(3, 3), []

        @wrap
        def f(x):
            values = Values(net(x), asked)
            if given:
                values.greedy = np.zeros(len(x), "i")
            return values.total + F.sum(values.largest * values.largest), values.greedy, hasattr(values, "largest"), "greedy" in vars(values)
        return [net, asked], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=4)), lambda: f(arr(4, 3))]
    skipped(check(make, mode), mode)


def test_cached_properties_of_arguments(mode):
    def make(wrap):
        @wrap
        def f(values):
            return values.total, values.greedy
        made = []

        def call(seed):
            made.append(Values(hnn.Variable(arr(2, 3, seed=seed)), []))
            return f(made[-1])
        return made, [lambda: call(0), lambda: call(1)]
    check(make, mode)


class Outcome(NamedTuple):
    loss: object
    weight: float = 2.0


def test_small_parts_of_the_standard_library(mode):
    """Milestones found by ``bisect``, lists that are added up, fields of a named tuple as a dict, slices of lists that are assigned."""
    def make(wrap):
        state = {"epoch": 0}
        milestones = [2, 5, 9]

        @wrap
        def f(x):
            state["epoch"] += 1
            rate = 0.1 ** bisect.bisect_right(milestones, state["epoch"])
            outcome = Outcome(F.sum(x), 3.0)._asdict()
            start = []
            parts = sum([[outcome["loss"]], [x * 2, x]], start)
            parts[1:2] = [x * 3, x * 4]
            return start, [p * rate for p in parts], sum(((n,) for n in (1, 2)), ()), outcome["weight"] * bisect.bisect([0.1, 0.5], 0.3)

        def moved():
            milestones[0] = 40
            try:
                return f(var(2, 3))
            finally:
                milestones[0] = 2
        return [state], [lambda: f(var(2, 3)), lambda: f(var(3, 3)), moved]
    skipped(check(make, mode), mode)
