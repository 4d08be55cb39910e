"""Kernels that reduce rows of a few elements together with the axis before: results are as those of loops along the rows."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of, kinds, styles, total, turned

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import lower


def largest(x, *axis):
    return OPS["amax"](x, axis=axis, keepdims=True)


@pytest.mark.parametrize("fn, operands", [
    (lambda x, b: [total(OPS["tanh"](x * b), 0, 1)], (array(100, 3), array(3))),
    (lambda x, w: [total(OPS["exp"](x) * w, 0, 1)], (array(100, 5), array(100, 1))),
    (lambda x, w: [total(OPS["exp"](x) * w, 1, 2), OPS["exp"](x) * w], (array(7, 40, 5), array(7, 40, 1))),
    (lambda x: [total(OPS["exp"](x[:, 1:] - x[:, :-1]) * x[:, 1:], 0, 1)], (array(70, 6),)),
    (lambda x, b: [OPS["exp"](x * b - largest(x * b, 0, 1)) / OPS["sum"](OPS["exp"](x * b - largest(x * b, 0, 1)), axis=(0, 1), keepdims=True)],
     (array(90, 4), array(4))),
    (lambda x, b: [OPS["exp"](x * b) / OPS["sum"](OPS["exp"](x * b), axis=(1, 2), keepdims=True)], (array(3, 90, 4), array(3, 1, 4))),
    (lambda x, b: [total(turned(x, 1, 0) * b, 0, 1), turned(x, 1, 0) + b], (array(4, 90), array(4))),
    (lambda x, b: [total(x * b, 0, 1)], (array(90, 16, dtype="f8"), array(16, dtype="f8"))),
    (lambda x, b: [total(x * b, 0, 1)], (np.arange(90, dtype="i4").reshape(30, 3), np.arange(3, dtype="i4"))),
    (lambda x, b: [largest(x * b, 0, 1)], (array(2, 3), array(3))),
    (lambda x, w: [total(OPS["exp"](x) * w, 0, 1, 2)], (array(6, 33, 5), array(1, 33, 1))),
], ids=["each place", "each row", "blocks", "slices", "softmax", "softmax of blocks", "transposed", "doubles", "ints", "two rows", "three axes"])
def test_kernels(fn, operands):
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert styles(executable)[:1] == ["Flat"]
    assert_same(graph, executable, operands, 3e-6, 1e-5)


def test_threads_share_blocks(monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    operands = array(50, 70, 3), array(50, 70, 1)
    graph = graph_of(lambda x, w: [total(x * w, 1, 2), x * w], *operands)
    assert_same(graph, jit.compile(graph), operands, 3e-6, 1e-5)


def test_written_in_place():
    operands = array(200, 3), array(3)
    graph = graph_of(lambda x, b: [x * b - OPS["sum"](x, axis=(0, 1), keepdims=True)], *operands, writes=[(0, 0)])
    executable = jit.compile(graph)
    assert set(kinds(executable)) == {"kernel"} and executable.arena_bytes <= 64 * 3 * 4
    assert_same(graph, executable, operands, 2e-5, 2e-5)


def test_special_values():
    x, b = array(600, 3), np.ones(3, "f")
    x[3, 0], x[5, 1] = np.inf, np.nan
    (got,) = jit.compile(graph_of(lambda x, b: [largest(x * b, 0, 1)], x, b))([x, b])
    assert np.isnan(got).all()
    x[5, 1] = 0
    (got,) = jit.compile(graph_of(lambda x, b: [total(x * b, 0, 1)], x, b))([x, b])
    assert got == np.inf
