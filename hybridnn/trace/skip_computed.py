"""What NumPy and Python compute anew in every run of a plan: arrays, numbers, the numbers of update rules."""
import operator
from collections import deque

import numpy as np

from hybridnn.jit.draws import faster
from hybridnn.optimizer import UpdateRule
from hybridnn.trace.changed_copies import IN_PLACE, put
from hybridnn.trace.computed import Computed, below, is_always, is_number
from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.refs import Doubt, is_drawn

__all__ = ["Computing"]

SYMBOLS = {operator.add: "{} + {}", operator.sub: "{} - {}", operator.mul: "{} * {}", operator.truediv: "{} / {}", operator.neg: "-{}",
           operator.getitem: "{}[{}]"}
WITHIN = ("item", "row", "arrayof", "member")      # kinds of sources that read a part of what another source reads
RULE_ATTRIBUTES = vars(UpdateRule())    # a rule with attributes of its own may compute its own numbers


def _is_arithmetic(found):
    """Whether the types of numbers alone decide what type of number comes out."""
    return found.fn in SYMBOLS and found.fn is not operator.getitem and all(isinstance(r.value, (np.number, int, float)) for r in found.args)


def _is_elementwise(ref):
    """Whether operands of the recorded kinds can give nothing but an array of the recorded kind: elementwise functions of contiguous arrays, whose kinds are
    looked at where they come from."""
    found, y = ref.source, ref.value
    if found.kw or found.alone or not (found.fn in SYMBOLS and found.fn is not operator.getitem or isinstance(found.fn, np.ufunc)):
        return False
    known = all(isinstance(r.value, (np.number, int, float)) or isinstance(r.value, np.ndarray) and r.kind != "varied" and r.value.flags.c_contiguous and (
        isinstance(r.source, Computed) or r.kind in ("arg", "fresh")) for r in found.args)
    return known and type(y) is np.ndarray and y.flags.c_contiguous


class Computing:
    """Writes the lines that compute."""

    def _computed(self, ref):
        """The name of what NumPy computes anew on every call: before all else if it can be, else as soon as what it rests on has been computed."""
        if id(ref) not in self.making:
            for part in self._in_order(ref):
                self._place(part)
        return self.making[id(ref)]

    def _in_order(self, ref):
        """The computations that one rests on and that have no name yet, every one behind its operands, and itself."""
        stack, ordered = [(ref, False)], {}
        while stack:
            r, ready = stack.pop()
            if r.kind == "mirror":
                stack += [(x, False) for x in r.value]
            elif ready:
                ordered[id(r)] = r
            elif isinstance(r.source, Computed) and id(r) not in self.making and id(r) not in ordered:
                stack.append((r, True))
                parts = () if r.source.drawn and not r.source.late else (*r.source.args, *r.source.kw.values())
                stack += [(x, False) for x in parts if not is_always(x, r)]
        return ordered.values()

    def _place(self, ref):
        """Name a computation whose operands have names, and put it where it belongs."""
        found = ref.source
        same = found.alone and IN_PLACE[found.fn] is put
        name = self.making[id(ref)] = self.making[id(found.args[0])] if same else f"m{len(self.making)}"
        if found.drawn and not found.late:
            return
        if found.last:
            if type(ref.value) is int or not any(e[1] is ref for e in self.early.get(found.at, ())):
                raise Doubt("NumPy computes after an update what operations take")
            return
        after = self.made_after[id(ref)] = self._after(found)
        if after is None:
            lines, warns = self._computing(name, ref)
            self.make_lines += lines
            self.made_first += [] if same else [name]
            self.may_warn |= warns
        else:
            self.later.setdefault(found.at, []).append((name, ref))

    def _after(self, found):
        """After how many events the operands of a computation are there; None if before all of them."""
        operands = [r for part in (*found.args, *found.kw.values()) for r in below(part, lambda found: False)]
        late = any(r.kind in ("fresh", "hole") or self.made_after.get(id(r)) is not None for r in operands)
        return found.at if late or found.behind else None

    def _computing(self, name, ref):
        """Lines that compute a value and leave if it is of another kind than the recorded one, and whether NumPy may warn there."""
        found, w = ref.source, self.writer
        texts = {id(a): w.strong(a.value) if is_always(a, ref) else self._operand_text(a) for a in (*found.args, *found.kw.values())}
        parts = [texts[id(a)] for a in found.args] + [f"{k}={texts[id(v)]}" for k, v in found.kw.items()]
        plain = found.safe or found.drawn or ref.kind == "number" and all(type(a.value) in (int, float, bool) for a in found.args)
        fn = IN_PLACE[found.fn] if found.alone else faster(found.fn, ref.value) if found.drawn else found.fn
        if fn is put:
            return [f"{name}[{parts[1]}] = {parts[2]}"], True
        line = f"{name} = {SYMBOLS[fn].format(*parts)}" if fn in SYMBOLS else f"{name} = {w.strong(fn)}({', '.join(parts)})"
        return [line, *self._checks(name, ref)], not plain

    def _checks(self, name, ref):
        """Lines that leave if what has been computed is of another kind than the recorded value."""
        found, w, lines = ref.source, self.writer, []
        if ref.kind == "number" and not found.safe:
            lines.append(f"if type({name}) is not {w.strong(type(ref.value))}: raise Unexpected")
        if ref.kind == "whole" and found.late:
            lines.append(f"if list(map(type, {name})) != {w.strong(list(map(type, ref.value)))}: raise Unexpected")
        if ref.kind == "varied":
            lines.append(f"if not ({self._same_kind(name, ref.value, varied=True)}): raise Unexpected")
        if ref.kind == "array" and not found.safe and not found.alone and not (_is_arithmetic(found) or _is_elementwise(ref)):
            lines.append(f"if not ({self._same_kind(name, ref.value)}): raise Unexpected")
        return lines

    @staticmethod
    def _under_one_state(lines, names):
        """The lines as a function, under one errstate that NumPy's warnings are errors in, and the names that it makes."""
        made = "".join([f"{name}, " for name in dict.fromkeys(names)])
        call = f"{made}= recompute(making)" if made else "recompute(making)"
        return ["def making():", *["    " + line for line in lines], f"    return {made or '()'}", call]

    def _same_kind(self, name, y, varied=False):
        """The text of a test whether an array, or a number of NumPy's, is like the recorded one, but for its length if that is ``varied``."""
        w = self.writer
        if not isinstance(y, np.ndarray):
            return f"type({name}) is {w.strong(type(y))}"
        lies = f"{name}.ndim == {y.ndim}" if varied else f"{name}.shape == {w.strong(y.shape)} and {name}.strides == {w.strong(y.strides)}"
        same = f"type({name}) is ndarray and {name}.dtype == {w.strong(y.dtype)} and {lies} and {name}.flags.aligned"
        return f"{same} and ({name}.base is None or not shares({name}))" if w.writes else same

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
        return self._as_found(ref.source)

    def _as_found(self, source):
        """The text of a value as the call has found it, though it may assign something else in its place."""
        text, place = self.writer.read(source), source
        while place[0] in WITHIN and not self._is_put(place):
            place = place[1]
        where = place[1:] if place[0] == "load" else ("attr", place[1], "_array") if place[0] == "inside" else None
        assigned = where is not None and where_id(where) in self.assigned
        moved = where is not None and (where[0] == "tail" or where[0] == "item" and self._moves(*where[1:]))    # by the time that it is asked for
        if not assigned and place[0] != "item" and not moved:
            return self.found.get(text, text)
        begin = self.writer.read(place)
        return self.was.setdefault(begin, f"was{len(self.was)}") + text[len(begin):]

    def _moves(self, box, key):
        """Whether another member is there when the call has taken out the first, or appended some."""
        return id(box) in self.shifted or type(box) is deque or type(box) is list and type(key) is int and key < 0

    def _is_put(self, place):
        """Whether the call assigns this member of an argument."""
        return place[0] == "item" and place in self.put

    def _find_computed(self, refs):
        """Computations whose results Python sees."""
        for ref in [r for part in refs for r in below(part, lambda found: found.last)]:
            if ref.kind == "made":
                self._find_computed([ref.source[1]])
            elif isinstance(ref.source, Computed) and not ref.source.last:
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
                fits = f"if not {operand.within.start} <= {name} < {operand.within.stop}: raise Unexpected"
                (self.make_lines if self.made_after.get(id(ref)) is None else self.outcomes.setdefault(name, [])).append(fits)
            return name
        found = self.writer.read(ref.source), type(self.call.values[vid]), operand.within
        if is_drawn(ref.source):
            self._once_drawn(self._checked_number, *found)
        else:
            self._checked_number(*found)
        return self._as_found(ref.source)

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
