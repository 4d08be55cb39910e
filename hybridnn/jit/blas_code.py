"""The native code of matrix products: calls of cblas, and plain loops, over the matrices of a batch.

The arguments of a step are three operands, the cblas address, two inner batch sizes, nine strides, beta, then the words of the call.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hybridnn.jit import lowlevel as low
from hybridnn.jit.blas_library import ROW, TRANS, UPPER
from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["ADDRESS", "code"]

ADDRESS, INNER, STRIDES, BETA, WORDS = 6, 7, 9, 18, 19


@functools.cache
def code(bits: int, letter: str, routine: str) -> Module:
    """One routine in a module of its own: what plans do not use is not compiled. Only outer products compute much in their own loop."""
    return low.load(letter + routine, _emit, bits, letter, routine, as_written=routine != "outer")


def _emit(m: Module, bits: int, letter: str, routine: str) -> None:
    f, *_ = low.step_function(m, letter + routine)
    with _over_batch(f) as (x, y, z):
        _EMIT[routine](f, low.INTEGERS[bits // 8], low.F32 if letter == "s" else low.F64, x, y, z)
    f.ret()


@contextmanager
def _over_batch(f: Func) -> Iterator[list[Val]]:
    """A loop over lo..hi that yields the addresses of the three matrices."""
    _, args, lo, hi = f.params
    bases = [low.operand(f, i) for i in range(3)]
    n1, n2 = (f.load(low.I64, args, INNER + i) for i in range(2))
    strides = [f.load(low.I64, args, STRIDES + i) for i in range(9)]
    with f.range(lo, hi) as i:
        indices = i // (n1 * n2), i // n2 % n1, i % n2
        offsets = [sum((s * j for s, j in zip(strides[3 * o : 3 * o + 3], indices)), f.value(0)) for o in range(3)]
        yield [f.at(base, offset) for base, offset in zip(bases, offsets)]


def _read(f: Func, real: Any, count: int) -> tuple[list[Val], Val, Val]:
    """The words of the call, beta, and the routine's address."""
    args = f.params[1]
    words = [f.load(low.I64, args, WORDS + i) for i in range(count)]
    return words, f.as_float(f.load(low.I64, args, BETA), real), f.load(low.I64, args, ADDRESS)


def _call(f: Func, integer: Any, address: Val, kinds: str, *values: Any, ret: Any = None) -> Val:
    """A cblas call; ``kinds`` has a letter per value: e for an enum (int32), i for a size, x for the rest."""
    fit = {"e": lambda v: f.narrow(f.value(v), low.I32), "i": lambda v: f.narrow(v, integer), "x": lambda v: v}
    return f.call_address(address, ret or low.VOID, *(fit[k](v) for k, v in zip(kinds, values)))


def _emit_gemm(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    (ta, tb, m, n, k, lda, ldb, ldc), beta, gemm = _read(f, real, 8)
    _call(f, integer, gemm, "eeeiiixxixixxi", ROW, ta, tb, m, n, k, f.value(1.0, real), x, lda, y, ldb, beta, z, ldc)


def _emit_gemv(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    (order, rows, cols, lda, incx, incy), beta, gemv = _read(f, real, 6)
    _call(f, integer, gemv, "eeiixxixixxi", order, TRANS, rows, cols, f.value(1.0, real), x, lda, y, incx, beta, z, incy)


def _emit_syrk(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    (trans, n, k, lda, ldc), beta, syrk = _read(f, real, 5)
    _call(f, integer, syrk, "eeeiixxixxi", ROW, UPPER, trans, n, k, f.value(1.0, real), x, lda, beta, z, ldc)
    with f.range(0, n) as i, f.range(i + 1, n) as j:
        f.store(f.load(real, z, i * ldc + j), z, j * ldc + i)


def _emit_dot(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    (k, incx, incy), beta, dot = _read(f, real, 3)
    _accumulate(f, real, _call(f, integer, dot, "ixixi", k, x, incx, y, incy, ret=real) + 0.0, z, beta)


def _accumulate(f: Func, real: Any, value: Val, target: Val, beta: Val) -> None:
    """``target = value + beta * target``; with beta 0 the old value, which may be NaN, is not read."""
    with f.either(beta == 0.0) as (write, add):
        with write:
            f.store(value, target)
        with add:
            f.store(value + f.load(real, target), target)


def _emit_loops(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    (m, n, k, a_row, a_col, b_row, b_col, c_row, c_col), beta, _ = _read(f, real, 9)
    with f.range(0, m) as i, f.range(0, n) as j:
        left, right = f.at(x, i * a_row), f.at(y, j * b_col)
        total = f.var(0.0, real)
        with f.range(0, k) as p:
            total.add(f.load(real, f.at(left, p * a_col)) * f.load(real, f.at(right, p * b_row)))
        _accumulate(f, real, total.get(), f.at(z, i * c_row + j * c_col), beta)


def _emit_outer(f: Func, integer: Any, real: Any, x: Val, y: Val, z: Val) -> None:
    """A column times a row, both results of a row contiguous."""
    (m, n, _, a_row, _, _, _, c_row, _), beta, _ = _read(f, real, 9)
    with f.range(0, m) as i:
        left, row = f.load(real, f.at(x, i * a_row)), f.at(z, i * c_row)
        with f.either(beta == 0.0) as (write, add):
            with write, f.range(0, n) as j:
                f.store(left * f.load(real, y, j) + 0.0, row, j)
            with add, f.range(0, n) as j:
                f.store(left * f.load(real, y, j) + f.load(real, row, j), row, j)


_EMIT = {
    "gemm": _emit_gemm, "syrk": _emit_syrk, "gemv": _emit_gemv, "dot": _emit_dot, "loops": _emit_loops, "outer": _emit_outer,
}  # fmt: skip
