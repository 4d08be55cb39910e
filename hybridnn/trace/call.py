"""The tracer: one ``Call`` is one run of a traced function, from its first operation to its last.

Modes. *record*: everything runs eagerly and is noted as new events. *replay*: the user's Python runs, an operation only checks itself against the next
known event and returns a pending Variable; a whole segment is computed when a value is needed. *eager*: given up, nothing is noted. A call
begins in replay if its signature has a path, and leaves it for record at the first operation that no known event matches.
"""
import itertools
import sys
import weakref

import numpy as np

from hybridnn.backend import is_array
from hybridnn.config import global_config, state
from hybridnn.core.variable import (
    NO_ATTRS,
    OPS,
    READERS,
    OpNode,
    ReleasedNode,
    TracedNumber,
    Variable,
    apply_eager,
    apply_inplace_eager,
    as_variable,
    backward_eager,
    begins_at_leaf,
    grad_eager,
    initial_grad,
    replaying,
    run_checked,
    wrap_outputs,
)
from hybridnn.core.variable import (
    Leaf as TapeLeaf,
)
from hybridnn.errors import InvalidType, raised_by_signal, user_line
from hybridnn.graph import Node
from hybridnn.spec import spec_of
from hybridnn.trace.events import FUNCTION, LIMIT, App, Event, Leaf, Number, Outcome, outcomes, vid_of
from hybridnn.trace.floats import error_state
from hybridnn.trace.numbers import traced
from hybridnn.trace.segment import run_segment
from hybridnn.trace.tape import CallTape, producers, saved_values
from hybridnn.trace.walk import is_function_behind, plain_gradients, walk_backward

__all__ = ["Call"]

_new = object.__new__
_refs = sys.getrefcount
PARAMETER_REFS = 3     # the Variable's attribute, the local name and getrefcount's argument: nobody else holds the array
PENDING_REFS = 3       # the tuple in ``pending``, the loop's name and getrefcount's argument
NUMBER_TYPES = (float, int, bool)
STATIC_NUMBER_OPS = {"pow"}
FOREIGN = "foreign"
OUTCOMES = ("bool", "int", "index")
LOOKS = dict(READERS, item=lambda a, *args: a.item(*args))


def effective_backprop():
    """Whether the tape is on in this thread."""
    return global_config.enable_backprop if state.backprop is None else state.backprop


class Call:
    """See the module's docstring.

    Args:
        root: the root event of the signature's tree.
        owner: gets ``gave_up(reason, line)``; has ``limit`` on new events and the compile settings.
    """

    def __init__(self, root, owner):
        self.owner, self.root, self.cursor = owner, root, root
        self.mode = "replay" if root.children else "record"
        self.path = []            # events matched or recorded, in order
        self.executed = 0         # how many of them have been computed
        self.values = {}          # vid -> array or number
        self.ids = {}             # id(array) -> vid, or ~vid if the value needs a gradient and its bare array does not
        self.wrappers = {}        # vid -> the Variable from outside that has it now
        self.keep = []            # what the ids belong to
        self.leaves = {}          # vid -> the Variable or array bound
        self.scalars = {}         # vid -> the number of NumPy's that stands behind an array without dimensions
        self.snapshots = {}       # vid -> (array that others can write, its copy)
        self.pending = []         # (Variable, vid) not computed yet
        self.survivors = []       # weak references to Variables of this call that have been computed
        self.fresh = set()        # vids computed by the graph since the last flush point
        self.dirty = set()        # ids of arrays whose in-place change is pending
        self.nodes = {}           # id(tape node) -> vid, while recording
        self.inner = None         # the composite event being recorded
        self.view_of = {}         # vid -> (vid of the value whose memory it shares, application, output number)
        self.renamed = []         # (weak reference to a Variable of this call, its vid before it was changed in place)
        self.stale = set()        # vids of views whose memory has been changed in place
        self.next_vid = root.next_vid
        self.specs = {}           # Spec of each vid made since the last event
        self.cut = set()          # vids whose creators were forgotten
        self.used = False         # backward has walked the graph
        self.released = False     # ... and an update has changed arrays since: what the graph needs is gone
        self.recorded = self.left = False
        self.reason = None
        self.config_reads = set()
        self.errors = error_state()
        self.checked, self.difference = False, None    # segments also run eagerly; the first operation that came out otherwise
        self.interpreting = False  # segments run in the interpreter: not worth compiling yet
        self.drawn_at = 0         # how many events came before the last of
        self.functions = {}       # event of a user's function -> (function, arrays of its inputs, of its outputs), while replaying
        self.walking = None       # True, or the tape, while backward walks in Python
        self.owned = set()        # ids of pending Variables whose arrays are to be nobody else's
        self.draws = []           # (name, arguments, array) of random draws, in order

    # ------------------------------------------------------------------------------------------------------------ operations

    def apply(self, op, inputs, attrs=NO_ATTRS):
        if self.walking:
            inputs = [x.plain() if isinstance(x, TracedNumber) else x for x in inputs]
        if self.mode == "replay":
            matched = self._match_op(op, inputs, attrs)
            if matched is not None:
                return matched
            self._leave()
        if self.mode == "record":
            return self._record_inner(op, inputs, attrs) if self.inner is not None else self._record_op(op, inputs, attrs)
        return apply_eager(op, inputs, attrs)

    def _match_op(self, op, inputs, attrs):
        taping = state.backprop
        if taping is None:
            taping = global_config.enable_backprop
        for event in self.cursor.children:
            if event.kind == "op":
                key = event.key
                if key[0] is op and key[2] is taping and key[1] == attrs and (self._all_pending(event.operands, inputs)
                                                                             or self._match(event.operands, inputs)):
                    if event.check is not None and not self._passes(event):
                        self._forget(event.operands)
                        return None
                    self.cursor = event
                    self.path.append(event)
                    if event.views:
                        self.view_of.update(event.views)
                    if op.multi:
                        outs = tuple([self._pend(o) for o in event.outs])
                    else:
                        outs = self._pend(event.outs[0])
                    if event.flush and not self._takes(event):
                        return None
                    return outs
        return None

    def _takes(self, event):
        """Compute up to an operation that may refuse its operands. If anything raises, the operation is taken back: it will raise by itself, in its place."""
        try:
            self._flush()
        except Exception as error:
            if raised_by_signal(error) or getattr(error, "after_update", False):
                raise
            self.path.pop()
            self.cursor = event.parent
            self._forget(event.operands)
            made = {o.vid for o in event.outs}
            self.pending = [(v, vid) for v, vid in self.pending if vid not in made]
            return False
        return True

    def _all_pending(self, operands, inputs):
        """The common case of ``_match``: all operands are Variables of this call that nobody has looked into."""
        snapshots, views = self.snapshots, self.view_of
        for want, x in zip(operands, inputs):
            if type(x) is not Variable or x._pending is not self or x._vid != want or want in snapshots or want in views:
                return False
        return len(operands) == len(inputs)

    def _passes(self, event):
        """Whether the operands' values are fit; if not, the operation itself says so, at its place in the user's program."""
        vids = [vid_of(o) for o in event.operands]
        specs = [spec_along(event, v) for v in vids]
        if any(s.dtype.kind in "iu" and v not in self.values for v, s in zip(vids, specs)):
            self._flush()
        try:
            event.check([self.past(v) if s.dtype.kind in "iu" and v in self.values else s for v, s in zip(vids, specs)], event.key[1])
        except (InvalidType, KeyError, IndexError, ValueError):
            return False
        return True

    def _advance(self, event):
        self.cursor = event
        self.path.append(event)

    def _pend(self, outcome):
        v = _new(Variable)
        v._pending, v._vid, v._spec = self, outcome.vid, outcome.spec
        if not outcome.requires_grad:
            v._requires_grad = False
        self.pending.append((v, outcome.vid))
        self.fresh.add(outcome.vid)
        return v

    def _match(self, operands, inputs):
        """Whether the operands are those of a known event; binds leaves and numbers if so."""
        if len(operands) != len(inputs):
            return False
        bound = []
        for want, x in zip(operands, inputs):
            if type(want) is int:
                if self._vid_of(x) == want:
                    vid = want if want >= 0 else ~want
                    if not self.snapshots or vid not in self.snapshots and vid not in self.view_of or self._unchanged(vid):
                        continue
            elif type(want) is Number:
                if type(x) is want.type and ((want.type is not int or x in want.within) if want.value is None else same_number(x, want.value)):
                    self.values[want.vid] = x
                    continue
            elif self._bind(want, x, bound):
                continue
            for key in bound:
                del self.ids[key]
            return False
        return True

    def _vid_of(self, x):
        """The number of a value that this call knows: ``~vid`` for an array without its gradient, ``FOREIGN`` for a Variable over another one's array."""
        if not isinstance(x, Variable):
            return self.ids.get(id(x)) if type(x) is np.ndarray else None
        if x._pending is self:
            return x._vid
        code = self.ids.get(id(x._array))
        if code is None or not x._requires_grad:
            return code
        vid = code if code >= 0 else ~code
        return vid if self.wrappers.get(vid) is x or self.walking else FOREIGN

    def _value_of(self, x):
        """The vid of a value, however it is wrapped; None if this call does not know it."""
        if isinstance(x, Variable) and x._pending is self:
            return x._vid
        code = self.ids.get(id(x._array if isinstance(x, Variable) else x))
        return code if code is None or code >= 0 else ~code

    def _bind(self, leaf, x, bound):
        variable = isinstance(x, Variable)
        a = x._array if variable else x
        number = None
        if type(a) is not np.ndarray:
            if not is_number(a):
                return False
            number, x = x, np.asarray(x)
            a = x
        if id(a) in self.ids or variable and x._pending is not None:
            return False
        spec, flags = leaf.spec, a.flags
        fits = a.shape == spec.shape and a.dtype == spec.dtype and flags.aligned and (None if flags.c_contiguous else a.strides) == leaf.strides
        del flags             # it holds the array, and _hold counts who does
        if not fits:
            return False
        if leaf.requires_grad is not (variable and x._requires_grad) or leaf.has_creator is not has_creator(x):
            return False
        if number is not None:
            self.scalars[leaf.vid] = number
        self.ids[id(a)] = ~leaf.vid if leaf.requires_grad else leaf.vid
        bound.append(id(a))
        self._hold(leaf.vid, x, a)
        return True

    def _hold(self, vid, x, a):
        """Remember a bound leaf; an array that others can write while work is pending is copied."""
        self.leaves[vid] = self.wrappers[vid] = x
        self.keep.append(a)
        shared = not isinstance(x, Variable) or a.base is not None or _refs(a) > PARAMETER_REFS + 2   # + keep, + this function's name
        self.values[vid] = a
        if shared or not a.flags.c_contiguous:
            self._snapshot(vid, a)

    def _snapshot(self, vid, a):
        copied = a.copy()
        self.snapshots[vid] = (a, copied)
        self.values[vid] = copied

    def _unchanged(self, vid):
        """False if somebody wrote into the operand's array after it was first used."""
        pair = self.snapshots.get(self._origin(vid))
        return pair is None or same_bytes(*pair)

    def _leave_if_written(self, outputs):
        """Gradients come from arrays as they are now, which is not how the graph used those that have been written since."""
        written = {vid for vid, pair in self.snapshots.items() if not same_bytes(*pair)} if self.mode == "replay" else ()
        if not written:
            return
        graph = saved_values(producers(self.path), [vid for vid in map(self._value_of, outputs) if vid is not None], self.cut)
        if not written.isdisjoint(map(self._origin, graph)):
            self.give_up("an array is written between its use and backward")

    def _origin(self, vid):
        """The value whose memory a view shares."""
        while vid in self.view_of:
            vid = self.view_of[vid][0]
        return vid

    def actual(self, vid):
        """The array that the user sees as a value: for a view, a view of the array that it shares."""
        if vid in self.view_of:
            return self._view(vid, self.actual)
        return self.snapshots[vid][0] if vid in self.snapshots else self.values[vid]

    def past(self, vid):
        """The value as it was when it was used, whoever wrote into its array since."""
        return self._view(vid, self.past) if vid in self.view_of else self.values[vid]

    def _view(self, vid, of):
        base, app, k = self.view_of[vid]
        y = app.node.op.run([of(base)], dict(app.node.attrs))
        return y[k] if app.node.op.multi else y

    # ------------------------------------------------------------------------------------------------------------- recording

    def _record_op(self, op, inputs, attrs):
        operands, plain, saved = self._operands(op, inputs)
        if operands is None:
            return apply_eager(op, inputs, attrs)
        if error_state() != self.errors:
            self.give_up("numpy.errstate changes inside the function")
            return apply_eager(op, inputs, attrs)
        event = Event("op", (op, attrs, effective_backprop()), operands, line=user_line(3))
        event.constants = [(o.vid, o.value) for o in operands if type(o) is Number and o.value is not None]
        mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
        try:
            y = run_checked(op, plain, attrs)
        except BaseException:
            self._forget(operands)
            raise
        result = wrap_outputs(op, inputs, saved, attrs, mask, y)
        self._know_leaves(inputs)
        outs = result if op.multi else (result,)
        event.outs = tuple([self._name(v) for v in outs])
        taped = any(v._tape is not None for v in outs)
        event.apps.append(App(self._node(op, operands, attrs, event), mask, taped))
        self._note_views(event, plain, outs)
        event.flush, event.check = op.kind == "opaque" and op.decompose is None, op.meta.get("check")
        if event.check is None and "check_ints" in op.meta and all(spec_of(x).dtype.kind in "iub" for x in plain):
            event.check = op.meta["check_ints"]
        self._add(event)
        if event.flush:
            self.fresh.clear()
        return result

    def _know_leaves(self, inputs):
        """A Variable that the call made without a creator becomes a leaf of the graph when an operation takes it."""
        for x in inputs:
            if isinstance(x, Variable) and x._pending is self and x._tape is not None and id(x._tape) not in self.nodes:
                self.nodes[id(x._tape)] = x._vid
                self.keep.append(x._tape)

    def _note_views(self, event, plain, outs):
        """Outputs that share memory with an operand do so on every call."""
        app = event.apps[0]
        for k, v in enumerate(outs):
            y = v._array
            shared = [i for i, a in enumerate(plain) if type(a) is np.ndarray and (a is y or y.base is not None and np.may_share_memory(a, y))]
            if shared and len(plain) == 1:
                event.views[v._vid] = (app.node.inputs[0], app, k)
            elif shared or y.base is not None and not y.flags.writeable:
                self.give_up(f"{app.node.op.name} returns a view that cannot be made again")
        self.view_of.update(event.views)

    def _forget(self, operands):
        """Unbind the leaves of an operation that raised."""
        for o in operands:
            if type(o) is Leaf:
                self.values.pop(o.vid)
                self.snapshots.pop(o.vid, None)
                x = self.leaves.pop(o.vid)
                del self.ids[id(x._array if isinstance(x, Variable) else x)]

    def _node(self, op, operands, attrs, event):
        vids = tuple([vid_of(o) for o in operands])
        return Node(op, vids, tuple([o.vid for o in event.outs]), tuple(attrs.items()), event.line)

    def _add(self, event):
        event.next_vid, event.specs, self.specs = self.next_vid, self.specs, {}
        self.recorded = True
        with self.owner.lock:
            self.cursor.add(event)
        self._advance(event)
        self.executed = len(self.path)
        if len(self.path) > self.owner.max_events:
            self.give_up(f"more than {self.owner.max_events} operations in one call")

    def _vid(self, spec):
        """A new number for a value."""
        self.next_vid += 1
        self.specs[self.next_vid - 1] = spec
        return self.next_vid - 1

    def _name(self, v):
        """Number a Variable that this call made."""
        vid = self._vid(spec_of(v._array))
        v._pending, v._vid, v._spec = self, vid, self.specs[vid]
        self._know(v._array, vid, v._requires_grad)
        if v._tape is not None:
            self.nodes[id(v._tape)] = vid
            self.keep.append(v._tape)
        self.survivors.append(weakref.ref(v))
        self.fresh.add(vid)
        return Outcome(vid, v._spec, v._requires_grad)

    def _know(self, a, vid, graded=False):
        self.ids.setdefault(id(a), ~vid if graded else vid)
        self.values[vid] = a
        self.keep.append(a)

    def _operands(self, op, inputs):
        """Numbered operands, the plain values to compute with, and what to put on the tape; None for the first if the call gave up."""
        operands, plain, saved = [], [], []
        for i, x in enumerate(inputs):
            if type(x) in NUMBER_TYPES:
                within = values_of(inputs) if type(x) is int else None
                if within is not None and x not in within:
                    self.give_up(f"{op.name} takes an int that does not fit its arrays or 64 bits")
                    return None, None, None
                static = x if self._is_static(op, i, x) else None
                number = Number(self._vid(spec_of(x)), type(x), static, within)
                self.values[number.vid] = x
                operands.append(number)
                plain.append(x)
                saved.append(x if static is not None else traced(x, number.vid, self))
                continue
            given = x
            if is_number(x):
                x = np.asarray(x)       # NumPy promotes its scalars as it does arrays
            operand = self._operand(x, op.name, rows_may_be_apart=True)
            if operand is None:
                return None, None, None
            if given is not x:
                self.scalars[operand.vid] = given
            operands.append(operand)
            plain.append(x._array if isinstance(x, Variable) else x)
            saved.append(plain[-1])
        return tuple(operands), plain, saved

    def _is_static(self, op, i, x):
        """Whether a number belongs to the path: a bool does, and an exponent until another one is met at the same place."""
        if type(x) is bool or op.name not in STATIC_NUMBER_OPS or i == 0:
            return type(x) is bool
        rivals = [e.operands[i] for e in self.cursor.children if e.kind == "op" and e.key[0] is op]
        return not any(type(o) is Number and o.value is not None and not same_number(o.value, x) for o in rivals)

    def _operand(self, x, name, rows_may_be_apart=False):
        variable = isinstance(x, Variable)
        a = (x._array if x._array is not None else x.array) if variable else x
        vid = self._vid_of(x)
        if vid is FOREIGN:
            self.give_up(f"{name} takes a Variable over an array that belongs to another one")
            return None
        if vid is not None:
            if vid_of(vid) not in self.stale and self._unchanged(vid_of(vid)):
                return vid
            self.give_up(f"{name} takes an array that was written inside the function after its first use")
            return None
        apart = rows_may_be_apart and type(a) is np.ndarray and in_order(a)
        problem = unfit(a, apart)
        if problem:
            self.give_up(f"{name} takes {problem}")
            return None
        spec = spec_of(a)
        leaf = Leaf(self._vid(spec), spec, variable and x._requires_grad, variable, has_creator(x), None if a.flags.c_contiguous else a.strides)
        self._know(a, leaf.vid, leaf.requires_grad)
        self.leaves[leaf.vid] = self.wrappers[leaf.vid] = x
        if variable and x._requires_grad:
            self.nodes[id(x.__dict__.get("_tape") or x.node._tape)] = leaf.vid
        return leaf

    # ---- inside backward, grad: nodes of one event, no events of their own

    def _record_inner(self, op, inputs, attrs):
        vids, plain, saved = [], [], []
        for x in inputs:
            vid = self._inner_vid(x)
            if vid is None:
                self.give_up(f"{op.name} in a gradient takes values that this call did not make (a graph from before the call, or arrays made by a rule)")
                return apply_eager(op, [x.plain() if isinstance(x, TracedNumber) else x for x in inputs], attrs)
            vids.append(vid)
            plain.append(x._array if isinstance(x, Variable) else x.plain() if isinstance(x, TracedNumber) else x)
            saved.append(x._array if isinstance(x, Variable) else x)
        mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
        y = run_checked(op, plain, attrs)
        result = wrap_outputs(op, inputs, saved, attrs, mask, y)
        outs = result if op.multi else (result,)
        outcomes = [self._name(v) for v in outs]
        node = Node(op, tuple(vids), tuple([o.vid for o in outcomes]), tuple(attrs.items()), self.inner.line)
        self.inner.apps.append(App(node, mask, any(v._tape is not None for v in outs)))
        return result

    def _inner_vid(self, x):
        if isinstance(x, TracedNumber):
            return x.vid
        if type(x) in NUMBER_TYPES:
            return self._constant(x)
        vid = self._value_of(x)
        if vid in self.stale:
            return None
        if vid is None and isinstance(x, Variable) and x._pending is None:
            a = x._array
            if a is not None and (a.ndim == 0 or not any(a.strides)) and type(x) is Variable and x._tape is None:
                return None
        return vid

    def _constant(self, value):
        vid = self._vid(spec_of(value))
        self.inner.constants.append((vid, value))
        self.values[vid] = value
        return vid

    def derive(self, fn, args):
        """A number that a gradient rule computes from traced numbers."""
        values = [x.plain() if isinstance(x, TracedNumber) else x for x in args]
        result = fn(*values)
        if self.inner is None or self.mode != "record" or type(result) not in (float, int):
            return result
        vids = tuple([x.vid if isinstance(x, TracedNumber) else self._constant(x) for x in args])
        vid = self._vid(spec_of(result))
        self.inner.host.append((vid, fn, vids))
        self.values[vid] = result
        return traced(result, vid, self)

    # -------------------------------------------------------------------------------------------------------------- in place

    def apply_inplace(self, op, inputs, targets, attrs):
        if self.mode == "replay":
            if self._match_inplace(op, inputs, targets, attrs):
                return
            self._leave()
        if self.mode == "record" and self.inner is None:
            self._record_inplace(op, inputs, targets, attrs)
            return
        if self.inner is not None:
            self.give_up(f"{op.name} changes an array in place during backward")
        with self.paused():
            apply_inplace_eager(op, inputs, targets, attrs)

    def _match_inplace(self, op, inputs, targets, attrs):
        for event in self.cursor.children:
            key = event.key
            if event.kind == "inplace" and key[0] is op and key[1] == attrs and key[2] == targets and self._match(event.operands, inputs):
                self._advance(event)
                self.released = self.used
                for k, (_, new) in zip(targets, event.rebinds, strict=True):
                    self._rebind(inputs[k], new)
                if not self.owner.holding or any(self._is_shared(inputs[k]) for k in targets):
                    self._flush()
                return True
        return False

    def _is_shared(self, x):
        return isinstance(x, Variable) and x._array is not None and _refs(x._array) > PARAMETER_REFS + 1

    def _rebind(self, x, vid):
        """From here on ``x`` has value ``vid``."""
        a = x._array if isinstance(x, Variable) else x
        if isinstance(x, Variable) and x._pending is self:
            self.renamed.append((weakref.ref(x), x._vid))
            x._vid = vid
        if a is not None:
            self.ids[id(a)] = ~vid if isinstance(x, Variable) and x._requires_grad else vid
            self.wrappers[vid] = x
            self.dirty.add(id(a))
        self.fresh.add(vid)

    def _record_inplace(self, op, inputs, targets, attrs):
        operands, plain, _ = self._operands(op, inputs)
        if operands is not None and any(not owns_memory(plain[k]) for k in targets):
            self.give_up(f"{op.name} changes an array in place that shares its memory with another")
            operands = None
        if operands is None:
            with self.paused():
                apply_inplace_eager(op, inputs, targets, attrs)
            return
        results = run_checked(op, plain, attrs)
        for k, y in zip(targets, results if op.multi else (results,), strict=True):
            if y.dtype != plain[k].dtype or y.shape != plain[k].shape:
                self.give_up(f"{op.name} computes {spec_of(y)} for an array of {spec_of(plain[k])}")
            plain[k][...] = y
        if self.mode != "record":
            return
        event = Event("inplace", (op, attrs, targets), operands, line=user_line(3))
        vids = [vid_of(o) for o in operands]
        outs = [self._vid(spec_of(plain[k])) for k in targets]
        event.rebinds = tuple((vids[k], new) for k, new in zip(targets, outs, strict=True))
        event.apps.append(App(Node(op, tuple(vids), tuple(outs), tuple(attrs.items()), event.line), 0, False))
        written = {vids[k] for k in targets}
        self.stale |= {v for v in self.view_of if self._origin(v) in written or v in written}
        for k, new in zip(targets, outs, strict=True):
            self._rebind(inputs[k], new)
            self.values[new] = plain[k]
        self.dirty.clear()
        event.outs = tuple([Outcome(new, spec_of(plain[k]), False) for k, new in zip(targets, outs, strict=True)])
        event.flush = not self.owner.holding
        self.released = self.used
        self._add(event)
        if event.flush:
            self.fresh.clear()

    def settle(self):
        """Compute in-place changes that are pending (the library calls it at the end of an update)."""
        if self.mode == "replay":
            if self.dirty:
                self._flush()
        elif self.mode == "record":
            self.fresh.clear()

    # -------------------------------------------------------------------------------------------------------------- backward

    def backward(self, outputs, retain_grad, double, loss_scale):
        flags = (retain_grad, double, loss_scale, len(outputs))
        self._leave_if_written(outputs)
        if self.mode != "eager" and self.inner is None and not retain_grad and not double and is_function_behind(self):
            walk_backward(self, outputs, flags)
            self.used = True
            return
        if self.mode == "replay":
            if self._match_backward(outputs, flags):
                return
            self._leave()
        with self.paused():
            at_leaf = [begins_at_leaf(v, loss_scale) for v in outputs]
        if any(at_leaf):
            self.give_up("backward from a value without a graph")
        elif self.mode == "record" and self.inner is None:
            self._record_backward(outputs, flags)
            return
        with self.paused():
            backward_eager(outputs, retain_grad, double, loss_scale, double or state.hooks is not None)

    def _record_backward(self, outputs, flags):
        retain_grad, double, loss_scale, _ = flags
        seeds = [None if v._tape is None else v._tape.grad for v in outputs]
        event = self._composite("backward", [*outputs, *[g for g in seeds if g is not None]])
        if event is None:
            with self.paused():
                backward_eager(outputs, retain_grad, double, loss_scale, double)
            return
        event.key = (flags, tuple(g is None for g in seeds))
        stored, priors = [], []
        self._seed(outputs, seeds, loss_scale, event)

        def store(node, g, as_variables, scale):
            prior = node.grad
            node.loss_scale = scale
            if prior is not None:
                prior = prior if isinstance(prior, Variable) else Variable(prior, requires_grad=False)
                if self.mode == "record":
                    operand = self._operand(prior, "add")
                    if operand is not None:
                        priors.append(operand)
            if prior is not None:
                node.grad = self.apply(OPS["add"], (prior, g))
            else:
                node.grad = self._writeable(g) if double else self._own(g, [other for _, other, _ in stored])
            stored.append((node, node.grad, prior is not None))
        self.inner = event
        try:
            backward_eager(outputs, retain_grad, double, loss_scale, True, store)
        finally:
            self.inner = None
        self._finish_backward(event, outputs, stored, priors, retain_grad)
        stored.clear()

    def _writeable(self, g):
        """The gradient itself, with its graph; not with a broadcast array."""
        if not g._array.flags.writeable:
            vid = self._value_of(g)
            g._array = g._array.copy()
            if vid is not None:
                self._know(g._array, vid, g._requires_grad)
        return g

    def _own(self, g, taken):
        """A gradient whose array is nobody else's, as backward on plain arrays stores it."""
        a = g._array
        if a.base is None and a.flags.owndata and not any(g is other for other in taken) and g._pending is self:
            return g
        v = _new(Variable)
        v._array, v._requires_grad = a.copy(), g._requires_grad
        v._pending, v._vid, v._spec = self, self._value_of(g), spec_of(a)
        if v._vid is not None:
            self._know(v._array, v._vid)
        self.survivors.append(weakref.ref(v))
        return v

    def _seed(self, outputs, seeds, loss_scale, event):
        """Initial gradients that the library makes are constants of the path."""
        self.inner = event
        for v, g in zip(outputs, seeds, strict=True):
            if g is None and v._tape is not None and not v._tape.is_leaf:
                ones = initial_grad(v, loss_scale)
                vid = self._constant(ones.copy())
                self._know(ones, vid)
                v._tape.grad = Variable(ones, requires_grad=False)
        self.inner = None

    def _finish_backward(self, event, outputs, stored, priors, retain_grad):
        if self.mode != "record":
            return
        grads = []
        for node, g, accumulated in stored:
            vid, gvid = self.nodes.get(id(node)), self._value_of(g)
            if vid is None or gvid is None:
                self.give_up("backward reached a graph from before the call")
                return
            grads.append((vid, Outcome(gvid, spec_of(g._array), g._requires_grad), accumulated))
        retained, taken = [], [g for _, g, _ in stored] + [v._tape.grad for v in outputs if v._tape is not None]
        if retain_grad:
            for ref in self.survivors:
                v = ref()
                g = None if v is None or v._tape is None or any(v is y for y in outputs) else v._tape.grad
                if isinstance(g, Variable) and (gvid := self._value_of(g)) is not None:
                    g = v._tape.grad = g if event.key[0][1] else self._own(g, taken)
                    taken.append(g)
                    retained.append((v._vid, Outcome(gvid, spec_of(g._array), g._requires_grad)))
        event.grads = (tuple(grads), tuple(retained))
        event.operands = (*event.operands, *priors)
        self.used = self.used or not event.key[0][1]
        self._add(event)

    def _composite(self, kind, variables):
        operands = []
        for v in variables:
            operand = self._operand(as_variable(v), kind)
            if operand is None:
                return None
            operands.append(operand)
        return Event(kind, (), tuple(operands), line=user_line(4))

    def _match_backward(self, outputs, flags):
        seeds = [None if v._tape is None else v._tape.grad for v in outputs]
        key = (flags, tuple(g is None for g in seeds))
        given = [as_variable(x) for x in [*outputs, *[g for g in seeds if g is not None]]]
        for event in self.cursor.children:
            if event.kind != "backward" or event.key != key:
                continue
            targets = [self._leaf_node(vid) for vid, _, _ in event.grads[0]]
            if None in targets or any((n.grad is not None) is not acc for n, (_, _, acc) in zip(targets, event.grads[0], strict=True)):
                continue
            priors = [as_variable(n.grad) for n in targets if n.grad is not None]
            if self._match(event.operands, [*given, *priors]):
                self._advance(event)
                self._take_grads(event, outputs, seeds, targets, flags)
                return True
        return False

    def _leaf_node(self, vid):
        x = self.leaves.get(vid)
        if isinstance(x, Variable):
            return x._tape or x.node._tape
        for v, known in self.pending:
            if known == vid:
                return self._early_node(v)
        for ref in self.survivors:
            v = ref()
            if v is not None and v._vid == vid:
                return self._early_node(v)
        return TapeLeaf((), None)      # nobody has the Variable any more

    def _early_node(self, v):
        if v._tape is None:
            v._tape = TapeLeaf(v._spec.shape, v._spec.dtype)
        return v._tape

    def _take_grads(self, event, outputs, seeds, targets, flags):
        event_grads, retained = event.grads
        for v, g in zip(outputs, seeds, strict=True):
            if v._pending is self and v._requires_grad and (flags[0] or g is not None):
                self._early_node(v).grad = None if not flags[0] else initial_grad(v, flags[2]) if g is None else g
        shared = {}
        for node, (_, outcome, _) in zip(targets, event_grads, strict=True):
            node.loss_scale = flags[2]
            node.grad = shared.get(outcome.vid) or self._pend(outcome)
            if flags[1]:
                shared[outcome.vid] = node.grad
        wanted = dict(retained)
        computed = [(v, v._vid) for ref in self.survivors if (v := ref()) is not None] if wanted else []
        for v, vid in [*self.pending, *computed]:
            if vid in wanted:
                self._early_node(v).grad = self._pend(wanted[vid])
        self.used = self.used or not flags[1]

    # ------------------------------------------------------------------------------------------------------------------ grad

    def grad(self, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
        args = (outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale)
        self._leave_if_written(outputs)
        simple = grad_inputs is None and not retain_grad and loss_scale is None
        if self.mode == "replay":
            results = self._match_grad(*args) if simple else None
            if results is not None:
                return results
            self._leave()
        if self.mode == "record" and self.inner is None:
            if simple:
                return self._record_grad(*args)
            self.give_up("hnn.grad with grad_inputs, retain_grad or loss_scale")
        with self.paused():
            return grad_eager(*args)

    def _grad_operands(self, outputs, inputs, grad_outputs):
        return [*outputs, *inputs, *[g for g in grad_outputs or () if g is not None]]

    def _grad_key(self, outputs, inputs, grad_outputs, set_grad, double):
        return (len(outputs), len(inputs), tuple(g is None for g in grad_outputs or ()), set_grad, double)

    def _record_grad(self, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
        event = self._composite("grad", self._grad_operands(outputs, inputs, grad_outputs))
        if event is None:
            with self.paused():
                return grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale)
        event.key = self._grad_key(outputs, inputs, grad_outputs, set_grad, double)
        self.inner = event
        seeds = list(grad_outputs) if grad_outputs is not None else [None] * len(outputs)
        for i, v in enumerate(outputs):
            if seeds[i] is None:
                ones = np.ones(v.shape, v.dtype)
                vid = self._constant(ones.copy())
                self._know(ones, vid)
                seeds[i] = Variable(ones, requires_grad=False)
        try:
            results = grad_eager(outputs, inputs, seeds, None, set_grad, False, double, None)
        finally:
            self.inner = None
        if self.mode != "record":
            return results
        vids = [None if g is None else self._value_of(g) for g in results]
        if any(g is not None and vid is None for g, vid in zip(results, vids, strict=True)):
            self.give_up("hnn.grad reached a graph from before the call")
            return results
        event.outs = tuple([None if g is None else Outcome(vid, spec_of(g._array), g._requires_grad) for g, vid in zip(results, vids, strict=True)])
        self._add(event)
        return results

    def _match_grad(self, outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, double, loss_scale):
        key = self._grad_key(outputs, inputs, grad_outputs, set_grad, double)
        given = [as_variable(x) for x in self._grad_operands(outputs, inputs, grad_outputs)]
        for event in self.cursor.children:
            if event.kind == "grad" and event.key == key and self._match(event.operands, given):
                self._advance(event)
                results = [None if o is None else self._pend(o) for o in event.outs]
                if set_grad:
                    for x, g in zip(inputs, results, strict=True):
                        (self._early_node(x) if x._pending is self else x._tape or x.node._tape).grad = g
                return results
        return None

    # ----------------------------------------------------------------------------------------------------------------- looks

    def expose(self, v):
        """The user asks for an array: pending work that it depends on runs; from now on others can write into it."""
        if self.mode == "eager" or self.inner is not None:
            return
        vid = self._value_of(v)
        if vid is None:
            return
        if vid in self.fresh:
            self._look("expose", v, vid, ())
        origin = self._origin(vid)
        if self.mode == "replay" and origin not in self.snapshots and v._array is not None:
            self._snapshot(origin, v._array if origin == vid else self.actual(origin))

    assign = expose

    def expose_elsewhere(self, v):
        """Another thread, or a user's function between segments, asks for an array that this call may have bound."""
        a = v._array
        vid = self._value_of(v) if a is not None else None
        if vid is not None and self.mode == "replay" and vid in self.leaves and vid not in self.snapshots:
            self._snapshot(vid, a)

    def read(self, v, kind, args):
        if self.mode == "eager" or self.inner is not None:
            return LOOKS[kind](self._now(v), *args)
        vid = self._value_of(v)
        return LOOKS[kind](self._now(v), *args) if vid is None else self._look(kind, v, vid, args)

    def _now(self, v):
        return v._array if v._array is not None else v.array

    def _look(self, kind, v, vid, args):
        if self.mode == "replay":
            if not any(e.kind == "read" and e.key[0] == kind and e.operands[0] == vid for e in self.cursor.children):
                self._leave()
            else:
                self._flush()
        value = None if kind == "expose" else LOOKS[kind](v._array, *args)
        outcome = (type(value), repr(value)) if kind in OUTCOMES else None
        if self.mode == "replay":
            for event in self.cursor.children:
                if event.kind == "read" and event.key == (kind, outcome, args) and event.operands[0] == vid:
                    self._advance(event)
                    self.executed = len(self.path)
                    return value
            self._leave()
        if self.mode == "record":
            self._add(Event("read", (kind, outcome, args), (vid,), line=user_line(5)))
            self.fresh.clear()
        return value

    def unchain_backward(self, v):
        """True if the tracer did it."""
        if self.mode == "eager" or self.inner is not None:
            return False
        vid = self._vid_of(v)
        if vid is None or vid is FOREIGN or vid < 0:      # a Variable of its own over a known array does not have that value's graph
            return False
        if self.mode == "replay":
            for event in self.cursor.children:
                if event.kind == "unchain" and event.operands[0] == vid:
                    self._advance(event)
                    self.cut |= event.key[0]
                    for leaf in event.key[1]:
                        with self.paused():
                            self.leaves[leaf].unchain_backward()
                    return True
            self._leave()
        self._record_unchain(v, vid)
        return True

    def _record_unchain(self, v, vid):
        with self.paused():
            reached = self._ancestors(v)
            outside = tuple(k for k in sorted(reached) if has_creator(self.leaves.get(k)))
            v.unchain_backward()
        if self.mode == "record":
            own = frozenset(k for k in reached if k not in self.leaves)
            self.cut |= own
            self._add(Event("unchain", (own, outside), (vid,), line=user_line(4)))

    def _ancestors(self, v):
        seen, stack, vids = set(), [v._tape] if v._tape is not None else [], set()
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if id(node) in self.nodes:
                vids.add(self.nodes[id(node)])
            stack += [] if node.is_leaf else [p for p in node.edges if p is not None]
        for event in self.path:       # a node is forgotten with all its outputs
            for app in event.apps if event.function is None else (event.function,):
                if not vids.isdisjoint(app.node.outputs):
                    vids.update(app.node.outputs)
        return vids

    def note_hooks(self):
        """Function hooks or debug mode are switched inside the function: every operation is to run where it stands."""
        if self.mode != "eager":
            self._to_eager("function hooks or debug mode inside the function")

    def note_draw(self, name, args, value):
        """The library drew random numbers."""
        self.draws.append((name, args, value))
        self.drawn_at = len(self.path)

    # ------------------------------------------------------------------------------------------------------ the user's functions

    def apply_function(self, function, inputs):
        """A user's FunctionNode: its Python runs on every call, between the segments."""
        if self.mode == "eager":
            return function.apply_eager(inputs)
        if self.inner is not None:
            self.give_up(f"{function.label} inside a gradient")
            return function.apply_eager(inputs)
        variables = [as_variable(x) for x in inputs]
        if self.mode == "replay":
            result = self._match_function(function, variables)
            if result is not None:
                return result
            self._leave()
        operands = self._function_operands(function, variables)
        return self._record_function(function, variables, operands, *self._run_function(function, variables, operands or ()))

    def note_function(self, function, gs):
        """Backward has reached a user's function, whose Python must run; gives the gradients that it gets."""
        if self.inner is not None:
            self.give_up(f"hnn.grad, or backward that keeps more than gradients, through {function.label} inside the function")
        return plain_gradients(self, gs) if self.walking else gs

    def pend_again(self, v, vid):
        """``v`` as another Variable for a value of the path."""
        v._pending, v._vid, v._spec = self, vid, spec_along(self.cursor, vid)
        if vid in self.values:
            v._array = self.actual(vid)
            self.survivors.append(weakref.ref(v))
        else:
            self.pending.append((v, vid))
        return v

    def hold_own(self, v, g):
        """``v`` gets the value of ``g``, in an array of its own."""
        if g._array is None:
            self.owned.add(id(v))
            self.pending.append((v, v._vid))
            return
        v._array = g._array.copy()
        self._know(v._array, v._vid)
        self.survivors.append(weakref.ref(v))

    def _function_operands(self, function, variables):
        operands = []
        for x in variables:
            operands.append(self._operand(x, function.label))
            if operands[-1] is None:
                return None
        return tuple(operands)

    def _run_function(self, function, variables, operands):
        try:
            with self.paused():
                return function._run(variables)
        except BaseException:
            self._forget(operands)
            raise

    def _match_function(self, function, variables):
        key = (type(function.function or function), effective_backprop())
        for event in self.cursor.children:
            if event.kind == "function" and event.key == key and self._match(event.operands, variables):
                self._flush()
                arrays, outputs = self._run_function(function, variables, event.operands)
                if self.mode == "replay" and not untraceable(arrays, outputs) and [spec_of(y) for y in outputs] == [o.spec for o in event.outs]:
                    self._advance(event)
                    self.executed = len(self.path)
                    return self._take_function(event, function, variables, arrays, outputs)
                self._leave()
                self._forget(event.operands)
                return self._record_function(function, variables, self._function_operands(function, variables), arrays, outputs)
        return None

    def _take_function(self, event, function, variables, arrays, outputs):
        """Variables for what a replayed function returned; it is connected to the graph when the call ends. Its arrays may be kept and written by it."""
        results = []
        for y, o in zip(outputs, event.outs, strict=True):
            v = _new(Variable)
            v._array, v._pending, v._vid, v._spec, v._requires_grad = y, self, o.vid, o.spec, o.requires_grad
            self._know(y, o.vid, o.requires_grad)
            self._snapshot(o.vid, y)
            self.survivors.append(weakref.ref(v))
            results.append(v)
        for operand in event.operands:
            origin = self._origin(vid_of(operand))
            if origin not in self.snapshots:
                self._snapshot(origin, self.actual(origin))
        self.functions[event] = function, arrays, outputs
        if event.function.taped:
            function.n_outputs, function.inputs_, function._needs = len(outputs), (), ()
        return tuple(results)

    def _record_function(self, function, variables, operands, arrays, outputs):
        problem = untraceable(arrays, outputs)
        if problem and self.mode == "record":
            self.give_up(f"{function.label} returns {problem}")
        with self.paused():
            result = function._wrap(variables, arrays, outputs)
        if self.mode != "record" or operands is None:
            return result
        event = Event("function", (type(function.function or function), effective_backprop()), operands, line=user_line(4))
        event.outs = tuple([self._name(v) for v in result])
        mask = sum(1 << i for i, x in enumerate(variables) if x._requires_grad)
        node = Node(FUNCTION, tuple([vid_of(o) for o in operands]), tuple([o.vid for o in event.outs]), (), event.line)
        event.function = App(node, mask, any(v._tape is not None for v in result))
        self._add(event)
        self.fresh.clear()
        return result

    def resolve(self, v):
        """Somebody looks at the graph itself: the call goes on eagerly."""
        if self.mode != "eager" and self.inner is None:
            self._to_eager("looks at the graph (creator, node, copy, unchain)")

    def materialize(self, v):
        """The array of a pending Variable that another thread or a finished call asks for."""
        self._leave()
        return v._array

    # -------------------------------------------------------------------------------------------------------------- leaving

    def _to_eager(self, reason):
        if self.mode == "replay":
            self._leave()
        self.give_up(reason)

    def begin(self):
        """The function starts to run."""
        if self.mode == "replay":
            replaying.append(self)

    def end(self):
        """Nothing is pending any more."""
        if self in replaying:
            replaying.remove(self)

    def give_up(self, reason):
        """Go on eagerly and do not record this signature again."""
        if self.mode == "replay":
            self._leave()
        self.mode, self.reason = "eager", reason
        self._plain_numbers()
        self.owner.gave_up(self.root, reason, user_line(2))

    def _plain_numbers(self):
        """What outlives the recording keeps Python's own numbers: NumPy promotes others, even subclasses of float, differently."""
        for node in self.keep:
            owner = getattr(node, "owner", None) or node
            if isinstance(owner, OpNode) and type(owner.saved) is list:
                owner.saved = [x.plain() if isinstance(x, TracedNumber) else x for x in owner.saved]

    def _leave(self):
        """No known event matches: make all pending values real, with their tape, and go on in record mode."""
        if self.mode != "replay":
            return
        self.left = True
        self.mode = "eager"
        for vid, x in self.leaves.items():
            if isinstance(x, Variable) and x._requires_grad:
                self.nodes[id(x._tape or x.node._tape)] = vid
        with self.paused():
            self._rebuild()
        self.executed = len(self.path)
        self.next_vid = self.cursor.next_vid
        self.dirty.clear()
        self.mode = "record"

    def _rebuild(self):
        """Run the path so far again, eagerly, into the pending Variables; what changed arrays in place is not run twice."""
        made = {}
        for ref in self.survivors:
            v = ref()
            if v is not None:
                made[v._vid] = v
        made.update({vid: v for v, vid in self.pending})
        made.update({vid: v for ref, vid in self.renamed if (v := ref()) is not None})
        barrier = max((i for i, e in enumerate(self.path[:self.executed]) if e.kind == "inplace"), default=-1)
        worker = Rebuild(self, made, barrier + 1)
        for i, event in enumerate(self.path):
            if i <= barrier or i < self.executed and not worker.has_operands(event):
                worker.known(event)
            else:
                worker.run(event, final=i < self.executed)
        for v, vid in self.pending:
            a = self.values.get(vid) if made[vid]._array is None else made[vid]._array
            if v._array is None and a is not None:        # a second Variable of one value, as gradients of a sum are: only one has been filled
                v._array = a.copy()
            self.survivors.append(weakref.ref(v))
        self.pending = []

    def _flush(self):
        """Compute the events matched since the last flush, in one native call."""
        if self.executed == len(self.path):
            self.fresh.clear()
            return
        events, before = self.path[self.executed:], self.executed
        self.executed = len(self.path)
        alive = [(v, v._vid) for v, _ in self.pending if _refs(v) > PENDING_REFS]
        try:
            run_segment(self, events, frozenset([self._origin(vid) for _, vid in alive]))
        except BaseException as error:
            if not getattr(error, "after_update", False):
                self.executed = before
            raise
        self.pending = []
        self.fresh.clear()
        self.dirty.clear()
        given = set()
        for v, vid in alive:
            v._array = self.actual(vid) if vid in self.view_of else self.values[vid] if vid not in given else self.values[vid].copy()
            if vid in self.view_of and id(v) in self.owned:
                v._array = v._array.copy()
            given.add(vid)
            self.ids.setdefault(id(v._array), ~vid if v._requires_grad else vid)
            self.survivors.append(weakref.ref(v))
            self.keep.append(v._array)

    # ------------------------------------------------------------------------------------------------------------------- end

    def finish(self):
        """The function returned: compute what is pending, and give its Variables their arrays and graph."""
        if self.mode == "replay":
            end = next((e for e in self.cursor.children if e.kind == "end"), None)
            if end is None:
                self._leave()
            else:
                self._flush()
                self._advance(end)
                self._hand_over()
                return end
        end = None
        self._plain_numbers()
        if self.mode == "record":
            end = next((e for e in self.cursor.children if e.kind == "end"), None)
            if end is None:
                end = Event("end", (self._tape_needs(),), line=user_line(2))
                self._add(end)
        for ref in self.survivors:
            v = ref()
            if v is not None:
                v._pending = None
        return end

    def _tape_needs(self):
        """Values that the graph of the surviving Variables keeps."""
        if self.released:
            return frozenset()
        alive = [v for ref in self.survivors if (v := ref()) is not None]
        return frozenset(saved_values(producers(self.path), [v._vid for v in alive if v._requires_grad and v._vid not in self.cut], self.cut))

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
                    node.grad, node.loss_scale = v._tape.grad, v._tape.loss_scale
                v._tape = node
                nodes.append(node)
        if self.functions and tape is not None:
            tape.connect(nodes)

    def abandon(self):
        """The function raised: every Variable it left behind gets its value."""
        if self.mode == "replay":
            try:
                self._leave()
            except Exception as error:       # the program's own error, which is on its way, again
                if raised_by_signal(error):
                    raise
        self._plain_numbers()
        for ref in self.survivors:
            v = ref()
            if v is not None and v._array is not None:
                v._pending = None

    def paused(self):
        """A block in which operations are not traced."""
        return _Paused(self)


class _Paused:
    def __init__(self, call):
        self.call = call

    def __enter__(self):
        self.old, state.tracer = state.tracer, None

    def __exit__(self, *exc):
        state.tracer = self.old


class Naming:
    """The tracer while a gradient is computed again: gives the values inside the numbers that the recording gave them."""

    def __init__(self, call, event):
        self.call, self.apps = call, iter(event.apps)

    def __enter__(self):
        self.outer, state.tracer = state.tracer, self

    def __exit__(self, *exc):
        state.tracer = self.outer

    def apply(self, op, inputs, attrs=NO_ATTRS):
        result = apply_eager(op, inputs, attrs)
        app = next(self.apps, None)
        if app is not None and app.node.op is op:
            for v, vid in zip(result if op.multi else (result,), app.node.outputs, strict=True):
                self.call._know(v._array, vid)
                if v._tape is not None:
                    self.call.nodes[id(v._tape)] = vid
                    self.call.keep.append(v._tape)
        return result

    def note_function(self, function, gs):
        """No event of its own is a backward through a user's function."""
        return gs

    def note_hooks(self):
        """Nothing is recorded here."""

    def expose(self, v):
        """Nothing is pending."""

    assign = expose


NOT_MADE = object()      # a tape that nobody has asked for yet


class Rebuild:
    """Runs events of a path eagerly, filling the Variables that the replay handed out."""

    def __init__(self, call, made, known):
        self.call, self.made, self.real = call, made, {}
        self.tape = NOT_MADE
        later = {vid_of(o) for e in call.path[known:] for o in e.operands if type(o) is not Number}
        self.roots = {o.vid for e in call.path[:known] for o in outcomes(e) if o.vid in made or o.vid in later}

    def operand(self, o):
        """The actual operand: the Variable handed out, the leaf that was bound, or the number (one that gradient rules can be followed through)."""
        if type(o) is Number:
            x = self.call.values[o.vid]
            return x if o.value is not None else traced(x, o.vid, self.call)
        vid = vid_of(o)
        x = self.real.get(vid)
        if x is None:
            x = self.call.leaves[vid] if vid in self.call.leaves else self.revived(vid)
        return x if type(o) is not int or o >= 0 or not isinstance(x, Variable) else x.array

    def has_operands(self, event):
        """Whether the operands of an event that has been computed are still there, so that its graph can be made again."""
        call = self.call
        return all(v in self.real or v in call.leaves or v in call.values for v in map(vid_of, event.operands))

    def revived(self, vid):
        """A value whose Variable has died."""
        outcome = next(o for e in self.call.path for o in outcomes(e) if o.vid == vid)
        v = self.real[vid] = _new(Variable)
        v._array, v._pending, v._vid, v._spec = self.call.values[vid], self.call, vid, outcome.spec
        v._requires_grad = outcome.requires_grad
        if outcome.requires_grad:
            self.connect(v, outcome)
        return v

    def past(self, o, x, a):
        """What to compute with: the operand's values as they were when it was used."""
        call = self.call
        if type(o) is Number:
            return call.values[o.vid]
        vid = vid_of(o)
        return a if call._unchanged(vid) else call.past(vid)

    def run(self, event, final):
        getattr(self, "_" + event.kind)(event, final)

    def known(self, event):
        """An event from before a change in place that has been made: what lives of it has its values."""
        for outcome in outcomes(event):
            v = self.made.get(outcome.vid)
            if v is not None:
                self.real[outcome.vid] = v
                if event.kind == "op" and event.apps[0].taped or event.kind == "function" and event.function.taped:
                    self.connect(v, outcome)
        for _, new in event.rebinds:
            if new in self.call.wrappers:      # else a value of the call itself, which is among the outcomes if it lives
                self.real[new] = self.call.wrappers[new]

    def _op(self, event, final):
        op, attrs, taping = event.key
        old, state.backprop = state.backprop, taping
        try:
            result = self._apply(op, event, attrs)
        finally:
            state.backprop = old
        for k, (v, outcome) in enumerate(zip(result if op.multi else (result,), event.outs, strict=True)):
            self._keep_shown(v, k, outcome.vid)
            self.fill(v, outcome)

    def _keep_shown(self, v, k, vid):
        """If the user has seen the array of output ``k``, the graph keeps that one: he may have written into it."""
        shown = self.call.snapshots.get(vid)
        node = v._tape if v._tape is None or v._tape.owner is None else v._tape.owner
        if shown is None or node is None or node.out is None:
            return
        node.out = shown[0] if node is v._tape else (*node.out[:k], shown[0], *node.out[k + 1:])

    def _function(self, event, final):
        function, arrays, outputs = self.call.functions[event]
        walk = self.call.walking
        if walk and walk is not True and event.function.taped:      # in the middle of a walk: the function stays what that walk knows
            for y, outcome in zip(outputs, event.outs, strict=True):
                v = _new(Variable)
                v._array, v._tape = y, walk.node(outcome.vid)
                self.fill(v, outcome)
            return
        old, state.backprop = state.backprop, event.key[1]
        try:
            result = function._wrap([as_variable(self.operand(o)) for o in event.operands], arrays, outputs)
        finally:
            state.backprop = old
        for v, outcome in zip(result, event.outs, strict=True):
            self.fill(v, outcome)

    def connect(self, v, outcome):
        """The graph before a change in place is not made by running it again; it is gone if backward and an update are behind it, or
        if what it computed with is."""
        if self.tape is NOT_MADE:
            self.tape = CallTape.so_far(self.call, self.roots)
        early = v._tape
        node = self.tape.node(outcome.vid) if self.tape is not None and outcome.vid in self.roots else None
        gone = TapeLeaf if outcome.vid in self.call.cut else ReleasedNode
        v._tape = node = gone(outcome.spec.shape, outcome.spec.dtype) if node is None else node
        if early is not None:
            node.grad, node.loss_scale = early.grad, early.loss_scale
        self.call.nodes[id(node)] = outcome.vid
        self.call.keep.append(node)

    def _apply(self, op, event, attrs):
        """The values come from the operands as they were; the tape keeps the arrays themselves, as eager does."""
        inputs = [self.operand(o) for o in event.operands]
        arrays = [(x.array if x._array is None else x._array) if isinstance(x, Variable) else x for x in inputs]
        past = arrays if event.views else [self.past(o, x, a) for o, x, a in zip(event.operands, inputs, arrays, strict=True)]
        mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
        return wrap_outputs(op, inputs, arrays, attrs, mask, run_checked(op, past, attrs))

    def fill(self, v, outcome):
        call, target = self.call, self.made.get(outcome.vid)
        if outcome.vid not in call.snapshots:
            call._know(v._array, outcome.vid, outcome.requires_grad)
        if target is None:
            target = v
            v._pending, v._vid, v._spec = call, outcome.vid, outcome.spec
            call.keep.append(v)
            call.survivors.append(weakref.ref(v))
        else:
            if target._array is None:
                target._array = v._array
            elif outcome.vid not in call.snapshots:
                call._know(target._array, outcome.vid, outcome.requires_grad)
            if target._tape is not None and v._tape is not None and target._tape.is_leaf:
                v._tape.grad = target._tape.grad
            target._tape = v._tape
        self.real[outcome.vid] = target
        if v._tape is not None:
            call.nodes[id(v._tape)] = outcome.vid
            call.keep.append(v._tape)

    def _inplace(self, event, final):
        op, attrs, targets = event.key
        inputs = [self.operand(o) for o in event.operands]
        apply_inplace_eager(op, inputs, targets, attrs)
        for k, (_, new) in zip(targets, event.rebinds, strict=True):
            self.real[new] = inputs[k]
            a = inputs[k]._array if isinstance(inputs[k], Variable) else inputs[k]
            self.call.values[new] = a
            self.call.ids[id(a)] = ~new if isinstance(inputs[k], Variable) and inputs[k]._requires_grad else new
            self.call.wrappers[new] = inputs[k]

    def _backward(self, event, final):
        if final:
            return
        flags, unseeded = event.key
        outputs = [self.operand(o) for o in event.operands[:flags[3]]]
        handed = [(node := self.call_node(vid), node.grad) for vid, _, _ in event.grads[0]]
        kept = [(node := self.call_node(vid), node.grad) for vid, _ in event.grads[1]]
        priors = iter([self.operand(o) for o in event.operands[flags[3] + unseeded.count(False):]])
        for (node, _), (_, _, accumulated) in zip(handed, event.grads[0], strict=True):
            node.grad = next(priors) if accumulated else None
        seeds = iter(event.operands[flags[3]:])
        roots = [(v._tape, v._tape.grad) for v in outputs if v._tape is not None]
        for v, fresh in zip(outputs, unseeded, strict=True):
            if v._tape is not None:
                v._tape.grad = None if fresh else self.operand(next(seeds))
        with Naming(self.call, event):
            backward_eager(outputs, flags[0], flags[1], flags[2], True)
        for (node, _), (_, outcome, _) in zip(handed, event.grads[0], strict=True):
            self.fill(node.grad, outcome)
        for (node, _), (_, outcome) in zip(kept, event.grads[1], strict=True):
            self.fill(node.grad, outcome)
        for node, now in [*handed, *kept, *roots]:      # what the program did with gradients since stays done
            node.grad = now

    def call_node(self, vid):
        x = self.real.get(vid, self.call.leaves.get(vid))
        return x._tape if x._tape is not None else x.node._tape

    def _grad(self, event, final):
        n_out, n_in, given, set_grad, double = event.key
        xs = [self.operand(o) for o in event.operands]
        seeds = iter(xs[n_out + n_in:])
        grad_outputs = [None if none else next(seeds) for none in given] or None
        with Naming(self.call, event):
            results = grad_eager(xs[:n_out], xs[n_out:n_out + n_in], grad_outputs, None, False, False, double, None)
        for g, outcome in zip(results, event.outs, strict=True):
            if g is not None:
                self.fill(g, outcome)

    def _read(self, event, final):
        """Looking changes nothing."""

    def _unchain(self, event, final):
        v = self.operand(event.operands[0])
        if isinstance(v, Variable):
            v.unchain_backward()


def spec_along(event, vid):
    """The spec of a value that ``event`` or one before it introduced. Branches give the same numbers to other values."""
    while vid not in event.specs:
        event = event.parent
    return event.specs[vid]


def has_creator(x):
    """Whether ``x`` is a Variable computed by an earlier call."""
    return isinstance(x, Variable) and x._tape is not None and not x._tape.is_leaf and x._requires_grad


def is_number(x):
    """Whether an operand is a number of NumPy's."""
    return isinstance(x, np.generic) and x.dtype.kind in "fiub"


def in_order(a):
    """Whether the elements lie in memory in row-major order, with gaps or, along leading axes, repeated: NumPy gives results the same layout as for
    a contiguous array."""
    steps = list(itertools.dropwhile(lambda s: s == 0, [s for n, s in zip(a.shape, a.strides) if n != 1]))
    return a.size > 0 and all(s > 0 for s in steps) and all(s >= t for s, t in itertools.pairwise(steps))


def unfit(a, apart=False):
    """Why an operand cannot be traced, or None; ``apart`` if there may be gaps between its rows."""
    if type(a) is not np.ndarray:
        return f"a {type(a).__name__}" if is_array(a) or not isinstance(a, np.generic) else "a NumPy scalar"
    if not a.flags.c_contiguous and not apart or not a.flags.aligned:
        return "an array that is not C-contiguous and aligned"
    if not a.dtype.isnative or a.dtype.kind not in "fiub":
        return f"an array of dtype {a.dtype}"
    return None


def untraceable(arrays, outputs):
    """What is wrong with the arrays that a user's function returned, or None."""
    for k, y in enumerate(outputs):
        if unfit(y):
            return unfit(y)
        if any(a is y or a is not None and np.may_share_memory(a, y) for a in (*arrays, *outputs[:k])):
            return "an array that shares its memory with another"
    return None


def owns_memory(a):
    """Whether no other array can be a view of the same memory, as far as NumPy tells."""
    return a.base is None and a.flags.writeable


def values_of(inputs):
    """The Python ints that an operation of these operands takes: NumPy converts them to the arrays' type, or refuses; native code has 64 bits."""
    dtypes = [x.dtype for x in inputs if isinstance(x, (Variable, np.ndarray))]
    dtype = np.result_type(*dtypes) if dtypes else None
    if dtype is None or dtype.kind not in "iu":
        return range(-LIMIT, LIMIT)
    info = np.iinfo(dtype)
    return range(max(info.min, -LIMIT), min(info.max + 1, LIMIT))


def same_number(x, y):
    """Equal in type and bits."""
    return type(x) is type(y) and (x.hex() == y.hex() if type(x) is float else x == y)


def same_bytes(a, b):
    """Whether two arrays of one spec hold the same bits."""
    if a.nbytes <= 4096:
        return a.tobytes() == b.tobytes()
    return bool((a.reshape(-1).view(np.uint8) == b.reshape(-1).view(np.uint8)).all())


