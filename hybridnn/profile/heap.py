"""The state that a function can reach, as a value: taken before a measurement, put back after it.

State is what hangs on the arguments, the closure, the globals that the code names and the object a method is bound to:
attributes, lists, dicts, sets, arrays (values and identity), Variables with their gradients, NumPy generators, and the global
streams of ``numpy.random`` and ``random``. Objects of classes from the standard library and from installed packages are left
alone (a progress bar, a file), and so are modules and classes.
"""
import functools
import random
import sys
import sysconfig
import types
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from hybridnn.backend import is_array
from hybridnn.core.op_node import OpNode
from hybridnn.core.tape import TapeNode
from hybridnn.core.variable import Variable
from hybridnn.trace.api import BoundTraced, Traced

__all__ = ["Heap"]

ATOMS = (int, float, complex, str, bytes, bool, type(None), type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)
GRAPH = "graph of "
FOREIGN = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclass
class Heap:
    """A snapshot. ``restore()`` puts back what has changed since; ``arrays`` maps a path such as ``step.net.W`` to its array.

    Attributes:
        bindings: pairs (restore function, argument), for containers, attributes, cells and generators.
        arrays: path -> (array, copy of its values).
        seen: id -> the object.
        nodes: pairs (path, node of the graph) that are visited last.
        watched: the paths whose values ``restore`` puts back, None for all.
    """
    bindings: list = field(default_factory=list)
    arrays: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)
    nodes: deque = field(default_factory=deque)
    watched: set | None = None

    @classmethod
    def of(cls, **roots):
        """The state that ``roots`` (name -> object) can reach."""
        heap = cls()
        heap._follow(deque(roots.items()))
        heap._follow(heap.nodes)
        for module in (np.random, random):
            get, put = (np.random.get_state, np.random.set_state) if module is np.random else (random.getstate, random.setstate)
            heap.bindings.append((put, get()))
        return heap

    def _follow(self, waiting):
        while waiting:
            path, x = waiting.popleft()
            if not isinstance(x, ATOMS) and id(x) not in self.seen:
                self.seen[id(x)] = x
                waiting.extend(self._visit(path, x))

    def visible(self):
        """The values of the arrays that a user sees, by path: not what only a graph holds."""
        return {path: values for path, (_, values) in self.arrays.items() if not path.startswith(GRAPH)}

    def restore(self):
        """Put everything back as it was."""
        for put, value in self.bindings:
            put(value)
        for path in self.arrays if self.watched is None else self.watched:
            a, values = self.arrays[path]
            a[...] = values

    def changed(self):
        """Paths of the arrays whose values have changed."""
        return {path for path, (a, values) in self.arrays.items() if not same(a, values)}

    # ---- what to keep of an object, and what to visit next

    def _visit(self, path, x):
        if is_array(x):
            if x.flags.writeable and x.dtype != object:
                self.arrays[path] = (x, x.copy())
            return []
        if isinstance(x, np.random.Generator):
            self.bindings.append((functools.partial(_set_bits, x.bit_generator), x.bit_generator.state))
            return []
        if isinstance(x, np.random.RandomState | random.Random):
            get, put = (x.get_state, x.set_state) if isinstance(x, np.random.RandomState) else (x.getstate, x.setstate)
            self.bindings.append((put, get()))
            return []
        for kinds, visit in VISITS:
            if isinstance(x, kinds):
                return visit(self, path, x)
        return self._attributes(path, x) if ours(type(x).__module__) else []

    def _keep(self, put, x, value):
        self.bindings.append((functools.partial(put, x), value))

    def _sequence(self, path, x):
        if not isinstance(x, tuple):
            self._keep(_set_items, x, list(x))
        return [(f"{path}[{i}]", v) for i, v in enumerate(x)]

    def _set(self, path, x):
        self._keep(_set_members, x, set(x))
        return []

    def _mapping(self, path, x):
        self._keep(_set_mapping, x, dict(x))
        return [(f"{path}[{k!r:.40}]", v) for k, v in x.items()]

    def _function(self, path, x):
        found = [(f"{path}.{k}", v) for k, v in zip(x.__code__.co_freevars, map(_contents, x.__closure__ or ()))]
        for cell in x.__closure__ or ():
            self._keep(_set_cell, cell, _contents(cell))
        found += [(f"{path}.defaults", (x.__defaults__, x.__kwdefaults__))]
        module = x.__globals__.get("__name__", "")
        if ours(module) and module.partition(".")[0] != "hybridnn":
            names = [n for n in sorted(_names(x.__code__)) if n in x.__globals__]
            self._keep(_set_globals, x.__globals__, {n: x.__globals__[n] for n in names})
            found += [(n, x.__globals__[n]) for n in names]
        return found

    def _method(self, path, x):
        return [(f"{path}.self", x.__self__), (path, x.__func__)]

    def _variable(self, path, x):
        self._keep(_set_mapping, x.__dict__, dict(x.__dict__))
        self.nodes.append((f"{GRAPH}{path}", x._tape))
        others = [(f"{path}.{k}", v) for k, v in sorted(x.__dict__.items()) if k not in ("_array", "_tape")]
        return [(path, x._array), (f"{path}.grad", x._grad), *others]

    def _wrapper(self, path, x):
        return [(path, x.__wrapped__)]

    def _partial(self, path, x):
        return [(path, x.func), (f"{path}.args", x.args), (f"{path}.keywords", x.keywords)]

    def _node(self, path, x):
        """A node of the graph: its gradient and its inputs; the values that it saved are never changed in place."""
        self._keep(_set_mapping, x.__dict__, dict(x.__dict__))
        inputs = () if isinstance(x, OpNode) and x.is_leaf else x.__dict__.get("edges", ())
        return [(f"{path}.grad", x.grad), *[(f"{path}.{i}", n) for i, n in enumerate(inputs)]]

    def _attributes(self, path, x):
        found = []
        if hasattr(x, "__dict__"):
            self._keep(_set_mapping, x.__dict__, dict(x.__dict__))
            found = [(f"{path}.{k}", x.__dict__[k]) for k in sorted(x.__dict__, key=str)]
        return found + [(f"{path}.{k}", v) for k, v in self._slots(x)]

    def _slots(self, x):
        names = [n for c in type(x).__mro__ for n in _as_tuple(c.__dict__.get("__slots__", ())) if not n.startswith("__")]
        values = {n: getattr(x, n) for n in names if hasattr(x, n)}
        if values:
            self._keep(_set_slots, x, values)
        return list(values.items())


VISITS = (((list, tuple, deque), Heap._sequence), (set, Heap._set), (dict, Heap._mapping),
          (types.FunctionType, Heap._function), (types.MethodType, Heap._method), ((Traced, BoundTraced), Heap._wrapper),
          (functools.partial, Heap._partial), (Variable, Heap._variable), (TapeNode, Heap._node))


@functools.lru_cache(4096)
def ours(module):
    """Whether objects of the module's classes are the user's or this library's, not from another package."""
    if module.partition(".")[0] == "hybridnn":
        return not module.startswith(("hybridnn.trace", "hybridnn.jit", "hybridnn.config"))
    file = getattr(sys.modules.get(module), "__file__", None)
    return module not in sys.builtin_module_names and not (file or "").startswith(FOREIGN)


def same(a, b):
    """Whether two arrays of one shape and dtype hold equal values, NaN equal to NaN."""
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def _names(code):
    """Names that a function's code, or code inside it, looks up."""
    return set(code.co_names).union(*[_names(c) for c in code.co_consts if isinstance(c, types.CodeType)])


def _as_tuple(slots):
    return (slots,) if isinstance(slots, str) else tuple(slots)


EMPTY = object()


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _set_cell(cell, value):
    if _contents(cell) is not value:
        cell.cell_contents = value


def _set_items(target, items):
    if len(target) != len(items) or any(a is not b for a, b in zip(target, items)):
        target.clear()
        target.extend(items)


def _set_members(target, members):
    if target != members:
        target.clear()
        target.update(members)


def _set_mapping(target, values):
    """The same keys in the same order, each with the very object it had."""
    if len(target) != len(values) or any(k not in target or target[k] is not v for k, v in values.items()):
        for k in [k for k in target if k not in values]:
            del target[k]
        for k, v in values.items():
            if k not in target or target[k] is not v:
                target[k] = v


def _set_globals(target, values):
    for k, v in values.items():
        if target.get(k, EMPTY) is not v:
            target[k] = v


def _set_slots(target, values):
    for k, v in values.items():
        if getattr(target, k, EMPTY) is not v:
            setattr(target, k, v)


def _set_bits(bit_generator, bits):
    bit_generator.state = bits
