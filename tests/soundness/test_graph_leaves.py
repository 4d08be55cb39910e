"""What the graph that a call leaves behind keeps of Variables from outside: their nodes and the arrays that gradients need, not the Variables themselves."""
import weakref

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def model():
    return hnn.ChainList(L.Linear(3, 4, initialW=arr(4, 3)), L.Linear(4, 2, initialW=arr(2, 4)))


def test_an_argument_dies_though_its_graph_lives(mode):
    def make(wrap):
        net = model()

        @wrap
        def f(x):
            return net[1](F.relu(net[0](x)))

        def run(alive):
            x = hnn.Variable(arr(5, 3))
            refs = [weakref.ref(x), weakref.ref(x.array)]
            y = f(x)
            del x
            found = [r() is None for r in refs]
            if alive:
                F.sum(y).backward()
                found += [r() is None for r in refs]
            del y
            return found, [r() is None for r in refs]
        return net, [lambda: run(False), lambda: run(True)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("change", [
    lambda p: setattr(p, "array", np.ones((7, 3), "f")),
    lambda p: setattr(p, "array", p.array.astype("d")),
    lambda p: setattr(p, "array", p.array * 2),
    lambda p: p.cleargrad(),
    lambda p: setattr(p, "grad", np.ones_like(p.array)),
], ids=["other shape", "other dtype", "other array", "cleared", "assigned"])
def test_a_parameter_changes_between_the_call_and_backward(mode, change):
    def make(wrap):
        net = model()

        @wrap
        def f(x):
            return F.sum(net[1](F.tanh(net[0](x))) ** 2)

        def run(first):
            net.cleargrads()
            y, p = f(arr(5, 3)), net[0].W
            if not first:
                change(p)
            y.backward()
            grads = [None if p.grad is None else p.grad.copy() for p in net.params()]
            p.array = arr(4, 3)
            return y, grads
        return net, [lambda: run(True), lambda: run(False)]
    check(make, mode)


def test_names_of_leaves(mode):
    def make(wrap):
        w = hnn.Parameter(arr(3), name="weight")

        @wrap
        def f(x):
            return F.sum(x * w)

        def run():
            x = hnn.Variable(arr(3), name="in")
            y = f(x)
            return [(v.name, v.label, v.get_variable_or_none() is x) for v in y.creator.inputs[0].creator.inputs]
        return [w], [run]
    skipped(check(make, mode), mode, 5)


def test_a_parameter_changes_between_use_and_backward_in_the_call(mode):
    changes = [lambda p: None, lambda p: setattr(p, "array", p.array * 2), lambda p: setattr(p, "array", p.array.astype("d")),
               lambda p: setattr(p, "array", arr(2)), lambda p: p.array.fill(1)]

    def make(wrap):
        p, state = hnn.Parameter(arr(3)), {"change": changes[0]}

        @wrap
        def f(x):
            p.cleargrad()
            y = F.sum(p * p * x)
            state["change"](p)
            y.backward()
            g = p.grad
            p.array = arr(3)
            return y, g

        def run(change):
            state["change"] = change
            return f(arr(3, seed=2))
        return [p], [lambda c=c: run(c) for c in changes]
    check(make, mode)
