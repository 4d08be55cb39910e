"""Native steps that go along one axis: places of extremes, running sums and products, linear recurrences."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.native import Step, View

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Val

__all__ = ["KINDS", "scan_step"]

KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64"}
OPERANDS = {"prod": 1, "argmax": 1, "argmin": 1, "cumsum": 1, "cumprod": 1, "linear_scan": 2}
PIECE_BYTES = 200_000  # that a thread reads at least


def scan_step(name: str, operands: list[View], out: View, dtype: Any, axis: int, reverse: bool = False) -> Step:
    """The operation ``name`` of ``OPERANDS`` along an axis; all C-contiguous, of a dtype in ``KINDS``, places int32."""
    shape, kind = operands[0].shape, KINDS[np.dtype(dtype)]
    outer, n, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    module = _code(name, kind)
    words = [w for v in (*operands, out) for w in (v.buf, v.offset)]
    nbytes = operands[0].size * np.dtype(dtype).itemsize
    grain = max(1, outer * inner * PIECE_BYTES // nbytes) if nbytes >= 2 * PIECE_BYTES else 0
    args = np.array([*words, n, inner, int(reverse)], np.int64)
    return Step(module.address(f"{name}_{kind}"), args, 0, outer * inner, grain, name, module)


# Native code


@functools.cache
def _code(name: str, kind: str) -> Module:
    from hybridnn.jit import lowlevel as low

    return low.load(f"{name}_{kind}", _emit, name, kind, as_written=True)


def _emit(m: Module, name: str, kind_name: str) -> None:
    """Args: operands, result, length of the axis, elements behind it, whether backwards. A unit is a line along the axis."""
    from hybridnn.jit import lowlevel as low

    f, _, args, lo, hi = low.step_function(m, f"{name}_{kind_name}")
    kind, count = {**low.REALS, "i32": low.I32, "i64": low.I64}[kind_name], OPERANDS[name]
    operands, out = [low.operand(f, i) for i in range(count)], low.operand(f, count)
    n, inner, reverse = (f.load(low.I64, args, 2 * count + 2 + i) for i in range(3))
    with f.range(lo, hi) as unit:
        first = unit // inner * n * inner + unit % inner
        place = lambda k: first + f.select(reverse != 0, n - 1 - k, k) * inner
        _LINES[name](f, kind, operands, out, unit, n, place)
    f.ret()


def _extreme(sign: str) -> Any:
    """The first that is beyond all before it; the first NaN, if there is one."""

    def line(f: Func, kind: Any, operands: list[Val], out: Val, unit: Val, n: Val, place: Any) -> None:
        from hybridnn.jit import lowlevel as low

        best, at = f.var(f.load(kind, operands[0], place(f.value(0))), kind), f.var(0)
        with f.range(1, n) as k:
            x, most = f.load(kind, operands[0], place(k)), best.get()
            beyond = x > most if sign == ">" else x < most
            strange = f.select(x == x, 0, 1) > f.select(most == most, 0, 1)
            with f.when(beyond | strange):
                best.set(x)
                at.set(k)
        f.store(f.narrow(at.get(), low.I32), out, unit)

    return line


def _running(start: float, step: Any) -> Any:
    """``start`` changes no element that ``step`` takes first: -0.0, added, keeps the sign of a zero."""

    def line(f: Func, kind: Any, operands: list[Val], out: Val, unit: Val, n: Val, place: Any) -> None:
        total = f.var(f.value(_type_of(kind)(start), kind), kind)
        with f.range(0, n) as k:
            total.set(step(total.get(), *[f.load(kind, x, place(k)) for x in operands]))
            f.store(total.get(), out, place(k), kind)

    return line


def _product(f: Func, kind: Any, operands: list[Val], out: Val, unit: Val, n: Val, place: Any) -> None:
    total = f.var(f.value(_type_of(kind)(1), kind), kind)
    with f.range(0, n) as k:
        total.set(total.get() * f.load(kind, operands[0], place(k)))
    f.store(total.get(), out, unit, kind)


def _type_of(kind: Any) -> type:
    """Python's type of constants of this kind."""
    from hybridnn.jit import lowlevel as low

    return float if kind in (low.F32, low.F64) else int


_LINES = {
    "prod": _product,
    "argmax": _extreme(">"), "argmin": _extreme("<"), "cumsum": _running(-0.0, lambda y, x: y + x), "cumprod": _running(1, lambda y, x: y * x),
    "linear_scan": _running(0, lambda y, a, b: a * y + b),
}  # fmt: skip
