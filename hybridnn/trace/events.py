"""What a traced function remembers: a tree of events, one path through it per control-flow path of the function.

An ``Event`` is one thing that the function did to the graph: applied an op, ran backward, updated arrays in place, or looked at a value. Its
operands are numbered values (vids), fixed along a path; ``Leaf`` describes a value that came from outside, bound at run time; ``Number`` a
Python number, read anew on every call. Children are the events seen next; several of them are a branch.
"""
from collections.abc import Callable
from dataclasses import dataclass, field

from hybridnn.graph import Node
from hybridnn.spec import Spec

__all__ = ["ANY_SCALE", "FUNCTION", "LIMIT", "App", "Event", "Leaf", "Number", "Outcome", "below", "outcomes", "path_to", "spec_along", "terminals", "vid_of"]

LIMIT = 2 ** 63       # run-time ints fit 64 bits
ANY_SCALE = "any"     # in the key of a backward that begins with gradients which hold the loss scale


class _Function:
    """Stands for a user's function in a path's applications: opaque, and its node keeps by itself what its gradient needs."""
    name, multi = "function", True
    keep, keep_output = (), False

    def program(self, mask, n):
        return self


FUNCTION = _Function()


@dataclass(frozen=True, slots=True)
class Leaf:
    """An operand from outside the call: spec, whether it needs a gradient, whether it has a creator from an earlier call, and the strides of its array
    if it is not contiguous. ``again``: an array that this call knows already: ``"made"`` if the program has made another Variable of it, without a
    creator; ``"changed"`` if it may have written into what this call has computed and shown; ``"written"`` if it has written into what comes from
    outside."""
    vid: int
    spec: Spec
    requires_grad: bool
    is_variable: bool
    has_creator: bool
    strides: tuple | None = None
    again: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A Python number operand. ``value`` is None for a run-time number, else the number it must be (type and bits). A run-time int is in ``within``."""
    vid: int
    type: type
    value: object = None
    within: range = range(-LIMIT, LIMIT)


@dataclass(frozen=True, slots=True)
class App:
    """An application in the graph; ``mask`` has a bit per operand that needs a gradient, ``taped`` says whether it went on the tape."""
    node: Node
    mask: int
    taped: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an output Variable looks like: its value, spec and flags."""
    vid: int
    spec: Spec
    requires_grad: bool


@dataclass(eq=False, slots=True)
class Event:
    """One step of a path.

    Attributes:
        kind: root, op, function, inplace, backward, grad, read, expose, unchain or end.
        key: what must be equal for a replay to match, beside the operands (op, attrs, flags, outcome of a look).
        operands: an int (a value of this path; ``~vid`` where its bare array is used, without its gradient), ``Leaf`` (bound here for the first
            time) or ``Number`` per operand.
        outs: the Variables it returned.
        apps: the graph nodes it stands for.
        host: pairs (vid, function, vids): numbers computed from run-time numbers by gradient rules.
        grads: for backward: triples (operand position or vid of the leaf, vid of its gradient, whether it was accumulated).
        same: for grad: per result, its place among operands and results if it is the very Variable that is there already, else None.
        constants: pairs (vid, array or number).
        specs: the Spec of every vid that the event introduced.
        rebinds: for in-place: pairs (old vid, new vid).
        views: vid of an output -> (vid of the operand whose memory it shares, application, output number).
        function: for a user's function: its application, which is not part of the graphs that are compiled.
        check: ``check(arrays, attrs)`` raises if the operands' values do not fit.
        line: the user's file:line.
        op, attrs, taping: of an operation, its key, one by one; ``exactly(attrs)`` tells equal attributes of other types from those.
        match: of an operation, the function that checks operands against the event; ``wants`` is what it compares them with.
    """
    kind: str
    key: tuple = ()
    operands: tuple = ()
    outs: tuple = ()
    apps: list = field(default_factory=list)
    host: list = field(default_factory=list)
    grads: tuple = ()
    same: tuple = ()
    constants: list = field(default_factory=list)
    specs: dict = field(default_factory=dict)
    rebinds: tuple = ()
    views: dict = field(default_factory=dict)
    line: str = ""
    parent: "Event | None" = None
    children: list = field(default_factory=list)
    segments: dict = field(default_factory=dict)
    depth: int = 0
    next_vid: int = 0
    flush: bool = False
    function: App | None = None
    check: object = None
    op: object = None
    attrs: dict | None = None
    exactly: Callable | None = None
    taping: bool = False
    match: Callable | None = None
    wants: tuple | None = None
    vid: int = -1            # of an operation's only output
    spec: Spec | None = None
    hits: int = 0
    doubt: str = "not tried yet"
    proved: frozenset = frozenset()       # at an end: with which decisions plans were made of its path
    last_used: int = 0
    turns: tuple | None = None       # in its tree: its own and the last below it
    seen: object = None      # at an end: what the last replay in mode "pure" took from outside
    tape: object = None      # at an end: what tapes of its path have in common

    def add(self, child):
        child.parent, child.depth = self, self.depth + 1
        self.children.append(child)
        return child

    def forget(self, links=False):
        """Let go of what was compiled for this event and those below; with ``links`` also of each other, once no call can be on its way among them."""
        stack = [self]
        while stack:
            e = stack.pop()
            stack += e.children
            e.segments.clear()
            e.tape = None
            if links:
                e.children, e.parent = [], None


def vid_of(operand):
    """The value that an operand stands for."""
    if type(operand) is int:
        return operand if operand >= 0 else ~operand
    return operand.vid


def outcomes(event):
    """All Variables that an event made: its results and gradients."""
    found = [o for o in event.outs if o is not None]
    if event.grads:
        found += [o for _, o, _ in event.grads[0]] + [o for _, o in event.grads[1]]
    return found


def path_to(event):
    """The events from the root (excluded) to ``event``."""
    path = []
    while event.parent is not None:
        path.append(event)
        event = event.parent
    return path[::-1]


def spec_along(event, vid):
    """The spec of a value that ``event`` or one before it introduced. Branches give the same numbers to other values."""
    while vid not in event.specs:
        event = event.parent
    return event.specs[vid]


def below(event):
    """``event`` and all events below it."""
    stack = [event]
    while stack:
        e = stack.pop()
        stack += e.children
        yield e


def terminals(event):
    """The ``end`` events below ``event``."""
    return [e for e in below(event) if e.kind == "end"]
