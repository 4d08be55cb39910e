"""Chainer's module paths: ``from hybridnn.functions.math.exponential import exp``, ``from hybridnn.functions.noise import dropout`` and
then ``dropout.dropout(x)``.

Chainer has a module for each function or family of functions; here a module holds an area. ``PATHS`` says which functions Chainer's
modules hold. Where a module has the name of a function, the function carries the module's names as attributes.
"""
import sys
import types

__all__ = ["PATHS", "open_paths"]


def _same(names):
    return {name: name for name in names.split()}


PATHS = {
    "activation": {
        **_same("crelu elu hard_sigmoid leaky_relu log_softmax maxout prelu relu rrelu selu sigmoid softmax softplus swish tanh"),
        "clipped_relu": "clipped_relu relu6"},
    "array": {
        **_same("as_strided cast concat copy depth2space diagonal dstack expand_dims flatten flip fliplr flipud get_item hstack im2col"),
        **_same("moveaxis pad pad_sequence permutate repeat reshape resize_images rollaxis scatter_add select_item separate space2depth"),
        **_same("spatial_transformer_grid spatial_transformer_sampler split_axis squeeze stack swapaxes tile transpose"),
        **_same("transpose_sequence vstack where"),
        "broadcast": "broadcast broadcast_to"},
    "connection": {
        **_same("bilinear convolution_2d deconvolution_2d deformable_convolution_2d_sampler depthwise_convolution_2d"),
        **_same("dilated_convolution_2d embed_id linear local_convolution_2d shift"),
        "convolution_nd": "convolution_1d convolution_3d convolution_nd",
        "deconvolution_nd": "deconvolution_1d deconvolution_3d deconvolution_nd"},
    "evaluation": {
        **_same("accuracy binary_accuracy r2_score"),
        "classification_summary": "classification_summary f1_score precision recall"},
    "loss": {
        **_same("absolute_error black_out contrastive cross_covariance decov hinge huber_loss mean_absolute_error mean_squared_error"),
        **_same("negative_sampling sigmoid_cross_entropy softmax_cross_entropy triplet"),
        "crf1d": "argmax_crf1d crf1d", "ctc": "connectionist_temporal_classification",
        "discriminative_loss": "discriminative_margin_based_clustering_loss", "squared_error": "squared_difference squared_error",
        "vae": "bernoulli_nll gaussian_kl_divergence gaussian_nll"},
    "math": {
        **_same("arctanh average batch_l2_norm_squared bias ceil cholesky clip cumprod cumsum digamma einsum erf erfc erfcinv erfcx"),
        **_same("erfinv fix floor fmod identity lgamma linear_interpolate log_ndtr logsumexp maximum minimum ndtr ndtri polygamma prod"),
        **_same("scale sign sparse_matmul square tensordot zeta"),
        "basic_math": "absolute add", "det": "batch_det det", "exponential": "exp log log10 log2", "exponential_m1": "expm1",
        "fft": "fft ifft", "hyperbolic": "cosh sinh", "inv": "batch_inv inv", "logarithm_1p": "log1p", "matmul": "batch_matmul matmul",
        "minmax": "argmax argmin max min", "sqrt": "rsqrt sqrt", "sum": "sum sum_to",
        "trigonometric": "arccos arcsin arctan arctan2 cos sin tan"},
    "noise": _same("dropout gaussian gumbel_softmax simplified_dropconnect zoneout"),
    "normalization": {
        **_same("group_normalization layer_normalization local_response_normalization"),
        "batch_normalization": "batch_normalization fixed_batch_normalization",
        "batch_renormalization": "batch_renormalization fixed_batch_renormalization",
        "decorrelated_batch_normalization": "decorrelated_batch_normalization fixed_decorrelated_batch_normalization",
        "l2_normalization": "normalize"},
    "pooling": {
        **_same("average_pooling_2d max_pooling_2d roi_average_align_2d roi_average_pooling_2d roi_max_align_2d roi_max_pooling_2d"),
        **_same("roi_pooling_2d spatial_pyramid_pooling_2d unpooling_2d upsampling_2d"),
        "average_pooling_nd": "average_pooling_1d average_pooling_3d average_pooling_nd",
        "max_pooling_nd": "max_pooling_1d max_pooling_3d max_pooling_nd", "unpooling_nd": "unpooling_1d unpooling_3d unpooling_nd",
        "pooling_nd_kernel": ""},
    "rnn": {
        **_same("lstm slstm tree_lstm"),
        "n_step_gru": "n_step_bigru n_step_gru", "n_step_lstm": "n_step_bilstm n_step_lstm", "n_step_rnn": "n_step_birnn n_step_rnn"},
    "util": _same("forget"),
}


def open_paths(areas, functions, others):
    """Make Chainer's paths lead to our functions.

    Args:
        areas: our modules by the area's name.
        functions: all public functions by name.
        others: ``(area, module)`` to a dict of further names that such a module holds.
    """
    for area, modules in PATHS.items():
        for name, members in modules.items():
            values = {n: functions[n] for n in members.split()} | others.get((area, name), {})
            _open(areas[area], name, values)


def _open(area, name, values):
    path = f"{area.__name__}.{name}"
    module = types.ModuleType(path, f"Functions that Chainer keeps in such a module; they live in ``{area.__name__}``.")
    module.__dict__.update(values)
    sys.modules[path] = module
    if name in values:
        values[name].__dict__.update(values)
        setattr(area, name, values[name])
    else:
        setattr(area, name, module)
