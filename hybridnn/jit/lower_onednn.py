"""Lowering of convolutions to oneDNN, in the memory layouts that its primitives ask for.

A value may exist in C order, in a library layout, or both (``low.layouts``: value -> pairs of Layout and place). A reorder is a
step of its own, and made once for all convolutions that read the value so: the forward pass and the gradient of the weights share
x, both gradients share gy. A result goes back to C order only if something else than a convolution reads it.
"""
import logging

import numpy as np

from hybridnn.jit import onednn

__all__ = ["convolution", "materialize"]

logger = logging.getLogger("hybridnn.jit")

READERS = ("convolution", "convolution_grad_x", "convolution_grad_w")
PARTS = {
    "forward": ("src", "weights", "dst"), "grad_x": ("diff_src", "weights", "diff_dst"),
    "grad_w": ("src", "diff_weights", "diff_dst"),
}  # fmt: skip
RESULT = {"forward": "dst", "grad_x": "diff_src", "grad_w": "diff_weights"}


def convolution(low, way, values, geometry, node):
    """Steps for a convolution (``way`` "forward", "grad_x", "grad_w") of the values x, W, y; False where oneDNN has none."""
    try:
        primitive = _primitive(way, geometry)
    except onednn.Unsupported as error:
        logger.debug("oneDNN: no %s for %s: %s", node.op.name, geometry, error)
        return False
    if "ref" in primitive.implementation:
        return False
    values, result = dict(zip(PARTS[way], values)), RESULT[way]
    operands = {n: _operand(low, v, primitive.layouts[n], node) for n, v in values.items() if n != result}
    layout = primitive.layouts[result]
    place = low.new_value(values[result]) if layout.is_plain else _bytes(low, layout)
    _add(low, "onednn", node.op.name, primitive, operands, {result: place}, node)
    if not layout.is_plain:
        low.layouts[values[result]] = [(layout, place)]
        if _read_plainly(low.graph, values[result]):
            materialize(low, values[result], node)
    return True


def materialize(low, value, node):
    """A value that exists in a library layout only gets its place in C order."""
    if value not in low.values:
        layout, place = low.layouts[value][0]
        _reorder(low, place, layout, low.new_value(value), onednn.plain(layout.shape), node)


# --------------------------------------------------------------------------------------------------------------------- primitives

def _shapes(g):
    """Shapes of x, W, y as the library sees them."""
    w = g.windows
    kernel = (g.outputs // g.groups, g.channels // g.groups, *w.kernel)
    weights = kernel if g.groups == 1 else (g.groups, *kernel)
    return (g.images, g.channels, *w.size), weights, (g.images, g.outputs, *w.out)


def _primitive(way, geometry):
    w = geometry.windows
    after = [max(0, (o - 1) * s + (k - 1) * d + 1 - n - p)
             for n, k, o, s, p, d in zip(w.size, w.kernel, w.out, w.stride, w.pad, w.dilation)]
    window = onednn.Geometry(w.stride, w.pad, tuple(after), w.dilation)
    x, weights, y = map(onednn.free, _shapes(geometry))
    forward = onednn.convolution(x, weights, y, window)
    if way == "forward":
        return forward
    backward = onednn.convolution_backward_data if way == "grad_x" else onednn.convolution_backward_weights
    return backward(x, weights, y, window, forward)


# ------------------------------------------------------------------------------------------------------------ places and reorders

def _bytes(low, layout):
    return low.fresh((layout.size,), np.dtype("u1"))


def _operand(low, value, layout, node):
    """The value's place in ``layout``."""
    for known, place in low.layouts.get(value, ()):
        if known.same(layout):
            return place
    materialize(low, value, node)
    place = low.values[value]
    here = onednn.plain(layout.shape, _grouped_strides(place, layout.shape))
    if here.same(layout):
        return place
    target = _bytes(low, layout)
    _reorder(low, place, here, target, layout, node)
    low.layouts.setdefault(value, []).append((layout, target))
    return target


def _grouped_strides(place, shape):
    """Strides in elements; the output channels of W split into groups."""
    strides = [s // place.dtype.itemsize for s in place.strides]
    return strides if len(strides) == len(shape) else [shape[1] * strides[0], *strides]


def _read_plainly(graph, value):
    kept = {*graph.outputs, *(v for _, v in graph.writes)}
    return value in kept or any(value in n.inputs and n.op.name not in READERS for n in graph.nodes)


def _reorder(low, source, here, target, layout, node):
    _add(low, "reorder", "reorder", onednn.reorder(here, layout), {"src": source}, {"dst": target}, node)


def _add(low, kind, name, primitive, reads, writes, node):
    scratch = {"scratchpad": _bytes(low, primitive.layouts["scratchpad"])} if "scratchpad" in primitive.layouts else {}
    places = {**reads, **writes, **scratch}

    def build(at):
        views = {n: at(p) for n, p in places.items()}
        return primitive.step({n: (v.buf, v.offset) for n, v in views.items()}, name)
    low.step(kind, name, [*reads.values()], [*writes.values()], build, node, scratch=[*scratch.values()])
    low.steps[-1].node = None     # its operands are not the operation's, which cannot run on them to explain a failure
