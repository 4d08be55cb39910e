"""Fusion, a pass: groups of elementwise operations and reductions become one node each, whose op is a ``FusedOp``.

What a node is alone says ``parts``, which nodes make up a kernel ``groups``; here groups are put in order, and ``fused_nodes`` writes them as nests.
"""
from dataclasses import dataclass

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.fused_nodes import fused_node
from hybridnn.jit.groups import Group, grow, join_siblings
from hybridnn.jit.nest import is_column
from hybridnn.jit.parts import State, resolve_views
from hybridnn.jit.purity import is_pure
from hybridnn.jit.sink import sink
from hybridnn.jit.specs import Specs

__all__ = ["fuse", "fuse_with_reasons", "why_not"]


def fuse(graph):
    """Afterwards every fusable node is part of a node whose op is a ``FusedOp``; other nodes are as before. Returns the graph."""
    return fuse_with_reasons(graph)[0]


def why_not(graph):
    """Node index -> why it is not fusable, for the nodes that are not."""
    return fuse_with_reasons(graph)[1]


def fuse_with_reasons(graph):
    state = State(graph)
    resolve_views(state)
    grow(state)
    join_siblings(state)
    nodes = _order(state)
    needed = _needed(state, nodes)
    if sink(state, nodes, needed):
        nodes = _order(state)
        needed = _needed(state, nodes)
    specs = Specs(graph.specs)
    copies = _copies_on_the_way(state, nodes, needed, specs)
    new = [n if isinstance(n, Node) else fused_node(state, n, needed, copies) for n in nodes]
    kept = [n for n in new if not is_pure(n.op) or any(v in needed for v in n.outputs)]
    made = {c.input: c.result for c in copies}
    kept += [Node(OPS["reshape"], (c.copy,), (c.result,), (("shape", graph.specs[c.input].shape),)) for c in copies if c.copy != c.result]
    return graph.replace(nodes=tuple(kept), outputs=tuple([made.get(v, v) for v in graph.outputs]), specs=specs), state.reasons


@dataclass(frozen=True)
class _Copy:
    """``input`` is to be returned; ``group`` reads ``read``, which is the input or the input with other axes, and writes its ``copy``."""
    input: int
    read: int
    copy: int
    result: int
    group: Group


def _copies_on_the_way(state, nodes, needed, specs):
    """Where an input is to be returned, a kernel that reads all of it anyway writes the copy."""
    graph, found = state.graph, []
    once = [v for v in graph.inputs if graph.outputs.count(v) == 1 and all(t != v for t, _ in graph.writes)]
    shaped = {v: [v, *[n.outputs[0] for n in graph.nodes if n.op is OPS["reshape"] and n.inputs == (v,)]] for v in once}
    groups = [g for g in nodes if not isinstance(g, Node) and any(u in needed for u in g.home)]
    for v in once:
        pair = next(((u, g) for u in shaped[v] for g in groups if _reads_all(g, u)), None)
        if pair is not None:
            read, group = pair
            copy = specs.new(specs[read])
            found.append(_Copy(v, read, copy, copy if read == v else specs.new(specs[v]), group))
    return found


def _reads_all(group, v):
    """Whether the group's loops over all its axes load the whole of ``v``, an element each."""
    full = tuple(range(len(group.sizes)))
    return group.reads.get(v) == {full} and full in group.levels and not is_column(group.sizes, group.reduced)


def _order(state):
    """Groups and lone nodes, every one behind what it reads (depth first, in graph order)."""
    done, result = set(), []
    for start in range(len(state.graph.nodes)):
        stack = [(state.groups[start], False)]
        while stack:
            group, ready = stack.pop()
            if id(group) in done and not ready:
                continue
            if ready:
                result.append(group if group.parts else state.graph.nodes[group.number])
                continue
            done.add(id(group))
            stack.append((group, True))
            stack += [(state.groups[i], False) for i in sorted(group.deps, reverse=True) if id(state.groups[i]) not in done]
    return result


def _needed(state, nodes):
    """Values that must exist outside the groups that make them."""
    needed = set(state.graph.outputs) | {v for _, v in state.graph.writes}
    for item in reversed(nodes):
        if isinstance(item, Node):
            if not needed.isdisjoint(item.outputs) or not is_pure(item.op):
                needed.update(item.inputs)
        elif not needed.isdisjoint(item.home):
            needed.update([v for v in item.reads if v not in item.home])
            needed.update([v for p in item.parts for v, _, _ in p.operands if state.specs[v].weak])
    return needed
