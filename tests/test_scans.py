"""Steps along one axis, and arrays that are filled, in compiled graphs: equal to the reference interpreter bit by bit."""
import numpy as np
import pytest
from jit_graphs import compiled_natively, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.graph import run

RNG = np.random.default_rng(0)


def check(fn, *operands):
    graph = graph_of(fn, *operands)
    for got, want in zip(compiled_natively(graph)([x.copy() for x in operands]), run(graph, operands), strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def values(shape, dtype):
    x = RNG.integers(-4, 5, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[RNG.random(shape) < .05] = np.nan
        x[RNG.random(shape) < .05] = np.inf
    return x


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_of_extremes(name, dtype):
    for shape, axis in (((7,), (0,)), ((5, 6), (0,)), ((5, 6), (1,)), ((3, 4, 5), (1,)), ((3, 4, 5), None), ((300, 400), (1,))):
        check(lambda x, a=axis: OPS[name](x, axis=a), values(shape, dtype))
    check(lambda x: OPS[name](OPS["transpose"](x, axes=(2, 0, 1)), axis=(2,)), values((3, 4, 5), dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("strange", [None, "last", "two", "all"])
def test_places_of_extremes_in_vectors(name, dtype, strange):
    """Rows of less than two vectors, of few, of many and a rest, beside each other or behind; equal extremes, NaN anywhere."""
    for shape, axis in (((40, 3), 1), ((35, 15), 1), ((5, 32), 1), ((5, 64), 1), ((5, 67), 1), ((4, 1000), 1), ((9, 50), 0), ((3, 9, 50), 1), ((3, 200, 7), 1)):
        x = np.moveaxis(RNG.integers(-60, 60, shape).astype(dtype), axis, -1)
        if strange is not None and np.dtype(dtype).kind == "f":
            places = {"last": [-1], "two": [-1, x.shape[-1] // 2], "all": range(x.shape[-1])}[strange]
            x[..., list(places)] = np.nan
        check(lambda x, a=axis: OPS[name](x, axis=(a,)), np.ascontiguousarray(np.moveaxis(x, -1, axis)))
    zeros = np.array([[-0.0, 0.0] * 40, [0.0, -0.0] * 40, [-1.0, *[0.0] * 79]]).astype(dtype)
    check(lambda x: OPS[name](x, axis=(1,)), zeros)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums_products_and_recurrences(axis, reverse, dtype):
    x, b = (RNG.normal(size=(4, 5, 37)).astype(dtype) for _ in range(2))
    attrs = dict(axis=axis, reverse=reverse)
    check(lambda x, b: [OPS["cumsum"](x, **attrs), OPS["cumprod"](x, **attrs), OPS["cumsum"](x[:, 1:, ::2] * 2, **attrs)], x, b)
    graph = graph_of(lambda x, b: OPS["linear_scan"](x, b, **attrs), x, b)
    np.testing.assert_allclose(jit.compile(graph)([x, b])[0], run(graph, [x, b])[0], {"f4": 2e-6, "f8": 1e-14}[dtype], {"f4": 2e-6, "f8": 1e-14}[dtype])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_running_sums_keep_the_signs_of_zeros(dtype):
    x = np.array([[-0.0, 0.0, -0.0], [-0.0, -0.0, 1.0]], dtype)
    for axis in (0, 1):
        graph = graph_of(lambda x, axis=axis: OPS["cumsum"](x, axis=axis), x)
        got, want = compiled_natively(graph)([x])[0], x.cumsum(axis)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "i8"])
def test_running_sums_and_products_of_ints_have_numpys_dtype(dtype):
    x = (np.arange(120).reshape(4, 30) % 3).astype(dtype)
    graph = graph_of(lambda x: [OPS["cumsum"](x, axis=1), OPS["cumprod"](x, axis=0), OPS["cumsum"](x, axis=1, reverse=True)], x)
    want = [x.cumsum(1), x.cumprod(0), x[:, ::-1].cumsum(1)[:, ::-1]]
    for y, z, w in zip(jit.compile(graph)([x]), run(graph, [x]), want, strict=True):
        assert y.dtype == z.dtype == w.dtype
        assert (y == w).all() and (z == w).all()


@pytest.mark.parametrize("dtype", ["f4", "f2", "i4", "?"])
@pytest.mark.parametrize("steps", [1, -2, 4, -5, 9])
def test_shifted_padded_and_cleared(steps, dtype):
    x = values((4, 5), dtype)
    check(lambda x: [OPS["shift"](x, 1, axis=1, steps=steps), OPS["pad"](x, width=((1, 2), (0, 3)), mode="constant", options=(("constant_values", 1),)),
                     OPS["pad"](x, width=((0, 0), (2, 1)), mode="constant", options=()), OPS["zeros_for"](x, shape=(3, 2))], x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products_copies_and_rearrangements(dtype):
    x, i = RNG.uniform(.5, 1.5, (3, 4, 5)).astype(dtype), RNG.integers(0, 4, (3, 2, 5))

    def fn(x, i):
        op = OPS.__getitem__
        y = op("take_along")(x, i, axis=1)
        return [op("copy")(x), op("tile")(x, reps=(2, 1, 3, 2)), op("tile")(x, reps=(2,)), op("repeat")(x, repeats=(3,), axis=1),
                op("repeat")(x, repeats=(1, 0, 2, 1), axis=1), op("roll")(x, shift=(2, -7), axis=(1, 2)), op("roll")(x, shift=(5,), axis=(2,)), y,
                op("put_along")(y, i, shape=(3, 4, 5), axis=1), op("sum_repeated")(x, shape=(3, 2, 5), repeats=(2,), axis=1),
                op("pad_sequence")(2., x[0], x[1, :2], x[2, :1], length=5)]
    check(fn, x, i)
    graph = graph_of(lambda x: [OPS["prod"](x, axis=a, keepdims=k) for a in (None, (0,), (1,), (2,), (1, 2)) for k in (False, True)], x)
    for got, want in zip(compiled_natively(graph)([x]), run(graph, [x]), strict=True):
        np.testing.assert_allclose(got, want, {"f4": 2e-6, "f8": 1e-14}[dtype])
