"""Backward through users' functions inside a traced call: the walk itself runs in Python, on every call, and its operations are steps like others.

A replay has no tape. ``WalkTape`` makes one whose nodes give gradient rules pending Variables instead of saved arrays; users' functions run where the
walk meets them. What comes out otherwise than recorded leaves the path as anywhere else.
"""
import weakref

from hybridnn.config import state
from hybridnn.core.backprop import initial_grad
from hybridnn.core.programs import NO_ATTRS, OPS
from hybridnn.core.tape import Leaf as TapeLeaf
from hybridnn.core.variable import Variable, as_variable
from hybridnn.core.walk import walk
from hybridnn.trace.events import spec_along
from hybridnn.trace.path_tape import PathTape, leaf_node, leaf_nodes
from hybridnn.trace.tape import CallTape, Lazy, TracedNode

__all__ = ["WalkTape", "is_function_behind", "plain_gradients", "walk_backward"]

_new = object.__new__


class WalkTape(CallTape):
    """The tape of the running call, as far as its path goes."""
    walked = True

    def __init__(self, call):
        for x in call.leaves.values():
            if isinstance(x, Variable) and x._requires_grad and x._tape is None:
                x._tape = TapeLeaf(x.shape, x.dtype)          # before the nodes in the order of the walk
        path = PathTape(call.path, call.owner)
        super().__init__(path, {}, leaf_nodes(call, path.rebinds), call.cut)
        self.call = call
        self.functions = {self.made[e.outs[0].vid][1]: applied for e, applied in call.functions.items() if e.outs}

    @Lazy
    def derived(self):
        """vid -> (function, vids): numbers that gradient rules have computed of others"""
        return {vid: (fn, vids) for e in self.call.path for vid, fn, vids in e.host}

    def number_now(self, vid):
        """A number of the running call, or None for an array."""
        x = self.call.values.get(vid, self.path.constants.get(vid))
        if x is None and vid in self.derived:
            fn, vids = self.derived[vid]
            return fn(*map(self.number_now, vids))
        return None if hasattr(x, "dtype") else x

    def hold(self, needed):
        """Keep values for the time after the walk: a function that stays what the walk knows is in a graph that goes on."""
        self.values.update({v: self.call.actual(v) for v in needed if v in self.call.values})

    def end(self):
        self.functions, self.outputs = {}, {}       # whose nodes know the tape
        for ref in self.nodes.values() if self.values else ():
            node = ref()
            if type(node) is WalkNode:
                node.__class__ = TracedNode         # what it saved are values of the tape from now on

    def _traced(self, app, position, spec):
        return WalkNode(self, app, position, spec)

    def _leaf(self, vid):
        spec = self.specs[vid]
        node = leaf_node(self.call, vid)
        return node if node.dtype is not None else TapeLeaf(spec.shape, spec.dtype)


class WalkNode(TracedNode):
    """An application of the running call; what it saved are values of the path."""

    saved = ()

    def operand(self, position, as_variable):
        i = self.program.keep[position]
        return self._value(self.app.node.inputs[i], self.edges[i] is not None)

    def output(self, as_variable):
        found = tuple([self._value(v, True) for v in self.app.node.outputs])
        return found if self.app.node.op.multi else found[0]

    def _value(self, vid, graded):
        """A Variable for a value of the path (a number as it is); without its gradient, what the rule was given when it was recorded."""
        call, number = self.tape.call, self.tape.number_now(vid)
        if number is not None:
            return number
        v = _new(Variable)
        v._requires_grad = graded
        if call.mode == "replay" and (graded or vid not in call.values):
            return pend_again(call, v, vid)
        v._array = call.actual(vid)
        return v


def walk_backward(call, outputs, flags):
    """``backward`` without ``retain_grad`` or double backprop, through users' functions."""
    tape = WalkTape(call) if call.mode == "replay" else None
    grads, stored = {}, []
    for v in outputs:
        node = tape.node(v._vid) if tape is not None and v._pending is call else v._tape
        early = v._tape or node
        if node is None or node.is_leaf:
            continue
        seed = early.grad
        if seed is None:
            seed = initial_grad(v, flags[2])
            call.seeds += [seed] if flags[2] is None else []
        early.grad = None
        grads[node] = seed if isinstance(seed, Variable) else Variable(seed, requires_grad=False)
    before, state.backprop, walking, call.walking = state.backprop, False, call.walking, tape or True
    others, call.stand_ins, begun, call.walk_begun = call.stand_ins, {}, call.walk_begun, len(call.path)
    try:
        walk(grads, (), False, True, flags[2], lambda node, g, *_: stored.append((node, g)))
        known = call.nodes if tape is None else {id(x._tape): vid for vid, x in call.leaves.items() if isinstance(x, Variable) and x._tape is not None}
        for node, g in sorted(stored, key=lambda pair: known.get(id(pair[0]), -1)):
            _store(call, node, g, flags[2])
    finally:
        state.backprop, call.walking, call.stand_ins, call.walk_begun = before, walking, others, begun
        if tape is not None:
            tape.end()


def _store(call, node, g, loss_scale):
    """Accumulate into a leaf; the array stored is nobody else's."""
    node.loss_scale = loss_scale
    node.grad = own(call, g if node.grad is None else call.apply(OPS["add"], (as_variable(node.grad), g), NO_ATTRS))


def own(call, g):
    """A Variable with the value of ``g`` in an array of its own, which needs a gradient as ``grad_var`` makes it."""
    v = _new(Variable)
    if g._pending is call:
        v._pending, v._vid, v._spec = call, g._vid, g._spec
        hold_own(call, v, g)
    else:
        v._array = g.array.copy()
    return v


def pend_again(call, v, vid):
    """``v`` as another Variable for a value of the path."""
    v._pending, v._vid, v._spec = call, vid, spec_along(call.cursor, vid)
    if vid in call.values:
        v._array = call.actual(vid)
        call.survivors.append(weakref.ref(v))
    else:
        call.pending.append(v)
    return v


def hold_own(call, v, g):
    """``v`` gets the value of ``g``, in an array of its own."""
    if g._array is None:
        call.owned.add(id(v))
        call.pending.append(v)
        return
    v._array = g._array.copy()
    call.know(v._array, v._vid)
    call.survivors.append(weakref.ref(v))


def plain_gradients(call, gs):
    """The gradients that a user's function is given: Variables that need no gradient themselves."""
    found = []
    for g in gs:
        if g is None or not g._requires_grad:
            found.append(g)
            continue
        v = _new(Variable)
        v._requires_grad = False
        if g._pending is call and g._array is None:
            v = pend_again(call, v, g._vid)
        else:
            v.__dict__.update({k: x for k, x in g.__dict__.items() if k not in ("_requires_grad", "_tape")})
        found.append(v)
    return tuple(found)


def is_function_behind(call):
    """Whether backward in this call may meet a user's function."""
    return any(e.function is not None and e.function.taped for e in call.path)

