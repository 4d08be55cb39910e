"""``copy.copy`` and ``copy.deepcopy`` of plain values, as the observer follows them."""
import copy
import operator
import types

import numpy as np

from hybridnn.core.parameter import Parameter
from hybridnn.link import Link
from hybridnn.trace.calculations import calculate
from hybridnn.trace.refs import SCALARS, Doubt, Ref, is_numeric, mirror

__all__ = ["COPIERS", "Copies"]

COPIERS = frozenset([copy.copy, copy.deepcopy])


class Copies:
    """Calls of these."""

    def copied(self, ref, deep, known=None):
        """What ``copy.copy``, or ``copy.deepcopy``, gives of constants, numbers and arrays, and of containers of these; None of others. ``known`` has what has
        been copied so far."""
        known, kind = {} if known is None else known, type(ref.value)
        if isinstance(ref.value, (Link, Parameter)) and ref.kind != "mirror":
            raise Doubt(f"copies a {kind.__name__}, which gets parameters of its own (copyparams changes those of one that is there)")
        if id(ref) in known:
            return known[id(ref)]
        if kind in SCALARS and ref.kind in ("static", "arg", "number", "hole") or ref.kind == "static" and kind in (type, types.FunctionType):
            return ref
        if is_numeric(ref) and kind is np.ndarray:
            found = known.setdefault(id(ref.value), calculate(self, operator.methodcaller("copy"), [ref], {}))
            return found if found.kind == "array" else None
        box = self.opened_box(self.use(ref))
        if box is None:
            return None
        items = box.value.values() if kind is dict else box.value
        copies = [self.copied(r, deep, known) if deep else r for r in items]
        if any(c is None for c in copies):
            return None
        if kind is tuple and all(map(operator.is_, copies, items)):
            return ref          # the tuple itself
        known[id(ref)] = found = Ref("mirror", dict(zip(box.value, copies, strict=True)) if kind is dict else kind(copies))
        return found

    def opened_box(self, ref):
        """A list, tuple or dict of Refs; None if a Ref is none of these."""
        if ref.kind == "namespace":
            return self.namespace_members(ref.value)
        if type(ref.value) not in (list, tuple, dict) or ref.kind not in ("mirror", "static"):
            return None
        if ref.kind == "mirror":
            return ref
        return self._dict_members(ref.value) if type(ref.value) is dict else mirror(type(ref.value), self._items(ref))
