"""Partial sums, a pass: what adds up a large array first adds up parts of it, which threads share.

A kernel that reduces every axis is one row, and so the work of one thread, together with all elementwise operations that are fused with it. An array of
one axis gets rows by a reshape, and so do the elementwise operations on arrays of its shape, which are to stay in one kernel. A kernel that reduces every
axis but the last is the work of one thread too where that is short, as channels are; it adds up every image first.
"""
import math
from dataclasses import replace

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.recompute import keeps_columns
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["partial_sums"]

LEAST = 1 << 16         # elements below which one thread does
PARTS, ROWS_OF_PART = 8, 32     # how many parts there must be at least where the last axis stays, and how many rows in each
ROWS = range(16, 7, -1)     # how many rows an array of one axis may get


def partial_sums(graph):
    """No sum over all of a large array, or over all its axes but the last, is taken in one step, if it has parts or can be given some."""
    sums = [n for n in graph.nodes if _adds_up(graph.specs, n)]
    columns = {n: axes for n in graph.nodes if (axes := _axes_inside_parts(graph.specs, n))}
    if not sums and not columns:
        return graph
    work = _Work(graph, {s: rows for n in sums if (rows := _rows(s := graph.specs[n.inputs[0]].shape))})
    for node in graph.nodes:
        if node in sums:
            work.sum(node)
        elif node in columns:
            work.sum_of_columns(node, columns[node])
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


def _axes_inside_parts(specs, node):
    """For a sum that keeps the last axis alone: the axes that a part of it goes over, so that there are enough parts and they are large enough."""
    if node.op.name not in ("sum", "sum_to") or OPS.get(node.op.name) is not node.op:
        return None
    x, y = specs[node.inputs[0]], specs[node.outputs[0]]
    inner = len(x.shape) - 1
    if x.size < LEAST or x.dtype == np.float16 or not keeps_columns(specs, node) or y.size != x.shape[-1]:
        return None
    for k in range(1, inner):
        if math.prod(x.shape[:k]) >= PARTS:
            return tuple(range(k, inner)) if math.prod(x.shape[k:inner]) >= ROWS_OF_PART else None
    return None


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
        first = self.specs.reduction(node, x, tuple(range(1, len(self.specs[x].shape))))
        self.nodes += [first, replace(node, inputs=first.outputs, attrs=(("axis", (0,)), ("keepdims", False)))]

    def sum_of_columns(self, node, axes):
        x = node.inputs[0]
        shape = tuple([1 if k in axes else n for k, n in enumerate(self.specs[x].shape)])
        part = self.new(shape, node.outputs[0])
        self.nodes.append(Node(OPS["sum"], (x,), (part,), (("axis", axes), ("keepdims", True)), node.line))
        self.nodes.append(Node(node.op, (part,), node.outputs, node.attrs, node.line))

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
