"""Inverses, determinants and Cholesky factors as native steps, through the LAPACK that NumPy itself is linked to.

The routines are those that ``np.linalg`` calls, on the same columns and in float64 (float32 is converted), so that inverses and factors have
the same bits. A matrix that has none sets the status ``LIBRARY_ERROR`` with LAPACK's number, and the plan stops.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.native import LIBRARY_ERROR, Step, View

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["find", "lapack_step", "scratch_bytes"]

logger = logging.getLogger("hybridnn.jit")

ROUTINES = {"inv": "gesv", "det": "getrf", "cholesky": "potrf"}
REALS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
LOWER = ord("L")


@dataclass(frozen=True)
class Lapack:
    """Addresses of Fortran's dgesv, dgetrf and dpotrf, and the width of their integers in bits."""

    bits: int
    functions: dict[str, int]
    keep: Any = None


@functools.cache
def find() -> Lapack | None:
    """The LAPACK in NumPy's own library, or None, which is said once."""
    try:
        library = ctypes.CDLL(str(importlib.import_module("numpy.linalg._umath_linalg").__file__))
    except (ImportError, OSError):
        library = None
    for prefix, suffix in (("scipy_", "_64_"), ("", "_64_"), ("scipy_", "_"), ("", "_")):
        names = {r: f"{prefix}d{r}{suffix}" for r in ROUTINES.values()}
        if library is not None and all(hasattr(library, n) for n in names.values()):
            functions = {k: ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for k, n in names.items()}
            found = Lapack(64 if "64" in suffix else 32, functions, library)
            return found if _factorizes(found) else None
    logger.info("NumPy's library has no LAPACK functions that can be called: linear algebra runs outside plans")
    return None


def _factorizes(lapack: Lapack) -> bool:
    """Tries ``dpotrf`` on a matrix whose factor is known: a library with other integers than its name says would fail here."""
    size = ctypes.c_int64 if lapack.bits == 64 else ctypes.c_int32
    a, order, n, info = np.array([[4, 2], [2, 5]], np.float64), ctypes.c_char(LOWER), size(2), size(7)
    potrf = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(lapack.functions["potrf"])
    potrf(*map(ctypes.addressof, (order, n)), a.ctypes.data, *map(ctypes.addressof, (n, info)))
    return info.value == 0 and a[0].tolist() == [2, 1] and a[1, 1] == 2


def scratch_bytes(n: int) -> int:
    """Memory beside operands for matrices of n rows: two matrices and n integers."""
    return 8 * (2 * n * n + n)


def lapack_step(name: str, x: View, out: View, scratch: View, dtype: Any) -> Step | None:
    """``out = inv(x)``, ``det(x)`` or ``cholesky(x)`` (``name``) for C-contiguous matrices of float32 or float64 in the last two axes.

    None without LAPACK.
    """
    lapack, real, n = find(), REALS.get(np.dtype(dtype)), x.shape[-1]
    if lapack is None or real is None:
        return None
    module = _code(name, real, lapack.bits)
    words = [x.buf, x.offset, out.buf, out.offset, scratch.buf, scratch.offset, n, lapack.functions[ROUTINES[name]]]
    return Step(module.address(f"{name}_{real}"), np.array(words, np.int64), 0, math.prod(x.shape[:-2]), 0, name, module)


# Native code


@functools.cache
def _code(name: str, real: str, bits: int) -> Module:
    from hybridnn.jit import lowlevel as low

    return low.load(f"{name}_{real}", _emit, name, real, bits, as_written=True)


def _emit(m: Module, name: str, real_name: str, bits: int) -> None:
    from hybridnn.jit import lowlevel as low

    f, _, args, lo, hi = low.step_function(m, f"{name}_{real_name}")
    real = low.REALS[real_name]
    x, out, scratch = (low.operand(f, i) for i in range(3))
    n, address = f.load(low.I64, args, 6), f.load(low.I64, args, 7)
    count = n * n
    size, order, info = f.stack(8), f.stack(8), f.stack(8)
    f.store(f.narrow(n, low.INTEGERS[bits // 8]), size)
    f.store(LOWER, order, 0, low.I8)
    work = _Work(f, real, bits, n, count, scratch, f.at(scratch, count * 8), size, order, info, address)
    with f.range(lo, hi) as i:
        work.turn(work.matrix(x, i), work.a, real, low.F64)
        _EMIT[name](m, work, out, i)
    f.ret()


@dataclass(frozen=True)
class _Work:
    """The function being written: matrices ``a`` and ``b`` in Fortran's order, sizes in memory, the routine's address."""

    f: Func
    real: Any
    bits: int
    n: Val
    count: Val
    a: Val
    b: Val
    size: Val
    order: Val
    info: Val
    address: Val

    @property
    def pivots(self) -> Val:
        return self.f.at(self.b, self.count * 8)

    def turn(self, source: Val, target: Val, given: Any, wanted: Any) -> None:
        """The matrix transposed: from C's order to Fortran's or back, from one kind of real to another."""
        f = self.f
        with f.range(0, self.n) as i, f.range(0, self.n) as j:
            f.store(f.round(f.extend(f.load(given, source, i * self.n + j)), wanted), target, j * self.n + i)

    def call(self, *arguments: Val) -> Val:
        """Runs the routine; the number that it reports."""
        from hybridnn.jit import lowlevel as low

        f = self.f
        f.call_address(self.address, low.VOID, *arguments, self.info)
        return f.widen(f.load(low.INTEGERS[self.bits // 8], self.info))

    def must(self, *arguments: Val) -> None:
        """As ``call``; leaves the step with the status set if it fails."""
        from hybridnn.jit import lowlevel as low

        f, number = self.f, self.call(*arguments)
        with f.when(number != 0):
            status = f.load(low.PTR, f.params[0], -1)
            f.store(number, status, 1)
            f.store(LIBRARY_ERROR, status, 0)
            f.ret()

    def matrix(self, out: Val, i: Val) -> Val:
        from hybridnn.jit import lowlevel as low

        return self.f.at(out, i * self.count * low.BYTES[self.real])


def _emit_inv(m: Module, w: _Work, out: Val, i: Val) -> None:
    from hybridnn.jit import lowlevel as low

    f = w.f
    with f.range(0, w.count) as k:
        f.store(f.select(k % (w.n + 1) == 0, 1.0, 0.0, low.F64), w.b, k)
    w.must(w.size, w.size, w.a, w.size, w.pivots, w.b, w.size)
    w.turn(w.b, w.matrix(out, i), low.F64, w.real)


def _emit_cholesky(m: Module, w: _Work, out: Val, i: Val) -> None:
    from hybridnn.jit import lowlevel as low

    f = w.f
    w.must(w.order, w.size, w.a, w.size)
    with f.range(0, w.n) as j, f.range(0, j) as k:
        f.store(0.0, w.a, j * w.n + k, low.F64)
    w.turn(w.a, w.matrix(out, i), low.F64, w.real)


def _emit_det(m: Module, w: _Work, out: Val, i: Val) -> None:
    """The exponential of the sum of the pivots' logarithms, with the sign of the pivots and of their order."""
    from hybridnn.jit import lowlevel as low

    f = w.f
    log, exp = (m.extern(n, low.F64, [low.F64]) for n in ("log", "exp"))
    singular = w.call(w.size, w.size, w.a, w.size, w.pivots) > 0
    sign, total = f.var(1.0, low.F64), f.var(0.0, low.F64)
    with f.either(singular) as (zero, other):
        with zero:
            f.store(0.0, out, i, w.real)
        with other:
            with f.range(0, w.n) as k:
                pivot = f.load(low.F64, w.a, k * (w.n + 1))
                swapped = f.widen(f.load(low.INTEGERS[w.bits // 8], w.pivots, k)) != k + 1
                sign.set(f.select(swapped, sign.get() * -1.0, sign.get()))
                sign.set(f.select(pivot < 0.0, sign.get() * -1.0, sign.get()))
                total.set(total.get() + f.call(log, f.select(pivot < 0.0, pivot * -1.0, pivot)))
            f.store(f.round(sign.get() * f.call(exp, total.get()), w.real), out, i)


_EMIT = {"inv": _emit_inv, "det": _emit_det, "cholesky": _emit_cholesky}
