"""Writing a group as one node, whose op is a ``FusedOp``."""
import functools
from dataclasses import dataclass

from hybridnn.graph import Graph, Node
from hybridnn.jit.known import Known
from hybridnn.jit.nest import FusedOp, Item, Nest, Store, reached
from hybridnn.jit.parts import REDUCERS
from hybridnn.jit.scalar import kind_of

__all__ = ["Kernel", "check_accesses", "fused_node", "kernel_of"]

_codes = Known(2048)      # form of a group -> what ``_code`` gives


@dataclass(frozen=True, eq=False)
class Kernel:
    """A group as it is for all sizes.

    Attributes:
        indices: its nodes; ``nodes``: with those that they look through, in order; ``ops``: what these do.
        symbols: numbers of the sizes of its axes; ``reduced``: the axes that it reduces.
        items, stores: its nest's code.
        inputs, outputs: values that it reads and writes; ``copied``: pairs (input of the graph, what is read of it), which it writes copies of behind those.
    """
    name: str
    indices: tuple
    nodes: tuple
    ops: tuple
    symbols: tuple
    reduced: tuple
    items: tuple
    stores: tuple
    inputs: tuple
    outputs: tuple
    copied: tuple


def kernel_of(state, group, needed, copied):
    group.parts.sort(key=lambda p: p.index)
    outputs = [v for p in group.parts for v in p.node.outputs if v in needed]
    names = _Names()
    items, stores, numbers, _ = _code(state, group, outputs, [read for _, read in copied], names)
    values = list(names)
    symbols, inputs = tuple([state.symbols[n] for n in group.sizes]), tuple([values[k] for k in numbers])
    indices = tuple([p.index for p in group.parts])
    nodes = tuple(sorted([*indices, *_views(state, group)]))
    _check_order(state, nodes, inputs)
    name = "+".join(dict.fromkeys([p.node.op.name for p in group.parts]))
    return Kernel(name, indices, nodes, tuple([state.graph.nodes[k].op.name for k in nodes]), symbols, tuple(group.reduced or ()),
                  items, stores, inputs, tuple(outputs), tuple(copied))


def fused_node(state, kernel, sizes, copy, specs):
    """The kernel's node, the sizes of axes being those with its numbers in ``sizes``; ``copy`` maps inputs of the graph to their copies."""
    sizes = tuple([sizes[k] for k in kernel.symbols])
    key = id(kernel.items), id(kernel.stores), *sizes      # the nest holds them
    nest = state.nests.get(key)
    if nest is None:
        nest = state.nests[key] = Nest(sizes, kernel.reduced, kernel.items, kernel.stores)
    outputs = *kernel.outputs, *[copy[v] for v, _ in kernel.copied]
    given, made = [specs[v] for v in kernel.inputs], [specs[v] for v in outputs]
    key = id(nest), *map(id, given), *map(id, made)
    if key not in state.checked:
        check_accesses(nest, given, made)
        state.checked[key] = given, made        # which the key has the ids of
    nodes = state.graph.nodes
    lines = tuple(dict.fromkeys([line for k in kernel.indices if (line := nodes[k].line)]))
    op = FusedOp(kernel.name, functools.partial(_subgraph, state.graph, state.constants, kernel), nest, lines, kernel.ops)
    return Node(op, kernel.inputs, outputs, (), lines[0] if lines else "")


def check_accesses(nest, inputs, outputs):
    """Raise AssertionError unless the nest goes through all of what it loads and stores, and no further."""
    sizes = *nest.sizes, 1      # which the axis -1 has
    accesses = [(inputs, *i.value) for i in nest.items if i.fn == "load"] + [(outputs, s.position, s.dims) for s in nest.stores]
    for arrays, position, dims in accesses:
        shape = tuple([sizes[d] for d in dims])
        assert shape == arrays[position].shape, f"a kernel over {nest.sizes} goes through {shape} of an array of shape {arrays[position].shape}"


class _Names(dict):
    """value -> its number, in the order in which they were asked for."""

    def __missing__(self, value):
        number = self[value] = len(self)
        return number


def _code(state, group, outputs, copied, names):
    """Instructions and stores of the group's nest, the numbers of the values that it reads, and what must live as long: made once for all groups of a form."""
    form = _form(state, group, outputs, copied, names)
    found = _codes.get(form)
    if found is None:
        items, stores, inputs = _instructions(state, group, outputs, copied)
        found = items, stores, tuple([names[v] for v in inputs]), [p.program for p in group.parts]
        _codes[form] = found
    return found


def _form(state, group, outputs, copied, names):
    """All that the code depends on, in numbers of the group's own: the same for every step of an unrolled loop, and for every batch size."""
    specs, literals, form = state.specs, state.literals, [len(group.sizes), group.reduced]
    for p in group.parts:
        node = p.node
        form.append((node.op.name, p.program, specs[node.outputs[0]].dtype, p.outs[0]) if isinstance(p.program, str) else id(p.program))
        form += [p.axes, p.reduced]
        for v, base, dims in p.operands:
            spec = specs[v]
            form.append((None if v in literals else names[v], spec.weak) if spec.weak else (names[base], spec.dtype, dims))
        form.append(tuple([names[v] for v in node.outputs]))
    form += [(names[v], group.home[v]) for v in outputs]
    return *form, tuple([names[v] for v in copied])


def _instructions(state, group, outputs, copied):
    """The instructions and stores of the group's nest, and the values that it reads, in order."""
    body, full = _Body(state), tuple(range(len(group.sizes)))
    for p in group.parts:
        body.where.update(zip(p.node.outputs, body.of_part(p), strict=True))
    stored = [(body.where[v], group.home[v]) for v in outputs] + [(body.operand(v, v, full), full) for v in copied]
    live, renumber = _live(body.items, [item for item, _ in stored])
    stores = tuple([Store(renumber[item], k, dims) for k, (item, dims) in enumerate(stored)])
    return live, stores, body.inputs


class _Body:
    """The nest's instructions, equal ones once; what they read from outside, and where the values of parts are among them."""

    def __init__(self, state):
        self.state, self.items, self.known = state, [], {}
        self.inputs, self.where = [], {}

    def add(self, fn, args, kind, axes, value=None):
        key = (fn, args, kind, axes, type(value), repr(value))
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.items)
            self.items.append(Item(fn, args, kind, axes, value))
        return found

    def operand(self, value, base, dims):
        """The instruction that has an operand; None for a constant number, which stands in its part's program."""
        spec = self.state.specs[value]
        if spec.weak:
            return None if value in self.state.literals else self.add("weak", (), kind_of(spec.dtype), (), self._position(value))
        if base in self.where:
            return self.where[base]
        return self.add("load", (), kind_of(spec.dtype), tuple(sorted({d for d in dims if d >= 0})), (self._position(base), dims))

    def _position(self, value):
        if value not in self.inputs:
            self.inputs.append(value)
        return self.inputs.index(value)

    def of_part(self, p):
        """The instructions that have the part's results."""
        operands = [self.operand(*o) for o in p.operands]
        if p.program == "reduce":
            return [self._reduced(p, *operands)]
        if isinstance(p.program, str):
            axis = p.outs[0][int(p.program.removeprefix("iota "))]
            index = self.add("iota", (), self.items[operands[0]].kind, (axis,), axis)
            return [self.add("equal", (operands[0], index), "b1", self._axes((operands[0], index)))]
        made = []
        for i in p.program.instrs:
            args = tuple([made[a] for a in i.args])
            made.append(operands[i.value] if i.fn == "arg" else self.add(i.fn, args, i.kind, self._axes(args), i.value))
        return [made[r] for r in p.program.results]

    def _reduced(self, p, source):
        kind = kind_of(self.state.specs[p.node.outputs[0]].dtype)
        if self.items[source].kind != kind:
            source = self.add("cast", (source,), kind, self.items[source].axes)
        if not p.reduced:      # over axes of length 1: NumPy's sum begins with 0, so that -0 becomes 0; ``sum_to`` leaves such arrays as they are
            zero = self.add("const", (), kind, (), 0.0) if p.node.op.name == "sum" and kind[0] == "f" else None
            return source if zero is None else self.add("add", (source, zero), kind, self.items[source].axes)
        return self.add(REDUCERS[p.node.op.name], (source,), kind, tuple(a for a in p.axes if a not in p.reduced), p.axes)

    def _axes(self, args):
        """All axes that the operands run over."""
        levels = {self.items[i].axes for i in args}
        return levels.pop() if len(levels) == 1 else tuple(sorted({a for axes in levels for a in axes}))


def _live(items, roots):
    """The items that the roots need, renumbered."""
    used = reached(items, roots)
    renumber = {old: new for new, old in enumerate(sorted(used))}
    return tuple([Item(i.fn, tuple([renumber[a] for a in i.args]), i.kind, i.axes, i.value)
                  for k, i in enumerate(items) if k in used]), renumber


def _views(state, group):
    """Indices of the views that the group looks through."""
    indices, views = {p.index for p in group.parts}, set()
    stack = [v for p in group.parts for v, base, _ in p.operands if v != base]
    while stack:
        v = stack.pop()
        i = state.producer[v]
        if i not in indices and i not in views and v in state.base:
            views.add(i)
            stack += [u for u in state.graph.nodes[i].inputs if u in state.base]
    return tuple(views)


def _subgraph(graph, constants, kernel):
    """The kernel as a graph of its own, views included."""
    inputs, outputs = kernel.inputs, (*kernel.outputs, *[read for _, read in kernel.copied])
    nodes = [graph.nodes[i] for i in kernel.nodes]
    used = {v for n in nodes for v in n.inputs}
    numbers = tuple([(v, constants[v]) for v in sorted(used) if v in constants and v not in inputs])
    values = {*inputs, *used, *[v for n in nodes for v in n.outputs]}
    return Graph(inputs, tuple(nodes), outputs, {v: graph.specs[v] for v in values}, numbers)


def _check_order(state, nodes, inputs):
    """Raise AssertionError unless operands come first: joins keep graph order."""
    known = {*inputs, *state.constants}
    for n in [state.graph.nodes[i] for i in nodes]:
        assert known.issuperset(n.inputs), f"{n.op.name} reads what its group does not have"
        known.update(n.outputs)
