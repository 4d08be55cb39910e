"""Pooling as native steps, for arrays in any memory order.

x holds the elements that windows cover, y (and place, their numbers in the window) has an element per window. The innermost loop
runs along lines, or along channels where those lie innermost. Arguments behind the pointers are ``channels``, the strides of each
array in elements (image, channel, three axes), then five words per axis: size of x, kernel, windows, stride, padding.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridnn.jit import lowlevel as low
from hybridnn.jit.native import Step, View, pairs

ARRAYS = {
    "max_pooling": "xyp", "sum_pooling": "xy", "max_pooling_pick": "xyp", "max_pooling_grad": "xyp", "sum_pooling_grad": "xy",
}  # fmt: skip
SCATTERS = "max_pooling_grad", "sum_pooling_grad"  # they write x
KINDS = {np.dtype(np.float32): low.F32, np.dtype(np.float64): low.F64, np.dtype(np.int32): low.I32, np.dtype(np.int64): low.I64}
PLACES = {np.dtype(np.int8): low.I8, np.dtype(np.int32): low.I32}
AXES = 3
MOST_TOGETHER = 9  # elements of a window that are visited together
GRAIN_BYTES = 200_000  # that a thread reads and writes at least


@dataclass(frozen=True)
class Variant:
    """What the code of a kernel depends on.

    ``dense`` names the arrays without gaps along the innermost loop; ``step`` is the distance of windows in x along lines, in
    elements, where it is 1 or 2, else 0. ``place`` is the dtype of places. ``window`` is the size of windows whose elements are visited together where they lie
    inside of x: small ones, and where x is written, all inside and none that overlap. ``inside``: all of them lie inside;
    ``covered``: every element of x is in a window.
    """

    name: str
    dtype: str
    along_channels: bool
    dense: str
    step: int
    place: str = "i4"
    window: tuple[int, ...] = ()
    inside: bool = False
    covered: bool = False


def pooling_step(name: str, views: Mapping[str, View], dtype: Any, ksize: Any, stride: Any, pad: Any, place: Any = np.int32) -> Step:
    """``name`` is an operation of ``ARRAYS``; ``views`` has x (n, c, *size), y and p (n, c, *windows), p of dtype ``place``: int8 or int32.

    One to three spatial axes; strides are multiples of the element's size.
    """
    dtype, place, x, y = np.dtype(dtype), np.dtype(place), views["x"], views["y"]
    strides = [_in_elements(views[a], (place if a == "p" else dtype).itemsize) for a in ARRAYS[name]]
    along_channels = x.shape[1] > 1 and strides[0][1] == 1
    dense = "".join(a for a, s in zip(ARRAYS[name], strides) if s[1 if along_channels else 4] == 1)
    step = strides[0][4] * stride[-1]
    windows = _three(y.shape[2:], 1)
    axes = list(zip(_three(x.shape[2:], 1), _three(ksize, 1), windows, _three(stride, 1), _three(pad, 0)))
    variant = Variant(name, dtype.str[1:], along_channels, dense, step if step in (1, 2) and not along_channels else 0, place.str[1:])
    variant = _with_window(variant, axes)
    words = [*pairs(*[views[a] for a in ARRAYS[name]]), x.shape[1], *[w for s in strides for w in s], *[w for axis in axes for w in axis]]
    hi = x.shape[0] * (x.shape[1] if not along_channels else 1 if name in SCATTERS else windows[0])
    nbytes = sum(views[a].size for a in ARRAYS[name]) * dtype.itemsize
    grain = max(1, GRAIN_BYTES * hi // nbytes) if nbytes >= 2 * GRAIN_BYTES else 0
    code = _code(variant)
    return Step(code.address("pooling"), np.array(words, np.int64), 0, hi, grain, name, code)


def _with_window(variant: Variant, axes: Any) -> Variant:
    """The variant that visits elements of a window together, where that is possible."""
    inside = all(p == 0 and (w - 1) * s + k <= n for n, k, w, s, p in axes)
    apart = all(k <= s for _, k, _, s, _ in axes)
    ksize = tuple(k for _, k, *_ in axes)
    if math.prod(ksize) > MOST_TOGETHER or variant.name in SCATTERS and not (inside and apart):
        return variant
    return replace(variant, window=ksize, inside=inside, covered=inside and all(n == k * w and k == s for n, k, w, s, _ in axes))


def _in_elements(view: View, itemsize: int) -> tuple[int, ...]:
    strides = [s // itemsize for s in view.strides]
    return (*strides[:2], *_three(strides[2:], 0))


def _three(values: Sequence[int], filler: int) -> tuple[int, ...]:
    return (*[filler] * (AXES - len(values)), *values)


# Native code

Range = tuple[low.Val, low.Val]
Body = Callable[..., None]  # of (kernel, index per array, ...): what the innermost loop does


@functools.cache
def _code(variant: Variant) -> low.Module:
    return low.load("pooling", _emit, variant)


class _Kernel:
    """The function being written: its arrays, geometry, and the loops over both."""

    def __init__(self, m: low.Module, variant: Variant):
        self.variant, self.arrays = variant, ARRAYS[variant.name]
        self.kind, self.place = KINDS[np.dtype(variant.dtype)], PLACES[np.dtype(variant.place)]
        self.m, self.functions = m, {}
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
        return self.f.load(self.place if array == "p" else self.kind, self.data[array], i)

    def store(self, value: Any, array: str, i: Any) -> None:
        self.f.store(value, self.data[array], i, self.place if array == "p" else self.kind)

    def choose(self, condition: low.Val, a: Any, b: Any, kind: Any = low.I64) -> low.Val:
        """A select that stays one: random data would make a branch of it cost more than all the rest."""
        value = self.f.select(condition, a, b, kind)
        value.ir.set_metadata("unpredictable", self.m.ir.add_metadata([]))
        return value

    def distance(self, array: str) -> Any:
        """Elements from one step of the innermost loop to the next: a number where the variant knows it."""
        v = self.variant
        if array == "x" and not v.along_channels:
            return v.step or self.axes[2][3] * self.strides["x"][4]
        return 1 if array in v.dense else self.strides[array][1 if v.along_channels else 4]

    def inner(self, bases: Mapping[str, low.Val], first: Any, last: Any, body: Body, *more: Any) -> None:
        """The innermost loop over ``body``.

        It is a function of its own, because of its pointers one can say that they do not overlap: LLVM's own checks are too
        careful here.
        """
        f, distances = self.f, [self.distance(a) for a in bases]
        if body not in self.functions:
            self.functions[body] = self.loop(tuple(bases), distances, body, len(more))
        starts = [base + first * d for base, d in zip(bases.values(), distances)]
        pointers = [f.at(self.data[a], i * low.BYTES[self.place if a == "p" else self.kind]) for a, i in zip(bases, starts)]
        f.call(self.functions[body], *pointers, last - first, *distances, *more)

    def loop(self, arrays: Sequence[str], distances: Sequence[Any], body: Body, more: int) -> low.Func:
        """``loop(arrays..., count, distances..., more...)``."""
        n = len(arrays)
        f = self.m.func(f"loop{len(self.functions)}", low.VOID, [low.PTR] * n + [low.I64] * (1 + n + more))
        for argument in f.ir.args[:n]:
            argument.add_attribute("noalias")
        inner = copy.copy(self)
        inner.f, inner.data, count = f, dict(zip(arrays, f.params)), f.params[n]
        steps = [d if isinstance(d, int) else p for d, p in zip(distances, f.params[n + 1 :])]
        with f.range(0, count) as j:
            body(inner, {a: j * step for a, step in zip(arrays, steps)}, *f.params[2 * n + 1 :])
        f.ret()
        return f

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
    f, count = k.f, [axis[2] for axis in k.axes]
    with f.range(k.lo, k.hi) as unit:
        bases = k.moved(k.moved(dict.fromkeys(k.arrays, f.value(0)), 0, unit // k.channels), 1, unit % k.channels)
        x = bases.pop("x")
        if k.variant.name in SCATTERS and not k.variant.covered:
            k.clear(x)
        with f.range(0, count[0]) as w0, f.range(0, count[1]) as w1:
            line = k.moved(k.moved(bases, 2, w0), 3, w1)
            if not k.variant.window:
                _one_by_one(k, x, line, (w0, w1), (f.value(0), count[2]), begin, visit)
            elif k.variant.inside:
                _together(k, x, line, (w0, w1), (f.value(0), count[2]))
            else:
                _by_part(k, x, line, (w0, w1), begin, visit)


def _by_part(k: _Kernel, x: low.Val, line: Mapping[str, low.Val], place: Sequence[low.Val], begin: Any, visit: Any) -> None:
    """The windows that reach into the padding one element at a time, those between them together."""
    f, count = k.f, k.axes[2][2]
    (first0, last0), (first1, last1), (first, last) = (_within(f, *axis) for axis in k.axes)
    w0, w1 = place
    rows = (w0 >= first0) & (w0 < last0) & (w1 >= first1) & (w1 < last1)
    first, last = f.select(rows, first, count), f.select(rows, last, count)
    with f.when(first < last):
        _together(k, x, line, place, (first, last))
    for part in ((f.value(0), first), (last, count)):
        with f.when(part[0] < part[1]):
            _one_by_one(k, x, line, place, part, begin, visit)


def _within(f: low.Func, size: low.Val, ksize: low.Val, count: low.Val, stride: low.Val, pad: low.Val) -> Any:
    """The range of windows along an axis that lie inside of x."""
    first = f.least((pad + stride - 1) // stride, count)
    room = size + pad - ksize
    last = f.least(f.select(room < 0, 0, room // stride + 1), count)
    return first, f.select(last < first, first, last)


def _together(k: _Kernel, x: low.Val, line: Mapping[str, low.Val], place: Sequence[low.Val], windows: Range) -> None:
    """``windows`` of a line, all elements of one at once."""
    steps = k.strides["x"][2:]
    first = [(w * stride - pad) * step for w, (_, _, _, stride, pad), step in zip((*place, k.f.value(0)), k.axes, steps)]
    k.inner({"x": sum(first, x), **line}, *windows, _visit_all, *steps)


def _visit_all(k: _Kernel, at: Mapping[str, low.Val], *steps: low.Val) -> None:
    """``steps`` along the three axes of x."""
    known = [*steps[:2], k.f.value(1) if "x" in k.variant.dense and not k.variant.along_channels else steps[2]]
    offsets = itertools.product(*map(range, k.variant.window))
    TOGETHER[k.variant.name](k, [sum((step * i for i, step in zip(o, known)), at["x"]) for o in offsets], at)


def _one_by_one(
    k: _Kernel, x: low.Val, line: Any, place: Sequence[low.Val], windows: Range, begin: Any, visit: Any
) -> None:
    """``windows`` of a line, one element of all at a time."""
    f, (size, ksize, *_) = k.f, tuple(zip(*k.axes))
    if begin:
        k.inner(line, *windows, begin)
    with f.range(0, ksize[0]) as k0, f.range(0, ksize[1]) as k1:
        i0, i1 = _input(k, 0, place[0], k0), _input(k, 1, place[1], k1)
        with f.when(_inside(i0, size[0]) & _inside(i1, size[1])), f.range(0, ksize[2]) as k2:
            source = x + i0 * k.strides["x"][2] + i1 * k.strides["x"][3]
            _line(k, {"x": source, **line}, windows, k2, (k0 * ksize[1] + k1) * ksize[2] + k2, visit)


def _line(k: _Kernel, line: Mapping[str, low.Val], windows: Range, k2: low.Val, number: low.Val, visit: Any) -> None:
    """Element ``k2`` of those ``windows`` of a line that have it inside of x."""
    f = k.f
    size, _, _, stride, pad = k.axes[2]
    first = f.select(k2 < pad, (pad - k2 + stride - 1) // stride, 0)
    room = size + pad - k2
    last = f.least(f.select(room > 0, (room + stride - 1) // stride, 0), windows[1])
    first = f.select(first < windows[0], windows[0], first)
    source = line["x"] + (k2 - pad) * k.strides["x"][4]
    k.inner({**line, "x": source}, first, last, visit, number)


def _over_channels(k: _Kernel, begin: Any, visit: Any) -> None:
    f, count = k.f, [axis[2] for axis in k.axes]
    scatters = k.variant.name in SCATTERS
    with f.range(k.lo, k.hi) as unit:
        n, first = (unit, f.value(0)) if scatters else (unit // count[0], unit % count[0])
        bases = k.moved(dict.fromkeys(k.arrays, f.value(0)), 0, n)
        x = bases.pop("x")
        if scatters and not k.variant.covered:
            k.clear(x)
        with f.range(first, count[0] if scatters else first + 1) as w0, f.range(0, count[1]) as w1, f.range(0, count[2]) as w2:
            _window_of_channels(k, x, k.moved(k.moved(k.moved(bases, 2, w0), 3, w1), 4, w2), (w0, w1, w2), begin, visit)


def _window_of_channels(k: _Kernel, x: low.Val, window: Mapping[str, low.Val], place: Sequence[low.Val], begin: Any, visit: Any) -> None:
    """One window of all channels: its elements together where they all lie inside of x."""
    f = k.f
    if not k.variant.window:
        _elements_of_channels(k, x, window, place, begin, visit)
        return
    steps = k.strides["x"][2:]
    source = sum(((w * axis[3] - axis[4]) * step for w, axis, step in zip(place, k.axes, steps)), x)
    if k.variant.inside:
        k.inner({"x": source, **window}, f.value(0), k.channels, _visit_all, *steps)
        return
    inside = f.value(1) == 1
    for w, (size, ksize, _, stride, pad) in zip(place, k.axes):
        inside = inside & (w * stride >= pad) & (w * stride - pad + ksize <= size)
    with f.either(inside) as (together, apart):
        with together:
            k.inner({"x": source, **window}, f.value(0), k.channels, _visit_all, *steps)
        with apart:
            _elements_of_channels(k, x, window, place, begin, visit)


def _elements_of_channels(k: _Kernel, x: low.Val, window: Mapping[str, low.Val], place: Sequence[low.Val], begin: Any, visit: Any) -> None:
    f, (size, ksize, *_) = k.f, tuple(zip(*k.axes))
    if begin:
        k.inner(window, f.value(0), k.channels, begin)
    with f.range(0, ksize[0]) as k0, f.range(0, ksize[1]) as k1, f.range(0, ksize[2]) as k2:
        places = [_input(k, axis, w, i) for axis, (w, i) in enumerate(zip(place, (k0, k1, k2)))]
        inside = [_inside(i, n) for i, n in zip(places, size)]
        with f.when(inside[0] & inside[1] & inside[2]):
            source = sum((i * s for i, s in zip(places, k.strides["x"][2:])), x)
            number = (k0 * ksize[1] + k1) * ksize[2] + k2
            k.inner({"x": source, **window}, f.value(0), k.channels, visit, number)


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
    k.store(k.choose(better, v, old), "y", at["y"])
    k.store(k.choose(better, k.f.narrow(number, k.place), k.load("p", at["p"])), "p", at["p"])


def _sum(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    k.store(k.load("y", at["y"]) + k.load("x", at["x"]), "y", at["y"])


def _pick(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    chosen = k.load("p", at["p"]) == k.f.narrow(number, k.place)
    k.store(k.choose(chosen, k.load("x", at["x"]), k.load("y", at["y"])), "y", at["y"])


def _add_chosen(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    chosen = k.load("p", at["p"]) == k.f.narrow(number, k.place)
    k.store(k.load("x", at["x"]) + k.choose(chosen, k.load("y", at["y"]), 0, k.kind), "x", at["x"])


def _add(k: _Kernel, at: Mapping[str, low.Val], number: low.Val) -> None:
    k.store(k.load("x", at["x"]) + k.load("y", at["y"]), "x", at["x"])


BODIES = {
    "max_pooling": (_lowest, _maximum), "sum_pooling": (_zero, _sum), "max_pooling_pick": (_zero, _pick),
    "max_pooling_grad": (None, _add_chosen), "sum_pooling_grad": (None, _add),
}  # fmt: skip


# All elements of a window at once; ``elements`` has an index into x for each


def _maximum_of(k: _Kernel, elements: Sequence[low.Val], at: Mapping[str, low.Val]) -> None:
    best, place = k.load("x", elements[0]), k.f.value(0, k.place)
    for number, e in enumerate(elements[1:], 1):
        v = k.load("x", e)
        better = (v > best) | ((v == v) == 0)
        best, place = k.choose(better, v, best), k.choose(better, number, place, k.place)
    k.store(best, "y", at["y"])
    k.store(place, "p", at["p"])


def _sum_of(k: _Kernel, elements: Sequence[low.Val], at: Mapping[str, low.Val]) -> None:
    first, *rest = (k.load("x", e) for e in elements)
    k.store(sum(rest, first), "y", at["y"])


def _picked_of(k: _Kernel, elements: Sequence[low.Val], at: Mapping[str, low.Val]) -> None:
    place, y = k.load("p", at["p"]), k.f.value(0, k.kind)
    for number, e in enumerate(elements):
        y = k.choose(place == number, k.load("x", e), y)
    k.store(y, "y", at["y"])


def _choose(k: _Kernel, elements: Sequence[low.Val], at: Mapping[str, low.Val]) -> None:
    place, y = k.load("p", at["p"]), k.load("y", at["y"])
    for number, e in enumerate(elements):
        k.store(k.choose(place == number, y, 0, k.kind), "x", e)


def _spread(k: _Kernel, elements: Sequence[low.Val], at: Mapping[str, low.Val]) -> None:
    y = k.load("y", at["y"])
    for e in elements:
        k.store(y, "x", e)


TOGETHER = {
    "max_pooling": _maximum_of, "sum_pooling": _sum_of, "max_pooling_pick": _picked_of, "max_pooling_grad": _choose,
    "sum_pooling_grad": _spread,
}  # fmt: skip
