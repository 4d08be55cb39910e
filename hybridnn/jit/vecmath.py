"""Scalar math for kernels: numba intrinsics that LLVM vectorises (no SVML, no library calls).

Each name is `<numpy name>_f32` or `<numpy name>_f64`, for code compiled with `error_model="numpy"`. An intrinsic emits its
whole body as LLVM instructions, so a kernel pays neither numba's typing of helper functions nor a call. The tables
`FUNCTIONS` and `POWERS` (constant exponents) are in `vecmath_names`, which imports no numba. Errors: below 2e-7 relative for
float32 (exp, log, tanh, sin: 0.8 to 1.4 units in the last place), below 1e-15 for float64; `vecmath_check` measures them.

A kernel file::

    from numba import float32
    from hybridnn.jit.vecmath import exp_f32, fma_f32, parallel_loops, ptr_f32, where_f32

    def kernel(bufs, args, lo, hi):
        x_ = ptr_f32(bufs, args, 0)
        b_ = ptr_f32(bufs, args, 2)
        y_ = ptr_f32(bufs, args, 4)
        b = b_[0]
        for i in range(lo, hi):
            x = x_[i]
            y_[i] = where_f32(x > float32(0.0), x, exp_f32(fma_f32(x, b, float32(1.5))))
        parallel_loops()

    numba.cfunc(KERNEL_SIGNATURE, error_model="numpy", cache=True)(kernel)

Rules that keep a loop vectorised:

* Take pointers by `ptr_*` before the loop, load each element once, at the top of the body, store at the end; `parallel_loops()`
  is the last statement (see `pointers` for what it promises). Then any number of pointers vectorises, in place too.
* Every literal is typed (`float32(0.5)`), every choice is `where_*` (no `if`, no `and`/`or`, no Python `min`/`max`), and
  comparisons are joined by `&`, `|`. Rounding is `floor_*`, `rint_*`; `math.*` is never called.
* Indices are `i` plus loop-invariant terms. A row-wise kernel loops over columns inside, with `row = i * columns` outside.
* A running sum is `total = reduce_add_f32(total, x)` in a block of bounded length (each lane sums its share), a running maximum
  `reduce_max_f32`; a plain `total += x` stays scalar, because the order of the additions is kept.
* A kernel that scatters or carries values through memory takes those pointers by `serial_ptr_*`.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

from numba.core import types
from numba.extending import intrinsic

from hybridnn.jit import pointers, vecmath_basic, vecmath_bodies, vecmath_expr, vecmath_power, vecmath_trig
from hybridnn.jit.pointers import KERNEL_SIGNATURE, parallel_loops
from hybridnn.jit.vecmath_expr import V
from hybridnn.jit.vecmath_names import FUNCTIONS, POWERS, SUFFIX, Function

TYPES = {"float32": types.float32, "float64": types.float64, "bool": types.boolean, "int32": types.int32, "int64": types.int64,
         "uint16": types.uint16}
KEYS = {"float32": "f32", "float64": "f64", "bool": "bool", "int32": "i32", "int64": "i64", "uint16": "u16"}
# Whose float32 versions are the float64 body with shorter polynomials, or the body as it is.
SHORTER_IN_DOUBLE = {"log2", "log10", "erfc", "arctan", "arctan2", "arcsin", "arccos", "sinh", "cosh"}
SAME_IN_DOUBLE = {"cbrt", "arcsinh", "arccosh", "arctanh"}
REDUCTIONS = ("reduce_add", "reduce_mul", "reduce_max", "reduce_min")
_ALIASES = {"absolute": "fabs"}


def define(name: str, body, arguments, result: str):
    """The numba intrinsic `name` whose instructions `body` emits; `arguments` and `result` are keys of `TYPES`."""
    signature = TYPES[result](*[TYPES[a] for a in arguments])

    def codegen(context, builder, sig, values):
        return body(*[V(builder, value) for value in values]).v

    typed = {
        1: lambda typingctx, x: (signature, codegen),
        2: lambda typingctx, x, y: (signature, codegen),
        3: lambda typingctx, x, y, z: (signature, codegen),
    }[len(arguments)]
    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


def _find(name: str, suffix: str):
    for module in (vecmath_bodies, vecmath_power, vecmath_trig, vecmath_basic, vecmath_expr):
        body = getattr(module, f"{name}_{suffix}", None) or getattr(module, name, None)
        if body:
            return body
    raise AssertionError(f"vecmath has no body for {name}_{suffix}")


def body_of(name: str, dtype: str):
    """The function that emits `name` for `dtype`, on `vecmath_expr.V` values."""
    name = _ALIASES.get(name, name)
    if dtype == "float32" and name in SHORTER_IN_DOUBLE:
        return vecmath_expr.in_double(_find(name, "f64"), key="f32d")
    if dtype == "float32" and name in SAME_IN_DOUBLE:
        return vecmath_expr.in_double(_find(name, "f64"))
    return _find(name, SUFFIX[dtype])


def fingerprint() -> str:
    """A hash of the sources that kernels' machine code is made from: part of the key of a kernel cache."""
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("vecmath*.py")), folder / "pointers.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _power_body(exponent: float):
    if exponent == int(exponent):
        return vecmath_power.integer_power(int(exponent))
    return vecmath_power.power_half if exponent > 0 else vecmath_power.power_minus_half


def _extras():
    """(name, body, arguments, result) of what is no NumPy function: selection, bit patterns, fused multiply-add, float16."""
    for dtype in TYPES:
        yield f"where_{KEYS[dtype]}", vecmath_basic.where, ("bool", dtype, dtype), dtype
    for dtype, bits in (("float32", "int32"), ("float64", "int64")):
        yield f"fma_{KEYS[dtype]}", vecmath_expr.fma, (dtype,) * 3, dtype
        yield f"bits_{KEYS[dtype]}", vecmath_expr.bits_of, (dtype,), bits
        yield f"from_bits_{KEYS[dtype]}", vecmath_expr.float_of, (bits,), dtype
        for reduction in REDUCTIONS:
            yield f"{reduction}_{KEYS[dtype]}", getattr(vecmath_basic, reduction), (dtype, dtype), dtype
    yield "f16_to_f32", vecmath_expr.f16_to_f32, ("uint16",), "float32"
    yield "f32_to_f16", vecmath_expr.f32_to_f16, ("float32",), "uint16"


def _all():
    for (name, dtype), f in FUNCTIONS.items():
        yield f.name, body_of(name, dtype), (dtype,) * f.arity, f.result
    for (exponent, dtype), f in POWERS.items():
        yield f.name, _power_body(exponent), (dtype,), f.result
    yield from _extras()


globals().update(pointers.POINTERS)
_DEFINITIONS = {name: rest for name, *rest in _all()}
__all__ = [
    "FUNCTIONS", "KERNEL_SIGNATURE", "POWERS", "Function", "fingerprint", "parallel_loops", *pointers.POINTERS, *_DEFINITIONS,
]


def __getattr__(name: str):
    """An intrinsic is made when it is first asked for: all 190 would take 50 ms."""
    if name not in _DEFINITIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = define(name, *_DEFINITIONS[name])
    return made
