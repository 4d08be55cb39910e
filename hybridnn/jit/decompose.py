"""Decomposition, a pass: coarse operations become the finer ones that they are declared with, so that these can fuse."""
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hybridnn.core.compose import compose
from hybridnn.core.op import Op
from hybridnn.errors import raised_by_signal
from hybridnn.exact import exact
from hybridnn.graph import Graph, Node, infer_fast
from hybridnn.jit.specs import Specs
from hybridnn.spec import spec_of

__all__ = ["CheckOp", "NumberOp", "decompose"]


@dataclass(frozen=True)
class NumberOp:
    """Arithmetic on Python numbers that are known at run time: ``fn`` of ``operator``."""
    fn: object
    kind = "number"
    multi = False
    decompose = None
    meta = MappingProxyType({})

    @property
    def name(self):
        return self.fn.__name__

    def run(self, values, attrs):
        return self.fn(*values)


@dataclass(frozen=True)
class CheckOp:
    """The value-dependent errors of a coarse op (labels out of range); no outputs."""
    op: Op
    kind = "check"
    multi = True
    decompose = None
    meta = MappingProxyType({})

    @property
    def name(self):
        return f"check {self.op.name}"

    def run(self, arrays, attrs):
        self.op.meta["check"](arrays, attrs)
        return ()


def decompose(graph):
    """Afterwards no node's op has a decomposition, except where that fails or looks at values (such ops stay as they are).

    Nothing fuses in float16, and NumPy may warn of the finer operations where it does not of the coarse one.
    """
    out = _Output(graph)
    for node in graph.nodes:
        if node.op.decompose is None or any([out.specs[v].dtype == np.float16 for v in node.inputs]):
            out.nodes.append(node)
            continue
        template = _template(out, node)
        if template is None:
            out.nodes.append(node)
        else:
            _inline(out, node, template)
    rename = out.rename
    return graph.replace(
        nodes=tuple([n.renamed(rename) for n in out.nodes]), specs=out.specs, constants=tuple(out.constants),
        outputs=tuple([rename.get(v, v) for v in graph.outputs]), writes=tuple([(t, rename.get(v, v)) for t, v in graph.writes]))


class _Output:
    def __init__(self, graph):
        self.nodes, self.specs, self.constants = [], Specs(graph.specs), list(graph.constants)
        self.numbers = {v: c for v, c in graph.constants if graph.specs[v].weak}
        self.rename = {}
        self.templates = {}


def _template(out, node):
    """The decomposition as a Graph for operands of these specs, or None; equal ones are made once."""
    specs = [out.specs[v] for v in node.inputs]
    numbers = [out.numbers.get(out.rename.get(v, v)) for v in node.inputs]
    key = node.op, tuple(specs), tuple([(type(n), repr(n)) for n in numbers]), exact(node.attrs)
    if key not in out.templates:
        out.templates[key] = _build(node.op, specs, numbers, dict(node.attrs), [out.specs[v] for v in node.outputs])
    return out.templates[key]


def _build(op, specs, numbers, attrs, wanted):
    b = _Builder(specs)
    operands = [n if s.weak and n is not None else (k, s) for k, (s, n) in enumerate(zip(specs, numbers))]
    try:
        with np.errstate(all="ignore"):
            results = compose(op.decompose, operands, attrs, b.emit)
        outputs = tuple([b.value(*r) for r in results])
    except Exception as error:
        if raised_by_signal(error):
            raise
        return None
    if [(b.specs[v].shape, b.specs[v].dtype) for v in outputs] != [(s.shape, s.dtype) for s in wanted]:
        return None
    return decompose(Graph(tuple(range(len(specs))), tuple(b.nodes), outputs, b.specs, tuple(b.constants)))


class _Builder:
    """Collects the nodes of one decomposition; operands are values 0 to n - 1."""

    def __init__(self, specs):
        self.specs, self.nodes, self.constants = Specs(enumerate(specs)), [], []

    def value(self, kind, x):
        if kind == "handle":
            return x
        v = self.specs.new(spec_of(x))
        self.constants.append((v, x))
        return v

    def emit(self, op, operands, attrs):
        inputs = tuple([self.value(*o) for o in operands])
        attrs = tuple(attrs.items())
        if not isinstance(op, Op):
            op = NumberOp(op)
            specs = (_number_spec(op.fn, [self.specs[v] for v in inputs]),)
        else:
            specs = infer_fast(op, [self.specs[v] for v in inputs], attrs)
        outputs = tuple([self.specs.new(s) for s in specs])
        self.nodes.append(Node(op, inputs, outputs, attrs))
        return [(v, self.specs[v]) for v in outputs]


def _number_spec(fn, specs):
    return spec_of(fn(*[s.weak(1) for s in specs]))


def _inline(out, node, template):
    """The template's nodes with the node's operands, its outputs renamed to the node's."""
    if node.op.meta.get("check"):
        out.nodes.append(Node(CheckOp(node.op), node.inputs, (), node.attrs, node.line))
    names = dict(zip(template.inputs, node.inputs, strict=True))
    for v, c in template.constants:
        names[v] = out.specs.new(template.specs[v])
        out.constants.append((names[v], c))
    made, new, append = {v for n in template.nodes for v in n.outputs}, out.specs.new, out.nodes.append
    for v, outer in zip(template.outputs, node.outputs, strict=True):
        if v in made and v not in names:
            names[v] = outer
        else:
            out.rename[outer] = names[v]
    for n in template.nodes:
        for v in n.outputs:
            if v not in names:
                names[v] = new(template.specs[v])
        append(Node(n.op, tuple([names[v] for v in n.inputs]), tuple([names[v] for v in n.outputs]), n.attrs, node.line))
