"""Graphs for the tests of the JIT: written as functions of ops, compared with the reference interpreter."""
import numpy as np

from hybridnn import jit
from hybridnn.core.compose import compose
from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node, infer, run, verify
from hybridnn.jit.decompose import NumberOp
from hybridnn.jit.places import ARENA, OUTPUT
from hybridnn.jit.specs import Specs
from hybridnn.spec import spec_of


class Recording:
    """Collects the nodes of one function."""

    def __init__(self):
        self.specs, self.nodes, self.constants = Specs({}), [], []

    def value(self, kind, x):
        if kind == "handle":
            return x
        v = self.specs.new(spec_of(x))
        self.constants.append((v, x))
        return v

    def emit(self, op, operands, attrs):
        inputs = tuple(self.value(*o) for o in operands)
        op = op if hasattr(op, "run") else NumberOp(op)
        specs = infer(op, [self.specs[v] for v in inputs], tuple(attrs.items()))
        outputs = tuple(self.specs.new(s) for s in specs)
        self.nodes.append(Node(op, inputs, outputs, tuple(attrs.items()), f"user.py:{len(self.nodes) + 1}"))
        return [(v, self.specs[v]) for v in outputs]


def product(x, y, transa=False, transb=False):
    """The matrix product, with all its attributes."""
    return OPS["matmul"](x, y, transa=transa, transb=transb)


def graph_of(fn, *operands, writes=()):
    """The graph of ``fn(*symbols)`` for operands of these specs; ``writes`` pairs a position of operands with one of the results.

    Results that ``writes`` names are not returned.
    """
    r = Recording()
    inputs = [(r.specs.new(spec_of(x)), spec_of(x)) for x in operands]
    with np.errstate(all="ignore"):
        results = [r.value(*y) for y in compose(fn, inputs, {}, r.emit)]
    written = tuple((inputs[t][0], results[k]) for t, k in writes)
    kept = tuple(v for k, v in enumerate(results) if k not in {k for _, k in writes})
    return verify(Graph(tuple(v for v, _ in inputs), tuple(r.nodes), kept, r.specs, tuple(r.constants), written))


def array(*shape, dtype="f4"):
    return np.random.normal(size=shape).astype(dtype)


def styles(executable):
    """What kinds of loops the kernels have, as their texts say."""
    return [text[3:].split(":")[0] for text in executable.sources]


def turned(x, *axes):
    return OPS["transpose"](x, axes=axes)


def total(x, *axis):
    return OPS["sum"](x, axis=axis, keepdims=False)


def copies(operands):
    return [np.array(x) if isinstance(x, np.ndarray) else x for x in operands]


def both(graph, executable, operands):
    """Outputs and written inputs by the interpreter and by the executable."""
    expected, actual = copies(operands), copies(operands)
    with np.errstate(all="ignore"):
        want, got = run(graph, expected), executable(actual)
    arrays = [k for k, x in enumerate(operands) if isinstance(x, np.ndarray)]
    return [*want, *[expected[k] for k in arrays]], [*got, *[actual[k] for k in arrays]]


def assert_same(graph, executable, operands, rtol=2e-6, atol=2e-6):
    """The executable does what the interpreter does, up to rounding; dtypes and shapes are the same."""
    for want, got in zip(*both(graph, executable, operands), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if want.dtype.kind == "f":
            limits = (rtol, atol) if want.dtype == np.float32 else (rtol * 1e-7,
                                                                    atol * 1e-7) if want.dtype == np.float64 else (2e-3, 2e-3)
            np.testing.assert_allclose(got, want, *limits)
        else:
            np.testing.assert_array_equal(got, want)


def assert_styles(fn, operands, wanted, rtol, atol):
    """The kernels of ``fn`` have loops of these kinds, and do what the interpreter does."""
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert styles(executable) == wanted
    assert_same(graph, executable, operands, rtol, atol)


def kinds(executable):
    return [s.kind for s in executable.steps]


def compiled_natively(graph):
    """The executable, which has no Python step."""
    executable = jit.compile(graph)
    assert [s.name for s in executable.steps if s.kind == "python"] == []
    return executable


def roots_of(executable):
    """The blocks of memory of an executable's steps that are neither inputs nor constants."""
    steps = executable._lowered.steps
    return {id(p.root): p.root for s in steps for p in (*s.reads, *s.writes, *s.scratch) if p.root.kind in (ARENA, OUTPUT)}.values()


def overlaps(executable):
    """Pairs of roots that are alive at the same time, in the same memory, and do not take over one another."""
    found, roots = [], [r for r in roots_of(executable) if r.first >= 0]
    results = {r.index: id(r) for r in sorted(roots, key=lambda r: r.first) if r.kind == OUTPUT}       # what is written last into an output is the output

    def ends(r):
        return len(executable._lowered.steps) if r.kind == OUTPUT and results[r.index] == id(r) else r.last

    def family(r):
        return id(r) if r.inside is None else family(r.inside)
    for k, a in enumerate(roots):
        for b in roots[:k]:
            same = a.kind == b.kind and (a.kind == ARENA or a.index == b.index) and family(a) != family(b)
            if same and a.first <= ends(b) and b.first <= ends(a) and a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes:
                found.append((a, b))
    return found


def random_graph(seed, size=12, shape=None):
    """A graph of elementwise ops, reductions, views and products over a few float32 arrays, and operands for it; ``shape`` is that of the first."""
    rng = np.random.default_rng(seed)
    drawn = [int(n) for n in rng.integers(1, 9, 2)]
    rows, cols = shape or drawn
    draws = rng if shape is None else np.random.default_rng(seed)       # graphs that differ in sizes alone draw alike
    operands = [draws.normal(size=s).astype("f4") for s in ((rows, cols), (cols,), (rows, 1))] + [float(draws.uniform(.5, 1.5))]

    def body(*symbols):
        values = list(symbols)
        for _ in range(size):
            values.append(_random_application(rng, values))
        picked = rng.choice(np.arange(3, len(values)), size=min(3, size), replace=False)
        return [values[k] for k in picked if k != 3] or [values[-1]]
    return graph_of(body, *operands), operands


def _random_application(rng, values):
    arrays = [v for k, v in enumerate(values) if k != 3]
    x = arrays[rng.integers(len(arrays))]
    choice = rng.integers(7)
    if choice == 0:
        return OPS[("tanh", "exp", "neg", "absolute", "sigmoid")[rng.integers(5)]](x * 0.25)
    if choice == 1 and x.ndim:
        axis = (int(rng.integers(x.ndim)),)
        return OPS[("sum", "amax", "mean")[rng.integers(3)]](x, axis=axis, keepdims=bool(rng.integers(2)))
    if choice == 2:
        return OPS["transpose"](x, axes=tuple(range(x.ndim))[::-1])
    if choice == 3:
        return OPS["reshape"](x, shape=(1, *x.shape) if rng.integers(2) else (int(np.prod(x.shape)),))
    if choice == 4:
        return OPS["where"](x > 0, x, values[3])
    return _random_pair(rng, arrays, x, values[3])


def _random_pair(rng, arrays, x, number):
    """``x`` with another value that broadcasts with it, or with the number."""
    for k in rng.permutation(len(arrays)):
        y = arrays[k]
        try:
            shape = np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            continue
        if len(shape) <= 4 and np.prod(shape) <= 4096:
            return OPS[("add", "mul", "sub", "maximum")[rng.integers(4)]](x, y)
    return x * number
