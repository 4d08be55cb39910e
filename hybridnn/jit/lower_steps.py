"""Steps before addresses are known, and all that lowering hands on."""
import functools
from dataclasses import dataclass, field

__all__ = ["LowStep", "Lowered", "bytes_of"]


@dataclass(eq=False)
class LowStep:
    """A step before addresses are known.

    ``build(locate)`` gives the native step, ``locate(place)`` being a View; where there is a ``text``, ``build(step, locate, address)``, the kernel's
    address; None for a Python step, which has ``node``. ``reads`` and ``writes`` are places. ``inplace`` lists pairs (position in writes, position
    in reads) that may be the same memory.
    """
    kind: str
    name: str
    reads: list
    writes: list
    build: object = None
    node: object = None
    ops: tuple = ()
    lines: tuple = ()
    reason: str = ""
    inplace: tuple = ()
    arranged: object = None
    text: str = ""
    scratch: list = field(default_factory=list)

    @functools.cached_property
    def bytes(self):
        return sum([bytes_of(p) for p in (*self.reads, *self.writes)])


def bytes_of(place):
    """How much memory a place covers, broadcast axes once."""
    n = place.dtype.itemsize
    for size, stride in zip(place.shape, place.strides):
        n *= size if stride else 1
    return n


@dataclass(eq=False)
class Lowered:
    """All that an Executable needs: steps, memory, where outputs come from."""
    steps: list
    roots: list
    values: dict
    constants: list
    n_slots: int
    plan: object
    outputs: list
    n_inputs: int = 0
    late_outputs: frozenset = frozenset()      # numbers of outputs that nothing is written into before all steps that can fail are done
    memory_bound: int = 0      # the least that arena and outputs could be together
