"""Skipping Python: a path whose run was proved to depend on guarded facts only, as one generated function.

The function checks the guards, reads arrays and numbers where they come from, runs the compiled stages, and does what the Python would have done beside
computing: gradients, counters, attributes, results. It returns a ``Miss`` before anything has changed if a guard fails or a condition comes out otherwise.
"""
import numpy as np

from hybridnn.trace.events import vid_of
from hybridnn.trace.guards import Writer
from hybridnn.trace.observe_gradients import by_hand
from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.operands import array_of
from hybridnn.trace.overlap import root_array, sharing
from hybridnn.trace.path_tape import PathTape, rebinds_along, saved_values
from hybridnn.trace.plan_index import objects_of
from hybridnn.trace.refs import Doubt
from hybridnn.trace.skip_computed import Computing
from hybridnn.trace.skip_effects import Effects
from hybridnn.trace.skip_facts import Facts
from hybridnn.trace.skip_plan import STORES, Plan, killer
from hybridnn.trace.skip_results import Results
from hybridnn.trace.skip_sources import OUTSIDE, Sources
from hybridnn.trace.skip_stages import WARNINGS_RAISE, Stages
from hybridnn.trace.skip_text import Text

__all__ = ["make_plan"]


def make_plan(observer, call, end, version, config_reads):
    """Write and compile the function of an observed run; raises ``Doubt`` if it cannot be."""
    plan = Plan(end, config_reads)
    plan.objects = objects_of(observer.guards.values())
    return Builder(observer, call, plan, version).plan()


class Builder(Facts, Sources, Computing, Stages, Effects, Results, Text):
    """Writes the function of one plan."""

    def __init__(self, observer, call, plan, version):
        self.observer, self.call, self.result, self.version = observer, call, plan, version
        self.path = call.path
        busy = [e[1][1] for e in observer.effects if e[0] in STORES[:3]]
        self.writer = Writer(killer(plan), busy, bool(observer.stored) or any(e.kind == "inplace" for e in call.path), call.owner.restless)
        self.body = []
        self.found = {self.writer.read(("load", *where)): f"hyper{k}" for k, where in enumerate(self._hypers())}
        self.was = {}           # texts of places that the call assigns -> names of what the call has found there
        self.assigned = {where_id(where) for where in self._assigned_places()}
        self.shifted = {id(e[1][1]) for e in observer.effects if e[0] in ("take", "trim")}      # ids of lists whose members get other numbers
        self.put = [("item", *e[1][1:]) for e in observer.effects if e[0] == "assign" and e[1][0] == "put"]
        self.boxes = []         # texts of lists and dicts among the arguments, and these
        self.made = PathTape.of(call).made
        self.rebound = {}       # value -> its values after changes in place
        for old, new in rebinds_along(self.path):
            self.rebound.setdefault(old, []).append(new)
        self.graded = {v for e in self.path for app in e.apps if app.taped for i, v in enumerate(app.node.inputs) if app.mask >> i & 1}
        self.leaf_text, self.same_as = {}, {}       # of leaves: where they are read, and which values of the call they are
        self.making = {}        # id of a computed value -> its name
        self.make_lines, self.made_first, self.may_warn = [], [], False      # what is computed before all else, its names, and whether NumPy may warn there
        self.made_after = {}    # id of a computed value -> after how many events it is computed (None: before all else)
        self.appended = {}      # id of a Ref of what the call appends to a list before it draws from it -> lines that make that, and its text
        self.later = {}         # number of events -> computations that rest on what they made
        self.makes, self.after, self.named, self.uses_tape = [], [], set(), False
        self.connected = []     # values whose nodes, of a graph that has been given up, the plan makes at once
        self.early, self.until = {}, -1       # number of events -> what NumPy writes, and computes of it, there; the last event that is an operation
        self.takes_back, self.kept = False, set()       # whether any of that may have to be taken back, and the parts of arrays that are kept for it
        self.outcomes = {}      # name of a computed number -> lines behind it, or pairs (condition under which to leave, outcome)
        self.decisions, self.reached = [], None     # what ``Plan.decisions`` will be, and the last event before what is written now
        self.settled = []       # what decides before all else
        self.containers, self.stored, self.gradients = {}, set(), {}
        self.node_texts = {}    # id of a Variable of which the call writes the array -> where it is read
        self.shown = set()      # values that the program has made other Variables of
        self.reused = None      # the name of the nodes whose gradients are computed where the old ones lie
        self.calls = []         # of compiled stages: place in the body, segment, names of outputs, text of inputs
        self.apart = {}         # values in arrays from outside that are not contiguous, of which segments get copies: where the arrays are read
        self.parts = set()      # ids of arrays from outside of which parts are written, or that are parts of what is written
        self.copies = []        # lines that make such copies of those that the path changes in place

    def plan(self):
        self._refuse()
        self._draw_late()
        self._run_functions()
        self._facts()
        self._make_appended()
        self._refuse_overlaps()
        self._leaves()
        kept = [e[-1] for e in self.observer.effects if e[0] in STORES]
        self._find_computed([self.observer.result, *kept, *self.observer.numbers.values(), *self._last_operands(), *self.observer.computed,
                             *by_hand(self.observer)])
        self._updates()
        self._compile(self._stages())
        self._same_counts()
        self._effects()
        self._return()
        return self._assemble()

    def _assigned_places(self):
        """Where the call changes what it may have read before."""
        for kind, *rest in self.observer.effects:
            if kind in ("assign", "rebind"):
                yield rest[0]
            elif kind == "count":
                yield "attr", *rest
            elif kind == "call" and rest[0] is next:
                yield "count", *rest[1]
            elif kind in ("append", "take", "trim") and rest[0][0] != "grow":
                yield "length", rest[0][1]

    def _refuse(self):
        if self.call.warned:
            raise Doubt("the library warns, as it must on every call", self.call.warned)
        kinds = [e.kind for e in self.path]
        for vid, at in self.observer.changed_at.items():
            taken = next((e for e in self.path[at:] if e.kind != "end" and vid in map(vid_of, e.operands)), None)
            if taken is not None:
                raise Doubt("takes a gradient into which the program wrote what was there", taken.line, by_chance=True)
        self._refuse_graphs_of_changed_arrays()
        looks = [i for i, e in enumerate(self.path) if e.kind == "read" and e.key[1] is not None]
        self.until_left = max(self.observer.leaves_until, looks[-1] if looks and "inplace" in kinds[:looks[-1]] else 0)
        self.takes_back |= self.until_left > 0
        self.looks = bool(looks or self.until_left) or any(f[0] == "outcome" for f in self.observer.guards.values()) or any(
            e[0] == "decide" for e in self.observer.effects)
        self._refuse_after_stores()
        for e in self.path:
            if e.kind == "function" and (any(o.vid not in self.observer.function_outputs for o in e.outs) or e.function.taped and not self.call.released):
                raise Doubt(f"runs {e.key[0].__name__}, a function with its own Python", e.line)
            if e.kind == "grad" and e.key[3]:
                raise Doubt("hnn.grad with set_grad")

    def _refuse_graphs_of_changed_arrays(self):
        """Gradients are those of what arrays are when backward asks for them, also of one that the call has changed since an operation took it."""
        changed = self.observer.changed_operands
        for at, e in enumerate(self.path) if changed else ():
            if e.kind == "function" and e.function.taped:
                raise Doubt("changes an operand in place beside a function with its own Python", e.line)
            if e.kind in ("backward", "grad"):
                needed = saved_values(self.made, map(vid_of, e.operands), self.call.cut)
                if any(changed.get(v, at) < at for v in needed):
                    raise Doubt("takes a gradient through an array that has changed since", e.line)

    def _run_functions(self):
        """What users' functions compute is computed where they stand."""
        for k, e in enumerate(self.path):
            if e.kind == "function":
                self.later.setdefault(k, [])
                for ref in [self.observer.function_outputs[o.vid] for o in e.outs]:
                    if ref.kind == "array":
                        self._computed(ref)

    def _draw_late(self):
        """What is drawn with arguments that are computed is drawn after them, and so is all that follows, in the program's order: also by the library, as
        long as no operation has to compute any."""
        late = [(ref, before) for ref, before, _ in self.observer.draws if ref.source.late]
        drawn = self.drawn_first = late[0][1] if late else len(self.call.draws)
        for ref, before in [*late, (None, len(self.call.draws))]:
            for k in range(drawn, before):
                if any(r.source.behind for r, at in late if at <= k):
                    raise Doubt("the library draws behind a draw with arguments that operations compute")
                self.make_lines.append(self._library_draw(k))
                self.made_first.append(f"draw{k}")
            drawn = before
            if ref is not None:
                self._computed(ref)

    def _refuse_after_stores(self):
        """What NumPy writes, and computes of it, before the last operation is written and computed where the program does so."""
        made = {o.vid for e in self.path for o in e.outs if o is not None}
        self.until = max([k for k, e in enumerate(self.path) if self._computes(e, made)], default=-1)
        if self.observer.rebound_at <= self.until:
            self._refuse_after_rebinding()
        stores = {}
        for _, target, *_, at in [e for e in self.observer.effects if e[0] == "store"]:
            stores.setdefault(id(root_array(target.value)), []).append(at)
        self._find_early()
        if self.takes_back:
            self._refuse_both(stores)
        if self.observer.stored_at <= len(self.path) or any(e[0] == "compute" and not e[1].source.safe for e in self.observer.effects):
            self.writer.lines.append(WARNINGS_RAISE)

    def _refuse_after_rebinding(self):
        """Operations take arrays that NumPy has made and that the program has assigned to Variables before. If they change one in place, it is nobody else's,
        and what NumPy computes of it after that waits."""
        assigned = [ref for *_, ref in self.observer.rebinds]
        for at, v, ref in [found for found in self.observer.rebinds if found[-1].kind == "array"]:
            changed, event = next(self.call.changes(v, at), (None, None))
            if event is None:
                continue
            shared = sum(np.may_share_memory(ref.value, other.value) for other in assigned) > 1
            uses = self.observer.uses.get(id(ref), ())
            if shared or any(found.at > changed and not found.last or np.may_share_memory(made.value, ref.value) for found, made in uses):
                raise Doubt("an operation changes an array that NumPy has made and the program takes otherwise, too", event.line)

    def _find_early(self):
        """What is written and computed before an operation, or before what decides or may fail."""
        decides = max([k for k, e in enumerate(self.observer.effects) if e[0] == "decide" or e[0] == "compute" and self._is_risky(e[1])], default=-1)
        for k, effect in enumerate(self.observer.effects):
            kind = effect[0]
            at = effect[-1] if kind == "store" else effect[1].source.at if kind in ("compute", "decide") else None
            if at is not None and (at <= self.until or k <= decides):
                self.early.setdefault(at, []).append(effect)
                self.later.setdefault(at, [])
                self.takes_back |= kind == "store"

    def _is_risky(self, ref):
        return id(ref) in self.observer.risky

    def _refuse_overlaps(self):
        """What is written shares no memory with another array from outside: kernels, and what is computed before them, would mix them up. Exceptions are arrays
        that stay the same, of one owner, such as a vector and its parts: what NumPy makes of either is computed in the program's order."""
        met = [(ref, array_of(ref.value)) for ref in self.observer.origins.values() if ref.kind in OUTSIDE]
        self.outside = {id(a): a for a in [*[a for _, a in met], *self._stored_arrays()] if isinstance(a, np.ndarray)}
        self.read_anew = {id(a) for ref, a in met if ref.kind == "arg" or ref.kind == "state" and ref.source[0] == "load" and id(a) not in self.written}
        for a, b in sharing(self.outside.values(), self.written) if self.written else ():
            if root_array(a) is not root_array(b) or {id(a), id(b)} & self.read_anew or {id(a), id(b)} <= self.updated:
                raise Doubt("changes an array in place that shares its memory with another")
            self.parts |= {id(a), id(b)} - self.updated
        for k in self.parts:
            self.writer.header(self.outside[k])

    def _computes(self, event, made):
        """Whether an event does more than to look at what the call has computed."""
        looks = event.kind == "read" and (event.key[0] == "expose" or event.operands[0] in made and event.operands[0] not in self.call.view_of)
        return event.kind != "end" and not looks

    def _refuse_both(self, stores):
        """No operation takes an array that another one has taken before NumPy wrote into it: to the path it is what it was. ``stores``: when it did."""
        bound, before = {}, {new: old for old, news in self.rebound.items() for new in news}
        for k, e in enumerate(self.path):
            for vid in map(vid_of, e.operands):
                vid = self.call.origin(vid)
                while vid in before:
                    vid = self.call.origin(before[vid])
                if vid in self.call.leaves:
                    since = bound.setdefault(vid, k)
                    if any(since < at <= k for at in stores.get(id(root_array(self._array(vid))), ())):
                        raise Doubt("an operation takes an array that it, or another one, has taken before NumPy wrote into it", e.line)
