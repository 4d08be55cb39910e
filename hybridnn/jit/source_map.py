"""Kernels of style "map" and "crossed": no reduction. The range is the flat space, or all axes but the innermost. Where operands are transposed ("crossed"),
pieces of the innermost axis are gone over for all rows, one after the other, so that what lies beside an element is still in a cache when it is needed."""
import numpy as np

from hybridnn.jit.nest import reached

__all__ = ["write_map"]

BLOCK = 256      # elements that are looked at together for very small numbers
PIECE = 32       # elements of the innermost axis that are gone over for all rows
SQUARED, SCALED = 1e-17, 1e-36      # numbers below which squares, times a rate, are subnormal; and multiples by a rate
AVERAGED = 1e-33      # the same of running averages with rates of 0.001


def write_map(w):
    axes, items = range(len(w.s.axes)), range(len(w.s.items))
    inner = len(axes) - 1
    top = [i for i in items if not w.s.items[i].axes]
    rest = [i for i in items if w.s.items[i].axes]
    for i in top:
        w.emit(i)
    if inner <= 0:
        _flat_loop(w, rest, inner)
    elif w.cuda:
        with w.loop(f"for i in range(cuda.grid(1), {' * '.join(f'n{k}' for k in axes)}, cuda.gridsize(1)):"):
            w.unravel("i", list(axes))
            w.move("o", set(axes) - {inner})
            _body(w, rest, f"c{inner}")
    else:
        _nested_loops(w, rest, inner)


def _flat_loop(w, rest, inner):
    """Rank 0 or 1."""
    if inner == 0 and not w.cuda:
        for looks, bound in (_moments(w.s), SQUARED), (_velocities(w.s), SCALED):
            if looks:
                _guarded_loop(w, rest, looks, bound)
                return
    n = "1" if inner < 0 else "n0"
    with w.loop(f"for i in range(cuda.grid(1), {n}, cuda.gridsize(1)):" if w.cuda else "for i in range(lo, hi):"):
        _body(w, rest, "i")


def _moments(s):
    """Loads that tell where a float32 kernel would compute with subnormal numbers: update rules with second moments, which store something that a gradient's
    square is in, and take its root.

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
        if fn == "sqrt" and kind == "f4" and i in squared and _is_single(s) and any(store.item in squared - {i} for store in s.stores):
            first = {a for fn, args, *_ in s.items if fn == "subtract" and not bases.isdisjoint(args) for a in args} - bases - squared
            return [a for a in sorted(first or bases) if s.items[a].fn == "load" and s.items[a].axes]
    return []


def _is_single(s):
    return all(item.kind != "f8" for item in s.items if item.axes)


def _velocities(s):
    """The same for running averages of other update rules, such as momentum: what is multiplied by a number and has something added, is stored, and goes into
    another result. No other float32 numbers than sums are stored: they would come out as if float32 held larger and smaller ones than it does."""
    items, stored = s.items, {store.item for store in s.stores}
    if any(items[i].kind == "f4" and items[i].fn not in ("add", "subtract") for i in stored):
        return []
    for i in sorted(stored):
        scaled = [a for a in items[i].args if items[a].fn == "multiply"] if items[i].fn in ("add", "subtract") and items[i].kind == "f4" else []
        loads = [a for m in scaled for a in items[m].args if items[a].fn == "load" and items[a].axes and any(not items[b].axes for b in items[m].args)]
        if loads and _is_single(s) and not stored.isdisjoint(_above(items, i)):
            return loads[:1]
    return []


def _above(items, i):
    """What is computed from item ``i``."""
    found = {i}
    for j in range(i + 1, len(items)):
        if not found.isdisjoint(items[j].args):
            found.add(j)
    return found - {i}


def _guarded_loop(w, rest, looks, bound):
    """In blocks. One that holds very small numbers is computed in float64, where none is subnormal: a float32 product that is takes a hundred times as long.

    Where roots and quotients do not depend on those numbers, and what they depend on is not small, they stay in float32, three times as fast.
    """
    singles = frozenset(i for i, item in enumerate(w.s.items) if item.kind == "f4" and item.fn != "const")
    scalars = singles.difference(rest)
    for i in sorted(scalars):
        w.line(f"d{i} = float64(v{i})")
    mixed = scalars | singles.intersection(looks).union(*[_above(w.s.items, i) for i in looks]) & singles
    others = _looks_of_roots(w.s.items, mixed)
    with w.loop(f"for b in range(lo, hi, {BLOCK}):"):
        w.block(BLOCK, "hi")
        w.line(f"m = e if {_look(w, dict.fromkeys(looks, bound), 'b', 'e')} else b")
        if others:
            w.line(f"d = m if {_look(w, others, 'b', 'm')} else b")
        slow = (("b", "d", singles), ("d", "m", mixed)) if others else (("b", "m", singles),)
        for first, last, wide in (*slow, ("m", "e", frozenset())):
            w.wide = wide
            with w.loop(f"for i in range({first}, {last}):"):
                _body(w, rest, "i")


def _look(w, bounds, first, last):
    """Lines that look at loads, and the condition that one of them is below its bound somewhere."""
    items, below = w.s.items, []
    for i, bound in bounds.items():
        w.line(f"k{i} = int32(2147483647)")
        below.append(f"k{i} < int32({int(np.float32(bound).view(np.int32)) - 1 - 2**31})")
    with w.loop(f"for j in range({first}, {last}):"):
        for i in bounds:
            w.line(f"k{i} = least_i32(k{i}, smallness_f32(p{items[i].value}[{w.index(items[i].value, 'j')}]))")
    return " or ".join(below)


def _looks_of_roots(items, mixed):
    """What roots are computed from, with the bounds below which that needs float64; nothing if roots or quotients are in float64 themselves."""
    costly = [i for i, item in enumerate(items) if item.fn in ("sqrt", "divide") and item.axes]
    if not costly or not mixed.isdisjoint(costly):
        return {}
    below = sorted(a for a in reached(items, costly) if items[a].fn == "load" and items[a].axes and items[a].kind == "f4")
    squares = {a for item in items if item.fn in ("multiply", "square") and len(set(item.args)) == 1 for a in item.args}
    squared = reached(items, squares)
    return {a: SQUARED if a in squared else AVERAGED for a in below}


def _nested_loops(w, rest, inner, ends=""):
    items = w.s.items
    if w.s.style == "crossed" and not ends:
        with w.loop(f"for b in range(0, n{inner}, {PIECE}):"):
            w.block(PIECE, f"n{inner}")
            _nested_loops(w, rest, inner, "b, e")
        return
    with w.outer_loop(list(range(inner))):
        for i in rest:
            if inner not in items[i].axes:
                w.emit(i)
        with w.loop(f"for i in range({ends or f'n{inner}'}):"):
            _body(w, [i for i in rest if inner in items[i].axes], "i")


def _body(w, items, inner):
    for i in items:
        w.emit(i, inner)
    for store in w.s.stores:
        w.store(store, inner)
