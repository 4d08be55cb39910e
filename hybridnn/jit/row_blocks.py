"""Sums over rows by blocks of rows: a nest that keeps its columns as two, so that threads need not share columns.

Threads that share columns go through a piece of every row, and so through every page of memory; with blocks of rows each of them goes through memory from
one end to the other. The first nest sums up every block, the second adds these sums up and does what comes after.
"""
from dataclasses import dataclass, replace

from hybridnn.jit.known import Known
from hybridnn.jit.layout import BLOCKS, ROWS, Operand
from hybridnn.jit.nest import REDUCTIONS, Item, Nest, Store, reached

__all__ = ["Half", "in_blocks", "number_of_blocks", "split_operands"]

_halves = Known(512)      # what the code of halves depends on -> them, and the nest whose code that names
COUNTS, BEST = range(BLOCKS, 65), 16       # how many blocks there may be, and the best number


@dataclass(frozen=True)
class Half:
    """A nest, and what its operands are: the sums of blocks (which the first half stores and the second one loads), then inputs of the whole (``reads``) and
    outputs of the whole (``writes``), pairs of a number and the axes of the whole that its dimensions are mapped to."""
    nest: Nest
    reads: tuple
    writes: tuple


def split_operands(pairs, operands, rows):
    """Those of the ``operands`` that a half has, as it goes through them, blocks being of so many ``rows``."""
    return [Operand(operands[k].buf, operands[k].offset, _strides(operands[k].strides, dims, rows)) for k, dims in pairs]


def _strides(strides, dims, rows):
    return tuple([s for stride, axis in zip(strides, dims, strict=False) for s in ((stride * rows, stride) if axis == 0 else (stride,))])


def number_of_blocks(nest, rows):
    """How many blocks the outermost axis is cut into, of ``rows`` that are summed in all; None if that does not pay."""
    if not nest.column or 0 not in nest.reduced or any(i.fn == "iota" and i.value == 0 for i in nest.items):
        return None
    return min([n for n in COUNTS if nest.sizes[0] % n == 0 and rows >= n * ROWS], key=lambda n: abs(n - BEST), default=None)


def in_blocks(nest, blocks):
    """The two halves of a nest that keeps columns and whose outermost axis is reduced. Nests of the same code get halves of the same code."""
    key = id(nest.items), id(nest.stores), nest.reduced, len(nest.sizes)
    first, second, _ = _halves[key] = _halves.get(key) or (*_in_halves(nest), nest)
    kept = [n for a, n in enumerate(nest.sizes) if a not in nest.reduced]
    return _of_sizes(first, (blocks, nest.sizes[0] // blocks, *nest.sizes[1:])), _of_sizes(second, (blocks, *kept))


def _of_sizes(half, sizes):
    return replace(half, nest=replace(half.nest, sizes=sizes))


def _in_halves(nest):
    late = _late(nest.items)
    sums = [i for i, item in enumerate(nest.items) if item.fn in REDUCTIONS]
    kept = [a for a in range(len(nest.sizes)) if a not in nest.reduced]
    return _first(nest, sums, kept, [s for s in nest.stores if not late[s.item]]), _second(nest, sums, kept, [s for s in nest.stores if late[s.item]])


def _late(items):
    """Per item whether it needs a sum."""
    late = []
    for item in items:
        late.append(item.fn in REDUCTIONS or any(late[a] for a in item.args))
    return late


def _first(nest, sums, kept, stores):
    """Axis 0 becomes two, of blocks and of rows in one."""
    body = _Body(nest, lambda axes: tuple([b for a in axes for b in ((0, 1) if a == 0 else (a + 1 if a > 0 else a,))]), 0)
    columns, full = (0, *[a + 1 for a in kept]), tuple(range(len(nest.sizes) + 1))
    body.copy([*(nest.items[i].args[0] for i in sums), *(s.item for s in stores)])
    for i in sums:
        item = nest.items[i]
        body.made[i] = body.add(Item(item.fn, (body.made[item.args[0]],), item.kind, columns, full))
    made = [Store(body.made[i], k, columns) for k, i in enumerate(sums)]
    made += [Store(body.made[s.item], len(sums) + k, body.axes(s.dims)) for k, s in enumerate(stores)]
    reduced = tuple([a + 1 for a in nest.reduced])
    return body.half(reduced, made, stores)


def _second(nest, sums, kept, stores):
    """Axis 0 is the one of blocks, the others are those that the whole keeps."""
    place = {a: k + 1 for k, a in enumerate(kept)}
    body = _Body(nest, lambda axes: tuple([place.get(a, -1) for a in axes]), len(sums))
    full = tuple(range(len(kept) + 1))
    for k, i in enumerate(sums):
        item = nest.items[i]
        load = body.add(Item("load", (), item.kind, full, (k, full)))
        body.made[i] = body.add(Item(item.fn, (load,), item.kind, full[1:], full))
    body.copy([s.item for s in stores])
    made = [Store(body.made[s.item], k, body.axes(s.dims)) for k, s in enumerate(stores)]
    return body.half((0,), made, stores)


class _Body:
    """Items of the whole as one half has them: under other numbers, over other ``axes``, with inputs that come behind ``first`` others."""

    def __init__(self, nest, axes, first):
        self.nest, self.axes, self.first = nest, axes, first
        self.items, self.made, self.reads = [], {}, []

    def add(self, item):
        self.items.append(item)
        return len(self.items) - 1

    def copy(self, roots):
        """Add what the roots need and is not there yet."""
        for i in sorted(reached(self.nest.items, roots, without=self.made)):
            item = self.nest.items[i]
            self.made[i] = self.add(Item(item.fn, tuple([self.made[a] for a in item.args]), item.kind, self.axes(item.axes), self.value(item)))

    def value(self, item):
        """An item's value: inputs and axes are numbered anew."""
        if item.fn == "load":
            position, dims = item.value
            return self.read(position, dims), self.axes(dims)
        if item.fn == "weak":
            return self.read(item.value, ())
        return self.axes((item.value,))[0] if item.fn == "iota" else item.value

    def read(self, position, dims):
        if (position, dims) not in self.reads:
            self.reads.append((position, dims))
        return self.first + self.reads.index((position, dims))

    def half(self, reduced, made, stores):
        """Without its sizes."""
        return Half(Nest((), reduced, tuple(self.items), tuple(made)), tuple(self.reads), tuple([(s.position, s.dims) for s in stores]))
