"""Kernels of style "tiled": no reduction, and a last axis that is short (coordinates, channels, classes).

The range is rows. So many rows are one row of ``Joined``, with one loop over all its elements.
"""
from hybridnn.jit.source_joined import Joined

__all__ = ["write_tiled"]


def write_tiled(w):
    joined, items = Joined(w), w.s.items
    top = [i for i, item in enumerate(items) if not item.axes]
    of_pieces = [i for i, item in enumerate(items) if item.axes and max(item.axes) < joined.axis]
    for i in top:
        w.emit(i)
    with joined.outer() as (first, last):
        joined.repeat_tiles()
        for i in of_pieces:
            w.emit(i)
        with joined.blocks(first, last), joined.block("b", "q", range(len(w.s.pointers))), w.loop("for i in range(m):"):
            for i in range(len(items)):
                if i not in top and i not in of_pieces:
                    w.emit(i, "i")
            for store in w.s.stores:
                w.store(store, "i")
