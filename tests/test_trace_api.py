"""The decorator and what hangs on it: forms, options, statistics, reports, log records."""
import ctypes
import functools
import itertools
import logging
import operator
import sys
import types

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.errors import RecordingForbidden

X = np.linspace(-1, 1, 12, dtype="f").reshape(3, 4)


@pytest.fixture(autouse=True)
def synchronous():
    with hnn.using_config("trace_compile", "sync"):
        yield


def hot(fn, *args, n=8, **kwargs):
    for _ in range(n):
        y = fn(*args, **kwargs)
    return y


class Holder:
    """All kinds of methods."""
    factor = 2.0

    @hnn.trace
    def method(self, x):
        return F.tanh(x) * self.factor

    @hnn.trace
    @staticmethod
    def under_static(x):
        return F.tanh(x) * 3

    @staticmethod
    @hnn.trace
    def over_static(x):
        return F.tanh(x) * 4

    @hnn.trace
    @classmethod
    def under_class(cls, x):
        return F.tanh(x) * cls.factor

    @classmethod
    @hnn.trace
    def over_class(cls, x):
        return F.tanh(x) * (cls.factor + 1)

    @hnn.trace
    @property
    def under_property(self):
        return F.tanh(X) * self.factor

    @property
    @hnn.trace
    def over_property(self):
        return F.tanh(X) * (self.factor + 2)


@pytest.mark.parametrize("name, factor", [("method", 2), ("under_static", 3), ("over_static", 4), ("under_class", 2), ("over_class", 3)])
def test_methods(name, factor):
    h = Holder()
    np.testing.assert_allclose(hot(getattr(h, name), X).array, np.tanh(X) * factor, rtol=1e-5)
    np.testing.assert_allclose(getattr(Holder, name)(*([h] if name == "method" else []), X).array, np.tanh(X) * factor, rtol=1e-5)


@pytest.mark.parametrize("name, factor", [("under_property", 2), ("over_property", 4)])
def test_properties(name, factor):
    h = Holder()
    for _ in range(8):
        np.testing.assert_allclose(getattr(h, name).array, np.tanh(X) * factor, rtol=1e-5)


def test_functions_lambdas_partials_links():
    def f(x, k=2.0):
        return F.tanh(x) * k
    link = L.Linear(4, 2)
    for traced, want in [(hnn.trace(f), f(X)),
                         (hnn.trace(lambda x: F.tanh(x)), F.tanh(X)), (hnn.trace(functools.partial(f, k=3.0)), f(X, 3.0)),
                         (functools.partial(hnn.trace(f), k=3.0), f(X, 3.0)), (hnn.trace(link), link(X)), (hnn.trace()(f), f(X)),
                         (hnn.trace(mode="verify", check=0.0, max_paths=3)(f), f(X)), (hnn.trace(hnn.trace(f)), f(X))]:
        np.testing.assert_allclose(hot(traced, X).array, want.array, rtol=1e-5)
    assert hnn.trace(link).__wrapped__ is link and hnn.trace(f).__wrapped__ is f


def test_bound_methods_and_links_skip_python():
    link = L.Linear(4, 2)
    for traced in (hnn.trace(link), hnn.trace(link.forward)):
        hot(traced, X)
        assert traced.stats.python_skipped > 0, traced.explain()


def test_names_and_attributes():
    def f(x, k: float = 2.0):
        """Says what it does."""
        return F.tanh(x) * k
    t = hnn.trace(f)
    assert (t.__name__, t.__qualname__, t.__doc__, t.__module__) == (f.__name__, f.__qualname__, f.__doc__, f.__module__)
    t.colour = "red"
    assert t.colour == "red" and "traced" in repr(t)


@pytest.mark.parametrize("mode", ["auto", "verify", "eager"])
def test_a_wrong_call_gives_pythons_own_text(mode):
    def f(x, k=2.0):
        return F.tanh(x) * k
    t = hnn.trace(f, mode=mode)
    for args, kwargs in [((), {}), ((X, 1, 2), {}), ((X,), {"other": 1}), ((X, 2), {"k": 1})]:
        for _ in range(2):
            with pytest.raises(TypeError) as want:
                f(*args, **kwargs)
            with pytest.raises(TypeError) as got:
                t(*args, **kwargs)
            assert str(got.value) == str(want.value)
            hot(t, X)


async def coroutine(x):
    return x


async def async_generator(x):
    yield x


def generator(x):
    yield x


class CalledInC:
    __call__ = len


@pytest.mark.parametrize("fn, told", [
    (np.dot, "dot is written in C"), (np.random.rand, "rand is written in C"), (operator.itemgetter(0), "itemgetter is written in C"),
    (functools.partial(len), "len is written in C"), (CalledInC(), "CalledInC is written in C"), (ctypes.pythonapi.Py_IsInitialized, "written in C"),
    (functools.partial(hnn.Chain, a=1), "Chain is a class, which partial calls"), (property(len), "len is written in C")])
def test_what_is_written_in_c_behind_other_callables(fn, told):
    with pytest.raises(TypeError, match=f"trace: .*{told}"):
        hnn.trace(fn)


def test_python_behind_other_callables():
    for fn in (functools.lru_cache(lambda x: F.tanh(x)), functools.partial(functools.partial(F.tanh))):
        np.testing.assert_allclose(hnn.trace(fn)(hnn.Variable(np.ones(3, "f"))).array, np.tanh(np.ones(3)), rtol=1e-5)
    assert hnn.trace(np.vectorize(np.tanh))(1.0) == np.tanh(1.0)


@pytest.mark.parametrize("key, value", [("trace", "fast"), ("trace", 1), ("trace_compile", "later"), ("trace_compile", None)])
def test_configuration_that_is_no_choice(key, value):
    f = hnn.trace(lambda x: F.tanh(x))
    with pytest.raises(ValueError, match=f"config.{key} is one of .*got {value!r}"), hnn.using_config(key, value):
        f(np.ones(3, "f"))
    with pytest.raises(ValueError, match=f"config.{key} is one of"):
        setattr(hnn.global_config, key, value)


@pytest.mark.parametrize("fn", [coroutine, async_generator, generator, Holder, np.tanh, len, 3, None.__class__, "text".upper, [].append])
def test_what_cannot_be_traced_is_refused_at_decoration(fn):
    with pytest.raises(TypeError, match="trace: "):
        hnn.trace(fn)


@pytest.mark.parametrize("options", [dict(mode="fast"), dict(mode=None), dict(max_paths=0), dict(max_paths=2.0), dict(max_paths=True),
                                     dict(check=2), dict(check=-0.1), dict(check="often"), dict(check=float("nan"))])
def test_unknown_options_raise_at_decoration(options):
    with pytest.raises(ValueError, match="trace: "):
        hnn.trace(**options)
    with pytest.raises(TypeError):
        hnn.trace(cached=True)


def test_configuration_overrides_the_mode():
    f = hnn.trace(lambda x: F.tanh(x))
    with hnn.using_config("trace", "eager"):
        hot(f, X)
    assert f.stats.recordings == 0 and f.stats.hits == 0
    with hnn.using_config("trace", "verify"):
        hot(f, X)
    assert f.stats.python_skipped == 0 and f.stats.hits > 0


def test_links_may_ask_for_their_array_module():
    class Net(hnn.Chain):
        def forward(self, x):
            return F.sum(self.layer(x)) if self.xp is np else None
    net = Net(layer=hnn.links.Linear(X.shape[1], 2))
    f = hnn.trace(lambda x: net(x) if net.device.name == "@numpy" else None)
    hot(f, X)
    assert f.stats.python_skipped > 0, f.explain()


def test_statistics():
    f = hnn.trace(lambda x: F.sum(F.tanh(F.matmul(x, W)) * 2 + 1))
    hot(f, X)
    s = f.stats
    assert (s.calls, s.recordings, s.paths, s.fallbacks, s.evictions) == (8, 1, 1, 0, 0)
    assert s.hits == 7 and 0 < s.python_skipped <= 6 and s.kernels >= 0 and s.compile_seconds > 0
    assert s.arena_bytes >= s.arena_lower_bound >= 0 and s.retained_bytes >= 0
    assert "hits=7" in str(s)


W = np.ones((4, 2), "f")


def test_statistics_are_kept_per_instance():
    a, b = Holder(), Holder()
    hot(a.method, X)
    assert a.method.stats.calls == 8 and b.method.stats.calls == 0 and a.method.stats is a.method.stats
    a.method.clear()
    assert a.method.stats.paths == 0 and "Holder.method" in str(a.method.explain())


def test_clear():
    f = hnn.trace(lambda x: F.tanh(x))
    hot(f, X)
    assert f.stats.paths == 1
    f.clear()
    assert f.stats.paths == 0 and not f.explain().paths and f.stats.retained_bytes == 0
    before = f.stats.recordings
    hot(f, X)
    assert (f.stats.recordings, f.stats.paths) == (before + 1, 1)


def test_error_on_record():
    f = hnn.trace(lambda x: F.tanh(x) if x.shape[0] > 2 else F.exp(x))
    with hnn.using_config("trace", "error_on_record"), pytest.raises(RecordingForbidden, match=r"test_trace_api.py:\d+"):
        f(X)
    hot(f, X)
    with hnn.using_config("trace", "error_on_record"):
        np.testing.assert_allclose(f(X).array, np.tanh(X), rtol=1e-5)
        with pytest.raises(RecordingForbidden, match=r"test_trace_api.py:\d+"):
            f(X[:2])
    assert f.stats.paths == 1


def test_configuration_read_inside_is_part_of_the_signature():
    f = hnn.trace(lambda x: F.tanh(x) * (3 if hnn.config.user_three else 1))
    for value, factor in [(True, 3), (False, 1), (True, 3)]:
        with hnn.using_config("user_three", value):
            for _ in range(8):
                np.testing.assert_allclose(f(X).array, np.tanh(X) * factor, rtol=1e-5)


# ---- saying why

def training(noisy):
    net = L.Linear(4, 2)
    opt = hnn.optimizers.Adam().setup(net)

    @hnn.trace
    def step(x):
        loss = F.sum(F.tanh(net(x)) ** 2)
        if noisy:
            print("loss")
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return step


def test_a_static_step_skips_python_and_explain_proves_it():
    step = training(False)
    hot(step, X, n=12)
    report = step.explain()
    assert step.stats.python_skipped > 0 and [p.tier for p in report.paths] == ["python skipped"]
    assert "python skipped" in str(report) and not report.paths[0].reason and report.paths[0].hits == step.stats.hits
    assert any(s.ops or s.name for segment in report.paths[0].segments for s in segment)


def test_explain_names_the_line_that_keeps_python_running(capsys):
    step = training(True)
    hot(step, X, n=12)
    line = training.__code__.co_firstlineno + 8
    report = step.explain()
    assert capsys.readouterr().out == "loss\n" * 12
    assert step.stats.python_skipped == 0 and report.paths[0].tier == "verified replay"
    assert "print" in report.paths[0].reason and f"{__file__}:{line}" in report.paths[0].reason and f":{line}" in str(report)


def test_explain_writes_signatures_as_users_would_and_says_what_repeats_once():
    @hnn.trace
    def f(x, state, scale=1.0, names=None):
        print(end="")
        return F.tanh(x) * scale
    a = np.ones((2, 3), "f")
    for _ in range(5):
        f(hnn.Variable(a), [a, a, (a[0],)], scale=2.0, names={"t": np.zeros(2, "i")})
    f(a, hnn.Variable(a, requires_grad=False))
    text = str(f.explain())
    assert "signature (Variable(float32[2, 3]), [2 times float32[2, 3], (float32[3],)], scale=float, names={'t': int32[2]})" in text
    assert "signature (float32[2, 3], Variable(float32[2, 3], requires_grad=False))" in text
    assert text.count("calls print, whose effects are not known") == 2 and "times)" in text       # why the path keeps Python, and once what happened


def test_explain_shows_branches():
    f = hnn.trace(lambda x: x * 2 if F.sum(x) > 0.5 else x * 3)
    for _ in range(8):
        f(X + 1)
        f(X - 1)
    report = f.explain()
    assert len(report.paths) == 2 and {o[1][1] for p in report.paths for o in p.outcomes} == {"True", "False"}
    assert all(f"{__file__}:" in o[2] for p in report.paths for o in p.outcomes)


def test_explain_shows_all_segments_of_a_path_without_python():
    """They were the first one's only, of a plan that never ran with Python."""
    f = hnn.trace(lambda x: F.exp(x) * 2 if F.sum(F.tanh(x)) > -1e9 else x)
    hot(f, X, n=12)
    path, = f.explain().paths
    assert path.tier == "python skipped" and len(path.segments) == len(path.memory) == 2
    assert {op for s in path.segments[-1] for op in s.ops or (s.name,)} == {"exp", "mul"}


def records(caplog, text):
    return [r for r in caplog.records if r.name == "hybridnn.trace" and text in r.getMessage()]


def test_log_records(caplog):
    caplog.set_level(logging.DEBUG, logger="hybridnn.trace")
    scale = 2.0

    def f(x, up):
        return F.tanh(x) * scale if up else F.exp(x) * scale
    t = hnn.trace(f, max_paths=2)
    hot(t, X, True)
    assert len(records(caplog, "recorded")) == 1 and "f: recorded" in records(caplog, "recorded")[0].getMessage()
    assert records(caplog, "python is skipped")
    hot(t, X, False)
    assert records(caplog, "left a known path") or len(records(caplog, "recorded")) == 2
    hot(t, X[:2], True)
    assert records(caplog, "evicted") and t.stats.evictions == 1
    scale = F.tanh
    with pytest.raises(TypeError):
        hot(t, X[:2], True)


def test_log_names_the_guard_that_failed(caplog):
    caplog.set_level(logging.DEBUG, logger="hybridnn.trace")
    act = F.tanh
    f = hnn.trace(lambda x: act(x) * 2)
    hot(f, X)
    act = F.exp
    np.testing.assert_allclose(hot(f, X).array, np.exp(X) * 2, rtol=1e-5)
    assert any("rebound" in r.getMessage() for r in records(caplog, "guard failed"))


def test_log_says_why_a_function_runs_eagerly(caplog):
    caplog.set_level(logging.DEBUG, logger="hybridnn.trace")
    f = hnn.trace(lambda x: F.tanh(x) * 2)
    hot(f, X.astype(">f4"))
    found = records(caplog, "runs eagerly")
    assert len(found) == 1 and "dtype >f4" in found[0].getMessage() and __file__ in found[0].getMessage()
    assert f.explain().eager and "dtype >f4" in str(f.explain())


def sources_of(traced):
    """The texts of all kernels behind a traced function."""
    return "\n".join(text for s in traced._memory.segments for text in s.executable.sources)


@pytest.mark.parametrize("fn", [lambda x: F.sum(x ** 2), lambda x: F.sum(2 * x + x ** 2), lambda x: F.sum(x ** 2) * 2])
def test_a_constant_exponent_is_a_product_in_the_kernel(fn):
    """Also where the same number is a factor elsewhere."""
    f = hnn.trace(fn)
    hot(f, hnn.Variable(X))
    assert f.stats.python_skipped
    assert "power_f32" not in sources_of(f)


def test_an_exponent_that_changes_becomes_an_argument():
    @hnn.trace
    def f(x, k):
        y = F.sum((x * x + 1) ** k)
        y.backward()
        return y
    for k in (2, 3, 0.5, 1.5, 2, *np.linspace(-2, 3, 20).tolist()):
        x, z = hnn.Variable(X.astype("d")), hnn.Variable(X.astype("d"))
        y, want = f(x, k), F.sum((z * z + 1) ** k)
        want.backward()
        np.testing.assert_allclose([y.array], [want.array], rtol=1e-12)
        np.testing.assert_allclose(x.grad, z.grad, rtol=1e-12)
    assert f.stats.paths <= 5, f.explain()


def test_callbacks_of_the_garbage_collector_are_no_part_of_the_function():
    import gc
    heard, before = [], gc.get_threshold()

    def note(text):
        heard.append(text)

    def listen(phase, info):
        note(phase)
    f = hnn.trace(lambda x: F.sum(F.tanh(x) * [1.0, 2.0, 3.0, 4.0][2]))
    gc.callbacks.append(listen)
    gc.set_threshold(1)
    try:
        hot(f, hnn.Variable(X))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(listen)
    assert heard and f.stats.python_skipped > 0, f.explain()


@pytest.mark.parametrize("skipping, eager, rests, most", [(3e-6, 1e-6, True, 16), (0.6e-6, 1e-6, True, 16), (0.4e-6, 1e-6, False, 16), (4e-6, 20e-6, False, 3)])
@pytest.mark.parametrize("body", [lambda x: F.tanh(x), lambda x: F.sum(F.tanh(x * 2 + 1) * F.sigmoid(x) / (x ** 2 + 1))])
def test_plans_and_functions_are_timed_in_a_row(monkeypatch, body, skipping, eager, rests, most):
    """A plan is called some times, and then the function as often, each as in a loop of its own; what surrounds a plan counts. Where eager calls take far
    longer, a few are enough."""
    running, readings = sys.modules["hybridnn.trace.running"], itertools.count()
    turns = running.COMPARED_IN_A_ROW

    def clock():
        pair, end = divmod(next(readings), 2)
        return pair + end * (skipping if pair < turns else eager)
    f = hnn.trace(body)
    hot(f, X)
    monkeypatch.setattr(running, "time", types.SimpleNamespace(perf_counter=clock))
    before = f.stats.python_skipped
    for _ in range(running.COMPARE_PLAN_AFTER + 2 * turns + 50):
        f(X)
    assert next(readings) == 2 * (turns + most)
    assert (f.stats.python_skipped - before < running.COMPARE_PLAN_AFTER + turns) is rests
    assert any("runs eagerly" in kind for kind, _ in f._memory.why) is rests
    before = next(readings)
    for _ in range(running.COMPARE_AGAIN * running.SELDOM):
        f(X)
    assert (next(readings) > before + 1) is (not rests and most == turns)     # what was no clear case is timed again


def test_plans_that_work_on_much_memory_are_not_timed(monkeypatch):
    """An eager call would need as much besides what the plan keeps."""
    running = sys.modules["hybridnn.trace.running"]
    monkeypatch.setattr(running, "LARGE_ARENA", 16)
    W = hnn.Parameter(np.ones((X.shape[-1], 8), "f"))

    @hnn.trace
    def f(x):
        return F.sum(F.tanh(F.matmul(F.exp(x), W)))
    hot(f, X)
    skipped = f.stats.python_skipped
    for _ in range(running.COMPARE_PLAN_AFTER + 50):
        f(X)
    assert f.stats.python_skipped == skipped + running.COMPARE_PLAN_AFTER + 50 and f.stats.arena_bytes >= 16
