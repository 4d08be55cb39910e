"""A kernel's text straight to LLVM IR, without numba: its import takes a second, and each kernel 0.1 s.

Kernel files are a small part of Python: typed scalars, ``for`` over ``range``, ``if`` without assignments, ``continue``, loads
and stores through ``ptr_*``, and calls of ``vecmath`` and ``reducers``. Their meaning here is numba's with
``error_model="numpy"``: integers are computed in 64 bits, ``//`` and ``%`` round down and give 0 for a zero divisor, floats of one
type stay of that type. What is not surely understood, mixed types for one, raises ``Untranslatable``; nothing is guessed.

Names become SSA values: a name assigned in a loop and known before it is a phi of the loop's head; other names of a loop end with
it.
"""
import ast
import math
from dataclasses import dataclass, field

import numpy as np
from llvmlite import ir

from hybridnn.jit.pointers_ir import ELEMENT_NAMES, access_group, element_address, mark_loop, parallel_properties
from hybridnn.jit.vecmath_basic import reduce_add, reduce_max, reduce_min
from hybridnn.jit.vecmath_expr import V
from hybridnn.jit.vecmath_table import DEFINITIONS

__all__ = ["Untranslatable", "translate"]

VOID, PTR, BIT, BYTE, INT64 = ir.VoidType(), ir.PointerType(), ir.IntType(1), ir.IntType(8), ir.IntType(64)
FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
INTEGERS = {f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}
TYPES = {**FLOATS, **INTEGERS, "boolean": BIT}
CONSTANTS = {"inf": math.inf, "nan": math.nan}
REDUCERS = {f"{name}_{key}": (body, (kind, kind), kind) for key, kind in (("f32", "float32"), ("f64", "float64"))
            for name, body in (("sum", reduce_add), ("max", reduce_max), ("min", reduce_min))}
CALLS = {**DEFINITIONS, **REDUCERS}
POINTERS = {f"{prefix}{key}": (name, prefix == "ptr_") for key, name in ELEMENT_NAMES.items()
            for prefix in ("ptr_", "serial_ptr_")}

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
class _Loop:
    latch: ir.Block
    carried: list
    leaves: list = field(default_factory=list)       # (block, values of what is carried) that go on to the next iteration


@dataclass(slots=True)
class _State:
    """A function half written: the builder, what each name stands for, and the loops around."""
    b: ir.IRBuilder
    env: dict
    loops: list = field(default_factory=list)
    edges: list = field(default_factory=list)        # the branches that close loops
    groups: list = field(default_factory=list)       # the module's access group, once there is one


def translate(symbol, text, module=None):
    """An llvmlite module with the function ``symbol(bufs, args, lo, hi)`` that ``kernel`` in ``text`` is.

    Raises ``Untranslatable``.
    """
    kernel = _kernel(ast.parse(text))
    module = module or ir.Module(symbol)
    function = ir.Function(module, ir.FunctionType(VOID, [PTR, PTR, INT64, INT64]), symbol)
    function.attributes.add("nounwind")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    bufs, args, lo, hi = function.args
    state = _State(b, {"bufs": Pointer("int64", bufs, False), "args": Pointer("int64", args, False),
                       "lo": Value("int64", lo), "hi": Value("int64", hi)})
    _block(state, kernel.body)
    b.ret_void()
    return module


def _kernel(tree):
    """The definition of ``kernel``; around it there may be a docstring and imports of known names."""
    found = None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and found is None and node.name == "kernel" and not node.decorator_list and \
                [a.arg for a in node.args.args] == ["bufs", "args", "lo", "hi"]:
            found = node
        elif isinstance(node, ast.ImportFrom):
            _check_import(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            raise _unknown(node)
    if found is None:
        raise Untranslatable("there is no function kernel(bufs, args, lo, hi)")
    return found


def _check_import(node):
    """Known names come from where they are defined, and keep their names: calls are then resolved by name."""
    of = {"math": CONSTANTS, "numba": TYPES, "hybridnn.jit.reducers": REDUCERS,
          "hybridnn.jit.vecmath": {**DEFINITIONS, **POINTERS, "parallel_loops": None}}.get(node.module, {})
    for alias in node.names:
        if alias.name not in of or alias.asname:
            raise _unknown(node)


def _unknown(node):
    return Untranslatable(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node).splitlines()[0]}")


# ----------------------------------------------------------------------------------------------------------------- statements

def _block(s, body):
    for node in body:
        handler = STATEMENTS.get(type(node))
        if handler is None:
            raise _unknown(node)
        handler(s, node)


def _assign(s, node):
    if len(node.targets) != 1:
        raise _unknown(node)
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple):
        if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
            raise _unknown(node)
        values = [_value(s, v) for v in value.elts]
        for t, v in zip(target.elts, values):
            _bind(s, t, v)
    elif isinstance(target, ast.Subscript):
        _store(s, target, _value(s, value))
    else:
        _bind(s, target, _pointer(s, value) or _value(s, value))


def _bind(s, target, value):
    """A name keeps its type, as in numba: one type per name."""
    if not isinstance(target, ast.Name) or target.id in CALLS or target.id in TYPES or target.id in CONSTANTS:
        raise _unknown(target)
    before = s.env.get(target.id)
    if before is not None and (type(before) is not type(value) or before.kind != value.kind or isinstance(value, Pointer)):
        raise Untranslatable(f"line {target.lineno}: {target.id} changes its type")
    s.env[target.id] = value


def _augmented(s, node):
    value = _binary(s, node, _load_target(s, node.target), node.op, _value(s, node.value))
    if isinstance(node.target, ast.Subscript):
        _store(s, node.target, value)
    else:
        _bind(s, node.target, value)


def _load_target(s, target):
    if not isinstance(target, (ast.Name, ast.Subscript)):
        raise _unknown(target)
    return _value(s, target)


def _expression_statement(s, node):
    """A docstring, or the promise that the loops before it are parallel."""
    if isinstance(node.value, ast.Constant):
        return
    call = node.value
    if not (isinstance(call, ast.Call) and _name(call.func) == "parallel_loops" and not call.args and not s.loops):
        raise _unknown(node)
    module = s.b.module
    properties = parallel_properties(module)
    for branch in s.edges:
        mark_loop(module, branch, properties)


def _if(s, node):
    if node.orelse or _assigned(node.body):
        raise _unknown(node)
    test = _truth(s, _value(s, node.test), node)
    if isinstance(node.body[0], ast.Continue) and s.loops:
        loop, rest = s.loops[-1], s.b.append_basic_block("rest")
        loop.leaves.append((s.b.block, [s.env[name] for name in loop.carried]))
        s.b.cbranch(test, loop.latch, rest)
        s.b.position_at_end(rest)
        return
    with s.b.if_then(test):
        _block(s, node.body)


def _assigned(body):
    """The names that statements assign."""
    names = set()
    for node in body:
        if isinstance(node, (ast.For, ast.If)):
            names |= _assigned(node.body)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {t.id for target in targets for t in getattr(target, "elts", (target,)) if isinstance(t, ast.Name)}
    return names


def _for(s, node):
    if node.orelse or not isinstance(node.target, ast.Name):
        raise _unknown(node)
    start, stop, step = _range(s, node.iter)
    inside = _assigned(node.body)
    carried = sorted(name for name in inside if name in s.env and name != node.target.id)
    if node.target.id in inside or any(isinstance(s.env[name], Pointer) for name in carried):
        raise _unknown(node)
    b, outside = s.b, s.env
    before, head, body = b.block, b.append_basic_block("head"), b.append_basic_block("body")
    loop = _Loop(b.append_basic_block("next"), carried)
    b.branch(head)
    b.position_at_end(head)
    phis = {name: Value(outside[name].kind, b.phi(TYPES[outside[name].kind])) for name in carried}
    i = b.phi(INT64)
    i.add_incoming(start, before)
    after = b.append_basic_block("after")
    b.cbranch(b.icmp_signed("<", i, stop), body, after)
    b.position_at_end(body)
    s.env = {**outside, **phis, node.target.id: Value("int64", i)}
    s.loops.append(loop)
    _block(s, node.body)
    loop.leaves.append((b.block, [s.env[name] for name in carried]))
    b.branch(loop.latch)
    _close(s, s.loops.pop(), head, i, step)
    for k, name in enumerate(carried):
        phis[name].ir.add_incoming(outside[name].ir, before)
        phis[name].ir.add_incoming(_merged(b, loop, k), loop.latch)
    b.position_at_end(after)
    s.env = {**outside, **phis}
    s.env.pop(node.target.id, None)      # it is not kept past the loop: a later use must not see an older value


def _close(s, loop, head, i, step):
    """The end of an iteration: count, and go back."""
    s.b.position_at_end(loop.latch)
    i.add_incoming(s.b.add(i, ir.Constant(INT64, step), flags=("nsw",)), loop.latch)
    s.edges.append(s.b.branch(head))


def _merged(b, loop, k):
    """What carried name ``k`` is at the end of an iteration."""
    values = [leave[1][k] for leave in loop.leaves]
    if len(values) == 1:
        return values[0].ir
    b.position_at_start(loop.latch)
    phi = b.phi(values[0].ir.type)
    for (block, _), value in zip(loop.leaves, values):
        phi.add_incoming(value.ir, block)
    return phi


def _range(s, node):
    """Start and stop of a range as LLVM values, and its step, a positive number."""
    if not (isinstance(node, ast.Call) and _name(node.func) == "range" and 1 <= len(node.args) <= 3) or node.keywords:
        raise _unknown(node)
    step = _number(node.args[2]) if len(node.args) == 3 else 1
    if type(step) is not int or step < 1:
        raise _unknown(node)
    bounds = [_index(s, a) for a in node.args[:2]]
    return (ir.Constant(INT64, 0), *bounds, step) if len(bounds) == 1 else (*bounds, step)


# ---------------------------------------------------------------------------------------------------------------- expressions

def _value(s, node):
    number = _number(node)
    if number is not None:
        return _constant(number, node)
    handler = EXPRESSIONS.get(type(node))
    if handler is None:
        raise _unknown(node)
    return handler(s, node)


def _name(node):
    return node.id if isinstance(node, ast.Name) else None


def _number(node):
    """The value of a literal (with a sign), or None."""
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        return node.value
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _number(node.operand)
        return None if number is None or type(number) is bool else -number
    return None


def _constant(number, node):
    if type(number) is bool:
        return Value("boolean", ir.Constant(BIT, number))
    if type(number) is float:
        return Value("float64", ir.Constant(FLOATS["float64"], number))
    if not -2**63 <= number < 2**63:
        raise _unknown(node)
    return Value("int64", ir.Constant(INT64, number))


def _variable(s, node):
    value = s.env.get(node.id)
    if not isinstance(value, Value):
        raise _unknown(node)
    return value


def _pointer(s, node):
    """What ``ptr_f32(bufs, args, 4)`` and its like give; None for another expression."""
    if not (isinstance(node, ast.Call) and _name(node.func) in POINTERS):
        return None
    kind, parallel = POINTERS[node.func.id]
    if len(node.args) != 3 or [_name(a) for a in node.args[:2]] != ["bufs", "args"]:
        raise _unknown(node)
    address = element_address(s.b, s.env["bufs"].ir, s.env["args"].ir, _index(s, node.args[2]))
    return Pointer(kind, s.b.inttoptr(address, PTR), parallel)


def _place(s, node):
    """The pointer and the address of ``p[index]``."""
    pointer = s.env.get(_name(node.value))
    if not isinstance(pointer, Pointer) or isinstance(node.slice, (ast.Slice, ast.Tuple)):
        raise _unknown(node)
    kind = BYTE if pointer.kind == "boolean" else TYPES[pointer.kind]
    return pointer, s.b.gep(pointer.ir, [_index(s, node.slice)], inbounds=True, source_etype=kind), kind


def _index(s, node):
    value = _value(s, node)
    if value.kind not in INTEGERS or value.kind == "uint64":
        raise _unknown(node)
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


def _store(s, node, value):
    """Integers are cut to the element's type, as numba does; floats must have it."""
    pointer, place, _ = _place(s, node)
    if value.kind != pointer.kind:
        if pointer.kind not in INTEGERS or value.kind not in INTEGERS:
            raise _unknown(node)
        value = _cast(s, value, pointer.kind, node)
    data = s.b.zext(value.ir, BYTE) if value.kind == "boolean" else value.ir
    _mark(s, pointer, s.b.store(data, place))


def _call(s, node):
    name = _name(node.func)
    if node.keywords:
        raise _unknown(node)
    if name in TYPES and len(node.args) == 1:
        number = _number(node.args[0])
        return _typed(number, name, node) if number is not None else _cast(s, _value(s, node.args[0]), name, node)
    if name == "abs" and len(node.args) == 1:
        return _absolute(s, _value(s, node.args[0]), node)
    if name not in CALLS:
        raise _unknown(node)
    body, kinds, result = CALLS[name]
    values = [_value(s, a) for a in node.args]
    if [v.kind for v in values] != [_full(k) for k in kinds]:
        raise _unknown(node)
    return Value(_full(result), body(*[V(s.b, v.ir) for v in values]).v)


def _full(kind):
    return "boolean" if kind == "bool" else kind


def _typed(number, kind, node):
    """``float32(0.5)``: a constant, rounded or wrapped to its type."""
    if kind in FLOATS:
        with np.errstate(over="ignore"):
            return Value(kind, ir.Constant(FLOATS[kind], float(getattr(np, kind)(number))))
    if type(number) is float:
        raise _unknown(node)
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
        return Value(kind, _truth(s, value, node))
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


def _truth(s, value, node):
    if value.kind == "boolean":
        return value.ir
    if value.kind in FLOATS:
        return s.b.fcmp_unordered("!=", value.ir, ir.Constant(value.ir.type, 0.0))
    return s.b.icmp_unsigned("!=", value.ir, ir.Constant(value.ir.type, 0))


def _absolute(s, x, node):
    if x.kind in FLOATS or x.kind == "boolean":
        raise _unknown(node)
    wide = _wide(s, x)
    if wide.kind == "uint64":
        return wide
    negative = s.b.icmp_signed("<", wide.ir, ir.Constant(INT64, 0))
    return Value("int64", s.b.select(negative, s.b.neg(wide.ir), wide.ir))


def _binary_node(s, node):
    return _binary(s, node, _value(s, node.left), node.op, _value(s, node.right))


def _binary(s, node, x, op, y):
    if x.kind == y.kind and x.kind in FLOATS and type(op) in FLOAT_OPS:
        return Value(x.kind, getattr(s.b, FLOAT_OPS[type(op)])(x.ir, y.ir))
    if x.kind == y.kind == "boolean" and type(op) in BIT_OPS:
        return Value("boolean", getattr(s.b, BIT_OPS[type(op)])(x.ir, y.ir))
    if x.kind not in INTEGERS or y.kind not in INTEGERS:
        raise _unknown(node)
    kind, x, y = _common(s, x, y, node)
    if type(op) in INTEGER_OPS:
        return Value(kind, getattr(s.b, INTEGER_OPS[type(op)])(x, y))
    if isinstance(op, (ast.FloorDiv, ast.Mod)) and kind == "int64":
        return Value(kind, _floor_division(s.b, x, y, isinstance(op, ast.Mod)))
    raise _unknown(node)


def _common(s, x, y, node):
    """Two integers in 64 bits; int64 with uint64 would be a float."""
    x, y = _wide(s, x), _wide(s, y)
    if x.kind != y.kind:
        raise _unknown(node)
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
        raise _unknown(node)
    x, y = _value(s, node.left), _value(s, node.comparators[0])
    if x.kind == y.kind and x.kind in FLOATS:
        compare = s.b.fcmp_unordered if sign == "!=" else s.b.fcmp_ordered
        return Value("boolean", compare(sign, x.ir, y.ir))
    if x.kind == y.kind == "boolean" and sign in ("==", "!="):
        return Value("boolean", s.b.icmp_unsigned(sign, x.ir, y.ir))
    if x.kind not in INTEGERS or y.kind not in INTEGERS:
        raise _unknown(node)
    if x.kind == y.kind:
        kind, a, b = x.kind, x.ir, y.ir
    else:
        kind, a, b = _common(s, x, y, node)
    return Value("boolean", (s.b.icmp_unsigned if kind[0] == "u" else s.b.icmp_signed)(sign, a, b))


def _unary(s, node):
    x = _value(s, node.operand)
    if isinstance(node.op, ast.Not):
        return Value("boolean", s.b.not_(_truth(s, x, node)))
    if x.kind in FLOATS and isinstance(node.op, ast.USub):
        return Value(x.kind, s.b.fneg(x.ir))
    if x.kind not in INTEGERS or not isinstance(node.op, (ast.USub, ast.Invert)):
        raise _unknown(node)
    x = _wide(s, x)
    return Value(x.kind, (s.b.neg if isinstance(node.op, ast.USub) else s.b.not_)(x.ir))


def _boolean(s, node):
    """``and``, ``or`` of tests: all are computed, so none may load."""
    values = [_value(s, v) for v in node.values]
    if any(v.kind != "boolean" for v in values) or any(_is_guarded(v) for v in node.values[1:]):
        raise _unknown(node)
    total = values[0].ir
    for v in values[1:]:
        total = getattr(s.b, BIT_OPS[type(node.op)])(total, v.ir)
    return Value("boolean", total)


def _choice(s, node):
    test = _truth(s, _value(s, node.test), node)
    if _is_guarded(node.body) or _is_guarded(node.orelse):
        return _branches(s, node, test)
    yes, no = _value(s, node.body), _value(s, node.orelse)
    if yes.kind != no.kind:
        raise _unknown(node)
    return Value(yes.kind, s.b.select(test, yes.ir, no.ir))


def _is_guarded(node):
    """Whether it must not be computed where Python would not: it loads."""
    return any(isinstance(n, ast.Subscript) for n in ast.walk(node))


def _branches(s, node, test):
    arms = []
    with s.b.if_else(test) as (then, otherwise):
        for arm, part in ((then, node.body), (otherwise, node.orelse)):
            with arm:
                arms.append((_value(s, part), s.b.block))
    if arms[0][0].kind != arms[1][0].kind:
        raise _unknown(node)
    phi = s.b.phi(arms[0][0].ir.type)
    for value, block in arms:
        phi.add_incoming(value.ir, block)
    return Value(arms[0][0].kind, phi)


STATEMENTS = {ast.Assign: _assign, ast.AugAssign: _augmented, ast.Expr: _expression_statement, ast.If: _if, ast.For: _for}
EXPRESSIONS = {ast.Name: _variable, ast.Subscript: _load, ast.Call: _call, ast.BinOp: _binary_node, ast.Compare: _compare,
               ast.UnaryOp: _unary, ast.BoolOp: _boolean, ast.IfExp: _choice}
