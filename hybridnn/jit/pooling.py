"""Pooling as native steps, for arrays in any memory order.

x holds the elements that windows cover, y (and place, their numbers in the window) has an element per window. The innermost loop
runs along lines, or along channels where those lie innermost. Arguments behind the pointers are ``channels``, the strides of each
array in elements (image, channel, three axes), then five words per axis: size of x, kernel, windows, stride, padding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.jit import lowlevel as low
from hybridnn.jit.native import Step, View

ARRAYS = {
    "max_pooling": "xyp", "sum_pooling": "xy", "max_pooling_pick": "xyp", "max_pooling_grad": "xyp", "sum_pooling_grad": "xy",
}  # fmt: skip
SCATTERS = "max_pooling_grad", "sum_pooling_grad"  # they write x
KINDS = {np.dtype(np.float32): low.F32, np.dtype(np.float64): low.F64, np.dtype(np.int32): low.I32, np.dtype(np.int64): low.I64}
AXES = 3
GRAIN_BYTES = 200_000  # that a thread reads and writes at least


@dataclass(frozen=True)
class Variant:
    """What the code of a kernel depends on.

    ``dense`` names the arrays without gaps along the innermost loop; ``step`` is the distance of windows in x along lines, in
    elements, where it is 1 or 2, else 0.
    """

    name: str
    dtype: str
    along_channels: bool
    dense: str
    step: int


def pooling_step(name: str, views: Mapping[str, View], dtype: Any, ksize: Any, stride: Any, pad: Any) -> Step:
    """``name`` is an operation of ``ARRAYS``; ``views`` has x (n, c, *size), y and p (n, c, *windows), p of int32.

    One to three spatial axes; strides are multiples of the element's size.
    """
    dtype, x, y = np.dtype(dtype), views["x"], views["y"]
    strides = [_in_elements(views[a], 4 if a == "p" else dtype.itemsize) for a in ARRAYS[name]]
    along_channels = x.shape[1] > 1 and strides[0][1] == 1
    dense = "".join(a for a, s in zip(ARRAYS[name], strides) if s[1 if along_channels else 4] == 1)
    step = strides[0][4] * stride[-1]
    variant = Variant(name, dtype.str[1:], along_channels, dense, step if step in (1, 2) and not along_channels else 0)
    windows = _three(y.shape[2:], 1)
    axes = zip(_three(x.shape[2:], 1), _three(ksize, 1), windows, _three(stride, 1), _three(pad, 0))
    pointers = [w for a in ARRAYS[name] for w in (views[a].buf, views[a].offset)]
    words = [*pointers, x.shape[1], *[w for s in strides for w in s], *[w for axis in axes for w in axis]]
    hi = x.shape[0] * (x.shape[1] if not along_channels else 1 if name in SCATTERS else windows[0])
    nbytes = sum(views[a].size for a in ARRAYS[name]) * dtype.itemsize
    grain = max(1, GRAIN_BYTES * hi // nbytes) if nbytes >= 2 * GRAIN_BYTES else 0
    code = _code(variant)
    return Step(code.address("pooling"), np.array(words, np.int64), 0, hi, grain, name, code)


def _in_elements(view: View, itemsize: int) -> tuple[int, ...]:
    strides = [s // itemsize for s in view.strides]
    return (*strides[:2], *_three(strides[2:], 0))


def _three(values: Sequence[int], filler: int) -> tuple[int, ...]:
    return (*[filler] * (AXES - len(values)), *values)


# Native code


@functools.cache
def _code(variant: Variant) -> low.Module:
    return low.load("pooling", _emit, variant)


class _Kernel:
    """The function being written: its arrays, geometry, and the loops over both."""

    def __init__(self, m: low.Module, variant: Variant):
        self.variant, self.arrays = variant, ARRAYS[variant.name]
        self.kind = KINDS[np.dtype(variant.dtype)]
        self.f, _, self.args, self.lo, self.hi = low.step_function(m, "pooling")
        at = 2 * len(self.arrays)
        self.data = {a: low.operand(self.f, k) for k, a in enumerate(self.arrays)}
        self.channels = self.word(at)
        self.strides = {a: [self.word(at + 1 + 5 * k + i) for i in range(5)] for k, a in enumerate(self.arrays)}
        at += 1 + 5 * len(self.arrays)
        self.axes = [[self.word(at + 5 * axis + i) for i in range(5)] for axis in range(AXES)]

    def word(self, i: int) -> low.Val:
        return self.f.load(low.I64, self.args, i)

    def load(self, array: str, i: low.Val) -> low.Val:
        return self.f.load(low.I32 if array == "p" else self.kind, self.data[array], i)

    def store(self, value: Any, array: str, i: Any) -> None:
        self.f.store(value, self.data[array], i, low.I32 if array == "p" else self.kind)

    def index(self, array: str, base: low.Val, j: low.Val) -> low.Val:
        """Element ``j`` of the innermost loop."""
        v = self.variant
        if array == "x" and not v.along_channels:
            return base + j * (v.step or self.axes[2][3] * self.strides["x"][4])
        return base + (j if array in v.dense else j * self.strides[array][1 if v.along_channels else 4])

    def inner(self, bases: Mapping[str, low.Val], first: Any, last: Any, body: Callable[..., None], *more: Any) -> None:
        with self.f.range(first, last) as j:
            body(self, {a: self.index(a, base, j) for a, base in bases.items()}, *more)

    def moved(self, bases: Mapping[str, low.Val], axis: int, i: low.Val) -> dict[str, low.Val]:
        return {a: base + i * self.strides[a][axis] for a, base in bases.items()}

    def clear(self, x: low.Val) -> None:
        """Zeros in the part of x that the unit of work writes."""
        f, s = self.f, self.strides["x"]
        with f.range(0, self.axes[0][0]) as i0, f.range(0, self.axes[1][0]) as i1, f.range(0, self.axes[2][0]) as i2:
            line = x + i0 * s[2] + i1 * s[3] + i2 * s[4]
            with f.range(0, self.channels if self.variant.along_channels else 1) as c:
                self.store(0, "x", line + (c if "x" in self.variant.dense else c * s[1]))


def _emit(m: low.Module, variant: Variant) -> None:
    k = _Kernel(m, variant)
    (_over_channels if variant.along_channels else _over_lines)(k, *BODIES[variant.name])
    k.f.ret()


def _over_lines(k: _Kernel, begin: Any, visit: Any) -> None:
    f, (size, ksize, count, *_) = k.f, tuple(zip(*k.axes))
    with f.range(k.lo, k.hi) as unit:
        bases = k.moved(k.moved(dict.fromkeys(k.arrays, f.value(0)), 0, unit // k.channels), 1, unit % k.channels)
        x = bases.pop("x")
        if k.variant.name in SCATTERS:
            k.clear(x)
        with f.range(0, count[0]) as w0, f.range(0, count[1]) as w1:
            line = k.moved(k.moved(bases, 2, w0), 3, w1)
            if begin:
                k.inner(line, 0, count[2], begin)
            with f.range(0, ksize[0]) as k0, f.range(0, ksize[1]) as k1:
                i0, i1 = _input(k, 0, w0, k0), _input(k, 1, w1, k1)
                with f.when(_inside(i0, size[0]) & _inside(i1, size[1])), f.range(0, ksize[2]) as k2:
                    source = x + i0 * k.strides["x"][2] + i1 * k.strides["x"][3]
                    _line(k, {"x": source, **line}, k2, (k0 * ksize[1] + k1) * ksize[2] + k2, visit)


def _line(k: _Kernel, line: Mapping[str, low.Val], k2: low.Val, number: low.Val, visit: Any) -> None:
    """Element ``k2`` of all windows of a line that have it inside of x."""
    f = k.f
    size, _, count, stride, pad = k.axes[2]
    first = f.select(k2 < pad, (pad - k2 + stride - 1) // stride, 0)
    room = size + pad - k2
    last = f.least(f.select(room > 0, (room + stride - 1) // stride, 0), count)
    source = line["x"] + (k2 - pad) * k.strides["x"][4]
    k.inner({**line, "x": source}, first, last, visit, f.narrow(number, low.I32))


def _over_channels(k: _Kernel, begin: Any, visit: Any) -> None:
    f, (size, ksize, count, *_) = k.f, tuple(zip(*k.axes))
    scatters = k.variant.name in SCATTERS
    with f.range(k.lo, k.hi) as unit:
        n, first = (unit, f.value(0)) if scatters else (unit // count[0], unit % count[0])
        bases = k.moved(dict.fromkeys(k.arrays, f.value(0)), 0, n)
        x = bases.pop("x")
        if scatters:
            k.clear(x)
        with f.range(first, count[0] if scatters else first + 1) as w0, f.range(0, count[1]) as w1, f.range(0, count[2]) as w2:
            window = k.moved(k.moved(k.moved(bases, 2, w0), 3, w1), 4, w2)
            if begin:
                k.inner(window, 0, k.channels, begin)
            with f.range(0, ksize[0]) as k0, f.range(0, ksize[1]) as k1, f.range(0, ksize[2]) as k2:
                places = [_input(k, axis, w, i) for axis, (w, i) in enumerate(((w0, k0), (w1, k1), (w2, k2)))]
                inside = [_inside(i, n) for i, n in zip(places, size)]
                with f.when(inside[0] & inside[1] & inside[2]):
                    source = sum((i * s for i, s in zip(places, k.strides["x"][2:])), x)
                    number = f.narrow((k0 * ksize[1] + k1) * ksize[2] + k2, low.I32)
                    k.inner({"x": source, **window}, 0, k.channels, visit, number)


def _input(k: _Kernel, axis: int, window: low.Val, element: low.Val) -> low.Val:
    return window * k.axes[axis][3] + element - k.axes[axis][4]


def _inside(i: low.Val, size: low.Val) -> low.Val:
    return (i >= 0) & (i < size)


# What a window begins with, and what its element ``number`` does; ``at`` has an index per array


def _zero(k: _Kernel, at: Mapping[str, low.Val]) -> None:
    k.store(0, "y", at["y"])


def _lowest(k: _Kernel, at: Mapping[str, low.Val]) -> None:
    dtype = np.dtype(k.variant.dtype)
    k.store(-math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min), "y", at["y"])
    k.store(0, "p", at["p"])


def _maximum(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    """NaN wins, and stays."""
    v, old = k.load("x", at["x"]), k.load("y", at["y"])
    better = (v > old) | ((v == v) == 0)
    k.store(k.f.select(better, v, old), "y", at["y"])
    k.store(k.f.select(better, number, k.load("p", at["p"])), "p", at["p"])


def _sum(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    k.store(k.load("y", at["y"]) + k.load("x", at["x"]), "y", at["y"])


def _pick(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    chosen = k.load("p", at["p"]) == number
    k.store(k.f.select(chosen, k.load("x", at["x"]), k.load("y", at["y"])), "y", at["y"])


def _add_chosen(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    chosen = k.load("p", at["p"]) == number
    k.store(k.load("x", at["x"]) + k.f.select(chosen, k.load("y", at["y"]), 0, k.kind), "x", at["x"])


def _add(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    k.store(k.load("x", at["x"]) + k.load("y", at["y"]), "x", at["x"])


BODIES = {
    "max_pooling": (_lowest, _maximum), "sum_pooling": (_zero, _sum), "max_pooling_pick": (_zero, _pick),
    "max_pooling_grad": (None, _add_chosen), "sum_pooling_grad": (None, _add),
}  # fmt: skip
