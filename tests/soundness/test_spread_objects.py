"""``**vars(obj)``, ``dataclasses.asdict`` and copies of what functions are told, in objects that the program keeps."""
import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def criterion(y, scale=1.0, shift=0.0, **others):
    return F.sum(y) * scale + shift + len(others)


@dataclasses.dataclass
class Weights:
    a: float = 2.0
    b: object = 0.5
    c: tuple = (1, 2.0)


class Plain:
    def __init__(self):
        self.scale, self.shift = 2.0, 1.0


@pytest.mark.parametrize("body", [
    lambda y, s: criterion(y, **vars(s.plain)), lambda y, s: criterion(y, **s.plain.__dict__), lambda y, s: criterion(y, **{**vars(s.space), "shift": 3.0}),
    lambda y, s: [y * v for v in vars(s.plain).values()], lambda y, s: {k: v for k, v in vars(s.plain).items()}, lambda y, s: list(vars(s.plain)),
    lambda y, s: (dict(vars(s.plain)), vars(s.plain).get("none"), "scale" in vars(s.plain), vars(s.plain).copy()),
    lambda y, s: sum(y * v for k, v in dataclasses.asdict(s.weights).items() if k != "c"), lambda y, s: dataclasses.asdict(s.weights),
    lambda y, s: (copy.copy(s.lists), copy.deepcopy(s.lists), copy.copy([y]), copy.deepcopy(s.held), copy.deepcopy((1, [2.0]))),
    lambda y, s: (both := [[1]] * 2, deep := copy.deepcopy(both), deep[0] is deep[1], deep[0] is both[0]),
    lambda y, s: copy.deepcopy({"a": s.array, "b": [s.array]}),
])
def test_spread(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        s = SimpleNamespace(plain=Plain(), space=SimpleNamespace(scale=2.0), weights=Weights(), lists=[1, [2.0]], held={"a": [1, (2, 3)]}, array=arr(3))
        f = wrap(lambda x: (body(net(x), s), F.sum(x)))

        def changed():
            s.plain.scale, s.space.scale, s.weights.a, s.lists[1][0] = s.plain.scale + 1, 3.0, 4.0, s.lists[1][0] + 1
            s.array += 1
            return f(arr(2, 3))

        def more():
            s.plain.extra = s.space.extra = 1
            s.lists.append(3)
            try:
                return f(arr(2, 3))
            finally:
                del s.plain.extra, s.space.extra
                s.lists.pop()

        def other_order():
            s.plain.scale, kept = 7.0, vars(s.plain).pop("scale")
            s.plain.scale = kept
            return f(arr(2, 3))
        return [net, s], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), changed, more, other_order]
    skipped(check(make, mode), mode, least=4)


def test_spread_what_the_call_assigns(mode):
    def make(wrap):
        s = Plain()

        def body(x):
            s.scale = F.sum(x).item()
            s.new = 2.0
            return criterion(x, **vars(s)), vars(s).copy()
        f = wrap(body)

        def without():
            del s.new
            return f(arr(2, 3))
        return [s], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), without]
    skipped(check(make, mode), mode, least=4)


def test_program_that_patches(mode):
    """What ``asdict`` and ``deepcopy`` find in classes is looked at on every call."""
    class Held:
        def __init__(self):
            self.v = 1.0

    def make(wrap):
        s = SimpleNamespace(weights=Weights(b=[1, 2]))
        f = wrap(lambda x: (F.sum(x), dataclasses.asdict(s.weights)))

        def with_object():
            s.weights.b = Held()
            Held.__deepcopy__ = lambda self, memo: np.float32(5)
            try:
                return f(arr(3))
            finally:
                s.weights.b = [1, 2]
        return [s], [lambda: f(arr(3)), lambda: f(arr(3)), with_object]
    skipped(check(make, mode), mode, least=2)
