"""Convolution and pooling in compiled graphs: as native steps, equal to the reference interpreter."""
import numpy as np
import pytest
from jit_graphs import assert_same, copies, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run

CONVOLUTIONS = ["convolution", "convolution_grad_x", "convolution_grad_w"]


def check(fn, *operands, python=0):
    """Compiled equals interpreted, within 1e-5 (float64: 1e-12) of the largest magnitude; the number of Python steps."""
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert [s.name for s in executable.steps if s.kind == "python"] == [] or python
    assert_same(graph, executable, operands, 1e-5, 1e-5 * scale(fn, operands))
    return executable


def scale(fn, operands):
    graph = graph_of(fn, *operands)
    return max([float(np.abs(y).max(initial=0)) for y in run(graph, copies(operands)) if y.dtype.kind == "f"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_samples(name, dtype):
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


@pytest.mark.parametrize("seed", range(24))
def test_random_geometry(seed):
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
def test_shapes_of_networks(x, w, more, dtype):
    attrs = {**PLAIN, **more}
    check(lambda *xs: convolve_all(*xs, **attrs), *operands_of(x, w, attrs, dtype))


def test_operands_that_are_views_and_values_of_other_kernels():
    x, w = np.random.normal(size=(3, 9, 8, 4)).astype("f4"), np.random.normal(size=(3, 3, 5, 4)).astype("f4")

    def network(x, w, b):
        x, w = OPS["transpose"](x, axes=(0, 3, 1, 2)), OPS["transpose"](w, axes=(2, 3, 0, 1))
        y = OPS["convolution"](x, w, **PLAIN)
        return OPS["maximum"](y + b, 0.0)
    check(network, x, w, np.random.normal(size=(5, 1, 1)).astype("f4"))
