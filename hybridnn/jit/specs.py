"""``Specs``: the specs of a graph's values while a pass adds values of its own."""
from hybridnn.graph import Node
from hybridnn.spec import Spec

__all__ = ["Specs"]


class Specs(dict):
    """Specs by value, as ``Graph.specs``; ``new`` numbers values that no other pass has made."""

    def __init__(self, specs):
        super().__init__(specs)
        self._next = max(self, default=-1) + 1

    def new(self, spec):
        """A new value of this spec."""
        v, self._next = self._next, self._next + 1
        self[v] = spec
        return v

    def reduction(self, node, x, axes):
        """A node that reduces ``x`` along ``axes`` (none negative), which go, as ``node`` reduces its operand; its output is new."""
        y = self.new(Spec(tuple([n for k, n in enumerate(self[x].shape) if k not in axes]), self[node.outputs[0]].dtype))
        return Node(node.op, (x,), (y,), (("axis", axes), ("keepdims", False)), node.line)
