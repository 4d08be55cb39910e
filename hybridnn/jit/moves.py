"""Native steps that move data: fill, copy and transpose, rows by index."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.native import Step, View, pairs

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Module, Source
    from hybridnn.jit.places import Place

ITEM_SIZES = 1, 2, 4, 8
FLOATS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
BLOCK = 32  # rows and columns of a tile when a copy transposes: two tiles of float64 fit the first-level cache
MAX_AXES = 6


def step(function: str, words: Sequence[int], hi: int, grain: int, name: str) -> Step:
    """A step that runs one of the functions below on ``words``."""
    module = _code(function)
    return Step(module.address(function), np.array(words, np.int64), 0, hi, grain, name, module)


@functools.cache
def _code(function: str) -> Module:
    return source(function).load()


@functools.cache
def _emitters() -> dict[str, tuple[Any, ...]]:
    """Name of a native function -> what writes it, with its options."""
    from hybridnn.jit import copy_code, row_code, window_code

    reals = FLOATS.values()
    return {
        "copy_bytes": (copy_code.emit_copy_bytes,),
        **{f"fill{n}": (copy_code.emit_fill, n) for n in ITEM_SIZES},
        **{f"copy{n}": (copy_code.emit_copy, n, BLOCK) for n in ITEM_SIZES},
        **{f"sum_parts_{real}": (copy_code.emit_sum_parts, real) for real in reals},
        **{f"gather_i{bits}": (row_code.emit_gather, bits) for bits in (32, 64)},
        **{f"scatter_{real}_i{bits}": (row_code.emit_scatter, real, bits) for real in reals for bits in (32, 64)},
        **{f"{kind}_{real}": (window_code.emit_window, kind, real) for kind in ("im2col", "col2im") for real in reals},
    }  # fmt: skip


def source(function: str) -> Source:
    """One function in a module of its own: what plans do not use is not compiled."""
    from hybridnn.jit.lowlevel import Source

    emit, *options = _emitters()[function]
    strided = emit.__name__ == "emit_copy"        # loops over strides gain nothing from wider code, which takes six times as long to compile
    return Source(function, emit, tuple(options), as_written=strided)


# Fill and copy


def fill_step(out: View, value: Any, dtype: Any, grain: int = 0) -> Step:
    """``out[...] = value`` for a C-contiguous ``out`` of ``dtype`` (item sizes 1, 2, 4, 8)."""
    item = np.asarray(value, dtype)
    bits = int.from_bytes(item.tobytes().ljust(8, b"\0"), "little", signed=True)
    return step(f"fill{item.itemsize}", [*pairs(out), bits], out.size, grain, "fill")


def can_copy(src: View, out: View, itemsize: int) -> bool:
    """Whether ``copy_step`` has a step for these. No code is loaded: that may still be compiled."""
    return _are_few(_merge_axes(src, out), itemsize)


def _are_few(axes: Sequence[Axis], itemsize: int) -> bool:
    """Whether there is code for axes that do not merge any more."""
    return itemsize in ITEM_SIZES and len(axes) <= MAX_AXES


def copy_step(src: View, out: View, itemsize: int, grain: int = 0) -> Step | None:
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
        return step("copy_bytes", pairs(src, out), src.size * itemsize, grain, "copy")
    *outer, rows, cols = [(1, 0, 0)] * (MAX_AXES - len(axes)) + _tile_last(axes)
    blocks = -(-rows[0] // BLOCK)
    words = [*pairs(src, out), *rows, *cols, blocks, *(w for axis in outer for w in axis)]
    tiles = math.prod(n for n, _, _ in outer) * blocks
    return step(f"copy{itemsize}", words, tiles, grain and max(1, grain * tiles // (src.size * itemsize)), "copy")


def sum_parts_step(parts: View, out: View, dtype: Any) -> Step:
    """``out = parts.sum(axis=0)``, in order, both C-contiguous float32 or float64."""
    words = [*pairs(parts, out), parts.shape[0], math.prod(parts.shape[1:])]
    return step(f"sum_parts_{FLOATS[np.dtype(dtype)]}", words, math.prod(parts.shape[1:]), 0, "sum parts")


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
    """Moves the axis that is densest in the source next to the one that is densest in the output: the two that a tile covers.

    But rows of which every second element is taken are copied as they are: that takes vectors.
    """
    if len(axes) < 2:
        return axes
    *others, last = axes
    dense = min(range(len(others)), key=lambda i: (abs(others[i][1]) or math.inf, -i))
    halves = others[dense][0] == 2 and last[1] == 2 * others[dense][1]
    if halves or abs(last[1]) <= abs(others[dense][1]):  # the same axis is densest in both: whichever has most rows
        dense = max(range(len(others)), key=lambda i: (min(others[i][0], BLOCK), i))
    return [*others[:dense], *others[dense + 1 :], others[dense], last]


# Rows by index


def rows_apart(array: View | Place, axes: int, itemsize: int) -> int | None:
    """How many bytes lie between the rows of a View or Place, which its first ``axes`` axes number: if each is C-contiguous and all lie as far apart, else
    None."""
    sizes = list(zip(array.shape, array.strides))
    length = itemsize
    for n, stride in reversed(sizes[axes:]):
        if n != 1 and stride != length:
            return None
        length *= n
    outer = [(n, stride) for n, stride in sizes[:axes] if n != 1]
    if any(stride != n * below for (_, stride), (n, below) in itertools.pairwise(outer)):
        return None
    return outer[-1][1] if outer else length


def gather_step(table: View, index: View, out: View, itemsize: int, index_dtype: Any, grain: int = 0) -> Step:
    """``out[i] = table[index[i]]``: rows of a table and of ``out``, each C-contiguous, a fixed distance apart; ``index`` C-contiguous, int32 or int64.

    Negative indices count from the end. One out of bounds sets the status ``INDEX_ERROR`` with the index, and the plan stops.
    """
    bits = np.dtype(index_dtype).itemsize * 8
    apart = rows_apart(out, len(index.shape), itemsize)
    assert apart is not None
    words = [*pairs(table, index, out), table.shape[0], math.prod(table.shape[1:]) * itemsize, table.strides[0], apart]
    return step(f"gather_i{bits}", words, index.size, grain, "gather")


def scatter_add_step(rows: View, index: View, table: View, dtype: Any, index_dtype: Any, grain: int = 0) -> Step:
    """``table[index[i]] += rows[i]`` in the order of i (as ``np.add.at``): rows of float32 or float64, each C-contiguous, a fixed distance apart; ``index``,
    int32 or int64, and ``table`` C-contiguous.

    Indices as in :func:`gather_step`. Threads share columns, so that the result does not depend on them; ``grain`` counts
    columns.
    """
    bits, real = np.dtype(index_dtype).itemsize * 8, FLOATS[np.dtype(dtype)]
    width, apart = math.prod(table.shape[1:]), rows_apart(rows, len(index.shape), np.dtype(dtype).itemsize)
    assert apart is not None
    words = [*pairs(rows, index, table), table.shape[0], width, index.size, apart]
    return step(f"scatter_{real}_i{bits}", words, width, grain, "scatter add")
