"""Matchers: for each pattern of operands one function, made of text, that checks an application against a known event and pends its result.

Matching is what a verified replay pays for every operation of the user's program, so what is known when the event is recorded is settled then: which
operands are values of the call, which are numbers, and whether the result needs a gradient. Whatever is less plain (views, ints, several outputs,
checks of operands' values) goes the general way, ``take_any``.
"""
import functools
import sys
import warnings

from hybridnn.core.variable import Variable
from hybridnn.trace.events import Number, vid_of
from hybridnn.trace.floats import WARNS_ALIKE, error_state
from hybridnn.trace.matching import bind, take_any, unbind
from hybridnn.trace.operands import same_number

__all__ = ["matcher"]

CHECKS = {
    "value": "type({x}) is Variable and {x}._pending is call and {x}._vid == {w} and {w} not in call.snapshots",
    "float": "type({x}) is float",
    "static": "same_number({x}, {w}.value)",
    "leaf": "bind(call, {w}, {x}, bound)",
}
MOVING = ("view", "gather", "pad")       # kinds of operations that NumPy never warns of
STORES = {"float": "    call.values[{w}] = {x}\n", "static": "    call.values[{w}.vid] = {x}\n"}


def matcher(event, views):
    """A pair (function, wants) for an operation's event; ``function(call, event, inputs)`` gives the result, pending, or None if the operands are not
    those of the event, which it compares with ``event.wants``. ``views``: values whose memory belongs to others, which may have been written into.
    """
    kinds = tuple([_kind(o, views) for o in event.operands])
    if None in kinds or event.key[0].multi or event.views or event.check is not None or event.flush:
        return take_any, None
    wants = tuple([vid_of(o) if kind in ("value", "float") else o for o, kind in zip(event.operands, kinds, strict=True)])
    return _written(kinds, event.outs[0].requires_grad, event.key[0].kind not in MOVING), wants


def _kind(operand, views):
    if type(operand) is int:
        return "value" if operand >= 0 and operand not in views else None
    if type(operand) is Number:
        return "static" if operand.value is not None else "float" if operand.type is float else None
    return "leaf"


@functools.cache
def _written(kinds, graded, computes):
    """The function of a pattern."""
    xs, ws = [[f"{letter}{k}" for k in range(len(kinds))] for letter in "xw"]
    state = [f"error_state() is call.errors and {WARNS_ALIKE}"] if computes else []
    ways = "    filters, content, show, stream, _ = call.ways\n" if computes else ""
    checks = state + [CHECKS[kind].format(x=x, w=w) for kind, x, w in sorted(zip(kinds, xs, ws, strict=True), key=lambda triple: triple[0] == "leaf")]
    stores = [STORES[kind].format(x=x, w=w) for kind, x, w in zip(kinds, xs, ws, strict=True) if kind in STORES]
    begin, undo = ("    bound = []\n", "        unbind(call, bound)\n") if "leaf" in kinds else ("", "")
    text = f"""\
def match(call, event, inputs):
    if len(inputs) != {len(kinds)}:
        return take_any(call, event, inputs)
    {', '.join(xs)}, = inputs
    {', '.join(ws)}, = event.wants
{ways}{begin}    if not ({' and '.join(checks)}):
{undo}        return take_any(call, event, inputs)
{''.join(stores)}    v = new(Variable)
    v._pending = call
    v._vid = event.vid
    v._spec = event.spec
{'' if graded else '    v._requires_grad = False' + chr(10)}    call.pending.append(v)
    call.path.append(event)
    call.cursor = event
    return v
"""
    names = {"__name__": __name__, "Variable": Variable, "new": object.__new__, **{f.__name__: f for f in (same_number, take_any, bind, unbind)},
             "error_state": error_state, "warnings": warnings, "sys": sys}
    exec(compile(text, f"{__file__} (match)", "exec"), names)       # a file of the library, not of the user
    return names["match"]
