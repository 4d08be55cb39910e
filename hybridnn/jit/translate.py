"""A kernel's text straight to LLVM IR, without numba: its import takes a second, and each kernel 0.1 s.

Kernel files are a small part of Python: typed scalars, ``for`` over ``range``, ``if`` without assignments, ``continue``, loads
and stores through ``ptr_*``, and calls of ``vecmath`` and ``reducers``. Their meaning here is numba's with
``error_model="numpy"``: integers are computed in 64 bits, ``//`` and ``%`` round down and give 0 for a zero divisor, floats of one
type stay of that type. What is not surely understood, mixed types for one, raises ``Untranslatable``; nothing is guessed.

Names become SSA values: a name assigned in a loop and known before it is a phi of the loop's head; other names of a loop end with
it.
"""
import ast

from llvmlite import ir

from hybridnn.jit.pointers_ir import mark_loop, parallel_properties
from hybridnn.jit.squares import turn_function
from hybridnn.jit.translate_values import (
    CALLS,
    CONSTANTS,
    INT64,
    LOCALS,
    POINTERS,
    PTR,
    REDUCERS,
    TYPES,
    Loop,
    Pointer,
    State,
    Untranslatable,
    Value,
    binary,
    evaluate,
    index_of,
    name_of,
    number_of,
    pointer_of,
    store,
    truth,
    unknown,
)
from hybridnn.jit.vecmath_table import DEFINITIONS

__all__ = ["Untranslatable", "translate"]

TURN, TURNED = "turn", ("float32", "int32")      # the statement that copies rows to columns, and what elements
PARALLEL = {"parallel_loops": False, "parallel_long_loops": True}       # what says that loops are parallel, and whether the innermost are long


def translate(symbol, text):
    """An llvmlite module with the function ``symbol(bufs, args, lo, hi)`` that ``kernel`` in ``text`` is.

    Raises ``Untranslatable``.
    """
    kernel = _kernel(ast.parse(text))
    module = ir.Module(symbol)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, PTR, INT64, INT64]), symbol)
    function.attributes.add("nounwind")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    bufs, args, lo, hi = function.args
    state = State(b, {"bufs": Pointer("int64", bufs, False), "args": Pointer("int64", args, False),
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
            raise unknown(node)
    if found is None:
        raise Untranslatable("there is no function kernel(bufs, args, lo, hi)")
    return found


def _check_import(node):
    """Known names come from where they are defined, and keep their names: calls are then resolved by name."""
    of = {"math": CONSTANTS, "numba": TYPES, "hybridnn.jit.reducers": REDUCERS,
          "hybridnn.jit.vecmath": {**DEFINITIONS, **POINTERS, **LOCALS, **PARALLEL, TURN: None}}.get(node.module, {})
    for alias in node.names:
        if alias.name not in of or alias.asname:
            raise unknown(node)


# ----------------------------------------------------------------------------------------------------------------- statements

def _block(s, body):
    for node in body:
        handler = STATEMENTS.get(type(node))
        if handler is None:
            raise unknown(node)
        handler(s, node)


def _assign(s, node):
    if len(node.targets) != 1:
        raise unknown(node)
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple):
        if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
            raise unknown(node)
        values = [evaluate(s, v) for v in value.elts]
        for t, v in zip(target.elts, values):
            _bind(s, t, v)
    elif isinstance(target, ast.Subscript):
        store(s, target, evaluate(s, value))
    else:
        _bind(s, target, pointer_of(s, value) or evaluate(s, value))


def _bind(s, target, value):
    """A name keeps its type, as in numba: one type per name."""
    if not isinstance(target, ast.Name) or target.id in CALLS or target.id in TYPES or target.id in CONSTANTS:
        raise unknown(target)
    before = s.env.get(target.id)
    if before is not None and (type(before) is not type(value) or before.kind != value.kind or isinstance(value, Pointer)):
        raise Untranslatable(f"line {target.lineno}: {target.id} changes its type")
    s.env[target.id] = value


def _augmented(s, node):
    value = binary(s, node, _load_target(s, node.target), node.op, evaluate(s, node.value))
    if isinstance(node.target, ast.Subscript):
        store(s, node.target, value)
    else:
        _bind(s, node.target, value)


def _load_target(s, target):
    if not isinstance(target, (ast.Name, ast.Subscript)):
        raise unknown(target)
    return evaluate(s, target)


def _expression_statement(s, node):
    """A docstring, rows that are copied to columns, or the promise that the loops before it are parallel."""
    if isinstance(node.value, ast.Constant):
        return
    call = node.value
    if isinstance(call, ast.Call) and name_of(call.func) == TURN:
        return _turn(s, call)
    if not (isinstance(call, ast.Call) and name_of(call.func) in PARALLEL and not call.args and not s.loops):
        raise unknown(node)
    module = s.b.module
    properties = parallel_properties(module)
    for branch, size, sums in s.edges:
        mark_loop(module, branch, properties, PARALLEL[name_of(call.func)], size, sums)


def _turn(s, call):
    """``turn(to, to_at, to_step, source, at, step, rows, cols)``, see ``pointers``."""
    if len(call.args) != 8 or call.keywords:
        raise unknown(call)
    to, source = (s.env.get(name_of(call.args[k])) for k in (0, 3))
    if not (isinstance(to, Pointer) and isinstance(source, Pointer) and to.kind == source.kind and to.kind in TURNED):
        raise unknown(call)
    to_at, to_step, at, step, rows, cols = (index_of(s, call.args[k]) for k in (1, 2, 4, 5, 6, 7))
    places = [s.b.gep(p.ir, [i], inbounds=True, source_etype=TYPES[p.kind]) for p, i in ((to, to_at), (source, at))]
    s.b.call(turn_function(s.b.module), [places[0], to_step, places[1], step, rows, cols])


def _if(s, node):
    if node.orelse or _assigned(node.body):
        raise unknown(node)
    test = truth(s, evaluate(s, node.test), node)
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
        raise unknown(node)
    start, stop, step = _range(s, node.iter)
    carried = _carried(s, node)
    b, outside = s.b, s.env
    before, head, body = b.block, b.append_basic_block("head"), b.append_basic_block("body")
    loop = Loop(b.append_basic_block("next"), carried)
    first = len(b.function.blocks) - 3
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
    s.loops.pop()
    _close(s, loop, head, i, step)
    s.edges.append((b.block.terminator, sum([len(block.instructions) for block in b.function.blocks[first:]]), bool(carried)))
    for k, name in enumerate(carried):
        phis[name].ir.add_incoming(outside[name].ir, before)
        phis[name].ir.add_incoming(_merged(b, loop, k), loop.latch)
    b.position_at_end(after)
    s.env = {**outside, **phis}
    s.env.pop(node.target.id, None)      # it is not kept past the loop: a later use must not see an older value


def _carried(s, node):
    """The names that a loop assigns and that were known before it: phis of its head."""
    inside = _assigned(node.body)
    carried = sorted(name for name in inside if name in s.env and name != node.target.id)
    if node.target.id in inside or any(isinstance(s.env[name], Pointer) for name in carried):
        raise unknown(node)
    return carried


def _close(s, loop, head, i, step):
    """The end of an iteration: count, and go back."""
    s.b.position_at_end(loop.latch)
    i.add_incoming(s.b.add(i, ir.Constant(INT64, step), flags=("nsw",)), loop.latch)
    s.b.branch(head)


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
    if not (isinstance(node, ast.Call) and name_of(node.func) == "range" and 1 <= len(node.args) <= 3) or node.keywords:
        raise unknown(node)
    step = number_of(node.args[2]) if len(node.args) == 3 else 1
    if type(step) is not int or step < 1:
        raise unknown(node)
    bounds = [index_of(s, a) for a in node.args[:2]]
    return (ir.Constant(INT64, 0), *bounds, step) if len(bounds) == 1 else (*bounds, step)


STATEMENTS = {ast.Assign: _assign, ast.AugAssign: _augmented, ast.Expr: _expression_statement, ast.If: _if, ast.For: _for}
