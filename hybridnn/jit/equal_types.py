"""Equal types, a pass: what NumPy converts inside of a product or a concatenation is converted before, where kernels do it."""
import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["equal_types"]

CONVERTS = frozenset({"matmul", "concat", "stack"})     # ops that convert all operands to the type of their result, and then are what they are for that
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def equal_types(graph):
    """Operands of products, concatenations and stacks have the type of the result, if that is float32 or float64."""
    specs, casts, nodes = Specs(graph.specs), {}, []
    for node in graph.nodes:
        if node.op.name in CONVERTS and OPS.get(node.op.name) is node.op and _mixed(specs, node):
            node = Node(node.op, tuple([_converted(specs, casts, nodes, v, node) for v in node.inputs]), node.outputs, node.attrs, node.line)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes), specs=specs) if casts else graph


def _mixed(specs, node):
    wanted, kinds = specs[node.outputs[0]].dtype, [specs[v].dtype for v in node.inputs]
    return wanted in FLOATS and any([k != wanted for k in kinds]) and all([k == wanted or k.kind in "iub" or k in FLOATS for k in kinds])


def _converted(specs, casts, nodes, v, node):
    """The value in the type of the node's result; a node for that is added once."""
    wanted = specs[node.outputs[0]].dtype
    if specs[v].dtype == wanted:
        return v
    if (v, wanted) not in casts:
        casts[v, wanted] = specs.new(Spec(specs[v].shape, wanted))
        nodes.append(Node(OPS["cast"], (v,), (casts[v, wanted],), (("dtype", wanted.str),), node.line))
    return casts[v, wanted]
