"""From a frozen ``Graph`` to an ``Executable``: passes, fusion, kernel text, kernels, memory plan, one native call."""
import time

from hybridnn.jit.executable import Executable, StepRecord, on_run
from hybridnn.jit.fuse import fuse_with_reasons
from hybridnn.jit.lower import lower
from hybridnn.jit.passes import simplify

__all__ = ["Executable", "StepRecord", "compile", "on_run"]


def compile(graph, **options):
    """An ``Executable`` that does what ``hybridnn.graph.run(graph, ...)`` does, faster."""
    started = time.perf_counter()
    simple = simplify(graph)
    fused, reasons = fuse_with_reasons(simple)
    named = {simple.nodes[i].outputs[:1]: text for i, text in reasons.items()}
    return Executable(graph, lower(fused, named), started)
