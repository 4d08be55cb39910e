"""Convolutions over sequences that are written as convolutions over images, with axes that the kernel covers."""
import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
import hybridnn.ops
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import verify
from hybridnn.jit import onednn
from hybridnn.jit.covered_axes import drop_covered_axes


def attributes(**other):
    return {"stride": (1, 1), "pad": (0, 0), "dilate": (1, 1), "groups": 1, "cover_all": False, **other}


CASES = {
    "width": ((2, 4, 9, 1), (3, 4, 2, 1), attributes(dilate=(2, 1)), 3),
    "height": ((2, 4, 1, 9), (3, 4, 1, 3), attributes(stride=(1, 2), pad=(0, 1)), 3),
    "stride along it": ((2, 4, 9, 1), (3, 4, 2, 1), attributes(stride=(2, 3)), 3),
    "both": ((2, 4, 1, 1), (3, 4, 1, 1), attributes(), None),
    "padded": ((2, 4, 9, 1), (3, 4, 2, 1), attributes(pad=(0, 1)), 4),
    "kernel of three": ((2, 4, 9, 1), (3, 4, 2, 3), attributes(pad=(0, 1)), 4),
    "image": ((2, 4, 9, 5), (3, 4, 2, 1), attributes(), 4),
    "words": ((2, 1, 9, 5), (3, 1, 2, 5), attributes(stride=(1, 2)), 3),
    "words with channels": ((2, 4, 5, 9), (3, 4, 5, 2), attributes(pad=(0, 1)), 3),
    "words in groups": ((2, 4, 9, 5), (6, 2, 2, 5), attributes(groups=2), 4),
    "all of it": ((2, 4, 3, 5), (6, 4, 3, 5), attributes(stride=(1, 2), cover_all=True), None),
    "all of it in groups": ((2, 4, 3, 5), (6, 2, 3, 5), attributes(groups=2), 4),
    "all of a sequence": ((2, 4, 5), (6, 4, 5), attributes(stride=(1,), pad=(0,), dilate=(1,)), None),
    "two of three": ((2, 4, 3, 7, 5), (6, 4, 3, 2, 5), attributes(stride=(1, 1, 1), pad=(0, 0, 0), dilate=(1, 1, 1)), 3),
    "groups": ((2, 4, 9, 1), (6, 2, 2, 1), attributes(groups=2), 3),
    "volume": ((2, 4, 1, 5, 1), (3, 4, 1, 2, 1), attributes(stride=(1, 1, 1), pad=(0, 0, 0), dilate=(1, 1, 1)), 3),
}


@pytest.mark.parametrize("x, w, attrs, axes", CASES.values(), ids=CASES)
def test_the_convolution_and_its_gradients(x, w, attrs, axes):
    """``axes``: how many arrays have then; None where there is no convolution left."""
    x, w = array(*x), array(*w)
    y = OPS["convolution"].run([x, w], attrs)
    gradients = {**attrs, "size": x.shape[2:]}, {**attrs, "ksize": w.shape[2:]}
    graph = graph_of(lambda x, w, gy: [OPS["convolution"](x, w, **attrs), OPS["convolution_grad_x"](gy, w, **gradients[0]),
                                       OPS["convolution_grad_w"](x, gy, **gradients[1])], x, w, array(*y.shape))
    done = verify(drop_covered_axes(graph))
    assert {len(done.specs[v].shape) for n in done.nodes if n.op.kind == "convolution" for v in (*n.inputs, *n.outputs)} == ({axes} - {None})
    assert axes or sum(n.op is OPS["matmul"] for n in done.nodes) == 3
    assert_same(graph, jit.compile(graph), (x, w, array(*y.shape)), 1e-5, 1e-5)


@pytest.mark.skipif(onednn.find() is None, reason="oneDNN is not installed (extra 'onednn')")
def test_channels_stay_last_between_layers():
    """What the pass adds between layers costs no copy."""
    layers = [L.DilatedConvolution2D(16, 16, (2, 1), dilate=(2 ** k, 1)) for k in range(3)]
    x = array(4, 16, 64, 1)

    def network(x):
        for layer in layers:
            x = F.tanh(layer(x)) * F.sigmoid(x[:, :, :-layer.dilate[0]])
        return x
    f = hnn.trace(network)
    with hnn.using_config("trace_compile", "sync"), hnn.no_backprop_mode():
        for _ in range(4):
            y = f(x)
        np.testing.assert_allclose(y.array, network(x).array, 1e-4, 1e-5)
    steps = f.explain().paths[0].segments[-1]
    assert sum(s.kind in ("copy", "reorder") for s in steps) <= 3 + len(layers)      # the image and its part that is read in, the result out, the weights
