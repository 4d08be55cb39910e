"""Gradients that the program changes by hand between backward and the update."""
import numpy as np

from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable
from hybridnn.link import Link
from hybridnn.trace.computed import identify
from hybridnn.trace.events import vid_of
from hybridnn.trace.operands import array_of, is_unmade
from hybridnn.trace.own_arrays import renew
from hybridnn.trace.refs import Doubt, Ref, class_lookup, constant

__all__ = ["Gradients", "by_hand", "is_gradient_of"]


def is_gradient_of(ref, v):
    """Whether a Ref is that of the gradient which a Variable had before the call."""
    return ref.source is not None and ref.source[0] == "prior" and ref.source[1] is v


def by_hand(observer):
    """The Refs of what the program has made of gradients with NumPy."""
    return [ref for ref in (*observer.changed.values(), *[ref for _, ref in observer.given.values()], *observer.ungiven) if ref.kind == "array"]


class Gradients:
    """``shown`` has, by value, the one Ref of an array that the program has looked at; ``changed`` those into which it has written, and ``given`` what it
    has assigned to ``p.grad``, ``ungiven`` what it has cleared since; ``changed_at``: how many events came before the first such change. ``held`` has
    parameters by the numbers of the gradients that they had before the call, and that an update takes; ``prior`` has, by ids of parameters, the Refs of such
    gradients at which the program has looked."""

    def show_gradient(self, v, value, vid):
        """The Ref of what ``v.grad`` gives."""
        given = self.given.get(id(v))
        if given is not None:
            return given[1]
        if any(e[0] == "begin" and e[1] is v for e in self.effects):
            raise Doubt("reads a gradient that backward begins with")
        if value is None:
            return self._show_none(v)
        if vid is None or self._is_priors(vid, value):
            return self._show_prior(v, value)
        if vid in self.call.view_of or self._is_of_several(vid):
            raise Doubt("shows a gradient that is a view, or that several Variables have, each in an array of its own")
        return self.show_array(value, vid)

    def _is_of_several(self, vid):
        """Whether a value is the gradient of several leaves."""
        return sum(outcome.vid == vid for e in self.effects if e[0] == "backward" for _, outcome, _ in e[1].grads[0]) > 1

    def _show_none(self, v):
        """``v.grad`` is None: this call has cleared it, after which the path decides, or it was None before the call, too."""
        if not any(r.value is v for e in self.effects if e[0] == "clear" for r in e[1]):
            self._of_parameter(v)
            self.guard("nograd", v)
        return constant(None)

    def _of_parameter(self, v):
        """A gradient from before the call can be read anew where the Variable is the same on every call."""
        if getattr(self.origins.get(id(v)), "kind", "") != "static":
            raise Doubt("reads a gradient that was not computed in this call")
        self.guard("class", v, type(v))

    def _is_priors(self, vid, value):
        """Whether a value of the path is a gradient from before the call, as an update has taken it."""
        return vid in self.held and array_of(self.call.leaves[vid]) is value

    def _show_prior(self, v, value):
        """``v.grad`` from before the call."""
        ref = self.prior.get(id(v))
        if ref is None:
            self._of_parameter(v)
            if type(value) is not np.ndarray or not value.flags.c_contiguous or self.is_written(value):
                raise Doubt("reads a gradient that was not computed in this call")
            self.guard("prior", v, value)
            ref = self.prior[id(v)] = Ref("arg", value, ("prior", v))
            self.note_origin(ref)
        if ref.value is not value or self.is_written(value):
            raise Doubt("reads a gradient that was not computed in this call")
        return ref

    def clear_gradients(self, refs):
        """The gradients of these Variables become None."""
        for r in refs:
            if is_unmade(r.value):
                self.guard_unmade(r.value)
        refs = [r for r in refs if not is_unmade(r.value)]
        self.ungiven += [self.given.pop(id(r.value))[1] for r in refs if id(r.value) in self.given]
        self.effects.append(("clear", tuple(refs)))

    def guard_unmade(self, p):
        """A parameter without an array has none on any call, nor a gradient: clearing that, and updating, do nothing to it."""
        if type(p).cleargrad is not Parameter.cleargrad or not p._grad_known or p._first_grad is not None or p._cell is not None or p._tape is not None:
            raise Doubt("a parameter has no array yet, and may get one")
        self.guard("unmade", p)

    def assign_none(self, f, owner, after):
        """``v.grad = None``, which does what ``v.cleargrad()`` does."""
        v = owner.value
        attr = class_lookup(type(v), "grad")
        if attr not in (Variable.grad, Parameter.grad) or v._array is None or owner.kind not in ("static", "arg", "state"):
            raise Doubt("assigns .grad")
        self.guard("classattr", type(v), "grad", attr)
        if owner.kind == "static":
            self.guard("class", v, type(v))
        self.clear_gradients([owner])
        self._let_setter_run(f, after)

    def show_array(self, value, vid):
        """The Ref of an array that this call has computed."""
        return self.changed.get(vid) or self.shown.setdefault(vid, Ref("fresh", value, ("array", vid)))

    def change_shown(self, x, fn, args, kw):
        """An operator in place, or an assignment of elements: whoever has the array sees what it is then, so that its Ref becomes another."""
        vid, path = x.source[1], self.call.path
        holders = [v for e in path if e.kind == "backward" for v, o, _ in e.grads[0] if o.vid == vid]
        shared = any(self.call.origin(v) == vid or v == vid for v in self.call.view_of)
        own = not holders and self._is_result(x) or len(holders) == 1 and not self.writes_so_far()
        if not own or shared or not x.value.flags.writeable or x.value.base is not None:
            raise Doubt("changes an array in place that may be seen elsewhere")
        if x is not self.shown[vid] or any(x is part for fact in self.guards.values() for part in fact) or id(x) in self.taken:
            raise Doubt("changes an array in place after it has been used")
        renew(self, x, Ref("fresh", x.value.copy(), x.source), fn, args, kw)
        self.changed[vid] = x
        self.changed_at.setdefault(vid, len(path))
        if not holders:
            self.changed_operands.setdefault(vid, len(path))
            self.call.touch(x.value)

    def _is_result(self, x):
        """Whether an array is what one operation has computed, and no other Variable's."""
        vid, a = x.source[1], x.value
        return any(e.kind == "op" and o.vid == vid for e in self.call.path for o in e.outs) and not any(
            leaf is a or isinstance(leaf, Variable) and leaf._array is a for leaf in self.call.leaves.values())

    def assign_gradient(self, f, owner, value, after):
        """``p.grad = array``."""
        v = owner.value
        attr = class_lookup(type(v), "grad")
        self.guard("classattr", type(v), "grad", attr)
        if attr not in (Variable.grad, Parameter.grad):
            raise Doubt("assigns .grad")
        if owner.kind != "static" or v._tape is None or self.writes_so_far():
            raise Doubt("assigns .grad")
        own = value.kind == "array" or value.kind == "fresh" and value.source and value.source[1] not in self.call.view_of
        if not own or type(value.value) is not np.ndarray or value.value.base is not None:
            raise Doubt("assigns .grad")
        vid = None if v._tape.grad is None else self.call.known_vid(array_of(v._tape.grad))
        if vid is None or value is not self.changed.get(vid) or id(v) in self.given:
            spec = value.value
            if spec.shape != v._array.shape or spec.dtype != v._array.dtype or any(given is value for _, given in self.given.values()):
                raise Doubt("assigns .grad")
            self.given[id(v)] = owner, value
            self.effects.append(("regrad", owner, value))
        self._let_setter_run(f, after)

    def begin_gradient(self, f, owner, value, after):
        """``y.grad = array``, with which backward from ``y`` begins, a Variable that this call has computed."""
        self.guard("classattr", Variable, "grad", class_lookup(Variable, "grad"))
        value, v = self.use(value), owner.value
        if type(v) is not Variable or not v._requires_grad or value.kind not in ("arg", "state", "view", "array", "fresh", "static") or self.writes_so_far():
            raise Doubt("assigns .grad")
        if type(value.value) is not np.ndarray or value.value.shape != v.shape or value.value.dtype != v.dtype:
            raise Doubt("assigns .grad")
        self.effects.append(("begin", v, value))
        self.keep.append(owner)
        self._let_setter_run(f, after)

    @staticmethod
    def _let_setter_run(f, after):
        f.waiting = ("make", None, [], {}, constant(None) if after == "push" else None)

    def meet_beginnings(self):
        """Backward begins with the gradients that the program has assigned."""
        for _, v, ref in [e for e in self.effects if e[0] == "begin"]:
            if v._tape is not None and v._tape.grad is not None:
                identify(self, ref, array_of(v._tape.grad))

    def add_to_gradients(self, event):
        """Backward adds to gradients, of which the program may have assigned some before: these are what NumPy has made, and none from before the call."""
        added = [vid for vid, _, accumulated in event.grads[0] if accumulated]
        for vid, operand in zip(added, event.operands[len(event.operands) - len(added):], strict=True):
            v = self.call.leaves.get(vid)
            if id(v) not in self.given:
                continue
            _, ref = self.given.pop(id(v))
            if ref.kind != "array":
                raise Doubt("adds to a gradient that the program has assigned")
            self.ungiven.append(ref)
            identify(self, ref, array_of(self.call.leaves.get(vid_of(operand))))

    def _changed_of(self, p):
        """The Ref of what the program has made of a parameter's gradient, which hooks have changed since."""
        found = [o.vid for e in self.call.path if e.kind == "backward" for v, o, _ in e.grads[0] if self.call.leaves.get(v) is p]
        return self.changed.get(found[-1]) if found else None

    def _given_to(self, p, vid=None):
        """The Ref of what the program has given a parameter as its gradient, or has made of the value ``vid`` or of what backward has left there."""
        return self.given[id(p)][1] if id(p) in self.given else self.changed.get(vid) or self._changed_of(p)

    def meet_changed(self, optimizer):
        """Before an update, whose hooks may change gradients in place: those that the program has changed or assigned are what the observer thinks."""
        for p in optimizer.target.params() if isinstance(optimizer.target, Link) else ():
            g = None if p._tape is None else array_of(p._tape.grad)
            ref = None if g is None else self._given_to(p)
            if ref is not None:
                identify(self, ref, g)

    def meet_gradients(self, params):
        """An update takes the gradients: what the program has made of them is what the observer thinks."""
        for p in params:
            g = None if p._tape is None else array_of(p._tape.grad)
            if g is None:
                continue
            vid = self.call.known_vid(g)
            ref = self._given_to(p, vid)
            if ref is not None:
                identify(self, ref, g)
                continue
            vid = self.call.introduced().oldest(vid)      # hooks change gradients in place
            if vid in self.call.leaves and array_of(self.call.leaves[vid]) is g and vid not in self.held:
                ref = self.held[vid] = Ref("static", p, ("fixed",))
                self.note_origin(ref)
            elif vid is None:       # from before the call, and nothing takes it: without it, the update would give zeros
                self.guard("grad", p)
