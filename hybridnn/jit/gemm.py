"""Products of float32 matrices in vector registers, with the calling convention of ``cblas_sgemm``.

A product goes by tiles of ``rows`` x two vectors of columns that stay in registers over a block of the inner dimension (Goto, van de Geijn
2008, "Anatomy of high-performance matrix multiplication"). The columns of B that a column of tiles needs are packed, and so transposed where B is,
into a panel that fits the first-level cache. A is read an element at a time, so it may stay where it lies; for wide products its tiles are packed too.
"""
from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llvmlite import binding, ir

from hybridnn.jit import lowlevel as low
from hybridnn.jit.lowlevel import F32, I1, I32, I64, PTR, VOID, Func, Module, Val
from hybridnn.openblas import LARGE

__all__ = ["Tile", "address", "host_tile", "pays"]

INNER = 256         # rows of a panel: 32 KB of 32 columns
TALL = 264          # rows of A that are visited with one panel, a little above a power of two: with the inner block, well within the second-level cache
WIDE = 192          # columns of B from which on packing A pays
SPARE_PACKING = 2   # so many row blocks at most read B where it lies, if its rows are contiguous: packing would not pay
NARROW, FLAT, SMALL = 24, 8, 1.5e6      # columns, rows and operations below which OpenBLAS is faster
PLAIN = 111         # CBLAS_TRANSPOSE
STEPS = 4           # steps of the inner loop that stand in a row


@dataclass(frozen=True)
class Tile:
    """Lanes of a vector, and rows of a tile: as many as registers hold beside two vectors of B and one element of A."""
    lanes: int
    rows: int

    @property
    def cols(self) -> int:
        return 2 * self.lanes

    def heights(self) -> list[int]:
        """Row counts that have code of their own; every count is a sum of a few of them."""
        return [self.rows, *(h for h in (8, 4, 2, 1) if h < self.rows)]


@functools.cache
def host_tile() -> Tile | None:
    """The tile of this CPU; None if it lacks fused multiply-adds on wide vectors."""
    has = binding.get_host_cpu_features().get
    return Tile(16, 12) if has("avx512f") else None


@functools.cache
def _code(tile: Tile) -> Module:
    return low.load("gemm", _emit, tile.lanes, tile.rows)


def address() -> int | None:
    """Where a function with the parameters of ``cblas_sgemm`` (64-bit integers, row-major) lies, or None."""
    tile = host_tile()
    return None if tile is None else _code(tile).address("hnn_sgemm")


def pays(tb: int, m: int, n: int, k: int, divided: bool) -> bool:
    """Whether this code is as fast as OpenBLAS on an (m, k) by (k, n) product, or faster.

    Measured: up to 1.1 times as fast on large products, 1.5 to 2 times with few rows or where B is transposed, as in a linear layer. OpenBLAS has better
    code for narrow and for very small products; and threads, for large ones that we do not divide.
    """
    operations = 2.0 * m * n * k
    return n >= NARROW and m >= FLAT and (tb != PLAIN or operations >= SMALL) and (divided or operations < LARGE)


class Vectors:
    """Operations on vectors of float32 in a function being written."""

    def __init__(self, f: Func, lanes: int):
        self.f, self.b, self.lanes = f, f.builder, lanes
        self.type, self.mask_type = ir.VectorType(F32, lanes), ir.VectorType(I1, lanes)
        self.zero = ir.Constant(self.type, [ir.Constant(F32, 0.0)] * lanes)

    def splat(self, x: ir.Value) -> ir.Value:
        one = self.b.insert_element(ir.Constant(ir.VectorType(x.type, self.lanes), ir.Undefined), x, ir.Constant(I32, 0))
        return self.shuffle(one, one, [0] * self.lanes)

    def shuffle(self, x: ir.Value, y: ir.Value, lanes: Sequence[int]) -> ir.Value:
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def below(self, count: Val) -> ir.Value:
        """The mask of the lanes whose number is less than ``count``."""
        iota = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return self.b.icmp_signed("<", iota, self.splat(self.b.trunc(count.ir, I32)))

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

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return self.b.call(self._intrinsic(f"llvm.fma.v{self.lanes}f32", ir.FunctionType(self.type, [self.type] * 3)), [x, y, z])

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """The columns of a square of vectors: after each round of merging row i with row i + half, one more bit of the lane number is a bit of the
        row number."""
        n = self.lanes
        low_half = [k // 2 + (k % 2) * n for k in range(n)]
        high_half = [lane + n // 2 for lane in low_half]
        for _ in range(n.bit_length() - 1):
            pairs = list(zip(rows[:n // 2], rows[n // 2:], strict=True))
            rows = [self.shuffle(x, y, lanes) for x, y in pairs for lanes in (low_half, high_half)]
        return rows


def _emit(m: Module, lanes: int, rows: int) -> None:
    tile = Tile(lanes, rows)
    micro = {h: _emit_tile(m, tile, h) for h in tile.heights()}
    packed = _emit_tile(m, tile, rows, packed=True)
    packs = [_emit_pack(m, tile, transposed) for transposed in (False, True)]
    pack_tiles = [_emit_pack_tile(m, tile, transposed) for transposed in (False, True)]
    _emit_product(m, tile, micro, packed, packs, pack_tiles)


def _internal(m: Module, name: str, params: list[ir.Type]) -> Func:
    f = m.func(name, VOID, params)
    f.ir.linkage = "internal"
    f.ir.attributes.add("noinline")      # each has all registers to itself
    return f


def _emit_tile(m: Module, tile: Tile, height: int, packed: bool = False) -> Func:
    """``tile(a, row, col, b, b_row, k, c, c_row, cols, alpha, beta)``: C = alpha A B + beta C for ``height`` rows and up to two vectors of columns.

    ``row`` and ``col`` are A's strides in bytes, ``b_row`` and ``c_row`` those of rows of B and C. With fewer columns than two vectors, B must be packed.
    """
    f = _internal(m, f"{'packed' if packed else 'tile'}{height}", [PTR, I64, I64, PTR, I64, I64, PTR, I64, I64, F32, F32])
    a, row, col, b, b_row, k, c, c_row, cols, alpha, beta = f.params
    if packed:
        row, col, b_row = f.value(4), f.value(4 * height), f.value(4 * tile.cols)
    v = Vectors(f, tile.lanes)
    sums = _inner_loop(f, v, height, a, row, col, b, b_row, k, packed)
    scaled = [[f.builder.fmul(v.splat(alpha.ir), s) for s in pair] for pair in sums]
    with f.either(cols == tile.cols) as (whole, part):
        with whole:
            _write(f, v, scaled, c, c_row, beta, v.load, v.store)
        with part:
            masks = [v.below(cols), v.below(cols - tile.lanes)]
            _write(f, v, scaled, c, c_row, beta, v.load_some, v.store_some, masks)
    f.ret()
    return f


def _inner_loop(f: Func, v: Vectors, height: int, a: Val, row: Val, col: Val, b: Val, b_row: Val, k: Val, packed: bool) -> list[list[ir.Value]]:
    """The sums over k of products of A's elements and B's vectors."""
    build = f.builder
    # Row i is one of a few pointers plus one of five offsets, all in registers. LLVM must not see that they are multiples of one stride: it would
    # make each address from the one before, a chain as long as the arithmetic.
    most = height if packed else 5
    groups = [f.at(a, row * start) for start in range(0, height, most)]
    offsets = [f.value(0), *(row * j if packed else _opaque(f, row * j) for j in range(1, min(most, height)))]
    slots = [[_slot(f, v.type, v.zero) for _ in range(2)] for _ in range(height)]
    at_a, at_b = [_slot(f, PTR, g.ir) for g in groups], _slot(f, PTR, b.ir)

    def step(count: int) -> None:
        total = [[build.load(s, typ=v.type) for s in pair] for pair in slots]
        bases, pointer = [Val(f, build.load(s, typ=PTR)) for s in at_a], Val(f, build.load(at_b, typ=PTR))
        for s in range(count):
            right = [v.load(f.at(pointer, b_row * s + 4 * v.lanes * j)) for j in range(2)]
            for i in range(height):
                x = v.splat(f.load(F32, f.at(f.at(bases[i // most], col * s), offsets[i % most])).ir)
                total[i] = [v.fma(x, y, z) for y, z in zip(right, total[i], strict=True)]
        for pair, values in zip(slots, total, strict=True):
            for slot, value in zip(pair, values, strict=True):
                build.store(value, slot)
        for slot, base in zip(at_a, bases, strict=True):
            build.store(f.at(base, col * count).ir, slot)
        build.store(f.at(pointer, b_row * count).ir, at_b)
    whole = k // STEPS * STEPS
    with f.range(0, whole, STEPS):
        step(STEPS)
    with f.range(whole, k):
        step(1)
    return [[build.load(s, typ=v.type) for s in pair] for pair in slots]


def _opaque(f: Func, x: Val) -> Val:
    """An int64 of which LLVM knows nothing."""
    return Val(f, f.builder.call(ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0"), [x.ir]))


def _slot(f: Func, kind: ir.Type, value: ir.Value) -> ir.Value:
    slot = ir.IRBuilder(f._entry).alloca(kind)
    slot.type = PTR
    f.builder.store(value, slot)
    return slot


def _write(f, v, sums, c, c_row, beta, load, store, masks=((), ())) -> None:
    """The tile into C; with beta 0 the old values, which may be NaN, are not read."""
    def to(i, j):
        return f.at(c, c_row * i + 4 * v.lanes * j)
    extra = [() if m == () else (m,) for m in masks]
    with f.either(beta == 0.0) as (fresh, added):
        with fresh:
            for i, pair in enumerate(sums):
                for j, s in enumerate(pair):
                    store(s, to(i, j), *extra[j])
        with added:
            factor = v.splat(beta.ir)
            for i, pair in enumerate(sums):
                for j, s in enumerate(pair):
                    store(v.fma(factor, load(to(i, j), *extra[j]), s), to(i, j), *extra[j])


def _emit_pack(m: Module, tile: Tile, transposed: bool) -> Func:
    """``pack(b, b_row, k, cols, panel)``: ``k`` rows of ``cols`` columns of B, which begin at ``b``, as rows of two vectors, zeros behind.

    If B is transposed, ``b_row`` is the stride of its columns; then rows of the panel up to a multiple of the lanes are written.
    """
    f = _internal(m, "pack_transposed" if transposed else "pack", [PTR, I64, I64, I64, PTR])
    b, b_row, k, cols, panel = f.params
    v, n = Vectors(f, tile.lanes), tile.lanes
    if not transposed:
        masks = [v.below(cols), v.below(cols - n)]
        with f.range(0, k) as i:
            for j, mask in enumerate(masks):
                v.store(v.load_some(f.at(b, b_row * i + 4 * n * j), mask), f.at(panel, i * (8 * n) + 4 * n * j))
        f.ret()
        return f
    with f.range(0, k, n) as i:
        inside = v.below(k - i)
        for j in range(2):
            rows = []
            for r in range(n):
                here = f.builder.and_(inside, v.splat((f.value(j * n + r) < cols).ir))
                rows.append(v.load_some(f.at(b, b_row * (j * n + r) + i * 4), here))
            for r, x in enumerate(v.transposed(rows)):
                v.store(x, f.at(panel, (i + r) * (8 * n) + 4 * n * j))
    f.ret()
    return f


def _emit_pack_tile(m: Module, tile: Tile, transposed: bool) -> Func:
    """``pack_tile(a, stride, k, height, to)``: ``height`` rows of A as ``k`` columns, one behind the other. ``stride`` in bytes is that of A's rows, or of its
    columns if A is transposed."""
    f = _internal(m, "pack_tile_transposed" if transposed else "pack_tile", [PTR, I64, I64, I64, PTR])
    a, stride, k, height, to = f.params
    v, n = Vectors(f, tile.lanes), tile.lanes
    inside = v.below(height)
    if transposed:
        with f.range(0, k) as i:
            v.store_some(v.load_some(f.at(a, stride * i), inside), f.at(to, height * 4 * i), inside)
        f.ret()
        return f
    with f.range(0, k, n) as i:
        columns = v.below(k - i)
        rows = [v.load_some(f.at(a, stride * r + i * 4), f.builder.and_(columns, v.splat((height > r).ir))) for r in range(n)]
        for r, x in enumerate(v.transposed(rows)):
            here = f.builder.and_(inside, v.splat((k - i > r).ir))
            v.store_some(x, f.at(to, height * 4 * (i + r)), here)
    f.ret()
    return f


def _emit_product(m: Module, tile: Tile, micro: dict[int, Func], packed: Func, packs: list[Func], pack_tiles: list[Func]) -> None:
    f = m.func("hnn_sgemm", VOID, [I32, I32, I32, I64, I64, I64, F32, PTR, I64, PTR, I64, F32, PTR, I64])
    _, ta, tb, rows, cols, inner, alpha, a, lda, b, ldb, beta, c, ldc = f.params
    lda, ldb, ldc = (x * 4 for x in (lda, ldb, ldc))
    plain_a, plain_b = ta == f.value(PLAIN, I32), tb == f.value(PLAIN, I32)
    row, col = f.select(plain_a, lda, 4), f.select(plain_a, 4, lda)
    b_inner, b_outer = f.select(plain_b, ldb, 4), f.select(plain_b, 4, ldb)
    panel, tiles = _scratch(f, INNER * tile.cols * 4), _scratch(f, INNER * TALL * 4)
    direct = Val(f, f.builder.and_(plain_b.ir, (rows <= SPARE_PACKING * tile.rows).ir))
    pack_a = Val(f, f.builder.and_((cols >= WIDE).ir, (rows > SPARE_PACKING * tile.rows).ir))
    with f.range(0, rows, TALL) as i0, f.range(0, inner, INNER) as k0:
        height, depth = f.least(rows - i0, TALL), f.least(inner - k0, INNER)
        left = f.at(a, row * i0 + col * k0)
        with f.when(pack_a):
            _pack_tiles(f, tile, pack_tiles, plain_a, left, lda, depth, height, tiles)
        with f.range(0, cols, tile.cols) as j0:
            width = f.least(cols - j0, tile.cols)
            source = f.at(b, b_inner * k0 + b_outer * j0)
            in_place = Val(f, f.builder.and_(direct.ir, (width == tile.cols).ir))
            with f.when(Val(f, f.builder.not_(in_place.ir))):
                _call_either(f, plain_b, packs, source, ldb, depth, width, panel)
            right, right_row = f.select(in_place, source, panel, PTR), f.select(in_place, ldb, 4 * tile.cols)
            for h, i in _tiles(f, tile, height):
                here = f.select(pack_a, f.at(tiles, i * depth * 4), f.at(left, row * i), PTR)
                strides = f.select(pack_a, 4, row), f.select(pack_a, 4 * h, col)
                args = here, *strides, right, right_row, depth, f.at(c, ldc * (i0 + i) + j0 * 4), ldc, width, alpha, f.select(k0 == 0, beta, 1.0, F32)
                if h == tile.rows:
                    _call_either(f, pack_a, [packed, micro[h]], *args)
                else:
                    f.builder.call(micro[h].ir, [x.ir for x in args])
    f.ret()


def _pack_tiles(f: Func, tile: Tile, packs: list[Func], plain: Val, a: Val, lda: Val, depth: Val, height: Val, to: Val) -> None:
    for h, i in _tiles(f, tile, height):
        _call_either(f, plain, packs, f.at(a, i * f.select(plain, lda, 4)), lda, depth, f.value(h), f.at(to, i * depth * 4))


def _call_either(f: Func, plain: Val, functions: list[Func], *args: Val) -> None:
    """The first function where the matrix is as it is, the second where it is transposed."""
    with f.either(plain) as branches:
        for branch, function in zip(branches, functions, strict=True):
            with branch:
                f.builder.call(function.ir, [x.ir for x in args])


def _scratch(f: Func, nbytes: int) -> Val:
    """Stack memory that begins with a cache line."""
    return f.to_ptr((f.to_int(f.stack(nbytes + 64)) + 63) // 64 * 64)


def _tiles(f: Func, tile: Tile, height: Val) -> Iterator[tuple[int, Val]]:
    """Loops over all rows: (rows of a tile, its first row), whole tiles first, then the rest by ever smaller ones."""
    done = f.var(0)
    for h in tile.heights():
        with f.range(done.get(), height - (h - 1), h) as i:
            yield h, i
            done.set(i + h)
