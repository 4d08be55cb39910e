"""Sums over all of large arrays go by rows; results are as before."""
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
from hybridnn.jit import partial_sums
from hybridnn.jit.passes import simplify


def total(x):
    return OPS["sum"](x, axis=None, keepdims=False)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(partial_sums, "LEAST", 8)
    monkeypatch.setattr(partial_sums, "ROWS_OF_PART", 2)


@given(st.integers(0, 10**6))
def test_random_graphs_keep_their_results(seed):
    graph, operands = random_graph(seed, 16)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(partial_sums, "LEAST", 1)
        patch.setattr(partial_sums, "ROWS", range(4, 0, -1))
        patch.setattr(partial_sums, "PARTS", 2)
        patch.setattr(partial_sums, "ROWS_OF_PART", 1)
        want, got = run(graph, copies(operands)), run(verify(simplify(graph)), copies(operands))
    for x, y in zip(want, got, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y, x, 1e-5, 1e-5)


@pytest.mark.parametrize("fn, operands", [
    (lambda x: [total(OPS["tanh"](x) * x)], (array(48),)),
    (lambda x: [total(OPS["tanh"](x) * x), OPS["exp"](x), x], (array(48),)),
    (lambda x, y: [total(x * y) * 2.0, OPS["broadcast_to"](total(x), shape=(48,)) + y], (array(48), array(48))),
    (lambda x: [total(x > 0)], (array(48),)),
    (lambda x: [total(x * x), x[3:7]], (array(48),)),
    (lambda x: [total(x)], (array(47),)),
    (lambda x: [total(OPS["exp"](x)), OPS["sum"](x, axis=(0,), keepdims=False)], (array(16, 5),)),
    (lambda x: [OPS["sum"](x, axis=(0, 1, 2), keepdims=False)], (array(9, 3, 4),)),
    (lambda x: [OPS["sum"](x, axis=None, keepdims=True)], (array(9, 3, 4),)),
    (lambda x: [OPS["sum"](x * x, axis=(0, 1), keepdims=False)], (array(9, 4, 3),)),
    (lambda x: [OPS["sum"](x, axis=(0, -2, 1), keepdims=True) * x], (array(2, 5, 2, 3),)),
    (lambda x: [OPS["sum_to"](x, shape=(3,))], (array(9, 4, 3),)),
    (lambda x: [OPS["sum_to"](x, shape=(1, 1, 3)), OPS["sum_to"](x, shape=(1, 4, 1))], (array(9, 4, 3),)),
    (lambda x: [OPS["sum"](x, axis=(1, 2), keepdims=False)], (array(9, 4, 9),)),
    (lambda x: [OPS["sum"](x > 0, axis=(0, 1), keepdims=False)], (array(9, 4, 3),)),
], ids=["chain", "outputs", "broadcast", "bools", "slices", "prime", "matrix", "cube", "kept axes", "columns", "columns of many axes", "sum to columns",
        "sum to other axes", "rows that stay", "columns of bools"])
def test_sums(fn, operands, small):
    graph = graph_of(fn, *operands)
    assert_same(graph, jit.compile(graph), operands, 2e-6, 2e-5)       # a hundred numbers of which the sum may be small: each is rounded by up to 1e-7


def test_written_arrays_stay_whole(small):
    operands = array(48), array(48)
    graph = graph_of(lambda p, g: [total(p * g), p - g * 0.5], *operands, writes=[(0, 1)])
    assert_same(graph, jit.compile(graph), operands, 2e-6, 2e-6)


def test_one_kernel_of_many_rows():
    x = array(1 << 16)
    executable = jit.compile(graph_of(lambda x: [total(OPS["exp"](x) * x), OPS["tanh"](x), x], x))
    assert [s.kind for s in executable.steps] == ["kernel", "kernel"]       # rows, and their sum


@pytest.mark.parametrize("shape, parts", [
    ((32, 16, 16, 8), (32, 1, 1, 8)), ((2, 8, 64, 64), (2, 8, 1, 64)), ((1, 2, 256, 128), None), ((4096, 2, 2, 4), None), ((1024, 64), None),
], ids=str)
def test_columns_are_added_up_image_by_image(shape, parts):
    """In so many parts that threads can share them, if each is large enough."""
    x = array(*shape)
    graph = graph_of(lambda x: [OPS["sum"](OPS["exp"](x), axis=tuple(range(len(shape) - 1)), keepdims=True)], x)
    *before, _ = [n.outputs[0] for n in partial_sums.partial_sums(graph).nodes if n.op is OPS["sum"]]
    assert [partial_sums.partial_sums(graph).specs[v].shape for v in before] == ([] if parts is None else [parts])
    executable = jit.compile(graph)
    assert_same(graph, executable, (x,), 1e-5, 1e-5)
    assert len(executable.steps) == (1 if parts is None else 2)
