"""Lists and dicts among the arguments that get longer on every call, as logs and replay buffers do, count as the objects that they are, not by their members:
else each length would be a signature of its own. Which do is told by what new signatures had.
"""
import numpy as np

from hybridnn.trace.refs import SCALARS
from hybridnn.trace.signature import MAX_DEPTH, MAX_ITEMS

__all__ = ["grows", "stays"]

TIMES = 4       # signatures in a row for which the same object is longer than before, always by as much
LONGER = 4      # how many times as many there have to be once it has turned out to begin anew


def grows(memory, args, kwargs):
    """Note how long the containers among the arguments of a new signature are; whether there is one that has turned out to grow."""
    before, memory.sizes, found = memory.sizes, {}, False
    for place, x in _containers(args, kwargs):
        known, size, step, times = before.get(place, (None, 0, 0, 0))
        added = len(x) - size if known == id(x) else 0
        times = 0 if added <= 0 else times + 1 if added == step else 1
        memory.sizes[place] = id(x), len(x), added, times
        if times >= memory.refilled.get(place, TIMES):
            memory.growing[place] = id(x), len(x), _holds_numbers(x)
            found = True
    _note_ids(memory)
    return found


def stays(memory, args, kwargs):
    """Look at the containers that are known to grow: where another one is there, or one that has become shorter, its length may matter (the keys and values of
    the words so far), and it counts by its members again, if these were no plain numbers or texts."""
    for place, (known, size, plain) in list(memory.growing.items()):
        x = _at(place, args, kwargs)
        if x is None:
            continue
        if (id(x) != known or len(x) < size) and not plain:
            del memory.growing[place]
            memory.refilled[place] = LONGER * memory.refilled.get(place, TIMES)
        else:
            memory.growing[place] = id(x), len(x), plain
    _note_ids(memory)


def _note_ids(memory):
    memory.grown_ids = frozenset([known for known, _, _ in memory.growing.values()])


def _containers(args, kwargs):
    """Lists and dicts of which signatures describe the members, each with its place."""
    waiting = [((k,), x) for k, x in [*enumerate(args), *kwargs.items()]]
    while waiting:
        place, x = waiting.pop()
        if type(x) in (list, dict, tuple) and len(x) <= MAX_ITEMS and len(place) <= MAX_DEPTH:
            if type(x) is not tuple:
                yield place, x
            waiting += [((*place, k), v) for k, v in (x.items() if type(x) is dict else enumerate(x)) if type(k) in SCALARS]


def _at(place, args, kwargs):
    """The list or dict at a place; None if there is none."""
    x = kwargs if type(place[0]) is str else args
    for k in place:
        there = k in x if type(x) is dict else type(x) in (list, tuple) and type(k) is int and k < len(x)
        if not there:
            return None
        x = x[k]
    return x if type(x) in (list, dict) else None


def _holds_numbers(x):
    return all(type(v) in SCALARS or isinstance(v, np.generic) for v in (x.values() if type(x) is dict else x))
