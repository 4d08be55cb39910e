"""A path that is left: what has been replayed of it runs again, eagerly, into the Variables that the replay handed out."""
import weakref
from contextlib import contextmanager

from hybridnn.config import state
from hybridnn.core.application import apply_inplace_eager, run_checked, wrap_outputs
from hybridnn.core.backprop import backward_eager, grad_eager
from hybridnn.core.tape import Leaf as TapeLeaf
from hybridnn.core.tape import move_gradient
from hybridnn.core.variable import Variable, as_variable
from hybridnn.spec import spec_of
from hybridnn.trace.events import ANY_SCALE, Number, outcomes, vid_of
from hybridnn.trace.numbers import traced
from hybridnn.trace.operands import same_bytes
from hybridnn.trace.path_tape import early_node, producers, saved_values
from hybridnn.trace.recording import know_leaves
from hybridnn.trace.standins import Naming
from hybridnn.trace.tape import CallTape

__all__ = ["rebuild"]

_new = object.__new__
NOT_MADE = object()      # a tape that nobody has asked for yet


def rebuild(call):
    """Run the path so far again, eagerly, into the pending Variables; what changed arrays in place is not run twice."""
    made, copies = {}, {id(a) for pairs in call.copies.values() for a, _ in pairs}     # of which others may have written some
    for v in [*[ref() for ref in call.survivors], *call.pending]:
        if v is not None and id(v._array) not in copies:
            made.setdefault(v._vid, v)       # the program's own: a walk makes further Variables of a value, for gradient rules
    made.update({vid: v for ref, vid in call.renamed if (v := ref()) is not None})
    cut, call.cut = call.cut, set().union(*[e.key[0] for e in call.path[:call.executed] if e.kind == "unchain"])      # the others run again, after backward
    barrier = max((i for i, e in enumerate(call.path[:call.executed]) if e.kind == "inplace"), default=-1)
    worker = Rebuild(call, made, barrier + 1)
    for i, event in enumerate(call.path):
        worker.stand_ins = call.stand_ins if call.walking and i >= call.walk_begun else {}
        if i <= barrier or i < call.executed and not worker.has_operands(event):
            worker.known(event)
        else:
            worker.run(event, final=i < call.executed)
    call.cut |= cut
    for v in call.pending:
        first = made.get(v._vid)
        a = call.values.get(v._vid) if first is None or first._array is None else first._array
        if v._array is None and a is not None:        # a second Variable of one value, as gradients of a sum are: only one has been filled
            v._array = a.copy()
        call.survivors.append(weakref.ref(v))
    call.pending = []


@contextmanager
def as_used(call, outputs):
    """Arrays that the program has written into since they were used for these outputs hold what they held then: gradients that were asked for before came
    from that."""
    known = [vid for vid in map(call.known_vid, outputs) if vid is not None]
    used = {call.origin(vid) for vid in saved_values(producers(call.path), known, call.cut)}
    snapshots = list(call.snapshots.items())        # to which other threads add some
    written = [(a, a.copy(), past) for v, (a, past) in snapshots if v in used and a.flags.writeable and not same_bytes(a, past)]
    for a, _, past in written:
        a[...] = past
    try:
        yield
    finally:
        for a, now, _ in written:
            a[...] = now


def is_taped(event, vid):
    """Whether a value that the event made has a graph."""
    return any(app.taped and vid in app.node.outputs for app in (event.apps if event.function is None else (event.function,)))


def _connected(early, node):
    """The node of a Variable that had the node ``early``: that of an operation, with the gradient from before; where no graph is kept an operation has none."""
    if early is None or not early.is_leaf:
        return node
    if node is None:
        return early
    move_gradient(early, node)
    return node


class Rebuild:
    """Runs events of a path eagerly, filling the Variables that the replay handed out."""

    def __init__(self, call, made, known):
        self.call, self.made, self.real = call, made, {}
        self.tape = NOT_MADE
        self.stand_ins = {}     # the Variables that a user's function, in the middle of a walk, has for values: it asks for the gradients of these
        later = {vid_of(o) for e in call.path[known:] for o in e.operands if type(o) is not Number}
        self.past_events = call.path[:known]
        self.roots = {o.vid for e in self.past_events for o in outcomes(e) if o.vid in made or o.vid in later}

    def operand(self, o):
        """The actual operand: the Variable handed out, the leaf that was bound, or the number (one that gradient rules can be followed through)."""
        if type(o) is Number:
            x = self.call.values[o.vid]
            return x if o.value is not None else traced(x, o.vid, self.call)
        vid = vid_of(o)
        x = self.real.get(vid) if vid not in self.stand_ins else self.stand_ins[vid]
        if x is None:
            x = self.call.leaves[vid] if vid in self.call.leaves else self.revived(vid)
        return x if type(o) is not int or o >= 0 or not isinstance(x, Variable) else x.array

    def has_operands(self, event):
        """Whether the operands of an event that has been computed are still there, so that its graph can be made again."""
        call = self.call
        return all(v in self.real or v in call.leaves or v in call.values for v in map(vid_of, event.operands))

    def revived(self, vid):
        """A value whose Variable has died; somebody may have its array, which the tape is to keep."""
        call = self.call
        event, outcome = next(((e, o) for e in call.path for o in outcomes(e) if o.vid == vid), (None, None))
        v = self.real[vid] = _new(Variable)
        v._array = call.actual(vid) if call.origin(vid) in call.values else call.values[vid]
        v._pending, v._vid, v._spec = call, vid, spec_of(v._array) if outcome is None else outcome.spec
        v._requires_grad = outcome is not None and outcome.requires_grad        # a walk without a graph takes values from inside of a gradient, too
        if v._requires_grad and is_taped(event, vid):
            self.connect(v, outcome)
        return v

    def past(self, o, x, a):
        """What to compute with: the operand's values as they were when it was used."""
        call = self.call
        if type(o) is Number:
            return call.values[o.vid]
        vid = vid_of(o)
        return a if call.unchanged(vid) else call.past(vid)

    def bound(self, o, x):
        """The array that an operand had when it was used; the program may have given its Variable another one since."""
        if not isinstance(x, Variable):
            return x
        if vid_of(o) in self.call.leaves or vid_of(o) in self.call.updated:
            return self.call.actual(vid_of(o))
        return x.array if x._array is None else x._array

    def run(self, event, final):
        getattr(self, "_" + event.kind)(event, final)

    def known(self, event):
        """An event from before a change in place that has been made: what lives of it has its values."""
        for outcome in outcomes(event):
            v = self.made.get(outcome.vid)
            if v is not None:
                self.real[outcome.vid] = v
                if is_taped(event, outcome.vid):
                    self.connect(v, outcome)
        for _, new in event.rebinds:
            if new in self.call.wrappers:      # else a value of the call itself, which is among the outcomes if it lives
                self.real[new] = self.call.wrappers[new]

    def _op(self, event, final):
        op, attrs, taping = event.key
        old, state.backprop = state.backprop, taping
        try:
            result = self._apply(op, event, attrs)
        finally:
            state.backprop = old
        for k, (v, outcome) in enumerate(zip(result if op.multi else (result,), event.outs, strict=True)):
            if not event.views:
                self._keep_given(v, k, outcome.vid)
            self.fill(v, outcome)

    def _keep_given(self, v, k, vid):
        """Where output ``k`` has been computed before, the program has that array or a view of it, or gets it: the graph keeps it, too, as writes count."""
        shown, a, target = self.call.snapshots.get(vid), self.call.values.get(vid), self.made.get(vid)
        if shown is not None:
            a = shown[0]
        elif a is None or target is not None and target._array is not None and target._array is not a:
            return
        elif target is not None:
            v._array = a
        node = v._tape if v._tape is None or v._tape.owner is None else v._tape.owner
        if node is not None and node.out is not None:
            node.out = a if node is v._tape else (*node.out[:k], a, *node.out[k + 1:])

    def _function(self, event, final):
        function, arrays, outputs = self.call.functions[event]
        walk = self.call.walking
        if walk and walk is not True and event.function.taped:      # in the middle of a walk: the function stays what that walk knows
            for y, outcome in zip(outputs, event.outs, strict=True):
                v = _new(Variable)
                v._array, v._tape = y, walk.node(outcome.vid)
                self.fill(v, outcome)
            walk.hold(saved_values(producers(self.call.path), [o.vid for o in event.outs], self.call.cut))
            return
        old, state.backprop = state.backprop, event.key[1]
        try:
            inputs = [as_variable(self.operand(o)) for o in event.operands]
            result = function._wrap(inputs, arrays, outputs)
        finally:
            state.backprop = old
        know_leaves(self.call, inputs)
        for v, outcome in zip(result, event.outs, strict=True):
            self.fill(v, outcome)

    def connect(self, v, outcome):
        """The graph before a change in place is not made by running it again; it is gone if what it computed with is."""
        if self.tape is NOT_MADE:
            self.tape = CallTape.so_far(self.call, self.roots)
            self._share_leaves()
        early = v._tape
        node = self.tape.node(outcome.vid)
        v._tape = node = TapeLeaf(outcome.spec.shape, outcome.spec.dtype) if node is None else node
        if early is not None:
            move_gradient(early, node)
        self.call.nodes[id(node)] = outcome.vid
        self.call.keep.append(node)

    def _share_leaves(self):
        """Values that were computed where no graph was kept are leaves of the graph: the very nodes that their Variables have."""
        for e in self.past_events:
            for o in outcomes(e):
                v = self.made.get(o.vid)
                if v is not None and o.requires_grad and not is_taped(e, o.vid):
                    self.tape.nodes["cut", o.vid] = weakref.ref(early_node(v))

    def _apply(self, op, event, attrs):
        """The values come from the operands as they were; the tape keeps the arrays themselves, as eager does."""
        inputs = [self.operand(o) for o in event.operands]
        arrays = [self.bound(o, x) for o, x in zip(event.operands, inputs, strict=True)]
        past = arrays if event.views else [self.past(o, x, a) for o, x, a in zip(event.operands, inputs, arrays, strict=True)]
        mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
        result = wrap_outputs(op, inputs, arrays, attrs, mask, run_checked(op, past, attrs))
        know_leaves(self.call, inputs)
        return result

    def fill(self, v, outcome):
        call, target = self.call, self.made.get(outcome.vid)
        if outcome.vid in call.snapshots:       # of which a view may have been all that was held until now
            call.recognize(call.snapshots[outcome.vid][0], outcome.vid, outcome.requires_grad)
        else:
            call.know(v._array, outcome.vid, outcome.requires_grad)
        if target is None:
            target = v
            if outcome.vid in call.snapshots:       # somebody has this very array, or a view of it
                v._array = call.snapshots[outcome.vid][0]
            v._pending, v._vid, v._spec = call, outcome.vid, outcome.spec
            call.keep.append(v)
            call.survivors.append(weakref.ref(v))
        else:
            if target._array is None:
                target._array = v._array
            elif outcome.vid not in call.snapshots:
                call.know(target._array, outcome.vid, outcome.requires_grad)
            target._tape = _connected(target._tape, v._tape)
        self.real[outcome.vid] = target
        if target._tape is not None:
            call.nodes[id(target._tape)] = outcome.vid
            call.keep.append(target._tape)

    def _inplace(self, event, final):
        op, attrs, targets = event.key
        inputs = [self.operand(o) for o in event.operands]
        apply_inplace_eager(op, inputs, targets, attrs)
        for k, (_, new) in zip(targets, event.rebinds, strict=True):
            self.real[new] = inputs[k]
            a = inputs[k]._array if isinstance(inputs[k], Variable) else inputs[k]
            self.call.values[new] = a
            self.call.ids[id(a)] = ~new if isinstance(inputs[k], Variable) and inputs[k]._requires_grad else new
            self.call.wrappers[new] = inputs[k]

    def _backward(self, event, final):
        flags, unseeded, _ = event.key
        if final and not flags[1]:      # else its gradients have a graph
            return
        outputs = [self.operand(o) for o in event.operands[:flags[3]]]
        handed = [(node := self.call_node(vid), node.grad) for vid, _, _ in event.grads[0]]
        scales = [(node, node.loss_scale) for node, _ in handed]
        retained = [(vid, outcome) for vid, outcome in event.grads[1] if vid in self.real or vid in self.call.leaves]       # of others, nobody has a Variable
        kept = [(node := self.call_node(vid), node.grad) for vid, _ in retained]
        priors = iter([self.operand(o) for o in event.operands[flags[3] + unseeded.count(False):]])
        for (node, _), (_, _, accumulated) in zip(handed, event.grads[0], strict=True):
            node.grad = next(priors) if accumulated else None
        seeds, begun = iter(event.operands[flags[3]:]), iter(event.constants)
        roots = [(v._tape, v._tape.grad) for v in outputs if v._tape is not None]
        for v, fresh in zip(outputs, unseeded, strict=True):
            if v._tape is not None:
                v._tape.grad = self.operand(next(seeds)) if not fresh else None if v._tape.is_leaf else self.begun_with(*next(begun))
        with Naming(self.call, event), as_used(self.call, outputs):
            backward_eager(outputs, flags[0], flags[1], None if flags[2] is ANY_SCALE else flags[2], True)
        for (node, _), (_, outcome, _) in zip(handed, event.grads[0], strict=True):
            self.fill(as_variable(node.grad), outcome)
        for (node, _), (_, outcome) in zip(kept, retained, strict=True):
            self.fill(as_variable(node.grad), outcome)
        for node, now in [*handed, *kept, *roots]:      # what the program did with gradients since stays done
            node.grad = now
        for node, scale in scales:
            node.loss_scale = scale

    def begun_with(self, vid, ones):
        """A gradient that the library begins a walk with, under the number that the recording gave it: gradients of gradients take it."""
        made = ones.copy()
        self.call.know(made, vid)
        return Variable(made, requires_grad=False)

    def call_node(self, vid):
        x = self.real.get(vid, self.call.leaves.get(vid))
        return x._tape if x._tape is not None else x.node._tape

    def _grad(self, event, final):
        n_out, n_in, given, set_grad, double = event.key
        xs = [self.operand(o) for o in event.operands]
        seeds, begun = iter(xs[n_out + n_in:]), iter(event.constants)
        grad_outputs = [self.begun_with(*next(begun)) if none else next(seeds) for none in given or (True,) * n_out]
        with Naming(self.call, event), as_used(self.call, xs[:n_out]):
            results = grad_eager(xs[:n_out], xs[n_out:n_out + n_in], grad_outputs, None, False, False, double, None)
        for g, outcome, place in zip(results, event.outs, event.same, strict=True):
            if g is not None and place is None:
                self.fill(g, outcome)

    def _read(self, event, final):
        """Looking changes nothing."""

    def _unchain(self, event, final):
        v = self.operand(event.operands[0])
        if isinstance(v, Variable):
            getattr(v, event.key[2])()
