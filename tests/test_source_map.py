"""Kernels without reductions over several axes: short rows, ranges that begin and end within one, and transposed operands."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, assert_styles, graph_of, turned

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import compiler, layout, lower, source
from hybridnn.jit.fuse import fuse
from hybridnn.jit.passes import simplify


@pytest.mark.parametrize("threads", [False, True], ids=["one thread", "threads"])
@pytest.mark.parametrize("fn, operands", [
    (lambda x, y: [x * y], (array(70, 1, 3), array(1, 50, 3))),
    (lambda x, y: [x * y + 1.0, y - x], (array(70, 50, 3), array(70, 1, 3))),
    (lambda x, y: [OPS["exp"](x) - y], (array(6, 1, 7, 3), array(1, 5, 7, 1))),
    (lambda x, y: [OPS["sum"](x * y, axis=(2,), keepdims=False)], (array(70, 1, 30), array(1, 50, 30))),
    (lambda x, y: [OPS["sum"](x * y, axis=(2,), keepdims=False)], (array(70, 50, 9, 3), array(1, 50, 1, 3))),
    (lambda x, y: [OPS["sum"](x * y, axis=(2,), keepdims=False)], (array(7, 5, 40, 9), array(1, 5, 1, 9))),
    (lambda x, y: [OPS["sum"](x * y, axis=(2,), keepdims=False)], (array(7, 5, 40, 3), array(1, 5, 1, 1))),
    (lambda x, y: [OPS["sum"](x * y, axis=(1, 3), keepdims=False)], (array(7, 5, 40, 9), array(7, 1, 40, 1))),
], ids=["pairs", "middle", "four axes", "sums of rows", "sums of few rows", "sums of columns", "sums of few columns", "sums of two axes"])
def test_rows_along_several_axes(fn, operands, threads, monkeypatch):
    if threads:
        monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    graph = graph_of(fn, *operands)
    assert_same(graph, jit.compile(graph), operands, 3e-6, 3e-6)


@pytest.mark.parametrize("fn, operands, style", [
    (lambda x, y: [turned(x, 1, 0) * y], (array(300, 256), array(256, 300)), "Crossed"),
    (lambda x: [turned(x, 0, 2, 1) + 1.0], (array(3, 150, 512),), "Crossed"),
    (lambda x: [turned(x, 1, 0) + 1.0], (array(9000, 17),), "Crossed"),
    (lambda x, w: [turned(x, 1, 0) * w], (array(300, 256), array(256, 1)), "Crossed"),
    (lambda x: [turned(x, 1, 0) + 1.0], (array(300, 255),), "Map"),
    (lambda x: [turned(x, 1, 0) + 1.0], (array(9000, 16),), "Map"),
], ids=["matrix", "batch", "long", "column", "odd", "few columns"])
def test_transposed_operands(fn, operands, style, monkeypatch):
    monkeypatch.setattr(lower, "PARALLEL_BYTES", 64)
    assert_styles(fn, operands, [style], 1e-6, 1e-6)


def test_a_structure_says_whether_operands_are_transposed():
    assert layout._is_crossed((256, 300), [[1, 256]]) and not layout._is_crossed((256, 300), [[300, 1]])
    assert not layout._is_crossed((256,), [[1]]) and not layout._is_crossed((1, 9000), [[1, 256]])


def test_special_values_in_transposed_operands():
    x = array(300, 256)
    x[3, 5], x[7, 9], x[11, 13] = np.nan, np.inf, -0.0
    graph = graph_of(lambda x: [turned(x, 1, 0) * 2.0], x)
    assert_same(graph, jit.compile(graph), (x,), 0, 0)


def test_results_that_lie_apart_are_computed_in_vectors():
    """Of a stride that is one unknown number LLVM would assume that it is 1, and compute all else one by one."""
    graph = graph_of(lambda x: [OPS["tanh"](turned(x, 1, 2, 0))], array(7, 90, 5))
    node = fuse(simplify(graph)).nodes[0]
    arranged = layout.arrange(node.op.nest, [layout.Operand(0, 0, (4, 4 * 70, 28))], [layout.Operand(0, 0, (4 * 800, 4 * 8, 4 * 100))])
    text = source.render(arranged.structure)
    ir = str(compiler.compile_ir("probe", text, "<probe>"))
    assert "= 1 + args[" in text
    assert ir.count("extractelement") >= 4 or "llvm.masked.scatter" in ir       # with AVX-512, vectors are stored apart by one instruction
