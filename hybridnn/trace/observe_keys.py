"""Places in arrays that are other ones on every call: rows and slices by numbers of the program's own, as of a cache that is filled from the front."""
import operator

import numpy as np

from hybridnn.trace.calculations import calculate
from hybridnn.trace.computed import Computed, folded
from hybridnn.trace.free_numbers import is_place
from hybridnn.trace.refs import Doubt, Ref, constant

__all__ = ["Keys"]


class Keys:
    """``opened`` has, by the id of a key, what it is where it may be another one on the next call."""

    def slice_of(self, parts):
        """The Ref of ``slice(*parts)``: a constant, or a ``span`` of ints, which is one only where it has to be."""
        if any(map(is_place, parts)):
            parts = [r if is_place(r) else folded(self.use(r)) for r in parts]
            if all(r.kind != "static" or r.value is None or type(r.value) is int for r in parts):
                return Ref("span", slice(*[r.value for r in parts]), Computed(slice, parts, {}, len(self.call.path), safe=True))
        return self.closed_slice(parts)

    def closed_slice(self, parts):
        """A slice that is the same on every call."""
        parts = [folded(self.use(r)) for r in parts]
        if any(r.kind != "static" for r in parts):
            raise Doubt("a slice that is not the same on every call")
        return constant(slice(*[r.value for r in parts]))

    def open_key(self, a, key):
        """The key of a place in array ``a`` whose numbers may be others on every call, as long as what is there has the same shape; None if it has none."""
        single = key.kind != "mirror"
        parts = [key] if single else list(key.value) if type(key.value) is tuple else []
        if not any(r.kind == "span" or is_place(r) for r in parts):
            return None
        if id(key) not in self.opened:
            parts = [r if r.kind == "span" or is_place(r) else self.use(r) for r in parts]
            basic = all(r.kind == "span" or is_place(r) or r.kind == "static" and (r.value is None or r.value is ... or type(r.value) in (int, slice))
                        for r in parts)
            if not basic:
                return None
            self._guard_places(a, parts)
            self.keep.append(key)
            self.opened[id(key)] = key if single else Ref("mirror", tuple(parts))
        return self.opened[id(key)]

    def _guard_places(self, a, parts):
        axes = sum(r.value is not None and r.value is not ... for r in parts)
        axis = 0
        for r in parts:
            if r.value is ...:
                axis += a.ndim - axes
            elif r.value is not None:
                if axis >= a.ndim or not isinstance(r.value, slice) and not -a.shape[axis] <= r.value < a.shape[axis]:
                    raise Doubt("an exception is raised")
                if r.kind == "span":
                    self.guard("span", r, a.shape[axis], len(range(*r.value.indices(a.shape[axis]))))
                elif r.kind != "static":
                    self.guard("within", r, -a.shape[axis], a.shape[axis])
                axis += 1

    def array_part(self, box, key):
        """The Ref of ``box[key]`` if the place may be another one on every call, else None."""
        opened = self.open_key(box.value, key) if isinstance(box.value, np.ndarray) and box.kind in ("arg", "state", "view", "array") else None
        return None if opened is None else calculate(self, operator.getitem, [box, opened], {}, keyed=True)
