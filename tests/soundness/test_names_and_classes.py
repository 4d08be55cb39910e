"""What a name means may change: names that go, classes that learn to intercept, modules and operators that are replaced."""
import types

import numpy as np
import pytest
from worlds import MODES, check, var

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


def swings(run, *pairs):
    """A call of ``run`` as things are, and one after each change; a pair is (change, undo)."""
    def plain():
        for _, undo in pairs:
            undo()
        return run()
    return [plain, *[lambda change=change: (change(), run())[1] for change, _ in pairs]]


def without(owner, name):
    """Delete an attribute of an object or class, if it has one of its own."""
    def delete():
        if name in vars(owner):
            delattr(owner, name)
    return delete


def putting(owner, name, value):
    return lambda: setattr(owner, name, value)


def checked(make, mode):
    """As ``check``; Python has been skipped in mode auto."""
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 4


@pytest.mark.parametrize("behind", ["nothing", "class", "getattr"])
def test_an_attribute_that_is_none_goes(mode, behind):
    def make(wrap):
        kind = type("Kind", (), {"class": {"h": 4}, "getattr": {"__getattr__": lambda self, name: 1}}.get(behind, {}))
        s, x = kind(), var(3, 4)
        s.h = None
        step = wrap(lambda x: F.tanh(x) if s.h is None else F.sin(x))
        return None, swings(lambda: step(x), (without(s, "h"), putting(s, "h", None)))
    checked(make, mode)


def test_a_member_that_is_none_goes(mode):
    def make(wrap):
        box, x = {"a": None, "b": 1}, var(3, 4)
        step = wrap(lambda x: F.tanh(x) if box["a"] is None else F.sin(x))
        return None, swings(lambda: step(x), (lambda: box.pop("a", None), lambda: box.update(a=None)))
    checked(make, mode)


@pytest.mark.parametrize("name", ["unknown", "len"])
def test_a_global_that_is_none_goes(mode, name):
    def make(wrap):
        space, x = {"F": F, name: None, "__name__": "elsewhere"}, var(3, 4)
        exec(f"def step(x): return F.tanh(x) if {name} is None else F.sin(x)", space)
        step = wrap(space["step"])
        return None, swings(lambda: step(x), (lambda: space.pop(name, None), lambda: space.update({name: None})))
    checked(make, mode)


def test_a_cell_is_emptied(mode):
    def make(wrap):
        h, x = None, var(3, 4)

        def fill():
            nonlocal h
            h = None

        def empty():
            nonlocal h
            h = 1
            del h
        step = wrap(lambda x: F.tanh(x) if h is None else F.sin(x))
        return None, swings(lambda: step(x), (empty, fill))
    checked(make, mode)


def test_a_class_attribute_goes_or_is_hidden(mode):
    def make(wrap):
        class Base:
            h = None

        class Kind(Base):
            pass
        s, x = Kind(), var(3, 4)
        step = wrap(lambda x: F.tanh(x) if s.h is None else F.sin(x))
        return None, swings(lambda: step(x), (without(Base, "h"), putting(Base, "h", None)), (putting(Kind, "h", 4), without(Kind, "h")),
                            (putting(s, "h", 4), without(s, "h")), (putting(Kind, "h", property(lambda self: None)), without(Kind, "h")))
    checked(make, mode)


def test_classes_learn_to_intercept(mode):
    def make(wrap):
        class Kind:
            def __init__(self):
                self.scale, self.shift = 2, 3.0
        s, x = Kind(), var(3, 4)
        step = wrap(lambda x: F.tanh(x) * s.scale + s.shift)

        def intercept(self, name):
            return 9 if name == "scale" else object.__getattribute__(self, name)
        return None, swings(lambda: step(x), (putting(Kind, "scale", property(lambda self: 5)), without(Kind, "scale")),
                            (putting(Kind, "shift", property(lambda self: 7.0)), without(Kind, "shift")),
                            (putting(Kind, "__getattribute__", intercept), without(Kind, "__getattribute__")))
    checked(make, mode)


def test_a_value_learns_to_bind(mode):
    def make(wrap):
        class Value:
            number = 2

        class Kind:
            value = Value()
        s, x = Kind(), var(3, 4)
        step = wrap(lambda x: F.tanh(x) * s.value.number + Kind.value.number)
        def bind(self, instance, owner):
            return types.SimpleNamespace(number=7)
        return None, swings(lambda: step(x), (putting(Value, "__get__", bind), without(Value, "__get__")))
    checked(make, mode)


def test_descriptors_of_classes(mode):
    def make(wrap):
        class Bound:
            value = 2

            def __get__(self, instance, owner):
                return Bound.value

        class Meta(type):
            both = property(lambda cls: Bound.value + 1)

        class Kind(metaclass=Meta):
            bound = Bound()
            both = 10
        x = var(3, 4)

        @wrap
        def step(x):
            return F.tanh(x) * Kind.bound + Kind.both, Kind.__class__ is Meta, Kind.__dict__["both"]
        return None, swings(lambda: step(x), (putting(Bound, "value", 3), putting(Bound, "value", 2)))
    check(make, mode)


def test_an_array_in_a_class(mode):
    def make(wrap):
        class Kind:
            h = np.ones(4, "f")
        s, x, first = Kind(), var(3, 4), Kind.h
        step = wrap(lambda x: F.tanh(x) * s.h)
        return None, swings(lambda: step(x), (putting(Kind, "h", np.zeros(4, "f")), putting(Kind, "h", first)),
                            (putting(s, "h", np.ones(4, "f") * 3), without(s, "h")), (putting(Kind, "h", np.ones((3, 4), "f")), putting(Kind, "h", first)))
    checked(make, mode)


def test_a_module_changes_its_class(mode):
    def make(wrap):
        class Lazy(types.ModuleType):
            factor = property(lambda self: 11)
        m, x = types.ModuleType("elsewhere"), var(3, 4)
        m.factor = 2
        step = wrap(lambda x: F.tanh(x) * m.factor)
        return None, swings(lambda: step(x), (putting(m, "__class__", Lazy), putting(m, "__class__", types.ModuleType)))
    checked(make, mode)


def test_methods_of_variables_are_replaced(mode):
    def make(wrap):
        kind, x = hnn.Variable, var(3, 4)
        old = {name: vars(kind)[name] for name in ("reshape", "__mul__", "__radd__", "__neg__", "__getitem__", "shape", "__gt__")}
        new = dict(reshape=lambda self, *shape: old["reshape"](self, (2, 6)), __mul__=lambda self, other: old["__mul__"](self, 5),
                   __radd__=lambda self, other: self, __neg__=F.sin, __getitem__=lambda self, key: old["__getitem__"](self, 1),
                   shape=property(lambda self: (9, 9)), __gt__=lambda self, other: False)

        @wrap
        def step(x):
            y = 1 + F.tanh(x).reshape((4, 3)) * 2
            return (-y)[0] if F.sum(y) > -100 else y, y.shape[0]
        return None, swings(lambda: step(x), *[(putting(kind, n, new[n]), putting(kind, n, old[n])) for n in old])
    checked(make, mode)


def test_order_of_keywords(mode):
    def make(wrap):
        @wrap
        def step(x, **numbers):
            return F.tanh(x) * numbers["a"], numbers
        x = var(3, 4)
        return None, [lambda: step(x, a=3, b=1.5), lambda: step(x, b=1.5, a=3), lambda: step(x, a=2, b=1.5)]
    checked(make, mode)


def test_complex_numbers_that_are_equal(mode):
    def make(wrap):
        @wrap
        def step(x, c):
            return F.tanh(x), c
        x = var(3, 4)
        return None, [lambda c=c: step(x, c) for c in (0j, complex(0.0, -0.0), complex(-0.0, 0.0), 0, False)]
    checked(make, mode)


def test_objects_that_notice_being_looked_at(mode):
    """The tracer asks no object of the program what it is in a way that runs the program's code."""
    def make(wrap):
        asked = []

        class Proxy:
            k = 2

            @property
            def __class__(self):
                asked.append("class")
                return dict

        class Lazy:
            k = 3

            def __getattribute__(self, name):
                if name == "__class__":      # the scenario itself looks for a __dict__
                    asked.append(name)
                return object.__getattribute__(self, name)
        proxies = {"proxy": Proxy(), "lazy": Lazy()}

        @wrap
        def f(x, p):
            kept = [p, proxies["proxy"]]
            return F.tanh(x) * p.k * kept[1].k, p is None
        x = var(2, 3)
        return asked, [lambda: f(x, proxies["proxy"]), lambda: f(x, proxies["lazy"])]
    check(make, mode)


class Behind:
    """Has names that a Link says are called otherwise."""
    cuda = 2.0

    def to(self):
        return 3.0

    @property
    def cpu(self):
        return self.h

    @cpu.setter
    def cpu(self, value):
        self.h = value


class Mixed(hnn.Chain, Behind):
    pass


ABSENT = [lambda net: hasattr(net, "eval"), lambda net: getattr(net, "fit", None), lambda net: getattr(net, "train", False), lambda net: hasattr(net, "cpu")]
THERE = [lambda net: net.to(), lambda net: net.cuda, lambda net: net.cpu, lambda net: net.step]


@pytest.mark.parametrize("ask", ABSENT + THERE)
def test_names_that_are_called_otherwise(mode, ask):
    """They are neither there, nor in the way of a class that is mixed in behind, or of what gets them."""
    def make(wrap):
        net, x = Mixed(), var(3, 4)
        net.cpu, net.step = 1.5, 2.5
        assert net.h == 1.5
        step = wrap(lambda x: F.tanh(x) * ask(net) if ask in THERE else F.tanh(x) if ask(net) else F.sin(x))
        pairs = [(putting(net, name, value), without(net, name)) for name, value in {"eval": None, "fit": 4, "train": True}.items()]
        return None, swings(lambda: step(x), *pairs, (putting(Behind, "cuda", 4.0), putting(Behind, "cuda", 2.0)))
    checked(make, mode)


class Quiet:
    """A callback that does nothing."""


class Loud(Quiet):
    def after_batch(self, y):
        return y * 3


def test_names_that_classes_lack(mode):
    """As learners ask which callbacks know an event."""
    def make(wrap):
        callbacks = [Quiet(), Loud()]

        @wrap
        def step(x):
            y = F.tanh(x)
            for callback in callbacks:
                react = getattr(type(callback), "after_batch", None)
                if react is not None:
                    y = react(callback, y)
                if hasattr(type(callback), "before_batch"):
                    y = y * 7
            return y
        x = var(3, 4)
        return None, swings(lambda: step(x), (putting(Quiet, "before_batch", None), without(Quiet, "before_batch")),
                            (putting(Quiet, "after_batch", lambda self, y: y * 2), without(Quiet, "after_batch")))
    checked(make, mode)


@pytest.mark.parametrize("ask", [lambda m: getattr(m, "mish", None), lambda m: m.mish if hasattr(m, "mish") else None])
def test_names_that_modules_lack(mode, ask):
    """As programs ask which functions a version of a library has. A module may get a ``__getattr__``."""
    def make(wrap):
        library = types.ModuleType("library")

        @wrap
        def step(x):
            found = ask(library)
            return F.tanh(x) if found is None else found(x)
        x = var(3, 4)
        return None, swings(lambda: step(x), (putting(library, "mish", F.sin), without(library, "mish")),
                            (putting(library, "__getattr__", lambda name: F.cos), without(library, "__getattr__")))
    checked(make, mode)


def test_names_that_modules_get_in_the_call(mode):
    def make(wrap):
        library, x = types.ModuleType("library"), var(3, 4)

        @wrap
        def step():
            before = getattr(library, "scale", 2.0)
            library.scale = before + 1.0
            return F.tanh(x) * before * getattr(library, "scale", 7.0)
        return [library.__dict__], [step, step, step, lambda: (library.__dict__.pop("scale"), step())[1]]
    check(make, mode)
