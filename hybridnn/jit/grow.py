"""Groups grow: nodes join the groups of their producers, in graph order, in stretches of the graph; groups that read the same value join last.

Each join saves writing and reading the values that pass between (decided by bytes: the largest first).
"""
from itertools import pairwise

from hybridnn.jit.groups import MAX_NODES, MAX_POINTERS, Group, absorb, compares_beside_update, distinct, is_over_all, merged, passed, writes_in_place
from hybridnn.jit.nest import is_column
from hybridnn.jit.parts import by_size, part_of
from hybridnn.jit.turns import stretches_of_turns

__all__ = ["grow", "join_siblings"]

MAX_GROUPS = 16384    # that begin in one stretch of the graph: each knows by a bit which others it depends on


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


def _opaque(index, node, state, start):
    deps = {state.producer[v] for v in node.inputs if v in state.producer}
    return Group(index, [], [], None, {}, {}, set(), start, -1, 0, deps)


def _place(state, group):
    """Note what a new group depends on."""
    state.groups[group.number] = group
    for i in group.deps:
        state.below[i].append(group.number)
        other = state.groups[i]
        if group.start == other.start:
            group.above |= other.above | other.bit


def _turns(state):
    """Node index -> the number of the turns of a loop that it lies in."""
    numbers, base, producer = {}, state.base, state.producer
    signatures = [numbers.setdefault((form.number, form.symbols), len(numbers)) for form in state.found]
    reads = [[producer[b] for b in (base[v][0] if v in base else v for v in node.inputs) if b in producer] for node in state.graph.nodes]
    fuses = [form.part is not None and node.outputs[0] not in base for form, node in zip(state.found, state.graph.nodes)]
    return stretches_of_turns(signatures, reads, fuses)


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
    if writes_in_place(state, g.home, part.node.outputs) and (g.reduced or compares_beside_update(state, [*g.parts, part])):
        return False
    if g.start != single.start or _of_other_turns(g, single) or not _reads_in_step(g, single) or _depends(state, single, g):
        return False
    _put_in(state, g, single)
    return True


def _of_other_turns(g, h):
    """Whether they belong to different turns of a loop."""
    return g.turns != h.turns and g.turns != -1 != h.turns


def _reads_in_step(g, single):
    """Whether what a node reads of the group's results has the axes that it has there, and some of it all axes."""
    found = passed(g, single)
    return found is not None and any(is_over_all(dims, g) for dims in found)


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
