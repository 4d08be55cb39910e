"""Agreement between a replay and eager: tolerances, the error that names the first operation, and segments run both ways (``check=p``)."""
import numpy as np

from hybridnn.core.application import run_checked
from hybridnn.errors import TraceMismatch
from hybridnn.jit import compile as jit_compile

__all__ = ["check_segment", "compute", "difference", "magnitude", "mismatch", "same"]

TOLERANCE = {2: 2e-2, 4: 2e-4, 8: 1e-8}       # by bytes of a real number: relative to the largest magnitude of the value itself,
FLOOR = {2: 4e-3, 4: 1e-6, 8: 1e-14}          # and to the largest that was computed with, which sums and differences may cancel


def mismatch(name, op, line, want, got):
    """The error for the first operation that differs."""
    return TraceMismatch(f"{name}: a replay differs from eager at the operation {op!r}\n  eager: {_short(want)}\n  replay: {_short(got)}\n  at {line}\n"
                         "  hint: in mode='pure' something beside arguments and parameters matters; in other modes this is a defect of the tracer")


def _short(x):
    return np.array2string(x, threshold=8, edgeitems=3).replace("\n", " ") if isinstance(x, np.ndarray) else repr(x)


def same(x, y, scale=0.0, loosely=1.0):
    """Whether two values agree within rounding; ``scale`` is the largest magnitude that they were computed from, ``loosely`` a factor."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return x.shape == y.shape and x.dtype == y.dtype and _close(x, y, scale, loosely)
    if isinstance(x, float) and isinstance(y, float):
        return x == y or x != x and y != y or abs(x - y) <= loosely * max(TOLERANCE[4] * max(abs(x), abs(y)), FLOOR[4] * scale)
    return type(x) is type(y) and x == y


def _close(x, y, scale, loosely):
    if x.dtype.kind not in "fc":
        return np.array_equal(x, y)
    size = x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1)
    tolerance = loosely * TOLERANCE.get(size, 1e-8)
    with np.errstate(all="ignore"):
        return np.allclose(x, y, rtol=tolerance, atol=max(tolerance * magnitude([x]), loosely * FLOOR.get(size, 1e-14) * scale), equal_nan=True)


def magnitude(values):
    """The largest finite absolute value among arrays of floating-point numbers."""
    arrays = [a for a in values if isinstance(a, np.ndarray) and a.dtype.kind in "fc"]
    with np.errstate(all="ignore"):
        return max((float(np.max(np.abs(a), initial=0, where=np.isfinite(a))) for a in arrays), default=0.0)


def interpret(graph, arrays, known=None):
    """All values by number, operation by operation as eager computes them; each from operands as they are in ``known``, if they are there."""
    values = dict(graph.constants)
    values.update(zip(graph.inputs, arrays, strict=True))
    known = known or {}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            result = run_checked(node.op, [known.get(v, values[v]) for v in node.inputs], dict(node.attrs))
            values.update(zip(node.outputs, result if node.op.multi else (result,), strict=True))
    return values


def compute(graph, given):
    """All values by number, as kernels compute them."""
    wanted = tuple(v for node in graph.nodes for v in node.outputs)
    return dict(zip(wanted, jit_compile(graph.replace(outputs=wanted, writes=()))(given), strict=True))


def difference(graph, given, produced, values):
    """(op, line, eager's value, the replay's) of the first node whose result is not what its operation makes of its operands.

    None if rounding explains everything: what an operation makes of rounded operands may be far from what it makes of others. ``values`` are eager's.
    """
    scale = magnitude(values.values())
    if all(same(values[v], got, scale) for v, got in produced.items()):
        return None
    for found in (compute(graph, given), produced):
        own = interpret(graph, given, found)
        for node in graph.nodes:
            for v in node.outputs:
                if v in found and not same(own[v], found[v], scale):
                    return node.op.name, node.line, own[v], found[v]
    return None


def check_segment(call, segment, arrays, run):
    """Run a segment and compare. The first difference is noted in ``call.difference``, and eager's results are returned."""
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
    results = run(arrays)
    values = interpret(segment.graph, given)
    produced = dict(zip(segment.outputs, results, strict=True))
    written = dict(zip(segment.inputs, arrays, strict=True))
    produced.update({newest: written[root] for root, newest in segment.writes})
    found = difference(segment.graph, given, produced, values)
    if found is None:
        return results
    call.difference = call.difference or found
    for root, newest in segment.writes:
        written[root][...] = values[newest]
    return [np.array(values[v]) for v in segment.outputs]
