"""Elementwise bodies as scalar programs: a body runs once on symbolic scalars, under NumPy 2's dtype rules.

``trace_body`` gives a ``Program``: instructions in SSA form whose operands all have the dtype that NumPy's own inner loop would
use, so that casts are explicit and the text of a kernel needs no rules of its own. Python numbers stay weak as in NumPy 2 (NEP
50).
"""
import functools
import operator
from dataclasses import dataclass

import numpy as np

from hybridnn.errors import raised_by_signal

__all__ = ["Instr", "Program", "Unfusable", "trace_body"]

FLOATS = ("f4", "f8")
KINDS = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")

# Functions that a kernel can compute; what a name needs beyond its ufunc's dtype rule is in ``_SPECIAL``.
_NAMES = """
add subtract multiply divide negative positive power square reciprocal floor_divide remainder fmod absolute sign signbit copysign
exp expm1 exp2 log log1p log2 log10 logaddexp sqrt cbrt hypot sin cos tan arcsin arccos arctan arctan2
sinh cosh tanh arcsinh arccosh arctanh floor ceil trunc rint maximum minimum fmax fmin
less less_equal greater greater_equal equal not_equal isnan isinf isfinite heaviside
logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_xor invert erf erfc
"""
UFUNCS = frozenset(_NAMES.split())
ALIASES = {"true_divide": "divide", "abs": "absolute", "fabs": "absolute", "pow": "power", "asin": "arcsin", "acos": "arccos",
           "atan": "arctan",
           "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "bitwise_not": "invert",
           "mod": "remainder"}
SAME_RULE = {"erf": np.exp, "erfc": np.exp}      # functions that NumPy lacks, and a ufunc with their dtypes
WEAK_DTYPES = {float: np.dtype("f8"), int: np.dtype("i8"), bool: np.dtype("?")}


class Unfusable(Exception):
    """The body does something that a kernel cannot; the text says what."""


@dataclass(frozen=True, slots=True)
class Instr:
    """``fn`` of earlier instructions; ``kind`` is the result's dtype ("f4", ...). ``fn`` "arg" and "const" have a ``value``,
    "cast" has one operand.
    """
    fn: str
    args: tuple
    kind: str
    value: object = None


@dataclass(frozen=True, slots=True)
class Program:
    """Straight-line code: ``instrs`` in order, and the indices of the ``results``."""
    instrs: tuple
    results: tuple


@functools.cache
def kind_of(dtype):
    """The two-character code of a dtype that kernels know, e.g. "f4"; Unfusable otherwise."""
    kind = np.dtype(dtype).str[1:]
    if kind not in KINDS or not np.dtype(dtype).isnative:
        raise Unfusable(f"dtype {np.dtype(dtype)}")
    return kind


class _Builder:
    """Collects instructions; equal ones are the same."""

    def __init__(self):
        self.instrs, self.known = [], {}

    def emit(self, fn, args, kind, value=None):
        key = (fn, args, kind, type(value), repr(value))
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.instrs)
            self.instrs.append(Instr(fn, args, kind, value))
        return found

    def cast(self, sym, dtype):
        """Index of ``sym`` (a Sym or a Python number) in ``dtype``."""
        kind = kind_of(dtype)
        if not isinstance(sym, Sym):
            return self.emit("const", (), kind, _number(sym, dtype))
        if self.instrs[sym.index].kind == kind:
            return sym.index
        return self.emit("cast", (sym.index,), kind)


def _number(value, dtype):
    """A Python number as NumPy converts it: rounded to ``dtype`` and back."""
    if isinstance(value, complex):
        raise Unfusable("a complex number")
    with np.errstate(all="ignore"):
        try:
            return np.asarray(value, dtype).item()
        except OverflowError as error:
            raise Unfusable(str(error)) from error


def _resolve(name, operands):
    """The dtypes of the ufunc's inner loop: operands, then result."""
    ufunc = SAME_RULE.get(name) or getattr(np, name)
    dtypes = [_dtype_for_rule(x) for x in operands]
    if all(isinstance(d, type) for d in dtypes):
        dtypes = [WEAK_DTYPES[d] for d in dtypes]
    return _resolve_cached(ufunc, tuple(dtypes))


@functools.lru_cache(4096)
def _resolve_cached(ufunc, dtypes):
    try:
        return ufunc.resolve_dtypes((*dtypes, *[None] * ufunc.nout))
    except TypeError as error:
        raise Unfusable(str(error)) from error


def _dtype_for_rule(x):
    """A dtype, or the Python type of a weak number (bool counts as a dtype, as in NumPy)."""
    kind = x.weak or x.dtype if isinstance(x, Sym) else type(x) if not isinstance(x, np.generic) else x.dtype
    if kind is bool:
        return np.dtype("?")
    if kind is complex or not (isinstance(kind, np.dtype) or kind in WEAK_DTYPES):
        raise Unfusable(f"an operand of type {kind!r}")
    return kind


def _call(b, name, operands):
    operands = [x.item() if isinstance(x, np.generic) and x.dtype == WEAK_DTYPES.get(type(x.item())) else x for x in operands]
    *ins, out = _resolve(name, operands)
    args = tuple([b.cast(x, d) for x, d in zip(operands, ins, strict=True)])
    return Sym(b, b.emit(name, args, kind_of(out)), out)


class Sym:
    """A symbolic scalar: instruction ``index``, its NumPy dtype, and the Python type if it is a weak number."""
    __slots__ = ("b", "dtype", "index", "weak")
    __array_ufunc__ = None
    __hash__ = None
    ndim, shape, size = 0, (), 1

    def __init__(self, b, index, dtype, weak=None):
        self.b, self.index, self.dtype, self.weak = b, index, np.dtype(dtype), weak

    def astype(self, dtype, copy=True):
        return Sym(self.b, self.b.cast(self, np.dtype(dtype)), dtype)

    def __bool__(self):
        raise Unfusable("a branch on a value")

    __float__ = __int__ = __index__ = __iter__ = __len__ = __bool__

    def __neg__(self):
        return self.b_weak("negative", (self,))

    def __pos__(self):
        return self

    def __abs__(self):
        return self.b_weak("absolute", (self,))

    def __invert__(self):
        return self.b_weak("invert", (self,))

    def b_weak(self, name, operands):
        """The operation, weak if all operands are Python numbers."""
        if all((x.weak if isinstance(x, Sym) else type(x)) in (int, float, bool) for x in operands):
            return _weak(self.b, name, operands)
        return _call(self.b, name, operands)


def _weak(b, name, operands):
    """Python arithmetic on weak numbers: float if one is, or at a division; comparisons give a bool."""
    types = [x.weak if isinstance(x, Sym) else type(x) for x in operands]
    result = _call(b, name, operands)
    if name in _COMPARISONS:
        return Sym(b, result.index, result.dtype, bool)
    weak = float if float in types or name == "divide" else int
    if name in ("power", "floor_divide", "remainder"):
        raise Unfusable(f"{name} of two Python numbers")
    return Sym(b, b.cast(result, WEAK_DTYPES[weak]), WEAK_DTYPES[weak], weak)


_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def _binary(name, swap=False):
    def method(self, other):
        return self.b_weak(name, (other, self) if swap else (self, other))
    return method


_ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
               "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}
for _python, _name in _ARITHMETIC.items():
    setattr(Sym, f"__{_python}__", _binary(_name))
    setattr(Sym, f"__r{_python}__", _binary(_name, swap=True))
for _python, _name in dict(lt="less", le="less_equal", gt="greater", ge="greater_equal", eq="equal", ne="not_equal").items():
    setattr(Sym, f"__{_python}__", _binary(_name))


class _Module:
    """What a body sees as ``xp``."""

    def __init__(self, b):
        self.b = b

    def __getattr__(self, name):
        name = ALIASES.get(name, name)
        if name in UFUNCS:
            return functools.partial(self._ufunc, name)
        if name in _SPECIAL:
            return functools.partial(_SPECIAL[name], self.b)
        value = getattr(np, name, None)
        if isinstance(value, (float, int, type)) and not callable(value) or isinstance(value, type) and issubclass(value,
                                                                                                                   np.generic):
            return value
        raise Unfusable(f"xp.{name}")

    def _ufunc(self, name, *operands, **options):
        if options:
            raise Unfusable(f"xp.{name} with {', '.join(options)}")
        if not any(isinstance(x, Sym) for x in operands) and name not in SAME_RULE:
            return getattr(np, name)(*operands)
        return _call(self.b, name, operands)


def _where(b, condition, x, y):
    types = [_dtype_for_rule(v) for v in (x, y)]
    dtype = np.result_type(*[t(0) if isinstance(t, type) else t for t in types])
    if all(isinstance(t, type) for t in types):
        dtype = np.result_type(*[WEAK_DTYPES[t] for t in types])
    args = (b.cast(condition, np.dtype("?")), b.cast(x, dtype), b.cast(y, dtype))
    return Sym(b, b.emit("where", args, kind_of(dtype)), dtype)


def _clip(b, x, low=None, high=None):
    if low is not None:
        x = _call(b, "maximum", (x, low))
    return x if high is None else _call(b, "minimum", (x, high))


def _zeros_like(b, x):
    return Sym(b, b.cast(0, x.dtype), x.dtype)


def _ones_like(b, x):
    return Sym(b, b.cast(1, x.dtype), x.dtype)


def _asarray(b, x, dtype=None):
    return x if dtype is None else x.astype(dtype)


_SPECIAL = {"where": _where, "clip": _clip, "zeros_like": _zeros_like, "ones_like": _ones_like, "asarray": _asarray}


def trace_body(forward, operands, attrs, multi=False):
    """Run ``forward(xp, *operands, **attrs)`` on symbols.

    ``operands`` holds per operand a dtype, a Python type (a weak number given at run time) or a Python number (a constant).
    Instruction "arg" number k stands for operand k; results come in the dtypes that NumPy gives. Raises ``Unfusable``.
    """
    b = _Builder()
    symbols = [_operand(b, k, x) for k, x in enumerate(operands)]
    try:
        result = forward(_Module(b), *symbols, **attrs)
    except Unfusable:
        raise
    except Exception as error:
        if raised_by_signal(error):
            raise
        raise Unfusable(f"{type(error).__name__}: {error}") from error
    results = result if multi else (result,)
    indices = tuple([b.cast(r, r.dtype if isinstance(r, Sym) else np.asarray(r).dtype) for r in results])
    return Program(tuple(b.instrs), indices)


def _operand(b, k, x):
    if isinstance(x, type):
        if x not in WEAK_DTYPES:
            raise Unfusable(f"a number of type {x.__name__}")
        return Sym(b, b.emit("arg", (), kind_of(WEAK_DTYPES[x]), k), WEAK_DTYPES[x], x)
    if isinstance(x, np.dtype):
        return Sym(b, b.emit("arg", (), kind_of(x), k), x)
    return operator.pos(x) if not isinstance(x, bool) else x
