"""Chainer's decorators for chains whose graph never changes. Here ``hybridnn.trace`` does that work."""
from hybridnn.graph_optimizations.static_graph import static_graph
from hybridnn.graph_optimizations.static_graph_utilities import static_code

__all__ = ["static_code", "static_graph"]
