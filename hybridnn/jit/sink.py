"""Sinking: operations move from the kernel that could make their results first into the only one that needs them.

A kernel of the forward pass has at hand what the backward pass needs of its operands (the density behind a Gaussian error, the slope of an activation), but
to make it there means to write it and to read it again much later. Where the other kernel reads most of the operands anyway, it makes the values itself.
"""
from collections import defaultdict

from hybridnn.graph import Node
from hybridnn.jit.groups import Group, absorb, distinct, group_of, merged
from hybridnn.jit.nest import is_column

__all__ = ["pays", "sink"]


def sink(state, order, needed):
    """Afterwards no elementwise operations of a kernel are needed by one other kernel alone that could make them with less traffic. ``order`` are the kernels
    and nodes in order, ``needed`` the values that must exist outside of the kernels that make them. Returns whether any moved."""
    readers = _readers(order, needed)
    kept = {*state.graph.outputs, *(v for _, v in state.graph.writes)}
    moved = False
    for group in reversed(distinct(state)):
        for target, parts in _movable(group, readers, kept):
            moves = _traffic(state, group, target, parts, readers, kept)
            if moves is None:
                continue
            saves = pays(state, *moves)
            state.compared.append((*moves, saves))
            if saves and _move(state, group, target, parts, readers):
                moved = True
    return moved


def pays(state, spared, more):
    """Whether values that are not written and read take more memory than those that are read in addition: all that sinking decides by sizes."""
    weights = state.weights
    return 2 * sum([weights[v] for v in spared]) < sum([weights[v] for v in more])      # weights are negative


def _readers(order, needed):
    """Value -> the kernels and nodes that read it and are needed themselves."""
    readers = defaultdict(set)
    for item in order:
        made, reads = (item.outputs, item.inputs) if isinstance(item, Node) else (item.home, item.reads)
        if any(v in needed for v in made):
            for v in reads:
                readers[v].add(item)
    return readers


def _movable(group, readers, kept):
    """Pairs (the other kernel, parts that nothing else needs)."""
    full, goal, found = tuple(range(len(group.sizes))), {}, defaultdict(list)
    inside = defaultdict(list)
    for p in group.parts:
        for _, base, _ in p.operands:
            inside[base].append(p.index)
    for p in sorted(group.parts, key=lambda p: -p.index):
        users = {r for v in p.node.outputs for r in readers[v] if r is not group} | {goal.get(i) for v in p.node.outputs for i in inside[v]}
        target = users.pop() if len(users) == 1 else None
        if isinstance(target, Group) and p.axes == full and not p.reduced and not kept.intersection(p.node.outputs):
            goal[p.index] = target
            found[target].append(p)
    return [(target, parts) for target, parts in found.items() if len(parts) < len(group.parts)]


def _traffic(state, group, target, parts, readers, kept):
    """The values that are not written and read, and those that are read in addition. None in kernels that go over rows more than once: they would
    compute more."""
    if target.reduced and not is_column(target.sizes, target.reduced):
        return None
    made = {v for p in parts for v in p.node.outputs}
    reads = {b for p in parts for v, b, _ in p.operands if not state.specs[v].weak} - made
    fresh = reads - target.reads.keys()
    if any(v in group.home and v not in kept and readers[v] <= {group} for v in fresh):
        return None         # nobody else has them written
    return tuple([v for v in made if target in readers[v]]), tuple(fresh)


def _move(state, group, target, parts, readers):
    """Whether the parts could be moved from ``group`` into ``target``."""
    left = group_of(state, [p for p in group.parts if p not in parts], group.sizes)
    moving = group_of(state, parts, group.sizes)
    plan = merged(state, target, moving) if left.levels == group.levels and bool(left.reduced) == bool(group.reduced) else None
    if plan is None:
        return False
    for v in moving.reads:
        readers[v].add(target)
        if v not in left.reads:
            readers[v].discard(group)
    group.parts, group.home, group.reads, group.deps = left.parts, left.home, left.reads, left.deps
    absorb(state, target, moving, *plan)
    return True
