"""Accumulation, passes: what the steps of an unrolled loop do one by one, and could do at once, becomes few large operations.

Rows are the axis 0 of arrays. Values that lie one below the other in an array (parts of a ``JoinOp``, slices) are operands
without a copy; others are joined, which kernels do by writing where the part belongs. Three forms, all with the same result up to
the order of float additions:

* ``gather_together``: rows of one table by several indices are one ``take``.
* ``sum_products``: a sum of products over few rows each (weight gradients over time) is one product over all these rows.
* ``batch_products``: products of different rows with the same matrix are one, where none needs the result of another.

What is left of sums over products and scatters is added up in place (``accumulate``). A sum of n products in float32 may then be
sequential in n, as a product over n times the rows is inside BLAS: for 100 terms its error stays below 1e-5 of the sum of
absolute values.
"""
from collections import Counter
from dataclasses import dataclass
from itertools import chain, pairwise

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.rows import Rows
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec, spec_of

__all__ = ["ProductSum", "ScatterSum", "accumulate", "batch_products", "gather_together", "outer_products", "sum_products"]

MAX_ROWS = 1024      # of a product or gather that is put together: more gains nothing, and all rows are in memory at once
FEW_ROWS = 128       # a product of more rows is efficient by itself
MAX_GROUPS = 64      # each costs a walk through the graph
FIRST = (("array", 0),)


@dataclass(frozen=True)
class ProductSum:
    """The sum of the products of operands 0 and 1, 2 and 3, ...; ``transposed`` has a pair of flags per product."""
    transposed: tuple
    name = "products"
    kind = "products"
    multi = False
    decompose = None

    def run(self, arrays, attrs):
        pairs = zip(arrays[::2], arrays[1::2], self.transposed, strict=True)
        return _total([OPS["matmul"].run([a, b], {"transa": ta, "transb": tb}) for a, b, (ta, tb) in pairs])


@dataclass(frozen=True)
class ScatterSum:
    """Zeros of ``shape``, to which rows (operands 0, 2, ...) are added at numbers (operands 1, 3, ...)."""
    shape: tuple
    name = "scatters"
    kind = "scatters"
    multi = False
    decompose = None

    def run(self, arrays, attrs):
        attrs = {"shape": self.shape, "pattern": FIRST}
        return _total([OPS["put"].run([x, i], attrs) for x, i in zip(arrays[::2], arrays[1::2], strict=True)])


def _total(terms):
    total = terms[0]
    for x in terms[1:]:
        total = total + x
    return total


# ------------------------------------------------------------------------------------------------- same operand, many rows

def gather_together(graph):
    """No two gathers of rows from one table that could be one (of up to ``MAX_ROWS`` rows) are separate."""
    return _batched(graph, _gather_key, 1)


def batch_products(graph):
    """No two products of few rows with the same matrix that could be one (of up to ``MAX_ROWS`` rows) are separate."""
    return _batched(graph, _product_key, 0)


def _gather_key(graph, node):
    if node.op is not OPS["take"] or dict(node.attrs)["pattern"] != FIRST or len(node.inputs) != 2:
        return None
    table, index = (graph.specs[v] for v in node.inputs)
    fits = index.shape and index.dtype.str[1:] in ("i4", "i8") and index.size and table.size
    return (node.op.name, node.inputs[0], index.dtype, index.shape[1:]) if fits else None


def _product_key(graph, node):
    if node.op is not OPS["matmul"] or _flags(node)[0]:
        return None
    a, b = (graph.specs[v] for v in node.inputs)
    fits = len(a.shape) == len(b.shape) == 2 and a.dtype == b.dtype and 0 < a.shape[0] <= FEW_ROWS and a.size and b.size
    return (node.op.name, node.inputs[1], node.attrs, a.dtype) if fits else None


def _flags(node):
    """Which operands of a product are transposed."""
    attrs = dict(node.attrs)
    return attrs.get("transa", False), attrs.get("transb", False)


def _batched(graph, key_of, position):
    """Nodes with one key, that differ in operand ``position``, joined along its rows: their results are slices of one."""
    groups = {}
    for node in graph.nodes:
        key = key_of(graph, node)
        if key is not None:
            groups.setdefault(key, []).append(node)
    groups = sorted((g for g in groups.values() if len(g) > 1), key=len, reverse=True)[:MAX_GROUPS]
    if not groups:
        return graph
    work = Rows(graph)
    for group in groups:
        for level in _independent(work, group):
            for run in work.runs(level, lambda node: (node.inputs[position],), MAX_ROWS):
                _batch(work, run, position)
    return work.result()


def _independent(work, group):
    """The group in parts whose nodes do not depend on each other."""
    if not work.depends([v for n in group for v in n.inputs], group):
        return [group]
    if all(work.depends(b.inputs, [a]) for a, b in pairwise(group)):
        return []
    levels = {}
    depth = work.depths(group)
    for node in group:
        levels.setdefault(depth[node.outputs[0]], []).append(node)
    return [level for level in levels.values() if len(level) > 1]


def _batch(work, run, position):
    if len(run) < 2:
        return
    rows = work.together([n.inputs[position] for n in run], run)
    if rows is None:
        return
    node, first = run[0], work.specs[run[0].outputs[0]]
    lengths = [work.specs[n.outputs[0]].shape[0] for n in run]
    y = work.new(first, (sum(lengths), *first.shape[1:]))
    inputs = tuple([rows if k == position else v for k, v in enumerate(node.inputs)])
    work.add(Node(node.op, inputs, (y,), node.attrs, node.line))
    start = 0
    for member, n in zip(run, lengths):
        index = ("slice", start, start + n, None),
        work.replace(member, Node(OPS["get_item"], (y,), member.outputs, (("index", index),), member.line))
        start += n


# ------------------------------------------------------------------------------------------------------------------- sums

def sum_products(graph):
    """No sum has two terms that are products of the form ``a.T @ b`` over few rows each: they are one, over the rows of all."""
    return _summed(graph, _merge_products)


def accumulate(graph):
    """No sum has two terms that are products (they are one ``ProductSum``), scatters (one ``ScatterSum``), or sums over rows that
    lie one below the other (one sum).
    """
    return _summed(graph, _merge_rest)


def outer_products(graph):
    """No term of a sum is a batch of products of columns with rows: elementwise products take their place, which kernels make where they add them."""
    add, matmul = OPS["add"], OPS["matmul"]
    found = [n for n in graph.nodes if n.op is matmul and _is_outer(graph.specs, n)]
    uses = {n.outputs[0]: [] for n in found}
    for node in graph.nodes if found else ():
        for v in node.inputs:
            if v in uses:
                uses[v].append(node.op)
    chosen = {id(n) for n in found if uses[n.outputs[0]] and all(op is add for op in uses[n.outputs[0]])}
    if not chosen:
        return graph
    specs, nodes = Specs(graph.specs), []
    zero = specs.new(spec_of(0.))
    for node in graph.nodes:
        nodes += _outer(specs, node, zero) if id(node) in chosen else [node]
    return graph.replace(nodes=tuple(nodes), specs=specs, constants=(*graph.constants, (zero, 0.)))


def _outer(specs, node, zero):
    """The nodes of one such product. Adding 0 turns -0 into 0, as the sum of one number in a matrix product is."""
    nodes, factors = [], []
    for v, transposed in zip(node.inputs, _flags(node), strict=True):
        if transposed:
            *batch, rows, columns = range(len(specs[v].shape))
            shape = specs[v].shape
            turned = specs.new(Spec((*shape[:-2], shape[-1], shape[-2]), specs[v].dtype))
            nodes.append(Node(OPS["transpose"], (v,), (turned,), (("axes", (*batch, columns, rows)),), node.line))
            v = turned
        factors.append(v)
    product = specs.new(specs[node.outputs[0]])
    return [*nodes, Node(OPS["mul"], tuple(factors), (product,), (), node.line), Node(OPS["add"], (product, zero), node.outputs, (), node.line)]


def _summed(graph, merge):
    sums = [s for s in _sums(graph) if len(s[1]) > 1]
    if not sums:
        return graph
    work = Rows(graph)
    for root, terms in sorted(sums, key=lambda s: -len(s[1])):
        made = merge(work, root, [(v, work.producer.get(v)) for v, _ in terms], {v for v, lone in terms if lone})
        if made is not None:
            _add_up(work, root, *made)
    return work.result()


def _sums(graph):
    """Pairs (last addition, its terms); terms are (value, whether the sum is its only use), of the shape and dtype of the sum."""
    uses = Counter(chain.from_iterable([n.inputs for n in graph.nodes]))
    uses.update(graph.outputs)
    uses.update(v for _, v in graph.writes)
    add, trees = OPS["add"], {}
    for node in graph.nodes:
        if node.op is add and all(graph.specs[v] == graph.specs[node.outputs[0]] for v in node.inputs):
            terms = []
            for v in node.inputs:
                terms = _chained(terms, trees.pop(v)[1] if v in trees and uses[v] == 1 else [(v, uses[v] == 1)])
            trees[node.outputs[0]] = node, terms
    return list(trees.values())


def _chained(first, second):
    """``first + second`` in the longer of the two lists (a long chain is not copied at every link)."""
    if len(first) >= len(second):
        first += second
        return first
    second[:0] = first
    return second


def _add_up(work, root, nodes, others):
    """``root`` becomes the sum of what ``nodes`` give (each has no outputs yet) and of ``others``."""
    spec, y = work.specs[root.outputs[0]], root.outputs[0]
    work.remove(root)
    values = [*others]
    for k, n in enumerate(nodes):
        v = y if not values and k == len(nodes) - 1 and len(nodes) == 1 else work.new(spec, spec.shape)
        work.add(Node(n.op, n.inputs, (v,), n.attrs, n.line))
        values.append(v)
    while len(values) > 1:
        v = work.new(spec, spec.shape) if len(values) > 2 else y
        work.add(Node(OPS["add"], (values[0], values[1]), (v,), (), root.line))
        values[:2] = [v]


def _merge_products(work, root, terms, lone):
    """(product nodes, other terms) or None."""
    chosen = [n for v, n in terms if v in lone and n is not None and _is_row_product(work, n)]
    if len(chosen) < 2:
        return None
    made, done = [], set()
    for run in work.runs(chosen, lambda n: n.inputs, MAX_ROWS):
        operands = [work.together([n.inputs[k] for n in run], [root]) for k in (0, 1)] if len(run) > 1 else [None]
        if None not in operands:
            made.append(Node(run[0].op, tuple(operands), (), run[0].attrs, run[0].line))
            done.update(n.outputs[0] for n in run)
    return (made, [v for v, _ in terms if v not in done]) if made else None


def _is_row_product(work, node):
    if node.op is not OPS["matmul"] or _flags(node) != (True, False):
        return False
    a, b = (work.specs[v] for v in node.inputs)
    return len(a.shape) == len(b.shape) == 2 and a.dtype == b.dtype and 0 < a.shape[0] <= FEW_ROWS


def _merge_rest(work, root, terms, lone):
    left, made = [], []
    kinds = {"matmul": [], "put": [], "sum": []}
    for v, n in terms:
        fits = v in lone and n is not None and n.op is OPS.get(n.op.name) and n.op.name in kinds and _CAN[n.op.name](work, n)
        (kinds[n.op.name] if fits else left).append(n if fits else v)
    for name, nodes in kinds.items():
        new, rest = _MERGE[name](work, root, nodes) if len(nodes) > 1 else ([], nodes)
        made += new
        left += [n.outputs[0] for n in rest]
    return (made, left) if made else None


def _plain_product(work, node):
    return not _is_outer(work.specs, node) and work.specs[node.inputs[0]].dtype == work.specs[node.inputs[1]].dtype == work.specs[node.outputs[0]].dtype


def _is_outer(specs, node):
    """Whether it is a batch of products of columns with rows, of which each element is one product of two numbers."""
    a, b, y = (specs[v] for v in (*node.inputs, *node.outputs))
    return len(a.shape) == len(b.shape) > 2 and a.shape[-2 if _flags(node)[0] else -1] == 1 and a.dtype == b.dtype == y.dtype and y.dtype.kind == "f"


def _rows_added(work, node):
    """A scatter of rows that keeps the dtype."""
    attrs = dict(node.attrs)
    return attrs["pattern"] == FIRST and len(node.inputs) == 2 and len(work.specs[node.inputs[1]].shape) > 0 and \
        work.specs[node.inputs[0]].dtype == work.specs[node.outputs[0]].dtype


def _sum_of_rows(work, node):
    same = work.specs[node.inputs[0]].dtype == work.specs[node.outputs[0]].dtype
    return same and node.attrs == (("axis", (0,)), ("keepdims", False))


def _one_product_sum(work, root, nodes):
    return [Node(ProductSum(tuple(map(_flags, nodes))), tuple([v for n in nodes for v in n.inputs]), (), (), nodes[0].line)], []


def _one_scatter_sum(work, root, nodes):
    operands = []
    for run in work.runs(nodes, lambda n: n.inputs, None):
        lying = [work.lying([n.inputs[k] for n in run], [root]) for k in (0, 1)] if len(run) > 1 else [None]
        operands += lying if None not in lying else [v for n in run for v in n.inputs]
    if len(operands) == 2:
        return [Node(nodes[0].op, tuple(operands), (), nodes[0].attrs, nodes[0].line)], []
    return [Node(ScatterSum(dict(nodes[0].attrs)["shape"]), tuple(operands), (), (), nodes[0].line)], []


def _sums_of_more_rows(work, root, nodes):
    made, rest = [], []
    for run in work.runs(nodes, lambda n: n.inputs, None):
        rows = work.lying([n.inputs[0] for n in run], [root]) if len(run) > 1 else None
        if rows is None:
            rest += run
        else:
            made.append(Node(run[0].op, (rows,), (), run[0].attrs, run[0].line))
    return made, rest


_CAN = {"matmul": _plain_product, "put": _rows_added, "sum": _sum_of_rows}
_MERGE = {"matmul": _one_product_sum, "put": _one_scatter_sum, "sum": _sums_of_more_rows}
