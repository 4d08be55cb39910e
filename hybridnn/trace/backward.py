"""``backward`` inside a traced function: one event of many applications."""
import weakref

from hybridnn.core.backprop import backward_eager, initial_grad
from hybridnn.core.programs import NO_ATTRS, OPS
from hybridnn.core.variable import Variable, as_variable
from hybridnn.core.walk import own
from hybridnn.exact import exact
from hybridnn.spec import spec_of
from hybridnn.trace.events import ANY_SCALE, Outcome
from hybridnn.trace.matching import match
from hybridnn.trace.noting import note_backward
from hybridnn.trace.operands import has_creator, same_bytes
from hybridnn.trace.path_tape import early_node, leaf_node, producers, saved_values
from hybridnn.trace.recording import composite, constant, operand_of

__all__ = ["give_scaled", "goes_outside", "is_seeded_beside", "leave_if_written", "match_backward", "record_backward"]

_new = object.__new__


def leave_if_written(call, outputs, inputs=()):
    """Gradients come from arrays as they are now, which is not how the graph used those that have been written since. Other threads add snapshots meanwhile.
    ``inputs``: where gradients end, as far as these have no graph."""
    written = {vid for vid, pair in list(call.snapshots.items()) if not same_bytes(*pair)} if call.mode == "replay" else ()
    if not written:
        return
    ends = {call.known_vid(x) for x in inputs if x._pending is not call and (x._tape is None or x._tape.is_leaf)}
    graph = saved_values(producers(call.path), [vid for vid in map(call.known_vid, outputs) if vid is not None], call.cut | ends)
    oldest = call.introduced().oldest       # an update gives an array another number
    if not {oldest(vid) for vid in written}.isdisjoint([oldest(call.origin(vid)) for vid in graph]):
        call.give_up("an array is written between its use and backward")


def is_seeded_beside(call, outputs):
    """Whether a value that is one of several of its operation has a gradient, which backward may use though it begins elsewhere."""
    alive = [*call.pending, *[v for ref in call.survivors if (v := ref()) is not None]]
    seeded = [v._vid for v in alive if v._tape is not None and v._tape.grad is not None and not any(v is y for y in outputs)]
    if not seeded:
        return False
    made = producers(call.path)
    return any(vid in made and len(made[vid][0].node.outputs) > 1 for vid in seeded)


def give_scaled(outputs, loss_scale):
    """Give outputs the gradients that a scaled backward begins with, as a program could: the scale is read in every call, in which it may be another."""
    without = [v for v in outputs if v._tape is None or v._tape.grad is None]
    if all(v._requires_grad and v.size == 1 and (v._pending is not None or not v._tape.is_leaf) for v in without):
        for v in without:
            early_node(v).grad = initial_grad(v, loss_scale)


def _key(flags, seeds):
    """What tells one backward from another. Where it begins with gradients that are given, it matters whether there is a scale, not which."""
    retain_grad, double, scale, n = flags
    unseeded = tuple([g is None for g in seeds])
    if scale is not None and not any(unseeded):
        scale = ANY_SCALE
    return (retain_grad, double, scale, n), unseeded, exact(scale)


def record_backward(call, outputs, flags):
    """Backward on Variables, added to the tree with the gradients that it stores."""
    retain_grad, double, loss_scale, _ = flags
    seeds = [None if v._tape is None else v._tape.grad for v in outputs]
    earlier = {v._tape: g for v, g in _gradients(call)} if retain_grad else {}
    event = composite(call, "backward", [*outputs, *[g for g in seeds if g is not None]])
    if event is None:
        with call.paused():
            backward_eager(outputs, retain_grad, double, loss_scale, double)
        return
    event.key = _key(flags, seeds)
    _seed(call, outputs, seeds, loss_scale, event)
    stored, priors = None if retain_grad or double else note_backward(call, event, outputs, loss_scale), []
    if stored is None:
        stored = _compute_backward(call, event, outputs, flags, priors)
    if retain_grad and not double:
        for v, g in zip(outputs, seeds, strict=True):
            if not isinstance(g, Variable) and v._tape is not None and isinstance(v._tape.grad, Variable):
                v._tape.grad._requires_grad = True      # as ``grad_var`` makes it of an array
    _finish_backward(call, event, outputs, stored, priors, retain_grad, double, earlier)
    stored.clear()


def _compute_backward(call, event, outputs, flags, priors):
    """Backward on Variables with arrays; ``priors`` gets the operands that the leaves' earlier gradients are."""
    retain_grad, double, loss_scale, _ = flags
    stored, taken = [], [v._tape.grad for v in outputs if v._tape is not None]

    def store(node, g, as_variables, scale):
        prior = node.grad
        node.loss_scale = scale
        if prior is not None:
            prior = prior if isinstance(prior, Variable) else Variable(prior, requires_grad=False)
            if call.mode == "record":
                operand = operand_of(call, prior, "add")
                if operand is not None:
                    priors.append(operand)
            g = call.apply(OPS["add"], (prior, g), NO_ATTRS)
        keep(node, g)
        stored.append((node, node.grad, prior is not None))

    def keep(node, g, as_variables=True):
        node.grad = _alone(call, g) if double else _own(call, g, taken)
        taken.append(node.grad)
    call.inner = event
    try:
        backward_eager(outputs, retain_grad, double, loss_scale, True, store, keep)
    finally:
        call.inner = None
    return stored


def _alone(call, g):
    """The gradient itself, with its graph; its array is no view, nor a broadcast one."""
    if g._array.base is not None and call.known_vid(g) is not None:
        call.know(own(g)._array, call.known_vid(g), g._requires_grad)
    return own(g)


def _own(call, g, taken):
    """A gradient whose array is nobody else's, as backward on plain arrays stores it, and which needs a gradient, as ``grad_var`` makes it."""
    a = g._array
    alone = a.base is None and a.flags.owndata and g._pending is call and not any(a is other._array for other in taken if isinstance(other, Variable))
    v = _new(Variable)
    v._array = a if alone else a.copy()
    v._pending, v._vid, v._spec = call, call.known_vid(g), spec_of(a)
    if v._vid is not None:
        call.know(v._array, v._vid, True)
        call.ids[id(v._array)] = ~v._vid
    call.survivors.append(weakref.ref(v))
    return v


def _seed(call, outputs, seeds, loss_scale, event):
    """Initial gradients that the library makes are constants of the path."""
    call.inner = event
    for v, g in zip(outputs, seeds, strict=True):
        if g is None and v._tape is not None and not v._tape.is_leaf:
            ones = initial_grad(v, loss_scale)
            vid = constant(call, ones.copy())
            call.know(ones, vid)
            v._tape.grad = Variable(ones, requires_grad=False)
    call.inner = None


def _gradients(call):
    """Values that are alive, with their gradients, where these are Variables."""
    alive = [v for ref in call.survivors if (v := ref()) is not None and v._tape is not None]
    return [(v, v._tape.grad) for v in alive if isinstance(v._tape.grad, Variable)]


def goes_outside(call, outputs, inputs=()):
    """Whether gradients go on from these values to a graph from before the call, which may be another on every call; ``inputs``: where they end."""
    made, ends = producers(call.path), {call.known_vid(x) for x in inputs}
    stack, seen = [call.known_vid(v) for v in outputs], set()
    while stack:
        vid = stack.pop()
        if vid in seen or vid in ends or vid in call.cut:
            continue
        seen.add(vid)
        if vid in call.leaves and has_creator(call.leaves[vid]):
            return True
        if vid in made and made[vid][0].taped:
            node, mask = made[vid][0].node, made[vid][0].mask
            stack += [v for i, v in enumerate(node.inputs) if mask >> i & 1]
    return False


def _finish_backward(call, event, outputs, stored, priors, retain_grad, double, earlier):
    if call.mode != "record":
        return
    if goes_outside(call, outputs):
        call.give_up("backward reached a graph from before the call")
        return
    grads = []
    for node, g, accumulated in stored:
        vid, gvid = call.nodes.get(id(node)), call.known_vid(g)
        if vid is None or gvid is None:
            call.give_up("backward reached a graph from before the call")
            return
        grads.append((vid, Outcome(gvid, spec_of(g._array), g._requires_grad), accumulated))
    retained = []
    if retain_grad:
        for v, g in _gradients(call):
            if earlier.get(v._tape) is not g and not any(v is y for y in outputs) and (gvid := call.known_vid(g)) is not None:
                retained.append((v._vid, Outcome(gvid, spec_of(g._array), g._requires_grad)))
    event.grads = (tuple(grads), tuple(retained))
    event.operands = (*event.operands, *priors)
    if not double:
        call.note_walk(outputs)
    call.add(event)


def match_backward(call, outputs, flags):
    """Whether a known event matches; then the leaves have pending gradients."""
    seeds = [None if v._tape is None else v._tape.grad for v in outputs]
    key = _key(flags, seeds)
    given = [as_variable(x) for x in [*outputs, *[g for g in seeds if g is not None]]]
    for event in call.cursor.children:
        if event.kind != "backward" or event.key != key:
            continue
        targets = [leaf_node(call, vid) for vid, _, _ in event.grads[0]]
        if None in targets or any((n.grad is not None) is not acc for n, (_, _, acc) in zip(targets, event.grads[0], strict=True)):
            continue
        priors = [as_variable(n.grad) for n in targets if n.grad is not None]
        if match(call, event.operands, [*given, *priors]):
            call.advance(event)
            _take_grads(call, event, outputs, seeds, targets, flags)
            return True
    return False


def _take_grads(call, event, outputs, seeds, targets, flags):
    event_grads, retained = event.grads
    shared = {call.known_vid(g): g for g in seeds if isinstance(g, Variable)} if flags[1] else {}

    def take(outcome):
        """The gradient itself goes to all that have it if it is in a graph; else each gets its own."""
        if outcome.vid in shared:
            return shared[outcome.vid]
        g = call.pend_alone(outcome)
        if flags[1]:
            shared[outcome.vid] = g
        return g
    for node, (_, outcome, _) in zip(targets, event_grads, strict=True):
        node.loss_scale = flags[2]
        node.grad = take(outcome)
    wanted = dict(retained)
    computed = [(v, v._vid) for ref in call.survivors if (v := ref()) is not None] if wanted else []
    for v, vid in [*[(v, v._vid) for v in call.pending], *computed]:
        if vid in wanted:
            early_node(v).grad = take(wanted[vid])
    ones = iter(event.constants)       # those that the library makes for gradients to begin with come first
    for v, g in zip(outputs, seeds, strict=True):
        if v._pending is call and v._requires_grad and (flags[0] or g is not None):
            early_node(v).grad = None if not flags[0] else _beginning(v, flags, shared, next(ones)[0]) if g is None else g
    if not flags[1]:
        call.note_walk(outputs)


def _beginning(v, flags, shared, vid):
    """The gradient that the library makes for backward to begin with, where it is kept."""
    if vid in shared:
        return shared[vid]
    g = initial_grad(v, flags[2])
    return Variable(g, requires_grad=False) if flags[1] else g
