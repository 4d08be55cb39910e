"""Runs a program plain and traced, from equal states, and compares what can be seen after every call."""
import contextlib
import dataclasses
import functools
import io
import linecache
import math
import random
import traceback
import types
import typing
import warnings

import numpy as np
import streams
from programs import Program

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.errors import ReleasedGraphError, TraceWarning

__all__ = ["compare", "run_both"]


class World:
    """One run of a program: its namespace, model and random streams."""

    def __init__(self, program, trace, filename):
        self.program = program
        self.globals = {"__name__": "fuzzed", "np": np, "hnn": hnn, "F": F, "L": L, "math": math, "random": random,
                        "functools": functools, "contextlib": contextlib, "dataclasses": dataclasses, "typing": typing}
        np.random.seed(11)
        random.seed(11)
        self.traced = []
        self.globals["traced"] = lambda fn: trace(fn, self.traced)
        exec(compile(program.source, filename, "exec"), self.globals)
        self.net, self.opt, self.step, self.rate = self.globals["make"](lambda fn: trace(fn, self.traced))
        self.streams = streams.position()

    def call(self, number):
        """Facts after a call."""
        p = self.program.calls[number]
        streams.go_to(self.streams)
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()) as out, contextlib.ExitStack() as stack:
            warnings.simplefilter("always")
            if p.before:
                names = {**self.globals, "rebind": self.globals.update, "world": self, "net": self.net, "opt": self.opt}
                exec(p.before, names)
            if p.around:
                stack.enter_context(eval(p.around, {"hnn": hnn}))
            args = self.arguments(number, p)
            self.error = None
            try:
                result = self.step(*args)
                if self.program.outer:
                    self.backward(result)
            except Exception as e:
                self.error, result = e, None
        self.streams = streams.position()
        self.warned = [str(w.message) for w in caught if issubclass(w.category, TraceWarning)]
        kinds = sorted({w.category.__name__ for w in caught if not issubclass(w.category, TraceWarning)})
        facts = [("error", None if self.error is None else f"{type(self.error).__name__}: {self.error}"), ("warnings", kinds), ("printed", out.getvalue())]
        seen = {}
        others = [self.globals["COUNT"], vars(self.globals["hold"]), vars(self.globals["net2"])]
        state = {k: v for k, v in vars(self.net).items() if k not in ("_within_init_scope", "opt")}
        for name, value in dict(result=result, args=args, net=state, log=self.globals["LOG"], opt=vars(self.opt.hyperparam), t=self.opt.t,
                                others=others).items():
            describe(name, value, facts, seen)
        facts.append(("streams", hash(self.streams)))
        return facts

    def arguments(self, number, p):
        rng = np.random.default_rng([number, p.n])
        draw = lambda: rng.normal(size=(p.n, 4)).astype("f")
        x, y, raw = draw(), hnn.Variable(draw(), requires_grad=self.program.y_grad), draw()
        t = rng.integers(0, 4, 8).astype("i")
        return (x if self.program.raw_x else hnn.Variable(x)), y, t, raw, p.k, p.flag

    def backward(self, result):
        """What a caller does with the Variables it gets."""
        members = list(result.values()) if isinstance(result, dict) else list(result)
        flat = [v for m in members for v in (m if isinstance(m, (tuple, list)) else [m])]
        losses = [F.mean(F.tanh(v)) for v in flat if isinstance(v, hnn.Variable) and v.requires_grad]
        if losses:
            sum(losses).backward()


PLAIN = (int, float, bool, str, type(None))
died, refused = [], []      # programs that raised at last; that asked for a graph which a replay does not keep (that is refused, loudly)
HIDDEN = ("_tape", "_pending", "_vid", "_spec", "_array", "initializer", "_hooks", "_params")


def describe(path, x, facts, seen):
    """Flat (path, fact) pairs of a value and all it holds; objects by the order in which they are met."""
    if type(x) in PLAIN:
        facts.append((path, x))
        return
    if type(x) is tuple and all(type(v) in PLAIN for v in x):
        facts.append((path, x))
        return
    known = id(x) in seen
    facts.append((path + " is", (seen.setdefault(id(x), len(seen)), type(x).__name__)))
    if known:
        return
    seen.setdefault("keep", []).append(x)
    if isinstance(x, np.ndarray):
        facts.append((path, (x.shape, x.dtype.str, x.flags.writeable)))
        facts.append((path, np.array(x)))
    elif isinstance(x, np.generic):
        facts.append((path, np.asarray(x)))
    elif isinstance(x, hnn.Variable):
        facts.append((path, (x.requires_grad, x.shape, x.creator is not None)))
        describe(path + ".array", x.array, facts, seen)
        describe(path + ".grad", x.grad, facts, seen)
        rule = getattr(x, "update_rule", None)
        if rule is not None:
            describe(path + ".rule", [rule.state, rule.t, rule.enabled], facts, seen)
    elif isinstance(x, (list, tuple)):
        facts.append((path, len(x)))
        for i, v in enumerate(x):
            describe(f"{path}[{i}]", v, facts, seen)
    elif isinstance(x, dict):
        facts.append((path, [str(k) for k in x]))
        for k, v in x.items():
            describe(f"{path}[{k}]", v, facts, seen)
    elif isinstance(x, hnn.Link):
        describe(path, {k: v for k, v in vars(x).items() if k not in HIDDEN}, facts, seen)
    elif isinstance(x, (set, frozenset)):
        facts.append((path, sorted(map(str, x))))


def close(x, y):
    if isinstance(x, np.ndarray):
        if x.dtype.kind != "f":
            return np.array_equal(x, y)
        if isinstance(y, np.ndarray) and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes():     # as most are
            return True
        scale = max(1.0, float(np.max(np.abs(x), initial=0, where=np.isfinite(x))))
        return x.shape == y.shape and np.allclose(x, y, rtol=3e-4, atol=3e-4 * scale, equal_nan=True)
    if type(x) is float and type(y) is float:
        return x == y or x != x and y != y or abs(x - y) <= 3e-4 * max(1.0, abs(x))
    if type(x) is tuple and type(y) is tuple:
        return len(x) == len(y) and all(map(close, x, y))
    return type(x) is type(y) and x == y


def differences(expected, got):
    """Texts of what differs."""
    if len(expected) != len(got):
        yield f"{len(expected)} facts against {len(got)}"
    for (path, x), (other, y) in zip(expected, got):
        if path != other or not close(x, y):
            yield f"{path}: eager {x!r}, traced {other if other != path else ''} {y!r}"


def run_both(program, mode):
    """Yields the differences after each call, and the traced world."""
    filename = f"<program {abs(hash(program.source))}>"
    linecache.cache[filename] = (len(program.source), None, program.source.splitlines(True), filename)

    def tracing(fn, made):
        made.append(hnn.trace(fn, mode=mode))
        return made[-1]
    plain, traced = World(program, lambda fn, made: fn, filename), World(program, tracing, filename)
    for i in range(len(program.calls)):
        yield i, list(differences(plain.call(i), traced.call(i))), traced


def trouble(error):
    """The traceback of what the traced world raised, if anything."""
    return "" if error is None else "".join(traceback.format_exception(error)[-8:])


def memories(world):
    """What the traced callables of a world have learned."""
    return [m for t in world.traced for m in [t._memory, *[e[1] for e in t._instances.values()]]]


def compare(program, mode):
    """Run both; an AssertionError says where they part. Returns statistics, summed."""
    assert isinstance(program, Program)
    totals = types.SimpleNamespace(hits=0, skipped=0, recordings=0, eager=0)
    del died[:]
    world = None
    for i, found, world in run_both(program, mode):
        reasons = [r.reason for m in memories(world) for r in m.roots.values() if r.reason]
        died.extend([1] if world.error is not None else [])
        if isinstance(world.error, ReleasedGraphError):
            refused.append(1)
            break
        assert not found, f"call {i} ({mode}):\n  " + "\n  ".join(found[:6]) + f"\n  eager because: {reasons}\n" + trouble(world.error)
    for m in memories(world):
        totals.hits += m.stats.hits
        totals.skipped += m.stats.python_skipped
        totals.recordings += m.stats.recordings
        totals.eager += any(r.reason for r in m.roots.values())
    return totals
