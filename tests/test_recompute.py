"""Values that are made again instead of kept: the pass, and compiled graphs, against the reference interpreter."""
import numpy as np
from jit_graphs import assert_same, copies, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run, verify
from hybridnn.jit.passes import recompute, simplify

ROWS, COLUMNS = 256, 96
total = OPS["sum"]


def array(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


def check(fn, *operands):
    graph = graph_of(fn, *operands)
    again = verify(recompute(graph))
    for want, got in zip(run(graph, copies(operands)), run(again, copies(operands)), strict=True):
        np.testing.assert_array_equal(got, want)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands, 1e-5, 1e-4)
    return graph, again, executable


def count(graph, name):
    return sum(n.op.name == name for n in graph.nodes)


def standardized(x, bias):
    x = x + bias
    mean = total(x, axis=(0,), keepdims=True) / ROWS
    centred = x - mean
    variance = total(centred * centred, axis=(0,), keepdims=True) / ROWS
    return centred * OPS["rsqrt"](variance + 1e-5)


def test_statistics_of_a_batch_keep_nothing_but_the_result():
    graph, again, executable = check(lambda x, b: OPS["exp"](standardized(x, b)), array(ROWS, COLUMNS), array(COLUMNS))
    assert count(again, "sub") == 2 and count(again, "add") == count(graph, "add") + 2
    full = ROWS * COLUMNS * 4
    assert sum(s.bytes >= 2 * full for s in executable.steps) == 1       # only the last kernel reads and writes all
    assert executable.arena_bytes < full


def test_gradients_of_a_batch_are_made_again_from_what_is_kept():
    def step(x, w, g, gamma, b):
        y = standardized(OPS["matmul"](x, w, transa=False, transb=False), b)
        h = OPS["maximum"](y * gamma, 0.)
        g = OPS["matmul"](g, w, transa=False, transb=True) * OPS["cast"](OPS["greater"](y * gamma, 0.), dtype="float32")
        g = g * gamma
        mean = total(g, axis=(0,), keepdims=True) / ROWS
        along = total(g * y, axis=(0,), keepdims=True) / ROWS
        return [OPS["matmul"](h, w, transa=False, transb=False), OPS["matmul"](g - mean - y * along, w, transa=False, transb=True), along]
    square = COLUMNS, COLUMNS
    graph, again, _ = check(step, array(ROWS, COLUMNS), array(*square), array(ROWS, COLUMNS), array(COLUMNS), array(COLUMNS))
    assert count(again, "sub") > count(graph, "sub")


def test_what_is_needed_elsewhere_or_dear_is_kept():
    def needed(x, b):
        y = x + b
        return [total(y, axis=(0,), keepdims=False), OPS["matmul"](y, b, transa=False, transb=False), y * 2.]

    def dear(x, b):
        y = OPS["exp"](x) + b
        return [total(y * y, axis=(0,), keepdims=False), y * total(y, axis=(0,), keepdims=False)]

    def rows(x, b):
        y = x + b
        return y * total(y, axis=(1,), keepdims=True)
    x, b = array(ROWS, COLUMNS), array(COLUMNS)
    for fn, operands in ((needed, (x, b)), (rows, (x, b))):
        graph, again, _ = check(fn, *operands)
        assert again is graph
    _, again, _ = check(dear, x, b)
    assert count(again, "exp") == 1
    assert count(simplify(graph_of(dear, x, b)), "exp") == 1
