"""Convolution and pooling in compiled graphs: as native steps, equal to the reference interpreter."""
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jit_graphs import assert_same, copies, graph_of, kinds

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit import channels, lower_conv, lower_onednn, onednn, onednn_library, threads

CONVOLUTIONS = ["convolution", "convolution_grad_x", "convolution_grad_w"]
RNG = np.random.default_rng(0)


@pytest.fixture(params=["columns", "channels last", "blocked"])
def path(request, monkeypatch):
    """All ways to convolve, whatever pays for these small shapes."""
    if request.param != "columns" and onednn.find() is None:
        pytest.skip("oneDNN is not installed (extra 'onednn')")
    monkeypatch.setattr(lower_conv, "pays", lambda way, geometry: request.param != "columns")
    if request.param == "blocked":
        monkeypatch.setattr(channels, "fits_last", lambda *args: False)
    return request.param


@pytest.fixture
def blocked(monkeypatch):
    """As where the library has no fast code for channels that lie last."""
    monkeypatch.setattr(channels, "fits_last", lambda *args: False)


def check(fn, *operands, python=0):
    """Compiled equals interpreted, within 1e-5 (float64: 1e-12) of the largest magnitude, with so many Python steps."""
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert len([s.name for s in executable.steps if s.kind == "python"]) == python
    assert_same(graph, executable, operands, 1e-5, 1e-5 * scale(graph, operands))
    return executable


def scale(graph, operands):
    """The largest finite result."""
    results = [y[np.isfinite(y)] for y in run(graph, copies(operands)) if y.dtype.kind == "f"]
    return max([float(np.abs(y).max(initial=0)) for y in results], default=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_samples(name, dtype, path):
    for operands, attrs in OPS[name].samples(np.random.default_rng(0), dtype):
        check(lambda *xs, a=attrs: OPS[name](*xs, **a), *operands)


def geometry(seed):
    """A random convolution: (shape of x, shape of W, attrs)."""
    rng = np.random.default_rng(seed)
    axes, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    several = lambda lo, hi: tuple(int(n) for n in rng.integers(lo, hi, axes))
    ksize, stride, pad, dilate = several(1, 4), several(1, 4), several(0, 3), several(1, 3)
    size = tuple(d * (k - 1) + 1 + int(n) for d, k, n in zip(dilate, ksize, rng.integers(0, 7, axes)))
    n, c, out = int(rng.integers(1, 5)), groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 5))
    attrs = dict(stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=bool(rng.integers(0, 2)))
    return (n, c, *size), (out, c // groups, *ksize), attrs


def convolve_all(x, w, g, **attrs):
    """A convolution and both of its gradients."""
    conv, grad_x, grad_w = (OPS[n] for n in CONVOLUTIONS)
    return [conv(x, w, **attrs), grad_x(g, w, size=tuple(x.shape[2:]), **attrs), grad_w(x, g, ksize=tuple(w.shape[2:]), **attrs)]


def operands_of(x, w, attrs, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    x, w = (rng.normal(size=s).astype(dtype) for s in (x, w))
    return x, w, rng.normal(size=OPS["convolution"].run((x, w), attrs).shape).astype(dtype)


@pytest.mark.parametrize("seed", range(16))
def test_random_geometry(seed, path):
    x, w, attrs = geometry(seed)
    check(lambda *xs: convolve_all(*xs, **attrs), *operands_of(x, w, attrs, ("float32", "float64")[seed % 2], seed))


PLAIN = dict(stride=(1, 1), pad=(1, 1), dilate=(1, 1), groups=1, cover_all=False)


@pytest.mark.parametrize("x, w, more", [
    ((5, 8, 30, 30), (6, 8, 3, 3), {}),                                    # several chunks of images
    ((70, 16, 8, 8), (12, 16, 3, 3), {}),                                  # images that share products, several chunks
    ((4, 6, 9, 7), (5, 6, 1, 1), {"pad": (0, 0)}),                         # nothing to gather
    ((3, 6, 9, 7), (6, 1, 3, 3), {"groups": 6}),                           # one channel per group
    ((1, 3, 40, 40), (4, 3, 5, 5), {"stride": (2, 2), "pad": (2, 2)}),
])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_of_networks(x, w, more, dtype, path):
    attrs = {**PLAIN, **more}
    check(lambda *xs: convolve_all(*xs, **attrs), *operands_of(x, w, attrs, dtype))


def test_operands_that_are_views_and_values_of_other_kernels(path):
    x, w = np.random.normal(size=(3, 9, 8, 4)).astype("f4"), np.random.normal(size=(3, 3, 5, 4)).astype("f4")

    def network(x, w, b):
        x, w = OPS["transpose"](x, axes=(0, 3, 1, 2)), OPS["transpose"](w, axes=(2, 3, 0, 1))
        y = OPS["convolution"](x, w, **PLAIN)
        return OPS["maximum"](y + b, 0.0)
    check(network, x, w, np.random.normal(size=(5, 1, 1)).astype("f4"))



# ----------------------------------------------------------------------------------------------------- layouts of the library

LARGE = (8, 16, 16, 16), (24, 16, 3, 3)
installed = pytest.mark.skipif(onednn.find() is None, reason="oneDNN is not installed (extra 'onednn')")


@installed
def test_a_reordered_value_is_shared_and_chained_convolutions_keep_their_layout(blocked):
    x, w, g = operands_of(*LARGE, PLAIN)
    both = check(lambda *xs: convolve_all(*xs, **PLAIN)[::2], x, w, g)
    assert kinds(both).count("onednn") == 2
    v = RNG.normal(size=(32, 24, 3, 3)).astype("f4")
    conv = OPS["convolution"]
    chain = check(lambda x, w, v: conv(conv(x, w, **PLAIN), v, **PLAIN), x, w, v)
    assert kinds(chain) == ["reorder", "reorder", "onednn", "reorder", "onednn", "reorder"]     # x, w; v; the result
    used = check(lambda x, w, v: (lambda y: [conv(y, v, **PLAIN), y * 2])(conv(x, w, **PLAIN)), x, w, v)
    assert kinds(used).count("reorder") == 5                                                    # and y, for its other reader


@installed
@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("images, units", [(12, 6), (7, 7), (1, 1), (2, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_threads_share_images(last, images, units, groups, monkeypatch):
    """Pieces of the images, one primitive each, and the gradients of weights summed over them."""
    monkeypatch.setattr(lower_conv, "pays", lambda way, geometry: True)
    monkeypatch.setattr(lower_onednn, "UNIT_FLOPS", 1)
    monkeypatch.setattr(lower_onednn, "UNIT_BYTES", 1)
    monkeypatch.setattr(lower_onednn, "MOST_UNITS", 7)
    x, w, g = operands_of((images, 16, 12, 12), (32, 16 // groups, 3, 3), {**PLAIN, "groups": groups})
    if not last:
        monkeypatch.setattr(channels, "fits_last", lambda *args: False)
    found, choose = {}, lower_onednn._units
    monkeypatch.setattr(lower_onednn, "_units", lambda way, g: found.setdefault(way, choose(way, g)))
    check(lambda *xs: convolve_all(*xs, **{**PLAIN, "groups": groups}), x, w, g)
    sums = {12: 4, 2: 2}.get(images, 1)
    assert found == {"forward": units, "grad_x": units, "grad_w": sums}


@installed
def test_a_value_in_a_library_layout_is_read_by_convolutions_that_are_not(blocked):
    x, w, _ = operands_of(*LARGE, PLAIN)
    one = RNG.normal(size=(4, 24, 1, 1)).astype("f4")
    conv, attrs = OPS["convolution"], {**PLAIN, "pad": (0, 0)}
    steps = kinds(check(lambda x, w, one: conv(conv(x, w, **PLAIN), one, **attrs), x, w, one))
    assert {"onednn", "im2col"} <= set(steps)


@installed
def test_what_pays_depends_on_the_shape_alone():
    x, w, g = operands_of(*LARGE, PLAIN)
    assert "onednn" in kinds(check(lambda x, w: OPS["convolution"](x, w, **PLAIN), x, w))
    assert kinds(check(lambda x, w: OPS["convolution"](x, w, **PLAIN), x[:1, :, :3, :3], w)) == ["im2col"]
    double = operands_of(*LARGE, PLAIN, "float64")[:2]
    assert kinds(check(lambda x, w: OPS["convolution"](x, w, **PLAIN), *double)) == ["im2col"]


def test_without_the_library_columns_do_it(monkeypatch):
    for module in (onednn, onednn_library):
        monkeypatch.setattr(module, "find", lambda: None)
    x, w, g = operands_of(*LARGE, PLAIN)
    assert set(kinds(check(lambda *xs: convolve_all(*xs, **PLAIN), x, w, g))) == {"im2col"}


def test_several_threads_run_one_executable(path):
    x, w, g = operands_of(*LARGE, PLAIN)
    graph = graph_of(lambda *xs: convolve_all(*xs, **PLAIN), x, w, g)
    executable = jit.compile(graph)
    cases = [(x + k, w, g - k) for k in range(4)]
    expected = [executable(c) for c in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, want in zip(pool.map(executable, cases), expected):
                for a, b in zip(got, want):
                    np.testing.assert_allclose(a, b, 1e-5, 1e-5 * np.abs(b).max())


def test_one_thread_gives_the_same(path):
    x, w, g = operands_of(*LARGE, PLAIN)
    with threads.limit(1):
        check(lambda *xs: convolve_all(*xs, **PLAIN), x, w, g)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_convolves(path):
    x, w, g = operands_of(*LARGE, PLAIN)
    executable = jit.compile(graph_of(lambda *xs: convolve_all(*xs, **PLAIN), x, w, g))
    expected = executable((x, w, g))
    child = os.fork()
    if child == 0:
        got = executable((x, w, g))
        os._exit(0 if all(np.allclose(a, b, 1e-4, 1e-4) for a, b in zip(got, expected)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---------------------------------------------------------------------------------------------------------------------- pooling

POOLINGS = ["max_pooling", "max_pooling_grad", "max_pooling_pick", "sum_pooling", "sum_pooling_grad"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("name", POOLINGS)
def test_samples_of_pooling(name, dtype):
    for operands, attrs in OPS[name].samples(np.random.default_rng(0), dtype):
        check(lambda *xs, a=attrs: OPS[name](*xs, **a), *operands)


def pool_all(x, g, **attrs):
    """Both poolings, their gradients, and the gradients' gradients."""
    op, size = OPS.__getitem__, {"size": tuple(x.shape[2:])}
    y, place = op("max_pooling")(x, **attrs)
    return [y, place, op("max_pooling_grad")(g, place, **size, **attrs), op("max_pooling_pick")(x, place, **attrs),
            op("sum_pooling")(x, **attrs), op("sum_pooling_grad")(g, **size, **attrs)]


def pooling_geometry(seed):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    several = lambda lo, hi: tuple(int(n) for n in rng.integers(lo, hi, axes))
    ksize = several(1, 4)
    pad = tuple(int(rng.integers(0, k)) for k in ksize)
    size = tuple(k + int(n) for k, n in zip(ksize, rng.integers(0, 9, axes)))
    attrs = dict(ksize=ksize, stride=several(1, 4), pad=pad, cover_all=bool(rng.integers(0, 2)))
    return (int(rng.integers(1, 4)), int(rng.integers(1, 5)), *size), attrs


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_random_pooling(seed, last):
    """``last``: channels lie innermost in memory."""
    shape, attrs = pooling_geometry(seed)
    rng, axes = np.random.default_rng(seed), range(2, len(shape))
    x = rng.integers(-3, 4, shape).astype(("f4", "f8")[seed % 2])
    x[rng.random(shape) < .02] = rng.choice([np.nan, np.inf, -np.inf])
    g = rng.normal(size=OPS["sum_pooling"].run((x,), attrs).shape).astype(x.dtype)
    to, back = (0, *axes, 1), (0, len(shape) - 1, *range(1, len(shape) - 1))
    if last:
        x, g = (np.ascontiguousarray(a.transpose(to)) for a in (x, g))
    view = (lambda x: OPS["transpose"](x, axes=back)) if last else (lambda x: x)
    check(lambda x, g: pool_all(view(x), view(g), **attrs), x, g)
