"""What a node is to fusion, alone: the loops it runs over, what it reads there and in which axes, its scalar code.

Views (broadcasting, new axes of size 1, transposition) are looked through: a kernel reads their base with other strides.
"""
import functools
import itertools
from collections import defaultdict
from dataclasses import dataclass

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.known import Known
from hybridnn.jit.scalar import Unfusable, kind_of, trace_body
from hybridnn.jit.support import check_supported

__all__ = ["REDUCERS", "Part", "State", "by_size", "find_parts", "is_quiet", "may_be_a_size", "part_of", "resolve_views"]

_count, _numbers = itertools.count(), Known(4096)      # what forms are but for sizes -> their number, and what that names
MOST = 2**53      # whole numbers are exact up to here
LOOPS = "elementwise", "elementwise_iota"      # kinds of operations that fuse
_QUIET = """
arg const cast add subtract multiply divide negative positive square reciprocal sqrt absolute signbit copysign isnan equal not_equal where
logical_and logical_or logical_not logical_xor
"""
QUIET = frozenset(_QUIET.split())      # what CPUs compute of NaN without saying that they are invalid
REDUCERS = {"sum": "sum", "sum_to": "sum", "amax": "max", "amin": "min"}


@dataclass(eq=False)
class Part:
    """A fusable node with its accesses in axes of its group: ``operands`` are triples (value, base, dims of the base)."""
    index: int
    node: Node
    operands: list
    outs: list            # per output: axis per dimension
    axes: tuple           # all axes of its loops
    reduced: tuple        # those it reduces
    program: object       # of elements; else "reduce", or "iota" and the dimension of the output that it counts along


class State:
    """What the pass knows of the graph."""

    def __init__(self, graph):
        self.graph, self.specs = graph, graph.specs
        self.producer = {v: i for i, n in enumerate(graph.nodes) for v in n.outputs}
        self.constants = dict(graph.constants)
        self.written = frozenset([v for _, v in graph.writes])
        self.literals = _literals(graph)
        self.base = {}
        self.groups = {}      # node index -> Group
        self.begun = 0        # groups of the stretch of the graph that is being grown
        self.full = 0         # how often nodes, or groups, could not join because a kernel has no room for them
        self.turns = []       # node index -> the number of the turns of a loop that it lies in, or -1
        self.below = [[] for _ in graph.nodes]      # node index -> indices of the nodes that read it
        self.reasons = {}
        self.forms = {}       # of nodes alike: their ``Form``
        self.found = []       # the Form of each node
        self.symbols = {}     # size of an axis -> its number, in the order in which they are met
        self.nests = {}       # code and sizes of a group -> its nest
        self.checked = {}     # ids of nests, and of the specs of operands that they go through as they should
        self.weights = _Weights(graph.specs)
        self.compared = []    # what was decided by sizes: arguments of ``sink.pays``, and what that gave

    @functools.cached_property
    def readers(self):
        """Value -> indices of the nodes that read it, be it through views."""
        found = defaultdict(list)
        for i, node in enumerate(self.graph.nodes):
            if not node.outputs or node.outputs[0] not in self.base:
                for v in node.inputs:
                    found[self.base[v][0] if v in self.base else v].append(i)
        return found


class _Weights(dict):
    """Value -> its bytes, negative: what is larger comes first."""

    def __init__(self, specs):
        super().__init__()
        self.specs, self.known = specs, {}      # the same by ids of specs, which the graph holds

    def __missing__(self, value):
        spec = self.specs[value]
        found = self.known.get(id(spec))
        if found is None:
            found = self.known[id(spec)] = -spec.nbytes
        self[value] = found
        return found


def _literals(graph):
    """The constant numbers that stand in the text of kernels. Those that may be sizes, or factors made of sizes, are given at run time, so that another
    batch size needs no other kernel; but powers are written by their exponents."""
    exponents = {n.inputs[1] for n in graph.nodes if n.op is OPS["pow"]}
    return {v: c for v, c in graph.constants if v in exponents or not (graph.specs[v].weak and may_be_a_size(c))}


def may_be_a_size(number):
    """Whether a number of Python's is a whole number from 3 on or one over such, with either sign."""
    n = abs(number)
    if not 1 / MOST < n < MOST:
        return False
    whole = round(n if n >= 1 else 1 / n)
    return whole >= 3 and n in (whole, 1 / whole)


def resolve_views(state):
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


@dataclass(eq=False, slots=True)
class Form:
    """What nodes alike have in common: ``part`` is that of one of them (None, for a ``reason``, where they are not fusable), ``sizes`` are those of its
    axes, ``symbols`` their numbers; ``number`` says all but sizes, the same in every graph."""
    part: Part | None
    sizes: tuple
    symbols: tuple
    number: int
    reason: str = ""


def find_parts(state):
    """Finds the forms of all nodes; returns all that fusion decides by but for ``state.compared``: of sizes, which axes are as long as which, and which of a
    node's operands are larger."""
    graph, facts, base, based, likeness = state.graph, [], state.base, state.base.keys(), _Likenesses(state)
    for index, node in enumerate(graph.nodes):
        inputs, outputs = node.inputs, node.outputs
        attrs = node.attrs if node.op.kind in LOOPS or node.op.name in REDUCERS else ()      # others do not fuse, whatever they are
        key = node.op, attrs, tuple([likeness[v] for v in outputs]), tuple([likeness[v] for v in inputs])
        form = state.forms.get(key)
        if form is None:
            form = state.forms[key] = _form(state, index, node)
        state.found.append(form)
        bases = inputs if based.isdisjoint(inputs) else tuple([base[v][0] if v in base else v for v in inputs])
        order = _order(state, bases) if form.part is not None and len(bases) > 1 else 0
        facts.append((form.number, form.symbols, inputs, outputs, bases, order, bool(outputs) and outputs[0] in base))
    return tuple(facts), graph.inputs, graph.outputs, graph.writes


def _order(state, bases):
    """What the order of ``by_size`` depends on beside numbers of values."""
    if len(bases) > 2:
        return by_size(state, bases)
    (a, b), weights, producer = bases, state.weights, state.producer
    if a not in producer or b not in producer:
        return 0
    return (weights[a] > weights[b]) - (weights[a] < weights[b])


def by_size(state, bases):
    """Those of the values that nodes make, the largest first, of equal ones the latest: a sum over steps joins what its own step adds."""
    producer, weights = state.producer, state.weights
    made = {b for b in bases if b in producer}
    return tuple(sorted(made, key=lambda b: (weights[b], -producer[b], b)) if len(made) > 1 else made)


def is_quiet(part):
    """Whether CPUs compute a part of NaN without saying that they are invalid."""
    if isinstance(part.program, str):
        return REDUCERS.get(part.node.op.name) == "sum"
    return all([i.fn in QUIET for i in part.program.instrs])


def part_of(state, index):
    """The Part of a fusable node."""
    node, form = state.graph.nodes[index], state.found[index]
    operands = [(v, state.base[v][0] if v in state.base else v, dims) for v, (_, _, dims) in zip(node.inputs, form.part.operands, strict=True)]
    return Part(index, node, operands, form.part.outs, form.part.axes, form.part.reduced, form.part.program)


class _Likenesses(dict):
    """Value -> the number of all that a part's form depends on of it."""

    def __init__(self, state):
        super().__init__()
        self.state, self.numbers, self.known = state, {}, {}      # likeness -> number; the same by ids of specs, which the graph holds

    def __missing__(self, value):
        spec, numbers = self.state.specs[value], self.numbers
        if spec.weak or value in self.state.base:
            found = numbers.setdefault(_likeness(self.state, value), len(numbers))
        else:
            found = self.known.get(id(spec))
            if found is None:
                found = self.known[id(spec)] = numbers.setdefault(spec, len(numbers))
        self[value] = found
        return found


def _likeness(state, v):
    """All that a part's form depends on of an operand or a result."""
    spec = state.specs[v]
    if spec.weak:
        return _operand_key(state, v)
    base = state.base.get(v)
    return spec if base is None else (spec, base[1], state.specs[base[0]].shape)


def _form(state, index, node):
    specs = [state.specs[v] for v in (*node.inputs, *node.outputs)]
    kinds = node.op.name, node.op.kind, OPS.get(node.op.name) is node.op, tuple([(s.dtype, s.weak) for s in specs])
    try:
        part, sizes = _part(state, index, node)
    except Unfusable as error:
        return Form(None, (), (), _number((*kinds, str(error)), None), str(error))
    symbols = tuple([state.symbols.setdefault(n, len(state.symbols)) for n in sizes])
    program = part.program if isinstance(part.program, str) else id(part.program)
    dims = tuple([(dims, state.specs[b].dtype) for _, b, dims in part.operands])
    return Form(part, sizes, symbols, _number((*kinds, dims, tuple(part.outs), part.axes, part.reduced, program), part.program))


def _number(content, held):
    """The number of what a form is but for sizes; ``held`` lives as long, since the content may have its id."""
    found = _numbers.get(content)
    if found is None:
        found = _numbers[content] = next(_count), held
    return found[0]


def _part(state, index, node):
    """The node's part, and the sizes of its axes; raises Unfusable with the reason."""
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


@functools.lru_cache(4096)
def _axes_of(shape):
    sizes = tuple([n for n in shape if n != 1])
    it = iter(range(len(sizes)))
    return tuple([-1 if n == 1 else next(it) for n in shape]), sizes


def _elementwise_operand(state, v, dims):
    spec = state.specs[v]
    if spec.weak:
        return v, v, ()
    own = tuple([-1 if n == 1 else d for n, d in zip(spec.shape, dims[len(dims) - len(spec.shape):])])
    return (v, *_access(state, v, own)) if v in state.base else (v, v, own)


def _operand_key(state, v):
    spec = state.specs[v]
    if spec.weak:
        return ("const", spec.weak, repr(state.literals[v])) if v in state.literals else spec.weak
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
    axis = dict(node.attrs).get("axis", -1) % len(dims)
    if dims[axis] == -1:
        raise Unfusable("one class")
    operand = _elementwise_operand(state, node.inputs[0], (*dims[:axis], *dims[axis + 1:]))
    kind_of(state.specs[node.inputs[0]].dtype)
    return Part(index, node, [operand], [dims], tuple(range(len(sizes))), (), f"iota {axis}"), sizes


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
