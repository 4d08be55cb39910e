"""Iterators that plans ask for batches, as they ask random streams for numbers: what an iterator gives is looked at as arguments are, and it goes back to where
it stood if Python has to run after all."""
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybridnn.backend import CpuDevice
from hybridnn.trace.computed import Computed
from hybridnn.trace.drawing import sample
from hybridnn.trace.failures import Unexpected
from hybridnn.trace.refs import ASKED, MOST_MEMBERS, Doubt, Ref, mirror
from hybridnn.trace.streams import OTHER_STREAMS

__all__ = ["Batches", "ask", "asked", "examples", "giver_of", "is_untouched", "joined", "joins_examples", "may_be_asked", "refuse_changed", "tells_where",
           "told"]


@dataclass(frozen=True)
class Batches:
    """What is known of a class of iterators.

    ``give``: its method that gives a batch; ``advance``: a function that goes to the next one, and gives its indices; ``examples``: one of the dataset
    and these, which gives the batch; ``columns``: one of the same, which gives what ``concat_examples`` makes of the batch, or None if it is not known;
    ``parts``: the arrays and containers, namespaces among them, that a batch rests on, or None if it may do something else than read them and stand
    elsewhere; ``stands``, ``go_back``: where the iterator stands, and how it comes back to there; ``places``: the attributes that say so, which a plan does
    not look at; ``tells``: properties that say so, at which it looks behind a batch."""
    give: Any
    advance: Callable
    examples: Callable
    columns: Callable
    parts: Callable
    stands: Callable
    go_back: Callable
    places: frozenset
    tells: frozenset


@dataclass(slots=True)
class Given:
    """A batch, in a plan: its examples, and what is made of them all, are read when they are needed."""
    dataset: Any
    indices: np.ndarray
    known: Batches
    joined: dict = field(default_factory=dict)


_KNOWN: dict[type, Batches] = {}
_JOINING: set[Callable] = set()


def may_be_asked(cls, batches):
    """From now on plans ask iterators of this very class."""
    _KNOWN[cls] = batches
    ASKED.add(batches.give.__code__)
    OTHER_STREAMS[cls] = batches.stands, batches.go_back


def tells_where(x, name):
    """Whether an attribute of ``x`` says where an iterator stands, which a plan must not look at before it asks."""
    return type(x) in _KNOWN and (name in _KNOWN[type(x)].places or name == "__dict__")


def told(observer, x, name):
    """The Ref of a property of an iterator's that tells where it stands behind the batch that it has given last; None for other attributes."""
    if type(x) not in _KNOWN or name not in _KNOWN[type(x)].tells:
        return None
    given = [ref for ref, _, stream in observer.draws if stream is x]
    if not given:
        raise Doubt(f"looks at {type(x).__name__}.{name} before it asks for a batch")
    value = getattr(x, name)
    if type(value) not in (bool, int, float):
        raise Doubt(f"{type(x).__name__}.{name} is no number")
    observer.told.append(x)
    return sample(observer, Ref("whole", value, Computed(_tell, [Ref("static", x), Ref("static", name), given[-1]], {}, len(observer.call.path), safe=True)))


def _tell(iterator, name, _):
    return getattr(iterator, name)


def giver_of(x):
    """The function that ``next(x)`` calls, if ``x`` is an iterator of which something is known; else None."""
    return _KNOWN[type(x)].give if type(x) in _KNOWN else None


def ask(iterator, shares, changed):
    """A batch, in a plan; ``shares`` tells whether an array has memory in which the plan writes, ``changed`` are the ids of what else it changes."""
    known = _KNOWN.get(type(iterator))
    parts = known and known.parts(iterator)
    if parts is None or any([shares(x) if type(x) is np.ndarray else id(x) in changed for x in parts]):
        raise Unexpected
    return Given(iterator.dataset, known.advance(iterator), known)


def examples(given):
    """The batch as the program has it."""
    return given.known.examples(given.dataset, given.indices)


def joins_examples(function):
    """From now on, what ``function(batch, device, padding)`` makes of a batch is read from its dataset at once, where only this is made of it."""
    _JOINING.add(function)


def joined(observer, called, args, kw):
    """The Ref of the arrays which a function that joins examples makes of a batch; None if it is to be followed."""
    if kw or called not in _JOINING or not 0 < len(args) <= 3 or not _stay_here(observer, *args[1:]):
        return None
    whole = _whole(observer, args[0])
    if whole is None or id(whole.value) in observer.boxes or not whole.value:
        return None
    iterator = whole.source.args[0].value
    kind = _KNOWN[type(iterator)].columns(iterator.dataset, np.zeros(0, np.intp))
    if kind is None:
        return None
    for name in called.__code__.co_names:
        if name in called.__globals__:
            observer.loaded(called.__globals__[name], ("global", called.__globals__, name, called.__globals__[name]))
    place = object()

    def column(key):
        items = whole.value if key is None else [example[key] for example in whole.value]
        return _column(observer, whole, place, key, np.array(items))
    if type(kind) is np.ndarray:
        return column(None)
    if type(kind) is tuple:
        return mirror(tuple, map(column, range(len(kind))))
    return Ref("mirror", {key: column(key) for key in kind})


def _stay_here(observer, device=None, padding=None):
    """Whether arrays that are joined for a device stay the arrays that they are: it is none, or the CPU; and nothing is padded."""
    where = None if device is None else device.value
    if any(r is not None and r.kind != "static" for r in (device, padding)) or padding is not None and padding.value is not None:
        return False
    if type(where) is CpuDevice:
        observer.guard("class", where, CpuDevice)
        return not where.__dict__
    return where is None or type(where) is int and where < 0


def is_untouched(observer, whole):
    """Whether the program does not look into a batch, whose examples so need not be looked at."""
    return whole.source.fn is ask and id(whole.value) not in observer.boxes


def _whole(observer, ref):
    """The Ref of a batch that an iterator has given, if ``ref`` is one."""
    name = ref.source[1] if ref.kind == "arg" and type(ref.source) is tuple and ref.source[0] == "drawn" else None
    whole = observer.samples.get(name)
    return whole if whole is not None and whole.source.fn is ask else None


def _column(observer, whole, place, key, value):
    args = [whole, *[Ref("static", x) for x in (place, key, value.shape, value.dtype)]]
    return Ref("array", value, Computed(_read_column, args, {}, len(observer.call.path)))


def _read_column(given, place, key, shape, dtype):
    """One of the arrays that are made of a batch at a place of the program."""
    if place not in given.joined:
        given.joined[place] = given.known.columns(given.dataset, given.indices)
    found = given.joined[place]
    column = found if key is None else found[key]
    if column.shape != shape or column.dtype != dtype:
        raise Unexpected
    return column


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
    if any(x is iterator for x in observer.told):
        raise Doubt("asks an iterator once more behind a look at where it stands")
    whole = Ref("whole", batch, Computed(ask, [refs[0]], {}, len(observer.call.path), drawn=True))
    observer.draws.append((whole, len(observer.call.draws), iterator))
    return sample(observer, whole)
