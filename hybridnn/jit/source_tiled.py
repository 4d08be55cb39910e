"""Kernels of style "tiled": no reduction, dense arrays whose last axis is short (channels, classes), beside operands with an element for each of its places.

The range is rows. Those operands are repeated once for as many rows as a block has; then a block is one loop over all its elements.
"""
from hybridnn.jit.layout import TILED

__all__ = ["write_tiled"]

BLOCK = 64      # rows of a block


def write_tiled(w):
    s = w.s
    tiles = [n for n, p in enumerate(s.pointers) if p.classes == ("0", "1")]
    top = [i for i, item in enumerate(s.items) if not item.axes]
    for p in tiles:
        w.local(f"t{p}", s.pointers[p].kind, BLOCK * TILED)
    for i in top:
        w.emit(i)
    w.line(f"t = hi - lo if hi - lo < {BLOCK} else {BLOCK}")
    with w.loop("for j in range(n1):"), w.loop("for r in range(t):"):      # the other way round, LLVM would call memcpy for a few bytes
        for p in tiles:
            w.line(f"t{p}[r * n1 + j] = p{p}[j]")
    with w.loop(f"for b in range(lo, hi, {BLOCK}):"):
        w.block(BLOCK, "hi")
        w.line("z = b * n1")
        w.line("m = (e - b) * n1")
        w.offsets.update({n: "z" for n, p in enumerate(s.pointers) if p.classes and p.classes[0] != "0"})
        with w.loop("for i in range(m):"):
            for i, item in enumerate(s.items):
                if item.fn == "load" and item.value in tiles:
                    w.line(f"v{i} = t{item.value}[i]")
                elif i not in top:
                    w.emit(i, "i")
            for store in s.stores:
                w.store(store, "i")
