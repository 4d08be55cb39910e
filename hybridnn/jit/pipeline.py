"""The pipeline: simplify, fuse, lower, bind."""
import time

from hybridnn.jit.executable import Executable
from hybridnn.jit.fuse import fuse_with_reasons
from hybridnn.jit.kept import keep, kept, key_of
from hybridnn.jit.lower import lower
from hybridnn.jit.order import frees_first, updates_last
from hybridnn.jit.passes import simplify

__all__ = ["compile_graph", "fused"]


def compile_graph(graph):
    """An ``Executable`` for the graph. How large graphs are fused is looked for on disk first."""
    started = time.perf_counter()
    key = key_of(graph)
    found = None if key is None else kept(key, graph)
    simpler, reasons = found or fused(graph)
    lowered = lower(simpler, reasons)
    if key is not None and found is None:
        keep(key, simpler, reasons, lowered.plan.placed)
    return Executable(graph, lowered, started)


def fused(graph):
    """The graph, simplified, fused and in order; and why nodes are not fused, by their first outputs."""
    simple = simplify(graph)
    result, reasons = fuse_with_reasons(simple)
    return frees_first(updates_last(result)), {simple.nodes[i].outputs[:1]: text for i, text in reasons.items()}
