"""``Writer``: the lines of a kernel, and the file around them."""
import functools
import re
from contextlib import contextmanager
from dataclasses import dataclass, field

from hybridnn.jit.support import NUMBA, SUFFIX, expression, is_expensive, literal

__all__ = ["Writer", "lessened", "parameters"]


def parameters(structure):
    """Names of the words behind the pointers: sizes, then strides given at run time."""
    sizes = [f"n{k}" for k in range(len(structure.axes))]
    return sizes + [f"s{p}_{k}" for p, pointer in enumerate(structure.pointers) for k, c in enumerate(pointer.classes)
                    if c == "s"]


@functools.lru_cache(4096)
def lessened(structure):
    """By how much less native code gets each of ``parameters``: strides along the innermost axis by one, which it adds.

    Of a stride that is a single unknown number LLVM assumes that it is 1, and makes code without vectors for all others (LoopAccessAnalysis, symbolic
    strides); the sum is none. Where there are no elementary functions, to compute one by one takes less time than to put vectors together and apart.
    """
    last = f"_{len(structure.axes) - 1}"
    pays = any(is_expensive(structure.items, i) for i in structure.items)
    return tuple([int(pays and name.startswith("s") and name.endswith(last)) for name in parameters(structure)])


@dataclass
class Writer:
    """Collects the lines of a kernel."""
    s: object
    target: str
    lines: list = field(default_factory=list)
    depth: int = 1
    names: set = field(default_factory=set)      # functions to import
    locals: set = field(default_factory=set)     # those that make room for arrays
    offsets: dict = field(default_factory=dict)  # pointer -> name of its current offset
    places: dict = field(default_factory=dict)   # pointer -> name of an array that holds copies of what it steps along now
    wide: frozenset = frozenset()                # float32 items that are computed in float64, under other names

    @property
    def cuda(self):
        return self.target == "cuda"

    def line(self, text):
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def loop(self, head):
        """What is written inside is the body of this loop; pointers that are moved there are where they were after it."""
        self.line(head)
        before = dict(self.offsets)
        self.depth += 1
        yield
        self.depth -= 1
        self.offsets = before

    def call(self, name, *args):
        self.names.add(name)
        return f"{name}({', '.join(args)})"

    def value(self, i):
        """An operand's text: a variable, or a literal."""
        item = self.s.items[i]
        if item.fn == "const":
            return literal(item.value, self.kind(i))
        return f"d{i}" if i in self.wide else f"v{i}"

    def kind(self, i):
        return "f8" if i in self.wide else self.s.items[i].kind

    def operand(self, a, wide):
        """Text and kind of an operand of an item, which is computed in float64 or not."""
        item = self.s.items[a]
        kind = "f8" if wide and item.kind == "f4" else item.kind
        if item.fn == "const":
            return literal(item.value, kind), kind
        if kind == item.kind:       # what is no float is computed from what float32 holds, as everywhere else
            return f"float32(d{a})" if a in self.wide and item.axes else f"v{a}", kind
        return self.value(a) if a in self.wide else f"float64(v{a})", kind

    def index(self, p, inner=None):
        """Element index of pointer ``p``; ``inner`` is the variable of the innermost axis, if the pointer steps along it here."""
        terms = [self.offsets[p]] if p in self.offsets else []
        last = self.s.pointers[p].classes[-1] if self.s.pointers[p].classes else "0"
        if inner is not None and last != "0":
            step = f"s{p}_{len(self.s.axes) - 1}" if last == "s" else last
            terms.append(inner if step == "1" else f"{inner} * {step}")
        return " + ".join(terms) or "0"

    def place(self, p, inner=None):
        """Where the element lies that ``index`` tells of, or its copy."""
        return f"{self.places[p]}[{inner}]" if p in self.places else f"p{p}[{self.index(p, inner)}]"

    def emit(self, i, inner=None):
        """The line that computes item ``i``."""
        fn, args, kind, axes, value = self.s.items[i]
        if fn == "const":
            return
        if fn == "load":
            text = self.place(value, inner)
            text = f"float64({text})" if self.kind(i) != kind else f"{text} != 0" if kind == "b1" and self.cuda else text
        elif fn == "weak":
            text = f"p{value}[0]" + (" != 0" if kind == "b1" else "")
        elif fn == "iota":
            text = f"{NUMBA[kind]}({self.coordinate(value, inner)})"
        else:
            text = self.expression(fn, self.kind(i), args, i in self.wide)
        self.line(f"{self.value(i)} = {text}")

    def expression(self, fn, kind, args, wide):
        constants = [i.value if i.fn == "const" else None for i in (self.s.items[a] for a in args)]
        texts, kinds = zip(*[self.operand(a, wide) for a in args], strict=True)
        text = expression(fn, kind, kinds, texts, constants, self.cuda)
        return text if self.cuda else text.replace(f"{fn}_", f"{_narrower(self.s.items, fn, args)}_", 1)

    def coordinate(self, axis, inner):
        return inner if axis == len(self.s.axes) - 1 and inner is not None else f"c{axis}"

    def local(self, name, kind, count):
        """The line that makes room for so many elements."""
        self.locals.add(f"local_{SUFFIX[kind]}")
        self.line(f"{name} = local_{SUFFIX[kind]}({count})")

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
                self.line(f"c{k} = {rest} % n{k}")
                self.line(f"r{k} = {rest} // n{k}")
                rest = f"r{k}"

    @contextmanager
    def outer_loop(self, axes, lo="lo", hi="hi"):
        """What is written inside is done for the points from ``lo`` to ``hi`` of the space of these axes, with pointers moved there. There is no division for
        each of them, which would take longer than a short row."""
        if len(axes) < 2:
            with self.loop(f"for o in range({lo}, {hi}):"):
                self.unravel("o", axes)
                self.move("o", set(axes))
                yield
            return
        with self.loop_along(axes, lo, hi) as (first, last), self.loop(f"for c{axes[-1]} in range({first}, {last}):"):
            self.move("o", {axes[-1]})
            yield

    @contextmanager
    def loop_along(self, axes, lo="lo", hi="hi"):
        """A loop over all of the axes but the last; gives the ends of the piece of this one that lies between ``lo`` and ``hi``."""
        *above, along = axes
        n = f"n{along}"
        with self.loop(f"for g in range({lo} // {n}, ({hi} + {n} - 1) // {n}):"):
            self.unravel("g", above)
            self.move("f", set(above))
            self.line(f"first = {lo} - g * {n} if {lo} > g * {n} else 0")
            self.line(f"last = {hi} - g * {n} if {hi} < (g + 1) * {n} else {n}")
            yield "first", "last"

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
        factor = {"1": "", "s": f" * s{p}_{axis}", "d": f" * n{axis + 1}"}.get(c, f" * {c}")
        return f"c{axis}{factor}"

    def store(self, store, inner=None):
        i, p, _ = store
        value = f"float32({self.value(i)})" if self.kind(i) != self.s.items[i].kind else self.value(i)
        self.line(f"{self.place(p, inner)} = {value}")

    # ---- the file around the code

    def text(self):
        ops = sorted({i.fn for i in self.s.items} - {"load", "weak", "const", "iota"})
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
        functions = sorted(pointers | self.locals | {self.promise()} | {w for w in _calls(body) if _is_vecmath(w)})
        result += [f"from hybridnn.jit.reducers import {', '.join(reducers)}"] if reducers else []
        return [*result, f"from hybridnn.jit.vecmath import {', '.join(functions)}"]

    def promise(self):
        return "parallel_long_loops" if self.s.long else "parallel_loops"

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
        lines += [f"    {name} = {'1 + ' * less}args[{first + k}]" for k, (name, less) in enumerate(zip(words, lessened(self.s), strict=True)) if name in body]
        self.line(self.promise() + "()")
        return ["def kernel(bufs, args, lo, hi):", *lines]


def _narrower(items, fn, args):
    """The name of a function that takes less time than ``fn`` for the operands that these items can be."""
    if fn == "exp" and _is_never_positive(items, *args):
        return "exp_down"
    if fn == "log1p" and items[args[0]].fn == "exp" and _is_never_positive(items, *items[args[0]].args):
        return "log1p_unit"
    return fn


def _is_never_positive(items, i):
    """Whether an item is -|x|, x less the largest of which it is one, or a square with a minus: what exp is taken of in sigmoids, softmax and normal densities.
    (It may be NaN.)"""
    fn, args, *_ = items[i]
    if fn == "subtract":
        return items[args[1]].fn == "max" and items[args[1]].args[0] == args[0]
    return _sign(items, i) == (-1, frozenset())


def _sign(items, i, depth=6):
    """(s, factors): an item has the sign s times those of the factors, which are other items. Of products within products, so many are looked through."""
    fn, args, *_, value = items[i]
    if fn == "absolute":
        return 1, frozenset()
    if fn == "const":
        return (-1 if value < 0 else 1), frozenset()
    if fn not in ("negative", "multiply", "divide") or not depth:
        return 1, frozenset([i])
    sign, factors = (-1 if fn == "negative" else 1), frozenset()
    for a in args:
        s, more = _sign(items, a, depth - 1)
        sign, factors = sign * s, factors ^ more      # two that are the same have one sign together
    return sign, factors


def _calls(text):
    return set(re.findall(r"([A-Za-z_][A-Za-z_0-9]*)\(", text))


def _is_vecmath(name):
    typed = name.rpartition("_")[2] in ("f32", "f64", "bool", "i32", "i64")
    return name == "turn" or typed and not name.startswith(("sum_", "max_", "min_", "ptr_", "local_"))
