"""What `vecmath` offers, without importing numba: the table that a kernel emitter queries.

`FUNCTIONS["exp", "float32"]` has the name to write in a CPU kernel (`exp_f32`), its arity, its result (`float32` or `bool`) and
the expression to write in a CUDA kernel instead: `{0}`, `{1}`, ... stand for operands, which must be names (they may be used
twice), `{T}` for the type (`float32`), and `math.*` is libdevice. `POWERS[2.0, "float32"]` is the same for `x ** constant`;
other exponents use `power`.
"""
from __future__ import annotations

from dataclasses import dataclass

SUFFIX = {"float32": "f32", "float64": "f64"}


@dataclass(frozen=True)
class Function:
    """One scalar function for one float type."""

    name: str
    arity: int
    result: str
    cuda: str


# numba's math.floor and its like return int64, which is wrong for large numbers, infinities and NaN.
_PART = "math.fmod({0}, {T}(1))"
_WHOLE = "(math.copysign({0} - " + _PART + "{more}, {0}) if abs({0}) < {T}(4503599627370496) else {0})"
_MOD = "math.fmod({0}, {1})"
_SIGNS_DIFFER = f"{_MOD} != {{T}}(0) and ({_MOD} < {{T}}(0)) != ({{1}} < {{T}}(0))"
_REMAINDER = f"({_MOD} + {{1}} if {_SIGNS_DIFFER} else math.copysign({_MOD}, {{1}}))"

_FINITE = "{0} - {0} == {T}(0)"
# {C} is a third rounded to {T}, and {D} what it lacks: a ** (C + D) = a ** C * (1 + D log a), nearly.
_CBRT = f"(math.copysign(math.pow(abs({{0}}), {{C}}) * ({{T}}(1) + {{D}} * math.log(abs({{0}}))), {{0}}) if {_FINITE} and {{0}} != {{T}}(0) else {{0}})"
THIRD = {"float32": (0.3333333432674408, -9.934107481068821e-09), "float64": (0.3333333333333333, 1.850371707708594e-17)}


def _whole(more: str) -> str:
    return _WHOLE.replace("{more}", more)


_UNARY = {
    "exp": "math.exp({0})", "expm1": "math.expm1({0})", "exp2": "math.exp2({0})",
    "log": "math.log({0})", "log1p": "math.log1p({0})", "log2": "math.log2({0})", "log10": "math.log10({0})",
    "tanh": "math.tanh({0})", "erf": "math.erf({0})", "erfc": "math.erfc({0})",
    "sigmoid": "(({T}(1) if {0} >= {T}(0) else math.exp({0})) / ({T}(1) + math.exp(-abs({0}))))",
    "softplus": "(({0} if {0} > {T}(0) or {0} != {0} else {T}(0)) + math.log1p(math.exp(-abs({0}))))",
    "sqrt": "math.sqrt({0})", "rsqrt": "({T}(1) / math.sqrt({0}))",
    "floor": _whole(f" - {{T}}({_PART} < {{T}}(0))"), "ceil": _whole(f" + {{T}}({_PART} > {{T}}(0))"), "trunc": _whole(""),
    "rint": "(math.copysign((abs({0}) + {B}) - {B}, {0}) if abs({0}) < {B} else {0})",
    "absolute": "abs({0})", "sin": "math.sin({0})", "cos": "math.cos({0})", "tan": "math.tan({0})",
    "sinh": "math.sinh({0})", "cosh": "math.cosh({0})", "arcsinh": "math.asinh({0})", "arccosh": "math.acosh({0})",
    "arctanh": "math.atanh({0})", "cbrt": _CBRT,
    "arcsin": "math.asin({0})", "arccos": "math.acos({0})", "arctan": "math.atan({0})",
    "sign": "({T}({0} > {T}(0)) - {T}({0} < {T}(0)) if {0} == {0} else {0})",
}
_BINARY = {
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})", "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "fmax": "({0} if {0} >= {1} or {1} != {1} else {1})", "fmin": "({0} if {0} <= {1} or {1} != {1} else {1})",
    "copysign": "math.copysign({0}, {1})", "arctan2": "math.atan2({0}, {1})",
    "power": "math.pow({0}, {1})", "fmod": "math.fmod({0}, {1})",
    "remainder": _REMAINDER,
    "logaddexp": "(({0} if {0} > {1} or {0} != {0} else {1}) + math.log1p(math.exp(-abs({0} - {1}))) if {0} != {1}"
                 " else {0} + {T}(0.6931471805599453))",
    "heaviside": "({T}(1) if {0} > {T}(0) else {T}(0) if {0} < {T}(0) else {1} if {0} == {T}(0) else {0})",
}
_TESTS = {
    "isnan": "({0} != {0})", "isinf": "math.isinf({0})", "isfinite": "math.isfinite({0})",
    "signbit": "(math.copysign({T}(1), {0}) < {T}(0))",
}


# x ** constant, by dtype: the suffix of the kernel function's name and the CUDA expression. 1 and 0 need none. For -inf, C's pow gives inf and 0.
_MINUS_INF = f"{{0}} < {{T}}(0) and not {_FINITE}"
_HALVES = {0.5: ("half", f"({{0}} * {{0}} if {_MINUS_INF} else math.sqrt({{0}}) + {{T}}(0))"),
           -0.5: ("minus_half", f"({{T}}(0) if {_MINUS_INF} else {{T}}(1) / (math.sqrt({{0}}) + {{T}}(0)))")}
INTEGER_POWERS = {"float32": tuple(range(-8, 0)) + tuple(range(2, 9)), "float64": (-4, -3, -2, -1, 2, 3, 4)}


def _product_cuda(base: str, n: int) -> str:
    """``base`` to the power n, n >= 1, by squaring and multiplying."""
    if n == 1:
        return base
    half = _product_cuda(base, n // 2)
    return f"({half} * {half}{f' * {base}' if n % 2 else ''})"


def _rows(group, arity, result=None):
    for dtype, suffix in SUFFIX.items():
        for name, cuda in group.items():
            third, rest = THIRD[dtype]
            text = cuda.replace("{B}", f"{{T}}({2**23 if dtype == 'float32' else 2**52})").replace("{C}", f"{{T}}({third})").replace("{D}", f"{{T}}({rest})")
            yield (name, dtype), Function(f"{name}_{suffix}", arity, result or dtype, text)


def _floor_divide_cuda() -> str:
    """From the exact remainder, rounded to the nearest whole number; a zero has the sign of the quotient, and a quotient by zero is all there is."""
    floored = f"(({{0}} - {_MOD}) / {{1}} - ({{T}}(1) if {_SIGNS_DIFFER} else {{T}}(0)))"
    nearest = f"(math.copysign((abs({floored}) + {{B}}) - {{B}}, {floored}) if abs({floored}) < {{B}} else {floored})"
    return f"({{0}} / {{1}} if {{1}} == {{T}}(0) else math.copysign({{T}}(0), {{0}} / {{1}}) if {floored} == {{T}}(0) else {nearest})"


_BINARY["floor_divide"] = _floor_divide_cuda()
FUNCTIONS: dict[tuple[str, str], Function] = {
    **dict(_rows(_UNARY, 1)), **dict(_rows(_BINARY, 2)), **dict(_rows(_TESTS, 1, "bool")),
}


def _power_rows():
    for dtype, suffix in SUFFIX.items():
        for n in INTEGER_POWERS[dtype]:
            name = f"power_{'minus_' * (n < 0)}{abs(n)}_{suffix}"
            yield (float(n), dtype), Function(name, 1, dtype, _product_cuda("{0}" if n > 0 else "({T}(1) / {0})", abs(n)))
        for exponent, (word, cuda) in _HALVES.items():
            yield (exponent, dtype), Function(f"power_{word}_{suffix}", 1, dtype, cuda)


POWERS: dict[tuple[float, str], Function] = dict(_power_rows())
