"""Branches, loops, recursion, exceptions and interruptions: which operations run depends on values."""
import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_branches_both_ways(mode):
    def make(wrap):
        log = []

        @wrap
        def f(x):
            h = F.exp(x)
            if F.sum(x) > 0:
                log.append("up")
                return h * 2
            log.append("down")
            return F.tanh(h)

        def call(sign):
            x = hnn.Variable(np.abs(arr(4)) * sign)
            y = f(x)
            F.sum(y).backward()
            return y, x
        return [log], [lambda: call(1), lambda: call(-1)]
    assert check(make, mode).total("hits") >= 10


def test_nan_in_a_condition(mode):
    def make(wrap):
        @wrap
        def f(x):
            s = F.sum(x)
            if s > 0:
                return s * 2
            if s <= 0:
                return s * 3
            return s == s, s != s, float(s), F.exp(s)
        return [], [lambda v=v: f(hnn.Variable(np.array([v, 1], "float32"))) for v in (1.0, -3.0, np.nan, np.inf, -np.inf, -1.0)]
    check(make, mode, steps=[*[0] * 6, *[1] * 6, *[2] * 6, *range(6), *range(6), *[2] * 3, *[0] * 3])


def test_data_dependent_loop(mode):
    def make(wrap):
        @wrap
        def f(x):
            n = 0
            while F.sum(F.absolute(x)) > 1:
                x = x * 0.5
                n += 1
            return x, n
        return [], [lambda k=k: f(hnn.Variable(np.full(3, 2.0 ** k, "float32"))) for k in (2, 0, 5)]
    check(make, mode)


def test_values_that_decide_shapes_and_loops(mode):
    def make(wrap):
        @wrap
        def f(x, n):
            k = int(n)
            y = F.reshape(x, (k, -1))
            for _ in range(k):
                y = y * 2
            return F.sum(y, axis=1), x.array[:k], F.broadcast_to(F.sum(x), (int(n),))
        return [], [lambda k=k: f(var(12), hnn.Variable(np.array(k, "int32"), requires_grad=False)) for k in (2, 3, 4, 6)]
    check(make, mode)


def test_number_read_and_used_again(mode):
    def make(wrap):
        n = iter(range(1000))

        @wrap
        def f(x):
            s = float(F.sum(x))
            y = F.exp(x) * s
            return y + y.array.max().item(), s, F.mean(y).item()
        return [], [lambda: f(var(4, seed=next(n)))]
    w = check(make, mode)
    assert w.total("recordings") <= 2


def test_recursion_over_trees(mode):
    def make(wrap):
        cell = L.Linear(8, 4)

        @wrap
        def compose(a, b):
            return F.tanh(cell(F.concat([a, b], axis=1)))

        @wrap
        def whole(tree):
            if isinstance(tree, (list, tuple)):
                return F.tanh(cell(F.concat([whole(tree[0]), whole(tree[1])], axis=1)))
            return leaf(tree)

        def leaf(k):
            return hnn.Variable(arr(1, 4, seed=k))

        def walk(tree):
            return compose(walk(tree[0]), walk(tree[1])) if isinstance(tree, (list, tuple)) else leaf(tree)

        def call(fn, tree):
            cell.cleargrads()
            y = fn(tree)
            F.sum(y * y).backward()
            return y
        trees = [(1, 2), ((1, 2), 3), (1, ((2, 3), 4)), ((1, 2), (3, 4))]
        return [cell], [lambda t=t: call(walk, t) for t in trees] + [lambda t=t: call(whole, t) for t in trees]
    check(make, mode, steps=[k for k in range(8) for _ in range(3)] + [*range(8)] * 3)


def test_generators_inside(mode):
    def make(wrap):
        def powers(x):
            y = x
            while True:
                yield y
                y = y * x

        @wrap
        def f(x):
            g = powers(x)
            return [next(g) for _ in range(3)], sum(v for v, _ in zip(powers(x), range(2)))
        return [], [lambda: f(var(3))]
    check(make, mode)


def test_exception_in_an_operation(mode):
    def make(wrap):
        log = []

        @wrap
        def f(x, y):
            log.append("before")
            h = F.exp(x)
            log.append(h)
            z = F.matmul(h, y)
            log.append("after")
            return z
        return [log], [lambda: (log.clear(), f(var(3, 4), var(4, 2)))[1], lambda: (log.clear(), f(var(3, 4), var(3, 2)))[1]]
    check(make, mode)


def test_exception_of_the_users_on_a_branch(mode):
    def make(wrap):
        state, x = {"n": 0}, var(3)

        @wrap
        def f(x, bad):
            state["n"] += 1
            state["h"] = h = F.exp(x * 2)
            if bad and F.sum(h) > 0:
                raise ValueError(f"too large: {h.shape}")
            try:
                if bad is None:
                    raise KeyError("inner")
            except KeyError:
                h = h + 1
            return h
        return [state, x], [lambda: f(x, False), lambda: f(x, True), lambda: f(x, None)]
    check(make, mode)


def test_exception_after_backward_and_during_update(mode):
    def make(wrap):
        link, flag = L.Linear(3, 2), [None]
        opt = hnn.optimizers.SGD(0.1).setup(link)

        @wrap
        def step(x):
            link.cleargrads()
            loss = F.sum(link(x) ** 2)
            loss.backward()
            if flag[0] == "backward":
                raise RuntimeError("after backward")
            opt.update()
            if flag[0] == "update":
                raise RuntimeError("after update")
            return loss

        def call(value):
            flag[0] = value
            return step(arr(4, 3))
        return [link, opt], [lambda: call(None), lambda: call("backward"), lambda: call("update")]
    check(make, mode)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, StopIteration])
def test_interrupted(mode, error):
    def make(wrap):
        at, kept, x = [None], [], var(3)

        @wrap
        def f(x):
            y = F.exp(x)
            kept.append(y)
            if at[0] == 1:
                raise error("now")
            z = F.sum(y * 2)
            z.backward()
            if at[0] == 2:
                raise error("now")
            return z

        def call(k):
            at[0] = k
            kept.clear()
            x.cleargrad()
            return f(x)
        return [kept, x], [lambda: call(None), lambda: call(1), lambda: call(2)]
    check(make, mode)
    check(make, mode, steps=[1, 2, 0, 0, 1, 0, 2, 0, 0])


def test_errors_of_labels_and_indices(mode):
    def make(wrap):
        f = wrap(lambda x, t: F.softmax_cross_entropy(x, t))
        g = wrap(lambda x, i: x[i])
        good, bad = np.array([0, 1], "int32"), np.array([0, 9], "int32")
        x = var(2, 3)
        return [x], [lambda: f(x, good), lambda: f(x, bad), lambda: g(x, 1), lambda: g(x, 7), lambda: f(x, np.array([-1, 2], "int32"))]
    check(make, mode)


VALUES = {      # an operation, values that it takes and others that it refuses
    "power": (lambda x, k: x ** k, [np.array([1, 0, 2, 3]), np.array([1, 0, 2, -3])]),
    "power of a number": (lambda x, k: x ** k, [3, -1, 2]),
    "indices": (lambda x, k: F.exp(F.get_item(x * 1.0, k)), [np.array([0, 1]), np.array([0, 7]), np.array([-4, -5])]),
    "indices of a result": (lambda x, k: F.get_item(F.get_item(x * 1.0, k) * 2, k), [np.array([0, 1]), np.array([0, 3])]),
    "int8": (lambda x, k: F.cast(x, "int8") * k, [100, 300, -129, -128]),
    "uint8": (lambda x, k: F.cast(x, "uint8") - k, [3, -1, 255, 256]),
    "compared": (lambda x, k: F.cast(x, "int8") > k, [3, 300, -300]),
    "inverse": (lambda x, k: F.inv(F.reshape(F.cast(x, "float32"), (2, 2)) * 2 * k), [np.ones((2, 2), "float32"), np.zeros((2, 2), "float32")]),
    "selected": (lambda x, k: F.select_item(F.exp(F.reshape(F.cast(x, "float32"), (2, 2))), k), [np.array([0, 1]), np.array([0, 5])]),
    "divided": (lambda x, k: F.cast(x, "int8") / k, [3, 300, 2]),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_an_operation_refuses(mode, case):
    """The error comes at its place, and a Python int outside of the arrays' type is one, as in NumPy."""
    fn, values = VALUES[case]

    def make(wrap):
        x, log = hnn.Variable(np.arange(1, 5), requires_grad=False), []

        @wrap
        def f(x, k):
            log.append("before")
            y = fn(x, k)
            log.append("after")
            return y
        return [log], [lambda v=v: (log.clear(), f(x, v))[1] for v in values]
    check(make, mode)


def test_assertion_about_values(mode):
    def make(wrap):
        @wrap
        def f(x):
            y = F.log(x)
            if np.isnan(y.array).any():
                raise ArithmeticError("not a number")
            return y * 2
        good, bad = np.abs(arr(3)), np.array([1, -1, 1], "float32")

        def call(a):
            with np.errstate(all="ignore"):
                return f(hnn.Variable(a))
        return [], [lambda: call(good), lambda: call(bad)]
    check(make, mode)


def test_methods_of_containers_of_variables(mode):
    def make(wrap):
        x = var(3)

        @wrap
        def f(x):
            d = {"a": F.exp(x)}
            d["b"] = d.pop("a") * 2
            items = sorted(d.items())
            rest = [*d.values(), x][::-1]
            first, *others = rest
            return dict(items), first is x, others, {k: v.shape for k, v in d.items()}, max(d), any(v is x for v in rest)
        return [x], [lambda: f(x)]
    check(make, mode)


def test_mode_of_the_configuration_changes(mode):
    def make(wrap):
        x = var(3)
        f = wrap(lambda x: F.exp(x) * 2)

        def under(m):
            with hnn.using_config("trace", m):
                return f(x)
        return [x], [lambda: f(x), lambda: under("eager"), lambda: under("verify"), lambda: under("auto")]
    check(make, mode)


def test_evicted_paths(mode):
    def make(wrap):
        x = var(6)

        @wrap
        def f(x, k):
            for _ in range(k):
                x = F.tanh(x)
            return x if k % 2 else x[:k]
        return [x], [lambda k=k: f(x, k) for k in range(6)]
    w = check(make, mode, steps=[*range(6)] * 12 + [0] * 9 + [5] * 9 + [*range(6)], max_paths=2)
    assert w.total("paths") <= 2 and len(w.warned) <= 1


def test_values_that_never_repeat(mode):
    def make(wrap):
        n = iter(range(1, 10_000))
        f = wrap(lambda x, k: F.sum(F.broadcast_to(x, (k, 2))) + k)
        return [], [lambda: f(var(2), next(n))]
    w = check(make, mode, steps=[0] * 60, max_paths=4)
    assert w.total("paths") <= 4 and len(w.warned) == 1 and "argument" in w.warned[0] or "test_control_flow.py" in w.warned[0]


def test_a_path_is_left_where_only_a_view_has_been_seen(mode):
    """Backward rests on the array of which it is a part; nobody has the Variable that was made first."""
    def make(wrap):
        w, box = hnn.Parameter(np.array([0.1, 0.2, 0.3, 0.4], "f")), {"r": 0.5}

        @wrap
        def f(k):
            p = F.softmax(w[None])[0]
            seen = p.array.sum()
            w.cleargrad()
            (-box["r"] * F.log(p[k])).backward()
            w.array -= 0.1 * w.grad
            return seen

        def other(k, r):
            box["r"] = r
            return f(k)
        return [w], [lambda: f(0), lambda: other(1, 0.5), lambda: other(1, 0.25), lambda: other(2, 0.75), lambda: other(0, 0.5)]
    assert not check(make, mode).reasons
