"""Backward that adds to gradients which the program has assigned in the same call: scaled, clipped or given between two passes."""
import numpy as np
import pytest
from worlds import MODES, arr, check

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import optimizers
from hybridnn.optimizer_hooks import GradientClipping

pytestmark = pytest.mark.parametrize("mode", MODES)


def first(p, q, x):
    F.sum(p * q * x).backward()


def given(p, q, x, k):
    q.grad = np.ones_like(q.array) * k
    first(p, q, x)


def scaled(p, q, x, k):
    first(p, q, x)
    q.grad = q.grad * k
    F.sum(q * q).backward()


def clipped(p, q, x, k):
    first(p, q, x)
    q.grad = np.clip(q.grad, -0.1 * k, 0.1 * k)
    F.sum(q * q * p).backward()


def another(p, q, x, k):
    first(p, q, x)
    q.grad = p.array * k
    F.sum(q * q).backward()


def twice(p, q, x, k):
    scaled(p, q, x, k)
    p.grad, q.grad = p.grad * k, q.grad * 0.5
    F.sum(q ** 3 * p).backward()


def in_place(p, q, x, k):
    first(p, q, x)
    q.grad *= k
    F.sum(q * q).backward()


def of_the_call(p, q, x, k):
    y = F.exp(q * k)
    q.grad = y.array
    first(p, q, x)


def cleared_since(p, q, x, k):
    q.grad = np.ones_like(q.array) * k
    q.cleargrad()
    first(p, q, x)


def filled_since(p, q, x, k):
    q.grad = np.ones_like(q.array) * k
    with np.errstate(all="ignore"):
        q.grad.fill(0.25)
    first(p, q, x)


def looked_at(p, q, x, k):
    q.grad = np.full_like(q.array, k)
    before = q.grad
    first(p, q, x)
    return before, q.grad


def written_and_seen(q, k):
    q.grad *= k
    return q.grad_var


def added(q, k):
    q.grad += k
    return q.grad


@pytest.mark.parametrize("change", [written_and_seen, added])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_it_adds_to_what_was_written_and_then_updated_with(mode, change, again):
    """The gradient is another value twice: where the optimizer takes it, and where backward adds to it."""
    def make(wrap):
        link = hnn.Link(q=3)
        link.q.array[...] = arr(3)
        opt = optimizers.MomentumSGD(0.1).setup(link)

        @wrap
        def f(x, k):
            link.cleargrads()
            F.sum(link.q * x).backward()
            seen = [change(link.q, k)]
            opt.update()
            if again:
                link.q.grad[...] *= k
                seen.append(link.q.grad.sum())
            F.sum(link.q * link.q * x).backward()
            return seen, link.q.grad

        return [link, opt], [lambda: f(arr(3, seed=2), 0.5), lambda: f(arr(3, seed=3), 0.25)]
    check(make, mode)


@pytest.mark.parametrize("clear", [True, False], ids=["cleared", "kept"])
@pytest.mark.parametrize("change", [given, scaled, clipped, another, twice, in_place, of_the_call, cleared_since, filled_since, looked_at])
def test_it_adds_to_what_was_assigned(mode, change, clear):
    def make(wrap):
        p, q = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1))
        link = hnn.Chain()
        with link.init_scope():
            link.p, link.q = p, q
        opt = optimizers.MomentumSGD(1e-3).setup(link)
        opt.add_hook(GradientClipping(2.0))
        opt.update_too = False

        @wrap
        def f(x, k):
            if clear:
                link.cleargrads()
            found = change(p, q, x, k)
            if opt.update_too:
                opt.update()
            return found

        def run(k=0.5, update=False):
            opt.update_too = update
            return f(arr(3, seed=2), k), p.grad, q.grad

        def other():
            q.grad = arr(3, seed=5)
            return run()
        return [p, q], [run, lambda: run(0.25), lambda: run(update=True), other, lambda: (link.cleargrads(), run())]
    check(make, mode, tolerance=10.0)


def test_two_parameters_have_had_one_gradient(mode):
    def make(wrap):
        p, q = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1))

        @wrap
        def f(x):
            first(p, q, x)

        def run(one=False):
            if one:
                p.grad = q.grad = np.full(3, 0.5, "f")
            for v in (p, q):
                assert v.grad is None or v.grad_var is not None      # now the gradients are Variables, which share an array or do not
            f(arr(3, seed=3))
            return p.grad, q.grad
        return [p, q], [run, lambda: run(True)]
    for steps in ([1, 1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 0, 1, 0]):
        check(make, mode, steps=steps)


def test_backward_comes_by_the_parameters_in_another_order(mode):
    """What is known of another order, and of gradients of another dtype, is tried before, and leaves nothing behind."""
    def make(wrap):
        state = {}

        @wrap
        def f(x):
            F.sum(F.tanh(x @ state["p"]) * state["q"]).backward()

        def run(*order, single=False):
            for name in order:
                state[name] = hnn.Parameter(np.ones((3, 3) if name == "p" else 3, "f" if single or name == "q" else "d"))
                state[name].grad = np.full_like(state[name].array, 1.5 if name == "p" else 0.5)
            if single:
                state["p"].array = state["p"].array.astype("d")
            f(arr(4, 3, seed=3))
        return [state], [lambda: run("q", "p", single=True), lambda: run("p", "q"), run, lambda: run("q", "p"), lambda: run("p", "q", single=True)]
    for steps in ([0, 1, 1, 1, 0, 1, 2, 2], [4, 3, 3, 2, 1, 1, 0, 3], [0, 4, 2, 1, 3, 1, 3, 4, 0]):
        for held in (False, True):
            check(make, mode, steps=steps, held=held)
