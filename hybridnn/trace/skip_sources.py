"""Where a plan reads its arrays: arguments, namespaces, parameters, gradients from before the call."""
import itertools

import numpy as np

from hybridnn.core.fixed import is_fixed
from hybridnn.core.variable import Variable
from hybridnn.optimizer_hooks.decay import loss_scale_of
from hybridnn.trace.events import Leaf, vid_of
from hybridnn.trace.observe_gradients import by_hand, is_gradient_of
from hybridnn.trace.operands import array_of
from hybridnn.trace.overlap import Moving, Written, memory_of, root_array
from hybridnn.trace.refs import Doubt
from hybridnn.trace.summaries import wrapped

__all__ = ["OUTSIDE", "Sources"]

OUTSIDE = ("arg", "state", "static")      # kinds of what does not come from the call itself
TAKEN_OTHERWISE = "a gradient from before the call is an array that the call takes otherwise, too"


class Sources:
    """Writes the text of what the path takes from outside."""

    def _leaves(self):
        self.fixed = {id(x) for x in self.call.leaves.values() if isinstance(x, Variable) and x._tape is not None}
        variables = []
        priors, held = self._priors(), self.observer.held
        self.moving = {}       # id of a parameter that an update changes and that then gets another array -> the first, and where it is read
        self._differentiated = {vid_of(o) for e in self.path if e.kind not in ("inplace", "op") or any(app.taped for app in e.apps) for o in e.operands}
        assigned = self.made_leaves = self._assigned_arrays()
        for vid, x in self.call.leaves.items():
            if vid in assigned:
                self._require_node(x)
                self.leaf_text[vid] = self._computed(assigned[vid])
                continue
            a = self._array(vid)
            ref = self._origin(vid, x, a)
            drawn = next((k for k, d in enumerate(self.call.draws) if d[2] is x), None)
            if vid in priors or vid in held:
                other = _beneath(ref) or self.observer.origins.get(id(a))
                if other is not None and not is_gradient_of(other, priors[vid] if vid in priors else held[vid].value) or memory_of(a) in self.observer.views:
                    raise Doubt(TAKEN_OTHERWISE)
                ref = None
            if vid in priors:
                self.leaf_text[vid] = self._prior(self.observer.origins.get(id(priors[vid])), a)
            elif drawn is not None:
                self.leaf_text[vid] = f"draw{drawn}"
            elif ref is None:
                self._leaf_without_origin(vid, a)
            elif ref.kind == "made" and ref.source[1].kind == "fresh":
                self._stands_for(vid, ref.source[1].source[1])
            else:
                self.leaf_text[vid] = self._leaf(ref, x, a, variables)
                if vid in self.call.scalars and ref.kind != "static":
                    self.leaf_text[vid] = f"asarray({self.leaf_text[vid]})"
                if not a.flags.c_contiguous:
                    self._copy(vid, a)
        self._distinct(variables)
        self._move_apart()
        if any(vid in self.leaf_text and id(array_of(self.call.leaves[vid])) in self.updated for vid in held):
            self._hold_apart(held)

    def _leaf_without_origin(self, vid, a):
        """The text of an array of the library's own, or of one that the call has computed, or of a gradient from before."""
        w, held = self.writer, self.observer.held
        if any(a is seed for seed in self.call.seeds):
            self.leaf_text[vid] = f"{w.strong(np.ones)}({w.strong(a.shape)}, {w.strong(a.dtype)})"
        elif is_fixed(a):
            self.leaf_text[vid] = w.strong(a)
        elif (own := self._seen(a)) is not None:
            self._stands_for(vid, own)
        elif vid in held and vid not in self.graded:
            self.leaf_text[vid] = self._prior(held[vid], a)
            self._unscaled(held[vid])
        else:
            raise Doubt(f"an array of shape {a.shape} whose origin is not known")

    def _origin(self, vid, x, a):
        """The Ref of a leaf, where its array ``a`` is not known to come from elsewhere."""
        ref = self.observer.leaf_refs.get(vid) or self.observer.origins.get(id(self.call.scalars.get(vid, x)))
        if ref is None:
            ref = wrapped(self.observer, x, vid in self._differentiated) if isinstance(x, Variable) else self.observer.views.get(memory_of(x))
        if ref is None and vid not in self._differentiated:
            ref = next((r for r in by_hand(self.observer) if r.source.real is a), None)
        return ref

    def _assigned_arrays(self):
        """Leaf -> the Ref of the array that NumPy has made and that the program has assigned to its Variable before an operation took it first."""
        if not self.observer.rebinds:
            return {}
        found, first = {}, {}
        for k, e in enumerate(self.path):
            for o in e.operands:
                first.setdefault(vid_of(o), k)
        for at, v, ref in self.observer.rebinds:
            found.update({vid: ref for vid, x in self.call.leaves.items() if x is v and at <= first.get(vid, -1)})
        return {vid: ref for vid, ref in found.items() if ref.kind == "array"}      # not the one with which the call began, put back

    def _hold_apart(self, held):
        """Gradients from before the call that it changes in place, as hooks do, share no memory with each other, nor with other arrays that the call takes,
        which stay what they are."""
        if self.read_anew or any(vid not in held and self.leaf_text[vid] not in self.writer.names for vid in self.call.leaves):
            raise Doubt("changes a gradient from before the call in place")
        gradients = {id(array_of(self.call.leaves[vid])) for vid in held}
        taken = {id(a): a for a in [*self.outside.values(), *map(self._array, self.call.leaves)] if id(a) not in gradients}
        texts = [self.leaf_text[vid] for vid in held if vid in self.leaf_text]
        self.writer.require(f"{self.writer.strong(Written(list(taken.values())).lie_apart)}({', '.join(texts)})", "gradients share memory")

    def _copy(self, vid, a):
        """Segments get a copy of an array that is not contiguous; if they change it, one copy stands for it in all of them."""
        text = self.apart[vid] = self.leaf_text[vid]
        self.leaf_text[vid] = f"contiguous({text})"
        if id(a) in self.updated:
            if {id(a), id(root_array(a))} & self.observer.stored:
                raise Doubt("NumPy writes into an array that is not contiguous and that is updated, too")
            self.copies.append(f"copied{vid} = {self.leaf_text[vid]}")
            self.leaf_text[vid] = f"copied{vid}"

    def _seen(self, a):
        """The vid of an array of this call's that the program has looked at: it stands where another path has one that the program made of it."""
        return next((vid for vid, r in self.observer.shown.items() if r.value is a and vid not in self.observer.changed), None)

    def _priors(self):
        """vid of a gradient from before the call -> the Variable whose gradient it was."""
        found, assigned = {}, {id(ref.source.real) for ref in by_hand(self.observer)}
        for event in self.path:
            if event.kind == "backward":
                added = [vid for vid, _, accumulated in event.grads[0] if accumulated]
                for vid, operand in zip(added, event.operands[len(event.operands) - len(added):], strict=True):
                    if vid_of(operand) in self.call.leaves and id(array_of(self.call.leaves[vid_of(operand)])) not in assigned:
                        if vid not in self.call.leaves:
                            raise Doubt("adds to a gradient that the program has given to a Variable of the call's own")
                        if not isinstance(operand, Leaf) or operand.again:
                            raise Doubt(TAKEN_OTHERWISE)
                        found[operand.vid] = self.call.leaves[vid]
        return found

    def _prior(self, ref, a):
        if ref is None or ref.kind == "made":
            raise Doubt("a gradient is added to one whose origin is not known")
        text = f"grad_of({self._node_of(ref)})"
        w = self.writer
        w.lines.append(f"x = {text}")
        w.require(f"type(x) is ndarray and x.shape == {w.strong(a.shape)} and x.dtype == {w.strong(a.dtype)} and x.flags.c_contiguous",
                  "a gradient from before the call")
        w.outside("a gradient from before the call")
        return text

    def _unscaled(self, ref):
        """An update takes a gradient as it is, and not divided by a loss scale."""
        if loss_scale_of(ref.value) is not None:
            raise Doubt("an update takes a scaled gradient from before the call")
        self.writer.require(f"not scaled[0] or {self._node_of(ref)}.loss_scale is None", "a gradient from before the call is scaled")

    def _leaf(self, ref, x, a, variables):
        w = self.writer
        if ref.kind == "array":
            return self._computed(ref)
        if ref.kind == "made":
            inner = ref.source[1]
            if inner.kind == "state" and inner.source[0] != "inside" and id(a) in self.written:
                return self._kept(a)
            return self._computed(inner) if inner.kind == "array" else self._as_found(inner.source)
        if ref.kind == "static":
            name = w.strong(x)
            if isinstance(x, Variable):
                if self.observer.is_rebound(x):
                    return self._rebound(x, a)
                text = f"{name}._array is {w.strong(a)} and {name}._requires_grad is {x._requires_grad} and {name}._pending is None"
                w.require_in(x, x.__dict__, f"{text} and {name}._tape is {w.strong(x._tape)}", "a parameter's array was replaced")
            return self._kept(a)
        if ref.source[0] == "slot" or id(a) in self.written and ref.kind == "state" and ref.source[0] != "inside":
            return self._kept(a)
        text = self._as_found(ref.source)
        if isinstance(x, Variable):
            if x._requires_grad:
                variables.append(text)
            return f"{text}._array"
        return text

    def _kept(self, a):
        """An array that is the same on every call."""
        self.writer.header(a)
        return self.writer.strong(a)

    def _stands_for(self, leaf, vid):
        """A leaf is an array that the call has computed."""
        if vid not in self.made or vid in self.call.view_of or any(vid in pair for e in self.path for pair in e.rebinds):
            raise Doubt("makes a Variable of an array that is a view, or is changed in place")
        self.shown.add(vid)
        self.leaf_text[leaf], self.same_as[leaf] = f"v{vid}", vid

    def _rebound(self, x, a):
        """The array of a parameter that gets another one on every call."""
        w = self.writer
        self._require_node(x)
        w.check(("inside", x, a))
        text = self._as_found(("inside", x))
        if id(a) in self.updated:
            self.moving[id(x)] = a, text
        return text

    def _require_node(self, x):
        w = self.writer
        w.require(f"{w.strong(x)}._requires_grad is {x._requires_grad} and {w.strong(x)}._pending is None and {w.strong(x)}._tape is {w.strong(x._tape)}",
                  "a parameter's flags or gradient node changed")

    def _move_apart(self):
        """Parameters that an update changes and that then get other arrays: those which they have share no memory with anything else that the call takes."""
        if not self.moving:
            return
        anew, fixed = [], []
        for ref in [r for r in self.observer.origins.values() if r.kind in OUTSIDE]:
            x, a = ref.value, array_of(ref.value)
            own = id(ref.source[1] if ref.source is not None and ref.source[0] == "inside" else x) in self.moving
            if own or not isinstance(a, np.ndarray):
                continue
            if ref.kind == "static" and isinstance(x, Variable) and self.observer.is_rebound(x):
                anew.append(self._as_found(("inside", x)))
            elif ref.kind == "static" or ref.source[0] in ("held", "fixed", "slot"):
                fixed.append(a)
            else:
                anew.append(self._as_found(ref.source) + ("._array" if isinstance(x, Variable) else ""))
        lie_apart = self.writer.strong(Moving(fixed).lie_apart)
        texts = [f"({''.join(text + ', ' for text in part)})" for part in ([text for _, text in self.moving.values()], anew)]
        self.writer.require(f"{lie_apart}({', '.join(texts)})", "the array of a parameter shares its memory with another")

    def _distinct(self, variables):
        w = self.writer
        fixed = frozenset(id(x) for x in self.call.leaves.values() if isinstance(x, Variable))
        for a, b in itertools.combinations(variables, 2):
            w.require(f"{a} is not {b}", "one Variable was passed twice")
        own = {id(x) for v, x in self.call.leaves.items() if isinstance(x, Variable) and getattr(self.observer.origins.get(id(x)), "kind", "") == "static"}
        if variables and own:
            ids = w.strong(frozenset(own & fixed))
            w.require(" and ".join(f"id({v}) not in {ids}" for v in variables), "a parameter was passed as an argument")


def _beneath(ref):
    """The Ref of the array over which a Variable has been made in the call; any other Ref as it is."""
    return ref.source[1] if ref is not None and ref.kind == "made" and ref.source[0] == "variable" else ref
