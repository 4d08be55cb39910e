"""Whatever a hot function reaches is changed between two calls, one part at a time, and nothing must be seen of the trace."""
import random
import re
import warnings

import pytest
import worlds
from mutation_programs import PROGRAMS
from mutations import mutate, places
from worlds import Traces, World, arr, differences

import hybridnn as hnn

pytestmark = pytest.mark.nightly
PRELUDE = """
import abc, collections, contextlib, dataclasses, enum, functools, math, operator, random, types, typing
import numpy as np
import hybridnn as hnn, hybridnn.functions as F, hybridnn.links as L, hybridnn.optimizers as O, hybridnn.distributions as D
from worlds import arr
"""
MOST = {"reference": 24, "native": 4}       # changes of one program


@pytest.fixture(autouse=True)
def roundly(monkeypatch):
    """Changes make numbers of other kinds, which float32 has rounded on the way."""
    monkeypatch.setattr(worlds, "DOUBLE", 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def program(source):
    ns = {"__name__": "program"}
    exec(PRELUDE + source, ns)
    return ns


class Names:
    """What a program has, for the comparison."""

    def __init__(self, ns):
        self.ns = ns

    @property
    def __dict__(self):
        return {k: v for k, v in self.ns.items() if not k.startswith("__") and k != "step" and not callable(v) or isinstance(v, hnn.Link)}


def outcome(source, path, way, wrap):
    """Facts after each call: hot, changed, changed still."""
    def make(_):
        ns = program(source)
        step = wrap(ns["step"])
        x = arr(3, 4)
        return Names(ns), [lambda: step(x), lambda: (mutate(ns, path, way), step(x))[1]]
    world = World(make, wrap, False)
    with hnn.using_config("trace_compile", "sync"):
        return [world.step(k) for k in [0] * 8 + [1, 0, 0]]


def changes(source, most):
    """A choice of changes: most of them of what the statement names."""
    found, step = places(program(source)), set(re.findall(r"\w+", source.split("def step(x):")[1]))
    close = [c for c in found if any(key in step for _, key in c[0][-2:])]
    dice = random.Random(source)
    return [*dice.sample(close, min(len(close), most * 2 // 3)), *dice.sample(found, min(len(found), most // 3))]


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_part_changes(name, executor):
    source, wrong = PROGRAMS[name], []
    for path, way in changes(source, MOST[executor]):
        expected = outcome(source, path, way, lambda fn, **_: fn)
        got = outcome(source, path, way, Traces("auto"))
        for k, (a, b) in enumerate(zip(expected, got, strict=True)):
            found = list(differences(a, b))
            if found:
                wrong.append(f"{path} {way}, call {k}: {found[0]}")
                break
    assert not wrong, "\n".join(wrong[:10])


def test_programs_skip_python():
    few = []
    for name, source in PROGRAMS.items():
        step = hnn.trace(program(source)["step"])
        with hnn.using_config("trace_compile", "sync"):
            for _ in range(8):
                step(arr(3, 4))
        few += [] if step.stats.python_skipped else [(name, step._memory.why[-1])]
    assert not few, few
