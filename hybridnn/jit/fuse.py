"""Fusion, a pass: groups of elementwise operations and reductions become one node each, whose op is a ``FusedOp``.

What a node is alone says ``parts``, which nodes make up a kernel ``groups``; here groups are put in order, and ``fused_nodes`` writes them as nests.
"""
from dataclasses import dataclass
from itertools import chain

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.fused_nodes import fused_node, kernel_of
from hybridnn.jit.grow import grow, join_siblings
from hybridnn.jit.known import Known
from hybridnn.jit.nest import is_column
from hybridnn.jit.parts import State, find_parts, resolve_views
from hybridnn.jit.purity import is_pure
from hybridnn.jit.sink import pays, sink
from hybridnn.jit.specs import Specs

__all__ = ["fuse", "fuse_with_reasons", "why_not"]

_decided = Known(16)      # the facts that fusion decides by -> what it decided, for some sizes
MOST_ALIKE = 4


def fuse(graph):
    """Afterwards every fusable node is part of a node whose op is a ``FusedOp``; other nodes are as before. Returns the graph."""
    return fuse_with_reasons(graph)[0]


def why_not(graph):
    """Node index -> why it is not fusable, for the nodes that are not."""
    return fuse_with_reasons(graph)[1]


def fuse_with_reasons(graph):
    """The graph after fusion, and node index -> why it is not fusable. What was decided for a graph that differs in sizes alone is taken over if it would be
    decided again: groups depend on which axes are as long as which and what goes first, where operations sink to on what moves less memory."""
    state = State(graph)
    resolve_views(state)
    facts = find_parts(state)
    before = _decided.get(facts, ())
    decided = next((d for d in before if all([pays(state, spared, more) is saves for spared, more, saves in d.compared])), None)
    if decided is None:
        decided = _decide(state)
        _decided[facts] = (decided, *before)[:MOST_ALIKE]
    return _written(state, decided), {k: form.reason for k, form in enumerate(state.found) if form.part is None}


@dataclass(frozen=True)
class _Decided:
    """``order``: indices of lone nodes, and kernels, each behind what it reads; ``copies``: pairs (input, what the kernel reads that writes the copy);
    ``compared``: see ``State``."""
    order: tuple
    copies: tuple
    compared: tuple


def _decide(state):
    grow(state)
    join_siblings(state)
    nodes = _order(state)
    needed = _needed(state, nodes)
    if sink(state, nodes, needed):
        nodes = _order(state)
        needed = _needed(state, nodes)
    nodes = [n for n in nodes if not needed.isdisjoint(n.outputs if isinstance(n, Node) else n.home) or isinstance(n, Node) and not is_pure(n.op)]
    copies = _copies_on_the_way(state, nodes)
    index = {id(n): k for k, n in enumerate(state.graph.nodes)}
    order = [index[id(n)] if isinstance(n, Node) else kernel_of(state, n, needed, [c[:2] for c in copies if c[2] is n]) for n in nodes]
    return _Decided(tuple(order), tuple([c[:2] for c in copies]), tuple(state.compared))


def _written(state, decided):
    """The graph with a node for each kernel."""
    graph, specs = state.graph, Specs(state.graph.specs)
    copy = {v: specs.new(specs[read]) for v, read in decided.copies}
    made = {v: copy[v] if read == v else specs.new(specs[v]) for v, read in decided.copies}
    sizes = list(state.symbols)
    nodes = [graph.nodes[k] if isinstance(k, int) else fused_node(state, k, sizes, copy, specs) for k in decided.order]
    nodes += [Node(OPS["reshape"], (copy[v],), (made[v],), (("shape", graph.specs[v].shape),)) for v, read in decided.copies if read != v]
    return graph.replace(nodes=tuple(nodes), outputs=tuple([made.get(v, v) for v in graph.outputs]), specs=specs)


def _copies_on_the_way(state, nodes):
    """Where an input is to be returned, a kernel that reads all of it anyway writes the copy: (input, what it reads, which is the input or the input with other
    axes, the group)."""
    graph, found = state.graph, []
    once = [v for v in graph.inputs if graph.outputs.count(v) == 1 and all(t != v for t, _ in graph.writes)]
    shaped = {v: [v, *[n.outputs[0] for n in graph.nodes if n.op is OPS["reshape"] and n.inputs == (v,)]] for v in once}
    groups = [g for g in nodes if not isinstance(g, Node)]
    for v in once:
        pair = next(((u, g) for u in shaped[v] for g in groups if _reads_all(g, u)), None)
        if pair is not None:
            found.append((v, *pair))
    return found


def _reads_all(group, v):
    """Whether the group's loops over all its axes load the whole of ``v``, an element each."""
    full = tuple(range(len(group.sizes)))
    return group.reads.get(v) == {full} and full in group.levels and not is_column(group.sizes, group.reduced)


def _order(state):
    """Groups and lone nodes, every one behind what it reads (depth first, in graph order)."""
    done, result = set(), []
    for start in range(len(state.graph.nodes)):
        if id(state.groups[start]) in done:
            continue
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
    weak = {v for v, spec in state.specs.items() if spec.weak}
    for item in reversed(nodes):
        if isinstance(item, Node):
            if not needed.isdisjoint(item.outputs) or not is_pure(item.op):
                needed.update(item.inputs)
        elif not needed.isdisjoint(item.home):
            needed.update(item.reads.keys() - item.home.keys())
            needed.update(weak.intersection(chain.from_iterable([p.node.inputs for p in item.parts])))
    return needed
