"""Kernels of style "short": many rows of a few elements (scores of classes or of actions, differences of points), with vectors across rows.

The range is rows; where several axes are not reduced, blocks lie along the last of them. A block of rows is copied so that rows lie side by side, worked on
in loops along the rows outside and across them inside, and copied back. What is known per row only, sums and extremes and what is computed of them, waits in
arrays of one element per row.
"""
from contextlib import contextmanager

from hybridnn.jit.nest import REDUCTIONS, reached
from hybridnn.jit.row_costs import SHORT, TURNED
from hybridnn.jit.source_reductions import accumulate, initial, stages_of

__all__ = ["write_short"]

BLOCK = 64       # rows at a time: what they need stays in the first-level cache


def write_short(w):
    short = _Short(w)
    for p in short.turned:
        w.local(f"t{p}", w.s.pointers[p].kind, BLOCK * SHORT)
    for i in short.waiting:
        w.local(f"w{i}", w.s.items[i].kind, BLOCK)
    for i in short.top:
        w.emit(i)
    if short.across == 0:
        short.blocks("lo", "hi")
        return
    with w.loop_along(list(range(short.inner))) as (first, last):
        short.blocks(first, last)


class _Short:
    """The loops of a block of rows, stage by stage.

    ``across``: the axis along which a block lies. ``turned``: pointers that step along it and along rows; a block goes through copies of what they point to.
    ``waiting``: items that add up elements of a row, or that are known per row and needed for every element.
    """

    def __init__(self, w):
        self.w, self.items, self.stores, self.stage = w, w.s.items, w.s.stores, stages_of(w.s)
        self.inner = len(w.s.axes) - 1
        self.across = self.inner - 1
        self.top = [i for i, item in enumerate(self.items) if not item.axes]
        self.turned = [n for n, p in enumerate(w.s.pointers) if p.classes and "0" not in p.classes[self.across:]]
        used = {a for i in self.items if self.inner in i.axes for a in i.args}
        of_rows = [n for n in used if self.items[n].axes and self.inner not in self.items[n].axes and self.items[n].fn not in ("load", "iota")]
        self.starts = {}      # pointer -> its offset at the first row of the block
        self.waiting = sorted({*of_rows, *(n for n, i in enumerate(self.items) if i.fn in REDUCTIONS)})

    def blocks(self, first, last):
        """The loop over blocks of the rows from ``first`` to ``last``."""
        w = self.w
        with w.loop(f"for b in range({first}, {last}, {BLOCK}):"):
            w.line(f"m = {last} - b if {last} - b < {BLOCK} else {BLOCK}")
            for n, p in enumerate(w.s.pointers):
                if p.classes and p.classes[self.across] != "0":
                    before = [w.offsets[n]] if n in w.offsets else []
                    self.starts[n] = " + ".join([*before, f"b * s{n}_{self.across}"])
                    w.offsets[n] = " + ".join([*before, f"(b + o) * s{n}_{self.across}"])
            self.copy("load")
            for k in range(1 + max(self.stage)):
                self.write(k)
            self.finish()
            self.copy("store")

    def copy(self, role):
        """Operands with an element for every place, row by row."""
        copies = [p for p in self.turned if self.w.s.pointers[p].role == role]
        in_registers = [p for p in copies if self.w.s.pointers[p].kind in TURNED and self.w.s.pointers[p].classes[self.inner] == "1"]
        for p in in_registers:
            self.turn(p, role)
        copies = [p for p in copies if p not in in_registers]
        if copies:
            with self.w.loop(f"for j in range(n{self.inner}):"), self.rows():
                for p in copies:
                    near, far = f"t{p}[j * {BLOCK} + o]", f"p{p}[{self.w.index(p, 'j')}]"
                    self.w.line(f"{near} = {far}" if role == "load" else f"{far} = {near}")

    def turn(self, p, role):
        w, step = self.w, f"s{p}_{self.across}"
        near, far = f"t{p}, 0, {BLOCK}", f"p{p}, {self.starts[p]}, {step}"
        w.line(w.call("turn", *([near, far, "m", f"n{self.inner}"] if role == "load" else [far, near, f"n{self.inner}", "m"])))

    def write(self, k):
        """What is known when ``k`` reductions, one after the other, are."""
        reductions = [i for i in self.waiting if self.items[i].fn in REDUCTIONS and self.stage[i] == k + 1]
        kept = [i for i in self.waiting if self.items[i].fn not in REDUCTIONS and self.stage[i] == k]
        stores = [s for s in self.stores if self.inner in s.axes and self.stage[s.item] == k]
        if kept or reductions:
            with self.rows():
                self.compute(kept, fresh=kept)
                for i in kept:
                    self.w.line(f"w{i}[o] = {self.w.value(i)}")
                for i in reductions:
                    self.w.line(f"w{i}[o] = {initial(self.items[i])}")
        if reductions or stores:
            with self.w.loop(f"for j in range(n{self.inner}):"):
                self.w.line(f"z = j * {BLOCK}")
                with self.rows():
                    self.compute([*(self.items[i].args[0] for i in reductions), *(s.item for s in stores)])
                    for i in reductions:
                        self.add_up(i)
                    for s in stores:
                        self.w.line(f"t{s.pointer}[z + o] = {self.w.value(s.item)}")

    def add_up(self, i):
        w, item = self.w, self.items[i]
        w.line(f"m{i} = w{i}[o]")
        accumulate(w, item, f"m{i}", w.value(item.args[0]))
        w.line(f"w{i}[o] = m{i}")

    def finish(self):
        """Results that have an element per row."""
        stores = [s for s in self.stores if self.inner not in s.axes]
        if stores:
            with self.rows():
                self.compute([s.item for s in stores])
                for s in stores:
                    self.w.store(s)

    @contextmanager
    def rows(self):
        with self.w.loop("for o in range(m):"):
            if any(i.fn == "iota" and i.value == self.across for i in self.items):
                self.w.line(f"c{self.across} = b + o")
            yield

    def compute(self, roots, fresh=()):
        """Lines for what the roots need; what waits is loaded from where it waits, but for the ``fresh`` items."""
        for i in sorted(reached(self.items, roots, without=self.top, ends=set(self.waiting) - set(fresh))):
            item = self.items[i]
            if i in self.waiting and i not in fresh:
                self.w.line(f"v{i} = w{i}[o]")
            elif item.fn == "load" and item.value in self.turned:
                self.w.line(f"v{i} = t{item.value}[z + o]")
            else:
                self.w.emit(i, "j")
