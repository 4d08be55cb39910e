"""The guards of a plan: that arguments, settings and numbers are what they were when its path was recorded."""
import re

import numpy as np

from hybridnn.config import config
from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable
from hybridnn.trace.batches import is_untouched
from hybridnn.trace.free_numbers import MOST
from hybridnn.trace.operands import array_of
from hybridnn.trace.overlap import root_array
from hybridnn.trace.refs import MOST_MEMBERS, Doubt, check_key, constant, is_drawn, is_loaded, is_named_tuple
from hybridnn.trace.skip_runtime import setting

__all__ = ["Facts"]

PLACES = ("attr", "cell", "global", "item", "classattr")      # facts about one value somewhere
COMPUTED = {"number": "_same_number", "outcome": "_same_truth", "bounded": "_is_bounded", "apart": "_is_apart",
            "within": "_is_within", "span": "_has_length"}     # facts about what is computed on every call
MISSED = re.compile(r"return miss\d+")
DEEPEST = 20      # levels of containers in arguments


def _memory_of(x):
    """ids of a value, its array, and the array that owns its memory."""
    a = array_of(x)
    return {id(x), id(a), id(root_array(a))} if isinstance(a, np.ndarray) else {id(x)}


class Facts:
    """Writes the guards."""

    def _settings(self):
        """How many arguments there are, the configuration that was read, and that the library's own classes are as they were."""
        w, observer = self.writer, self.observer
        w.require(f"len(args) == {len(observer.args)} and len(kwargs) == {len(observer.kwargs)}", "other arguments")
        if len(observer.kwargs) > 1:
            w.require(f"[*kwargs] == {w.strong(list(observer.kwargs))}", "other arguments, or in another order")
        elif observer.kwargs:
            w.require(f"{next(iter(observer.kwargs))!r} in kwargs", "other arguments")
        backprop = f"(G['enable_backprop'] if state.backprop is None else state.backprop) is {w.strong(config.enable_backprop)}"
        w.require(backprop, "config.enable_backprop changed")
        for key in sorted({*self.result.config_reads} - {"enable_backprop"}):
            w.require(f"setting({key!r}) is {w.strong(setting(key))}", f"config.{key} changed")
        for cls in (Variable, Parameter):
            w.surface(cls)
        w.library()

    def _facts(self):
        w, observer = self.writer, self.observer
        self._settings()
        self.changed = frozenset([key[1] for key in observer.overlay]) | observer.grown | observer.rewritten
        self.reports = [e[1] for e in observer.effects if e[0] == "report"][:1]      # all go to the Reporter that is open
        self._look_at_no_report()
        for i, x in enumerate(observer.args):
            self._argument(("arg", i), x, 0)
        for k, x in observer.kwargs.items():
            self._argument(("kwarg", k), x, 0)
        for ref in observer.carried.values():
            self._argument(ref.source, ref.value, 0)
        self._look_at_others()
        self.arguments_end = len(w.lines)       # from here on, arguments are known to be what they were
        self.updated = self._updated()      # these, and what NumPy writes, stay the same objects
        self.written = {*self.observer.stored, *self.updated, *self.owners}
        self.taken = {i for x in (*self.call.leaves.values(), *map(self._array, self.call.leaves), *self.call.scalars.values()) for i in _memory_of(x)}
        picked = any(not ref.source.drawn for ref in observer.samples.values())
        self.drawn_checks = self.make_lines if picked else []       # lines that look at objects which are drawn, once they are
        for name, ref in observer.samples.items():
            if not ref.source.drawn:
                self.make_lines.append(f"{name} = {self._computed(ref)}")
                self.made_first.append(name)
            if not is_untouched(observer, ref):
                self._once_drawn(self._argument, ("drawn", name), ref.value, 0)
        self._guards()

    def _guards(self):
        """What the observer has found to matter."""
        w, observer = self.writer, self.observer
        same = {(f[0], id(f[1]), *f[2:-1]) for f in observer.guards.values() if f[0] in PLACES and type(f[-1]) is int}
        for fact in observer.guards.values():
            if fact[0] == "typed" and fact[1][0] == "load" and (fact[1][1], id(fact[1][2]), *fact[1][3:]) in same:
                continue
            if fact[0] == "alias" and not self._decides(fact[2], fact[4]):
                continue
            if fact[0] in COMPUTED:
                getattr(self, COMPUTED[fact[0]])(*fact[1:])
                continue
            if observer.samples and is_drawn(fact):
                self._once_drawn(w.check, fact)
                continue
            own = fact[0] == "spec" and id(array_of(fact[-1])) in self.written
            w.check(fact[1:] if own else fact)
            if own and isinstance(fact[-1], Variable):
                w.array(("load", *fact[1:-1]), fact[-1], "a Variable", apart=False)

    def _once_drawn(self, write, *given):
        """Lines that look at objects which are drawn: if they are others, the stream goes back."""
        begin = len(self.writer.lines)
        write(*given)
        self.drawn_checks += [MISSED.sub("raise Unexpected", line) for line in self.writer.lines[begin:]]
        del self.writer.lines[begin:]

    def _decides(self, x, y):
        """Whether it matters that two places have one array, or number: to operations, which take it, or a part of it, as one operand, and to who writes
        into it. What NumPy makes of either is read where it is."""
        return any(isinstance(v, Variable) or not (self.taken | self.written).isdisjoint(_memory_of(v)) for v in (x, y))

    def _same_number(self, ref, value):
        """A number that is computed comes out as it did when the path was recorded."""
        name = self._computed(ref)
        self.settled.append(repr(value))
        self.make_lines.append(f"if type({name}) is not {self.writer.strong(type(value))} or repr({name}) != {repr(value)!r}: raise Unexpected")

    def _same_truth(self, ref, truth):
        """What is computed is true, or not, as it was when the path was recorded."""
        name, outcome = self._computed(ref), self.observer.pins.get(id(ref), truth)       # other paths go on with other ints
        if ref in [r for found in self.later.values() for _, r in found]:
            self.outcomes.setdefault(name, []).append((f"bool({name}) is not {truth}", outcome))
        else:
            self.settled.append(outcome)
            self.make_lines.append(f"if bool({name}) is not {truth}: raise Unexpected")

    def _is_bounded(self, ref, divides):
        """A number that meets others after it is too late to run Python is small, and not 0 if they are divided by it."""
        text = self._operand_text(ref)
        small = f"-{MOST} < {text} < {MOST}" if type(ref.value) is int else "True"
        self.make_lines.append(f"if not ({small} and ({text} or {not divides})): raise Unexpected")

    def _is_within(self, ref, low, high):
        """A number is one of an axis's elements, or of the numbers of a dtype."""
        self.make_lines.append(f"if not {low} <= {self._operand_text(ref)} < {high}: raise Unexpected")

    def _has_length(self, ref, size, count):
        """A slice of an axis has so many elements."""
        self.make_lines.append(f"if len(range(*{self._operand_text(ref)}.indices({size}))) != {count}: raise Unexpected")

    def _is_apart(self, ref):
        """An array is none of those that the call changes, nor a view of one."""
        text = self._operand_text(ref)
        self.make_lines.append(f"if shares({text}): raise Unexpected")

    def _updated(self):
        """ids of the arrays from outside that the path's operations change in place."""
        roots, produced = set(), {}
        for e in self.path:
            for old, new in e.rebinds:
                produced[new] = produced.get(old, old)
                roots.add(produced[new])
        arrays = [self._array(v) for v in roots if v in self.call.leaves]
        self.owners = {id(root_array(a)) for a in arrays}
        return set(map(id, arrays))

    def _is_not_changed(self, source, x):
        """A container in an argument is none of those that the call changes where it reaches them by another way."""
        if id(x) in self.changed:
            raise Doubt("changes a container that is an argument too")
        self._is_no_report(x, self.writer.read(source))
        if not self.changed:
            return
        another = f"id({self.writer.read(source)}) not in {self.writer.strong(self.changed)}"
        self.writer.require(another, f"argument {source[1]}: a container that the call changes")

    def _look_at_others(self):
        """A list or dict of which the call assigns members is in no other place among the arguments."""
        for source, _ in self.observer.originals.values():
            own = self.writer.read(source)
            whole = next(x for text, x in self.boxes if text == own)
            for text, x in self.boxes:
                if text != own and x is whole:
                    raise Doubt("assigns a member of a container that is in two arguments")
                if text != own:
                    self.writer.require(f"{text} is not {own}", "one container in two arguments")

    def _refuse_known(self):
        """Nor is it anything that the plan looks at otherwise."""
        w = self.writer
        known = {id(x): x for x in w.names.values() if type(x) in (list, dict) or isinstance(x, dict)}
        for source, _ in self.observer.originals.values():
            if any(text == w.read(source) and id(x) in known for text, x in self.boxes):
                raise Doubt("assigns a member of an argument that it reaches by another way")
            w.require(f"id({w.read(source)}) not in {w.strong(frozenset(known))}", "a container that the call reaches by another way")

    def _look_at_no_report(self):
        """Dicts that the call looks at are none that it reports to."""
        if not self.reports:
            return
        for fact in self.observer.guards.values():
            place = fact[1:] if fact[0] == "spec" else fact[1][1:] if fact[0] == "typed" and fact[1][0] == "load" else fact
            if place[0] in ("item", "members", "order") and isinstance(place[1], dict):
                self._is_no_report(place[1], self.writer.strong(place[1]))

    def _is_no_report(self, x, text):
        for stack, reporter in self.reports:
            if reporter.observation is x:
                raise Doubt("looks at the dict that it reports to")
            opened = f"{self.writer.strong(stack)}.reporters and {self.writer.reporter(stack)}.observation"
            self.writer.require(f"{opened} is not {text}", "looks at the dict that it reports to")

    def _argument(self, source, x, depth):
        w = self.writer
        if isinstance(x, (Variable, np.ndarray)):
            if isinstance(x, Variable) and x._array is None:
                raise Doubt("an argument has no array yet")
            w.array(source, x, f"argument {source[1]}", id(array_of(x)) not in self.observer.passed)
        elif (type(x) in (list, tuple, dict) or isinstance(x, tuple) and is_named_tuple(type(x))) and len(x) <= MOST_MEMBERS \
                and id(x) not in self.observer.grown_ids:
            if depth == DEEPEST:
                raise Doubt("arguments are nested too deeply")
            if type(x) in (list, dict):
                self.boxes.append((w.read(source), x))
                self._is_not_changed(source, x)
                x = self.observer.originals.get(id(x), (None, x))[1]
            w.require(f"type({w.read(source)}) is {w.strong(type(x))} and len({w.read(source)}) == {len(x)}", f"argument {source[1]}: its members")
            if type(x) is dict:
                for k in x:
                    check_key(constant(k))
                w.keys(w.read(source), list(x))
            for k, v in x.items() if type(x) is dict else enumerate(x):
                self._argument(("item", source, k), v, depth + 1)
        elif not is_loaded(source) and source in self.observer.records:
            record = self.observer.records[source].value
            w.require(f"type({w.read(source)}) is {w.strong(record.cls)}", f"argument {source[1]}: its class")
            if record.attrs.lacking:
                w.require(f"{w.strong(frozenset(record.attrs.lacking))}.isdisjoint({w.read(source)}.__dict__)", f"argument {source[1]}: what it lacks")
            for ref in record.attrs.values():
                self._argument(ref.source, ref.value, depth + 1)
        elif type(x) in (int, float) or isinstance(x, np.generic):
            w.require(f"type({w.read(source)}) is {w.strong(type(x))}", f"argument {source[1]}: its type")
