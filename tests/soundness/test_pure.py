"""``mode="pure"``: the user's word is about what lies outside; what the function makes of its arguments still follows them."""
import types

import numpy as np
import pytest
from worlds import arr, check, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

KEPT = types.MappingProxyType({"scale": 2.5})      # the proof does not follow it
NET = L.Linear(3, 2)


def noted(x):
    """Something that only ``pure`` skips."""
    return x * KEPT["scale"]


FUNCTIONS = {      # a function, and whether Python is skipped
    "plain": (lambda x: noted(F.exp(x)), True),
    "containers": (lambda x: {"y": NET(noted(F.exp(x))), "l": [F.sum(x), (x,)]}, True),
    "NumPy before": (lambda x: NET(x.astype("float32") / 2), True),
    "NumPy of the argument": (lambda x: noted(F.exp(x - x.mean(axis=0))), False),
    "number of the argument": (lambda x: noted(F.exp(x)) * float(x.max()), False),
    "number of a result": (lambda x: float(noted(F.sum(F.exp(x)))), False),
    "array of a result": (lambda x: noted(F.exp(x))[int(F.argmax(F.sum(x, axis=1)).array)], False),
    "branch on a result": (lambda x: noted(F.exp(x)) if F.sum(x) > 0 else F.tanh(x), True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_follow_the_arguments(name):
    fn, skips = FUNCTIONS[name]

    def make(wrap):
        n = iter(range(1000))
        f = wrap(lambda x: fn(x))
        return [], [lambda: f(arr(4, 3, seed=next(n))), lambda: f(arr(2, 3, seed=next(n)))]
    w = check(make, "pure")
    assert (w.total("python_skipped") > 3) is skips


def test_arguments_of_other_kinds():
    def make(wrap):
        x, y = var(3), var(3, seed=1)
        f = wrap(lambda x, k=None: noted(F.exp(x)) if k is None else noted(x) * k)
        g = wrap(lambda xs: sum(noted(x) for x in xs))
        many = [var(2, seed=k) for k in range(70)]
        return [x, y], [lambda: f(x), lambda: f(x, 2.0), lambda: f(x, 3.0), lambda: f(x, 2), lambda: f(x, y), lambda: f(x, arr(3)), lambda: f(x, "no"),
                        lambda: g(many), lambda: g(many[:69]), lambda: g(many[::-1])]
    check(make, "pure")


def test_results_that_are_arguments_or_numbers():
    def make(wrap):
        x, n = var(3), iter(range(1000))
        f = wrap(lambda x, k, xs: (noted(F.exp(x)) * k, k, xs, [xs]))
        g = wrap(lambda x, k: (noted(F.exp(x)) * k, k * 2))
        h = wrap(lambda a: (noted(F.exp(a)), int((a > 0).sum())))

        def same():
            xs = [x, 1]
            r = f(x, next(n) * 0.5, xs)
            return r, r[2] is xs, r[3][0] is xs
        return [x], [same, lambda: g(x, next(n) * 0.25), lambda: h(arr(5, seed=next(n)))]
    check(make, "pure")


def test_one_number_in_two_places():
    def make(wrap):
        x, k = var(3), 2.0
        f = wrap(lambda x, a, b: (noted(F.exp(x)) * a + b, a, b))
        return [x], [lambda: f(x, k, k), lambda: f(x, 2.0, 3.0), lambda: f(x, 3.0, 2.0)]
    check(make, "pure")


def test_one_array_in_two_places():
    def make(wrap):
        x, y, a, b = var(3), var(3, seed=1), arr(3), arr(3, seed=1)
        f = wrap(lambda x, y: (noted(F.exp(x)) * y, x, y))

        def back(x, y):
            x.cleargrad()
            y.cleargrad()
            z = f(x, y)
            F.sum(z[0]).backward()
            return z
        return [x, y], [lambda: back(x, x), lambda: back(x, y), lambda: back(y, x), lambda: f(a, a), lambda: f(a, b), lambda: back(x, hnn.Variable(x.array)),
                        lambda: f(x, x.array)]
    check(make, "pure")


def test_side_effects_are_the_users_word(capsys):
    def f(x):
        print("called")
        return F.exp(x) * 2
    t, x = hnn.trace(f, mode="pure"), arr(3)
    for _ in range(12):
        np.testing.assert_allclose(t(x).array, np.exp(x) * 2, rtol=1e-5)
    assert t.stats.python_skipped > 0 and capsys.readouterr().out.count("called") == 12 - t.stats.python_skipped


def test_gradients():
    def make(wrap):
        n = iter(range(1000))
        f = wrap(lambda x: F.sum(F.tanh(noted(NET(x)) * 0.1)))

        def call():
            NET.cleargrads()
            x = var(4, 3, seed=next(n))
            y = f(x)
            y.backward()
            return y, x
        return [NET], [call]
    assert check(make, "pure").total("python_skipped") > 0


def test_a_list_that_keeps_growing():
    """What is in it counts on every call."""
    def make(wrap):
        x, kept = var(3), [1.5]
        f = wrap(lambda x, kept: noted(F.exp(x)) * kept[-1] + len(kept))

        def longer():
            kept.append(kept[-1] * 0.5 + 1)
            return f(x, kept)
        return [x, kept], [longer, lambda: f(x, kept), lambda: f(x, [2.5] * 3)]
    check(make, "pure", steps=[*[0] * 40, 1, 1, 1, 2, 2, 0, 1, *[0] * 20, 2, 1])
