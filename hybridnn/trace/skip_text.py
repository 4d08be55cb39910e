"""The text of a plan, put together: guards, draws, counters, stages, gradients, attributes, result."""
import functools
import re
import weakref

import numpy as np

from hybridnn.config import global_config, state
from hybridnn.core.parameter import Parameter
from hybridnn.core.tape import Leaf as TapeLeaf
from hybridnn.core.tape import make_leaf, scaled
from hybridnn.core.variable import Variable, replaying
from hybridnn.jit.dictwatch import watch
from hybridnn.jit.draws import are_many, faster, rand, standard_normal
from hybridnn.trace.batches import ask, examples, refuse_changed
from hybridnn.trace.drawing import sample_of_both
from hybridnn.trace.failures import Unexpected, missed, recompute
from hybridnn.trace.floats import warnings_raise
from hybridnn.trace.gone import GoneNode, GoneOutput, GoneTape
from hybridnn.trace.holdings import note_holdings
from hybridnn.trace.overlap import Written
from hybridnn.trace.path_tape import PathTape, leaf_variables, rebinds_along, values_behind
from hybridnn.trace.positions import put_stream_at, stream_at
from hybridnn.trace.skip_plan import CHANGED, GONE, RESTLESS, STORES, Miss
from hybridnn.trace.skip_runtime import copied, grad_of, gradient, keep_others, new, put_back, refuse, setting, take, take_back, unscale
from hybridnn.trace.tape import CallTape, TracedNode, UnchainedLeaf, output_of

__all__ = ["Text"]

MANY = 8        # lines of one form, from which on they are a loop
QUOTED_OR_NAME = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:[kwd]|miss)\d+\b)""")
QUOTES = ("'", '"')


def tabled(lines, names):
    """The lines, those of one form as a loop over a table of the objects they name: compiling a line for each of a model's parameters takes long. ``names``
    gets the tables. The order among the lines does not count."""
    forms, result = {}, []
    for line in lines:
        form, found = _form(line)
        forms.setdefault(form, []).append((line, found))
    for (between, quoted), alike in forms.items():
        variables = [f"a{k}" for k in range(len(alike[0][1]))]
        if len(alike) < MANY or not variables:
            result += [line for line, _ in alike]
            continue
        table, given = f"table{len(names)}", iter(variables)
        names[table] = tuple([tuple([names[name] for name in found]) for _, found in alike])
        line = between[0] + "".join([(q or next(given)) + text for q, text in zip(quoted, between[1:], strict=True)])
        result += [f"for {', '.join(variables)}, in {table}:", f"    {line}"]
    return result


@functools.lru_cache(8192)
def _form(line):
    """A line between the names, and what is quoted there; and the names. Plans for other sizes have the same lines."""
    parts = QUOTED_OR_NAME.split(line)      # every second one is quoted, or a name
    found = [p for p in parts[1::2] if not p.startswith(QUOTES)]
    return (tuple(parts[::2]), tuple([p if p.startswith(QUOTES) else "" for p in parts[1::2]])), found


class Text:
    """Puts the lines in order and compiles them."""

    def _assemble(self):
        """Put the parts in order: guards, draws, counters, stages, gradients, attributes, result."""
        plan, w = self.result, self.writer
        # what is not among the leaves, an earlier stage has made
        written = self.call.leaves.keys() & {self.known.oldest(r) for seg in plan.segments for r, _ in seg.writes}
        objects = [o for ref in w.watched_objects.values() if (o := ref()) is not None]
        watched = watch(w.watched.values(), objects, w.watched_classes.values())
        self._refuse_known()
        lines = self._guarding(watched)
        lines += [f"hyper{k} = {w.read(('load', *where))}" for k, where in enumerate(self._hypers())]
        lines += self._drawing()
        lines += ["reused = None"] if self.reused is not None else []
        lines += self.copies
        lines += ["undone = []"] if self.takes_back else []
        lines += ["if replaying: keep_others()"] if written or self._stored_arrays() else []
        lines += ["written, counted = False, ()", "try:", *["    " + line for line in self.body or ["pass"]]]
        lines += ["except Exception as error:", *self._refusing(written)]
        if self.uses_tape:
            lines += [f"tape = GoneTape({self._known_tape()})"] if self.released else [*self._numbers_kept(), self._call_tape()]
        lines += [*self.after, *self.makes, f"return {self.result_text}"]
        last = ", recheck=recheck" if watched else ""
        text = "\n".join([f"def replay(self, args, kwargs{last}):", *["    " + line for line in lines]]) + "\n"
        text += "\n" + self._touched(written)
        names = self._names(written)
        if watched is not None:
            names.update(unchanged=watched.unchanged, renew=watched.renew, confirm=watched.confirm, restless=watched.restless, RESTLESS=RESTLESS)
            lines = tabled(w.watched_lines, names)
            look = ["    token = renew()", *["    " + line for line in lines], "    confirm(token)", "    if restless: return RESTLESS"]
            text = "\n".join(["def recheck():", *look, "", text])
        plan.source, plan.leaves_graph = text, self.uses_tape and not self.released
        plan.code = self._code(text)
        exec(plan.code, names)
        names.pop("recheck", None)
        plan.run, plan.touched = names.pop("replay"), names.pop("touched")    # functions in their own globals would be a cycle, which only the collector ends
        note_holdings(plan, names)
        plan.watched, plan.decisions, plan.settled = watched, tuple(self.decisions), tuple(self.settled)
        return plan

    def _guarding(self, watched):
        """Lines that leave where a fact does not hold any more."""
        w = self.writer
        begin, rest = w.lines[:self.arguments_end], w.lines[self.arguments_end:]
        lines = [*self._found_lines(of_arguments=False), *begin, *self._found_lines(of_arguments=True), *rest, *self._watched_lines(watched)]
        return ["try:", *["    " + line for line in lines], "except Exception as error:", "    return missed(error, GONE)"] if lines else []

    def _refusing(self, written):
        """Lines for an operation that raises: what has been changed so far goes back, so that the program can raise it again."""
        draws = "".join(f"draw{k}, " for k in range(len(self.call.draws)))
        lines = [f"    return refuse(error, written, counted, ({draws}))"]
        if self._restores():
            lines = ["    refused = refuse(error, written, counted, ())", *self._put_back(), "    return refused"]
        if self.reused is not None:
            lines = [f"    if reused: put_back({self.reused}, reused)", *lines]
        if self.takes_back:
            lines = ["    if not written and not getattr(error, 'after_update', False): take_back(undone)", *lines]
        if self.copies:
            changed = {self.text[v]: self.apart[v] for v in written if v in self.apart}
            lines = ["    if getattr(error, 'after_update', False):", *[f"        {a}[...] = {text}" for text, a in changed.items()], *lines]
        return [*[f"    if not written: {line}" for line in self._hypers_back()], *lines]

    def _names(self, written):
        """What the text names: its own objects, and what runs it."""
        passed, w = self.observer.passed, self.writer
        moving = {id(a) for a, _ in self.moving.values()}
        memory = Written([a for a in [*map(self._array, written), *self._stored_arrays()] if id(a) not in passed and id(a) not in moving],
                         [a for a in self._stored_arrays() if id(a) in passed])
        misses = {f"miss{k}": Miss(r) for k, r in enumerate(w.reasons)} | {f"otherwise{k}": Miss(decision=k) for k in range(len(self.decisions))}
        return dict(w.names, **misses, new=new, Variable=Variable, TapeLeaf=TapeLeaf, refuse=refuse, ndarray=np.ndarray,
                    CallTape=CallTape, GoneNode=GoneNode, GoneOutput=GoneOutput, GoneTape=GoneTape,
                    TracedNode=TracedNode, UnchainedLeaf=UnchainedLeaf, output_of=output_of, ref=weakref.ref,
                    numpy_random=np.random, rand=rand, standard_normal=standard_normal, stream_at=stream_at, put_stream_at=put_stream_at, ask=ask,
                    examples=examples, state=state, G=global_config.__dict__, setting=setting,
                    take_back=take_back, copied=copied, leaf=make_leaf, gradient=gradient, grad_of=grad_of,
                    contiguous=np.ascontiguousarray, asarray=np.asarray,
                    CHANGED=CHANGED, GONE=GONE, recompute=recompute, missed=missed, Unexpected=Unexpected, scaled=scaled, unscale=unscale,
                    shares=memory.shares, roots=memory.roots, warnings_raise=warnings_raise, take=take, put_back=put_back, replaying=replaying,
                    keep_others=keep_others)

    def _call_tape(self):
        w, again = self.writer, None
        told = self._numbers_told() if self.gone else {}
        found = {v: v for v in self.tape | told.keys()} | self.kept_leaves
        kept = ", ".join(f"{v}: {self.apart.get(k) or self.text[k]}" for v, k in sorted(found.items()))
        dynamic = ", ".join(f"{v}: {text}" for v, text in self._graph_leaves().items())
        if self.again is not None:
            given = "".join(f"copy{v}, " if v in self.leaf_text else f"{self.text[v]}, " for v in self.again.inputs)
            again = f"({w.strong(self.again)}, ({given}))"
        return f"tape = CallTape({w.strong(PathTape.of(self.call))}, {{{kept}}}, {{{dynamic}}}, {w.strong(self.call.cut)}, {w.strong(self.gone)}, {again})"

    def _known_tape(self):
        """What all that is known of a graph which has been given up is made of, as arguments."""
        leaves, path, numbers = self._graph_leaves(), PathTape.of(self.call), self._numbers_told()
        known = path, self.call.cut, tuple(leaves), tuple([self.made[v] for v in self.connected]), tuple(numbers)
        return f"{self.writer.strong(known)}, ({''.join(text + ', ' for text in [*leaves.values(), *numbers.values()])})"

    def _numbers_told(self):
        """The numbers that labels of the results' graph tell."""
        path = PathTape.of(self.call)
        saved = path.saved_for(self.survivors, self.call.cut)
        return {v: self.text[v] for v in saved if v in self.numeric and v in self.text and v not in path.constants}

    def _graph_leaves(self):
        """The nodes of Variables from outside in the results' graph: where they are read."""
        behind = values_behind(self.made, self.survivors, self.call.cut)
        return self._leaf_nodes(lambda v, x: v in behind) | self._ranked_leaves(self.survivors)

    def _ranked_leaves(self, vids):
        """The nodes from which what ``unchain`` has cut off has its rank: that of a parameter is 0."""
        unchained = PathTape.of(self.call).unchained
        behind = values_behind(self.made, vids, self.call.cut - unchained) if unchained else ()
        return self._leaf_nodes(lambda v, x: v in behind and not isinstance(x, Parameter))

    def _leaf_nodes(self, counts):
        """Where the nodes of those Variables from outside are read that count."""
        gradients = self._priors().keys() | self.observer.held.keys()
        leaves = leaf_variables(self.call, rebinds_along(self.call.path)).items()
        return {v: self._leaf_node(v, x) for v, x in leaves if counts(v, x) and x._requires_grad and self.known.oldest(v) not in gradients}

    def _code(self, source):
        """The compiled text: what it was compiled to for another plan, such as one for other sizes, or now."""
        owner = self.call.owner
        known = next((p.code for p in owner.plans if p.source == source), None)
        return known or compile(source, f"<replay of {owner.name}>", "exec")

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
        """Whether numbers drawn are put back if Python has to run: what raises, fails or comes out otherwise may stand before the draws."""
        return bool(self.observer.draws) or self.call.draws and (self.looks or any(e.check is not None for e in self.path[:self.call.drawn_at]))

    def _leave_if(self, condition, outcome):
        """Lines that leave where a value, which had this outcome, came out otherwise. Counters may have gone up, and hyperparameters been set, for a stage that
        begins an update."""
        lines = ["    take_back(undone)"] if self.takes_back else []
        lines += [f"    {line}" for line in self._hypers_back()]
        if any(e[0] == "update" for e in self.observer.effects):
            lines.append("    for s in counted: s[0] -= 1")
        self.decisions.append((self.reached, outcome))
        return [f"if {condition}:", *(self._put_back() if self._restores() else []), *lines, f"    return otherwise{len(self.decisions) - 1}"]

    def _hypers(self):
        """The places of hyperparameters that the call sets."""
        return [e[1] for e in self.observer.effects if e[0] == "hyper"]

    def _hypers_back(self):
        """Lines that set them to what they were before."""
        return [self._assignment(where).format(f"hyper{k}") for k, where in enumerate(self._hypers())]

    def _streams(self):
        """The random streams that the program and the library draw from."""
        own = [stream for *_, stream in self.observer.draws if stream is not None]      # a clock has none
        return list({id(s): s for s in [*own, *([np.random] if self.call.draws else [])]}.values())

    def _put_back(self):
        return [f"    put_stream_at({self.writer.held(stream)}, drawing{k})" for k, stream in enumerate(self._streams())]

    def _drawing(self):
        """Lines that draw, in the program's order, and that make arrays before all else."""
        w, lines, own = self.writer, [], [d for d in self.observer.draws if not d[0].source.late]
        for k in range(self.drawn_first + 1):
            while own and own[0][1] == k:
                found = own[0][0].source
                if found.fn is ask:
                    refuse_changed(found.args[0].value, self.changed)
                    lines.append(f"{self._computed(own.pop(0)[0])} = ask({w.held(found.args[0].value)}, shares, {w.strong(self.changed)})")
                    continue
                texts = [self.appended.get(id(a)) or ([], self._operand_text(a)) for a in found.args]
                lines += [line for made, _ in texts for line in made]
                parts = [text for _, text in texts] + [f"{n}={self._operand_text(v)}" for n, v in found.kw.items()]
                ref = own.pop(0)[0]
                lines.append(f"{self._computed(ref)} = {w.strong(faster(found.fn, ref.value))}({', '.join(parts)})")
            if k < self.drawn_first:
                lines.append(self._library_draw(k))
        before, made = [], self.make_lines
        if self.may_warn:
            made = self._under_one_state(made, self.made_first)
        lines += [self._sampled(name, ref) for name, ref in self.observer.samples.items() if ref.source.drawn and name in w.drawn]
        made = made if self.drawn_checks is self.make_lines else [*self.drawn_checks, *made]
        if self._restores():
            before = [f"drawing{k} = stream_at({w.held(stream)})" for k, stream in enumerate(self._streams())]
        failed = self._put_back() if self.observer.draws else []
        if any(ref.source.fn is ask for ref, *_ in self.observer.draws):
            made, lines = [*lines, *made], []
        made = ["try:", *["    " + line for line in made], "except Exception as error:", *failed, "    return missed(error, CHANGED)"] if made else []
        return [*before, *lines, *made] if self.observer.draws else [*made, *before, *lines]

    def _make_appended(self):
        """What the call appends to a list, and may draw from it afterwards, is made before all else: it is one object, here and there."""
        for ref, *_ in self.observer.draws:
            if isinstance(ref.source.fn, functools.partial) and ref.source.fn.func is sample_of_both:
                added = ref.source.args[1]
                before, self.makes = self.makes, []
                text = f"[{', '.join(map(self._value, added.value))}]"
                self.appended[id(added)], self.makes = (self.makes, text), before

    def _sampled(self, name, ref):
        text = self._computed(ref)
        return f"{name} = {f'examples({text})' if ref.source.fn is ask else text}"

    def _library_draw(self, k):
        """The line of draw number ``k`` of the library."""
        name, args, value = self.call.draws[k]
        ours = are_many(value) and name in ("rand", "standard_normal")
        return f"draw{k} = {name if ours else f'numpy_random.{name}'}(*{self.writer.strong(args)})"

    def _found_lines(self, of_arguments):
        """Lines that read what the call finds where it assigns something else: in arguments, or elsewhere."""
        return [f"{name} = {text}" for text, name in self.was.items() if text.startswith(("args[", "kwargs[")) is of_arguments]

    def _touched(self, written):
        """The text of ``Plan.touched``."""
        w, effects = self.writer, self.observer.effects
        found = [v for v in sorted(written) if v not in self.made_leaves and v in self.leaf_text]      # the others, the call itself has made
        texts = [*[self.apart.get(v) or self.text[v] for v in found], *map(self._stored_text, self._stored_targets())]
        arrays = "".join(f"{text}, " for text in texts)
        places = [e[1] for e in effects if e[0] in (*STORES[:3], "rebind", "take", "trim")] + [("attr", e[1], e[2]) for e in effects if e[0] == "count"]
        attributes = "".join(f"({kind!r}, {self._owner(kind, owner)}, {w.strong(tuple(key))}), " for kind, owner, *key in places)
        counters = "".join(f"*{w.strong(e[1])}, " for e in effects if e[0] == "update")
        streams = ", ".join(map(w.held, self._streams()))
        begin = "".join([f"    {line}\n" for line in [*self._found_lines(of_arguments=False), *self._found_lines(of_arguments=True)]])
        return f"def touched(self, args, kwargs):\n{begin}    return [{', '.join(self.nodes)}], [{arrays}], [{attributes}], [{counters}], [{streams}]\n"

    def _owner(self, kind, owner):
        return self.writer.held(owner) if kind == "attr" else self._as_found(owner) if kind in ("put", "grow") else self.writer.strong(owner)

    def _stored_targets(self):
        """The arrays that NumPy writes, as Refs."""
        return {id(e[1].value): e[1] for e in self.observer.effects if e[0] == "store"}.values()

    def _stored_arrays(self):
        return [ref.value for ref in self._stored_targets()]

    def _watched_lines(self, watched):
        """Facts about dicts that seldom change are looked at only when one of the dicts has changed."""
        if watched is None:
            return self.writer.watched_lines
        return ["if not unchanged():", "    failed = recheck()", "    if failed is not None: return failed"]

    def _array(self, vid):
        """The array that a leaf had when it was taken first: its Variable may have another one since."""
        return self.call.actual(vid)

    def _leaf_node(self, vid, x):
        ref = self.observer.origins[id(x)]
        if ref.kind == "made":      # nobody else has the Variable: each call makes another over the same array
            return f"leaf(gradient({self.leaf_text[vid]}, True))"
        return self._node_of(ref)
