"""The numbered values of one call: which array or Variable has which number, what it held when it was used, and whose memory it shares."""

import threading

import numpy as np

from hybridnn._references import count_references
from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable
from hybridnn.trace.events import Leaf
from hybridnn.trace.holdings import held_by_plans
from hybridnn.trace.operands import same_bytes

__all__ = ["FOREIGN", "PARAMETER_REFS", "Values"]

_refs = count_references
PARAMETER_REFS = 3     # the Variable's attribute, the local name and getrefcount's argument: nobody else holds the array
PAIR_REFS = 3          # the pair, the local name and getrefcount's argument
MANY_PAIRS = 64        # values that are recorded before we look whose arrays are still held
FOREIGN = "foreign"


class Values:
    """See the module's docstring.

    Args:
        first: the number of the next new value.
    """
    __slots__ = ("again", "apart", "copies", "fresh_pairs", "ids", "keep", "leaves", "next_vid", "old_limit", "old_pairs", "renewed", "scalars", "snapshots",
                 "specs", "stand_ins", "touched", "updated", "values", "view_of", "walking", "wrappers")

    def __init__(self, first):
        self.values = {}          # vid -> array or number
        self.ids = {}             # id(array) -> vid, or ~vid if the value needs a gradient and its bare array does not
        self.wrappers = {}        # vid -> the Variable from outside that has it now
        self.keep = []            # what the ids belong to, but for
        self.fresh_pairs, self.old_pairs, self.old_limit = [], [], MANY_PAIRS      # (vid, array): recorded values, as long as somebody else holds the arrays
        self.again = {}           # id(Variable over an array of this call's that is another value: made of it, or once it was written into) -> vid
        self.leaves = {}          # vid -> the Variable or array bound
        self.scalars = {}         # vid -> the number of NumPy's that stands behind an array without dimensions
        self.snapshots = {}       # vid -> (array that others can write, its copy)
        self.copies = {}          # vid -> [(an array that others can write, beside the value's own, its copy)]
        self.view_of = {}         # vid -> (vid of the value whose memory it shares, application, output number)
        self.next_vid = first
        self.specs = {}           # Spec of each vid made since the last event
        self.renewed = {}         # vid -> the code of what its array held before the program wrote into it
        self.touched = set()      # vids of values into whose arrays NumPy has been seen to write
        self.updated = {}         # vid -> the Variable or array from outside that has this value since the library changed it in place
        self.renew_lock()
        self.walking = None       # True, or the tape, while backward walks in Python
        self.stand_ins = {}       # vid -> the Variable of a user's function that backward has met, over the array of a value, where it has been used for that

    def renew_lock(self):
        """No other thread has values copied while they are computed with. A forked child, where that thread is not, has a lock of its own."""
        self.apart = threading.RLock()

    def new_vid(self, spec):
        """A new number for a value."""
        self.next_vid += 1
        self.specs[self.next_vid - 1] = spec
        return self.next_vid - 1

    def know(self, a, vid, graded=False):
        self.recognize(a, vid, graded)
        self.values[vid] = a

    def know_while_held(self, a, vid, graded=False):
        """As ``know``, until nobody else holds the array: what a long recording computes takes no more memory than running it eagerly."""
        self.ids.setdefault(id(a), ~vid if graded else vid)
        self.values[vid] = a
        self.fresh_pairs.append((vid, a))
        if len(self.fresh_pairs) == MANY_PAIRS:
            self.old_pairs += self._held(self.fresh_pairs)
            self.fresh_pairs = []
            if len(self.old_pairs) > self.old_limit:
                self.old_pairs = self._held(self.old_pairs)
                self.old_limit = 2 * len(self.old_pairs) + MANY_PAIRS

    def _held(self, pairs):
        """The pairs whose arrays somebody else holds. The others are forgotten: nobody can show them any more."""
        values, ids, held = self.values, self.ids, []
        for pair in pairs:
            vid, a = pair
            here = values.get(vid) is a
            if _refs(a) > PAIR_REFS + here or ids.get(id(a)) not in (vid, ~vid):
                held.append(pair)
                continue
            del ids[id(a)]
            if here:
                del values[vid]
        return held

    def recognize(self, a, vid, graded=False):
        """From now on an array stands for a value."""
        self.ids.setdefault(id(a), ~vid if graded else vid)
        self.keep.append(a)

    def code_of(self, x):
        """The number of a value that this call knows: ``~vid`` for an array without its gradient, ``FOREIGN`` for a Variable over another one's array."""
        if not isinstance(x, Variable):
            return self.ids.get(id(x)) if type(x) is np.ndarray else None
        if x._pending is self:
            return x._vid
        code = self.ids.get(id(x._array))
        if code is None or not x._requires_grad:
            return code
        vid = code if code >= 0 else ~code
        if self.wrappers.get(vid) is x:
            return vid
        if self.walking:
            self.stand_ins[vid] = x
            return vid
        return self.again.get(id(x), FOREIGN)

    def made_again(self, x):
        """Whether ``x`` is another Variable that the program has made of an array that this call computed and showed, or took from outside, and that nobody
        has written into since: it has that value, and no creator."""
        own = type(x) is Variable and x._pending is None and x._tape is None
        return own and (self._is_shown(x._array) or self.is_given(x._array)) and self.unchanged(self.known_vid(x))

    def may_have_changed(self, x):
        """Whether the program may have written into this array, or a Variable's, that this call computed and showed."""
        return type(x) in (Variable, np.ndarray) and self._is_shown(x._array if isinstance(x, Variable) else x)

    def _is_shown(self, a):
        """Whether an array is one that this call has made, and no view."""
        code = self.ids.get(id(a)) if type(a) is np.ndarray else None
        vid = code if code is None or code >= 0 else ~code
        if vid is None or vid in self.leaves or vid in self.updated or vid in self.view_of:
            return False
        return a.flags.c_contiguous and a.base is None

    def is_given(self, a):
        """Whether an array has come from outside, and is not a parameter's, which may be updated in place."""
        code = self.ids.get(id(a))
        x = None if code is None else self.leaves.get(code if code >= 0 else ~code)
        return x is not None and not isinstance(x, Parameter)

    def was_written(self, x):
        """Whether ``x`` is, or is a Variable over, an array from outside that the program has written into since its last use in this call, and that has
        memory of its own; or the array of what this call has computed, without its gradient."""
        a, code = (x._array if isinstance(x, Variable) else x), self.code_of(x)
        if type(a) is not np.ndarray or a.base is not None or not a.flags.c_contiguous or type(code) is not int:
            return False
        vid = code if code >= 0 else ~code
        own = not isinstance(x, Variable) or x._pending is None and (x._tape is None or x._tape.is_leaf)
        known = self.leaves.get(vid) is x or self.updated.get(vid) is x or a is x and self._is_shown(a)
        return own and known and id(x) not in self.again and not self.unchanged(vid)

    def touch(self, a):
        """NumPy is about to write into an array. That makes another value of it even where it holds the same numbers after that: so calls in which a bound is
        met, or a gradient is zero, take no path of their own. Gives whether this call knows the array."""
        code = self.ids.get(id(a))
        if code is not None:
            self.touched.add(code if code >= 0 else ~code)
        return code is not None

    def renew(self, x, a, vid):
        """From here on ``x``, which has been written into, stands for another value; gives the code of what it was."""
        self.renewed[vid] = code = self.ids[id(a)]
        self.ids[id(a)] = ~vid if isinstance(x, Variable) and x._requires_grad else vid
        return code

    def known_vid(self, x):
        """The vid of a value, however it is wrapped; None if this call does not know it."""
        if isinstance(x, Variable):
            if x._pending is self:
                return x._vid
            if id(x) in self.again:
                return self.again[id(x)]
            x = x._array
        code = self.ids.get(id(x))
        return code if code is None or code >= 0 else ~code

    def snapshot(self, vid, a):
        """What was not computed yet takes a copy of this array, unless another thread has just had it copied."""
        with self.apart:
            if vid not in self.snapshots:
                copied = a.copy()
                self.snapshots[vid] = (a, copied)
                self.values[vid] = copied

    def unchanged(self, vid):
        """False if somebody wrote into the operand's array, or gave it another shape or dtype, after it was first used."""
        if self.touched and self.origin(vid) in self.touched:
            return False
        pair = self.snapshots.get(self.origin(vid))
        return (pair is None or _is_as_copied(pair)) and (vid not in self.copies or all(map(_is_as_copied, self.copies[vid])))

    def show(self, vid, a):
        """Others can write into an array from now on, in which a Variable has the value: its own, a view of that, or a copy."""
        origin = self.origin(vid)
        if origin not in self.snapshots:
            self.snapshot(origin, a if origin == vid else self.actual(origin))
        shown = self.snapshots[origin][0]
        if a is not shown and not np.may_share_memory(a, shown) and not any(a is other for other, _ in self.copies.get(vid, ())):
            self.copies.setdefault(vid, []).append((a, a.copy()))

    def origin(self, vid):
        """The value whose memory a view shares."""
        while vid in self.view_of:
            vid = self.view_of[vid][0]
        return vid

    def actual(self, vid):
        """The array that the user sees as a value: for a view, a view of the array that it shares, unless that is nobody's."""
        if vid in self.view_of and (self.origin(vid) in self.values or vid not in self.values):
            return self._again(vid, self.actual)
        return self.snapshots[vid][0] if vid in self.snapshots else self.values[vid]

    def past(self, vid):
        """The value as it was when it was used, whoever wrote into its array since."""
        return self._again(vid, self.past) if vid in self.view_of else self.values[vid]

    def _again(self, vid, of):
        base, app, k = self.view_of[vid]
        y = app.node.op.run([of(base)], dict(app.node.attrs))
        return y[k] if app.node.op.multi else y

    def forget(self, operands):
        """Unbind the leaves of an operation that raised."""
        for o in operands:
            if type(o) is Leaf:
                x = self.let_go(o.vid)
                if o.again == "written":
                    self.ids[id(x._array if isinstance(x, Variable) else x)] = self.renewed[o.vid]
                elif o.again:
                    del self.again[id(x)]
                else:
                    del self.ids[id(x._array if isinstance(x, Variable) else x)]

    def let_go(self, vid):
        """Take back ``hold``, and give what was held."""
        self.values.pop(vid)
        self.snapshots.pop(vid, None)
        self.wrappers.pop(vid, None)
        self.scalars.pop(vid, None)
        return self.leaves.pop(vid)

    def hold(self, vid, x, a, contiguous):
        """Remember a bound leaf; an array that others can write while work is pending is copied."""
        self.wrappers[vid] = x
        self.keep.append(a)
        if not contiguous or a is x or a.base is not None or _refs(a) > PARAMETER_REFS + 2 + held_by_plans(a):   # + keep, + this function's name
            self.snapshot(vid, a)
        else:
            self.values[vid] = a
        self.leaves[vid] = x        # from here on other threads have it copied


def _is_as_copied(pair):
    """Whether an array has kept its shape, dtype and elements since it was copied."""
    a, copied = pair
    return a.shape == copied.shape and a.dtype == copied.dtype and same_bytes(a, copied)
