"""Typed element pointers of the kernel ABI, and the promise that a kernel's loops are parallel.

Every kernel is `void k(int64* bufs, int64* args, int64 lo, int64 hi)`. `ptr_f32(bufs, args, k)` is the address `bufs[args[k]] +
args[k + 1]` (a buffer's base and a byte offset) as a float32 pointer: `p[i]` loads, `p[i] = v` stores, without bounds checks.
`parallel_loops()` as the kernel's last statement states that no iteration of its loops reads or writes, through such a pointer,
an element that another iteration writes. An output may then still be the very buffer of an input (same index, in place), and
LLVM vectorises with any number of pointers and without run-time alias checks (LangRef: llvm.loop.parallel_accesses). Kernels
that scatter or carry values through memory use `serial_ptr_*`, or leave `parallel_loops()` out. `local_f32(64)` is room for so
many elements on the stack.
"""
from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model

from hybridnn.jit.pointers_ir import ELEMENT_NAMES, access_group, element_address, mark_loop, parallel_properties

INT64_PTR = types.CPointer(types.int64)
KERNEL_SIGNATURE = types.void(INT64_PTR, INT64_PTR, types.int64, types.int64)
ELEMENTS = {key: getattr(types, name) for key, name in ELEMENT_NAMES.items()}


class ElementPointer(types.CPointer):
    """A pointer whose accesses may carry the `parallel` mark."""

    def __init__(self, dtype, parallel):
        super().__init__(dtype)
        self.parallel = parallel
        self.name = f"{'parallel' if parallel else 'serial'} {self.name}"

    @property
    def key(self):
        return self.dtype, self.parallel


register_model(ElementPointer)(models.PointerModel)


def _mark(builder, instruction, pointer_type):
    if pointer_type.parallel:
        instruction.set_metadata("llvm.access.group", access_group(builder.module))


@lower_builtin(operator.getitem, ElementPointer, types.Integer)
def _load(context, builder, sig, args):
    value = builder.load(builder.gep(args[0], [args[1]], inbounds=True))
    _mark(builder, value, sig.args[0])
    return context.data_model_manager[sig.return_type].from_data(builder, value)


@lower_builtin(operator.setitem, ElementPointer, types.Integer, types.Any)
def _store(context, builder, sig, args):
    data = context.data_model_manager[sig.args[2]].as_data(builder, args[2])
    store = builder.store(data, builder.gep(args[0], [args[1]], inbounds=True))
    _mark(builder, store, sig.args[0])
    return context.get_dummy_value()


def _pointer_intrinsic(name, dtype, parallel):
    def typed(typingctx, bufs, args, k):
        result = ElementPointer(dtype, parallel)

        def codegen(context, builder, sig, values):
            return builder.inttoptr(element_address(builder, *values), context.get_value_type(sig.return_type))

        return result(INT64_PTR, INT64_PTR, types.int64), codegen

    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


POINTERS = {
    f"{kind}{key}": _pointer_intrinsic(f"{kind}{key}", dtype, kind == "ptr_")
    for key, dtype in ELEMENTS.items() for kind in ("ptr_", "serial_ptr_")
}


def _local_intrinsic(name, dtype):
    def typed(typingctx, count):
        if not isinstance(count, types.IntegerLiteral):
            return None
        result, size = ElementPointer(dtype, True), count.literal_value

        def codegen(context, builder, sig, values):
            element = context.get_data_type(dtype)
            with builder.goto_entry_block():
                memory = builder.alloca(ir.ArrayType(element, size))
            return builder.bitcast(memory, context.get_value_type(sig.return_type))

        return result(count), codegen

    typed.__name__ = typed.__qualname__ = name
    return intrinsic(prefer_literal=True)(typed)


LOCALS = {f"local_{key}": _local_intrinsic(f"local_{key}", dtype) for key, dtype in ELEMENTS.items()}
globals().update(POINTERS | LOCALS)


@intrinsic
def turn(typingctx, to, to_at, to_step, source, at, step, rows, cols):
    """to[to_at + j * to_step + i] = source[at + i * step + j] for so many rows i and columns j of elements of four bytes; see ``squares``."""
    def codegen(context, builder, sig, args):
        to, to_at, to_step, source, at, step, rows, cols = args
        with cgutils.for_range(builder, cols) as outer, cgutils.for_range(builder, rows) as inner:
            i, j = inner.index, outer.index
            x = builder.load(builder.gep(source, [builder.add(at, builder.add(builder.mul(i, step), j))]))
            builder.store(x, builder.gep(to, [builder.add(to_at, builder.add(builder.mul(j, to_step), i))]))
        return context.get_dummy_value()
    return types.none(to, *[types.int64] * 2, source, *[types.int64] * 4), codegen


def _back_edges(function):
    """The branches that close the function's loops: those to a block that is not below them."""
    place = {block.name: i for i, block in enumerate(function.blocks)}
    for i, block in enumerate(function.blocks):
        branch = block.terminator
        targets = getattr(branch, "operands", ())
        if any(isinstance(t, ir.Block) and place[t.name] <= i for t in targets):
            yield branch


def _parallel(long):
    def typed(typingctx):
        def codegen(context, builder, sig, args):
            module = builder.module
            properties = parallel_properties(module)
            for branch in _back_edges(builder.function):
                mark_loop(module, branch, properties, long)
            return context.get_dummy_value()

        return types.none(), codegen

    return intrinsic(typed)


# Last statement of a kernel: all loops before it are parallel in what they do through `ptr_*` pointers, and the innermost of them are long, as far as known.
parallel_loops, parallel_long_loops = _parallel(False), _parallel(True)
