"""From a frozen ``Graph`` to an ``Executable``: passes, fusion, kernel text, kernels, memory plan, one native call.

The parts load at the first compilation, so that ``import hybridnn`` stays fast.
"""
from hybridnn.jit.collector import collector_at_rest as _collector_at_rest
from hybridnn.jit.watching import on_run

__all__ = ["compile", "compile_ahead", "on_run"]


def compile(graph, **options):
    """An ``Executable`` that does what ``hybridnn.graph.run(graph, ...)`` does, faster."""
    with _collector_at_rest():
        from hybridnn.jit.pipeline import compile_graph
        return compile_graph(graph)


def compile_ahead(kinds):
    """Begin, in another thread, with the code that graphs of operations of these kinds need, where it has never been compiled on this machine."""
    from hybridnn.jit import ahead
    ahead.compile_ahead(kinds)
