"""Kernels of style "folded": sums over rows of a few columns (coordinates, actions) that lie densely, one row after the other.

So many rows are one wide row, whose columns are summed in vectors; then the parts of a column are added up. The range is blocks: iterations of the other axes.
"""
from hybridnn.jit.layout import TILED
from hybridnn.jit.nest import REDUCTIONS, reached
from hybridnn.jit.source_reductions import compensated, stages_of
from hybridnn.jit.support import literal

__all__ = ["write_folded"]

FOLD = 16       # rows that are one wide row
WIDE = 32       # wide rows that are summed before a compensated addition


def write_folded(w):
    folded = _Folded(w)
    for i in folded.sums:
        for name in "plt":
            w.local(f"{name}{i}_", w.s.items[i].kind, FOLD * TILED)
    for i in folded.top:
        w.emit(i)
    with w.outer_loop(list(range(folded.rows))):
        folded.write()


class _Folded:
    """The loops of one block. A column's partial sum is ``p``, its total ``t``, and what that lacks ``l``."""

    def __init__(self, w):
        self.w, self.items = w, w.s.items
        self.inner = len(w.s.axes) - 1
        self.rows = self.inner - 1
        stage = stages_of(w.s)
        self.sums = [i for i, item in enumerate(self.items) if item.fn in REDUCTIONS]
        self.top = [i for i, item in enumerate(self.items) if not item.axes and stage[i] == 0]
        self.of_blocks = [i for i, item in enumerate(self.items) if item.axes and max(item.axes) < self.rows and stage[i] == 0]
        self.stores = [s for s in w.s.stores if self.rows in s.axes]
        self.late_stores = [s for s in w.s.stores if self.rows not in s.axes]
        outside = {*self.top, *self.of_blocks}
        self.early = sorted(reached(self.items, [*(self.items[i].args[0] for i in self.sums), *(s.item for s in self.stores)], without=outside))
        self.late = sorted(reached(self.items, [s.item for s in self.late_stores], without={*outside, *self.sums}))

    def write(self):
        w, n, k = self.w, f"n{self.rows}", f"n{self.inner}"
        for i in self.of_blocks:
            w.emit(i)
        w.line(f"z = {FOLD} * {k} if {n} > {FOLD} else {n} * {k}")
        self.columns("z", lambda i: [f"t{i}_[j] = {self.zero(i)}", f"l{i}_[j] = {self.zero(i)}"])
        with w.loop(f"for b in range(0, {n}, {FOLD * WIDE}):"):
            self.columns("z", lambda i: [f"p{i}_[j] = {self.zero(i)}"])
            w.block(FOLD * WIDE, n)
            with w.loop(f"for r in range(b, e, {FOLD}):"):
                w.line(f"m = ({FOLD} if e - r > {FOLD} else e - r) * {k}")
                self.wide_row(f"r * {k}")
            self.columns("z", lambda i: compensated(i, f"p{i}_[j]", f"t{i}_[j]", f"l{i}_[j]", self.items[i].kind))
        self.finish(f"z // {k}", k)

    def zero(self, i):
        return literal(0.0, self.items[i].kind)

    def columns(self, n, lines_of):
        with self.w.loop(f"for j in range({n}):"):
            for i in self.sums:
                for text in lines_of(i):
                    self.w.line(text)

    def wide_row(self, start):
        w = self.w
        w.line(f"q = {start}")
        before = dict(w.offsets)
        for n, p in enumerate(w.s.pointers):
            if p.classes and p.classes[self.rows] != "0":
                w.offsets[n] = f"{before[n]} + q" if n in before else "q"
        with w.loop("for i in range(m):"):
            for i in self.early:
                w.emit(i, "i")
            for i in self.sums:
                w.line(f"p{i}_[i] = p{i}_[i] + {w.value(self.items[i].args[0])}")
            for s in self.stores:
                w.store(s, "i")
        w.offsets = before

    def finish(self, count, k):
        """Adds up the parts of every column, and computes what needs the sums."""
        w = self.w
        w.line(f"m = {count}")
        with w.loop(f"for j in range({k}):"):
            for i in self.sums:
                w.line(f"v{i} = {self.zero(i)}")
            with w.loop("for r in range(m):"):
                for i in self.sums:
                    w.line(f"v{i} = v{i} + t{i}_[r * {k} + j]")
            for i in self.late:
                w.emit(i, "j")
            for s in self.late_stores:
                w.store(s, "j")
