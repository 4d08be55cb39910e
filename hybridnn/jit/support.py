"""What a kernel can compute, and how it is written: one expression per function and dtype, for CPU and for CUDA.

Operands are names or literals. Every literal carries its type, and every result keeps the dtype that NumPy gives it.
"""
from hybridnn.jit.scalar import Unfusable
from hybridnn.jit.vecmath_names import FUNCTIONS, POWERS

__all__ = ["NUMBA", "SUFFIX", "check_supported", "expression", "is_expensive", "literal"]

NUMBA = {"f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8",
         "u2": "uint16", "u4": "uint32",
         "u8": "uint64", "b1": "boolean"}
SUFFIX = {"f4": "f32", "f8": "f64", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64", "u1": "u8", "u2": "u16", "u4": "u32",
          "u8": "u64", "b1": "bool"}
WHERE = ("f4", "f8", "b1", "i4", "i8")
OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=", "greater": ">",
             "greater_equal": ">=",
             "equal": "==", "not_equal": "!=", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
BOOLEAN = {"add": "|", "multiply": "&", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "maximum": "|", "minimum": "&"}
LOGICAL = {"logical_and": "&", "logical_or": "|", "logical_xor": "^"}
CHEAP = frozenset({"sqrt", "absolute", "sign", "floor", "ceil", "trunc", "rint", "maximum", "minimum", "fmax", "fmin", "isnan",
                   "isinf", "isfinite",
                   "copysign", "signbit"})


def literal(value, kind):
    """A typed literal, e.g. ``float32(0.5)``."""
    if kind == "b1":
        return repr(bool(value))
    text = repr(value)
    return f"{NUMBA[kind]}({text})"


def is_expensive(items, item):
    """Whether computing one of the ``items`` of a nest, or of a structure, again costs more than storing and loading it."""
    fn, args, kind, *_ = item
    if kind not in ("f4", "f8"):
        return False
    if fn == "power":
        exponent = items[args[1]]
        return exponent.fn != "const" or exponent.value not in (0, 1, 2)
    return (fn, NUMBA[kind]) in FUNCTIONS and fn not in CHEAP


def check_supported(program):
    """Raise ``Unfusable`` if an instruction has no text."""
    for i in program.instrs:
        if i.fn in ("arg", "const"):
            continue
        kinds = [program.instrs[a].kind for a in i.args]
        constants = [program.instrs[a].value if program.instrs[a].fn == "const" else None for a in i.args]
        expression(i.fn, i.kind, kinds, ["x", "y", "z"][:len(i.args)], constants)


def expression(fn, kind, kinds, names, constants=(), cuda=False):
    """The text of ``fn`` on operands called ``names`` with dtypes ``kinds``; ``constants`` holds their values where they are
    constant.
    """
    special = _SPECIAL.get(fn)
    if special is not None:
        return special(kind, kinds, names, constants, cuda)
    operand = kinds[0]
    if operand == "b1":
        return _boolean(fn, names)
    if fn in COMPARISONS:
        return f"{names[0]} {OPERATORS[fn]} {names[1]}"
    if operand in ("f4", "f8"):
        return _floating(fn, kind, operand, names, cuda)
    return _integer(fn, kind, operand, names)


def _boolean(fn, names):
    if fn in BOOLEAN:
        return f"{names[0]} {BOOLEAN[fn]} {names[1]}"
    if fn in ("equal", "not_equal"):
        return f"{names[0]} {OPERATORS[fn]} {names[1]}"
    if fn in ("less", "less_equal", "greater", "greater_equal"):
        return f"int8({names[0]}) {OPERATORS[fn]} int8({names[1]})"
    if fn == "invert":
        return f"not {names[0]}"
    if fn == "absolute":
        return names[0]
    raise Unfusable(f"{fn} of bools")


def _floating(fn, kind, operand, names, cuda):
    if fn in OPERATORS and fn not in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        return f"{names[0]} {OPERATORS[fn]} {names[1]}"
    function = FUNCTIONS.get((fn, NUMBA[operand]))
    if function is None:
        raise Unfusable(f"{fn} has no kernel text")
    if cuda:
        return function.cuda.format(*names, T=NUMBA[operand])
    return f"{function.name}({', '.join(names)})"


def _integer(fn, kind, operand, names):
    t = NUMBA[kind]
    if fn in OPERATORS and fn != "divide":
        return f"{t}({names[0]} {OPERATORS[fn]} {names[1]})"
    forms = {"absolute": "{t}(abs({0}))", "maximum": "({0} if {0} > {1} else {1})", "minimum": "({0} if {0} < {1} else {1})",
             "fmax": "({0} if {0} > {1} else {1})", "fmin": "({0} if {0} < {1} else {1})",
             "sign": "{t}({t}({0} > 0) - {t}({0} < 0))",
             "invert": "{t}(~{0})"}
    if fn not in forms or (fn == "sign" and operand[0] == "u"):
        raise Unfusable(f"{fn} of integers has no kernel text")
    return forms[fn].format(*names, t=t)


def _cast(kind, kinds, names, constants, cuda):
    if kind == kinds[0]:
        return names[0]
    if kind == "b1":
        return f"{names[0]} != {literal(0, kinds[0])}"
    if kinds[0] in ("f4", "f8") and kind[0] == "u":
        raise Unfusable("a cast from floats to unsigned integers")
    return f"{NUMBA[kind]}({names[0]})"


def _where(kind, kinds, names, constants, cuda):
    if not cuda and kind in WHERE:
        return f"where_{SUFFIX[kind]}({', '.join(names)})"
    return f"({names[1]} if {names[0]} else {names[2]})"


def _logical(symbol):
    def text(kind, kinds, names, constants, cuda):
        tests = [n if k == "b1" else f"({n} != {literal(0, k)})" for n, k in zip(names, kinds)]
        return f"{tests[0]} {symbol} {tests[1]}"
    return text


def _not(kind, kinds, names, constants, cuda):
    return f"not {names[0]}" if kinds[0] == "b1" else f"{names[0]} == {literal(0, kinds[0])}"


def _negative(kind, kinds, names, constants, cuda):
    if kind == "b1":
        raise Unfusable("minus a bool")
    return f"-{names[0]}" if kind in ("f4", "f8") else f"{NUMBA[kind]}(-{names[0]})"


def _power(kind, kinds, names, constants, cuda):
    if kind not in ("f4", "f8"):
        raise Unfusable("an integer power")
    exponent = constants[1] if len(constants) > 1 else None
    if exponent is not None:
        if exponent == 1:
            return names[0]
        if exponent == 0:
            return literal(1.0, kind)
        if exponent == 2:
            return f"{names[0]} * {names[0]}"
        if exponent == 0.5:
            return _floating("sqrt", kind, kind, names[:1], cuda)
        function = POWERS.get((float(exponent), NUMBA[kind]))
        if function is not None:
            return function.cuda.format(names[0], T=NUMBA[kind]) if cuda else f"{function.name}({names[0]})"
    return _floating("power", kind, kind, names, cuda)


def _square(kind, kinds, names, constants, cuda):
    text = f"{names[0]} * {names[0]}"
    if kind == "b1":
        return names[0]
    return text if kind in ("f4", "f8") else f"{NUMBA[kind]}({text})"


def _reciprocal(kind, kinds, names, constants, cuda):
    if kind not in ("f4", "f8"):
        raise Unfusable("a reciprocal of integers")
    return f"{literal(1.0, kind)} / {names[0]}"


_SPECIAL = {"cast": _cast, "where": _where, "logical_not": _not, "negative": _negative, "power": _power, "square": _square,
            "reciprocal": _reciprocal, "positive": lambda kind, kinds, names, constants, cuda: names[0],
            **{name: _logical(symbol) for name, symbol in LOGICAL.items()}}
