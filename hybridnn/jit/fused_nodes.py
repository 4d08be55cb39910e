"""Writing a group as one node, whose op is a ``FusedOp``."""
from hybridnn.graph import Graph, Node
from hybridnn.jit.known import Known
from hybridnn.jit.nest import FusedOp, Item, Nest, Store
from hybridnn.jit.parts import REDUCERS
from hybridnn.jit.scalar import kind_of

__all__ = ["fused_node"]

_codes = Known(2048)      # form of a group -> what ``_code`` gives


def fused_node(state, group, needed, copies):
    """The node in place of the group; ``copies`` of inputs that it is to write are among its outputs."""
    group.parts.sort(key=lambda p: p.index)
    outputs = [v for p in group.parts for v in p.node.outputs if v in needed]
    copied = [(c.read, c.copy) for c in copies if c.group is group]
    names = _Names()
    items, stores, numbers, _ = _code(state, group, outputs, copied, names)
    key = id(items), id(stores), *group.sizes      # the nest holds them
    nest = state.nests.get(key)
    if nest is None:
        nest = state.nests[key] = Nest(tuple(group.sizes), tuple(group.reduced or ()), items, stores)
    values = list(names)
    inputs = [values[k] for k in numbers]
    sub = _subgraph(state, group, inputs, [*outputs, *[v for v, _ in copied]])
    lines = tuple(dict.fromkeys([p.node.line for p in group.parts if p.node.line]))
    op = FusedOp("+".join(dict.fromkeys([p.node.op.name for p in group.parts])), sub, nest, lines)
    return Node(op, tuple(inputs), (*outputs, *[copy for _, copy in copied]), (), lines[0] if lines else "")


class _Names(dict):
    """value -> its number, in the order in which they were asked for."""

    def __missing__(self, value):
        number = self[value] = len(self)
        return number


def _code(state, group, outputs, copied, names):
    """Instructions and stores of the group's nest, the numbers of the values that it reads, and what must live as long: made once for all groups of a form."""
    form = _form(state, group, outputs, [v for v, _ in copied], names)
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
        form.append((node.op.name, specs[node.outputs[0]].dtype, p.outs[0]) if isinstance(p.program, str) else id(p.program))
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
    stored = [(body.where[v], group.home[v]) for v in outputs] + [(body.operand(v, v, full), full) for v, _ in copied]
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
        if p.program == "iota":
            axis = p.outs[0][-1]
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
        if not p.reduced:
            return source
        return self.add(REDUCERS[p.node.op.name], (source,), kind, tuple(a for a in p.axes if a not in p.reduced), p.axes)

    def _axes(self, args):
        """All axes that the operands run over."""
        levels = {self.items[i].axes for i in args}
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
    constants = tuple([(v, state.constants[v]) for v in sorted(used) if v in state.constants and v not in inputs])
    values = set(inputs) | {v for n in nodes for v in (*n.inputs, *n.outputs)}
    nodes = _sorted_nodes(nodes, set(inputs) | {v for v, _ in constants})
    return Graph(tuple(inputs), tuple(nodes), tuple(outputs), {v: state.specs[v] for v in values}, constants)


def _sorted_nodes(nodes, known):
    """Nodes in an order in which operands come first (joins keep graph order, so this only checks)."""
    for n in nodes:
        assert all(v in known for v in n.inputs), f"{n.op.name} reads what its group does not have"
        known.update(n.outputs)
    return nodes
