"""Iterators that plans ask for batches, as they ask random streams for numbers: what an iterator gives is looked at as arguments are, and it goes back to where
it stood if Python has to run after all."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.trace.computed import Computed
from hybridnn.trace.drawing import sample
from hybridnn.trace.failures import Unexpected
from hybridnn.trace.refs import ASKED, MOST_MEMBERS, Doubt, Ref
from hybridnn.trace.streams import OTHER_STREAMS

__all__ = ["Batches", "ask", "asked", "giver_of", "may_be_asked", "refuse_changed", "tells_where"]


@dataclass(frozen=True)
class Batches:
    """What is known of a class of iterators. ``give``: its method that gives a batch; ``parts``: the arrays and containers, namespaces among them, that this
    rests on, or None if it may do something else than read them and stand elsewhere; ``stands``, ``go_back``: where it stands, and how it comes back to there;
    ``places``: the attributes that say so."""
    give: Any
    parts: Callable
    stands: Callable
    go_back: Callable
    places: frozenset


_KNOWN: dict[type, Batches] = {}


def may_be_asked(cls, batches):
    """From now on plans ask iterators of this very class."""
    _KNOWN[cls] = batches
    ASKED.add(batches.give.__code__)
    OTHER_STREAMS[cls] = batches.stands, batches.go_back


def tells_where(x, name):
    """Whether an attribute of ``x`` says where an iterator stands, which a plan must not look at before it asks."""
    return type(x) in _KNOWN and (name in _KNOWN[type(x)].places or name == "__dict__")


def giver_of(x):
    """The function that ``next(x)`` calls, if ``x`` is an iterator of which something is known; else None."""
    return _KNOWN[type(x)].give if type(x) in _KNOWN else None


def ask(iterator, shares, changed):
    """A batch, in a plan; ``shares`` tells whether an array has memory in which the plan writes, ``changed`` are the ids of what else it changes."""
    known = _KNOWN.get(type(iterator))
    parts = known and known.parts(iterator)
    if parts is None or any([shares(x) if type(x) is np.ndarray else id(x) in changed for x in parts]):
        raise Unexpected
    return known.give(iterator)


def refuse_changed(iterator, changed):
    """A plan that changes what an iterator rests on, by its ids, cannot ask it before all else."""
    if not changed.isdisjoint(map(id, _KNOWN[type(iterator)].parts(iterator))):
        raise Doubt("changes what an iterator reads its batches from")


def asked(observer, refs, batch):
    """The Ref of a batch that an iterator has given."""
    iterator, known = refs[0].value, _KNOWN.get(type(refs[0].value))
    if refs[0].kind != "static" or known is None or len(refs) != 1 or known.parts(iterator) is None:
        raise Doubt("asks an iterator for a batch whose dataset, order or class is not the library's")
    if type(batch) is not list or len(batch) > MOST_MEMBERS:
        raise Doubt(f"an iterator gives more than {MOST_MEMBERS} examples")
    if any(ref.source.late for ref, *_ in observer.draws):
        raise Doubt("asks an iterator behind a draw with arguments that are computed")
    whole = Ref("whole", batch, Computed(ask, [refs[0]], {}, len(observer.call.path), drawn=True))
    observer.draws.append((whole, len(observer.call.draws), iterator))
    return sample(observer, whole)
