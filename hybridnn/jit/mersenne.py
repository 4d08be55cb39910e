"""The code of ``draws``: float64 numbers in [0, 1), and normal ones, from a Mersenne Twister's state, in vectors.

The Mersenne Twister (Matsumoto, Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator") makes 624
words at once from the 624 before; two of them make a float64 in [0, 1). NumPy takes word after word; here loops run over blocks.

Normal numbers come in pairs, from points of a square that lie in the unit circle (Marsaglia, Bray 1964, "A convenient method for generating normal variables");
the logarithm is the C library's, as NumPy's is, so that all bits are.
"""
from __future__ import annotations

from hybridnn.jit.lowlevel import F64, I32, I64, PTR, VOID, Func, Module, Val

__all__ = ["emit"]

WORDS, MIDDLE = 624, 397
UPPER, LOWER, MATRIX = -0x80000000, 0x7FFFFFFF, 0x9908B0DF - 2**32
POINTS = 256      # at a time
TEMPERS = (-11, None), (7, 0x9D2C5680 - 2**32), (15, 0xEFC60000 - 2**32), (-18, None)     # shift (to the left), mask


def emit(m: Module) -> None:
    """``hnn_uniform(state, y, n)``: the next n numbers. The state is 624 words and the place of the next word, 624 where all are used up.

    ``hnn_normal(state, kept, y, n, log)``: the next n normal numbers. ``kept``: whether one is kept from the draw before, an int of 32 bits, and
    behind 8 bytes that number; ``log``: the address of C's function.
    """
    _emit_normal(m, _emit_uniform(m))


def _emit_uniform(m: Module) -> Func:
    next_block = _emit_next_block(m)
    f = m.func("hnn_uniform", VOID, [PTR, PTR, I64])
    state, y, n = f.params
    at, done = f.var(f.widen(f.load(I32, state, WORDS))), f.var(0)
    with f.loop() as loop:
        loop.leave_if(done.get() >= n)
        with f.when(at.get() >= WORDS):
            f.call(next_block, state)
            at.set(0)
        first, start = at.get(), done.get()
        pairs = f.least(f.value((WORDS - first) // 2), n - start)
        with f.range(0, pairs) as k:
            word = first + k * 2
            f.store(_number(f, f.load(I32, state, word), f.load(I32, state, word + 1)), y, start + k)
        at.set(first + pairs * 2)
        done.set(start + pairs)
        with f.when((at.get() == WORDS - 1) & (done.get() < n)):
            last = f.load(I32, state, WORDS - 1)
            f.call(next_block, state)
            f.store(_number(f, last, f.load(I32, state)), y, done.get())
            at.set(1)
            done.add(1)
    f.store(f.narrow(at.get(), I32), state, WORDS)
    f.ret()
    return f


def _emit_normal(m: Module, uniform: Func) -> None:
    f = m.func("hnn_normal", VOID, [PTR, PTR, PTR, I64, I64])
    state, kept, y, n, log = f.params
    numbers, first, second, scale = (f.stack(8 * k * POINTS) for k in (2, 1, 1, 1))
    done = f.var(0)
    with f.when((f.load(I32, kept) != 0) & (n > 0)):
        f.store(f.load(F64, kept, 1), y)
        f.store(0, kept, kind=I32)
        f.store(0.0, kept, 1, F64)
        done.set(1)
    with f.loop() as loop:
        start = done.get()
        loop.leave_if(start >= n)
        tried = f.least((n - start + 1) >> 1, POINTS)      # no more than are wanted, if all lie inside: none is drawn in vain
        f.call(uniform, state, numbers, tried * 2)
        inside = _emit_points(f, numbers, tried, first, second, scale)
        _emit_scales(f, scale, inside, log, numbers)
        whole = f.least((n - start) >> 1, inside)
        with f.range(0, whole) as k:
            factor = f.load(F64, scale, k)
            f.store(factor * f.load(F64, second, k), y, start + k * 2)
            f.store(factor * f.load(F64, first, k), y, start + k * 2 + 1)
        done.set(start + whole * 2)
        with f.when(inside > whole):
            factor = f.load(F64, scale, whole)
            f.store(factor * f.load(F64, second, whole), y, n - 1)
            f.store(1, kept, kind=I32)
            f.store(factor * f.load(F64, first, whole), kept, 1)
            done.set(n)
    f.ret()


def _emit_points(f: Func, numbers: Val, tried: Val, first: Val, second: Val, square: Val) -> Val:
    """Points of the square of side 2, one behind the other: those inside the circle, and their squared distances from its centre. Gives how many there are."""
    inside = f.var(0)
    with f.range(0, tried) as k:
        x, y = (f.load(F64, numbers, k * 2 + j) * 2.0 - 1.0 for j in (0, 1))
        distance, at = x * x + y * y, inside.get()
        for value, to in (x, first), (y, second), (distance, square):
            f.store(value, to, at)
        inside.set(f.select((distance < 1.0) & (distance != 0.0), at + 1, at))
    return inside.get()


def _emit_scales(f: Func, square: Val, count: Val, log: Val, logs: Val) -> None:
    """What the points are multiplied with, in the place of their squared distances."""
    sqrt = f.ir.module.declare_intrinsic("llvm.sqrt", [F64])
    with f.range(0, count) as k:
        f.store(f.call_address(log, F64, f.load(F64, square, k)), logs, k)
    with f.range(0, count) as k:
        f.store(f.call(sqrt, f.load(F64, logs, k) * -2.0 / f.load(F64, square, k)), square, k)


def _emit_next_block(m: Module) -> Func:
    f = m.func("next_block", VOID, [PTR])
    f.ir.linkage = "internal"
    (state,) = f.params

    def renew(k: Val | int, after: Val | int, middle: Val | int) -> None:
        mixed = (f.load(I32, state, k) & UPPER) | (f.load(I32, state, after) & LOWER)
        odd = f.value(0, I32) - (mixed & 1)
        f.store(f.load(I32, state, middle) ^ (mixed >> 1) ^ (odd & MATRIX), state, k)

    with f.range(0, WORDS - MIDDLE) as k:
        renew(k, k + 1, k + MIDDLE)
    with f.range(WORDS - MIDDLE, WORDS - 1) as k:
        renew(k, k + 1, k - (WORDS - MIDDLE))
    renew(WORDS - 1, 0, MIDDLE - 1)
    f.ret()
    return f


def _number(f: Func, a: Val, b: Val) -> Val:
    """27 bits of one word and 26 of the next."""
    high, low_ = (f.real(_tempered(x) >> drop) for x, drop in ((a, 5), (b, 6)))
    return (high * 2.0**26 + low_) * 2.0**-53


def _tempered(x: Val) -> Val:
    for shift, mask in TEMPERS:
        moved = x << shift if shift > 0 else x >> -shift
        x = x ^ (moved if mask is None else moved & mask)
    return x
