"""Expressions of kernels as LLVM values: what ``translate`` knows of types, and how each is computed."""
import ast
import math
from dataclasses import dataclass, field

import numpy as np
from llvmlite import ir

from hybridnn.jit.pointers_ir import ELEMENT_NAMES, access_group, element_address
from hybridnn.jit.vecmath_basic import reduce_add, reduce_max, reduce_min
from hybridnn.jit.vecmath_expr import V
from hybridnn.jit.vecmath_table import DEFINITIONS

__all__ = ["CALLS", "CONSTANTS", "INT64", "LOCALS", "POINTERS", "PTR", "REDUCERS", "TYPES", "Loop", "Pointer", "State", "Untranslatable", "Value",
           "binary", "evaluate", "index_of", "name_of", "number_of", "pointer_of", "store", "truth", "unknown"]

PTR, BIT, BYTE, INT64 = ir.PointerType(), ir.IntType(1), ir.IntType(8), ir.IntType(64)
FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
INTEGERS = {f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}
TYPES = {**FLOATS, **INTEGERS, "boolean": BIT}
CONSTANTS = {"inf": math.inf, "nan": math.nan}
REDUCERS = {f"{name}_{key}": (body, (kind, kind), kind) for key, kind in (("f32", "float32"), ("f64", "float64"))
            for name, body in (("sum", reduce_add), ("max", reduce_max), ("min", reduce_min))}
CALLS = {**DEFINITIONS, **REDUCERS}
POINTERS = {f"{prefix}{key}": (name, prefix == "ptr_") for key, name in ELEMENT_NAMES.items()
            for prefix in ("ptr_", "serial_ptr_")}
LOCALS = {f"local_{key}": name for key, name in ELEMENT_NAMES.items()}

FLOAT_OPS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
INTEGER_OPS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor"}
BIT_OPS = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.And: "and_", ast.Or: "or_"}
SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Untranslatable(Exception):
    """The text has something that only numba is trusted to compile; says what, and in which line."""


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar: numba's name of its type, and the LLVM value."""
    kind: str
    ir: ir.Value


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where elements of a type lie, and whether accesses are marked parallel."""
    kind: str
    ir: ir.Value
    parallel: bool


@dataclass(slots=True)
class Loop:
    latch: ir.Block
    carried: list
    leaves: list = field(default_factory=list)       # (block, values of what is carried) that go on to the next iteration


@dataclass(slots=True)
class State:
    """A function half written: the builder, what each name stands for, and the loops around."""
    b: ir.IRBuilder
    env: dict
    loops: list = field(default_factory=list)
    edges: list = field(default_factory=list)        # of each loop: the branch that closes it, its instructions, whether it carries values
    groups: list = field(default_factory=list)       # the module's access group, once there is one


def unknown(node):
    return Untranslatable(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node).splitlines()[0]}")


def evaluate(s, node):
    number = number_of(node)
    if number is not None:
        return _constant(number, node)
    handler = EXPRESSIONS.get(type(node))
    if handler is None:
        raise unknown(node)
    return handler(s, node)


def name_of(node):
    return node.id if isinstance(node, ast.Name) else None


def number_of(node):
    """The value of a literal (with a sign), or None."""
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        return node.value
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = number_of(node.operand)
        return None if number is None or type(number) is bool else -number
    return None


def _constant(number, node):
    if type(number) is bool:
        return Value("boolean", ir.Constant(BIT, number))
    if type(number) is float:
        return Value("float64", ir.Constant(FLOATS["float64"], number))
    if not -2**63 <= number < 2**63:
        raise unknown(node)
    return Value("int64", ir.Constant(INT64, number))


def _variable(s, node):
    value = s.env.get(node.id)
    if not isinstance(value, Value):
        raise unknown(node)
    return value


def pointer_of(s, node):
    """What ``ptr_f32(bufs, args, 4)`` or ``local_f32(64)`` and their like give; None for another expression."""
    if isinstance(node, ast.Call) and name_of(node.func) in LOCALS:
        return _local(s, node)
    if not (isinstance(node, ast.Call) and name_of(node.func) in POINTERS):
        return None
    kind, parallel = POINTERS[node.func.id]
    if len(node.args) != 3 or [name_of(a) for a in node.args[:2]] != ["bufs", "args"]:
        raise unknown(node)
    address = element_address(s.b, s.env["bufs"].ir, s.env["args"].ir, index_of(s, node.args[2]))
    return Pointer(kind, s.b.inttoptr(address, PTR), parallel)


def _local(s, node):
    """Room on the stack."""
    count = number_of(node.args[0]) if len(node.args) == 1 and not s.loops else None
    if type(count) is not int or count < 1:
        raise unknown(node)
    kind = LOCALS[node.func.id]
    with s.b.goto_entry_block():
        memory = s.b.alloca(ir.ArrayType(BYTE if kind == "boolean" else TYPES[kind], count))
    memory.align, memory.type = 64, PTR
    return Pointer(kind, memory, True)


def _place(s, node):
    """The pointer and the address of ``p[index]``."""
    pointer = s.env.get(name_of(node.value))
    if not isinstance(pointer, Pointer) or isinstance(node.slice, (ast.Slice, ast.Tuple)):
        raise unknown(node)
    kind = BYTE if pointer.kind == "boolean" else TYPES[pointer.kind]
    return pointer, s.b.gep(pointer.ir, [index_of(s, node.slice)], inbounds=True, source_etype=kind), kind


def index_of(s, node):
    value = evaluate(s, node)
    if value.kind not in INTEGERS or value.kind == "uint64":
        raise unknown(node)
    return _wide(s, value).ir


def _mark(s, pointer, instruction):
    if pointer.parallel:
        if not s.groups:
            s.groups.append(access_group(s.b.module))
        instruction.set_metadata("llvm.access.group", s.groups[0])


def _load(s, node):
    pointer, place, kind = _place(s, node)
    loaded = s.b.load(place, typ=kind)
    _mark(s, pointer, loaded)
    if pointer.kind == "boolean":
        loaded = s.b.icmp_unsigned("!=", loaded, ir.Constant(BYTE, 0))
    return Value(pointer.kind, loaded)


def store(s, node, value):
    """Integers are cut to the element's type, as numba does; floats must have it."""
    pointer, place, _ = _place(s, node)
    if value.kind != pointer.kind:
        if pointer.kind not in INTEGERS or value.kind not in INTEGERS:
            raise unknown(node)
        value = _cast(s, value, pointer.kind, node)
    data = s.b.zext(value.ir, BYTE) if value.kind == "boolean" else value.ir
    _mark(s, pointer, s.b.store(data, place))


def _call(s, node):
    name = name_of(node.func)
    if node.keywords:
        raise unknown(node)
    if name in TYPES and len(node.args) == 1:
        number = number_of(node.args[0])
        return _typed(number, name, node) if number is not None else _cast(s, evaluate(s, node.args[0]), name, node)
    if name == "abs" and len(node.args) == 1:
        return _absolute(s, evaluate(s, node.args[0]), node)
    if name not in CALLS:
        raise unknown(node)
    body, kinds, result = CALLS[name]
    values = [evaluate(s, a) for a in node.args]
    if [v.kind for v in values] != [_full(k) for k in kinds]:
        raise unknown(node)
    return Value(_full(result), body(*[V(s.b, v.ir) for v in values]).v)


def _full(kind):
    return "boolean" if kind == "bool" else kind


def _typed(number, kind, node):
    """``float32(0.5)``: a constant, rounded or wrapped to its type."""
    if kind in FLOATS:
        with np.errstate(over="ignore"):
            return Value(kind, ir.Constant(FLOATS[kind], float(getattr(np, kind)(number))))
    if type(number) is float:
        raise unknown(node)
    if kind == "boolean":
        return Value(kind, ir.Constant(BIT, bool(number)))
    bits = INTEGERS[kind].width
    number &= 2**bits - 1
    return Value(kind, ir.Constant(INTEGERS[kind], number - 2**bits if number >> (bits - 1) else number))


def _cast(s, value, kind, node):
    """numba's conversion between scalars."""
    b, x, to = s.b, value.ir, TYPES[kind]
    if kind == value.kind:
        return value
    if kind == "boolean":
        return Value(kind, truth(s, value, node))
    if value.kind in FLOATS:
        if kind in FLOATS:
            return Value(kind, (b.fpext if kind == "float64" else b.fptrunc)(x, to))
        return Value(kind, (b.fptoui if kind[0] == "u" else b.fptosi)(x, to))
    signed = value.kind[0] == "i"
    if kind in FLOATS:
        return Value(kind, (b.sitofp if signed else b.uitofp)(x, to))
    if x.type.width == to.width:
        return Value(kind, x)
    widen = b.sext if signed else b.zext
    return Value(kind, (widen if x.type.width < to.width else b.trunc)(x, to))


def _wide(s, value):
    """An integer in 64 bits, where numba computes."""
    return _cast(s, value, "uint64" if value.kind[0] == "u" else "int64", None)


def truth(s, value, node):
    if value.kind == "boolean":
        return value.ir
    if value.kind in FLOATS:
        return s.b.fcmp_unordered("!=", value.ir, ir.Constant(value.ir.type, 0.0))
    return s.b.icmp_unsigned("!=", value.ir, ir.Constant(value.ir.type, 0))


def _absolute(s, x, node):
    if x.kind in FLOATS or x.kind == "boolean":
        raise unknown(node)
    wide = _wide(s, x)
    if wide.kind == "uint64":
        return wide
    negative = s.b.icmp_signed("<", wide.ir, ir.Constant(INT64, 0))
    return Value("int64", s.b.select(negative, s.b.neg(wide.ir), wide.ir))


def _binary_node(s, node):
    return binary(s, node, evaluate(s, node.left), node.op, evaluate(s, node.right))


def binary(s, node, x, op, y):
    if x.kind == y.kind and x.kind in FLOATS and type(op) in FLOAT_OPS:
        return Value(x.kind, getattr(s.b, FLOAT_OPS[type(op)])(x.ir, y.ir))
    if x.kind == y.kind == "boolean" and type(op) in BIT_OPS:
        return Value("boolean", getattr(s.b, BIT_OPS[type(op)])(x.ir, y.ir))
    if x.kind not in INTEGERS or y.kind not in INTEGERS:
        raise unknown(node)
    kind, x, y = _common(s, x, y, node)
    if type(op) in INTEGER_OPS:
        return Value(kind, getattr(s.b, INTEGER_OPS[type(op)])(x, y))
    if isinstance(op, (ast.FloorDiv, ast.Mod)) and kind == "int64":
        return Value(kind, _floor_division(s.b, x, y, isinstance(op, ast.Mod)))
    raise unknown(node)


def _common(s, x, y, node):
    """Two integers in 64 bits; int64 with uint64 would be a float."""
    x, y = _wide(s, x), _wide(s, y)
    if x.kind != y.kind:
        raise unknown(node)
    return x.kind, x.ir, y.ir


def _floor_division(b, x, y, remainder):
    """x // y or x % y rounded down; 0 where y is 0 or the quotient overflows."""
    zero, one = ir.Constant(INT64, 0), ir.Constant(INT64, 1)
    least = b.icmp_signed("==", x, ir.Constant(INT64, -2**63))
    bad = b.or_(b.icmp_signed("==", y, zero), b.and_(least, b.icmp_signed("==", y, ir.Constant(INT64, -1))))
    y = b.select(bad, one, y)
    quotient, rest = b.sdiv(x, y), b.srem(x, y)
    down = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, y), zero))
    result = b.select(down, b.add(rest, y), rest) if remainder else b.select(down, b.sub(quotient, one), quotient)
    return b.select(bad, zero, result)


def _compare(s, node):
    sign = SIGNS.get(type(node.ops[0]))
    if len(node.ops) != 1 or sign is None:
        raise unknown(node)
    x, y = evaluate(s, node.left), evaluate(s, node.comparators[0])
    if x.kind == y.kind and x.kind in FLOATS:
        compare = s.b.fcmp_unordered if sign == "!=" else s.b.fcmp_ordered
        return Value("boolean", compare(sign, x.ir, y.ir))
    if x.kind == y.kind == "boolean" and sign in ("==", "!="):
        return Value("boolean", s.b.icmp_unsigned(sign, x.ir, y.ir))
    if x.kind not in INTEGERS or y.kind not in INTEGERS:
        raise unknown(node)
    if x.kind == y.kind:
        kind, a, b = x.kind, x.ir, y.ir
    else:
        kind, a, b = _common(s, x, y, node)
    return Value("boolean", (s.b.icmp_unsigned if kind[0] == "u" else s.b.icmp_signed)(sign, a, b))


def _unary(s, node):
    x = evaluate(s, node.operand)
    if isinstance(node.op, ast.Not):
        return Value("boolean", s.b.not_(truth(s, x, node)))
    if x.kind in FLOATS and isinstance(node.op, ast.USub):
        return Value(x.kind, s.b.fneg(x.ir))
    if x.kind not in INTEGERS or not isinstance(node.op, (ast.USub, ast.Invert)):
        raise unknown(node)
    x = _wide(s, x)
    return Value(x.kind, (s.b.neg if isinstance(node.op, ast.USub) else s.b.not_)(x.ir))


def _boolean(s, node):
    """``and``, ``or`` of tests: all are computed, so none may load."""
    values = [evaluate(s, v) for v in node.values]
    if any(v.kind != "boolean" for v in values) or any(_is_guarded(v) for v in node.values[1:]):
        raise unknown(node)
    total = values[0].ir
    for v in values[1:]:
        total = getattr(s.b, BIT_OPS[type(node.op)])(total, v.ir)
    return Value("boolean", total)


def _choice(s, node):
    test = truth(s, evaluate(s, node.test), node)
    if _is_guarded(node.body) or _is_guarded(node.orelse):
        return _branches(s, node, test)
    yes, no = evaluate(s, node.body), evaluate(s, node.orelse)
    if yes.kind != no.kind:
        raise unknown(node)
    return Value(yes.kind, s.b.select(test, yes.ir, no.ir))


def _is_guarded(node):
    """Whether it must not be computed where Python would not: it loads."""
    return any(isinstance(n, ast.Subscript) for n in ast.walk(node))


def _branches(s, node, test):
    arms = []
    with s.b.if_else(test) as (then, otherwise):
        for arm, part in ((then, node.body), (otherwise, node.orelse)):
            with arm:
                arms.append((evaluate(s, part), s.b.block))
    if arms[0][0].kind != arms[1][0].kind:
        raise unknown(node)
    phi = s.b.phi(arms[0][0].ir.type)
    for value, block in arms:
        phi.add_incoming(value.ir, block)
    return Value(arms[0][0].kind, phi)


EXPRESSIONS = {ast.Name: _variable, ast.Subscript: _load, ast.Call: _call, ast.BinOp: _binary_node, ast.Compare: _compare,
               ast.UnaryOp: _unary, ast.BoolOp: _boolean, ast.IfExp: _choice}
