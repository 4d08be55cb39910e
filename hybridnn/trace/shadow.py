"""``check=p``: some replays are also run eagerly, and the two must agree.

A verified replay compares each segment that it computes with the same segment run operation by operation (``compare.py``). A call that would skip Python
is replayed first; what it changed is noted and taken back, and the function itself runs eagerly: so its side effects happen once, and what stays is what
eager did.
"""
import types

import numpy as np

from hybridnn.backend import is_array
from hybridnn.config import state
from hybridnn.core.application import apply_eager, apply_inplace_eager
from hybridnn.core.backprop import backward_eager, grad_eager
from hybridnn.core.variable import READERS, Variable
from hybridnn.errors import user_line
from hybridnn.trace.compare import compute, difference, interpret, magnitude, mismatch, same
from hybridnn.trace.events import path_to
from hybridnn.trace.refs import class_lookup, is_slot
from hybridnn.trace.skip_plan import Miss, Refused
from hybridnn.trace.streams import put_stream_back, stream_state
from hybridnn.trace.unseen import unseen

__all__ = ["checked_replay"]

ROUNDED = 100.0      # how much looser values are compared that rounded operands, not the same ones, were made into


class Logged:
    """An executable that notes what it was given and what it returned."""

    def __init__(self, segment, log):
        self.segment, self.log = segment, log

    def __call__(self, arrays):
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
        results = self.segment.executable(arrays)
        produced = {v: np.array(r) for v, r in zip(self.segment.outputs, results, strict=True)}
        roots = dict(zip(self.segment.inputs, arrays, strict=True))
        produced.update({newest: roots[root].copy() for root, newest in self.segment.writes})
        self.log.append((self.segment.graph, given, produced))
        return results


class Shadow:
    """The tracer of the eager run: notes every operation with its results and line."""
    mode = "shadow"

    def __init__(self):
        self.log = []

    def apply(self, op, inputs, attrs):
        result = self._plainly(apply_eager, op, inputs, attrs)
        self.log.append((op, numbers(inputs), [np.array(v._array) for v in (result if op.multi else (result,))], user_line(3)))
        return result

    def _plainly(self, fn, *args):
        """Without the tracer, so that what ``fn`` does inside is not noted."""
        state.tracer = None
        try:
            return fn(*args)
        finally:
            state.tracer = self

    def apply_inplace(self, op, inputs, targets, attrs):
        self._plainly(apply_inplace_eager, op, inputs, targets, attrs)
        arrays = [x._array if isinstance(x, Variable) else x for x in inputs]
        self.log.append((op, numbers(inputs), [np.array(arrays[k]) for k in targets], user_line(3)))

    def backward(self, outputs, retain_grad, double, loss_scale):
        self._plainly(backward_eager, outputs, retain_grad, double, loss_scale, double)

    def grad(self, *args):
        return self._plainly(grad_eager, *args)

    def apply_function(self, function, inputs):
        return self._plainly(function.apply_eager, inputs)

    def note_function(self, function, gs):
        """Its Python runs as ever."""
        return gs

    def note_hooks(self):
        """They run as ever."""

    def note_warning(self):
        """It is the program that warns, not a plan."""

    def read(self, v, kind, args):
        return READERS[kind](self._plainly(lambda: v.array), *args)

    def expose(self, v):
        """Nothing is pending."""

    def assign(self, v, a):
        """Nothing is pending."""

    def settle(self):
        """Nothing is pending."""

    def unchain(self, v, how):
        """False: not done here."""
        return False

    def note_draw(self, name, args, value):
        """Draws come from the same stream."""


@unseen
def checked_replay(memory, plan, self_object, fn, args, kwargs):
    """The result of a call that skips Python, compared with the function itself, which has the last word; or the plan's ``Miss`` or ``Refused``."""
    try:
        touched = plan.touched(self_object, args, kwargs)
    except (AttributeError, IndexError, KeyError, TypeError):        # these arguments are not the plan's: its guards say which
        return plan.run(self_object, args, kwargs)
    before = Kept(touched)
    log = []
    result = _logged(plan, log)(self_object, args, kwargs)
    if type(result) in (Miss, Refused):
        return result
    replayed = [*flat("result", result), *Kept(touched).facts()]
    before.restore()
    shadow = Shadow()
    state.tracer = shadow
    try:
        result = fn(*args, **kwargs)
    finally:
        state.tracer = None
    expected = [*flat("result", result), *Kept(touched).facts()]
    if not _agree(expected, replayed):
        found = _explained(plan, log, shadow.log, expected, replayed)
        if found is not None:
            raise mismatch(memory.name, *found)
    return result


def numbers(inputs):
    """The Python numbers among the operands, None for the others."""
    return [x if isinstance(x, (int, float)) else None for x in inputs]


def _agree(expected, replayed, loosely=1.0):
    scale = magnitude([x for _, x in expected])
    return len(expected) == len(replayed) and all(a == b and same(x, y, scale, loosely) for (a, x), (b, y) in zip(expected, replayed, strict=True))


def _logged(plan, log):
    """The plan's function, with executables that note their inputs."""
    executables = {id(s.executable): s for s in plan.segments}
    names = {k: Logged(executables[id(v)], log) if id(v) in executables else v for k, v in plan.run.__globals__.items()}
    return types.FunctionType(plan.run.__code__, names, "replay", plan.run.__defaults__)


def _explained(plan, log, eager, expected, replayed):
    """(op, line, eager's, the replay's): a kernel that computes otherwise, or the first operation that was another one or had other operands."""
    values, scale = {}, 0.0
    for graph, given, produced in log:
        own = interpret(graph, given)
        found = difference(graph, given, produced, own)
        if found is not None:
            return found
        scale = max(scale, magnitude(own.values()))
        values.update(zip(graph.inputs, given, strict=True))
        values.update(graph.constants)
        values.update(compute(graph, given))
    events = [e for e in path_to(plan.end) if e.kind in ("op", "inplace")]
    for (op, given, results, line), event in zip(eager, events):
        node = event.apps[0].node
        if node.op is not op:
            return op.name, line, op.name, node.op.name
        for x, v in zip(given, node.inputs, strict=True):
            if x is not None and v in values and not same(x, values[v]):
                return op.name, line, x, values[v]
        for x, v in zip(results, node.outputs, strict=True):
            if v in values and not same(x, values[v], scale, ROUNDED):
                return op.name, line, x, values[v]
    if len(eager) != len(events):
        op, line = (eager[len(events)][0], eager[len(events)][-1]) if len(eager) > len(events) else (events[len(eager)].key[0], events[len(eager)].line)
        return op.name, line, f"{len(eager)} operations", f"{len(events)} operations"
    if _agree(expected, replayed, ROUNDED):
        return None
    where = next((e.line for e in path_to(plan.end) if e.kind in ("backward", "grad")), plan.end.line)
    for (what, x), (other, y) in zip(expected, replayed):
        if what != other or not same(x, y, scale, ROUNDED):
            return what, where, x, y
    return "result", where, f"{len(expected)} values", f"{len(replayed)} values"


def flat(path, x):
    """(path, value) of all arrays and numbers in a result, copied."""
    if isinstance(x, Variable):
        return [(path, None if x._array is None else np.array(x._array))]
    if is_array(x):
        return [(path, np.array(x))]
    if isinstance(x, (list, tuple)):
        return [(path, len(x)), *[fact for k, v in enumerate(x) for fact in flat(f"{path}[{k}]", v)]]
    if isinstance(x, dict):
        return [(path, len(x)), *[fact for k, v in x.items() for fact in flat(f"{path}[{k!r}]", v)]]
    return [(path, x if isinstance(x, (int, float, str, bool, type(None))) else type(x))]


def found(kind, owner, key, missing):
    """What stands at a place that a plan assigns; for a list that it appends to, its length, and for others that get other members, all of it."""
    if kind in ("append", "grow") and type(owner) is list:
        return len(owner)
    if kind in ("append", "members"):
        return list(owner)
    if kind == "cell":
        return owner.cell_contents
    if kind == "attr":
        return getattr(owner, *key, missing) if _in_slot(owner, *key) else vars(owner).get(*key, missing)
    if type(owner) is list:         # which may have become shorter, as the plan is going to see
        return owner[key[0]] if -len(owner) <= key[0] < len(owner) else missing
    return owner.get(*key, missing)


def _in_slot(owner, name):
    return is_slot(class_lookup(type(owner), name), name)


def put_back(kind, owner, key, value, missing):
    """The reverse of ``found``."""
    if kind in ("append", "grow") and type(owner) is list:
        del owner[value:]
    elif kind in ("append", "members"):
        owner.clear()
        owner.extend(value)
    elif kind == "cell":
        owner.cell_contents = value
    elif kind == "attr" and _in_slot(owner, *key):
        delattr(owner, *key) if value is missing else setattr(owner, *key, value)
    elif kind == "attr" and value is not missing:
        vars(owner)[key[0]] = value
    elif kind == "attr":
        vars(owner).pop(*key, None)
    elif value is missing and type(owner) is not list:
        owner.pop(*key, None)
    elif value is not missing:
        owner[key[0]] = value


class Kept:
    """What a plan changes, as it is now."""

    def __init__(self, touched):
        self.nodes, self.arrays, self.attributes, self.counters, self.streams = touched
        self.grads = [n.grad for n in self.nodes]
        self.copies = [a.copy() for a in self.arrays]
        self.values = [found(*place, self) for place in self.attributes]
        self.counts = [list(c) for c in self.counters]
        self.drawing = [stream_state(s) for s in self.streams]

    def facts(self):
        """(what, value) pairs to compare."""
        places = zip(self.attributes, self.values, strict=True)
        return [*[f for k, g in enumerate(self.grads) for f in flat(f"gradient {k}", g)], *[(f"array {k}", a) for k, a in enumerate(self.copies)],
                *[f for (kind, _, key), v in places for f in flat(f"{kind} {key}", v)], *[("counter", c[0]) for c in self.counts]]

    def restore(self):
        """Take everything back."""
        for n, g in zip(self.nodes, self.grads, strict=True):
            n.grad = g
        for a, copied in zip(self.arrays, self.copies, strict=True):
            a[...] = copied
        for place, v in zip(self.attributes, self.values, strict=True):
            put_back(*place, v, self)
        for c, old in zip(self.counters, self.counts, strict=True):
            c[:] = old
        for stream, drawing in zip(self.streams, self.drawing, strict=True):
            put_stream_back(stream, drawing)
