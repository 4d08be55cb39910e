"""Joining, a pass: values that are put together from parts (concat, stack, sums of ``put_item``) become one node each, whose
parts a kernel can write where they belong."""
import functools
from dataclasses import dataclass
from math import prod

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node

__all__ = ["JoinOp", "join_parts", "view_index"]

WHOLE = ("slice", None, None, None)


@dataclass(frozen=True)
class JoinOp:
    """An array of ``shape`` that holds operand k at ``indices[k]`` (basic, encoded as ``get_item``'s) and zeros where no operand
    is.
    """
    shape: tuple
    indices: tuple
    full: bool
    name = "join"
    kind = "join"
    multi = False
    decompose = None

    def run(self, arrays, attrs):
        y = (np.empty if self.full else np.zeros)(self.shape, arrays[0].dtype)
        for x, index in zip(arrays, self.indices, strict=True):
            np.copyto(self.part(y, index), x)
        return y

    @staticmethod
    def part(y, index):
        """The view of ``y`` at ``index``."""
        return OPS["get_item"].run([y], {"index": view_index(index)})


def view_index(index):
    """The index with which a part that is one element is a view too, not a number of NumPy's."""
    return (*index, Ellipsis) if all(isinstance(i, int) for i in index) else index


def join_parts(graph):
    """Concatenations, stacks and sums of arrays that are zero but in disjoint parts are ``JoinOp`` nodes."""
    joins, nodes = {}, []
    for node in graph.nodes:
        find = _FORMS.get(node.op.name)
        new = _joined(graph, node, joins, find) if find is not None and OPS.get(node.op.name) is node.op else None
        if new is not None:
            joins[node.outputs[0]] = new
        nodes.append(new or node)
    return graph.replace(nodes=tuple(nodes)) if joins else graph


def _joined(graph, node, joins, find):
    spec = graph.specs[node.outputs[0]]
    found = find(graph, node, dict(node.attrs), joins)
    if found is None or not spec.size or any(graph.specs[v].dtype != spec.dtype or graph.specs[v].weak for v in found[0]):
        return None
    parts, indices = found
    if any(_part_shape(spec.shape, i) != graph.specs[v].shape for v, i in zip(parts, indices)):
        return None
    full = sum(graph.specs[v].size for v in parts) == prod(spec.shape)
    return Node(JoinOp(spec.shape, tuple(indices), full), tuple(parts), node.outputs, (), node.line)


@functools.lru_cache(4096)
def _part_shape(shape, index):
    """The shape of the part at ``index`` of an array of this shape."""
    return JoinOp.part(np.broadcast_to(np.zeros((), np.bool_), shape), index).shape


def _concat(graph, node, attrs, joins):
    ends = np.cumsum([graph.specs[v].shape[attrs["axis"]] for v in node.inputs]).tolist()
    starts = [0, *ends[:-1]]
    lead = (WHOLE,) * attrs["axis"]
    return node.inputs, [(*lead, ("slice", a, b, None)) for a, b in zip(starts, ends)]


def _stack(graph, node, attrs, joins):
    return node.inputs, [(*(WHOLE,) * attrs["axis"], k) for k in range(len(node.inputs))]


def _put(graph, node, attrs, joins):
    return node.inputs, [attrs["index"]]


def _sum(graph, node, attrs, joins):
    a, b = (joins.get(v) for v in node.inputs)
    if a is None or b is None or a.op.shape != b.op.shape or a.op.shape != graph.specs[node.outputs[0]].shape:
        return None
    if not all(_disjoint(i, j, a.op.shape) for i in a.op.indices for j in b.op.indices):
        return None
    return a.inputs + b.inputs, a.op.indices + b.op.indices


_FORMS = {"concat": _concat, "stack": _stack, "put_item": _put, "add": _sum}


@functools.lru_cache(4096)
def _disjoint(i, j, shape):
    """Whether two indices of ints and plain slices share no element; False where that is not clear."""
    ranges = [_ranges(index, shape) for index in (i, j)]
    return None not in ranges and any(a[-1] < b[0] or b[-1] < a[0] or not set(a) & set(b) for a, b in map(_ascending, *ranges))


def _ascending(*ranges):
    """Two ranges that are not empty, from their least element on; those that are share nothing."""
    return [r if r.step > 0 else r[::-1] for r in ranges] if all(ranges) else (range(1), range(1, 2))


def _ranges(index, shape):
    result = []
    for k, n in enumerate(shape):
        i = index[k] if k < len(index) else WHOLE
        if i is None or i is Ellipsis:
            return None
        result.append(range(n)[i:i + 1] if isinstance(i, int) and i >= 0 else range(n)[i] if isinstance(i, slice) else
                      range(*slice(*i[1:]).indices(n)) if isinstance(i, tuple) else range(n + i, n + i + 1))
    return result
