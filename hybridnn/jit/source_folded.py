"""Kernels of style "folded": sums over rows of a few columns (coordinates, actions).

So many rows are one wide row of ``Joined``, whose columns are summed in vectors; then the parts of a column are added up. The range is blocks: iterations of
the other axes.
"""
from hybridnn.jit.nest import REDUCTIONS, reached
from hybridnn.jit.source_joined import Joined
from hybridnn.jit.source_reductions import compensated, stages_of
from hybridnn.jit.support import literal

__all__ = ["COLUMNS", "write_folded"]

COLUMNS = 16    # at most
FOLD = 16       # rows that are one wide row
WIDE = 32       # wide rows that are summed before a compensated addition


def write_folded(w):
    folded = _Folded(w)
    for i in folded.sums:
        for name in "plt":
            w.local(f"{name}{i}_", w.s.items[i].kind, FOLD * COLUMNS)
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
        self.pointers = {self.items[i].value for i in self.early if self.items[i].fn == "load"} | {s.pointer for s in self.stores}
        self.joined = Joined(w, self.pointers, FOLD, FOLD * COLUMNS)

    def write(self):
        w, n, k = self.w, f"n{self.rows}", f"n{self.inner}"
        for i in self.of_blocks:
            w.emit(i)
        w.line(f"d = {FOLD} * {k} if {n} > {FOLD} else {n} * {k}")
        self.columns("d", lambda i: [f"t{i}_[j] = {self.zero(i)}", f"l{i}_[j] = {self.zero(i)}"])
        self.joined.repeat_tiles()
        with w.loop(f"for b in range(0, {n}, {FOLD * WIDE}):"):
            self.columns("d", lambda i: [f"p{i}_[j] = {self.zero(i)}"])
            w.block(FOLD * WIDE, n)
            with w.loop(f"for r in range(b, e, {FOLD}):"):
                w.line(f"q = {FOLD} if e - r > {FOLD} else e - r")
                self.wide_row()
            self.columns("d", lambda i: compensated(i, f"p{i}_[j]", f"t{i}_[j]", f"l{i}_[j]", self.items[i].kind))
        self.finish(f"d // {k}", k)

    def zero(self, i):
        return literal(0.0, self.items[i].kind)

    def columns(self, n, lines_of):
        with self.w.loop(f"for j in range({n}):"):
            for i in self.sums:
                for text in lines_of(i):
                    self.w.line(text)

    def wide_row(self):
        w = self.w
        with self.joined.block("r", "q", self.pointers), w.loop("for i in range(m):"):
            for i in self.early:
                w.emit(i, "i")
            for i in self.sums:
                w.line(f"p{i}_[i] = p{i}_[i] + {w.value(self.items[i].args[0])}")
            for s in self.stores:
                w.store(s, "i")

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
