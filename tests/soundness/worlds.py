"""Runs one scenario twice, plain and traced, and compares all that a user could see after every call.

A scenario is a function ``make(wrap)`` that builds fresh state and returns ``(state, calls)``: anything that holds the state, and functions without
arguments. ``wrap`` is ``hnn.trace`` in one world and does nothing in the other. The calls run in the order of a plan: the first one until it is
compiled, then every other one in turn, going back to the first in between.
"""
import contextlib
import functools
import io
import os
import random
import sys
import traceback
import types
import warnings

import numpy as np
import streams
from numpy.lib.array_utils import byte_bounds

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import graph
from hybridnn.errors import TraceWarning
from hybridnn.jit.executable import unheld

__all__ = ["MODES", "REUSED", "Squared", "Traces", "arr", "check", "check_errors", "net", "plan", "skipped", "var"]

MODES = ("auto", "verify")
HOT = 8
REUSED = [0]      # how many arrays have been used again
TOLERANCE, DOUBLE = [1.0], 1e-9      # a factor, and what float64 numbers may differ
PACKAGE = os.path.dirname(hnn.__file__)


class Traces(list):
    """``wrap`` of the traced world; keeps what it made."""

    def __init__(self, mode, **options):
        self.options = dict(mode=mode, **options)

    def __call__(self, fn, **options):
        made = hnn.trace(fn, **{**self.options, **options})
        self.append(made)
        return made

    def total(self, name):
        """A statistic, summed over all traced callables and their instances."""
        memories = {id(m): m for t in self if hasattr(t, "_memory") for m in [t._memory, *[e[1] for e in t._instances.values()]]}
        return sum(getattr(m.stats, name) for m in memories.values())

    @property
    def reasons(self):
        """Why signatures run eagerly."""
        memories = [m for t in self if hasattr(t, "_memory") for m in [t._memory, *[e[1] for e in t._instances.values()]]]
        return [r.reason for m in memories for r in m.roots.values() if r.reason]


def plan(n):
    """Numbers of calls: cold, warm, compiled, other path, back, other path compiled, back."""
    steps = [0] * HOT
    for k in range(1, n):
        steps += [k, 0, *[k] * HOT, 0, k, 0]
    return steps


class Interpreted:
    """Stands in for an ``Executable``: the graph, run node by node. All old arrays that may be used again are, however small, and are rubbish meanwhile."""
    kernels_compiled = arena_bytes = arena_lower_bound = memory_bytes = memory_lower_bound = 0
    compile_seconds = 0.0
    steps = ()

    def __init__(self, graph):
        self.graph, self.reusable = graph, tuple(range(len(graph.outputs)))

    def __call__(self, arrays):
        return graph.run(self.graph, arrays)

    fresh = __call__

    def reusing(self, arrays, numbers, old):
        specs = [self.graph.specs[self.graph.outputs[k]] for k in numbers]
        taken = [(k, a) for i, (k, s) in enumerate(zip(numbers, specs, strict=True)) if (a := unheld(old, i, s.shape, s.dtype)) is not None]
        kept, values = [*old], [a.copy() for _, a in taken]
        old.clear()
        for _, a in taken:
            a.reshape(-1).view("u1")[...] = 0xA5
        try:
            results = list(self(arrays))
        except Exception:
            for (_, a), value in zip(taken, values, strict=True):
                a[...] = value
            old += kept
            raise
        for k, a in taken:
            a[...] = results[k]
            results[k] = a
        REUSED[0] += len(taken)
        return results

    def release(self):
        """It keeps nothing."""


PLAIN = {type(None), bool, int, str, bytes, float, complex, slice, range}
VALUES = (int, str, bytes, float, complex, np.dtype, np.generic)
OPAQUE = (types.FunctionType, types.ModuleType, type, types.MethodType, types.BuiltinFunctionType)
HIDDEN = {"_hooks", "initializer", "_tape", "_pending", "_vid", "_spec"}


@functools.cache
def full_name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


class Describer:
    """Flat facts about values; remembers objects, so that the same one met again is seen to be the same."""

    def __init__(self, held):
        self.held = held
        self.forget()

    def forget(self):
        self.seen, self.arrays, self.keep = {}, [], []

    def describe(self, **roots):
        if not self.held:
            self.forget()
        self.facts, self.now, self.told = [], [], set()
        for name, value in roots.items():
            self.visit(name, value)
        self.note_sharing()
        facts, self.facts, self.now = self.facts, [], []
        if not self.held:
            self.forget()          # the tracer sees who else holds an array
        return facts

    def note_sharing(self):
        """Which arrays share memory with which before them. Two that own what they show do not."""
        views = [i for i, (_, a) in enumerate(self.now) if not a.flags.owndata]
        if not views:
            return
        bounds, views = [byte_bounds(a) for _, a in self.now], set(views)
        for i, (path, a) in enumerate(self.now):
            low, high = bounds[i]
            near = [k for k in range(i) if bounds[k][0] < high and low < bounds[k][1] and (i in views or k in views)]
            shared = [self.now[k][0] for k in near if a is not self.now[k][1] and np.shares_memory(a, self.now[k][1])]
            if shared:
                self.facts.append((f"{path} shares memory with", shared))

    def visit(self, path, x):
        kind = type(x)
        if kind in PLAIN:
            self.facts.append((path, (kind.__name__, x)))
            return
        look = way(kind)
        if look is None:
            self.facts.append((path, (kind.__name__, np.asarray(x) if isinstance(x, np.generic) else x)))
            return
        number = id(x)
        known = self.seen.get(number)
        if known is None:
            known = self.seen[number] = len(self.seen)
            self.keep.append(x)
        self.facts.append((path + " is", (known, full_name(kind))))
        if number not in self.told:         # what it holds is told where it is met first
            self.told.add(number)
            look(self, path, x)

    def sequence(self, path, x):
        self.facts.append((path + " length", len(x)))
        for k, v in enumerate(x):
            self.visit(f"{path}[{k}]", v)

    def mapping(self, path, x):
        self.facts.append((path + " keys", [repr(k) for k in x]))
        for k, v in x.items():
            self.visit(f"{path}[{k!r}]", v)

    def members(self, path, x):
        if hasattr(x, "__dict__"):
            for k, v in sorted(vars(x).items()):
                if k not in HIDDEN:
                    self.visit(f"{path}.{k}", v)

    def array(self, path, a):
        self.facts.append((path + " kind", (a.shape, a.dtype.str, a.flags.writeable)))
        self.facts.append((path, np.array(a)))
        self.now.append((path, a))

    def variable(self, path, v):
        self.facts.append((path + " flags", (v.requires_grad, v.name, v.is_initialized)))
        if v.is_initialized:
            self.facts.append((path + " creator", v.creator is not None))
            self.visit(path + ".array", v.array)
        self.visit(path + ".grad", v.grad)
        if getattr(v, "update_rule", None) is not None:
            self.visit(path + ".update_rule", v.update_rule)


@functools.cache
def way(kind):
    """How a ``Describer`` looks at objects of a type; None if they are their value."""
    if issubclass(kind, VALUES):
        return None
    if issubclass(kind, OPAQUE) or kind.__module__.startswith("hybridnn.trace"):
        return lambda describer, path, x: None
    ways = {np.ndarray: Describer.array, hnn.Variable: Describer.variable, (list, tuple): Describer.sequence, dict: Describer.mapping,
            (set, frozenset): lambda describer, path, x: describer.facts.append((path, sorted(map(repr, x))))}
    return next((look for kinds, look in ways.items() if issubclass(kind, kinds)), Describer.members)


def same(x, y):
    if isinstance(x, np.ndarray):
        if _same_bytes(x, y):
            return True
        if x.dtype.kind in "fc":
            tol = {2: 1e-2, 4: 1e-5, 8: 1e-5 if x.dtype.kind == "c" else DOUBLE}.get(x.dtype.itemsize, 1e-9) * TOLERANCE[-1]
            with np.errstate(all="ignore"):
                return np.allclose(x, y, rtol=tol, atol=tol * 0.1 * max(1.0, np.max(np.abs(x), initial=0, where=np.isfinite(x))), equal_nan=True)
        return np.array_equal(x, y)
    if isinstance(x, tuple) and isinstance(y, tuple) and len(x) == len(y):
        return all(a is b or same(a, b) for a, b in zip(x, y))
    if type(x) is float and type(y) is float:
        return x == y or x != x and y != y or abs(x - y) <= 1e-5 * max(abs(x), abs(y), 0.1)
    return type(x) is type(y) and x == y


def user_frame(error):
    """Where the exception passed the user's own code last: (file, function, line)."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((PACKAGE, sys.prefix, "<"))]
    frames = [f for f in frames if os.path.basename(f.filename) != "worlds.py"]
    return [(os.path.basename(f.filename), f.name, f.lineno) for f in frames]


def _same_bytes(x, y):
    """Whether two arrays are the same to the bit, as most are: a comparison up to rounding takes twenty times as long."""
    return isinstance(y, np.ndarray) and x.dtype == y.dtype and x.dtype.kind != "O" and x.shape == y.shape and x.tobytes() == y.tobytes()


class World:
    """One of the two runs."""

    def __init__(self, make, wrap, held):
        self.random = streams.position()
        with self.running():
            np.random.seed(7)
            random.seed(7)
            self.state, self.calls = make(wrap)
        self.describer = Describer(held)

    @contextlib.contextmanager
    def running(self):
        """The world's random numbers go on where they were."""
        outside = streams.position()
        streams.go_to(self.random)
        try:
            yield
        finally:
            self.random = streams.position()
            streams.go_to(outside)

    def step(self, k):
        """Facts after call number ``k``."""
        result, error, out = None, None, io.StringIO()
        with self.running(), warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(out):
            warnings.simplefilter("always")
            try:
                result = self.calls[k]()
            except BaseException as e:
                error = e
        facts = self.describer.describe(result=result, state=self.state)
        kinds = sorted({w.category.__name__ for w in caught if not issubclass(w.category, TraceWarning)})
        self.warned = [str(w.message) for w in caught if issubclass(w.category, TraceWarning)]
        self.error = error
        raised = None if error is None else (type(error).__name__, str(error), user_frame(error))
        return [*facts, ("warnings", kinds), ("printed", out.getvalue()), ("random numbers", hash(self.random)), ("raised", raised)]


def differences(expected, got):
    if len(expected) != len(got):
        paths = [p for p, _ in got]
        missing = [f for f in expected if f[0] not in paths][:3]
        extra = [f for f in got if f[0] not in [p for p, _ in expected]][:3]
        yield f"{len(expected)} facts against {len(got)}: missing {missing}, extra {extra}"
    for (path, x), (other, y) in zip(expected, got):
        if path != other or not same(x, y):
            yield f"{path}: eager {x!r}, traced {other if other != path else ''} {y!r}"


def check(make, mode, *, held=False, steps=None, trace_warnings=None, tolerance=1.0, **options):
    """Run ``make`` plain and traced; every fact must be the same after every call. Returns the ``Traces`` for further looks.

    Args:
        mode: of the trace.
        held: keep every array and Variable ever met, and so see identity from call to call.
        steps: numbers of the calls to make (default: ``plan``).
        tolerance: a factor on the tolerances.
        trace_warnings: exact number of warnings from the tracer, if it matters.
    """
    wrap = Traces(mode, **options)
    plain, traced = World(make, lambda fn, **_: fn, held), World(make, wrap, held)
    warned = []
    for i, k in enumerate(steps if steps is not None else plan(len(plain.calls))):
        expected, got = plain.step(k), traced.step(k)
        warned += traced.warned
        TOLERANCE.append(tolerance)
        found = list(differences(expected, got))
        TOLERANCE.pop()
        if found:
            text = "\n  ".join(found[:8])
            if traced.error is not None:
                text += "\n" + "".join(traceback.format_exception(traced.error))
            raise AssertionError(f"call {i} (number {k}, {mode}):\n  {text}\n  eager at: {wrap.reasons}")
    if trace_warnings is not None:
        assert len(warned) == trace_warnings, warned
    wrap.warned, wrap.state = warned, traced.state      # instances' memories go with the instances
    return wrap


def check_errors(body, mode, *arrays):
    """``body`` raises, or does not, behind an operation on each of these arrays, the same traced as plain."""
    def make(wrap):
        f = wrap(lambda x: (F.sum(x), body(x)))
        return [], [lambda x=x: f(x.copy()) for x in arrays]
    check(make, mode)


def net():
    """A model of two layers, from 3 units to 4 to 2."""
    return hnn.Chain(a=L.Linear(3, 4), b=L.Linear(4, 2))


class Squared(hnn.FunctionNode):
    """A function of a program's own."""

    def forward(self, inputs):
        self.retain_inputs((0,))
        return inputs[0] * inputs[0],

    def backward(self, indexes, grads):
        x, = self.get_retained_inputs()
        return 2 * x * grads[0],


def arr(*shape, seed=0, dtype="float32"):
    """The same array every time."""
    return _drawn(shape, seed, dtype).copy()


@functools.lru_cache(4096)
def _drawn(shape, seed, dtype):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def var(*shape, seed=0, **options):
    """A Variable over ``arr``."""
    return hnn.Variable(arr(*shape, seed=seed), **options)


def skipped(world, mode, least=10):
    """In mode ``auto``, at least so many calls ran no Python."""
    assert world.total("python_skipped") >= (least if mode == "auto" else 0), world[0].explain()
