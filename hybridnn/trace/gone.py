"""Graphs that a call has used and given up, as a step that updates its parameters does: what they tell is made when somebody asks, which is seldom.

Nobody goes back through them (``ReleasedGraphError``), but ranks, labels, creators and their inputs are those of the graph.
"""
import weakref

from hybridnn.core.tape import RELEASED_TEXT, ROOM, Output, TapeNode, next_seq, rank_of
from hybridnn.core.variable_node import view_of
from hybridnn.errors import ReleasedGraphError
from hybridnn.trace.tape import CallTape, Lazy, TracedNode, output_of

__all__ = ["GoneNode", "GoneOutput", "GoneTape"]


class GoneTape(CallTape):
    """The tape of a call that has used and given up its graph: made with every such call, so that all it can tell waits until somebody asks.

    ``known`` is what all calls of a plan share: (path's tape, values cut off, which values are leaves, what computed ``first``, which are numbers); ``given``
    are the leaves' nodes and the numbers, ``first`` weak references to the nodes of several results.
    """
    again, first = None, ()

    def __init__(self, known, given, base=None):
        self.known, self.given, self.base = known, given, next_seq() if base is None else base

    def leads_back(self, vids):
        """False."""
        return False

    def is_gone(self, app):
        """True."""
        return True

    path = Lazy(lambda self: self.known[0])
    made = Lazy(lambda self: self.path.made)
    specs = Lazy(lambda self: self.path.specs)
    cut = Lazy(lambda self: self.known[1])
    leaves = Lazy(lambda self: dict(zip(self.known[2], self.given, strict=False)))
    values = Lazy(lambda self: dict(zip(self.known[4], self.given[len(self.known[2]):], strict=True)))

    @Lazy
    def nodes(self):
        """The nodes of several results are known from the beginning."""
        found = {}
        for (app, position, k, _), ref in zip(self.known[3], self.first, strict=False):
            found[(position, k) if app.node.op.multi else position] = ref
            node = ref()
            if app.node.op.multi and node is not None:
                found[position] = weakref.ref(node.owner)
        return found

    def _function(self, app, position):
        inputs = [self.node(v) or self._plain_leaf(v) for v in app.node.inputs]
        kind = type(self.path.function_types[position].__name__, (GoneFunction,), {})
        function = kind(inputs, len(app.node.outputs), self.base + ROOM * (position + 1))
        self.outputs[position] = [output_of(function, k, self.specs[v].shape, self.specs[v].dtype) for k, v in enumerate(app.node.outputs)]
        return function


class GoneFunction(TapeNode):
    """A user's function in a graph that has been given up. Its class has the name of the user's."""

    def __init__(self, edges, n_outputs, seq):
        self.edges, self.n_outputs, self.seq = edges, n_outputs, seq

    label = property(lambda self: type(self).__name__)
    rank = property(lambda self: rank_of(self) - 1)
    inputs = property(lambda self: tuple([view_of(x) for x in self.edges]))
    outputs = ()

    def gradients(self, g, as_variables):
        """Raises ``ReleasedGraphError``."""
        raise ReleasedGraphError(RELEASED_TEXT)


class GoneNode(TracedNode):
    """The node of a call's only result, whose graph has been given up; the rest is made when somebody asks."""

    def __init__(self, known, given):
        self.known, self.given, self.base = known, given, next_seq()

    tape = Lazy(lambda self: GoneTape(self.known, self.given, self.base))
    app = Lazy(lambda self: self.known[3][0][0])
    position = Lazy(lambda self: self.known[3][0][1])
    spec = Lazy(lambda self: self.known[3][0][3])


class GoneOutput(Output):
    """As a ``GoneNode``, where an operation with several outputs made the result."""
    __init__ = GoneNode.__init__

    @Lazy
    def owner(self):
        app, position, _, spec = self.known[3][0]
        return TracedNode(GoneTape(self.known, self.given, self.base), app, position, spec)

    index = Lazy(lambda self: self.known[3][0][2])
    shape = Lazy(lambda self: self.known[3][0][3].shape)
    dtype = Lazy(lambda self: self.known[3][0][3].dtype)
    edges = Lazy(lambda self: (self.owner,))
    seq = Lazy(lambda self: self.owner.seq + 1 + self.index)
