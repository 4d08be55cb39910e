"""Passes: functions ``Graph -> Graph`` that keep what ``graph.run`` returns. A pass's first line says what holds afterwards."""
import functools
import inspect
import math
import operator

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.exact import exact
from hybridnn.graph import Node, verify
from hybridnn.jit.accumulate import accumulate, batch_products, gather_together, outer_products, sum_products
from hybridnn.jit.block_reductions import reduce_blocks
from hybridnn.jit.channels import twins
from hybridnn.jit.covered_axes import drop_covered_axes
from hybridnn.jit.decompose import decompose
from hybridnn.jit.equal_types import equal_types
from hybridnn.jit.join import join_parts
from hybridnn.jit.partial_sums import partial_sums
from hybridnn.jit.purity import is_pure
from hybridnn.jit.recompute import recompute

__all__ = ["PASSES", "algebra", "complete_attrs", "drop_dead", "fold_constants", "merge_equal", "simplify"]

FOLD_BYTES = 1 << 16


def simplify(graph):
    """All passes in order, verified where they change anything."""
    for transform in PASSES:
        before, graph = graph, transform(graph)
        if graph is not before:
            verify(graph)
    return graph


def complete_attrs(graph):
    """Every node names all attributes that its op's body takes, in the body's order; who left one out meant its default."""
    nodes = [n if OPS.get(n.op.name) is not n.op or _is_complete(n.op, tuple([k for k, _ in n.attrs])) else _with_defaults(n) for n in graph.nodes]
    return _if_changed(graph, nodes)


def _if_changed(graph, nodes):
    """The graph with these nodes, or itself if it has them."""
    same = len(nodes) == len(graph.nodes) and all(map(operator.is_, nodes, graph.nodes))
    return graph if same else graph.replace(nodes=tuple(nodes))


@functools.lru_cache(4096)
def _is_complete(op, names):
    """Whether attributes of these names are all that the op takes, in its order."""
    return tuple(dict.fromkeys([*[k for k, _ in _defaults(op)], *names])) == names


def _with_defaults(node):
    attrs = dict(node.attrs)
    full = {**{k: attrs.get(k, default) for k, default in _defaults(node.op)}, **attrs}
    return Node(node.op, node.inputs, node.outputs, tuple(full.items()), node.line)


@functools.cache
def _defaults(op):
    """Pairs (name, default) of the attributes that may be left out."""
    parameters = inspect.signature(op.forward).parameters.values()
    return tuple([(p.name, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty])


def drop_dead(graph):
    """Every node's output is needed, or the node may have effects; every constant is used."""
    needed = {*graph.outputs, *(v for _, v in graph.writes)}
    kept = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs) or not is_pure(node.op):
            kept.append(node)
            needed.update(node.inputs)
    constants = [c for c in graph.constants if c[0] in needed]
    if len(kept) == len(graph.nodes) and len(constants) == len(graph.constants):
        return graph
    return graph.replace(nodes=tuple(kept[::-1]), constants=tuple(constants))


def merge_equal(graph):
    """No two nodes apply the same pure op to the same operands, and no two constants are equal numbers."""
    names, seen, nodes = {}, {}, []
    constants = []
    for v, c in graph.constants:
        key = (type(c), repr(c)) if graph.specs[v].weak else None
        if key is not None and key in seen:
            names[v] = seen[key]
        else:
            if key is not None:
                seen[key] = v
            constants.append((v, c))
    for node in graph.nodes:
        node = node.renamed(names)
        if is_pure(node.op):
            first = seen.setdefault((node.op, node.inputs, node.attrs), node)
            if first is not node and (first.attrs is node.attrs or exact(first.attrs) == exact(node.attrs)):
                names.update(zip(node.outputs, first.outputs))
                continue
        nodes.append(node)
    return _finish(graph.replace(constants=tuple(constants)), nodes, names) if names else graph


def fold_constants(graph):
    """No pure node with a small result has constant operands only."""
    known = dict(graph.constants)
    nodes, constants = [], list(graph.constants)
    for node in graph.nodes:
        if not node.inputs or node.inputs[0] not in known or not all([v in known for v in node.inputs]) or not is_pure(node.op) or \
                sum(graph.specs[v].nbytes for v in node.outputs) > FOLD_BYTES:
            nodes.append(node)
            continue
        with np.errstate(all="ignore"):
            result = node.op.run([known[v] for v in node.inputs], dict(node.attrs))
        for v, y in zip(node.outputs, result if node.op.multi else (result,)):
            known[v] = y.copy() if isinstance(y, np.ndarray) else y
            constants.append((v, known[v]))
    return graph.replace(nodes=tuple(nodes), constants=tuple(constants)) if len(nodes) < len(graph.nodes) else graph


def _finish(graph, nodes, names):
    """The graph with these nodes, and values renamed where it returns or writes them."""
    return graph.replace(nodes=tuple(nodes), outputs=tuple([names.get(v, v) for v in graph.outputs]),
                         writes=tuple([(t, names.get(v, v)) for t, v in graph.writes]))


# -------------------------------------------------------------------------------------------------------------------- algebra

def algebra(graph):
    """No node gives back its operand (identities, casts to the same dtype, views to the same shape, factors of 1), and chains of
    reshapes or transpositions are one."""
    a = _Algebra(graph)
    names, nodes = {}, []
    for node in graph.nodes:
        node = node.renamed(names)
        if node.op.name in _ALGEBRAIC:
            node = a.shorter(node)
            same = a.same(node)
            if same is not None:
                names[node.outputs[0]] = same
                continue
            a.made[node.outputs[0]] = node
        nodes.append(node)
    return _finish(graph, nodes, names) if names else _if_changed(graph, nodes)


class _Algebra:
    def __init__(self, graph):
        self.specs, self.made = graph.specs, {}
        self.numbers = {v: c for v, c in graph.constants if graph.specs[v].weak}

    def same(self, node):
        """The operand that the node's only output equals, or None."""
        if len(node.outputs) != 1 or not node.inputs or OPS.get(node.op.name) is not node.op:
            return None
        x, y = node.inputs[0], node.outputs[0]
        if node.op.name in ("mul", "div", "sub"):
            return self._neutral(node)
        if node.op.name not in _MAY_BE_SAME or self.specs[x] != self.specs[y]:
            return None
        attrs = dict(node.attrs)
        if node.op.name == "transpose" and attrs["axes"] != tuple(range(len(attrs["axes"]))):
            return None
        return x

    def _neutral(self, node):
        a, b = node.inputs
        neutral = 0 if node.op.name == "sub" else 1
        if _is_number(self.numbers.get(b), neutral) and self.specs[a] == self.specs[node.outputs[0]]:
            return a
        if node.op.name == "mul" and _is_number(self.numbers.get(a), 1) and self.specs[b] == self.specs[node.outputs[0]]:
            return b
        return None

    def shorter(self, node):
        """The node with the view under it taken in, where two make one."""
        if node.op.name not in ("reshape", "transpose") or node.inputs[0] not in self.made:
            return node
        below = self.made[node.inputs[0]]
        if below.op is not node.op:
            return node
        attrs = node.attrs
        if node.op.name == "transpose":
            inner, outer = dict(below.attrs)["axes"], dict(attrs)["axes"]
            attrs = (("axes", tuple([inner[i] for i in outer])),)
        return Node(node.op, below.inputs, node.outputs, attrs, node.line)


_MAY_BE_SAME = frozenset({"identity", "constant", "cast", "reshape", "transpose", "broadcast_to", "sum_to"})
_ALGEBRAIC = _MAY_BE_SAME | {"mul", "div", "sub"}


def _is_number(x, value):
    """Exactly this number; a float minus 0.0 and an int minus 0 are themselves, minus -0.0 is not."""
    return type(x) in (int, float) and x == value and math.copysign(1, x) == 1


def channels_last(graph):
    """Convolutions that gain from it, and what lies between them, have their channels last."""
    turned = twins(graph)
    return graph if turned is graph else merge_equal(algebra(drop_dead(turned)))


PASSES = (decompose, complete_attrs, equal_types, drop_dead, drop_covered_axes, algebra, fold_constants, merge_equal, channels_last, join_parts, drop_dead,
          gather_together, sum_products, batch_products, accumulate, outer_products, partial_sums, reduce_blocks,
          drop_dead, recompute)

