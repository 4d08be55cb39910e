"""Objects of the program's own classes that a traced function makes and returns, or keeps: outputs of models, records, meters."""
import abc
import types
from dataclasses import dataclass, field

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("check_", [0.0, 1.0])
def test_output_of_a_model(mode, check_):
    def make(wrap):
        @dataclass
        class Output:
            loss: object
            logits: object = None
            hidden: list = field(default_factory=list)
            n: int = 0

            def __post_init__(self):
                self.n += 1
        net = L.Linear(3, 2, initialW=arr(2, 3))

        @wrap
        def f(x, t):
            h = net(x)
            out = Output(F.softmax_cross_entropy(h, t), logits=h, hidden=[h, h.array.argmax(axis=1)])
            out.number = float(out.loss.array)
            return out

        def otherwise():
            Output.__post_init__ = lambda self: setattr(self, "n", 9)
            return f(arr(4, 3), np.array([0, 1, 0, 1]))
        return [net], [lambda: f(arr(4, 3), np.array([0, 1, 0, 1])), lambda: f(arr(2, 3), np.array([0, 1])), otherwise]
    world = check(make, mode, check=check_)
    if not check_:
        skipped(world, mode)


def test_objects_that_know_each_other(mode):
    """One object in several places, with slots and with attributes, which has itself."""
    def make(wrap):
        class Slotted:
            __slots__ = ("other", "v")

            def __init__(self, v):
                self.v = v

        class Node(Slotted):
            def __init__(self, v):
                super().__init__(v)
                self.me, self.list = self, [v]
        log, state = [], types.SimpleNamespace(last=None)

        @wrap
        def f(x):
            p, q = Slotted(F.exp(x)), Node(x * 2)
            p.other, q.other = q, p
            log.append(p)
            state.last = q
            q.same = q.list
            return p, q, {"p": p}, q.list, [p.v]

        def call(x):
            p, q, d, items, values = f(x)
            log.clear()
            same = p.other is q, q.other is p, q.me is q, d["p"] is p, items is q.list is q.same, state.last is q, type(p) is Slotted
            return p.v, same, list(vars(q)), values
        return [], [lambda: call(arr(3)), lambda: call(arr(3, seed=1)), lambda: call(arr(2))]
    skipped(check(make, mode), mode)


def test_states_that_replace_each_other(mode):
    def make(wrap):
        @dataclass(frozen=True)
        class State:
            h: object
            n: object

            def step(self, x):
                return State(F.tanh(self.h + x), self.n + 1)

        class Base(abc.ABC):
            @abc.abstractmethod
            def value(self):
                """Something."""

        class Holder(Base):
            def __init__(self, v):
                self.v = v

            def value(self):
                return self.v
        first = State(arr(3), 0)

        @wrap
        def f(x, state):
            state = state.step(x).step(x)
            return state, Holder(state.h).value(), Holder(state)
        return [first], [lambda: f(arr(3), first), lambda: f(arr(3), f(arr(3), first)[0]), lambda: f(arr(2), State(arr(2), 1))]
    skipped(check(make, mode), mode)


def test_objects_that_cannot_be_made_again(mode):
    """Some whose attributes the program has changed as a dict, whose list contains itself, or that tell when they die."""
    def make(wrap):
        log = []

        class Box:
            def __init__(self, v):
                self.v, self.list = v, []

        class Dying(Box):
            def __del__(self):
                log.append("gone")

        @wrap
        def f(x, kind):
            box = (Dying if kind == "dying" else Box)(F.exp(x))
            if kind == "dict":
                vars(box)["z"] = 3
            elif kind == "list":
                box.list.append(box.list)
            elif kind == "in list":
                box.list.append(box)
            return box

        def call(kind):
            box = f(arr(3), kind)
            return box.v, sorted(vars(box)), len(box.list), bool(box.list) and box.list[0] is (box if kind == "in list" else box.list)
        return [log], [lambda k=k: call(k) for k in ("", "dict", "list", "in list", "dying")]
    check(make, mode)
