"""From a ``Nest`` and where its operands lie to a kernel's ``Structure`` (which decides its text) and its run-time arguments.

Adjacent axes that all operands step through evenly become one, so that most kernels have one or two axes. What is left of strides
is a class per operand and axis: 0, 1 to 4 (innermost axis only), "d" (rows that lie one right after the other, where that matters) or "s", given at run time.
So structures, and with them compiled kernels, do not depend on sizes, but for styles and whether the innermost axis is long.
"""
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from hybridnn.jit.known import Known
from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.row_costs import SHORT, across_pays, joining_pays
from hybridnn.jit.scalar import FLOATS
from hybridnn.jit.source_folded import COLUMNS
from hybridnn.jit.source_joined import ELEMENTS, JOINED

__all__ = ["Instruction", "Operand", "Output", "Pointer", "Structure", "arrange"]

_structures = Known(4096)      # what a structure depends on -> it, and the nest whose code that names
BLOCKS, ROWS = 8, 32      # fewer blocks, or rows in a block, and threads share columns
ACROSS = 16     # rows at least along the last axis that is kept, if there are several
CLOSE = 8       # elements of an axis that lie at most so far apart share cache lines
SAME_SETS = 256     # pieces of an innermost axis are gone over where an operand is transposed and its elements along it lie a multiple of this apart: 1.5 to
LINES, LINE = 8192, 16      # 9 times as fast where there are many; elements from which on that pays otherwise, and of the axis before: 4 times as fast
FEW_ROWS, MANY_COLUMNS = 32, 4096   # as many rows are added up without compensation in any case; columns from which on it pays to have code for that
LONG = 64       # elements of an innermost axis from which on code is made that goes over several vectors at once
JOINING = "tiled", "flat", "folded"     # styles that go over the last two axes as one
ACROSS_ROWS = "short", *JOINING         # styles whose innermost loops go over many rows
ITEMSIZE = {"f4": 4, "f8": 8, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8, "b1": 1}


class Operand(NamedTuple):
    """An array in memory: buffer index, byte offset, and strides in bytes per dimension."""
    buf: int
    offset: int
    strides: tuple


class Pointer(NamedTuple):
    """An operand of a kernel: dtype code, role (load, store, weak, scratch) and a stride class per axis."""
    kind: str
    role: str
    classes: tuple


class Instruction(NamedTuple):
    """As ``nest.Item``, in axes of the structure; the ``value`` of a load or weak number is a pointer's index, that of an iota an axis."""
    fn: str
    args: tuple
    kind: str
    axes: tuple
    value: Any


class Output(NamedTuple):
    """Instruction ``item`` goes where ``pointer`` points, an element for each point of ``axes``."""
    item: int
    pointer: int
    axes: tuple


@dataclass(frozen=True, eq=False, slots=True)
class Structure:
    """All that the text of a kernel depends on. Nests of the same code get the same one.

    ``axes`` says per axis whether it is reduced. ``items`` are ``Instruction``s, ``stores`` ``Output``s. ``style`` is "map", "tiled",
    "crossed", "row", "short", "flat", "column", "few", "blocks" or "folded". ``long``: whether the innermost loops go over ``LONG`` elements or more.
    """
    style: str
    axes: tuple
    items: tuple
    stores: tuple
    pointers: tuple
    long: bool = False


@dataclass(frozen=True)
class Arranged:
    """A kernel call: its structure, sizes of the axes, the run-time words behind the pointers, bytes of scratch per pointer, and
    the range.
    """
    structure: Structure
    sizes: tuple
    operands: tuple      # (input or output position, role, Operand)
    words: tuple
    strides: tuple       # per operand, in elements per axis
    scratch: tuple       # bytes per scratch pointer
    hi: int


def arrange(nest, inputs, outputs):
    """``inputs[k]`` and ``outputs[k]`` are the Operands of the nest's operand k (None where it is not read). Raises ValueError
    if misaligned.
    """
    pointers, where = [], {}
    for number, item in enumerate(nest.items):
        if item.fn in ("load", "weak"):
            position, dims = item.value if item.fn == "load" else (item.value, ())
            where[number] = len(pointers)
            role = "load" if item.fn == "load" else "weak"
            pointers.append((item.kind, role, inputs[position], _strides(nest, inputs[position], dims, ITEMSIZE[item.kind]),
                             position))
    for store in nest.stores:
        kind = nest.items[store.item].kind
        operand = outputs[store.position]
        pointers.append((kind, "store", operand, _strides(nest, operand, store.dims, ITEMSIZE[kind]), store.position))
    groups = _collapse(nest, [p[3] for p in pointers])
    return _build(nest, pointers, where, groups)


def _strides(nest, operand, dims, itemsize):
    """Strides in elements per axis; 0 where the operand does not depend on it."""
    result = [0] * len(nest.sizes)
    for stride, axis in zip(operand.strides, dims, strict=False):
        if axis >= 0:
            if stride % itemsize:
                raise ValueError("an operand whose stride is no multiple of its element size")
            result[axis] += stride // itemsize
    if operand.offset % itemsize:
        raise ValueError("an operand that is not aligned")
    return result


def _collapse(nest, strides):
    """Lists of axes that become one, outermost first."""
    pinned = {i.value for i in nest.items if i.fn == "iota"}
    groups = []
    for axis, size in enumerate(nest.sizes):
        last = groups[-1][-1] if groups else None
        if last is not None and (last in nest.reduced) == (axis in nest.reduced) and not {last, axis} & pinned and \
                all(s[last] == s[axis] * size for s in strides):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _size(nest, group):
    n = 1
    for a in group:
        n *= nest.sizes[a]
    return n


def _build(nest, pointers, where, groups):
    sizes = tuple([_size(nest, g) for g in groups])
    reduced = tuple([g[0] in nest.reduced for g in groups])
    strides = [[s[g[-1]] for g in groups] for _, _, _, s, _ in pointers]
    style = _style(nest, sizes, reduced, groups, strides, len(where))
    joined = sizes[-1] if style in JOINING else None
    classes = tuple([tuple([_class(s, False) for s in row[:-2]]) + _last_classes(row[-2:], joined) for row in strides])
    structure = _structure(nest, style, groups, classes, where, len(sizes) < 2 or style in ACROSS_ROWS or sizes[-1] >= LONG)
    scratch = _scratch(nest, style, sizes, reduced, structure.pointers)
    words = sizes + tuple([s for row, kinds in zip(strides, classes) for s, c in zip(row, kinds) if c == "s"])
    operands = tuple([(position, role, operand) for _, role, operand, _, position in pointers])
    return Arranged(structure, sizes, operands, words, tuple(map(tuple, strides)), scratch,
                    _range(style, sizes, reduced))


def _structure(nest, style, groups, classes, where, long):
    """The structure of a nest whose axes make these groups, with operands of these classes of strides."""
    key = id(nest.items), id(nest.stores), nest.reduced, style, tuple(map(tuple, groups)), classes, long
    found = _structures.get(key)
    if found is None:
        found = _structures[key] = _new_structure(nest, style, groups, classes, where, long), nest
    return found[0]


def _new_structure(nest, style, groups, classes, where, long):
    new_axis = {a: k for k, g in enumerate(groups) for a in g}
    items = tuple([_item(i, n, where, new_axis) for n, i in enumerate(nest.items)])
    first_store = len(where)
    stores = tuple([Output(s.item, first_store + k, tuple(sorted({new_axis[d] for d in s.dims if d >= 0}))) for k, s in enumerate(nest.stores)])
    kinds = [*[(nest.items[n].kind, nest.items[n].fn) for n in where], *[(nest.items[s.item].kind, "store") for s in nest.stores]]
    pointers = [Pointer(kind, role, c) for (kind, role), c in zip(kinds, classes, strict=True)]
    pointers += [Pointer(kind, "scratch", ()) for kind in _scratch_kinds(nest, style)]
    return Structure(style, tuple([g[0] in nest.reduced for g in groups]), items, stores, tuple(pointers), long)


def _style(nest, sizes, reduced, groups, strides, loads):
    if not nest.reduced:
        return "tiled" if _joins(nest, sizes, groups, strides, loads) else "crossed" if _is_crossed(sizes, strides) else "map"
    if nest.column:
        if _is_folded(nest, sizes, reduced, groups, strides, loads):
            return "folded"
        few = sizes[-1] >= MANY_COLUMNS and math.prod(n for n, r in zip(sizes, reduced) if r) <= FEW_ROWS
        return "few" if few else "blocks" if _has_blocks(sizes, reduced) else "column"
    if reduced[-2:] == (True, True) and _joins(nest, sizes, groups, strides, loads):
        return "flat"
    return "short" if _is_short(nest, sizes, reduced) else "row"


def _joins(nest, sizes, groups, strides, loads):
    """Whether rows are short, and many of them at a time are gone over as one."""
    if len(sizes) < 2 or not 1 < sizes[-1] < JOINED or sizes[-2] < 2 or any(i.fn == "iota" for i in nest.items):
        return False
    copied = sum([row[-2] != 0 and tuple(row[-2:]) != (sizes[-1], 1) for row in strides])
    repeated = sum([row[-2] == 0 != row[-1] for row in strides[:loads]]) * min(1.0, ELEMENTS / math.prod(sizes[-2:])) if len(sizes) > 2 else 0
    return joining_pays(nest, sizes, groups, copied + repeated)


def _is_short(nest, sizes, reduced):
    """Whether rows are short, and many in a row where they lie along several axes, so that vectors across them pay."""
    *outer, inner = reduced
    if not inner or not outer or any(outer) or sizes[-1] > SHORT or len(outer) > 1 and sizes[-2] < ACROSS:
        return False
    return all(set(s.dims) - {-1, *nest.reduced} for s in nest.stores) and across_pays(nest, sizes[-1])


def _is_crossed(sizes, strides):
    """Whether an operand is transposed, so that its elements along the innermost axis lie apart but close together along the one before, and the cache lines
    of the former are too many for the caches, or fall into few of their sets.
    """
    def is_transposed(row):
        return 0 < row[-2] < CLOSE <= row[-1] and (sizes[-1] >= LINES and sizes[-2] > LINE or row[-1] % SAME_SETS == 0)
    return len(sizes) > 1 and sizes[-2] > 1 and any(map(is_transposed, strides))


def _is_folded(nest, sizes, reduced, groups, strides, loads):
    """Whether floats are summed over rows of a few columns."""
    *blocks, rows, _ = (False, *reduced)
    if any(blocks) or not rows or sizes[-1] > COLUMNS or not _joins(nest, sizes, groups, strides, loads):
        return False
    return all(i.fn == "sum" and i.kind in FLOATS for i in nest.items if i.fn in REDUCTIONS)


def _last_classes(strides, joined):
    """Of the last two axes, or fewer; ``joined``: how long the innermost is, where they are gone over as one."""
    if joined is not None and tuple(strides) == (joined, 1):
        return "d", "1"
    return tuple([_class(s, k == len(strides) - 1) for k, s in enumerate(strides)])


def _class(stride, inner):
    return str(stride) if stride == 0 or inner and 1 <= stride <= 4 else "s"


def _item(item, number, where, new_axis):
    value = item.value
    if number in where:
        value = where[number]
    elif item.fn == "iota":
        value = new_axis[item.value]
    elif item.fn in REDUCTIONS:
        value = None
    return Instruction(item.fn, item.args, item.kind, tuple(sorted({new_axis[a] for a in item.axes})), value)


def _has_blocks(sizes, reduced):
    """Whether blocks are to be shared between threads: there are enough, and their scratch rows are little beside what is summed."""
    return _blocks(sizes, reduced) >= BLOCKS and math.prod(n for n, r in zip(sizes, reduced) if r) >= ROWS


def _blocks(sizes, reduced):
    """How many iterations the axes have that are kept, but for the innermost."""
    return math.prod(n for n, r in zip(sizes[:-1], reduced) if not r)


def _scratch(nest, style, sizes, reduced, pointers):
    """Bytes per scratch pointer. Per column sum three rows (partial, total, correction; one where rows are few), per extreme one; for every block, if these are
    shared between threads."""
    elements = math.prod(sizes[-1:]) * (_blocks(sizes, reduced) if style == "blocks" else 1)
    return tuple([elements * ITEMSIZE[p.kind] for p in pointers if p.role == "scratch"])


def _scratch_kinds(nest, style):
    rows = {"sum": 1 if style == "few" else 3, "max": 1, "min": 1}
    return [i.kind for i in nest.items if i.fn in REDUCTIONS for _ in range(rows[i.fn])] if style in ("column", "few", "blocks") else []


def _range(style, sizes, reduced):
    """The end of the range that a step covers: elements of a flat kernel, columns, or outer iterations."""
    if style in ("blocks", "folded"):
        return _blocks(sizes, reduced)
    if style in ("column", "few") or style == "map" and len(sizes) == 1:
        return sizes[-1]
    n = 1
    outer = -1 if style in ("map", "crossed", "tiled") else None
    for size, r in zip(sizes[:outer], reduced[:outer], strict=True):
        n *= 1 if style in ("row", "short", "flat") and r else size
    return n
