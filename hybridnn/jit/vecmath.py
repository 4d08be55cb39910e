"""Scalar math for kernels: numba intrinsics that LLVM vectorises (no SVML, no library calls).

Each name is `<numpy name>_f32` or `<numpy name>_f64` and may be called in nopython code that is compiled with `error_model="numpy"`.
An intrinsic emits its whole body as LLVM instructions, so a kernel pays neither numba's typing of helper functions nor a call.
`FUNCTIONS` (from `vecmath_names`) is the table of all.

A kernel file looks like this (see `pointers` for the arguments)::

    from hybridnn.jit.vecmath import exp_f32, parallel_loops, ptr_f32

    def kernel(bufs, args, lo, hi):
        x_ = ptr_f32(bufs, args, 0)
        y_ = ptr_f32(bufs, args, 2)
        for i in range(lo, hi):
            x = x_[i]
            y_[i] = exp_f32(x)
        parallel_loops()

    numba.cfunc(KERNEL_SIGNATURE, error_model="numpy", cache=True)(kernel)
"""
from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from hybridnn.jit import pointers, vecmath_basic, vecmath_bodies, vecmath_expr, vecmath_trig
from hybridnn.jit.pointers import KERNEL_SIGNATURE, parallel_loops
from hybridnn.jit.vecmath_expr import V
from hybridnn.jit.vecmath_names import FUNCTIONS, SUFFIX, Function

__all__ = ["FUNCTIONS", "KERNEL_SIGNATURE", "Function", "parallel_loops", *pointers.POINTERS, *(f.name for f in FUNCTIONS.values())]

TYPES = {"float32": types.float32, "float64": types.float64, "bool": types.boolean, "int32": types.int32, "int64": types.int64,
         "uint16": types.uint16}
DOUBLE_INSIDE = {"log2", "log10", "erfc", "arctan", "arctan2", "arcsin", "arccos"}  # their float32 versions compute in float64
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


def body_of(name: str, dtype: str):
    """The function of `vecmath_bodies`, `vecmath_basic` or `vecmath_expr` that emits `name` for `dtype`."""
    name = _ALIASES.get(name, name)
    for module in (vecmath_bodies, vecmath_trig, vecmath_basic, vecmath_expr):
        body = getattr(module, f"{name}_{SUFFIX[dtype]}", None) or getattr(module, name, None)
        if body:
            return vecmath_bodies.in_double(body) if dtype == "float32" and name in DOUBLE_INSIDE else body
    raise AssertionError(f"vecmath has no body for {name}")


for (_name, _dtype), _f in FUNCTIONS.items():
    globals()[_f.name] = define(_f.name, body_of(_name, _dtype), [_dtype] * _f.arity, _f.result)
for _dtype, _key in SUFFIX.items():
    globals()[f"fma_{_key}"] = define(f"fma_{_key}", vecmath_expr.fma, [_dtype] * 3, _dtype)
    globals()[f"where_{_key}"] = define(f"where_{_key}", vecmath_basic.where, ["bool", _dtype, _dtype], _dtype)
globals().update(pointers.POINTERS)
