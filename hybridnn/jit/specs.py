"""``Specs``: the specs of a graph's values while a pass adds values of its own."""
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
