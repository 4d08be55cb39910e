"""Matrix products as native steps, through the BLAS that NumPy itself is linked to, or through :mod:`hybridnn.jit.gemm` where that is faster.

:func:`matmul_step` picks the routine as ``np.matmul`` does (gemm, syrk for a matrix times its own transpose, gemv, dot, a plain
loop for outer products), with the same arguments: then the result has the same bits, unless it is our own gemm that is called. The rules
were read off NumPy's behaviour and hold for 2.x; ``tests/test_blas.py`` compares bits.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hybridnn.jit import gemm, threads
from hybridnn.jit.blas_code import ADDRESS, code
from hybridnn.jit.blas_library import COL, LETTERS, PLAIN, ROW, TRANS, find
from hybridnn.jit.native import Step, View
from hybridnn.openblas import LARGE

__all__ = ["can_multiply", "long_sum", "matmul_step", "readable"]

BLOCK_FLOPS, LEAST_BLOCK = 1.5e6, 8  # the least work of a thread in a product, and the fewest rows or columns of its block
BETAS = [int(np.float64(factor).view(np.int64)) for factor in (0, 1)]  # of what is there before, as bits
SHARED_BYTES = 200_000  # of an operand that every thread would read, from which on each reads a part of both instead


@dataclass(frozen=True)
class Mat:
    """The last two axes of an operand: address, rows, columns, strides in bytes."""

    buf: int
    offset: int
    rows: int
    cols: int
    row: int
    col: int

    @property
    def t(self) -> Mat:
        return Mat(self.buf, self.offset, self.cols, self.rows, self.col, self.row)


def matmul_step(a: View, b: View, c: View, dtype: Any, add: bool = False) -> Step | None:
    """``c = np.matmul(a, b)``, or with ``add`` ``c += np.matmul(a, b)``, with vectors and broadcast batches.

    ``c`` has the shape of the result and must not overlap ``a`` or ``b``. All three have ``dtype``. None if there is no step for it: no BLAS, another dtype,
    more than three batch axes that do not collapse, or two-dimensional operands that BLAS cannot read in place (see :func:`readable`: copy them first).

    Raises ``ValueError`` for shapes that np.matmul refuses or a wrong shape of ``c``.
    """
    found = _found(a, b, c, dtype, add)
    if found is None:
        return None
    letter, blas, args = LETTERS[np.dtype(dtype)], find(), found.args.copy()
    assert blas is not None
    first, second = (b, a) if found.swapped else (a, b)
    args[:ADDRESS] = first.buf, first.offset, second.buf, second.offset, c.buf, c.offset
    args[ADDRESS] = gemm.address() if found.own else blas.functions.get(letter + found.routine, 0)
    module = code(64 if found.own else blas.bits, letter, found.routine)
    return Step(module.address(letter + found.routine), args, 0, found.products, found.grain, found.routine, (module, blas))


def can_multiply(a: View, b: View, c: View, dtype: Any, add: bool = False) -> bool:
    """Whether ``matmul_step`` has a step for these, which it finds sooner afterwards. No code is loaded: that may still be compiled."""
    return _found(a, b, c, dtype, add) is not None


class _Product(NamedTuple):
    """A step, but for where operands and code lie. ``swapped``: the first two change places; ``own``: the code is ours."""

    routine: str
    swapped: bool
    own: bool
    args: np.ndarray
    products: int
    grain: int


def _found(a: View, b: View, c: View, dtype: Any, add: bool) -> _Product | None:
    one = (a.buf, a.offset) == (b.buf, b.offset)
    layouts = a.shape, a.strides, b.shape, b.strides, c.shape, c.strides
    return _product(*layouts, one, np.dtype(dtype), add, int(threads.TABLE[threads.LIMIT]), find() is not None)


@functools.lru_cache(4096)
def _product(
    a_shape: tuple[int, ...], a_strides: tuple[int, ...], b_shape: tuple[int, ...], b_strides: tuple[int, ...], c_shape: tuple[int, ...],
    c_strides: tuple[int, ...], one: bool, dtype: np.dtype, add: bool, limit: int, there: bool,
) -> _Product | None:
    """``one``: the first two begin at the same byte; ``limit``: of threads; ``there``: whether there is a BLAS."""
    a, b, c = View(0, 0, a_shape, a_strides), View(int(not one), 0, b_shape, b_strides), View(2, 0, c_shape, c_strides)
    a, b, c, grain = _split(a, b, c) if len(c.shape) <= 2 else (a, b, c, _shared(a, b, c))
    ma, mb, mc = _as_matrices(a, b, c)
    batch = _batch(a, b, c)
    if not there or dtype not in LETTERS or batch is None:
        return None
    counts, strides = batch
    empty = 0 in counts  # then strides say nothing
    size = dtype.itemsize
    call = _loops(ma, mb, mc, size) if empty else _choose(ma, mb, mc, size, strides[0] == strides[1] and not add)
    if call is None:
        return None
    if call.swapped:
        strides = strides[1], strides[0], strides[2]
    own = call.routine == "gemm" and dtype == np.float32 and gemm.pays(*call.words[1:5], divided=grain > 0)
    places = [0] * (ADDRESS + 1)
    args = np.array([*places, *counts[1:], *strides[0], *strides[1], *strides[2], BETAS[add], *call.words], np.int64)
    return _Product(call.routine, call.swapped, own, args, math.prod(counts), grain)


def _split(a: View, b: View, c: View) -> tuple[View, View, View, int]:
    """A large product as a batch of blocks of rows or columns, one for each thread of ours, and its grain.

    OpenBLAS's own threads wait for each other: with another process on a core a product takes 30 times as long. The bits may
    differ from np.matmul's in the last places, as they do with another number of OpenBLAS's threads; not under
    ``threads.limit(1)``.
    """
    own_transpose = (a.buf, a.offset, a.strides) == (b.buf, b.offset, b.strides[::-1])      # np.matmul calls syrk
    if own_transpose or not len(a.shape) == len(b.shape) == len(c.shape) == 2:
        return a, b, c, 0
    (m, k), n = a.shape, b.shape[1]
    rows, cols = (lambda parts: (_blocks(a, parts, 0), b, _blocks(c, parts, 0), 1)), (lambda parts: (a, _blocks(b, parts, 1), _blocks(c, parts, 1), 1))
    longer_first = ((m, rows), (n, cols)) if m > n else ((n, cols), (m, rows))      # blocks that are nearly square read least
    for parts in range(min(int(threads.TABLE[threads.LIMIT]), int(2.0 * m * k * n / BLOCK_FLOPS)), 1, -1):
        for size, divide in longer_first:
            if size % parts == 0 and size // parts >= LEAST_BLOCK:
                return divide(parts)
    return a, b, c, 0


def long_sum(a: tuple[int, ...], b: tuple[int, ...], itemsize: int) -> int:
    """In how many parts the inner axis of a product of these shapes should be divided: one for each thread where it is longer than the others, as that of the
    gradient of a weight over a large batch, and an operand that all threads would read has ``SHARED_BYTES``; else 1. Measured: up to 1.3 times as fast."""
    parts = int(threads.TABLE[threads.LIMIT])
    if len(a) != 2 or len(b) != 2 or parts < 2:
        return 1
    (m, k), n = a, b[1]
    pays = k % parts == 0 and k > parts * max(m, n) and min(m, n) * k * itemsize >= SHARED_BYTES and 2.0 * m * k * n >= parts * BLOCK_FLOPS
    return parts if pays else 1


def _shared(a: View, b: View, c: View) -> int:
    """How many matrices of a batch a thread should multiply at least; 0 where one thread should do all, or each product has work for all threads."""
    count, flops = math.prod(c.shape[:-2]), 2.0 * math.prod(c.shape[-2:]) * a.shape[-1]
    apart = all(s for n, s in zip(c.shape[:-2], c.strides) if n > 1)
    enough = count >= int(threads.TABLE[threads.LIMIT]) or flops < LARGE
    return max(1, int(BLOCK_FLOPS / flops)) if count > 1 and flops and apart and enough and count * flops >= 2 * BLOCK_FLOPS else 0


def _blocks(view: View, parts: int, axis: int) -> View:
    size = view.shape[axis] // parts
    shape = (size, view.shape[1]) if axis == 0 else (view.shape[0], size)
    return View(view.buf, view.offset, (parts, *shape), (size * view.strides[axis], *view.strides))


def readable(view: View, itemsize: int) -> bool:
    """Whether BLAS can read the matrices of ``view`` in place: one of the last two axes is dense, the other has no overlap."""
    if len(view.shape) < 2:
        return len(view.shape) == 0 or view.strides[-1] % itemsize == 0 < view.strides[-1]
    m = _last_axes(view)
    return _dense(m, itemsize) or _dense(m.t, itemsize)


def _last_axes(v: View) -> Mat:
    return Mat(v.buf, v.offset, *v.shape[-2:], *v.strides[-2:])


def _as_matrices(a: View, b: View, c: View) -> tuple[Mat, Mat, Mat]:
    """The operands with vectors as one row or one column; checks shapes."""
    if not a.shape or not b.shape:
        raise ValueError(f"matmul_step: operands must have an axis, got shapes {a.shape} and {b.shape}")
    ma = _last_axes(a) if len(a.shape) > 1 else Mat(a.buf, a.offset, 1, a.shape[0], 0, a.strides[0])
    mb = _last_axes(b) if len(b.shape) > 1 else Mat(b.buf, b.offset, b.shape[0], 1, b.strides[0], 0)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = batch + a.shape[-2:-1] + (b.shape[-1:] if len(b.shape) > 1 else ())
    if ma.cols != mb.rows or c.shape != shape:
        raise ValueError(f"matmul_step: shapes {a.shape} @ {b.shape} -> {c.shape} do not fit")
    strides = list(c.strides[len(batch) :])
    row = strides.pop(0) if len(a.shape) > 1 else 0
    return ma, mb, Mat(c.buf, c.offset, ma.rows, mb.cols, row, strides[0] if strides else 0)


Axes = tuple[int, int, int]


def _batch(a: View, b: View, c: View) -> tuple[Axes, tuple[Axes, Axes, Axes]] | None:
    """Sizes and strides of the batch as three axes, adjacent ones merged where all allow it; None if three are too few."""
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    axes: list[tuple[int, tuple[int, ...]]] = []
    columns = zip(_spread(a, len(shape)), _spread(b, len(shape)), c.strides[: len(shape)])
    for n, steps in zip(shape, columns):
        if n == 1:
            continue
        if axes and all(outer == inner * n for outer, inner in zip(axes[-1][1], steps)):
            axes[-1] = axes[-1][0] * n, steps
        else:
            axes.append((n, steps))
    if len(axes) > 3:
        return None
    axes = [(1, (0, 0, 0))] * (3 - len(axes)) + axes
    by_operand = tuple((axes[0][1][i], axes[1][1][i], axes[2][1][i]) for i in range(3))
    return (axes[0][0], axes[1][0], axes[2][0]), by_operand  # type: ignore[return-value]


def _spread(v: View, ndim: int) -> list[int]:
    """Strides over ``ndim`` batch axes: 0 where the operand is broadcast."""
    n = max(0, len(v.shape) - 2) if ndim else 0
    own = [0 if size == 1 else stride for size, stride in zip(v.shape[:n], v.strides[:n])]
    return [0] * (ndim - n) + own


@dataclass(frozen=True)
class Call:
    """A routine, its sizes and leading dimensions as ``_code`` reads them, and whether the operands change places."""

    routine: str
    words: tuple[int, ...]
    swapped: bool = False


def _choose(a: Mat, b: Mat, c: Mat, size: int, same: bool) -> Call | None:
    """``same``: matrices of a batch that are each other's transposes may be multiplied as such."""
    m, k, n = a.rows, a.cols, b.cols
    if 0 in (m, k, n) or (k == 1 and 1 in (m, n)):
        return _loops(a, b, c, size)
    if 1 in (m, k, n):
        return _with_vector(a, b, c, size)
    if abs(c.row) < abs(c.col):  # c.T = b.T @ a.T
        turned = _matrices(b.t, a.t, c.t, size, same)
        return turned and Call(turned.routine, turned.words, swapped=True)
    return _matrices(a, b, c, size, same)


def _with_vector(a: Mat, b: Mat, c: Mat, size: int) -> Call:
    if a.rows == b.cols == 1 and _steps(a.col, size) and _steps(b.row, size):
        return Call("dot", (a.cols, a.col // size, b.row // size))
    if a.rows == 1 and _blas_readable(b, size) and _steps(a.col, size) and _steps(c.col, size):
        return Call("gemv", _gemv(b.t, a.col, c.col, size), swapped=True)
    if b.cols == 1 and _blas_readable(a, size) and _steps(b.row, size) and _steps(c.row, size):
        return Call("gemv", _gemv(a, b.row, c.row, size))
    return _loops(a, b, c, size)


def _gemv(a: Mat, x: int, y: int, size: int) -> tuple[int, ...]:
    """A dense row-major matrix goes as the transpose of a column-major one, as NumPy does it."""
    if _dense(a, size):
        return COL, a.cols, a.rows, a.row // size, x // size, y // size
    return ROW, a.cols, a.rows, a.col // size, x // size, y // size


def _matrices(a: Mat, b: Mat, c: Mat, size: int, same: bool) -> Call | None:
    if not (_blas_readable(a, size) and _blas_readable(b, size) and _dense(c, size)):
        return None
    ta, tb = (PLAIN if _dense(x, size) else TRANS for x in (a, b))
    lda, ldb = ((x.row if t == PLAIN else x.col) // size for x, t in ((a, ta), (b, tb)))
    ldc = c.row // size
    if a == b.t and ta != tb and same:
        return Call("syrk", (ta, b.cols, a.cols, lda if ta == PLAIN else ldb, ldc))
    return Call("gemm", (ta, tb, a.rows, b.cols, a.cols, lda, ldb, ldc))


def _loops(a: Mat, b: Mat, c: Mat, size: int) -> Call:
    words = a.rows, b.cols, a.cols, a.row, a.col, b.row, b.col, c.row, c.col
    rows_dense = a.cols == 1 and (b.col == size or b.cols == 1) and (c.col == size or b.cols == 1)
    return Call("outer" if rows_dense else "loops", words)


def _steps(stride: int, size: int) -> bool:
    return stride > 0 and stride % size == 0


def _dense(m: Mat, size: int) -> bool:
    """Rows are contiguous and do not overlap: what cblas calls row-major."""
    return m.col == size and m.row % size == 0 and m.row // size >= m.cols


def _blas_readable(m: Mat, size: int) -> bool:
    return _dense(m, size) or _dense(m.t, size)
