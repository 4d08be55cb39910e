"""Kernels of style "column", "few" and "blocks": the innermost axis is kept, sums are kept per column in scratch rows. The range is columns, or blocks:
iterations of other axes that are kept. Every range of blocks has scratch rows of its own. Where rows are "few", so that nothing need be compensated, pieces
of them are gone over that stay in the first-level cache."""
from hybridnn.jit.nest import REDUCTIONS, reached
from hybridnn.jit.source_reductions import accumulate, compensate, compensated, initial, stages_of
from hybridnn.jit.support import NUMBA, SUFFIX, literal

__all__ = ["ROWS", "write_column"]

PIECE = 1024    # columns of few rows
ROWS = 32       # rows of a column that are summed before a compensated addition


def write_column(w):
    s = w.s
    inner = len(s.axes) - 1
    rows = [k for k, r in enumerate(s.axes) if r]
    blocks = [k for k, r in enumerate(s.axes) if not r and k != inner]
    stage = stages_of(s)
    parts = _ColumnParts(w, stage, rows, inner)
    for i in [i for i in range(len(s.items)) if not s.items[i].axes and stage[i] == 0]:
        w.emit(i)
    if w.cuda:
        _write_cuda(w, parts, rows, blocks, inner)
    elif s.style == "few":
        with w.loop(f"for left in range(lo, hi, {PIECE}):"):
            w.line(f"right = left + {PIECE} if left + {PIECE} < hi else hi")
            with w.outer_loop(blocks, "0", f"({' * '.join(f'n{k}' for k in blocks) or '1'})"):
                parts.write_few(rows)
    elif blocks:
        if s.style == "blocks":
            w.line(f"z = lo * n{inner}")
        with w.outer_loop(blocks, *(("lo", "hi") if s.style == "blocks" else ("0", f"({' * '.join(f'n{k}' for k in blocks)})"))):
            parts.write(rows)
    else:
        parts.write(rows)


class _ColumnParts:
    """Items by where they are computed."""

    def __init__(self, w, stage, rows, inner):
        items = w.s.items
        self.w, self.items = w, items
        self.columns = {"blocks": f"for j in range(n{inner}):", "few": "for j in range(left, right):"}.get(w.s.style, "for j in range(lo, hi):")
        self.place = "z + j" if w.s.style == "blocks" else "j"
        self.reductions = [i for i in range(len(items)) if items[i].fn in REDUCTIONS]
        late = [i for i in range(len(items)) if stage[i] > 0 and i not in self.reductions]
        early = [i for i in range(len(items)) if stage[i] == 0 and items[i].axes]
        used_late = _operands(items, [*late, *[s.item for s in w.s.stores if stage[s.item] > 0]])
        full = [i for i in early if inner in items[i].axes]
        self.of_rows = [i for i in early if inner not in items[i].axes and set(items[i].axes) & set(rows)]
        self.of_blocks = [i for i in early if inner not in items[i].axes and i not in self.of_rows]
        self.again = [i for i in full if i in used_late]
        self.late = late
        self.stores = [s for s in w.s.stores if stage[s.item] == 0]
        self.late_stores = [s for s in w.s.stores if stage[s.item] > 0]
        summed = _operands(items, [*(items[i].args[0] for i in self.reductions), *(s.item for s in self.stores)])
        self.full = [i for i in full if i in summed]
        first = sum(p.role != "scratch" for p in w.s.pointers)
        self.scratch = {}
        for i in self.reductions:
            n = 3 if items[i].fn == "sum" and w.s.style != "few" else 1
            self.scratch[i] = list(range(first, first + n))
            first += n

    def write(self, rows):
        w = self.w
        for i in self.of_blocks:
            w.emit(i)
        self._columns(self._start)
        n = " * ".join(f"n{k}" for k in rows)
        sums = any(len(ps) == 3 for ps in self.scratch.values())
        with w.loop(f"for b in range(0, {n}, {ROWS}):"):
            if sums:
                self._columns(lambda i, ps: [f"{self.at(ps[0])} = {literal(0, self.items[i].kind)}"] if len(ps) == 3 else [])
            w.block(ROWS, n)
            self._rows("b, e", rows)
            if sums:
                self._columns(self._fold)
        self._finish()

    def write_few(self, rows):
        """Without blocks of rows."""
        w = self.w
        for i in self.of_blocks:
            w.emit(i)
        self._columns(self._start)
        self._rows(" * ".join(f"n{k}" for k in rows), rows)
        self._finish()

    def _rows(self, ends, rows):
        """The loop over rows."""
        w = self.w
        with w.loop(f"for r in range({ends}):"):
            w.unravel("r", rows)
            w.move("q", set(rows))
            for i in self.of_rows:
                w.emit(i)
            self._row_of_columns()

    def at(self, p):
        """The element of a scratch row for the current column."""
        return f"p{p}[{self.place}]"

    def _columns(self, lines_of):
        """A loop over columns with the lines that each reduction asks for."""
        with self.w.loop(self.columns):
            for i, ps in self.scratch.items():
                for text in lines_of(i, ps):
                    self.w.line(text)

    def _start(self, i, ps):
        _, *lost = ps[1:] if len(ps) == 3 else ps
        return [f"{self.at(ps[1] if len(ps) == 3 else ps[0])} = {initial(self.items[i])}", *[f"{self.at(p)} = {literal(0, self.items[i].kind)}" for p in lost]]

    def _row_of_columns(self):
        w = self.w
        with w.loop(self.columns):
            for i in self.full:
                w.emit(i, "j")
            for i, ps in self.scratch.items():
                self._accumulate(i, ps[0])
            for s in self.stores:
                w.store(s, "j")

    def _accumulate(self, i, p):
        """Combine what is in pointer ``p`` with reduction ``i``'s value of the row."""
        w, item = self.w, self.items[i]
        value = w.value(item.args[0])
        if item.fn == "sum":
            text = f"{self.at(p)} + {value}"
            w.line(f"{self.at(p)} = {text if item.kind in ('f4', 'f8') else f'{NUMBA[item.kind]}({text})'}")
        elif item.kind in ("f4", "f8"):
            w.line(f"{self.at(p)} = {item.fn}imum_{SUFFIX[item.kind]}({value}, {self.at(p)})")
        else:
            w.line(f"m{i} = {self.at(p)}")
            accumulate(w, item, f"m{i}", value)
            w.line(f"{self.at(p)} = m{i}")

    def _fold(self, i, ps):
        if len(ps) != 3:
            return []
        part, total, lost = map(self.at, ps)
        kind = self.items[i].kind
        if kind not in ("f4", "f8"):
            return [f"{total} = {NUMBA[kind]}({total} + {part})"]
        return compensated(i, part, total, lost, kind)

    def _finish(self):
        w = self.w
        with w.loop(self.columns):
            for i in self.again:
                w.emit(i, "j")
            for i, ps in self.scratch.items():
                w.line(f"v{i} = {self.at(ps[1] if len(ps) == 3 else ps[0])}")
            for i in self.late:
                w.emit(i, "j")
            for s in self.late_stores:
                w.store(s, "j")


def _operands(items, roots):
    """The roots and all that they are computed from, down to reductions."""
    return reached(items, roots, ends={i for i, item in enumerate(items) if item.fn in REDUCTIONS})


def _write_cuda(w, parts, rows, blocks, inner):
    """A thread per column, with its sums in registers."""
    kept, j = [*blocks, inner], f"c{inner}"
    with w.loop(f"for o in range(cuda.grid(1), {' * '.join(f'n{k}' for k in kept)}, cuda.gridsize(1)):"):
        w.unravel("o", kept)
        w.move("o", set(blocks))
        _reduce_cuda(w, parts, rows, j)
        for i in [*parts.again, *parts.late]:
            w.emit(i, j)
        for s in parts.late_stores:
            w.store(s, j)


def _reduce_cuda(w, parts, rows, j):
    items = w.s.items
    sums = [i for i in parts.reductions if items[i].fn == "sum"]
    for i in parts.reductions:
        w.line(f"v{i} = {initial(items[i])}")
    for i in sums:
        w.line(f"k{i} = {literal(0, items[i].kind)}")
    for i in parts.of_blocks:
        w.emit(i)
    n = " * ".join(f"n{k}" for k in rows)
    with w.loop(f"for b in range(0, {n}, {ROWS}):"):
        for i in sums:
            w.line(f"t{i} = {literal(0, items[i].kind)}")
        w.block(ROWS, n)
        with w.loop("for r in range(b, e):"):
            w.unravel("r", rows)
            w.move("q", set(rows))
            for i in [*parts.of_rows, *parts.full]:
                w.emit(i, j)
            for i in parts.reductions:
                accumulate(w, items[i], f"t{i}" if i in sums else f"v{i}", w.value(items[i].args[0]))
            for s in parts.stores:
                w.store(s, j)
        for i in sums:
            if items[i].kind in ("f4", "f8"):
                compensate(w, f"t{i}", f"v{i}", f"k{i}", items[i].kind)
            else:
                w.line(f"v{i} = {NUMBA[items[i].kind]}(v{i} + t{i})")
