"""``Joined``: rows of a few elements, so many at a time, as one row whose elements lie side by side, for styles "tiled", "flat" and "folded".

Operands that lie so are read and written where they are. What has an element for each place of a row is repeated once, others (an element for each row,
slices, transposed arrays) are copied for every block of rows.
"""
from contextlib import contextmanager

__all__ = ["ELEMENTS", "JOINED", "Joined"]

JOINED = 64      # a last axis that is shorter may be gone over together with the one before it
ELEMENTS = 512      # at a time, or a few less: so many rows


class Joined:
    """The last two axes of a kernel. ``tiles``: those of the ``pointers`` (None: of all) that have an element for each place of a row; ``copied``: those that
    are neither dense, nor of numbers, nor tiles. Of so many ``rows`` at a time, or as many as make up ``ELEMENTS``, all have at most ``elements``."""

    def __init__(self, w, pointers=None, rows=None, elements=ELEMENTS):
        self.w, self.count = w, rows or "c"
        self.inner = len(w.s.axes) - 1
        self.axis = self.inner - 1
        self.n, self.k = f"n{self.axis}", f"n{self.inner}"
        ends = {p: (pointer.role, *pointer.classes[-2:]) for p, pointer in enumerate(w.s.pointers) if pointer.classes and (pointers is None or p in pointers)}
        self.dense = [p for p, (_, *classes) in ends.items() if classes == ["d", "1"]]
        self.tiles = [p for p, (role, a, b) in ends.items() if role == "load" and a == "0" != b]
        self.copied = [p for p, (_, *classes) in ends.items() if p not in self.dense and p not in self.tiles and classes != ["0", "0"]]
        for p in (*self.tiles, *self.copied):
            w.local(f"h{p}", w.s.pointers[p].kind, elements)
        if rows is None:
            w.line(f"c = {ELEMENTS} // {self.k}")

    @contextmanager
    def outer(self):
        """What is written inside is done for every piece of the rows; gives its ends."""
        if self.axis == 0:
            yield "lo", "hi"
            return
        with self.w.loop_along(list(range(self.inner))) as ends:
            yield ends

    def repeat_tiles(self):
        if self.tiles:
            self.w.line(f"m = {self.n} if {self.n} < {self.count} else {self.count}")
        self._copy(self.tiles, "0", "m", "load")

    @contextmanager
    def blocks(self, first, last):
        """What is written inside is done for blocks of ``q`` rows from ``b`` on."""
        w, start = self.w, "" if first == "0" else f"{first} + "
        rows = last if first == "0" else f"{last} - {first}"
        with w.loop(f"for a in range(({rows} + {self.count} - 1) // {self.count}):"):
            w.line(f"b = {start}a * {self.count}")
            w.block(self.count, last)
            w.line("q = e - b")
            yield

    @contextmanager
    def block(self, first, rows, pointers):
        """What is written inside is done for the elements ``m`` of so many ``rows`` (a name), from ``first`` on; it reads and writes the ``pointers``."""
        w, before, places = self.w, dict(self.w.offsets), dict(self.w.places)
        w.line(f"m = {rows} * {self.k}")
        moved = [p for p in self.dense if p in pointers]
        if moved:
            w.line(f"z = {first} * {self.k}")
        copied = [p for p in self.copied if p in pointers]
        self._copy([p for p in copied if w.s.pointers[p].role == "load"], first, rows, "load")
        w.offsets.update({p: f"{before[p]} + z" if p in before else "z" for p in moved})
        w.places.update({p: f"h{p}" for p in (*self.tiles, *copied)})
        yield
        w.offsets, w.places = before, places
        self._copy([p for p in copied if w.s.pointers[p].role == "store"], first, rows, "store")

    def _copy(self, pointers, first, rows, role):
        """The other way round, LLVM would call memcpy for a few bytes."""
        if not pointers:
            return
        w = self.w
        with w.loop(f"for j in range({self.k}):"), w.loop(f"for x in range({rows}):"):
            for p in pointers:
                near, far = f"h{p}[x * {self.k} + j]", f"p{p}[{self._index(p, first)}]"
                w.line(f"{near} = {far}" if role == "load" else f"{far} = {near}")

    def _index(self, p, first):
        row, place = self.w.s.pointers[p].classes[-2:]
        step = {"0": "", "s": f"({first} + x) * s{p}_{self.axis}", "d": f"({first} + x) * {self.k}"}[row]
        along = {"0": "", "1": "j", "s": f"j * s{p}_{self.inner}"}.get(place, f"j * {place}")
        return " + ".join(filter(None, [self.w.offsets.get(p, ""), step, along])) or "0"
