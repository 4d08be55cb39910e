"""``Nest``: a fused region as scalar code over an iteration space, and ``FusedOp``, the record that stands for it in a graph.

The space has axes ``0..n-1`` of given sizes, in row-major order. Every instruction depends on some axes: all of them, those that
are not reduced, or none. A load reads an operand whose dimensions are mapped to axes (-1: a dimension of size 1); a reduction
sums (or takes the extreme) over ``reduced`` axes. The same nest becomes different kernels according to the strides of its
operands (see ``source``).
"""
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

from hybridnn.graph import run

__all__ = ["FusedOp", "Item", "Nest", "Store", "is_column", "reached"]

REDUCTIONS = ("sum", "max", "min")


class Item(NamedTuple):
    """One instruction: ``fn`` of earlier ones, a result of dtype ``kind`` ("f4", ...) that depends on ``axes``.

    ``fn`` "load" has ``value`` (operand position, axis per dimension); "weak" an operand position; "iota" an axis; "const" a
    number.
    """
    fn: str
    args: tuple
    kind: str
    axes: tuple
    value: Any = None


class Store(NamedTuple):
    """Instruction ``item`` is output ``position``, whose dimensions are mapped to axes by ``dims``."""
    item: int
    position: int
    dims: tuple


def is_column(sizes, reduced):
    """Whether something is reduced, but not along the innermost axis."""
    return bool(reduced) and len(sizes) - 1 not in reduced


def reached(items, roots, without=(), ends=()):
    """The set of the roots and all that they are computed from, ``without`` some; of what is in ``ends`` no operands are needed."""
    found, stack = set(), list(roots)
    while stack:
        i = stack.pop()
        if i not in found and i not in without:
            found.add(i)
            stack += () if i in ends else items[i].args
    return found


@dataclass(frozen=True)
class Nest:
    """``sizes`` of the axes, the ``reduced`` ones, the code, and what is stored."""
    sizes: tuple
    reduced: tuple
    items: tuple
    stores: tuple

    @property
    def column(self):
        """Whether reduced axes lie outside of the innermost one: sums are kept per column."""
        return is_column(self.sizes, self.reduced) and self.has_reductions

    @property
    def has_reductions(self):
        return any(i.fn in REDUCTIONS for i in self.items)


@dataclass(frozen=True, eq=False)
class FusedOp:
    """A fused region as an operation: ``run`` interprets its own ``graph``, a kernel does the same by its ``nest``. ``make`` gives the graph, which hardly
    anybody asks for; ``ops`` are the names of its operations."""
    name: str
    make: Any
    nest: Nest
    lines: tuple = ()
    ops: tuple = ()
    multi = True
    kind = "fused"
    decompose = None

    @functools.cached_property
    def graph(self):
        return self.make()

    def run(self, arrays, attrs):
        return tuple(run(self.graph, arrays))
