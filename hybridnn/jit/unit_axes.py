"""Axes of length 1, a pass: a convolution over a sequence that is written as one over an image becomes one over a sequence.

Libraries go along the last axis by vectors and blocks of registers; where it has one element they are several times as slow.
"""
from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["drop_unit_axes"]

CONVOLUTIONS = "convolution", "convolution_grad_x", "convolution_grad_w"
PER_AXIS = "stride", "pad", "dilate", "size", "ksize"     # attributes with an entry per spatial axis


def drop_unit_axes(graph):
    """No convolution has a spatial axis along which images, kernels and results have one element, unless all are such."""
    specs, nodes = Specs(graph.specs), []
    for node in graph.nodes:
        kept = _kept(specs, node) if OPS.get(node.op.name) is node.op and node.op.name in CONVOLUTIONS else None
        nodes += [node] if kept is None else _without(specs, node, kept)
    return graph.replace(nodes=tuple(nodes), specs=specs)


def _kept(specs, node):
    """The spatial axes that stay; None if all do."""
    attrs, shapes = dict(node.attrs), [specs[v].shape[2:] for v in (*node.inputs, *node.outputs)]
    kept = tuple([k for k in range(len(shapes[0])) if attrs["pad"][k] or any(shape[k] != 1 for shape in shapes)])
    return kept if 0 < len(kept) < len(shapes[0]) else None


def _without(specs, node, kept):
    """The nodes instead of one."""
    def shape(v):
        return (*specs[v].shape[:2], *[specs[v].shape[2 + k] for k in kept])

    def new(v):
        return specs.new(Spec(shape(v), specs[v].dtype))
    inputs, (y,) = [new(v) for v in node.inputs], node.outputs
    attrs = tuple([(name, tuple([x[k] for k in kept]) if name in PER_AXIS else x) for name, x in node.attrs])
    before = [Node(OPS["reshape"], (v,), (u,), (("shape", shape(v)),), node.line) for v, u in zip(node.inputs, inputs, strict=True)]
    result = new(y)
    return [*before, Node(node.op, tuple(inputs), (result,), attrs, node.line),
            Node(OPS["reshape"], (result,), (y,), (("shape", specs[y].shape),), node.line)]
