"""``VariableNode``: a value's node on the tape, as Chainer shows it."""
import weakref

from hybridnn.backend import is_array
from hybridnn.core import variable as core_variable
from hybridnn.core.labels import array_label
from hybridnn.core.tape import rank_of
from hybridnn.errors import ReleasedGraphError

__all__ = ["OutputRef", "VariableNode", "view_of", "view_of_input"]


class VariableNode:
    """A value's node as Chainer shows it; two of them are equal if they stand for the same node of the tape."""

    def __init__(self, tape, variable=None, **kwargs):
        if kwargs:
            raise ValueError(f"a VariableNode takes no {', '.join(kwargs)}; what a Variable has is set there")
        self._tape = tape
        self._variable = None if variable is None else weakref.ref(variable)

    _kept = None         # the array, if an operation that takes it kept it

    def __eq__(self, other):
        return isinstance(other, VariableNode) and self._tape is other._tape

    def __hash__(self):
        return hash(self._tape)

    creator_node = property(lambda self: self._tape.creator)
    shape = property(lambda self: self._tape.shape)
    dtype = property(lambda self: self._tape.dtype)
    rank = property(lambda self: rank_of(self._tape))
    _rank = property(lambda self: rank_of(self._tape), lambda self, rank: setattr(self._tape, "first_rank", rank))      # a leaf's
    name = property(lambda self: self._tape.name)
    grad_var = property(lambda self: _as_grad_var(self._tape))
    grad = property(lambda self: getattr(self._tape.grad, "array", self._tape.grad))

    @property
    def creator(self):
        node = self._tape.creator
        return node if node is None or node.function is None else node.function

    @property
    def data(self):
        """The array, if the Variable is alive or its operation kept it."""
        v = self.get_variable_or_none()
        if v is not None:
            return v.array
        kept = getattr(self._tape, "out", None) if self._tape.retained is None else self._tape.retained()
        return self._kept if kept is None else kept

    @property
    def requires_grad(self):
        v = self.get_variable_or_none()
        return self._tape.wanted if v is None else v.requires_grad

    @property
    def _requires_grad(self):
        return self.requires_grad

    @_requires_grad.setter
    def _requires_grad(self, wanted):
        """Chainer's way to change a mind: nobody stores this gradient any more, and users' functions that were applied already do not compute it."""
        self._tape.wanted = wanted
        v = self.get_variable_or_none()
        if v is not None:
            v._requires_grad = wanted

    def get_variable_or_none(self):
        """The Variable, if it is alive and known."""
        return None if self._variable is None else self._variable()

    def get_variable(self):
        """The Variable; if it is gone, another one at the same place in the graph."""
        v = self.get_variable_or_none()
        return core_variable.connected(self.data, self._tape) if v is None else v

    def set_creator_node(self, creator_node):
        """Make a ``FunctionNode`` the Variable's creator; None unchains."""
        self.get_variable().set_creator_node(creator_node)

    def set_creator(self, creator):
        """Make a ``Function`` (or ``FunctionNode``) the Variable's creator."""
        self.set_creator_node(creator)

    def unchain(self):
        """Forget the creator."""
        self.get_variable().unchain()

    def retain_data(self):
        """Keep the Variable's array for as long as this object lives; ``ReleasedGraphError`` if the Variable is gone."""
        v = self.get_variable_or_none()
        if v is None:
            raise ReleasedGraphError("retain_data: the Variable was released, and its array with it\n  hint: call it while the Variable is alive")
        self._kept = v.array

    @property
    def label(self):
        """Shape and dtype as text."""
        return array_label(self)


def view_of(tape, variable=None):
    """The ``VariableNode`` of a node: the same object as long as somebody holds it."""
    found = None if tape._view is None else tape._view()
    if found is None:
        found = VariableNode(tape, variable)
        tape._view = weakref.ref(found)
    elif variable is not None and found.get_variable_or_none() is None:
        found._variable = weakref.ref(variable)
    return found


def view_of_input(tape, kept):
    """The ``VariableNode`` of an operand that its operation may have kept."""
    view = view_of(tape)
    if is_array(kept):
        view._kept = kept
    return view


class OutputRef:
    """A weak reference to an output's ``VariableNode``: calling it gives the node, or None if nothing needs that output any more."""

    def __init__(self, ref):
        self.ref = ref

    def __call__(self):
        node = self.ref()
        return None if node is None else view_of(node)


def _as_grad_var(tape):
    if tape.grad is not None and not isinstance(tape.grad, core_variable.Variable):
        tape.grad = core_variable.Variable(tape.grad)
    return tape.grad
