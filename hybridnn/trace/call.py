"""The tracer: one ``Call`` is one run of a traced function, from its first operation to its last.

Modes. *record*: everything runs eagerly and is noted as new events. *replay*: the user's Python runs, an operation only checks itself against the next
known event and returns a pending Variable; a whole segment is computed when a value is needed. *eager*: given up, nothing is noted. A call
begins in replay if its signature has a path, and leaves it for record at the first operation that no known event matches.
"""
import os
import weakref

from hybridnn._references import count_references
from hybridnn.backend import is_array
from hybridnn.config import global_config, state
from hybridnn.core.application import apply_eager, apply_inplace_eager
from hybridnn.core.backprop import backward_eager, begins_at_leaf, grad_eager
from hybridnn.core.indexing import get_item
from hybridnn.core.op_node import OpNode
from hybridnn.core.tape import TracedNumber, move_gradient, seeded_values
from hybridnn.core.variable import READERS, Variable, replaying
from hybridnn.errors import raised_by_signal, user_line
from hybridnn.trace.backward import give_scaled, is_seeded_beside, leave_if_written, match_backward, record_backward
from hybridnn.trace.elements import as_operands, match_element
from hybridnn.trace.events import Event
from hybridnn.trace.floats import as_begun, error_state, warns_alike, ways_to_warn
from hybridnn.trace.grad import match_grad, record_grad
from hybridnn.trace.inplace import changes_shared_memory, match_inplace, record_inplace
from hybridnn.trace.looks import look, match_unchain, now, record_unchain
from hybridnn.trace.matchers import matcher
from hybridnn.trace.noting import NeedsValues, note_inner
from hybridnn.trace.numbers import plain_numbers
from hybridnn.trace.path_tape import producers, saved_values, values_behind
from hybridnn.trace.rebuild import rebuild
from hybridnn.trace.recording import constant, derive, record_inner, record_op
from hybridnn.trace.segment import Known, run_segment
from hybridnn.trace.standins import Paused
from hybridnn.trace.tape import CallTape
from hybridnn.trace.user_functions import apply_function
from hybridnn.trace.values import FOREIGN, Values
from hybridnn.trace.walk import is_function_behind, plain_gradients, walk_backward

__all__ = ["Call"]

_new = object.__new__
_refs = count_references
PENDING_REFS = 3       # the list ``pending``, the loop's name and getrefcount's argument


def _after_fork():
    for call in replaying:
        call.renew_lock()


if hasattr(os, "register_at_fork"):      # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)


class Call(Values):
    """See the module's docstring.

    Args:
        root: the root event of the signature's tree.
        owner: gets ``gave_up(reason, line, passing)``; has ``limit`` on new events and the compile settings.
    """
    __slots__ = ("__weakref__", "aside", "checked", "config_reads", "cursor", "cut", "difference", "dirty", "drawn_at", "draws", "errors", "executed", "forbid",
                 "fresh", "functions", "given_up", "inner", "interpreting", "known", "left", "mode", "naming", "nodes", "noted", "owned", "owner", "path",
                 "pending", "reason", "recorded", "renamed", "root", "seeds", "stale", "survivors", "unvalued",
                 "walk_begun", "walked", "warned", "ways")      # quick to read: an operation reads a dozen of them

    def __init__(self, root, owner):
        super().__init__(root.next_vid)
        self.owner, self.root, self.cursor = owner, root, root
        self.mode = "replay" if root.children else "record"
        self.path = []            # events matched or recorded, in order
        self.known = None         # what its events have introduced, when somebody asks
        self.executed = 0         # how many of them have been computed
        self.pending = []         # Variables not computed yet
        self.survivors = []       # weak references to Variables of this call that have been computed
        self.fresh = set()        # vids computed by the graph since the last flush point, but for the results of operations after ...
        self.noted = 0            # ... so many events
        self.dirty = set()        # ids of arrays whose in-place change is pending
        self.nodes = {}           # id(tape node) -> vid, while recording
        self.inner = None         # the composite event being recorded
        self.unvalued = False     # its operations are noted, not computed
        self.renamed = []         # (weak reference to a Variable of this call, its vid before it was changed in place)
        self.stale = set()        # vids of views whose memory has been changed in place
        self.cut = set()          # vids whose creators were forgotten
        self.seeds = []           # arrays of ones with which walks through users' functions begin
        self.walk_begun = 0       # how many events there were when the walk in Python that is under way began
        self.walked = []          # vids whose graphs backward has walked since the last update
        self.given_up = []        # those that it had walked before: what their graphs need is gone
        self.recorded, self.left = False, ""        # ``left``: the line at which it has left a known path
        self.reason = None
        self.config_reads = set()
        self.errors, self.ways = error_state(), ways_to_warn()
        self.checked, self.difference = False, None    # segments also run eagerly; the first operation that came out otherwise
        self.interpreting = False  # segments run in the interpreter: not worth compiling yet
        self.aside = None         # runs what calls nothing of the program's, while the program is watched
        self.draws = []           # (name, arguments, array) of random draws, in order
        self.drawn_at = 0         # how many events came before the last of them
        self.functions = {}       # event of a user's function -> (function, arrays of its inputs, of its outputs), while replaying
        self.warned = None        # the user's line at which the library has warned first
        self.naming = None        # what gives names to the values of a gradient that is computed again
        self.owned = set()        # ids of pending Variables whose arrays are to be nobody else's

    # ---- what the library and Variables call

    def apply(self, op, inputs, attrs):
        if self.walking:
            inputs = plain_numbers(inputs)
        if self.mode == "replay":
            taping = state.backprop
            if taping is None:
                taping = global_config.enable_backprop
            if op is get_item and self.owner.choosing:
                result = match_element(self, inputs, attrs, taping)
                if result is not None:
                    return result
            for event in self.cursor.children:
                if event.op is op and event.taping is taping and (event.attrs is attrs or event.attrs == attrs and event.exactly(attrs)):
                    result = event.match(self, event, inputs)
                    if result is not None:
                        return result
            self.leave()
        if self.mode == "record":
            if self.unvalued:
                return note_inner(self, op, inputs, attrs)
            if self.inner is not None:
                return record_inner(self, op, inputs, attrs)
            return record_op(self, *(as_operands(self, inputs, attrs) if op is get_item else (op, inputs, attrs)))
        return apply_eager(op, inputs, attrs)

    def apply_inplace(self, op, inputs, targets, attrs):
        self.look_at_errors()
        if len(replaying) > 1:
            for other in [call for call in replaying if call is not self]:
                other.keep_values()
        if self.mode == "replay":
            if match_inplace(self, op, inputs, targets, attrs):
                return
            self.leave()
        if self.mode == "record" and self.inner is None:
            record_inplace(self, op, inputs, targets, attrs)
            return
        if self.inner is not None:
            self._ask_for_values()
            self.give_up(f"{op.name} changes an array in place during backward")
        with self.paused():
            apply_inplace_eager(op, inputs, targets, attrs)

    def look_at_errors(self):
        """What computes under another ``numpy.errstate``, or with other ways to warn, than the call began with does so where it stands."""
        if self.mode != "eager" and self.inner is None and not self.reports_as_begun():
            self.give_up("numpy.errstate, or what becomes of warnings, changes inside the function", passing=error_state() == self.errors)

    def reports_as_begun(self):
        """Whether floating-point errors are treated as when the call began."""
        return error_state() == self.errors and warns_alike(self.ways)

    @property
    def released(self):
        """Whether backward, and an update after it, have been met."""
        return bool(self.given_up)

    def release(self):
        """Arrays are about to be changed in place."""
        if self.walked:
            self.given_up += self.walked
            self.walked = []

    def note_walk(self, outputs):
        """Backward has walked the graphs of these Variables."""
        self.walked += [vid for vid in map(self.known_vid, outputs) if vid is not None]

    def settle(self):
        """Compute in-place changes that are pending (the library calls it at the end of an update)."""
        if self.mode == "replay":
            if self.dirty:
                self.flush()
        elif self.mode == "record":
            self.now_seen()

    def backward(self, outputs, retain_grad, double, loss_scale):
        self.look_at_errors()
        flags = (retain_grad, double, loss_scale, len(outputs))
        leave_if_written(self, outputs)
        if seeded_values[0] and is_seeded_beside(self, outputs):
            self.give_up("backward while another output of an operation has a gradient")
        if self.mode != "eager" and self.inner is None and not retain_grad and not double and is_function_behind(self):
            walk_backward(self, outputs, flags)
            self.note_walk(outputs)
            return
        if loss_scale is not None and self.mode != "eager" and self.inner is None:
            give_scaled(outputs, loss_scale)
        if self.mode == "replay":
            if match_backward(self, outputs, flags):
                return
            self.leave()
        with self.paused():
            at_leaf = [begins_at_leaf(v, loss_scale) for v in outputs]
        if any(at_leaf):
            self.give_up("backward from a value without a graph", passing=True)
        elif self.mode == "record" and self.inner is None:
            record_backward(self, outputs, flags)
            return
        with self.paused():
            backward_eager(outputs, retain_grad, double, loss_scale, double or state.hooks is not None)

    def grad(self, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
        self.look_at_errors()
        args = (outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale)
        leave_if_written(self, outputs, inputs)
        simple = grad_inputs is None and not retain_grad and loss_scale is None
        if self.mode == "replay":
            results = match_grad(self, *args) if simple else None
            if results is not None:
                return results
            self.leave()
        if self.mode == "record" and self.inner is None:
            if simple:
                return record_grad(self, *args)
            self.give_up("hnn.grad with grad_inputs, retain_grad or loss_scale")
        with self.paused():
            return grad_eager(*args)

    def apply_function(self, function, inputs):
        """A user's ``FunctionNode``."""
        return apply_function(self, function, inputs)

    def derive(self, fn, args):
        """A number that a gradient rule computes from traced numbers."""
        return derive(self, fn, args) if self.naming is None else self.naming.derive(fn, args)

    def constant(self, value):
        """The number of a value that the event being recorded takes as a constant."""
        return constant(self, value)

    def _ask_for_values(self):
        """Somebody looks at what is only noted."""
        if self.unvalued:
            raise NeedsValues

    def expose(self, v):
        """The user asks for an array: pending work that it depends on runs; from now on others can write into it."""
        self._ask_for_values()
        if self.mode == "eager" or self.inner is not None:
            return
        vid = self.known_vid(v)
        if vid is None:
            return
        if self.is_fresh(vid):
            look(self, "expose", v, vid, ())
        if v._array is not None and (self.mode == "replay" or vid in self.leaves or vid in self.updated):
            self.show(vid, v._array)
            if self.owner.writing and user_line() in self.owner.writing:
                self.touch(v._array)

    def assign(self, v, a):
        """A Variable gets an array; one of another kind changes what gradients of it are like, also those of operations that have used it."""
        self.expose(v)
        old = v._array
        if self.mode != "eager" and v._requires_grad and old is not None and is_array(a) and (a.dtype != old.dtype or a.shape != old.shape) \
                and self.known_vid(v) is not None:
            self.give_up("an array of another shape or dtype is assigned to a Variable that an operation has used", passing=True)

    def expose_elsewhere(self, v):
        """Another thread, or a user's function between segments, asks for an array that this call may have bound."""
        a = v._array
        vid = self.known_vid(v) if a is not None else None
        if vid is not None and self.mode == "replay" and vid in self.leaves and vid not in self.snapshots:
            with self.apart:
                if self.known_vid(v) == vid:        # not changed by what was just computed
                    self.snapshot(vid, a)

    def keep_values(self):
        """Another thread's call is about to change arrays in place: what is pending here rests on what they hold now."""
        for x in list(self.leaves.values()):
            if isinstance(x, Variable):
                self.expose_elsewhere(x)

    def read(self, v, kind, args):
        self._ask_for_values()
        if self.mode == "eager" or self.inner is not None:
            return READERS[kind](now(v), *args)
        vid = self.known_vid(v)
        return READERS[kind](now(v), *args) if vid is None else look(self, kind, v, vid, args)

    def unchain(self, v, how):
        """True if the tracer did it. ``how``: the name of the method."""
        if self.mode == "eager" or self.inner is not None:
            return False
        vid = self.code_of(v)
        if vid is None or vid is FOREIGN or vid < 0:      # a Variable of its own over a known array does not have that value's graph
            return False
        if self.mode == "replay":
            if match_unchain(self, vid, how):
                return True
            self.leave()
        record_unchain(self, v, vid, how)
        return True

    def resolve(self, v):
        """Somebody looks at the graph itself: the call goes on eagerly."""
        if self.mode != "eager" and self.inner is None:
            self.give_up("looks at the graph (creator, node, copy, unchain)")

    def materialize(self, v):
        """The array of a pending Variable that another thread or a finished call asks for."""
        self._ask_for_values()
        self.leave()
        return v._array

    def connect(self):
        """Another thread, or a user's function between segments, goes on from a Variable of this call, whose graph is needed for that."""
        if self.mode == "replay":
            self.give_up("another thread, or a function of the program's own, goes on from a Variable of this call")

    def note_hooks(self):
        """Function hooks or debug mode are switched inside the function: every operation is to run where it stands."""
        if self.mode != "eager":
            self.give_up("function hooks or debug mode inside the function")

    def note_draw(self, name, args, value):
        """The library drew random numbers."""
        self.draws.append((name, args, value))
        self.drawn_at = len(self.path)

    def note_warning(self):
        """The library warns."""
        self.warned = self.warned or user_line()

    def note_function(self, function, gs):
        """Backward has reached a user's function, whose Python must run; gives the gradients that it gets."""
        if self.inner is not None:
            self._ask_for_values()
            self.give_up(f"hnn.grad, or backward that keeps more than gradients, through {function.label} inside the function")
        return plain_gradients(self, gs) if self.walking else gs

    # ---- the path

    def advance(self, event):
        self.cursor = event
        self.path.append(event)

    def add(self, event):
        event.next_vid, event.specs, self.specs = self.next_vid, self.specs, {}
        if event.kind == "op":
            self._prepare(event)
        self.recorded = True
        with self.owner.lock:
            self.cursor.add(event)
        self.advance(event)
        self.executed = len(self.path)
        if len(self.path) > self.owner.max_events:
            self.give_up(f"more than {self.owner.max_events} operations in one call")

    def _prepare(self, event):
        """Settle how replays are to match an operation."""
        event.op, event.attrs, event.taping = event.key
        event.match, event.wants = matcher(event, self.view_of)
        event.vid, event.spec = event.outs[0].vid, event.outs[0].spec

    def introduced(self):
        """What the events so far have introduced."""
        if self.known is None:
            self.known = Known()
        return self.known.along(self.path)

    def changes(self, v, since):
        """The events, and their numbers, that change a Variable from outside in place, from number ``since`` on."""
        return ((k, e) for k, e in enumerate(self.path) if k >= since and any(self.wrappers.get(new) is v for _, new in e.rebinds))

    def is_fresh(self, vid):
        """Whether the graph has computed a value since the last flush point."""
        for event in self.path[self.noted:]:
            if event.kind == "op":
                self.fresh.update([o.vid for o in event.outs])
        self.noted = len(self.path)
        return vid in self.fresh

    def now_seen(self):
        """This is a flush point."""
        self.fresh.clear()
        self.noted = len(self.path)

    def pend(self, outcome):
        v = _new(Variable)
        v._pending, v._vid, v._spec = self, outcome.vid, outcome.spec
        if not outcome.requires_grad:
            v._requires_grad = False
        self.pending.append(v)
        self.fresh.add(outcome.vid)
        return v

    def pend_alone(self, outcome):
        """A pending Variable whose array is to be no view, as those of gradients."""
        v = self.pend(outcome)
        self.owned.add(id(v))
        return v

    def flush(self):
        """Compute the events matched since the last flush, in one native call."""
        if self.executed == len(self.path):
            self.now_seen()
            return
        events, before = self.path[self.executed:], self.executed
        self.executed = len(self.path)
        alive = [(v, v._vid) for v in self.pending if _refs(v) > PENDING_REFS]
        try:
            as_begun(self.errors, self.ways, run_segment, self, events, frozenset([self.origin(vid) for _, vid in alive]))
        except BaseException as error:
            if not getattr(error, "after_update", False):
                self.executed = before
            raise
        self.pending = []
        self.now_seen()
        self.dirty.clear()
        given = set()
        for v, vid in alive:
            v._array = self.actual(vid) if vid in self.view_of else self.values[vid] if vid not in given else self.values[vid].copy()
            if id(v) in self.owned and (v._array.base is not None or vid in self.view_of):
                v._array = v._array.copy()
                if vid not in self.view_of and vid not in given:
                    self.values[vid] = v._array         # which is changed in place
            given.add(vid)
            self.ids.setdefault(id(v._array), ~vid if v._requires_grad else vid)
            self.survivors.append(weakref.ref(v))
            self.keep.append(v._array)
        self.owned.clear()

    def paused(self):
        """A block in which operations are not traced."""
        return Paused()

    # ---- leaving the path

    def leave(self):
        """No known event matches: make all pending values real, with their tape, and go on in record mode."""
        if self.mode != "replay":
            return
        self.left = user_line(2)
        self.mode = "eager"
        for vid, x in self.leaves.items():
            if isinstance(x, Variable) and x._requires_grad:
                self.nodes[id(x._tape or x.node._tape)] = vid
        with self.paused():
            as_begun(self.errors, self.ways, rebuild, self)
        self.executed = len(self.path)
        self.next_vid = self.cursor.next_vid
        self.dirty.clear()
        self.mode = "record"

    def give_up(self, reason, passing=False):
        """Go on eagerly and do not record this signature again, unless the reason may be ``passing``."""
        if self.mode == "replay":
            self.leave()
        self.mode, self.reason = "eager", reason
        self.take_plain_numbers()
        self.owner.gave_up(self.root, reason, user_line(2), passing)

    def take_plain_numbers(self):
        """Nodes of the tape, which outlive the recording, keep Python's own numbers from now on: NumPy promotes others, even subclasses of float, differently.
        Gives pairs (node, what it has kept)."""
        found = []
        for node in self.keep:
            owner = getattr(node, "owner", None) or node
            if isinstance(owner, OpNode) and type(owner.saved) is list and any([isinstance(x, TracedNumber) for x in owner.saved]):
                found.append((owner, owner.saved))
                owner.saved = plain_numbers(owner.saved)
        return found

    # ---- from begin to end

    def begin(self):
        """The function starts to run."""
        if self.mode == "replay":
            replaying.append(self)

    def end(self):
        """Nothing is pending any more."""
        if self in replaying:
            replaying.remove(self)

    def finish(self):
        """The function returned: compute what is pending, and give its Variables their arrays and graph."""
        if self.mode == "replay":
            end = next((e for e in self.cursor.children if e.kind == "end"), None)
            if end is None:
                self.leave()
            else:
                self.flush()
                self.advance(end)
                self._hand_over()
                self.functions = {}       # they may know the call
                return end
        end = None
        self.take_plain_numbers()
        if self.mode == "record":
            end = next((e for e in self.cursor.children if e.kind == "end"), None)
            if end is None:
                end = Event("end", (self._tape_needs(),), line=user_line(2))
                self.add(end)
            if changes_shared_memory(self):
                self.owner.gave_up(self.root, "changes an array in place that shares its memory with another",
                                     next(e.line for e in self.path if e.kind == "inplace"))
        for ref in self.survivors:
            v = ref()
            if v is not None:
                v._pending = None
        return end

    def _tape_needs(self):
        """Values that the graph of the surviving Variables keeps."""
        alive = [v for ref in self.survivors if (v := ref()) is not None]
        made = producers(self.path)
        gone = values_behind(made, self.given_up, self.cut)
        return frozenset(saved_values(made, [v._vid for v in alive if v._requires_grad], self.cut | gone))

    def _hand_over(self):
        """Connect the surviving Variables to a tape that is made when somebody asks for it."""
        alive = [v for ref in self.survivors if (v := ref()) is not None]
        tape = CallTape.of(self, alive)
        nodes = []
        for v in alive:
            v._pending = None
            node = tape.node(v._vid) if tape is not None and v._requires_grad else None
            if node is not None:
                if v._tape is not None:
                    move_gradient(v._tape, node)
                v._tape = node
                nodes.append(node)
        if self.functions and tape is not None:
            tape.connect(nodes)

    def abandon(self):
        """The function raised: every Variable it left behind gets its value."""
        if self.mode == "replay":
            try:
                self.leave()
            except Exception as error:       # the program's own error, which is on its way, again
                if raised_by_signal(error):
                    raise
        self.take_plain_numbers()
        for ref in self.survivors:
            v = ref()
            if v is not None and v._array is not None:
                v._pending = None
