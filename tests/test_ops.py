"""What the declaration of an operation promises, for every operation in the registry and every sample it gives.

Nothing here names an operation: the list, the operands and the gradients to check come from the declarations.
"""
import importlib
import inspect
import pkgutil
import zlib

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions
import hybridnn.ops
from hybridnn.core import OPS, Variable, apply

for _package in (hybridnn.ops, hybridnn.functions):
    for _info in pkgutil.iter_modules(_package.__path__, _package.__name__ + "."):
        importlib.import_module(_info.name)
for _name in ("hybridnn.optimizers", "hybridnn.optimizer_hooks", "hybridnn.links"):
    importlib.import_module(_name)

ALL = sorted(name for name, op in OPS.items() if op.forward.__module__.startswith("hybridnn."))
ELEMENTWISE = [name for name in ALL if OPS[name].kind == "elementwise"]
DIFFERENTIABLE = [name for name in ALL if OPS[name].rules]
COARSE = [name for name in ALL if OPS[name].decompose]
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -0.25])


def generator(op):
    return np.random.default_rng(zlib.crc32(op.name.encode()))


def samples(op, dtype="float64"):
    """The declared samples, or operands drawn from the domain, the last one of a shape that broadcasts."""
    rng = generator(op)
    if op.samples is not None:
        return list(op.samples(rng, np.dtype(dtype)))
    low, high = op.domain
    shapes = [(2, 3)] * len(op.params)
    if len(shapes) > 1:
        shapes[-1] = (3,)
    return [(tuple(rng.uniform(low, high, s).astype(dtype) for s in shapes), {})]


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def several(y):
    return y if isinstance(y, tuple) else (y,)


def values(op, operands, attrs):
    return several(op.run(operands, attrs))


# ------------------------------------------------------------------------------------------------------------------ samples

@pytest.mark.parametrize("name", ALL)
def test_it_has_a_docstring_and_samples(name):
    op = OPS[name]
    assert op.__doc__
    assert op.samples is not None or op.domain is not None, f"{name} declares neither samples nor a domain"
    assert samples(op)
    for _, attrs in samples(op):
        hash(tuple(attrs.items()))


@pytest.mark.parametrize("name", ALL)
def test_values_are_finite_and_of_the_operands_dtype(name):
    """float32 and float16 agree with float64 within their precision, and results keep the operands' dtype."""
    op = OPS[name]
    for dtype, tolerance in (("float64", 0), ("float32", 1e-4), ("float16", 3e-2)):
        for (operands, attrs), (exact, _) in zip(samples(op, dtype), samples(op), strict=True):
            floats = [x for x in operands if is_float(x)]
            for y, reference in zip(values(op, operands, attrs), values(op, exact, attrs), strict=True):
                assert type(y) is np.ndarray and np.isfinite(y).all()
                if y.dtype.kind == "f" and floats and "dtype" not in attrs:
                    assert y.dtype in dtypes_allowed(op, {x.dtype for x in floats})
                if y.dtype.kind == "f":
                    scale = 1 + np.abs(reference).max(initial=0)
                    np.testing.assert_allclose(y, reference, rtol=tolerance, atol=tolerance * scale)
                else:
                    np.testing.assert_array_equal(y, reference)


def dtypes_allowed(op, dtypes):
    """The operands' own; what is no elementwise function may also answer half precision with the float32 that it sums in."""
    return dtypes if op.kind == "elementwise" else dtypes | {np.dtype("float32")} if np.dtype("float16") in dtypes else dtypes


@pytest.mark.parametrize("name", ALL)
def test_operands_are_left_alone(name):
    op = OPS[name]
    for operands, attrs in samples(op):
        before = [np.array(x, copy=True) for x in operands]
        values(op, operands, attrs)
        for x, old in zip(operands, before, strict=True):
            np.testing.assert_array_equal(x, old)


# --------------------------------------------------------------------------------------------------------- elementwise shapes

def reshaped(op, shapes):
    """A sample with its arrays' contents cut or repeated to other shapes; ``shapes`` cycles over the arrays."""
    operands, attrs = samples(op, "float32")[0]
    shapes = iter(shapes * len(operands))
    return tuple(np.resize(x, next(shapes)) if isinstance(x, np.ndarray) else x for x in operands), attrs


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_edge_shapes(name):
    """Empty, zero-dimensional and broadcast operands give the broadcast shape, and the same dtype as ever."""
    op = OPS[name]
    dtypes = [y.dtype for y in values(op, *samples(op, "float32")[0])]
    broadcasts = [[(2, 1), (3,)], [(4, 1, 2), (1, 5, 1)], [(3,), ()]] if op.rules or op.fast else []
    for shapes in ([(0, 3)], [()], *broadcasts):
        operands, attrs = reshaped(op, shapes)
        expected = np.broadcast_shapes(*[np.shape(x) for x in operands])
        ys = several(apply(op, operands, attrs))
        assert [(y.shape, y.dtype) for y in ys] == [(expected, d) for d in dtypes]
        assert all(type(y.array) is np.ndarray for y in ys)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if OPS[n].fast is not None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fast_path_equals_the_body(name, dtype):
    """Also for NaN, infinities and signed zeros, bit for bit, and for integers."""
    op = OPS[name]
    x = SPECIAL.astype(dtype)
    n = len(op.params)
    with np.errstate(all="ignore"):
        grid = [np.ravel(a) for a in np.meshgrid(*[x] * n)]
        fast, body = np.asarray(op.fast(*grid)), np.asarray(op.forward(np, *grid))
    assert fast.dtype == body.dtype
    np.testing.assert_array_equal(fast, body)
    if fast.dtype.kind == "f":
        numbers = ~np.isnan(fast)
        np.testing.assert_array_equal(np.signbit(fast)[numbers], np.signbit(body)[numbers])


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if OPS[n].fast is not None])
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8"])
def test_the_fast_path_has_the_bodys_dtype_for_integers_and_bools(name, dtype):
    op = OPS[name]
    operands = [np.array([0, 1, 1, 0]).astype(dtype)] * len(op.params)
    try:
        with np.errstate(all="ignore"):
            fast = op.fast(*operands)
    except (TypeError, ValueError):
        return
    with np.errstate(all="ignore"):
        body = op.forward(np, *operands)
    assert fast.dtype == body.dtype
    np.testing.assert_array_equal(fast, body)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if OPS[n].rules])
def test_nan_goes_through(name):
    """Where an operand that has a gradient is NaN, so is the result, unless the result does not depend on that operand there."""
    op = OPS[name]
    operands, attrs = samples(op)[0]
    for i, x in enumerate(operands):
        if not is_float(x) or gradients(op, operands, attrs)[1][i] is None:
            continue
        dirty = tuple(np.full_like(x, np.nan) if j == i else o for j, o in enumerate(operands))
        for y, g in zip(values(op, dirty, attrs), values(op, operands, attrs), strict=True):
            changed = perturbed(op, operands, attrs, i)
            assert np.isnan(y)[changed].all() and changed.any() and y.shape == g.shape


def perturbed(op, operands, attrs, i):
    """Where the (first) result depends on operand i."""
    moved = tuple(o + 1e-3 if j == i else o for j, o in enumerate(operands))
    return values(op, moved, attrs)[0] != values(op, operands, attrs)[0]


# ------------------------------------------------------------------------------------------------------------------ gradients

STEP = 1e-5


def gradients(op, operands, attrs, seeds=None):
    """(results, gradients by operand, variables by operand, seeds): floats are Variables; everything is differentiable again."""
    variables = [Variable(x.copy()) if is_float(x) else x for x in operands]
    ys = [y for y in several(apply(op, variables, attrs)) if y.dtype.kind == "f"]
    rng = generator(op)
    seeds = seeds or [Variable(rng.normal(size=y.shape).astype(y.dtype)) for y in ys]
    wanted = [v for v in variables if isinstance(v, Variable)]
    found = iter(hnn.grad(ys, wanted, seeds, enable_double_backprop=True))
    return ys, [next(found) if isinstance(v, Variable) else None for v in variables], variables, seeds


def directions(op, arrays):
    """A random direction for each array; symmetric matrices where the operation wants those."""
    rng = generator(op)
    rng.normal(size=1000)
    drawn = [np.asarray(rng.normal(size=x.shape)) for x in arrays]
    return [d + d.swapaxes(-1, -2) for d in drawn] if op.meta.get("symmetric") else drawn


def slope(function, arrays, along):
    """Central difference of a scalar function of arrays along a direction."""
    ends = [function([np.asarray(x + sign * STEP * d) for x, d in zip(arrays, along, strict=True)]) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * STEP)


def inner(us, vs):
    return sum(float(np.vdot(u, v)) for u, v in zip(us, vs, strict=True) if u is not None)


def arrays_of(variables):
    return [None if v is None else v.array for v in variables]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_gradient(name):
    """Along a random direction, the projection of the results on random numbers changes as the gradient says."""
    op = OPS[name]
    for operands, attrs in samples(op):
        ys, gs, variables, seeds = gradients(op, operands, attrs)
        assert any(g is not None for g in gs), f"{name} has rules but no operand got a gradient"
        assert all(g is None or (g.shape, g.dtype) == (v.shape, v.dtype) for g, v in zip(gs, variables, strict=True))
        if "surrogate" in op.meta:
            assert_surrogate(op, gs, seeds)
            continue
        at = [i for i, g in enumerate(gs) if g is not None]
        along = directions(op, [operands[i] for i in at])
        outputs = [y.dtype.kind == "f" for y in values(op, operands, attrs)]

        def projection(moved, operands=operands, attrs=attrs, at=at, seeds=seeds, outputs=outputs):
            replaced = list(operands)
            for i, x in zip(at, moved, strict=True):
                replaced[i] = x
            ys = [y for y, keep in zip(values(op, replaced, attrs), outputs, strict=True) if keep]
            return inner(ys, arrays_of(seeds))
        numeric = slope(projection, [operands[i] for i in at], along)
        assert inner([gs[i].array for i in at], along) == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def assert_surrogate(op, gs, seeds):
    """An operation whose gradient is declared to be another function's: only the identity's so far."""
    assert op.meta["surrogate"] == "identity"
    np.testing.assert_array_equal(gs[0].array, seeds[0].array)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_gradient(name):
    """The same for the gradient as a function of the operands and of the results' gradients."""
    op = OPS[name]
    for operands, attrs in samples(op):
        _, gs, variables, seeds = gradients(op, operands, attrs)
        at = [i for i, g in enumerate(gs) if g is not None]
        inputs = [variables[i] for i in at] + seeds
        weights = directions(op, [gs[i] for i in at])
        second = hnn.grad([gs[i] for i in at], inputs, [Variable(w) for w in weights])
        along = directions(op, inputs[:len(at)]) + [np.asarray(np.random.normal(size=s.shape)) for s in seeds]

        def projection(moved, operands=operands, attrs=attrs, at=at, weights=weights):
            replaced = list(operands)
            for i, x in zip(at, moved, strict=False):
                replaced[i] = x
            gs = gradients(op, replaced, attrs, [Variable(m) for m in moved[len(at):]])[1]
            return inner([gs[i].array for i in at], weights)
        numeric = slope(projection, arrays_of(inputs), along)
        assert inner(arrays_of(second), along) == pytest.approx(numeric, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_on_raw_arrays_equal_those_on_variables(name, dtype):
    op = OPS[name]
    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for operands, attrs in samples(op, dtype):
        ys, expected, _, seeds = gradients(op, operands, attrs)
        variables = [Variable(x.copy()) if is_float(x) else x for x in operands]
        ys = [y for y in several(apply(op, variables, attrs)) if y.dtype.kind == "f"]
        for y, s in zip(ys, seeds, strict=True):
            y.grad = s.array
        hnn.core.backward(ys)
        for v, g in zip(variables, expected, strict=True):
            found = v.grad if isinstance(v, Variable) else None
            assert (found is None) == (g is None)
            if g is not None:
                assert found.dtype == v.dtype
                np.testing.assert_allclose(found, g.array, rtol=tolerance, atol=tolerance * (1 + np.abs(g.array).max(initial=0)))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_only_what_the_rules_name_is_kept(name):
    op = OPS[name]
    operands, attrs = samples(op)[0]
    for subset in ([i for i, x in enumerate(operands) if is_float(x)], *[[i] for i, x in enumerate(operands) if is_float(x)]):
        variables = [Variable(x) if i in subset else x for i, x in enumerate(operands)]
        ys = several(apply(op, variables, attrs))
        node = ys[0]._tape.owner or ys[0]._tape
        rules = [rule for rule, targets in op.rules if targets is None or set(targets) & set(subset)]
        named = {p for rule in rules for p in inspect.signature(rule).parameters}
        named_operands = [i for i, p in enumerate(op.params[:len(operands)]) if p in named - {"g", "gs"}]
        positions = range(len(operands)) if "xs" in named else named_operands
        assert [id(x) for x in node.saved or ()] == [id(operands[i]) for i in positions]
        assert (node.out is not None) == bool(named & {"y", "ys"} - set(op.params))       # an operand called y is not the output


@pytest.mark.parametrize("name", COARSE)
def test_the_decomposition_is_the_same_function(name):
    """Values and gradients of a coarse operation and of the finer ones that a trace puts in its place."""
    op = OPS[name]
    for operands, attrs in samples(op):
        fine = [Variable(x.copy()) if is_float(x) else x for x in operands]
        ys = several(op.decompose(*fine, **attrs))
        coarse, gs, _, seeds = gradients(op, operands, attrs)
        for y, x in zip(ys, values(op, operands, attrs), strict=True):
            assert (y.shape, y.dtype) == (x.shape, x.dtype)
            np.testing.assert_allclose(getattr(y, "array", y), x, rtol=1e-12, atol=1e-12)
        if not op.rules:
            continue
        ys = [y for y in ys if y.dtype.kind == "f"]
        for g, found in zip(gs, grads_of(ys, fine, seeds), strict=True):
            assert (g is None) <= (found is None)
            if g is not None:
                np.testing.assert_allclose(found.array, g.array, rtol=1e-10, atol=1e-10)


def grads_of(ys, operands, seeds):
    found = iter(hnn.grad(ys, [v for v in operands if isinstance(v, Variable)], seeds))
    return [next(found) if isinstance(v, Variable) else None for v in operands]
