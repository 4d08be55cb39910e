"""Nodes that free memory come early, and the rest stays as it was."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of, product, random_graph

from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run, verify
from hybridnn.jit.order import frees_first, updates_last


def layers(x, *weights):
    """Forward and backward of layers without activations: the outputs are the gradients of the weights."""
    values, gradients = [x], []
    for w in weights:
        values.append(product(values[-1], w))
    g = values.pop()
    for w in reversed(weights):
        below = product(g, w, transb=True)
        gradients.append(product(values.pop(), g, transa=True))
        g = below
    return [*gradients, OPS["sum"](g, axis=None, keepdims=False)]


def peak(graph):
    """The most bytes of intermediate values at once, if each has memory of its own."""
    outside = {*graph.inputs, *graph.outputs, *[v for v, _ in graph.constants], *[v for _, v in graph.writes]}
    last = {v: k for k, n in enumerate(graph.nodes) for v in (*n.outputs, *n.inputs)}
    alive, most = {}, 0
    for k, n in enumerate(graph.nodes):
        alive.update({v: graph.specs[v].nbytes for v in n.outputs if v not in outside})
        most = max(most, sum(alive.values()))
        alive = {v: b for v, b in alive.items() if last[v] > k}
    return most


def test_the_gradient_of_a_weight_comes_before_that_of_its_operand():
    operands = [array(20, 30), *[array(30, 30) * .1 for _ in range(4)]]
    graph = graph_of(layers, *operands)
    ordered = frees_first(graph)
    assert sorted(n.outputs for n in ordered.nodes) == sorted(n.outputs for n in graph.nodes)
    assert peak(ordered) < peak(graph)
    assert_same(graph, jit.compile(graph), operands, rtol=1e-4, atol=1e-5)


def test_what_frees_nothing_stays():
    graph = graph_of(lambda x, y: [OPS["exp"](x) * y, OPS["tanh"](x) + y], array(4, 5), array(5))
    assert frees_first(graph) is graph


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_give_the_same_with_no_higher_a_peak(seed):
    graph, operands = random_graph(seed, size=25)
    ordered = verify(frees_first(graph))
    assert {n.outputs for n in ordered.nodes} == {n.outputs for n in graph.nodes}
    views = any(n.op.name in ("reshape", "transpose", "broadcast_to", "get_item") for n in graph.nodes)
    assert views or peak(ordered) <= peak(graph)
    with np.errstate(all="ignore"):
        for want, got in zip(run(graph, operands), run(ordered, operands), strict=True):
            np.testing.assert_array_equal(got, want)


def test_updates_stay_behind_what_may_be_undone_and_in_their_order():
    def step(x, *weights):
        gradients = layers(x, *weights)
        return [*[w - 0.1 * g for w, g in zip(weights, reversed(gradients[:-1]), strict=True)], *gradients]
    operands = [array(20, 30), *[array(30, 30) * .1 for _ in range(3)]]
    graph = updates_last(graph_of(step, *operands, writes=[(1, 0), (2, 1), (3, 2)]))
    ordered = frees_first(graph)
    newest = [v for _, v in graph.writes]

    def makers(g):
        return [n.outputs for n in g.nodes if set(n.outputs) & set(newest)]
    assert makers(ordered) == makers(graph)
    first = min(k for k, n in enumerate(graph.nodes) if set(n.outputs) & set(newest))
    late = {n.outputs for n in graph.nodes[first:]}
    assert {n.outputs for n in ordered.nodes[first:]} == late
    assert_same(graph, jit.compile(graph), operands, rtol=1e-4, atol=1e-5)
