"""Fusion, a pass: groups of elementwise operations and reductions become one node each, whose op is a ``FusedOp``.

What a node is alone says :mod:`parts`, which nodes make up a kernel :mod:`groups`; here groups are put in order and written as nests.
"""
from dataclasses import dataclass

from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node
from hybridnn.jit.groups import Group, grow, join_siblings
from hybridnn.jit.nest import FusedOp, Item, Nest, Store, is_column
from hybridnn.jit.parts import REDUCERS, State, resolve_views
from hybridnn.jit.purity import is_pure
from hybridnn.jit.scalar import kind_of
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
    new = [n if isinstance(n, Node) else _fused_node(state, n, needed, copies) for n in nodes]
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
            if not is_pure(item.op) or any(v in needed for v in item.outputs):
                needed.update(item.inputs)
        elif any(v in needed for v in item.home):
            needed.update(v for v in item.reads if v not in item.home)
            needed.update(v for p in item.parts for v, _, _ in p.operands if state.specs[v].weak)
    return needed


def _fused_node(state, group, needed, copies):
    group.parts.sort(key=lambda p: p.index)
    outputs = [v for p in group.parts for v in p.node.outputs if v in needed]
    inputs, items, where = [], _Items(), {}
    for p in group.parts:
        operands = [_operand_item(state, group, items, inputs, where, *o) for o in p.operands]
        for v, item in zip(p.node.outputs, _part_items(state, items, p, operands), strict=True):
            where[v] = item
    copied = [(c.read, c.copy) for c in copies if c.group is group]
    full = tuple(range(len(group.sizes)))
    stored = [(where[v], group.home[v]) for v in outputs] + [(_operand_item(state, group, items, inputs, where, v, v, full), full) for v, _ in copied]
    live, renumber = _live(items.list, [item for item, _ in stored])
    stores = tuple([Store(renumber[item], k, dims) for k, (item, dims) in enumerate(stored)])
    nest = Nest(tuple(group.sizes), tuple(group.reduced or ()), live, stores)
    sub = _subgraph(state, group, inputs, [*outputs, *[v for v, _ in copied]])
    outputs += [copy for _, copy in copied]
    lines = tuple(dict.fromkeys(p.node.line for p in group.parts if p.node.line))
    op = FusedOp("+".join(dict.fromkeys(p.node.op.name for p in group.parts)), sub, nest, lines)
    return Node(op, tuple(inputs), tuple(outputs), (), lines[0] if lines else "")


class _Items:
    """The nest's instructions, equal ones once."""

    def __init__(self):
        self.list, self.known = [], {}

    def add(self, fn, args, kind, axes, value=None):
        key = (fn, args, kind, axes, type(value), repr(value))
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.list)
            self.list.append(Item(fn, args, kind, axes, value))
        return found


def _operand_item(state, group, items, inputs, where, value, base, dims):
    spec = state.specs[value]
    if spec.weak:
        if value in state.constants:
            return None
        return items.add("weak", (), kind_of(spec.dtype), (), _position(inputs, value))
    if base in where:
        return where[base]
    return items.add("load", (), kind_of(spec.dtype), tuple(sorted({d for d in dims if d >= 0})), (_position(inputs, base), dims))


def _position(inputs, value):
    if value not in inputs:
        inputs.append(value)
    return inputs.index(value)


def _part_items(state, items, p, operands):
    if p.program == "reduce":
        kind = kind_of(state.specs[p.node.outputs[0]].dtype)
        source = operands[0]
        if items.list[source].kind != kind:
            source = items.add("cast", (source,), kind, items.list[source].axes)
        if not p.reduced:
            return [source]
        axes = tuple(a for a in p.axes if a not in p.reduced)
        return [items.add(REDUCERS[p.node.op.name], (source,), kind, axes, p.axes)]
    if p.program == "iota":
        axis = p.outs[0][-1]
        kind = items.list[operands[0]].kind
        index = items.add("iota", (), kind, (axis,), axis)
        return [items.add("equal", (operands[0], index), "b1", _union(items, (operands[0], index)))]
    made = []
    for i in p.program.instrs:
        if i.fn == "arg":
            made.append(operands[i.value])
        else:
            args = tuple([made[a] for a in i.args])
            made.append(items.add(i.fn, args, i.kind, _union(items, args), i.value))
    return [made[r] for r in p.program.results]


def _union(items, args):
    levels = {items.list[i].axes for i in args}
    return levels.pop() if len(levels) == 1 else tuple(sorted({a for axes in levels for a in axes}))


def _live(items, roots):
    """The items that the roots need, renumbered."""
    used, stack = set(), list(roots)
    while stack:
        i = stack.pop()
        if i not in used:
            used.add(i)
            stack += items[i].args
    renumber = {old: new for new, old in enumerate(sorted(used))}
    return tuple([Item(i.fn, tuple([renumber[a] for a in i.args]), i.kind, i.axes, i.value)
                  for k, i in enumerate(items) if k in used]), renumber


def _subgraph(state, group, inputs, outputs):
    """The group as a graph of its own, views included."""
    indices = {p.index for p in group.parts}
    stack = [v for p in group.parts for v, base, _ in p.operands if v != base]
    while stack:
        v = stack.pop()
        i = state.producer[v]
        if i not in indices and v in state.base:
            indices.add(i)
            stack += [u for u in state.graph.nodes[i].inputs if u in state.base]
    nodes = [state.graph.nodes[i] for i in sorted(indices)]
    used = {v for n in nodes for v in n.inputs}
    constants = tuple([(v, c) for v, c in state.graph.constants if v in used and v not in inputs])
    values = set(inputs) | {v for n in nodes for v in (*n.inputs, *n.outputs)}
    nodes = _sorted_nodes(nodes, set(inputs) | {v for v, _ in constants})
    return Graph(tuple(inputs), tuple(nodes), tuple(outputs), {v: state.specs[v] for v in values}, constants)


def _sorted_nodes(nodes, known):
    """Nodes in an order in which operands come first (joins keep graph order, so this only checks)."""
    for n in nodes:
        assert all(v in known for v in n.inputs), f"{n.op.name} reads what its group does not have"
        known.update(n.outputs)
    return nodes
