"""Channels last, a pass: convolutions, and what lies between them, work on arrays whose channels lie innermost.

oneDNN convolves such arrays as fast as those in its own blocked orders, and all other kernels read and write them as they are, so that
nothing is copied from one order to another between layers. A value (n, c, *size) gets a twin (n, *size, c), which the value is a transposed
view of; elementwise operations, reductions to channels, joins along channels, and pooling pass twins on. Where something else reads the
value, it reads the view. A kernel of size 1 is a matrix product of the twin.
"""
from dataclasses import dataclass
from math import prod

from hybridnn.core.op import OPS, Op
from hybridnn.graph import Node
from hybridnn.jit.lower_conv import fits_last, is_product
from hybridnn.jit.lower_pool import ROLES
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["LastOp", "twins"]

# op -> positions of the operands and of the results that have channels
CONVOLUTIONS = {"convolution": ((0,), (0,)), "convolution_grad_x": ((0,), (0,)), "convolution_grad_w": ((0, 1), ())}
REDUCTIONS = "sum", "amax", "amin"
SAME = "identity", "constant"
LEAST_LINES = 16         # channels, and places of y
WHOLE = ("slice", None, None, None)


@dataclass(frozen=True)
class LastOp:
    """``op`` on arrays with channels last: those operands and results that are at these positions."""
    op: Op
    operands: tuple
    results: tuple
    kind = "channels last"
    decompose = None

    @property
    def name(self):
        return self.op.name

    @property
    def multi(self):
        return self.op.multi

    def run(self, arrays, attrs):
        arrays = [x.transpose(_back(x.ndim)) if k in self.operands else x for k, x in enumerate(arrays)]
        results = self.op.run(arrays, attrs)
        results = [y.transpose(_axes(y.ndim)) if k in self.results else y for k, y in enumerate(results if self.multi else (results,))]
        return tuple(results) if self.multi else results[0]


def _axes(n):
    """The transposition that puts axis 1 last."""
    return 0, *range(2, n), 1


def _back(n):
    return 0, n - 1, *range(1, n - 1)


def _turned(shape):
    return shape[0], *shape[2:], shape[1]


def twins(graph):
    """The graph with channels last where that pays, else the graph itself."""
    if not any(n.op.name in CONVOLUTIONS and _fits(graph.specs, n) for n in graph.nodes):
        return graph
    work = _Work(graph)
    for node in graph.nodes:
        rule = RULES.get(node.op.name) if OPS.get(node.op.name) is node.op else None
        if node.op.kind == "elementwise":
            rule = _elementwise
        if rule is None or not rule(work, node, dict(node.attrs)):
            work.nodes.append(node)
    return graph.replace(nodes=tuple(work.nodes), specs=work.specs)


def _fits(specs, node):
    x, w, y = _parts(node)
    return fits_last(node.op.name, *[specs[v] for v in (x, w, y)], dict(node.attrs))


def _parts(node):
    """The values that are x, W and y of a convolution or its gradients."""
    (a, b), (c,) = node.inputs, node.outputs
    return {"convolution": (a, b, c), "convolution_grad_x": (c, b, a), "convolution_grad_w": (a, c, b)}[node.op.name]


class _Work:
    def __init__(self, graph):
        self.specs, self.nodes = Specs(graph.specs), []
        self.twins, self.views = {}, {}     # value -> the same with channels last: made so, or a view of it

    def emit(self, op, inputs, shape, dtype, line, attrs):
        v = self.specs.new(Spec(tuple(shape), dtype))
        self.nodes.append(Node(op, tuple(inputs), (v,), tuple(attrs.items()), line))
        return v

    def transposed(self, v, line):
        shape = self.specs[v].shape
        return self.emit(OPS["transpose"], (v,), _turned(shape), self.specs[v].dtype, line, {"axes": _axes(len(shape))})

    def shaped(self, v, shape, line, name="reshape"):
        return self.emit(OPS[name], (v,), shape, self.specs[v].dtype, line, {"shape": tuple(shape)})

    def last(self, v, line):
        """``v`` with its channels last."""
        if v in self.twins:
            return self.twins[v]
        if v not in self.views:
            self.views[v] = self.transposed(v, line)
        return self.views[v]

    def twin(self, v, twin, line):
        """``twin`` is ``v`` with channels last."""
        self.twins[v] = twin
        self.nodes.append(Node(OPS["transpose"], (twin,), (v,), (("axes", _back(len(self.specs[v].shape))),), line))

    def put(self, node, op, inputs, attrs, results):
        """``op`` in place of the node, whose outputs at ``results`` get twins."""
        made = {}
        for k in results:
            spec = self.specs[node.outputs[k]]
            made[k] = self.specs.new(Spec(_turned(spec.shape), spec.dtype))
        outputs = tuple([made.get(k, v) for k, v in enumerate(node.outputs)])
        self.nodes.append(Node(op, tuple(inputs), outputs, tuple(attrs.items()), node.line))
        for k, v in made.items():
            self.twin(node.outputs[k], v, node.line)
        return True


# ------------------------------------------------------------------------------------------------------- convolution and pooling

def _convolution(work, node, attrs):
    x, w, y = _parts(node)
    if is_product(*[work.specs[v] for v in (x, w, y)], attrs):
        return _PRODUCTS[node.op.name](work, node)
    operands, results = CONVOLUTIONS[node.op.name]
    fits = _fits(work.specs, node)
    if node.op.name == "convolution_grad_w" and (fits or x in work.twins) and _are_lines(work.specs[x], work.specs[y], attrs):
        return _weights_of_lines(work, node, attrs)
    if not fits:
        return False
    inputs = [work.last(v, node.line) if k in operands else v for k, v in enumerate(node.inputs)]
    return work.put(node, LastOp(node.op, operands, results), inputs, attrs, results)


def _rows(work, v, line):
    """A value with channels as (places, channels)."""
    twin = work.last(v, line)
    shape = work.specs[twin].shape
    return work.shaped(twin, (prod(shape[:-1]), shape[-1]), line)


def _matrix(work, w, line):
    return work.shaped(w, work.specs[w].shape[:2], line)


def _product(work, node, a, b, shape, transa=False, transb=False):
    return work.emit(OPS["matmul"], (a, b), shape, work.specs[node.outputs[0]].dtype, node.line, {"transa": transa, "transb": transb})


def _pointwise(work, node, transb):
    """W of size 1 times the channels of each place."""
    rows, w = _rows(work, node.inputs[0], node.line), _matrix(work, node.inputs[1], node.line)
    shape = _turned(work.specs[node.outputs[0]].shape)
    y = _product(work, node, rows, w, (work.specs[rows].shape[0], shape[-1]), transb=transb)
    work.twin(node.outputs[0], work.shaped(y, shape, node.line), node.line)
    return True


def _pointwise_weights(work, node):
    x, gy = (_rows(work, v, node.line) for v in node.inputs)
    shape = work.specs[node.outputs[0]].shape
    w = _product(work, node, gy, x, shape[:2], transa=True)
    work.nodes.append(Node(OPS["reshape"], (w,), node.outputs, (("shape", shape),), node.line))
    return True


def _are_lines(x, y, attrs):
    """Whether products, one for each place of W, are faster: 1.5 to 3 times as fast for 16 channels or more of sequences."""
    return len(x.shape) == 3 and attrs["groups"] == 1 and min(x.shape[1], y.shape[1], y.shape[2]) >= LEAST_LINES


def _weights_of_lines(work, node, attrs):
    """Gradients with respect to W of a convolution along one axis: what each place of W has seen of x, times the gradients of y there."""
    (images, channels, long), (_, outputs, count) = (work.specs[v].shape for v in node.inputs)
    (stride,), (pad,), (dilate,), (_, _, size) = attrs["stride"], attrs["pad"], attrs["dilate"], work.specs[node.outputs[0]].shape

    starts = [k * dilate - pad for k in range(size)]
    ends = [(max(0, -(start // stride)), min(count, (long - 1 - start) // stride + 1)) for start in starts]      # places of y that see x there
    if any(first >= last for first, last in ends):
        return False
    x, gy = (work.last(v, node.line) for v in node.inputs)
    dtype = work.specs[x].dtype

    def part(v, rows, width, *index):
        return work.emit(OPS["get_item"], (v,), (images, rows, width), dtype, node.line, {"index": (WHOLE, ("slice", *index), WHOLE)})
    places = []
    for start, (first, last) in zip(starts, ends, strict=True):
        seen = part(x, last - first, channels, first * stride + start, (last - 1) * stride + start + 1, stride)
        each = _product(work, node, part(gy, last - first, outputs, first, last, None), seen, (images, outputs, channels), transa=True)
        places.append(work.emit(OPS["sum"], (each,), (outputs, channels), dtype, node.line, {"axis": (0,), "keepdims": False}))
    work.nodes.append(Node(OPS["stack"], tuple(places), node.outputs, (("axis", 2),), node.line))
    return True


_PRODUCTS = {"convolution": lambda work, node: _pointwise(work, node, True),
             "convolution_grad_x": lambda work, node: _pointwise(work, node, False), "convolution_grad_w": _pointwise_weights}


def _pooling(work, node, attrs):
    if not any(v in work.twins for v in node.inputs):
        return False
    operands, results = tuple(range(len(node.inputs))), tuple(range(len(node.outputs)))
    return work.put(node, LastOp(node.op, operands, results), [work.last(v, node.line) for v in node.inputs], attrs, results)


# ------------------------------------------------------------------------------------------------------------------ in between

def _elementwise(work, node, attrs):
    shape = work.specs[node.outputs[0]].shape
    if any(work.specs[v].shape != shape for v in node.outputs) or not any(v in work.twins and work.specs[v].shape == shape for v in node.inputs):
        return False
    inputs = [_spread(work, v, len(shape), node.line) for v in node.inputs]
    return work.put(node, node.op, inputs, attrs, range(len(node.outputs)))


def _spread(work, v, n, line):
    """An operand that is broadcast to ``n`` axes."""
    spec = work.specs[v]
    if spec.weak or spec.size == 1:
        return v
    if len(spec.shape) < n:
        v = work.shaped(v, (1,) * (n - len(spec.shape)) + spec.shape, line)
    return work.last(v, line)


def _reduction(work, node, attrs):
    """Over all axes but the channels, or over all."""
    x, y = node.inputs[0], node.outputs[0]
    n, axis = len(work.specs[x].shape), attrs["axis"]
    gone = set(range(n)) if axis is None else {a % n for a in (axis if isinstance(axis, tuple) else (axis,))}
    if x not in work.twins or not gone >= {0, *range(2, n)}:
        return False
    attrs["axis"] = tuple([k for k, a in enumerate(_axes(n)) if a in gone])
    return work.put(node, node.op, [work.twins[x]], attrs, (0,) if len(work.specs[y].shape) == n else ())


def _sum_to(work, node, attrs):
    x, shape = node.inputs[0], attrs["shape"]
    n = len(work.specs[x].shape)
    full = (1,) * (n - len(shape)) + tuple(shape)
    if x not in work.twins or prod(full) != full[1]:
        return False
    if len(shape) == n:
        return work.put(node, node.op, [work.twins[x]], {"shape": _turned(full)}, (0,))
    y = work.shaped(work.twins[x], _turned(full), node.line, "sum_to")
    work.nodes.append(Node(OPS["reshape"], (y,), node.outputs, (("shape", tuple(shape)),), node.line))
    return True


def _concat(work, node, attrs):
    n = len(work.specs[node.outputs[0]].shape)
    if attrs["axis"] != 1 or not any(v in work.twins for v in node.inputs):
        return False
    return work.put(node, node.op, [work.last(v, node.line) for v in node.inputs], {"axis": n - 1}, (0,))


def _slices(work, node, attrs):
    """A part, or zeros around a part: ``get_item`` and ``put_item`` of slices."""
    x, index = node.inputs[0], attrs["index"]
    if x not in work.twins or not all(isinstance(i, tuple) for i in index):
        return False
    index = (*index, *[WHOLE] * (len(work.specs[x].shape) - len(index)))
    more = {"shape": _turned(attrs["shape"])} if "shape" in attrs else {}
    return work.put(node, node.op, [work.twins[x]], {**attrs, **more, "index": _turned(index)}, (0,))


def _put_item(work, node, attrs):
    """Zeros but at one place, such as the last one of a sequence (gradients of ``x[:, :, -1]``), or around a part."""
    index = attrs["index"]
    if [type(i) for i in index] != [tuple, tuple, *[int] * (len(attrs["shape"]) - 2)] or len(index) < 3:
        return _slices(work, node, attrs)
    return work.put(node, node.op, node.inputs, {"shape": _turned(attrs["shape"]), "index": _turned(index)}, (0,))


def _picked(work, node, attrs):
    """``take`` and ``put`` of lines by their numbers."""
    x, *index = node.inputs
    n, pattern = len(work.specs[x].shape), attrs["pattern"]
    pattern = (*pattern, *[WHOLE] * (n - len(pattern)))
    if x not in work.twins or len(index) != 1 or len(work.specs[index[0]].shape) != 1 or pattern[1] != WHOLE or \
            any(p not in (WHOLE, ("array", 0)) for p in pattern):
        return False
    more = {"shape": _turned(attrs["shape"])} if "shape" in attrs else {}
    return work.put(node, node.op, [work.twins[x], *index], {**attrs, **more, "pattern": _turned(pattern)}, (0,))


def _unit_axes(work, node, attrs):
    """A reshape that adds or drops spatial axes of length 1."""
    (n, c, *size), (m, d, *other) = (work.specs[v].shape if len(work.specs[v].shape) > 1 else (0, 0) for v in (node.inputs[0], node.outputs[0]))
    if node.inputs[0] not in work.twins or (n, c) != (m, d) or [k for k in size if k != 1] != [k for k in other if k != 1]:
        return False
    return work.put(node, node.op, [work.twins[node.inputs[0]]], {"shape": _turned((m, d, *other))}, (0,))


def _same(work, node, attrs):
    return node.inputs[0] in work.twins and work.put(node, node.op, [work.twins[node.inputs[0]]], attrs, (0,))


RULES = {
    **dict.fromkeys(CONVOLUTIONS, _convolution), **dict.fromkeys(ROLES, _pooling), **dict.fromkeys(REDUCTIONS, _reduction),
    "sum_to": _sum_to, "concat": _concat, "get_item": _slices, "put_item": _put_item, "take": _picked, "put": _picked, **dict.fromkeys(SAME, _same),
    "reshape": _unit_axes,
}
