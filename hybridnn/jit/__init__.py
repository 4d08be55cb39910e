"""From a frozen ``Graph`` to an ``Executable``: passes, fusion, kernel text, kernels, memory plan, one native call."""
from hybridnn.jit.executable import Executable, StepRecord

__all__ = ["Executable", "StepRecord", "compile"]


def compile(graph, **options):
    """An ``Executable`` that does what ``hybridnn.graph.run(graph, ...)`` does, faster."""
    return Executable(graph)
