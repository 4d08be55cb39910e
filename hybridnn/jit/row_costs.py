"""Whether vectors of a kernel lie along rows, or across them, or along many short rows joined to one, by what either takes.

The numbers are cycles of a Zen 3 core, with vectors of eight floats. Along a row, what does not fill a vector is computed one by one, and lanes are added up
for every row; across rows, operands and results go through copies, and sums through memory.
"""
from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.support import is_expensive

__all__ = ["SHORT", "TURNED", "across_pays", "joining_pays"]

SHORT = 64          # elements of a row at most where vectors lie across rows
LANES = 8
DEAR, ALONE, STEP = 8, 25, 4     # an elementary function of a vector, one of a single number, and any other operation on one, each of which waits for the last
INDEX = 8           # a vector of indices along a row
LANES_ADDED = 10
SUM, EXTREME = 1, 6         # what adding to sums in memory takes, for each vector, and the larger one of what is there, or NaN
TURNED = "f4", "i4"      # kinds of elements that are copied in registers
ROW, WAIT = 6, 15       # the loop over a row; how long the next one waits for an elementary function
FEW_ELEMENTS, FEW_ROWS = 64, 64      # what takes longer to join; rows from which on it pays to join as many columns as a vector has
COPY_TURNED, COPY, COPY_JOINED = 0.25, 1.3, 2.5      # what the copy of such an element takes, of another, and of one where rows are joined


def across_pays(nest, n):
    """Whether rows of ``n`` elements take less time with vectors across them, if they are many: another number of rows shall compile nothing."""
    inner = set(nest.reduced)
    inside = [i for i in nest.items if not inner.isdisjoint(i.axes) and i.fn not in ("load", "const")]
    alone = [i for i in nest.items if i.axes and inner.isdisjoint(i.axes) and i.fn not in ("load", "const", "iota", *REDUCTIONS)]
    reductions = [i.fn for i in nest.items if i.fn in REDUCTIONS]
    passes = len(reductions) + any(not inner.isdisjoint(s.dims) for s in nest.stores)
    work = passes + sum(DEAR if is_expensive(nest.items, i) else i.fn != "iota" for i in inside)
    along = (n // LANES + n % LANES) * (work + INDEX * any(i.fn == "iota" for i in inside)) + LANES_ADDED * len(reductions)
    along += sum(ALONE if is_expensive(nest.items, i) else STEP for i in alone)
    across = n / LANES * (work + sum(SUM if fn == "sum" else EXTREME for fn in reductions)) + n * _copies(nest, inner) + len(alone)
    return across < along


def joining_pays(nest, sizes, groups, copied):
    """Whether rows of ``sizes[-1]`` elements, of which ``copied`` operands and results have to be copied, take less time as one long row."""
    n, rows, inner = sizes[-1], sizes[-2], set(groups[-1])
    if len(sizes) > 2 and n * rows < FEW_ELEMENTS or nest.column and (n >= LANES or copied) and (n % LANES == 0 or rows < FEW_ROWS):
        return False
    both = inner | set(groups[-2])
    work = [(DEAR, ALONE, WAIT, i.axes) if is_expensive(nest.items, i) else (1, 1, 0, i.axes) for i in nest.items if i.fn not in ("load", "const")]
    along = ROW + sum((n // LANES) * many + (n % LANES) * one + wait for many, one, wait, axes in work if not inner.isdisjoint(axes))
    return n / LANES * sum(many for many, _, _, axes in work if not both.isdisjoint(axes)) + COPY_JOINED * n * copied < along


def _copies(nest, inner):
    """What copying takes, for each element of a row."""
    copied = [(i.kind, i.value[1]) for i in nest.items if i.fn == "load"] + [(nest.items[s.item].kind, s.dims) for s in nest.stores]
    return sum(COPY_TURNED if kind in TURNED else COPY for kind, dims in copied if not inner.isdisjoint(dims) and set(dims) - inner - {-1})
