"""NumPy's floating-point warnings are part of what a function does: a compiled call gives the same categories."""
import sys
import warnings

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.jit import executable
from hybridnn.trace import running

GOOD, ZERO = np.array([1.0, 2.0], "f"), np.array([0.0, 2.0], "f")


def categories(fn, x):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn(x)
    return [w.category for w in caught]


def warmed(fn):
    traced = hnn.trace(fn)
    for _ in range(6):
        traced(GOOD)
    return traced


def test_a_warning_comes_on_every_call_that_earns_one():
    def fn(x):
        return F.log(x) * 2
    traced = warmed(fn)
    for x in (ZERO, GOOD, ZERO):
        assert categories(traced, x) == categories(fn, x)


def test_errstate_decides():
    traced = warmed(lambda x: F.sum(F.log(x)))
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        traced(ZERO)
    with np.errstate(divide="ignore"):
        assert categories(traced, ZERO) == []


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus", "erf", "relu"])
@pytest.mark.parametrize("special", [-np.inf, np.inf, np.nan, -300.0, 1e-42])
def test_kernels_raise_no_flags_of_their_own(name, special):
    f = getattr(F, name)
    x = np.array([special, 1.0], "f")
    traced = warmed(lambda x: f(x) + 1)
    assert categories(traced, x) == categories(lambda x: f(x) + 1, x)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("exponent", [2.0, 5.0, 2.5, 0.5, -1.0, 0.0])
def test_powers_of_zero_and_of_negative_numbers(exponent, dtype, monkeypatch):
    """They raise the flags that NumPy's power raises, and no others: a call whose flags mean nothing runs twice."""
    told = []
    monkeypatch.setattr(executable.Executable, "_floats", spied(executable.Executable._floats, told))
    fn = lambda x, e: hnn.as_variable(x) ** e
    e = np.full(2, exponent, dtype)
    traced = hnn.trace(fn)
    for base in (1.0, 0.0, -0.0, -1.5, 1e-30, -1e-30, 0.0, 2.0):
        x = np.array([base, 1.0], dtype)
        for _ in range(3):
            assert categories(lambda x: traced(x, e), x) == categories(lambda x: fn(x, e), x)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(traced(x, e).array, fn(x, e).array, rtol=1e-6)
    assert bool(told) == (exponent in (2.5, 0.5, -1.0))


def test_what_warns_on_every_call_does_not_run_natively_besides(monkeypatch):
    """It would take twice as long as eager; native code is tried again now and then."""
    told = []
    monkeypatch.setattr(executable.Executable, "_floats", spied(executable.Executable._floats, told))
    monkeypatch.setattr(running, "COMPARE_PLAN_AFTER", sys.maxsize)      # which would find that eager calls are faster here
    fn = lambda x: F.log(x) * 2
    traced, expected = warmed(fn), categories(fn, ZERO)
    for _ in range(3 * executable.TOLD_AGAIN):
        assert categories(traced, ZERO) == expected
    assert len(told) <= executable.TOLD + 4
    before = len(told)
    for _ in range(executable.TOLD_AGAIN):
        np.testing.assert_array_equal(traced(GOOD).array, fn(GOOD).array, strict=True)
    assert categories(traced, ZERO) == expected
    assert len(told) == before + 1


def spied(method, calls):
    def spy(*args):
        calls.append(args)
        return method(*args)
    return spy


def test_a_step_that_divides_by_zero_changes_the_same():
    """Flags before the first write: the whole step runs in NumPy, updates included."""
    def make(wrap):
        np.random.seed(0)
        net = L.Linear(2, 1)
        optimizer = hnn.optimizers.SGD(0.1).setup(net)

        def step(x):
            loss = F.sum(net(x[None])) + F.sum(F.log(x))
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss
        return net, wrap(step)
    (net_e, eager), (net_t, traced) = make(lambda f: f), make(hnn.trace)
    for x in [GOOD] * 6 + [ZERO, GOOD, ZERO]:
        assert categories(eager, x) == categories(traced, x)
        np.testing.assert_allclose(net_e.W.array, net_t.W.array, rtol=1e-6)




def test_what_is_nan_already_is_compared_without_a_warning():
    """CPUs raise a flag then, which NumPy does not mind, also behind an update that the rest of the step does not wait for."""
    def make(wrap):
        np.random.seed(0)
        net = hnn.Chain()
        with net.init_scope():
            net.linear, net.p = L.Linear(4, 4), hnn.Parameter(np.ones((2, 4), "f"))
        optimizer = hnn.optimizers.NesterovAG(0.01).setup(net)

        @wrap
        def step(x):
            loss = F.mean(F.tanh(x) * F.relu(F.tanh(net.linear(x)))) + F.sum(net.p * net.p) * 0.1
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss
        return net, step
    (net_e, eager), (net_t, traced) = make(lambda f: f), make(hnn.trace)
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("f")
    for k in range(14):
        if k == 8:
            for net in (net_e, net_t):
                net.linear.W.array[...] = net.p.array[...] = np.nan
        assert categories(eager, x) == categories(traced, x) == [], k
        np.testing.assert_allclose(net_t.linear.W.array, net_e.linear.W.array, rtol=1e-5)
    assert traced.stats.python_skipped > 5


LINEAR = {"relu": lambda net, x: F.sum(net.b(F.relu(net.a(x)))), "tanh": lambda net, x: F.sum(net.b(F.tanh(net.a(x)))),
          "parameters": lambda net, x: F.sum(F.maximum(net.a.b, 0.5)) + F.sum(F.clip(net.b.W, -1.0, 1.0)) + F.sum(net.a(x)),
          "max": lambda net, x: F.max(net.a.W)}


@pytest.mark.parametrize("hook", [None, lambda: hnn.optimizer_hooks.GradientHardClipping(-1, 1), lambda: hnn.optimizer_hooks.Lasso(0.1)])
@pytest.mark.parametrize("optimizer", [hnn.optimizers.SGD, hnn.optimizers.Adam])
@pytest.mark.parametrize("loss_of", LINEAR)
def test_what_is_compared_just_before_an_update(loss_of, optimizer, hook):
    """Where the gradient does not wait for the loss, one kernel could do all of it."""
    def make(wrap):
        np.random.seed(3)
        net = hnn.Chain(a=L.Linear(3, 4), b=L.Linear(4, 2))
        updates = optimizer(0.1).setup(net)
        if hook is not None:
            updates.add_hook(hook())

        @wrap
        def step(x):
            loss = LINEAR[loss_of](net, x)
            net.cleargrads()
            loss.backward()
            updates.update()
            return loss
        return net, step
    for put in ("a", "b", None):
        worlds = [make(lambda fn: fn), make(hnn.trace)]
        with hnn.using_config("trace_compile", "sync"):
            for k in range(9):
                x = np.random.default_rng(k).normal(size=(5, 3)).astype("f")
                if k == 6 and put is None:
                    x[1] = np.nan
                for net, _ in worlds:
                    if k == 6 and put is not None:
                        getattr(net, put).W.array[1] = getattr(net, put).b.array[1] = np.nan
                assert [kinds(step, x) for _, step in worlds] == [set(), set()], (put, k)
        assert worlds[1][1].stats.python_skipped > 5


def updating(wrap, behind, optimizer):
    """A net and a step that goes on behind its update."""
    np.random.seed(3)
    net = hnn.Chain(a=L.Linear(3, 4), b=L.Linear(4, 2))
    updates = optimizer(0.1).setup(net)

    def loss_of(x):
        return F.mean(net.b(F.relu(net.a(x))) ** 2)

    def step(x):
        loss = loss_of(x)
        net.cleargrads()
        loss.backward()
        updates.update()
        return loss, behind(net, x, loss, loss_of)
    return net, wrap(step)


def again(net, x, loss, loss_of):
    net.cleargrads()
    second = loss_of(x * 2)
    second.backward()
    return second, [np.sign(p.grad) for p in net.params()]


BEHIND = {
    "relu": lambda net, x, loss, loss_of: F.relu(net.b(F.relu(net.a(x)))) + loss, "sum": lambda net, x, loss, loss_of: F.sum(net.a.W * 2),
    "maximum": lambda net, x, loss, loss_of: (F.maximum(net.a(F.tanh(x)), 0.0), F.max(net.b.W)), "again": again,
    "division": lambda net, x, loss, loss_of: net.a.W / (net.a.W - net.a.W), "logarithm": lambda net, x, loss, loss_of: F.log(F.relu(net.a(x)) * 0),
}


def kinds(fn, x):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fn(x)
    return {str(w.message).split(" encountered")[0] for w in caught}


@pytest.mark.parametrize("mode", ["auto", "verify"])
@pytest.mark.parametrize("optimizer", [hnn.optimizers.SGD, hnn.optimizers.MomentumSGD, hnn.optimizers.Adam])
@pytest.mark.parametrize("behind", BEHIND)
def test_what_is_computed_behind_an_update_warns_as_it_does(behind, optimizer, mode):
    """Of NaN that were there before nobody warns; flags that come up behind an update, which CPUs raise for those too, are asked about."""
    for put in (("b", np.nan), ("b", np.inf), ("a", np.nan), ("a", -np.inf)):
        worlds = [updating(wrap, BEHIND[behind], optimizer) for wrap in (lambda fn: fn, lambda fn: hnn.trace(fn, mode=mode))]
        with hnn.using_config("trace_compile", "sync"):
            for k in range(9):
                for net, _ in worlds:
                    if k == 6:
                        getattr(net, put[0]).b.array[1] = put[1]
                x = np.random.default_rng(k).normal(size=(5, 3)).astype("f")
                want, got = [kinds(step, x) for _, step in worlds]
                assert want == got, (put, k)
        for p, q in zip(worlds[0][0].params(), worlds[1][0].params(), strict=True):
            np.testing.assert_allclose(p.array, q.array, rtol=1e-3, atol=1e-5)


def test_what_is_copied_behind_an_update_warns_of_nothing():
    """A gradient that is the same for several parameters is copied at the end; what compares NaN behind the update is asked all the same."""
    def make(wrap):
        np.random.seed(3)
        net = hnn.Chain(a=L.Linear(3, 4), b=L.Linear(4, 4))
        updates = hnn.optimizers.AdaGrad(0.01).setup(net)

        @wrap
        def step(x):
            loss = F.sum(net.b(net.a(x)))
            net.cleargrads()
            loss.backward()
            updates.update()
            return loss, F.relu(net.a(x))
        return net, step
    worlds = [make(lambda fn: fn), make(hnn.trace)]
    with hnn.using_config("trace_compile", "sync"):
        for k in range(10):
            for net, _ in worlds:
                if k == 7:
                    net.a.W.array[1] = np.nan
            assert [kinds(step, np.random.default_rng(k).normal(size=(5, 3)).astype("f")) for _, step in worlds] == [set(), set()], k
    assert worlds[1][1].stats.python_skipped > 3


def test_gradients_that_were_nan_before_the_call():
    """The update is the first that sees them; comparisons come behind it."""
    def make(wrap):
        net = hnn.Chain(a=L.Linear(3, 4, nobias=True), b=L.Linear(4, 2, nobias=True))
        optimizer = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            optimizer.update()
            return F.relu(net.b(F.relu(net.a(x))))
        return net, step
    worlds = [make(lambda fn: fn), make(hnn.trace)]
    with hnn.using_config("trace_compile", "sync"):
        for k in range(9):
            for net, _ in worlds:
                for p in net.params():
                    p.grad = np.full(p.shape, np.nan if k == 7 else 0.5, "f")
            assert [categories(step, GOOD[[0, 1, 1]][None]) for _, step in worlds] == [[], []], k
    assert worlds[1][1].stats.python_skipped > 3


@pytest.mark.parametrize("width", [1, 2, 7, 10, 17, 33])
@pytest.mark.parametrize("fn", [
    lambda x: F.softmax(x * 300.0 - 4000.0), lambda x: F.log_softmax(x - 1e4), lambda x: x / F.broadcast_to(F.max(x, axis=1, keepdims=True), x.shape),
    lambda x: F.max(1.0 / x, axis=1), lambda x: F.sum(F.log(x), axis=1), lambda x: F.sum(F.sqrt(x - 0.5), axis=0), lambda x: F.normalize(x),
], ids=["softmax", "log_softmax", "quotients", "reciprocals", "logarithms", "roots", "normalize"])
def test_what_stands_beside_short_rows_raises_no_flags(fn, width, monkeypatch):
    """Vectors are wider than the rows: what other lanes hold must not count. If it did, NumPy would be asked on every call."""
    def step(x):
        x.cleargrad()
        F.sum(fn(x)).backward()
        return x.grad

    def asked(*args):
        raise AssertionError("a kernel raised flags")
    monkeypatch.setattr(executable, "run", asked)
    x = hnn.Variable(np.random.default_rng(0).uniform(1, 2, (40, width)).astype("f"))
    traced = hnn.trace(step)
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(6):
            traced(x)
    assert traced.stats.python_skipped > 0


@pytest.mark.parametrize("fn", [lambda x: F.logsumexp(x, axis=1), lambda x: F.einsum("ij,kj->ik", x, x)], ids=["logsumexp", "einsum"])
def test_coarse_operations_in_float16_warn_as_they_do(fn):
    """No finer operations in their place: nothing fuses in this dtype."""
    traced = hnn.trace(fn)
    with hnn.using_config("trace_compile", "sync"):
        for x in (np.ones((3, 2), "e"), np.array([[-np.inf, -np.inf], [np.inf, -np.inf], [0, 0]], "e")):
            for _ in range(6):
                assert categories(traced, x) == categories(fn, x)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u2"])
@pytest.mark.parametrize("name", ["log", "log2", "log10", "log1p"])
def test_logarithms_of_integers_warn_at_the_pole(name, dtype):
    """What LLVM knows of integers must not make it choose the result instead of computing it."""
    def fn(x):
        return getattr(F, name)(x - 1 if name == "log1p" and dtype[0] == "i" else x) * 2
    traced = hnn.trace(fn)
    with hnn.using_config("trace_compile", "sync"):
        for values in ([1, 2, 3], [0, 2, 3]):
            for _ in range(4):
                x = np.array(values, dtype)
                assert categories(traced, x) == categories(fn, x)
