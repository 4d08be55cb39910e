"""Recomputation, a pass: what costs a few operations to compute again is not kept in memory between kernels.

Sums over rows that keep the columns (statistics of a batch, gradients of biases) end a kernel: what else needs the summed values runs in
kernels behind it. A value that is cheap to make from what is in memory anyway is made again in each of them, instead of written by one and
read by the others.
"""
from collections import defaultdict

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.specs import Specs

__all__ = ["keeps_columns", "recompute"]

CHEAP = frozenset({"add", "sub", "mul", "neg", "maximum", "minimum", "relu", "leaky_relu", "clipped_relu", "square", "where", "cast", "greater",
                   "less", "greater_equal", "less_equal"})
REDUCTIONS = "sum", "sum_to", "amax", "amin"
VIEWS = "reshape", "transpose", "broadcast_to", "get_item", "identity", "constant"
MOST_OPERATIONS = 8        # to compute a value again
MOST_READ = 1.5            # bytes that are read instead, in terms of the value's own


def recompute(graph):
    """Cheap values that a sum over rows and other kernels need are made for each reader of their own."""
    cost = _find(graph)
    return _Copies(graph, cost).run() if cost else graph


def _find(graph):
    """Values to make again -> how many operations that takes."""
    readers = defaultdict(list)
    for n in graph.nodes:
        for v in n.inputs if len(n.inputs) == 1 else dict.fromkeys(n.inputs):
            readers[v].append(n)
    kept = {*graph.outputs, *(v for _, v in graph.writes)}
    found = [n for n in graph.nodes if _is_cheap(n) and _has_such_readers(graph, n, readers, kept)]
    cost, in_memory = {}, _in_memory(graph) if found else None
    for node in found:
        price = _price(graph, node, in_memory, cost)
        if price is not None:
            cost[node.outputs[0]] = price
    return cost


def _has_such_readers(graph, node, readers, kept):
    """Whether kernels alone need the node's result, several, of which one ends in a sum over rows."""
    v = node.outputs[0]
    return len(readers[v]) > 1 and v not in kept and all(map(_fuses, readers[v])) and any(_ends_in_columns(graph, n, readers) for n in readers[v])


def _is_cheap(node):
    return node.op.name in CHEAP and OPS.get(node.op.name) is node.op and node.op.kind == "elementwise" and len(node.outputs) == 1


def _fuses(node):
    return node.op.kind == "elementwise" or node.op.name in REDUCTIONS and OPS.get(node.op.name) is node.op


def _ends_in_columns(graph, node, readers):
    """Whether the node is a reduction that keeps the last axis, or is read by nothing else."""
    if node.op.name in REDUCTIONS:
        return keeps_columns(graph.specs, node)
    after = readers[node.outputs[0]] if len(node.outputs) == 1 and node.op.kind == "elementwise" else []
    return bool(after) and all(n.op.name in REDUCTIONS and keeps_columns(graph.specs, n) for n in after)


def keeps_columns(specs, node):
    """Whether a sum or an extreme is taken over rows: the last axis, if it is more than one column, stays."""
    x, y = specs[node.inputs[0]].shape, specs[node.outputs[0]].shape
    attrs = dict(node.attrs)
    if len(x) < 2 or x[-1] == 1:
        return False
    if node.op.name == "sum_to":
        return len(y) > 0 and y[-1] == x[-1]
    axis = attrs.get("axis")
    return axis is not None and len(x) - 1 not in {a % len(x) for a in (axis if isinstance(axis, tuple) else (axis,))}


def _price(graph, node, in_memory, cost):
    """Operations from what is in memory anyway; None if these are too many, or read too much."""
    own, price, read = graph.specs[node.outputs[0]], 1, 0
    for v in dict.fromkeys(node.inputs):
        spec = graph.specs[v]
        if spec.weak or spec.size * max(own.shape[-1], 2) <= own.size:
            continue
        if v in cost:
            price += cost[v]
        elif not in_memory(v, node.outputs[0]):
            return None
        read += spec.nbytes
    return price if price <= MOST_OPERATIONS and read <= MOST_READ * own.nbytes else None


def _in_memory(graph):
    """A function of two values: whether the first is in memory when a kernel makes the second.

    It is if no fused kernel makes it, or one that must have run before: kernels come behind reductions and all that is not fused.
    """
    made, stages = {v: n for n in graph.nodes for v in n.outputs}, defaultdict(int)
    for node in graph.nodes:
        stages.update(dict.fromkeys(node.outputs, max([stages[v] for v in node.inputs], default=0) + (not _fuses(node) and node.op.name not in VIEWS)))

    def is_in_memory(v, later):
        node = made.get(v)
        while node is not None and node.op.name in VIEWS:
            node = made.get(node.inputs[0])
        return node is None or node.op.kind != "elementwise" or stages[v] < stages[later]
    return is_in_memory


class _Copies:
    def __init__(self, graph, cost):
        self.graph, self.cost = graph, cost
        self.made = {v: n for n in graph.nodes for v in n.outputs if v in cost}
        self.specs, self.nodes = Specs(graph.specs), []

    def run(self):
        for node in self.graph.nodes:
            if node.outputs and node.outputs[0] in self.cost:
                continue
            self.nodes.append(self.fed(node, {}) if any(v in self.cost for v in node.inputs) else node)
        return self.graph.replace(nodes=tuple(self.nodes), specs=self.specs)

    def fed(self, node, copies):
        """The node, reading copies of what is made again."""
        return Node(node.op, tuple([self.copy(v, copies) if v in self.cost else v for v in node.inputs]), node.outputs, node.attrs, node.line)

    def copy(self, v, copies):
        if v not in copies:
            node = self.fed(self.made[v], copies)
            copies[v] = self.specs.new(self.specs[v])
            self.nodes.append(Node(node.op, node.inputs, (copies[v],), node.attrs, node.line))
        return copies[v]
