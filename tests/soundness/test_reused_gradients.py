"""New gradients are computed where the old ones lie only if nobody can tell: whoever has an old gradient keeps it, and an exception leaves it as it was."""
import contextlib
import threading
import time
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest
from at_once import at_once

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

UNITS, BATCH = 160, 8      # a weight of 100 kB: large enough to be given out again
HOT = 10


@pytest.fixture(autouse=True)
def warnings_only_warn():
    """Where floating-point warnings are exceptions, nothing is reused."""
    with warnings.catch_warnings(), hnn.using_config("trace_compile", "sync"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


class Training:
    """A step of a network with large weights, traced or not; both begin with the same parameters."""

    def __init__(self, wrap, order="forward, clear, backward"):
        np.random.seed(0)
        self.net = hnn.Sequential(L.Linear(UNITS, UNITS), F.tanh, L.Linear(UNITS, UNITS))
        self.optimizer = hnn.optimizers.SGD(0.1).setup(self.net)
        self.weight = self.net[0].W
        self.order = order
        rng = np.random.default_rng(1)
        self.x, self.t = rng.normal(size=(BATCH, UNITS)).astype("f"), rng.integers(0, UNITS, BATCH).astype("i")
        self.step = wrap(self.run)

    def loss(self, x, t):
        return F.softmax_cross_entropy(self.net(x), t)

    def run(self, x, t):
        if self.order == "clear, forward, backward":
            self.net.cleargrads()
        loss = self.loss(x, t)
        if self.order == "forward, clear, backward":
            self.net.cleargrads()
        loss.backward()
        if self.order == "two losses":
            self.loss(x * 2, t).backward()
        self.optimizer.update()
        if self.order == "clear at the end":
            self.net.cleargrads()
        return loss

    def __call__(self, x=None, t=None):
        return self.step(self.x if x is None else x, self.t if t is None else t)

    def gradients(self):
        return [None if p.grad is None else p.grad.copy() for p in self.net.params()]


def worlds(order="forward, clear, backward", kind=Training):
    """An eager and a traced training that have done the same hot steps; the latter skips Python."""
    eager, traced = kind(lambda f: f, order), kind(hnn.trace, order)
    for _ in range(HOT):
        eager()
        traced()
    assert traced.step.stats.python_skipped > 2, traced.step.explain()
    return eager, traced


def same(eager, traced):
    np.testing.assert_allclose(traced.weight.array, eager.weight.array, rtol=1e-4, atol=1e-5)
    for want, got in zip(eager.gradients(), traced.gradients(), strict=True):
        assert (want is None) is (got is None)
        if want is not None:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def skips(traced, **more):
    before = traced.step.stats.python_skipped
    result = traced(**more)
    assert traced.step.stats.python_skipped == before + 1, traced.step.explain()
    return result


@pytest.mark.parametrize("order", ["forward, clear, backward", "clear, forward, backward"])
def test_the_memory_of_a_gradient_that_nobody_holds_is_used_again(order):
    eager, traced = worlds(order)
    places = {traced.weight.grad.ctypes.data}
    for _ in range(5):
        eager()
        skips(traced)
        places.add(traced.weight.grad.ctypes.data)
    assert len(places) == 1
    same(eager, traced)


def generator(a):
    yield
    yield a


def started(a):
    it = generator(a)
    next(it)
    return it


HOLDERS = {
    "a name": lambda a: a,
    "a container": lambda a: {"kept": [a]},
    "a view": lambda a: a[1:3],
    "a view of a view": lambda a: a.T[1:][:, ::2],
    "a buffer": memoryview,
    "a closure": lambda a: lambda: a,
    "a generator": started,
    "a Variable": lambda a: hnn.Variable(a),
    "an iterator": lambda a: a.flat,
    "an object of ctypes": lambda a: np.ctypeslib.as_ctypes(a),
    "a slice of an object": lambda a: np.asarray(memoryview(a)),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS.keys())
def test_who_holds_a_gradient_keeps_its_values(holder):
    eager, traced = worlds()
    g = traced.weight.grad
    before, place = g.copy(), g.ctypes.data
    held = holder(g)
    del g
    for _ in range(3):
        eager()
        skips(traced)
    assert traced.weight.grad.ctypes.data != place
    same(eager, traced)
    if isinstance(held, np.ndarray) and held.shape == before.shape:
        np.testing.assert_array_equal(held, before)
    del held
    skips(traced)


def test_the_values_that_a_view_shows_stay():
    eager, traced = worlds()
    view = traced.weight.grad[2:5].T
    before = view.copy()
    eager()
    skips(traced)
    np.testing.assert_array_equal(view, before)
    same(eager, traced)


def test_the_variable_of_a_gradient_stays():
    eager, traced = worlds()
    held = traced.weight.grad_var
    before = held.array.copy()
    for _ in range(2):
        eager()
        skips(traced)
    np.testing.assert_array_equal(held.array, before)
    same(eager, traced)


def test_a_gradient_of_two_variables_stays():
    eager, traced = worlds()
    other = hnn.Parameter(np.zeros((UNITS, UNITS), "f"))
    other.grad = traced.weight.grad
    before = other.grad.copy()
    eager()
    skips(traced)
    np.testing.assert_array_equal(other.grad, before)
    same(eager, traced)


def test_a_weak_reference_ends_as_it_does_in_python():
    eager, traced = worlds()
    ends = []
    refs = [weakref.ref(w.weight.grad, lambda _, w=w: ends.append(w)) for w in (eager, traced)]
    eager()
    skips(traced)
    assert [r() for r in refs] == [None, None] and ends == [eager, traced]
    same(eager, traced)


def odd(a, how):
    """An array with the values of ``a`` that is not like a new one."""
    if how == "read-only":
        a = a.copy()
        a.flags.writeable = False
        return a
    if how == "columns first":
        return np.asfortranarray(a)
    if how == "not its own memory":
        return np.frombuffer(bytearray(a.tobytes()), a.dtype).reshape(a.shape)
    return np.ascontiguousarray(np.stack([a, a], -1))[..., 0] if how == "with gaps" else a.copy()


@pytest.mark.parametrize("how", ["read-only", "columns first", "not its own memory", "with gaps", "the user's own"])
def test_gradients_that_are_not_like_new_ones(how):
    eager, traced = worlds()
    for w in (eager, traced):
        w.weight.grad = odd(w.weight.grad, how)
    for _ in range(2):
        eager()
        skips(traced)
        assert traced.weight.grad.flags.c_contiguous and traced.weight.grad.flags.writeable and traced.weight.grad.base is None
        same(eager, traced)


def test_no_gradient_before_the_call():
    eager, traced = worlds()
    for w in (eager, traced):
        w.net.cleargrads()
        w.net[2].b.grad = np.ones(UNITS, "f")
    eager()
    skips(traced)
    same(eager, traced)


@pytest.mark.parametrize("order", ["forward, clear, backward", "clear, forward, backward"])
def test_an_exception_leaves_gradients_as_python_does(order):
    eager, traced = worlds(order)
    bad = eager.t.copy()
    bad[3] = UNITS + 7
    olds, errors = [w.weight.grad for w in (eager, traced)], []
    values = [g.copy() for g in olds]
    places = [g.ctypes.data for g in olds]
    del olds
    for w in (eager, traced):
        with pytest.raises(ValueError) as caught:
            w(t=bad)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    for w, value, place in zip((eager, traced), values, places, strict=True):
        if order == "clear, forward, backward":
            assert w.weight.grad is None
        else:
            assert w.weight.grad.ctypes.data == place
            np.testing.assert_array_equal(w.weight.grad, value)
    same(eager, traced)
    eager()
    skips(traced)
    same(eager, traced)


@pytest.mark.parametrize(("where", "raises"), [("forward", "a filter of warnings"), ("forward", "errstate"), ("forward", "nothing"),
                                               ("backward", "errstate"), ("backward", "nothing")])
def test_floating_point_errors_leave_gradients_as_python_does(where, raises):
    class Exploding(Training):
        def loss(self, x, t):
            return super().loss(F.exp(x), t) if where == "forward" else super().loss(x, t)

    eager, traced = worlds("forward, clear, backward", Exploding)
    values, x, how = [w.weight.grad.copy() for w in (eager, traced)], eager.x.copy(), "raise" if raises == "errstate" else "warn"
    x[0, 0] = 100 if where == "forward" else np.inf
    for w in (eager, traced):
        with warnings.catch_warnings(), np.errstate(over=how, invalid=how):
            if raises == "a filter of warnings":
                warnings.simplefilter("error", RuntimeWarning)
            with contextlib.nullcontext() if raises == "nothing" else pytest.raises((RuntimeWarning, FloatingPointError)):
                w(x)
    if where == "forward" and raises != "nothing":
        for w, value in zip((eager, traced), values, strict=True):
            np.testing.assert_array_equal(w.weight.grad, value)
    same(eager, traced)


@pytest.mark.parametrize("order", ["no clearing", "two losses", "clear at the end"])
def test_gradients_that_are_added_to(order):
    eager, traced = Training(lambda f: f, order), Training(hnn.trace, order)
    for _ in range(HOT):
        eager()
        traced()
        same(eager, traced)


def test_a_gradient_that_the_step_returns_is_the_callers():
    class Shown(Training):
        def run(self, x, t):
            super().run(x, t)
            return self.weight.grad

    eager, traced = Shown(lambda f: f), Shown(hnn.trace)
    kept = [(eager(), traced()) for _ in range(HOT)]
    assert traced.step.stats.python_skipped > 2, traced.step.explain()
    for want, got in kept:
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert len({id(got) for _, got in kept}) == HOT
    assert traced.weight.grad is kept[-1][1]


def test_two_paths_take_turns():
    class Branching(Training):
        def run(self, x, t):
            loss = self.loss(x, t)
            self.net.cleargrads()
            if float(loss.array) > self.limit:
                loss = loss * 2
            loss.backward()
            self.optimizer.update()
            return loss
        limit = 0.0

    eager, traced = Branching(lambda f: f), Branching(hnn.trace)
    for k in range(40):
        for w in (eager, traced):
            w.limit = 1e9 if k % 3 == 0 and k > 12 else 0.0
            w()
        same(eager, traced)


def test_python_that_runs_again_takes_turns_with_plans():
    eager, traced = worlds()
    for k in range(12):
        eager()
        with hnn.using_config("trace", ("auto", "verify", "eager")[k % 3]):
            traced()
        same(eager, traced)


def test_another_thread_never_sees_a_gradient_change():
    _, traced = worlds()
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            g = traced.weight.grad
            if g is None:
                continue
            before = g.copy()
            time.sleep(0)
            if not np.array_equal(before, g):
                seen.append("changed")
    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(200):
        traced()
    stop.set()
    thread.join()
    assert not seen


def test_threads_that_train_one_model_do_not_share_a_gradient():
    _, traced = worlds()
    errors = []

    def train(_):
        try:
            for _ in range(50):
                traced()
        except Exception as error:
            errors.append(error)
    at_once(train, range(3))
    assert not errors
    grads = [p.grad for p in traced.net.params()]
    assert all(g is not None for g in grads) and not any(np.shares_memory(a, b) for k, a in enumerate(grads) for b in grads[:k])


def test_a_checked_call_compares_the_gradients_from_before():
    eager, traced = Training(lambda f: f), Training(lambda f: hnn.trace(f, check=0.5))
    for _ in range(30):
        eager()
        traced()
    same(eager, traced)


def test_gradients_are_held_once(executor):
    _, traced = worlds()
    tracemalloc.start()
    try:
        traced()
        traced()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        traced()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < traced.weight.grad.nbytes * 3 // 2 if executor == "native" else 3 * traced.weight.grad.nbytes
