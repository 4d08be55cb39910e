"""Putting rows together and adding up in place: the passes against the interpreter, and what they make of unrolled loops."""
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jit_graphs import assert_same, graph_of, random_graph

from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node, run, verify
from hybridnn.jit import accumulate as passes
from hybridnn.jit.join import join_parts
from hybridnn.jit.passes import simplify
from hybridnn.spec import spec_of

ROWS = {"pattern": (("array", 0),)}
PASSES = (passes.gather_together, passes.sum_products, passes.batch_products, passes.accumulate)
add, matmul, take, put, tanh, concat = (OPS[n] for n in ("add", "matmul", "take", "put", "tanh", "concat"))


def transformed(graph):
    for transform in PASSES:
        graph = verify(transform(graph))
    return graph


def counts(graph):
    return Counter(n.op.name for n in graph.nodes)


def assert_kept(graph, operands, rtol=1e-4):
    """The passes keep what the interpreter returns, up to the order of additions."""
    changed = transformed(graph)
    for want, got in zip(run(graph, operands), run(changed, operands), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol, 1e-5 * (np.abs(want).max(initial=0) + 1))
    return changed


def dot(a, b, transa=False, transb=False):
    return matmul(a, b, transa=transa, transb=transb)


def recurrent_network(table, into, back, h, *ids):
    """Gradients of a sum over the last state of a tanh network, written out."""
    states = [h]
    inputs = [take(table, i, **ROWS) for i in ids]
    for x in inputs:
        states.append(tanh(add(dot(x, into), dot(states[-1], back))))
    g, grads = states[-1], None
    for x, before, after, i in list(zip(inputs, states, states[1:], ids))[::-1]:
        g = g * (1 - after * after)
        new = (dot(x, g, True), dot(before, g, True), put(dot(g, into, False, True), i, shape=table.shape, **ROWS),
               OPS["sum"](g, axis=(0,), keepdims=False))
        grads = new if grads is None else [add(u, v) for u, v in zip(grads, new)]
        g = dot(g, back, False, True)
    return (*grads, g)


def network_operands(steps, rows=3, width=4, words=7, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s).astype(dtype) / 2 for s in ((words, width), (width, width), (width, width), (rows, width))]
    return [*arrays, *rng.integers(0, words, (steps, rows)).astype("i4")]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 5), st.sampled_from(["f4", "f8"]), st.integers(0, 99))
def test_recurrent_networks_keep_their_gradients(steps, rows, width, dtype, seed):
    operands = network_operands(steps, rows, width, dtype=dtype, seed=seed)
    assert_kept(graph_of(recurrent_network, *operands), operands)


@pytest.mark.parametrize("steps", [2, 9])
def test_only_the_recurrence_grows_with_the_steps(steps):
    operands = network_operands(steps)
    n = counts(assert_kept(graph_of(recurrent_network, *operands), operands))
    assert (n["take"], n["put"], n["sum"]) == (1, 1, 1)
    # Both directions of the recurrence, then inputs, input gradients, and two weight gradients.
    assert n["matmul"] == 2 * steps + 4


def test_long_sequences_are_cut():
    operands = network_operands(steps=300, rows=8)
    graph = assert_kept(graph_of(recurrent_network, *operands), operands, rtol=1e-3)
    assert counts(graph)["take"] == 3
    rows = [graph.specs[n.outputs[0]].shape[0] for n in graph.nodes if n.op is take]
    assert rows == [800, 800, 800] and max(rows) <= passes.MAX_ROWS


def test_sequences_of_several_batch_sizes_are_cut_alike():
    def cut(rows):
        graph = simplify(graph_of(recurrent_network, *network_operands(steps=35, rows=rows)))
        return [len(n.inputs) for n in graph.nodes if n.op.kind == "join"], [n.op.name for n in graph.nodes]
    assert cut(30) == cut(32) == cut(40) == cut(56) != cut(29)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_are_kept(seed):
    graph, operands = random_graph(seed, size=20)
    assert_kept(graph, operands)


def test_a_compiled_network_adds_up_in_place():
    operands = network_operands(steps=6, rows=5, width=8)
    graph = graph_of(recurrent_network, *operands)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands, rtol=1e-4, atol=1e-5)
    kinds = Counter(s.kind for s in executable.steps)
    assert (kinds["gather"], kinds["scatter"], kinds["fill"], kinds["gemm"], kinds["python"]) == (1, 1, 1, 16, 0)


def test_products_of_many_rows_are_added_in_place():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=s).astype("f4") for s in ((200, 5), (200, 6), (200, 5), (200, 6), (5, 6))]
    graph = graph_of(lambda a, b, c, d, e: add(add(dot(a, b, True), e), dot(c, d, True)), *operands)
    assert counts(assert_kept(graph, operands)) == {"products": 1, "add": 1}
    executable = jit.compile(graph)
    assert [s.kind for s in executable.steps] == ["gemm", "gemm", "kernel"]
    assert_same(graph, executable, operands, rtol=1e-4, atol=1e-4)


def test_batches_of_products_are_added_in_place():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=s) for s in ((2, 3, 4), (2, 4, 5), (2, 6, 3), (2, 5, 6))]
    graph = graph_of(lambda a, b, c, d: add(dot(a, b), dot(c, d, True, True)), *operands)
    assert counts(assert_kept(graph, operands)) == {"products": 1}
    assert_same(graph, jit.compile(graph), operands)


@pytest.mark.parametrize("transa, transb", [(False, False), (True, False), (True, True)])
def test_sums_of_outer_products_are_one_kernel(transa, transb):
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(4, *(s[::-1] if t else s))).astype("f4") for _ in range(5) for s, t in (((3, 1), transa), ((1, 6), transb))]

    def fn(*xs):
        y = dot(xs[0], xs[1], transa, transb)
        for a, b in zip(xs[2::2], xs[3::2], strict=True):
            y = y + dot(a, b, transa, transb)
        return [y]
    graph = graph_of(fn, *pairs)
    executable = jit.compile(graph)
    assert [s.kind for s in executable.steps] == ["kernel"]
    np.testing.assert_array_equal(executable(tuple(pairs))[0], run(graph, pairs)[0])


def test_outer_products_have_no_negative_zeros():
    a, b, c = np.full((2, 1, 1), -0., "f4"), np.full((2, 1, 3), 1, "f4"), np.full((2, 1, 3), -0., "f4")
    graph = graph_of(lambda a, b, c: [dot(a, b) + c], a, b, c)
    np.testing.assert_array_equal(np.signbit(jit.compile(graph)((a, b, c))[0]), np.signbit(run(graph, [a, b, c])[0]))


def test_scatters_of_loose_rows_share_one_table():
    rng = np.random.default_rng(0)
    operands = [*rng.normal(size=(3, 4, 2)).astype("f4"), *rng.integers(0, 6, (3, 4)).astype("i8")]

    def body(a, b, c, i, j, k):
        a, b, c = (put(x, n, shape=(6, 2), **ROWS) for x, n in ((a, i), (b, j), (c, k)))
        return add(a, add(b, c))
    graph = graph_of(body, *operands)
    assert counts(assert_kept(graph, operands)) == {"scatters": 1}
    executable = jit.compile(graph)
    assert [s.kind for s in executable.steps] == ["fill", "scatter", "scatter", "scatter"]
    assert_same(graph, executable, operands)
    operands[4][2] = 6
    with pytest.raises(IndexError, match="6 is out of bounds"):
        executable(operands)


def test_rows_of_one_array_are_read_where_they_are():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=(4, 3, 5)).astype("f4"), rng.normal(size=(5, 2)).astype("f4")]

    def body(xs, w):
        return [dot(OPS["get_item"](xs, index=(t,)), w) for t in range(4)]
    graph = graph_of(body, *operands)
    n = counts(assert_kept(graph, operands))
    assert n["matmul"] == 1 and not n["join"]


def test_a_value_used_elsewhere_is_not_summed_away():
    rng = np.random.default_rng(0)
    operands = [*rng.normal(size=(4, 3, 5)).astype("f4")]

    def body(a, b, c, d):
        p, q = dot(a, b, True), dot(c, d, True)
        return add(p, q), p, add(q, q), add(add(p, p), p)
    assert_kept(graph_of(body, *operands), operands)


def test_no_cycle_through_what_rows_lie_in():
    """``both`` holds the operands of the sum, and something that is computed from the sum."""
    rng = np.random.default_rng(0)
    operands = [*rng.normal(size=(4, 3, 5)).astype("f4")]

    def body(a, b, c, d):
        a, b = tanh(a), tanh(b)
        total = add(dot(a, c, True), dot(b, d, True))
        return total, concat(a, b, OPS["sin"](total), axis=0)
    graph = graph_of(body, *operands)
    assert_kept(verify(join_parts(graph)), operands)
    assert_same(graph, jit.compile(graph), operands, rtol=1e-4, atol=1e-5)


def test_products_that_need_each_other_stay_apart():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=(3, 4)).astype("f4"), rng.normal(size=(3, 4)).astype("f4"), rng.normal(size=(4, 4)).astype("f4")]

    def body(a, b, w):
        """A tree: two leaves, two inner nodes that need one leaf each, a root."""
        p, q = dot(a, w), dot(b, w)
        r, s = dot(tanh(p), w), dot(tanh(q), w)
        return dot(add(r, s), w), r
    n = counts(assert_kept(graph_of(body, *operands), operands))
    assert n["matmul"] == 3


@dataclass(frozen=True)
class Noting:
    """A user's operation that notes that it ran."""
    name: str
    seen: list
    kind = "opaque"
    multi = False
    decompose = None

    def run(self, arrays, attrs):
        self.seen.append(self.name)
        return arrays[0] + 1


def test_steps_with_effects_stay_in_order():
    seen = []
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3)).astype("f4"), rng.normal(size=(3, 3)).astype("f4")
    specs = {v: spec_of(x) for v in range(9)} | {1: spec_of(w)}
    plain = (("transa", False), ("transb", False))
    first, second, third = (Noting(name, seen) for name in ("first", "second", "third"))
    nodes = (Node(first, (0,), (2,)), Node(matmul, (2, 1), (3,), plain), Node(second, (3,), (4,)),
             Node(third, (0,), (5,)), Node(matmul, (5, 1), (6,), plain), Node(add, (4, 6), (7,)))
    graph = verify(Graph((0, 1), nodes, (7,), specs))
    changed = transformed(graph)
    assert [n.op.name for n in changed.nodes].count("matmul") == 2
    expected = run(graph, [x, w])
    np.testing.assert_allclose(run(changed, [x, w]), expected, 1e-5)
    assert seen == ["first", "second", "third"] * 2


def test_the_first_error_of_the_graph_is_raised():
    """A label that is wrong in step 0 is named, although all rows are gathered first and one of them is wrong too."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(5, 4)).astype("f4")
    ids, labels = rng.integers(0, 4, (2, 2, 3)).astype("i4")

    def body(table, i, j, t, u):
        losses = [OPS["softmax_cross_entropy"](OPS["embed"](k, table, ignore_label=None), y, ignore_label=-1, normalize=True)[0]
                  for k, y in ((i, t), (j, u))]
        return add(*losses)
    operands = [table, *ids, *labels]
    graph = graph_of(body, *operands)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands)
    labels[0][1], ids[1][2] = 9, 8
    with pytest.raises(TypeError, match="label 9"):
        executable(operands)
    labels[0][1] = 0
    with pytest.raises(TypeError, match="id 8"):
        executable(operands)


def test_a_number_that_gets_an_axis():
    """It has no rows to lie in."""
    x, w = np.ones((3, 2), "f"), np.ones((2, 2), "f")

    def step(x, w):
        total = OPS["sum"](dot(x, w) + dot(x * 2, w), axis=None, keepdims=False)
        return [OPS["get_item"](total, index=(None,)), dot(x, x, True) + dot(x, x * 3, True)]
    assert_kept(graph_of(step, x, w), [x, w])
