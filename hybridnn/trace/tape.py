"""The tape of a replayed call, made node by node when somebody walks it.

A replay creates no tape. A Variable that outlives the call and needs a gradient gets a ``TracedNode``: it knows its application, and finds its operands'
nodes and the values that the gradient rules named when backward asks. The values were computed by the call itself, so they are what eager would have
kept. After a backward and an update inside the call they are gone, and asking again raises ``ReleasedGraphError``. The node of a user's function is
the function itself, connected when the call ends.
"""
import weakref

from hybridnn.config import state
from hybridnn.core.op_node import OpNode
from hybridnn.core.programs import RELEASED
from hybridnn.core.tape import ROOM, Leaf, Output, next_seq, rank_of
from hybridnn.graph import Graph, run
from hybridnn.trace.compiled_walk import through
from hybridnn.trace.events import FUNCTION
from hybridnn.trace.floats import under
from hybridnn.trace.numbers import traced
from hybridnn.trace.operands import NUMBER_TYPES
from hybridnn.trace.path_tape import PathTape, leaf_nodes, rebinds_along, saved_values, specs_along, values_behind

__all__ = ["CallTape", "Lazy", "TracedNode", "UnchainedLeaf", "graph_of", "output_of"]


class Lazy:
    """An attribute that a function of the object gives when it is first asked for, unless somebody has set it."""

    def __init__(self, fn):
        self.fn = fn

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, owner):
        value = obj.__dict__[self.name] = self.fn(obj)
        return value


class CallTape:
    """What the surviving Variables of a replayed call share: its applications, kept values and leaves. ``gone``: values whose graph has been given up."""

    walked = False      # whether walks are to go from node to node
    linked = False      # whether its nodes hold each other

    def __init__(self, path, values, leaves, cut, gone=frozenset(), again=None):
        self.path, self.made, self.specs, self.leaves, self.cut, self.gone = path, path.made, path.specs, leaves, cut, gone
        self.values, self.again = values, again     # ``again``: (graph, arrays) that compute the values which are not there
        self.base = next_seq()

    @Lazy
    def nodes(self):
        """position -> weak reference, without a callback: an exception that a signal handler raised in one would be lost"""
        return {}

    @Lazy
    def outputs(self):
        """position -> nodes of the outputs of a user's function, while the call hands over"""
        return {}

    @Lazy
    def functions(self):
        """position -> (function, arrays of its inputs, of its outputs) while the call hands over; later its node holds it"""
        return {}

    @classmethod
    def of(cls, call, alive):
        """The tape of a finished replay, or None if no survivor needs one."""
        roots = [v._vid for v in alive if v._requires_grad]
        if not roots:
            return None
        shared = PathTape.of(call)
        made = shared.made
        if not any(v in made and made[v][0].taped for v in roots):
            return None
        gone = shared.behind(call.given_up, call.cut)
        needed = shared.saved_for(roots, call.cut, gone)
        if needed and shared.rebinds and not _compute_unchanged(call, needed, made):
            kept = [v for v in roots if _compute_unchanged(call, saved_values(made, [v], call.cut | gone), made)]
            gone |= shared.behind(roots, call.cut) - values_behind(made, kept, call.cut | gone)
            needed = saved_values(made, kept, call.cut | gone)
        _compute_missing(call, needed)
        return cls._holding(call, shared, needed | _numbers(call, shared.saved_for(roots, call.cut)) if gone else needed, gone)

    @classmethod
    def so_far(cls, call, roots):
        """The tape of the values ``roots`` of a replay that is about to leave its path. What an update has changed is kept as it is now, as eager keeps it;
        nodes that need what is not there any more tell what they are, but nobody goes back through them."""
        path = PathTape(call.path[:call.executed], call.owner)
        path.specs, path.rebinds = specs_along(call.path), rebinds_along(call.path)
        made = path.made
        needed = saved_values(made, roots, call.cut)
        if not _compute_unchanged(call, needed, made):
            roots = {v for v in roots if _compute_unchanged(call, saved_values(made, [v], call.cut), made)}
            needed = saved_values(made, roots, call.cut) | _numbers(call, needed)
        tape = LeftTape._holding(call, path, needed)
        tape.call = weakref.ref(call)
        for vid, kept in tape.values.items():       # what gradient rules get; a view is not the array that was computed for it
            if vid in call.values:
                call.know(call.values[vid], vid)
            call.recognize(kept, vid)
        return tape

    @classmethod
    def _holding(cls, call, path, needed, gone=frozenset()):
        known = call.values
        values = {v: known[v] for v in needed if v in known}
        for v in needed.intersection(call.snapshots):
            values[v] = call.actual(v)
        for v in needed.intersection(call.view_of):
            if call.origin(v) in known:
                values[v] = call.actual(v)
        for v in needed & call.updated.keys():        # eager keeps the array, and so sees later updates
            values[v] = call.actual(call.introduced().oldest(v))
        tape = cls(path, values, leaf_nodes(call, path.rebinds), call.cut, gone)
        tape.functions = {path.made[e.outs[0].vid][1]: applied for e, applied in call.functions.items() if e.outs}
        return tape

    def through(self, node, g, grads, heap):
        """See ``compiled_walk.through``."""
        return through(self, node, g, grads, heap)

    def value(self, vid):
        """A value that the tape keeps, of which it keeps what it is a view of, or that it computes again when it is first asked for."""
        again = self.again
        if vid not in self.values and vid in self.path.views:
            base, app, k = self.path.views[vid]
            y = app.node.op.run([self.value(base)], dict(app.node.attrs))
            return y[k] if app.node.op.multi else y
        if vid not in self.values and again is not None:
            graph, arrays = again
            results = under({"all": "ignore"}, run, graph, arrays)     # the call has warned
            self.values.update(zip(graph.outputs, results, strict=True))
            self.again = None       # last: another thread may walk the same graph
        return self.values[vid]

    def number(self, vid):
        """A number that an operation's label tells; None for an array."""
        x = self.values.get(vid, self.path.constants.get(vid))
        return x if type(x) in NUMBER_TYPES else None

    def connect(self, roots):
        """Make every node behind ``roots`` now, so that each holds the next: the functions among them are kept alive by nobody else."""
        _visit(roots)
        self.functions, self.outputs = {}, {}

    def link(self):
        """The creator of one of the nodes is about to be forgotten: all that are behind those that somebody has are made now, so that none is made anew."""
        if not self.linked:
            self.linked = True
            _visit([node for ref in list(self.nodes.values()) if (node := ref()) is not None])

    def node(self, vid):
        """The node of a value; None if no gradient flows there."""
        if vid in self.cut:
            return self._leaf(vid)
        if vid in self.leaves or vid not in self.made:
            return self.leaves.get(vid)
        app, position, k, spec = self.made[vid]
        if not app.taped:           # computed where no graph was kept: a leaf, if gradients are to come
            return self._leaf(vid)
        owner = self._known(position)
        if owner is None:
            owner = self._function(app, position) if app.node.op is FUNCTION else self._traced(app, position, spec)
            self.nodes[position] = weakref.ref(owner)
        if app.node.op is FUNCTION:
            return self.outputs[position][k]
        if not app.node.op.multi:
            return owner
        output = self._known((position, k))
        if output is None:
            output = output_of(owner, k, spec.shape, spec.dtype)
            self.nodes[position, k] = weakref.ref(output)
        return output

    def _traced(self, app, position, spec):
        node = TracedNode(self, app, position, spec)
        found, inner = node.__dict__, app.node      # what every walk asks for, at once
        found["seq"], found["program"], found["plain"] = self.base + ROOM * (position + 1), inner.op.program(app.mask, len(inner.inputs)), not self.is_gone(app)
        if not inner.op.multi:
            found["shape"], found["dtype"] = spec.shape, spec.dtype
        return node

    def leads_back(self, vids):
        """Whether nothing in the graphs of these values has been given up."""
        return not self.gone or self.gone.isdisjoint(self.path.behind(vids, self.cut))

    def is_gone(self, app):
        """Whether an application belongs to a graph that has been given up."""
        return app.node.outputs[0] in self.gone

    def _known(self, key):
        ref = self.nodes.get(key)
        return None if ref is None else ref()

    def _function(self, app, position):
        """A user's function, connected to its inputs' nodes."""
        function, arrays, outputs = self.functions[position]
        nodes = [self.node(v) or self._plain_leaf(v) for v in app.node.inputs]
        function._connect(nodes, [bool(app.mask >> i & 1) for i in range(len(nodes))], arrays, outputs)
        function.seq = self.base + ROOM * (position + 1)
        self.outputs[position] = [output_of(function, k, y.shape, y.dtype) for k, y in enumerate(outputs)]
        function._take_outputs(self.outputs[position])
        return function

    def _plain_leaf(self, vid):
        """The node of a function's input that needs no gradient."""
        return Leaf(self.specs[vid].shape, self.specs[vid].dtype)

    def _leaf(self, vid):
        """The node of a value whose creator was forgotten, or never noted."""
        leaf = self._known(("cut", vid))
        if leaf is None:
            spec = self.specs[vid]
            leaf = UnchainedLeaf(self.path, vid, spec, self.leaves) if vid in self.path.unchained else Leaf(spec.shape, spec.dtype)
            self.nodes["cut", vid] = weakref.ref(leaf)
        return leaf


class UnchainedLeaf(Leaf):
    """A value that keeps its rank, as one does that ``unchain`` has made a leaf; counted when somebody asks."""

    def __init__(self, path, vid, spec, leaves):
        super().__init__(spec.shape, spec.dtype)
        self.path, self.vid = path, vid
        self.below = {v: rank for v, n in leaves.items() if (rank := n.first_rank if n.is_leaf else rank_of(n))}

    @Lazy
    def first_rank(self):
        ranks = dict(self.below)
        for vid, (app, *_) in self.path.made.items():
            if app.taped:
                ranks[vid] = 1 + max([ranks.get(v, 0) for i, v in enumerate(app.node.inputs) if app.mask >> i & 1], default=0)
        return ranks.get(self.vid, 0)


def _visit(roots):
    """Make every node behind ``roots``."""
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if node is not None and node not in seen and not node.is_leaf:
            seen.add(node)
            stack += node.edges


class LeftTape(CallTape):
    """The tape of a call that has left its path, and records."""

    def has(self, vid):
        """Whether the tape keeps a value, or what it is a view of."""
        while vid not in self.values and vid in self.path.views:
            vid = self.path.views[vid][0]
        return vid in self.values

    def leads_back(self, vids):
        """Whether all that the graphs of these values keep is still there."""
        return all(map(self.has, saved_values(self.made, vids, self.cut)))

    def _traced(self, app, position, spec):
        return LeftNode(self, app, position, spec)


def output_of(owner, k, shape, dtype):
    """The node of output ``k``, whose turn comes between its owner and what takes it."""
    node = Output(owner, k, shape, dtype)
    node.seq = owner.seq + 1 + k
    return node


class TracedNode(OpNode):
    """An application of a replayed call; its saved values and inputs are looked up in the call's tape when somebody walks the graph."""

    def __init_subclass__(cls):
        cls.__name__ = OpNode.__name__

    def __init__(self, tape, app, position, spec):
        self.tape, self.app, self.position, self.spec = tape, app, position, spec

    @Lazy
    def seq(self):
        return self.tape.base + ROOM * (self.position + 1)

    @Lazy
    def program(self):
        node = self.app.node
        return node.op.program(self.app.mask, len(node.inputs))

    @Lazy
    def attrs(self):
        return dict(self.app.node.attrs)

    @Lazy
    def n_outputs(self):
        return len(self.app.node.outputs)

    @Lazy
    def specs(self):
        return [self.tape.specs[v] for v in self.app.node.inputs] if self.program.needs_specs else None

    @Lazy
    def shape(self):
        return None if self.app.node.op.multi else self.spec.shape

    @Lazy
    def dtype(self):
        return None if self.app.node.op.multi else self.spec.dtype

    @Lazy
    def saved(self):
        if self.tape.is_gone(self.app):
            return RELEASED
        return [self.tape.value(self.app.node.inputs[i]) for i in self.program.keep]

    @Lazy
    def out(self):
        return None if self.tape.is_gone(self.app) else self._kept_output()

    def _kept_output(self):
        if not self.program.keep_output:
            return None
        outs = tuple([self.tape.value(v) for v in self.app.node.outputs])
        return outs if self.app.node.op.multi else outs[0]

    def kept_inputs(self):
        if self.saved is not RELEASED:
            return super().kept_inputs()
        return tuple([self.tape.number(v) if i in self.program.keep else None for i, v in enumerate(self.app.node.inputs)])

    @Lazy
    def edges(self):
        return [self.tape.node(v) if self.app.mask >> i & 1 else None for i, v in enumerate(self.app.node.inputs)]


TracedNode.__name__ = OpNode.__name__        # users see type(y.creator).__name__, which no trace changes


class LeftNode(TracedNode):
    """An application from before its call left the path: gradient rules that are recorded are followed through the numbers of the path. What it saved may
    be gone."""

    @Lazy
    def saved(self):
        node, kept = self.app.node, self.program.keep
        named = [*[node.inputs[i] for i in kept], *(node.outputs if self.program.keep_output else ())]
        return [self.tape.value(node.inputs[i]) for i in kept] if all(map(self.tape.has, named)) else RELEASED

    @Lazy
    def out(self):
        return None if self.saved is RELEASED else self._kept_output()

    def operand(self, position, as_variable):
        x, call = super().operand(position, as_variable), self.tape.call()
        if as_variable and type(x) in (float, int) and call is not None and state.tracer is call and call.mode == "record":
            vid = self.app.node.inputs[self.program.keep[position]]
            return x if vid in self.tape.path.constants else traced(x, vid, call)
        return x


def _numbers(call, values):
    """Those that are numbers, which labels tell."""
    return {v for v in values if type(call.values.get(v)) in NUMBER_TYPES}


def _compute_missing(call, needed):
    """Values that no segment handed out are computed again from what the call still holds."""
    missing = needed.difference(call.values)
    if missing:
        _compute(call, list(missing), tuple(app.node for e in call.path if not e.rebinds for app in e.apps))


def _compute_unchanged(call, needed, made):
    """As ``_compute_missing``, with no more than it takes; False where that takes an array which has been changed in place since."""
    changed = {old for e in call.path[:call.executed] for old, _ in e.rebinds}
    outside = call.leaves.keys() | call.updated.keys()
    if any(v in changed and v not in outside for v in map(call.origin, needed)):      # eager keeps the array, and so sees the change
        return False
    seen = {v for v in needed if v in call.view_of and call.origin(v) in changed & call.leaves.keys()}      # they show what an array from outside is now
    missing = {v for v in needed if v not in call.values and v not in seen}
    stack, apps = list(missing), {}
    while stack:
        vid = stack.pop()
        if vid in call.values and vid not in missing:
            if vid in changed or call.origin(vid) in changed:
                return False
        elif vid not in made or made[vid][0].node.op is FUNCTION:
            return False
        elif made[vid][1] not in apps:
            apps[made[vid][1]] = made[vid][0].node
            stack += made[vid][0].node.inputs
    if missing:
        _compute(call, list(missing), tuple([apps[i] for i in sorted(apps)]))
    return True


def _compute(call, missing, nodes):
    graph = graph_of(nodes, call.path, missing)
    call.values.update(zip(graph.outputs, run(graph, [call.values[v] for v in graph.inputs]), strict=True))


def graph_of(nodes, path, wanted):
    """Those of a path's ``nodes`` that compute the values ``wanted``, as a graph."""
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    produced = {v for n in kept for v in n.outputs}
    constants = {v: c for e in path for v, c in e.constants if v in needed}
    specs = specs_along(path)
    inputs = tuple(sorted(needed - produced - constants.keys()))
    return Graph(inputs, tuple(kept[::-1]), tuple(sorted(wanted)), {v: specs[v] for v in [*inputs, *constants, *produced]}, tuple(constants.items()))
