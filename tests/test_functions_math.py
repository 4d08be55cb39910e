"""Mathematical functions against NumPy, SciPy and direct loops."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.special as special
from function_cases import Case, case, check_error, check_values, ids, untested

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.functions.math
from hybridnn import Variable

S, V = (2, 3), np.arange(3.0)
POSITIVE, INNER = (0.2, 3.0), (-0.9, 0.9)


def batch_matmul(a, b, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return F.batch_matmul(a, b, **options)


def swapped(x):
    return x.swapaxes(-1, -2)


def loop_scan(x, axis, step):
    y, total = np.empty_like(x), None
    for k in range(x.shape[axis]):
        index = (slice(None),) * (axis % x.ndim) + (k,)
        total = x[index] if total is None else step(total, x[index])
        y[index] = total
    return y


def spd(a):
    return a @ swapped(a) + 3 * np.eye(a.shape[-1], dtype=a.dtype)


ELEMENTWISE = [
    case("absolute", S, formula=np.abs),
    case("sign", S, formula=np.sign),
    case("exp", S, formula=np.exp),
    case("expm1", S, formula=np.expm1),
    case("square", S, formula=lambda x: x**2),
    case("sin", S, formula=np.sin),
    case("cos", S, formula=np.cos),
    case("tan", S, formula=lambda x: np.sin(x) / np.cos(x), bounds=(-1.3, 1.3)),
    case("sinh", S, formula=lambda x: (np.exp(x) - np.exp(-x)) / 2),
    case("cosh", S, formula=lambda x: (np.exp(x) + np.exp(-x)) / 2),
    case("arctan", S, formula=np.arctan),
    case("floor", S, formula=np.floor),
    case("ceil", S, formula=lambda x: -np.floor(-x)),
    case("fix", S, formula=lambda x: np.sign(x) * np.floor(np.abs(x))),
    case("identity", S, formula=lambda x: x),
    case("identity", S, (3,), formula=lambda x, y: (x, y)),
    case("erf", (5, 40), formula=special.erf, bounds=(-5, 5)),
    case("erf", S, formula=special.erf, bounds=(-0.4, 0.4), note="center"),
    case("erfc", (5, 40), formula=special.erfc, bounds=(-4, 9)),
    case("erfcx", (5, 40), formula=special.erfcx, bounds=(-2, 9)),
    case("ndtr", (5, 40), formula=special.ndtr, bounds=(-9, 5)),
    case("log_ndtr", S, formula=special.log_ndtr, bounds=(-9, 3)),
    case("log", S, formula=np.log, bounds=POSITIVE),
    case("log2", S, formula=lambda x: np.log(x) / np.log(2), bounds=POSITIVE),
    case("log10", S, formula=lambda x: np.log(x) / np.log(10), bounds=POSITIVE),
    case("log1p", S, formula=np.log1p, bounds=POSITIVE),
    case("sqrt", S, formula=lambda x: x**0.5, bounds=POSITIVE),
    case("rsqrt", S, formula=lambda x: x**-0.5, bounds=POSITIVE),
    case("lgamma", S, formula=special.gammaln, bounds=POSITIVE),
    case("digamma", S, formula=special.digamma, bounds=POSITIVE),
    case("arcsin", S, formula=np.arcsin, bounds=INNER),
    case("arccos", S, formula=lambda x: np.pi / 2 - np.arcsin(x), bounds=INNER),
    case("arctanh", S, formula=lambda x: np.log((1 + x) / (1 - x)) / 2, bounds=INNER),
    case("erfinv", S, formula=special.erfinv, bounds=INNER),
    case("erfcinv", S, formula=special.erfcinv, bounds=(0.1, 1.9)),
    case("ndtri", S, formula=special.ndtri, bounds=(0.05, 0.95)),
    case("arctan2", S, (3,), formula=lambda y, x: np.angle(x + 1j * y).astype(x.dtype)),
    case("maximum", S, (3,), formula=lambda x, y: np.where(x > y, x, y)),
    case("minimum", S, (2, 1), formula=lambda x, y: np.where(x < y, x, y)),
    case("fmod", S, (3,), formula=lambda x, y: x - y * np.trunc(x / y)),
    case("squared_difference", S, (3,), formula=lambda x, y: (x - y) ** 2),
    case("linear_interpolate", S, S, S, formula=lambda p, x, y: y + p * (x - y)),
    case("clip", S, formula=lambda x: np.clip(x, -0.5, 0.7), x_min=-0.5, x_max=0.7),
    case("clip", S, formula=lambda x: np.minimum(x, 0.7), x_min=None, x_max=0.7),
    case("add", S, (3,), (2, 1), formula=lambda x, y, z: x + y + z),
    case("add", S, formula=lambda x: x),
    case("polygamma", np.array([1, 2, 0]), S, formula=special.polygamma, bounds=POSITIVE),
    Case("zeta", lambda q: F.zeta(q + 1.5, q), (S,), lambda q: special.zeta(q + 1.5, q).astype(q.dtype), POSITIVE),
]

T = (2, 3, 4)
REDUCTIONS = (
    [
        Case(
            name,
            lambda x, name=name, axis=axis, keep=keep: getattr(F, name)(x, axis=axis, keepdims=keep),
            (T,),
            lambda x, f=f, axis=axis, keep=keep: f(x, axis=axis, keepdims=keep),
            note=f"{axis}{keep}",
        )
        for name, f in (
            ("sum", np.sum),
            ("max", np.max),
            ("min", np.min),
            ("prod", np.prod),
            ("average", np.mean),
            ("mean", np.mean),
        )
        for axis, keep in ((None, False), (None, True), (1, False), (-1, True), ((0, 2), False), ((-1, 0), True), ((), False))
    ]
    + [
        Case(
            name,
            lambda x, name=name, axis=axis: getattr(F, name)(x, axis),
            (T,),
            lambda x, f=f, axis=axis: f(x, axis),
            note=str(axis),
        )
        for name, f in (("argmax", np.argmax), ("argmin", np.argmin))
        for axis in (None, 0, -1)
    ]
    + [
        Case(
            "logsumexp",
            lambda x, axis=axis: F.logsumexp(x, axis),
            (T,),
            lambda x, axis=axis: np.log(np.exp(x).sum(axis)),
            note=str(axis),
        )
        for axis in (None, 1, (0, -1))
    ]
    + [
        Case(
            name,
            lambda x, name=name, axis=axis: getattr(F, name)(x, axis),
            (T,),
            lambda x, f=f, axis=axis: loop_scan(x if axis is not None else x.ravel(), axis or 0, f),
            note=str(axis),
        )
        for name, f in (("cumsum", np.add), ("cumprod", np.multiply))
        for axis in (None, 0, 1, -1)
    ]
    + [
        Case("average", lambda x, w: F.average(x, 1, w), (T, (3,)), lambda x, w: np.average(x, 1, w), (0.5, 2)),
        Case("average", lambda x, w: F.average(x, -2, w, True), (T, (3,)), lambda x, w: np.average(x, 1, w)[:, None], (0.5, 2)),
        Case("average", lambda x, w: F.average(x, weights=w), (T, T), lambda x, w: np.average(x, weights=w), (0.5, 2)),
        case("sum_to", T, formula=lambda x: x.sum((0, 2))[:, None], shape=(3, 1)),
        case("sum_to", T, formula=lambda x: x, shape=T),
        case("batch_l2_norm_squared", T, formula=lambda x: np.array([np.linalg.norm(r) ** 2 for r in x])),
        case("bias", T, (3,), formula=lambda x, y: x + y[None, :, None]),
        case("bias", T, (2, 3), axis=0, formula=lambda x, y: x + y[:, :, None]),
        case("scale", T, (3, 4), formula=lambda x, y: x * y),
        case("scale", T, (4,), axis=2, formula=lambda x, y: x * y),
        case("scale", T, (1,), formula=lambda x, y: x * y, note="number"),
        case("bias", T, (1, 3), axis=0, formula=lambda x, y: x + y[:, :, None], note="rows"),
    ]
)

PRODUCTS = [
    case("matmul", (2, 3), (3, 4), formula=np.dot),
    case("matmul", (3, 2), (3, 4), transa=True, formula=lambda a, b: a.T @ b),
    case("matmul", (5, 2, 3), (5, 4, 3), transb=True, formula=lambda a, b: np.einsum("bij,bkj->bik", a, b)),
    case("matmul", (3, 2), (4, 3), transa=True, transb=True, formula=lambda a, b: (b @ a).T),
    case("matmul", (3,), (3,), formula=np.dot),
    case("matmul", (2, 3), (3,), formula=np.dot),
    case("matmul", (3,), (5, 3, 2), formula=lambda a, b: np.einsum("i,bij->bj", a, b)),
    case("matmul", (2, 1, 2, 3), (5, 3, 4), formula=lambda a, b: np.einsum("xyij,bjk->xbik", a, b)),
    Case("batch_matmul", batch_matmul, ((5, 2, 3), (5, 3)), lambda a, b: np.einsum("bij,bj->bi", a, b)[:, :, None]),
    Case(
        "batch_matmul",
        lambda a, b: batch_matmul(a, b, transa=True),
        ((5, 3, 2), (5, 3, 4)),
        lambda a, b: np.einsum("bji,bjk->bik", a, b),
    ),
    case("tensordot", T, (3, 4, 5), formula=lambda a, b: np.einsum("ijk,jkl->il", a, b)),
    case("tensordot", T, (4, 5), axes=1, formula=lambda a, b: np.einsum("ijk,kl->ijl", a, b)),
    case("tensordot", T, (3, 5), axes=(1, 0), formula=lambda a, b: np.einsum("ijk,jl->ikl", a, b)),
    case("tensordot", T, (4, 2, 5), axes=((0, -1), (1, 0)), formula=lambda a, b: np.einsum("ijk,kil->jl", a, b)),
    case("tensordot", (2,), (3,), axes=0, formula=np.outer),
    *[
        Case("einsum", lambda *xs, s=s: F.einsum(s, *xs), shapes, lambda *xs, s=s: np.einsum(s, *xs), note=s)
        for s, *shapes in (
            ("ij,jk->ik", (2, 3), (3, 4)),
            (",ij->i", (), (3, 4)),
            ("ij,jk", (2, 3), (3, 4)),
            ("ii", (3, 3)),
            ("ii->i", (3, 3)),
            ("j,iij", (3,), (2, 2, 3)),
            ("...ij,...jk->...ik", (2, 1, 2, 3), (2, 1, 3, 4)),
            ("i...j,jk...->k...i", (4, 2, 3), (3, 5, 2)),
            ("ii...,...jj", (2, 2, 4), (4, 3, 3)),
            ("...i,i", (2, 2, 3), (3,)),
            ("ij,jk,kl->il", (5, 2), (2, 3), (3, 4)),
        )
    ],
    Case("einsum", lambda a, b: F.einsum(a, [0, 1], b, [1, 2], [2, 0]), ((2, 3), (3, 4)), lambda a, b: (a @ b).T),
    Case("einsum", lambda a, b: F.einsum(a, [Ellipsis, 0], b, [0]), ((2, 3), (3,)), lambda a, b: a @ b, note="ellipsis"),
    Case("inv", lambda a: F.matmul(F.inv(a), a), ((3, 3),), lambda a: np.eye(3), (0.5, 3)),
    Case("batch_inv", lambda a: F.matmul(F.batch_inv(a), a), ((2, 3, 3),), lambda a: np.stack([np.eye(3)] * 2), (0.5, 3)),
    case("det", (3, 3), formula=lambda a: np.dot(a[0], np.cross(a[1], a[2]))),
    case("batch_det", (2, 3, 3), formula=lambda a: np.array([np.dot(m[0], np.cross(m[1], m[2])) for m in a])),
    Case(
        "cholesky",
        lambda a: F.cholesky(F.matmul(a, a, transb=True) + 3 * np.eye(3, dtype=a.dtype)),
        ((3, 3),),
        lambda a: scipy.linalg.cholesky(spd(a), lower=True),
    ),
    Case(
        "fft",
        lambda a, b: F.fft((a, b)),
        ((2, 5), (2, 5)),
        lambda a, b: (fourier(a + 1j * b, -1).real, fourier(a + 1j * b, -1).imag),
    ),
    Case(
        "ifft",
        lambda a, b: F.ifft((a, b)),
        ((2, 5), (2, 5)),
        lambda a, b: (fourier(a + 1j * b, 1).real / 5, fourier(a + 1j * b, 1).imag / 5),
    ),
]


def fourier(x, sign):
    n = x.shape[-1]
    k = np.arange(n)
    return x @ np.exp(sign * 2j * np.pi * k[:, None] * k / n)


CASES = ELEMENTWISE + REDUCTIONS + PRODUCTS


@pytest.mark.parametrize("c", CASES, ids=ids(CASES))
def test_values(c):
    check_values(c)


def test_every_function_has_a_case():
    assert untested(hybridnn.functions.math, CASES) == []


ONES = np.ones
ERRORS = [
    ("sum", lambda: F.sum(ONES((2, 3)), axis=2)),
    ("sum", lambda: F.sum(ONES((2, 3)), axis=(0, 0))),
    ("sum", lambda: F.sum(ONES((2, 3)), axis=[0])),
    ("sum", lambda: F.sum(ONES((2, 3)), axis=(1, "x"))),
    ("max", lambda: F.max(ONES((2, 3)), axis=(1, -1))),
    ("min", lambda: F.min(ONES(2), 1)),
    ("prod", lambda: F.prod(ONES(2), 1)),
    ("max", lambda: F.max(ONES((0, 3)))),
    ("min", lambda: F.min(ONES((0, 3)), axis=0)),
    ("argmax", lambda: F.argmax(ONES((2, 0)), axis=1)),
    ("average", lambda: F.average(ONES((2, 3)), axis=(0, -2))),
    ("average", lambda: F.average(ONES((2, 3)), (0, 1), ONES((2, 3)))),
    ("argmax", lambda: F.argmax(ONES(3), (0,))),
    ("argmin", lambda: F.argmin(ONES(3), 1)),
    ("logsumexp", lambda: F.logsumexp(ONES(3), 1)),
    ("cumsum", lambda: F.cumsum(ONES(3), 1)),
    ("cumprod", lambda: F.cumprod(ONES(3), "a")),
    ("sum_to", lambda: F.sum_to(ONES((2, 3)), (2,))),
    ("clip", lambda: F.clip(ONES(3), 1, -1)),
    ("clip", lambda: F.clip(ONES(3), None, None)),
    ("add", lambda: F.add()),
    ("linear_interpolate", lambda: F.linear_interpolate(V, V, ONES(4))),
    ("batch_l2_norm_squared", lambda: F.batch_l2_norm_squared(V)),
    ("bias", lambda: F.bias(ONES((2, 3)), ONES(2))),
    ("scale", lambda: F.scale(ONES((2, 3)), ONES(3), axis=2)),
    ("matmul", lambda: F.matmul(ONES((2, 3)), ONES((2, 3)))),
    ("matmul", lambda: F.matmul(ONES(()), ONES(3))),
    ("tensordot", lambda: F.tensordot(ONES((2, 3)), ONES((3, 2)), axes=2)),
    ("tensordot", lambda: F.tensordot(ONES((2, 3)), ONES(3), axes="ab")),
    ("tensordot", lambda: F.tensordot(ONES((2, 3)), ONES(3), axes=2)),
    ("einsum", lambda: F.einsum()),
    ("einsum", lambda: F.einsum("i,i", ONES(2), ONES(3))),
    ("einsum", lambda: F.einsum("ii", ONES((2, 3)))),
    ("einsum", lambda: F.einsum("...i,...i", ONES((2, 2)), ONES((1, 2)))),
    ("einsum", lambda: F.einsum("i,i->j", ONES(2), ONES(2))),
    ("einsum", lambda: F.einsum("i,i", ONES(2))),
    ("einsum", lambda: F.einsum("...i->i", ONES((2, 3)))),
    ("einsum", lambda: F.einsum("i1", V)),
    ("einsum", lambda: F.einsum(V, ["a"])),
    ("inv", lambda: F.inv(ONES((2, 3)))),
    ("inv", lambda: F.inv(ONES((2, 2), int))),
    ("batch_inv", lambda: F.batch_inv(ONES((2, 2)))),
    ("det", lambda: F.det(ONES((1, 2, 2)))),
    ("batch_det", lambda: F.batch_det(ONES((2, 2)))),
    ("cholesky", lambda: F.cholesky(-np.eye(2))),
    ("fft", lambda: F.fft((ONES(3), ONES(4)))),
    ("ifft", lambda: F.ifft((ONES(()), ONES(())))),
    ("maximum", lambda: F.maximum(ONES(2), ONES(3))),
]


@pytest.mark.parametrize("name, call", ERRORS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ERRORS)])
def test_errors_name_the_function(name, call):
    check_error(call, name)


def test_a_singular_matrix_is_refused_in_words():
    with pytest.raises(ValueError, match="singular"):
        F.inv(np.zeros((2, 2)))


def test_errors_of_gradient_rules_name_the_users_line():
    y = F.det(Variable(np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"at .*test_functions_math.py:\d+ in test_errors_of_gradient_rules_name_the_users_line"):
        y.backward()


def test_python_numbers_are_taken():
    assert F.exp(0.0).item() == 1.0 and F.maximum(1.0, Variable(np.array(2.0))).item() == 2.0
    assert F.mean(3.0).item() == F.sum(3.0).item() == F.max(3).item() == 3.0


def test_half_precision_means_do_not_overflow():
    x = np.full((30, 40), 6000, "float16")
    assert F.mean(x).item() == 6000 and F.mean(x).dtype == np.float16


@pytest.mark.parametrize("zeros", [(), (1,), (0, 3)])
@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_products_with_zeros_have_exact_gradients(name, zeros):
    """Each entry's derivative by its definition: the product is linear in each factor."""
    x = np.array([2.0, 3.0, -1.5, 0.5])
    x[list(zeros)] = 0
    v = Variable(x)
    y = getattr(F, name)(v)
    y.grad = g = np.arange(1.0, 1 + y.size).reshape(y.shape)
    y.backward()
    f = lambda a: float(np.sum(g * (np.cumprod(a) if name == "cumprod" else np.prod(a))))
    with_value = lambda i, value: f(np.where(np.arange(4) == i, value, x))
    np.testing.assert_allclose(v.grad, [with_value(i, 1) - with_value(i, 0) for i in range(4)], rtol=1e-12)


def test_ties_and_empty_gradients():
    x = Variable(np.array([1.0, 3.0, 3.0]))
    F.max(x).backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 1])
    a, b = Variable(np.ones(2)), Variable(np.ones(2))
    F.sum(F.maximum(a, b)).backward()
    np.testing.assert_array_equal([a.grad, b.grad], [[1, 1], [0, 0]])


def test_logsumexp_of_infinities():
    x = np.array([[-np.inf, -np.inf], [0, -np.inf], [np.inf, 0], [1000, 1000]])
    np.testing.assert_allclose(F.logsumexp(x, axis=1).array, [-np.inf, 0, np.inf, 1000 + np.log(2)])


def test_index_functions_have_no_gradient():
    x = Variable(np.ones((2, 3)))
    y = F.argmax(x, axis=1)
    y.backward()
    assert x.grad is None and y.dtype == np.int32 and not y.requires_grad


def test_special_functions_name_scipy_when_it_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(hnn.errors.BackendError, match=r"gammaln: expected SciPy"):
        F.lgamma(np.ones(2))
    assert F.erf(np.zeros(2)).array.tolist() == [0, 0]


def test_erf_in_its_ranges():
    """Against SciPy in double precision; single precision within two units of the last place."""
    x = np.concatenate([np.linspace(-28, 28, 20001), [0.46875, -0.46875, 4, -4, 0, np.inf, -np.inf, np.nan]])
    for ours, theirs in ((F.erf, special.erf), (F.erfc, special.erfc), (F.erfcx, special.erfcx)):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(ours(x).array, theirs(x), rtol=1e-13, atol=1e-300)
    single = x.astype("float32")
    np.testing.assert_allclose(F.erf(single).array, special.erf(single.astype("float64")), rtol=1.2e-7)
    assert np.signbit(F.erf(np.array([-0.0], "f")).array).all()


def test_the_tail_of_the_normal_distribution_is_exact_in_float32():
    """What rounding takes off the argument of ``erfc`` counts its square times: 1e-5 at -11."""
    x = np.linspace(-12, 6, 500, dtype="f")
    traced, want = hnn.trace(F.ndtr), special.ndtr(x.astype("d"))
    for y in (F.ndtr(x), traced(x), traced(x), traced(x)):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.array, want, rtol=2e-7)
