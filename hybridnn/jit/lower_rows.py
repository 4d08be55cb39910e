"""Lowering of gathers, scatters, and sums of scatters and of products: every term is added in place."""
import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.blas import matmul_step
from hybridnn.jit.moves import fill_step, gather_step, scatter_add_step
from hybridnn.jit.native import View
from hybridnn.jit.places import Place

__all__ = ["ROWS"]

FIRST = (("array", 0),)
INDICES = (np.dtype("i4"), np.dtype("i8"))


def _products(low, node):
    """The first product writes the result, the others add to it."""
    spec = low.specs[node.outputs[0]]
    places = [low.values[v] for v in node.inputs]
    if any(p.dtype != spec.dtype or 0 in p.shape for p in places):
        return False
    pairs = [(_turned(a, ta), _turned(b, tb)) for a, b, (ta, tb) in zip(places[::2], places[1::2], node.op.transposed)]

    def fits(probe):
        return all(matmul_step(_probe(a, 0), _probe(b, 1), probe, spec.dtype, beta=1.) is not None for a, b in pairs)
    if not fits(View.contiguous(2, spec.shape, spec.dtype.itemsize)):
        return False
    y = low.product_target(node.outputs[0], lambda place: fits(_probe(place, 2)))
    for k, (a, b) in enumerate(pairs):
        low.step("gemm", "matmul", [a, b, y] if k else [a, b], [y], _product(a, b, y, float(k > 0)), node)
    return True


def _product(a, b, y, beta):
    return lambda at: matmul_step(at(a), at(b), at(y), y.dtype, beta=beta)


def _turned(place, transposed):
    if not transposed:
        return place
    return Place(place.root, place.offset, place.shape[:-2] + place.shape[:-3:-1], place.strides[:-2] + place.strides[:-3:-1],
                 place.dtype)


def _probe(place, buffer):
    return View(buffer, place.offset, place.shape, place.strides)


def _take(low, node):
    """Rows of a table by number."""
    attrs = dict(node.attrs)
    if attrs["pattern"] != FIRST or len(node.inputs) != 2:
        return False
    table, index = (low.values[v] for v in node.inputs)
    if not (_contiguous(table) and _contiguous(index) and index.dtype in INDICES and table.shape and table.shape[0]):
        return False
    y = low.new_value(node.outputs[0])
    low.step("gather", "take", [table, index], [y],
             lambda at: gather_step(at(table), at(index), at(y), y.dtype.itemsize, index.dtype), node)
    return True


def _put(low, node):
    attrs = dict(node.attrs)
    if attrs["pattern"] != FIRST or len(node.inputs) != 2:
        return False
    return _scatter(low, node, attrs["shape"], [node.inputs])


def _scatters(low, node):
    return _scatter(low, node, node.op.shape, [node.inputs[k:k + 2] for k in range(0, len(node.inputs), 2)])


def _scatter(low, node, shape, pairs):
    """Zeros of ``shape``, to which rows are added at numbers (``pairs`` of values). Whether native steps can do it."""
    places = [[low.values[v] for v in pair] for pair in pairs]
    if not shape or not shape[0] or not all(map(_scatterable, places)):
        return False
    y = low.new_value(node.outputs[0])
    low.step("fill", "zeros", [], [y], lambda at: fill_step(at(y), 0, y.dtype), node)
    attrs = ("shape", shape), ("pattern", FIRST)
    for pair, (rows, index) in zip(pairs, places):
        one = Node(OPS["put"], pair, node.outputs, attrs, node.line)
        low.step("scatter", "put", [rows, index, y], [y], _added(rows, index, y), one)
    return True


def _scatterable(pair):
    rows, index = pair
    return _contiguous(rows) and _contiguous(index) and index.dtype in INDICES and rows.dtype.str[1:] in ("f4", "f8")


def _added(rows, index, y):
    return lambda at: scatter_add_step(at(rows), at(index), at(y), y.dtype, index.dtype)


def _contiguous(place):
    """Whether the elements lie in C order without gaps."""
    n = place.dtype.itemsize
    for size, stride in zip(reversed(place.shape), reversed(place.strides)):
        if size != 1 and stride != n:
            return False
        n *= size
    return True


ROWS = {"products": _products, "scatters": _scatters, "take": _take, "put": _put}
