"""Matrix products as native steps: through BLAS they have the bits of np.matmul, whatever the layout; through our own code they are as exact."""

import ctypes
import itertools
import logging
import math

import numpy as np
import pytest

from hybridnn.jit import blas, blas_library, gemm, threads
from hybridnn.jit.blas import matmul_step, readable
from hybridnn.jit.native import NativePlan, View

RNG = np.random.default_rng(0)


def _normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def _base(array):
    while array.base is not None:
        array = array.base
    return array


def _view(buf, array):
    base = _base(array)
    return View.of(buf, array, array.__array_interface__["data"][0] - base.__array_interface__["data"][0])


def _run(a, b, out, add=False):
    same = _base(a) is _base(b)
    step = matmul_step(_view(0, a), _view(0 if same else 1, b), _view(2, out), out.dtype, add)
    if step is None:
        return None
    assert NativePlan.build([step], 3).run(_base(a), _base(b), _base(out)) is None
    return step


def _matmul(a, b):
    """``np.matmul``, whose OpenBLAS computes with the bits behind short vectors, too, and may find them invalid (as in NumPy's issue 24067)."""
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


def _check(a, b, routine=None):
    expected = _matmul(a, b)
    with threads.limit(1):
        out = np.full(expected.shape, np.nan, expected.dtype)
        with pytest.MonkeyPatch.context() as only_blas:
            only_blas.setattr(gemm, "pays", lambda *sizes, divided: False)
            blas._product.cache_clear()
            step = _run(a, b, out)
        blas._product.cache_clear()
        assert step is not None
        assert out.tobytes() == expected.tobytes()
        assert routine in (None, step.name)
        out[...] = np.nan
        assert _run(a, b, out) is not None
    scale = _matmul(np.abs(a), np.abs(b))
    assert (np.abs(out - expected) <= 8 * np.finfo(out.dtype).eps * scale + np.finfo(out.dtype).tiny).all()


@pytest.mark.parametrize("m, k, n", [(300, 200, 150), (301, 200, 150), (301, 200, 151)])
@pytest.mark.parametrize("add", [False, True])
def test_a_large_product_is_divided_between_threads(m, k, n, add):
    """Into blocks of rows, else of columns, else not at all."""
    a, b = _normal(m, k, dtype=np.float32), _normal(k, n, dtype=np.float32)
    out = np.ones((m, n), np.float32)
    step = _run(a, b, out, add)
    assert step.grain == (1 if threads.cores() > 1 and (m % 2 == 0 or n % 2 == 0) else 0)
    np.testing.assert_allclose(out, a @ b + add, rtol=2e-5, atol=2e-5)


LAYOUTS = {
    "C": lambda a: a.copy(),
    "F": lambda a: np.asfortranarray(a),
    "rows of a wider": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
    "columns of a taller": lambda a: np.concatenate([a.swapaxes(-1, -2)] * 2, axis=-1)[..., : a.shape[-2]].swapaxes(-1, -2),
}
SIZES = [(2, 3, 4), (1, 5, 7), (7, 5, 1), (6, 1, 7), (1, 9, 1), (1, 1, 5), (5, 1, 1), (1, 1, 1), (64, 64, 64), (33, 129, 65),
         (1, 64, 64), (20, 400, 96), (3, 0, 4), (0, 3, 4), (3, 4, 0)]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layouts", [*itertools.product(LAYOUTS, LAYOUTS)], ids=" @ ".join)
def test_matrices_in_every_layout(dtype, layouts):
    for m, k, n in SIZES:
        a, b = (LAYOUTS[l](_normal(*s, dtype=dtype)) for l, s in zip(layouts, [(m, k), (k, n)]))
        _check(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors(dtype):
    x, y, m = _normal(33, dtype=dtype), _normal(33, dtype=dtype), _normal(33, 33, dtype=dtype)
    _check(x, y, "dot")
    for matrix in (m, m.T, m[:, :33].copy()):
        _check(x, matrix, "gemv")
        _check(matrix, x, "gemv")
    wide = _normal(66, dtype=dtype)
    _check(wide[::2], m, "gemv")
    _check(m, wide[::2], "gemv")
    _check(wide[::2], wide[1::2], "dot")
    _check(x[::-1], m)
    _check(_normal(5, 33, dtype=dtype), x)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (40, 300), (300, 40), (16, 16)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_times_its_own_transpose(shape, dtype):
    a = _normal(*shape, dtype=dtype)
    _check(a, a.T, "syrk")
    _check(a.T, a, "syrk")
    _check(a, a.copy().T, "gemm")
    wide = _normal(shape[0], 2 * shape[1], dtype=dtype)[:, : shape[1]]
    _check(wide, wide.T, "syrk")
    batch = _normal(3, *shape, dtype=dtype)
    _check(batch, batch.swapaxes(1, 2), "syrk")


@pytest.mark.parametrize(
    "left, right",
    [((5, 3, 4), (5, 4, 6)), ((5, 3, 4), (4, 6)), ((3, 4), (5, 4, 6)), ((2, 5, 3, 4), (5, 4, 6)), ((2, 1, 3, 4), (1, 5, 4, 6)),
     ((2, 3, 5, 3, 4), (2, 1, 5, 4, 6)), ((4,), (5, 4, 6)), ((5, 3, 4), (4,)), ((0, 3, 4), (4, 6)), ((2, 2, 1, 4), (2, 4, 1))],
)  # fmt: skip
def test_batches(left, right):
    _check(_normal(*left), _normal(*right))


def test_strided_batches_and_heads():
    """(batch, time, heads, width) seen as (batch, heads, time, width), as attention does."""
    q, k = _normal(2, 7, 3, 8), _normal(2, 7, 3, 8)
    _check(q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1), "gemm")


def test_outputs_in_other_layouts():
    a, b = _normal(5, 7), _normal(7, 9)
    for out in (np.zeros((9, 5), np.float32).T, np.zeros((5, 20), np.float32)[:, 3:12]):
        _run(a, b, out)
        np.testing.assert_array_equal(out, np.matmul(a, b, out=np.empty_like(out)))
    column = np.zeros((5, 3), np.float32)
    _run(a, b[:, 0].copy(), column[:, 1])
    np.testing.assert_array_equal(column[:, 1], _matmul(a, b[:, 0].copy()))
    assert not column[:, [0, 2]].any()


@pytest.mark.parametrize("sizes", [(4, 6, 5), (1, 6, 5), (4, 6, 1), (1, 6, 1), (4, 1, 5), (4, 0, 5)])
def test_accumulated(sizes):
    m, k, n = sizes
    a, b, c = _normal(m, k, dtype=np.float64), _normal(k, n, dtype=np.float64), _normal(m, n, dtype=np.float64)
    expected = a @ b + c
    _run(a, b, c, add=True)
    np.testing.assert_allclose(c, expected, rtol=1e-13)
    s = _normal(m, k, dtype=np.float64)
    square = np.ones((m, m))
    _run(s, s.T, square, add=True)
    np.testing.assert_allclose(square, s @ s.T + 1, rtol=1e-12)


def test_special_values():
    """An outer product: infinities, NaN, and the sign of zero (0 + -0 is 0)."""
    a, b = np.array([[np.inf, 1, -0.0]], np.float32).T, np.array([[2.0, -1, np.nan]], np.float32)
    expected = np.matmul(a, b)
    out = np.zeros((3, 3), np.float32)
    _run(a, b, out)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out[:, :2]), np.signbit(expected[:, :2]))


def test_what_has_no_step():
    gaps = _normal(6, 8)[:, ::2]
    assert not readable(_view(0, gaps), 4) and readable(_view(0, gaps.copy().T), 4)
    assert matmul_step(_view(0, gaps), _view(1, _normal(4, 5)), View.contiguous(2, (6, 5), 4), np.float32) is None
    whole = View.contiguous(0, (2, 2), 8)
    assert matmul_step(whole, whole, View.contiguous(1, (2, 2), 8), np.int64) is None
    bent = View(0, 0, (2, 2, 2, 2, 3, 3), (10**6, 10**3, 10**5, 500, 12, 4))
    assert matmul_step(bent, bent, View.contiguous(1, (2, 2, 2, 2, 3, 3), 4), np.float32) is None


MISFITS = [((2, 3), (4, 5), (2, 5)), ((2, 3), (3, 5), (5, 2)), ((), (3,), ()), ((2, 2, 3), (3, 3, 5), (2, 2, 5))]


@pytest.mark.parametrize("a, b, c", MISFITS)
def test_shapes_that_do_not_fit(a, b, c):
    with pytest.raises(ValueError):
        matmul_step(*(View.contiguous(i, s, 4) for i, s in enumerate((a, b, c))), np.float32)


def test_symbols_are_found_and_missing_ones_said_once(monkeypatch, caplog):
    found = blas_library.find()
    assert found is not None and found.bits in (32, 64) and math.prod(found.functions.values())
    monkeypatch.setattr(blas_library, "_numpy_library", lambda: ctypes.__file__)
    blas_library.find.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "hybridnn.jit"):
            whole = View.contiguous(0, (2, 2), 4)
            assert matmul_step(whole, whole, View.contiguous(1, (2, 2), 4), np.float32) is None
            assert blas_library.find() is None
        assert len(caplog.records) == 1
    finally:
        blas_library.find.cache_clear()


@pytest.mark.parametrize("count, size, shared", [(8, 128, True), (8, 8, False)])
def test_matrices_of_a_batch_are_shared_between_threads_where_there_is_work_for_them(count, size, shared):
    a, b = _normal(count, size, size), _normal(count, size, size)
    out = np.full(a.shape, np.nan, np.float32)
    step = _run(a, b, out)
    assert (step.grain > 0) is shared and step.hi == count
    np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)


def test_matrices_of_a_batch_that_are_added_up_in_one_place_are_not_shared():
    a, b, out = _normal(8, 128, 128), _normal(8, 128, 128), np.zeros((128, 128), np.float32)
    target = np.lib.stride_tricks.as_strided(out, a.shape, (0, *out.strides))
    step = matmul_step(_view(0, a), _view(1, b), View(2, 0, a.shape, target.strides), np.float32, add=True)
    assert step.grain == 0 and NativePlan.build([step], 3).run(a, b, out) is None
    np.testing.assert_allclose(out, (a @ b).sum(0), rtol=1e-4, atol=1e-4)
