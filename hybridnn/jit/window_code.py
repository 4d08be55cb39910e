"""Native code that takes windows of an image apart, and that adds them up to one."""

from __future__ import annotations

from typing import Any

from hybridnn.jit import lowlevel as low
from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["emit_window"]


def emit_window(m: Module, kind: str, real_name: str) -> None:
    """Args: image, cols, channels, strides (image n, c; cols n, c, kernel position), padding, ``Windows.words``."""
    real, move_row = low.REALS[real_name], _gather_row if kind == "im2col" else _scatter_row
    f, _, args, lo, hi = low.step_function(m, f"{kind}_{real_name}")
    item = low.BYTES[real]
    channels, image_n, image_c, cols_n, cols_c, cols_k = (f.load(low.I64, args, i) for i in range(4, 10))
    padding = f.as_float(f.load(low.I64, args, 10), real)
    axes = [[f.load(low.I64, args, 11 + 6 * axis + i) for i in range(6)] for axis in range(3)]
    (size0, *_), (size1, *_), (size2, *_) = axes
    with f.range(lo, hi) as unit:
        n, c = unit // channels, unit % channels
        image = f.at(low.operand(f, 0), (n * image_n + c * image_c) * item)
        cols = f.at(low.operand(f, 1), (n * cols_n + c * cols_c) * item)
        if kind == "col2im":
            with f.range(0, size0 * size1 * size2) as i:
                f.store(0.0, image, i, real)
        _each_row(f, real, axes, image, cols, cols_k, padding, move_row)
    f.ret()


def _each_row(f: Func, real: Any, axes: Any, image: Val, cols: Val, cols_k: Val, padding: Val, move_row: Any) -> None:
    """For every kernel position and output line: the lines of image (or None: padding) and cols that correspond."""
    item = low.BYTES[real]
    (size0, kernel0, out0, *_), (size1, kernel1, out1, *_), (size2, kernel2, out2, *last) = axes
    with f.range(0, kernel0) as k0, f.range(0, kernel1) as k1, f.range(0, kernel2) as k2:
        plane = f.at(cols, ((k0 * kernel1 + k1) * kernel2 + k2) * cols_k * item)
        with f.range(0, out0) as o0, f.range(0, out1) as o1:
            i0, i1 = (o * s + k * d - p for o, k, (_, _, _, s, p, d) in ((o0, k0, axes[0]), (o1, k1, axes[1])))
            line = f.at(plane, (o0 * out1 + o1) * out2 * item)
            inside = (i0 >= 0) & (i0 < size0) & (i1 >= 0) & (i1 < size1)
            source = f.at(image, (i0 * size1 + i1) * size2 * item)
            move_row(f, real, source, line, inside, k2, (size2, out2, *last), padding)


def _valid(f: Func, k: Val, axis: Any) -> tuple[Val, Val, Val]:
    """The output positions first..last - 1 that read inside the image, and the input position of output 0."""
    size, out, stride, pad, dilation = axis
    start = k * dilation - pad
    first = f.select(start < 0, (f.value(0) - start + stride - 1) // stride, 0)
    room = size - start
    last = f.select(room > 0, (room + stride - 1) // stride, 0)
    first, last = f.least(first, out), f.least(last, out)
    return first, f.select(last < first, first, last), start


def _gather_row(f: Func, real: Any, source: Val, line: Val, inside: Val, k: Val, axis: Any, padding: Val) -> None:
    first, last, start = _valid(f, k, axis)
    out, stride = axis[1], axis[2]
    first, last = f.select(inside, first, out), f.select(inside, last, out)
    with f.range(0, first) as o:
        f.store(padding, line, o)
    with f.range(last, out) as o:
        f.store(padding, line, o)
    with f.either(stride == 1) as (dense, strided):
        with dense, f.range(first, last) as o:
            f.store(f.load(real, source, o + start), line, o)
        with strided, f.range(first, last) as o:
            f.store(f.load(real, source, o * stride + start), line, o)


def _scatter_row(f: Func, real: Any, source: Val, line: Val, inside: Val, k: Val, axis: Any, padding: Val) -> None:
    first, last, start = _valid(f, k, axis)
    stride = axis[2]
    with f.when(inside), f.either(stride == 1) as (dense, strided):
        with dense, f.range(first, last) as o:
            f.store(f.load(real, source, o + start) + f.load(real, line, o), source, o + start)
        with strided, f.range(first, last) as o:
            at = o * stride + start
            f.store(f.load(real, source, at) + f.load(real, line, o), source, at)
