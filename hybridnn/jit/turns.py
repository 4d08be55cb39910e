"""Turns of a user's loop, found in the graph that it left: what comes again and again, node by node.

Where all of a loop fuses, a group takes as many nodes as it may hold, and would end at another place of each turn: a kernel for every place. Groups that end
with turns are alike, so a hundred turns need no more kernels than ten.
"""
import numpy as np

__all__ = ["stretches_of_turns"]

CONTEXTS = 6, 24      # nodes in a row by which one finds where the same came before; the longer ones are not met again within a turn
CANDIDATES = 4        # distances that are tried of each
FEWEST = 6            # turns that are worth it
LOOPS = 16            # loops that are looked for, the longest first
HELD = 44             # nodes that a group holds, about: with what it reads, as many values as a kernel may have


def stretches_of_turns(signatures, reads, fuses):
    """Node index -> the number of the stretch that it lies in, which is as many turns as a group holds, or one; -1 outside all loops, and in loops with nodes
    that stand between others and do not fuse.

    ``signatures``: a number for each node, the same for nodes alike; ``reads``: indices of the nodes whose results it reads; ``fuses``: whether it fuses.
    """
    result, count = np.full(len(signatures), -1), 0
    if len(signatures) < FEWEST * max(CONTEXTS):
        return result.tolist()
    last = _last_readers(reads)
    open_, signs = np.ones(len(signatures), bool), np.asarray(signatures)
    for _ in range(LOOPS):
        loop = _longest(signs, open_)
        if loop is None or loop[1] - loop[0] <= HELD:
            break
        start, end, period = loop
        open_[start:end] = False
        if not _all_fuses(start, end, reads, fuses):
            continue
        turns = max(1, HELD // max(1, sum(fuses[start:start + period])))
        begin = _narrowest(start, end, period, last)
        places = (np.arange(start, end) - begin) // (period * turns)
        result[start:end] = count + places - places[0]
        count += int(places[-1] - places[0]) + 1
    return result.tolist()


def _last_readers(reads):
    """Node index -> the last node that reads what it makes, or itself."""
    last = list(range(len(reads)))
    for index, read in enumerate(reads):
        for i in read:
            last[i] = index
    return np.array(last)


def _longest(signs, open_):
    """(start, end, period) of the loop that covers most of the nodes that are open; None if there is none of enough turns."""
    best = None
    for period in sorted({p for width in CONTEXTS for p in _distances(signs, open_, width)}):
        same = (signs[period:] == signs[:-period]) & open_[period:] & open_[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist()):
            if end - start >= (FEWEST - 1) * period and (best is None or end + period - start > best[1] - best[0]):
                best = start, end + period, period
    return best


def _distances(signs, open_, width):
    """How far the same nodes in a row lie apart most often."""
    if len(signs) <= width:
        return []
    contexts = np.lib.stride_tricks.sliding_window_view(signs, width) @ (np.arange(1, width + 1) ** 3 * 7919 % 104729)
    contexts = np.where(open_[width - 1:], contexts, -1)
    order = np.argsort(contexts, kind="stable")
    again = (np.diff(contexts[order]) == 0) & (contexts[order][1:] != -1)
    distances, counts = np.unique(np.diff(order)[again], return_counts=True)
    return distances[np.argsort(-counts, kind="stable")[:CANDIDATES]].tolist()


def _all_fuses(start, end, reads, fuses):
    """Whether no node between others of the loop stays alone: groups would end there in every turn anyway."""
    inside = [fuses[i] for i in range(start, end)]
    return sum(inside) > HELD and all(fuses[i] or not any(start <= k and inside[k - start] for k in reads[i]) for i in range(start, end))


def _narrowest(start, end, period, last):
    """Where a turn best begins: before the node that the fewest values of nearby nodes pass by."""
    middle = start + (end - start) // period // 2 * period
    near = middle - period
    passing = [np.count_nonzero((last[near:i] >= i) & (last[near:i] < i + period)) for i in range(middle, middle + period)]
    return start + int(np.argmin(passing)) - period
