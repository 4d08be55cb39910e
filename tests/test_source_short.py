"""Kernels of many short rows: vectors lie across rows; results are as in kernels of long ones."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of, kinds, product

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import lower

ROWS, N = 37, 5


def rows(name, x):
    return OPS[name](x, axis=(1,), keepdims=True)


def spread(x, n=N):
    return OPS["broadcast_to"](x, shape=(ROWS, n))


def softmax(x):
    e = OPS["exp"](x - spread(rows("amax", x)))
    return e / spread(rows("sum", e))


def labels(x, t):
    y = softmax(x)
    return [OPS["where"](OPS["iota_equal"](t, depth=N), y, 0.0), rows("sum", OPS["where"](OPS["iota_equal"](t, depth=N), y, 0.0)), rows("amin", y)]


def normalised(x, gamma):
    mean = rows("sum", x) * (1 / N)
    centred = x - spread(mean)
    scale = OPS["rsqrt"](rows("sum", centred * centred) * (1 / N) + 1e-5)
    return [centred * spread(scale) * spread(gamma), scale, mean]


@pytest.mark.parametrize("fn, operands", [
    (lambda x: [softmax(x)], (array(ROWS, N),)),
    (lambda x, t: labels(x, t), (array(ROWS, N), np.arange(ROWS, dtype="i4") % N)),
    (lambda x, gamma: normalised(x, gamma), (array(ROWS, N), array(N))),
    (lambda x, w: [spread(w) * x, rows("sum", x * spread(w)), OPS["tanh"](w) * rows("amax", x)], (array(ROWS, N), array(ROWS, 1))),
    (lambda x, y: [rows("sum", x * OPS["transpose"](y, axes=(1, 0))), rows("amax", x), x - OPS["transpose"](y, axes=(1, 0))], (array(ROWS, N), array(N, ROWS))),
    (lambda x: [softmax(x[:, 1:6])], (array(ROWS, 7),)),
    (lambda x: [softmax(OPS["transpose"](x, axes=(1, 0)))], (array(N, ROWS),)),
    (lambda x: [softmax(x)], (array(ROWS, N, dtype="f8"),)),
    (lambda x: [rows("sum", x), rows("amax", x), x * 2], (np.arange(ROWS * N, dtype="i4").reshape(ROWS, N),)),
    (lambda x: [rows("sum", x > 0), x > 0, rows("amax", x)], (array(ROWS, N),)),
    (lambda x, n: [softmax(x * n)], (array(ROWS, N), 0.5)),
], ids=["softmax", "labels", "two sums", "outer operand", "transposed operand", "slice", "transposed", "doubles", "ints", "bools", "number"])
def test_kernels(fn, operands):
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert any(text.startswith('"""Short') for text in executable.sources)
    assert_same(graph, executable, operands, 2e-6, 2e-6)


def pairs(x, y):
    """Differences of all points, their lengths and directions."""
    d = x - y
    length = OPS["sqrt"](OPS["sum"](d * d, axis=(2,), keepdims=True) + 0.1)
    return [d / length, length, OPS["amax"](d, axis=(2,), keepdims=False)]


@pytest.mark.parametrize("fn, operands", [
    (pairs, (array(7, 1, 3), array(1, 150, 3))),
    (pairs, (array(7, 150, 3), array(1, 150, 3))),
    (lambda x, y: [OPS["sum"](x * OPS["transpose"](y, axes=(1, 2, 0)), axis=(2,), keepdims=False)], (array(1, 40, 5), array(5, 6, 40))),
    (lambda x, w: [OPS["sum"](x * w, axis=(2,), keepdims=True) * x], (array(6, 40, 4), array(1, 40, 1))),
    (lambda x, w, v: [OPS["sum"](x * w * v, axis=(3,), keepdims=True) * x], (array(4, 5, 40, 4), array(4, 1, 40, 1), array(1, 5, 1, 1))),
    (lambda x, t: [OPS["sum"](OPS["where"](OPS["iota_equal"](t, depth=5), x, 0.0), axis=(2,), keepdims=False)],
     (array(1, 40, 5), np.arange(240, dtype="i4").reshape(6, 40) % 5)),
    (pairs, (array(7, 1, 3, dtype="f8"), array(1, 150, 3, dtype="f8"))),
], ids=["points", "rows and points", "transposed", "weights of rows", "four axes", "labels", "doubles"])
def test_rows_along_several_axes(fn, operands, monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert any(text.startswith('"""Short') for text in executable.sources)
    assert_same(graph, executable, operands, 2e-6, 2e-6)


def test_rows_are_written_in_place():
    operands = array(ROWS, N), array(N, N)
    graph = graph_of(lambda x, w: [product(softmax(product(x, w)), w)], *operands)
    executable = jit.compile(graph)
    assert kinds(executable) == ["gemm", "kernel", "gemm"] and executable.arena_bytes <= ROWS * N * 4 + 64
    assert_same(graph, executable, operands, 5e-6, 5e-6)


def test_a_sum_and_an_update_beside_it():
    """The update comes last: what others wait for is not computed in its kernel."""
    operands = array(ROWS, N), array(ROWS, N)
    graph = graph_of(lambda a, g: [a - 0.1 * g, OPS["exp"](rows("sum", a * a))], *operands, writes=[(0, 0)])
    executable = jit.compile(graph)
    assert "sub" in executable.steps[-1].ops and "sum" not in executable.steps[-1].ops
    assert_same(graph, executable, operands, 5e-6, 5e-6)


@pytest.mark.parametrize("shape, style", [
    ((2, 2), "Short"), ((300, 24), "Short"), ((300, 47), "Short"), ((300, 71), "Row"), ((4, 24), "Short"), ((1, 5), "Row")], ids=str)
def test_where_rows_are_short(shape, style):
    executable = jit.compile(graph_of(lambda x: [OPS["sum"](OPS["exp"](x), axis=(1,), keepdims=False)], array(*shape)))
    assert [text[3:].split(":")[0] for text in executable.sources] == [style]


def test_special_values_and_flags():
    """Infinities and NaN come out as in NumPy; the rest of a block raises no flags."""
    x = array(ROWS, N)
    x[3], x[5, 2], x[7, 0], x[9] = -np.inf, np.nan, np.inf, 1e30
    graph = graph_of(lambda x: [rows("amax", x), rows("sum", x), rows("amin", x), x], x)
    assert_same(graph, jit.compile(graph), (x,), 0, 0)
    executable = jit.compile(graph_of(lambda x: [softmax(x)], array(ROWS, N)))
    with np.errstate(all="raise"):
        executable([array(ROWS, N)])


def test_threads_share_rows(monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    x = array(5000, 3)
    graph = graph_of(lambda x: [OPS["sum"](x * x, axis=(1,), keepdims=True) * x], x)
    assert_same(graph, jit.compile(graph), (x,), 2e-6, 2e-6)


def chain(x, steps, dear=False):
    """Sums of rows, and ``steps`` values for every place."""
    values = [x]
    for _ in range(steps):
        values.append(OPS["exp"](values[-1] * -1.0) if dear else values[-1] * x)
    return [rows("sum", values[-1] * x), *values[1:]]


@pytest.mark.parametrize("n, steps, dear, style", [
    (5, 8, False, "Short"), (11, 1, False, "Short"), (16, 1, False, "Row"), (48, 2, True, "Row"), (47, 2, True, "Short"),
    (48, 0, False, "Row"), (47, 0, False, "Short")])
def test_vectors_lie_along_rows_that_fill_them(n, steps, dear, style):
    """Unless lanes are added up so often, for little else, that across rows is better."""
    x = array(ROWS, n)
    graph = graph_of(lambda x: chain(x, steps, dear), x)
    executable = jit.compile(graph)
    assert [text.startswith(f'"""{style}') for text in executable.sources] == [True]
    assert_same(graph, executable, (x,), 2e-6, 2e-6)


@pytest.mark.parametrize("rows_", [1, 7, 8, 9, 64, 71, 135])
@pytest.mark.parametrize("dtype", ["f4", "i4", "f8", "i2"])
def test_blocks_of_all_sizes(rows_, dtype):
    """Copies of rows go by squares in registers, the last of which begin where they end with the block."""
    for n in (1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15):
        x = array(rows_, n + 2)[:, 1:-1].astype(dtype) if dtype[0] == "f" else np.arange(rows_ * n, dtype=dtype).reshape(rows_, n)
        graph = graph_of(lambda x: [OPS["amax"](x, axis=(1,), keepdims=True) - x], x)
        assert_same(graph, jit.compile(graph), (x,), 0, 0)


def test_dear_numbers_of_rows_are_computed_side_by_side():
    x = array(ROWS, 16)
    graph = graph_of(lambda x: [x - spread(OPS["log"](rows("sum", OPS["exp"](x))), 16)], x)
    executable = jit.compile(graph)
    assert executable.sources[0].startswith('"""Short')
    assert_same(graph, executable, (x,), 2e-6, 2e-6)
