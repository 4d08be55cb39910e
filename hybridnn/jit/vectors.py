"""Vectors of float32 in functions of :mod:`hybridnn.jit.lowlevel`: masks, shuffles, transposition, sums along them."""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from llvmlite import ir

from hybridnn.jit.lowlevel import F32, I1, I32, PTR, VOID, Func, Val

__all__ = ["Vectors", "turned_halves"]

FIRST = ir.Constant(I32, 0)


@functools.cache
def _lanes(kind: ir.Type, numbers: tuple[int, ...]) -> ir.Constant:
    """A constant vector. Made once: llvmlite keeps with it the text that every use repeats."""
    return ir.Constant(ir.VectorType(kind, len(numbers)), list(numbers))


@functools.cache
def _undefined(kind: ir.Type, lanes: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, lanes), ir.Undefined)


Vector = TypeVar("Vector")


def turned_halves(shuffle: Callable[[Vector, Vector, Sequence[int]], Vector], four: Sequence[Vector]) -> list[Vector]:
    """Four vectors of eight, whose halves are two squares, each of which is transposed: pairs of elements, then pairs of pairs, change places."""
    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    first, last = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    a, b, c, d = four
    pairs = [(shuffle(a, b, lanes), shuffle(c, d, lanes)) for lanes in (low, high)]
    return [shuffle(x, y, lanes) for x, y in pairs for lanes in (first, last)]


class Vectors:
    """Operations on vectors of float32 in a function being written."""

    def __init__(self, f: Func, lanes: int):
        self.f, self.b, self.lanes = f, f.builder, lanes
        self.type, self.mask_type = ir.VectorType(F32, lanes), ir.VectorType(I1, lanes)
        self.zero = ir.Constant(self.type, [ir.Constant(F32, 0.0)] * lanes)

    def splat(self, x: ir.Value) -> ir.Value:
        one = self.b.insert_element(_undefined(x.type, self.lanes), x, FIRST)
        return self.shuffle(one, one, [0] * self.lanes)

    def shuffle(self, x: ir.Value, y: ir.Value, lanes: Sequence[int]) -> ir.Value:
        return self.b.shuffle_vector(x, y, _lanes(I32, tuple(lanes)))

    def below(self, count: Val) -> ir.Value:
        """The mask of the lanes whose number is less than ``count``."""
        return self.b.icmp_signed("<", _lanes(I32, tuple(range(self.lanes))), self.splat(self.b.trunc(count.ir, I32)))

    def load(self, at: Val) -> ir.Value:
        return self.b.load(at.ir, typ=self.type, align=4)

    def store(self, x: ir.Value, at: Val) -> None:
        self.b.store(x, at.ir, align=4)

    def load_some(self, at: Val, mask: ir.Value) -> ir.Value:
        fn = self._intrinsic(f"llvm.masked.load.v{self.lanes}f32.p0", ir.FunctionType(self.type, [PTR, I32, self.mask_type, self.type]))
        return self.b.call(fn, [at.ir, ir.Constant(I32, 4), mask, self.zero])

    def store_some(self, x: ir.Value, at: Val, mask: ir.Value) -> None:
        fn = self._intrinsic(f"llvm.masked.store.v{self.lanes}f32.p0", ir.FunctionType(VOID, [self.type, PTR, I32, self.mask_type]))
        self.b.call(fn, [x, at.ir, ir.Constant(I32, 4), mask])

    def _intrinsic(self, name: str, kind: ir.FunctionType) -> ir.Function:
        return self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)

    def prefetch(self, at: Val) -> None:
        """Ask the second-level cache for the line at an address, which need not exist."""
        fn = self._intrinsic("llvm.prefetch.p0", ir.FunctionType(VOID, [PTR, I32, I32, I32]))
        self.b.call(fn, [at.ir, *(ir.Constant(I32, x) for x in (0, 2, 1))])     # to be read, locality, data

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return self.b.call(self._intrinsic(f"llvm.fma.v{self.lanes}f32", ir.FunctionType(self.type, [self.type] * 3)), [x, y, z])

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """The columns of a block of vectors, one behind the other in as many vectors: after each round of merging row i with row i + half, one more bit
        of the lane number is a bit of the row number."""
        n, half = self.lanes, len(rows) // 2
        if n == len(rows) == 8:
            return self._transposed_eight(rows)
        low_half = [k // 2 + (k % 2) * n for k in range(n)]
        high_half = [lane + n // 2 for lane in low_half]
        for _ in range(half.bit_length()):
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [self.shuffle(x, y, lanes) for x, y in pairs for lanes in (low_half, high_half)]
        return rows

    def _transposed_eight(self, rows: list[ir.Value]) -> list[ir.Value]:
        """The same within halves of vectors first, where AVX takes one instruction for a shuffle, and not two."""
        above, below = turned_halves(self.shuffle, rows[:4]), turned_halves(self.shuffle, rows[4:])
        return [self.shuffle(x, y, [*range(h, h + 4), *range(h + 8, h + 12)]) for h in (0, 4) for x, y in zip(above, below)]

    def sums(self, vectors: list[ir.Value]) -> ir.Value:
        """A vector that begins with the sums of the lanes of each vector (a power of two of them): merged as for :meth:`transposed`, after which the low bits
        of a lane's number are that of its vector, then folded."""
        n, count = self.lanes, len(vectors)
        low = [k // 2 + (k % 2) * n for k in range(n)]
        while len(vectors) > 1:
            half = len(vectors) // 2
            pairs = zip(vectors[:half], vectors[half:], strict=True)
            vectors = [self.b.fadd(self.shuffle(x, y, low), self.shuffle(x, y, [k + n // 2 for k in low])) for x, y in pairs]
        x, = vectors
        while n > count:
            n //= 2
            x = self.b.fadd(x, self.shuffle(x, x, [(k + n) % self.lanes for k in range(self.lanes)]))
        return x
