"""``mode="pure"``: the user vouches that only arguments and parameters matter, so nothing else is watched or guarded.

What the function computes from its arguments without the library, in NumPy or Python, would be missing where Python is skipped: arrays and floats that are
others on every call show that it does so, and then Python runs.
"""
import sys
import weakref

import numpy as np

from hybridnn.core.variable import Variable
from hybridnn.trace.events import Leaf, Number
from hybridnn.trace.refs import MOST_MEMBERS, SCALARS, Doubt, Ref, constant

__all__ = ["Vouched", "members", "taken"]


def taken(call):
    """vid -> (kind, the object) of all that a call took from outside: arrays and Variables weakly, numbers themselves."""
    found = {vid: weakref.ref(x) for vid, x in call.leaves.items()}
    found.update({o.vid: lambda x=call.values[o.vid]: x for e in call.path for o in e.operands if isinstance(o, Number) and o.type is float})
    return found


def members(x):
    """What lists, dicts and arrays among the arguments hold, for comparing it after the call."""
    if type(x) is np.ndarray:
        return x.tobytes()
    if type(x) not in (tuple, list, dict):
        return id(x)
    return [(key, id(v), members(v)) for key, v in (x.items() if type(x) is dict else enumerate(x))]


class Vouched:
    """What an ``Observer`` would have found, taken from the user's word: arrays in the arguments are read anew, all others stay what they are."""

    def __init__(self, call, args, kwargs, result, seen):
        if any(e.kind in ("inplace", "backward") for e in call.path):
            raise Doubt("mode='pure' skips Python only in functions that neither run backward nor update")
        if any(isinstance(o, Leaf) and o.again == "written" for e in call.path for o in e.operands):
            raise Doubt("writes into arrays")
        for e in call.path:
            if e.kind == "read" and e.key[1] is None:
                raise Doubt("looks at a value, and Python may use it", e.line)
        self.call, self.args, self.kwargs = call, args, kwargs
        self.guards, self.effects, self.origins, self.numbers, self.views, self.draws, self.computed = {}, [], {}, {}, {}, [], []
        self.samples, self.records, self.rebinds = {}, {}, []
        self.stored, self.stored_at, self.rebound_at, self.changed, self.given, self.changed_at = set(), sys.maxsize, sys.maxsize, {}, {}, {}
        self.held, self.ungiven, self.passed, self.originals = {}, [], {}, {}
        self.leaf_refs, self.changed_operands, self.pins = {}, {}, {}
        self.applied, self.function_outputs, self.shown = {}, {}, {}
        self.risky, self.leaves_until = set(), 0
        self.overlay, self.carried, self.grown, self.rewritten = {}, {}, set(), set()
        self.grown_ids = getattr(call.owner, "grown_ids", frozenset())      # ids of lists and dicts among the arguments that keep growing
        self.arrays = {}        # id of an array among the arguments -> where it is read first, and as what
        self.sources = {}       # id of a container or number among the arguments -> where it is read
        for i, x in enumerate(args):
            self._argument(("arg", i), x)
        for name, x in kwargs.items():
            self._argument(("kwarg", name), x)
        self._others(seen or {})
        self.result = self._result(result)

    def is_rebound(self, v):
        """False: the user vouches that the function assigns nothing."""
        return False

    def _others(self, seen):
        """What does not come from the arguments must be what the call before took too."""
        for vid, x in self.call.leaves.items():
            if id(x) not in self.origins:
                if vid not in seen or seen[vid]() is not x:
                    raise Doubt("takes an array that is another one on every call")
                self.origins[id(x)] = Ref("static", x, ("fixed",))
        for e in self.call.path:
            for o in e.operands:
                if isinstance(o, Number) and o.type is float and o.value is None and o.vid not in self.numbers:
                    if o.vid not in seen or seen[o.vid]() is not self.call.values[o.vid]:
                        raise Doubt("takes a number that is computed on every call", e.line)

    def _argument(self, source, x):
        if isinstance(x, (Variable, np.ndarray)):
            first = self.arrays.setdefault(id(x._array if isinstance(x, Variable) else x), (source, x))
            if first[0] != source:
                self.guards[source, "alias"] = ("alias", *first, source, x)
            self.origins.setdefault(id(x), Ref("arg", x, source))
        elif type(x) in (list, tuple, dict):
            if id(x) in self.grown_ids:
                raise Doubt("an argument that keeps growing")
            if len(x) > MOST_MEMBERS:
                raise Doubt(f"an argument with more than {MOST_MEMBERS} members")
            self.sources[id(x)] = source
            for key, item in x.items() if type(x) is dict else enumerate(x):
                self._argument(("item", source, key), item)
        elif type(x) in SCALARS:
            if type(x) is float and id(x) in self.sources:       # one object in two places: which of them an operation took cannot be told
                self.guards[source, "same"] = ("same", self.sources[id(x)], x, source, x)
            self.sources[id(x)] = source
            self._number(source, x)
        else:
            self.guards[source] = ("root", source, x)

    def _number(self, source, x):
        """A number that goes into the graph as it is may change; any other may decide what happens."""
        used = [o.vid for e in self.call.path for o in e.operands if isinstance(o, Number) and o.value is None and self.call.values[o.vid] is x]
        if type(x) is float and used:
            self.numbers.update({vid: Ref("arg", x, source) for vid in used})
        else:
            self.guards[source] = ("value", source, x)

    def _result(self, x):
        made = {o.vid for e in self.call.path for o in e.outs if o is not None}
        if isinstance(x, Variable):
            if x.__dict__.get("_vid") in made:
                return Ref("fresh", x)
            return self.origins.get(id(x)) or constant(x)
        if isinstance(x, np.ndarray) and id(x) in self.origins:
            return self.origins[id(x)]
        source = self.sources.get(id(x))
        if type(x) in (list, tuple):
            return Ref("mirror", type(x)([self._result(v) for v in x]), source)
        if type(x) is dict:
            return Ref("mirror", {k: self._result(v) for k, v in x.items()}, source)
        if type(x) in SCALARS and source is not None:
            return Ref("arg", x, source)
        if isinstance(x, (bool, int, float, complex)):
            raise Doubt("returns a number that is computed on every call")
        if type(x) in SCALARS:
            return constant(x)
        raise Doubt(f"returns a {type(x).__name__}")
