"""Where in one arena each intermediate buffer lies, so that the arena is as small as the most that is alive at any step.

A buffer is alive from the step that writes it to the last that reads it. Placing them is packing rectangles (time by bytes) into
a strip of the least height, which is NP-hard; the heuristics here are list placements (take the buffers in some order, put each
at the lowest offset where it overlaps no placed buffer that lives at the same time), as in Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference" (2020), and a bounded search over orders. The lower bound is the most bytes alive at any
step.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.jit.known import Known

ALIGNMENT = 64
GOOD_ENOUGH = 1.002  # times the lower bound: then no more heuristics are tried
SEARCH_BUDGET = 600  # buffers placed during the search (about 10 us each)
MOST_STACKED = 2000  # buffers of a placement that is remembered
FEW = 1000  # buffers among which a loop finds a gap sooner than NumPy does
SLACK = 1.005  # how much farther from the bound than the best for the same lives a plan may be that is taken over from another batch


@dataclass(frozen=True)
class Buffer:
    """``size`` bytes, alive from step ``first`` to step ``last``, both included.

    ``inside`` is the index of another buffer whose memory this one takes over (an in-place step): that one's last step must be
    this one's first, and it must be at least as large.
    """

    size: int
    first: int
    last: int
    inside: int | None = None


@dataclass(frozen=True)
class MemoryPlan:
    """Byte offsets, one per buffer; ``size`` of the arena; ``lower_bound``: no arena can be smaller; the heuristic that won; what ``recall`` takes."""

    offsets: tuple[int, ...]
    size: int
    lower_bound: int
    heuristic: str = ""
    placed: tuple[Any, ...] = ()


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """The best of several placements; the same input gives the same plan.

    Buffers that lived at the same times before, in other sizes (those of another batch), first get the same places above each other; that plan is taken if
    it is about as close to the bound as the best before.

    Raises ``ValueError`` for a negative size, a buffer that ends before it starts, or an ``inside`` that does not fit.
    """
    _validate(buffers)
    owner, spans = _merge(buffers)
    bound = lower_bound(spans)
    name, starts, size = _as_before(spans, bound) or _best(spans, bound)
    placed = _remember(spans, name, starts, size, bound)
    offsets = tuple(starts[o] for o in owner)
    assert size >= bound
    return MemoryPlan(offsets, size, bound, name, placed)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The most bytes alive at any step."""
    change: dict[int, int] = {}
    for b in buffers:
        change[b.first] = change.get(b.first, 0) + b.size
        change[b.last + 1] = change.get(b.last + 1, 0) - b.size
    alive = peak = 0
    for step in sorted(change):
        alive += change[step]
        peak = max(peak, alive)
    return peak


def _validate(buffers: Sequence[Buffer]) -> None:
    for i, b in enumerate(buffers):
        if b.size < 0 or b.last < b.first:
            raise ValueError(f"plan_memory: buffer {i} has size {b.size} and lives from step {b.first} to {b.last}")
        if b.inside is not None:
            host = buffers[b.inside] if 0 <= b.inside < i else None
            if host is None or host.size < b.size or host.last != b.first:
                raise ValueError(f"plan_memory: buffer {i} cannot take over buffer {b.inside}: {b} in {host}")


def _merge(buffers: Sequence[Buffer]) -> tuple[list[int], list[Buffer]]:
    """In-place chains as one buffer each: the span of every buffer, and the spans, with sizes rounded up."""
    owner: list[int] = []
    spans: list[Buffer] = []
    for b in buffers:
        if b.inside is None:
            owner.append(len(spans))
            spans.append(Buffer(-(-b.size // ALIGNMENT) * ALIGNMENT, b.first, b.last))
        else:
            o = owner[b.inside]
            owner.append(o)
            spans[o] = Buffer(spans[o].size, spans[o].first, max(spans[o].last, b.last))
    return owner, spans


# What was placed before

_known = Known(64)  # lives of spans -> their sizes, heuristic, starts, best ratio of arena to bound
_winners = Known(64)  # number of steps -> the heuristic that was best: for another batch, other values lie in outputs, but about as many steps remain


def _remember(spans: Sequence[Buffer], name: str, starts: list[int], size: int, bound: int) -> tuple[Any, ...]:
    """What is remembered: the lives, and what belongs to them."""
    if not 0 < len(spans) <= MOST_STACKED or not bound:
        return ()
    lives = tuple([(b.first, b.last) for b in spans])
    *_, best = _known.get(lives) or (size / bound,)
    _known[lives] = tuple([b.size for b in spans]), name, starts, min(best, size / bound)
    return lives, _known[lives]


def recall(placed: tuple[Any, ...]) -> None:
    """What was placed in another process is known in this one."""
    if placed:
        lives, found = placed
        _known[lives] = found


def _as_before(spans: Sequence[Buffer], bound: int) -> tuple[str, list[int], int] | None:
    """What spans of the same lives had, or the like for other sizes; None if there were none, or if it is farther from the bound than their best."""
    sizes, name, starts, ratio = _known.get(tuple([(b.first, b.last) for b in spans])) or ((), "", [], 0.0)
    if not sizes:
        return None
    if sizes != tuple([b.size for b in spans]):
        name, starts = "as before", _stacked(spans, starts)
    size = max([at + b.size for at, b in zip(starts, spans, strict=True)])
    return (name, starts, size) if size <= bound * max(ratio * SLACK, GOOD_ENOUGH) else None


def _stacked(spans: Sequence[Buffer], before: list[int]) -> list[int]:
    """Each span as low as it can lie above those that lay below it ``before`` and live while it does: which of two that meet is above never changes."""
    first, last = np.array([b.first for b in spans]), np.array([b.last for b in spans])
    order = np.argsort(before, kind="stable")
    rank = np.argsort(order)
    below = (first[:, None] <= last) & (last[:, None] >= first) & (rank[:, None] > rank)
    ends = np.zeros(len(spans), np.int64)
    starts = [0] * len(spans)
    for i in order.tolist():
        at = starts[i] = int(ends[below[i]].max(initial=0))
        ends[i] = at + spans[i].size
    return starts


# Placement

Order = list[int]


@dataclass(frozen=True)
class Placement:
    name: str
    order: Order
    starts: list[int]
    size: int


_HEURISTICS: dict[str, Callable[[Buffer], int]] = {
    "size": lambda b: -b.size,
    "duration": lambda b: b.first - b.last,
    "area": lambda b: -b.size * (b.last - b.first + 1),
    "start": lambda b: b.first,
    "end": lambda b: -b.last,
}


def _orders(spans: Sequence[Buffer], winner: str) -> Iterator[tuple[str, Order]]:
    """Orders to place in, each behind its name, the ``winner`` first; ties go by first step, then by index."""
    for name in dict.fromkeys([winner, *_HEURISTICS]):
        key = _HEURISTICS[name]
        yield name, [i for *_, i in sorted([(key(b), b.first, i) for i, b in enumerate(spans)])]


def _best(spans: Sequence[Buffer], bound: int) -> tuple[str, list[int], int]:
    best: Placement | None = None
    steps = max([b.last for b in spans], default=0)
    for name, order in _orders(spans, _winners.get(steps, "size")):
        starts, size = _place(spans, order, best.size if best else None)
        if best is None or size < best.size:
            best = Placement(name, order, starts, size)
        if best.size <= bound * GOOD_ENOUGH:
            break
    assert best is not None
    _winners[steps] = best.name
    if best.size > bound * GOOD_ENOUGH:
        best = _search(spans, best, bound)
    return best.name, best.starts, best.size


def _place(spans: Sequence[Buffer], order: Order, give_up: int | None = None) -> tuple[list[int], int]:
    """Each buffer in turn at the lowest offset that is free for its whole life; stops once the arena reaches ``give_up``."""
    return (_place_few if len(spans) <= FEW else _place_many)(spans, order, give_up)


def _place_few(spans: Sequence[Buffer], order: Order, give_up: int | None) -> tuple[list[int], int]:
    starts = [0] * len(spans)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first step, last step; in order of offset
    top = 0
    for i in order:
        b, at = spans[i], 0
        size, first, last = b.size, b.first, b.last
        for start, end, begins, ends in placed:
            if begins <= last and ends >= first:
                if start - at >= size:
                    break
                if end > at:
                    at = end
        starts[i] = at
        top = max(top, at + size)
        if give_up is not None and top >= give_up:
            break
        insort(placed, (at, at + size, first, last))
    return starts, top


def _place_many(spans: Sequence[Buffer], order: Order, give_up: int | None) -> tuple[list[int], int]:
    starts = [0] * len(spans)
    placed = np.empty((4, len(spans)), np.int64)  # first step, last step, offset, end; in order of offset
    size = 0
    for n, i in enumerate(order):
        b = spans[i]
        at = starts[i] = lowest_gap(placed[:, :n], b)
        size = max(size, at + b.size)
        if give_up is not None and size >= give_up:
            break
        slot = int(placed[2, :n].searchsorted(at))
        placed[:, slot + 1 : n + 1] = placed[:, slot:n]
        placed[:, slot] = b.first, b.last, at, at + b.size
    return starts, size


def lowest_gap(placed: np.ndarray, b: Buffer) -> int:
    """The lowest offset with room for ``b`` between the placed buffers that live while it does."""
    first, last, start, end = placed
    meets = ((first <= b.last) & (last >= b.first)).nonzero()[0]
    if not meets.size:
        return 0
    start, end = start[meets], np.maximum.accumulate(end[meets])
    if start[0] >= b.size:
        return 0
    fits = start[1:] - end[:-1] >= b.size
    k = int(fits.argmax()) if len(fits) else 0
    return int(end[k] if len(fits) and fits[k] else end[-1])


def _search(spans: Sequence[Buffer], best: Placement, bound: int) -> Placement:
    """Puts a buffer that lies at the top of the arena earlier in the order, and keeps what helps; a bounded number of tries."""
    rng = random.Random(0)
    for _ in range(SEARCH_BUDGET // (len(spans) + 10)):
        top = [i for i, b in enumerate(spans) if best.starts[i] + b.size == best.size]
        i = rng.choice(top)
        order = [j for j in best.order if j != i]
        order.insert(rng.randrange(best.order.index(i) + 1), i)
        starts, size = _place(spans, order, best.size + 1)
        if size <= best.size:
            best = Placement("search" if size < best.size else best.name, order, starts, size)
        if size <= bound * GOOD_ENOUGH:
            break
    return best
