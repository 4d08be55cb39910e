"""Whether fusion knows what depends on what: its bits against a search through the groups, at every question it asks."""
import numpy as np
import pytest
from jit_graphs import graph_of, random_graph
from test_accumulate import network_operands, recurrent_network

from hybridnn.graph import run, verify
from hybridnn.jit import fuse as fusion
from hybridnn.jit import grow
from hybridnn.jit.fuse import fuse
from hybridnn.jit.known import Known
from hybridnn.jit.passes import simplify


def search(state, start, goal):
    """Whether there is a way from ``start`` to ``goal`` with another group between them."""
    stack = [state.groups[i] for i in start.deps if state.groups[i] not in (start, goal)]
    seen = set(stack)
    while stack:
        for i in stack.pop().deps:
            group = state.groups[i]
            if group is goal:
                return True
            if group not in seen:
                seen.add(group)
                stack.append(group)
    return False


def answers(graph, most_groups, monkeypatch):
    """Fuse, comparing; how many questions had which answer."""
    known, counts = grow._depends, {True: 0, False: 0}

    def compared(state, start, goal):
        answer = known(state, start, goal)
        assert answer == search(state, start, goal)
        counts[answer] += 1
        return answer
    with monkeypatch.context() as m:
        m.setattr(fusion, "_decided", Known(1))
        m.setattr(grow, "_depends", compared)
        m.setattr(grow, "MAX_GROUPS", most_groups)
        fused = verify(fuse(graph))
    return fused, counts


@pytest.mark.parametrize("most_groups", [1, 8, 4096])
def test_dependences_of_random_graphs(most_groups, monkeypatch):
    total = 0
    for seed in range(20):
        graph, operands = random_graph(seed, size=30)
        fused, counts = answers(simplify(graph), most_groups, monkeypatch)
        total += counts[False]
        for want, got in zip(run(graph, operands), run(fused, operands), strict=True):
            np.testing.assert_allclose(got, want, 1e-3, 1e-4)
    assert total > (50 if most_groups > 1 else -1)


def test_dependences_of_an_unrolled_loop(monkeypatch):
    operands = network_operands(steps=12)
    graph = graph_of(recurrent_network, *operands)
    for simple in (graph, simplify(graph)):
        fused, counts = answers(simple, 4096, monkeypatch)
        assert min(counts.values()) > 0
        for want, got in zip(run(graph, operands), run(fused, operands), strict=True):
            np.testing.assert_allclose(got, want, 1e-3, 1e-4)
