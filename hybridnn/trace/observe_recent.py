"""The last members of lists and deques that grow: a plan reads as many of them as there are, or as the program takes."""
from collections import deque

import numpy as np

from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.refs import Ref, mirror

__all__ = ["Recent"]

NUMBERS = frozenset([float, int, np.float32, np.float64])


class Recent:
    """What lists and deques from outside have last got."""

    def appended_to(self, box):
        """The Refs that this call has appended to a list from outside."""
        return [e[2] for e in self.effects if e[0] == "append" and e[1][1] is box]

    def recent_of(self, box, key):
        """The last members of a list to which the function is known to append: numbers of one type, however long it has become, or such as this call has
        appended; None if that is not what a slice takes."""
        ends = key.stop is None and key.step is None and type(key.start) is int and key.start < 0
        if type(box) is not list or not ends or not self._grows(box):
            return None
        appended = self.appended_to(box)
        n, before = -key.start - len(appended), box[:len(box) - len(appended)]
        return mirror(list, appended[key.start:]) if n <= 0 else self._recent(box, before[-n:], n, None)

    def recent_of_whole(self, ref):
        """All members of a deque, or of a list to which the function is known to append, if they are numbers of one type; else None."""
        box = ref.value
        if ref.kind == "recent":
            return ref
        if ref.kind != "static" or type(box) is not deque and not (type(box) is list and self._grows(box)):
            return None
        return self._recent(box, self.members_before(box)[self.popped.get(id(box), 0):], None, box.maxlen if type(box) is deque else None)

    def _grows(self, box):
        return where_id(("length", box)) in self.counters and id(box) not in self.rewritten

    def _recent(self, box, before, n, most):
        """The members ``before``, of which there are ``n``, or as many as there happen to be, and those that this call has appended; ``most`` of them."""
        appended, kinds = self.appended_to(box), {type(v) for v in before}
        if len(kinds) != 1 or not kinds <= NUMBERS or any(type(r.value) not in kinds for r in appended):
            return None
        found = Ref("tail", before, ("load", "tail", box, n, self.popped.get(id(box), 0)))
        self.guard("kinds", found.source, *kinds)
        return Ref("recent", (found, most), mirror(list, appended))
