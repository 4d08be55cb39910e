"""Pooling against direct loops over windows; unpooling as its adjoint; regions of interest against loops over their bins."""

from math import ceil, floor

import numpy as np
import pytest
from directional import check_gradients

import hybridnn.functions as F
from hybridnn import Variable
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)


def distinct(*shape):
    return rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape)


def windows(x, ksize, stride, pad, cover_all):
    """(place of the window, its elements inside the array as (value, number in the window))."""
    size = x.shape[2:]
    out = [(n + 2 * p - k + (s - 1) * cover_all) // s + 1 for n, k, s, p in zip(size, ksize, stride, pad)]
    for place in np.ndindex(*out):
        inside = []
        for number, offset in enumerate(np.ndindex(*ksize)):
            at = [a * s - p + o for a, s, p, o in zip(place, stride, pad, offset)]
            if all(0 <= i < n for i, n in zip(at, size)):
                inside.append((number, tuple(at)))
        yield out, place, inside


def pooled(x, ksize, stride, pad, cover_all, reduce):
    y = None
    for out, place, inside in windows(x, ksize, stride, pad, cover_all):
        y = np.zeros((*x.shape[:2], *out)) if y is None else y
        y[(slice(None), slice(None), *place)] = reduce(np.stack([x[(slice(None), slice(None), *at)] for _, at in inside], -1))
    return y


CASES = [((2, 3, 6, 5), (3, 2), (2, 1), (1, 0)), ((1, 2, 5, 5), (2, 2), (2, 2), (0, 0)), ((2, 1, 7), (3,), (2,), (1,)),
         ((1, 2, 3, 4, 3), (2, 2, 2), (1, 2, 1), (0, 1, 0))]


@pytest.mark.parametrize("cover_all", [True, False])
@pytest.mark.parametrize("shape, ksize, stride, pad", CASES)
def test_max_pooling(shape, ksize, stride, pad, cover_all):
    x = distinct(*shape) - 50
    y, places = F.max_pooling_nd(x, ksize, stride, pad, cover_all, return_indices=True)
    np.testing.assert_array_equal(y.array, pooled(x, ksize, stride, pad, cover_all, lambda w: w.max(-1)))
    for _, place, inside in windows(x, ksize, stride, pad, cover_all):
        numbers = dict(inside)
        for n, c in np.ndindex(*shape[:2]):
            at = numbers[int(places[(n, c, *place)])]
            assert x[(n, c, *at)] == y.array[(n, c, *place)]


@pytest.mark.parametrize("shape, ksize, stride, pad", CASES)
def test_average_pooling(shape, ksize, stride, pad):
    x = rng.normal(size=shape)
    total = pooled(x, ksize, stride, pad, False, lambda w: w.sum(-1))
    np.testing.assert_allclose(F.average_pooling_nd(x, ksize, stride, pad).array, total / np.prod(ksize))
    np.testing.assert_allclose(F.average_pooling_nd(x, ksize, stride, pad, pad_value=None).array,
                               pooled(x, ksize, stride, pad, False, lambda w: w.mean(-1)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(dtype):
    x = distinct(1, 2, 4, 4).astype(dtype)
    for y in (F.max_pooling_2d(x, 2), F.average_pooling_2d(x, 2), F.average_pooling_nd(x, 3, pad=1, pad_value=None),
    F.unpooling_2d(x, 2)):
        assert y.dtype == dtype


def test_the_fixed_numbers_of_axes_agree_with_nd():
    for n, largest, mean, spread in ((1, F.max_pooling_1d, F.average_pooling_1d, F.unpooling_1d),
                                     (2, F.max_pooling_2d, F.average_pooling_2d, F.unpooling_2d),
                                     (3, F.max_pooling_3d, F.average_pooling_3d, F.unpooling_3d)):
        x = distinct(1, 2, *[5] * n)
        np.testing.assert_array_equal(largest(x, 2).array, F.max_pooling_nd(x, 2).array)
        np.testing.assert_array_equal(mean(x, 3, 2, 1).array, F.average_pooling_nd(x, 3, 2, 1).array)
        np.testing.assert_array_equal(spread(x, 2).array, F.unpooling_nd(x, 2).array)


def test_nan_wins_a_maximum():
    x = np.arange(16.).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = x[0, 0, 3, 2] = np.nan
    np.testing.assert_array_equal(F.max_pooling_2d(x, 2).array[0, 0], [[np.nan, 7], [13, np.nan]])


@pytest.mark.parametrize("cover_all", [True, False])
def test_unpooling_is_the_adjoint_of_summing(cover_all):
    x = rng.normal(size=(2, 3, 7, 5))
    total = pooled(x, (3, 2), (2, 2), (1, 0), cover_all, lambda w: w.sum(-1))
    g = rng.normal(size=total.shape)
    y = F.unpooling_2d(g, (3, 2), 2, (1, 0), outsize=(7, 5), cover_all=cover_all)
    np.testing.assert_allclose(np.vdot(y.array, x), np.vdot(g, total))


def test_upsampling_undoes_the_pooling():
    x = distinct(2, 3, 6, 4)
    y, places = F.max_pooling_2d(x, 2, cover_all=False, return_indices=True)
    back = F.upsampling_2d(y, places, 2, cover_all=False).array
    np.testing.assert_array_equal(back, np.where(np.isin(x, y.array), x, 0))


def test_spatial_pyramid():
    x = distinct(2, 3, 9, 7)
    y = F.spatial_pyramid_pooling_2d(x, 3, "max").array
    assert y.shape == (2, 3 * (1 + 4 + 16), 1, 1)
    np.testing.assert_array_equal(y[:, :3, 0, 0], x.max((2, 3)))
    halves = [x[:, :, :4 + 1], x[:, :, 4 + 1:]]     # bins of 5 rows, the first of them padded by none
    np.testing.assert_array_equal(y[:, 3:15].reshape(2, 3, 2, 2).max(3), np.stack([h.max((2, 3)) for h in halves], 2))


def test_unpooling_to_nothing():
    x = Variable(np.ones((2, 3, 3, 2)))
    y = F.unpooling_2d(x, 1, 3, 1)
    assert y.shape == (2, 3, 3, 0)                        # an axis of two elements, each a stride apart, less the padding
    F.sum(y).backward()
    np.testing.assert_array_equal(x.grad, np.zeros((2, 3, 3, 2)))


@pytest.mark.parametrize("call, part", [
    (lambda: F.max_pooling_2d(np.zeros((1, 2, 3)), 2), "4 axes"),
    (lambda: F.max_pooling_2d(np.zeros((1, 2, 2, 2)), 5, cover_all=False), "fit"),
    (lambda: F.max_pooling_2d(np.zeros((1, 2, 4, 4), int), 2), "floating"),
    (lambda: F.max_pooling_2d(np.zeros((1, 2, 4, 4)), (1, 2, 3)), "ksize"),
    (lambda: F.average_pooling_nd(np.zeros((1, 2, 4)), 2, pad_value=1), "pad_value"),
    (lambda: F.unpooling_2d(np.zeros((1, 2, 2, 2)), 2, outsize=(9, 4)), "outsize"),
    (lambda: F.upsampling_2d(np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 3), int), 2), "indexes"),
    (lambda: F.spatial_pyramid_pooling_2d(np.zeros((1, 2, 4, 4)), 2, "sum"), "pooling"),
    (lambda: F.roi_max_pooling_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 5)), np.zeros(1, int), 2, 1.), "rois (regions, 4)"),
    (lambda: F.roi_max_pooling_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 4)), np.ones(1, int), 2, 1.), "roi_indices"),
    (lambda: F.roi_max_pooling_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 4)), np.zeros(1, int), 0, 1.), "outsize"),
    (lambda: F.roi_average_align_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 4)), np.zeros(1, int), 2, -1.), "spatial_scale"),
    (lambda: F.roi_average_align_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 4)), np.zeros(1, int), 2, 1., 0), "sampling_ratio"),
    (lambda: F.roi_pooling_2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 4)), 2, 2, 1.), "rois (regions, 5)"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType) as caught:
        call()
    assert part in str(caught.value)


# -------------------------------------------------------------------------------------------------------- regions of interest

X = distinct(2, 3, 10, 8)
ROIS = np.array([[1, 1, 6, 6], [0.6, -2, 9, 4.2], [3, 3, 3, 3], [6, 2, 12, 11], [20, 20, 30, 30]], "float64")
IMAGES = np.array([0, 1, 1, 0, 0], "i")
OUT, SCALE = (3, 2), 0.8


def bins(low, high, out, limit, inclusive=0):
    low, high = round(low * SCALE), round(high * SCALE)
    stride = max(high - low + inclusive, 1) / out
    for k in range(out):
        yield [min(max(edge + low, 0), limit) for edge in (floor(k * stride), ceil((k + 1) * stride))]


def over_bins(reduce, empty, inclusive=0):
    y = np.full((len(ROIS), 3, *OUT), empty, float)
    for r, (top, left, bottom, right) in enumerate(ROIS):
        for i, (a, b) in enumerate(bins(top, bottom, OUT[0], 10, inclusive)):
            for j, (c, d) in enumerate(bins(left, right, OUT[1], 8, inclusive)):
                if a < b and c < d:
                    y[r, :, i, j] = reduce(X[IMAGES[r], :, a:b, c:d], (1, 2))
    return y


def test_roi_pooling_by_bins():
    np.testing.assert_allclose(F.roi_average_pooling_2d(X, ROIS, IMAGES, OUT, SCALE).array, over_bins(np.mean, 0))
    np.testing.assert_array_equal(F.roi_max_pooling_2d(X, ROIS, IMAGES, OUT, SCALE).array, over_bins(np.max, -np.inf))
    numbered = np.concatenate([IMAGES[:, None], ROIS[:, [1, 0, 3, 2]]], 1)
    np.testing.assert_array_equal(F.roi_pooling_2d(X, numbered, *OUT, SCALE).array, over_bins(np.max, 0, inclusive=1))


def bilinear(image, y, x):
    """Interpolated values of all channels; None outside."""
    h, w = image.shape[1:]
    if not (-1 <= y <= h and -1 <= x <= w):
        return None
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = min(floor(y), h - 2), min(floor(x), w - 2)
    a, b = y - top, x - left
    (p, q), (r, s) = [[image[:, top + i, left + j] for j in (0, 1)] for i in (0, 1)]
    return (1 - a) * ((1 - b) * p + b * q) + a * ((1 - b) * r + b * s)


def over_samples(ratio, largest):
    y = np.zeros((len(ROIS), 3, *OUT))
    for r, (top, left, bottom, right) in enumerate(ROIS * SCALE):
        sizes = [max(bottom - top, 1) / OUT[0], max(right - left, 1) / OUT[1]]
        counts = [ceil(s) if n is None else n for s, n in zip(sizes, ratio)]
        for i, j in np.ndindex(*OUT):
            spots = [(top + i * sizes[0] + (a + .5) * sizes[0] / counts[0], left + j * sizes[1] + (b + .5) * sizes[1] / counts[1])
                     for a, b in np.ndindex(*counts)]
            values = [v for v in (bilinear(X[IMAGES[r]], *spot) for spot in spots) if v is not None]
            y[r, :, i, j] = (np.max(values, 0) if values else -np.inf) if largest else sum(values) / len(spots)
    return y


@pytest.mark.parametrize("ratio", [None, 2, (None, 3)])
def test_roi_align_by_samples(ratio):
    pair = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    arguments = X, ROIS, IMAGES, OUT, SCALE, ratio
    np.testing.assert_allclose(F.roi_average_align_2d(*arguments).array, over_samples(pair, False), atol=1e-12)
    np.testing.assert_allclose(F.roi_max_align_2d(*arguments).array, over_samples(pair, True))


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize("function", [F.roi_average_pooling_2d, F.roi_average_align_2d, F.roi_max_pooling_2d, F.roi_max_align_2d])
def test_no_regions(function, images):
    x = Variable(np.ones((images, 3, 4, 4), "f"))
    y = function(x, np.zeros((0, 4), "f"), np.zeros(0, "i"), (2, 3), 1.)
    F.sum(y).backward()
    assert y.shape == (0, 3, 2, 3) and x.grad.shape == x.shape and not x.grad.any()


def test_roi_gradients():
    some = ROIS[:3], IMAGES[:3], OUT, SCALE
    for function in (F.roi_average_pooling_2d, F.roi_average_align_2d, F.roi_max_pooling_2d, F.roi_max_align_2d):
        check_gradients(lambda x, function=function: function(x, *some), X, second=False)
    x = Variable(np.zeros((1, 1, 4, 4)))            # of equal candidates the first gets the gradient
    F.sum(F.roi_max_pooling_2d(x, np.array([[0., 0, 4, 4]]), np.array([0]), 2, 1.)).backward()
    np.testing.assert_array_equal(x.grad[0, 0], np.outer([1, 0, 1, 0], [1, 0, 1, 0]))


@pytest.mark.parametrize("pad, pad_value", [(0, 0), (1, None)])
def test_averages_of_ones_are_one(pad, pad_value):
    x = np.ones((1, 1, 61, 47), "f")
    for size in ((41, 1), (47, 1), (1, 47), (3, 3)):
        y = F.average_pooling_nd(x, size, 1, (0, 0) if 1 in size else pad, pad_value)
        assert (y.array == 1).all()
