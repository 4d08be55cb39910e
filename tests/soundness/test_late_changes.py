"""What a program changes between calls in places that seldom change: classes, their texts, bases and metaclasses, defaults, headers of arrays."""
from collections import namedtuple

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


def late(mode, make, changes, least=10):
    """``make(wrap)`` gives objects, and a function without arguments that is traced; ``changes`` are made one by one, each between many calls."""
    def world(wrap):
        *objects, call = make(wrap)

        def after(change):
            change(*objects)
            return call()
        return [], [call, *[lambda c=c: after(c) for c in changes]]
    steps = [0] * 12 + [k for c in range(1, len(changes) + 1) for k in [c] + [0] * 6]
    skipped(check(world, mode, steps=steps), mode, least)


def test_bases(mode):
    """``issubclass`` asks for the bases that a class has now."""
    def make(wrap):
        class A:
            pass

        class B:
            pass

        class C(A):
            pass
        f = wrap(lambda x: F.exp(x) * (2 if issubclass(C, B) else 3))
        return B, C, lambda: f(arr(3))
    late(mode, make, [lambda b, c: setattr(c, "__bases__", (b,))])


@pytest.mark.parametrize("text", [lambda c: str(c), lambda c: repr(c), lambda c: "{}".format(c), lambda c: "{0.rate} {0.__name__}".format(c),  # noqa: UP032
                                  lambda c: "{c.rate}".format_map({"c": c}), lambda c: str((1, c))])
def test_texts_of_classes(mode, text):
    def make(wrap):
        class A:
            rate = 1
        A.__qualname__ = "A"
        f = wrap(lambda x: (F.exp(x), text(A)))
        return A, lambda: f(arr(3))
    late(mode, make, [lambda a: setattr(a, "__qualname__", "B"), lambda a: setattr(a, "rate", 2), lambda a: setattr(a, "__name__", "B")], least=0)


def test_defaults_of_named_tuples(mode):
    def make(wrap):
        Pair = namedtuple("Pair", "x k", defaults=(2.0,))
        Other = namedtuple("Other", "x k")
        Other.__new__.__defaults__ = 3.0,

        @wrap
        def f(x):
            p = Pair(x)
            return F.exp(p.x) * p.k * Other(1).k
        return Pair, Other, lambda: f(arr(3))
    late(mode, make, [lambda p, o: setattr(p.__new__, "__defaults__", (5.0,)), lambda p, o: setattr(o.__new__, "__defaults__", (1.0, 4.0))])


def test_metaclass(mode):
    class Plain(type):
        pass

    class Telling(type):
        @property
        def rate(cls):
            return 7.0

    def make(wrap):
        class A(metaclass=Plain):
            rate = 2.0
        f = wrap(lambda x: F.exp(x) * A.rate)
        return A, lambda: f(arr(3))
    late(mode, make, [lambda a: setattr(a, "__class__", Telling)])


@pytest.mark.parametrize("kind", [property, classmethod, staticmethod])
def test_own_kinds_of_descriptors(mode, kind):
    """A class derived from ``property`` may get a ``__get__`` of its own."""
    def make(wrap):
        class Own(kind):
            pass

        class A:
            rate = Own(lambda *self: 2.0)
        a = A()

        @wrap
        def f(x):
            rate = a.rate
            return F.exp(x) * (rate if kind is property else rate())
        return Own, lambda: f(arr(3))
    late(mode, make, [lambda own: setattr(own, "__get__", lambda self, a, cls=None: 5.0 if kind is property else lambda: 5.0)], least=0)


def test_object_that_becomes_a_descriptor(mode):
    def make(wrap):
        class V:
            pass

        class A:
            rate = V()
        a = A()
        a.__dict__["rate"] = 2.0
        f = wrap(lambda x: F.exp(x) * a.rate)
        return V, lambda: f(arr(3))
    late(mode, make, [lambda v: setattr(v, "__get__", lambda self, a, cls=None: 5.0), lambda v: setattr(v, "__set__", lambda self, a, value: None)])


def _bent(a):
    a.shape = (2, 3) if a.ndim == 1 else (6,)      # the same array, of another shape


def test_headers_of_constants(mode):
    """Arrays that are attributes of classes, members of tuples, or defaults."""
    def make(wrap):
        class A:
            table = arr(6)
        pair, six = (arr(6), 1.0), arr(6)

        def g(x, d=six):
            return d.shape, len(d), d.ndim
        f = wrap(lambda x: (F.exp(x), A.table.shape, len(A.table), pair[0].dtype, pair[0].size, len(pair[0]), g(x)))
        return A.table, pair[0], g.__defaults__[0], lambda: f(arr(3))
    late(mode, make, [lambda *a: _bent(a[0]), lambda *a: _bent(a[1]), lambda *a: setattr(a[1], "dtype", "i4"), lambda *a: _bent(a[2])])


def test_rows_of_a_default(mode):
    def make(wrap):
        rows, others = arr(2, 3), arr(2, 3)

        def g(x, d=rows, e=others):
            for r, s in zip(d, e):
                x = x + r * s
            first, second = d
            return x + first + second
        f = wrap(lambda x: F.exp(g(x)))
        return g, lambda: f(arr(3))
    late(mode, make, [lambda g: g.__defaults__[0].__imul__(2), lambda g: setattr(g, "__defaults__", (arr(2, 3, seed=1), np.ones((2, 3), "f")))])


def test_dict_that_a_text_makes(mode):
    def make(wrap):
        f = wrap(lambda x: (F.exp(x), "a".maketrans("ab", "cd")))

        def changed():
            y, table = f(arr(3))
            table[len(table)] = None
            return y, table
        return [], [changed]
    check(make, mode)


def test_attributes_of_a_traced_function(mode):
    """Code and defaults of a traced function are those of the function."""
    def make(wrap):
        @wrap
        def f(x, k=2.0, *, z=1.0):
            return F.exp(x) * k * z

        def g(x, k=2.0, *, z=1.0):
            return F.tanh(x) * k + z
        return f, g, lambda: (f(arr(3)), f.__defaults__, f.__kwdefaults__)
    late(mode, make, [lambda f, g: setattr(f, "__defaults__", (3.0,)), lambda f, g: setattr(f, "__kwdefaults__", {"z": 4.0}),
                      lambda f, g: setattr(f, "__code__", g.__code__)])


def test_slot_that_becomes_a_property(mode):
    """Whose code runs once in a call."""
    def make(wrap):
        log = []

        class A:
            __slots__ = ("none", "rate", "weights")

            def __init__(self):
                self.rate, self.weights, self.none = 2.0, arr(3), None

        def noisy(self):
            log.append("asked")
            return 3.0
        a = A()
        f = wrap(lambda x: (F.exp(x) * a.rate + a.weights, a.none, len(log)))
        return A, noisy, lambda: f(arr(3))
    late(mode, make, [lambda c, noisy: setattr(c, "rate", property(noisy)), lambda c, noisy: setattr(c, "none", property(noisy))])


def test_key_with_its_own_equality(mode):
    def make(wrap):
        log = []

        class Key:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                log.append("compared")
                return self is other
        settings = {"a": 1.0, "b": 2.0}
        f = wrap(lambda x: (F.exp(x) * len([k for k in settings]), len(log)))
        return settings, Key(), lambda: f(arr(3))

    def replace(settings, key):
        settings.pop("b")
        settings[key] = 2.0
    late(mode, make, [replace])


def test_keys_of_arguments_with_their_own_equality(mode):
    """Their code runs where the program looks them up, and nowhere else."""
    def make(wrap):
        log = []

        class Key:
            def __init__(self, n):
                self.n = n

            def __hash__(self):
                log.append("hashed")
                return self.n

            def __eq__(self, other):
                log.append("compared")
                return isinstance(other, Key) and self.n == other.n
        f = wrap(lambda x, d: (F.exp(x) * len(d), len(log)))
        return [log], [lambda: f(arr(3), {Key(1): 1.0, "a": 2.0}), lambda: f(arr(3), {Key(2): 1.0, "a": 2.0}), lambda: f(arr(3), {(Key(3), 1): 1.0, 1: 2.0})]
    check(make, mode)


def test_object_without_attributes_of_its_own_that_is_asked(mode):
    """``__getattr__`` is called for what the program asks for, and nothing else."""
    def make(wrap):
        log = []

        class A:
            __slots__ = ("rate",)

            def __init__(self):
                self.rate = 2.0

            def __getattr__(self, name):
                log.append(name)
                return 3.0

            def twice(self, x):
                return x * 2
        a = A()
        f = wrap(lambda x: (a.twice(F.exp(x)) * a.rate * getattr(a, "rate", 1.0), isinstance(a, A), a is not None))
        return [log], [lambda: (f(arr(3)), len(log))]
    check(make, mode)


def test_what_cannot_be_followed_is_not_asked_for_its_text(mode):
    def make(wrap):
        log = []

        class Told:
            def __repr__(self):
                log.append("repr")
                return "told"

            def __getattr__(self, name):
                log.append(name)
                raise AttributeError(name)

        class Called(Told):
            __call__ = staticmethod(abs)

        class Bound(Told):
            __get__ = Told()

        class A:
            bound = Bound()
        called, a = Called(), A()
        f = wrap(lambda x: (F.exp(x) * called(-2.0), len(log)))
        g = wrap(lambda x: (F.exp(x), hasattr(a, "bound"), len(log)))
        return [log], [lambda: f(arr(3)), lambda: g(arr(3))]
    check(make, mode)
