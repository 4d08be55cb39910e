"""Steps that move data, against NumPy: layouts, indices, windows, bounds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridnn.jit.moves import copy_step, fill_step, gather_step, rows_apart, scatter_add_step
from hybridnn.jit.native import INDEX_ERROR, NativePlan, View
from hybridnn.jit.windows import Windows, col2im_step, im2col_step

RNG = np.random.default_rng(0)
GRAINS = [0, 1, 5]


def _run(step, *arrays):
    return NativePlan.build([step], len(arrays)).run(arrays)


def _of(buf, view, base):
    return View.of(buf, view, view.__array_interface__["data"][0] - base.__array_interface__["data"][0])


VALUES = [("f4", -1.5), ("f8", np.nan), ("i8", -3), ("?", True), ("f2", 0.5), ("i4", 2**31 - 1), ("u1", 255)]


@pytest.mark.parametrize("dtype, value", VALUES)
@pytest.mark.parametrize("grain", GRAINS)
def test_fill(dtype, value, grain):
    out = np.zeros((3, 7), dtype)
    _run(fill_step(View.of(0, out), value, dtype, grain), out)
    np.testing.assert_array_equal(out, np.full((3, 7), value, dtype))


@pytest.mark.parametrize("dtype", ["i1", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (5,), (70, 45), (3, 40, 41), (2, 3, 4, 5), (2, 3, 2, 3, 2), (0, 3), (2, 2, 2, 2, 2, 2)])
def test_every_transpose(dtype, shape):
    a = RNG.integers(0, 100, shape).astype(dtype)
    for order in itertools.islice(itertools.permutations(range(len(shape))), 30):
        out = np.zeros([shape[i] for i in order], dtype)
        step = copy_step(View.of(0, a.transpose(order)), View.of(1, out), a.itemsize, 1)
        assert step is not None
        _run(step, a, out)
        np.testing.assert_array_equal(out, a.transpose(order))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 3]), st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_copies_of_slices(axes):
    """Steps, reversed axes and broadcast axes of the source; a strided output whose gaps stay as they are."""
    base = RNG.normal(size=[n * step for n, step, *_ in axes]).astype(np.float32)
    view = base[tuple(slice(None, None, -step if back else step) for _, step, back, _ in axes)]
    for axis, (*_, repeat) in enumerate(axes):
        if repeat:
            view = np.broadcast_to(view[(slice(None),) * axis + (slice(0, 1),)], view.shape)
    room = np.full([2 * n for n in view.shape], -1, np.float32)
    out = room[tuple(slice(None, None, 2) for _ in axes)]
    expected = room.copy()
    expected[tuple(slice(None, None, 2) for _ in axes)] = view
    _run(copy_step(_of(0, view, base), _of(1, out, room), 4), base, room)
    np.testing.assert_array_equal(room, expected)


@pytest.mark.parametrize("grain", [0, 1])
@pytest.mark.parametrize("places", [(3, 11), (5, 13), (4, 1), (1, 5), (8, 8)])
@pytest.mark.parametrize("channels", range(2, 9))
def test_few_channels_go_last_and_first(channels, places, grain):
    """Vectors that are longer than the channels of a place leave what lies around it as it was."""
    image = np.arange(2. * channels * places[0] * places[1], dtype="f4").reshape(2, channels, *places)
    for base, axes in ((image, (0, 2, 3, 1)), (image.transpose(0, 2, 3, 1).copy(), (0, 3, 1, 2))):
        room = np.full(base.size + 16, -1, "f4")
        out = room[8:-8].reshape(base.transpose(axes).shape)
        _run(copy_step(View.of(0, base.transpose(axes)), _of(1, out, room), 4, grain), base, room)
        np.testing.assert_array_equal(out, base.transpose(axes))
        assert (room[:8] == -1).all() and (room[-8:] == -1).all()


@pytest.mark.parametrize("grain", [0, 1])
@pytest.mark.parametrize("times", [2, 3, 5, 8, 9, 20])
@pytest.mark.parametrize("shape", [(3,), (4,), (70,), (2, 5, 33), (3, 2, 2, 40)])
def test_repeats_leave_what_lies_around_as_it_was(shape, times, grain):
    base = RNG.normal(size=shape).astype("f4")
    for axis in range(1, len(shape) + 1):
        view = np.broadcast_to(np.expand_dims(base, axis), (*shape[:axis], times, *shape[axis:]))
        room = np.full(view.size + 16, -1, "f4")
        out = room[8:-8].reshape(view.shape)
        _run(copy_step(_of(0, view, base), _of(1, out, room), 4, grain), base, room)
        np.testing.assert_array_equal(out, view)
        assert (room[:8] == -1).all() and (room[-8:] == -1).all()


@pytest.mark.parametrize("grain", [0, 1])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 9, 16, 21, 40])
def test_blocks_of_images(width, dtype, grain):
    """Space to depth, and depth to space: pairs and every second element."""
    image = RNG.normal(size=(3, 2, 5 * 2, width * 2)).astype(dtype)
    blocks = image.reshape(3, 2, 5, 2, width, 2).transpose(0, 3, 5, 1, 2, 4)
    deep = blocks.copy()
    for base, view in ((image, blocks), (deep, deep.transpose(0, 3, 4, 1, 5, 2)), (image, image[..., 1::2]), (image, image[..., ::-2])):
        room = np.full(view.size + 16, -1, dtype)
        out = room[8:-8].reshape(view.shape)
        _run(copy_step(_of(0, view, base), _of(1, out, room), base.itemsize, grain), base, room)
        np.testing.assert_array_equal(out, view)
        assert (room[:8] == -1).all() and (room[-8:] == -1).all()


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
def test_rows_of_all_lengths(dtype):
    for length in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130):
        base = RNG.integers(0, 100, (7, 5, length + 3)).astype(dtype)
        view = base.transpose(1, 0, 2)[:, :, 1:1 + length]
        room = np.zeros(view.size + 16, dtype)
        out = room[8:-8].reshape(view.shape)
        _run(copy_step(_of(0, view, base), _of(1, out, room), base.itemsize), base, room)
        np.testing.assert_array_equal(out, view)
        assert not room[:8].any() and not room[-8:].any()


@pytest.mark.parametrize("axes, least", [((0, 1, 2), 50_000), ((0, 2, 1), 50_000 // (32 * 3 * 4)), ((2, 1, 0), 1)])
def test_large_copies_are_shared_whatever_the_order_of_axes(axes, least):
    """The grain counts bytes, of which a tile has many."""
    a = np.zeros((64, 3, 640), "f4").transpose(axes)
    step = copy_step(View.of(0, a), View.contiguous(1, a.shape, 4), 4, 50_000)
    assert step.hi // 5 > step.grain >= least


def test_copies_that_have_no_step():
    v = View.contiguous(0, (2, 3), 16)
    assert copy_step(v, v, 16) is None
    many = View(0, 0, (2,) * 7, tuple(4 * 3**i for i in range(7)))
    assert copy_step(many, View.contiguous(1, (2,) * 7, 4), 4) is None
    with pytest.raises(ValueError, match="copy_step"):
        copy_step(v, View.contiguous(1, (3, 2), 16), 4)


@pytest.mark.parametrize("index_dtype", ["i4", "i8"])
@pytest.mark.parametrize("grain", GRAINS)
def test_gather_and_scatter(index_dtype, grain):
    for dtype in (np.float32, np.float64):
        table, index = RNG.normal(size=(11, 3, 5)).astype(dtype), RNG.integers(-11, 11, (4, 6)).astype(index_dtype)
        out = np.zeros((4, 6, 3, 5), dtype)
        step = gather_step(View.of(0, table), View.of(1, index), View.of(2, out), table.itemsize, index_dtype, grain)
        assert _run(step, table, index, out) is None
        np.testing.assert_array_equal(out, table[index])
        rows, expected = RNG.normal(size=out.shape).astype(dtype), table.copy()
        np.add.at(expected, index, rows)
        step = scatter_add_step(View.of(0, rows), View.of(1, index), View.of(2, table), dtype, index_dtype, grain)
        assert _run(step, rows, index, table) is None
        np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("rows", [slice(None, None, 2), slice(None, None, -1)], ids=["apart", "backwards"])
def test_rows_that_lie_apart_are_gathered(rows):
    whole = RNG.normal(size=(9, 2, 3))
    table, index, out = whole[rows], np.array([3, -1, 0, 3], np.int32), np.zeros((4, 2, 3))
    step = gather_step(View.of(0, table), View.of(1, index), View.of(2, out), 8, "i4")
    assert _run(step, table, index, out) is None
    np.testing.assert_array_equal(out, table[index])


def _halves(*shape):
    """Columns of a larger array, rows with gaps, both backwards, and one row many times."""
    n, k = shape[-2:]
    wide = RNG.normal(size=(*shape[:-1], 2 * k))
    return {"columns": wide[..., k:], "gaps": RNG.normal(size=(*shape[:-2], 3 * n, k))[..., ::3, :] if len(shape) == 2 else wide[..., :k],
            "backwards": RNG.normal(size=shape)[::-1] if len(shape) == 2 else wide[..., k:], "one": np.broadcast_to(RNG.normal(size=k), shape)}


@pytest.mark.parametrize("shape", [(7,), (4, 6)])
@pytest.mark.parametrize("how", ["columns", "gaps", "backwards", "one"])
def test_rows_are_gathered_to_and_added_from_where_they_lie_apart(shape, how):
    table, index, rows = RNG.normal(size=(9, 5)), RNG.integers(-9, 9, shape).astype("i4"), _halves(*shape, 5)[how]
    assert rows_apart(View.of(0, rows), len(shape), 8) is not None
    expected = table.copy()
    np.add.at(expected, index, rows)
    base = rows if rows.base is None else rows.base
    offset = rows.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    assert _run(scatter_add_step(View.of(0, rows, offset), View.of(1, index), View.of(2, table), "f8", "i4"), base, index, table) is None
    np.testing.assert_array_equal(table, expected)
    if how != "one":
        before = base.copy()
        assert _run(gather_step(View.of(0, table), View.of(1, index), View.of(2, rows, offset), 8, "i4"), table, index, base) is None
        np.testing.assert_array_equal(rows, table[index])
        assert (base != before).sum() == rows.size


@pytest.mark.parametrize("a", [np.zeros((4, 6, 5))[:, ::2], np.zeros((4, 5, 6))[:, :, ::2], np.zeros((4, 6, 10))[:, 1:, :5]])
def test_rows_that_do_not_lie_as_far_apart(a):
    assert rows_apart(View.of(0, a), 2 if a.shape[1] == 5 else 1, 8) is None


@pytest.mark.parametrize("bad", [-5, 4, 2**31 - 1])
def test_indices_out_of_bounds_are_reported(bad):
    table, index, out = np.zeros((4, 2)), np.array([0, bad, 1], np.int32), np.zeros((3, 2))
    views = View.of(0, table), View.of(1, index), View.of(2, out)
    assert _run(gather_step(*views, 8, "i4"), table, index, out) == (0, INDEX_ERROR, bad)
    rows = View.of(2, out), View.of(1, index), View.of(0, table)
    assert _run(scatter_add_step(*rows, "f8", "i4"), table, index, out) == (0, INDEX_ERROR, bad)


def _cols(x, w, padding=0.0):
    """Windows by plain indexing."""
    n, c = x.shape[:2]
    out = np.full((n, c, *w.kernel, *w.out), padding, x.dtype)
    for k in np.ndindex(*w.kernel):
        for o in np.ndindex(*w.out):
            at = tuple(o_ * s + k_ * d - p for o_, s, k_, d, p in zip(o, w.stride, k, w.dilation, w.pad))
            if all(0 <= i < size for i, size in zip(at, w.size)):
                out[(slice(None), slice(None), *k, *o)] = x[(slice(None), slice(None), *at)]
    return out


WINDOWS = [
    Windows((7, 6), (3, 3), (7, 6), (1, 1), (1, 1), (1, 1)),
    Windows((7, 9), (3, 2), (3, 5), (2, 2), (0, 1), (1, 1)),
    Windows((9, 9), (3, 3), (5, 5), (1, 2), (0, 2), (2, 2)),
    Windows((5,), (4,), (9,), (1,), (4,), (1,)),
    Windows((3,), (2,), (6,), (1,), (5,), (1,)),
    Windows((3, 4, 5), (2, 3, 2), (2, 2, 3), (1, 2, 3), (0, 1, 2), (1, 1, 2)),
    Windows((4, 4), (3, 3), (3, 3), (2, 2), (0, 0), (1, 1)),
]


@pytest.mark.parametrize("w", WINDOWS, ids=str)
@pytest.mark.parametrize("batch_last", [False, True])
def test_windows_and_their_transpose(w, batch_last):
    for dtype, grain in ((np.float32, 0), (np.float64, 2)):
        x = RNG.normal(size=(2, 3, *w.size)).astype(dtype)
        expected = _cols(x, w, -2.0)
        if batch_last:
            expected = np.ascontiguousarray(np.moveaxis(expected, 0, 1 + len(w.size)))
        cols = np.full(expected.shape, np.nan, dtype)
        _run(im2col_step(View.of(0, x), View.of(1, cols), w, dtype, batch_last, -2.0, grain), x, cols)
        np.testing.assert_array_equal(cols, expected)
        weights = RNG.integers(-8, 8, cols.shape).astype(dtype)  # integers: sums are exact in any order
        back = np.full(x.shape, np.nan, dtype)
        _run(col2im_step(View.of(0, weights), View.of(1, back), w, dtype, batch_last, grain), weights, back)
        ones = _cols_of_ones(x, w, weights, batch_last)
        np.testing.assert_array_equal(back, ones)


def _cols_of_ones(x, w, weights, batch_last):
    """The transpose by definition: each image position gets the weights of the window entries that read it."""
    if batch_last:
        weights = np.moveaxis(weights, 1 + len(w.size), 0)
    positions = np.arange(1, 1 + np.prod(w.size), dtype=np.float64).reshape(1, 1, *w.size)
    read = _cols(positions, w)[0, 0].astype(int)
    flat = np.stack([weights[..., read == i].sum(-1) for i in range(1, 1 + positions.size)], -1)
    return flat.reshape(x.shape)
