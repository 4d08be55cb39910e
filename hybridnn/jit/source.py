"""The text of kernels, for CPU and CUDA, from a ``layout.Structure``.

CPU: ``kernel(bufs, args, lo, hi)``, see ``pointers``. ``args`` holds a pair per pointer, then the sizes of the axes, then the
strides that are given at run time. CUDA: the same words as parameters, each thread takes iterations ``cuda.grid(1)``, ``+
cuda.gridsize(1)``, ...

Styles: "map" (no reduction), "row" (the innermost axis is reduced), "column" and "blocks" (the innermost axis is kept); and on the CPU, where the innermost
axis is short, "tiled" instead of "map", "short" or "flat" instead of "row" and "few" or "folded" instead of "column" and "blocks". A module for each kind.
"""
import functools

from hybridnn.jit.source_column import write_column
from hybridnn.jit.source_folded import write_folded
from hybridnn.jit.source_map import write_map
from hybridnn.jit.source_row import write_row
from hybridnn.jit.source_short import write_short
from hybridnn.jit.source_tiled import write_tiled
from hybridnn.jit.source_writer import Writer

__all__ = ["render"]

_STYLES = {"map": write_map, "crossed": write_map, "tiled": write_tiled, "row": write_row, "flat": write_row, "short": write_short,
           "column": write_column, "few": write_column, "blocks": write_column, "folded": write_folded}
_ON_CUDA = {"crossed": "map", "tiled": "map", "short": "row", "flat": "row", "folded": "column", "few": "column"}


@functools.lru_cache(4096)
def render(structure, target="cpu"):
    """Python text of the kernel; ``target`` is "cpu" or "cuda"."""
    w = Writer(structure, target)
    _STYLES[_ON_CUDA.get(structure.style, structure.style) if w.cuda else structure.style](w)
    return w.text()
