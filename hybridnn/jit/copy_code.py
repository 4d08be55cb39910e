"""Native code that fills, copies and transposes, and that adds up parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hybridnn.jit import lowlevel as low
from hybridnn.jit.lowlevel import Func, Module, Val, Var

__all__ = ["emit_copy", "emit_copy_bytes", "emit_fill", "emit_sum_parts"]

MEMCPY = 256  # bytes that it does not pay to copy by our own code
Tile = tuple[Any, Any, Any, Any]  # rows from, to; columns from, to


def emit_copy_bytes(m: Module) -> None:
    f, _, _, lo, hi = low.step_function(m, "copy_bytes")
    f.call(low.memcpy(m), f.at(low.operand(f, 1), lo), f.at(low.operand(f, 0), lo), hi - lo)
    f.ret()


def emit_fill(m: Module, size: int) -> None:
    kind = low.INTEGERS[size]
    f, _, args, lo, hi = low.step_function(m, f"fill{size}")
    out, item = low.operand(f, 0), f.narrow(f.load(low.I64, args, 2), kind)
    with f.range(lo, hi) as i:
        f.store(item, out, i)
    f.ret()


def emit_sum_parts(m: Module, real_name: str) -> None:
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


def emit_copy(m: Module, size: int, block: int) -> None:
    """Args: src, out, rows, cols (size, source stride, output stride each), blocks of ``block`` rows, four outer axes."""
    kind = low.INTEGERS[size]
    f, _, args, lo, hi = low.step_function(m, f"copy{size}")
    src, out = low.operand(f, 0), low.operand(f, 1)
    words = [f.load(low.I64, args, i) for i in range(4, 4 + 7 + 12)]
    (rows, src_row, out_row, cols, src_col, out_col, blocks), outer = words[:7], words[7:]
    axes = [(outer[k], outer[k + 1], outer[k + 2]) for k in range(0, 12, 3)]
    with _odometer(f, lo, hi, blocks, axes) as (number, src_off, out_off):
        first = number * block
        last = f.least(first + block, rows)
        a, b = f.at(src, src_off), f.at(out, out_off)
        if size == 4:
            first = _pairs(f, kind, a, b, (first, last, cols), (src_row, src_col, out_row, out_col))
        with f.either((src_col == size) & (out_col == size)) as (dense, strided):
            with dense, f.range(first, last) as i:
                _copy_row(f, low.memcpy(m), f.at(b, i * out_row), f.at(a, i * src_row), cols * size)
            with strided, f.either((src_col == 0) & (out_col == size)) as (repeated, apart):
                with repeated:
                    start = _repeat_close(f, kind, a, b, (first, last, cols), (src_row, out_row)) if size == 4 else first
                    with f.range(start, last) as i:
                        _repeat(f, kind, f.at(a, i * src_row), f.at(b, i * out_row), cols)
                with apart:
                    _copy_tiles(f, kind, a, b, (first, last, rows, cols), (src_row, src_col, out_row, out_col), block)
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


def _pairs(f: Func, kind: Any, a: Val, b: Val, part: tuple[Val, Val, Val], strides: Tile) -> Val:
    """Two dense sources in turn, or one of which each number comes twice: what makes an image twice as wide. Returns the first row that is left."""
    first, last, cols = part
    src_row, src_col, out_row, out_col = strides
    fits = (cols == 2) & (src_row == 4) & (out_col == 4) & (out_row == 8)
    end = f.select(fits, first + (last - first) // 8 * 8, first)
    with f.range(first, end, 8) as i:
        x, y = (f.load_vector(kind, 8, f.at(a, i * 4 + offset)) for offset in (f.value(0), src_col))
        for k in (0, 4):
            f.store_vector(f.shuffle(x, y, [n // 2 + k + 8 * (n % 2) for n in range(8)]), f.at(b, (i + k) * 8), 4)
    return end


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


def _copy_tiles(f: Func, kind: Any, a: Val, b: Val, sizes: Tile, strides: Tile, block: int) -> None:
    first, last, rows, cols = sizes
    with f.range(0, cols, block) as left:
        start, begin, right = first, left, f.least(left + block, cols)
        if low.BYTES[kind] == 4:
            start = _interleave(f, kind, a, b, (first, last, cols), strides)
            begin = _part(f, kind, a, b, (rows, left, right, cols), strides)
        tile = start, last, begin, right
        done = _transpose_squares(f, kind, a, b, tile, strides) if low.BYTES[kind] >= 4 else start
        _copy_tile(f, kind, a, b, (done, *tile[1:]), strides)


def _copy_tile(f: Func, kind: Any, src: Val, out: Val, tile: Tile, strides: Tile) -> None:
    first, last, left, right = tile
    src_row, src_col, out_row, out_col = strides
    with f.range(first, last) as i:
        line, target = f.at(src, i * src_row), f.at(out, i * out_row)
        begin = _every_second(f, kind, line, target, (left, right), (src_col, out_col)) if low.BYTES[kind] == 4 else left
        with f.range(begin, right) as j:
            f.store(f.load(kind, f.at(line, j * src_col)), f.at(target, j * out_col))


def _every_second(f: Func, kind: Any, source: Val, target: Val, part: tuple[Val, Val], strides: tuple[Val, Val]) -> Val:
    """Of a dense source, eight numbers at a time; returns the first one that is left. Nothing is read behind the last of them."""
    left, right = part
    src_col, out_col = strides
    end = f.select((src_col == 8) & (out_col == 4), left + (right - left) // 8 * 8, left)
    with f.range(left, end, 8) as j:
        x, y = (f.load_vector(kind, 8, f.at(source, j * 8 + offset)) for offset in (0, 28))
        f.store_vector(f.shuffle(x, y, [0, 2, 4, 6, 9, 11, 13, 15]), f.at(target, j * 4), 4)
    return end


def _transpose_squares(f: Func, kind: Any, src: Val, out: Val, tile: Tile, strides: Tile) -> Val:
    """Where rows are dense in the source and columns in the output: squares in registers. Returns the first row that is left."""
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
