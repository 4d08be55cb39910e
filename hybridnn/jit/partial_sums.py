"""Partial sums, a pass: what adds up all elements of a large array first adds up rows, which threads share.

A kernel that reduces every axis is one row, and so the work of one thread, together with all elementwise operations that are fused with it. An array of
one axis gets rows by a reshape, and so do the elementwise operations on arrays of its shape, which are to stay in one kernel.
"""
import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["partial_sums"]

LEAST = 1 << 16         # elements below which one thread does
ROWS = range(16, 7, -1)     # how many rows an array of one axis may get


def partial_sums(graph):
    """No sum over all of a large array is taken in one step, if its elements have rows or can be given some."""
    sums = [n for n in graph.nodes if _adds_up(graph.specs, n)]
    if not sums:
        return graph
    work = _Work(graph, {s: rows for n in sums if (rows := _rows(s := graph.specs[n.inputs[0]].shape))})
    for node in graph.nodes:
        if node in sums:
            work.sum(node)
        elif work.inside(node):
            work.turn(node)
        else:
            work.nodes.append(node)
    return graph.replace(nodes=tuple(work.nodes), specs=work.specs)


def _adds_up(specs, node):
    if node.op is not OPS["sum"]:
        return False
    x, attrs = specs[node.inputs[0]], dict(node.attrs)
    axis = attrs["axis"]
    return x.size >= LEAST and x.dtype != np.float16 and not attrs["keepdims"] and (axis is None or sorted(axis) == list(range(len(x.shape)))) and \
        (len(x.shape) > 1 and x.shape[0] >= ROWS[-1] or _rows(x.shape) is not None)


def _rows(shape):
    """The shape that an array of one axis gets; None for others, and where nothing divides it."""
    rows = next((p for p in ROWS if shape[0] % p == 0), None) if len(shape) == 1 else None
    return None if rows is None else (rows, shape[0] // rows)


class _Work:
    """``turned``: shape -> the shape with rows; ``twins``: value -> the same in that shape."""

    def __init__(self, graph, turned):
        self.specs, self.nodes, self.turned, self.twins = Specs(graph.specs), [], turned, {}
        self.written = {v for _, v in graph.writes}

    def new(self, shape, like):
        return self.specs.new(Spec(tuple(shape), self.specs[like].dtype))

    def twin(self, v, line):
        """The value with rows (itself if its shape gets none)."""
        shape = self.turned.get(self.specs[v].shape)
        if shape is None or self.specs[v].weak:
            return v
        if v not in self.twins:
            self.twins[v] = self.new(shape, v)
            self.nodes.append(Node(OPS["reshape"], (v,), (self.twins[v],), (("shape", shape),), line))
        return self.twins[v]

    def sum(self, node):
        x = self.twin(node.inputs[0], node.line)
        shape = self.specs[x].shape
        part = self.new(shape[:1], node.outputs[0])
        self.nodes.append(Node(node.op, (x,), (part,), (("axis", tuple(range(1, len(shape)))), ("keepdims", False)), node.line))
        self.nodes.append(Node(node.op, (part,), node.outputs, (("axis", (0,)), ("keepdims", False)), node.line))

    def inside(self, node):
        """Whether the node works element by element on arrays of a shape that gets rows, and numbers."""
        if OPS.get(node.op.name) is not node.op or not node.outputs or not self.written.isdisjoint(node.outputs):
            return False
        shape = self.specs[node.outputs[0]].shape
        same = shape in self.turned and all(self.specs[v].shape == shape for v in node.outputs)
        fits = all(self.specs[v].shape in ((), shape) for v in node.inputs)
        return same and fits and (node.op.kind == "elementwise" or node.op is OPS["broadcast_to"])

    def turn(self, node):
        shape = self.turned[self.specs[node.outputs[0]].shape]
        inputs = tuple([self.twin(v, node.line) for v in node.inputs])
        outputs = tuple([self.new(shape, v) for v in node.outputs])
        attrs = (("shape", shape),) if node.op is OPS["broadcast_to"] else node.attrs
        self.nodes.append(Node(node.op, inputs, outputs, attrs, node.line))
        for v, y in zip(node.outputs, outputs, strict=True):
            self.twins[v] = y
            self.nodes.append(Node(OPS["reshape"], (y,), (v,), (("shape", self.specs[v].shape),), node.line))
