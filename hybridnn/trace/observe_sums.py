"""``sum`` of Variables, which adds them one by one, as the observer follows it."""
import numpy as np

from hybridnn.core.op import OPS
from hybridnn.core.variable import Variable
from hybridnn.trace.computed import identify
from hybridnn.trace.events import vid_of
from hybridnn.trace.refs import Doubt, Pending, mirror

__all__ = ["Sums"]


class Sums:
    """Calls of ``sum``."""

    def _sums_variables(self, args):
        """Whether a call of ``sum`` adds Variables; its operations are then those of the path."""
        rows = args[0].kind != "mirror" and isinstance(args[0].value, Variable)
        if not rows and (args[0].kind == "static" and type(args[0].value) not in (list, tuple) or args[0].kind not in ("mirror", "iterator", "static")):
            return False
        if self.recent_of_whole(args[0]) is not None:
            return False
        try:
            items = self._items(args[0])
        except Pending as pending:
            raise Pending(True, pending.iterator) from None
        args[0] = mirror(list, items)
        if not items or any(type(r.value).__name__ not in ("Variable", "Parameter") or not isinstance(r.value, Variable) or r.kind == "mirror" for r in items):
            return False
        added = [*items, *[r for r in args[1:] if isinstance(r.value, Variable)]]
        self._operators_of(*added, "__add__", "__radd__")
        for r in added:
            if r.kind == "static":
                self._same_array(r.value)
        return all(map(_may_begin, args[1:]))

    def _summed(self, start, items, first=None):
        """The Variable that ``sum`` returns: that of the last addition."""
        events = [e for e in self.call.path[start:] if e.key and e.key[0] is OPS["add"]]
        if events and self._adds(events, items, first):
            return self.fresh(events[-1].outs[0].vid)
        raise Doubt("sum() of Variables that were not added one by one")

    def _adds(self, events, items, first):
        """Whether the last of these additions adds the last item, to the sum of those before, and these to ``first``."""
        made = {e.outs[0].vid: e for e in events}
        event, rest = events[-1], []
        for ref in reversed(items):
            if event is None:
                return False
            rest = [vid_of(o) for o in event.operands]
            vid = self.call.known_vid(ref.value)
            if vid not in rest:
                return False
            rest.remove(vid)
            event = made.get(rest[0])
        return event is None and (first is None or self._begins(first, rest))

    def _begins(self, first, rest):
        """Whether ``first`` is what the first addition has taken beside the first item."""
        if first.kind == "array" and rest and rest[0] in self.call.leaves:
            identify(self, first, self.call.leaves[rest[0]])
            return True
        return type(first.value) in (int, float) or rest == [self.call.known_vid(first.value)]


def _may_begin(ref):
    """Whether what the sum begins with is a number that is the same on every call, a Variable, or an array."""
    return type(ref.value) in (int, float) and ref.kind == "static" or ref.kind != "mirror" and isinstance(ref.value, Variable) or (
        ref.kind in ("array", "arg", "state") and type(ref.value) is np.ndarray)
