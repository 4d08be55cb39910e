"""Fused graphs, kept on disk beside the kernels: a program that starts again finds how its large graphs were simplified and fused.

What the passes make of a graph depends on the graph, the library, the toolchain, the machine and its settings, which the key is a hash of. The file holds
tables of plain values alone (``marshal`` runs no code). A graph with anything else in it, such as operations of the user's own, is not kept; small ones
are planned faster than read.
"""
import functools
import hashlib
import marshal
import math
import operator
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node, verify
from hybridnn.jit import kernels, onednn_library
from hybridnn.jit.accumulate import ProductSum, ScatterSum
from hybridnn.jit.channels import LastOp
from hybridnn.jit.decompose import CheckOp, NumberOp
from hybridnn.jit.join import JoinOp
from hybridnn.jit.known import Known
from hybridnn.jit.memory import recall
from hybridnn.jit.nest import FusedOp, Item, Nest, Store
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["keep", "key_of", "kept"]

LEAST_NODES = 256           # of a graph that is kept
MOST_BYTES = 1 << 16        # of the arrays among its constants
SETTINGS = ("HYBRIDNN_", "OMP_", "GOMP_", "OPENBLAS_", "DNNL_", "ONEDNN_")     # how names of variables of the environment begin that may decide something
PLAIN = 2                   # marshal's last format that writes the same for equal values, however they are shared
NUMBERS = {"float": float, "int": int, "bool": bool, "complex": complex}
_shapes = Known(4096)       # what the graphs that this process has planned look like: another size of one is planned faster than looked for


class NotPlain(Exception):
    """Something that the file cannot hold."""


def key_of(graph):
    """The name under which what is made of the graph is kept; None if it is not to be looked for, or cannot be kept."""
    if len(graph.nodes) < LEAST_NODES:
        return None
    look = hash(tuple([(n.op.name, n.inputs, n.outputs) for n in graph.nodes]))
    if look in _shapes:
        return None
    _shapes[look] = True
    try:
        written = _Writer().all_of(graph)
        convolves = any(n.op.kind in ("convolution", "pooling") for n in graph.nodes)
        library = str(onednn_library.find() and onednn_library.find().version) if convolves else ""
        return "graph_" + hashlib.sha256(marshal.dumps(written, PLAIN) + (_surroundings() + library).encode()).hexdigest()[:40]
    except (NotPlain, ValueError):
        return None


def keep(key, fused, reasons, placed):
    """Keeps a fused graph, why nodes are not fused, and how its buffers were placed."""
    try:
        kernels.write_kept(key, marshal.dumps((_Writer().all_of(fused), tuple(reasons.items()), placed), PLAIN))
    except (NotPlain, ValueError):
        pass        # the next program plans as this one has


def kept(key, graph):
    """The fused graph that was kept, and why nodes are not fused, or None; how buffers were placed is known from now on."""
    data = kernels.read_kept(key)
    if data is None:
        return None
    written, reasons, placed = marshal.loads(data)
    recall(placed)
    fused = verify(_read(*written))
    assert _surface(fused) == _surface(graph), f"another graph was kept under {key}"
    return fused, dict(reasons)


def _surface(graph):
    """What goes in and out."""
    return graph.inputs, [graph.specs[v] for v in graph.outputs], [t for t, _ in graph.writes]


@functools.cache
def _surroundings():
    """All beside the graph that the passes may depend on."""
    settings = sorted([item for item in os.environ.items() if item[0].startswith(SETTINGS) and item[0] != "HYBRIDNN_CACHE"])
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return repr((kernels.toolchain(), np.__version__, cpus, settings, _sources(Path(__file__).parent.parent)))


def _sources(folder):
    """Names, sizes and times of the library's files."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.endswith(".py"):
            info = entry.stat()
            found.append((entry.name, info.st_mtime_ns, info.st_size))
        elif entry.is_dir():
            found += [(entry.name, *item) for item in _sources(entry.path)]
    return found


# ------------------------------------------------------------------------------------------------------------------------ writing

@dataclass
class _Writer:
    """Tables of what nodes have in common."""
    specs: dict = field(default_factory=dict)
    ops: dict = field(default_factory=dict)         # id of an op -> (number, what is written, the op)
    nests: dict = field(default_factory=dict)
    codes: dict = field(default_factory=dict)       # id of a nest's items or stores -> (number, what is written, they themselves)
    lines: dict = field(default_factory=dict)

    def all_of(self, graph):
        """The graph and the tables."""
        written = self.graph(graph)
        return (written, tuple([(s.shape, s.dtype.str, s.weak and s.weak.__name__) for s in self.specs]), *[
            tuple([entry[1] for entry in table.values()]) for table in (self.ops, self.nests, self.codes)], tuple(self.lines))

    def graph(self, graph):
        nodes = tuple([(self.op(n.op), n.inputs, n.outputs, n.attrs, self.lines.setdefault(n.line, len(self.lines))) for n in graph.nodes])
        values = dict.fromkeys([*graph.inputs, *[v for v, _ in graph.constants], *[v for n in graph.nodes for v in n.outputs]])
        table, specs = self.specs, graph.specs
        numbers = tuple([table.setdefault(specs[v], len(table)) for v in values])
        if sum([c.nbytes for _, c in graph.constants if isinstance(c, np.ndarray)]) > MOST_BYTES:
            raise NotPlain
        return graph.inputs, nodes, graph.outputs, tuple(values), numbers, tuple([(v, _constant(c)) for v, c in graph.constants]), graph.writes

    def op(self, op):
        return self._entry(self.ops, op, self._op)

    def _entry(self, table, thing, write):
        """The number of something in a table."""
        found = table.get(id(thing))
        if found is None:
            written = write(thing)
            found = table[id(thing)] = len(table), written, thing
        return found[0]

    def _op(self, op):
        if type(op) is FusedOp:
            return "fused", op.name, self.graph(op.graph), self._entry(self.nests, op.nest, self._nest), op.lines, op.ops
        if type(op) is JoinOp:
            return "join", op.shape, op.indices, op.full
        if type(op) is ProductSum:
            return "products", op.transposed
        if type(op) is ScatterSum:
            return "scatters", op.shape
        if type(op) is LastOp:
            return "last", _name_of(op.op), op.operands, op.results
        if type(op) is CheckOp:
            return "check", _name_of(op.op)
        if type(op) is NumberOp:
            return "number", *_function(op.fn)
        return "op", _name_of(op)

    def _nest(self, nest):
        return nest.sizes, nest.reduced, self._entry(self.codes, nest.items, _rows), self._entry(self.codes, nest.stores, _rows)


def _rows(code):
    return tuple([tuple(row) for row in code])


def _name_of(op):
    """The name of an operation of the library's."""
    if OPS.get(op.name) is not op or not op.forward.__module__.startswith("hybridnn."):
        raise NotPlain
    return op.name


MODULES = {m.__name__: m for m in (operator, math)}


def _function(fn):
    """Where a function of Python's is found."""
    for name, module in MODULES.items():
        if getattr(module, getattr(fn, "__name__", ""), None) is fn:
            return name, fn.__name__
    raise NotPlain


def _constant(c):
    if isinstance(c, np.ndarray):
        return c.dtype.str, c.shape, c.tobytes()
    if type(c).__name__ not in NUMBERS or type(c) is not NUMBERS[type(c).__name__]:
        raise NotPlain
    return c


# ------------------------------------------------------------------------------------------------------------------------ reading

def _read(graph, specs, ops, nests, codes, lines):
    specs = [Spec(shape, np.dtype(dtype), weak and NUMBERS[weak]) for shape, dtype, weak in specs]
    code = [tuple([(Item if len(row) == len(Item._fields) else Store)(*row) for row in rows]) for rows in codes]
    made = [Nest(sizes, reduced, code[items], code[stores]) for sizes, reduced, items, stores in nests]
    tables = specs, [], made, lines
    for entry in ops:       # those of a fused region's own graph come before it
        tables[1].append(_READ[entry[0]](tables, *entry[1:]))
    return _graph(tables, *graph)


def _graph(tables, inputs, nodes, outputs, values, numbers, constants, writes):
    specs, ops, _, lines = tables
    made = tuple([Node(ops[op], i, o, attrs, lines[line]) for op, i, o, attrs, line in nodes])
    constants = tuple([(v, np.frombuffer(c[2], c[0]).reshape(c[1]).copy() if type(c) is tuple else c) for v, c in constants])
    return Graph(inputs, made, outputs, Specs(zip(values, [specs[k] for k in numbers])), constants, writes)


_READ = {"op": lambda t, name: OPS[name], "check": lambda t, name: CheckOp(OPS[name]), "join": lambda t, *fields: JoinOp(*fields),
         "products": lambda t, transposed: ProductSum(transposed), "scatters": lambda t, shape: ScatterSum(shape),
         "last": lambda t, name, *fields: LastOp(OPS[name], *fields), "number": lambda t, module, name: NumberOp(getattr(MODULES[module], name)),
         "fused": lambda t, name, graph, nest, lines, ops: FusedOp(name, functools.partial(_graph, t, *graph), t[2][nest], lines, ops)}
