"""The pipeline: simplify, fuse, lower, bind."""
import time

from hybridnn.jit.executable import Executable
from hybridnn.jit.fuse import fuse_with_reasons
from hybridnn.jit.kept import keep, kept, key_of
from hybridnn.jit.lower import lower
from hybridnn.jit.order import frees_first, updates_last
from hybridnn.jit.passes import simplify

__all__ = ["compile_graph"]


def compile_graph(graph):
    """An ``Executable`` for the graph."""
    started = time.perf_counter()
    fused, reasons = _fused(graph)
    return Executable(graph, lower(fused, reasons), started)


def _fused(graph):
    """The graph, simplified, fused and in order; and why nodes are not fused, by their first outputs. Large graphs are looked for on disk first."""
    key = key_of(graph)
    found = None if key is None else kept(key, graph)
    if found is None:
        simple = simplify(graph)
        fused, reasons = fuse_with_reasons(simple)
        found = frees_first(updates_last(fused)), {simple.nodes[i].outputs[:1]: text for i, text in reasons.items()}
        if key is not None:
            keep(key, *found)
    return found
