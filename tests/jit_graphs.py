"""Graphs for the tests of the JIT: written as functions of ops, compared with the reference interpreter."""
import numpy as np

from hybridnn.core.op import compose
from hybridnn.graph import Graph, Node, infer, run, verify
from hybridnn.spec import spec_of


class Recording:
    """Collects the nodes of one function."""

    def __init__(self):
        self.specs, self.nodes, self.constants = {}, [], []

    def new(self, spec):
        v = len(self.specs)
        self.specs[v] = spec
        return v

    def value(self, kind, x):
        if kind == "handle":
            return x
        v = self.new(spec_of(x))
        self.constants.append((v, x))
        return v

    def emit(self, op, operands, attrs):
        inputs = tuple(self.value(*o) for o in operands)
        specs = infer(op, [self.specs[v] for v in inputs], tuple(attrs.items()))
        outputs = tuple(self.new(s) for s in specs)
        self.nodes.append(Node(op, inputs, outputs, tuple(attrs.items()), f"user.py:{len(self.nodes) + 1}"))
        return [(v, self.specs[v]) for v in outputs]


def graph_of(fn, *operands, writes=()):
    """The graph of ``fn(*symbols)`` for operands of these specs; ``writes`` pairs a position of operands with one of the results.

    Results that ``writes`` names are not returned.
    """
    r = Recording()
    inputs = [(r.new(spec_of(x)), spec_of(x)) for x in operands]
    with np.errstate(all="ignore"):
        results = [r.value(*y) for y in compose(fn, inputs, {}, r.emit)]
    written = tuple((inputs[t][0], results[k]) for t, k in writes)
    kept = tuple(v for k, v in enumerate(results) if k not in {k for _, k in writes})
    return verify(Graph(tuple(v for v, _ in inputs), tuple(r.nodes), kept, r.specs, tuple(r.constants), written))


def copies(operands):
    return [np.array(x) if isinstance(x, np.ndarray) else x for x in operands]


def both(graph, executable, operands):
    """Outputs and written inputs by the interpreter and by the executable."""
    expected, actual = copies(operands), copies(operands)
    with np.errstate(all="ignore"):
        want = run(graph, expected)
    got = executable(actual)
    arrays = [k for k, x in enumerate(operands) if isinstance(x, np.ndarray)]
    return [*want, *[expected[k] for k in arrays]], [*got, *[actual[k] for k in arrays]]


def assert_same(graph, executable, operands, rtol=2e-6, atol=2e-6):
    """The executable does what the interpreter does, up to rounding; dtypes and shapes are the same."""
    for want, got in zip(*both(graph, executable, operands), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if want.dtype.kind == "f":
            limits = (rtol, atol) if want.dtype == np.float32 else (rtol * 1e-7, atol * 1e-7) if want.dtype == np.float64 else (2e-3, 2e-3)
            np.testing.assert_allclose(got, want, *limits)
        else:
            np.testing.assert_array_equal(got, want)
