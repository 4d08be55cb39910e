"""``hnn.grad`` inside a traced function: one event of many applications."""
import numpy as np

from hybridnn.core.backprop import grad_eager
from hybridnn.core.variable import Variable, as_variable
from hybridnn.spec import spec_of
from hybridnn.trace.backward import goes_outside
from hybridnn.trace.events import Outcome
from hybridnn.trace.matching import match
from hybridnn.trace.path_tape import early_node
from hybridnn.trace.recording import composite, constant

__all__ = ["match_grad", "record_grad"]


def _operands(outputs, inputs, grad_outputs):
    return [*outputs, *inputs, *[g for g in grad_outputs or () if g is not None]]


def _key(outputs, inputs, grad_outputs, set_grad, double):
    return (len(outputs), len(inputs), tuple(g is None for g in grad_outputs or ()), set_grad, double)


def _places(given, results):
    """Which results are Variables that are operands, or results before: their places among all these."""
    known = [*given, *results]
    places = [next(i for i, v in enumerate(known) if v is g) for g in results]
    return tuple([i if g is not None and i < len(given) + k else None for k, (i, g) in enumerate(zip(places, results, strict=True))])


def record_grad(call, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
    """``hnn.grad``, added to the tree."""
    given = [as_variable(x) for x in _operands(outputs, inputs, grad_outputs)]
    event = composite(call, "grad", given)
    if event is None:
        with call.paused():
            return grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale)
    event.key = _key(outputs, inputs, grad_outputs, set_grad, double)
    call.inner = event
    told = iter(given[len(outputs) + len(inputs):])
    seeds = [None if g is None else next(told) for g in grad_outputs or [None] * len(outputs)]
    for i, v in enumerate(outputs):
        if seeds[i] is None:
            ones = np.ones(v.shape, v.dtype)
            vid = constant(call, ones.copy())
            call.know(ones, vid)
            seeds[i] = Variable(ones, requires_grad=False)
    try:
        results = grad_eager(outputs, inputs, seeds, None, set_grad, False, double, None)
    finally:
        call.inner = None
    if call.mode != "record":
        return results
    vids = [None if g is None else call.known_vid(g) for g in results]
    if goes_outside(call, outputs, inputs) or any(g is not None and vid is None for g, vid in zip(results, vids, strict=True)):
        call.give_up("hnn.grad reached a graph from before the call")
        return results
    event.outs = tuple([None if g is None else Outcome(vid, spec_of(g._array), g._requires_grad) for g, vid in zip(results, vids, strict=True)])
    for g in results:
        if g is not None and g._pending is call:
            call.know(g._array, g._vid, g._requires_grad)       # it may be a copy
    event.same = _places(given, results)
    call.add(event)
    return results


def match_grad(call, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
    """Pending gradients if a known event matches, else None."""
    key = _key(outputs, inputs, grad_outputs, set_grad, double)
    given = [as_variable(x) for x in _operands(outputs, inputs, grad_outputs)]
    for event in call.cursor.children:
        if event.kind == "grad" and event.key == key and match(call, event.operands, given):
            call.advance(event)
            results = _pending(call, event, given)
            if set_grad:
                for x, g in zip(inputs, results, strict=True):
                    (early_node(x) if x._pending is call else x._tape or x.node._tape).grad = g
            return results
    return None


def _pending(call, event, given):
    """The results of a known event."""
    known = list(given)
    for outcome, place in zip(event.outs, event.same, strict=True):
        known.append(None if outcome is None else call.pend_alone(outcome) if place is None else known[place])
    return known[len(given):]
