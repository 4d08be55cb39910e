"""Native code of steps along one axis, which take a unit of work for each line along it.

Lines that lie side by side (the axis is not the last one) are worked on together, in the lanes of vectors; so are the short rows among which extremes are
looked for. The extreme of a long row is found in vectors, and then its place.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from hybridnn.jit.lowlevel import BYTES, F32, F64, I1, I32, I64, REALS, Func, Module, Number, Val, operand, step_function

__all__ = ["emit"]

VECTOR = 64        # bytes
KINDS = {**REALS, "i32": I32, "i64": I64}
AT_ONCE = 4        # vectors of a long row, so that one comparison need not wait for the one before


@dataclass(frozen=True, eq=False)
class _Lines:
    """``lanes`` neighbouring lines of ``n`` elements, ``step`` apart; their element number 0 is that with number ``first`` of the array, and the lines
    begin ``apart`` from each other: at once if that is None."""

    f: Func
    kind: Any
    lanes: int
    first: Val
    n: Val
    step: Val
    reverse: Val
    apart: Val | None = None

    def of(self, kind: Any) -> Any:
        """The type of one element of each line."""
        return ir.VectorType(kind, self.lanes) if self.lanes > 1 else kind

    def load(self, x: Val, k: Number) -> Val:
        """Element ``k`` of each line."""
        f, place = self.f, self._place(k)
        if self.lanes == 1:
            return f.load(self.kind, x, place)
        if self.apart is None:
            return f.load_vector(self.kind, self.lanes, f.at(x, place * BYTES[self.kind]))
        v = ir.Constant(self.of(self.kind), ir.Undefined)
        for i in range(self.lanes):
            v = f.builder.insert_element(v, f.load(self.kind, x, place + self.apart * i).ir, ir.Constant(I32, i))
        return Val(f, v)

    def store(self, value: Val, y: Val, k: Number) -> None:
        """Element ``k`` of each line."""
        self.store_at(value, y, self._place(k), self.kind)

    def store_at(self, value: Val, y: Val, number: Val, kind: Any) -> None:
        """Elements of ``y`` beside each other, the first of which has this number."""
        self.f.store_vector(value, self.f.at(y, number * BYTES[kind]), BYTES[kind])

    def _place(self, k: Number) -> Val:
        k = self.f.value(k)
        return self.first + self.f.select(self.reverse != 0, self.n - 1 - k, k) * self.step


def emit(m: Module, name: str, kind_name: str, count: int) -> None:
    """The step ``name_kind``. Args: ``count`` operands, result, length of the axis, elements behind it, whether backwards."""
    f, _, args, lo, hi = step_function(m, f"{name}_{kind_name}")
    kind, line = KINDS[kind_name], _LINES[name]
    operands, out = [operand(f, i) for i in range(count)], operand(f, count)
    n, inner, reverse = (f.load(I64, args, 2 * count + 2 + i) for i in range(3))
    lanes, following = VECTOR // BYTES[kind], f.var(lo)
    with f.loop() as loop:
        unit = following.get()
        loop.leave_if(unit >= hi)
        across = unit % inner
        one = _Lines(f, kind, 1, unit // inner * n * inner + across, n, inner, reverse)
        with f.either((across + lanes <= inner) & (unit + lanes <= hi)) as (beside, alone):
            with beside:
                line(replace(one, lanes=lanes), operands, out, unit)
                following.set(unit + lanes)
            with alone:
                following.set(unit + 1)
                if name in _SIGNS:
                    _row(one, line, lanes, operands, out, unit, hi, following, _SIGNS[name])
                else:
                    line(one, operands, out, unit)
    f.ret()


# Running sums and products, recurrences, products


def _running(start: float, step: Any) -> Any:
    """``start`` changes no element that ``step`` takes first: -0.0, added, keeps the sign of a zero."""

    def line(lines: _Lines, operands: list[Val], out: Val, unit: Val) -> None:
        total = lines.f.var(_number(lines, start), lines.of(lines.kind))
        with lines.f.range(0, lines.n) as k:
            total.set(step(total.get(), *[lines.load(x, k) for x in operands]))
            lines.store(total.get(), out, k)

    return line


def _product(lines: _Lines, operands: list[Val], out: Val, unit: Val) -> None:
    total = lines.f.var(_number(lines, 1), lines.of(lines.kind))
    with lines.f.range(0, lines.n) as k:
        total.set(total.get() * lines.load(operands[0], k))
    lines.store_at(total.get(), out, unit, lines.kind)


def _number(lines: _Lines, x: float) -> Val:
    return lines.f.value((float if lines.kind in (F32, F64) else int)(x), lines.of(lines.kind))


# Places of extremes: of the first that is beyond all before it; of the first NaN, if there is one


def _extremes(sign: str) -> Any:
    def line(lines: _Lines, operands: list[Val], out: Val, unit: Val) -> None:
        f, x = lines.f, operands[0]
        best, at = f.var(lines.load(x, 0), lines.of(lines.kind)), f.var(0, lines.of(I32))
        with f.range(1, lines.n) as k:
            new, most = lines.load(x, k), best.get()
            better = _beyond(sign, new, most) | (_is_number(most) & _is_nan(new))
            best.set(f.select(better, new, most))
            at.set(f.select(better, _splat(f, f.narrow(k, I32), lines.lanes), at.get()))
        lines.store_at(at.get(), out, unit, I32)

    return line


def _row(row: _Lines, line: Any, lanes: int, operands: list[Val], out: Val, unit: Val, hi: Val, following: Any, sign: str) -> None:
    """One row; or, of short ones that lie behind each other, one for each lane, and ``following`` is told."""
    f = row.f
    with f.either((row.step == 1) & (row.n >= 2 * lanes)) as (long, short):
        with long:
            f.store(f.narrow(_place_in_row(row, lanes, operands[0], sign), I32), out, unit)
        with short, f.either((row.step == 1) & (unit + lanes <= hi)) as (several, one):
            with several:
                line(replace(row, lanes=lanes, apart=row.n), operands, out, unit)
                following.set(unit + lanes)
            with one:
                line(row, operands, out, unit)


def _place_in_row(row: _Lines, lanes: int, x: Val, sign: str) -> Val:
    """Place of the extreme of a row of two vectors or more. The last vector may reach back into the one before."""
    f, start = row.f, row.f.at(x, row.first * BYTES[row.kind])
    extreme, nan = _extreme_of_row(row, lanes, start, sign)
    found = f.var(0)
    wanted = _splat(f, extreme, lanes)
    with f.either(nan) as (strange, usual):
        with strange:
            found.set(_first(row, lanes, start, _is_nan))
        with usual:
            found.set(_first(row, lanes, start, lambda v: v == wanted))
    return found.get()


def _extreme_of_row(row: _Lines, lanes: int, start: Val, sign: str) -> tuple[Val, Val]:
    """The extreme of the row, and whether there is a NaN: then it is not known."""
    f, size, b = row.f, BYTES[row.kind], row.f.builder
    kind, mask = ir.VectorType(row.kind, lanes), ir.VectorType(I1, lanes)
    load = lambda k: f.load_vector(row.kind, lanes, f.at(start, k * size))
    best, nans = [f.var(load(f.value(0)), kind) for _ in range(AT_ONCE)], [f.var(0, mask) for _ in range(AT_ONCE)]

    def take(i: int, k: Val) -> None:
        new, most = load(k), best[i].get()
        best[i].set(f.select(_beyond(sign, new, most), new, most))
        nans[i].set(nans[i].get() | _is_nan(new))

    whole = row.n // (AT_ONCE * lanes) * (AT_ONCE * lanes)
    with f.range(0, whole, AT_ONCE * lanes) as k:
        for i in range(AT_ONCE):
            take(i, k + i * lanes)
    with f.range(whole, row.n - lanes, lanes) as k:
        take(0, k)
    take(1, row.n - lanes)
    further = lambda x, y: f.select(_beyond(sign, y, x), y, x)
    value, strange = functools.reduce(further, [v.get() for v in best]), functools.reduce(operator.or_, [v.get() for v in nans])
    for n in (lanes >> k for k in range(1, lanes.bit_length())):
        value = further(value, f.shuffle(value, value, [(i + n) % lanes for i in range(lanes)]))
    return Val(f, b.extract_element(value.ir, ir.Constant(I32, 0))), _bits(f, strange, lanes) != 0


def _first(row: _Lines, lanes: int, start: Val, is_it: Any) -> Val:
    """The number of the first element of which that is so; there is one."""
    f, size = row.f, BYTES[row.kind]
    at, found = f.var(0), f.var(0, ir.IntType(lanes))
    test = lambda k: is_it(f.load_vector(row.kind, lanes, f.at(start, k * size)))
    with f.loop() as loop:
        k = at.get()
        loop.leave_if(k + AT_ONCE * lanes > row.n)
        loop.leave_if(_bits(f, functools.reduce(operator.or_, [test(k + i * lanes) for i in range(AT_ONCE)]), lanes) != 0)
        at.set(k + AT_ONCE * lanes)
    with f.loop() as loop:
        k = f.least(at.get(), row.n - lanes)
        found.set(_bits(f, test(k), lanes))
        at.set(k)
        loop.leave_if(found.get() != 0)
        at.set(k + lanes)
    return at.get() + Val(f, f.builder.zext(f.builder.cttz(found.get().ir, ir.Constant(I1, 1)), I64))


def _bits(f: Func, mask: Val, lanes: int) -> Val:
    return Val(f, f.builder.bitcast(mask.ir, ir.IntType(lanes)))


def _splat(f: Func, x: Val, lanes: int) -> Val:
    return x if lanes == 1 else f.splat(x, lanes)


def _beyond(sign: str, x: Val, y: Val) -> Val:
    return x > y if sign == ">" else x < y


def _is_number(x: Val) -> Val:
    return x == x


def _is_nan(x: Val) -> Val:
    return Val(x.f, x.f.builder.not_((x == x).ir))


_SIGNS = {"argmax": ">", "argmin": "<"}
_LINES = {
    "prod": _product, "cumsum": _running(-0.0, lambda y, x: y + x), "cumprod": _running(1, lambda y, x: y * x),
    "linear_scan": _running(0, lambda y, a, b: a * y + b), **{name: _extremes(sign) for name, sign in _SIGNS.items()},
}  # fmt: skip
