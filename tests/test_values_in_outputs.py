"""Intermediate values lie in outputs that are written later: nothing alive overlaps, and outputs stay untouched until nothing can fail any more."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of, kinds, overlaps, product, roots_of

from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit.hosts import LEAST_HOST
from hybridnn.jit.places import OUTPUT

UNITS, ROWS = 160, 20
assert UNITS * UNITS * 4 >= LEAST_HOST


def layers(x, *weights):
    """Forward and backward of layers; the outputs are the gradients of the weights, from the last to the first."""
    values, gradients = [x], []
    for w in weights:
        values.append(OPS["tanh"](product(values[-1], w)))
    g = OPS["exp"](values.pop())
    for w in reversed(weights):
        below = product(g, w, transb=True)
        gradients.append(product(values[-1], g, transa=True))
        g = below * values.pop()
    return gradients


def operands(n):
    return [array(ROWS, UNITS), *[array(UNITS, UNITS) * .1 for _ in range(n)]]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_values_that_are_over_before_an_output_is_written_lie_there(n):
    xs = operands(n)
    graph = graph_of(layers, *xs)
    executable = jit.compile(graph)
    assert_same(graph, executable, xs, rtol=1e-4, atol=1e-5)
    guests = [r for r in roots_of(executable) if r.kind == OUTPUT and r.nbytes < UNITS * UNITS * 4]
    assert len(guests) >= n - 1 and not overlaps(executable)
    assert executable.arena_bytes <= 3 * ROWS * UNITS * 4


def test_what_outputs_hold_before_does_not_matter():
    xs = operands(3)
    graph = graph_of(layers, *xs)
    executable = jit.compile(graph)
    outputs = [np.full(s.shape, np.nan, s.dtype) for s in executable.output_specs]
    for want, got in zip(run(graph, xs), executable.run_into(tuple(xs), outputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_python_steps_among_them():
    def body(x, *weights):
        first, *others = layers(x, *weights)
        h = OPS["tanh"](product(x, weights[0]))
        u = OPS["lgamma"](OPS["exp"](h))
        return [first, *others, OPS["sum"](u * u, axis=None, keepdims=False)]
    xs = operands(2)
    graph = graph_of(body, *xs)
    executable = jit.compile(graph)
    assert "python" in kinds(executable) and not overlaps(executable)
    assert_same(graph, executable, xs, rtol=1e-3, atol=1e-4)


def entropy(x, w, v, t):
    """Logits, their cross entropy with labels, and what resembles gradients."""
    h = OPS["tanh"](product(x, w))
    y = product(h, v)
    loss, _ = OPS["softmax_cross_entropy"](y, t, ignore_label=-1, normalize=True)
    g = OPS["exp"](y) * OPS["sum"](loss, axis=None, keepdims=False)
    return [product(h, g, transa=True), product(x, product(g, v, transb=True) * h, transa=True)]


def test_labels_are_looked_at_before_anything_is_written_into_outputs():
    x, w, v = operands(2)
    t = np.random.randint(0, UNITS, ROWS).astype("i")
    graph = graph_of(entropy, x, w, v, t)
    executable = jit.compile(graph)
    assert_same(graph, executable, (x, w, v, t), rtol=1e-3, atol=1e-4)
    assert kinds(executable)[0] == "check" and executable.reusable == (0, 1)
    outputs = [np.full(s.shape, 7, s.dtype) for s in executable.output_specs]
    t[5] = UNITS
    with pytest.raises(ValueError, match="labels"):
        executable.run_into((x, w, v, t), outputs)
    assert all((y == 7).all() for y in outputs)


class TestReusing:
    def setup_method(self):
        x, w, v = operands(2)
        self.arrays = x, w, v, np.random.randint(0, UNITS, ROWS).astype("i")
        self.graph = graph_of(entropy, *self.arrays)
        self.executable = jit.compile(self.graph)

    def old(self):
        return [np.full(s.shape, 7, s.dtype) for s in self.executable.output_specs]

    def run(self, old):
        got = self.executable.reusing(self.arrays, self.executable.reusable, old)
        for y, want in zip(got, run(self.graph, self.arrays), strict=True):
            np.testing.assert_allclose(y, want, rtol=1e-3, atol=1e-4)
        return got

    def test_arrays_that_only_the_list_holds_are_written_into(self):
        old = self.old()
        places = [a.ctypes.data for a in old]
        assert [a.ctypes.data for a in self.run(old)] == places and not old

    def test_an_array_that_is_held_is_not(self):
        old = self.old()
        held = old[1]
        got = self.run(old)
        assert got[1] is not held and (held == 7).all()

    @pytest.mark.parametrize("odd", [lambda a: a.T, lambda a: a.astype("f8"), lambda a: a[:-1].copy(), lambda a: None, lambda a: a.view(np.matrix)])
    def test_nor_is_one_that_is_unlike_the_output(self, odd):
        old = self.old()
        old[0] = odd(old[0])
        self.run(old)

    def test_an_error_of_a_step_leaves_all_as_it_was(self):
        old = self.old()
        ids = [id(a) for a in old]
        self.arrays[3][2] = -5
        with pytest.raises(ValueError, match="labels"):
            self.executable.reusing(self.arrays, self.executable.reusable, old)
        assert [id(a) for a in old] == ids and all((a == 7).all() for a in old)


def rows_of_a_table(table, index, w):
    rows = OPS["take"](table, index, pattern=(("array", 0),))
    g = OPS["tanh"](product(rows, w))
    return [product(rows, g, transa=True), OPS["put"](product(g, w, transb=True), index, shape=(50, UNITS), pattern=(("array", 0),)), table * 1.5]


def test_numbers_of_rows_that_were_gathered_are_good_for_a_scatter():
    xs = array(50, UNITS), np.random.randint(0, 50, ROWS).astype("i"), array(UNITS, UNITS) * .1
    graph = graph_of(rows_of_a_table, *xs)
    executable = jit.compile(graph)
    assert_same(graph, executable, xs, rtol=1e-4, atol=1e-5)
    assert "scatter" in kinds(executable) and 0 in executable._lowered.late_outputs
    with pytest.raises(IndexError):
        executable((xs[0], xs[1] + 50, xs[2]))
