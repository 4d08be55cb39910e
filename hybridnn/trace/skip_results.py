"""The values that a plan gives to the user: results, and what is assigned."""
import functools
from collections import defaultdict, deque

from hybridnn.core.tape import Untaped
from hybridnn.core.variable import Variable
from hybridnn.trace.calculations import of_both
from hybridnn.trace.events import FUNCTION
from hybridnn.trace.observe_iteration import Rows
from hybridnn.trace.path_tape import PathTape
from hybridnn.trace.refs import Doubt

__all__ = ["Results"]


class Results:
    """Writes expressions for values."""

    def _value(self, ref):
        """An expression for a value that Python sees."""
        if ref.kind == "fresh":
            return self._array_text(ref.source[1]) if ref.source else self._variable(ref.value)
        if ref.kind == "mirror":
            if type(ref.value) is Rows:
                raise Doubt("returns a view of a dict")
            if ref.source is not None:
                return self._as_found(ref.source)
            return self._container(ref)
        if ref.kind == "hole":
            return f"hole{self.path.index(ref.source[1])}"
        if ref.kind in ("array", "number", "text"):
            return self._computed(ref)
        if ref.kind == "static":
            return self.writer.held(ref.value) if isinstance(ref.value, Variable) else self.writer.strong(ref.value)
        if ref.kind in ("arg", "state") and ref.source is not None:
            return self._as_found(ref.source)
        if ref.kind == "made":
            return self._made_variable(ref)
        if ref.kind == "view":
            return self._row(ref)
        if ref.kind == "object":
            return self._instance(ref.value) if ref.value.source is None else self._as_found(ref.value.source)
        if ref.kind == "recent":
            return self._window(ref)
        raise Doubt("returns a value that cannot be built again")

    def _window(self, ref):
        """A new list of the last members of one from outside."""
        name = self.containers.get(id(ref))
        if name is None:
            name = self.containers[id(ref)] = f"c{len(self.containers)}"
            before, most, cut = ref.value
            take = self.writer.strong(functools.partial(of_both, list, most, cut))
            self.makes.append(f"{name} = {take}({self._operand_text(before)}, {self._operand_text(ref.source)})")
        return name

    def _row(self, ref):
        """A row of an array from outside: an object of its own on every call, but one only."""
        name = self.containers.get(id(ref.value))
        if name is None:
            name = self.containers[id(ref.value)] = f"c{len(self.containers)}"
            self.makes.append(f"{name} = {self._as_found(ref.source)}")
        return name

    def _made_variable(self, ref):
        """A Variable that the program has made of an array, and has not computed with."""
        v, (_, inner, _) = ref.value, ref.source
        name = self.containers.get(id(v))
        if name is None:
            if type(v) is not Variable or v._tape is not None or v._name is not None or v._requires_grad and any(x is v for x in self.call.leaves.values()):
                raise Doubt("returns a Variable that the call has made, and has computed with")
            name = self.containers[id(v)] = f"c{len(self.containers)}"
            self.makes.append(f"{name} = gradient({self._value(inner)}, {v._requires_grad})")
        return name

    def _instance(self, made):
        """An object of a class of the user's that the call has made: what its methods have done to it is known, and what it has got is put there."""
        name = self.containers.get(id(made))
        if name is None:
            if made.space is not None or any(base.__module__.split(".")[0] == "hybridnn" for base in made.cls.__mro__):
                raise Doubt(f"returns or keeps a {made.cls.__name__} that cannot be built again")
            name = self.containers[id(made)] = f"c{len(self.containers)}"
            self.makes.append(f"{name} = new({self.writer.strong(made.cls)})")
            for key, ref in made.attrs.items():
                text = self._value(ref)
                self.makes.append(f"{self.writer.strong(object.__setattr__)}({name}, {key!r}, {text})")
        return name

    def _container(self, ref):
        """A container made by the call: one object, however often it is met."""
        name = self.containers.get(id(ref))
        if name == "":
            raise Doubt("returns or keeps a container that contains itself")
        if name is None:
            name, self.containers[id(ref)] = f"c{len(self.containers)}", ""      # its own members are not to find it
            if isinstance(ref.value, dict):
                text = "{" + ", ".join(f"{self.writer.strong(k)}: {self._value(v)}" for k, v in ref.value.items()) + "}"
                factory = f"{self._factory(ref.value)}, " if type(ref.value) is defaultdict else ""
                text = text if type(ref.value) is dict else f"{self.writer.strong(type(ref.value))}({factory}{text})"
            else:
                items = ", ".join(self._value(v) for v in ref.value)
                text = f"[{items}]" if isinstance(ref.value, list) else f"({items}{',' if len(ref.value) == 1 else ''})"
                if type(ref.value) is deque:
                    text = f"{self.writer.strong(deque)}({text}, {ref.value.maxlen})"
                elif type(ref.value) not in (list, tuple):
                    text = f"{self.writer.strong(type(ref.value))}._make({text})"
            self.containers[id(ref)] = name
            self.makes.append(f"{name} = {text}")
        return name

    def _factory(self, box):
        """What makes the missing values of a ``defaultdict``."""
        return "None" if box.default_factory is None else self._value(box.default_factory.factory)

    def _array_text(self, vid):
        """The array that the user sees: for a view, a view of the array that it shares."""
        if vid in self.apart:
            raise Doubt("returns a view of an array that is not contiguous")
        if vid not in self.call.view_of:
            return self.text[vid]
        name = f"a{vid}"
        if name not in self.named:
            self.named.add(name)
            base, app, k = self.call.view_of[vid]
            text = f"{self.writer.strong(app.node.op)}.run([{self._array_text(base)}], {self.writer.strong(dict(app.node.attrs))})"
            self.makes.append(f"{name} = {text}[{k}]" if app.node.op.multi else f"{name} = {text}")
        return name

    def _variable(self, v):
        """One Variable per value, however often it is returned."""
        vid = v._vid
        if vid in self.observer.changed:
            raise Doubt("a Variable whose array the program has changed in place")
        name = f"r{vid}"
        if name in self.named:
            return name
        self.named.add(name)
        if vid in self.gradients:
            self.makes.append(f"n = {self._holder(v)}; {name} = n.grad = gradient(n.grad, {v._requires_grad})")
            return name
        requires = v._requires_grad
        lines = [f"{name} = new(Variable); {name}._array = {self._array_text(vid)}"]
        if not requires:
            lines.append(f"{name}._requires_grad = False")
        elif vid in self.made and (self.made[vid][0].taped or vid in self.graded):
            spec = self.made[vid][3]
            if self.released and (vid in self.call.cut or not self.made[vid][0].taped):
                lines.append(f"{name}._tape = {self._forgotten(vid, spec)}")
            else:
                self.uses_tape = True
                lines.append(f"{name}._tape = {self._traced_node(vid)}")
        if v._shown is not None:
            lines.append(f"{name}._shown = {self._told(v._shown)}")
        self.makes += lines
        return name

    def _told(self, shown):
        """What the creator of a Variable has to tell: the same functions on every call, or what the call has computed."""
        if type(shown) is not Untaped and not any([fn.__closure__ for fn in shown.values()]):
            return self.writer.strong(shown)
        if type(shown) is not Untaped or not all(map(self._is_computed, shown.values())):
            raise Doubt("returns a Variable whose creator tells what the call has drawn, or was given")
        told = [f"{name}=gradient({self._array_text(self.call.known_vid(x))}, False)" for name, x in shown.items()]
        return f"{self.writer.strong(Untaped)}({', '.join(told)})"

    def _is_computed(self, x):
        """Whether the call has computed this Variable, which nobody sees but in what a creator tells."""
        return isinstance(x, Variable) and not x._requires_grad and self.call.known_vid(x) in self.made

    def _forgotten(self, vid, spec):
        """The node of a value without a creator."""
        path = PathTape.of(self.call)
        if vid not in path.unchained:
            return f"TapeLeaf({self.writer.strong(spec.shape)}, {self.writer.strong(spec.dtype)})"
        leaves = ", ".join(f"{v}: {text}" for v, text in self._ranked_leaves([vid]).items())
        return f"UnchainedLeaf({self.writer.strong(path)}, {vid}, {self.writer.strong(spec)}, {{{leaves}}})"

    def _traced_node(self, vid):
        """The node of a result; if it is the only one, nothing of the graph leads back to it, so that the tape need not know it."""
        app, position, k, spec = self.made[vid]
        known = [self.writer.strong(x) for x in (app, position, spec)]
        if self.released and self._stand_apart():
            self.connected.append(vid)
            if len(self.survivors) == 1:
                self.uses_tape = False
                return f"{'GoneOutput' if app.node.op.multi else 'GoneNode'}({self._known_tape()})"
            text = f"TracedNode(tape, {', '.join(known)})"
            return f"output_of({text}, {k}, {self.writer.strong(spec.shape)}, {self.writer.strong(spec.dtype)})" if app.node.op.multi else text
        if len(self.survivors) > 1 or vid in self.call.cut or not app.taped or app.node.op.multi:
            return f"tape.node({vid})"
        return f"TracedNode(tape, {', '.join(known)})"

    def _stand_apart(self):
        """Whether no operation makes two of the results, nor a user's function one of them: then their nodes are made faster than found."""
        apps = [self.made[v][0] for v in self.survivors if v in self.made]
        return len({id(app) for app in apps}) == len(apps) and all(app.node.op is not FUNCTION for app in apps)

    def _holder(self, v):
        """The node whose gradient is this very Variable."""
        for x, node in self.gradients[v._vid]:
            if (x._tape or x.node._tape).grad is v:
                return node
        raise Doubt("returns the Variable of a gradient that is not kept")

    def _return(self):
        self.result_text = self._value(self.observer.result)
        if len(self.connected) > 1:
            self.makes.append(f"tape.first = ({''.join(f'ref(r{v}._tape), ' for v in self.connected)})")
