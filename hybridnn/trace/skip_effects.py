"""What a plan does beside computing: gradients, counters, assignments."""
from hybridnn.trace.operands import array_of
from hybridnn.trace.refs import Doubt

__all__ = ["Effects"]


class Effects:
    """Writes the lines that change what the user can see."""

    def _effects(self):
        grads, cleared, begun = {}, set(), set()
        updates = sum(e[0] == "update" for e in self.observer.effects)
        early = {id(e) for found in self.early.values() for e in found}
        for effect in [e for e in self.observer.effects if id(e) not in early]:
            kind, *rest = effect
            updates -= kind == "update"
            if kind == "clear":
                for node in map(self._node_of, rest[0]):
                    if node not in grads:
                        cleared.add(node)
                    grads[node] = "None"
            elif kind == "begin":
                begun.add(id(rest[0]))
            elif kind == "backward":
                self._backward(rest[0], grads)
                begun.discard(id(rest[1]))
            elif kind == "regrad":
                self._give(*rest, grads)
            elif kind == "fill":
                self._fill(*rest, grads)
            elif (kind != "hyper" or not updates) and (line := self._line(kind, *rest)) is not None:
                self._emit(line)
        if begun:
            raise Doubt("assigns .grad without backward")
        if None in grads.values():
            raise Doubt("a gradient that no stage hands out")
        self.nodes = list(grads)
        self._reuse({node: g for node, g in grads.items() if node in cleared})
        self.body += [f"n = {node}; n.grad = {g}" for node, g in grads.items()]
        if self.stored:
            self.body.append(f"if scaled[0]: unscale([{', '.join(sorted(self.stored))}])")

    def _line(self, kind, *rest):
        """The line that does what the program does beside computing; None if a stage does it."""
        w = self.writer
        if kind == "count":
            return f"{w.held(rest[0])}.{rest[1]} += 1"
        if kind == "report":
            return f"{w.reporter(rest[0][0])}.observation[{rest[1]!r}] = {self._value(rest[2])}"
        if kind == "store":
            return self._store(*rest)
        if kind == "rebind":
            return f"{w.strong(rest[0][1])}.array = {self._operand_text(rest[1])}"
        if kind == "compute":
            return self._last(rest[0])
        if kind == "hyper":
            return self._assignment(rest[0]).format(self._hyperparameter(rest[1]))
        if kind == "assign":
            return self._assignment(rest[0]).format(self._value(rest[1]))
        if kind == "call":
            return f"{w.strong(rest[0])}({', '.join(map(w.strong, rest[1]))})"
        if kind == "take":
            return f"del {w.strong(rest[0][1])}[0]"
        if kind == "trim":
            return f"del {w.strong(rest[0][1])}[:-{rest[1]}]"
        if kind == "append":
            return f"{self._owner(*rest[0])}.append({self._value(rest[1])})"
        return None

    def _reuse(self, grads):
        """The only stage computes new gradients where those lie that the call clears first, if nobody else has them. They go from their nodes before, and
        are put back if the stage raises: nothing has been written there yet.
        """
        w = self.writer
        if len(self.calls) != 1 or self.later or self.looks or self.observer.held or not all(node in w.names for node in grads):
            return
        place, segment, outs, given = self.calls[0]
        executable = segment.executable
        number = {outs[k]: k for k in executable.reusable}
        reused = {number[g]: w.names[node] for node, g in grads.items() if g in number}
        if reused:
            self.reused = w.strong(tuple(reused.values()))
            call = f"{w.strong(executable.reusing)}({given}, {w.strong(tuple(reused))}, reused)"
            self.body[place] = f"{''.join(o + ', ' for o in outs)}= {w.strong(executable)}({given}) if reused is None else {call}"
            self.body.insert(place, f"reused = None if warnings_raise() else take({self.reused})")

    def _emit(self, line):
        """A line after all operations, after what it names has been made."""
        self.after += [*self.makes, line]
        self.makes = []

    def _write_early(self, found, updated):
        """Lines of what NumPy writes, and computes of it, before other operations, as many as can be under one errstate. ``updated``: it is too late to take
        it back."""
        together, made = [], []

        def write():
            self.body += together if updated else self._under_one_state(together, made) if together else []
            together.clear()
            made.clear()
        for kind, first, *rest in found:
            before, self.makes = self.makes, []
            if kind == "store":
                lines = [*([] if updated else self._kept_part(first, rest[1])), self._store(first, *rest)]
            elif kind == "decide":
                lines = []
                write()
                self.body += self._leave_if(f"bool({self.making[id(first)]}) is not {rest[0]}", self.observer.pins.get(id(first), rest[0]))
            else:
                lines = [self._last(first), *(self._checks(self.making[id(first)], first) if self._is_risky(first) else ())]
            if self.makes:
                write()
                self.body += self.makes
            self.makes = before
            together += lines
            made += [self.making[id(first)]] if kind == "compute" else []
        write()

    def _kept_part(self, target, args):
        """The line that keeps what is going to be written over, in case that Python has to run after all; none if it has been kept."""
        array = self._stored_text(target)
        part = self._operand_text(args[0]) if len(args) == 2 and args[0].value is not ... else "..."
        if not self.kept.isdisjoint({(array, "..."), (array, part)}):
            return []
        self.kept.add((array, part))
        return [f"undone.append(({array}, {part}, copied({array}[{part}])))"]

    def _store(self, target, fn, args, at):
        """The line that writes into an array."""
        texts = ", ".join([self._operand_text(r) for r in args])
        return f"{self.writer.strong(fn)}({self._stored_text(target)}, {texts})"

    def _stored_text(self, target):
        """The text of an array that NumPy writes."""
        source = self.observer.passed.get(id(target.value))
        return self.writer.strong(target.value) if source is None else self.writer.read(source)

    def _last(self, ref):
        """The line of a computation that NumPy makes after all operations, with its own warnings."""
        found = ref.source
        parts = [self._operand_text(a) for a in found.args] + [f"{k}={self._operand_text(v)}" for k, v in found.kw.items()]
        return f"{self._last_name(ref)} = {self.writer.strong(found.fn)}({', '.join(parts)})"

    def _last_name(self, ref):
        """The name of a computation that has to wait, which an operation may take."""
        return self.making.setdefault(id(ref), f"m{len(self.making)}")

    def _assignment(self, where):
        """The text that assigns to a place, with ``{}`` for the value."""
        kind, owner, *key = where
        w = self.writer
        if kind == "attr":
            return f"setattr({w.held(owner)}, {key[0]!r}, {{}})"
        if kind == "cell":
            return f"{w.strong(owner)}.cell_contents = {{}}"
        if kind == "put":
            return f"{self._as_found(owner)}[{w.strong(key[0])}] = {{}}"
        return f"{w.strong(owner)}[{w.strong(key[0])}] = {{}}"

    def _node_of(self, ref):
        if ref.kind == "static" and id(ref.value) in self.fixed:
            return self.writer.strong(ref.value._tape)
        text = self.writer.strong(ref.value) if ref.kind == "static" else self._as_found(ref.source)
        if ref.kind == "state" and id(array_of(ref.value)) in self.written:      # all places where it is are known to hold this very Variable
            text = self.node_texts.setdefault(id(ref.value), text)
        return f"({text}._tape or leaf({text}))"

    def _backward(self, event, grads):
        for vid, outcome, accumulated in event.grads[0]:
            x = self.call.leaves.get(vid)
            if x is not None and self.observer.origins[id(x)].kind == "made":
                continue
            if x is None and vid not in self.survivors:
                continue
            if x is None:
                raise Doubt("a gradient of a Variable made in this call is kept")
            node = self._node_of(self.observer.origins[id(x)])
            if node not in grads and not accumulated:
                self.writer.require(f"{node}.grad is None", "a gradient from before the call")
            self.stored.add(node)
            newest = self._newest(outcome.vid)
            self.gradients.setdefault(newest, []).append((x, node))
            text = self._computed(self.observer.changed[newest]) if newest in self.observer.changed else self.text.get(newest)
            text = self._copied_view(newest) if text is None and newest in self.call.view_of else text
            grads[node] = f"{text}.copy()" if text is not None and text in grads.values() else text     # one value for two leaves: each has its own array
        if event.key[0][0]:
            raise Doubt("backward(retain_grad=True)")
        if event.key[0][1] or event.key[0][2] is not None:
            raise Doubt("backward with enable_double_backprop or loss_scale")

    def _copied_view(self, vid):
        """The text of a gradient that is a view of what a stage hands out; a leaf has an array of its own."""
        before, self.makes = self.makes, []
        text = f"copied({self._array_text(vid)})"
        self.body += self.makes
        self.makes = before
        return text

    def _give(self, ref, value, grads):
        """``p.grad = array``, which NumPy or the call has made."""
        node = self._node_of(ref)
        if node not in self.stored:
            self.writer.require(f"not scaled[0] or {node}.loss_scale is None", "a gradient from before the call is scaled")
        grads[node] = self.text[self._newest(value.source[1])] if value.kind == "fresh" else self._computed(value)

    def _fill(self, ref, vid, grads):
        node = self._node_of(ref)
        if node not in grads:
            self.writer.require(f"{node}.grad is None", "a gradient from before the call")
        grads[node] = self.text[self._newest(vid)]

    def _updates(self):
        """Counters go up, and hyperparameters are set, just before the stage that updates. ``updates``: how many events came before each, and its lines."""
        w, self.updates, waiting = self.writer, [], []
        for kind, *rest in self.observer.effects:
            if kind == "hyper":
                waiting.append(f"{self._assignment(rest[0]).format(self._hyperparameter(rest[1]))}")
            elif kind == "update":
                steps, at = rest
                self.updates.append((at, [*waiting, f"for s in {w.strong(steps)}: s[0] += 1", f"counted += {w.strong(steps)}"]))
                waiting = []

    def _hyperparameter(self, ref):
        """The text of the float that a hyperparameter is set to."""
        text = self._operand_text(ref)
        if ref.kind == "arg" and ref.source[0] != "load":
            self.writer.check(("typed", ref.source, float))
        return text
