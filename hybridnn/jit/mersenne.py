"""The code of ``draws``: float64 numbers in [0, 1) from a Mersenne Twister's state, in vectors.

The Mersenne Twister (Matsumoto, Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator") makes 624
words at once from the 624 before; two of them make a float64 in [0, 1). NumPy takes word after word; here loops run over blocks.
"""
from __future__ import annotations

from hybridnn.jit.lowlevel import I32, I64, PTR, VOID, Func, Module, Val

__all__ = ["emit"]

WORDS, MIDDLE = 624, 397
UPPER, LOWER, MATRIX = -0x80000000, 0x7FFFFFFF, 0x9908B0DF - 2**32
TEMPERS = (-11, None), (7, 0x9D2C5680 - 2**32), (15, 0xEFC60000 - 2**32), (-18, None)     # shift (to the left), mask


def emit(m: Module) -> None:
    """``hnn_uniform(state, y, n)``: the next n numbers. The state is 624 words and the place of the next word, 624 where all are used up."""
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
