"""Native steps of advanced indexing: elements or blocks at index arrays read, added to, or put in another order."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.moves import FLOATS, ITEM_SIZES
from hybridnn.jit.native import INDEX_ERROR, Step, View

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["permute_step", "pick_step", "put_step"]

MOST_INDICES, MOST_BLOCK_AXES, MOST_ROW_AXES = 4, 2, 3
WHOLE = ("slice", None, None, None)
# Words behind the two operands: blocks before the indices, rows of indices, blocks behind, then eight words per index array.
OUTER, ROWS, INNER, COUNT, INDEX = 4, 7, 10, 14, 15
INDEX_WORDS = 8  # buffer, offset, whether int64, limit, stride in the table, strides over three axes of rows

Axes = list[tuple[int, ...]]


def pick_step(table: View, indices: Sequence[View], out: View, pattern: Any, itemsize: int, wide: Sequence[bool]) -> Step | None:
    """``out[...] = table[pattern]`` for a C-contiguous ``out``; ``pattern`` is that of the operation ``take``.

    ``indices`` are the arrays it names, int32 or (``wide``) int64, any strides. Negative indices count from the end; one out of
    bounds sets the status ``INDEX_ERROR``. None for patterns with new axes or ints, and for too many axes.
    """
    found = _words(table, indices, pattern, itemsize, wide)
    if found is None or itemsize not in ITEM_SIZES:
        return None
    words, units = found
    return _step(f"pick{itemsize}", [table.buf, table.offset + words[0], out.buf, out.offset, *words[1:]], units, "take")


def put_step(rows: View, indices: Sequence[View], table: View, pattern: Any, dtype: Any, wide: Sequence[bool]) -> Step | None:
    """``table[pattern] += rows`` element by element in the order of ``rows``, which is C-contiguous float32 or float64.

    The rest as for :func:`pick_step`.
    """
    found = _words(table, indices, pattern, np.dtype(dtype).itemsize, wide)
    if found is None or np.dtype(dtype) not in FLOATS:
        return None
    words, units = found
    numbers = [table.buf, table.offset + words[0], rows.buf, rows.offset, *words[1:]]
    return _step(f"put_{FLOATS[np.dtype(dtype)]}", numbers, units, "put")


def permute_step(src: View, index: View, out: View, seen: View, axis: int, itemsize: int, inv: bool, wide: bool) -> Step:
    """Slices of ``src`` along ``axis`` in the order of ``index``, or of its inverse; all C-contiguous, ``seen`` a byte per slice.

    What is no permutation sets the status ``INDEX_ERROR``.
    """
    block = math.prod(src.shape[axis + 1 :]) * itemsize
    words = [w for v in (src, out, index, seen) for w in (v.buf, v.offset)]
    return _step("permute", [*words, int(wide), src.shape[axis], math.prod(src.shape[:axis]), block, int(inv)], 1, "permutate")


def _step(function: str, words: Sequence[int], hi: int, name: str) -> Step:
    module = _code(function)
    return Step(module.address(function), np.array(words, np.int64), 0, hi, 0, name, module)


def _words(table: View, indices: Sequence[View], pattern: Any, itemsize: int, wide: Sequence[bool]) -> tuple[list[int], int] | None:
    """Offset into the table and the words behind the operands, and how many blocks there are."""
    axes = _axes(table, pattern)
    if axes is None or not 0 < len(indices) <= MOST_INDICES:
        return None
    shape = np.broadcast_shapes(*[i.shape for i in indices])
    at = [k for k, axis in enumerate(axes) if axis[3] >= 0]
    adjacent = at == list(range(at[0], at[0] + len(at)))
    outer = _merged([a[:2] for a in axes[: at[0]]]) if adjacent else []
    inner = _merged([a[:2] for a in (axes[at[-1] + 1 :] if adjacent else axes) if a[3] < 0])
    rows = _merged(list(zip(shape, *[_spread(i, len(shape)) for i in indices])))
    if len(outer) > MOST_BLOCK_AXES or len(inner) > MOST_BLOCK_AXES or len(rows) > MOST_ROW_AXES:
        return None
    (_, s0), (n1, s1) = [(1, 0)] * (2 - len(outer)) + outer
    (m0, t0), (m1, t1) = [(1, 0)] * (2 - len(inner)) + inner
    rows = [(1,) + (0,) * len(indices)] * (3 - len(rows)) + rows
    words = [sum(a[2] for a in axes), s0, n1, s1, math.prod(shape), rows[1][0], rows[2][0], m0, t0, m1, t1, len(indices)]
    for k in at:
        size, stride, _, number = axes[k]
        index = indices[number]
        words += [index.buf, index.offset, int(wide[number]), size, stride, *[r[1 + number] for r in rows]]
    return words, math.prod(n for n, _ in outer) * math.prod(shape)


def _axes(table: View, pattern: Any) -> list[tuple[int, int, int, int]] | None:
    """Per axis of the table: size, stride, offset, and the number of the index array (or -1); None with ints and new axes."""
    entries = list(pattern)
    if Ellipsis in entries:
        k = entries.index(Ellipsis)
        entries[k : k + 1] = [WHOLE] * (len(table.shape) - len(entries) + 1)
    if not all(isinstance(e, tuple) for e in entries):
        return None
    entries += [WHOLE] * (len(table.shape) - len(entries))
    axes = []
    for (kind, *rest), n, stride in zip(entries, table.shape, table.strides, strict=True):
        if kind == "array":
            axes.append((n, stride, 0, rest[0]))
        else:
            r = range(n)[slice(*rest)]
            axes.append((len(r), stride * r.step, stride * r.start if len(r) else 0, -1))
    return axes


def _spread(index: View, ndim: int) -> list[int]:
    """Strides of an index array over the common shape."""
    own = [0 if n == 1 else s for n, s in zip(index.shape, index.strides)]
    return [0] * (ndim - len(own)) + own


def _merged(axes: Axes) -> Axes:
    """Tuples (size, strides...), those of size 1 left out and adjacent ones merged where all strides allow."""
    merged: Axes = []
    for size, *strides in axes:
        if size == 1:
            continue
        if merged and all(a == size * b for a, b in zip(merged[-1][1:], strides)):
            merged[-1] = (merged[-1][0] * size, *strides)
        else:
            merged.append((size, *strides))
    return merged


# Native code


@functools.cache
def _code(function: str) -> Module:
    """One function in a module of its own, not optimised: its loops are over strides."""
    from hybridnn.jit import lowlevel as low

    return low.load(function, _emit, function, as_written=True)


def _emit(m: Module, function: str) -> None:
    from hybridnn.jit import lowlevel as low

    if function == "permute":
        _emit_permute(m)
    elif function.startswith("put_"):
        _emit_blocks(m, function, low.REALS[function[4:]], _add)
    else:
        _emit_blocks(m, function, low.INTEGERS[int(function[4:])], _read)


def _read(f: Func, kind: Any, block: Val, dense: Val) -> None:
    f.store(f.load(kind, block), dense)


def _add(f: Func, kind: Any, block: Val, dense: Val) -> None:
    f.store(f.load(kind, block) + f.load(kind, dense), block)


def _emit_blocks(m: Module, name: str, kind: Any, move: Any) -> None:
    """A loop over blocks of the table at indices, next to one over all elements of the other operand in order."""
    from hybridnn.jit import lowlevel as low

    f, bufs, args, lo, hi = low.step_function(m, name)
    table, dense = low.operand(f, 0), low.operand(f, 1)
    s0, n1, s1 = (f.load(low.I64, args, OUTER + i) for i in range(3))
    rows, r1, r2 = (f.load(low.I64, args, ROWS + i) for i in range(3))
    m0, t0, m1, t1 = (f.load(low.I64, args, INNER + i) for i in range(4))
    count, size = f.load(low.I64, args, COUNT), low.BYTES[kind]
    with f.range(lo, hi) as unit:
        outer, row = unit // rows, unit % rows
        places = row // r2 // r1, row // r2 % r1, row % r2
        offset = f.var(outer // n1 * s0 + outer % n1 * s1)
        with f.range(0, count) as k:
            offset.add(_checked(f, bufs, f.at(args, (k * INDEX_WORDS + INDEX) * 8), places))
        block, line = f.at(table, offset.get()), f.at(dense, unit * m0 * m1 * size)
        with f.range(0, m0) as i, f.range(0, m1) as j:
            move(f, kind, f.at(block, i * t0 + j * t1), f.at(line, (i * m1 + j) * size))
    f.ret()


def _checked(f: Func, bufs: Val, words: Val, places: Sequence[Val]) -> Val:
    """The offset that an index array gives at a row; leaves the step with the status set if it is out of bounds."""
    from hybridnn.jit import lowlevel as low

    buf, offset, wide, n, stride, *steps = (f.load(low.I64, words, i) for i in range(INDEX_WORDS))
    at = f.at(f.load(low.PTR, bufs, buf), sum((p * s for p, s in zip(places, steps)), offset))
    raw = _integer(f, at, wide)
    place = f.select(raw < 0, raw + n, raw)
    with f.when((place < 0) | (place >= n)):
        _fail(f, raw)
    return place * stride


def _integer(f: Func, at: Val, wide: Val) -> Val:
    from hybridnn.jit import lowlevel as low

    raw = f.var(0)
    with f.either(wide != 0) as (long, short):
        with long:
            raw.set(f.load(low.I64, at))
        with short:
            raw.set(f.widen(f.load(low.I32, at)))
    return raw.get()


def _fail(f: Func, index: Val) -> None:
    from hybridnn.jit import lowlevel as low

    status = f.load(low.PTR, f.params[0], -1)
    f.store(index, status, 1)
    f.store(INDEX_ERROR, status, 0)
    f.ret()


def _emit_permute(m: Module) -> None:
    from hybridnn.jit import lowlevel as low

    f, _, args, _, _ = low.step_function(m, "permute")
    src, out, index, seen = (low.operand(f, i) for i in range(4))
    wide, n, outer, block, inv = (f.load(low.I64, args, 8 + i) for i in range(5))
    memcpy = m.extern("memcpy", low.PTR, [low.PTR, low.PTR, low.I64])
    item = wide * 4 + 4
    with f.range(0, n) as i:
        f.store(0, seen, i, low.I8)
    with f.range(0, n) as i:
        place = _integer(f, f.at(index, i * item), wide)
        with f.when((place < 0) | (place >= n)):
            _fail(f, place)
        with f.when(f.load(low.I8, seen, place) != f.value(0, low.I8)):
            _fail(f, place)
        f.store(1, seen, place, low.I8)
    with f.range(0, outer) as o, f.range(0, n) as i:
        place = _integer(f, f.at(index, i * item), wide)
        here, there = f.select(inv != 0, place, i), f.select(inv != 0, i, place)
        f.call(memcpy, f.at(out, (o * n + here) * block), f.at(src, (o * n + there) * block), block)
    f.ret()
