"""The text of kernels, for CPU and CUDA, from a ``layout.Structure``.

CPU: ``kernel(bufs, args, lo, hi)``, see ``pointers``. ``args`` holds a pair per pointer, then the sizes of the axes, then the
strides that are given at run time. CUDA: the same words as parameters, each thread takes iterations ``cuda.grid(1)``, ``+
cuda.gridsize(1)``, ...

Three styles: "map" (no reduction; the range is the flat space, or all axes but the innermost), "row" (the innermost axis is
reduced; the range is the axes that are not; one loop over the row per stage, a stage being what must be known before the next can
start) and "column" (the innermost axis is kept; the range is columns; sums are kept per column in scratch rows).
"""
import functools
import re
from dataclasses import dataclass, field

import numpy as np

from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.support import NUMBA, SUFFIX, expression, is_expensive, literal

__all__ = ["BLOCK", "ROWS", "parameters", "render"]

BLOCK, ROWS = 256, 32       # elements of a row, and rows of a column, that are summed before a compensated addition
TINY = int(np.float32(1e-17).view(np.int32)) - 1 - 2**31      # smallness of numbers whose squares, times a rate, are subnormal
LOWEST = {"i1": -2**7, "i2": -2**15, "i4": -2**31, "i8": -2**63, "u1": 0, "u2": 0, "u4": 0, "u8": 0}
HIGHEST = {"i1": 2**7 - 1, "i2": 2**15 - 1, "i4": 2**31 - 1, "i8": 2**63 - 1, "u1": 2**8 - 1, "u2": 2**16 - 1, "u4": 2**32 - 1,
           "u8": 2**64 - 1}


@functools.lru_cache(4096)
def render(structure, target="cpu"):
    """Python text of the kernel; ``target`` is "cpu" or "cuda"."""
    w = _Writer(structure, target)
    {"map": _map, "row": _row, "column": _column}[structure.style](w)
    return w.text()


def parameters(structure):
    """Names of the words behind the pointers: sizes, then strides given at run time."""
    sizes = [f"n{k}" for k in range(len(structure.axes))]
    return sizes + [f"s{p}_{k}" for p, pointer in enumerate(structure.pointers) for k, c in enumerate(pointer.classes)
                    if c == "s"]


@dataclass
class _Writer:
    s: object
    target: str
    lines: list = field(default_factory=list)
    depth: int = 1
    names: set = field(default_factory=set)      # functions to import
    offsets: dict = field(default_factory=dict)  # pointer -> name of its current offset
    used: set = field(default_factory=set)       # run-time words that the text names
    place: dict = field(default_factory=dict)    # item -> text instead of its variable
    wide: bool = False                           # float32 items are computed in float64, under other names

    @property
    def cuda(self):
        return self.target == "cuda"

    def line(self, text):
        self.lines.append("    " * self.depth + text)

    def call(self, name, *args):
        self.names.add(name)
        return f"{name}({', '.join(args)})"

    def word(self, name):
        self.used.add(name)
        return name

    def value(self, i):
        """An operand's text: a variable, or a literal."""
        item = self.s.items[i]
        if item[0] == "const":
            return literal(item[4], self.kind(i))
        return f"d{i}" if self.wide and item[2] == "f4" else self.place.get(i, f"v{i}")

    def kind(self, i):
        kind = self.s.items[i][2]
        return "f8" if self.wide and kind == "f4" else kind

    def index(self, p, inner=None):
        """Element index of pointer ``p``; ``inner`` is the variable of the innermost axis, if the pointer steps along it here."""
        terms = [self.offsets[p]] if p in self.offsets else []
        last = self.s.pointers[p].classes[-1] if self.s.pointers[p].classes else "0"
        if inner is not None and last != "0":
            step = self.word(f"s{p}_{len(self.s.axes) - 1}") if last == "s" else last
            terms.append(inner if step == "1" else f"{inner} * {step}")
        return " + ".join(terms) or "0"

    def emit(self, i, inner=None):
        """The line that computes item ``i``."""
        fn, args, kind, axes, value = self.s.items[i]
        if fn == "const":
            return
        if fn == "load":
            text = f"p{value}[{self.index(value, inner)}]"
            text = f"float64({text})" if self.kind(i) != kind else text
        elif fn == "weak":
            text = f"p{value}[0]" + (" != 0" if kind == "b1" else "")
        elif fn == "iota":
            text = f"{NUMBA[kind]}({self.coordinate(value, inner)})"
        else:
            text = self.expression(fn, self.kind(i), args)
        self.line(f"{self.value(i)} = {text}")

    def expression(self, fn, kind, args):
        items = [self.s.items[a] for a in args]
        constants = [i[4] if i[0] == "const" else None for i in items]
        return expression(fn, kind, [self.kind(a) for a in args], [self.value(a) for a in args], constants, self.cuda)

    def coordinate(self, axis, inner):
        return inner if axis == len(self.s.axes) - 1 and inner is not None else f"c{axis}"

    def block(self, length, n):
        """The line that sets ``e``, the end of the block that begins at ``b``."""
        self.line(f"e = b + {length} if b + {length} < {n} else {n}")

    def unravel(self, flat, axes):
        """Lines that split the flat index over ``axes`` into coordinates ``c``."""
        rest = flat
        for n, k in enumerate(reversed(axes)):
            if n == len(axes) - 1:
                if rest != f"c{k}":
                    self.line(f"c{k} = {rest}")
            else:
                self.line(f"c{k} = {rest} % {self.word(f'n{k}')}")
                self.line(f"r{k} = {rest} // n{k}")
                rest = f"r{k}"

    def move(self, prefix, axes):
        """Lines that set every pointer's offset for the coordinates of ``axes``, on top of what it is."""
        for p, pointer in enumerate(self.s.pointers):
            steps = [self.step(p, k, c) for k, c in enumerate(pointer.classes) if k in axes and c != "0"]
            if steps:
                before = [self.offsets[p]] if p in self.offsets else []
                self.line(f"{prefix}{p} = {' + '.join(before + steps)}")
                self.offsets[p] = f"{prefix}{p}"

    def step(self, p, axis, c):
        """How far pointer ``p`` is moved by the coordinate of an axis."""
        return f"c{axis}" if c == "1" else f"c{axis} * {self.word(f's{p}_{axis}') if c == 's' else c}"

    def store(self, store, inner=None):
        i, p, _ = store
        value = f"float32({self.value(i)})" if self.kind(i) != self.s.items[i][2] else self.value(i)
        self.line(f"p{p}[{self.index(p, inner)}] = {value}")

    # ---- the file around the code

    def text(self):
        ops = sorted({i[0] for i in self.s.items} - {"load", "weak", "const", "iota"})
        head = [f'"""{self.s.style.capitalize()}: {", ".join(ops) or "copy"}."""', *self.imports(), "", "", *self.header()]
        return "\n".join(head + self.lines) + "\n"

    def imports(self):
        body = "\n".join(self.lines)
        casts = sorted({n for n in NUMBA.values() if f"{n}(" in body})
        special = [n for n in ("inf", "nan") if f"({n})" in body or f"(-{n})" in body]
        result = [f"from math import {', '.join(special)}"] if special else []
        if self.cuda:
            result = ["import math"] * ("math." in body) + result + ["", f"from numba import {', '.join(['cuda', *casts])}"]
            return [r for k, r in enumerate(result) if r or k]
        result += [""] * bool(result) + ([f"from numba import {', '.join(casts)}", ""] if casts else [])
        reducers = sorted(n for n in self.names if n[:4] in ("sum_", "max_", "min_"))
        pointers = {self.pointer_type(p) for p in self.s.pointers}
        functions = sorted(pointers | {"parallel_loops"} | {w for w in _calls(body) if _is_vecmath(w)})
        result += [f"from hybridnn.jit.reducers import {', '.join(reducers)}"] if reducers else []
        return [*result, f"from hybridnn.jit.vecmath import {', '.join(functions)}"]

    def pointer_type(self, pointer):
        return "ptr_i64" if pointer.role == "weak" and pointer.kind == "b1" else f"ptr_{SUFFIX[pointer.kind]}"

    def header(self):
        pointers = [f"p{p}" for p in range(len(self.s.pointers)) if not (self.cuda and self.s.pointers[p].role == "scratch")]
        words = parameters(self.s)
        if self.cuda:
            return [f"def kernel({', '.join([*pointers, *words])}):"]
        lines = [f"    p{p} = {self.pointer_type(pointer)}(bufs, args, {2 * p})" for p, pointer in enumerate(self.s.pointers)]
        body = set(re.findall(r"\w+", "\n".join(self.lines)))
        first = 2 * len(self.s.pointers)
        lines += [f"    {name} = args[{first + k}]" for k, name in enumerate(words) if name in body]
        self.line("parallel_loops()")
        return ["def kernel(bufs, args, lo, hi):", *lines]


def _calls(text):
    return set(re.findall(r"([A-Za-z_][A-Za-z_0-9]*)\(", text))


def _is_vecmath(name):
    return name.rpartition("_")[2] in ("f32", "f64", "bool", "i32",
                                       "i64") and not name.startswith(("sum_", "max_", "min_", "ptr_"))


# ------------------------------------------------------------------------------------------------------------------ map style

def _map(w):
    axes, items = range(len(w.s.axes)), range(len(w.s.items))
    inner = len(axes) - 1
    top = [i for i in items if not w.s.items[i][3]]
    for i in top:
        w.emit(i)
    if inner <= 0:
        _flat_loop(w, [i for i in items if i not in top], inner)
    elif w.cuda:
        w.line(f"for i in range(cuda.grid(1), {' * '.join(f'n{k}' for k in axes)}, cuda.gridsize(1)):")
        w.depth = 2
        w.unravel("i", list(axes))
        w.move("o", set(axes) - {inner})
        _body(w, [i for i in items if i not in top], w.s.stores, f"c{inner}")
        w.depth = 1
    else:
        _nested_loops(w, top, inner)


def _flat_loop(w, rest, inner):
    """Rank 0 or 1."""
    looks = [] if inner < 0 or w.cuda else _decaying(w.s)
    if looks:
        _guarded_loop(w, rest, looks)
        return
    if inner < 0:
        w.line("for i in range(cuda.grid(1), 1, cuda.gridsize(1)):" if w.cuda else "for i in range(lo, hi):")
    else:
        w.line("for i in range(cuda.grid(1), n0, cuda.gridsize(1)):" if w.cuda else "for i in range(lo, hi):")
    w.depth = 2
    _body(w, rest, w.s.stores, "i")
    w.depth = 1


def _decaying(s):
    """Loads that tell where a float32 kernel would compute with subnormal numbers: update rules with second moments, which take the root of something
    that a gradient's square is in.

    The moments of a parameter that gets no gradients any more, such as those of a dead unit, decay until they are subnormal, and stay so. One look
    per element has to do: at the first moment, which decays fastest, or at the gradient where there is none.
    """
    squared, bases = set(), set()
    for i, (fn, args, kind, _, _) in enumerate(s.items):
        square = fn in ("multiply", "square") and len(set(args)) == 1
        if square:
            bases.add(args[0])
        if square or not squared.isdisjoint(args):
            squared.add(i)
        if fn == "sqrt" and kind == "f4" and i in squared and all(item[2] != "f8" for item in s.items if item[3]):
            first = {a for fn, args, *_ in s.items if fn == "subtract" and not bases.isdisjoint(args) for a in args} - bases - squared
            return [a for a in sorted(first or bases) if s.items[a][0] == "load" and s.items[a][3]]
    return []


def _guarded_loop(w, rest, looks):
    """In blocks. One that holds very small numbers is computed in float64, where none is subnormal: a float32 product that is takes a hundred times as long."""
    items = w.s.items
    for i, item in enumerate(items):
        if i not in rest and item[0] != "const" and item[2] == "f4":
            w.line(f"d{i} = float64(v{i})")
    w.line(f"for b in range(lo, hi, {BLOCK}):")
    w.depth = 2
    w.block(BLOCK, "hi")
    w.line("k = int32(2147483647)")
    w.line("for j in range(b, e):")
    w.depth = 3
    for i in looks:
        w.line(f"k = least_i32(k, smallness_f32(p{items[i][4]}[{w.index(items[i][4], 'j')}]))")
    w.depth = 2
    w.line(f"m = e if k < int32({TINY}) else b")
    for first, last, wide in (("b", "m", True), ("m", "e", False)):
        w.wide = wide
        w.line(f"for i in range({first}, {last}):")
        w.depth = 3
        _body(w, rest, w.s.stores, "i")
        w.depth = 2
    w.depth = 1


def _nested_loops(w, top, inner):
    items = w.s.items
    w.line("for o in range(lo, hi):")
    w.depth = 2
    w.unravel("o", list(range(inner)))
    w.move("o", set(range(inner)))
    outer = [i for i in range(len(items)) if i not in top and inner not in items[i][3]]
    for i in outer:
        w.emit(i)
    w.line(f"for i in range({w.word(f'n{inner}')}):")
    w.depth = 3
    _body(w, [i for i in range(len(items)) if inner in items[i][3]], w.s.stores, "i")
    w.depth = 1


def _body(w, items, stores, inner):
    for i in items:
        w.emit(i, inner)
    for store in stores:
        w.store(store, inner)


# ------------------------------------------------------------------------------------------------------------------ row style

def _stages(s):
    """Per item the number of reductions that must be complete, one after the other, before it is known."""
    stage = []
    for fn, args, _, _, _ in s.items:
        below = max([stage[a] for a in args], default=0)
        stage.append(below + 1 if fn in REDUCTIONS else below)
    return stage


def _row(w):
    s = w.s
    stage = _stages(s)
    reduced = [k for k, r in enumerate(s.axes) if r]
    outer = [k for k, r in enumerate(s.axes) if not r]
    full = {i for i, item in enumerate(s.items) if set(item[3]) & set(reduced)}
    top = [i for i in range(len(s.items)) if not s.items[i][3] and stage[i] == 0 and i not in full]
    for i in top:
        w.emit(i)
    if w.cuda:
        w.line(f"for o in range(cuda.grid(1), {' * '.join(f'n{k}' for k in outer) or '1'}, cuda.gridsize(1)):")
    else:
        w.line("for o in range(lo, hi):")
    w.depth = 2
    w.unravel("o", outer)
    w.move("o", set(outer))
    plan = _RowPlan(w, stage, reduced, full, [i for i in range(len(s.items)) if i not in full and i not in top])
    plan.write()
    w.depth = 1


class _RowPlan:
    """The loops of one row, stage by stage."""

    def __init__(self, w, stage, reduced, full, outer):
        self.w, self.stage, self.reduced, self.full, self.outer = w, stage, reduced, full, outer
        self.items, self.stores = w.s.items, w.s.stores
        self.count = 1 + max([stage[i] for i in range(len(self.items))], default=0)
        self.needed = [self._needed(k) for k in range(self.count)]
        self.parked = self._park()

    def _reductions(self, k):
        return [i for i in range(len(self.items)) if self.items[i][0] in REDUCTIONS and self.stage[i] == k + 1]

    def _stores(self, k):
        return [s for s in self.stores if self._is_full(s) and self.stage[s[0]] == k]

    def _is_full(self, store):
        """Whether the store is made for every element of the row."""
        return bool(set(store[2]) & set(self.reduced))

    def _needed(self, k):
        """Full items that the loop of stage ``k`` computes."""
        stack = [self.items[i][1][0] for i in self._reductions(k)] + [s[0] for s in self._stores(k)]
        seen = set()
        while stack:
            i = stack.pop()
            if i in self.full and i not in seen:
                seen.add(i)
                stack += self.items[i][1]
        return seen

    def _park(self):
        """Expensive items that several loops need wait in the memory of an output: item -> store."""
        parked, taken = {}, set()
        for i in sorted(self.full):
            fn, _, kind, axes, _ = self.items[i]
            loops = [k for k in range(self.count) if i in self.needed[k]]
            if len(loops) < 2 or not is_expensive(fn, kind) or len(axes) != len(self.w.s.axes):
                continue
            for s in self.stores:
                own = s[0] == i
                if s[1] not in taken and (own or self._is_full(s) and self.stage[s[0]] >= loops[-1]
                                          and self.items[s[0]][2] == kind):
                    parked[i] = s
                    taken.add(s[1])
                    break
        return parked

    def write(self):
        for k in range(self.count):
            for i in [i for i in self.outer if self.stage[i] == k and self.items[i][0] not in REDUCTIONS]:
                self.w.emit(i)
            if self._reductions(k) or self._stores(k):
                self._loop(k)
        for s in self.stores:
            if not self._is_full(s):
                self.w.store(s)

    def _loop(self, k):
        w = self.w
        reductions = self._reductions(k)
        sums = [i for i in reductions if self.items[i][0] == "sum" and self.items[i][2] in ("f4", "f8")]
        for i in reductions:
            w.line(f"v{i} = {_initial(self.items[i])}")
        for i in sums:
            w.line(f"k{i} = {literal(0.0, self.items[i][2])}")
        before, depth = dict(w.offsets), w.depth
        inner = self.reduced[-1]
        for axis in self.reduced[:-1]:
            w.line(f"for c{axis} in range({w.word(f'n{axis}')}):")
            w.depth += 1
        if len(self.reduced) > 1:
            w.move("q", set(self.reduced[:-1]))
        if sums:
            w.line(f"for b in range(0, {w.word(f'n{inner}')}, {BLOCK}):")
            w.depth += 1
            for i in sums:
                w.line(f"t{i} = {literal(0.0, self.items[i][2])}")
            w.block(BLOCK, f"n{inner}")
            w.line("for j in range(b, e):")
        else:
            w.line(f"for j in range({w.word(f'n{inner}')}):")
        w.depth += 1
        self._element(k, reductions, sums)
        w.depth -= 1
        for i in sums:
            _compensate(w, f"t{i}", f"v{i}", f"k{i}", self.items[i][2])
        w.depth = depth
        w.offsets.clear()
        w.offsets.update(before)

    def _element(self, k, reductions, sums):
        w = self.w
        skip = self._reloaded(k)
        for i in sorted(self._reached(k, skip)):
            if i in skip:
                w.line(f"v{i} = p{self.parked[i][1]}[{w.index(self.parked[i][1], 'j')}]")
            else:
                w.emit(i, "j")
        for i in reductions:
            _accumulate(w, self.items[i], f"t{i}" if i in sums else f"v{i}", w.value(self.items[i][1][0]))
        for i, s in self.parked.items():
            if i in self.needed[k] and i not in skip and s[0] != i:
                w.line(f"p{s[1]}[{w.index(s[1], 'j')}] = v{i}")
        for s in self._stores(k):
            w.store(s, "j")

    def _reloaded(self, k):
        return {i for i in self.parked if any(i in self.needed[e] for e in range(k))}

    def _reached(self, k, skip):
        """What stage ``k`` must compute when the items in ``skip`` are loaded."""
        stack = [self.items[i][1][0] for i in self._reductions(k)] + [s[0] for s in self._stores(k)]
        seen = set()
        while stack:
            i = stack.pop()
            if i in self.full and i not in seen:
                seen.add(i)
                stack += [] if i in skip else self.items[i][1]
        return seen


def _initial(item):
    fn, _, kind, _, _ = item
    if fn == "sum":
        return literal(0.0 if kind[0] == "f" else 0, kind)
    if kind[0] == "f":
        return literal(float("-inf") if fn == "max" else float("inf"), kind)
    return literal((LOWEST if fn == "max" else HIGHEST)[kind], kind)


def _accumulate(w, item, target, value):
    """``target`` combined with ``value`` by the reduction ``item``."""
    fn, _, kind, _, _ = item
    if kind in ("f4", "f8") and not w.cuda:
        w.line(f"{target} = {w.call(f'{fn}_{SUFFIX[kind]}', target, value)}")
    elif fn == "sum":
        text = f"{target} + {value}"
        w.line(f"{target} = {text if kind in ('f4', 'f8') else f'{NUMBA[kind]}({text})'}")
    else:
        sign = ">" if fn == "max" else "<"
        nan = f" or {value} != {value}" if kind in ("f4", "f8") else ""
        w.line(f"{target} = {value} if {value} {sign} {target}{nan} else {target}")


def _compensate(w, part, total, lost, kind):
    """Kahan's addition of a block's sum; infinities drop the correction."""
    w.line(f"y = {part} - {lost}")
    w.line(f"u = {total} + y")
    w.line(f"{lost} = (u - {total}) - y")
    w.line(f"{lost} = {lost} if {lost} == {lost} else {literal(0.0, kind)}")
    w.line(f"{total} = u")


# --------------------------------------------------------------------------------------------------------------- column style

def _column(w):
    s = w.s
    inner = len(s.axes) - 1
    rows = [k for k, r in enumerate(s.axes) if r]
    blocks = [k for k, r in enumerate(s.axes) if not r and k != inner]
    stage = _stages(s)
    parts = _ColumnParts(w, stage, rows, inner)
    for i in [i for i in range(len(s.items)) if not s.items[i][3] and stage[i] == 0]:
        w.emit(i)
    if w.cuda:
        _column_cuda(w, parts, rows, blocks, inner)
        return
    if blocks:
        w.line(f"for o in range({' * '.join(w.word(f'n{k}') for k in blocks)}):")
        w.depth += 1
        w.unravel("o", blocks)
        w.move("o", set(blocks))
    for i in parts.of_blocks:
        w.emit(i)
    parts.write(rows, inner)
    w.depth = 1


class _ColumnParts:
    """Items by where they are computed."""

    def __init__(self, w, stage, rows, inner):
        items = w.s.items
        self.w, self.items = w, items
        self.reductions = [i for i in range(len(items)) if items[i][0] in REDUCTIONS]
        late = [i for i in range(len(items)) if stage[i] > 0 and i not in self.reductions]
        early = [i for i in range(len(items)) if stage[i] == 0 and items[i][3]]
        used_late = _operands(items, [*late, *[s[0] for s in w.s.stores if stage[s[0]] > 0]])
        full = [i for i in early if inner in items[i][3]]
        self.of_rows = [i for i in early if inner not in items[i][3] and set(items[i][3]) & set(rows)]
        self.of_blocks = [i for i in early if inner not in items[i][3] and i not in self.of_rows]
        self.again = [i for i in full if i in used_late]
        self.late = late
        self.stores = [s for s in w.s.stores if stage[s[0]] == 0]
        self.late_stores = [s for s in w.s.stores if stage[s[0]] > 0]
        summed = _operands(items, [*(items[i][1][0] for i in self.reductions), *(s[0] for s in self.stores)])
        self.full = [i for i in full if i in summed]
        first = sum(p.role != "scratch" for p in w.s.pointers)
        self.scratch = {}
        for i in self.reductions:
            n = 3 if items[i][0] == "sum" else 1
            self.scratch[i] = list(range(first, first + n))
            first += n

    def write(self, rows, inner):
        w = self.w
        self._columns(lambda i, ps: [f"p{ps[-1] if len(ps) == 1 else ps[1]}[j] = {_initial(self.items[i])}",
                                     *[f"p{p}[j] = {literal(0, self.items[i][2])}" for p in ps[2:]]])
        n = " * ".join(w.word(f"n{k}") for k in rows)
        w.line(f"for b in range(0, {n}, {ROWS}):")
        w.depth += 1
        if any(len(ps) == 3 for ps in self.scratch.values()):
            self._columns(lambda i, ps: [f"p{ps[0]}[j] = {literal(0, self.items[i][2])}"] if len(ps) == 3 else [])
        w.block(ROWS, n)
        w.line("for r in range(b, e):")
        w.depth += 1
        before = dict(w.offsets)
        w.unravel("r", rows)
        w.move("q", set(rows))
        for i in self.of_rows:
            w.emit(i)
        self._row_of_columns()
        w.offsets.clear()
        w.offsets.update(before)
        w.depth -= 1
        if any(len(ps) == 3 for ps in self.scratch.values()):
            self._columns(self._fold)
        w.depth -= 1
        self._finish()

    def _columns(self, lines_of):
        """A loop over columns with the lines that each reduction asks for."""
        w = self.w
        w.line("for j in range(lo, hi):")
        for i, ps in self.scratch.items():
            for text in lines_of(i, ps):
                w.line("    " + text)

    def _row_of_columns(self):
        w = self.w
        w.line("for j in range(lo, hi):")
        w.depth += 1
        for i in self.full:
            w.emit(i, "j")
        for i, ps in self.scratch.items():
            p, item, value = ps[0], self.items[i], w.value(self.items[i][1][0])
            if item[0] == "sum":
                text = f"p{p}[j] + {value}"
                w.line(f"p{p}[j] = {text if item[2] in ('f4', 'f8') else f'{NUMBA[item[2]]}({text})'}")
            else:
                w.line(f"m{i} = p{p}[j]")
                _accumulate(w, item, f"m{i}", value)
                w.line(f"p{p}[j] = m{i}")
        for s in self.stores:
            w.store(s, "j")
        w.depth -= 1

    def _fold(self, i, ps):
        if len(ps) != 3:
            return []
        part, total, lost = (f"p{p}[j]" for p in ps)
        kind = self.items[i][2]
        if kind not in ("f4", "f8"):
            return [f"{total} = {NUMBA[kind]}({total} + {part})"]
        return [f"y{i} = {part} - {lost}", f"t{i} = {total}", f"u{i} = t{i} + y{i}", f"l{i} = (u{i} - t{i}) - y{i}",
                f"{lost} = where_{SUFFIX[kind]}(l{i} == l{i}, l{i}, {literal(0.0, kind)})", f"{total} = u{i}"]

    def _finish(self):
        w = self.w
        w.line("for j in range(lo, hi):")
        w.depth += 1
        for i in self.again:
            w.emit(i, "j")
        for i, ps in self.scratch.items():
            w.line(f"v{i} = p{ps[1] if len(ps) == 3 else ps[0]}[j]")
        for i in self.late:
            w.emit(i, "j")
        for s in self.late_stores:
            w.store(s, "j")
        w.depth -= 1


def _operands(items, roots):
    """The roots and all that they are computed from, down to reductions."""
    stack, seen = list(roots), set()
    while stack:
        i = stack.pop()
        if i not in seen:
            seen.add(i)
            stack += () if items[i][0] in REDUCTIONS else items[i][1]
    return seen


def _column_cuda(w, parts, rows, blocks, inner):
    """A thread per column, with its sums in registers."""
    items, kept = w.s.items, [*blocks, inner]
    w.line(f"for o in range(cuda.grid(1), {' * '.join(f'n{k}' for k in kept)}, cuda.gridsize(1)):")
    w.depth = 2
    w.unravel("o", kept)
    w.move("o", set(blocks))
    j = f"c{inner}"
    sums = [i for i in parts.reductions if items[i][0] == "sum"]
    for i in parts.reductions:
        w.line(f"v{i} = {_initial(items[i])}")
    for i in sums:
        w.line(f"k{i} = {literal(0, items[i][2])}")
    for i in parts.of_blocks:
        w.emit(i)
    n = " * ".join(f"n{k}" for k in rows)
    w.line(f"for b in range(0, {n}, {ROWS}):")
    w.depth = 3
    for i in sums:
        w.line(f"t{i} = {literal(0, items[i][2])}")
    w.block(ROWS, n)
    w.line("for r in range(b, e):")
    w.depth = 4
    before = dict(w.offsets)
    w.unravel("r", rows)
    w.move("q", set(rows))
    for i in [*parts.of_rows, *parts.full]:
        w.emit(i, j)
    for i in parts.reductions:
        _accumulate(w, items[i], f"t{i}" if i in sums else f"v{i}", w.value(items[i][1][0]))
    for s in parts.stores:
        w.store(s, j)
    w.offsets.clear()
    w.offsets.update(before)
    w.depth = 3
    for i in sums:
        if items[i][2] in ("f4", "f8"):
            _compensate(w, f"t{i}", f"v{i}", f"k{i}", items[i][2])
        else:
            w.line(f"v{i} = {NUMBA[items[i][2]]}(v{i} + t{i})")
    w.depth = 2
    for i in [*parts.again, *parts.late]:
        w.emit(i, j)
    for s in parts.late_stores:
        w.store(s, j)
    w.depth = 1
