"""One call or more for every public function: what the table of functions and its tests are made from.

A sample names operands by shape (floats drawn from ``bounds``) or by array (floats are cast, integers kept), and options. The
same samples serve every dtype.
"""

import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import hybridnn.functions as F
from hybridnn.backend import beside

PLAIN, MATRIX, CUBE, IMAGE = (3, 4), (3, 3), (2, 3, 4), (2, 4, 6, 6)


@dataclass(frozen=True)
class Sample:
    """``call(name, *operands)``; ``symmetric``: the first operand is a symmetric positive definite matrix.

    ``stops``: the gradient is defined as if part of the result were constant, so that differences do not tell it.
    """

    operands: tuple
    options: dict = field(default_factory=dict)
    bounds: tuple = (-2.0, 2.0)
    via: Any = None
    symmetric: bool = False
    stops: bool = False

    def arrays(self, name, dtype):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return [_operand(rng, x, dtype, self.bounds) for x in self.operands]

    def call(self, name):
        if self.via is not None:
            return self.via
        function = getattr(F, name)
        return lambda *xs: function(*xs, **self.options)

    @property
    def shapes(self):
        return tuple(x if isinstance(x, tuple) else x.shape for x in self.operands)


def _operand(rng, x, dtype, bounds):
    if isinstance(x, tuple):
        return np.asarray(rng.uniform(*bounds, x), dtype)
    return x.astype(dtype) if x.dtype.kind == "f" else x


def on(*operands, bounds=(-2.0, 2.0), **options):
    """``F.name(*operands, **options)``."""
    return Sample(operands, options, bounds)


def by(via, *operands, bounds=(-2.0, 2.0)):
    """``via(*operands)``: where arguments are lists or lie between the operands."""
    return Sample(operands, bounds=bounds, via=via)


def each(names, *samples):
    return {name: samples for name in names.split()}


def ints(*values):
    return np.array(values, "i")


def definite(n):
    a = np.random.default_rng(5).normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


def rotations(n):
    """Square matrices far from singular."""
    return np.eye(n) * 3 + np.random.default_rng(6).uniform(-1, 1, (n, n))


POSITIVE, UNIT = (0.2, 2.0), (0.05, 0.95)
SHAPES = (on(PLAIN), on(CUBE), on(()), on((0, 3)))


def shaped(bounds):
    return tuple([replace(s, bounds=bounds) for s in SHAPES])


ELEMENTWISE = {
    **each("absolute ceil copy cos cosh elu erf erfc exp expm1 fix floor gelu hard_sigmoid hardswish leaky_relu mish relu relu6 "
           "selu sigmoid sign silu sin sinh softplus square tan tanh identity ndtr log_ndtr", *SHAPES),
    **each("log log10 log1p log2 sqrt rsqrt lgamma digamma erfcx", *shaped(POSITIVE)),
    **each("arccos arcsin arctan arctanh erfinv", *shaped((-0.9, 0.9))),
    **each("erfcinv ndtri", *shaped(UNIT)),
    **each("add arctan2 maximum minimum squared_difference squared_error absolute_error", on(PLAIN, PLAIN), on((), ()),
           on(CUBE, CUBE)),
    "cast": (on(PLAIN, typ="float64"),), "clip": (on(PLAIN, x_min=-1.0, x_max=1.0), on((), x_min=-1.0, x_max=1.0)),
    "clipped_relu": (on(PLAIN, z=1.0), on(())), "copy": (on(PLAIN, dst=-1),), "fmod": (on(PLAIN, np.full(PLAIN, 0.75)),),
    "polygamma": (by(lambda x: F.polygamma(beside(np.ones(x.shape, "i"), x), x), PLAIN, bounds=POSITIVE),),
    "zeta": (by(lambda q: F.zeta(beside(np.full(q.shape, 2.5, q.dtype), q), q), PLAIN, bounds=(1.0, 3.0)),),
    "linear_interpolate": (on(PLAIN, PLAIN, PLAIN),), "swish": (on(PLAIN, (4,)),), "prelu": (on(CUBE, (3,)),),
    "where": (on(np.eye(3, 4, dtype=bool), PLAIN, PLAIN),), "bias": (on(CUBE, (3,)), on(PLAIN, PLAIN, axis=0)),
    "scale": (on(CUBE, (3,)), on(PLAIN, PLAIN, axis=0)), "crelu": (on(PLAIN), on(CUBE, axis=2)),
    "maxout": (on(PLAIN, pool_size=2),),
    "rrelu": (on(PLAIN),),
}

ARRAYS = {
    "as_strided": (on((12,), shape=(4, 3), strides=(2, 1)),), "broadcast": (on((3, 1), (1, 4)),),
    "broadcast_to": (on((3, 1), shape=PLAIN), on((), shape=PLAIN)),
    **{name: (by(lambda *xs, name=name: getattr(F, name)(list(xs)), PLAIN, PLAIN),)
       for name in ("concat", "hstack", "vstack", "dstack", "stack")},
    "cumsum": (on(PLAIN, axis=1), on(PLAIN)), "cumprod": (on(PLAIN, axis=1), on(PLAIN)),
    "depth2space": (on((2, 8, 3, 2), r=2),), "space2depth": (on((2, 2, 6, 4), r=2),), "pixel_shuffle": (on((2, 8, 3, 2), r=2),),
    "diagonal": (on(MATRIX), on(CUBE, offset=1, axis1=1, axis2=2)), "expand_dims": (on(PLAIN, axis=1), on((), axis=0)),
    "flatten": (on(PLAIN), on(())), "flatten_batch": (on(CUBE),), "flip": (on(PLAIN, axis=1),),
    **each("fliplr flipud", on(PLAIN)),
    "get_item": (on(PLAIN, slices=(slice(None, None, -1), 1)), on(PLAIN, slices=([0, 0, 2], slice(1, 3)))),
    "im2col": (on(IMAGE, ksize=3, stride=2, pad=1),), "moveaxis": (on(CUBE, source=0, destination=2),),
    "pad": (on(PLAIN, pad_width=((1, 0), (2, 1)), mode="constant"), on(PLAIN, pad_width=1, mode="reflect")),
    "pad_sequence": (by(lambda *xs: F.pad_sequence(list(xs)), (3, 2), (1, 2)),), "permutate": (on(PLAIN, ints(2, 0, 1)),),
    "repeat": (on(PLAIN, repeats=2, axis=1),), "reshape": (on(PLAIN, shape=(2, -1)), on((), shape=(1, 1))),
    "resize_images": (on(IMAGE, output_shape=(4, 9)),), "roll": (on(PLAIN, shift=2, axis=1),), "rollaxis": (on(CUBE, axis=2),),
    "rotary_embedding": (on((2, 3, 4)),), "scatter_add": (by(lambda a, b: F.scatter_add(a, [0, 0, 2], b), PLAIN, PLAIN),),
    "select_item": (on(PLAIN, ints(1, 3, 0)),), "separate": (on(PLAIN, axis=1),), "shift": (on((1, 9, 4, 4)),),
    "spatial_transformer_grid": (on((2, 2, 3), output_shape=(3, 4)),),
    "spatial_transformer_sampler": (on((2, 3, 5, 5), (2, 2, 3, 4), bounds=(-0.9, 0.9)),),
    "split_axis": (on(PLAIN, indices_or_sections=2, axis=1),), "squeeze": (on((3, 1, 4)),), "sum_to": (on(PLAIN, shape=(1, 4)),),
    "swapaxes": (on(CUBE, axis1=0, axis2=2),), "tile": (on(PLAIN, reps=(2, 1)),), "top_k": (on(PLAIN, k=2),),
    "transpose": (on(PLAIN), on(CUBE, axes=(1, 2, 0))),
    "transpose_sequence": (by(lambda *xs: F.transpose_sequence(list(xs)), (3, 2), (1, 2)),),
    "to_coo": (by(lambda x: F.to_coo(x).data, PLAIN),),
    "sparse_matmul": (by(lambda b: F.sparse_matmul(
        F.CooMatrix(*(beside(a, b) for a in (np.array([1, -2, 3], b.dtype), ints(0, 0, 2), ints(1, 3, 0))), PLAIN), b), (4, 2)),),
}

MATHS = {
    **each("sum mean average prod logsumexp", on(PLAIN), on(CUBE, axis=1), on((0, 3), axis=1)),
    **each("max min", on(PLAIN), on(CUBE, axis=1)), **each("argmax argmin", on(PLAIN), on(CUBE, axis=1)),
    **each("softmax log_softmax", on(PLAIN), on(CUBE), on((0, 3))), "normalize": (on(PLAIN), on(CUBE)),
    **each("batch_l2_norm_squared", on(PLAIN), on(CUBE)),
    "matmul": (on(PLAIN, (4, 2)), on((2, 4, 3), (2, 4, 5), transa=True), on((3,), (3,))),
    "batch_matmul": (on((2, 3, 4), (2, 4, 5)),), "tensordot": (on((2, 3, 4), (4, 3, 5), axes=([1, 2], [1, 0])),),
    "einsum": (by(lambda a, b: F.einsum("bij,bjk->bik", a, b), (2, 3, 4), (2, 4, 5)),),
    "linear": (on(PLAIN, (5, 4), (5,)), on((0, 4), (5, 4))), "bilinear": (on(PLAIN, (3, 2), (4, 2, 5), (4, 5), (2, 5), (5,)),),
    **each("inv det", on(rotations(4))), **each("batch_inv batch_det", on(np.stack([rotations(3), rotations(3).T]))),
    "cholesky": (Sample((definite(4),), symmetric=True),),
    **{name: (by(lambda *xs, name=name: getattr(F, name)(xs), (3, 8), (3, 8)),) for name in ("fft", "ifft")},
    "embed_id": (on(ints(1, 0, 1), PLAIN), on(ints(1, -1), PLAIN, ignore_label=-1)),
    "scaled_dot_product_attention": (on((2, 3, 4), (2, 5, 4), (2, 5, 4)), on(CUBE, CUBE, CUBE, causal=True)),
    "simplified_dropconnect": (on(PLAIN, (5, 4), (5,)),),
}

CONVOLUTIONS = {
    "convolution_1d": (on((2, 3, 7), (4, 3, 3), (4,), pad=1),), "convolution_2d": (
        on(IMAGE, (3, 4, 3, 3), (3,), pad=1), on(IMAGE, (4, 2, 3, 3), stride=2, groups=2, dilate=2, pad=2)),
    "convolution_3d": (on((1, 2, 4, 4, 4), (3, 2, 2, 2, 2)),), "convolution_nd": (on((2, 3, 7), (4, 3, 3)),),
    "deconvolution_1d": (on((2, 3, 4), (3, 2, 3), (2,), stride=2),),
    "deconvolution_2d": (on(IMAGE, (4, 3, 3, 3), (3,), stride=2, pad=1),),
    "deconvolution_3d": (on((1, 2, 3, 3, 3), (2, 3, 2, 2, 2)),), "deconvolution_nd": (on((2, 3, 4), (3, 2, 3)),),
    "depthwise_convolution_2d": (on(IMAGE, (2, 4, 3, 3), (8,)),), "dilated_convolution_2d": (on(IMAGE, (3, 4, 2, 2), dilate=2),),
    "local_convolution_2d": (on((2, 3, 4, 4), (2, 3, 3, 3, 2, 2)),),
    "deformable_convolution_2d_sampler": (on((1, 2, 5, 5), (1, 18, 5, 5), (3, 2, 3, 3), pad=1, bounds=(-0.4, 0.4)),),
    **{f"{kind}_pooling_{d}d": (on((2, 3, *[6] * d), ksize=2, stride=2),) for kind in ("average", "max") for d in (1, 2, 3)},
    **each("average_pooling_nd max_pooling_nd", on((2, 3, 6, 6), ksize=3, stride=2, pad=1)),
    **{f"unpooling_{d}d": (on((2, 3, *[3] * d), ksize=2),) for d in (1, 2, 3)}, "unpooling_nd": (on((2, 3, 3), ksize=2),),
    "spatial_pyramid_pooling_2d": (on(IMAGE, pyramid_height=2, pooling="max"),),
    "upsampling_2d": (on((2, 3, 3, 3), np.arange(2 * 3 * 9).reshape(2, 3, 3, 3) % 4, ksize=2, cover_all=False),),
    **each("roi_average_pooling_2d roi_max_pooling_2d roi_average_align_2d roi_max_align_2d",
           on((2, 3, 8, 8), np.array([[1.0, 1, 6, 7], [0, 2, 5, 5]]), ints(0, 1), outsize=2, spatial_scale=1.0)),
    "roi_pooling_2d": (on((2, 3, 8, 8), np.array([[0.0, 1, 1, 6, 7], [1, 2, 0, 5, 5]]), outh=2, outw=2, spatial_scale=1.0),),
}

NORMALIZATIONS = {
    "batch_normalization": (on(PLAIN, (4,), (4,)), on(IMAGE, (4,), (4,))),
    "fixed_batch_normalization": (on(PLAIN, (4,), (4,), (4,), (4,), bounds=POSITIVE),),
    "batch_renormalization": (Sample(((5, 4), (4,), (4,)), stops=True, via=lambda x, g, b: F.batch_renormalization(
        x, g, b, 2.0, 1.0, running_mean=beside(np.zeros(4, x.dtype), x), running_var=beside(np.ones(4, x.dtype), x))),),
    "fixed_batch_renormalization": (on(PLAIN, (4,), (4,), (4,), (4,), bounds=POSITIVE),),
    "decorrelated_batch_normalization": (on((8, 4), groups=2),),
    "fixed_decorrelated_batch_normalization": (on((8, 4), (2, 2), (2, 2, 2), groups=2),),
    "layer_normalization": (on(PLAIN, (4,), (4,)), on(CUBE, (4,), (4,))), "rms_normalization": (on(PLAIN, (4,)), on(CUBE, (4,))),
    "group_normalization": (by(lambda x, g, b: F.group_normalization(x, 2, g, b), IMAGE, (4,), (4,)),),
    "instance_normalization": (on(IMAGE, (4,), (4,)),), "local_response_normalization": (on(IMAGE),),
}

LABELS = ints(1, 3, 0)
CLUSTERS = ints(*[[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 2, 2]]] * 2)
LOSSES = {
    "softmax_cross_entropy": (on(PLAIN, LABELS), on(PLAIN, ints(1, -1, 0), reduce="no"),
                              on((2, 3, 4), ints((1, 0, 2, 2), (0, 0, -1, 1)))),
    "sigmoid_cross_entropy": (on(PLAIN, np.eye(3, 4, dtype="i")),), "focal_loss": (on(PLAIN, LABELS),),
    "hinge": (on(PLAIN, LABELS), on(PLAIN, LABELS, norm="L2")), "huber_loss": (on(PLAIN, PLAIN, delta=1.0),),
    **each("mean_squared_error mean_absolute_error", on(PLAIN, PLAIN), on((), ())),
    "bernoulli_nll": (on(np.eye(3, 4), PLAIN),), "gaussian_nll": (on(PLAIN, PLAIN, PLAIN),),
    "gaussian_kl_divergence": (on(PLAIN, PLAIN),),
    "contrastive": (on(PLAIN, PLAIN, ints(1, 0, 1), margin=3.0),), "triplet": (on(PLAIN, PLAIN, PLAIN, margin=3.0),),
    "cross_covariance": (on(PLAIN, (3, 2)),), "decov": (on(PLAIN),),
    "discriminative_margin_based_clustering_loss": (on((2, 3, 4, 4), CLUSTERS,
                                                       delta_v=0.1, delta_d=1.0, max_embedding_dim=3),),
    "connectionist_temporal_classification": (by(lambda *xs: F.connectionist_temporal_classification(
        list(xs), beside(ints([1, 2], [2, 2]), *xs), 0), *[(2, 4)] * 5),),
    "crf1d": (by(lambda c, *xs: F.crf1d(c, list(xs), [beside(t, c) for t in (ints(0, 2), ints(1, 1), ints(2,))]), MATRIX, (2, 3), (2, 3), (1, 3)),),
    "argmax_crf1d": (by(lambda c, *xs: F.argmax_crf1d(c, list(xs))[0], MATRIX, (2, 3), (2, 3), (1, 3)),),
    "negative_sampling": (on(PLAIN, ints(0, 2, 1), (5, 4), sampler=lambda shape: np.ones(shape, "i"), sample_size=2),),
    "black_out": (on(PLAIN, ints(0, 2, 1), (5, 4), ints((3, 4), (3, 1), (0, 4))),),
    "accuracy": (on(PLAIN, LABELS),), "binary_accuracy": (on(PLAIN, np.eye(3, 4, dtype="i")),), "r2_score": (on(PLAIN, PLAIN),),
    **each("precision recall f1_score classification_summary", on(PLAIN, LABELS)),
}

def stack(name, count, cells, both=False):
    """A sample of ``n_step_*``: one layer of 3 units with ``count`` weights, ``cells`` states; three time steps.

    At the steps, 3, 2 and 2 sequences still run.
    """
    directions = 1 + both
    weights, biases = [(3, 2)] * (count // 2) + [(3, 3)] * (count // 2), [(3,)] * count
    states = [(directions, 3, 3)] * cells

    def call(*operands):
        rest = list(operands)
        hs, rest = rest[:cells], rest[cells:]
        ws, rest = [rest[k * count:(k + 1) * count] for k in range(directions)], rest[directions * count:]
        bs, xs = [rest[k * count:(k + 1) * count] for k in range(directions)], rest[directions * count:]
        return getattr(F, name)(1, 0.0, *hs, ws, bs, xs)
    return {name: (by(call, *states, *weights * directions, *biases * directions, (3, 2), (2, 2), (2, 2)),)}


RECURRENT = {
    "lstm": (on((3, 2), (3, 8)), on((4, 2), (3, 8))), "slstm": (on((3, 2), (3, 2), (3, 8), (3, 8)),),
    "tree_lstm": (on((3, 2), (3, 2), (3, 10)),),
    **stack("n_step_lstm", 8, 2), **stack("n_step_bilstm", 8, 2, True), **stack("n_step_gru", 6, 1),
    **stack("n_step_bigru", 6, 1, True),
    **stack("n_step_rnn", 2, 1), **stack("n_step_birnn", 2, 1, True),
}

DRAWN = {
    "dropout": (on(PLAIN),), "gaussian": (on(PLAIN, PLAIN),), "gumbel_softmax": (on(PLAIN, tau=0.5),),
    "zoneout": (on(PLAIN, PLAIN),),
    "forget": (by(lambda x, w: F.forget(lambda x, w: F.tanh(x * w) * x, x, w), PLAIN, PLAIN),),
}


SAMPLES = ELEMENTWISE | ARRAYS | MATHS | CONVOLUTIONS | NORMALIZATIONS | LOSSES | RECURRENT | DRAWN
