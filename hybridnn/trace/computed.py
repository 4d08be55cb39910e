"""What a plan computes of Refs on every call, and what such a value rests on."""
import operator
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.trace.numpy_functions import OPERATORS, is_array_function
from hybridnn.trace.refs import Doubt, Ref

__all__ = ["Computed", "below", "folded", "identify", "is_always", "is_last", "is_number", "leaves_of", "note_uses", "outside_arrays", "rests_on_constants",
           "sources_of", "value_of"]

MOST_CONSTANT = 1 << 18     # bytes of an array that a plan keeps


@dataclass(eq=False, slots=True)
class Computed:
    """``fn(*args, **kw)``, of Refs; ``at``: how many events the path had; ``real``: the user's own array, once a later call shows it; ``safe``: it can
    neither fail nor warn, nor give an array of another kind; ``drawn``: it takes numbers from a stream, ``late`` if it, or a draw before it, has arguments
    that have to be computed, and ``behind`` if operations have to compute them; ``last``: it is made after all operations; ``alone``: it changes an array
    which an earlier change made, and which nothing else takes."""
    fn: Callable[..., Any]
    args: list
    kw: dict
    at: int
    real: object = None
    safe: bool = False
    drawn: bool = False
    late: bool = False
    behind: bool = False
    last: bool = False
    alone: bool = False


def is_number(ref):
    """Whether a Ref is a Python number that may differ from call to call."""
    return ref.kind in ("arg", "hole", "number") and type(ref.value) in (int, float)


def value_of(ref):
    """What a Ref stands for; for a list or tuple of Refs, one of what these stand for."""
    return type(ref.value)([value_of(r) for r in ref.value]) if ref.kind == "mirror" else ref.value


def below(ref, opened=lambda found: True):
    """What a Ref rests on, each once, and itself: what lies in containers and objects, and operands of the computations that are ``opened``."""
    stack, seen = [ref], set()
    while stack:
        r = stack.pop()
        if id(r) in seen:
            continue
        seen.add(id(r))
        yield r
        if r.kind == "mirror":
            stack += r.value.values() if isinstance(r.value, dict) else r.value
        elif r.kind == "object":
            stack += r.value.attrs.values()
        elif r.kind == "recent":
            stack += [r.value[0], r.source]
        elif isinstance(r.source, Computed) and opened(r.source):
            stack += [*r.source.args, *r.source.kw.values()]


def leaves_of(ref):
    """What a computed number rests on that is not the same on every call: numbers and arrays from outside, draws."""
    return [r for r in below(ref, lambda found: not found.drawn) if r.kind != "mirror" and (r.source.drawn if isinstance(r.source, Computed) else
                                                                                            r.kind != "static" or isinstance(r.value, np.ndarray))]


def sources_of(ref):
    """What the call itself makes or reads that a computed value rests on, and numbers that are drawn once it has."""
    return [r for r in below(ref) if r.kind in ("fresh", "hole") or isinstance(r.source, Computed) and (r.source.last or r.source.behind)]


def is_last(ref):
    """Whether a computed value rests on what is made after all operations."""
    return any(isinstance(r.source, Computed) and r.source.last for r in below(ref))


def rests_on_constants(ref):
    """Whether a value is the same on every call."""
    return all(not r.source.drawn if isinstance(r.source, Computed) else r.kind in ("mirror", "static") for r in below(ref))


def folded(ref):
    """``ref`` as a constant, if it is an int that NumPy makes of constants."""
    return Ref("static", ref.value) if ref.kind == "array" and isinstance(ref.value, np.integer) and rests_on_constants(ref) else ref


def is_always(ref, user):
    """Whether ``ref`` is a small array that NumPy makes of constants, and that the computation ``user`` only reads."""
    if ref.kind != "array" or user.source.alone or ref.value.nbytes > MOST_CONSTANT or not rests_on_constants(ref):
        return False
    given = user.value if isinstance(user.value, (list, tuple)) else (user.value,)
    computed = [r.source for r in below(ref) if isinstance(r.source, Computed)]
    return not any(np.may_share_memory(v, ref.value) for v in given if isinstance(v, np.ndarray)) and all(
        not found.last and (is_array_function(found.fn) or isinstance(found.fn, operator.methodcaller) or found.fn in OPERATORS) for found in computed)


def outside_arrays(ref):
    """The arrays from outside that a Ref rests on."""
    return [r.value for r in below(ref) if r.kind in ("state", "view", "arg", "static") and isinstance(r.value, np.ndarray)]


def note_uses(observer, found, ref):
    """Which computations take an array, and what they give."""
    stack = [*found.args, *found.kw.values()]
    while stack:
        part = stack.pop()
        if part.kind == "mirror":
            stack += part.value
        elif part.kind in ("array", "fresh", "varied"):
            observer.keep.append(part)
            given = ref.value if ref.kind == "mirror" else (ref,)
            observer.uses.setdefault(id(part), []).extend((found, r) for r in given)


def identify(observer, ref, x):
    """``x`` is what the user's program has where the observer has ``ref``."""
    if ref.kind == "mirror" and isinstance(ref.value, (list, tuple, deque)) and type(x) is type(ref.value) and len(x) == len(ref.value):
        for r, v in zip(ref.value, x, strict=True):
            identify(observer, r, v)
        return
    if ref.kind == "varied":
        ref.kind = "array"
    if ref.kind == "array" and ref.source.real is None:
        y = ref.value
        if type(x) is not type(y) or x.shape != y.shape or x.dtype != y.dtype or x.strides != y.strides or x.tobytes() != y.tobytes():
            raise Doubt("an array of the program's differs from what NumPy made for the observer")
        ref.source.real = x
        observer.keep.append(x)
        known = observer.origins.setdefault(id(x), ref)
        if known is not ref:
            _stay_one(observer, known, ref)


def _stay_one(observer, known, ref):
    """The path knows what was computed as one of its operands, as which ``min`` and ``max`` give it; it has to be that one on every call."""
    if observer.writes_so_far():
        raise Doubt("one of several numbers is chosen after a change in place")
    observer.guard("outcome", Ref("number", True, Computed(operator.is_, [known, ref], {}, len(observer.call.path), safe=True)), True)
