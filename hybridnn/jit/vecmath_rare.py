"""A rare slow case inside a vectorised loop.

`rarely(...)` gives `y`, except in lanes whose `measure` is beyond a limit, where it calls the C library. A branch to a library
call would stop the loop vectoriser, so the choice sits in a function of its own that carries a `vector-function-abi-variant`
attribute: LLVM then vectorises the loop with the function's vector versions, defined beside it, which test all lanes with one
branch and return `y` at once in the common case.
"""
from __future__ import annotations

from llvmlite import ir

from hybridnn.jit import machine
from hybridnn.jit.vecmath_expr import F32, I32, V

PURE = ("noinline", "nounwind", "willreturn", "memory(none)")


def vector_bits() -> tuple[int, ...]:
    """The register widths that LLVM may choose on this CPU."""
    return (128, 256, 512) if machine.has_wide_registers() else (128, 256)


def _define(module, name, result, arguments):
    function = ir.Function(module, ir.FunctionType(result, arguments), name)
    function.linkage = "weak_odr"  # kept although only the vectoriser will call it
    for attribute in PURE:
        set.add(function.attributes, attribute)  # llvmlite's own list of attributes is older than LLVM's
    return function


def _splat(t, number):
    if isinstance(t, ir.VectorType):
        return ir.Constant(t, [ir.Constant(t.element, number)] * t.count)
    return ir.Constant(t, number)


def _beyond(b, measure, limit):
    """|measure| > limit, lane by lane; false for NaN."""
    above = b.fcmp_ordered(">", measure, _splat(measure.type, limit))
    return b.or_(above, b.fcmp_ordered("<", measure, _splat(measure.type, -limit)))


def _scalar(module, name, t, library, limit, count):
    """define t @name(measure, y, x...): library(x...) beyond the limit, else y."""
    function = _define(module, name, t, [t] * (count + 2))
    called = module.globals.get(library) or ir.Function(module, ir.FunctionType(t, [t] * count), library)
    b = ir.IRBuilder(function.append_basic_block())
    measure, y, *xs = function.args
    with b.if_then(_beyond(b, measure, limit), likely=False):
        b.ret(b.call(called, xs))
    b.ret(y)
    return function


def _each_lane(b, scalar, vectors, count):
    """The scalar function over the lanes of the vectors, by a loop over their copies in memory."""
    slots = [b.alloca(v.type) for v in vectors]
    for slot, v in zip(slots, vectors):
        b.store(v, slot)
    element = scalar.ftype.return_type
    lanes = [b.bitcast(slot, element.as_pointer()) for slot in slots]
    before, body, after = b.block, b.append_basic_block("lane"), b.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(I32)
    following = b.add(i, ir.Constant(I32, 1))
    i.add_incoming(ir.Constant(I32, 0), before)
    i.add_incoming(following, body)
    at = [b.gep(lane, [i], source_etype=element) for lane in lanes]
    b.store(b.call(scalar, [b.load(p, typ=element) for p in at]), at[1])
    b.cbranch(b.icmp_unsigned("<", following, ir.Constant(I32, count)), body, after)
    b.position_at_end(after)
    b.ret(b.load(slots[1], typ=vectors[1].type))


def _vector(module, name, scalar, limit, lanes):
    """The version of `scalar` for vectors of this many lanes."""
    t = ir.VectorType(scalar.ftype.return_type, lanes)
    function = _define(module, f"{name}.v{lanes}", t, [t] * len(scalar.args))
    b = ir.IRBuilder(function.append_basic_block())
    mask = b.bitcast(_beyond(b, function.args[0], limit), ir.IntType(lanes))
    slow, fast = b.append_basic_block("slow"), b.append_basic_block("fast")
    branch = b.cbranch(b.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0)), slow, fast)
    branch.set_weights([1, 2000])
    b.position_at_end(fast)
    b.ret(function.args[1])
    b.position_at_end(slow)
    _each_lane(b, scalar, function.args, lanes)
    return function


def _family(module, library, t, limit, count):
    """The scalar function with its vector versions, once per module."""
    name = f"hnn_rare_{library}"
    if name in module.globals:
        return module.globals[name]
    scalar = _scalar(module, name, t, library, limit, count)
    # The lanes' own function has no vector versions: LLVM would turn the loop over the lanes of one into a call of that very one.
    lane = _scalar(module, f"{name}.lane", t, library, limit, count)
    width = 32 if t == F32 else 64
    vectors = [_vector(module, name, lane, limit, bits // width) for bits in vector_bits()]
    mangled = [f"_ZGV_LLVM_N{f.args[0].type.count}{'v' * len(f.args)}_{name}({f.name})" for f in vectors]
    set.add(scalar.attributes, f'"vector-function-abi-variant"="{",".join(mangled)}"')
    return scalar


def rarely(library: str, limit: float, measure: V, y: V, *xs: V) -> V:
    """`y`, but `library(*xs)` where |measure| > limit. All are of one float type; `library` is a C function of that type."""
    function = _family(y.b.module, library, y.v.type, limit, len(xs))
    return V(y.b, y.b.call(function, [measure.v, y.v, *(x.v for x in xs)]))
