"""Reductions of blocks, a pass: the sum, or the largest, of each 2 x 2 block of an image is that of the pairs in rows, and then of these.

An array whose axes are cut in two, as ``x.reshape(n, c, h // 2, 2, w // 2, 2)``, is reduced along axes that do not lie side by side. In one kernel each
result is a loop of its own over a few short rows; one after the other, vectors lie across the rows.
"""
import math
from dataclasses import replace

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs

__all__ = ["reduce_blocks"]

LEAST = 1024        # elements from which on another kernel pays
SHORT = 32          # elements of a row up to which it does


def reduce_blocks(graph):
    """No reduction goes over short rows and along axes before others that stay."""
    parts = {n: parts for n in graph.nodes if (parts := _parts(graph.specs, n))}
    if not parts:
        return graph
    specs, nodes = Specs(graph.specs), []
    for node in graph.nodes:
        nodes += _in_two(specs, node, *parts[node]) if node in parts else [node]
    return graph.replace(nodes=tuple(nodes), specs=specs)


def _parts(specs, node):
    """The last axes, which are reduced first, and those before, which are reduced then; None if all are reduced at once."""
    if node.op.name not in ("sum", "amax", "amin") or OPS.get(node.op.name) is not node.op:
        return None
    x, axes = specs[node.inputs[0]], dict(node.attrs)["axis"]
    if axes is None or x.size < LEAST or x.dtype == np.float16:
        return None
    axes = sorted([k % len(x.shape) for k in axes])
    kept = max([k for k, n in enumerate(x.shape) if k not in axes and n > 1], default=-1)
    last, others = tuple([k for k in axes if k > kept]), tuple([k for k in axes if k < kept])
    row = math.prod([x.shape[k] for k in last])
    return (last, others) if 1 < row <= SHORT and math.prod([x.shape[k] for k in others]) > 1 else None


def _in_two(specs, node, last, others):
    first = specs.reduction(node, node.inputs[0], last)
    if not dict(node.attrs)["keepdims"]:
        return [first, replace(node, inputs=first.outputs, attrs=(("axis", others), ("keepdims", False)))]
    second = specs.reduction(node, first.outputs[0], others)
    return [first, second, Node(OPS["reshape"], second.outputs, node.outputs, (("shape", specs[node.outputs[0]].shape),), node.line)]
