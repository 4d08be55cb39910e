"""Fusion, a pass: groups of elementwise operations and reductions become one node each, whose op is a ``FusedOp``.

Nodes join the groups of their producers, in graph order, as long as one iteration space serves all: every instruction runs over
the full space, over the axes that are not reduced, or once; all reductions of a group go over the same axes. Each join saves
writing and reading the values that pass between (decided by bytes: the largest first). Views (broadcasting, new axes of size 1,
transposition) are looked through: a kernel reads their base with other strides.
"""
import functools
from dataclasses import dataclass, field
from itertools import pairwise

from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node
from hybridnn.jit.nest import FusedOp, Item, Nest, Store, is_column
from hybridnn.jit.purity import is_pure
from hybridnn.jit.scalar import Unfusable, kind_of, trace_body
from hybridnn.jit.specs import Specs
from hybridnn.jit.support import check_supported

__all__ = ["fuse", "why_not"]

MAX_POINTERS, MAX_NODES = 48, 64
WINDOW = 4096         # nodes of one stretch of the graph; groups do not reach over its ends
REDUCERS = {"sum": "sum", "sum_to": "sum", "amax": "max", "amin": "min"}


# ------------------------------------------------------------------------------------------------------- what a node is, alone

@dataclass(eq=False)
class Part:
    """A fusable node with its accesses in axes of its group: ``operands`` are triples (value, base, dims of the base)."""
    index: int
    node: Node
    operands: list
    outs: list            # per output: axis per dimension
    axes: tuple           # all axes of its loops
    reduced: tuple        # those it reduces
    program: object


@dataclass(eq=False)
class Group:
    """Parts that share one space. ``home``: dims of values made here; ``reads``: base -> set of dims it is read with."""
    number: int
    parts: list
    sizes: list
    reduced: tuple | None
    home: dict
    reads: dict
    first: int
    last: int
    levels: set                                 # axes that parts run over
    deps: set = field(default_factory=set)      # indices of nodes whose results are read
    above: int = 0                              # bits of all groups that this one depends on

    @property
    def bit(self):
        return 1 << self.number % WINDOW

    @property
    def indices(self):
        return [p.index for p in self.parts] or [self.number]


class _State:
    """What the pass knows of the graph."""

    def __init__(self, graph):
        self.graph, self.specs = graph, graph.specs
        self.producer = {v: i for i, n in enumerate(graph.nodes) for v in n.outputs}
        self.constants = dict(graph.constants)
        self.base = {}
        self.groups = {}      # node index -> Group
        self.below = [[] for _ in graph.nodes]      # node index -> indices of the nodes that read it
        self.reasons = {}


def _resolve_views(state):
    """``state.base[v]`` = (base value, dimension of the base per dimension of v, or -1) for views a kernel can look through."""
    for node in state.graph.nodes:
        mapper = _VIEWS.get(node.op.name)
        if mapper is None:
            continue
        source = node.inputs[0]
        dims = mapper(state.specs[source].shape, state.specs[node.outputs[0]].shape, dict(node.attrs))
        if dims is not None:
            base, below = state.base.get(source) or (source, tuple(range(len(state.specs[source].shape))))
            state.base[node.outputs[0]] = base, tuple([-1 if d < 0 else below[d] for d in dims])


def _broadcast_dims(old, new, attrs):
    lead = len(new) - len(old)
    return tuple([-1] * lead + [i if n == m else -1 for i, (n, m) in enumerate(zip(old, new[lead:]))])


def _reshape_dims(old, new, attrs):
    """A reshape that only adds or drops dimensions of size 1."""
    kept = [i for i, n in enumerate(old) if n != 1]
    if [old[i] for i in kept] != [n for n in new if n != 1]:
        return None
    it = iter(kept)
    return tuple([-1 if n == 1 else next(it) for n in new])


_VIEWS = {"broadcast_to": _broadcast_dims, "reshape": _reshape_dims, "transpose": lambda old, new, attrs: attrs["axes"],
          "identity": lambda old, new, attrs: tuple(range(len(old))), "constant": lambda old, new, attrs: tuple(range(len(old)))}


def _access(state, value, dims):
    """(base, dims of the base) where dimension i of ``value`` runs over axis ``dims[i]``."""
    base, through = state.base.get(value) or (value, range(len(dims)))
    result = [-1] * len(state.specs[base].shape)
    for d, b in zip(dims, through):
        if b >= 0 and result[b] == -1:
            result[b] = d
        elif b >= 0 and d != -1 and result[b] != d:
            raise Unfusable("a diagonal")
    return base, tuple([-1 if n == 1 else d for n, d in zip(state.specs[base].shape, result)])


def _part(state, index, node):
    """The Part of a node and its sizes; raises Unfusable with the reason."""
    specs = [state.specs[v] for v in (*node.inputs, *node.outputs)]
    if any(s.size == 0 for s in specs):
        raise Unfusable("an empty array")
    if node.op.name in REDUCERS:
        return _reduction_part(state, index, node)
    if node.op.kind == "elementwise_iota":
        return _iota_part(state, index, node)
    if node.op.kind != "elementwise":
        raise Unfusable(f"kind {node.op.kind}")
    program = _program(node.op, tuple([_operand_key(state, v) for v in node.inputs]), node.attrs)
    _check_results(program, [state.specs[v] for v in node.outputs])
    shape = state.specs[node.outputs[0]].shape
    if any(state.specs[v].shape != shape for v in node.outputs):
        raise Unfusable("outputs of several shapes")
    dims, sizes = _axes_of(shape)
    operands = [_elementwise_operand(state, v, dims) for v in node.inputs]
    return Part(index, node, operands, [dims] * len(node.outputs), tuple(range(len(sizes))), (), program), sizes


def _check_results(program, specs):
    for r, spec in zip(program.results, specs):
        if spec.weak or program.instrs[r].kind != kind_of(spec.dtype):
            raise Unfusable("a result of another dtype than eager's")


def _axes_of(shape):
    sizes = [n for n in shape if n != 1]
    it = iter(range(len(sizes)))
    return tuple([-1 if n == 1 else next(it) for n in shape]), sizes


def _elementwise_operand(state, v, dims):
    spec = state.specs[v]
    if spec.weak:
        return v, v, ()
    own = dims[len(dims) - len(spec.shape):]
    return v, *_access(state, v, tuple([-1 if n == 1 else d for n, d in zip(spec.shape, own)]))


def _operand_key(state, v):
    spec = state.specs[v]
    if spec.weak:
        return ("const", spec.weak, repr(state.constants[v])) if v in state.constants else spec.weak
    return spec.dtype


@functools.lru_cache(8192)
def _program_cached(op, keys, attrs):
    operands = [_parse(k) if isinstance(k, tuple) else k for k in keys]
    try:
        program = trace_body(op.forward, operands, dict(attrs), op.multi)
        check_supported(program)
        return program
    except Unfusable as error:
        return str(error)


def _parse(key):
    number = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}.get(key[2])
    return number if number is not None else bool(key[2] == "True") if key[1] is bool else key[1](key[2])


def _program(op, keys, attrs):
    found = _program_cached(op, keys, attrs)
    if isinstance(found, str):
        raise Unfusable(found)
    return found


def _iota_part(state, index, node):
    shape = state.specs[node.outputs[0]].shape
    dims, sizes = _axes_of(shape)
    if dims[-1] == -1:
        raise Unfusable("one class")
    operand = _elementwise_operand(state, node.inputs[0], (*dims[:-1],))
    kind_of(state.specs[node.inputs[0]].dtype)
    return Part(index, node, [operand], [dims], tuple(range(len(sizes))), (), "iota"), sizes


def _reduction_part(state, index, node):
    x, y = node.inputs[0], node.outputs[0]
    shape, out = state.specs[x].shape, state.specs[y].shape
    kind = kind_of(state.specs[y].dtype)
    kind_of(state.specs[x].dtype)
    if REDUCERS[node.op.name] != "sum" and kind == "b1":
        raise Unfusable("an extreme of bools")
    dims, sizes = _axes_of(shape)
    over, out_dims = _reduced_dims(node, shape, out, dims)
    reduced = tuple(sorted(d for d in over if d >= 0))
    return Part(index, node, [(x, *_access(state, x, dims))], [out_dims], tuple(range(len(sizes))), reduced, "reduce"), sizes


def _reduced_dims(node, shape, out, dims):
    """Axes that are reduced, and the axes of the output's dimensions."""
    attrs = dict(node.attrs)
    if node.op.name == "sum_to":
        lead = len(shape) - len(out)
        gone = [i for i in range(len(shape)) if i < lead or out[i - lead] != shape[i]]
        return [dims[i] for i in gone], tuple([-1 if n == 1 else d for n, d in zip(out, dims[lead:])])
    axis = attrs.get("axis")
    gone = list(range(len(shape))) if axis is None else [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    kept = [-1 if i in gone else d for i, d in enumerate(dims)] if attrs.get("keepdims") else [d for i, d in enumerate(dims)
                                                                                               if i not in gone]
    return [dims[i] for i in gone], tuple(kept)


# ------------------------------------------------------------------------------------------------------------------- grouping

def _new_group(state, part, sizes):
    node = part.node
    reads = {}
    for v, base, dims in part.operands:
        if not state.specs[v].weak:
            reads.setdefault(base, set()).add(dims)
    home = dict(zip(node.outputs, part.outs))
    deps = {state.producer[b] for b in reads if b in state.producer}
    return Group(part.index, [part], list(sizes), part.reduced or None, home, reads, part.index, part.index, {part.axes}, deps)


def _match(g, h):
    """Axes of ``h`` as axes of ``g``, from the values that pass between them and then from what both read; None if they
    contradict.
    """
    sigma = {}
    for a, b, flip in ((g, h, False), (h, g, True)):
        for v in a.home.keys() & b.reads.keys():
            for dims in b.reads[v]:
                if not _unify(sigma, *((dims, a.home[v]) if not flip else (a.home[v], dims)), strict=True):
                    return None
    for v in g.reads.keys() & h.reads.keys():
        if len(g.reads[v]) == len(h.reads[v]) == 1:
            (dims_g,), (dims_h,) = g.reads[v], h.reads[v]
            _unify(sigma, dims_h, dims_g, strict=False)
    if any(h.sizes[a] != g.sizes[b] for a, b in sigma.items()):
        return None
    return sigma


def _unify(sigma, dims_h, dims_g, strict):
    for a, b in zip(dims_h, dims_g, strict=True):
        if a == -1 and b == -1:
            continue
        if a == -1 or b == -1:
            if strict:
                return False
            continue
        if a in sigma or b in sigma.values():
            if sigma.get(a) != b and strict:
                return False
            continue
        sigma[a] = b
    return True


def _joined(g, h):
    """(sizes, g's axes renamed, h's axes renamed) of the common space, or None."""
    sigma = _match(g, h)
    if sigma is None:
        return None
    new_h = [a for a in range(len(h.sizes)) if a not in sigma]
    new_g = [b for b in range(len(g.sizes)) if b not in sigma.values()]
    if new_h and new_g:
        return None
    if not new_h:
        return list(g.sizes), list(range(len(g.sizes))), [sigma[a] for a in range(len(h.sizes))]
    back = {b: a for a, b in sigma.items()}
    return list(h.sizes), [back[b] for b in range(len(g.sizes))], list(range(len(h.sizes)))


def _rename(dims, names):
    return tuple([d if d == -1 else names[d] for d in dims])


def _merged(state, g, h):
    """What it takes to put ``h`` into ``g``'s kernel: (sizes, renamings of both, levels, reduced axes), or None if one kernel
    cannot do it.
    """
    if len(g.parts) + len(h.parts) > MAX_NODES or len(g.reads) + len(h.reads) + len(g.home) + len(h.home) > 2 * MAX_POINTERS:
        return None
    joined = _joined(g, h)
    if joined is None:
        return None
    sizes, of_g, of_h = joined
    reduced = {tuple(sorted([names[a] for a in x.reduced])) for x, names in ((g, of_g), (h, of_h)) if x.reduced}
    if len(reduced) > 1:
        return None
    levels = {tuple(sorted([names[a] for a in level])) for x, names in ((g, of_g), (h, of_h)) for level in x.levels}
    over = reduced.pop() if reduced else None
    fits, over = _levels_fit(levels, len(sizes), over)
    if not fits or is_column(sizes, over) and not _column_fits(_parts_of(g, h, of_g, of_h),
                                                                            tuple(range(len(sizes)))):
        return None
    return sizes, of_g, of_h, levels, over


def _parts_of(g, h, of_g, of_h):
    return sorted([_renamed_part(p, names) for x, names in ((g, of_g), (h, of_h)) for p in x.parts], key=lambda p: p.index)


def _absorb(state, g, h, sizes, of_g, of_h, levels, over):
    """Put ``h`` into ``g``."""
    if of_g != list(range(len(of_g))) or len(sizes) != len(g.sizes):
        _rename_group(g, of_g)
    if of_h != list(range(len(of_h))):
        _rename_group(h, of_h)
    g.parts += h.parts
    g.home.update(h.home)
    for v, dims in h.reads.items():
        g.reads[v] = g.reads[v] | dims if v in g.reads else dims
    g.sizes, g.reduced, g.levels = list(sizes), over, levels
    g.first, g.last = min(g.first, h.first), max(g.last, h.last)
    g.deps = {i for i in g.deps | h.deps if state.groups[i] is not g and state.groups[i] is not h}
    for p in h.parts:
        state.groups[p.index] = g


def _rename_group(g, names):
    g.parts = [_renamed_part(p, names) for p in g.parts]
    g.home = {v: _rename(d, names) for v, d in g.home.items()}
    g.reads = {v: {_rename(d, names) for d in all_dims} for v, all_dims in g.reads.items()}


def _renamed_part(p, names):
    if names == list(range(len(names))):
        return p
    return Part(p.index, p.node, [(v, b, _rename(d, names)) for v, b, d in p.operands], [_rename(d, names) for d in p.outs],
                tuple(sorted(names[a] for a in p.axes)), tuple(sorted(names[a] for a in p.reduced)), p.program)


def _levels_fit(levels, n, reduced):
    """Whether every part runs over all axes, over those not reduced, or once; and the reduced axes."""
    full = tuple(range(n))
    partial = levels - {full, ()}
    if reduced is None:
        if not partial:
            return True, None
        level = partial.pop()
        reduced = tuple([a for a in full if a not in level])
        return not partial and n - 1 in reduced and level == tuple(range(len(level))), reduced
    return not partial - {tuple([a for a in full if a not in reduced])}, reduced


def _column_fits(parts, full):
    """Column sums come last: nothing over the full space, and no other reduction, may need them; what is left runs after them."""
    after = set()
    for p in parts:
        late = any(b in after for _, b, _ in p.operands)
        if late and p.axes == full and len(full) or not late and p.axes != full and p.axes:
            return False
        if p.reduced or late:
            after.update(p.node.outputs)
    return any(p.reduced for p in parts)


def _same_window(g, h):
    return g.number // WINDOW == h.number // WINDOW


def _place(state, group):
    """Note what a new group depends on."""
    state.groups[group.number] = group
    for i in group.deps:
        state.below[i].append(group.number)
        other = state.groups[i]
        if _same_window(group, other):
            group.above |= other.above | other.bit


def _settle(state, g, h, below):
    """All that depended on ``g`` or ``h``, through the nodes ``below`` them, depends on what is above either now."""
    g.above = (g.above | h.above) & ~(g.bit | h.bit)
    more, stack = g.above | g.bit, below
    while stack:
        group = state.groups[stack.pop()]
        if group is not g and _same_window(group, g) and group.above | more != group.above:
            group.above |= more
            stack += [k for i in group.indices for k in state.below[i]]


def _depends(state, start, goal):
    """Whether group ``start`` depends on group ``goal`` through other groups."""
    others = [state.groups[i] for i in start.deps]
    return any(x is not start and x is not goal and x.above & goal.bit for x in others if _same_window(x, goal))


def _try_join(state, g, h):
    if g is h or not g.parts or not h.parts or not _same_window(g, h) or _depends(state, h, g) or _depends(state, g, h):
        return None
    plan = _merged(state, g, h)
    if plan is None:
        return None
    below = [k for i in (*g.indices, *h.indices) for k in state.below[i]]
    _absorb(state, g, h, *plan)
    _settle(state, g, h, below)
    return g


def _opaque(index, node, state):
    deps = {state.producer[v] for v in node.inputs if v in state.producer}
    return Group(index, [], [], None, {}, {}, index, index, set(), deps)


def _grow(state):
    for index, node in enumerate(state.graph.nodes):
        try:
            part, sizes = _part(state, index, node)
        except Unfusable as error:
            state.reasons[index] = str(error)
            _place(state, _opaque(index, node, state))
            continue
        if node.outputs[0] in state.base:
            _place(state, _opaque(index, node, state))
            continue
        group = _new_group(state, part, sizes)
        _place(state, group)
        _join_producers(state, group, part)


def _join_producers(state, group, part):
    bases = {b for v, b, _ in part.operands if b in state.producer}
    for b in sorted(bases, key=lambda b: -state.specs[b].nbytes):
        other = state.groups[state.producer[b]]
        group = _try_join(state, other, group) or group


def _join_siblings(state):
    """Groups that read the same value, in graph order."""
    readers = {}
    for group in _distinct(state):
        for v in group.reads:
            readers.setdefault(v, []).append(group.parts[0].index)
    for v, indices in sorted(readers.items()):
        if state.specs[v].size < 2:
            continue
        for a, b in pairwise(indices):
            g, h = state.groups[a], state.groups[b]
            if g is not h and len(g.sizes) == len(h.sizes):
                _try_join(state, g, h)


def _distinct(state):
    seen, result = set(), []
    for i in range(len(state.graph.nodes)):
        g = state.groups[i]
        if g.parts and id(g) not in seen:
            seen.add(id(g))
            result.append(g)
    return result


# ------------------------------------------------------------------------------------------------------------------- the pass

def fuse(graph):
    """Afterwards every fusable node is part of a node whose op is a ``FusedOp``; other nodes are as before. Returns the graph."""
    return fuse_with_reasons(graph)[0]


def why_not(graph):
    """Node index -> why it is not fusable, for the nodes that are not."""
    return fuse_with_reasons(graph)[1]


def fuse_with_reasons(graph):
    state = _State(graph)
    _resolve_views(state)
    _grow(state)
    _join_siblings(state)
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
