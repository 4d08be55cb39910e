"""Native steps of advanced indexing: elements or blocks at index arrays read, added to, or put in another order."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.moves import FLOATS, ITEM_SIZES
from hybridnn.jit.native import INDEX_ERROR, Step, View, pairs

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["permute_step", "pick_step", "put_step"]

MOST_INDICES, MOST_BLOCK_AXES, MOST_ROW_AXES = 4, 2, 3
WHOLE = ("slice", None, None, None)
# Words behind the three operands: blocks before the indices, rows of indices, blocks behind, then eight words per index array.
OUTER, ROWS, INNER, COUNT, INDEX = 6, 10, 13, 17, 18
INDEX_WORDS = 8  # buffer, offset, whether int64, limit, stride in the table, strides over three axes of rows

Axes = list[tuple[int, ...]]


def pick_step(table: View, indices: Sequence[View], out: View, places: View, pattern: Any, itemsize: int, wide: Sequence[bool]) -> Step | None:
    """``out[...] = table[pattern]`` for a C-contiguous ``out``; ``pattern`` is that of the operation ``take``.

    ``places`` is memory for an int64 per element of the indices' common shape: they are read once, and checked before anything is written.

    ``indices`` are the arrays it names, int32 or (``wide``) int64, any strides. Negative indices count from the end; one out of
    bounds sets the status ``INDEX_ERROR``. None for too many axes, and for patterns with new axes, or ints beside slices, and index arrays with axes.
    """
    found = _words(table, indices, pattern, itemsize, wide)
    if found is None or itemsize not in ITEM_SIZES:
        return None
    offset, *words = found
    return _step(f"pick{itemsize}", [table.buf, table.offset + offset, out.buf, out.offset, places.buf, places.offset, *words], "take")


def put_step(rows: View, indices: Sequence[View], table: View, places: View, pattern: Any, dtype: Any, wide: Sequence[bool]) -> Step | None:
    """``table[pattern] += rows`` element by element in the order of ``rows``, which is C-contiguous float32 or float64.

    At one place they are stored: nothing has been added there before. The rest as for :func:`pick_step`.
    """
    found = _words(table, indices, pattern, np.dtype(dtype).itemsize, wide)
    if found is None or np.dtype(dtype) not in FLOATS:
        return None
    offset, *words = found
    operands = [table.buf, table.offset + offset, rows.buf, rows.offset, places.buf, places.offset]
    verb = "put" if _several(indices) else "set"
    return _step(f"{verb}_{FLOATS[np.dtype(dtype)]}", [*operands, *words], "put")


def permute_step(src: View, index: View, out: View, seen: View, axis: int, itemsize: int, inv: bool, wide: bool) -> Step:
    """Slices of ``src`` along ``axis`` in the order of ``index``, or of its inverse; all C-contiguous, ``seen`` a byte per slice.

    What is no permutation sets the status ``INDEX_ERROR``.
    """
    block = math.prod(src.shape[axis + 1 :]) * itemsize
    words = pairs(src, out, index, seen)
    return _step("permute", [*words, int(wide), src.shape[axis], math.prod(src.shape[:axis]), block, int(inv)], "permutate")


def _step(function: str, words: Sequence[int], name: str) -> Step:
    module = _code(function)
    return Step(module.address(function), np.array(words, np.int64), name=name, keep=module)


def _several(indices: Sequence[View]) -> bool:
    """Whether index arrays mean more than one place, as far as their axes tell."""
    return any(i.shape for i in indices)


def _words(table: View, indices: Sequence[View], pattern: Any, itemsize: int, wide: Sequence[bool]) -> list[int] | None:
    """Offset into the table, and the words behind the operands."""
    axes = _axes(table, pattern, _several(indices))
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
    (n0, s0), (n1, s1) = [(1, 0)] * (2 - len(outer)) + outer
    (m0, t0), (m1, t1) = [(1, 0)] * (2 - len(inner)) + inner
    rows = [(1,) + (0,) * len(indices)] * (3 - len(rows)) + rows
    words = [sum(a[2] for a in axes), n0, s0, n1, s1, *[r[0] for r in rows], m0, t0, m1, t1, len(indices)]
    for k in at:
        size, stride, _, number = axes[k]
        index = indices[number]
        words += [index.buf, index.offset, int(wide[number]), size, stride, *[r[1 + number] for r in rows]]
    return words


def _axes(table: View, pattern: Any, several: bool) -> list[tuple[int, int, int, int]] | None:
    """Per axis of the table: size, stride, offset, and the number of the index array (or -1).

    None where NumPy's rules for several places say where the axes of these go: with new axes, and with ints beside slices.
    """
    kinds = {entry[0] if isinstance(entry, tuple) else type(entry) for entry in pattern}
    if several and (type(None) in kinds or {int, "slice"} <= kinds):
        return None
    entries = [entry for entry in pattern if entry is not None]
    missing = [WHOLE] * (len(table.shape) - len(entries) + (Ellipsis in entries))
    if Ellipsis in entries:
        k = entries.index(Ellipsis)
        entries[k : k + 1] = missing
    else:
        entries += missing
    axes = []
    for entry, n, stride in zip(entries, table.shape, table.strides, strict=True):
        if isinstance(entry, int):
            axes.append((1, stride, stride * range(n)[entry], -1))
        elif entry[0] == "array":
            axes.append((n, stride, 0, entry[1]))
        else:
            r = range(n)[slice(*entry[1:])]
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
    elif function.startswith(("put_", "set_")):
        _emit_blocks(m, function, low.REALS[function[4:]], _add if function.startswith("put_") else _store)
    else:
        _emit_blocks(m, function, low.INTEGERS[int(function[4:])], _read)


def _read(f: Func, kind: Any, block: Val, dense: Val) -> None:
    f.store(f.load(kind, block), dense)


def _store(f: Func, kind: Any, block: Val, dense: Val) -> None:
    f.store(f.load(kind, dense), block)


def _add(f: Func, kind: Any, block: Val, dense: Val) -> None:
    f.store(f.load(kind, block) + f.load(kind, dense), block)


def _emit_blocks(m: Module, name: str, kind: Any, move: Any) -> None:
    """Where in the table each row of the indices leads, then a loop over blocks there, next to one over all elements of the other operand in order."""
    from hybridnn.jit import lowlevel as low

    f, bufs, args, *_ = low.step_function(m, name)
    table, dense, places = (low.operand(f, k) for k in range(3))
    n0, s0, n1, s1 = (f.load(low.I64, args, OUTER + i) for i in range(4))
    m0, t0, m1, t1 = (f.load(low.I64, args, INNER + i) for i in range(4))
    rows = _emit_places(f, bufs, args, places)
    block = m0 * m1 * low.BYTES[kind]
    with f.range(0, n0) as o, f.range(0, n1) as p:
        outer, line = f.at(table, o * s0 + p * s1), f.at(dense, (o * n1 + p) * rows * block)
        with f.range(0, rows) as row:
            at, beside = f.at(outer, f.load(low.I64, places, row)), f.at(line, row * block)
            with f.either(m0 * m1 == 1) as (one, several):
                with one:
                    move(f, kind, at, beside)
                with several, f.range(0, m0) as i, f.range(0, m1) as j:
                    move(f, kind, f.at(at, i * t0 + j * t1), f.at(beside, (i * m1 + j) * low.BYTES[kind]))
    f.ret()


def _emit_places(f: Func, bufs: Val, args: Val, places: Val) -> Val:
    """Store the offset in the table per row of the indices; returns the number of rows."""
    from hybridnn.jit import lowlevel as low

    r0, r1, r2 = (f.load(low.I64, args, ROWS + i) for i in range(3))
    with f.range(0, f.load(low.I64, args, COUNT)) as k:
        buf, offset, wide, n, stride, *steps = (f.load(low.I64, f.at(args, (k * INDEX_WORDS + INDEX) * 8), i) for i in range(INDEX_WORDS))
        index = f.at(f.load(low.PTR, bufs, buf), offset)
        with f.range(0, r0) as a, f.range(0, r1) as b, f.range(0, r2) as c:
            row = (a * r1 + b) * r2 + c
            before = f.var(0)
            with f.when(k > 0):
                before.set(f.load(low.I64, places, row))
            place = _checked(f, f.at(index, a * steps[0] + b * steps[1] + c * steps[2]), wide, n)
            f.store(before.get() + place * stride, places, row)
    return r0 * r1 * r2


def _checked(f: Func, at: Val, wide: Val, n: Val) -> Val:
    """The place that an index means; leaves the step with the status set if it is out of bounds."""
    raw = _integer(f, at, wide)
    place = f.select(raw < 0, raw + n, raw)
    with f.when((place < 0) | (place >= n)):
        _fail(f, raw)
    return place


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
    memcpy = low.memcpy(m)
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
