"""Which instructions stand behind each name of ``vecmath``: the part that needs no numba."""
from __future__ import annotations

from hybridnn.jit import vecmath_basic, vecmath_bodies, vecmath_expr, vecmath_power, vecmath_trig
from hybridnn.jit.vecmath_names import FUNCTIONS, POWERS, SUFFIX

__all__ = ["DEFINITIONS", "KEYS", "body_of"]

KEYS = {"float32": "f32", "float64": "f64", "bool": "bool", "int32": "i32", "int64": "i64", "uint16": "u16"}
# Whose float32 versions are the float64 body with shorter polynomials, or the body as it is.
SHORTER_IN_DOUBLE = {"erfc", "arctan", "arctan2", "arcsin", "arccos", "sinh", "cosh"}
SAME_IN_DOUBLE = {"cbrt", "arcsinh", "arccosh", "arctanh"}
REDUCTIONS = ("reduce_add", "reduce_mul", "reduce_max", "reduce_min")
_ALIASES = {"absolute": "fabs"}


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


def _power_body(exponent: float):
    if exponent == int(exponent):
        return vecmath_power.integer_power(int(exponent))
    return vecmath_power.power_half if exponent > 0 else vecmath_power.power_minus_half


def _extras():
    """(name, body, arguments, result) of what is no NumPy function: selection, bit patterns, fused multiply-add, float16."""
    for dtype in KEYS:
        yield f"where_{KEYS[dtype]}", vecmath_basic.where, ("bool", dtype, dtype), dtype
    for dtype, bits in (("float32", "int32"), ("float64", "int64")):
        yield f"fma_{KEYS[dtype]}", vecmath_expr.fma, (dtype,) * 3, dtype
        yield f"bits_{KEYS[dtype]}", vecmath_expr.bits_of, (dtype,), bits
        yield f"from_bits_{KEYS[dtype]}", vecmath_expr.float_of, (bits,), dtype
        for reduction in (*REDUCTIONS, "larger", "smaller"):
            yield f"{reduction}_{KEYS[dtype]}", getattr(vecmath_basic, reduction), (dtype, dtype), dtype
        yield f"exp_down_{KEYS[dtype]}", vecmath_bodies.exp_down, (dtype,), dtype
        yield f"log1p_unit_{KEYS[dtype]}", vecmath_bodies.log1p_unit, (dtype,), dtype
        yield f"magnitude_{KEYS[dtype]}", vecmath_basic.magnitude, (dtype,), bits
        yield f"most_{KEYS[bits]}", vecmath_basic.most, (bits, bits), bits
        yield f"nan_if_{KEYS[dtype]}", vecmath_basic.nan_if, (bits, dtype), dtype
    yield "smallness_f32", vecmath_basic.smallness, ("float32",), "int32"
    yield "least_i32", vecmath_basic.least, ("int32", "int32"), "int32"
    yield "f16_to_f32", vecmath_expr.f16_to_f32, ("uint16",), "float32"
    yield "f32_to_f16", vecmath_expr.f32_to_f16, ("float32",), "uint16"


def _all():
    for (name, dtype), f in FUNCTIONS.items():
        yield f.name, body_of(name, dtype), (dtype,) * f.arity, f.result
    for (exponent, dtype), f in POWERS.items():
        yield f.name, _power_body(exponent), (dtype,), f.result
    yield from _extras()


# name -> (body, argument types, result type)
DEFINITIONS = {name: tuple(rest) for name, *rest in _all()}
