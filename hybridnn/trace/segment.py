"""Segments: the stretch of a path between two points where values are needed, as one graph, compiled and run as a whole."""
import functools
import os
import sys
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.errors import raised_by_signal
from hybridnn.graph import Graph, run, verify
from hybridnn.jit import compile as jit_compile
from hybridnn.trace.compare import check_segment
from hybridnn.trace.events import vid_of
from hybridnn.trace.floats import under
from hybridnn.trace.path_tape import producers, saved_values, values_behind

__all__ = ["Known", "Segment", "build", "run_segment"]

FEW = 32        # events
COMPUTING = ("elementwise", "reduction", "matmul", "convolution", "coarse", "opaque")     # kinds of operations that do arithmetic


@dataclass(eq=False)
class Segment:
    """A stretch of a path: numbers to compute first, values to pass in, values that come out, arrays that change, constants that are given out."""
    graph: Graph
    inputs: tuple
    outputs: tuple
    host: tuple
    writes: tuple      # (root vid, newest vid)
    version: int
    given: tuple = ()  # (vid, array): each call gives out a copy
    executable: object = None

    def compiled(self, owner):
        """The executable; made when it is first needed."""
        if self.executable is None:
            with owner.lock:
                if self.executable is None:
                    self.executable = _compile(self.graph, owner)
                    owner.compiled(self)
        return self.executable


class Interpreted:
    """Stands in for an executable that cannot be made: the graph, run node by node."""
    kernels_compiled = arena_bytes = arena_lower_bound = memory_bytes = memory_lower_bound = 0
    compile_seconds = 0.0
    steps = reusable = ()

    def __init__(self, graph):
        self.graph = graph

    def release(self):
        """There is nothing to let go of."""

    def __call__(self, arrays):
        return run(self.graph, arrays)

    fresh = __call__


def _compile(graph, owner):
    """The executable of a graph. A failure is a defect: tests see it, users get one warning and the same results at eager speed."""
    try:
        return under({"all": "ignore"}, jit_compile, verify(graph))
    except Exception as error:
        if raised_by_signal(error):
            raise
        if not sys.is_finalizing():        # at the end of the interpreter nothing can be imported any more
            if os.environ.get("HYBRIDNN_STRICT"):
                raise
            owner.warn_once("compile", f"a segment could not be compiled and is interpreted: {type(error).__name__}: {error}")
        return Interpreted(graph)


def run_segment(call, events, wanted):
    """Compute the events; afterwards ``call.values`` has every value that is wanted or needed later. Who watches the program sees operations of its own."""
    if call.aside is not None and all(map(_is_own, {app.node.op for e in events for app in e.apps})):
        call.aside(_run, call, events, wanted)
    else:
        _run(call, events, wanted)


def _is_own(op):
    """Whether an operation is the library's."""
    return OPS.get(op.name) is op and getattr(op.forward, "__module__", "").startswith("hybridnn.")


def _run(call, events, wanted):
    last = events[-1]
    key = (events[0].depth, wanted)
    segment = last.segments.get(key)
    if segment is None or segment.version != call.owner.version:
        segment = _current(call, events, key, segment)
    plain = call.interpreting and not call.checked
    compute = functools.partial(run, segment.graph) if plain else segment.compiled(call.owner)      # which may take long
    with call.apart:
        _compute(call, segment, compute)


def _compute(call, segment, compute):
    values = call.values
    if segment.graph.constants:
        values.update(segment.graph.constants)
    for vid, fn, args in segment.host:
        values[vid] = fn(*[values[a] for a in args])
    arrays = [values[v] for v in segment.inputs]
    try:
        results = check_segment(call, segment, arrays, compute) if call.checked else compute(arrays)
    except Exception as error:
        if getattr(error, "after_update", False):
            _write(call, segment)
        raise
    values.update(zip(segment.outputs, results, strict=True))
    for vid, constant in segment.given:
        values[vid] = constant.copy()
    _write(call, segment)


def _write(call, segment):
    """What has been changed in place in copies gets into the arrays that others can write, too."""
    for root, newest in segment.writes:
        call.values[newest] = call.values[root]
        if root in call.snapshots:
            original, copied = call.snapshots[newest] = call.snapshots[root]
            original[...] = copied


def _current(call, events, key, segment):
    """The segment for today's tree: an older one stays good if nothing new is needed."""
    last, owner = events[-1], call.owner
    with owner.lock:
        used, changed = _below(call.root, owner.version, last, _produced(events))
        needed = used | _lost(call, events, changed, key[1])
        if segment is not None and needed <= set(segment.outputs) | {n for _, n in segment.writes}:
            segment.version = owner.version
            return segment
        segment = build(events, key[1] | needed, owner.version, call.introduced())
        last.segments[key] = segment
    return segment


def _produced(events):
    return {v for e in events for app in e.apps for v in app.node.outputs}


def _lost(call, events, changed, wanted):
    """What the graphs of the values ``wanted`` keep of these events, and nobody can compute again once what it rests on has ``changed``: a call may leave its
    path behind that."""
    here = {old for e in events for old, _ in e.rebinds}
    if not changed and not here:
        return here
    made, news, lost = producers(events), {new for e in events for _, new in e.rebinds}, set()
    for vid, (app, *_) in made.items():
        if vid not in news and any(v in lost or v in here or v in changed or call.origin(v) in changed for v in app.node.inputs):
            lost.add(vid)
    return (lost - here - changed) & saved_values(made, wanted, call.cut | values_behind(made, call.given_up, call.cut))


def _below(root, version, event, values):
    """Those of the ``values`` that events below ``event`` use, and the values that events there, or elsewhere in a large tree, change in place."""
    few = _few_below(event)
    if few is not None:
        return values.intersection(set().union(*map(_uses, few))), {old for e in few for old, _ in e.rebinds}
    if root.uses is None or root.uses[0] != version or event.turns is None:
        root.uses = version, *_number(root)
    first, last = event.turns
    _, uses, changed = root.uses
    nothing = ()
    found = set()
    for v in values:
        turns = uses.get(v, nothing)
        k = bisect_right(turns, first)
        if k < len(turns) and turns[k] <= last:
            found.add(v)
    return found, changed


def _few_below(event):
    """The events below one, if they are few: then the tree needs no numbers."""
    found = list(event.children)
    for e in found:         # which grows
        found += e.children
        if len(found) > FEW:
            return None
    return found


def _number(root):
    """Gives every event of a tree its turn, depth first, and the last turn below it; returns value -> turns of the events that use it, and the values that
    are changed in place."""
    uses, order, stack = {}, [], [root]
    while stack:
        e = stack.pop()
        for v in _uses(e):
            uses.setdefault(v, []).append(len(order))
        e.turns = len(order), len(order)
        order.append(e)
        stack += e.children
    for e in reversed(order):
        if e.children:
            e.turns = e.turns[0], max([c.turns[1] for c in e.children])
    return uses, {old for e in order for old, _ in e.rebinds}


def _uses(event):
    used = {vid_of(o) for o in event.operands if type(o) is int}
    for app in event.apps:
        used.update(app.node.inputs)
    return used | event.key[0] if event.kind == "end" else used


@dataclass(eq=False)
class Known:
    """What the events of a path have introduced: specs, constants, numbers to compute (vid -> (turn, function, vids)), and values changed in place (new vid ->
    old vid)."""
    specs: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    host: dict = field(default_factory=dict)
    before: dict = field(default_factory=dict)
    events: int = 0

    def along(self, path):
        """Takes in what the path has got since the last time; returns itself."""
        for e in path[self.events:]:
            self.specs.update(e.specs)
            self.constants.update(e.constants)
            self.before.update([(new, old) for old, new in e.rebinds])
            for vid, fn, args in e.host:
                self.host[vid] = len(self.host), fn, args
        self.events = len(path)
        return self

    def oldest(self, vid):
        """The value that changes in place have made this one of."""
        while vid in self.before:
            vid = self.before[vid]
        return vid

    def computed(self, values):
        """The computations that the values rest on, in order: (vid, function, vids)."""
        needed, stack = set(), [v for v in values if v in self.host]
        while stack:
            v = stack.pop()
            if v not in needed:
                needed.add(v)
                stack += [a for a in self.host[v][2] if a in self.host]
        return tuple([(v, *self.host[v][1:]) for v in sorted(needed, key=lambda v: self.host[v][0])])


def build(events, wanted, version, known, rename=None, copies=()):
    """The events as a segment whose outputs are ``wanted``, and copies of the inputs ``copies``; ``rename`` maps numbers to others that are always equal."""
    nodes = tuple([app.node.renamed(rename) if rename else app.node for e in events for app in e.apps])
    produced = {v for n in nodes for v in n.outputs}
    used = list(dict.fromkeys([v for n in nodes for v in n.inputs]))
    writes = _writes(events, produced)
    inputs = tuple(dict.fromkeys([v for v in [*used, *[r for r, _ in writes]] if v not in produced and v not in known.constants]))
    host = known.computed(inputs)
    mentioned = {*used, *[a for _, _, args in host for a in args]}
    constants = {v: known.constants[v] for v in sorted(mentioned) if v in known.constants}
    newest = {n for _, n in writes}
    wanted = wanted | _may_warn(events, wanted.union(used, newest))
    outputs = tuple(sorted([v for v in wanted if v in produced and v not in newest])) + tuple(copies)
    graph = Graph(inputs, nodes, outputs, {v: known.specs[v] for v in [*inputs, *constants, *produced]}, tuple(constants.items()), writes)
    given = [(v, known.constants[v]) for v in sorted(wanted) if v in known.constants]
    return Segment(graph, inputs, outputs, host, writes, version, tuple([(v, c) for v, c in given if isinstance(c, np.ndarray)]))


def _may_warn(events, used):
    """Results that nobody uses, of operations that the user applied: NumPy's floating-point warnings come from them all the same."""
    return {app.node.outputs[0] for e in events if e.kind == "op" for app in e.apps
            if app.node.op.kind in COMPUTING and used.isdisjoint(app.node.outputs) and e.specs[app.node.outputs[0]].dtype.kind == "f"}


def _writes(events, produced):
    """(array given from outside, its newest value) for every array that the events change in place."""
    root, newest = {}, {}
    for e in events:
        for old, new in e.rebinds:
            r = root.get(old, old if old not in produced else None)
            if r is not None:
                root[new] = r
                newest[r] = new
    return tuple(newest.items())
