"""Skipping Python: a path whose run was proved to depend on guarded facts only, as one generated function.

The function checks the guards, reads arrays and numbers where they come from, runs the compiled stages, and does what the Python would have done beside
computing: gradients, counters, attributes, results. It returns ``MISS`` before anything has changed if a guard fails or a condition comes out otherwise.
"""
import itertools
import weakref

import numpy as np

from hybridnn.config import config, global_config, state
from hybridnn.core.fixed import is_fixed
from hybridnn.core.tape import Leaf as TapeLeaf
from hybridnn.core.tape import ReleasedNode, scaled
from hybridnn.core.variable import Variable
from hybridnn.errors import raised_by_signal
from hybridnn.jit.dictwatch import watch
from hybridnn.optimizer import UpdateRule
from hybridnn.trace.arrays import (
    Computed,
    Unexpected,
    is_number,
    memory_of,
    missed,
    put_stream_back,
    recompute,
    root_array,
    sources_of,
    stream_state,
)
from hybridnn.trace.events import Leaf as LeafOperand
from hybridnn.trace.events import Number
from hybridnn.trace.floats import warnings_raise
from hybridnn.trace.guards import Writer
from hybridnn.trace.refs import Doubt, Ref, Rows, is_named_tuple
from hybridnn.trace.segment import build
from hybridnn.trace.summaries import wrapped
from hybridnn.trace.tape import CallTape, TracedNode, graph_of, leaf_variables, producers, rebinds_along, saved_values, specs_along

__all__ = ["Miss", "Plan", "Refused", "make_plan"]



class Miss:
    """What a plan returns, instead of a result, for a guard that failed."""

    def __init__(self, reason):
        self.reason = reason


class Refused:
    """What a plan returns when an operation has raised before anything was written: Python is to run, and gets the numbers already drawn."""

    def __init__(self, draws):
        self.draws = draws


def refuse(error, written, counted, draws):
    """Take counters back; the program itself will raise the error where it belongs."""
    if written or getattr(error, "after_update", False) or raised_by_signal(error):
        raise error
    for steps in counted:
        steps[0] -= 1
    return Refused(draws)


MISS = Miss("a condition came out otherwise")
CHANGED = Miss("what is computed before all else came out otherwise, or with a warning or an error")
GONE = Miss("an object, or a member of one, that the plan was made for has gone")
_new = object.__new__


STORES = ("assign", "append", "hyper", "report")      # effects that keep a value, their last member
PLACES = ("attr", "cell", "global", "item", "classattr")      # facts about one value somewhere
DEEPEST = 20      # levels of containers in arguments
LEAST_AGAIN, MUCH_LESS = 1 << 16, 2       # bytes from which on values are rather computed again, and how many times what is copied for that
RULE_ATTRIBUTES = vars(UpdateRule())    # a rule with attributes of its own may compute its own numbers


def _gone(self, args, kwargs):
    """What a plan does whose objects have gone."""
    return GONE


class Plan:
    """A proved path. ``run(self, args, kwargs)`` returns the result or a ``Miss``; ``source`` is the generated text.

    ``touched(self, args, kwargs)`` gives what a run changes: nodes of gradients, arrays, (object, attribute) pairs, counters, random streams.
    """

    def __init__(self, end, reads):
        self.end, self.config_reads = end, reads
        self.dead = False
        self.misses = self.hits = 0
        self.few, self.times = False, None     # whether eager may be faster; seconds of (skipped, eager) calls while that is being found out
        self.last_miss = None
        self.source = ""
        self.run = self.touched = None
        self.segments = []

    def kill(self):
        """Forget everything (a root object has gone)."""
        self.dead, self.run, self.touched, self.watched = True, _gone, None, None
        self.segments.clear()


def _killer(plan):
    """A callback for weak references, which does not keep the plan."""
    ref = weakref.ref(plan)

    def kill(_):
        if (plan := ref()) is not None:
            plan.kill()
    return kill


def make_plan(observer, call, end, version, config_reads):
    """Write and compile the function of an observed run; raises ``Doubt`` if it cannot be."""
    plan = Plan(end, config_reads)
    return Builder(observer, call, plan, version).plan()


class Builder:
    """Writes the function of one plan."""

    def __init__(self, observer, call, plan, version):
        self.observer, self.call, self.result, self.version = observer, call, plan, version
        self.path = call.path
        busy = [e[1][1] for e in observer.effects if e[0] in STORES[:3]]
        self.writer = Writer(_killer(plan), busy, bool(observer.stored) or any(e.kind == "inplace" for e in call.path))
        self.body = []
        self.made = producers(self.path)
        self.graded = {v for e in self.path for app in e.apps if app.taped for i, v in enumerate(app.node.inputs) if app.mask >> i & 1}
        self.leaf_text = {}
        self.making, self.make_lines = {}, []
        self.later = {}         # number of events -> computations that rest on what they made
        self.makes, self.after, self.named, self.uses_tape = [], [], set(), False
        self.old_lines = []
        self.outcomes = {}      # name of a computed number -> a line that leaves if its truth is another one
        self.olds, self.containers, self.stored, self.gradients = {}, {}, set(), {}
        self.apart = set()      # leaves with gaps between their rows: segments get copies

    def plan(self):
        self._refuse()
        self._facts()
        self._leaves()
        kept = [e[-1] for e in self.observer.effects if e[0] in STORES]
        self._find_computed([self.observer.result, *kept, *self.observer.numbers.values(), *self._last_operands(), *self.observer.computed])
        self._updates()
        self._compile(self._stages())
        self._same_counts()
        self._effects()
        self._return()
        return self._assemble()

    def _refuse(self):
        kinds = [e.kind for e in self.path]
        self._refuse_after_stores()
        looks = [i for i, e in enumerate(self.path) if e.kind == "read" and e.key[1] is not None]
        if looks and any(k == "inplace" for k in kinds[:looks[-1]]):
            raise Doubt("looks at a value after an update")
        looks += [f for f in self.observer.guards.values() if f[0] == "outcome"]
        if looks and (self.call.draws or self.observer.draws):
            raise Doubt("looks at a value in a call that draws random numbers")
        for e in self.path:
            if e.kind == "function":
                raise Doubt(f"runs {e.key[0].__name__}, a function with its own Python", e.line)
            if e.kind == "grad" and e.key[3]:
                raise Doubt("hnn.grad with set_grad")

    def _refuse_after_stores(self):
        """What NumPy writes is written after all operations."""
        at = min([self.observer.stored_at, *[e[1].source.at for e in self.observer.effects if e[0] == "compute"]])
        made = {o.vid for e in self.path for o in e.outs if o is not None}
        for e in [e for e in self.path[at:] if e.kind != "end"]:
            if e.kind != "read" or e.key[0] != "expose" and (e.operands[0] not in made or e.operands[0] in self.call.view_of):
                raise Doubt("an operation after NumPy has computed with updated arrays, or written into one", e.line)
        if at <= len(self.path):
            self.writer.lines.append("if warnings_raise(): return CHANGED")

    # ---- guards

    def _facts(self):
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
        for i, x in enumerate(observer.args):
            self._argument(("arg", i), x, 0)
        for k, x in observer.kwargs.items():
            self._argument(("kwarg", k), x, 0)
        self.written = self._written()
        same = {(f[0], id(f[1]), *f[2:-1]) for f in observer.guards.values() if f[0] in PLACES and type(f[-1]) is int}
        for fact in observer.guards.values():
            if fact[0] == "typed" and fact[1][0] == "load" and (fact[1][1], id(fact[1][2]), *fact[1][3:]) in same:
                continue
            if fact[0] in ("number", "outcome"):
                (self._same_number if fact[0] == "number" else self._same_truth)(*fact[1:])
                continue
            w.check(fact[1:] if fact[0] == "spec" and id(fact[-1]) in self.written else fact)

    def _same_number(self, ref, value):
        """A number that is computed comes out as it did when the path was recorded."""
        name = self._computed(ref)
        self.make_lines.append(f"if type({name}) is not {self.writer.strong(type(value))} or repr({name}) != {repr(value)!r}: raise Unexpected")

    def _same_truth(self, ref, truth):
        """What is computed is true, or not, as it was when the path was recorded."""
        name = self._computed(ref)
        if ref in [r for found in self.later.values() for _, r in found]:
            self.outcomes[name] = [f"if bool({name}) is not {truth}: return MISS"]
        else:
            self.make_lines.append(f"if bool({name}) is not {truth}: raise Unexpected")

    def _written(self):
        """ids of the arrays from outside that the path changes in place: they stay the same objects."""
        roots, produced = set(), {}
        for e in self.path:
            for old, new in e.rebinds:
                produced[new] = produced.get(old, old)
                roots.add(produced[new])
        return {*self.observer.stored, *[id(self.call.leaves[v]) for v in roots if isinstance(self.call.leaves.get(v), np.ndarray)]}

    def _argument(self, source, x, depth):
        w = self.writer
        if isinstance(x, (Variable, np.ndarray)):
            if isinstance(x, Variable) and x._array is None:
                raise Doubt("an argument has no array yet")
            w.array(source, x, f"argument {source[1]}")
        elif (type(x) in (list, tuple, dict) or isinstance(x, tuple) and is_named_tuple(type(x))) and len(x) <= 64:
            if depth == DEEPEST:
                raise Doubt("arguments are nested too deeply")
            w.require(f"type({w.read(source)}) is {w.strong(type(x))} and len({w.read(source)}) == {len(x)}", f"argument {source[1]}: its members")
            if type(x) is dict:
                w.keys(w.read(source), list(x))
            for k, v in x.items() if type(x) is dict else enumerate(x):
                self._argument(("item", source, k), v, depth + 1)
        elif type(x) in (int, float) or isinstance(x, np.generic):
            w.require(f"type({w.read(source)}) is {w.strong(type(x))}", f"argument {source[1]}: its type")

    # ---- where arrays and numbers come from

    def _leaves(self):
        self.fixed = {id(x) for x in self.call.leaves.values() if isinstance(x, Variable) and x._tape is not None}
        memory = {}
        variables = []
        priors = self._priors()
        for ref in self._views():
            memory[memory_of(ref.value)] = ref
        for vid, x in self.call.leaves.items():
            a = x._array if isinstance(x, Variable) else x
            ref = self.observer.origins.get(id(self.call.scalars.get(vid, x)))
            if ref is None:
                ref = wrapped(self.observer, x) if isinstance(x, Variable) else memory.get(memory_of(x))
            drawn = next((k for k, d in enumerate(self.call.draws) if d[2] is x), None)
            if vid in priors:
                self.leaf_text[vid] = self._prior(self.observer.origins.get(id(priors[vid])), a)
            elif drawn is not None:
                self.leaf_text[vid] = f"draw{drawn}"
            elif ref is None and is_fixed(a):
                self.leaf_text[vid] = self.writer.strong(a)
            elif ref is None:
                raise Doubt(f"an array of shape {a.shape} whose origin is not known")
            else:
                self.leaf_text[vid] = self._leaf(ref, x, a, variables)
                if vid in self.call.scalars and ref.kind != "static":
                    self.leaf_text[vid] = f"asarray({self.leaf_text[vid]})"
                if not a.flags.c_contiguous:
                    self.apart.add(vid)
                    self.leaf_text[vid] = f"contiguous({self.leaf_text[vid]})"
        self._distinct(variables)

    def _priors(self):
        """vid of a gradient from before the call -> the Variable whose gradient it was."""
        found = {}
        for event in self.path:
            if event.kind == "backward":
                added = [vid for vid, _, accumulated in event.grads[0] if accumulated]
                for vid, operand in zip(added, event.operands[len(event.operands) - len(added):], strict=True):
                    if isinstance(operand, LeafOperand):
                        found[operand.vid] = self.call.leaves[vid]
        return found

    def _prior(self, ref, a):
        if ref is None or ref.kind == "made":
            raise Doubt("a gradient is added to one whose origin is not known")
        text = f"grad_of({self._node_of(ref)})"
        w = self.writer
        w.lines.append(f"x = {text}")
        w.require(f"type(x) is ndarray and x.shape == {a.shape!r} and x.dtype == {w.strong(a.dtype)} and x.flags.c_contiguous",
                  "a gradient from before the call")
        return text

    def _views(self):
        return self.observer.views

    def _leaf(self, ref, x, a, variables):
        w = self.writer
        if ref.kind == "array":
            return self._computed(ref)
        if ref.kind == "made":
            inner = ref.source[1]
            return self._computed(inner) if inner.kind == "array" else w.read(inner.source)
        if ref.kind == "static":
            name = w.strong(x)
            if isinstance(x, Variable):
                if self.observer.is_rebound(x):
                    return self._rebound(x, a)
                text = f"{name}._array is {w.strong(a)} and {name}._requires_grad is {x._requires_grad} and {name}._pending is None"
                w.require_in(x, x.__dict__, f"{text} and {name}._tape is {w.strong(x._tape)}", "a parameter's array was replaced")
                return w.strong(a)
            return name
        if ref.source[0] == "slot" or id(x) in self.written and ref.kind == "state":
            return w.strong(a)
        text = w.read(ref.source)
        if isinstance(x, Variable):
            if x._requires_grad:
                variables.append(text)
            return f"{text}._array"
        return text

    def _rebound(self, x, a):
        """The array of a parameter that gets another one on every call."""
        w, text = self.writer, self.writer.read(("inside", x))
        w.require(f"{w.strong(x)}._requires_grad is {x._requires_grad} and {w.strong(x)}._pending is None and {w.strong(x)}._tape is {w.strong(x._tape)}",
                  "a parameter's flags or gradient node changed")
        w.check(("inside", x, a))
        if any(self.call.leaves.get(old) is x for e in self.path for old, _ in e.rebinds):
            raise Doubt("an update changes a parameter that gets another array")
        return text

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

    def _distinct(self, variables):
        w = self.writer
        fixed = frozenset(id(x) for x in self.call.leaves.values() if isinstance(x, Variable))
        for a, b in itertools.combinations(variables, 2):
            w.require(f"{a} is not {b}", "one Variable was passed twice")
        own = {id(x) for v, x in self.call.leaves.items() if isinstance(x, Variable) and getattr(self.observer.origins.get(id(x)), "kind", "") == "static"}
        if variables and own:
            ids = w.strong(frozenset(own & fixed))
            w.require(" and ".join(f"id({v}) not in {ids}" for v in variables), "a parameter was passed as an argument")

    def _number(self, operand):
        vid = operand.vid
        ref = self.observer.numbers.get(vid)
        if ref is None:
            return self.writer.strong(self.call.values[vid])
        if ref.kind == "rule":
            return f"{self._rule_numbers(ref.value, ref.source[0])}[{ref.source[1]}]"
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

    def _rule_numbers(self, rule, param):
        """Rules of one kind, without hyperparameters of their own, at the same t, share their numbers."""
        shared = set(rule.hyperparam.__dict__) == {"_parent"} and set(rule.__dict__) == set(RULE_ATTRIBUTES)
        key = (type(rule), id(rule.hyperparam._parent), rule.t) if shared else id(rule)
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

    # ---- computing

    def _stages(self):
        """The path's events, split where a value is looked at."""
        stages, current = [], []
        for k, e in enumerate(self.path):
            if k in self.later:
                stages.append((current, None, k))
                current = []
            if e.kind == "read":
                stages.append((current, e, None))
                current = []
            elif e.kind != "end":
                current.append(e)
        stages.append((current, None, len(self.path)))
        return stages

    def _compile(self, stages):
        self.rules = {}
        self.wanted = self._wanted(stages)
        numbers = [o for e in self.path for o in e.operands if type(o) is Number]
        self.numeric = {o.vid: o.type for o in numbers}
        text = {o.vid: self._number(o) if o.value is None else self.writer.strong(o.value) for o in numbers}
        text.update(self.leaf_text)
        text.update({v: f"{self.writer.strong(c)}.copy()" for e in self.path for v, c in e.constants if v in self.wanted and isinstance(c, np.ndarray)})
        self.text = text
        for events, look, at in stages:
            if any(app for e in events for app in e.apps):
                self._stage(events)
            if look is not None:
                self._look(look)
            for name, ref in self.later.get(at, ()):
                self._compute_later(name, ref)

    def _compute_later(self, name, ref):
        before, self.makes = self.makes, []
        lines = self._computing(name, ref)
        self.body += [*self.makes, *lines, *self.outcomes.get(name, ())]
        self.makes = before

    def _wanted(self, stages):
        """Values that Python sees after the call."""
        wanted = set()
        for kind, *rest in self.observer.effects:
            if kind == "backward":
                wanted |= {self._newest(o.vid) for _, o, _ in rest[0].grads[0]} | {o.vid for _, o in rest[0].grads[1]}
            elif kind == "fill":
                wanted.add(self._newest(rest[1]))
            elif kind in STORES:
                wanted |= self._vids(rest[-1])
        wanted |= self._vids(self.observer.result)
        self.survivors = [v for v in self._vids(self.observer.result) | {v for k, *r in self.observer.effects if k in STORES for v in self._vids(r[-1])}]
        self.tape = self._tape_values()
        wanted |= {r.source[1] for ref in self._last_operands() for r in sources_of(ref) if r.kind == "fresh"}
        wanted |= {r.source[1] for found in self.later.values() for _, ref in found for r in sources_of(ref) if r.kind == "fresh"}
        seen = {self.call.origin(v) for v in wanted}
        self.again = self._computed_again(seen, stages)
        if self.again is not None:
            self.tape = {v for v in self.tape if v not in self.again.outputs}
        return seen | self.tape

    def _last_operands(self):
        """What NumPy computes with, or writes, after all operations."""
        return [r for e in self.observer.effects if e[0] in ("compute", "store", "rebind") for r in (e[3] if e[0] == "store" else e[-1:])]

    def _newest(self, vid):
        """The value of an array after all changes in place."""
        rebinds = [pair for e in self.path for pair in e.rebinds]
        for old, new in rebinds:
            if old == vid:
                if sum(o == old for o, _ in rebinds) > 1:
                    raise Doubt("changes two gradients of one value in place")
                vid = new
        return vid

    def _vids(self, ref):
        if ref.kind == "fresh":
            return {ref.source[1]} if ref.source else {ref.value._vid}
        if ref.kind == "mirror":
            return set().union(*[self._vids(r) for r in (ref.value.values() if isinstance(ref.value, dict) else ref.value)])
        return set()

    def _tape_values(self):
        if self.call.released:
            return set()
        graded = [v for v in self.survivors if v in self.made and self._taped(v)]
        return saved_values(self.made, graded, self.call.cut)

    def _computed_again(self, seen, stages):
        """The graph of values that only the tape needs, where copies of what it computes them from take less memory than they do. Backward has walked
        this graph already; whoever does so again waits for the values."""
        lost = {v for v in self.tape if v in self.made and v not in seen}
        if not self.call.used or sum(any(e.apps for e in events) for events, *_ in stages) != 1 or any(e.rebinds for e in self.path) or self.observer.stored \
                or lost & self.call.view_of.keys():
            return None
        graph = graph_of([app.node for e in self.path for app in e.apps], self.path, lost)
        return graph if _nbytes(graph, lost) >= max(LEAST_AGAIN, MUCH_LESS * _nbytes(graph, graph.inputs)) else None

    def _taped(self, vid):
        return vid not in self.call.cut and vid in self.made and self.made[vid][0].taped

    def _stage(self, events):
        produced = {v for e in events for app in e.apps for v in app.node.outputs}
        later = {v for e in self.path[self.path.index(events[-1]) + 1:] for app in e.apps for v in app.node.inputs}
        reads = {e.operands[0] for e in self.path if e.kind == "read"}
        copies = [] if self.again is None else [v for v in self.again.inputs if v in self.leaf_text]
        segment = build(events, (self.wanted | later | reads) & produced, self.version, self._same_numbers(), copies)
        self.result.segments.append(segment)
        if self.update_lines and any(e.kind == "inplace" for e in events):
            self.body += self.update_lines
            self.body += [f"{n} = {self.writer.strong(rule)}.numbers({self.writer.strong(p)})" for n, rule, p, _ in self.rules.values()]
            self.update_lines = []
        name = self.writer.strong(segment.compiled(self.call.owner))
        for vid, fn, args in segment.host:
            constants = dict(segment.graph.constants)
            parts = [self.writer.strong(constants[a]) if a in constants else self.text[a] for a in args]
            self.body.append(f"h{vid} = {self.writer.strong(fn)}({', '.join(parts)})")
            self.text[vid] = f"h{vid}"
        given = ", ".join(self.text[v] for v in segment.inputs)
        given = f"({given},)" if segment.inputs else "()"
        outs = [f"v{v}" if v in produced else f"copy{v}" for v in segment.outputs]
        self.body.append(f"{''.join(o + ', ' for o in outs)}= {name}({given})" if outs else f"{name}({given})")
        if segment.writes:
            self.body.append("written = True")
        self.text.update({v: f"v{v}" for v in segment.outputs if v in produced})
        for root, newest in segment.writes:
            self.text[newest] = self.text[root]

    def _same_numbers(self):
        """vid -> the first vid of a number that is read from the same place."""
        first, rename = {}, {}
        for vid, text in self.text.items():
            if vid in self.numeric:
                rename[vid] = first.setdefault((text, self.numeric[vid]), vid)
        return rename

    def _look(self, event):
        kind, outcome, args = event.key
        text = self.text[event.operands[0]]
        index = self.path.index(event)
        item = f"{{}}.item({', '.join(map(repr, args))})"
        reader = {"bool": "bool({})", "int": "int({})", "float": "float({})", "index": "{}.item().__index__()", "item": item}.get(kind)
        if reader is None:
            return
        self.body.append(f"hole{index} = {reader.format(text)}")
        if outcome is not None:
            self.body.append(f"if repr(hole{index}) != {outcome[1]!r}: return MISS")

    # ---- effects and results

    def _effects(self):
        grads = {}
        for kind, *rest in self.observer.effects:
            if kind == "clear":
                for ref in rest[0]:
                    grads[self._node_of(ref)] = "None"
            elif kind == "backward":
                self._backward(rest[0], grads)
            elif kind == "fill":
                self._fill(*rest, grads)
            elif kind == "count":
                self._emit(f"{self.writer.held(rest[0])}.{rest[1]} += 1")
            elif kind == "report":
                self._emit(f"{self.writer.held(rest[0])}.observation[{rest[1]!r}] = {self._value(rest[2])}")
            elif kind == "store":
                self._emit(self._store(*rest))
            elif kind == "rebind":
                self._emit(f"{self.writer.strong(rest[0][1])}.array = {self._operand_text(rest[1])}")
            elif kind == "compute":
                self._emit(self._last(rest[0]))
            elif kind == "assign":
                self._emit(self._assignment(rest[0]).format(self._value(rest[1])))
            elif kind == "append":
                self._emit(f"{self.writer.strong(rest[0][1])}.append({self._value(rest[1])})")
        self.nodes = list(grads)
        self.body += [f"n = {node}; n.grad = {g}" for node, g in grads.items()]
        if self.stored:
            self.body.append(f"if scaled[0]: unscale([{', '.join(sorted(self.stored))}])")

    def _emit(self, line):
        """A line after all operations, after what it names has been made."""
        self.after += [*self.makes, line]
        self.makes = []

    def _store(self, target, fn, args):
        """The line that writes into an array."""
        texts = ", ".join([self._operand_text(r) for r in args])
        return f"{self.writer.strong(fn)}({self.writer.strong(target.value)}, {texts})"

    def _last(self, ref):
        """The line of a computation that NumPy makes after all operations, with its own warnings."""
        found = ref.source
        parts = [self._operand_text(a) for a in found.args] + [f"{k}={self._operand_text(v)}" for k, v in found.kw.items()]
        name = self.making[id(ref)] = f"m{len(self.making)}"
        return f"{name} = {self.writer.strong(found.fn)}({', '.join(parts)})"

    def _assignment(self, where):
        """The text that assigns to a place, with ``{}`` for the value."""
        kind, owner, *key = where
        w = self.writer
        if kind == "attr":
            return f"setattr({w.held(owner)}, {key[0]!r}, {{}})"
        if kind == "cell":
            return f"{w.strong(owner)}.cell_contents = {{}}"
        return f"{w.strong(owner)}[{w.strong(key[0])}] = {{}}"

    def _node_of(self, ref):
        if ref.kind == "static" and id(ref.value) in self.fixed:
            return self.writer.strong(ref.value._tape)
        text = self.writer.strong(ref.value) if ref.kind == "static" else self.writer.read(ref.source)
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
            text = self.text[newest]
            grads[node] = f"{text}.copy()" if text in grads.values() else text     # one value for two leaves: each has its own array
        if event.key[0][0]:
            raise Doubt("backward(retain_grad=True)")
        if event.key[0][1] or event.key[0][2] is not None:
            raise Doubt("backward with enable_double_backprop or loss_scale")

    def _fill(self, ref, vid, grads):
        node = self._node_of(ref)
        if node not in grads:
            self.writer.require(f"{node}.grad is None", "a gradient from before the call")
        grads[node] = self.text[self._newest(vid)]

    def _updates(self):
        """Counters go up, and numbers are computed, just before the stage that updates."""
        w, self.update_lines = self.writer, []
        seen = set()
        for kind, *rest in self.observer.effects:
            if kind == "update":
                steps = {id(s) for s in rest[0]}
                if seen & steps:
                    raise Doubt("updates a parameter twice in one call")
                seen |= steps
                self.update_lines += [f"{self._assignment(e[1]).format(self._hyperparameter(e[2]))}" for e in self.observer.effects if e[0] == "hyper"]
                self.update_lines += [f"for s in {w.strong(rest[0])}: s[0] += 1", f"counted += {w.strong(rest[0])}"]

        if not self.update_lines:
            self.after += [self._assignment(e[1]).format(self._hyperparameter(e[2])) for e in self.observer.effects if e[0] == "hyper"]

    def _hyperparameter(self, ref):
        """The text of the float that a hyperparameter is set to."""
        text = self._operand_text(ref)
        if ref.kind == "arg" and ref.source[0] != "load":
            self.writer.check(("typed", ref.source, float))
        return text

    def _value(self, ref):
        """An expression for a value that Python sees."""
        if ref.kind == "fresh":
            return self._array_text(ref.source[1]) if ref.source else self._variable(ref.value)
        if ref.kind == "mirror":
            if type(ref.value) is Rows:
                raise Doubt("returns a view of a dict")
            if ref.source is not None:
                return self._before(ref.source)
            return self._container(ref)
        if ref.kind == "hole":
            return f"hole{self.path.index(ref.source[1])}"
        if ref.kind in ("array", "number"):
            return self._computed(ref)
        if ref.kind == "static":
            return self.writer.held(ref.value) if isinstance(ref.value, Variable) else self.writer.strong(ref.value)
        if ref.kind in ("arg", "state") and ref.source is not None:
            return self._before(ref.source)
        raise Doubt("returns a value that cannot be built again")

    def _container(self, ref):
        """A container made by the call: one object, however often it is met."""
        name = self.containers.get(id(ref))
        if name is None:
            if isinstance(ref.value, dict):
                text = "{" + ", ".join(f"{self.writer.strong(k)}: {self._value(v)}" for k, v in ref.value.items()) + "}"
            else:
                items = ", ".join(self._value(v) for v in ref.value)
                text = f"[{items}]" if isinstance(ref.value, list) else f"({items}{',' if len(ref.value) == 1 else ''})"
                if type(ref.value) not in (list, tuple):
                    text = f"{self.writer.strong(type(ref.value))}._make({text})"
            name = self.containers[id(ref)] = f"c{len(self.containers)}"
            self.makes.append(f"{name} = {text}")
        return name

    def _before(self, source):
        """A value from outside as it was before the call's own assignments."""
        text = self.writer.read(source)
        if source[0] in ("arg", "kwarg"):
            return text
        if text not in self.olds:
            self.olds[text] = f"old{len(self.olds)}"
            self.old_lines.append(f"{self.olds[text]} = {text}")
        return self.olds[text]

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
            if self.call.released and (vid in self.call.cut or not self.made[vid][0].taped):
                lines.append(f"{name}._tape = TapeLeaf({spec.shape!r}, {self.writer.strong(spec.dtype)})")
            elif self.call.released:
                lines.append(f"{name}._tape = ReleasedNode({spec.shape!r}, {self.writer.strong(spec.dtype)})")
            else:
                self.uses_tape = True
                lines.append(f"{name}._tape = {self._traced_node(vid)}")
        self.makes += lines
        return name

    def _traced_node(self, vid):
        """The node of a result; if it is the only one, nothing of the graph leads back to it, so that the tape need not know it."""
        app, position, _, spec = self.made[vid]
        if len(self.survivors) > 1 or vid in self.call.cut or not app.taped or app.node.op.multi:
            return f"tape.node({vid})"
        return f"TracedNode(tape, {self.writer.strong(app)}, {position}, {self.writer.strong(spec)})"

    def _holder(self, v):
        """The node whose gradient is this very Variable."""
        for x, node in self.gradients[v._vid]:
            if (x._tape or x.node._tape).grad is v:
                return node
        raise Doubt("returns the Variable of a gradient that is not kept")

    def _return(self):
        self.result_text = self._value(self.observer.result)

    def _assemble(self):
        """Put the parts in order: guards, draws, counters, stages, gradients, attributes, result."""
        plan, w = self.result, self.writer
        objects = [o for ref in w.watched_objects.values() if (o := ref()) is not None]
        watched = watch(w.watched.values(), objects, w.watched_classes.values())
        lines = [*w.lines, *self._watched_lines(watched)]
        if lines:
            lines = ["try:", *["    " + line for line in lines], "except Exception as error:", "    return missed(error, GONE)"]
        lines += self._drawing()
        draws = "".join(f"draw{k}, " for k in range(len(self.call.draws)))
        refused = [f"    return refuse(error, written, counted, ({draws}))"]
        if self._restores():
            refused = ["    refused = refuse(error, written, counted, ())", *self._put_back(), "    return refused"]
        hypers = [e[1] for e in self.observer.effects if e[0] == "hyper"]
        lines += [f"hyper{k} = {w.read(('load', *where))}" for k, where in enumerate(hypers)]
        refused = [*[f"    if not written: {self._assignment(where).format(f'hyper{k}')}" for k, where in enumerate(hypers)], *refused]
        lines += ["written, counted = False, ()", "try:", *["    " + line for line in self.body or ["pass"]], "except Exception as error:", *refused]
        if self.uses_tape:
            lines += self._numbers_kept()
            kept = ", ".join(f"{v}: {self.text[v]}" for v in sorted(self.tape))
            priors = self._priors()
            leaves = {v: x for v, x in leaf_variables(self.call, rebinds_along(self.call.path)).items() if x._requires_grad and v not in priors}
            dynamic = ", ".join(f"{v}: {self._leaf_variable(v, x)}" for v, x in leaves.items())
            made, specs = w.strong(self.made), w.strong(specs_along(self.path))
            again = None
            if self.again is not None:
                given = "".join(f"copy{v}, " if v in self.leaf_text else f"{self.text[v]}, " for v in self.again.inputs)
                again = f"({w.strong(self.again)}, ({given}))"
            lines.append(f"tape = CallTape({made}, {specs}, {{{kept}}}, {{{dynamic}}}, {w.strong(self.call.cut)}, False, {again})")
        lines += [*self.old_lines, *self.after, *self.makes, f"return {self.result_text}"]
        recheck = ["def recheck():", "    token = renew()", *["    " + line for line in w.watched_lines], "    confirm(token)", ""] if watched else []
        last = ", recheck=recheck" if watched else ""
        plan.source = "\n".join([*recheck, f"def replay(self, args, kwargs{last}):", *["    " + line for line in lines]]) + "\n"
        plan.source += "\n" + self._touched({r for seg in plan.segments for r, _ in seg.writes})
        written = {r for seg in plan.segments for r, _ in seg.writes}
        roots = frozenset([*[id(root_array(self._array(v))) for v in written], *[id(a) for a in self._stored_arrays()]])

        def shares(a):
            return id(root_array(a)) in roots
        names = dict(w.names, **{f"miss{k}": Miss(r) for k, r in enumerate(w.reasons)}, new=_new, Variable=Variable, TapeLeaf=TapeLeaf,
                     ReleasedNode=ReleasedNode, MISS=MISS, refuse=refuse, ndarray=np.ndarray, CallTape=CallTape, TracedNode=TracedNode,
                     numpy_random=np.random, stream_state=stream_state, put_stream_back=put_stream_back, state=state, G=global_config.__dict__, setting=setting,
                     leaf=_leaf, gradient=_gradient, grad_of=_grad_of, contiguous=np.ascontiguousarray, asarray=np.asarray,
                     CHANGED=CHANGED, GONE=GONE, recompute=recompute, missed=missed, Unexpected=Unexpected, scaled=scaled, unscale=_unscale,
                     shares=shares, roots=roots, warnings_raise=warnings_raise)
        if watched is not None:
            names.update(unchanged=watched.unchanged, renew=watched.renew, confirm=watched.confirm)
        exec(compile(plan.source, f"<replay of {self.call.owner.name}>", "exec"), names)
        names.pop("recheck", None)
        plan.run, plan.touched = names.pop("replay"), names.pop("touched")    # functions in their own globals would be a cycle, which only the collector ends
        plan.watched = watched
        return plan

    def _numbers_kept(self):
        """Lines that compute the numbers which the tape keeps and no stage has needed."""
        constants = {v: c for e in self.path for v, c in e.constants if not isinstance(c, np.ndarray)}
        self.text.update({v: self.writer.strong(c) for v, c in constants.items() if v not in self.text})
        host = [h for e in self.path for h in e.host]
        needed, lines = set(self.tape), []
        for vid, _, args in reversed(host):
            if vid in needed and vid not in self.text:
                needed.update(args)
        for vid, fn, args in host:
            if vid in needed and vid not in self.text:
                self.text[vid] = f"h{vid}"
                lines.append(f"h{vid} = {self.writer.strong(fn)}({', '.join(self.text[a] for a in args)})")
        return lines

    def _restores(self):
        """Whether numbers drawn are put back if Python has to run: what raises, or fails, may stand before the draws."""
        return bool(self.observer.draws) or self.call.draws and any(e.check is not None for e in self.path[:self.call.drawn_at])

    def _streams(self):
        """The random streams that the program and the library draw from."""
        own = [stream for *_, stream in self.observer.draws]
        return list({id(s): s for s in [*own, *([np.random] if self.call.draws else [])]}.values())

    def _put_back(self):
        return [f"    put_stream_back({self.writer.strong(stream)}, drawing{k})" for k, stream in enumerate(self._streams())]

    def _drawing(self):
        """Lines that draw, in the program's order, and that make arrays before all else."""
        w, lines, own = self.writer, [], list(self.observer.draws)
        for k in range(len(self.call.draws) + 1):
            while own and own[0][1] == k:
                found = own[0][0].source
                parts = [self._operand_text(a) for a in found.args] + [f"{n}={self._operand_text(v)}" for n, v in found.kw.items()]
                lines.append(f"{self._computed(own.pop(0)[0])} = {w.strong(found.fn)}({', '.join(parts)})")
            if k < len(self.call.draws):
                name, args, _ = self.call.draws[k]
                lines.append(f"draw{k} = numpy_random.{name}(*{w.strong(args)})")
        before, made = [], self.make_lines
        if self._restores():
            before = [f"drawing{k} = stream_state({w.strong(stream)})" for k, stream in enumerate(self._streams())]
        failed = self._put_back() if self.observer.draws else []
        made = ["try:", *["    " + line for line in made], "except Exception as error:", *failed, "    return missed(error, CHANGED)"] if made else []
        return [*before, *lines, *made] if self.observer.draws else [*made, *before, *lines]

    def _touched(self, written):
        """The text of ``Plan.touched``."""
        w, effects = self.writer, self.observer.effects
        arrays = "".join(f"{text}, " for text in [*[self.text[v] for v in sorted(written)], *map(w.strong, self._stored_arrays())])
        places = [e[1] for e in effects if e[0] in (*STORES[:3], "rebind")] + [("attr", e[1], e[2]) for e in effects if e[0] == "count"]
        attributes = "".join(f"({kind!r}, {w.held(owner) if kind == 'attr' else w.strong(owner)}, {w.strong(tuple(key))}), " for kind, owner, *key in places)
        counters = "".join(f"*{w.strong(e[1])}, " for e in effects if e[0] == "update")
        streams = ", ".join(map(w.strong, self._streams()))
        return f"def touched(self, args, kwargs):\n    return [{', '.join(self.nodes)}], [{arrays}], [{attributes}], [{counters}], [{streams}]\n"

    def _stored_arrays(self):
        """The arrays that NumPy writes."""
        return {id(e[1].value): e[1].value for e in self.observer.effects if e[0] == "store"}.values()

    def _watched_lines(self, watched):
        """Facts about dicts that seldom change are looked at only when one of the dicts has changed."""
        if watched is None:
            return self.writer.watched_lines
        return ["if not unchanged():", "    failed = recheck()", "    if failed is not None: return failed"]

    def _array(self, vid):
        x = self.call.leaves[vid]
        return x._array if isinstance(x, Variable) else x

    def _leaf_variable(self, vid, x):
        ref = self.observer.origins[id(x)]
        if ref.kind == "made":      # nobody else has it: each call makes another over the same array
            return f"gradient({self.leaf_text[vid]}, True)"
        return self.writer.strong(x) if ref.kind == "static" else self.writer.read(ref.source)


def setting(key):
    """The effective value of a configuration key, without noting that it was read; NotImplemented if there is none (a block set it where it was read)."""
    values = config.overrides()
    return values[key] if key in values else global_config.__dict__.get(key, NotImplemented)


def _nbytes(graph, values):
    return sum(graph.specs[v].nbytes for v in values)


def _unscale(nodes):
    """The gradients just stored are not scaled, whatever those before them were."""
    for n in nodes:
        n.loss_scale = None


def _gradient(a, requires_grad):
    """The Variable of a gradient."""
    v = _new(Variable)
    v._array = a
    if not requires_grad:
        v._requires_grad = False
    return v


def _leaf(x):
    x._tape = TapeLeaf(x.shape, x.dtype)
    return x._tape


def _grad_of(node):
    """A node's gradient as an array, or None."""
    g = node.grad
    return g._array if isinstance(g, Variable) else g


