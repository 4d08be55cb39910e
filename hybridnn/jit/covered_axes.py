"""Axes that a kernel covers, a pass: a convolution over a sequence that is written as one over an image becomes one over a sequence.

Along an axis that kernel and image are equally long in there is one result, so that its places are channels like others: (n, c, t, 1) with kernels (k, 1), or
the (n, 1, t, width) of embedded words with kernels (k, width) (Kim 2014, "Convolutional neural networks for sentence classification"). Libraries go along
the last axis by vectors and blocks of registers; where it has one element they are several times as slow. Where the kernel covers all axes, as in the last
layer of a discriminator or instead of a fully connected one (Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation",
section 3.1), the convolution is a matrix product.
"""
from math import prod

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["drop_covered_axes"]

PARTS = {"convolution": "xwy", "convolution_grad_x": "ywx", "convolution_grad_w": "xyw"}     # images, weights and results among operands and result
# Which operands of the product are transposed, and whether they change places.
PRODUCTS = {"convolution": (False, True, False), "convolution_grad_x": (False, False, False), "convolution_grad_w": (True, False, True)}
PER_AXIS = "stride", "pad", "dilate", "size", "ksize"     # attributes with an entry per spatial axis


def drop_covered_axes(graph):
    """No convolution has a spatial axis that its kernel covers: one whose axes are all covered is a matrix product."""
    work = _Work(graph)
    for node in graph.nodes:
        covered = work.covered(node) if OPS.get(node.op.name) is node.op and node.op.name in PARTS else ()
        if covered and len(covered) == len(work.specs[node.inputs[0]].shape) - 2:
            work.multiply(node)
        elif covered:
            work.fold(node, covered)
        else:
            work.nodes.append(node)
    return graph.replace(nodes=tuple(work.nodes), specs=work.specs)


class _Work:
    def __init__(self, graph):
        self.specs, self.nodes = Specs(graph.specs), []

    def covered(self, node):
        """The spatial axes (2 is the first) that become channels."""
        attrs, values = dict(node.attrs), dict(zip(PARTS[node.op.name], (*node.inputs, *node.outputs), strict=True))
        x, w, y = (self.specs[values[k]].shape for k in "xwy")
        found = [k for k in range(2, len(x)) if x[k] == w[k] and y[k] == 1 and not attrs["pad"][k - 2]]
        if len(found) == len(x) - 2:
            return found if attrs["groups"] == 1 and len({self.specs[v].dtype for v in values.values()}) == 1 else ()
        return found if attrs["groups"] == 1 or all(x[k] == 1 for k in found) else ()

    def multiply(self, node):
        """The product of matrices: images and weights have a row of as many elements each, results a row for each image."""
        y = self.specs[node.outputs[0]]
        a, b = [self.emit("reshape", v, _matrix(self.specs[v].shape), node.line) for v in node.inputs]
        transa, transb, swap = PRODUCTS[node.op.name]
        if swap:
            a, b = b, a
        result = self.specs.new(Spec(_matrix(y.shape), y.dtype))
        self.nodes.append(Node(OPS["matmul"], (a, b), (result,), (("transa", transa), ("transb", transb)), node.line))
        self.nodes.append(Node(OPS["reshape"], (result,), node.outputs, (("shape", y.shape),), node.line))

    def fold(self, node, covered):
        """The convolution over the other axes."""
        kept = [k for k in range(2, len(self.specs[node.inputs[0]].shape)) if k not in covered]
        attrs = tuple([(name, tuple([x[k - 2] for k in kept]) if name in PER_AXIS else x) for name, x in node.attrs])
        inputs = [self.folded(v, covered, kept, node.line) for v in node.inputs]
        y = self.specs[node.outputs[0]]
        result = self.specs.new(Spec(_folded(y.shape, covered, kept), y.dtype))
        self.nodes.append(Node(node.op, tuple(inputs), (result,), attrs, node.line))
        self.unfold(result, node.outputs[0], covered, kept, node.line)

    def folded(self, v, covered, kept, line):
        """(n, c, *size) as (n, places along covered axes and channels, *kept axes)."""
        shape = self.specs[v].shape
        if any(shape[k] != 1 for k in covered):
            axes = (0, *covered, 1, *kept)      # as they lie where channels are last
            v = self.emit("transpose", v, tuple([shape[k] for k in axes]), line, axes=axes)
        return self.emit("reshape", v, _folded(shape, covered, kept), line)

    def unfold(self, v, y, covered, kept, line):
        """``y`` is the opposite of ``folded``, of ``v``."""
        shape, axes = self.specs[y].shape, (0, *covered, 1, *kept)
        if all(shape[k] == 1 for k in covered):
            self.nodes.append(Node(OPS["reshape"], (v,), (y,), (("shape", shape),), line))
            return
        apart = self.emit("reshape", v, tuple([shape[k] for k in axes]), line)
        self.nodes.append(Node(OPS["transpose"], (apart,), (y,), (("axes", tuple([axes.index(k) for k in range(len(shape))])),), line))

    def emit(self, name, v, shape, line, **attrs):
        new = self.specs.new(Spec(tuple(shape), self.specs[v].dtype))
        self.nodes.append(Node(OPS[name], (v,), (new,), tuple((attrs or {"shape": tuple(shape)}).items()), line))
        return new


def _matrix(shape):
    return shape[0], prod(shape[1:])


def _folded(shape, covered, kept):
    return (shape[0], prod([shape[k] for k in (*covered, 1)]), *[shape[k] for k in kept])
