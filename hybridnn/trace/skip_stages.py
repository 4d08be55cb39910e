"""The compiled stages of a plan: the path's operations, split where a value is looked at, and which of their values are kept."""
import re

import numpy as np

from hybridnn.core.tape import Untaped
from hybridnn.core.variable import Variable
from hybridnn.trace.computed import below, sources_of
from hybridnn.trace.events import Number, spec_along, vid_of
from hybridnn.trace.path_tape import PathTape, saved_values
from hybridnn.trace.recording import may_refuse
from hybridnn.trace.refs import Doubt
from hybridnn.trace.segment import Known, build
from hybridnn.trace.skip_plan import STORES
from hybridnn.trace.tape import graph_of

__all__ = ["WARNINGS_RAISE", "Stages"]

WARNINGS_RAISE = "if warnings_raise(): return CHANGED"      # it is too late for errors where something has been written

NAME = re.compile(r"\w+")
LEAST_AGAIN, MUCH_LESS = 1 << 16, 2       # bytes from which on values are rather computed again, and how many times what is copied for that


class Stages:
    """Compiles the operations and writes the lines that run them."""

    def _stages(self):
        """The path's events, split where a value is looked at."""
        stages, current = [], []
        for k, e in enumerate(self.path):
            if k in self.later:
                stages.append((current, None, k))
                current = []
            if e.kind == "read":
                stages.append((current, e, None))
                current = []
            elif e.kind != "end":
                current.append(e)
        stages.append((current, None, len(self.path)))
        return stages

    def _compile(self, stages):
        self.rules, self.turns = {}, len(self.updates)
        self.wanted = self._wanted(stages)
        numbers = [o for e in self.path for o in e.operands if type(o) is Number]
        self.numeric = {o.vid: o.type for o in numbers}
        text = {o.vid: self._number(o) if o.value is None else self.writer.strong(o.value) for o in numbers}
        text.update(self.leaf_text)
        text.update({v: f"{self.writer.strong(c)}.copy()" for e in self.path for v, c in e.constants if v in self.wanted and isinstance(c, np.ndarray)})
        self.text = text
        self.known = Known().along(self.path)
        self.reads = {e.operands[0] for e in self.path if e.kind == "read"}
        self.last_use = {v: k for k, e in enumerate(self.path) for app in e.apps for v in app.node.inputs}
        wrote, checks = False, []
        for events, look, at in stages:
            if wrote:
                checks += self._checks_ahead(events)
            if any(app for e in events for app in e.apps):
                self._stage(events)
            wrote = wrote or any(e.kind == "inplace" for e in events)
            self.reached = events[-1] if events else self.reached
            if look is not None:
                self._look(look)
                self.reached = look
            self._compute_later(self.later.get(at, ()))
            self._write_early(self.early.get(at, ()), wrote and (at is None or at > self.until_left))
            if look is None and at < len(self.path) and self.path[at].kind == "function":
                self._take_outputs(self.path[at])
        self._count_updates(len(self.path))
        self.body[:0] = checks

    def _take_outputs(self, event):
        """What a user's function has computed goes on into the graph."""
        for o in event.outs:
            ref = self.observer.function_outputs[o.vid]
            text = self._computed(ref) if ref.kind == "array" else self.text[ref.source[1]]
            self.text[o.vid] = f"asarray({text})" if isinstance(ref.value, np.generic) else text

    def _checks_ahead(self, events):
        """Lines that look, before all else, whether operations behind a stage that writes will accept labels and indices: it is too late after that."""
        w, lines = self.writer, []
        if WARNINGS_RAISE not in w.lines and any(e.apps for e in events):
            w.lines.append(WARNINGS_RAISE)
        waiting = {self.making[id(ref)] for found in self.early.values() for kind, ref, *_ in found if kind == "compute" and id(ref) in self.making}
        late = {name for found in self.later.values() for name, _ in found} | {f"v{v}" for v in self.made} | waiting
        for e in [e for e in events if e.check is not None or e.flush and may_refuse(e.key[0])]:
            if e.flush and may_refuse(e.key[0]):
                raise Doubt("an operation that may refuse its operands, after an update", e.line)
            given = []
            for o in e.operands:
                vid = vid_of(o)
                spec = spec_along(e, vid)
                text = self.text.get(vid) if spec.dtype.kind in "iu" else w.strong(spec)
                if text is None or not late.isdisjoint(NAME.findall(text)):
                    raise Doubt("labels or indices that are computed after an update", e.line)
                given.append(text)
            lines.append(f"{w.strong(e.check)}([{', '.join(given)}], {w.strong(e.key[1])})")
        return lines

    def _compute_later(self, found):
        """Lines of the computations that rest on what has been computed so far, as many as can be under one errstate."""
        together, made, warns = [], [], False

        def write():
            nonlocal warns
            self.body += self._under_one_state(together, made) if warns else together
            together.clear()
            made.clear()
            warns = False
        for name, ref in found:
            before, self.makes = self.makes, []
            lines, may_warn = self._computing(name, ref)
            if self.makes or ref.source.drawn:
                write()
            self.body += self.makes
            self.makes = before
            together += lines
            made += [name] if lines[0].startswith(f"{name} = ") else []
            warns |= may_warn
            if ref.source.drawn or name in self.outcomes:
                write()
                for found in self.outcomes.get(name, ()):
                    self.body += [found] if type(found) is str else self._leave_if(*found)
        write()

    def _wanted(self, stages):
        """Values that Python sees after the call."""
        wanted, kept = set(), {}       # kept: the gradients that are not replaced
        for kind, *rest in self.observer.effects:
            if kind == "clear":
                for ref in rest[0]:
                    kept.pop(id(ref.value), None)
            elif kind == "backward":
                kept.update({id(self.call.leaves.get(vid, o)): self._newest(o.vid) for vid, o, _ in rest[0].grads[0]})
                wanted |= {o.vid for _, o in rest[0].grads[1]}
            elif kind == "fill":
                wanted.add(self._newest(rest[1]))
            elif kind == "regrad" and rest[1].kind == "fresh":
                wanted.add(self._newest(rest[1].source[1]))
            elif kind in STORES:
                wanted |= self._vids(rest[-1])
        wanted |= self._vids(self.observer.result) | self.shown | set(kept.values())
        kept = [self.observer.result, *[r[-1] for k, *r in self.observer.effects if k in STORES]]
        self.survivors = list(set().union(*[self._vids(ref, Variable) for ref in kept]))     # a bare array keeps no graph
        self.tape = self._tape_values()
        if not self.tape.isdisjoint(self.observer.changed_operands):
            raise Doubt("keeps or returns a graph over an array that has changed since")
        wanted |= {ref.source[1] for ref in self.observer.function_outputs.values() if ref.kind == "fresh"}
        wanted |= {r.source[1] for ref in self._last_operands() for r in sources_of(ref) if r.kind == "fresh"}
        wanted |= {r.source[1] for found in self.later.values() for _, ref in found for r in sources_of(ref) if r.kind == "fresh"}
        seen = {self.call.origin(v) for v in wanted}
        self.tape = {self._kept_for(v, seen) for v in self.tape}
        self.again = self._computed_again(seen, stages)
        if self.again is not None:
            self.tape = {v for v in self.tape if v not in self.again.outputs}
        return seen | self.tape

    def _kept_for(self, vid, seen):
        """The value that the tape keeps for another one: whoever writes into what that is a view of changes it, too."""
        origin = self.call.origin(vid)
        return origin if origin in self.leaf_text or origin in seen else vid

    def _last_operands(self):
        """What NumPy computes with, or writes, after all operations."""
        return [r for e in self.observer.effects if e[0] in ("compute", "store", "rebind") for r in (e[3] if e[0] == "store" else e[-1:])]

    def _newest(self, vid):
        """The value of an array after all changes in place."""
        while vid in self.rebound:
            first, *more = self.rebound[vid]
            if more:
                raise Doubt("changes two gradients of one value in place")
            vid = first
        return vid

    def _vids(self, ref, kind=object):
        """The values that the call has computed in what ``ref`` stands for, as Variables or arrays or both."""
        found = set()
        for r in below(ref, lambda found: False):
            if r.kind == "fresh" and not isinstance(r.value, kind):
                continue
            if r.kind == "fresh":
                found.add(r.source[1] if r.source else r.value._vid)
                found.update(self._told_vids(r.value))
            elif r.kind == "made":
                found |= self._vids(r.source[1])
        return found

    def _told_vids(self, v):
        """What the call has computed that the creator of a result tells."""
        shown = v._shown if isinstance(v, Variable) else None
        return [self.call.known_vid(x) for x in shown.values() if self._is_computed(x)] if type(shown) is Untaped else []

    def _tape_values(self):
        self.gone = PathTape.of(self.call).behind(self.call.given_up, self.call.cut)
        graded = [v for v in self.survivors if v in self.made and self._taped(v)]
        self.released = self.call.released and self.gone.issuperset(graded)
        taped = [e for e in self.path if e.kind == "function" and e.function.taped]
        if taped and not self.released:
            raise Doubt("keeps or returns a graph through a function with its own Python", taped[0].line)
        found = saved_values(self.made, graded, self.call.cut | self.gone)
        self.kept_leaves = {v: self.call.introduced().oldest(v) for v in map(self.call.origin, found) if v in self.call.updated}
        if any(v in self.rebound and v not in self.kept_leaves and v not in self.call.leaves for v in map(self.call.origin, found)):
            raise Doubt("returns a graph over what has been changed in place since")
        return {v for v in found if self.call.origin(v) not in self.kept_leaves}

    def _computed_again(self, seen, stages):
        """The graph of values that only the tape needs, where copies of what it computes them from take less memory than they do. Backward has walked
        this graph already; whoever does so again waits for the values."""
        lost = {v for v in self.tape if v in self.made and v not in seen}
        if not self.call.walked or sum(any(e.apps for e in events) for events, *_ in stages) != 1 or any(e.rebinds for e in self.path) or self.observer.stored \
                or lost & self.call.view_of.keys():
            return None
        graph = graph_of([app.node for e in self.path for app in e.apps], self.path, lost)
        return graph if _nbytes(graph, lost) >= max(LEAST_AGAIN, MUCH_LESS * _nbytes(graph, graph.inputs)) else None

    def _taped(self, vid):
        return vid not in self.call.cut and vid in self.made and self.made[vid][0].taped

    def _stage(self, events):
        produced = {v for e in events for app in e.apps for v in app.node.outputs}
        end = events[-1].depth - 1
        later = {v for v in produced if self.last_use.get(v, end) > end}
        copies = [] if self.again is None else [v for v in self.again.inputs if v in self.leaf_text]
        rename = {**self._same_numbers(), **{leaf: v for leaf, v in self.same_as.items() if v in produced}}
        segment = build(events, (self.wanted | self.reads) & produced | later, self.version, self.known, rename, copies)
        self.result.segments.append(segment)
        self._count_updates(end)
        name = self.writer.strong(segment.compiled(self.call.owner))
        for vid, fn, args in segment.host:
            constants = dict(segment.graph.constants)
            parts = [self.writer.strong(constants[a]) if a in constants else self.text[a] for a in args]
            self.body.append(f"h{vid} = {self.writer.strong(fn)}({', '.join(parts)})")
            self.text[vid] = f"h{vid}"
        apart = self._apart_from_writes(events, segment)
        given = ", ".join(f"copied({self.text[v]})" if v in apart else self.text[v] for v in segment.inputs)
        given = f"({given},)" if segment.inputs else "()"
        outs = [f"v{v}" if v in produced else f"copy{v}" for v in segment.outputs]
        taken_back = end < self.until_left
        if taken_back:
            self._keep_written(segment)
        self.calls.append((len(self.body), segment, outs, given))
        self.body.append(f"{''.join(o + ', ' for o in outs)}= {name}({given})" if outs else f"{name}({given})")
        if segment.writes and not taken_back:
            self.body.append("written = True")
        self.text.update({v: f"v{v}" for v in segment.outputs if v in produced})
        for root, newest in segment.writes:
            self.text[newest] = self.text[root]
            if root in self.apart:
                self.apart[newest] = self.apart[root]
                self.body.append(f"{self.apart[root]}[...] = {self.text[root]}")

    def _keep_written(self, segment):
        """Lines that keep what a stage is going to change in place, as long as the plan may have to leave behind it."""
        for root, _ in segment.writes:
            array = self.apart.get(root) or self.text[root]
            if (array, "...") not in self.kept:
                self.kept.add((array, "..."))
                self.body.append(f"undone.append(({array}, ..., copied({array})))")

    def _apart_from_writes(self, events, segment):
        """The inputs that are views, such as NumPy has made in this call, of what the segment changes in place, or of which that is one: it gets copies of what
        they are before."""
        made = [v for v in segment.inputs if v in self.leaf_text and (id(self._array(v)) not in self.outside or id(self._array(v)) in self.parts)]
        found = {}
        for root, _ in segment.writes if made else ():
            a = self._array(self.known.oldest(root)) if self.known.oldest(root) in self.call.leaves else None
            views = [] if a is None else [v for v in made if v != root and np.may_share_memory(self._array(v), a)]
            if not views:
                continue
            first = next(k for k, e in enumerate(events) if root in [old for old, _ in e.rebinds])
            late = next((e for e in events[first:] if any(v in app.node.inputs for v in views for app in e.apps)), None)
            if late is not None:
                raise Doubt("takes a view of an array after an update has changed it", late.line)
            found.update(dict.fromkeys(views))
        return found

    def _count_updates(self, end):
        """Lines of the updates that begin before event number ``end`` or with it."""
        while self.updates and self.updates[0][0] <= end:
            turn = self.turns - len(self.updates)
            numbers = [(n, rule, p) for (*_, t), (n, rule, p, _) in self.rules.items() if t == turn]
            self.body += [*self.updates.pop(0)[1], *[f"{n} = {self.writer.strong(rule)}.numbers({self.writer.strong(p)})" for n, rule, p in numbers]]

    def _same_numbers(self):
        """vid -> the first vid of a number that is read from the same place. An exponent that belongs to the path stays one: kernels are written for it."""
        first, rename = {}, {}
        for vid, text in self.text.items():
            if vid in self.numeric and vid not in self.known.constants:
                rename[vid] = first.setdefault((text, self.numeric[vid]), vid)
        return rename

    def _look(self, event):
        kind, outcome, args = event.key
        text = self.text[event.operands[0]]
        index = self.path.index(event)
        item = f"{{}}.item({', '.join(map(repr, args))})"
        reader = {"bool": "bool({})", "int": "int({})", "float": "float({})", "index": "{}.item().__index__()", "item": item}.get(kind)
        if reader is None:
            return
        self.body.append(f"hole{index} = {reader.format(text)}")
        if outcome is not None:
            self.body += self._leave_if(f"repr(hole{index}) != {outcome[1]!r}", outcome[1])


def _nbytes(graph, values):
    return sum(graph.specs[v].nbytes for v in values)
