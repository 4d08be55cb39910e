"""Agreement between a replay and eager: tolerances, the error that names the first operation, and segments run both ways (``check=p``)."""
import numpy as np

from hybridnn.core.variable import run_checked
from hybridnn.errors import TraceMismatch
from hybridnn.jit import compile as jit_compile

__all__ = ["check_segment", "compute", "mismatch", "same"]

TOLERANCE = {2: 2e-2, 4: 2e-4, 8: 1e-8}       # relative to the largest magnitude, by bytes of a real number


def mismatch(name, op, line, want, got):
    """The error for the first operation that differs."""
    return TraceMismatch(f"{name}: a replay differs from eager at the operation {op!r}\n  eager: {_short(want)}\n  replay: {_short(got)}\n  at {line}\n"
                         "  hint: in mode='pure' something beside arguments and parameters matters; in other modes this is a defect of the tracer")


def _short(x):
    return np.array2string(x, threshold=8, edgeitems=3).replace("\n", " ") if isinstance(x, np.ndarray) else repr(x)


def same(x, y):
    """Whether two values agree within the declared rounding."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return x.shape == y.shape and x.dtype == y.dtype and _close(x, y)
    if isinstance(x, float) and isinstance(y, float):
        return x == y or x != x and y != y or abs(x - y) <= TOLERANCE[4] * max(abs(x), abs(y))
    return type(x) is type(y) and x == y


def _close(x, y):
    if x.dtype.kind not in "fc":
        return np.array_equal(x, y)
    tolerance = TOLERANCE.get(x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1), 1e-8)
    largest = np.max(np.abs(x), initial=0, where=np.isfinite(x))
    with np.errstate(all="ignore"):
        return np.allclose(x, y, rtol=tolerance, atol=tolerance * float(largest), equal_nan=True)


def interpret(graph, arrays):
    """The graph run operation by operation, as eager does: all values by number."""
    values = dict(graph.constants)
    values.update(zip(graph.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            result = run_checked(node.op, [values[v] for v in node.inputs], dict(node.attrs))
            values.update(zip(node.outputs, result if node.op.multi else (result,), strict=True))
    return values


def check_segment(call, segment, arrays, run):
    """Run a segment and compare. Returns eager's results; the first difference is noted in ``call.difference``."""
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
    results = run(arrays)
    values = interpret(segment.graph, given)
    produced = dict(zip(segment.outputs, results, strict=True))
    written = dict(zip(segment.inputs, arrays, strict=True))
    produced.update({newest: written[root] for root, newest in segment.writes})
    if call.difference is None and not all(same(values[v], got) for v, got in produced.items()):
        call.difference = _first_of(segment.graph, given, values, produced)
    for root, newest in segment.writes:
        written[root][...] = values[newest]
    return [r if same(values[v], r) else np.array(values[v]) for v, r in zip(segment.outputs, results, strict=True)]


def compute(graph, given):
    """All values by number, as kernels compute them."""
    wanted = tuple(v for node in graph.nodes for v in node.outputs)
    return dict(zip(wanted, jit_compile(graph.replace(outputs=wanted, writes=()))(given), strict=True))


def _first_of(graph, given, values, produced):
    """(op, line, eager's value, the replay's) of the first node whose value differs; computes all values natively to find it."""
    for found in (compute(graph, given), produced):
        for node in graph.nodes:
            for v in node.outputs:
                if v in found and not same(values[v], found[v]):
                    return node.op.name, node.line, values[v], found[v]
    raise AssertionError("a segment differs, and none of its values does")
