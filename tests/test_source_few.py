"""Kernels that keep columns and go over few rows: results are those of kernels of many."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of, styles

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import lower


def reduced(name, x, *axis, keepdims=False):
    return OPS[name](x, axis=axis, keepdims=keepdims)


def centred(x):
    return x - OPS["broadcast_to"](reduced("sum", x, 0, keepdims=True) * 0.2, shape=x.shape)


@pytest.mark.parametrize("threads", [False, True], ids=["one thread", "threads"])
@pytest.mark.parametrize("fn, operands", [
    (lambda x: [reduced("sum", x, 0)], (array(5, 4500),)),
    (lambda x: [reduced("sum", x * x, 0), reduced("amax", x, 0), reduced("amin", x, 0) + 1.0], (array(32, 5000),)),
    (lambda x: [reduced("sum", x, 1)], (array(6, 3, 4100),)),
    (lambda x, y: [reduced("sum", x * y, 2)], (array(6, 5, 4, 4100), array(1, 5, 1, 4100))),
    (lambda x: [reduced("sum", x, 0, 2)], (array(3, 4, 5, 4096),)),
    (lambda x, w: [reduced("sum", x * w, 0), x * w], (array(5, 4100), array(5, 1))),
    (lambda x, p: [p - 0.1 * reduced("sum", x, 0)], (array(5, 4100), array(4100))),
    (lambda x: [reduced("sum", x, 0)], (array(5, 4100, dtype="f8"),)),
    (lambda x: [reduced("sum", x, 0), reduced("amax", x, 0)], (np.arange(5 * 4100, dtype="i4").reshape(5, 4100),)),
], ids=["long", "several", "blocks", "two axes of blocks", "axes between", "rows beside", "update", "doubles", "ints"])
def test_kernels(fn, operands, threads, monkeypatch):
    if threads:
        monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert "Few" in styles(executable)
    assert_same(graph, executable, operands, 3e-6, 1e-5)


def test_sums_that_are_needed_again():
    x = array(5, 4500)
    graph = graph_of(lambda x: [centred(x)], x)
    assert_same(graph, jit.compile(graph), (x,), 3e-6, 3e-6)


@pytest.mark.parametrize("rows, columns, style", [(32, 4096, "Few"), (33, 4096, "Column"), (32, 4095, "Column")])
def test_how_many_rows_are_few(rows, columns, style):
    assert styles(jit.compile(graph_of(lambda x: [reduced("sum", x, 0)], array(rows, columns)))) == [style]


def test_special_values():
    x = array(5, 4100)
    x[3, 0], x[2, 1], x[1, 2], x[4, 2], x[0, 3], x[1, 3] = np.inf, np.nan, np.inf, -np.inf, np.nan, 1e30
    graph = graph_of(lambda x: [reduced("amax", x, 0), reduced("amin", x, 0), reduced("sum", x, 0)], x)
    with np.errstate(invalid="ignore"):
        assert_same(graph, jit.compile(graph), (x,), 3e-6, 3e-6)
