"""Where it is not known how many hold an object, nothing is used again, and all comes out the same."""
import sys

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import _references
from hybridnn.core import walk
from hybridnn.jit import executable
from hybridnn.trace import call, inplace, values


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
