"""Reductions of blocks go by rows, and then over these; results are as before."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jit_graphs import array, assert_same, copies, graph_of, random_graph

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run, verify
from hybridnn.jit import block_reductions
from hybridnn.jit.block_reductions import reduce_blocks
from hybridnn.jit.passes import simplify


def axes_of(graph):
    return [dict(n.attrs)["axis"] for n in reduce_blocks(graph).nodes if "axis" in dict(n.attrs)]


@given(st.integers(0, 10**6))
def test_random_graphs_keep_their_results(seed):
    graph, operands = random_graph(seed, 16)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(block_reductions, "LEAST", 1)
        want, got = run(graph, copies(operands)), run(verify(simplify(graph)), copies(operands))
    for x, y in zip(want, got, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y, x, 1e-5, 1e-5)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "amax", "amin"])
@pytest.mark.parametrize("shape, axes, parts", [
    ((6, 7, 2, 9, 2), (2, 4), [(4,), (2,)]),
    ((6, 7, 2, 9, 2), (4, -3), [(4,), (2,)]),
    ((3, 9, 5, 8, 2, 3), (5, 1, 4), [(4, 5), (1,)]),
    ((40, 30, 3), (0, 2), [(2,), (0,)]),
    ((6, 2, 9, 2, 1), (1, 3), [(1, 3)]),             # small
    ((6, 7, 2, 9, 2), (2, 3, 4), [(2, 3, 4)]),
    ((40, 2, 90), (0, 2), [(0, 2)]),                 # long rows
    ((40, 90, 2), (0, 1), [(0, 1)]),
    ((40, 1, 90, 1), (1, 3), [(1, 3)]),
    ((40, 7, 1, 9), (1, 3), [(1, 3)]),               # what stays between them is one element
])
def test_axes(name, shape, axes, parts, keepdims):
    x = array(*shape)
    x.flat[7] = np.nan
    graph = graph_of(lambda x: [OPS[name](x, axis=axes, keepdims=keepdims)], x)
    assert [tuple(sorted(k % len(shape) for k in a)) for a in axes_of(graph)] == parts
    assert_same(graph, jit.compile(graph), (x,), 1e-5, 1e-5)


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "?", "f8", "f2"])
def test_types(dtype):
    x = (array(6, 7, 2, 9, 2) * 3).astype(dtype)
    graph = graph_of(lambda x: [OPS["sum"](x, axis=(2, 4), keepdims=False), OPS["amax"](x, axis=(0, 4), keepdims=True)], x)
    assert len(axes_of(graph)) == (2 if dtype == "f2" else 4)
    assert_same(graph, jit.compile(graph), (x,), 1e-5, 1e-5)
