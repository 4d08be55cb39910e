"""Products of float32 matrices in vector registers, with the calling convention of ``cblas_sgemm``.

A product goes by tiles of a few rows and three vectors of columns, which stay in registers over a block of the inner dimension (Goto, van de Geijn
2008, "Anatomy of high-performance matrix multiplication"). The columns of B that a column of tiles needs are packed into a panel for the first-level
cache: by the first tile on its way, or before it where B is transposed; the tiles ask the second-level cache for the next panel's columns meanwhile.
A is read an element at a time, so it may stay where it lies; for wide products its tiles are packed too.
"""
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llvmlite import binding, ir

from hybridnn.jit import lowlevel as low
from hybridnn.jit.lowlevel import F32, I32, I64, PTR, VOID, Func, Module, Val
from hybridnn.jit.vectors import Vectors
from hybridnn.openblas import LARGE

__all__ = ["Tile", "address", "host_tile", "pays", "source"]

INNER = 256         # rows of a panel: 48 KB of 48 columns, 24 of 24
AHEAD = 16          # rows ahead that packing asks the caches for: the hardware expects no jump to the next row
TALL = 264          # rows of A that are visited with one panel, a little above a power of two: with the inner block, well within the second-level cache
WIDE, WIDE_TRANSPOSED = 192, 64    # columns of B from which on packing A pays: as it is, and transposed, where elements of a row lie apart
FLAT, SMALL = 8, 1.5e6                  # rows and operations below which OpenBLAS's code for tiny products is faster
UNPACKED = 1 << 14  # elements of B, 64 KB, from which on that is slower if they do not begin with a cache line (by 1.3 times)
TINY, TINY_TRANSPOSED = 2e6, 1024       # with fewer rows: operations, and elements of C if B is transposed, up to which it has code for tiny products
PLAIN = 111         # CBLAS_TRANSPOSE
STEPS = 4           # steps of the inner loop that stand in a row
FEW_ROWS = 12       # rows of A up to which a transposed B is read where it lies, in vectors along its columns, if these are long enough
SOME_ROWS, DEEP = 16, 512       # rows of A and their length that are visited with rows of B: 32 KB


@dataclass(frozen=True)
class Tile:
    """Lanes of a vector, and rows of a tile: as many as registers hold beside three vectors of B and one element of A. Eight rows of three vectors take 11
    loads for 24 multiplications, twelve rows of two 14.

    Measured: ``spare_packing``, so many rows at most read B where it lies, if its rows are contiguous, as packing would not pay; ``sums``, the elements along
    a transposed B for each row of A from which on it is read in that direction; ``narrow``, the columns below which OpenBLAS is faster, as it
    is for as many as lanes, the height of its own tiles; and whether it has code for ``tiny`` products.
    """
    lanes: int
    rows: int
    spare_packing: int
    sums: int
    narrow: int
    tiny: bool

    def heights(self, vectors: int = 3) -> list[int]:
        """Row counts that have code of their own for so many vectors; every count is a sum of a few of them."""
        most = self.rows * 3 // vectors
        return [most, *(h for h in (8, 4, 2, 1) if h < most)]


LONG = Tile(lanes=16, rows=8, spare_packing=24, sums=6, narrow=24, tiny=True)      # 32 registers of AVX-512
SHORT = Tile(lanes=8, rows=4, spare_packing=12, sums=12, narrow=5, tiny=False)     # 16 of AVX2


@functools.cache
def host_tile() -> Tile | None:
    """The tile of this CPU; None if it lacks fused multiply-adds on wide vectors."""
    has = binding.get_host_cpu_features().get
    return LONG if has("avx512f") else SHORT if has("fma") else None


def source(tile: Tile) -> low.Source:
    """What is compiled for a tile."""
    return low.Source("gemm", _emit, (tile,), as_written=True)


@functools.cache
def _code(tile: Tile) -> Module:
    return source(tile).load()


def address() -> int:
    """Where a function with the parameters of ``cblas_sgemm`` (64-bit integers, row-major) lies; for CPUs with a tile."""
    tile = host_tile()
    assert tile is not None
    return _code(tile).address("hnn_sgemm")


def pays(tb: int, m: int, n: int, k: int, divided: bool) -> bool:
    """Whether this CPU has a tile, with which an (m, k) by (k, n) product is as fast as by OpenBLAS, or faster.

    Measured with AVX-512: up to 1.1 times as fast on large products, 1.5 to 2 times with few rows or where B is transposed, as in a linear layer, and 3 to 8
    times with 2 to 7 rows where the product is just too large for OpenBLAS's code for tiny ones; that code is better, and the one for narrow products. With
    AVX2: 1.0 to 1.1 times on large products, 1.1 to 1.3 on small ones, 1.3 to 2 with few rows. Large products that we do not divide need OpenBLAS's threads.
    """
    tile, operations = host_tile(), 2.0 * m * n * k
    if tile is None or m == 1 or n < tile.narrow or n == tile.lanes or not (divided or operations < LARGE):
        return False
    small = operations < SMALL and n * k < UNPACKED if m >= FLAT else operations < TINY
    return not (tile.tiny and (small if tb == PLAIN else m < FLAT and m * n <= TINY_TRANSPOSED))


def _emit(m: Module, tile: Tile) -> None:
    pack_transposed = _emit_pack_transposed(m, tile)
    pack_tiles = {h: [_emit_pack_tile(m, tile, h, transposed) for transposed in (False, True)] for h in tile.heights()}
    dots = {(h, w): _emit_dots(m, tile, h, w) for h in (4, 1) for w in (tile.lanes // 4, 1)}
    widths = [_emit_width(m, tile, vectors) for vectors in (3, 2)]
    _emit_product(m, tile, _emit_product_of_rows(m, tile, dots), widths, pack_transposed, pack_tiles, _emit_pack_two(m, tile))


@dataclass(frozen=True)
class _Width:
    """Code for tiles of so many columns: ``anywhere`` for any rows of A, by their number; ``packed`` for packed ones, ``packing`` if it packs B on the way;
    ``pack`` does nothing else."""
    cols: int
    anywhere: dict[int, Func]
    packed: Func
    packing: Func
    pack: Func


def _emit_width(m: Module, tile: Tile, vectors: int) -> _Width:
    anywhere = {h: _emit_tile(m, tile, h, vectors) for h in tile.heights(vectors)}
    packed, packing = (_emit_tile(m, tile, tile.rows, vectors, kind) for kind in ("packed", "packing"))
    return _Width(vectors * tile.lanes, anywhere, packed, packing, _emit_pack(m, tile, vectors))


def _internal(m: Module, name: str, params: list[ir.Type]) -> Func:
    f = m.func(name, VOID, params)
    f.ir.linkage = "internal"
    f.ir.attributes.add("noinline")      # each has all registers to itself
    return f


def _emit_tile(m: Module, tile: Tile, height: int, vectors: int, kind: str = "anywhere") -> Func:
    """``tile(a, row, col, b, b_row, k, c, c_row, cols, alpha, beta, panel, next, next_row)``: C = alpha A B + beta C for ``height`` rows and up to so many
    vectors of columns.

    ``row`` and ``col`` are A's strides in bytes, ``b_row`` and ``c_row`` those of rows of B and C. With fewer columns than the vectors have, B must be packed.
    If A is "packed", the caches are asked on the way for rows that begin at ``next``; if the tile is "packing", B's rows are copied to ``panel`` too.
    """
    f = _internal(m, f"{kind}{height}x{vectors}", [PTR, I64, I64, PTR, I64, I64, PTR, I64, I64, F32, F32, PTR, PTR, I64])
    a, row, col, b, b_row, k, c, c_row, cols, alpha, beta, panel, ahead, ahead_row = f.params
    if kind != "anywhere":
        row, col = f.value(4), f.value(4 * height)
    if kind == "packed":
        b_row = f.value(4 * vectors * tile.lanes)
    v = Vectors(f, tile.lanes)
    left, right = _Rows(f, a, row, col, height, kind == "anywhere"), _Pointer(f, b, b_row)
    to = _Pointer(f, panel, f.value(4 * vectors * tile.lanes)) if kind == "packing" else None
    if kind != "anywhere":      # of a large product: C is seldom in a cache (1.3 times as fast for the gradient of a weight that is not)
        for i, j in itertools.product(range(height), range(vectors)):
            v.prefetch(f.at(c, c_row * i + 4 * (v.lanes * (j + 1) - 1)))
    sums = _inner_loop(f, v, left, right, vectors, k, None if kind == "anywhere" else _Pointer(f, ahead, ahead_row), to)
    scaled = [[f.builder.fmul(v.splat(alpha.ir), s) for s in row_of_sums] for row_of_sums in sums]
    _write(f, v, scaled, c, c_row, beta, cols)
    f.ret()
    return f


class _Pointer:
    """A place that moves from row to row."""

    def __init__(self, f: Func, start: Val, row: Val):
        self.f, self.row, self.slot = f, row, _slot(f, PTR, start.ir)

    def get(self) -> Val:
        return Val(self.f, self.f.builder.load(self.slot, typ=PTR))

    def move(self, rows: int) -> None:
        self.f.builder.store(self.f.at(self.get(), self.row * rows).ir, self.slot)


class _Rows:
    """Rows of A, from column to column. ``anywhere``: at a stride that is not known when the code is written.

    Row i is then one of a few pointers plus one of five offsets, all in registers. LLVM must not see that they are multiples of one stride: it would make
    each address from the one before, a chain as long as the arithmetic.
    """

    def __init__(self, f: Func, a: Val, row: Val, col: Val, height: int, anywhere: bool):
        self.f, self.col, self.height, self.most = f, col, height, 5 if anywhere else height
        self.groups = [_Pointer(f, f.at(a, row * start), col) for start in range(0, height, self.most)]
        self.offsets = [f.value(0), *(_opaque(f, row * j) if anywhere else row * j for j in range(1, min(self.most, height)))]

    def element(self, i: int, column: int) -> Val:
        return self.f.load(F32, self.f.at(self.f.at(self.groups[i // self.most].get(), self.col * column), self.offsets[i % self.most]))

    def move(self, columns: int) -> None:
        for group in self.groups:
            group.move(columns)


def _inner_loop(f: Func, v: Vectors, left: _Rows, right: _Pointer, vectors: int, k: Val,
                ahead: _Pointer | None, panel: _Pointer | None) -> list[list[ir.Value]]:
    """The sums over k of products of A's elements and B's vectors."""
    build = f.builder
    slots = [[_slot(f, v.type, v.zero) for _ in range(vectors)] for _ in range(left.height)]

    def step(count: int) -> None:
        total = [[build.load(s, typ=v.type) for s in row] for row in slots]
        for s in range(count):
            b = [v.load(f.at(right.get(), right.row * s + 4 * v.lanes * j)) for j in range(vectors)]
            if panel:
                for j, x in enumerate(b):
                    v.store(x, f.at(panel.get(), panel.row * s + 4 * v.lanes * j))
            for i in range(left.height):
                x = v.splat(left.element(i, s).ir)
                total[i] = [v.fma(x, y, z) for y, z in zip(b, total[i], strict=True)]
        for row, values in zip(slots, total, strict=True):
            for slot, value in zip(row, values, strict=True):
                build.store(value, slot)
        for moving in filter(None, (left, right, panel)):
            moving.move(count)
    steps = STEPS if left.height >= 4 else 1
    whole = k // steps * steps
    with f.range(0, whole, steps):
        if ahead:
            for j in range(vectors):      # the last element of a vector: the first one may lie in the line of the column before, which is there
                v.prefetch(f.at(ahead.get(), 4 * (v.lanes * (j + 1) - 1)))
            ahead.move(1)
        step(steps)
    if steps > 1:
        with f.range(whole, k):
            step(1)
    return [[build.load(s, typ=v.type) for s in row] for row in slots]


def _opaque(f: Func, x: Val) -> Val:
    """An int64 of which LLVM knows nothing."""
    return Val(f, f.builder.call(ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0"), [x.ir]))


def _slot(f: Func, kind: ir.Type, value: ir.Value) -> ir.Value:
    slot = ir.IRBuilder(f._entry).alloca(kind)
    slot.type = PTR
    f.builder.store(value, slot)
    return slot


def _write(f: Func, v: Vectors, sums: list[list[ir.Value]], c: Val, c_row: Val, beta: Val, cols: Val) -> None:
    """The first ``cols`` columns of the tile into C; with beta 0 the old values, which may be NaN, are not read."""
    left = [cols - j * v.lanes for j in range(len(sums[0]))]
    slots = [[_slot(f, v.type, s) for s in row] for row in sums]
    with f.when(_none(f, beta == 0.0)):
        factor, masks = v.splat(beta.ir), [v.below(count) for count in left]
        for i, row in enumerate(sums):
            for j, (s, slot) in enumerate(zip(row, slots[i], strict=True)):
                f.builder.store(v.fma(factor, v.load_some(f.at(c, c_row * i + 4 * v.lanes * j), masks[j]), s), slot)
    for j, count in enumerate(left):
        column = [(slots[i][j], f.at(c, c_row * i + 4 * v.lanes * j)) for i in range(len(sums))]
        with f.either(count >= v.lanes) as (whole, part):
            with whole:
                for slot, to in column:
                    v.store(f.builder.load(slot, typ=v.type), to)
            with part:
                _write_some(f, v, column, count)


def _write_some(f: Func, v: Vectors, column: list[tuple[ir.Value, Val]], count: Val) -> None:
    """The first ``count`` lanes of vectors: under a mask, or in pieces where masks are not what the CPU has registers for (then a store takes ten times as
    long on AMD)."""
    if v.lanes > 8:
        mask = v.below(count)
        for slot, to in column:
            v.store_some(f.builder.load(slot, typ=v.type), to, mask)
        return
    done = f.var(0)
    for piece in (4, 2, 1):
        with f.when(count % (2 * piece) >= piece):
            for slot, to in column:
                x = f.builder.load(slot, typ=v.type)
                f.store_vector(Val(f, v.shuffle(x, x, range(piece))), f.at(to, done.get()), 4)
                f.builder.store(v.shuffle(x, x, [(lane + piece) % v.lanes for lane in range(v.lanes)]), slot)
            done.add(4 * piece)


def _emit_pack(m: Module, tile: Tile, vectors: int) -> Func:
    """``pack(b, b_row, k, cols, panel)``: ``k`` rows of ``cols`` columns of B, which begin at ``b``, as rows of so many vectors, zeros behind."""
    f = _internal(m, f"pack{vectors}", [PTR, I64, I64, I64, PTR])
    b, b_row, k, cols, panel = f.params
    v, n = Vectors(f, tile.lanes), tile.lanes
    masks = [v.below(cols - n * j) for j in range(vectors)]
    with f.range(0, k) as i:
        for j, mask in enumerate(masks):
            v.prefetch(f.at(b, b_row * (i + AHEAD) + 4 * n * j))
            v.store(v.load_some(f.at(b, b_row * i + 4 * n * j), mask), f.at(panel, i * (4 * n * vectors) + 4 * n * j))
    f.ret()
    return f


def _emit_pack_transposed(m: Module, tile: Tile) -> Func:
    """``pack_transposed(b, b_col, k, cols, panel, vectors)``: the same of a transposed B, whose columns have the stride ``b_col``; rows of the panel up to
    a multiple of the lanes are written."""
    f = _internal(m, "pack_transposed", [PTR, I64, I64, I64, PTR, I64])
    b, b_col, k, cols, panel, vectors = f.params
    v, n = Vectors(f, tile.lanes), tile.lanes
    row = vectors * (4 * n)
    with f.range(0, vectors) as j, f.range(0, k, n) as i:
        inside, here, to = v.below(k - i), f.at(b, b_col * (j * n) + i * 4), f.at(panel, row * i + j * (4 * n))
        with f.either(_all(f, k - i >= n, cols - j * n >= n)) as (whole, part):
            with whole:
                _store_rows(f, v, v.transposed([v.load(f.at(here, b_col * r)) for r in range(n)]), to, row)
            with part:
                masks = [f.builder.and_(inside, v.splat((j * n + r < cols).ir)) for r in range(n)]
                _store_rows(f, v, v.transposed([v.load_some(f.at(here, b_col * r), mask) for r, mask in enumerate(masks)]), to, row)
    f.ret()
    return f


def _store_rows(f: Func, v: Vectors, rows: list[ir.Value], to: Val, row: Val) -> None:
    for r, x in enumerate(rows):
        v.store(x, f.at(to, row * r))


def _emit_pack_tile(m: Module, tile: Tile, height: int, transposed: bool) -> Func:
    """``pack_tile(a, stride, k, to)``: ``height`` rows of A as columns, one behind the other, up to a multiple of the lanes. ``stride`` in bytes is that of
    A's rows, or of its columns if A is transposed."""
    f = _internal(m, f"pack_tile{height}{'_transposed' if transposed else ''}", [PTR, I64, I64, PTR])
    a, stride, k, to = f.params
    v, n = Vectors(f, tile.lanes), tile.lanes
    if transposed:
        with f.range(0, k) as i:
            v.prefetch(f.at(a, stride * (i + AHEAD)))
            f.store_vector(f.load_vector(F32, height, f.at(a, stride * i)), f.at(to, i * (4 * height)), 4)
    else:
        with f.range(0, k, n) as i:
            inside = v.below(k - i)
            rows = [v.load_some(f.at(a, stride * r + i * 4), inside) for r in range(height)]
            for r, x in enumerate(v.transposed(rows)):
                v.store(x, f.at(to, i * (4 * height) + 4 * n * r))
    f.ret()
    return f


def _emit_pack_two(m: Module, tile: Tile) -> Func:
    """``pack_two(a, stride, k, to)``: two tiles of transposed A, whose columns are a vector, so that no line is visited twice."""
    f = _internal(m, "pack_two_transposed", [PTR, I64, I64, PTR])
    a, stride, k, to = f.params
    v, half = Vectors(f, tile.lanes), tile.lanes // 2
    other = f.at(to, k * (4 * half))
    with f.range(0, k) as i:
        v.prefetch(f.at(a, stride * (i + AHEAD)))
        x = v.load(f.at(a, stride * i))
        for place, first in ((to, 0), (other, half)):
            f.store_vector(Val(f, v.shuffle(x, x, range(first, first + half))), f.at(place, i * (4 * half)), 4)
    f.ret()
    return f


def _emit_dots(m: Module, tile: Tile, height: int, width: int) -> Func:
    """``dots(a, a_row, b, b_row, k, c, c_row, alpha, beta)``: C = alpha A B + beta C for some rows of A and some of transposed B, vectors along both."""
    f = _internal(m, f"dots{height}x{width}", [PTR, I64, PTR, I64, I64, PTR, I64, F32, F32])
    a, a_row, b, b_row, k, c, c_row, alpha, beta = f.params
    v, build = Vectors(f, tile.lanes), f.builder
    slots = [_slot(f, v.type, v.zero) for _ in range(height * width)]

    def step(at: Val, load: Callable[[Val], ir.Value]) -> None:
        left, right = ([load(f.at(x, row * i + at * 4)) for i in range(n)] for x, row, n in ((a, a_row, height), (b, b_row, width)))
        for slot, (x, y) in zip(slots, itertools.product(left, right), strict=True):
            build.store(v.fma(x, y, build.load(slot, typ=v.type)), slot)
    whole = k // tile.lanes * tile.lanes
    with f.range(0, whole, tile.lanes) as i:
        step(i, v.load)
    with f.when(whole < k):
        mask = v.below(k - whole)
        step(whole, lambda at: v.load_some(at, mask))
    sums = build.fmul(v.splat(alpha.ir), v.sums([build.load(s, typ=v.type) for s in slots]))
    for i in range(height):
        to = f.at(c, c_row * i)
        row = Val(f, v.shuffle(sums, sums, range(width * i, width * (i + 1))))
        with f.either(beta == 0.0) as (fresh, added):
            with fresh:
                f.store_vector(row, to, 4)
            with added:
                old = build.fmul(v.shuffle(v.splat(beta.ir), v.zero, [0] * width), f.load_vector(F32, width, to).ir)
                f.store_vector(Val(f, build.fadd(row.ir, old)), to, 4)
    f.ret()
    return f


def _emit_product_of_rows(m: Module, tile: Tile, dots: dict[tuple[int, int], Func]) -> Func:
    """``product(rows, cols, inner, alpha, a, lda, b, ldb, beta, c, ldc)`` of A as it is and transposed B, strides in bytes: some rows of A stay in the
    first-level cache, while B's come by."""
    f = _internal(m, "product_of_rows", [I64, I64, I64, F32, PTR, I64, PTR, I64, F32, PTR, I64])
    rows, cols, inner, alpha, a, lda, b, ldb, beta, c, ldc = f.params
    with f.range(0, inner, DEEP) as k0, f.range(0, rows, SOME_ROWS) as i0:
        depth, scale = f.least(inner - k0, DEEP), f.select(k0 == 0, beta, 1.0, F32)
        for w, j in _tiles(f, [tile.lanes // 4, 1], cols):
            for h, i in _tiles(f, [4, 1], f.least(rows - i0, SOME_ROWS)):
                left, right, to = f.at(a, lda * (i0 + i) + k0 * 4), f.at(b, ldb * j + k0 * 4), f.at(c, ldc * (i0 + i) + j * 4)
                _call(f, dots[h, w], left, lda, right, ldb, depth, to, ldc, alpha, scale)
    f.ret()
    return f


def _emit_product(m: Module, tile: Tile, of_rows: Func, widths: list[_Width], pack_transposed: Func, pack_tiles: dict[int, list[Func]], pack_two: Func) -> None:
    f = m.func("hnn_sgemm", VOID, [I32, I32, I32, I64, I64, I64, F32, PTR, I64, PTR, I64, F32, PTR, I64])
    _, ta, tb, rows, cols, inner, alpha, a, lda, b, ldb, beta, c, ldc = f.params
    lda, ldb, ldc = (x * 4 for x in (lda, ldb, ldc))
    plain_a, plain_b = ta == f.value(PLAIN, I32), tb == f.value(PLAIN, I32)
    with f.when(_all(f, plain_a, _none(f, plain_b), rows <= FEW_ROWS, rows * tile.sums <= inner)):
        _call(f, of_rows, rows, cols, inner, alpha, a, lda, b, ldb, beta, c, ldc)
        f.ret()
    row, col = f.select(plain_a, lda, 4), f.select(plain_a, 4, lda)
    b_inner, b_outer = f.select(plain_b, ldb, 4), f.select(plain_b, 4, ldb)
    panel, tiles = _scratch(f, INNER * widths[0].cols * 4), _scratch(f, (INNER * TALL + tile.rows * tile.lanes) * 4)
    direct = _all(f, plain_b, rows <= tile.spare_packing)
    pack_a = _all(f, cols >= f.select(plain_a, WIDE, WIDE_TRANSPOSED), rows > tile.spare_packing)
    with f.range(0, rows, TALL) as i0, f.range(0, inner, INNER) as k0:
        height, depth = f.least(rows - i0, TALL), f.least(inner - k0, INNER)
        left = f.at(a, row * i0 + col * k0)
        with f.when(pack_a):
            _pack_tiles(f, tile, pack_tiles, pack_two, plain_a, left, lda, depth, height, tiles)
        for code, j0, width in _columns(f, tile, widths, cols):
            source, whole = f.at(b, b_inner * k0 + b_outer * j0), width == code.cols
            in_place, on_the_way = _all(f, direct, whole), _all(f, plain_b, pack_a, whole, height >= tile.rows)
            with f.when(_none(f, in_place, on_the_way)):
                with f.either(plain_b) as (as_it_is, transposed):
                    with as_it_is:
                        _call(f, code.pack, source, ldb, depth, width, panel)
                    with transposed:
                        _call(f, pack_transposed, source, ldb, depth, width, panel, f.value(code.cols // tile.lanes))
            right = f.select(in_place, source, panel, PTR), f.select(in_place, ldb, 4 * code.cols)
            for h, i in _tiles(f, sorted(code.anywhere, reverse=True), height, tile.rows, pack_a):
                here = f.select(pack_a, f.at(tiles, i * depth * 4), f.at(left, row * i), PTR)
                strides = f.select(pack_a, 4, row), f.select(pack_a, 4 * h, col)
                # Each of the first tiles of a panel asks for a quarter of the next one: as many rows of B as it has steps, or of its columns, as many lines.
                quarter = i // tile.rows % 4 * f.select(plain_b, ldb * (INNER // STEPS), code.cols * 4)
                ahead = f.at(source, b_outer * code.cols + quarter)
                rest = depth, f.at(c, ldc * (i0 + i) + j0 * 4), ldc, width, alpha, f.select(k0 == 0, beta, 1.0, F32), panel, ahead, ldb
                if h == tile.rows:
                    with f.either(_all(f, on_the_way, i == 0)) as (first, other):
                        with first:
                            _call(f, code.packing, here, *strides, source, ldb, *rest)
                        with other:
                            _call_either(f, pack_a, [code.packed, code.anywhere[h]], here, *strides, *right, *rest)
                else:
                    _call(f, code.anywhere[h], here, *strides, *right, *rest)
    f.ret()


def _columns(f: Func, tile: Tile, widths: list[_Width], cols: Val) -> Iterator[tuple[_Width, Val, Val]]:
    """Loops over all columns: (code, first column, number of columns). Three vectors at a time, then pairs, so that the last tile has no vector too many."""
    three, two = widths
    vectors = (cols + (tile.lanes - 1)) // tile.lanes
    pairs_from = f.select(vectors % 3 == 1, vectors - 4, vectors - vectors % 3) * tile.lanes
    pairs_from = f.select(pairs_from < 0, 0, pairs_from)      # a single vector
    for code, first, last in (three, f.value(0), pairs_from), (two, pairs_from, cols):
        with f.range(first, last, code.cols) as j0:
            yield code, j0, f.least(cols - j0, code.cols)


def _pack_tiles(f: Func, tile: Tile, packs: dict[int, list[Func]], pack_two: Func, plain: Val, a: Val, lda: Val, depth: Val, height: Val, to: Val) -> None:
    done = f.var(0)
    with f.when(_none(f, plain)), f.range(0, height - (2 * tile.rows - 1), 2 * tile.rows) as i:
        _call(f, pack_two, f.at(a, i * 4), lda, depth, f.at(to, i * depth * 4))
        done.set(i + 2 * tile.rows)
    for h, i in _tiles(f, tile.heights(), height, start=done.get()):
        _call_either(f, plain, packs[h], f.at(a, i * f.select(plain, lda, 4)), lda, depth, f.at(to, i * depth * 4))


def _all(f: Func, *conditions: Val) -> Val:
    return Val(f, functools.reduce(f.builder.and_, (x.ir for x in conditions)))


def _none(f: Func, *conditions: Val) -> Val:
    return Val(f, f.builder.not_(functools.reduce(f.builder.or_, (x.ir for x in conditions))))


def _call(f: Func, function: Func, *args: Val) -> None:
    f.builder.call(function.ir, [x.ir for x in args])


def _call_either(f: Func, plain: Val, functions: list[Func], *args: Val) -> None:
    """The first function where the matrix is as it is, the second where it is transposed."""
    with f.either(plain) as branches:
        for branch, function in zip(branches, functions, strict=True):
            with branch:
                _call(f, function, *args)


def _scratch(f: Func, nbytes: int) -> Val:
    """Stack memory that begins with a cache line."""
    return f.to_ptr((f.to_int(f.stack(nbytes + 64)) + 63) // 64 * 64)


def _tiles(f: Func, heights: list[int], height: Val, most: int = 0, packed: Val | None = None, start: Val | int = 0) -> Iterator[tuple[int, Val]]:
    """Loops over all rows from ``start`` on: (rows of a tile, its first row), the highest tiles first, then the rest by ever smaller ones. None is higher
    than ``most`` where A is packed, in tiles of that height."""
    done = f.var(start)
    for h in heights:
        end = height - (h - 1) if packed is None or h <= most else f.select(packed, 0, height - (h - 1))
        with f.range(done.get(), end, h) as i:
            yield h, i
            done.set(i + h)
