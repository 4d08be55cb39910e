"""Objects with ``__slots__``, frozen ones, operators and equality of the user's classes, enumerations: followed, and each change is seen."""
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


class Slots:
    __slots__ = ("__hidden", "x", "y")
    kind = "plain"

    def __init__(self, x, y=2.0):
        self.x, self.y, self.__hidden = x, y, 3.0

    def hidden(self):
        return self.__hidden


class Mixed(Slots):
    """Has a ``__dict__`` too."""


@dataclass(frozen=True)
class Frozen:
    scale: float = 2.0
    name: str = "exp"


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    scale: float = 2.0
    name: str = "exp"


@dataclass(slots=True, order=True)
class Ordered:
    rank: int
    name: str = "exp"


class Vector:
    def __init__(self, *parts):
        self.parts = parts

    def __add__(self, other):
        return Vector(*[a + b for a, b in zip(self.parts, other.parts)])

    def __mul__(self, by):
        return Vector(*[a * by for a in self.parts]) if isinstance(by, (int, float)) else NotImplemented

    def __iadd__(self, other):
        self.parts = (self + other).parts
        return self

    def __eq__(self, other):
        return isinstance(other, Vector) and len(self.parts) == len(other.parts)

    __hash__ = None


class Outputs:
    """What a model gives, by name or place, and with arithmetic."""

    def __init__(self, **named):
        self.named = named

    def __getitem__(self, key):
        return self.named[key] if isinstance(key, str) else [*self.named.values()][key]

    def __setitem__(self, key, value):
        self.named[key] = value

    def __contains__(self, key):
        return key in self.named

    def __iter__(self):
        return iter([*self.named.values()])

    def __add__(self, other):
        return Outputs(**{k: v + (other[k] if isinstance(other, Outputs) else other) for k, v in self.named.items()})

    def __rmul__(self, by):
        return Outputs(**{k: v * by for k, v in self.named.items()})

    def __matmul__(self, a):
        return F.sum(self["y"]) * a

    def __neg__(self):
        return -1 * self

    def __gt__(self, other):
        return len(self.named) > (len(other.named) if isinstance(other, Outputs) else other)


class Counts(Outputs):
    def __iter__(self):
        yield from self.named

    def __contains__(self, key):
        return 1


class Checked:
    def __init__(self, x):
        super().__setattr__("log", [])
        self.x = x

    def __setattr__(self, name, value):
        self.log.append(name)
        super().__setattr__(name, value)


class Kind(Enum):
    ONE = 1
    TWO = 2


@pytest.mark.parametrize("body", [
    lambda x: Slots(x).x * Slots(x, 3.0).y * Slots(x).hidden() * len(Slots(x).kind),
    lambda x: (s := Mixed(x), setattr(s, "z", x * 5), s.z + s.x)[2],
    lambda x: getattr(F, Frozen().name)(x) * Frozen(scale=3.0).scale,
    lambda x: x * FrozenSlots().scale * FrozenSlots(4.0).scale,
    lambda x: x * 2 if Frozen() == Frozen() and Frozen(1.0) != Frozen(2.0) else x,
    lambda x: x * 3 if Ordered(1) < Ordered(2) and Ordered(3, "a") >= Ordered(2) else x,
    lambda x: (Vector(x, x * 2) + Vector(x, x) * 3).parts,
    lambda x: (v := Vector(x), v.__iadd__(Vector(x * 2)).parts, (v + v).parts)[1:],
    lambda x: x * 2 if Vector(x) == Vector(x * 2) and Vector(x) != Vector() else x,
    lambda x: Checked(x * 2).x * len(Checked(x).log),
    lambda x: Outputs(y=x, n=2.0)["y"] * Outputs(y=x, n=2.0)[1] if "n" in Outputs(n=1) and "m" not in Outputs(n=1) else x,
    lambda x: (o := Outputs(y=x), o.__setitem__("z", x * 2), o["z"] + sum([v for v in o]))[2],
    lambda x: (2.0 * Outputs(y=x) + Outputs(y=x * x) + 1)["y"] + (-Outputs(y=x))["y"] + Outputs(y=x) @ np.ones(x.shape, "f"),
    lambda x: (Outputs(y=x) + x)["y"] * 2 if Outputs(y=x) > 0 and x.ndim < Outputs(y=x) else (Outputs(y=x) + x.array)["y"],
    lambda x: x * len([k for k in Counts(a=1, b=2)]),
    lambda x: x * 2 if Kind.ONE == Kind.ONE and Kind.TWO != Kind.ONE else x,
    lambda x: x * Kind(1).value if False else x * Kind.TWO.value * len(Kind.TWO.name),
    lambda x: x * len(Slots(x).__class__.__name__) * (Slots(x) != Slots(x)) * (Slots == Slots),
])
def test_objects(mode, body):
    def make(wrap):
        f = wrap(lambda x: (body(F.exp(x)), F.sum(x)))
        add, init, eq = Vector.__add__, Slots.__init__, Vector.__eq__

        def changed():
            Vector.__add__ = lambda self, other: self
            Slots.__init__ = lambda self, x, y=5.0: init(self, x, y)
            Vector.__eq__ = lambda self, other: False
            Frozen.__eq__, saved = (lambda self, other: False), Frozen.__eq__
            try:
                return f(arr(3))
            finally:
                Vector.__add__, Slots.__init__, Vector.__eq__, Frozen.__eq__ = add, init, eq, saved
        return [], [lambda: f(arr(3)), lambda: f(arr(2, 3)), changed]
    skipped(check(make, mode), mode)


def test_objects_from_outside(mode):
    """What stands in slots, in a SimpleNamespace and in members of an enumeration is looked at on every call."""
    def make(wrap):
        s, space, kind = Slots(1.0, "exp"), types.SimpleNamespace(scale=2.0, act="tanh"), [Kind.ONE]

        @wrap
        def f(x):
            y = getattr(F, s.y)(x) * s.x * space.scale
            return getattr(F, space.act)(y) * kind[0].value if kind[0] == Kind.ONE else y * kind[0].value

        @wrap
        def counts(x):
            s.x = s.x + 1.0
            space.scale += 1
            return F.exp(x) * s.x

        def changed(obj, name, value):
            before = getattr(obj, name)
            setattr(obj, name, value)
            try:
                return f(arr(3))
            finally:
                setattr(obj, name, before)

        def gone():
            del s.x
            try:
                return f(arr(3))
            finally:
                s.x = 1.0

        def two():
            kind[0] = Kind.TWO
            try:
                return f(arr(3))
            finally:
                kind[0] = Kind.ONE

        def lying():
            Kind.ONE._value_ = 5
            try:
                return f(arr(3))
            finally:
                Kind.ONE._value_ = 1
        return [space], [lambda: f(arr(3)), lambda: changed(s, "x", 3.0), lambda: changed(s, "x", 3), lambda: changed(s, "y", "sigmoid"),
                         lambda: changed(space, "act", "exp"), lambda: changed(space, "scale", 4.0), gone, two, lying, lambda: (counts(arr(3)), s.x)]
    skipped(check(make, mode), mode)


def test_objects_that_cannot_be_followed(mode):
    """Missing slots, operators that are not implemented, classes whose metaclass or base has a say: as without a trace."""
    def make(wrap):
        log = []

        class Meta(type):
            def __call__(cls, x):
                log.append("made")
                return super().__call__(x)

        class Logged(metaclass=Meta):
            def __init__(self, x):
                self.x = x

        class Sub(Vector):
            def __radd__(self, other):
                log.append("radd")
                return Vector(*other.parts)

        def missing(x):
            s = Slots.__new__(Slots)
            return F.exp(x) * s.x
        def counted(x):
            return F.exp(x) if "k" in Counts(y=x) else x
        calls = [wrap(missing), wrap(counted), wrap(lambda x: F.exp(x) + Outputs(y=x)), wrap(lambda x: Outputs(y=x)["z"]),
                 wrap(lambda x: x if 1 in Vector(x) else 2), wrap(lambda x: F.exp(Logged(x).x)), wrap(lambda x: F.exp((Vector(x) + Sub(x * 2)).parts[0])),
                 wrap(lambda x: F.exp((Vector(x) * "a").parts[0])), wrap(lambda x: setattr(Frozen(), "scale", 3.0) or F.exp(x)),
                 wrap(lambda x: setattr(FrozenSlots(), "other", 3.0) or F.exp(x)), wrap(lambda x: setattr(Slots(x), "other", 3.0) or F.exp(x)),
                 wrap(lambda x: (F.exp(x), Slots(x))), wrap(lambda x: F.exp(x) if Vector(x) == 3 else x)]
        return log, [lambda f=f: f(arr(3)) for f in calls]
    check(make, mode)


@pytest.mark.parametrize("body", [
    "made[key] = k", "found = table[key]", "found = len(members)", "found = numbers[key]", "found = (1, 2)[key]", "found = 'ab'[key]", "del made['a']",
    "table['a'] = k; found = table['a']", "found = {'a': 1}.get(key)", "made['a'] = k; found = made[key] if key in made else 2"])
def test_keys_that_notice_being_looked_up(mode, body):
    """What the program's own methods do happens as often as it does without a trace."""
    class Key:
        looks = ""

        def __hash__(self):
            Key.looks += "h"
            return 5

        def __eq__(self, other):
            Key.looks += "e"
            return self is other

        def __index__(self):
            Key.looks += "i"
            return 1

        def __repr__(self):
            Key.looks += "r"
            return "a"

    def make(wrap):
        key = Key()
        space = {"F": F, "key": key, "table": {key: 1.5, "a": 2.0}, "members": {key}, "numbers": [1.0, 2.0], "x": arr(3)}
        exec(f"def f(x, k):\n    made, found = {{'a': 1}}, None\n    {body}\n    return F.exp(x), found\n", space)
        f = wrap(space["f"])

        def call(k):
            Key.looks = ""
            found = f(space["x"], k)
            return found, Key.looks
        return [], [lambda: call(0.5), lambda: call(2)]
    check(make, mode)


Pair = namedtuple("Pair", "a b")
SPACE = types.SimpleNamespace(a=1)
OUTSIDE = {"list": [1, 2], "tuple": (1, 2), "ordered": OrderedDict(a=1), "defaults": defaultdict(int), "window": deque([1], maxlen=3), "counts": Counter("aab"),
           "pair": Pair(1, 2)}
OUTSIDE["ordered"].own = 5
CONTAINERS = {
    "list": lambda x: [x], "tuple": lambda x: (x, 1), "dict": lambda x: {"a": x}, "set": lambda x: {1, 2}, "text": lambda x: "abc",
    "pair": lambda x: Pair(1, x), "shape": lambda x: x.shape, "rows": lambda x: list(F.tanh(x)), "numbers": lambda x: x.array.tolist(),
    "space": lambda x: vars(SPACE), "iterator": lambda x: iter([x]), "enumeration": lambda x: enumerate([x]), "zip": lambda x: zip([x]),
    "generator": lambda x: (q for q in [x]), "view": lambda x: {"a": x}.items(),
    **{f"{kind} from outside": lambda x, kind=kind: OUTSIDE[kind] for kind in OUTSIDE},
}
FOLLOWED = ("list", "tuple", "dict", "text", "pair", "shape", "rows", "numbers")
NAMES = ("keys", "append", "array", "shape", "__len__", "__next__", "send", "count", "a", "own", "maxlen", "most_common", "_fields", "upper", "add")


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_are_asked_what_they_have(mode, container):
    """Each name in a call of its own, as what cannot be followed would hide the others."""
    def make(wrap):
        asked = [wrap(lambda x, name=name: (F.exp(x), hasattr(CONTAINERS[container](x), name))) for name in NAMES]
        given = [wrap(lambda x, name=name: F.exp(x) if getattr(CONTAINERS[container](x), name, None) is None else x) for name in NAMES]
        return [], [lambda: [f(var(2, 3)) for f in (*asked, *given)]]
    world = check(make, mode)
    skipped(world, mode, least=len(NAMES) if container in FOLLOWED else 0)


def test_a_class_of_named_tuples_gets_what_was_asked_for(mode):
    def make(wrap):
        kind = namedtuple("kind", "a b")
        f = wrap(lambda x: F.exp(x) if hasattr(kind(x, 1), "scale") else x * 2)

        def scaled():
            kind.scale = 2
            try:
                return f(var(2, 3))
            finally:
                del kind.scale

        def made():
            kind.__getattr__ = lambda self, name: 3
            try:
                return f(var(2, 3))
            finally:
                del kind.__getattr__
        return [], [lambda: f(var(2, 3)), scaled, made]
    check(make, mode)
