"""Vector math: accuracy over the whole range, NumPy's special values, and code that stayed vectorised."""

import ctypes
import math
import re
from itertools import product

import numpy as np
import pytest
from gpu_math import gpu_math

from hybridnn.jit import fpstatus, vecmath, vecmath_check
from hybridnn.jit.native import NativePlan, Step, View
from hybridnn.jit.vecmath_check import LONG, RELATIVE, compare, compile_source, kernel_of, measure, source, specials

DTYPES = ("float32", "float64")
UNARY = sorted({name for (name, dtype), f in vecmath.FUNCTIONS.items() if f.arity == 1 and f.result == dtype})
BINARY = sorted({name for (name, _), f in vecmath.FUNCTIONS.items() if f.arity == 2})
TESTS = ("isnan", "isinf", "isfinite", "signbit")
LIBRARY_CALL = re.compile(r"(?:callq?|jmpq?|movabsq)\s+\$?([A-Za-z_][\w.]*)")
PACKED = re.compile(r"^\s*v\w*(?:p[sd]|dq\w*|p\w+[bwdq])\s.*%[yz]mm", re.M)


def loop_code(assembly):
    """The assembly of the kernel itself: neither the C wrapper nor the functions for rare cases."""
    parts = re.split(r"^([A-Za-z_][\w.$]*):", assembly, flags=re.M)
    return "".join(text for label, text in zip(parts[1::2], parts[2::2]) if label.startswith("_ZN"))


def assert_vectorised(kernel):
    code = loop_code(kernel.assembly)
    assert PACKED.search(code), "no packed instruction on ymm or zmm registers"
    called = {name for name in LIBRARY_CALL.findall(code) if not name.startswith((".L", "hnn_rare_"))}
    assert not called, f"the loop calls {called}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_and_assembly_of_unary_functions(name, dtype):
    error = measure(name, dtype, 4000)
    assert not error.wrong, f"(x, got, expected): {error.wrong}"
    assert error.relative <= RELATIVE[dtype], f"{error.relative} at {error.worst}"
    assert error.ulp <= (5 if name == "erfc" else 2.5), f"{error.ulp} at {error.worst}"
    assert_vectorised(kernel_of(name, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "sinh", "cosh", "sigmoid"])
def test_accuracy_where_exponentials_become_subnormal_or_overflow(name, dtype):
    per_nat = 1 / np.log(LONG(2)) if name == "exp2" else LONG(1)
    low, high = (np.log(LONG(bound)) * per_nat for bound in (np.finfo(dtype).tiny, np.finfo(dtype).max))
    x = np.concatenate([np.linspace(low - 45, low + 2, 20_001), np.linspace(high - 1.2, high + 1, 20_001)]).astype(dtype)
    with np.errstate(all="ignore"):
        error = compare(kernel_of(name, dtype)(np.empty_like(x), x), vecmath_check.reference(name)(x.astype(LONG)), (x,))
    assert not error.wrong, f"(x, got, expected): {error.wrong}"
    assert error.relative <= RELATIVE[dtype] and error.ulp <= 2.5, error


def dense_error(name, dtype, x, exact):
    """Errors of a function of one operand, which is among the extras of ``FUNCTIONS``, too, on ``x``."""
    kernel = compile_source(source(f"{name}_{vecmath.KEYS[dtype]}", [dtype], dtype))
    assert_vectorised(kernel)
    with np.errstate(all="ignore"):
        return compare(kernel(np.empty_like(x), x), exact(x.astype(LONG)), (x,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracy_of_logarithms_of_one_and_more(dtype):
    info = np.finfo(dtype)
    x = np.concatenate([np.linspace(0, 1, 20_001), np.geomspace(info.smallest_subnormal, 1, 20_001, dtype=LONG), [np.nan]]).astype(dtype)
    unit = dense_error("log1p_unit", dtype, x, np.log1p)
    wide = np.concatenate([np.linspace(-1, 60, 40_001), 2.0 ** np.arange(-info.nmant - 3, info.nmant + 9), np.geomspace(1e5, info.max, 20_001, dtype=LONG)])
    for error in (unit, dense_error("log1p", dtype, wide.astype(dtype), np.log1p)):
        assert not error.wrong, f"(x, got, expected): {error.wrong}"
        assert error.relative <= RELATIVE[dtype] and error.ulp <= 1.5, error


def pairs(dtype):
    """All pairs of specials, random bit patterns, and moderate pairs."""
    grid = [np.array(v, dtype) for v in zip(*product(specials(dtype), repeat=2))]
    rng, count = np.random.default_rng(1), 10_000
    size = np.dtype(dtype).itemsize
    bits = rng.integers(0, 2 ** (8 * size), (2, count), dtype=f"u{size}").view(dtype)
    x = [rng.normal(size=count) * 100, np.exp(rng.uniform(-5, 5, count)), 1 + rng.normal(size=count) * 1e-3]
    y = [rng.uniform(-50, 50, count), rng.normal(size=count) * 20, rng.normal(size=count) * 1e4]
    return [np.concatenate([g, b, *(part.astype(dtype) for part in rest)]) for g, b, rest in zip(grid, bits, (x, y))]


EXACT = ("maximum", "minimum", "fmax", "fmin", "copysign", "heaviside", "fmod", "remainder", "floor_divide")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_functions(name, dtype):
    x, y = pairs(dtype)
    kernel = kernel_of(name, dtype)
    assert_vectorised(kernel)
    got = kernel(np.empty_like(x), x, y)
    with np.errstate(all="ignore"):
        if name in EXACT:
            expected = getattr(np, name)(x, y)
            np.testing.assert_array_equal(got, expected)
            # which zero fmax and fmin give for (0, -0) depends on the length of the array in NumPy
            checked = ~np.isnan(expected) & ((expected != 0) | (name not in ("fmax", "fmin")))
            np.testing.assert_array_equal(np.signbit(got)[checked], np.signbit(expected)[checked])
            return
        exact = getattr(np, name)(x.astype(LONG), y.astype(LONG))
        error = compare(got, exact, (x, y))
    assert not error.wrong, f"(x, y, got, expected): {error.wrong}"
    if name == "logaddexp":  # the result may cancel to nothing: measured against the operands
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(np.maximum(x, y)).astype(LONG), np.abs(exact))
            assert np.nanmax(np.where(np.isfinite(exact) & (size > 0), np.abs(got - exact) / size, 0)) <= 2 * RELATIVE[dtype]
        return
    assert error.relative <= RELATIVE[dtype], f"{error.relative} at {error.worst}"
    assert error.ulp <= 2.5, f"{error.ulp} at {error.worst}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TESTS)
def test_predicates(name, dtype):
    x = np.tile(specials(dtype), 5)
    kernel = kernel_of(name, dtype)
    assert_vectorised(kernel)
    np.testing.assert_array_equal(kernel(np.empty(x.shape, bool), x), getattr(np, name)(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_powers(dtype):
    x = vecmath_check.samples(dtype, 3000)
    exponents = [e for e, d in vecmath.POWERS if d == dtype]
    pointer = f"ptr_{vecmath.KEYS[dtype]}"
    text = ["def kernel(bufs, args, lo, hi):", f"    x_ = {pointer}(bufs, args, 0)"]
    text += [f"    y{k}_ = {pointer}(bufs, args, {2 * k + 2})" for k in range(len(exponents))]
    text += ["    for i in range(lo, hi):", "        x = x_[i]"]
    text += [f"        y{k}_[i] = {vecmath.POWERS[e, dtype].name}(x)" for k, e in enumerate(exponents)]
    kernel = compile_source("\n".join([*text, "    parallel_loops()", ""]))
    assert_vectorised(kernel)
    outs = np.empty((len(exponents), x.size), dtype)
    bufs = np.array([x.ctypes.data, *(row.ctypes.data for row in outs)], np.int64)
    args = np.array([[k, 0] for k in range(len(bufs))], np.int64)
    kernel.call(bufs.ctypes.data, args.ctypes.data, 0, x.size)
    for e, got in zip(exponents, outs):
        with np.errstate(all="ignore"):
            error = compare(got, np.power(x.astype(LONG), LONG(e)), (x,))
        assert not error.wrong, (e, error.wrong)
        assert error.relative <= RELATIVE[dtype], (e, error.relative, error.worst)


def test_large_arguments_are_right_in_every_lane():
    """One huge argument sends its vector through the C library and leaves the other lanes alone."""
    for name, dtype in product(("sin", "cos", "tan"), DTYPES):
        x = np.linspace(-3, 3, 67).astype(dtype)
        x[[5, 33, 66]] = [1e30, -2e12, np.inf]
        got = kernel_of(name, dtype)(np.empty_like(x), x)
        with np.errstate(invalid="ignore"):
            expected = getattr(np, name)(x.astype(LONG))
        np.testing.assert_allclose(got, expected.astype(dtype), rtol=RELATIVE[dtype])


@pytest.mark.skipif(not fpstatus.supported(), reason="floating-point flags are read on x86 only")
@pytest.mark.parametrize("dtype, low, high", [("float32", -104.5, -87.7), ("float64", -746.0, -708.8)])
@pytest.mark.parametrize("name", ["exp", "exp2"])
def test_small_exponentials_are_exact_and_need_no_help_of_the_microcode(name, dtype, low, high):
    """No operation has a subnormal result, which would raise the flag of underflow and take a hundred cycles."""
    kernel, unit = kernel_of(name, dtype), 1.0 if name == "exp" else np.log(2)
    x = np.concatenate([np.linspace(low / unit, high / unit, 5000), [-1e9, -np.inf, 1.0]]).astype(dtype)
    out, seen = np.empty_like(x), np.zeros(1, np.int64)
    step = Step(ctypes.cast(kernel.call, ctypes.c_void_p).value, np.array([0, 0, 1, 0]), 0, x.size)
    NativePlan.build([fpstatus.clear_step(), step, fpstatus.read_step(View(2, 0, (1,), (8,)))], 3).run(x, out, seen)
    assert seen[0] == 0
    with np.errstate(under="ignore"):
        expected = getattr(np, name)(x.astype(LONG)).astype(dtype)
    smallest = np.finfo(dtype).smallest_subnormal
    assert (np.abs(out - expected) <= np.maximum(smallest, expected * RELATIVE[dtype])).all()
    assert out[-3] == 0 and out[-2] == 0 and (out[:5000] > 0).any()


def optimizer_like(arrays, extra=""):
    """A kernel with many inputs and outputs, each output depending on several inputs."""
    text = ["def kernel(bufs, args, lo, hi):"] + [f"    p{k} = ptr_f32(bufs, args, {2 * k})" for k in range(arrays)]
    text += ["    for i in range(lo, hi):"] + [f"        x{k} = p{k}[i]" for k in range(arrays)]
    text += [f"        p{k}[i] = x{k} * x{(k + 1) % arrays} + x{(k + 3) % arrays}" for k in range(arrays)]
    return "\n".join([*text, extra, ""])


def test_fourteen_pointers_vectorise_without_alias_checks_and_in_place():
    kernel = compile_source(optimizer_like(14, "    parallel_loops()"))
    assert_vectorised(kernel)
    rows = np.random.default_rng(0).normal(size=(14, 1003)).astype(np.float32)
    expected = rows * np.roll(rows, -1, axis=0) + np.roll(rows, -3, axis=0)
    bufs = np.array([rows.ctypes.data], np.int64)
    args = np.array([[0, row * rows.strides[0]] for row in range(14)], np.int64)
    kernel.call(bufs.ctypes.data, args.ctypes.data, 0, 1003)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_serial_pointers_keep_the_order_of_a_recurrence():
    text = "\n".join(["def kernel(bufs, args, lo, hi):", "    p = serial_ptr_f64(bufs, args, 0)", "    for i in range(lo, hi):",
                      "        p[i] = p[i - 1] + p[i]", "    parallel_loops()", ""])
    x = np.arange(50.0)
    bufs, args = np.array([x.ctypes.data], np.int64), np.zeros(2, np.int64)
    compile_source(text).call(bufs.ctypes.data, args.ctypes.data, 1, 50)
    np.testing.assert_array_equal(x, np.cumsum(np.arange(50.0)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_vectorise(dtype):
    key = vecmath.KEYS[dtype]
    text = "\n".join([
        "def kernel(bufs, args, lo, hi):", f"    x_ = ptr_{key}(bufs, args, 0)", f"    y_ = ptr_{key}(bufs, args, 2)",
        "    total = x_[lo]", "    top = x_[lo]", "    bottom = x_[lo]", "    for i in range(lo + 1, hi):", "        x = x_[i]",
        f"        total = reduce_add_{key}(total, x)", f"        top = reduce_max_{key}(top, x)",
        f"        bottom = reduce_min_{key}(bottom, x)",
        "    y_[0] = total", "    y_[1] = top", "    y_[2] = bottom", "    parallel_loops()", ""])
    kernel = compile_source(text)
    assert_vectorised(kernel)
    x, y = np.random.default_rng(0).normal(size=1000).astype(dtype), np.empty(3, dtype)
    bufs = np.array([x.ctypes.data, y.ctypes.data], np.int64)
    args = np.array([0, 0, 1, 0], np.int64)
    kernel.call(bufs.ctypes.data, args.ctypes.data, 0, x.size)
    np.testing.assert_allclose(y, [x.sum(dtype="f8"), x.max(), x.min()], rtol=1e-5)
    x[500] = np.nan
    kernel.call(bufs.ctypes.data, args.ctypes.data, 0, x.size)
    assert np.isnan(y).all()


def test_float16_bits_selection_and_fma():
    text = "\n".join([
        "def kernel(bufs, args, lo, hi):", "    h_ = ptr_f16(bufs, args, 0)", "    g_ = ptr_f16(bufs, args, 2)",
        "    m_ = ptr_bool(bufs, args, 4)", "    n_ = ptr_i32(bufs, args, 6)", "    for i in range(lo, hi):",
        "        x = f16_to_f32(h_[i])", "        m_[i] = x > 1", "        n_[i] = bits_f32(x)",
        "        g_[i] = f32_to_f16(where_f32(x > 1, fma_f32(x, x, x), from_bits_f32(bits_f32(x))))", "    parallel_loops()", ""])
    h = np.linspace(-4, 4, 77).astype(np.float16)
    g, m, n = np.empty_like(h), np.empty(h.shape, bool), np.empty(h.shape, np.int32)
    bufs = np.array([a.ctypes.data for a in (h, g, m, n)], np.int64)
    kernel = compile_source(text)
    kernel.call(bufs.ctypes.data, np.array([[k, 0] for k in range(4)], np.int64).ctypes.data, 0, h.size)
    assert_vectorised(kernel)
    x = h.astype(np.float32)
    np.testing.assert_array_equal(m, x > 1)
    np.testing.assert_array_equal(n, x.view(np.int32))
    np.testing.assert_array_equal(g, np.where(x > 1, x * x + x, x).astype(np.float16))


@pytest.mark.parametrize(("name", "dtype"), vecmath.FUNCTIONS)
def test_cuda_expressions_mean_the_same(name, dtype):
    """The CUDA text, evaluated as Python on NumPy scalars (libdevice's own accuracy needs a GPU)."""
    f, T = vecmath.FUNCTIONS[name, dtype], np.dtype(dtype).type
    everywhere = {*EXACT, "floor", "ceil", "trunc", "rint", "sign", "absolute", "sigmoid", "softplus"}
    wide = f.result == "bool" or name in everywhere
    narrow = [1.0, 1.25] if name == "arccosh" else [0.125, 0.75]
    points = [T(v) for v in ([-7.5, -2.5, -0.25, 0.75, 3.0, 1e18] if wide else narrow)]
    text = f.cuda.replace("{T}", "T")
    for operands in product(points, repeat=f.arity):
        names = {f"x{k}": v for k, v in enumerate(operands)}
        expression = text.format(*names)
        exact_type = LONG if name in ("erf", "erfc") else dtype
        with np.errstate(all="ignore"):
            got = eval(expression, {"math": math, "T": T, "abs": abs, **names})
            expected = vecmath_check.reference(name)(*[np.array(v, exact_type) for v in operands])
        assert math.isclose(got, float(expected), rel_tol=1e-6, abs_tol=1e-30), f"{expression} at {operands}"


EXTREME = (0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 1.0, -1.0, 2.0, 7.0, -7.0, 100.25, -1e4, 8388607.5, 1e18, -1e30, np.inf, -np.inf, np.nan, 120.0, -120.0)


@pytest.mark.parametrize(("name", "dtype"), [*vecmath.FUNCTIONS, *vecmath.POWERS])
def test_cuda_expressions_at_extremes(name, dtype):
    """NaN, infinities, signed zeros, very small and very large numbers, as NumPy has them; of two zeros ``fmax`` and ``fmin`` may give either."""
    f, T, limits = (vecmath.FUNCTIONS | vecmath.POWERS)[name, dtype], np.dtype(dtype).type, np.finfo(dtype)
    text = f.cuda.replace("{T}", "T")
    extreme = [*EXTREME, limits.tiny, limits.smallest_subnormal, -limits.smallest_subnormal, limits.max, -limits.max]
    points = [np.array(p) for p in zip(*product([T(v) for v in extreme], repeat=f.arity), strict=True)]
    with np.errstate(all="ignore"):
        if isinstance(name, float):
            want = np.power(points[0], np.full(points[0].shape, name, dtype))       # an array: ``** 0.5`` of one is a root, which -inf has none of
        else:
            want = vecmath_check.reference(name)(*[p.astype(LONG) if name in ("erf", "erfc") else p for p in points])
        values = [eval(text.format(*[f"x{k}" for k in range(f.arity)]), {"math": gpu_math, "T": T, "abs": abs, **{f"x{k}": v for k, v in enumerate(vs)}})
                  for vs in zip(*points, strict=True)]
    got, want = np.array(values), np.asarray(want).astype(f.result)
    assert got.dtype == want.dtype
    if f.result == "bool":
        np.testing.assert_array_equal(got, want)
        return
    np.testing.assert_allclose(got, want, 4e-6 if dtype == "float32" else 1e-14, 4 * limits.smallest_subnormal)
    if name not in ("fmax", "fmin"):
        np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


def test_the_assembly_check_sees_scalar_code():
    """The check itself can fail: a library call in the loop is found."""
    kernel = compile_source("import math\n" + source("math.exp", ["float64"], "float64"))
    with pytest.raises(AssertionError, match=r"no packed|the loop calls"):
        assert_vectorised(kernel)
