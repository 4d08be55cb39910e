"""Functions that ``functools.lru_cache`` and ``functools.cache`` wrap: masks, positions, factors. How often they were asked is theirs to tell."""
import functools
import math

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


class Log(list):
    """What cached functions have computed, and what they tell of it."""

    def __init__(self, *wrappers):
        self.wrappers = wrappers

    def info(self):
        return [tuple(w.cache_info()) for w in self.wrappers], list(self)


@pytest.mark.parametrize("decorate", [functools.cache, functools.lru_cache, functools.lru_cache(maxsize=2), functools.lru_cache(maxsize=1),
                                      functools.lru_cache(maxsize=0), functools.lru_cache(typed=True)])
def test_masks_and_factors(decorate, mode):
    def make(wrap):
        log, lin = Log(), L.Linear(3, 3)

        @decorate
        def mask(n):
            log.append(n)
            return np.tril(np.ones((n, n), "f"))

        @decorate
        def factor(n, power=0.5):
            log.append((n, power))
            return 1 / math.sqrt(n) + power

        log.wrappers = mask, factor

        def attention(x, n):
            scores = F.matmul(lin(x), x, transb=True) * factor(n, 2)
            return F.softmax(scores + mask(n) * factor(n, 2))
        traced = wrap(attention)

        def step(x, n):
            return traced(x, n), log.info()

        def cleared():
            mask.cache_clear()
            return step(var(3, 3), 3)

        def filled():
            for k in range(4, 8):
                mask(k)
            return step(var(3, 3), 3)

        def changed():
            mask(3)[0, 1] += 0.25
            return step(var(3, 3), 3)

        def read_only():
            mask(3).flags.writeable = False
            return step(var(3, 3), 3)
        return log, [lambda: step(var(3, 3), 3), lambda: step(var(4, 3), 4), cleared, filled, changed, read_only]
    traces = check(make, mode)
    if decorate in (functools.cache, functools.lru_cache):
        skipped(traces, mode)


def test_keys_of_all_kinds(mode):
    def make(wrap):
        @functools.lru_cache(maxsize=6)
        def scale(*key):
            return np.float32(len(key) + 0.5) if type(key[0]) is bool else float(len(key) + 1)

        @wrap
        def step(x):
            found = [scale(1), scale(True, 2), scale("a"), scale(0.0), scale((1, "b")), scale(None, 2.5)]
            return sum(found) * F.sum(x) * found[1], [type(v).__name__ for v in found]

        def forgotten():
            scale(7), scale(8)
            return step(var(3)), tuple(scale.cache_info())
        return None, [lambda: (step(var(3)), tuple(scale.cache_info())), forgotten]
    skipped(check(make, mode), mode, 5)


def test_what_it_gives_is_changed_by_the_call(mode):
    def make(wrap):
        lin = L.Linear(3, 3)

        @functools.cache
        def buffer(n):
            return np.zeros((n, 3), "f")

        @wrap
        def step(x):
            state = buffer(2)
            y = lin(x + state)
            state[0] = y.array[1]
            return F.sum(y), state
        return buffer, [lambda: (step(arr(2, 3)), tuple(buffer.cache_info()))]
    check(make, mode)


def test_errors_and_other_results(mode):
    def make(wrap):
        log = []

        @functools.lru_cache
        def table(n):
            log.append(n)
            if n > 3:
                raise ValueError("too large")
            return {"n": n}

        @functools.lru_cache
        def embedded(n):
            log.append(n)
            return F.sum(var(n)) * 2
        step = wrap(lambda x, n: (F.sum(x) * table(n)["n"], tuple(table.cache_info())))
        other = wrap(lambda x: (F.sum(x) + embedded(3).array, tuple(embedded.cache_info())))
        return log, [lambda: step(var(3), 3), lambda: step(var(3), 4), lambda: step(var(3), 2), lambda: other(var(3))]
    check(make, mode)
