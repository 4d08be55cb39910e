"""What the tapes of all calls along one path share: which application made which value, what a tape keeps, and the nodes of what comes from outside."""
import weakref
from itertools import count

from hybridnn.core.tape import Leaf, make_leaf
from hybridnn.core.variable import Variable

__all__ = ["PathTape", "early_node", "leaf_node", "leaf_nodes", "leaf_variables", "producers", "rebinds_along", "saved_values", "specs_along", "values_behind"]

MOST_FOUND = 32     # answers that a path keeps: the same Variables survive most calls


def producers(path):
    """vid -> (application, its position in the path, output number, spec)."""
    found, position = {}, count()
    for event in path:
        for app in event.apps if event.function is None else (event.function,):
            i = next(position)
            for k, vid in enumerate(app.node.outputs):
                found[vid] = (app, i, k, event.specs.get(vid))
    return found


def saved_values(made, vids, cut):
    """The values that the tape of ``vids`` keeps."""
    needed = set()
    for vid in values_behind(made, vids, cut):
        if vid not in made or vid in cut or not made[vid][0].taped:
            continue
        app = made[vid][0]
        node = app.node
        program = node.op.program(app.mask, len(node.inputs))
        needed.update(node.inputs[i] for i in program.keep)
        if program.keep_output:
            needed.update(node.outputs)
    return needed


def values_behind(made, vids, cut):
    """The values in the graph of ``vids``, and these."""
    seen, stack = set(), list(vids)
    while stack:
        vid = stack.pop()
        if vid not in seen:
            seen.add(vid)
            if vid in made and vid not in cut and made[vid][0].taped:
                app = made[vid][0]
                stack += [v for i, v in enumerate(app.node.inputs) if app.mask >> i & 1]
    return seen


def leaf_variables(call, rebinds):
    """vid -> the Variable from outside whose value it is; one that was changed in place (``rebinds``) stays the same Variable."""
    found = {v: x for v, x in call.leaves.items() if isinstance(x, Variable)}
    for old, new in rebinds:
        if old in found:
            found[new] = found[old]
    return found


def leaf_nodes(call, rebinds):
    """vid -> the node of that Variable, if it needs a gradient: all that a graph keeps of a Variable that nobody computed."""
    return {v: x._tape or make_leaf(x) for v, x in leaf_variables(call, rebinds).items() if x._requires_grad}


def rebinds_along(path):
    """Pairs (value, value after a change in place), in order."""
    return [pair for e in path for pair in e.rebinds]


def leaf_node(call, vid):
    """The node that holds the gradient of a value of a running replay."""
    x = call.leaves.get(vid)
    if isinstance(x, Variable):
        return x._tape or x.node._tape
    for v in call.pending:
        if v._vid == vid:
            return early_node(v)
    for ref in call.survivors:
        v = ref()
        if v is not None and v._vid == vid:
            return early_node(v)
    for ref, before in call.renamed:
        v = ref()
        if v is not None and before == vid:
            return early_node(v)
    return Leaf((), None)      # nobody has the Variable any more


def early_node(v):
    """The node of a pending Variable, from before the call's tape is there."""
    if v._tape is None:
        v._tape = Leaf(v._spec.shape, v._spec.dtype)
    return v._tape


def specs_along(path):
    """vid -> the Spec of every value that the path's events introduced."""
    return {v: s for e in path for v, s in e.specs.items()}


class PathTape:
    """What the tapes of all calls along one path share; kept at the path's end."""

    def __init__(self, path, owner, segments=None):
        self.made, self.specs, self.rebinds = producers(path), specs_along(path), rebinds_along(path)
        self.constants = {v: c for e in path for v, c in e.constants}
        self.views = {v: found for e in path for v, found in e.views.items()}
        self.unchained = frozenset([v for e in path if e.kind == "unchain" and e.key[2] == "unchain" for v in e.key[0]])
        self.has_functions = any(e.function is not None for e in path)
        self.function_types = {self.made[e.outs[0].vid][1]: e.key[0] for e in path if e.function is not None and e.outs}
        self.owner, self.segments, self.gradients = weakref.ref(owner), {} if segments is None else segments, {}
        self._found = {}

    @classmethod
    def of(cls, call):
        end = call.cursor
        if end.kind != "end":
            return cls(call.path, call.owner)
        if end.tape is None:
            end.tape = cls(call.path, call.owner, end.segments)
        return end.tape

    def saved_for(self, roots, cut, gone=frozenset()):
        """``saved_values``, remembered: the same Variables survive most calls. What is cut, and ``gone``, is decided by the path."""
        return self._remembered((saved_values, frozenset(roots), bool(gone)), lambda: saved_values(self.made, roots, cut | gone))

    def behind(self, roots, cut):
        """``values_behind``, remembered."""
        return self._remembered((values_behind, frozenset(roots)), lambda: values_behind(self.made, roots, cut))

    def _remembered(self, key, compute):
        """The values that an earlier call along the path may have computed."""
        found = self._found.get(key)
        if found is None:
            found = frozenset(compute())
            if len(self._found) < MOST_FOUND:
                self._found[key] = found
        return found
