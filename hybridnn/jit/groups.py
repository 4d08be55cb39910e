"""Groups of nodes that become one kernel: which may join, and how their axes become those of one space.

Nodes join the groups of their producers, in graph order, as long as one iteration space serves all: every instruction runs over
the full space, over the axes that are not reduced, or once; all reductions of a group go over the same axes. Each join saves
writing and reading the values that pass between (decided by bytes: the largest first).
"""
from dataclasses import dataclass, field
from itertools import pairwise

from hybridnn.jit.nest import is_column
from hybridnn.jit.parts import Part, by_size, is_quiet, part_of
from hybridnn.jit.turns import stretches_of_turns

__all__ = ["Group", "absorb", "distinct", "group_of", "grow", "join_siblings", "merged"]

MAX_POINTERS, MAX_NODES = 48, 64
MAX_GROUPS = 16384    # that begin in one stretch of the graph: each knows by a bit which others it depends on


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
    passed = _passed(g, h), _passed(h, g)
    return None not in passed and any(_is_over_all(dims, g) for found in passed for dims in found)


def _passed(g, h):
    """The dims of what ``h`` reads of the results of ``g``; None if it reads one along other axes than it has there."""
    values = g.home.keys() & h.reads.keys()
    return [g.home[v] for v in values] if all(h.reads[v] == {g.home[v]} for v in values) else None


def _is_over_all(dims, g):
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
    if over and _updates_early(state, g, h, sizes, over) or _writes(state, g.home, h.home) and _compares_beside_update(state, g.parts + h.parts):
        return None
    return sizes, of_g, of_h, levels, over


def _writes(state, *values):
    """Whether any of these are what an array becomes that is changed in place."""
    return not all([state.written.isdisjoint(v) for v in values])


def _compares_beside_update(state, parts):
    """Whether an update would be made beside what compares numbers, for which CPUs say of NaN that they are invalid as of what makes NaN: NumPy, which does
    not say so, can only be asked again before the update."""
    updates = [p for p in parts if _writes(state, p.node.outputs)]
    return updates and any([p not in updates and not is_quiet(p) for p in parts])


def _updates_early(state, g, h, sizes, over):
    """Whether an update would be made beside a sum that others wait for (a penalty, a mean), so before them: what comes after an update cannot be undone."""
    if not _writes(state, g.home, h.home):
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


def _place(state, group):
    """Note what a new group depends on."""
    state.groups[group.number] = group
    for i in group.deps:
        state.below[i].append(group.number)
        other = state.groups[i]
        if group.start == other.start:
            group.above |= other.above | other.bit


def _settle(state, g, h, indices):
    """All that depended on ``g``, or on ``h``, which nodes ``indices`` were, depends on what is above either now."""
    _raise(state, g, (g.above | h.above) & ~(g.bit | h.bit), indices)


def _raise(state, g, above, indices):
    """``g`` depends on the groups ``above`` now, and so does all that depends on it or on nodes ``indices``."""
    stack = [k for i in (indices if above == g.above else g.indices) for k in state.below[i]]
    g.above, more = above, above | g.bit
    while stack:
        group = state.groups[stack.pop()]
        if group is not g and group.start == g.start and group.above | more != group.above:
            group.above |= more
            stack += [k for i in group.indices for k in state.below[i]]


def _depends(state, start, goal):
    """Whether group ``start`` depends on group ``goal`` through other groups."""
    if not start.above & goal.bit:
        return False
    others = [state.groups[i] for i in start.deps]
    return any(x is not start and x is not goal and x.above & goal.bit for x in others if x.start == goal.start)


def _try_join(state, g, h):
    if g is h or not g.parts or not h.parts or g.start != h.start or _of_other_turns(g, h) or _depends(state, h, g) or _depends(state, g, h):
        return None
    plan = merged(state, g, h)
    if plan is None:
        return None
    indices = h.indices
    absorb(state, g, h, *plan)
    _settle(state, g, h, indices)
    return g


def _of_other_turns(g, h):
    """Whether they belong to different turns of a loop."""
    return g.turns != h.turns and g.turns != -1 != h.turns


def _opaque(index, node, state, start):
    deps = {state.producer[v] for v in node.inputs if v in state.producer}
    return Group(index, [], [], None, {}, {}, set(), start, -1, 0, deps)


def grow(state):
    """Nodes join the groups of their producers, in stretches of the graph whose ends cut few kernels, so that those of a loop are cut alike or not at all.

    Where groups have been full, those of a loop end with its turns.
    """
    n = len(state.graph.nodes)
    state.turns = [-1] * n
    _grow_all(state, n)
    if state.full and max(turns := _turns(state), default=-1) > 0:
        _forget(state, 0, n)
        state.turns = turns
        _grow_all(state, n)


def _grow_all(state, n):
    start = 0
    while start < n:
        end = _grow_stretch(state, start, n)
        seam = n if end == n else _seam(state, start, end)
        if seam < end:
            _forget(state, start, end)
            _grow_stretch(state, start, seam)
        start = seam


def _turns(state):
    """Node index -> the number of the turns of a loop that it lies in."""
    numbers, base, producer = {}, state.base, state.producer
    signatures = [numbers.setdefault((form.number, form.symbols), len(numbers)) for form in state.found]
    reads = [[producer[b] for b in (base[v][0] if v in base else v for v in node.inputs) if b in producer] for node in state.graph.nodes]
    fuses = [form.part is not None and node.outputs[0] not in base for form, node in zip(state.found, state.graph.nodes)]
    return stretches_of_turns(signatures, reads, fuses)


def _grow_stretch(state, start, end):
    """Grow groups from node ``start`` to ``end``, or until there are as many as a stretch may have; gives where that is."""
    state.begun = 0
    for index in range(start, end):
        node, form = state.graph.nodes[index], state.found[index]
        if form.part is None or node.outputs[0] in state.base:
            _place(state, _opaque(index, node, state, start))
        else:
            _join_producers(state, _Single(state, part_of(state, index), form.sizes, start))
        if state.begun == MAX_GROUPS:
            return index + 1
    return end


def _seam(state, start, end):
    """Where, well before the end of a stretch, the fewest groups reach from one side to the other; the last such node."""
    change, least, seam, reach = [0] * (end - start), None, end, 0
    for group in {id(g): g for g in map(state.groups.__getitem__, range(start, end)) if len(g.parts) > 1}.values():
        indices = group.indices
        change[min(indices) + 1 - start] += 1
        if max(indices) + 1 < end:
            change[max(indices) + 1 - start] -= 1
    for index in range(start, end - (end - start) // 16):
        reach += change[index - start]
        if index >= end - (end - start) // 4 and (least is None or reach <= least):
            least, seam = reach, index
    return seam


def _forget(state, start, end):
    """Nodes of a stretch are in no groups again."""
    for index in range(start, end):
        del state.groups[index]
        state.below[index] = []


class _Single:
    """A node that is in no group yet: what it reads, as ``Group`` has it, and what it depends on."""
    __slots__ = ("above", "deps", "part", "reads", "sizes", "start", "turns")

    def __init__(self, state, part, sizes, start):
        reads, specs, groups = {}, state.specs, state.groups
        for v, base, dims in part.operands:
            if not specs[v].weak:
                reads.setdefault(base, set()).add(dims)
        self.part, self.sizes, self.reads, self.start = part, list(sizes), reads, start
        self.deps = {state.producer[b] for b in reads if b in state.producer}
        self.turns = state.turns[part.index]
        self.above = 0
        for i in self.deps:
            other = groups[i]
            if other.start == start:
                self.above |= other.above | other.bit


def _join_producers(state, single):
    """Put a node into the groups of its producers, which become one, as far as they fit; into a group of its own if none does."""
    group = None
    for b in by_size(state, [b for _, b, _ in single.part.operands]):
        other = state.groups[state.producer[b]]
        if not other.parts:
            continue
        if group is None and _append(state, other, single):
            group = other
            continue
        group = group or _alone(state, single)
        group = _try_join(state, other, group) or group
    if group is None:
        _alone(state, single)


def _alone(state, single):
    part = single.part
    home = dict(zip(part.node.outputs, part.outs))
    group = Group(part.index, [part], single.sizes, part.reduced or None, home, single.reads, {part.axes}, single.start, single.turns, 1 << state.begun,
                  single.deps)
    state.begun += 1
    _place(state, group)
    return group


def _append(state, g, single):
    """Whether a node was put into the group right away: it has the same axes, reads what is made there in step, and goes over the axes as the group does.
    ``_try_join`` would do the same with a group of its own; most nodes need none."""
    part = single.part
    if g.sizes != single.sizes or part.axes not in g.levels or part.reduced and part.reduced != g.reduced or is_column(g.sizes, g.reduced):
        return False
    if len(g.parts) >= MAX_NODES or len(g.reads) + len(single.reads) + len(g.home) + len(part.outs) > 2 * MAX_POINTERS:
        state.full += 1
        return False
    if _writes(state, g.home, part.node.outputs) and (g.reduced or _compares_beside_update(state, [*g.parts, part])):
        return False
    if g.start != single.start or _of_other_turns(g, single) or not _reads_in_step(g, single) or _depends(state, single, g):
        return False
    _put_in(state, g, single)
    return True


def _reads_in_step(g, single):
    """Whether what a node reads of the group's results has the axes that it has there, and some of it all axes."""
    passed = _passed(g, single)
    return passed is not None and any(_is_over_all(dims, g) for dims in passed)


def _put_in(state, g, single):
    part = single.part
    g.parts.append(part)
    g.home.update(zip(part.node.outputs, part.outs))
    for base, dims in single.reads.items():
        g.reads[base] = g.reads[base] | dims if base in g.reads else dims
    state.groups[part.index] = g
    g.turns = max(g.turns, single.turns)
    for i in single.deps:
        state.below[i].append(part.index)
        if state.groups[i] is not g:
            g.deps.add(i)
    _raise(state, g, (g.above | single.above) & ~g.bit, ())


def join_siblings(state):
    """Groups that read the same value, in graph order."""
    readers = {}
    for group in distinct(state):
        for v in group.reads:
            readers.setdefault(v, []).append(group.parts[0].index)
    for v, indices in sorted(readers.items()):
        if state.specs[v].size < 2:
            continue
        for a, b in pairwise(indices):
            g, h = state.groups[a], state.groups[b]
            if g is not h and len(g.sizes) == len(h.sizes):
                _try_join(state, g, h)


def distinct(state):
    seen, result = set(), []
    for i in range(len(state.graph.nodes)):
        g = state.groups[i]
        if g.parts and id(g) not in seen:
            seen.add(id(g))
            result.append(g)
    return result
