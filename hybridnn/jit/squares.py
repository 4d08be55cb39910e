"""Matrices of four-byte elements turned in registers, for kernels that work on copies of rows in which these lie side by side.

``turn(to, to_step, source, step, rows, cols)``: ``to[j * to_step + i] = source[i * step + j]`` for all rows i and columns j. Blocks of eight rows and four
columns, or four rows and eight columns, go through registers, and so do eight rows of two or three that lie one right after the other. The last block of a side
begins where it ends with that side, so that some elements are copied twice; what else has less than four is copied one by one.
"""
from llvmlite import ir

from hybridnn.jit.lowlevel import I32, I64, PTR, VOID, Func, Val
from hybridnn.jit.vectors import turned_halves

__all__ = ["turn_function"]

NAME = "turn"


def turn_function(module: ir.Module) -> ir.Function:
    """The function in this module, written if it is not there."""
    known = module.globals.get(NAME)
    if known is not None:
        return known
    f = Func(module, NAME, VOID, [PTR, I64, PTR, I64, I64, I64])
    f.ir.linkage = "internal"
    f.ir.attributes.add("noinline")
    f.ir.attributes.add("nounwind")
    to, to_step, source, step, rows, cols = f.params
    to_step, step = to_step * 4, step * 4
    for h, w in (8, 4), (4, 8):
        with f.when((rows >= h) & (cols >= w)):
            with f.range(0, rows, h) as a, f.range(0, cols, w) as b:
                i, j = f.least(a, rows - h), f.least(b, cols - w)
                _turn_block(f, f.at(to, to_step * j + i * 4), to_step, f.at(source, step * i + j * 4), step, h, w)
            f.ret()
    for n in 2, 3:
        with f.when((cols == n) & (step == 4 * n) & (rows >= 8)):
            with f.range(0, rows, 8) as a:
                i = f.least(a, rows - 8)
                dense = [f.load_vector(I32, 8, f.at(source, i * (4 * n) + 32 * k)) for k in range(n)]
                for j in range(n):
                    f.store_vector(_picked(f, dense, [n * k + j for k in range(8)]), f.at(to, to_step * j + i * 4), 4)
            f.ret()
        with f.when((rows == n) & (to_step == 4 * n) & (cols >= 8)):
            with f.range(0, cols, 8) as b:
                j = f.least(b, cols - 8)
                apart = [f.load_vector(I32, 8, f.at(source, step * i + j * 4)) for i in range(n)]
                for k in range(n):
                    f.store_vector(_picked(f, apart, [t % n * 8 + t // n for t in range(8 * k, 8 * k + 8)]), f.at(to, j * (4 * n) + 32 * k), 4)
            f.ret()
    with f.when(rows >= 8):
        with f.range(0, cols) as j, f.range(0, rows, 8) as a:
            i = f.least(a, rows - 8)
            column = [f.load(I32, f.at(source, step * (i + k) + j * 4)) for k in range(8)]
            f.store_vector(f.together(column), f.at(to, to_step * j + i * 4), 4)
        f.ret()
    with f.range(0, cols) as j, f.range(0, rows) as i:
        f.store(f.load(I32, f.at(source, step * i + j * 4)), f.at(to, to_step * j + i * 4))
    f.ret()
    f.finish()
    return f.ir


def _picked(f: Func, vectors: list[Val], places: list[int]) -> Val:
    """Eight elements of two or three vectors of eight, by their places in all of these."""
    first = f.shuffle(vectors[0], vectors[1], [p if p < 16 else 0 for p in places])
    return first if len(vectors) < 3 else f.shuffle(first, vectors[2], [k if p < 16 else p - 8 for k, p in enumerate(places)])


def _turn_block(f: Func, to: Val, to_step: Val, source: Val, step: Val, rows: int, cols: int) -> None:
    """A block as two squares of four, side by side in the halves of vectors, each of which is turned by itself."""
    if rows > cols:
        halves = [f.load_vector(I32, 4, f.at(source, step * i)) for i in range(rows)]
        vectors = [f.shuffle(a, b, range(8)) for a, b in zip(halves[:4], halves[4:], strict=True)]
    else:
        vectors = [f.load_vector(I32, 8, f.at(source, step * i)) for i in range(rows)]
    for j, x in enumerate(turned_halves(f.shuffle, vectors)):
        if rows > cols:
            f.store_vector(x, f.at(to, to_step * j), 4)
        else:
            for half in (0, 4):
                f.store_vector(f.shuffle(x, x, range(half, half + 4)), f.at(to, to_step * (j + half)), 4)
