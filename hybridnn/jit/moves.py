"""Native steps that move data: fill, copy and transpose, rows by index, windows of an image."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.native import INDEX_ERROR, Step, View

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Source, Val, Var

ITEM_SIZES = 1, 2, 4, 8
FLOATS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
MEMCPY = 256  # bytes that it does not pay to copy by our own code
BLOCK = 32  # rows and columns of a tile when a copy transposes: two tiles of float64 fit the first-level cache
MAX_AXES = 6


def _step(function: str, words: Sequence[int], hi: int, grain: int, name: str) -> Step:
    module = _code(function)
    return Step(module.address(function), np.array(words, np.int64), 0, hi, grain, name, module)


def _pairs(*views: View) -> list[int]:
    return [w for v in views for w in (v.buf, v.offset)]


# Fill and copy


def fill_step(out: View, value: Any, dtype: Any, grain: int = 0, name: str = "fill") -> Step:
    """``out[...] = value`` for a C-contiguous ``out`` of ``dtype`` (item sizes 1, 2, 4, 8)."""
    item = np.asarray(value, dtype)
    bits = int.from_bytes(item.tobytes().ljust(8, b"\0"), "little", signed=True)
    return _step(f"fill{item.itemsize}", [*_pairs(out), bits], out.size, grain, name)


def can_copy(src: View, out: View, itemsize: int) -> bool:
    """Whether ``copy_step`` has a step for these. No code is loaded: that may still be compiled."""
    return _are_few(_merge_axes(src, out), itemsize)


def _are_few(axes: Sequence[Axis], itemsize: int) -> bool:
    """Whether there is code for axes that do not merge any more."""
    return itemsize in ITEM_SIZES and len(axes) <= MAX_AXES


def copy_step(src: View, out: View, itemsize: int, grain: int = 0, name: str = "copy") -> Step | None:
    """``out[...] = src``, of one shape, for any strides (``src`` may have stride 0 or negative ones).

    ``grain`` counts bytes. None for other item sizes than 1, 2, 4, 8 and for more
    than six axes that do not merge. ``out`` must not overlap ``src``. Raises ``ValueError`` if the shapes differ.
    """
    if src.shape != out.shape:
        raise ValueError(f"copy_step: {src.shape} cannot be copied to {out.shape}: broadcast it with strides of 0 first")
    axes = _merge_axes(src, out)
    if not _are_few(axes, itemsize):
        return None
    contiguous = len(axes) == 1 and axes[0][1:] == (itemsize, itemsize)
    if contiguous or src.size == 0:
        return _step("copy_bytes", _pairs(src, out), src.size * itemsize, grain, name)
    *outer, rows, cols = [(1, 0, 0)] * (MAX_AXES - len(axes)) + _tile_last(axes)
    blocks = -(-rows[0] // BLOCK)
    words = [*_pairs(src, out), *rows, *cols, blocks, *(w for axis in outer for w in axis)]
    tiles = math.prod(n for n, _, _ in outer) * blocks
    return _step(f"copy{itemsize}", words, tiles, grain and max(1, grain * tiles // (src.size * itemsize)), name)


def sum_parts_step(parts: View, out: View, dtype: Any, grain: int = 0, name: str = "sum parts") -> Step:
    """``out = parts.sum(axis=0)``, in order, both C-contiguous float32 or float64. ``grain`` counts elements of ``out``."""
    words = [*_pairs(parts, out), parts.shape[0], math.prod(parts.shape[1:])]
    return _step(f"sum_parts_{FLOATS[np.dtype(dtype)]}", words, math.prod(parts.shape[1:]), grain, name)


Axis = tuple[int, int, int]  # size, stride in the source, stride in the output


def _merge_axes(src: View, out: View) -> list[Axis]:
    """Axes from the output's outermost to its innermost, without those of size 1, adjacent ones merged where both sides allow."""
    axes = sorted((a for a in zip(src.shape, src.strides, out.strides) if a[0] != 1), key=lambda a: -abs(a[2]))
    merged: list[Axis] = []
    for n, s, o in axes:
        if merged and merged[-1][1] == s * n and merged[-1][2] == o * n:
            merged[-1] = merged[-1][0] * n, s, o
        else:
            merged.append((n, s, o))
    return merged


def _tile_last(axes: list[Axis]) -> list[Axis]:
    """Moves the axis that is densest in the source next to the one that is densest in the output: the two that a tile covers."""
    if len(axes) < 2:
        return axes
    *others, last = axes
    dense = min(range(len(others)), key=lambda i: (abs(others[i][1]) or math.inf, -i))
    if abs(last[1]) <= abs(others[dense][1]):  # the same axis is densest in both: whichever has most rows
        dense = max(range(len(others)), key=lambda i: (min(others[i][0], BLOCK), i))
    return [*others[:dense], *others[dense + 1 :], others[dense], last]


# Rows by index


def gather_step(
    table: View, index: View, out: View, itemsize: int, index_dtype: Any, grain: int = 0, name: str = "gather"
) -> Step:
    """``out[i] = table[index[i]]``: rows of a table, each C-contiguous, a fixed distance apart; ``index`` and ``out`` C-contiguous, int32 or int64.

    Negative indices count from the end. One out of bounds sets the status ``INDEX_ERROR`` with the index, and the plan stops.
    """
    bits = np.dtype(index_dtype).itemsize * 8
    words = [*_pairs(table, index, out), table.shape[0], math.prod(table.shape[1:]) * itemsize, table.strides[0]]
    return _step(f"gather_i{bits}", words, index.size, grain, name)


def scatter_add_step(
    rows: View, index: View, table: View, dtype: Any, index_dtype: Any, grain: int = 0, name: str = "scatter add"
) -> Step:
    """``table[index[i]] += rows[i]`` in the order of i (as ``np.add.at``), all C-contiguous float32 or float64, int32 or int64.

    Indices as in :func:`gather_step`. Threads share columns, so that the result does not depend on them; ``grain`` counts
    columns.
    """
    bits, real = np.dtype(index_dtype).itemsize * 8, FLOATS[np.dtype(dtype)]
    width = math.prod(table.shape[1:])
    words = [*_pairs(rows, index, table), table.shape[0], width, index.size]
    return _step(f"scatter_{real}_i{bits}", words, width, grain, name)


# Windows


@dataclass(frozen=True)
class Windows:
    """Sliding windows over up to three spatial axes (of an image: height, width). All fields have one entry per axis.

    Output position o and kernel position k read input position ``o * stride + k * dilation - pad``, which is padding outside
    ``size``.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def words(self) -> list[int]:
        """Three axes, size, kernel, out, stride, pad, dilation each; missing leading ones do nothing."""
        axes = list(zip(self.size, self.kernel, self.out, self.stride, self.pad, self.dilation))
        return [w for axis in [(1, 1, 1, 1, 0, 1)] * (3 - len(axes)) + axes for w in axis]


def im2col_step(
    image: View, cols: View, windows: Windows, dtype: Any, batch_last: bool = False, padding: float = 0.0, grain: int = 0,
    name: str = "im2col",
) -> Step:
    """``cols[n, c, *k, *o] = image[n, c, *(o * stride + k * dilation - pad)]``, else ``padding``; float32 or float64.

    ``image`` is (N, C, *size) with any strides over N and C and C-contiguous inside. ``cols`` is C-contiguous, (N, C, *kernel,
    *out), or with ``batch_last`` (C, *kernel, N, *out), which makes a convolution one matrix product. ``grain`` counts images
    times channels.
    """
    return _window_step("im2col", image, cols, windows, dtype, batch_last, padding, grain, name)


def col2im_step(
    cols: View, image: View, windows: Windows, dtype: Any, batch_last: bool = False, grain: int = 0, name: str = "col2im"
) -> Step:
    """The transpose of :func:`im2col_step`: each position of ``image`` gets the sum of its entries, kernel positions in order."""
    return _window_step("col2im", image, cols, windows, dtype, batch_last, 0.0, grain, name)


def _window_step(
    kind: str, image: View, cols: View, windows: Windows, dtype: Any, batch_last: bool, padding: float, grain: int, name: str
) -> Step:
    itemsize = np.dtype(dtype).itemsize
    n, c = image.shape[:2]
    places, kernel = math.prod(windows.out), math.prod(windows.kernel)
    by_image, by_kernel = (places, n * places) if batch_last else (c * kernel * places, places)
    strides = [s // itemsize for s in image.strides[:2]] + [by_image, kernel * by_kernel, by_kernel]
    bits = int(np.array(padding, np.float64).view(np.int64))
    words = [*_pairs(image, cols), c, *strides, bits, *windows.words()]
    return _step(f"{kind}_{FLOATS[np.dtype(dtype)]}", words, n * c, grain, name)


# Native code


@functools.cache
def _code(function: str) -> Module:
    return source(function).load()


def source(function: str) -> Source:
    """One function in a module of its own: what plans do not use is not compiled."""
    from hybridnn.jit import lowlevel as low

    emit, *options = EMITTERS[function]
    strided = emit is _emit_copy        # loops over strides gain nothing from wider code, which takes six times as long to compile
    return low.Source(function, emit, tuple(options), as_written=strided)


def _emit_copy_bytes(m: Module) -> None:
    from hybridnn.jit import lowlevel as low

    f, _, _, lo, hi = low.step_function(m, "copy_bytes")
    f.call(_memcpy(m), f.at(low.operand(f, 1), lo), f.at(low.operand(f, 0), lo), hi - lo)
    f.ret()


def _emit_fill(m: Module, size: int) -> None:
    from hybridnn.jit import lowlevel as low

    kind = low.INTEGERS[size]
    f, _, args, lo, hi = low.step_function(m, f"fill{size}")
    out, item = low.operand(f, 0), f.narrow(f.load(low.I64, args, 2), kind)
    with f.range(lo, hi) as i:
        f.store(item, out, i)
    f.ret()


def _emit_sum_parts(m: Module, real_name: str) -> None:
    from hybridnn.jit import lowlevel as low

    real = low.REALS[real_name]
    f, _, args, lo, hi = low.step_function(m, f"sum_parts_{real_name}")
    parts, out = low.operand(f, 0), low.operand(f, 1)
    count, size = f.load(low.I64, args, 4), f.load(low.I64, args, 5)
    with f.range(lo, hi) as i:
        f.store(f.load(real, parts, i), out, i)
    with f.range(1, count) as k:
        part = f.at(parts, k * size * low.BYTES[real])
        with f.range(lo, hi) as i:
            f.store(f.load(real, out, i) + f.load(real, part, i), out, i)
    f.ret()


def _emit_copy(m: Module, size: int) -> None:
    """Args: src, out, rows, cols (size, source stride, output stride each), row blocks, four outer axes."""
    from hybridnn.jit import lowlevel as low

    kind = low.INTEGERS[size]
    f, _, args, lo, hi = low.step_function(m, f"copy{size}")
    src, out = low.operand(f, 0), low.operand(f, 1)
    words = [f.load(low.I64, args, i) for i in range(4, 4 + 7 + 12)]
    (rows, src_row, out_row, cols, src_col, out_col, blocks), outer = words[:7], words[7:]
    axes = [(outer[k], outer[k + 1], outer[k + 2]) for k in range(0, 12, 3)]
    with _odometer(f, lo, hi, blocks, axes) as (block, src_off, out_off):
        first = block * BLOCK
        last = f.least(first + BLOCK, rows)
        a, b = f.at(src, src_off), f.at(out, out_off)
        with f.either((src_col == size) & (out_col == size)) as (dense, strided):
            with dense, f.range(first, last) as i:
                _copy_row(f, _memcpy(m), f.at(b, i * out_row), f.at(a, i * src_row), cols * size)
            with strided, f.either((src_col == 0) & (out_col == size)) as (repeated, apart):
                with repeated:
                    start = _repeat_close(f, kind, a, b, (first, last, cols), (src_row, out_row)) if size == 4 else first
                    with f.range(start, last) as i:
                        _repeat(f, kind, f.at(a, i * src_row), f.at(b, i * out_row), cols)
                with apart:
                    _copy_tiles(f, kind, a, b, (first, last, rows, cols), (src_row, src_col, out_row, out_col))
    f.ret()


@contextmanager
def _odometer(f: Func, lo: Val, hi: Val, blocks: Val, axes: Sequence[tuple[Val, Val, Val]]) -> Iterator[tuple[Val, Val, Val]]:
    """A loop over units, of which there are ``blocks`` for each point of the ``axes`` (size, stride in the source and in the output; outermost first): which
    block this is, and the offsets of the point. Nothing is divided in it: that would take longer than a small unit does."""
    place, counts = lo // blocks, []
    offsets = src_off, out_off = f.var(0), f.var(0)
    for n, *strides in reversed(axes):
        counts.append(f.var(place % n))
        for offset, stride in zip(offsets, strides, strict=True):
            offset.add(place % n * stride)
        place = place // n
    block = f.var(lo % blocks)
    with f.range(lo, hi):
        yield block.get(), src_off.get(), out_off.get()
        block.add(1)
        with f.when(block.get() == blocks):
            block.set(0)
            _next_point(f, list(zip(counts, reversed(axes), strict=True)), offsets)


def _next_point(f: Func, axes: Sequence[tuple[Var, tuple[Val, Val, Val]]], offsets: tuple[Var, Var]) -> None:
    """One step along the first axis; where it ends, back to its beginning and one along the next."""
    if not axes:
        return
    (count, (n, *strides)), *others = axes
    count.add(1)
    for offset, stride in zip(offsets, strides, strict=True):
        offset.add(stride)
    with f.when(count.get() == n):
        count.set(0)
        for offset, stride in zip(offsets, strides, strict=True):
            offset.add(f.value(0) - n * stride)
        _next_point(f, others, offsets)


def _copy_row(f: Func, memcpy: Any, target: Val, source: Val, size: Val) -> None:
    """Bytes that lie densely: a few vectors, the last of which begins where it ends with the row, as long as that takes less time than to call ``memcpy``."""
    from hybridnn.jit import lowlevel as low

    def vectors(lanes: int) -> None:
        with f.range(0, size, lanes) as k:
            j = f.least(k, size - lanes)
            f.store_vector(f.load_vector(low.INTEGERS[1], lanes, f.at(source, j)), f.at(target, j), 1)
    with f.either((size < 16) | (size > MEMCPY)) as (other, short):
        with other:
            f.call(memcpy, target, source, size)
        with short, f.either(size < 32) as (few, more):
            with few:
                vectors(16)
            with more:
                vectors(32)


def _repeat(f: Func, kind: Any, source: Val, target: Val, count: Val) -> None:
    item = f.load(kind, source)
    with f.range(0, count) as j:
        f.store(item, target, j)


def _repeat_close(f: Func, kind: Any, a: Val, b: Val, part: tuple[Val, Val, Val], strides: tuple[Val, Val]) -> Val:
    """Where every number is repeated up to eight times, one after the other: vectors, which also fill the beginning of what comes next. Returns the first row
    that is left."""
    first, last, cols = part
    src_row, out_row = strides
    fits = (cols < 9) & (out_row == cols * 4) & (last - first > 3)
    end = f.select(fits, last - 3, first)
    with f.range(first, end) as i:
        f.store_vector(f.splat(f.load(kind, f.at(a, i * src_row)), 8), f.at(b, i * out_row), 4)
    return end


def _copy_tiles(f: Func, kind: Any, a: Val, b: Val, sizes: Tile, strides: Tile) -> None:
    from hybridnn.jit import lowlevel as low

    first, last, rows, cols = sizes
    with f.range(0, cols, BLOCK) as left:
        start, begin, right = first, left, f.least(left + BLOCK, cols)
        if low.BYTES[kind] == 4:
            start = _interleave(f, kind, a, b, (first, last, cols), strides)
            begin = _part(f, kind, a, b, (rows, left, right, cols), strides)
        tile = start, last, begin, right
        done = _transpose_squares(f, kind, a, b, tile, strides) if low.BYTES[kind] >= 4 else start
        _copy_tile(f, kind, a, b, (done, *tile[1:]), strides)


Tile = tuple[Any, Any, Any, Any]  # rows from, to; columns from, to


def _copy_tile(f: Func, kind: Any, src: Val, out: Val, tile: Tile, strides: Tile) -> None:
    first, last, left, right = tile
    src_row, src_col, out_row, out_col = strides
    with f.range(first, last) as i:
        line, target = f.at(src, i * src_row), f.at(out, i * out_row)
        with f.range(left, right) as j:
            f.store(f.load(kind, f.at(line, j * src_col)), f.at(target, j * out_col))


def _transpose_squares(f: Func, kind: Any, src: Val, out: Val, tile: Tile, strides: Tile) -> Val:
    """Where rows are dense in the source and columns in the output: squares in registers. Returns the first row that is left."""
    from hybridnn.jit import lowlevel as low

    first, last, left, right = tile
    src_row, src_col, out_row, out_col = strides
    size = low.BYTES[kind]
    lanes = 32 // size
    full = f.select((src_row == size) & (out_col == size), (last - first) // lanes * lanes, 0)
    whole = (right - left) // lanes * lanes
    with f.range(first, first + full, lanes) as i:
        with f.range(left, left + whole, lanes) as j:
            corner = f.at(src, i * src_row + j * src_col)
            columns = [f.load_vector(kind, lanes, f.at(corner, src_col * k)) for k in range(lanes)]
            for k, row in enumerate(_transposed(f, columns, lanes)):
                f.store_vector(row, f.at(out, (i + k) * out_row + j * out_col), size)
        _copy_tile(f, kind, src, out, (i, i + lanes, left + whole, right), strides)
    return first + full


def _interleave(f: Func, kind: Any, src: Val, out: Val, part: tuple[Val, Val, Val], strides: Tile) -> Val:
    """Where rows are dense in the source, and columns in the output, of which there are less than eight: the channels of images. Four rows at a time; returns
    the first one that is left.

    A vector that is longer than its row also fills the beginning of the next row, which comes after it.
    """
    first, last, cols = part
    src_row, src_col, out_row, out_col = strides
    fits = (cols < 8) & (src_row == 4) & (out_col == 4) & (out_row == cols * 4) & (last - first > 4)
    end = f.select(fits, first + (last - first - 1) // 4 * 4, first)
    with f.range(first, end, 4) as i:
        corner = f.at(src, i * 4)

        def columns(group: range) -> list[Val]:
            return _transposed(f, [f.load_vector(kind, 4, f.at(corner, f.least(cols - 1, k) * src_col)) for k in group], 4)
        near = columns(range(4))
        with f.either(cols > 4) as (wide, narrow):
            with wide:
                for k, (x, y) in enumerate(zip(near, columns(range(4, 8)), strict=True)):
                    line = f.at(out, (i + k) * out_row)
                    f.store_vector(x, line, 4)
                    f.store_vector(y, f.at(line, 16), 4)
            with narrow:
                for k, x in enumerate(near):
                    f.store_vector(x, f.at(out, (i + k) * out_row), 4)
    return end


def _part(f: Func, kind: Any, src: Val, out: Val, part: Tile, strides: Tile) -> Val:
    """As ``_interleave``, the other way round: less than eight rows. Four columns at a time; returns the first one that is left.

    A vector that is longer than a column also reads the beginning of the next one, which is there.
    """
    rows, left, right, cols = part
    src_row, src_col, out_row, out_col = strides
    fits = (rows < 8) & (src_row == 4) & (out_col == 4) & (src_col == rows * 4)
    end = f.select(fits, left + (right - left - f.select(right == cols, f.value(1), 0)) // 4 * 4, left)
    with f.range(left, end, 4) as j:
        corner, target = f.at(src, j * src_col), f.at(out, j * 4)
        for group in (0, 4):
            with f.when(rows > group):
                columns = _transposed(f, [f.load_vector(kind, 4, f.at(corner, src_col * k + group * 4)) for k in range(4)], 4)
                for k in range(4):
                    with f.when(rows > group + k):
                        f.store_vector(columns[k], f.at(target, out_row * (group + k)), 4)
    return end


def _transposed(f: Func, vectors: list[Val], lanes: int) -> list[Val]:
    """A square of ``lanes`` vectors, transposed: log2(lanes) rounds that interleave the first half with the second."""
    half = lanes // 2
    low_half = [i // 2 + lanes * (i % 2) for i in range(lanes)]
    high_half = [i + half for i in low_half]
    for _ in range(lanes.bit_length() - 1):
        pairs = zip(vectors[:half], vectors[half:])
        vectors = [f.shuffle(a, b, mask) for a, b in pairs for mask in (low_half, high_half)]
    return vectors


def _checked_index(f: Func, kind: Any, index: Val, i: Val, n: Val) -> Val:
    """Element i of ``index``, counted from the end if negative; leaves the step with the status set if it is out of bounds."""
    from hybridnn.jit import lowlevel as low

    raw = f.widen(f.load(kind, index, i))
    row = f.select(raw < 0, raw + n, raw)
    with f.when((row < 0) | (row >= n)):
        status = f.load(low.PTR, f.params[0], -1)
        f.store(raw, status, 1)
        f.store(INDEX_ERROR, status, 0)
        f.ret()
    return row


def _emit_gather(m: Module, bits: int) -> None:
    from hybridnn.jit import lowlevel as low

    index_kind = low.INTEGERS[bits // 8]
    f, _, args, lo, hi = low.step_function(m, f"gather_i{bits}")
    table, index, out = (low.operand(f, i) for i in range(3))
    n, width, apart = (f.load(low.I64, args, k) for k in (6, 7, 8))
    memcpy = _memcpy(m)
    with f.range(lo, hi) as i:
        row = _checked_index(f, index_kind, index, i, n)
        f.call(memcpy, f.at(out, i * width), f.at(table, row * apart), width)
    f.ret()


def _memcpy(m: Module) -> Any:
    from hybridnn.jit import lowlevel as low

    return m.extern("memcpy", low.PTR, [low.PTR, low.PTR, low.I64])


def _emit_scatter(m: Module, real_name: str, bits: int) -> None:
    from hybridnn.jit import lowlevel as low

    real, index_kind = low.REALS[real_name], low.INTEGERS[bits // 8]
    f, _, args, lo, hi = low.step_function(m, f"scatter_{real_name}_i{bits}")
    rows, index, table = (low.operand(f, i) for i in range(3))
    n, width, count = (f.load(low.I64, args, i) for i in (6, 7, 8))
    with f.range(0, count) as i:
        row = _checked_index(f, index_kind, index, i, n)
        source, target = f.at(rows, i * width * low.BYTES[real]), f.at(table, row * width * low.BYTES[real])
        with f.range(lo, hi) as j:
            f.store(f.load(real, target, j) + f.load(real, source, j), target, j)
    f.ret()


def _emit_window(m: Module, kind: str, real_name: str) -> None:
    """Args: image, cols, channels, strides (image n, c; cols n, c, kernel position), padding, ``Windows.words``."""
    from hybridnn.jit import lowlevel as low

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
    from hybridnn.jit import lowlevel as low

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


EMITTERS: dict[str, tuple[Any, ...]] = {
    "copy_bytes": (_emit_copy_bytes,), **{f"fill{n}": (_emit_fill, n) for n in ITEM_SIZES}, **{f"copy{n}": (_emit_copy, n) for n in ITEM_SIZES},
    **{f"sum_parts_{real}": (_emit_sum_parts, real) for real in FLOATS.values()},
    **{f"gather_i{bits}": (_emit_gather, bits) for bits in (32, 64)},
    **{f"scatter_{real}_i{bits}": (_emit_scatter, real, bits) for real in FLOATS.values() for bits in (32, 64)},
    **{f"{kind}_{real}": (_emit_window, kind, real) for kind in ("im2col", "col2im") for real in FLOATS.values()},
}  # fmt: skip
