"""The first call of a traced function: backward is noted without arithmetic, and its gradients are those of an eager call, to the bit."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.core.op import elementwise
from hybridnn.trace import backward


class Cell(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.cell, self.out = L.StatelessLSTM(5, 6), L.Linear(6, 4)

    def forward(self, xs, t):
        c = h = None
        loss = 0
        for x in xs:
            c, h = self.cell(c, h, x)
            loss += F.softmax_cross_entropy(self.out(h), t)
        return loss


def gradients(net, *batch, wrap):
    step = wrap(lambda *batch: net(*batch).backward())
    net.cleargrads()
    step(*batch)
    return {name: p.grad for name, p in net.namedparams()}


@pytest.fixture
def noted(monkeypatch):
    """How many gradients ``note_backward`` gave, call by call; None where it gave up."""
    results, note = [], backward.note_backward

    def noting(*args):
        result = note(*args)
        results.append(None if result is None else len(result))
        return result
    monkeypatch.setattr(backward, "note_backward", noting)
    return results


def test_recording_gives_eagers_gradients(noted):
    net, xs, t = Cell(), np.random.randn(4, 3, 5).astype("f"), np.array([0, 3, 1], "i")
    eager, recorded = (gradients(net, xs, t, wrap=w) for w in (lambda f: f, hnn.trace))
    assert len(noted) == 1 and noted[0] >= len(eager)
    for name, g in eager.items():
        np.testing.assert_array_equal(recorded[name], g, strict=True)


def test_numbers_are_pythons_own(noted):
    """NumPy promotes the numbers that a recording follows in another way than Python's."""
    x = hnn.Variable(np.random.randn(50).astype("f"))

    def step(scale):
        x.cleargrad()
        y = F.sum((x * scale - 0.3) ** 2 / (1.7 + x * x) ** 1.5)
        y.backward()
        first = x.grad
        x.cleargrad()
        y.backward()
        return first, x.grad
    f, results = hnn.trace(step), []
    for scale in (0.1, 0.1, 0.7, 0.7):
        for got, want in zip(f(scale), step(scale), strict=True):
            results.append((got == want).all())
            np.testing.assert_allclose(got, want, 1e-5, 1e-6)
    assert noted == [1, 1] and all(results[:2]), "the first call has other gradients than an eager one"


def test_recorded_gradients_go_on(noted):
    """What the call does with gradients afterwards is recorded as well, and replays agree."""
    net = L.Linear(3, 2)

    def clipped(x):
        net.cleargrads()
        loss = F.sum(net(x) ** 2)
        loss.backward()
        norm = F.sqrt(F.sum(net.W.grad_var ** 2))
        return loss, norm * 2, net.b.grad_var
    f, x = hnn.trace(clipped), np.arange(6, dtype="f").reshape(2, 3)
    want = [y.array for y in clipped(x)]
    for _ in range(4):
        for y, w in zip(f(x), want, strict=True):
            np.testing.assert_allclose(y.array, w, 1e-5)
    assert noted == [2] and f.stats.recordings == 1 and f.stats.hits == 3


@elementwise()
def looked_at(xp, x):
    """The number itself."""
    return x * 1


@looked_at.vjp
def _(g, x):
    assert not isinstance(g, hnn.Variable) or g.array.shape == x.shape
    return g * 2


def test_rules_that_look_at_values_are_run_on_values(noted):
    def step(x):
        x.cleargrad()
        F.sum(looked_at(x * 3)).backward()
        return x.grad_var
    f, x = hnn.trace(step), hnn.Variable(np.ones(3, "f"))
    for _ in range(4):
        np.testing.assert_array_equal(f(x).array, np.full(3, 6, "f"))
    assert noted == [None]


def test_gradients_that_are_added_to_others_are_computed(noted):
    def step(x):
        F.sum(x * 3).backward()
        return x.grad_var
    f, x = hnn.trace(step), hnn.Variable(np.ones(3, "f"))
    for k in range(1, 5):
        np.testing.assert_array_equal(f(x).array, np.full(3, 3 * k, "f"))
    assert noted[0] == 1 and None in noted

