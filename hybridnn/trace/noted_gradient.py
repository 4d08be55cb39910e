"""The gradient through the graph of a finished call as a graph of its own: gradient rules are noted on values without arrays.

It leads from the gradients that arrive from outside, and the values that the tape keeps, to the gradients of the call's leaves.
"""
from dataclasses import dataclass

from hybridnn.config import state
from hybridnn.core.op_node import OpNode
from hybridnn.core.tape import Leaf, Output, TracedNumber
from hybridnn.core.variable import Variable
from hybridnn.core.walk import walk
from hybridnn.errors import raised_by_signal
from hybridnn.graph import Graph, Node, infer_fast
from hybridnn.spec import spec_of
from hybridnn.trace.noting import NeedsValues
from hybridnn.trace.numbers import traced
from hybridnn.trace.operands import NUMBER_TYPES
from hybridnn.trace.segment import Segment

__all__ = ["NotedGradient", "note_gradient"]

SPACE = 1 << 12      # numbers between two nodes, for outputs
_new = object.__new__


@dataclass(eq=False)
class NotedGradient:
    """What computes gradients, and from what.

    Attributes:
        segment: the graph.
        seeds: value -> number of the gradient that arrives there.
        leaves: pairs (vid of a leaf, number of the output that is its gradient).
        copies: numbers of what is computed from again what the tape does not keep.
    """
    segment: Segment
    seeds: dict
    leaves: tuple
    copies: tuple


class _NotedNode(OpNode):
    """An application whose gradient rules are given values without arrays."""
    saved = ()

    def __init__(self, noter, app, seq, edges):
        node = app.node
        self.noter, self.app, self.seq, self.edges = noter, app, seq, edges
        self.program, self.attrs, self.n_outputs = node.op.program(app.mask, len(node.inputs)), dict(node.attrs), len(node.outputs)
        self.specs = [noter.specs[v] for v in node.inputs] if self.program.needs_specs else None
        self.shape, self.dtype = (None, None) if node.op.multi else (noter.specs[node.outputs[0]].shape, noter.specs[node.outputs[0]].dtype)

    def operand(self, position, as_variable):
        return self.noter.value(self.app.node.inputs[self.program.keep[position]])

    def output(self, as_variable):
        found = tuple([self.noter.value(v) for v in self.app.node.outputs])
        return found if self.app.node.op.multi else found[0]

    def gradients(self, g, as_variables):
        self.noter.line = self.app.node.line
        return super().gradients(g, as_variables)


class _Noter:
    """The tracer while gradient rules are noted: operations get numbers for their results, and nothing is computed but numbers."""
    walking = False

    def __init__(self, tape):
        self.path, self.tape = tape.path, tape
        self.specs, self.constants = dict(self.path.specs), dict(self.path.constants)
        self.now, self.ids = {}, {}        # vid -> number or array of integers of the path; id of such an array -> vid
        self.nodes, self.host, self.line, self.outputs = [], [], "", {}
        self.next_vid = 1 + max(self.specs)

    def new(self, spec):
        """A new number for a value."""
        vid, self.next_vid = self.next_vid, self.next_vid + 1
        self.specs[vid] = spec
        return vid

    def value(self, vid):
        """A value of the path as gradient rules take it: a number, or a Variable, which has an array only if that is of integers: rules may take the array
        itself for indices."""
        spec = self.specs[vid]
        if spec.weak:
            return self.constants[vid] if vid in self.constants else traced(self.given(vid), vid, self)
        v = self.variable(vid)
        if spec.dtype.kind in "iu":
            v._array = self.given(vid)
            self.ids[id(v._array)] = vid
        return v

    def given(self, vid):
        """What a number or an array of integers is now."""
        if vid not in self.now:
            self.now[vid] = self.constants[vid] if vid in self.constants else self.tape.value(vid)
        return self.now[vid]

    def variable(self, vid):
        v = _new(Variable)
        v._array, v._pending, v._vid, v._spec, v._requires_grad = None, self, vid, self.specs[vid], False
        return v

    def apply(self, op, inputs, attrs):
        """Note an operation."""
        vids, items = tuple([self._operand(x) for x in inputs]), tuple(attrs.items())
        specs = tuple([self.specs[v] for v in vids])
        outs = [self.variable(self.new(spec)) for spec in infer_fast(op, specs, items)]
        self.nodes.append(Node(op, vids, tuple([v._vid for v in outs]), items, self.line))
        return tuple(outs) if op.multi else outs[0]

    def _operand(self, x):
        if isinstance(x, Variable) and x._pending is self:
            return x._vid
        if isinstance(x, TracedNumber):
            return x.vid
        if type(x) in NUMBER_TYPES:
            return self.constant(x)
        if id(x) in self.ids:
            return self.ids[id(x)]
        raise NeedsValues

    def constant(self, x):
        """The number of a value that is the same whenever the gradient is computed."""
        vid = self.new(spec_of(x))
        self.constants[vid] = x
        return vid

    def derive(self, fn, args):
        """A number that a rule computes from the path's numbers."""
        result = fn(*[x.plain() if isinstance(x, TracedNumber) else x for x in args])
        if type(result) not in (float, int):
            raise NeedsValues
        vid = self.new(spec_of(result))
        self.host.append((vid, fn, tuple([self._operand(x) for x in args])))
        return traced(result, vid, self)

    def expose(self, v):
        """A rule asks for an array."""
        if v._array is None:
            raise NeedsValues

    def _refuse(self, *args):
        """A rule looks at a value, or at what made it."""
        raise NeedsValues

    materialize = assign = read = resolve = give_up = apply_inplace = apply_function = note_function = note_draw = note_warning = _refuse


def note_gradient(tape, roots):
    """The gradient of the leaves from the values ``roots`` of a finished call, or None where it takes values to note it."""
    noter, stored = _Noter(tape), []
    outer, state.tracer = state.tracer, noter
    before, state.backprop = state.backprop, False
    try:
        nodes, markers = _nodes(noter, roots)
        seeds = {vid: noter.new(noter.specs[vid]) for vid in roots}
        grads = {_node_of(noter, nodes, vid): noter.variable(seed) for vid, seed in seeds.items()}
        walk(grads, (), False, True, None, lambda leaf, g, *_: stored.append((markers[leaf], g._vid)))
    except Exception as error:       # what is wrong with the program is wrong again where the walk goes from node to node
        if raised_by_signal(error):
            raise
        return None
    finally:
        state.tracer, state.backprop = outer, before
        noter.outputs.clear()
    segment, copies = _segment(noter, [g for _, g in stored])
    return NotedGradient(segment, seeds, tuple([(vid, segment.outputs.index(g)) for vid, g in stored]), copies)


def _nodes(noter, roots):
    """(position -> node of every application behind ``roots``, marker -> vid for what the call's graph ends with)."""
    tape, made = noter.tape, noter.path.made
    apps, stack = {}, list(roots)
    while stack:
        vid = stack.pop()
        if _ends(tape, vid):
            continue
        app, position = made[vid][:2]
        if position not in apps:
            apps[position] = app
            stack += [v for i, v in enumerate(app.node.inputs) if app.mask >> i & 1]
    nodes, markers, found = {}, {}, {}

    def edge(vid):
        if not _ends(tape, vid):
            return _node_of(noter, nodes, vid)
        if vid not in found:
            spec = noter.specs[vid]
            found[vid] = None if tape.node(vid) is None else Leaf(spec.shape, spec.dtype)
            if found[vid] is not None:
                markers[found[vid]] = vid
        return found[vid]
    for position in sorted(apps):
        app = apps[position]
        nodes[position] = _NotedNode(noter, app, SPACE * (position + 1), [edge(v) if app.mask >> i & 1 else None for i, v in enumerate(app.node.inputs)])
    return nodes, markers


def _ends(tape, vid):
    """Whether the call's graph ends with a value: one from outside, or one whose creator is forgotten or was never noted."""
    return vid in tape.cut or vid in tape.leaves or vid not in tape.made or not tape.made[vid][0].taped


def _node_of(noter, nodes, vid):
    """The node of a value that one of ``nodes`` has computed."""
    app, position, k, spec = noter.path.made[vid]
    owner = nodes[position]
    if not app.node.op.multi:
        return owner
    if vid not in noter.outputs:
        output = noter.outputs[vid] = Output(owner, k, spec.shape, spec.dtype)
        output.seq = owner.seq + 1 + k
    return noter.outputs[vid]


def _segment(noter, wanted):
    """(the segment that computes the gradients ``wanted``, and before that what the tape does not keep; numbers of what the latter is computed from)"""
    before, copies = _again(noter)
    nodes = (*before, *noter.nodes)
    produced = {v for n in nodes for v in n.outputs}
    outputs = tuple(dict.fromkeys(wanted))
    used = dict.fromkeys([*[v for n in nodes for v in n.inputs], *outputs])
    host = tuple(noter.host)
    computed = {vid for vid, _, _ in host}
    constants = {v: noter.constants[v] for v in [*used, *[a for _, _, args in host for a in args]] if v in noter.constants}
    inputs = tuple([v for v in used if v not in produced and v not in constants])
    graph = Graph(inputs, nodes, outputs, {v: noter.specs[v] for v in [*used, *produced, *constants, *computed]}, tuple(constants.items()))
    return Segment(graph, inputs, outputs, host, (), 0), copies


def _again(noter):
    """(nodes that compute what the tape does not keep, numbers of what they take). What they share with the tape has numbers of its own there: it is as it was
    in the call, and the tape's may have been written since."""
    if noter.tape.again is None:
        return (), ()
    graph = noter.tape.again[0]
    noter.constants.update(graph.constants)
    named = dict.fromkeys([*graph.outputs, *[v for v, _ in graph.constants]])
    own = {v: v if v in named else noter.new(graph.specs[v]) for v in graph.specs}
    nodes = [Node(n.op, tuple([own[v] for v in n.inputs]), tuple([own[v] for v in n.outputs]), n.attrs, n.line) for n in graph.nodes]
    return nodes, tuple([own[v] for v in graph.inputs])
