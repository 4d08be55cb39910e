"""Channels last: the pass, and networks compiled with it, against the reference interpreter."""
import numpy as np
import pytest
from jit_graphs import assert_same, copies, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit import channels, lower_conv, lower_onednn, machine, onednn
from hybridnn.jit.passes import channels_last, simplify
from hybridnn.spec import spec_of

pytestmark = pytest.mark.skipif(onednn.find() is None, reason="oneDNN is not installed (extra 'onednn')")
RNG = np.random.default_rng(0)
FREE = ("slice", None, None, None)
conv, conv_x, conv_w, pool, unpool, concat, get, put, total, sum_to, greatest = (OPS[n] for n in (
    "convolution", "convolution_grad_x", "convolution_grad_w", "max_pooling", "max_pooling_grad", "concat", "get_item", "put_item", "sum", "sum_to",
    "amax"))


@pytest.fixture(autouse=True)
def pays(monkeypatch):
    """Whatever pays for these small shapes."""
    monkeypatch.setattr(lower_conv, "pays", lambda way, geometry: True)


def array(*shape):
    return RNG.normal(size=shape).astype("f4")


def window(n, k=3, stride=1, pad=1, groups=1):
    return dict(stride=(stride,) * n, pad=(pad,) * n, dilate=(1,) * n, groups=groups, cover_all=False)


def pooled(x, n=2):
    return pool(x, ksize=(2,) * n, stride=(2,) * n, pad=(0,) * n, cover_all=False)


def check(fn, *operands):
    graph = graph_of(fn, *operands)
    turned = channels_last(graph)
    scale = max(float(np.abs(y).max(initial=0)) for y in run(graph, copies(operands)) if y.dtype.kind == "f")
    for want, got in zip(run(graph, copies(operands)), run(turned, copies(operands)), strict=True):
        np.testing.assert_allclose(got, want, 1e-5, 1e-5 * scale)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands, 1e-5, 1e-5 * scale)
    assert "python" not in [s.kind for s in executable.steps]
    return simplify(graph), executable


def named(graph, name):
    return [n for n in graph.nodes if n.op.name == name]


def block(x, w, gamma, n=2):
    """Convolution, normalisation over all but the channels, and what may follow."""
    axis = (0, *range(2, n + 2))
    y = conv(x, w, **window(n))
    count = float(np.prod([y.shape[a] for a in axis]))
    mean = total(y, axis=axis, keepdims=True) / count
    centred = y - mean
    variance = total(centred * centred, axis=axis, keepdims=True) / count
    return OPS["maximum"](centred * OPS["rsqrt"](variance + 1e-5) * gamma, 0.0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_network_in_one_to_three_dimensions(n):
    size = {1: (12,), 2: (8, 6), 3: (4, 4, 6)}[n]

    def network(x, w, v, gamma, mask):
        h = block(x, w, OPS["reshape"](gamma, shape=(1, -1, *(1,) * n)), n)
        y, places = pooled(h, n)
        z = conv(y, v, **window(n)) + y
        g = unpool(z * mask, places, size=size, ksize=(2,) * n, stride=(2,) * n, pad=(0,) * n, cover_all=False)
        return [h, z, places, total(z, axis=tuple(range(2, n + 2)), keepdims=False), OPS["reshape"](z, shape=(3, -1)),
                conv_x(g, w, size=size, **window(n)), conv_w(x, g, ksize=(3,) * n, **window(n)), sum_to(g, shape=(8, *(1,) * n)),
                greatest(g, axis=None, keepdims=False)]
    half = tuple(s // 2 for s in size)
    graph, _ = check(network, array(3, 5, *size), array(8, 5, *(3,) * n), array(8, 8, *(3,) * n), array(8), array(3, 8, *half))
    names = "max_pooling", "max_pooling_grad", *(channels.CONVOLUTIONS if n < 3 or machine.has_wide_registers() else ())     # oneDNN has no fast code for these
    assert all(isinstance(node.op, channels.LastOp) for name in names for node in named(graph, name))


def test_nothing_is_copied_between_layers():
    def network(x, w, v, gamma):
        return total(conv(block(x, w, gamma), v, **window(2)), axis=(0, 2, 3), keepdims=False)
    x = array(2, 8, 8, 16).transpose(0, 3, 1, 2).copy()
    _, executable = check(network, x, array(16, 16, 3, 3), array(16, 16, 3, 3), array(16, 1, 1))
    kinds = [s.kind for s in executable.steps]
    assert (kinds.count("copy"), kinds.count("reorder")) == (1, 2)      # the input, and both weights


def test_kernels_of_size_one_are_products():
    def network(x, w, v, g):
        one = window(2, 1, 1, 0)
        y = conv(conv(x, w, **window(2)), v, **one)
        return [y, conv_x(g, v, size=(6, 7), **one), conv_w(y * y, g * y, ksize=(1, 1), **one)]
    w, v = array(6, 4, 3, 3), array(10, 6, 1, 1)
    graph, _ = check(network, array(2, 4, 6, 7), w, v, array(2, 10, 6, 7))
    assert len(named(graph, "convolution")) == 1 and len(named(graph, "matmul")) == 3


@pytest.mark.parametrize("k, stride, pad, dilate", [(3, 1, 0, 1), (3, 1, 1, 1), (2, 1, 0, 8), (3, 1, 4, 4), (4, 2, 1, 1), (3, 3, 2, 2), (5, 2, 6, 3)])
def test_weights_of_lines_are_products(k, stride, pad, dilate):
    attrs = dict(stride=(stride,), pad=(pad,), dilate=(dilate,), groups=1, cover_all=False)

    def network(x, w, v):
        h = OPS["tanh"](conv(x, w, **window(1)))
        y = conv(h, v, **attrs)
        return [y, conv_w(h, y * y, ksize=(k,), **attrs)]
    graph, _ = check(network, array(3, 5, 60), array(16, 5, 3), array(17, 16, k))
    assert len(named(graph, "matmul")) == k and not named(graph, "convolution_grad_w")


@pytest.mark.parametrize("place", [0, 5, -1])
def test_gradients_at_one_place_of_a_line(place):
    """Those of the last state of a sequence."""
    index = (FREE, FREE, place)

    def network(x, w, v):
        h = conv(x, w, **window(1))
        g = put(get(h * h, index=index), shape=(3, 16, 12), index=index)
        return [conv_x(g * h, v, size=(12,), **window(1)), total(g * h, axis=(0, 2), keepdims=False), g]
    graph, executable = check(network, array(3, 5, 12), array(16, 5, 3), array(16, 8, 3))
    assert all(graph.specs[n.outputs[0]].shape == (3, 12, 16) for n in named(graph, "put_item"))


def test_gradients_at_one_place_of_an_image():
    index = (FREE, FREE, 2, -1)

    def network(x, w):
        h = conv(x, w, **window(2))
        return [put(get(h, index=index), shape=(3, 8, 5, 6), index=index) * h, put(get(h, index=index[:3]), shape=(3, 8, 5, 6), index=index[:3]) * h]
    check(network, array(3, 4, 5, 6), array(8, 4, 3, 3))


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_parts_of_channels_and_groups(groups):
    def network(x, w, v, more):
        a = conv(x, w, **window(2, groups=groups))
        b = concat(OPS["tanh"](a), more, a * 2.0, axis=1)
        c = get(b, index=(FREE, ("slice", 4, 12, None)))
        d = put(c * c, shape=(2, 12, 5, 5), index=(FREE, ("slice", 2, 10, None)))
        e = get(b, index=(0, ("slice", 1, 3, None)))
        return [conv(b, v, **window(2)), conv(d, get(v, index=(FREE, ("slice", 0, 12, None))), **window(2)), e, OPS["identity"](a)]
    check(network, array(2, 8, 5, 5), array(8, 8 // groups, 3, 3), array(5, 20, 3, 3), array(2, 4, 5, 5))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_images_that_are_resized(mode):
    attrs = dict(mode=mode, align_corners=False)

    def network(x, w, v):
        y = OPS["resize"](conv(x, w, **window(2)), shape=(10, 9), **attrs)
        g = OPS["resize_adjoint"](conv(y, v, **window(2)), shape=(5, 6), **attrs)
        return [y, conv(g, v, **window(2)), OPS["take"](conv(x, w, **window(2)), np.array([2, 0]), pattern=(FREE, ("array", 0)))]
    graph, executable = check(network, array(2, 4, 5, 6), array(6, 4, 3, 3), array(6, 6, 3, 3))
    assert {len(graph.specs[n.outputs[0]].shape) and graph.specs[n.outputs[0]].shape[-1] for n in named(graph, "put")} == {6}


def test_operands_that_are_broadcast_otherwise():
    def network(x, w, row, image, number):
        y = conv(x, w, **window(2))
        z = OPS["where"](OPS["greater"](y, row), y * image, number)
        return [z, y + total(y, axis=(1,), keepdims=True), greatest(z, axis=(2, 3), keepdims=True) * z, OPS["cast"](OPS["greater"](y, row), dtype="float32"),
                OPS["transpose"](z, axes=(1, 0, 3, 2))]
    check(network, array(2, 4, 5, 6), array(4, 4, 3, 3), array(6), array(4, 5, 6), array(1, 1, 1, 1))


def test_images_of_one_channel_where_there_is_fast_code(monkeypatch):
    monkeypatch.undo()
    x, w = array(8, 1, 28, 28), array(16, 1, 5, 5)
    fits = {name: lower_conv.fits_last(name, *map(spec_of, (x, w, array(8, 16, 28, 28))), window(2, 5, 1, 2)) for name in channels.CONVOLUTIONS}
    fast = "avx512" in lower_onednn.fast_code("forward", lower_conv._geometry(*map(spec_of, (x, w, array(8, 16, 28, 28))), window(2, 5, 1, 2)))
    assert fits == {"convolution": fast, "convolution_grad_x": False, "convolution_grad_w": fast}
    check(lambda x, w, g: [conv(x, w, **window(2, 5, 1, 2)), conv_w(x, g, ksize=(5, 5), **window(2, 5, 1, 2))], x, w, array(8, 16, 28, 28))


def test_graphs_without_convolutions_that_gain_stay_as_they_are(monkeypatch):
    graph = graph_of(lambda x, w: OPS["tanh"](conv(x, w, **window(2))), array(2, 4, 5, 5), array(4, 4, 3, 3))
    monkeypatch.setattr(lower_conv, "pays", lambda way, geometry: False)
    assert channels_last(graph) is graph
