"""Lowering of convolution and its two gradients: to oneDNN, or to im2col and matrix products."""
from math import prod

import numpy as np

from hybridnn.jit import blas_library, lower_onednn, native
from hybridnn.jit.im2col import Convolution
from hybridnn.jit.native import View
from hybridnn.jit.places import channels_first
from hybridnn.jit.windows import Windows

__all__ = ["CONVOLUTIONS", "fits_last", "is_product", "pays"]

MOST_AXES = 3
LEAST_FLOPS, LEAST_CHANNELS = 2e5, 4      # of what oneDNN does faster


def _forward(low, node):
    x, w = node.inputs
    return _convolution(low, node, "forward", x, w, node.outputs[0], (x, w))


def _grad_x(low, node):
    gy, w = node.inputs
    return _convolution(low, node, "grad_x", node.outputs[0], w, gy, (gy, w))


def _grad_w(low, node):
    x, gy = node.inputs
    return _convolution(low, node, "grad_w", x, node.outputs[0], gy, (x, gy))


WAYS = {"convolution": "forward", "convolution_grad_x": "grad_x", "convolution_grad_w": "grad_w"}
CONVOLUTIONS = {"convolution": _forward, "convolution_grad_x": _grad_x, "convolution_grad_w": _grad_w}


def _convolution(low, node, way, x, w, y, operands):
    """``x``, ``w``, ``y`` are the values that play these parts; two of them are the operands."""
    if node.op.kind == "channels last":
        specs = [low.specs[v] if v == w else channels_first(low.specs[v]) for v in (x, w, y)]
        return lower_onednn.convolution(low, way, (x, w, y), _geometry(*specs, dict(node.attrs)), node, last=True)
    geometry = _geometry(*[low.specs[v] for v in (x, w, y)], dict(node.attrs))
    fast = geometry is not None and geometry.dtype == np.float32 and pays(way, geometry)
    if fast and lower_onednn.convolution(low, way, (x, w, y), geometry, node):
        return True
    for v in operands:
        lower_onednn.materialize(low, v, node)
    return geometry is not None and _by_columns(low, node, way, w, operands, geometry)


def _by_columns(low, node, way, w, operands, geometry):
    result = node.outputs[0]
    probes = [View.contiguous(k, low.specs[v].shape, geometry.dtype.itemsize) for k, v in enumerate((*operands, result))]
    if _steps(geometry, way, probes, [View(3, 0, (), ()), View(4, 0, (), ())]) is None:
        return False
    reads = [_readable(low, v, 0 if v == w else 2, node) for v in operands]
    if None in reads:
        return False
    out = low.new_value(result)
    scratch = [low.fresh((n,), np.dtype("u1")) for n in geometry.scratch_bytes]

    def build(at):
        steps = _steps(geometry, way, [at(p) for p in (*reads, out)], [at(p) for p in scratch])
        return native.sequence(steps, node.op.name)
    low.step("im2col", node.op.name, reads, [out], build, node, scratch=scratch)
    return True


def fits_last(name, x, w, y, attrs):
    """Whether oneDNN does the operation well on arrays with channels last: Specs with channels in axis 1."""
    way, geometry = WAYS[name], _geometry(x, w, y, attrs)
    if geometry is None or geometry.dtype != np.float32 or not (pays(way, geometry) or _pays_from_one_channel(way, geometry)):
        return False
    code = lower_onednn.fast_code(way, geometry)
    return bool(code) and (pays(way, geometry) or "avx512" in code)


def _pays_from_one_channel(way, g):
    """Where there is code for AVX-512: 1.2 to 2 times as fast as im2col."""
    return way != "grad_x" and g.channels == 1 and _flops(g) >= LEAST_FLOPS


def _flops(g):
    return 2 * g.images * g.outputs * g.positions * g.column


def is_product(x, w, y, attrs):
    """Whether each place of y is W times the same place of x."""
    geometry = _geometry(x, w, y, attrs)
    return geometry is not None and geometry.direct and geometry.groups == 1


def pays(way, g):
    """Whether oneDNN does it faster, reorders included: measured on AVX2, per call on one thread.

    Times of im2col over those of oneDNN: 3 x 3 kernels on 3 to 64 channels 1.0 to 2.2, one channel per group 3 to 4, 1 x 1
    kernels 0.9, below 0.2 MFLOP 0.3 to 0.5. From one channel, and for gradients with respect to fewer than four, oneDNN has no
    fast code (0.2 to 0.5).
    """
    few = g.groups == 1 and g.channels < (LEAST_CHANNELS if way == "grad_x" else 2)
    return not g.direct and not few and _flops(g) >= LEAST_FLOPS


def _steps(geometry, way, views, scratch):
    return getattr(geometry, way)(*views, scratch)


def _geometry(x, w, y, attrs):
    """The Convolution, or None where there are no native steps for it."""
    axes, dtype = len(x.shape) - 2, x.dtype
    if blas_library.find() is None or not 0 < axes <= MOST_AXES or dtype not in blas_library.LETTERS or {w.dtype, y.dtype} != {dtype}:
        return None
    if 0 in (prod(x.shape), prod(w.shape), prod(y.shape)):
        return None
    windows = Windows(x.shape[2:], w.shape[2:], y.shape[2:], attrs["stride"], attrs["pad"], attrs["dilate"])
    return Convolution(x.shape[0], x.shape[1], w.shape[0], attrs["groups"], windows, dtype)


def _readable(low, value, lead, node):
    """The value's place, in C order behind its first ``lead`` axes; a copy if need be; None if that cannot be copied."""
    place = low.values[value]
    n = place.dtype.itemsize
    dense = True
    for size, stride in zip(reversed(place.shape[lead:]), reversed(place.strides[lead:])):
        dense, n = dense and (size == 1 or stride == n), n * size
    if dense and all(s > 0 and s % place.dtype.itemsize == 0 for s in place.strides[:lead]):
        return place
    copy = low.fresh(place.shape, place.dtype)
    return copy if low.copy(place, copy, node) else None
