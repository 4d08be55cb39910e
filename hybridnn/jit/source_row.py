"""Kernels of style "row": the innermost axis is reduced; and "flat": it is short, and so is the one before it, and both are gone over as one (``Joined``).

The range is the axes that are not. There is one loop over the row per stage, a stage being what must be known before the next can start.
"""
import functools
from contextlib import ExitStack, contextmanager

from hybridnn.jit.nest import REDUCTIONS, reached
from hybridnn.jit.source_joined import Joined
from hybridnn.jit.source_reductions import accumulate, compensate, initial, stages_of
from hybridnn.jit.source_writer import Writer
from hybridnn.jit.support import SUFFIX, is_expensive, literal

__all__ = ["BLOCK", "loops_of_pointers", "write_row"]

INTEGERS = {"f4": "i4", "f8": "i8"}     # as wide
EXTREMES = {"max": "larger", "min": "smaller"}
BLOCK = 256      # elements that are summed before a compensated addition


def write_row(w):
    plan = _RowPlan(w)
    outer = [k for k, r in enumerate(w.s.axes) if not r]
    for i in plan.top:
        w.emit(i)
    if not w.cuda:
        with w.outer_loop(outer):
            if plan.joined is not None:
                plan.joined.repeat_tiles()
            plan.write()
        return
    with w.loop(f"for o in range(cuda.grid(1), {' * '.join(f'n{k}' for k in outer) or '1'}, cuda.gridsize(1)):"):
        w.unravel("o", outer)
        w.move("o", set(outer))
        plan.write()


@functools.lru_cache(4096)
def loops_of_pointers(structure):
    """Pointer -> the last loop over a row that loads from it, pointer -> the first one that stores to it. Loops are numbered; what has an element for a
    whole row is loaded before the first one and stored after the last."""
    return _RowPlan(Writer(structure, "cpu")).loops_of_pointers()


class _RowPlan:
    """The loops of one row, stage by stage."""

    def __init__(self, w):
        self.w, self.items, self.stores = w, w.s.items, w.s.stores
        self.joined = Joined(w) if w.s.style == "flat" and not w.cuda else None
        self.stage = stages_of(w.s)
        self.reduced = [k for k, r in enumerate(w.s.axes) if r]
        self.full = {i for i, item in enumerate(self.items) if set(item.axes) & set(self.reduced)}
        self.top = [i for i in range(len(self.items)) if not self.items[i].axes and self.stage[i] == 0 and i not in self.full]
        self.outer = [i for i in range(len(self.items)) if i not in self.full and i not in self.top]
        self.count = 1 + max([self.stage[i] for i in range(len(self.items))], default=0)
        self.needed = [self._reached(k) for k in range(self.count)]
        self.parked = self._park()

    def _reductions(self, k):
        return [i for i in range(len(self.items)) if self.items[i].fn in REDUCTIONS and self.stage[i] == k + 1]

    def _stores(self, k):
        return [s for s in self.stores if self._is_full(s) and self.stage[s.item] == k]

    def _is_full(self, store):
        """Whether the store is made for every element of the row."""
        return bool(set(store.axes) & set(self.reduced))

    def _park(self):
        """Expensive items that several loops need wait in the memory of an output: item -> store."""
        parked, taken = {}, set()
        for i in sorted(self.full):
            _, _, kind, axes, _ = self.items[i]
            loops = [k for k in range(self.count) if i in self.needed[k]]
            if len(loops) < 2 or not is_expensive(self.items, self.items[i]) or len(axes) != len(self.w.s.axes):
                continue
            for s in self.stores:
                own = s.item == i
                copied = self.joined is not None and s.pointer in self.joined.copied
                if not copied and s.pointer not in taken and (own or self._is_full(s) and self.stage[s.item] >= loops[-1]
                                          and self.items[s.item].kind == kind):
                    parked[i] = s
                    taken.add(s.pointer)
                    break
        return parked

    def loops_of_pointers(self):
        loads, stores = {}, {s.pointer: self.stage[s.item] if self._is_full(s) else self.count for s in self.stores}
        for k in range(self.count):
            reloaded = self._reloaded(k)
            loads.update([(self.items[i].value, k) for i in self._reached(k, reloaded) if self.items[i].fn == "load" and i not in reloaded])
            stores.update([(s.pointer, min(k, stores[s.pointer])) for i, s in self.parked.items() if i in self.needed[k]])
        return loads, stores

    def write(self):
        for k in range(self.count):
            for i in [i for i in self.outer if self.stage[i] == k and self.items[i].fn not in REDUCTIONS]:
                self.w.emit(i)
            if self._reductions(k) or self._stores(k):
                self._loop(k)
        for s in self.stores:
            if not self._is_full(s):
                self.w.store(s)

    def _loop(self, k):
        w, reductions = self.w, self._reductions(k)
        sums = [i for i in reductions if self.items[i].fn == "sum" and self.items[i].kind in ("f4", "f8")]
        extremes = [i for i in reductions if self.is_extreme_of_floats(i)]
        for i in reductions:
            w.line(f"v{i} = {initial(self.items[i])}")
        for i in extremes:
            w.line(f"x{i} = {literal(0, INTEGERS[self.items[i].kind])}")
        for i in sums:
            w.line(f"k{i} = {literal(0.0, self.items[i].kind)}")
        *above, inner = self.reduced if self.joined is None else self.reduced[:-1]
        with ExitStack() as loops:
            for axis in above:
                loops.enter_context(w.loop(f"for c{axis} in range(n{axis}):"))
            w.move("q", set(above))
            if self.joined is not None:
                self._blocks(k, reductions, sums, self.joined.blocks("0", self.joined.n), self._of_joined_rows(k))
            elif sums:
                self._blocks(k, reductions, sums, w.loop(f"for b in range(0, n{inner}, {BLOCK}):"), self._of_row(f"n{inner}"))
            else:
                with w.loop(f"for j in range(n{inner}):"):
                    self._element(k, reductions, sums)
        for i in extremes:
            w.line(f"v{i} = nan_if_{SUFFIX[self.items[i].kind]}(x{i}, v{i})")

    def is_extreme_of_floats(self, i):
        """Whether the item is a largest or smallest float, in a loop of which NaN is looked for beside: comparisons that keep it take 2 to 3 times as long."""
        return self.items[i].fn in EXTREMES and self.items[i].kind in INTEGERS and not self.w.cuda

    def _blocks(self, k, reductions, sums, blocks, elements):
        """The loop over ``blocks`` of ``elements``, where something may be summed."""
        w = self.w
        with blocks:
            for i in sums:
                w.line(f"t{i} = {literal(0.0, self.items[i].kind)}")
            with elements:
                self._element(k, reductions, sums)
            for i in sums:
                compensate(w, f"t{i}", f"v{i}", f"k{i}", self.items[i].kind)

    @contextmanager
    def _of_row(self, n):
        self.w.block(BLOCK, n)
        with self.w.loop("for j in range(b, e):"):
            yield

    @contextmanager
    def _of_joined_rows(self, k):
        with self.joined.block("b", "q", self._pointers(k)), self.w.loop("for j in range(m):"):
            yield

    def _pointers(self, k):
        """What the loop of stage ``k`` reads and writes."""
        reloaded = self._reloaded(k)
        read = {self.items[i].value for i in self._reached(k, reloaded) if self.items[i].fn == "load" and i not in reloaded}
        return read | {s.pointer for s in self._stores(k)} | {s.pointer for i, s in self.parked.items() if i in self.needed[k]}

    def _element(self, k, reductions, sums):
        w = self.w
        skip = self._reloaded(k)
        for i in sorted(self._reached(k, skip)):
            if i in skip:
                w.line(f"v{i} = {w.place(self.parked[i].pointer, 'j')}")
            else:
                w.emit(i, "j")
        for i in reductions:
            value, kind = w.value(self.items[i].args[0]), self.items[i].kind
            if self.is_extreme_of_floats(i):
                w.line(f"v{i} = {EXTREMES[self.items[i].fn]}_{SUFFIX[kind]}(v{i}, {value})")
                w.line(f"x{i} = most_{SUFFIX[INTEGERS[kind]]}(x{i}, magnitude_{SUFFIX[kind]}({value}))")
            else:
                accumulate(w, self.items[i], f"t{i}" if i in sums else f"v{i}", value)
        for i, s in self.parked.items():
            if i in self.needed[k] and i not in skip and s.item != i:
                w.line(f"{w.place(s.pointer, 'j')} = v{i}")
        for s in self._stores(k):
            w.store(s, "j")

    def _reloaded(self, k):
        return {i for i in self.parked if any(i in self.needed[e] for e in range(k))}

    def _reached(self, k, skip=()):
        """Full items that the loop of stage ``k`` computes, where those in ``skip`` are loaded."""
        roots = [self.items[i].args[0] for i in self._reductions(k)] + [s.item for s in self._stores(k)]
        return reached(self.items, roots, without={*self.top, *self.outer}, ends=skip)
