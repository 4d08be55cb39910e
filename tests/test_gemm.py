"""Our own product of float32 matrices against NumPy's in float64: all sizes around those of tiles, transposed operands, what lies beside C."""
import ctypes

import numpy as np
import pytest

from hybridnn.jit import gemm

PLAIN, TRANSPOSED, ROW_MAJOR = 111, 112, 101
I32, I64, REAL, POINTER = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
SGEMM = ctypes.CFUNCTYPE(None, I32, I32, I32, I64, I64, I64, REAL, POINTER, I64, POINTER, I64, REAL, POINTER, I64)

pytestmark = pytest.mark.skipif(gemm.host_tile() is None, reason="this CPU multiplies matrices by BLAS alone")


@pytest.fixture(scope="module", params=[gemm.LONG, gemm.SHORT], ids=["long", "short"])
def sgemm(request):
    """Code for long vectors runs on CPUs with short ones too, slower."""
    return SGEMM(gemm._code(request.param).address("hnn_sgemm"))


def multiply(sgemm, ta, tb, a, b, c, alpha=1.0, beta=0.0):
    """C = alpha op(A) op(B) + beta C; the arrays are rows of wider ones."""
    k = a.shape[0] if ta else a.shape[1]
    leading = [x.strides[0] // 4 for x in (a, b, c)]
    sgemm(ROW_MAJOR, TRANSPOSED if ta else PLAIN, TRANSPOSED if tb else PLAIN, *c.shape, k, alpha,
          a.ctypes.data, leading[0], b.ctypes.data, leading[1], beta, c.ctypes.data, leading[2])


def inside(rng, rows, cols):
    """An array with other numbers around it."""
    return rng.normal(size=(rows + 2, cols + 7)).astype("f")[1:-1, 3:3 + cols]


def check(sgemm, rng, m, n, k, ta, tb, alpha=1.0, beta=0.0):
    a, b = inside(rng, *((k, m) if ta else (m, k))), inside(rng, *((n, k) if tb else (k, n)))
    c = inside(rng, m, n)
    whole, old = c.base, c.copy()
    if beta == 0.0:
        c[...] = np.nan
    before = whole.copy()
    left, right = (a.T if ta else a).astype("d"), (b.T if tb else b).astype("d")
    multiply(sgemm, ta, tb, a, b, c, alpha, beta)
    want, scale = alpha * (left @ right) + beta * old, np.abs(alpha * left) @ np.abs(right) + np.abs(beta * old)
    assert (np.abs(c - want) <= 2e-7 * (2 + k ** 0.5) * scale + 1e-30).all(), (m, n, k, ta, tb, alpha, beta)
    before[1:-1, 3:3 + n] = c
    np.testing.assert_array_equal(whole, before)      # nothing beside C was written


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_sizes_around_tiles(sgemm, ta, tb):
    rng = np.random.default_rng(0)
    for m in (1, 2, 3, 7, 8, 9, 15, 16, 17, 25, 47):
        for n in (1, 15, 16, 17, 33, 48, 49, 64, 80, 191, 192, 200, 240):
            for k in (1, 4, 5, 16, 17):
                check(sgemm, rng, m, n, k, ta, tb)


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("alpha, beta", [(1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (2.0, -0.5)])
def test_blocks_of_the_inner_dimension_and_of_rows(sgemm, ta, tb, alpha, beta):
    rng = np.random.default_rng(1)
    for m, n, k in ((40, 70, 255), (13, 33, 256), (13, 33, 257), (30, 200, 600), (260, 40, 30), (300, 230, 300), (20, 500, 513)):
        check(sgemm, rng, m, n, k, ta, tb, alpha, beta)


def test_random_sizes(sgemm):
    rng = np.random.default_rng(2)
    for _ in range(200):
        m, n, k = rng.integers(1, [80, 260, 300])
        check(sgemm, rng, int(m), int(n), int(k), *rng.integers(0, 2, 2), rng.choice([1.0, 3.0]), rng.choice([0.0, 1.0]))


def test_infinities_and_nan_go_where_they_belong(sgemm):
    rng = np.random.default_rng(3)
    a, b, c = inside(rng, 14, 20), inside(rng, 20, 35), inside(rng, 14, 35)
    a[3, 5], b[7, 34] = np.inf, np.nan
    multiply(sgemm, False, False, a, b, c)
    assert np.isnan(c[:, 34]).all() and np.isinf(c[3, :34]).all()
    assert np.isfinite(np.delete(c, 3, axis=0)[:, :34]).all()


@pytest.mark.parametrize("alpha, beta", [(1.0, 0.0), (0.5, 1.5)])
def test_few_rows_times_a_transposed_matrix(sgemm, alpha, beta):
    """Sums along the rows of both, where they are long for the number of rows: every remainder of rows, columns and lanes; more than one block."""
    rng = np.random.default_rng(5)
    for m, n, k in ((2, 9, 16), (3, 24, 17), (5, 7, 31), (7, 33, 48), (16, 21, 100), (17, 40, 130), (30, 26, 515), (48, 5, 700), (9, 100, 1040)):
        check(sgemm, rng, m, n, k, False, True, alpha, beta)
