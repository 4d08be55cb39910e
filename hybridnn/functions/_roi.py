"""Pooling over regions of interest. The regions' values shape the computation, so they are read when the function is called,
and have no gradient.

Means are separable: weights over rows times weights over columns, hence two matrix products. Maxima gather each bin's
candidates and pick the first largest.
"""

import numpy as np

from hybridnn.backend import beside, to_cpu
from hybridnn.core import apply, as_array, as_variable
from hybridnn.core.arithmetic import where
from hybridnn.core.indexing import take
from hybridnn.core.product import matmul
from hybridnn.core.shapes import reshape, transpose
from hybridnn.errors import InvalidType
from hybridnn.ops.expect import expect, expect_float
from hybridnn.ops.loss import pick_label
from hybridnn.ops.reduction import argmax

__all__ = ["roi_average_align_2d", "roi_average_pooling_2d", "roi_max_align_2d", "roi_max_pooling_2d", "roi_pooling_2d"]


# ------------------------------------------------------------------------------------------------------------------ arguments


def _size(name, outsize):
    pair = tuple(outsize) if hasattr(outsize, "__iter__") else (outsize, outsize)
    if len(pair) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in pair):
        raise InvalidType(name, "outsize as a positive int or two of them", f"outsize={outsize!r}")
    return pair


def _ratio(name, sampling_ratio):
    pair = tuple(sampling_ratio) if hasattr(sampling_ratio, "__iter__") else (sampling_ratio, sampling_ratio)
    if len(pair) != 2 or not all(n is None or (isinstance(n, (int, np.integer)) and n >= 1) for n in pair):
        raise InvalidType(
            name, "sampling_ratio as None, an int of 1 or more, or two of them", f"sampling_ratio={sampling_ratio!r}"
        )
    return pair


def _on_host(x):
    """Where regions lie is worked out by NumPy."""
    return np.asarray(to_cpu(as_array(x)))


def _regions(name, x, rois, roi_indices, spatial_scale):
    """x as a Variable, rois (regions, 4) in x's pixels, and the image of every region, checked."""
    x, rois, indices = as_variable(x), _on_host(rois), _on_host(roi_indices)
    expect_float(name, x=x, rois=rois)
    expect(len(x.shape) == 4, name, "x (n, channels, height, width)", x=x)
    expect(
        rois.ndim == 2 and rois.shape[1] == 4 and indices.shape == rois.shape[:1] and indices.dtype.kind in "iu",
        name,
        "rois (regions, 4) and roi_indices (regions,) of integers",
        rois=rois,
        roi_indices=indices,
    )
    if (
        isinstance(spatial_scale, (bool, np.bool_))
        or not isinstance(spatial_scale, (int, float, np.number))
        or not spatial_scale > 0
    ):
        raise InvalidType(name, "a positive spatial_scale", f"spatial_scale={spatial_scale!r}")
    expect(
        indices.size == 0 or (indices.min() >= 0 and indices.max() < x.shape[0]),
        name,
        "roi_indices that number x's images",
        x=x,
        roi_indices=indices,
    )
    return x, rois.astype("float64") * float(spatial_scale), indices


# ------------------------------------------------------------------------------------------------------------------- geometry


def _bins(low, high, out, limit, inclusive=0):
    """Per region the [start, end) of each of ``out`` bins of whole pixels along an axis of ``limit``: (regions, out, 2)."""
    low, high = np.rint(low).astype(int), np.rint(high).astype(int)
    stride = np.maximum(high - low + inclusive, 1)[:, None] / out
    steps = np.arange(out)
    edges = np.stack([np.floor(steps * stride), np.ceil((steps + 1) * stride)], 2).astype(int)
    return np.clip(edges + low[:, None, None], 0, limit)


def _bin_weights(edges, limit):
    """(regions, out, limit): the mean over each bin; zeros for an empty one."""
    pixels = np.arange(limit)
    inside = (pixels >= edges[..., :1]) & (pixels < edges[..., 1:])
    return inside / np.maximum(inside.sum(2, keepdims=True), 1)


def _sample_weights(low, high, out, limit, ratio):
    """Linear interpolation at the samples along one axis: weights (regions, out, samples, limit), and which samples count
    (regions, out, samples).

    A bin has ``ratio`` samples, or as many as its length rounded up; bins of regions with fewer samples than others are filled
    up with samples that do not count. A position up to one pixel outside counts as on the border.
    """
    length = np.maximum(high - low, 1.0)
    counts = np.ceil(length / out).astype(int) if ratio is None else np.full(len(low), ratio)
    steps, samples = np.arange(out)[:, None], np.arange(counts.max(initial=1))
    position = low[:, None, None] + (steps + (samples + 0.5) / counts[:, None, None]) * (length / out)[:, None, None]
    counted = (position >= -1) & (position <= limit) & (samples < counts[:, None, None])
    distance = np.abs(np.clip(position, 0, limit - 1)[..., None] - np.arange(limit))
    return np.maximum(1 - distance, 0) * counted[..., None], counted, counts


# ----------------------------------------------------------------------------------------------------------------------- means


def _separable(x, rows, columns, indices):
    """rows @ x[indices] @ columns.T, per region and channel."""
    images = apply(take, (x, beside(indices, x)), {"pattern": (("array", 0),)})
    rows, columns = [beside(w.astype(x.dtype)[:, None], x) for w in (rows, columns)]
    return apply(
        matmul, (apply(matmul, (rows, images), {"transa": False, "transb": False}), columns), {"transa": False, "transb": True}
    )


def roi_average_pooling_2d(x, rois, roi_indices, outsize, spatial_scale):
    """The mean of each bin of whole pixels of each region.

    Args:
        x: (n, channels, height, width).
        rois: (regions, 4): y_min, x_min, y_max, x_max.
        roi_indices: (regions,) integers: a region's image.
        outsize: bins (height, width), or an int for both.
        spatial_scale: factor from the regions' unit to pixels of x.

    Returns: (regions, channels, *outsize); 0 for an empty bin.
    """
    name = "roi_average_pooling_2d"
    out = _size(name, outsize)
    x, rois, indices = _regions(name, x, rois, roi_indices, spatial_scale)
    rows, columns = [_bin_weights(_bins(rois[:, k], rois[:, k + 2], out[k], x.shape[2 + k]), x.shape[2 + k]) for k in (0, 1)]
    return _separable(x, rows, columns, indices)


def roi_average_align_2d(x, rois, roi_indices, outsize, spatial_scale, sampling_ratio=None):
    """The mean of each bin of each region over samples at fractional positions, interpolated linearly (ROI align, He et al.
    2017).

    Args:
        sampling_ratio: samples per bin and axis (an int or two); None: the bin's size in pixels, rounded up.
        x, rois, roi_indices, outsize, spatial_scale: as for ``roi_average_pooling_2d``.
    """
    name = "roi_average_align_2d"
    out, ratio = _size(name, outsize), _ratio(name, sampling_ratio)
    x, rois, indices = _regions(name, x, rois, roi_indices, spatial_scale)
    means = []
    for k in (0, 1):
        weights, _, counts = _sample_weights(rois[:, k], rois[:, k + 2], out[k], x.shape[2 + k], ratio[k])
        means.append(weights.sum(2) / counts[:, None, None])
    return _separable(x, *means, indices)


# --------------------------------------------------------------------------------------------------------------------- maxima


def _first_largest(values, counted, empty):
    """The first largest of the candidates on axis 1 that count; ``empty`` where none does."""
    if not counted.all():
        values = apply(where, (beside(counted, values), values, -np.inf))
    best = apply(argmax, (values,), {"axis": (1,)})
    y = apply(pick_label, (values, best), {"ignore_label": None})
    some = counted.any(axis=1)
    return y if some.all() else apply(where, (beside(some, y), y, empty))


def _spread(of_rows, of_columns):
    """(regions, bins, candidates) of both axes, contiguous, to broadcast to (regions, candidates, candidates, out_h, out_w)."""
    of_rows, of_columns = [np.ascontiguousarray(a.transpose(0, 2, 1)) for a in (of_rows, of_columns)]
    return of_rows[:, :, None, :, None], of_columns[:, None, :, None, :]


def _max_of_bins(x, edges, indices, empty):
    """Maxima over whole pixels: candidates (regions, candidates, out_h, out_w, channels)."""
    pixels = [e[..., :1] + np.arange(max((e[..., 1] - e[..., 0]).max(initial=1), 1)) for e in edges]
    (rows, columns), inside = pixels, [p < e[..., 1:] for p, e in zip(pixels, edges)]
    n, out_h, out_w = len(indices), rows.shape[1], columns.shape[1]
    rows, columns = _spread(*[np.minimum(p, size - 1) for p, size in zip((rows, columns), x.shape[2:])])
    counted = np.logical_and(*_spread(*inside))
    places = [beside(a, x) for a in (indices.reshape(-1, 1, 1, 1, 1), rows, columns)]
    values = apply(
        take,
        (apply(transpose, (x,), {"axes": (0, 2, 3, 1)}), *places),
        {"pattern": (("array", 0), ("array", 1), ("array", 2))},
    )
    candidates = counted.shape[1] * counted.shape[2]
    y = _first_largest(
        reshape.to(values, (n, candidates, out_h, out_w, x.shape[1])), counted.reshape(n, candidates, out_h, out_w, 1), empty
    )
    return apply(transpose, (y,), {"axes": (0, 3, 1, 2)})


def roi_max_pooling_2d(x, rois, roi_indices, outsize, spatial_scale):
    """The maximum of each bin of whole pixels of each region; -inf for an empty bin. Arguments as ``roi_average_pooling_2d``."""
    name = "roi_max_pooling_2d"
    out = _size(name, outsize)
    x, rois, indices = _regions(name, x, rois, roi_indices, spatial_scale)
    edges = [_bins(rois[:, k], rois[:, k + 2], out[k], x.shape[2 + k]) for k in (0, 1)]
    return _max_of_bins(x, edges, indices, -np.inf)


def roi_pooling_2d(x, rois, outh, outw, spatial_scale):
    """The maximum of each bin of each region (Girshick 2015); 0 for an empty bin.

    Args:
        x: (n, channels, height, width).
        rois: (regions, 5): image number, x_min, y_min, x_max, y_max, the ends included.
        outh, outw: bins.
        spatial_scale: factor from the regions' unit to pixels of x.
    """
    rois = _on_host(rois)
    expect(rois.ndim == 2 and rois.shape[1] == 5, "roi_pooling_2d", "rois (regions, 5)", rois=rois)
    _size("roi_pooling_2d", (outh, outw))
    x, corners, indices = _regions("roi_pooling_2d", x, rois[:, [2, 1, 4, 3]], rois[:, 0].astype(int), spatial_scale)
    edges = [_bins(corners[:, k], corners[:, k + 2], n, x.shape[2 + k], inclusive=1) for k, n in ((0, outh), (1, outw))]
    return _max_of_bins(x, edges, indices, 0)


def roi_max_align_2d(x, rois, roi_indices, outsize, spatial_scale, sampling_ratio=None):
    """The maximum of each bin of each region over samples at fractional positions, interpolated linearly; arguments as
    ``roi_average_align_2d``.
    """
    name = "roi_max_align_2d"
    out, ratio = _size(name, outsize), _ratio(name, sampling_ratio)
    x, rois, indices = _regions(name, x, rois, roi_indices, spatial_scale)
    weights, counted = [], []
    for k in (0, 1):
        w, c, _ = _sample_weights(rois[:, k], rois[:, k + 2], out[k], x.shape[2 + k], ratio[k])
        weights.append(w.reshape(len(w), w.shape[1] * w.shape[2], x.shape[2 + k]))
        counted.append(c)
    grid = (len(indices), x.shape[1], out[0], counted[0].shape[2], out[1], counted[1].shape[2])
    values = _separable(x, *weights, indices).reshape(grid).transpose((0, 3, 5, 2, 4, 1))
    both = counted[0].transpose(0, 2, 1)[:, :, None, :, None] & counted[1].transpose(0, 2, 1)[:, None, :, None, :]
    candidates = grid[3] * grid[5]
    flat = values.reshape((grid[0], candidates, out[0], out[1], x.shape[1]))
    y = _first_largest(flat, both.reshape(grid[0], candidates, out[0], out[1], 1), -np.inf)
    return y.transpose((0, 3, 1, 2))
