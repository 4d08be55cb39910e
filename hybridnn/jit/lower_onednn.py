"""Lowering of convolutions to oneDNN, in the memory layouts that its primitives ask for.

A value may exist in C order, in a library layout, or both (``low.layouts``: value -> pairs of Layout and place). A reorder is a
step of its own, and made once for all convolutions that read the value so: the forward pass and the gradient of the weights share
x, both gradients share gy. A result goes back to C order only if something else than a convolution reads it.

The library's own threads wait for each other, which takes milliseconds where another process holds a core. So a primitive works on a few
images on one thread, and our helpers share such pieces; gradients of weights are summed over them.
"""
import functools
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod

import numpy as np

from hybridnn.jit import onednn, threads
from hybridnn.jit.lower_rows import add_parts

__all__ = ["convolution", "fast_code", "materialize"]

logger = logging.getLogger("hybridnn.jit")

READERS = ("convolution", "convolution_grad_x", "convolution_grad_w")
PARTS = {
    "forward": ("src", "weights", "dst"), "grad_x": ("diff_src", "weights", "diff_dst"),
    "grad_w": ("src", "diff_weights", "diff_dst"),
}  # fmt: skip
RESULT = {"forward": "dst", "grad_x": "diff_src", "grad_w": "diff_weights"}
WEIGHTS = "weights", "diff_weights"
REAL = 4                                  # bytes of a float32
UNIT_FLOPS, MOST_UNITS = 3e6, 16          # of a piece of the images: about 15 us at least
SUMS, SUMMED_BYTES = 4, 1 << 20           # gradients of weights that are summed, at most
ALONE_FLOPS, ALONE_BYTES = 2e7, 1 << 21   # what cannot be cut is left to one thread up to here
UNIT_BYTES = 200_000                      # of a piece of a reorder


@dataclass(frozen=True)
class Pieces:
    """A primitive that works on the images in ``units`` pieces; ``layouts`` are those of the whole arrays."""
    primitive: object
    layouts: dict
    units: int


def convolution(low, way, values, geometry, node, last=False):
    """Steps for a convolution (``way`` "forward", "grad_x", "grad_w") of the values x, W, y; False where oneDNN has none.

    ``last``: x and y have their channels last, and lie in this order.
    """
    try:
        pieces = _pieces(way, geometry, last)
    except onednn.Unsupported as error:
        logger.debug("oneDNN: no %s for %s: %s", node.op.name, geometry, error)
        return False
    if "ref" in pieces.primitive.implementation:
        return False
    values, result = dict(zip(PARTS[way], values)), RESULT[way]
    turned = {n for n in values if last and n not in WEIGHTS}
    operands = {n: _operand(low, v, pieces.layouts[n], node, n in turned) for n, v in values.items() if n != result}
    layout, units = pieces.layouts[result], pieces.units
    here = result in turned or layout.is_plain
    place = low.new_value(values[result]) if here else _bytes(low, layout)
    strides = {n: whole.size // units for n, whole in pieces.layouts.items() if n not in WEIGHTS}
    if way == "grad_w" and units > 1:
        target = _bytes(low, layout, units)
        _add(low, "onednn", node.op.name, pieces.primitive, operands, {result: target}, node, units, {**strides, result: layout.size})
        add_parts(low, target, place, units, layout.size // REAL, np.dtype(np.float32), node)
    else:
        _add(low, "onednn", node.op.name, pieces.primitive, operands, {result: place}, node, units, strides)
    if not here:
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


def fast_code(way, geometry):
    """The name of the library's code for arrays with channels last, if it is fast, else ""."""
    return _fast_code(way, geometry) if onednn.find() is not None else ""


@functools.lru_cache(1024)
def _fast_code(way, geometry):
    try:
        name = _pieces(way, geometry, True).primitive.implementation
    except onednn.Unsupported:
        return ""
    return name if name.startswith(("jit", "br")) else ""


def _channels_last(shape):
    n, c, *size = shape
    strides = [c * prod(size[k + 1:]) for k in range(len(size))]
    return onednn.plain(shape, (c * prod(size), 1, *strides))


def _pieces(way, geometry, last=False):
    onednn.library()        # raises where there is none
    return _made_for(way, geometry, last, int(threads.TABLE[threads.LIMIT]))


@functools.lru_cache(128)
def _made_for(way, geometry, last, limit):
    """The whole problem says how arrays lie; the pieces lie in the same way. ``limit``: of threads. Primitives may be shared: they keep nothing of a call."""
    units = _units(way, geometry)
    with onednn.one_thread() if units else nullcontext():
        primitive = _whole(way, geometry, last, limit, units > 0)
        if units < 2:
            return Pieces(primitive, primitive.layouts, 1)
        layouts, images = primitive.layouts, geometry.images // units
        parts = {n: layouts[n] if n in WEIGHTS else layouts[n].part(images) for n in PARTS[way]}
        if any(p.size * units != layouts[n].size for n, p in parts.items() if n not in WEIGHTS):
            raise onednn.Unsupported("pieces of a layout that are not like the whole")
        return Pieces(_primitive(way, geometry, *parts.values()), layouts, units)


@functools.lru_cache(128)
def _whole(way, geometry, last, limit, alone):
    """The primitive of the whole problem, for one thread if it is made ``alone``; that of the forward pass is made once for all ways."""
    order = _channels_last if last else onednn.free
    x, weights, y = _shapes(geometry)
    forward = None if way == "forward" else _whole("forward", geometry, last, limit, alone)
    return _primitive(way, geometry, order(x), onednn.free(weights), order(y), forward)


def _units(way, g):
    """How many pieces; 1 for one thread, 0 for the library's threads."""
    flops, size = 2 * g.images * g.outputs * g.positions * g.column, 4 * g.outputs * g.column
    most = MOST_UNITS if way != "grad_w" else min(SUMS, SUMMED_BYTES // size)
    fit = [n for n in range(2, most + 1) if g.images % n == 0 and flops >= n * UNIT_FLOPS]
    return max(fit, default=int(flops < ALONE_FLOPS))


def _primitive(way, geometry, x, weights, y, forward=None):
    """``forward``: that of the forward pass of the same, if it is there."""
    w = geometry.windows
    after = [max(0, (o - 1) * s + (k - 1) * d + 1 - n - p)
             for n, k, o, s, p, d in zip(w.size, w.kernel, w.out, w.stride, w.pad, w.dilation)]
    window = onednn.Geometry(w.stride, w.pad, tuple(after), w.dilation)
    forward = forward or onednn.convolution(x, weights, y, window)
    if way == "forward":
        return forward
    backward = onednn.convolution_backward_data if way == "grad_x" else onednn.convolution_backward_weights
    return backward(x, weights, y, window, forward)


# ------------------------------------------------------------------------------------------------------------ places and reorders

def _bytes(low, layout, count=1):
    return low.fresh((layout.size * count,), np.dtype("u1"))


def _operand(low, value, layout, node, last=False):
    """The value's place in ``layout``; ``last``: the value has its channels last, and so has the layout."""
    if last:
        return low.dense(value)
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
    """From one layout to another, in pieces of the images where these lie one behind the other."""
    n, ends = layout.shape[0], {"src": here, "dst": layout}
    count = next((k for k in range(min(MOST_UNITS, layout.size // UNIT_BYTES), 1, -1) if n % k == 0), 1)
    steps = {k: end.size // count for k, end in ends.items()}
    try:
        parts = {k: end.part(n // count) for k, end in ends.items()}
    except onednn.Unsupported:        # blocks of weights
        parts = {}
    if any(k not in parts or parts[k].size != steps[k] for k in ends):
        count, parts = 1, ends
    with onednn.one_thread() if count > 1 or layout.size < ALONE_BYTES else nullcontext():
        primitive = onednn.reorder(parts["src"], parts["dst"])
    _add(low, "reorder", "reorder", primitive, {"src": source}, {"dst": target}, node, count, steps)


def _add(low, kind, name, primitive, reads, writes, node, units=1, strides=None):
    places, scratch = {**reads, **writes}, []
    strides = dict(strides or {}) if units > 1 else {}
    if "scratchpad" in primitive.layouts:
        strides["scratchpad"] = -(-primitive.layouts["scratchpad"].size // 64) * 64
        places["scratchpad"] = low.fresh((strides["scratchpad"] * units,), np.dtype("u1"))
        scratch.append(places["scratchpad"])

    def build(at):
        views = {n: at(p) for n, p in places.items()}
        return primitive.step({n: (v.buf, v.offset) for n, v in views.items()}, name, units, strides)
    low.step(kind, name, [*reads.values()], [*writes.values()], build, node, scratch=scratch)
    low.steps[-1].node = None     # its operands are not the operation's, which cannot run on them to explain a failure
