"""Lowering of gathers, scatters, and sums of scatters and of products: every term is added in place."""
from math import prod

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.blas import can_multiply, long_sum, matmul_step
from hybridnn.jit.moves import fill_step, gather_step, rows_apart, scatter_add_step, sum_parts_step
from hybridnn.jit.native import View
from hybridnn.jit.picking import permute_step, pick_step, put_step
from hybridnn.jit.places import Place

__all__ = ["ROWS", "add_parts", "add_products", "in_parts", "turned"]

FIRST = (("array", 0),)
INDICES = (np.dtype("i4"), np.dtype("i8"))
PIECE_BYTES = 200_000         # that a thread copies at least


def _products(low, node):
    """The first product writes the result, the others add to it."""
    spec = low.specs[node.outputs[0]]
    places = [low.values[v] for v in node.inputs]
    if any(p.dtype != spec.dtype or 0 in p.shape for p in places):
        return False
    pairs, whole = _pairs(node, places), View.contiguous(2, spec.shape, spec.dtype.itemsize)

    def fits(probe):
        return all(can_multiply(a.in_buffer(), b.in_buffer(1), probe, spec.dtype, add=True) for a, b in pairs)
    if not fits(whole):
        pairs = _pairs(node, [low.readable(p) for p in places])
        if not fits(whole):
            return False
    if in_parts(low, node, pairs):
        return True
    add_products(low, node, pairs, low.product_target(node.outputs[0], lambda place: fits(place.in_buffer(2))))
    return True


def add_products(low, node, pairs, y):
    """Steps that write the sum of products: the first writes, the others add to it."""
    for k, (a, b) in enumerate(pairs):
        low.step("gemm", "matmul", [a, b, y] if k else [a, b], [y], _product(a, b, y, k > 0), node)


def in_parts(low, node, pairs):
    """Whether products with long inner axes are lowered as sums of products of parts of these, a thread each: every thread reads rows of its own of both
    operands, which it has often just written."""
    counts = {long_sum(a.shape, b.shape, a.dtype.itemsize) for a, b in pairs}
    count = counts.pop()
    if counts or count == 1 or node.outputs[0] in low.parts:
        return False
    pairs = [(_parts_of(a, count, -1), _parts_of(b, count, -2)) for a, b in pairs]
    (m, _), n, dtype = pairs[0][0].shape[1:], pairs[0][1].shape[-1], pairs[0][0].dtype
    whole = View.contiguous(2, (count, m, n), dtype.itemsize)
    if not all([can_multiply(a.in_buffer(), b.in_buffer(1), whole, dtype, add=True) for a, b in pairs]):
        return False
    first, sums, y = len(low.steps), low.fresh((count, m, n), dtype), low.new_value(node.outputs[0])
    add_products(low, node, pairs, sums)
    add_parts(low, sums, y, count, m * n, dtype, node)
    for step in low.steps[first:]:
        step.node = None     # its operands are not the operation's, which cannot run on them to explain a failure
    return True


def _parts_of(place, count, axis):
    """A matrix as a batch of so many, whose rows or columns are parts of its own."""
    shape = list(place.shape)
    shape[axis] //= count
    return Place(place.root, place.offset, (count, *shape), (place.strides[axis] * shape[axis], *place.strides), place.dtype)


def add_parts(low, parts, place, count, size, dtype, node):
    """A step that adds up arrays of ``size`` elements that lie one behind the other."""
    view = lambda v, shape: View.contiguous(v.buf, shape, dtype.itemsize, v.offset)
    low.step("kernel", "sum", [parts], [place], lambda at: sum_parts_step(view(at(parts), (count, size)), view(at(place), (size,)), dtype), node)
    low.steps[-1].node = None


def _pairs(node, places):
    return [(turned(a, ta), turned(b, tb)) for a, b, (ta, tb) in zip(places[::2], places[1::2], node.op.transposed)]


def _product(a, b, y, add):
    return lambda at: matmul_step(at(a), at(b), at(y), y.dtype, add)


def turned(place, transposed):
    """A matrix, or a batch of them, as a product takes it."""
    if not transposed:
        return place
    return Place(place.root, place.offset, place.shape[:-2] + place.shape[:-3:-1], place.strides[:-2] + place.strides[:-3:-1],
                 place.dtype)


def _take(low, node):
    """Elements, rows or blocks of a table by number."""
    pattern, table, indices = dict(node.attrs)["pattern"], low.values[node.inputs[0]], node.inputs[1:]
    if not _numbers(low, indices) or low.specs[node.outputs[0]].size == 0:
        return False
    rows = pattern == FIRST and len(indices) == 1 and rows_apart(table, 1, table.dtype.itemsize) is not None
    if rows and low.values[indices[0]].dense:
        index = low.values[indices[0]]
        y = low.rows_target(node.outputs[0], len(index.shape))
        low.step("gather", "take", [table, index], [y], lambda at: gather_step(at(table), at(index), at(y), y.dtype.itemsize, index.dtype,
                                                                               _grain(y)), node)
        return True
    places = [low.values[v] for v in indices]
    wide = [p.dtype.itemsize == 8 for p in places]

    def build(at, y, numbers):
        return pick_step(at(table), [at(p) for p in places], y, numbers, pattern, table.dtype.itemsize, wide)
    probe = table.in_buffer()
    if build(lambda p: p.in_buffer(), probe, probe) is None:
        return False
    y, numbers = low.new_value(node.outputs[0]), _one_each(low, places)
    low.step("gather", "take", [table, *places], [y], lambda at: build(at, at(y), at(numbers)), node, scratch=[numbers])
    return True


def _one_each(low, places):
    """Memory for one number per element of the common shape of index arrays."""
    return low.fresh(np.broadcast_shapes(*[p.shape for p in places]), np.dtype("i8"))


def _grain(y):
    """Rows per thread at least; 0 where one thread copies all."""
    row = prod(y.shape[1:]) * y.dtype.itemsize
    return max(1, PIECE_BYTES // row) if y.shape and row * y.shape[0] >= 2 * PIECE_BYTES else 0


def _numbers(low, indices):
    return all(low.values[v].dtype in INDICES and low.specs[v].size for v in indices)


def _put(low, node):
    attrs = dict(node.attrs)
    if attrs["pattern"] == FIRST and len(node.inputs) == 2 and _scatter(low, node, attrs["shape"], [node.inputs]):
        return True
    return _put_at(low, node, **attrs)


def _put_at(low, node, shape, pattern):
    """Zeros of ``shape``, to which elements are added at several index arrays."""
    if not _numbers(low, node.inputs[1:]) or 0 in shape:
        return False
    rows, *places = [low.dense(v) for v in node.inputs]
    dtype, wide = low.specs[node.outputs[0]].dtype, [p.dtype.itemsize == 8 for p in places]

    def build(at, y, numbers):
        return put_step(at(rows), [at(p) for p in places], y, numbers, pattern, dtype, wide)
    probe = View.contiguous(0, shape, dtype.itemsize)
    if rows.dtype != dtype or build(lambda p: p.in_buffer(), probe, probe) is None:
        return False
    y, numbers = low.new_value(node.outputs[0]), _one_each(low, places)
    low.step("fill", "zeros", [], [y], lambda at: fill_step(at(y), 0, y.dtype), node)
    low.step("scatter", "put", [rows, *places, y], [y], lambda at: build(at, at(y), at(numbers)), node, scratch=[numbers])
    return True


def _permutate(low, node):
    attrs = dict(node.attrs)
    axis, (x, index) = attrs["axis"], node.inputs
    if not _numbers(low, [index]) or low.specs[x].size == 0 or low.specs[index].shape != (low.specs[x].shape[axis],):
        return False
    x, index = (low.dense(v) for v in node.inputs)
    y, seen = low.new_value(node.outputs[0]), low.fresh((index.shape[0],), np.dtype("u1"))
    low.step("gather", "permutate", [x, index], [y],
             lambda at: permute_step(at(x), at(index), at(y), at(seen), axis, x.dtype.itemsize, attrs["inv"], index.dtype.itemsize == 8),
             node, scratch=[seen])
    return True


def _scatters(low, node):
    return _scatter(low, node, node.op.shape, [node.inputs[k:k + 2] for k in range(0, len(node.inputs), 2)])


def _scatter(low, node, shape, pairs):
    """Zeros of ``shape``, to which rows are added at numbers (``pairs`` of values). Whether native steps can do it."""
    if not shape or not shape[0] or not all(low.values[i].dtype in INDICES and low.values[v].dtype.str[1:] in ("f4", "f8") for v, i in pairs):
        return False
    places = [(low.rows(v, len(low.specs[i].shape)), low.dense(i)) for v, i in pairs]
    y = low.new_value(node.outputs[0])
    low.step("fill", "zeros", [], [y], lambda at: fill_step(at(y), 0, y.dtype), node)
    attrs = ("shape", shape), ("pattern", FIRST)
    for pair, (rows, index) in zip(pairs, places):
        one = Node(OPS["put"], pair, node.outputs, attrs, node.line)
        low.step("scatter", "put", [rows, index, y], [y], _added(rows, index, y), one)
    return True


def _added(rows, index, y):
    return lambda at: scatter_add_step(at(rows), at(index), at(y), y.dtype, index.dtype)


ROWS = {"products": _products, "scatters": _scatters, "take": _take, "put": _put, "permutate": _permutate}
