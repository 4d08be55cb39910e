"""Functions and links, each in hybridnn's words and in PyTorch's. Imports NumPy only, so that it runs in both environments.

A case's ``ours`` takes ``hybridnn.functions`` and the operands, ``theirs`` takes ``torch`` and the operands; for a link, ``ours``
takes what ``link`` makes, ``theirs`` what ``module`` makes, ``torch`` and the operands. ``params`` maps hybridnn's parameters, or
their gradients, to PyTorch's.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDE = (-2.0, 2.0)


@dataclass(frozen=True)
class Case:
    """The same computation twice. Operands: shapes of floats drawn from ``bounds``, or arrays (floats are cast)."""

    name: str
    ours: Any
    theirs: Any
    operands: tuple
    bounds: tuple = WIDE
    link: Any = None
    module: Any = None
    params: Any = None

    def inputs(self, dtype):
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        drawn = [rng.uniform(*self.bounds, x) if isinstance(x, tuple) else x for x in self.operands]
        return [x.astype(dtype) if x.dtype.kind == "f" else x for x in drawn]


def f(name, *operands, ours=None, theirs=None, bounds=WIDE, **options):
    """``F.name(*operands, **options)``; ``theirs`` takes torch, torch.nn.functional and the operands."""
    base = name.partition(",")[0]
    call = ours or (lambda F, *xs: getattr(F, base)(*xs, **options))
    return Case(name, call, lambda T, *xs: theirs(T, T.nn.functional, *xs), operands, bounds)


def weights(y):
    """Fixed numbers to weigh an output with, so that one scalar has all gradients."""
    return np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)


S, IMAGE = (3, 4), (2, 4, 6, 6)
POSITIVE, UNIT = (0.2, 2.0), (-0.9, 0.9)
LABELS, MASK = np.array([1, 3, 0]), np.array([[True, False, True, True, False], [True] * 5, [False, True, True, False, False]])
SQUARE = np.eye(4) * 3 + np.random.default_rng(1).uniform(-1, 1, (4, 4))
DEFINITE = SQUARE @ SQUARE.T

ELEMENTWISE = [
    f("relu", S, theirs=lambda T, N, x: N.relu(x)), f("relu6", S, bounds=(-9, 9), theirs=lambda T, N, x: N.relu6(x)),
    f("leaky_relu", S, slope=0.1, theirs=lambda T, N, x: N.leaky_relu(x, 0.1)),
    f("elu", S, alpha=0.7, theirs=lambda T, N, x: N.elu(x, 0.7)), f("selu", S, theirs=lambda T, N, x: N.selu(x)),
    f("gelu", S, theirs=lambda T, N, x: N.gelu(x)),
    f("gelu, tanh", S, approximate="tanh", theirs=lambda T, N, x: N.gelu(x, approximate="tanh")),
    f("silu", S, theirs=lambda T, N, x: N.silu(x)), f("mish", S, theirs=lambda T, N, x: N.mish(x)),
    f("hardswish", S, bounds=(-5, 5), theirs=lambda T, N, x: N.hardswish(x)),
    f("softplus", S, beta=2.0, theirs=lambda T, N, x: N.softplus(x, 2.0)),
    f("sigmoid", S, theirs=lambda T, N, x: T.sigmoid(x)), f("tanh", S, theirs=lambda T, N, x: T.tanh(x)),
    f("prelu", (2, 3, 4), (3,), theirs=lambda T, N, x, w: N.prelu(x, w)), f("exp", S, theirs=lambda T, N, x: T.exp(x)),
    f("expm1", S, theirs=lambda T, N, x: T.expm1(x)), f("log1p", S, bounds=POSITIVE, theirs=lambda T, N, x: T.log1p(x)),
    f("log2", S, bounds=POSITIVE, theirs=lambda T, N, x: T.log2(x)), f("sinh", S, theirs=lambda T, N, x: T.sinh(x)),
    f("arctanh", S, bounds=UNIT, theirs=lambda T, N, x: T.atanh(x)), f("erf", S, theirs=lambda T, N, x: T.erf(x)),
    f("erfinv", S, bounds=UNIT, theirs=lambda T, N, x: T.erfinv(x)), f("ndtr", S, theirs=lambda T, N, x: T.special.ndtr(x)),
    f("erfcx", S, bounds=POSITIVE, theirs=lambda T, N, x: T.special.erfcx(x)),
    f("lgamma", S, bounds=POSITIVE, theirs=lambda T, N, x: T.lgamma(x)),
    f("digamma", S, bounds=POSITIVE, theirs=lambda T, N, x: T.digamma(x)),
    f("rsqrt", S, bounds=POSITIVE, theirs=lambda T, N, x: T.rsqrt(x)),
    f("arctan2", S, S, theirs=lambda T, N, a, b: T.atan2(a, b)), f("maximum", S, S, theirs=lambda T, N, a, b: T.maximum(a, b)),
    f("clip", S, x_min=-1.0, x_max=1.0, theirs=lambda T, N, x: T.clamp(x, -1, 1)),
    f("where", MASK[:, :4], S, S, theirs=lambda T, N, c, a, b: T.where(c, a, b)),
]

REDUCTIONS = [
    f("softmax", (2, 3, 4), theirs=lambda T, N, x: T.softmax(x, 1)),
    f("log_softmax", S, theirs=lambda T, N, x: T.log_softmax(x, 1)),
    f("logsumexp", S, axis=1, theirs=lambda T, N, x: T.logsumexp(x, 1)), f("prod", S, axis=1,
          theirs=lambda T, N, x: T.prod(x, 1)),
    f("max", S, axis=1, theirs=lambda T, N, x: T.amax(x, 1)), f("mean", S, axis=0, theirs=lambda T, N, x: T.mean(x, 0)),
    f("cumsum", S, axis=1, theirs=lambda T, N, x: T.cumsum(x, 1)), f("cumprod", S, axis=1,
          theirs=lambda T, N, x: T.cumprod(x, 1)),
    f("normalize", S, eps=1e-12, theirs=lambda T, N, x: N.normalize(x, dim=1)),
    f("top_k", S, ours=lambda F, x: F.top_k(x, 2)[0], theirs=lambda T, N, x: T.topk(x, 2).values),
]

PRODUCTS = [
    f("matmul", (2, 4, 3), (2, 5, 4), transa=True, transb=True,
      theirs=lambda T, N, a, b: a.transpose(1, 2) @ b.transpose(1, 2)),
    f("einsum", (2, 3, 4), (2, 4, 5), ours=lambda F, a, b: F.einsum("bij,bjk->bki", a, b),
      theirs=lambda T, N, a, b: T.einsum("bij,bjk->bki", a, b)),
    f("tensordot", (2, 3, 4), (4, 3, 5), axes=([1, 2], [1, 0]),
      theirs=lambda T, N, a, b: T.tensordot(a, b, dims=([1, 2], [1, 0]))),
    f("linear", S, (5, 4), (5,), theirs=lambda T, N, x, w, b: N.linear(x, w, b)),
    f("bilinear", S, (3, 2), (4, 2, 5), theirs=lambda T, N, a, b, w: N.bilinear(a, b, w.permute(2, 0, 1))),
    f("inv", SQUARE, theirs=lambda T, N, a: T.linalg.inv(a)), f("det", SQUARE, theirs=lambda T, N, a: T.linalg.det(a)),
    f("cholesky", DEFINITE, theirs=lambda T, N, a: T.linalg.cholesky(a)),
    f("scaled_dot_product_attention", (2, 3, 4), (2, 3, 4), (2, 3, 4), causal=True,
      theirs=lambda T, N, q, k, v: N.scaled_dot_product_attention(q, k, v, is_causal=True)),
    f("scaled_dot_product_attention, mask", (2, 3, 4), (2, 5, 4), (2, 5, 4), MASK,
      theirs=lambda T, N, q, k, v, m: N.scaled_dot_product_attention(q, k, v, m)),
]

CONVOLUTIONS = [
    f("convolution_1d", (2, 3, 7), (4, 3, 3), (4,), pad=1, theirs=lambda T, N, x, w, b: N.conv1d(x, w, b, padding=1)),
    f("convolution_2d", IMAGE, (3, 4, 3, 3), (3,), stride=2, pad=1, theirs=lambda T, N, x, w, b: N.conv2d(x, w, b, 2, 1)),
    f("convolution_2d, grouped and dilated", IMAGE, (6, 2, 3, 2), dilate=2, groups=2,
      theirs=lambda T, N, x, w: N.conv2d(x, w, dilation=2, groups=2)),
    f("convolution_3d", (1, 2, 4, 5, 4), (3, 2, 2, 3, 2), theirs=lambda T, N, x, w: N.conv3d(x, w)),
    f("depthwise_convolution_2d", IMAGE, (2, 4, 3, 3),
      theirs=lambda T, N, x, w: N.conv2d(x, w.transpose(0, 1).reshape(8, 1, 3, 3), groups=4)),
    f("deconvolution_1d", (2, 3, 4), (3, 2, 3), (2,), stride=2, theirs=lambda T, N, x, w, b: N.conv_transpose1d(x, w, b, 2)),
    f("deconvolution_2d", IMAGE, (4, 3, 3, 3), (3,), stride=2, pad=1, outsize=(12, 12),
      theirs=lambda T, N, x, w, b: N.conv_transpose2d(x, w, b, 2, 1, output_padding=1)),
    f("deconvolution_2d, grouped", IMAGE, (4, 3, 2, 3), groups=2, theirs=lambda T, N, x, w: N.conv_transpose2d(x, w, groups=2)),
    f("max_pooling_2d", (2, 3, 7, 6), ksize=3, stride=2, pad=1, cover_all=False, theirs=lambda T, N, x: N.max_pool2d(x, 3, 2, 1)),
    f("max_pooling_2d, to the edge", (2, 3, 8, 8), ksize=3, stride=2,
      theirs=lambda T, N, x: N.max_pool2d(x, 3, 2, ceil_mode=True)),
    f("average_pooling_2d", IMAGE, ksize=3, stride=2, pad=1, theirs=lambda T, N, x: N.avg_pool2d(x, 3, 2, 1)),
    f("average_pooling_3d", (1, 2, 4, 4, 4), ksize=2, theirs=lambda T, N, x: N.avg_pool3d(x, 2)),
    f("local_response_normalization", IMAGE, n=3, alpha=0.1, theirs=lambda T, N, x: N.local_response_norm(x, 3, 0.3, 0.75, 2.0)),
    f("im2col", IMAGE, ksize=3, stride=2, pad=1,
      theirs=lambda T, N, x: N.unfold(x, 3, padding=1, stride=2).reshape(2, 36, 3, 3)),
    f("pixel_shuffle", (2, 8, 3, 2), r=2, theirs=lambda T, N, x: N.pixel_shuffle(x, 2)),
    f("resize_images", IMAGE, output_shape=(4, 9),
      theirs=lambda T, N, x: N.interpolate(x, (4, 9), mode="bilinear", align_corners=True)),
    f("resize_images, nearest", IMAGE, output_shape=(12, 3), mode="nearest",
      theirs=lambda T, N, x: N.interpolate(x, (12, 3), mode="nearest")),
    f("spatial_transformer_grid", (2, 2, 3), output_shape=(3, 4),
      theirs=lambda T, N, t: N.affine_grid(t, (2, 1, 3, 4), align_corners=True).permute(0, 3, 1, 2)),
    f("spatial_transformer_sampler", (2, 3, 5, 5), (2, 2, 3, 4), bounds=(-1.3, 1.3),
      theirs=lambda T, N, x, g: N.grid_sample(x, g.permute(0, 2, 3, 1), align_corners=True)),
]

ARRAYS = [
    f("pad", S, pad_width=((1, 2), (2, 1)), mode="reflect",
      theirs=lambda T, N, x: N.pad(x[None], (2, 1, 1, 2), mode="reflect")[0]),
    f("embed_id", np.array([1, 0, 1, 2]), S, theirs=lambda T, N, i, w: N.embedding(i, w)),
    f("scatter_add", S, (2, 4), ours=lambda F, a, b: F.scatter_add(a, [2, 0], b),
      theirs=lambda T, N, a, b: a.index_add(0, T.tensor([2, 0]), b)),
    f("get_item", S, ours=lambda F, x: F.get_item(x, ([0, 0, 2], slice(1, 3))), theirs=lambda T, N, x: x[[0, 0, 2], 1:3]),
    f("tile", S, reps=(2, 1), theirs=lambda T, N, x: x.tile(2, 1)), f("roll", S, shift=2, axis=1,
          theirs=lambda T, N, x: x.roll(2, 1)),
    f("diagonal", (2, 3, 4), offset=1, axis1=1, axis2=2, theirs=lambda T, N, x: T.diagonal(x, 1, 1, 2)),
]

NORMALIZATIONS = [
    f("batch_normalization", IMAGE, (4,), (4,), eps=1e-5,
      theirs=lambda T, N, x, g, b: N.batch_norm(x, None, None, g, b, True)),
    f("fixed_batch_normalization", S, (4,), (4,), (4,), (4,), bounds=POSITIVE, eps=1e-5,
      theirs=lambda T, N, x, g, b, m, v: (x - m) * T.rsqrt(v + 1e-5) * g + b),
    f("layer_normalization", S, (4,), (4,), theirs=lambda T, N, x, g, b: N.layer_norm(x, (4,), g, b)),
    f("group_normalization", IMAGE, (4,), (4,), ours=lambda F, x, g, b: F.group_normalization(x, 2, g, b),
      theirs=lambda T, N, x, g, b: N.group_norm(x, 2, g, b)),
    f("instance_normalization", IMAGE, (4,), (4,), theirs=lambda T, N, x, g, b: N.instance_norm(x, weight=g, bias=b)),
    f("rms_normalization", S, (4,), theirs=lambda T, N, x, g: N.rms_norm(x, (4,), g, 1e-6)),
]

LOSSES = [
    f("softmax_cross_entropy", (3, 4), np.array([1, -1, 0]), theirs=lambda T, N, x, t: N.cross_entropy(x, t, ignore_index=-1)),
    f("softmax_cross_entropy, weights", S, LABELS, (4,), bounds=POSITIVE,
      ours=lambda F, x, t, w: F.softmax_cross_entropy(x, t, class_weight=getattr(w, "array", w), reduce="no"),
      theirs=lambda T, N, x, t, w: N.cross_entropy(x, t, w.detach(), reduction="none")),
    f("softmax_cross_entropy, places", (2, 3, 4), np.array([[0, 2, 1, 1], [2, -1, 0, 0]]),
      theirs=lambda T, N, x, t: N.cross_entropy(x, t, ignore_index=-1)),
    f("softmax_cross_entropy, smooth", S, LABELS, label_smoothing=0.1,
      theirs=lambda T, N, x, t: N.cross_entropy(x, t, label_smoothing=0.1)),
    f("sigmoid_cross_entropy", S, np.eye(3, 4, dtype=int),
      theirs=lambda T, N, x, t: N.binary_cross_entropy_with_logits(x, t.to(x.dtype))),
    f("mean_squared_error", S, S, theirs=lambda T, N, a, b: N.mse_loss(a, b)),
    f("mean_absolute_error", S, S, theirs=lambda T, N, a, b: N.l1_loss(a, b)),
    f("huber_loss", S, S, delta=0.7, reduce="no", theirs=lambda T, N, a, b: N.huber_loss(a, b, reduction="none", delta=0.7)),
    f("connectionist_temporal_classification", (5, 2, 4), np.array([[1, 2], [2, 2]]), theirs=lambda T, N, x, t: N.ctc_loss(
        T.log_softmax(x, 2), t, T.tensor([5, 5]), T.tensor([2, 2]), reduction="none").mean(),
      ours=lambda F, x, t: F.connectionist_temporal_classification(F.separate(x), t, 0)),
    f("gaussian_nll", S, S, S, reduce="no", theirs=lambda T, N, x, m, v: N.gaussian_nll_loss(m, x, v.exp(), full=True, eps=0,
                                                                                          reduction="none")),
    f("gaussian_kl_divergence", S, S, reduce="no", theirs=lambda T, N, m, v: T.distributions.kl_divergence(
        T.distributions.Normal(m, (v / 2).exp()), T.distributions.Normal(T.zeros_like(m), T.ones_like(m)))),
]

FUNCTIONS = [*ELEMENTWISE, *REDUCTIONS, *PRODUCTS, *CONVOLUTIONS, *ARRAYS, *NORMALIZATIONS, *LOSSES]


# ----------------------------------------------------------------------------------------------------------------------- links

def named(prefix="", path="", **names):
    """A map of parameters by name: ``named(W="weight")`` says that hybridnn's ``/W`` is PyTorch's ``weight``."""
    return lambda get: {prefix + theirs: get(f"{path}/{ours}") for ours, theirs in names.items()}


def together(*maps):
    return lambda get: {name: value for m in maps for name, value in m(get).items()}


def linear(prefix, path):
    return named(prefix + ".", path, W="weight", b="bias")


def normal(prefix, path):
    return named(prefix + ".", path, gamma="weight", beta="bias")


def cell(get):
    """Rows of hybridnn's LSTM: a, i, f, o of each unit in turn; PyTorch's: i, f, a, o, each for all units."""
    def sorted_rows(a):
        return np.concatenate([a[k::4] for k in (1, 2, 0, 3)])
    return {"weight_ih": sorted_rows(get("/upward/W")), "bias_ih": sorted_rows(get("/upward/b")),
            "weight_hh": sorted_rows(get("/lateral/W"))}


def stacked(gates, layers=2, directions=1):
    """``n_step_*`` keeps a matrix per gate, PyTorch all gates of a layer in one."""
    def params(get):
        found = {}
        for s in range(layers * directions):
            end = f"_l{s // directions}" + "_reverse" * (s % directions)
            for start, word in ((0, "ih"), (gates, "hh")):
                for ours, theirs in (("w", "weight_"), ("b", "bias_")):
                    found[theirs + word + end] = np.concatenate([get(f"/{s}/{ours}{start + k}") for k in range(gates)])
        return found
    return params


def heads(prefix, path):
    def params(get):
        return {f"{prefix}in_proj_{theirs}": np.concatenate([get(f"{path}/{part}/{ours}") for part in ("query", "key", "value")])
                for ours, theirs in (("W", "weight"), ("b", "bias"))}
    return together(params, linear(prefix + "out_proj", path + "/out"))


ENCODER = together(heads("self_attn.", "/attention"), linear("linear1", "/hidden"), linear("linear2", "/out"),
                   normal("norm1", "/norm1"), normal("norm2", "/norm2"))
DECODER = together(heads("self_attn.", "/attention"), heads("multihead_attn.", "/cross"), linear("linear1", "/hidden"),
                   linear("linear2", "/out"), normal("norm1", "/norm1"), normal("norm2", "/norm3"), normal("norm3", "/norm2"))
PLAIN, SCALED = named(W="weight", b="bias"), named(gamma="weight", beta="bias")
SEQUENCES = ((5, 4), (3, 4), (4, 4))


def layer(name, *operands, link, module, params, ours=lambda m, *xs: m(*xs), theirs=lambda m, T, *xs: m(*xs)):
    return Case(name, ours, theirs, operands, link=link, module=module, params=params)


def over_sequences(m, T, *xs):
    """Last states, then the outputs of each sequence; PyTorch gives ended sequences by packing."""
    packed, states = m(T.nn.utils.rnn.pack_sequence(list(xs), enforce_sorted=False))
    ys, lengths = T.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    states = states if isinstance(states, tuple) else (states,)
    return *states, *[y[:n] for y, n in zip(ys, lengths)]


def recurrent(name, module, gates, states, directions=1, **options):
    def ours(m, *xs):
        *found, ys = m(*[None] * states, list(xs))
        return *found, *ys
    return layer(name, *SEQUENCES, link=lambda L: getattr(L, name)(2, 4, 3, 0.0), params=stacked(gates, 2, directions), ours=ours,
             module=lambda n: getattr(n, module)(4, 3, 2, bidirectional=directions == 2, **options), theirs=over_sequences)


def without_training(m, *xs):
    """Statistics from the buffers."""
    m.avg_mean[...], m.avg_var[...] = 0.25, 0.5
    import hybridnn
    with hybridnn.using_config("train", False):
        return m(*xs)


def evaluated(m, T, x):
    m.eval()
    m.running_mean.fill_(0.25)
    m.running_var.fill_(0.5)
    return m(x)


LINKS = [
    layer("Linear", S, link=lambda L: L.Linear(4, 3), module=lambda n: n.Linear(4, 3), params=PLAIN),
    layer("EmbedID", np.array([1, 0, 1]), link=lambda L: L.EmbedID(3, 4), module=lambda n: n.Embedding(3, 4),
          params=named(W="weight")),
    layer("Bilinear", S, (3, 2), link=lambda L: L.Bilinear(4, 2, 5, nobias=True),
          module=lambda n: n.Bilinear(4, 2, 5, bias=False),
          params=lambda get: {"weight": get("/W").transpose(2, 0, 1)}),
    layer("Convolution1D", (2, 3, 7), link=lambda L: L.Convolution1D(3, 4, 3), module=lambda n: n.Conv1d(3, 4, 3), params=PLAIN),
    layer("Convolution2D", IMAGE, link=lambda L: L.Convolution2D(4, 6, 3, 2, 1, groups=2),
          module=lambda n: n.Conv2d(4, 6, 3, 2, 1, groups=2), params=PLAIN),
    layer("Convolution3D", (1, 2, 4, 4, 4), link=lambda L: L.Convolution3D(2, 3, 2), module=lambda n: n.Conv3d(2, 3, 2),
          params=PLAIN),
    layer("Deconvolution2D", IMAGE, link=lambda L: L.Deconvolution2D(4, 3, 3, 2, 1),
          module=lambda n: n.ConvTranspose2d(4, 3, 3, 2, 1), params=PLAIN),
    layer("BatchNormalization", IMAGE, link=lambda L: L.BatchNormalization(4, eps=1e-5),
          module=lambda n: n.BatchNorm2d(4), params=SCALED,
          ours=lambda m, x: (m(x), m.avg_mean, m.avg_var), theirs=lambda m, T, x: (m(x), m.running_mean, m.running_var)),
    layer("BatchNormalization, not training", IMAGE, link=lambda L: L.BatchNormalization(4, eps=1e-5),
          module=lambda n: n.BatchNorm2d(4), params=SCALED, ours=without_training, theirs=evaluated),
    layer("LayerNormalization", S, link=lambda L: L.LayerNormalization(4), module=lambda n: n.LayerNorm(4, 1e-6), params=SCALED),
    layer("GroupNormalization", IMAGE, link=lambda L: L.GroupNormalization(2, 4), module=lambda n: n.GroupNorm(2, 4),
          params=SCALED),
    layer("RMSNormalization", S, link=lambda L: L.RMSNormalization(4), module=lambda n: n.RMSNorm(4, 1e-6),
          params=named(gamma="weight")),
    layer("PReLU", (2, 3, 4), link=lambda L: L.PReLU((3,)), module=lambda n: n.PReLU(3), params=named(W="weight")),
    layer("StatelessLSTM", (3, 5), (3, 5), S, link=lambda L: L.StatelessLSTM(4, 5), module=lambda n: n.LSTMCell(4, 5),
          params=cell,
          theirs=lambda m, T, c, h, x: m(x, (h, c))[::-1]),
    recurrent("NStepLSTM", "LSTM", 4, 2), recurrent("NStepBiLSTM", "LSTM", 4, 2, 2), recurrent("NStepGRU", "GRU", 3, 1),
    recurrent("NStepBiGRU", "GRU", 3, 1, 2), recurrent("NStepRNNTanh", "RNN", 1, 1),
    recurrent("NStepRNNReLU", "RNN", 1, 1, nonlinearity="relu"),
    layer("MultiHeadAttention", (2, 3, 8), (2, 5, 8), link=lambda L: L.MultiHeadAttention(8, 2), params=heads("", ""),
          module=lambda n: n.MultiheadAttention(8, 2, batch_first=True), theirs=lambda m, T, q, k: m(q, k, k)[0]),
    layer("TransformerEncoderLayer", (2, 3, 8), link=lambda L: L.TransformerEncoderLayer(8, 2, 16, 0.0), params=ENCODER,
          module=lambda n: n.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)),
    layer("TransformerEncoderLayer, norm first", (2, 3, 8), params=ENCODER,
          link=lambda L: L.TransformerEncoderLayer(8, 2, 16, 0.0, norm_first=True),
          module=lambda n: n.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)),
    layer("TransformerDecoderLayer", (2, 3, 8), (2, 5, 8), link=lambda L: L.TransformerDecoderLayer(8, 2, 16, 0.0),
          params=DECODER,
          module=lambda n: n.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True),
          theirs=lambda m, T, x, y: m(x, y, tgt_mask=T.nn.Transformer.generate_square_subsequent_mask(3, dtype=x.dtype))),
]

CASES = [*FUNCTIONS, *LINKS]
