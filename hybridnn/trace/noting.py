"""Noting what backward does without computing it: the gradients themselves come from backward on plain arrays, as in an eager call.

Gradient rules are written with operations, and what they do depends on shapes alone: on Variables without arrays they give the operations of the recording,
and take none of the time that the fine operations would. Rules that look at values all the same are run on values.
"""
import functools
import weakref

import numpy as np

from hybridnn.core.backprop import backward_eager
from hybridnn.core.programs import RELEASED
from hybridnn.core.tape import TracedNumber
from hybridnn.core.variable import Variable
from hybridnn.errors import raised_by_signal
from hybridnn.graph import Node, infer_fast
from hybridnn.jit.collector import collector_at_rest
from hybridnn.spec import spec_of
from hybridnn.trace.events import App
from hybridnn.trace.operands import NUMBER_TYPES

__all__ = ["NeedsValues", "note_backward", "note_inner"]

_new = object.__new__
CHEAP = ("elementwise", "reduction", "view", "matmul")      # kinds of operations whose results' shapes are found without work on whole arrays
MOVING = ("gather", "scatter", "pad", "elementwise_iota")
SMALL, LARGE = 1 << 16, 1 << 21         # elements of the operands of others, and of those that move data: once for all operations of one shape


class NeedsValues(Exception):
    """A gradient cannot be noted without values."""


def note_backward(call, event, outputs, loss_scale):
    """Adds the applications of backward to the event, and runs it. Returns triples (node, its gradient, whether it was added to another), or None where it
    takes values to note it; then nothing has changed."""
    nodes = [v._tape for v in outputs if v._tape is not None]
    seeds, before, found = [n.grad for n in nodes], (len(event.apps), len(event.host), len(event.constants)), []

    def store(node, g, as_variables, scale):
        if node.grad is not None:
            raise NeedsValues
        found.append((node, call.known_vid(g)))
    call.inner, call.unvalued = event, True
    try:
        with collector_at_rest():
            backward_eager(outputs, False, False, loss_scale, True, store)
    except Exception as error:        # what goes wrong with values, too, does so again
        if raised_by_signal(error):
            raise
        for entries, n in zip((event.apps, event.host, event.constants), before, strict=True):
            del entries[n:]
        return None
    finally:
        call.inner, call.unvalued = None, False
        for node, seed in zip(nodes, seeds, strict=True):
            node.grad = seed
    traced = call.take_plain_numbers()      # NumPy promotes others in another way
    try:
        with call.paused():
            backward_eager(outputs, False, False, loss_scale, False)
    finally:
        for node, saved in traced:
            if node.saved is not None and node.saved is not RELEASED:
                node.saved = saved
    return [(node, _named(call, node, vid), False) for node, vid in found]


def _named(call, node, vid):
    """The gradient that backward has stored, as a Variable of the call; as ``grad_var`` makes one of an array, it is one that needs a gradient."""
    v = _new(Variable)
    a = v._array = node.grad if isinstance(node.grad, np.ndarray) else node.grad._array
    v._pending, v._vid, v._spec = call, vid, spec_of(a)
    if vid is not None:
        assert call.specs.get(vid, v._spec) == v._spec, f"a gradient of {v._spec} was noted as one of {call.specs[vid]}"
        call.know(a, vid, True)
        call.fresh.add(vid)
    call.survivors.append(weakref.ref(v))
    node.grad = v
    return v


def note_inner(call, op, inputs, attrs):
    """An application of the event that is being recorded; its results have no arrays."""
    vids, specs, mask = [], [], 0
    for i, x in enumerate(inputs):
        vid, spec = _operand(call, x)
        vids.append(vid)
        specs.append(spec)
        if isinstance(x, Variable) and x._requires_grad:
            mask |= 1 << i
    items = tuple(attrs.items())
    outs = []
    for spec in _specs(op, tuple(specs), items):
        v = _new(Variable)
        v._array, v._pending, v._vid, v._spec = None, call, call.new_vid(spec), spec
        if not mask or not op.rules:
            v._requires_grad = False
        outs.append(v)
    node = Node(op, tuple(vids), tuple([v._vid for v in outs]), items, call.inner.line)
    call.inner.apps.append(App(node, mask, False))
    return tuple(outs) if op.multi else outs[0]


def _operand(call, x):
    """The number and the Spec of an operand."""
    if isinstance(x, Variable) and x._pending is call:
        vid, spec = x._vid, x._spec
    elif isinstance(x, TracedNumber):
        return x.vid, spec_of(x.plain())
    elif type(x) in NUMBER_TYPES:
        return call.constant(x), spec_of(x)
    else:
        a = x._array if isinstance(x, Variable) else x
        vid = call.known_vid(x)
        if vid is None or not isinstance(a, np.ndarray):
            raise NeedsValues
        spec = spec_of(a)
    if vid in call.stale:
        raise NeedsValues
    return vid, spec


def _specs(op, specs, items):
    most = LARGE if op.kind in MOVING else SMALL
    plain = op.kind in CHEAP or all([s.size <= most for s in specs])
    if not plain or op.kind == "view" and any(type(i) is bool for _, index in items if type(index) is tuple for i in index):      # True is equal to 1
        raise NeedsValues
    try:
        return _inferred(op, specs, items)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        raise NeedsValues from None


_inferred = functools.lru_cache(8192)(infer_fast)
