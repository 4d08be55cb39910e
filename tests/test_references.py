"""Where it is not known how many hold an object, nothing is used again, and all comes out the same."""
import gc
import os
import sys

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import _references
from hybridnn.core import walk
from hybridnn.jit import executable
from hybridnn.trace import call, holdings, inplace, values


def train(wrap):
    """Losses, gradients and parameters of some steps, with Variables that are kept and others that are not."""
    np.random.seed(0)
    model = hnn.Sequential(L.Linear(3, 4), F.tanh, L.BatchNormalization(4), L.Linear(4, 2))
    optimizer = hnn.optimizers.MomentumSGD(lr=0.1).setup(model)
    x, t = np.random.randn(5, 3).astype("f"), np.array([0, 1, 1, 0, 1], "i")

    @wrap
    def step(x, t):
        y = model(x)
        loss = F.softmax_cross_entropy(y + y, t)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss, y
    kept = [step(x, t) for _ in range(10)]
    return [v.array for row in kept for v in row] + [a for p in model.params() for a in (p.array, p.grad)]


@pytest.mark.parametrize("mode", ["auto", "verify"])
def test_unknown_numbers_of_holders(monkeypatch, mode):
    expected = train(lambda f: f)
    for module in (call, inplace, values, executable):
        monkeypatch.setattr(module, "_refs", _references._many)
    monkeypatch.setattr(walk, "count_references", _references._many)
    for found in (train(lambda f: f), train(lambda f: hnn.trace(f, mode=mode))):
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_holders_are_counted_where_that_has_been_looked_at():
    assert (_references.count_references is sys.getrefcount) is (sys.version_info < (3, 14))
    assert _references._many(object()) == _references.MANY


class Copies:
    """Counts the arrays that calls copy because others could write into them."""

    def __init__(self, monkeypatch):
        self.ids, snapshot = [], values.Values.snapshot
        monkeypatch.setattr(values.Values, "snapshot", lambda call, vid, a: (self.ids.append(id(a)), snapshot(call, vid, a))[1])


def test_what_plans_hold_belongs_to_nobody_else(monkeypatch):
    model = hnn.Sequential(L.Linear(3, 4), F.tanh, L.Linear(4, 2))
    optimizer = hnn.optimizers.Adam().setup(model)
    x, t = np.ones((5, 3), "f"), np.array([0, 1, 1, 0, 1], "i")
    predict = hnn.trace(lambda x: model(x))

    def update(x, t):
        loss = F.softmax_cross_entropy(model(x), t)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    native = hnn.trace(update)
    step = hnn.trace(lambda x, t: (os.getpid(), update(x, t)))
    for _ in range(8):
        step(x, t)      # Python stays
    kept = [p.array for p in model.params()]
    for fn, args in ((predict, (x,)), (native, (x, t))):
        for _ in range(8):
            fn(*args)
        assert fn.stats.python_skipped
    del kept
    copies = Copies(monkeypatch)
    step(x, t)
    assert not {id(p.array) for p in model.params()} & {*copies.ids}
    held = model[0].W.array
    step(x, t)
    assert id(held) in copies.ids and id(model[0].b.array) not in copies.ids
    assert step.stats.python_skipped == 0


def test_references_of_a_plan_are_counted_as_long_as_it_lives():
    model = L.Linear(3, 4)
    predict = hnn.trace(lambda x: model(x))
    def counts():
        return sys.getrefcount(model.W.array) - alone, holdings.held_by_plans(model.W.array)
    alone = sys.getrefcount(model.W.array)
    for n in (5, 6):
        for _ in range(5):
            predict(np.ones((n, 3), "f"))
    both, found = counts()
    assert both == found > 0
    predict._memory.plans.pop()
    gc.collect()
    one, found = counts()
    assert one == found == both / 2
    predict.clear()
    gc.collect()
    assert counts() == (0, 0)
