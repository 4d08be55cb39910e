"""Backward from outside through a finished call, in one native call: for every operation, and for what must not go that way."""
import numpy as np
import pytest
from test_ops import DIFFERENTIABLE, is_float, samples, several

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.core import OPS, Variable, apply
from hybridnn.errors import TraceMismatch
from hybridnn.trace import compiled_walk, segment, tape


@pytest.fixture
def interpreted(monkeypatch):
    """Segments run node by node: nothing is compiled."""
    monkeypatch.setattr(segment, "jit_compile", segment.Interpreted)


@pytest.fixture
def walks(monkeypatch):
    """Whether each walk that came to a finished call went through it at once."""
    results, through = [], compiled_walk.through

    def noting(*args):
        results.append(through(*args))
        return results[-1]
    monkeypatch.setattr(tape, "through", noting)
    return results


def outside(fn, operands, seeds, times=4):
    """The gradients of the operands that are Variables, from the last of several calls of ``fn`` with backward behind each."""
    for _ in range(times):
        variables = [Variable(x.copy()) if is_float(x) else x for x in operands]
        ys = [y for y in several(fn(*variables)) if y.dtype.kind == "f" and y.requires_grad]
        for y, s in zip(ys, seeds, strict=False):
            y.grad = s
        hnn.core.backward(ys)
    return [v.grad if isinstance(v, Variable) else None for v in variables]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_operation(name, dtype, interpreted, walks):
    op = OPS[name]
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    for operands, attrs in samples(op, dtype):
        ys = several(op.run(operands, attrs))
        seeds = [np.random.normal(size=y.shape).astype(y.dtype) for y in ys if y.dtype.kind == "f"]

        def fn(*xs, op=op, attrs=attrs):
            return apply(op, xs, attrs)
        expected = outside(fn, operands, seeds, 1)
        walks.clear()
        found = outside(hnn.trace(fn), operands, seeds)
        assert not walks or walks[-1], walks
        for g, e in zip(found, expected, strict=True):
            assert (g is None) == (e is None)
            if g is not None:
                assert g.dtype == e.dtype and g.shape == e.shape
                np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * (1 + np.abs(e).max(initial=0)))


class MLP(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.first, self.last = L.Linear(4, 8), L.Linear(8, 3)

    def forward(self, x):
        return self.last(F.relu(self.first(x)))


def step(net, forward, x, cut=False, **options):
    y = forward(x)
    if cut:
        y[0].unchain()
    loss = F.sum(F.exp(y[-1])) if isinstance(y, tuple) else F.sum(F.exp(y))
    net.cleargrads()
    loss.backward(**options)
    return {name: p.grad for name, p in net.namedparams()}


def assert_same(found, expected):
    for name, g in expected.items():
        np.testing.assert_allclose(found[name], g, rtol=1e-5, atol=1e-6, err_msg=name)


def test_from_the_third_walk_on(walks):
    net, x = MLP(), np.random.randn(5, 4).astype("f")
    forward = hnn.trace(net.forward)
    for _ in range(8):
        assert_same(step(net, forward, x), step(net, net.forward, x))
    assert walks[0] is False and walks[-1] is True
    assert forward.explain().paths[0].outside == 1 and "segment 1, backward outside" in str(forward.explain())


def test_numbers_are_those_of_the_call(walks):
    """Gradients of numbers that change, and of what rules compute from them."""
    w = hnn.Parameter(np.array([0.5, 1.5, 2.5], "f"))
    forward = hnn.trace(lambda k: F.tanh(w * k) / k - (w / k) ** 2 + k / w)
    for k in range(12):
        w.cleargrad()
        F.sum(forward(k + 0.5)).backward()
        k += 0.5
        expected = 1 / np.cosh(w.array * k) ** 2 - 2 * w.array / k ** 2 - k / w.array ** 2
        np.testing.assert_allclose(w.grad, expected, rtol=2e-5)
    assert walks[-1]


def test_gradients_are_nobody_elses(walks):
    """Leaves that get one and the same gradient get arrays of their own, also if it is the gradient that arrives."""
    a, b = hnn.Parameter(np.ones(3, "f")), hnn.Parameter(np.ones(3, "f"))
    forward = hnn.trace(lambda: (a + b, a - b))
    for _ in range(6):
        s, d = forward()
        a.cleargrad(), b.cleargrad()
        s.grad, d.grad = np.ones(3, "f"), np.zeros(3, "f")
        seed = s.grad
        hnn.backward([s, d])
        a.grad[...] = 7
        np.testing.assert_array_equal(b.grad, [1, 1, 1])
        np.testing.assert_array_equal(seed, [1, 1, 1])
    assert walks[-1]


def test_a_graph_cut_in_the_middle(walks):
    """Whoever cuts the graph off at a value of the call, keeps gradients, or asks for Variables goes from node to node."""
    net, x = MLP(), np.random.randn(5, 4).astype("f")

    def both(x):
        h = F.relu(net.first(x))
        return h, net.last(h)
    forward = hnn.trace(both)
    for cut, options in [(False, {})] * 4 + [(True, {}), (False, dict(retain_grad=True)), (False, dict(enable_double_backprop=True)), (False, {})]:
        found, expected = (step(net, f, x, cut, **options) for f in (forward, both))
        assert {name for name, g in found.items() if g is None} == {name for name, g in expected.items() if g is None}
        assert_same({n: g for n, g in found.items() if g is not None}, {n: g for n, g in expected.items() if g is not None})
    assert walks == [False, False, True, False, True]


def test_errors_that_raise_come_from_their_operation(walks):
    w = hnn.Parameter(np.array([0.0, 1.0], "f"))
    forward = hnn.trace(lambda: F.sqrt(w * 1))
    for _ in range(5):
        with np.errstate(divide="ignore"):
            F.sum(forward()).backward()
    y = F.sum(forward())
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        y.backward()
    assert walks[-2:] == [True, False]


def test_warnings_are_eagers(walks):
    w = hnn.Parameter(np.array([0.0, 1.0], "f"))
    forward = hnn.trace(lambda: F.sqrt(w * 1))
    for _ in range(6):
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            F.sum(forward()).backward()
    assert walks[-1]


def test_users_functions_run(walks):
    class Double(hnn.FunctionNode):
        def forward(self, inputs):
            return (inputs[0] * 2,)

        def backward(self, indexes, gs):
            ran.append(len(ran))
            return (gs[0] * 2,)
    w, ran = hnn.Parameter(np.ones(3, "f")), []
    forward = hnn.trace(lambda: F.tanh(Double().apply((w * 0.1,))[0]))
    for _ in range(6):
        w.cleargrad()
        F.sum(forward()).backward()
        np.testing.assert_allclose(w.grad, 0.2 / np.cosh(0.2) ** 2 * np.ones(3), rtol=1e-5)
    assert len(ran) == 6 and not any(walks)


class Halves(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] * np.float32(0.5), inputs[0] * np.float32(1.5)

    def backward(self, indexes, gradients):
        return sum(g * f for g, f in zip(gradients, (0.5, 1.5)) if g is not None),


@pytest.mark.parametrize("which", [0, 1])
def test_gradients_that_come_to_users_functions_too(walks, which):
    """Behind an operation of the call, and directly from outside."""
    def part(x):
        h = Halves().apply((x,))[which]
        return F.sum(F.tanh(h)), h
    x = Variable(np.linspace(-1, 1, 5, dtype="f"))
    results = []
    for fn in (part, hnn.trace(part)):
        for _ in range(5):
            s, h = fn(x)
            x.cleargrad()
            (2 * s + F.sum(h * h)).backward()
        results.append(x.grad)
    np.testing.assert_allclose(results[1], results[0], 1e-6)
    assert not any(walks)


def test_checked_walks(walks, monkeypatch):
    """With ``check=1.0`` a gradient that comes out otherwise is an error."""
    net, x = MLP(), np.random.randn(5, 4).astype("f")
    forward = hnn.trace(net.forward, check=1.0, mode="verify")
    for _ in range(5):
        step(net, forward, x)
    assert walks[-1]

    def wrong(self, arrays):
        return [a + 1 for a in segment.run(self.graph, arrays)]
    monkeypatch.setattr(segment, "jit_compile", segment.Interpreted)
    monkeypatch.setattr(segment.Interpreted, "__call__", wrong)
    again = hnn.trace(net.forward, check=1.0, mode="verify")
    with pytest.raises(TraceMismatch):
        for _ in range(5):
            step(net, again, x)


def test_graphs_that_end_inside_the_call(walks):
    """A value whose creator the function forgot, or that it computed without keeping a graph, is a leaf."""
    w = hnn.Parameter(np.ones(3, "f"))

    def body():
        cut = F.exp(w * 0.2)
        cut.unchain_backward()
        with hnn.no_backprop_mode():
            plain = F.sin(w)
        return cut, plain, F.tanh(cut * w) * plain
    forward = hnn.trace(body)
    for _ in range(6):
        grads = []
        for fn in (body, forward):
            w.cleargrad()
            cut, plain, y = fn()
            F.sum(y).backward()
            grads.append((w.grad, cut.grad, plain.grad))
        for a, b in zip(*grads, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert walks[-1]


def test_gradients_without_axes(walks):
    """What arrives may be a scalar of NumPy's: rules are NumPy's arithmetic."""
    w = hnn.Parameter(np.ones(3, "f"))
    forward = hnn.trace(lambda: F.sum(w * w))
    for _ in range(5):
        w.cleargrad()
        (forward() * 2 + 1).backward()
        np.testing.assert_array_equal(w.grad, [4, 4, 4])
    assert walks[-1]
