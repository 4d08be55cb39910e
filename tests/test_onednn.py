"""oneDNN's primitives as steps, against plain NumPy; in the layouts they choose, between threads, in a forked child."""

import gc
import logging
import os
import weakref

import numpy as np
import pytest
from at_once import at_once

from hybridnn.jit import onednn as dnn
from hybridnn.jit import onednn_library, threads
from hybridnn.jit.native import LIBRARY_ERROR, NativePlan

RNG = np.random.default_rng(0)
installed = pytest.mark.skipif(dnn.find() is None, reason="oneDNN is not installed (extra 'onednn')")


def _normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def _aligned(nbytes):
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes].view(np.float32) if nbytes % 4 == 0 else raw[start : start + nbytes]


def _plan(primitives):
    """One plan of several primitives: (primitive, {operand: buffer name}); all buffers by name."""
    layouts, steps = {}, []
    for k, (p, names) in enumerate(primitives):
        names = {n: names.get(n, f"{n}{k}") for n in p.layouts}
        for n, buffer in names.items():
            layouts.setdefault(buffer, p.layouts[n])
        steps.append((p, names))
    order = list(layouts)
    plan = NativePlan.build([p.step({n: (order.index(b), 0) for n, b in names.items()}) for p, names in steps], len(order))
    return plan, layouts


def _run(p, **arrays):
    """Runs one primitive on plain arrays: reorders what it wants in another layout, both ways. Returns all operands."""
    primitives, outputs = [], {}
    for n, layout in p.layouts.items():
        if n in arrays and not layout.is_plain:
            primitives.append((dnn.reorder(dnn.plain(layout.shape), layout), {"src": f"{n} plain", "dst": n}))
    primitives.append((p, {n: n for n in p.layouts}))
    for n, layout in p.layouts.items():
        if n not in arrays and n != "scratchpad" and not layout.is_plain:
            primitives.append((dnn.reorder(layout, dnn.plain(layout.shape)), {"src": n, "dst": f"{n} plain"}))
    plan, layouts = _plan(primitives)
    buffers = {b: _aligned(layout.size) for b, layout in layouts.items()}
    for n, a in arrays.items():
        buffers.get(f"{n} plain", buffers[n])[...] = np.ravel(a)
    assert plan.run(tuple(buffers.values())) is None
    for n, layout in p.layouts.items():
        b = buffers.get(f"{n} plain", buffers[n])
        outputs[n] = b if n == "scratchpad" else b.reshape(layout.shape)
    return outputs


def _windows(x, kernel, g):
    """(N, C, *kernel, *out) by slicing a padded copy."""
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(g.pad, g.after)])
    spans = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(x.shape[2:], kernel, g.dilation, g.stride)]
    out = np.empty((*x.shape[:2], *kernel, *spans))
    for k in np.ndindex(*kernel):
        cut = tuple(slice(k_ * d, k_ * d + (o - 1) * s + 1, s) for k_, d, o, s in zip(k, g.dilation, spans, g.stride))
        out[(slice(None), slice(None), *k)] = x[(slice(None), slice(None), *cut)]
    return out


def _geometry(n, stride=1, pad=0, dilation=1, after=None):
    return dnn.Geometry((stride,) * n, (pad,) * n, (pad if after is None else after,) * n, (dilation,) * n)


CASES = [
    ((2, 3, 8, 9), (5, 3, 3, 3), _geometry(2, pad=1)),
    ((2, 16, 9, 9), (24, 16, 3, 3), _geometry(2, stride=2, pad=1)),
    ((1, 8, 12, 12), (8, 8, 2, 2), _geometry(2, dilation=2)),
    ((2, 4, 10), (6, 4, 3), _geometry(1, pad=2, after=0)),
    ((1, 8, 5, 6, 7), (8, 8, 2, 2, 2), _geometry(3)),
]


@installed
@pytest.mark.parametrize("x_shape, w_shape, g", CASES, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("order", [dnn.plain, dnn.free])
def test_convolution_and_its_gradients(x_shape, w_shape, g, order):
    x, w = _normal(*x_shape), _normal(*w_shape)
    n = len(x_shape) - 2
    cols = _windows(x, w_shape[2:], g)
    expected = np.tensordot(w, cols, (list(range(1, n + 2)), list(range(1, n + 2)))).swapaxes(0, 1)
    y_shape = expected.shape
    xs, ws, ys = order(x_shape), order(w_shape), order(y_shape)
    forward = dnn.convolution(xs, ws, ys, g)
    np.testing.assert_allclose(_run(forward, src=x, weights=w)["dst"], expected, rtol=1e-4, atol=1e-4)

    gy = _normal(*y_shape)
    gx = _run(dnn.convolution_backward_data(xs, ws, ys, g, forward), weights=w, diff_dst=gy)["diff_src"]
    direction = _normal(*x_shape)
    along = np.tensordot(w, _windows(direction, w_shape[2:], g), (list(range(1, n + 2)), list(range(1, n + 2)))).swapaxes(0, 1)
    np.testing.assert_allclose(np.vdot(gx, direction), np.vdot(gy, along), rtol=1e-3, atol=1e-2)

    out = _run(dnn.convolution_backward_weights(xs, ws, ys, g, forward), src=x, diff_dst=gy)["diff_weights"]
    places = list(range(2, n + 2))
    gw = np.tensordot(gy, cols, ([0, *places], [0, *range(n + 2, 2 * n + 2)]))
    np.testing.assert_allclose(out, gw, rtol=1e-3, atol=1e-3)


@installed
def test_grouped_convolution():
    g = _geometry(2, pad=1)
    x, w = _normal(2, 8, 6, 6), _normal(2, 8, 4, 3, 3)
    y = _run(dnn.convolution(dnn.free(x.shape), dnn.free(w.shape), dnn.free((2, 16, 6, 6)), g), src=x, weights=w)["dst"]
    parts = [np.tensordot(_windows(x[:, 4 * i : 4 * i + 4], (3, 3), g), w[i], ([1, 2, 3], [1, 2, 3])) for i in range(2)]
    np.testing.assert_allclose(y, np.concatenate(parts, -1).transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


def _some_convolution():
    shape, w = (4, 16, 16, 16), (16, 16, 3, 3)
    return dnn.convolution(dnn.free(shape), dnn.free(w), dnn.free(shape), _geometry(2, pad=1))


def _ready():
    p = _some_convolution()
    plan, layouts = _plan([(p, {})])
    buffers = [_aligned(layout.size) for layout in layouts.values()]
    for b in buffers:
        b[...] = RNG.integers(-2, 3, b.shape)
    plan.run(buffers)
    return plan, buffers, [b.copy() for b in buffers]


@installed
def test_threads_share_a_primitive():
    plan, _, expected = _ready()
    wrong = []

    def work(_):
        mine = [b.copy() for b in expected]
        aligned = [_aligned(b.nbytes) for b in mine]
        for a, b in zip(aligned, mine):
            a[...] = b
        for _ in range(20):
            plan.run(aligned)
            wrong.extend(i for i, (a, b) in enumerate(zip(aligned, expected)) if not np.array_equal(a, b))

    at_once(work, range(3))
    assert not wrong


@installed
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_hang():
    plan, buffers, expected = _ready()
    pid = os.fork()
    if pid == 0:
        plan.run(buffers)
        os._exit(0 if all(map(np.array_equal, buffers, expected)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@installed
def test_threads_are_set_back():
    openmp = threads.openmp()
    before = openmp.omp_get_max_threads()
    with threads.limit(1):
        plan, buffers, _ = _ready()
    plan.run(buffers)
    del plan, buffers
    assert openmp.omp_get_max_threads() == before


@installed
def test_a_failing_primitive_is_reported():
    """Without its weights the library refuses, and the plan stops with its status."""
    p = _some_convolution()
    layouts = {n: layout for n, layout in p.layouts.items() if n != "weights"}
    broken = dnn.Primitive(layouts, p.implementation, p.description)
    plan, named = _plan([(broken, {})])
    step, code, value = plan.run([_aligned(layout.size) for layout in named.values()])
    assert (step, code) == (0, LIBRARY_ERROR)
    assert value != 0


@installed
def test_what_oneDNN_refuses():
    with pytest.raises(dnn.Unsupported, match="convolution"):
        dnn.convolution(dnn.plain((2, 3, 8, 8)), dnn.plain((5, 4, 1, 1)), dnn.plain((2, 5, 8, 8)), _geometry(2))
    with pytest.raises(ValueError, match="operands"):
        _some_convolution().step({"src": (0, 0)})


@installed
def test_a_dropped_primitive_is_freed():
    p = _some_convolution()
    gone = weakref.ref(p)
    gc.disable()
    try:
        step = p.step({n: (i, 0) for i, n in enumerate(p.layouts)})
        del p
        assert gone() is not None
        del step
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("candidates", [[], ["libm.so.6"], ["/nowhere/libdnnl.so"], [__file__]])
def test_without_oneDNN(monkeypatch, caplog, candidates):
    monkeypatch.setattr(onednn_library, "_candidates", lambda: candidates)
    dnn.find.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "hybridnn.jit"):
            assert dnn.find() is None
            with pytest.raises(dnn.Unsupported, match="not installed"):
                dnn.plain((2, 3))
        assert len(caplog.records) == 1
    finally:
        dnn.find.cache_clear()
