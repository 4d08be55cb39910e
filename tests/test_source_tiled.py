"""Kernels of arrays with a very short last axis: results are as those of loops along it."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, assert_styles, graph_of, kinds, turned

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import lower


@pytest.mark.parametrize("fn, operands, style", [
    (lambda x, b: [OPS["tanh"](x + b)], (array(1000, 3), array(3)), "Tiled"),
    (lambda x, b: [OPS["tanh"](x + b), x * b], (array(5, 7, 9, 6), array(6)), "Tiled"),
    (lambda x, b, c: [x * b + c, x > c], (array(70, 2), array(2), array(2)), "Tiled"),
    (lambda x, b, n: [x * n + b], (array(70, 5), array(5), 0.5), "Tiled"),
    (lambda x, b: [x * b], (array(64, 5, dtype="f8"), array(5, dtype="f8")), "Tiled"),
    (lambda x, b: [x + b], (np.arange(300, dtype="i4").reshape(100, 3), np.arange(3, dtype="i4")), "Tiled"),
    (lambda x, b: [x + b], (array(2, 3), array(3)), "Tiled"),
    (lambda x, w: [OPS["exp"](x) + w], (array(70, 5), array(70, 1)), "Tiled"),
    (lambda x, b, w: [OPS["exp"](x) + b * w], (array(70, 5), array(5), array(70, 1)), "Tiled"),
    (lambda x, b: [OPS["exp"](x[:, :4]) + b], (array(70, 6), array(4)), "Tiled"),
    (lambda x: [OPS["exp"](x[:, 1:]) * x[:, :-1]], (array(70, 6),), "Tiled"),
    (lambda x, b: [OPS["exp"](turned(x, 1, 0)) * b], (array(4, 70), array(4)), "Tiled"),
    (lambda x, b: [OPS["exp"](turned(x, 1, 0, 2)) * b > 1], (array(30, 70, 4), array(70, 1, 4)), "Tiled"),
    (lambda x, b: [OPS["exp"](x[:, ::2]) + b], (array(5, 40, 4), array(5, 1, 4)), "Tiled"),
    (lambda x, b: [OPS["exp"](x[:, ::2]) + b], (array(70, 9), array(5) > 0), "Tiled"),
    (lambda x, b: [x + b], (array(70, 16), array(16)), "Tiled"),
    (lambda x, b: [x + b], (array(70, 23), array(23)), "Tiled"),
    (lambda x, b: [x + b], (array(70, 64), array(64)), "Map"),
], ids=["image", "four axes", "two rows", "number", "doubles", "ints", "few", "column", "column and row", "slice", "slices", "transposed",
        "other order", "steps between", "steps along", "sixteen", "more", "long"])
def test_kernels(fn, operands, style):
    assert_styles(fn, operands, [style], 2e-6, 2e-6)


def test_threads_share_rows(monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    operands = array(5001, 3), array(3)
    graph = graph_of(lambda x, b: [OPS["exp"](x) * b], *operands)
    assert_same(graph, jit.compile(graph), operands, 2e-6, 2e-6)


def test_written_in_place():
    operands = array(200, 3), array(3)
    graph = graph_of(lambda x, b: [x * 0.9 - b], *operands, writes=[(0, 0)])
    executable = jit.compile(graph)
    assert kinds(executable) == ["kernel"] and executable.arena_bytes <= 64 * 3 * 4
    assert_same(graph, executable, operands, 2e-6, 2e-6)
