"""Links and initializers with calls, in terms that Chainer 7.8.1 and hybridnn both understand.

Run by Chainer's own Python, this file writes ``chainer_numbers.json``: ``python tests/link_cases.py``. The tests run the same
cases in hybridnn, from the same seed, and compare.
"""
import json
from pathlib import Path

import numpy as np

NUMBERS = Path(__file__).with_name("chainer_numbers.json")


def floats(*shape):
    return np.random.RandomState(5).randn(*shape).astype("f")


def ints(*values):
    return np.array(values, "i")


def sequences():
    return [floats(3, 4), floats(5, 4), floats(2, 4), floats(5, 4)]


def filled(m, run):
    """A sampled loss starts from weights of zeros or NaN: give it others."""
    m.W.array = floats(4, 4)
    return run(m)


def fill_in_order(a):
    a[...] = np.arange(a.size).reshape(a.shape)


def cases(hnn, L, I):
    """Name: (make a link, call it)."""
    table = {
        "Linear": (lambda: L.Linear(None, 3), lambda m: m(floats(2, 4, 2))),
        "Linear, two batch axes": (lambda: L.Linear(4, 3), lambda m: m(floats(2, 3, 4), n_batch_axes=2)),
        "EmbedID": (lambda: L.EmbedID(5, 3, ignore_label=-1), lambda m: m(ints(1, -1, 4))),
        "Bilinear": (lambda: L.Bilinear(3, 4, 5), lambda m: m(floats(2, 3), floats(2, 4))),
        "Bilinear, no bias": (lambda: L.Bilinear(3, 4, 5, nobias=True), lambda m: m(floats(2, 3), floats(2, 4))),
        "Highway": (lambda: L.Highway(4), lambda m: m(floats(2, 4))),
        "Maxout": (lambda: L.Maxout(None, 3, 2), lambda m: m(floats(2, 4))),
        "Maxout, own initials": (lambda: L.Maxout(4, 3, 2, initialW=fill_in_order, initial_bias=floats(3, 2)),
                                 lambda m: m(floats(2, 4))),
        "PReLU": (lambda: L.PReLU((4,)), lambda m: m(floats(2, 4))),
        "Swish": (lambda: L.Swish(None), lambda m: m(floats(2, 4))),
        "SimplifiedDropconnect": (lambda: L.SimplifiedDropconnect(None, 3), lambda m: m(floats(2, 4))),
        "Bias": (lambda: L.Bias(1, (3,)), lambda m: m(floats(2, 3, 4))),
        "Bias, two arguments": (lambda: L.Bias(1), lambda m: m(floats(2, 3, 4), floats(3, 4))),
        "Scale": (lambda: L.Scale(1, (3,), True), lambda m: m(floats(2, 3, 4))),
        "Scale, two arguments": (lambda: L.Scale(1, None, True, (3,)), lambda m: m(floats(2, 3, 4), floats(3))),
        "Parameter": (lambda: L.Parameter(floats(3, 2)), lambda m: m()),
        "Inception": (lambda: L.Inception(None, 2, 3, 4, 2, 3, 2), lambda m: m(floats(2, 3, 6, 6))),
        "InceptionBN": (lambda: L.InceptionBN(None, 2, 3, 4, 2, 3, "avg", 2), lambda m: m(floats(2, 3, 6, 6))),
        "InceptionBN, strided": (lambda: L.InceptionBN(3, 0, 3, 4, 2, 3, "max", None, 2), lambda m: m(floats(2, 3, 6, 6))),
        "MLPConvolution2D": (lambda: L.MLPConvolution2D(None, (3, 4), 3), lambda m: m(floats(2, 3, 6, 6))),
        "Convolution2D": (lambda: L.Convolution2D(None, 4, 3, stride=2, pad=1), lambda m: m(floats(2, 3, 6, 6))),
        "Convolution2D, grouped": (lambda: L.Convolution2D(4, 6, (3, 2), groups=2, dilate=2, nobias=True),
                                   lambda m: m(floats(2, 4, 6, 6))),
        "Convolution1D": (lambda: L.Convolution1D(3, 4, 3), lambda m: m(floats(2, 3, 6))),
        "Convolution3D": (lambda: L.Convolution3D(None, 4, 2), lambda m: m(floats(2, 3, 4, 4, 4))),
        "ConvolutionND": (lambda: L.ConvolutionND(2, 4, 3, cover_all=True, ksize=2, stride=3), lambda m: m(floats(2, 4, 6, 6))),
        "Deconvolution1D": (lambda: L.Deconvolution1D(3, 4, 3), lambda m: m(floats(2, 3, 6))),
        "Deconvolution3D": (lambda: L.Deconvolution3D(None, 4, 2), lambda m: m(floats(2, 3, 4, 4, 4))),
        "DepthwiseConvolution2D": (lambda: L.DepthwiseConvolution2D(None, 2, 3), lambda m: m(floats(2, 3, 6, 6))),
        "DilatedConvolution2D": (lambda: L.DilatedConvolution2D(3, 4, 3, dilate=2), lambda m: m(floats(2, 3, 6, 6))),
        "DeformableConvolution2D": (lambda: L.DeformableConvolution2D(3, 4, 3, offset_initialW=.1,
                                                                      deform_initialW=I.LeCunNormal()),
                                    lambda m: m(floats(2, 3, 6, 6))),
        "LocalConvolution2D": (lambda: L.LocalConvolution2D(3, 4, None, 3), lambda m: m(floats(2, 3, 6, 6))),
        "BatchNormalization": (lambda: L.BatchNormalization(3), lambda m: (m(floats(2, 3, 4)), m.avg_mean, m.avg_var)),
        "BatchNormalization, axes": (lambda: L.BatchNormalization(axis=(0, 1), use_gamma=False),
                                     lambda m: (m(floats(2, 3, 4)), m.avg_mean, m.avg_var)),
        "BatchNormalization, finetuned": (lambda: L.BatchNormalization(3), lambda m: (
            m(floats(2, 3, 4), finetune=True), m(floats(4, 3, 4), finetune=True), m.avg_mean, m.avg_var)),
        "BatchRenormalization": (lambda: L.BatchRenormalization(3, 2, 1), lambda m: (m(floats(2, 3, 4)), m.avg_mean, m.avg_var)),
        "DecorrelatedBatchNormalization": (lambda: L.DecorrelatedBatchNormalization(4, 2),
                                           lambda m: (m(floats(6, 4, 3)), m.avg_mean, m.avg_projection)),
        "GroupNormalization": (lambda: L.GroupNormalization(2), lambda m: m(floats(2, 4, 3))),
        "LayerNormalization": (lambda: L.LayerNormalization(), lambda m: m(floats(2, 4))),
        "LSTM": (lambda: L.LSTM(None, 3), lambda m: (m(floats(3, 4)), m(floats(3, 4)), m(floats(2, 4)), m.h, m.c)),
        "StatelessLSTM": (lambda: L.StatelessLSTM(4, 3), lambda m: m(*m(None, None, floats(3, 4)), floats(3, 4))),
        "StatefulPeepholeLSTM": (lambda: L.StatefulPeepholeLSTM(4, 3), lambda m: (m(floats(3, 4)), m(floats(3, 4)))),
        "StatefulZoneoutLSTM": (lambda: L.StatefulZoneoutLSTM(4, 3), lambda m: (m(floats(3, 4)), m(floats(3, 4)))),
        "GRU": (lambda: L.GRU(4, 3), lambda m: (m(floats(3, 4)), m(floats(3, 4)))),
        "StatelessGRU": (lambda: L.StatelessGRU(4, 3), lambda m: m(floats(3, 3), floats(3, 4))),
        "StatefulMGU": (lambda: L.StatefulMGU(4, 3), lambda m: (m(floats(3, 4)), m(floats(3, 4)))),
        "StatelessMGU": (lambda: L.StatelessMGU(4, 3), lambda m: m(floats(3, 3), floats(3, 4))),
        "ChildSumTreeLSTM": (lambda: L.ChildSumTreeLSTM(4, 3),
                             lambda m: m(floats(2, 3), None, floats(2, 3), floats(2, 3), floats(2, 4))),
        "ChildSumTreeLSTM, leaf": (lambda: L.ChildSumTreeLSTM(4, 3), lambda m: m(floats(2, 4))),
        "NaryTreeLSTM": (lambda: L.NaryTreeLSTM(4, 3), lambda m: m(floats(2, 3), None, floats(2, 3), None, None)),
        "CRF1d": (lambda: L.CRF1d(3, floats(3, 3)), lambda m: (
            m([floats(4, 3), floats(3, 3), floats(2, 3)], [ints(0, 1, 2, 0), ints(1, 1, 1), ints(2, 0)]),
            m([floats(4, 3), floats(3, 3)], [ints(0, 1, 2, 0), ints(1, 1, 1)], transpose=True),
            m.argmax([floats(3, 3), floats(4, 3)], transpose=True)[1])),
        "NegativeSampling": (lambda: L.NegativeSampling(4, [3, 1, 2, 5], 3),
                             lambda m: filled(m, lambda m: m(floats(3, 4), ints(0, 2, -1)))),
        "BlackOut": (lambda: L.BlackOut(4, [3, 1, 2, 5], 3), lambda m: filled(m, lambda m: m(floats(3, 4), ints(0, 2, 1)))),
        "BinaryHierarchicalSoftmax": (lambda: L.BinaryHierarchicalSoftmax(4, L.BinaryHierarchicalSoftmax.create_huffman_tree(
            {0: 5, 1: 2, 2: 9, 3: 1, 4: 1})), lambda m: m(floats(3, 4), ints(0, 2, 4))),
        "SpectralNormalization": (lambda: L.Linear(4, 3).add_hook(hnn.link_hooks.SpectralNormalization(n_power_iteration=2)),
                                  lambda m: (m(floats(2, 4)), m(floats(2, 4)), m.W_u)),
        "SpectralNormalization, gamma": (lambda: L.Convolution2D(3, 4, 3).add_hook(
            hnn.link_hooks.SpectralNormalization(use_gamma=True, factor=2.)), lambda m: (m(floats(2, 3, 4, 4)), m.W_u, m.gamma)),
        "WeightStandardization": (lambda: L.Convolution2D(None, 4, 3).add_hook(hnn.link_hooks.WeightStandardization()),
                                  lambda m: m(floats(2, 3, 4, 4))),
        "Classifier": (lambda: L.Classifier(L.Linear(4, 3)), lambda m: (m(floats(3, 4), ints(0, 2, 1)), m.accuracy)),
    }
    for name in ("LSTM", "BiLSTM"):
        table["NStep" + name] = (lambda name=name: getattr(L, "NStep" + name)(2, 4, 3, .3)), lambda m: m(None, None, sequences())
    for name in ("GRU", "RNNTanh", "RNNReLU", "BiGRU", "BiRNNTanh", "BiRNNReLU"):
        table["NStep" + name] = (lambda name=name: getattr(L, "NStep" + name)(2, 4, 3, .3)), lambda m: m(None, sequences())
    for name, shape in INITIALIZED.items():
        table[name] = hnn.Link, lambda _, name=name, shape=shape: initialized(getattr(I, name)(), shape)
    return table


INITIALIZED = dict.fromkeys(("Normal", "LeCunNormal", "GlorotNormal", "HeNormal", "Uniform", "LeCunUniform", "GlorotUniform",
                             "HeUniform",
                             "Orthogonal", "Zero", "One", "NaN"), (4, 3, 2))
INITIALIZED.update(Identity=(4, 4), UpsamplingDeconvFilter=(4, 4, 3, 3), DownsamplingConvFilter=(4, 1, 4, 4))


def initialized(initializer, shape):
    a = np.empty(shape, "f")
    initializer(a)
    return a


def leaves(x):
    return [leaf for part in x for leaf in leaves(part)] if isinstance(x, (tuple, list)) else [] if x is None else [x]


def run(case, total):
    """The outputs of a case, its parameters, their gradients for a weighted sum of cubes of the outputs, and the next random
    number.

    ``total`` is the framework's ``sum``.
    """
    make, call = case
    np.random.seed(7)
    link = make()
    outputs = leaves(call(link))
    found = {f"y{i}": np.asarray(getattr(y, "array", y)) for i, y in enumerate(outputs)}
    found["next random number"] = np.asarray(np.random.random())
    losses = [(i + 1) * total(y * y * y) for i, y in enumerate(outputs) if getattr(y, "requires_grad", False)]
    link.cleargrads()
    if losses:
        sum(losses[1:], losses[0]).backward()
    for path, p in link.namedparams():
        found[path] = p.array
        if p.grad is not None:
            found["gradient of " + path] = p.grad
    return found


def fingerprint(a):
    """Shape, dtype and a weighted sum in which every element counts (None for NaN)."""
    a = np.asarray(a)
    number = float(np.sum(a.astype("d") * np.cos(np.arange(a.size)).reshape(a.shape)))
    return [list(a.shape), str(a.dtype), None if np.isnan(number) else number]


if __name__ == "__main__":
    import chainer
    import chainer.link_hooks
    numbers = {name: {k: fingerprint(v) for k, v in run(case, chainer.functions.sum).items()} for name, case in
               cases(chainer, chainer.links, chainer.initializers).items()}
    lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in numbers.items()]
    NUMBERS.write_text("{" + ",\n".join(lines) + "}\n")
