"""Kernels that sum rows of a few columns: results are as those of loops over rows."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, assert_styles, graph_of, total, turned

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import lower


@pytest.mark.parametrize("fn, operands, style", [
    (lambda x: [total(x, 0)], (array(32, 2),), "Folded"),
    (lambda x: [total(x, 0)], (array(37, 7),), "Folded"),
    (lambda x: [total(x * x, 0), total(OPS["exp"](x), 0) * 2], (array(1000, 3),), "Folded"),
    (lambda g, y: [total(g * (1 - y * y), 0), g * (1 - y * y)], (array(700, 4), array(700, 4)), "Folded"),
    (lambda x, p: [p - 0.1 * total(x, 0)], (array(600, 3), array(3)), "Folded"),
    (lambda x: [total(x, 1)], (array(9, 515, 3),), "Folded"),
    (lambda x, w: [total(x * w, 1)], (array(9, 40, 3), array(9, 1, 1)), "Folded"),
    (lambda x, n: [total(x * n, 0)], (array(513, 5), 0.5), "Folded"),
    (lambda x: [total(x, 0)], (array(600, 3, dtype="f8"),), "Folded"),
    (lambda x: [total(x, 0)], (array(2, 3),), "Folded"),
    (lambda x: [total(x, 0)], (array(600, 15),), "Folded"),
    (lambda x: [total(x, 0)], (array(600, 8),), "Column"),
    (lambda x: [total(x, 0)], (array(600, 17),), "Column"),
    (lambda x: [total(x[:, :3], 0)], (array(600, 5),), "Folded"),
    (lambda x, b: [total(x * b, 0)], (array(600, 3), array(3)), "Folded"),
    (lambda x, w: [total(x * w, 0)], (array(600, 3), array(600, 1)), "Folded"),
    (lambda x, b: [total(x * x, 0), x + b], (array(600, 3), array(3)), "Folded"),
    (lambda x, b: [total(x * b, 1), x * b], (array(9, 70, 4), array(9, 1, 4)), "Folded"),
    (lambda x, w: [total(OPS["exp"](turned(x, 1, 0)) * w, 0)], (array(4, 600), array(600, 1)), "Folded"),
    (lambda x: [OPS["amax"](x, axis=(0,), keepdims=False), total(x, 0)], (array(600, 3),), "Column"),
    (lambda x: [total(x, 0)], (np.arange(300, dtype="i4").reshape(100, 3),), "Column"),
], ids=["least", "a rest", "two sums", "written too", "update", "blocks", "of blocks", "number", "doubles", "few rows", "fifteen", "a vector",
        "many columns", "slice", "column", "row", "column beside", "tiles of blocks", "transposed", "largest", "ints"])
def test_kernels(fn, operands, style):
    assert_styles(fn, operands, [style], 3e-6, 1e-4)


def test_threads_share_blocks(monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    x = array(50, 700, 3)
    graph = graph_of(lambda x: [total(x, 1)], x)
    assert_same(graph, jit.compile(graph), (x,), 3e-6, 1e-4)


def test_long_sums_are_compensated():
    """Of a million numbers around 1, float32 sums keep seven digits."""
    x = np.float32(1) + array(1 << 18, 3) * np.float32(0.01)
    (got,) = jit.compile(graph_of(lambda x: [total(x, 0)], x))([x])
    np.testing.assert_allclose(got, x.astype("f8").sum(0), rtol=2e-7)


def test_special_values():
    x = array(600, 3)
    x[3, 0], x[5, 1], x[7, 2], x[9, 2] = np.inf, np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        (got,) = jit.compile(graph_of(lambda x: [total(x, 0)], x))([x])
    np.testing.assert_array_equal(got, [np.inf, np.nan, np.nan])
