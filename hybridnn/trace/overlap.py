"""Which arrays share memory: what is changed in place must not lie where another array of the call does."""
from bisect import bisect_right

import numpy as np
from numpy.exceptions import TooHardError
from numpy.lib.array_utils import byte_bounds

__all__ = ["Moving", "Written", "lies_apart", "memory_of", "overlapping", "root_array", "sharing"]

MOST_WORK = 1000      # of NumPy's search for an element that two arrays share
FEW = 12              # arrays with which comparing another one takes less time than finding out where that lies
MOST_COMPARED = 64    # arrays whose ranges of addresses overlap: more are taken to share memory


def root_array(a):
    """The array that owns a view's memory."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


def memory_of(a):
    """Where and how an array lies: equal for two views of the same elements."""
    return a.__array_interface__["data"][0], a.shape, a.strides, a.dtype


def lies_apart(a):
    """Whether every element of an array surely has a place of its own in memory."""
    reach = a.itemsize
    for stride, n in sorted([(abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1]):
        if stride < reach:
            return False
        reach += stride * (n - 1)
    return True


def overlapping(arrays, written):
    """Whether one of the ``arrays``, whose id is among ``written``, shares memory with another array there. One that is met twice does not with itself."""
    return next(sharing(arrays, written), None) is not None


def sharing(arrays, written):
    """Pairs of ``arrays`` that share memory, and one of which has its id among ``written``."""
    near = []
    for low, high, a in sorted([(*byte_bounds(a), a) for a in {id(a): a for a in arrays}.values() if a.size], key=lambda found: found[:2]):
        near = [(end, b) for end, b in near if end > low]
        both = [b for _, b in near if id(a) in written or id(b) in written]
        yield from [(a, b) for b in both if len(both) > MOST_COMPARED or _share(a, b)]
        near.append((high, a))


def _share(a, b):
    """Whether two arrays have an element in common, or it would take long to find out."""
    try:
        return np.shares_memory(a, b, max_work=MOST_WORK)
    except TooHardError:
        return True


class Written:
    """The memory of the arrays that a plan writes. ``id(a) in roots`` says whether an array with memory of its own, which ``a`` is, may be part of it.
    ``passing``: those that are not to be kept alive; with them goes the plan."""

    def __init__(self, arrays, passing=()):
        owners = [root_array(a) for a in (*arrays, *passing)]
        self.roots = frozenset(map(id, owners)) if all(a.base is None for a in owners) else ANYTHING
        self.arrays, self.starts, self.ends = arrays, [], []
        self.passing = [byte_bounds(a) for a in passing if a.size]
        for low, high in sorted([byte_bounds(a) for a in arrays if a.size]):
            if self.ends and low <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], high)
            else:
                self.starts.append(low)
                self.ends.append(high)

    def shares(self, a):
        """Whether an array lies, even in part, between the first and the last element of one that is written."""
        owner = root_array(a)
        if owner.base is None and id(owner) not in self.roots:
            return False
        if self.passing:
            low, high = byte_bounds(a)
            if any(low < end and begin < high for begin, end in self.passing):
                return True
        if len(self.arrays) <= FEW:
            return any([np.may_share_memory(a, b) for b in self.arrays])
        low, high = byte_bounds(a)
        k = bisect_right(self.starts, low) - 1
        return k >= 0 and low < self.ends[k] or k + 1 < len(self.starts) and self.starts[k + 1] < high

    def lie_apart(self, *arrays):
        """Whether arrays share no memory with each other, nor with these."""
        ids = set(map(id, arrays))
        if len(ids) != len(arrays) or any(map(self.shares, arrays)):
            return False
        return all([a.base is None for a in arrays]) or not overlapping(arrays, ids)


class Moving:
    """Arrays that stay the same, ``fixed``, with which others that a plan writes are not to share memory."""

    def __init__(self, fixed):
        self.owners = [root_array(a) for a in fixed]
        self.ids, self.foreign = frozenset(map(id, self.owners)), [a for a in self.owners if a.base is not None]

    def lie_apart(self, written, others):
        """Whether arrays have memory of their own, in which none of the ``others`` lies."""
        ids = set(map(id, written))
        if len(ids) != len(written) or not ids.isdisjoint(self.ids) or not all([a.base is None and a.flags.writeable for a in written]):
            return False
        owners = [*map(root_array, others)]
        foreign = [*self.foreign, *[a for a in owners if a.base is not None]]
        return ids.isdisjoint(map(id, owners)) and not any([np.may_share_memory(a, b) for a in foreign for b in written])


class _Anything:
    """Holds every id: of memory that NumPy does not own, another array may be the owner."""

    def __contains__(self, key):
        return True


ANYTHING = _Anything()
