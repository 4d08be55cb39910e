"""The kernels that the tests of the CUDA path run: those that the ten workloads of the benchmarks plan, and programs of every style.

A kernel is a ``layout.Structure``, of which ``source`` writes the text. ``evaluate`` computes what a structure means with NumPy, array by array; ``drawn``
makes operands for it, of any sizes.
"""
from dataclasses import dataclass, replace

import numpy as np
from common import WORKLOADS, reseed
from jit_graphs import graph_of
from kernel_cases import CASES, GRAPHS, OPTIMIZER_CASES, PROGRAMS
from ours import builders
from scipy import special

import hybridnn as hnn
from hybridnn.graph import run as graph_run
from hybridnn.jit import source
from hybridnn.jit.inplace import inplace_pairs
from hybridnn.jit.layout import Instruction, Output, Pointer, Structure
from hybridnn.jit.lower import lower
from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.pipeline import fused
from hybridnn.jit.vecmath_names import FUNCTIONS, POWERS
from hybridnn.trace import segment

GUARD = 16      # elements around every operand
SENTINEL = {"f": -12345.0, "i": -77, "u": 77, "b": True}


@dataclass(frozen=True)
class Kernel:
    """``step`` is the first lowered step that has this CUDA text; ``name`` says what made it."""
    name: str
    step: object

    @property
    def structure(self):
        return self.step.arranged.structure

    @property
    def text(self):
        return source.render(self.structure, "cuda")


# -------------------------------------------------------------------------------------------------------------- where they come from

def planned(run, calls=6):
    """The graphs that are to be compiled in ``calls`` calls of ``run()``. They are interpreted: machine code of this CPU is not asked for."""
    found, compiles = [], segment.jit_compile

    def plan(graph):
        found.append(graph)
        return segment.Interpreted(graph)
    segment.jit_compile = plan
    try:
        with hnn.using_config("trace_compile", "sync"):
            for _ in range(calls):
                run()
    finally:
        segment.jit_compile = compiles
    return found


def kernel_steps(graph):
    return [s for s in lower(*fused(graph)).steps if s.arranged is not None]


def of_workload(name):
    """Lowered kernel steps of a workload of the benchmarks."""
    reseed()
    return [s for g in planned(builders(hnn.trace)[name]()) for s in kernel_steps(g)]


def of_programs():
    """(name, lowered kernel steps) of every program: graphs written by hand, traced functions with their gradients, optimizers."""
    for name, (fn, operands) in {**CASES, **GRAPHS}.items():
        yield name, kernel_steps(graph_of(fn, *operands))
    for name, build in {**PROGRAMS, **OPTIMIZER_CASES}.items():
        np.random.seed(0)
        yield name, [s for g in planned(build()) for s in kernel_steps(g)]


def collect(workloads=WORKLOADS, programs=True):
    """All kernels of different CUDA texts."""
    found = {}
    sources = [(name, of_workload(name)) for name in workloads] + (list(of_programs()) if programs else [])
    for name, steps in sources:
        for step in steps:
            text = source.render(step.arranged.structure, "cuda")
            if text not in found:
                number = sum(k.name.startswith(f"{name}-") for k in found.values())
                found[text] = Kernel(f"{name}-{number}", step)
    return list(found.values())


@dataclass(frozen=True)
class Function:
    """A kernel of one function, named by it and the dtype."""
    name: str
    structure: object

    @property
    def text(self):
        return source.render(self.structure, "cuda")


def functions():
    """A kernel for every scalar function that kernels may call, in both precisions."""
    for (name, dtype), f in (FUNCTIONS | POWERS).items():
        kind = np.dtype(dtype).str[1:]
        loads = [Instruction("load", (), kind, (0,), k) for k in range(f.arity)]
        exponent = [] if isinstance(name, str) else [Instruction("const", (), kind, (), name)]
        fn = name if isinstance(name, str) else "power"
        result = "b1" if f.result == "bool" else kind
        items = (*loads, *exponent, Instruction(fn, tuple(range(len(loads) + len(exponent))), result, (0,), None))
        pointers = [Pointer(kind, "load", ("1",))] * f.arity + [Pointer(result, "store", ("1",))]
        stores = (Output(len(items) - 1, f.arity, (0,)),)
        yield Function(f.name, Structure("map", (False,), items, stores, tuple(pointers)))


# ------------------------------------------------------------------------------------------------------------------ what they mean

_UFUNCS = {"erf": special.erf, "erfc": special.erfc}
_EXTREMES = {"max": np.max, "min": np.min}


def evaluate(structure, sizes, operands):
    """What a kernel of this structure stores, per store: ``operands`` holds a pointer's array, with an axis of length 1 where it does not step."""
    values = []
    with np.errstate(all="ignore"):
        for item in structure.items:
            values.append(_value(item, structure, sizes, operands, values))
    return [np.broadcast_to(values[s.item], [n if k in s.axes else 1 for k, n in enumerate(sizes)]) for s in structure.stores]


def _value(item, structure, sizes, operands, values):
    dtype = np.dtype(item.kind)
    if item.fn in ("load", "weak"):
        return operands[item.value].astype(dtype)
    if item.fn == "const":
        return np.full((1,) * len(sizes), item.value, dtype)
    if item.fn == "iota":
        return np.arange(sizes[item.value]).astype(dtype).reshape([-1 if k == item.value else 1 for k in range(len(sizes))])
    args = [values[a] for a in item.args]
    if item.fn in REDUCTIONS:
        return _reduced(item, args[0], structure, sizes)
    if item.fn == "cast":
        return args[0].astype(dtype)
    if item.fn == "where":
        return np.where(*args)
    return np.asarray((_UFUNCS.get(item.fn) or getattr(np, item.fn))(*args)).astype(dtype)


def _reduced(item, x, structure, sizes):
    """Sums in double precision, rounded once: any order of the kernel's is as good."""
    axes = tuple([k for k, r in enumerate(structure.axes) if r])
    full = np.broadcast_to(x, [n if k in axes else x.shape[k] for k, n in enumerate(sizes)])
    dtype = np.dtype(item.kind)
    if item.fn == "sum":
        return full.sum(axis=axes, keepdims=True, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    lowest, highest = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return _EXTREMES[item.fn](full, axis=axes, keepdims=True, initial=lowest if item.fn == "max" else highest)


# --------------------------------------------------------------------------------------------------------------------- operands

def several_sizes(structure):
    """Sizes of the axes: none, one, odd, longer than what is summed at a time (32 rows of a column, 256 elements of a row)."""
    n = len(structure.axes)
    if not n:
        return [()]
    sizes = [(0,) * n, (1,) * n, (3, 5, 7, 2)[:n] if n > 1 else (7,), (5, 1, 3, 2)[-n:]]
    sizes += [tuple([0 if k == empty else 3 for k in range(n)]) for empty in range(n)] if n > 1 else [(601,)]
    if n > 1:
        sizes += [(67, *[1] * (n - 2), 5), (2, *[1] * (n - 2), 259)]
    if n > 2:
        sizes += [(2, 35, *[2] * (n - 2)), (*[1] * (n - 2), 3, 65)]
    return sizes


@dataclass(frozen=True)
class Drawn:
    """Operands of one call: flat ``buffers``, the arrays in them that the kernel is to see, words behind the pointers, and an ``Arranged`` of these sizes."""
    sizes: tuple
    buffers: list
    arrays: list
    words: tuple
    arranged: object

    @property
    def free(self):
        """Per buffer, where nothing may be written."""
        result = []
        for buffer, array in zip(self.buffers, self.arrays, strict=True):
            mask = np.ones(buffer.shape, bool)
            _view(mask, array.shape, [s // array.itemsize for s in array.strides])[...] = False
            result.append(mask)
        return result


def drawn(kernel, sizes, signed, rng):
    """Operands for these sizes, each in a buffer of its own that is larger than it and full of a sentinel; gaps between elements where the structure
    has strides."""
    structure, arranged = kernel.structure, kernel.step.arranged
    buffers, arrays, strides = [], [], []
    for pointer in structure.pointers[:len(arranged.operands)]:
        steps = _strides(pointer, sizes)
        shape, steps = _shape(pointer, sizes), steps or [0] * len(sizes)
        dtype = _dtype(pointer)
        buffer = np.full(2 * GUARD + 1 + sum(s * max(n - 1, 0) for s, n in zip(steps, shape)), SENTINEL[dtype.kind], dtype)
        array = _view(buffer, shape, steps)
        if pointer.role != "store":
            array[...] = _numbers(dtype, pointer.role, shape, signed, rng)
        buffers.append(buffer)
        arrays.append(array)
        strides.append(tuple(steps))
    given = [s for row, pointer in zip(strides, structure.pointers) for s, c in zip(row, pointer.classes) if c == "s"]
    words = (*sizes, *given)
    return Drawn(tuple(sizes), buffers, arrays, words, replace(arranged, sizes=tuple(sizes), words=words, strides=tuple(strides)))


def _dtype(pointer):
    """A bool that is given as a Python number is a word, as on the CPU."""
    return np.dtype("i8" if pointer.role == "weak" and pointer.kind == "b1" else pointer.kind)


def _view(buffer, shape, steps):
    return np.ndarray(shape, buffer.dtype, buffer, GUARD * buffer.itemsize, [s * buffer.itemsize for s in steps])


def _strides(pointer, sizes):
    """Steps in elements per axis; those that are given at run time leave gaps. The innermost axis is the outermost in memory where its step is given."""
    steps, extent, inner = [0] * len(pointer.classes), 1, len(pointer.classes) - 1
    order = [k for k in reversed(range(len(pointer.classes))) if pointer.classes[k] != "0"]
    if order and order[0] == inner and pointer.classes[inner] == "s":
        order = order[1:] + order[:1]
    for k in order:
        given = {"s": extent + 2, "d": sizes[-1]}
        steps[k] = given[c] if (c := pointer.classes[k]) in given else int(c)
        extent += steps[k] * max(sizes[k] - 1, 0)
    return steps


def _numbers(dtype, role, shape, signed, rng):
    if dtype.kind == "f":
        return rng.uniform(-1.5 if signed and role == "load" else .25, 1.5, shape)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape)
    return rng.integers(0, 5, shape) if role == "load" else 1


def aliased(operands):
    """Pairs (store's pointer, load's pointer) that a plan for CUDA may give the same memory."""
    places = {(role == "store", position): n for n, (position, role, _) in enumerate(operands.arranged.operands)}
    return [(places[True, out], places[False, read]) for out, read in inplace_pairs(operands.arranged, "cuda")]


def recorded(kernel, rng):
    """Operands as the plan has them, in its sizes and strides, and what the reference interpreter stores, per store in the structure's axes."""
    arranged, graph = kernel.step.arranged, kernel.step.node.op.graph
    inputs = {k: np.zeros(graph.specs[v].shape, graph.specs[v].dtype) for k, v in enumerate(graph.inputs)}
    known, buffers, arrays = {}, [], []
    for (position, role, operand), pointer in zip(arranged.operands, kernel.structure.pointers):
        spec = graph.specs[(graph.outputs if role == "store" else graph.inputs)[position]]
        key = role == "store", position
        if key not in known:
            known[key] = buffer, whole = _laid_out(spec.shape, _dtype(pointer), operand.strides)
            if role != "store":
                whole[...] = _numbers(whole.dtype, role, spec.shape, False, rng)
                inputs[position] = whole.item() if role == "weak" else whole
        buffers.append(known[key][0])
    arrays = [_view(b, _shape(p, arranged.sizes), s) for b, p, s in zip(buffers, kernel.structure.pointers, arranged.strides)]
    with np.errstate(all="ignore"):
        results = graph_run(graph, [inputs[k] for k in range(len(inputs))])
    want = []
    for n, (position, role, operand) in enumerate(arranged.operands):
        if role == "store":
            buffer, whole = _laid_out(results[position].shape, arrays[n].dtype, operand.strides)
            whole[...] = results[position]
            want.append(_view(buffer, arrays[n].shape, arranged.strides[n]))
    return Drawn(arranged.sizes, buffers, arrays, arranged.words, arranged), want


def _laid_out(shape, dtype, strides):
    """A buffer, and an array of these strides in it."""
    extent = sum(s // dtype.itemsize * (n - 1) for s, n in zip(strides, shape) if n > 1)
    buffer = np.full(2 * GUARD + 1 + extent, SENTINEL[dtype.kind], dtype)
    return buffer, np.ndarray(shape, dtype, buffer, GUARD * dtype.itemsize, strides if shape else ())


def _shape(pointer, sizes):
    return [n if c != "0" else 1 for n, c in zip(sizes, pointer.classes)] if pointer.classes else [1] * len(sizes)
