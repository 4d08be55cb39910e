"""What NumPy and Python compute anew in every run of a plan: arrays, numbers, the numbers of update rules."""
import numpy as np

from hybridnn.optimizer import UpdateRule
from hybridnn.trace.arrays import Computed, is_number, sources_of
from hybridnn.trace.refs import Doubt, Ref

__all__ = ["Computing"]

RULE_ATTRIBUTES = vars(UpdateRule())    # a rule with attributes of its own may compute its own numbers


class Computing:
    """Writes the lines that compute."""

    def _computed(self, ref):
        """The name of what NumPy computes anew on every call: before all else if it can be, else as soon as what it rests on has been computed."""
        name = self.making.get(id(ref))
        if name is not None:
            return name
        name = self.making[id(ref)] = f"m{len(self.making)}"
        found = ref.source
        if found.drawn:
            return name
        if found.last:
            raise Doubt("NumPy computes after an update what operations take")
        after = max((r.at for r in [found, *self._parts(ref)] if sources_of(Ref("mirror", [*r.args, *r.kw.values()]))), default=None)
        if after is None:
            self.make_lines += self._computing(name, ref)
            return name
        for part in [*found.args, *found.kw.values()]:
            self._names_of(part)
        self.later.setdefault(found.at, []).append((name, ref))
        return name

    def _parts(self, ref):
        """The computations that one rests on."""
        found = ref.source
        stack, parts = [*found.args, *found.kw.values()], []
        while stack:
            r = stack.pop()
            if r.kind == "mirror":
                stack += r.value
            elif isinstance(r.source, Computed):
                parts.append(r.source)
                stack += [*r.source.args, *r.source.kw.values()]
        return parts

    def _names_of(self, ref):
        """Compute what ``ref`` rests on."""
        if ref.kind == "mirror":
            for r in ref.value:
                self._names_of(r)
        elif isinstance(ref.source, Computed):
            self._computed(ref)

    def _computing(self, name, ref):
        """Lines that compute a value and leave if it is of another kind than the recorded one."""
        found, w = ref.source, self.writer
        parts = [self._operand_text(a) for a in found.args] + [f"{k}={self._operand_text(v)}" for k, v in found.kw.items()]
        plain = found.safe or ref.kind == "number" and all(type(a.value) in (int, float, bool) for a in found.args)
        lines = [f"{name} = {w.strong(found.fn)}({', '.join(parts)})" if plain else f"{name} = recompute({', '.join([w.strong(found.fn), *parts])})"]
        if ref.kind == "number" and not found.safe:
            lines.append(f"if type({name}) is not {w.strong(type(ref.value))}: raise Unexpected")
        if ref.kind == "array" and not found.safe:
            y = ref.value
            same = f"type({name}) is {w.strong(type(y))} and {name}.dtype == {w.strong(y.dtype)}"
            if isinstance(y, np.ndarray):
                same += f" and {name}.shape == {y.shape!r} and {name}.strides == {y.strides!r} and {name}.flags.aligned"
                if w.writes:
                    same += f" and ({name}.base is None or not shares({name}))"
            lines.append(f"if not ({same}): raise Unexpected")
        return lines

    def _operand_text(self, ref):
        if ref.kind == "mirror":
            items = ", ".join(self._operand_text(r) for r in ref.value)
            return f"[{items}]" if isinstance(ref.value, list) else f"({items}{',' if len(ref.value) == 1 else ''})"
        if isinstance(ref.source, Computed):
            return self._computed(ref)
        if ref.kind == "fresh":
            return self._array_text(ref.source[1])
        if ref.kind == "hole":
            return f"hole{self.path.index(ref.source[1])}"
        if ref.kind == "static":
            return self.writer.strong(ref.value)
        if is_number(ref) and ref.source[0] == "load":
            self.writer.check(("typed", ref.source, type(ref.value)))
        return self.writer.read(ref.source)

    def _find_computed(self, refs):
        """Computations whose results Python sees."""
        for ref in refs:
            if ref.kind == "mirror":
                self._find_computed(ref.value.values() if isinstance(ref.value, dict) else ref.value)
            elif isinstance(ref.source, Computed) and ref.source.last:
                self._find_computed([*ref.source.args, *ref.source.kw.values()])
            elif isinstance(ref.source, Computed):
                self._computed(ref)

    def _number(self, operand):
        vid = operand.vid
        ref = self.observer.numbers.get(vid)
        if ref is None:
            return self.writer.strong(self.call.values[vid])
        if ref.kind == "rule":
            param, k, turn = ref.source
            return f"{self._rule_numbers(ref.value, param, turn)}[{k}]"
        if ref.kind == "hook":
            text = f"{self.writer.strong(ref.value)}.{'decay' if ref.source == 'rise' else ref.source}"
            text = self._checked_number(text, type(self.call.values[vid]), operand.within)
            return f"(1.0 - {text})" if ref.source == "rise" else text
        if ref.kind == "hole":
            return f"hole{self.path.index(ref.source[1])}"
        if ref.kind == "number":
            name = self._computed(ref)
            if type(ref.value) is int:
                self.make_lines.append(f"if not {operand.within.start} <= {name} < {operand.within.stop}: raise Unexpected")
            return name
        return self._checked_number(self.writer.read(ref.source), type(self.call.values[vid]), operand.within)

    def _checked_number(self, text, kind, within):
        """A number that is read anew must have the recorded type, and an int must fit the arrays that it meets."""
        name = self.writer.strong(kind)
        fits = f" and {within.start} <= {text} < {within.stop}" if kind is int else ""
        self.writer.require(f"type({text}) is {name}{fits}", f"the type of a number: {text}")
        return text

    def _rule_numbers(self, rule, param, turn):
        """Rules of one kind, without hyperparameters of their own, at the same t, share their numbers in one update."""
        shared = set(rule.hyperparam.__dict__) == {"_parent"} and set(rule.__dict__) == set(RULE_ATTRIBUTES)
        key = (type(rule), id(rule.hyperparam._parent), rule.t, turn) if shared else (id(rule), turn)
        if key not in self.rules:
            self.rules[key] = (f"num{len(self.rules)}", rule, param, [])
        self.rules[key][3].append(rule)
        return self.rules[key][0]

    def _same_counts(self):
        """Rules that share their numbers have been updated equally often."""
        w = self.writer
        for _, rule, _, members in self.rules.values():
            steps = tuple({id(r): r._steps for r in members}.values())
            if len(steps) > 1:
                w.require(f"{w.strong(steps)} == {w.strong((rule._steps,) * len(steps))}", "parameters were updated differently often")
