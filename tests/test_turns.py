"""Turns of loops found in graphs, and kernels that are alike from turn to turn."""
import numpy as np
import pytest
from jit_graphs import both, graph_of

import hybridnn.functions as F
from hybridnn import jit
from hybridnn.jit.fuse import fuse
from hybridnn.jit.turns import LOOPS, stretches_of_turns


def loop(before, turn, turns, after):
    """Signatures of a chain in which each node reads the one before, and what each reads."""
    signatures = [*range(100, 100 + before), *list(range(turn)) * turns, *range(1000, 1000 + after)]
    return signatures, [[i - 1] if i else [] for i in range(len(signatures))]


def stretches(signatures, reads, alone=()):
    return stretches_of_turns(signatures, reads, [i not in alone for i in range(len(signatures))])


def lengths(numbers):
    """(number, how many nodes in a row have it)."""
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    return [(part[0], len(part)) for part in np.split(np.array(numbers), cuts)]


def test_stretches_hold_as_many_turns_as_a_group():
    numbers = stretches(*loop(7, 20, 30, 5))
    assert numbers[:7] == [-1] * 7 and numbers[-5:] == [-1] * 5
    (_, first), *whole, (_, last) = lengths(numbers[7:-5])
    assert {n for _, n in whole} == {40} and first <= 40 and last <= 40      # two turns of 20 nodes
    assert sorted(set(numbers)) == list(range(-1, max(numbers) + 1))


def test_large_turns_are_stretches_of_their_own():
    assert {n for _, n in lengths(stretches(*loop(0, 70, 8, 0)))[1:-1]} == {70}


def test_turns_inside_turns_do_not_mislead():
    signatures = ([1, 2, 3, 4, 5, 6, 7] * 4 + [8, 9, 10]) * 20
    reads = [[i - 1] if i else [] for i in range(len(signatures))]
    assert {n for _, n in lengths(stretches(signatures, reads))[1:-1]} == {31}


def test_two_loops_have_stretches_of_their_own():
    one, other = loop(0, 24, 10, 0)[0], [500 + s for s in loop(0, 33, 10, 0)[0]]
    numbers = stretches(one + other, [[i - 1] if i else [] for i in range(len(one + other))])
    assert set(numbers[:240]).isdisjoint(numbers[240:]) and -1 not in numbers


def test_the_longest_of_many_loops_are_found():
    signatures = [1000 * k + s for k in range(40) for s in loop(0, 10, 8 + k, 0)[0]]
    numbers = stretches(signatures, [[i - 1] if i else [] for i in range(len(signatures))])
    assert len({s // 1000 for s, n in zip(signatures, numbers) if n != -1}) == LOOPS
    assert -1 not in numbers[-470:] and set(numbers[:80]) == {-1}


@pytest.mark.parametrize("why, arguments", [
    ("few turns", loop(300, 50, 3, 0)), ("no loop", (list(range(500)), [[]] * 500)), ("few nodes", loop(0, 4, 9, 0)), ("nothing", ([], [])),
])
def test_nothing_is_found(why, arguments):
    assert set(stretches(*arguments)) <= {-1}, why


def test_a_loop_with_a_node_that_does_not_fuse_is_left_alone():
    signatures, reads = loop(0, 20, 30, 0)
    assert set(stretches(signatures, reads, alone=range(10, 600, 20))) == {-1}
    reads = [[k for k in read if k % 20 != 10] if i % 20 != 10 else [] for i, read in enumerate(reads)]      # as slices of an input are
    assert set(stretches(signatures, reads, alone=range(10, 600, 20))) != {-1}


def test_a_turn_begins_where_the_fewest_values_pass():
    """Twelve values are made in a row and added up one by one: between turns one value passes by."""
    turn = [*[1] * 12, *range(2, 13)]
    signatures, reads = [], []
    for k in range(20):
        start = len(signatures)
        signatures += turn
        reads += [[start - 1] if k else []] * 12 + [[start + i - 1 if i > 12 else start, start + i - 11] for i in range(12, 23)]
    begins = [i for i in range(1, len(signatures)) if stretches(signatures, reads)[i] != stretches(signatures, reads)[i - 1]]
    assert begins and {i % 23 for i in begins} == {0}


def rotation(x, a, turns):
    """Runge-Kutta steps of a pendulum: 26 operations a turn."""
    def slope(y):
        return a * F.sin(y) + y * (1 - y)
    for _ in range(turns):
        k1 = slope(x)
        k2 = slope(x + 0.05 * k1)
        k3 = slope(x + 0.05 * k2)
        x = x + 0.1 / 6 * (k1 + 4 * k2 + k3)
    return x


def kernels(turns):
    rng = np.random.default_rng(0)
    x, a = (rng.standard_normal((4, 8)).astype("f") * 0.1 for _ in range(2))
    graph = graph_of(lambda x, a: rotation(x, a, turns), x, a)
    return graph, (x, a), [n for n in fuse(graph).nodes if n.op.kind == "fused"]


def test_longer_loops_have_the_same_kernels():
    few, many = (len({id(n.op.nest) for n in kernels(turns)[2]}) for turns in (20, 60))
    assert few == many <= 4
    assert len(kernels(60)[2]) <= 61


def test_results_of_cut_loops_are_those_of_the_interpreter():
    graph, operands, _ = kernels(20)
    want, got = both(graph, jit.compile(graph), operands)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
