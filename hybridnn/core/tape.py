"""The tape: nodes of values, numbered in the order in which they were made.

A ``Leaf`` stands for a value that nobody computed, an ``Output`` for one of several that a node has. What computed a value is an ``OpNode``
(op_node.py) or a user's ``FunctionNode`` (function_node.py). Gradients live on nodes, so a Variable may die before backward reaches it.
"""
import itertools
import weakref

__all__ = ["RELEASED_TEXT", "ROOM", "Leaf", "Output", "TapeNode", "TracedNumber", "Untaped", "connect_outputs", "make_leaf", "move_gradient",
           "next_seq", "node_of", "note_giver", "rank_of", "scaled", "seeded_values"]

ROOM = 1 << 24      # the nodes of a traced call get numbers between two of the sequence, and their outputs numbers between theirs
next_seq = itertools.count(ROOM * ROOM, ROOM * ROOM).__next__
seeded_values = [False]      # whether the gradient of a value that may be one of several of its operation was ever set
scaled = [False]      # whether any gradient of this process has been scaled, so that a node may say so
RELEASED_TEXT = ("the graph of this value belonged to a traced call that ran backward through it, updated arrays in place and released it\n"
                 "  hint: walk a graph again before the update, inside the traced function; or update outside of it")


class TapeNode:
    """A value in the graph of the computation: who made it (``edges``), and its gradient once known (array, Variable or None)."""
    edges = ()
    grad = None
    shape = dtype = None
    owner = None          # an ``Output``'s node; None otherwise
    name = None           # of the Variable
    function = None       # the old-style ``Function`` that a node stands for
    is_leaf = False
    loss_scale = None
    retained = None       # weak reference to the array, if a user's function retains it
    closed: str | None = None         # why nobody can go back through the node, if so
    giver = None          # weak reference to the Variable through which the gradient was set, where neighbours may have to know
    seeded = None         # of a node with several outputs: those whose gradient was set, as weak references by number
    wanted = True         # whether the value's gradient is asked for, where somebody changes his mind after the application
    tape = None           # of an operation in a finished call that was traced: what it shares with the others, which may go through all of them at once
    plain = False         # an operation's, whose gradients of plain arrays come from its program and what it saved
    first_rank = 0        # of a leaf: what its rank was before its creator was forgotten
    _view = None          # weak reference to the VariableNode that users hold
    _is_op = False        # whether an operation computed the value, not a user's function

    @property
    def creator(self):
        """The node that computed this value, or None for a leaf."""
        return self

    def _forget_creator(self):
        """Be a leaf from now on."""
        tape = self.tape if self.owner is None else self.owner.tape
        if tape is not None:
            tape.link()
        self.is_leaf, self.edges = True, ()


class Leaf(TapeNode):
    """A value that no recorded operation made. It comes before all that rests on it, whenever it gets its node: a traced call makes its graph later."""

    def __init__(self, shape, dtype):
        self.seq, self.shape, self.dtype, self.is_leaf, self.grad = -next_seq(), shape, dtype, True, None

    creator = None


class Output(TapeNode):
    """Output number ``index`` of a node with several outputs; a leaf too once the node's creators are forgotten."""
    _cut = False

    def __init__(self, owner, index, shape, dtype):
        self.seq, self.owner, self.index, self.shape, self.dtype = next_seq(), owner, index, shape, dtype
        self.edges = (owner,)

    @property
    def is_leaf(self):
        return self._cut or self.owner.is_leaf

    @is_leaf.setter
    def is_leaf(self, value):
        self._cut = value

    @property
    def creator(self):
        return None if self.is_leaf else self.owner


class Untaped(dict):
    """What an application tells that is on no tape, as no gradient goes through it: names to Variables or arrays."""

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(f"an operation through which no gradient goes does not keep {name!r}")
        return getattr(self[name], "array", self[name])


class TracedNumber:
    """Base of the numbers that a tracer puts on the tape in place of scalar operands, to follow them through gradient rules."""

    def plain(self):
        """The Python number."""
        raise NotImplementedError

    def mapped(self, fn):
        """``fn`` of the number, a float or an int, which the tracer follows."""
        raise NotImplementedError


def make_leaf(x):
    """Give a Variable that has no node yet a leaf's."""
    leaf = Leaf(x.shape, x.dtype)
    if x._name is not None:
        leaf.name = x._name
    x._tape = leaf
    return leaf


def node_of(x):
    """The node of a Variable that is used; if it is of a traced call that another thread is in, that call makes its graph first."""
    if x._tape is None and x._pending is not None:
        x._pending.connect()
    return x._tape or make_leaf(x)


def connect_outputs(node, variables):
    """Give each Variable an ``Output`` of ``node``. (No list of them on the node: that would be a cycle that only the collector frees.)"""
    node.n_outputs = len(variables)
    for i, v in enumerate(variables):
        a = v._array
        v._tape = Output(node, i, v.shape, v.dtype) if a is not None or v._pending is not None else Output(node, i, None, None)


def note_giver(node, giver):
    """The gradient of ``node`` was set through a Variable (a weak reference): backward from a neighbour uses it as long as that one lives."""
    node.giver = giver
    seeded_values[0] = True
    if node.owner is not None:
        if node.owner.seeded is None:
            node.owner.seeded = {}
        node.owner.seeded[node.index] = weakref.ref(node)


def move_gradient(node, other):
    """``other`` takes the place of ``node``, which stood for the same value."""
    other.grad, other.loss_scale = node.grad, node.loss_scale
    if node.giver is not None:
        note_giver(other, node.giver)


def rank_of(node):
    """A value's rank: the number of applications on the longest path from a leaf to it."""
    ranks, stack = {}, [node]
    while stack:
        n = stack[-1]
        if n in ranks:
            stack.pop()
            continue
        parents = [] if n.is_leaf else [p for p in n.edges if p is not None]
        todo = [p for p in parents if p not in ranks]
        if todo:
            stack += todo
            continue
        stack.pop()
        through = 0 if n.is_leaf or isinstance(n, Output) else 1
        fixed = getattr(n, "_fixed_rank", None)
        ranks[n] = (max((ranks[p] for p in parents), default=n.first_rank) if fixed is None else fixed) + through
    return ranks[node]
