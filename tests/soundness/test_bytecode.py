"""Statements that versions of CPython compile in different ways: comprehensions, conditions, calls, functions made in functions, slices, texts, generators."""
import sys
import threading

import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.trace import proving
from hybridnn.trace.observe_later import LaterObserver

pytestmark = pytest.mark.parametrize("mode", MODES)


def skips(make, mode):
    traces = check(make, mode)
    assert mode != "auto" or traces.total("python_skipped") > 4, traces[0].explain()


def variables_of_comprehensions(x, n):
    m = 3.0

    def outer(z):
        return z * m
    ys = [F.exp(x) * m for m in (1.0, 2.0)]
    fs = [(lambda z: z * m * n) for m in (4.0, 5.0)]        # noqa: B023
    n = [n for n in (n, n + 1)][1]
    grid = [[u * v for u in ys if u is not ys[1]] for v in (1.0, 2.0)]
    named = {k: v for k, v in zip("ab", ys)}
    return outer(ys[0]), fs[0](ys[1]), grid[1][0], named["b"] * n, m


def conditions(x, n):
    s = F.sum(x)
    no, both = not s, n and n > 2
    y = F.tanh(x) if n and s > 0 else F.exp(x)
    if not (n is None or s < 1) and x.shape[0]:
        y = y * 2
    while n > 1 or not n:
        n = n - 1 if n else 1
    for k in range(3):
        if k == 1 and n is not None:
            continue
        y += k
    return y, no, both, 1 if not s else 2, not y.shape, n == 1 != s


def calls(x, n):
    def f(a, b=2.0, *rest, c, d=None, **more):
        return a * b * c * (3.0 if d is None else d) * len(rest) + len(more), d
    given, named = (F.exp(x), 3.0, 4), {"d": 2.0, "e": 5}
    return (f(*given, c=n), f(*given, c=n, **named), f(given[0], *[1, 2], c=1.5), f(x, c=n, f=1), (lambda *a: a[0] * len(a))(x, *given),
            +F.sin(x), given[0].reshape((-1,)), F.concat([*given[:1], x], axis=0), (*given[1:], n))


def functions_made(x, n):
    def scaled(by=n, *, k=None):
        def inner(z: float, *, extra=by) -> float:
            return z * extra + (1.0 if k is None else k), k
        return inner
    total = 0.0

    def add(v):
        nonlocal total
        total = total + v
        return total
    return scaled()(x), scaled(2.0, k=3.0)(F.exp(x)), scaled(k=False)(x, extra=n), add(F.sum(x)), add(F.sum(x)), total * n


def slices_and_texts(x, n):
    y, box = F.exp(x), [1, 2, 3, 4]
    head, *middle, last = box
    text = f"{n} {n!r:>5} {len(box):03d}{'a'}{box[1:3][0]!s}"
    return y[1:], y[:2] * n, box[n:], box[:-1], x.shape[:1], y[::2], head * y, middle, last, text, {**{"t": text}, "n": n}


def generators(x, n):
    def gen(m):
        yield F.exp(x) * m
        got = yield F.exp(x)
        yield F.cos(x) if got is None else F.sin(x)

    def both():
        r = yield from gen(n)
        yield F.tanh(x) * (n if r is None else r)
    first = next(gen(2.0))
    for y in gen(3.0):
        if y.shape:
            break
    rest = [u + v for u, v in zip(both(), [1, 2, 3, 4])]
    return first, y, rest, sum(g * 2 for g in both()), any(k > n for k in range(3)), tuple(gen(n))[2]


@pytest.mark.parametrize("body", [variables_of_comprehensions, conditions, calls, functions_made, slices_and_texts, generators])
def test_statements(mode, body):
    def make(wrap):
        f = wrap(body)
        return [], [lambda: f(arr(3), 2), lambda: f(arr(3) - 9, 2), lambda: f(arr(3), 3), lambda: f(arr(4), 2)]
    skips(make, mode)


def values_of_generators(x, n):
    def gen():
        yield F.exp(x)
        return n

    def both():
        r = yield from gen()
        yield F.tanh(x) * r
        return r
    return [y for y in both()], [y for y in gen()]


def test_values_of_generators(mode):
    def make(wrap):
        f = wrap(values_of_generators)
        return [], [lambda: f(arr(3), 2), lambda: f(arr(3), 3)]
    (skips if sys.version_info >= (3, 12) else check)(make, mode)


class Base(hnn.Chain):
    def forward(self, x):
        return F.exp(x) * 2

    @property
    def twice(self):
        return self.forward(self.forward(arr(2)))


class Derived(Base):
    def forward(self, x):
        return super().forward(x) + 1


def test_methods_of_the_base_class(mode):
    def make(wrap):
        link = Derived()
        f, g = wrap(lambda x: link(x) * 2), wrap(lambda: link.twice)
        return link, [lambda: f(arr(3)), g, lambda: f(arr(4))]
    check(make, mode)


def steps(x):
    n = 0
    for k in [1, 2, 3]:
        n = n + k
    return F.exp(x) * n


if sys.version_info >= (3, 12):         # before, CPython shows every instruction
    def test_instructions_that_are_not_seen(mode, monkeypatch):
        """Wherever some are missed, be it a whole turn of a loop, no proof is made without them."""
        class Blind(LaterObserver):
            at, hidden = 0, range(0)

            def on_event(self, frame, event, arg):
                if event == "opcode":
                    type(self).at += 1
                    if self.at in self.hidden:
                        return self.on_event
                return super().on_event(frame, event, arg)

        def skipped(hidden):
            Blind.at, Blind.hidden = 0, hidden
            f = hnn.trace(steps, mode=mode)
            for _ in range(3):
                np.testing.assert_allclose(f(arr(3)).array, np.exp(arr(3)) * 6, rtol=1e-6)
            return f.stats.python_skipped
        monkeypatch.setattr(proving, "observer_type", lambda: Blind)
        assert skipped(range(0)) == (mode == "auto")
        seen = Blind.at
        assert mode != "auto" or seen > 30
        for n in [1, 2, 3, 6, 7, 8, 9, 14, 16, 18]:
            assert not any(skipped(range(k, k + n)) for k in range(1, seen + 1))

    def test_tools_that_watch(mode):
        """While somebody else may be told what runs, no proof is made."""
        f, x, told = hnn.trace(steps, mode=mode), arr(3), []
        sys.monitoring.use_tool_id(3, "test")
        try:
            sys.monitoring.register_callback(3, sys.monitoring.events.PY_START, lambda code, offset: told.append(code))
            sys.monitoring.set_local_events(3, steps.__code__, sys.monitoring.events.PY_START)
            for _ in range(6):
                np.testing.assert_allclose(f(x).array, np.exp(x) * 6, rtol=1e-6)
        finally:
            sys.monitoring.set_local_events(3, steps.__code__, 0)
            sys.monitoring.free_tool_id(3)
        assert len(told) == 6 and f.stats.python_skipped == 0
        for _ in range(6):
            f(x)
        assert (f.stats.python_skipped > 0) is (mode == "auto")


def test_another_thread_runs_the_same_code(mode):
    """Where instructions are shown for code and not for threads, a proof may fail, and nothing else."""
    f, x, done = hnn.trace(steps, mode=mode), arr(3), threading.Event()

    def run():
        while not done.is_set():
            steps(x)
    other = threading.Thread(target=run)
    other.start()
    try:
        for _ in range(30):
            np.testing.assert_allclose(f(x).array, np.exp(x) * 6, rtol=1e-6)
    finally:
        done.set()
        other.join()


def test_another_thread_is_traced(mode):
    """A debugger in another thread, which asks for every instruction, neither sees this thread's nor disturbs it."""
    x, traced, done, seen = arr(3), threading.Event(), threading.Event(), set()

    def tracer(frame, event, arg):
        frame.f_trace_opcodes = True
        seen.add(threading.get_ident())
        return tracer

    def run():
        sys.settrace(tracer)
        traced.set()
        while not done.is_set():
            steps(x)
        sys.settrace(None)
    other = threading.Thread(target=run)
    other.start()
    try:
        traced.wait()
        for _ in range(4):
            f = hnn.trace(steps, mode=mode)
            for _ in range(5):
                np.testing.assert_allclose(f(x).array, np.exp(x) * 6, rtol=1e-6)
    finally:
        done.set()
        other.join()
    assert seen == {other.ident}


def test_a_program_is_run_again(mode):
    """As a cell of a notebook is: its code is equal to the code before, but its inner functions are others."""
    def make(wrap):
        source = "import functools\ndef step(x):\n    y = F.tanh(x)\n    return functools.reduce(lambda a, b: a + b, [y, x, y])\n"
        scope, again = {"F": F}, {"F": F}
        exec(source, scope)
        exec(source, again)
        first, second = wrap(scope["step"]), wrap(again["step"])
        return [], [lambda: first(var(3)), lambda: second(var(3))]
    assert all(t.stats.python_skipped for t in check(make, mode)) or mode == "verify"
