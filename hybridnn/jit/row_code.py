"""Native code that takes the rows of a table by their numbers, and that adds to them."""

from __future__ import annotations

from typing import Any

from hybridnn.jit import lowlevel as low
from hybridnn.jit.lowlevel import Func, Module, Val
from hybridnn.jit.native import INDEX_ERROR

__all__ = ["emit_gather", "emit_scatter"]


def emit_gather(m: Module, bits: int) -> None:
    index_kind = low.INTEGERS[bits // 8]
    f, _, args, lo, hi = low.step_function(m, f"gather_i{bits}")
    table, index, out = (low.operand(f, i) for i in range(3))
    n, width, apart, out_apart = (f.load(low.I64, args, k) for k in (6, 7, 8, 9))
    memcpy = low.memcpy(m)
    with f.range(lo, hi) as i:
        row = _checked_index(f, index_kind, index, i, n)
        f.call(memcpy, f.at(out, i * out_apart), f.at(table, row * apart), width)
    f.ret()


def emit_scatter(m: Module, real_name: str, bits: int) -> None:
    real, index_kind = low.REALS[real_name], low.INTEGERS[bits // 8]
    f, _, args, lo, hi = low.step_function(m, f"scatter_{real_name}_i{bits}")
    rows, index, table = (low.operand(f, i) for i in range(3))
    n, width, count, apart = (f.load(low.I64, args, i) for i in (6, 7, 8, 9))
    with f.range(0, count) as i:
        row = _checked_index(f, index_kind, index, i, n)
        source, target = f.at(rows, i * apart), f.at(table, row * width * low.BYTES[real])
        with f.range(lo, hi) as j:
            f.store(f.load(real, target, j) + f.load(real, source, j), target, j)
    f.ret()


def _checked_index(f: Func, kind: Any, index: Val, i: Val, n: Val) -> Val:
    """Element i of ``index``, counted from the end if negative; leaves the step with the status set if it is out of bounds."""
    raw = f.widen(f.load(kind, index, i))
    row = f.select(raw < 0, raw + n, raw)
    with f.when((row < 0) | (row >= n)):
        status = f.load(low.PTR, f.params[0], -1)
        f.store(raw, status, 1)
        f.store(INDEX_ERROR, status, 0)
        f.ret()
    return row
