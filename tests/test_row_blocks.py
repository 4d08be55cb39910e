"""Sums that keep columns go by blocks of rows where threads share the work; results are as before."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jit_graphs import array, assert_same, copies, graph_of, random_graph

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit import layout, lower, row_blocks


def columns(x, axis=(0,)):
    return OPS["sum"](x, axis=axis, keepdims=False)


def extreme(name, x):
    return OPS[name](x, axis=(0,), keepdims=False)


def make_small(patch):
    patch.setattr(lower, "PARALLEL_BYTES", 8)
    patch.setattr(layout, "BLOCKS", 2)
    patch.setattr(layout, "ROWS", 2)
    patch.setattr(layout, "FEW_ROWS", 1)
    patch.setattr(row_blocks, "COUNTS", range(2, 65))
    patch.setattr(row_blocks, "ROWS", 2)


@pytest.fixture
def small(monkeypatch):
    make_small(monkeypatch)


def gradients(x, gate, b):
    """A linear layer's bias, updated: what is stored in full, summed and needed behind the sum."""
    g = OPS["where"](gate > 0, x * gate, 0.0)
    return [g, b - 0.1 * columns(g), columns(g)]


@pytest.mark.parametrize("fn, operands", [
    (lambda x: [columns(OPS["tanh"](x) * x)], (array(24, 9),)),
    (gradients, (array(24, 9), array(24, 9), array(9))),
    (lambda x, y: [columns(x), columns(x * y), extreme("amax", x), extreme("amin", y)], (array(24, 9), array(24, 9))),
    (lambda x, w: [columns(x * OPS["broadcast_to"](w, shape=(24, 9)))], (array(24, 9), array(24, 1))),
    (lambda x, w: [columns(x + OPS["broadcast_to"](w, shape=(24, 9))) * w], (array(24, 9), array(9))),
    (lambda x: [columns(x + OPS["transpose"](x, axes=(1, 0)))], (array(24, 24),)),
    (lambda x: [columns(OPS["transpose"](x, axes=(1, 0)))], (array(9, 24),)),
    (lambda x: [columns(x[:, 1:4] * 2.0)], (array(24, 9),)),
    (lambda x: [columns(x, (0, 1))], (array(24, 3, 9),)),
    (lambda x: [columns(x * x)], (array(24, 3, 9),)),
    (lambda x: [columns(x, (0, 2))], (array(6, 2, 4, 9),)),
    (lambda x: [columns(x > 0), columns(x)], (array(24, 9),)),
    (lambda x: [columns(x), extreme("amax", x)], (np.arange(216, dtype="i4").reshape(24, 9),)),
    (lambda x: [columns(x)], (array(24, 9, dtype="f8"),)),
    (lambda x: [columns(x)], (array(23, 9),)),
    (lambda x, t: [columns(OPS["where"](OPS["iota_equal"](t, depth=9), x, 0.0))], (array(24, 9), np.arange(24, dtype="i4") % 9)),
    (lambda x, t: [columns(OPS["where"](OPS["transpose"](OPS["iota_equal"](t, depth=24), axes=(1, 0)), x, 0.0))], (array(24, 9), np.arange(9, dtype="i4"))),
], ids=["chain", "update", "several", "column operand", "row operand", "with its transpose", "transposed", "view", "two axes", "two columns", "columns between",
        "bools", "ints", "doubles", "prime", "labels", "labels along rows"])
def test_sums(fn, operands, small):
    graph = graph_of(fn, *operands)
    assert_same(graph, jit.compile(graph), operands, 5e-6, 5e-6)


def test_an_update_in_place(small):
    operands = array(24, 9), array(9)
    graph = graph_of(lambda g, b: [b - 0.1 * columns(g * g)], *operands, writes=[(1, 0)])
    executable = jit.compile(graph)
    assert len(executable.steps) == 2
    assert_same(graph, executable, operands, 5e-6, 5e-6)


@given(st.integers(0, 10**6))
def test_random_graphs_keep_their_results(seed):
    graph, operands = random_graph(seed, 16)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        make_small(patch)
        want, got = run(graph, copies(operands)), jit.compile(graph)(copies(operands))
    for x, y in zip(want, got, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y, x, 1e-5, 1e-5)


@pytest.mark.parametrize("shape, steps", [((512, 1024), 2), ((512, 64), 1), ((64, 4096), 1), ((521, 1024), 1)], ids=str)
def test_large_sums_with_enough_rows_go_by_blocks(shape, steps):
    x = array(*shape)
    executable = jit.compile(graph_of(lambda x: [columns(x)], x))
    assert len(executable.steps) == steps
    np.testing.assert_allclose(executable([x])[0], x.astype("f8").sum(0), 1e-4, 1e-4)
