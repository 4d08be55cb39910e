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
    "arctanh": "math.atanh({0})", "cbrt": "math.copysign(math.pow(abs({0}), {T}(1) / {T}(3)), {0})",
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


# x ** constant, by dtype: the suffix of the kernel function's name and the CUDA expression. 1 and 0 need none.
_HALVES = {0.5: ("half", "math.pow({0}, {T}(0.5))"), -0.5: ("minus_half", "math.pow({0}, {T}(-0.5))")}
INTEGER_POWERS = {"float32": tuple(range(-8, 0)) + tuple(range(2, 9)), "float64": (-4, -3, -2, -1, 2, 3, 4)}


def _rows(group, arity, result=None):
    for dtype, suffix in SUFFIX.items():
        for name, cuda in group.items():
            text = cuda.replace("{B}", f"{{T}}({2**23 if dtype == 'float32' else 2**52})")
            yield (name, dtype), Function(f"{name}_{suffix}", arity, result or dtype, text)


def _floor_divide_cuda() -> str:
    quotient = f"(({{0}} - {_REMAINDER}) / {{1}})"
    return f"(math.copysign((abs({quotient}) + {{B}}) - {{B}}, {quotient}) if abs({quotient}) < {{B}} else {quotient})"


_BINARY["floor_divide"] = _floor_divide_cuda()
FUNCTIONS: dict[tuple[str, str], Function] = {
    **dict(_rows(_UNARY, 1)), **dict(_rows(_BINARY, 2)), **dict(_rows(_TESTS, 1, "bool")),
}


def _power_rows():
    for dtype, suffix in SUFFIX.items():
        for n in INTEGER_POWERS[dtype]:
            name = f"power_{'minus_' * (n < 0)}{abs(n)}_{suffix}"
            yield (float(n), dtype), Function(name, 1, dtype, f"math.pow({{0}}, {{T}}({n}))")
        for exponent, (word, cuda) in _HALVES.items():
            yield (exponent, dtype), Function(f"power_{word}_{suffix}", 1, dtype, cuda)


POWERS: dict[tuple[float, str], Function] = dict(_power_rows())
