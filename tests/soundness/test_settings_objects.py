"""Settings in objects that look their attributes up in their own way: dicts with attributes, proxies."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)
STEPS = [0] * 14


def asking():
    class Settings(dict):
        def __getattr__(self, name):
            try:
                return self[name]
            except KeyError:
                raise AttributeError(name) from None

        def __setattr__(self, name, value):
            self[name] = value
    return Settings


def taken():
    class Settings(dict):
        __getattr__ = dict.__getitem__
        __setattr__ = dict.__setitem__
    return Settings


def bunch():
    class Settings(dict):
        def __init__(self, **members):
            super().__init__(**members)
            self.__dict__ = self
    return Settings


@pytest.mark.parametrize("kind", [asking, taken, bunch])
def test_dicts_with_attributes(mode, kind):
    def make(wrap):
        cls, log = kind(), []
        settings = cls(rate=0.5, n=2, act="tanh", none=None, weights=arr(3), inner=cls(scale=1.5, list=[1.0]))

        @wrap
        def f(x):
            y = F.exp(x) * settings.rate * settings.n * settings["rate"] * settings.inner.scale + settings.weights
            return (F.tanh(y) if settings.act == "tanh" else y) * settings.inner.list[0], settings.none is None

        def noisy(self, *args):
            log.append(args)
            return 3.0
        changes = [lambda: settings.update(rate=1.5), lambda: setattr(settings, "n", 3), lambda: setattr(settings, "n", 3.5),
                   lambda: setattr(settings.inner, "scale", 2), lambda: settings.update(act="x"), lambda: settings.pop("none"),
                   lambda: settings.update(none=1), lambda: setattr(settings, "weights", arr(3, seed=1)), lambda: settings.pop("rate"),
                   lambda: settings.update(rate=1.0), lambda: setattr(cls, "rate", property(lambda self: 5.0)), lambda: setattr(cls, "get", noisy),
                   lambda: setattr(cls, "__getitem__", noisy), lambda: setattr(cls, "__getattr__", noisy)]

        def after(change):
            change()
            return f(arr(3))
        return [log], [lambda: f(arr(3)), *[lambda c=c: after(c) for c in changes]]
    skipped(check(make, mode, steps=[*STEPS, *[k for c in range(1, 15) for k in [c] + [0] * 6]]), mode)


def test_proxies(mode):
    def make(wrap):
        class Proxy:
            def __init__(self, behind):
                self._behind = behind

            def __getattr__(self, name):
                return getattr(self._behind, name)

        class Counting:
            def __init__(self):
                self.n, self.table = 0, {"a": 1.5}

            def __getattr__(self, name):
                self.n += 1
                return self.table[name]
        behind = types.SimpleNamespace(k=2.0, twice=lambda x: x * 2)
        proxy, counting = Proxy(behind), Counting()
        f = wrap(lambda x: (proxy.twice(F.exp(x)) * proxy.k * counting.a, counting.n))
        changes = [lambda: setattr(behind, "k", 3.0), lambda: setattr(proxy, "k", 4.0), lambda: proxy.__dict__.pop("k"),
                   lambda: setattr(proxy, "_behind", types.SimpleNamespace(k=1, twice=lambda x: x)), lambda: counting.table.update(a=3.0),
                   lambda: counting.table.clear(), lambda: setattr(counting, "a", 1.0), lambda: setattr(Proxy, "twice", lambda self, x: x * 3),
                   lambda: delattr(Proxy, "__getattr__")]

        def after(change):
            change()
            return f(arr(3))
        return [behind, counting], [lambda: f(arr(3)), *[lambda c=c: after(c) for c in changes]]
    skipped(check(make, mode, steps=[*STEPS, *[k for c in range(1, 10) for k in [c] + [0] * 6]]), mode)


def test_state_in_a_module(mode):
    def make(wrap):
        module, buffer = types.ModuleType("state_of_a_program"), np.zeros(3, "f")
        module.n, module.rate, module.weights = 0, 0.5, arr(3)

        @wrap
        def f(x):
            module.n += 1
            rate, weights = module.rate, module.weights
            module.rate, module.weights, module.new = rate * 0.9, F.exp(x).array, module.n * 2
            buffer[...] = buffer * rate + weights
            return F.exp(x) * module.rate, module.n, module.new, buffer.copy()
        changes = [lambda: setattr(module, "n", 10), lambda: setattr(module, "rate", 1), lambda: setattr(module, "rate", 1.5), lambda: delattr(module, "n"),
                   lambda: setattr(module, "n", 0)]

        def after(change):
            change()
            return f(arr(3))
        return [vars(module).copy, buffer], [lambda: f(arr(3)), *[lambda c=c: after(c) for c in changes]]
    skipped(check(make, mode, steps=[*STEPS, *[k for c in range(1, 6) for k in [c] + [0] * 6]]), mode)
