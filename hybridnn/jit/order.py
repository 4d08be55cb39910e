"""The order of nodes: what changes arrays in place comes last, so that everything before it may still be undone."""
from hybridnn.graph import verify

__all__ = ["updates_last"]


def updates_last(graph):
    """Nodes that make the newest value of a written input, and what uses their outputs, come after all others; otherwise the order is kept."""
    late = {v for _, v in graph.writes}
    last = []
    for node in graph.nodes:
        if late.intersection((*node.inputs, *node.outputs)):
            late.update(node.outputs)
            last.append(node)
    chosen = set(map(id, last))
    return verify(graph.replace(nodes=tuple([n for n in graph.nodes if id(n) not in chosen] + last))) if last else graph

