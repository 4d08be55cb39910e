"""Groups of nodes that become one kernel: which may join, and how their axes become those of one space.

One iteration space serves a whole group: every instruction runs over the full space, over the axes that are not reduced, or once; all reductions of a
group go over the same axes.
"""
from dataclasses import dataclass, field

from hybridnn.jit.nest import is_column
from hybridnn.jit.parts import Part, is_quiet

__all__ = ["MAX_NODES", "MAX_POINTERS", "Group", "absorb", "compares_beside_update", "distinct", "group_of", "is_over_all", "merged", "passed",
           "writes_in_place"]

MAX_POINTERS, MAX_NODES = 48, 64


@dataclass(eq=False)
class Group:
    """Parts that share one space. ``home``: dims of values made here; ``reads``: base -> set of dims it is read with."""
    number: int
    parts: list
    sizes: list
    reduced: tuple | None
    home: dict
    reads: dict
    levels: set                                 # axes that parts run over
    start: int                                  # of the stretch of the graph that this group lies in
    turns: int                                  # number of the turns of a loop that it is of; -1 outside loops
    bit: int                                    # that only this group of the stretch has; none for a node that does not fuse
    deps: set = field(default_factory=set)      # indices of nodes whose results are read
    above: int = 0                              # bits of all groups of the same stretch that this one depends on

    @property
    def indices(self):
        return [p.index for p in self.parts] or [self.number]


def group_of(state, parts, sizes):
    """Parts, whose axes are those of one space, as a group beside those that were grown."""
    reads = {}
    for p in parts:
        for v, base, dims in p.operands:
            if not state.specs[v].weak:
                reads.setdefault(base, set()).add(dims)
    home = {v: dims for p in parts for v, dims in zip(p.node.outputs, p.outs)}
    deps = {state.producer[b] for b in reads if b in state.producer and b not in home}
    reduced = next((p.reduced for p in parts if p.reduced), None)
    return Group(min([p.index for p in parts]), parts, list(sizes), reduced, home, reads, {p.axes for p in parts}, -1, -1, 0, deps)


def _match(g, h):
    """Axes of ``h`` as axes of ``g``, from the values that pass between them and then from what both read; None if they
    contradict.
    """
    sigma = {}
    for a, b, flip in ((g, h, False), (h, g, True)):
        for v in a.home.keys() & b.reads.keys():
            for dims in b.reads[v]:
                if not _unify(sigma, *((dims, a.home[v]) if not flip else (a.home[v], dims)), strict=True):
                    return None
    for v in g.reads.keys() & h.reads.keys():
        if len(g.reads[v]) == len(h.reads[v]) == 1:
            (dims_g,), (dims_h,) = g.reads[v], h.reads[v]
            _unify(sigma, dims_h, dims_g, strict=False)
    if any(h.sizes[a] != g.sizes[b] for a, b in sigma.items()):
        return None
    return sigma


def _unify(sigma, dims_h, dims_g, strict):
    for a, b in zip(dims_h, dims_g, strict=True):
        if a == -1 and b == -1:
            continue
        if a == -1 or b == -1:
            if strict:
                return False
            continue
        if a in sigma or b in sigma.values():
            if sigma.get(a) != b and strict:
                return False
            continue
        sigma[a] = b
    return True


def _in_step(g, h):
    """Whether what passes between the groups has all axes, the same in both."""
    both = passed(g, h), passed(h, g)
    return None not in both and any(is_over_all(dims, g) for found in both for dims in found)


def passed(g, h):
    """The dims of what ``h`` reads of the results of ``g``; None if it reads one along other axes than it has there."""
    values = g.home.keys() & h.reads.keys()
    return [g.home[v] for v in values] if all(h.reads[v] == {g.home[v]} for v in values) else None


def is_over_all(dims, g):
    """Whether a value has all axes of a group's space."""
    return len(dims) - dims.count(-1) == len(g.sizes)


def _joined(g, h):
    """(sizes, g's axes renamed, h's axes renamed) of the common space, or None."""
    if g.sizes == h.sizes and _in_step(g, h):
        axes = list(range(len(g.sizes)))
        return list(g.sizes), axes, axes
    sigma = _match(g, h)
    if sigma is None:
        return None
    new_h = [a for a in range(len(h.sizes)) if a not in sigma]
    new_g = [b for b in range(len(g.sizes)) if b not in sigma.values()]
    if new_h and new_g:
        return None
    if not new_h:
        return list(g.sizes), list(range(len(g.sizes))), [sigma[a] for a in range(len(h.sizes))]
    back = {b: a for a, b in sigma.items()}
    return list(h.sizes), [back[b] for b in range(len(g.sizes))], list(range(len(h.sizes)))


def _rename(dims, names):
    return tuple([d if d == -1 else names[d] for d in dims])


def merged(state, g, h):
    """What it takes to put ``h`` into ``g``'s kernel: (sizes, renamings of both, levels, reduced axes), or None if one kernel
    cannot do it.
    """
    if len(g.parts) + len(h.parts) > MAX_NODES or len(g.reads) + len(h.reads) + len(g.home) + len(h.home) > 2 * MAX_POINTERS:
        state.full += 1
        return None
    joined = _joined(g, h)
    if joined is None:
        return None
    sizes, of_g, of_h = joined
    levels, reduced = _renamed_levels(g.levels, of_g) | _renamed_levels(h.levels, of_h), None
    if g.reduced or h.reduced:
        reduced = {level for x, names in ((g, of_g), (h, of_h)) if x.reduced for level in _renamed_levels({x.reduced}, names)}
        if len(reduced) > 1:
            return None
    over = reduced.pop() if reduced else None
    fits, over = _levels_fit(levels, len(sizes), over)
    if not fits or is_column(sizes, over) and not _column_fits(_parts_of(g, h, of_g, of_h),
                                                                            tuple(range(len(sizes)))):
        return None
    if over and _updates_early(state, g, h, sizes, over) or writes_in_place(state, g.home, h.home) and compares_beside_update(state, g.parts + h.parts):
        return None
    return sizes, of_g, of_h, levels, over


def writes_in_place(state, *values):
    """Whether any of these are what an array becomes that is changed in place."""
    return not all([state.written.isdisjoint(v) for v in values])


def compares_beside_update(state, parts):
    """Whether an update would be made beside what compares numbers, for which CPUs say of NaN that they are invalid as of what makes NaN: NumPy, which does
    not say so, can only be asked again before the update."""
    updates = [p for p in parts if writes_in_place(state, p.node.outputs)]
    return updates and any([p not in updates and not is_quiet(p) for p in parts])


def _updates_early(state, g, h, sizes, over):
    """Whether an update would be made beside a sum that others wait for (a penalty, a mean), so before them: what comes after an update cannot be undone."""
    if not writes_in_place(state, g.home, h.home):
        return False
    if not is_column(sizes, over):
        return True
    inside, nodes = {*g.indices, *h.indices}, state.graph.nodes
    late = [v for x in (g, h) for v, dims in x.home.items() if len(dims) - dims.count(-1) < len(sizes)]
    return any(i not in inside and state.written.isdisjoint(nodes[i].outputs) for v in late for i in state.readers.get(v, ()))


def _renamed_levels(levels, names):
    """The set of sets of axes, as ascending tuples, under other names."""
    if names == list(range(len(names))):
        return levels
    return {tuple(sorted([names[a] for a in level])) for level in levels}


def _parts_of(g, h, of_g, of_h):
    return sorted([_renamed_part(p, names) for x, names in ((g, of_g), (h, of_h)) for p in x.parts], key=lambda p: p.index)


def absorb(state, g, h, sizes, of_g, of_h, levels, over):
    """Put ``h`` into ``g``."""
    if of_g != list(range(len(of_g))) or len(sizes) != len(g.sizes):
        _rename_group(g, of_g)
    if of_h != list(range(len(of_h))):
        _rename_group(h, of_h)
    g.parts += h.parts
    g.home.update(h.home)
    for v, dims in h.reads.items():
        g.reads[v] = g.reads[v] | dims if v in g.reads else dims
    g.sizes, g.reduced, g.levels, g.turns = list(sizes), over, levels, max(g.turns, h.turns)
    for p in h.parts:
        state.groups[p.index] = g
    g.deps = {i for i in g.deps | h.deps if state.groups[i] is not g}


def _rename_group(g, names):
    g.parts = [_renamed_part(p, names) for p in g.parts]
    g.home = {v: _rename(d, names) for v, d in g.home.items()}
    g.reads = {v: {_rename(d, names) for d in all_dims} for v, all_dims in g.reads.items()}


def _renamed_part(p, names):
    if names == list(range(len(names))):
        return p
    return Part(p.index, p.node, [(v, b, _rename(d, names)) for v, b, d in p.operands], [_rename(d, names) for d in p.outs],
                tuple(sorted(names[a] for a in p.axes)), tuple(sorted(names[a] for a in p.reduced)), p.program)


def _levels_fit(levels, n, reduced):
    """Whether every part runs over all axes, over those not reduced, or once; and the reduced axes."""
    full = tuple(range(n))
    partial = levels - {full, ()}
    if reduced is None:
        if not partial:
            return True, None
        level = partial.pop()
        reduced = tuple([a for a in full if a not in level])
        return not partial and n - 1 in reduced and level == tuple(range(len(level))), reduced
    return not partial - {tuple([a for a in full if a not in reduced])}, reduced


def _column_fits(parts, full):
    """Column sums come last: nothing over the full space, and no other reduction, may need them; what is left runs after them."""
    after = set()
    for p in parts:
        late = any(b in after for _, b, _ in p.operands)
        if late and p.axes == full and len(full) or not late and p.axes != full and p.axes:
            return False
        if p.reduced or late:
            after.update(p.node.outputs)
    return any(p.reduced for p in parts)


def distinct(state):
    seen, result = set(), []
    for i in range(len(state.graph.nodes)):
        g = state.groups[i]
        if g.parts and id(g) not in seen:
            seen.add(id(g))
            result.append(g)
    return result
