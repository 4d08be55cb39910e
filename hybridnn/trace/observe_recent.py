"""The last members of lists and deques that grow: a plan reads as many of them as there are, or as the program takes."""
from collections import deque

import numpy as np

from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.refs import SCALARS, Doubt, Ref, identity, mirror

__all__ = ["Recent"]

NUMBERS = frozenset([float, int, np.float32, np.float64])


class Recent:
    """What lists and deques from outside have last got."""

    def appended_to(self, box):
        """The Refs that this call has appended to a list from outside."""
        return [e[2] for e in self.effects if e[0] == "append" and e[1][1] is box]

    def recent_of(self, box, key):
        """What a slice takes of a list to which the function is known to append, however long it has become: numbers of one type, or such as this call has
        appended at its end; None if that is not what it takes."""
        if type(box) is not list or not all(v is None or type(v) is int for v in (key.start, key.stop, key.step)) or not self._grows(box):
            return None
        from_end = key.step is None and key.start is not None and key.start < 0 and (key.stop is None or key.stop < 0)
        if id(box) in self.trimmed and not (from_end and -key.start <= self.trimmed[id(box)]):
            raise Doubt("looks at the members of a list of which it has deleted some")
        if not from_end:
            return self._recent(box, self._unpopped(box), None, None, key)
        appended = self.appended_to(box)
        n, before = -key.start - len(appended), box[:len(box) - len(appended)]
        if n <= 0:
            return mirror(list, appended[key])
        return self._recent(box, before[-n:], n, None, None if key.stop is None else slice(None, key.stop))

    def recent_member(self, box, key):
        """A member that is found from the end of a list or deque: one that this call has appended, or a number; None of others."""
        appended = self.appended_to(box)
        if -key > self.trimmed.get(id(box), -key):
            raise Doubt("an exception is raised")
        return appended[key] if -len(appended) <= key else self._recent_number(box, key)

    def _recent_number(self, box, key):
        """A number of a list or deque to which the function is known to append, however long it has become; else None."""
        k, before = key + len(self.appended_to(box)), self.members_before(box)
        if id(box) in self.popped or not self._grows(box) or len(before) < -k or type(before[k]) not in NUMBERS:
            return None
        return self.loaded(before[k], ("item", box, k, before[k]))

    def kept_of(self, box, value):
        """How many members at the end of a list from outside a value has, if it is a slice with these."""
        if value.kind != "recent" or value.value[1] is not None or value.value[2] is not None:
            return None
        _, _, of, n, skipped = value.value[0].source
        return n + len(value.source.value) if of is box and n is not None and not skipped and len(value.source.value) == len(self.appended_to(box)) else None

    def replaces_window(self, where, value):
        """Whether the list from outside at a place is about to be replaced by its last members, as many as it had."""
        box = value.value[0].source[2]
        return identity((*where, box)) in self.guards and self.kept_of(box, value) == len(self.members_before(box))

    def recent_items(self, ref):
        """The members of a slice, as Refs, where it begins at a place from the end."""
        found, _, cut = ref.value
        _, _, box, n, skipped = found.source
        if n is None or skipped or len(found.value) < n:
            raise Doubt("goes through a list that grows", by_chance=n is not None)
        self.guard("long", box, n - 1)
        items = [*[self._recent_number(box, k - n - len(ref.source.value)) for k in range(n)], *ref.source.value]
        return items if cut is None else items[cut]

    def keeps_objects(self, box):
        """Whether this call has appended to a list from outside, or taken members out of it, that are no numbers."""
        before = self.befores.get(id(box))
        return before is not None and id(box) not in self.trimmed and all(type(v) not in SCALARS and type(v) not in NUMBERS for v in before)

    def _unpopped(self, box):
        return list(self.members_before(box))[self.popped.get(id(box), 0):]

    def recent_of_whole(self, ref):
        """All members of a deque, or of a list to which the function is known to append, if they are numbers of one type; else None."""
        box = ref.value
        if ref.kind == "recent":
            return ref
        if ref.kind != "static" or type(box) is not deque and not (type(box) is list and self._grows(box)):
            return None
        return self._recent(box, self._unpopped(box), None, box.maxlen if type(box) is deque else self.trimmed.get(id(box)), None)

    def _grows(self, box):
        return where_id(("length", box)) in self.counters and id(box) not in self.rewritten

    def _recent(self, box, before, n, most, cut):
        """The members ``before``, of which there are ``n``, or as many as there happen to be, and those that this call has appended; ``most`` of them, of which
        the slice ``cut`` is taken."""
        appended, kinds = self.appended_to(box), {type(v) for v in before}
        if len(kinds) != 1 or not kinds <= NUMBERS or any(type(r.value) not in kinds for r in appended):
            return None
        found = Ref("tail", before, ("load", "tail", box, n, self.popped.get(id(box), 0)))
        self.guard("kinds", found.source, *kinds)
        return Ref("recent", (found, most, cut), mirror(list, appended))
