"""Where the values of steps lie: in output arrays, in targets of in-place writes, or in the arena, whose plan is made here."""
from collections import defaultdict

from hybridnn.jit.hosts import chains_of, put_in_outputs
from hybridnn.jit.lower_steps import LowStep
from hybridnn.jit.memory import Buffer, lower_bound, plan_memory
from hybridnn.jit.places import ARENA, INPUT, OUTPUT, SLOT, Root, whole

__all__ = ["assign_outputs", "assign_writes", "last_that_can_fail", "late_outputs", "plan"]

FALLIBLE = ("python", "gather", "scatter", "check", "lapack")


def assign_outputs(low):
    """Values are made in the output arrays where that is possible, else copied there at the end. Returns per output a SLOT root or None."""
    results = []
    for k, v in enumerate(low.graph.outputs):
        place, spec = low.values[v], low.specs[v]
        root = place.root
        if root.kind == ARENA and place.covers:
            root.kind, root.index = OUTPUT, k
            results.append(None)
        elif root.kind == SLOT and place.covers and not any(r is root for r in results):
            results.append(root)
        else:
            target = whole(Root(OUTPUT, k, spec.nbytes), spec.shape, spec.dtype)
            low.must_copy(place, target)
            results.append(None)
    return results


def assign_writes(low):
    """Values of in-place writes are made in the arrays that they go to where that is possible, else copied there at the end."""
    late, uses = [], _Uses(low.steps)
    for target, v in low.graph.writes:
        place, root = low.values[v], low.inputs[target]
        if not _write_directly(low, place, root, uses):
            late.append((place, whole(root, low.specs[target].shape, low.specs[target].dtype)))
    targets = {id(low.inputs[t]) for t, _ in low.graph.writes}
    for k, (place, target) in enumerate(late):
        if id(place.root) in targets or place.dtype != target.dtype:
            copy = low.fresh(place.shape, target.dtype)
            if place.dtype == target.dtype:
                low.must_copy(place, copy)
            else:
                low.steps.append(LowStep("python", "cast", [place], [copy], reason="a cast at an in-place write"))
            late[k] = copy, target
    for place, target in late:
        low.must_copy(place, target)


def late_outputs(low, ready):
    """Numbers of outputs whose arrays stay as they are up to step ``ready``, when nothing can fail any more; lifetimes are known."""
    first = {}
    for root in {id(w.root): w.root for step in low.steps for w in (*step.writes, *step.scratch) if w.root.kind == OUTPUT}.values():
        first[root.index] = min(first.get(root.index, root.first), root.first)
    return frozenset([k for k, step in first.items() if step >= ready])


def last_that_can_fail(steps):
    """The number of the last step that can fail, or -1. Numbers of rows that a gather has found good are good for a scatter too."""
    last, good = -1, set()
    for i, step in enumerate(steps):
        if step.kind == "scatter" and (step.reads[1], step.writes[0].shape[0]) in good and len(step.reads) == 3:
            continue
        if step.kind == "gather" and step.name == "take" and len(step.reads) == 2:
            good.add((step.reads[1], step.reads[0].shape[0]))
        if step.kind in FALLIBLE:
            last = i
    return last


class _Uses:
    """Which steps read and write a root, as numbers in order; for reads with the number of the operand."""

    def __init__(self, steps):
        self.reads, self.writes = defaultdict(list), defaultdict(list)
        for i, step in enumerate(steps):
            for r, place in enumerate(step.reads):
                self.reads[place.root].append((i, r))
            for place in step.writes:
                self.writes[place.root].append(i)
        self.last_that_can_fail = last_that_can_fail(steps)


def _write_directly(low, place, target, uses):
    """Make the value in the target itself, if nobody reads the old value later and no step that can fail comes after."""
    root = place.root
    if root.kind != ARENA or not place.covers or root.nbytes != target.nbytes:
        return False
    made = uses.writes[root][0]
    step = low.steps[made]
    if uses.last_that_can_fail > made or any(i >= made for i in uses.writes[target]):
        return False
    if not all(i < made or i == made and step.reads[r].covers and _may_replace(step, root, r) for i, r in uses.reads[target]):
        return False
    root.kind, root.index = INPUT, target.index
    return True


def _may_replace(step, root, read):
    """Whether the step may write ``root`` over its operand number ``read``: no other access of that operand but in step with it."""
    write = next(k for k, w in enumerate(step.writes) if w.root is root)
    same = [k for k, r in enumerate(step.reads) if r.root is step.reads[read].root]
    return len(same) == 1 and (write, read) in step.inplace


def _lifetimes(low):
    for i, s in enumerate(low.steps):
        for p in (*s.writes, *s.scratch):
            root = p.root
            if root.first < 0:
                root.first = i
            root.last = i
        for p in s.reads:
            p.root.last = i
    for i, s in enumerate(low.steps):
        for write, read in s.inplace:
            if s.reads[read].root.last == i == s.writes[write].root.first:
                _take_over(write, s.reads[read], i, s, read)


def _take_over(write, read, i, step, position):
    """Let the root written at step i use the memory of an operand that dies there."""
    root, old = step.writes[write].root, read.root
    free = root.kind == old.kind == ARENA and root.inside is None and old.last == root.first == i and old.first < i
    if free and read.covers and step.writes[write].covers and old.nbytes == root.nbytes and _may_replace(step, root, position):
        if not any(w.root.inside is old for w in step.writes):
            root.inside = old


def plan(low, ready):
    """Lifetimes of roots, and from them offsets in the arena; gives the plan, and the least that arena and outputs could be together. ``ready``: the step from
    which on nothing can fail any more."""
    _lifetimes(low)
    chains = chains_of([r for r in low.roots if r.kind == ARENA and r.first >= 0])
    outputs = {id(p.root): p.root for step in low.steps for p in step.writes if p.root.kind in (OUTPUT, SLOT)}.values()
    bound = lower_bound([*[Buffer(c.size, c.first, c.last) for c in chains], *[Buffer(r.nbytes, r.first, len(low.steps)) for r in outputs]])
    chains = put_in_outputs(low.steps, chains, ready)
    found = plan_memory([Buffer(c.size, c.first, c.last) for c in chains])
    for chain, offset in zip(chains, found.offsets):
        chain.place(offset)
    return found, bound
