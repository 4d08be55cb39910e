"""The frozen graph that a trace records and the JIT compiles, its verifier, and the reference interpreter that is the oracle for both.

A ``Graph`` is in SSA form: every value has one id, one ``Spec``, and one origin (an input, a constant, or a node's output). ``writes`` lists the inputs
that the graph changes in place: after a run, input ``target``'s array holds value ``value``. A pass is a function ``Graph -> Graph``; ``verify``
runs behind it.
"""
import functools
from dataclasses import dataclass, replace

import numpy as np

from hybridnn.core.op import Op
from hybridnn.spec import Spec, spec_of

__all__ = ["Graph", "Node", "infer", "infer_fast", "run", "verify"]


@dataclass(eq=False, slots=True)
class Node:
    """One application: ``outputs`` = ``op(inputs, **attrs)``. ``attrs`` is a tuple of pairs; ``line`` is the user's ``file:line``.

    Nobody changes a node; it is not frozen because passes make thousands, and freezing takes most of the time that making one takes.
    """
    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: tuple = ()
    line: str = ""

    def renamed(self, names):
        """The same application with operands that ``names`` has under other numbers; itself if it has none."""
        if names.keys().isdisjoint(self.inputs):
            return self
        return Node(self.op, tuple([names.get(v, v) for v in self.inputs]), self.outputs, self.attrs, self.line)


@dataclass(frozen=True)
class Graph:
    """Values are ints; ``specs[v]`` is the Spec of value v.

    Attributes:
        inputs: values given at run time, in order: arrays, or Python numbers where the spec is weak.
        constants: pairs (value, array or number) that never change.
        nodes: in an order in which every operand comes before its use.
        outputs: values that a run returns, as fresh arrays, in order (a value may be repeated).
        writes: pairs (input value, value): in-place results.
    """
    inputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    specs: dict[int, Spec]
    constants: tuple = ()
    writes: tuple[tuple[int, int], ...] = ()

    def replace(self, **changes):
        return replace(self, **changes)

    def __str__(self):
        return "\n".join([f"inputs {_list(self, self.inputs)}", *[f"const  {_one(self, v)} = {c!r:.60}" for v, c in self.constants],
                          *[_node_text(self, n) for n in self.nodes], *[f"write  %{t} <- %{v}" for t, v in self.writes],
                          f"return {_list(self, self.outputs)}"])


def _one(graph, v):
    return f"%{v}:{graph.specs[v]}"


def _list(graph, values):
    return ", ".join(_one(graph, v) for v in values)


def _node_text(graph, node):
    attrs = "".join(f" {k}={v!r}" for k, v in node.attrs)
    where = f"   # {node.line}" if node.line else ""
    return f"  {_list(graph, node.outputs)} = {node.op.name} {', '.join(f'%{v}' for v in node.inputs)}{attrs}{where}"


def run(graph, arrays):
    """Interpret the graph with the ops' own forward bodies; the oracle. Returns fresh outputs and performs ``writes`` in place."""
    values = dict(graph.constants)
    values.update(zip(graph.inputs, arrays, strict=True))
    for node, over in zip(graph.nodes, _no_more_needed(graph), strict=True):
        op = node.op
        result = op.run([values[v] for v in node.inputs], dict(node.attrs))
        if op.multi:
            values.update(zip(node.outputs, result, strict=True))
        else:
            values[node.outputs[0]] = result
        for v in over:
            del values[v]
    outputs = _fresh([values[v] for v in graph.outputs], arrays)
    pending = [(values[t], np.array(values[v])) for t, v in graph.writes]
    for target, value in pending:
        target[...] = value
    return outputs


def _no_more_needed(graph):
    """Per node: the values that nothing needs behind it. Their memory serves again while it is in the caches."""
    kept, result = {*graph.outputs, *[v for pair in graph.writes for v in pair]}, []
    for node in reversed(graph.nodes):
        over = {v for v in (*node.inputs, *node.outputs) if v not in kept}
        kept |= over
        result.append(over)
    return result[::-1]


def _fresh(outputs, arrays):
    """Copies where an output shares memory with an input or an earlier output."""
    owners, result = {id(_owner(a)) for a in arrays}, []
    for y in map(np.asarray, outputs):
        owner = id(_owner(y))
        result.append(y.copy() if owner in owners or not y.flags.writeable else y)
        owners.add(owner)
    return result


def _owner(a):
    """What holds the memory of an array."""
    while isinstance(a, np.ndarray) and a.base is not None:
        a = a.base
    return a


def infer(op, specs, attrs):
    """Specs of the outputs: the op's own body, run on arrays of zeros that take no memory (stride 0), which some operations refuse."""
    if op.meta.get("like_first") and specs[0].dtype.kind == "f":
        return specs[:1]
    operands = [_probe(s) for s in specs]
    with np.errstate(all="ignore"):
        result = op.run(operands, dict(attrs))
    return tuple([spec_of(y) for y in (result if op.multi else (result,))])


def infer_fast(op, specs, attrs):
    """``infer`` without arithmetic on whole arrays where the shape follows from the kind."""
    if op.kind == "elementwise" and any([s.shape for s in specs]):
        small = tuple([s if s.weak else Spec((1,) * len(s.shape), s.dtype) for s in specs])
        shapes = {s.shape for s in specs if s.shape}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        return tuple([Spec(shape, s.dtype) for s in _infer_small(op, small, attrs)])
    if op.kind == "reduction" and {k for k, _ in attrs} == {"axis", "keepdims"} and specs[0].size > 64:
        return _reduced(op, specs, attrs)
    if op.name == "matmul":
        flags = dict(attrs)
        a, b = ((*s.shape[:-2], s.shape[-1], s.shape[-2]) if flags.get(t) else s.shape for s, t in zip(specs, ("transa", "transb"), strict=True))
        if a[-1] == b[-2]:
            batch = a[:-2] if a[:-2] == b[:-2] else np.broadcast_shapes(a[:-2], b[:-2])
            return (Spec((*batch, a[-2], b[-1]), np.result_type(specs[0].dtype, specs[1].dtype)),)
    return infer(op, specs, attrs)


def _reduced(op, specs, attrs):
    (x,), (axis, keepdims) = specs, (dict(attrs)[k] for k in ("axis", "keepdims"))
    gone = range(len(x.shape)) if axis is None else {a % len(x.shape) for a in (axis if isinstance(axis, tuple) else (axis,))}
    shape = tuple([1 if k in gone else n for k, n in enumerate(x.shape) if keepdims or k not in gone])
    return tuple([Spec(shape, s.dtype) for s in _infer_small(op, (Spec((1,) * len(x.shape), x.dtype),), attrs)])


_infer_small = functools.lru_cache(4096)(infer)


def _probe(spec):
    if spec.weak:
        return spec.weak(1)
    return np.broadcast_to(np.zeros((), spec.dtype), spec.shape)


def verify(graph):
    """Raise AssertionError unless every value is defined once, before use, with a spec; returns the graph."""
    made = [*graph.inputs, *[c for c, _ in graph.constants]]
    defined = set(made)
    for node in graph.nodes:
        for v in node.inputs:
            assert v in defined, f"{node.op.name} uses %{v} before it is defined"
        for v in node.outputs:
            made.append(v)
            defined.add(v)
    assert len(made) == len(defined), f"%{next(v for k, v in enumerate(made) if v in made[:k])} is defined twice"
    for v in [*graph.outputs, *[v for _, v in graph.writes]]:
        assert v in defined, f"%{v} is returned or written but never defined"
    inputs = frozenset(graph.inputs)
    for t, v in graph.writes:
        assert t in inputs, f"write to %{t}, which is no input"
        assert graph.specs[t].shape == graph.specs[v].shape, f"write of %{v} to %{t}: shapes differ"
    assert graph.specs.keys() >= defined, "a value has no spec"
    return graph
