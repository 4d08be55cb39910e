"""The pipeline: simplify, fuse, lower, bind."""
import gc
import time
from contextlib import contextmanager

from hybridnn.jit.executable import Executable
from hybridnn.jit.fuse import fuse_with_reasons
from hybridnn.jit.lower import lower
from hybridnn.jit.order import frees_first, updates_last
from hybridnn.jit.passes import simplify

__all__ = ["compile_graph"]


def compile_graph(graph):
    """An ``Executable`` for the graph."""
    started = time.perf_counter()
    with _collector_at_rest():
        simple = simplify(graph)
        fused, reasons = fuse_with_reasons(simple)
        named = {simple.nodes[i].outputs[:1]: text for i, text in reasons.items()}
        return Executable(graph, lower(frees_first(updates_last(fused)), named), started)


@contextmanager
def _collector_at_rest():
    """Without the search for cyclic garbage: the passes make many objects and hardly a cycle, and a quarter of their time went by in looking for some."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
