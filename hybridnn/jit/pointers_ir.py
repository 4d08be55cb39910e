"""The LLVM side of ``pointers``: addresses out of the kernel ABI, and the metadata that says which accesses are parallel."""
from llvmlite import ir

from hybridnn.jit import machine

__all__ = ["ELEMENT_NAMES", "access_group", "element_address", "mark_loop", "parallel_properties"]

# suffix of a `ptr_*` name -> numba's name of the element type
ELEMENT_NAMES = {"f32": "float32", "f64": "float64", "f16": "uint16", "bool": "boolean",
                 **{f"{sign[0]}{bits}": f"{sign}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)}}
# Vectors of a loop that are taken at once, if it is small (of so many instructions), and half as many where it has sums, the order of which should not depend
# on its size, or is larger. Beyond the largest size compiling takes twice as long for it.
AT_ONCE, SMALL, LARGEST = 4, 64, 192
INT64, PTR = ir.IntType(64), ir.PointerType()


class _Distinct(ir.MDValue):
    """A metadata node that equals no other; a loop's names itself first."""

    def descr(self, buf):
        names = [self] * bool(self.operands) + list(self.operands)
        buf += (f"distinct !{{ {', '.join(node.get_reference() for node in names)} }}\n",)


def _distinct(module, *operands):
    return _Distinct(module, operands, str(len(module.metadata)))


def access_group(module):
    """The module's group of parallel accesses: the metadata of loads and stores through `ptr_*`."""
    nodes = [node for node in module.metadata if isinstance(node, _Distinct) and not node.operands]
    return nodes[0] if nodes else _distinct(module)


def parallel_properties(module):
    """What the metadata of a parallel loop lists."""
    accesses = module.add_metadata([ir.MetaDataString(module, "llvm.loop.parallel_accesses"), access_group(module)])
    # Without this the scalar rest of at most 7 iterations is unrolled: more code, slower to compile, no faster.
    rolled = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    return accesses, rolled


def mark_loop(module, branch, properties, long, size=0, sums=True):
    """Give the branch that closes a loop its metadata. ``long``: whether it goes over many elements; ``size``: instructions in it, if known; ``sums``: whether
    it may carry something from iteration to iteration."""
    count = _vectors_at_once(size, sums) if long and not machine.has_wide_registers() else 1
    if count > 1:
        properties += module.add_metadata([ir.MetaDataString(module, "llvm.loop.interleave.count"), ir.Constant(ir.IntType(32), count)]),
    branch.set_metadata("llvm.loop", _distinct(module, *properties))


def _vectors_at_once(size, sums):
    """How many vectors LLVM shall take at once.

    Elementary functions are long chains of operations, each of which waits for the one before, and a core may hold too few instructions to work on several
    iterations meanwhile: on Zen 3, loops of exp, tanh and softplus take 0.67 to 0.8 of the time. LLVM sees gains in tiny loops only. With AVX-512 that stands;
    and loops over few elements are left alone, whose rest, in vectors of half the size, would be most of it.
    """
    if size > LARGEST:
        return 1
    return AT_ONCE if size <= SMALL and not sums else AT_ONCE // 2


def element_address(builder, bufs, args, k):
    """`bufs[args[k]] + args[k + 1]` as an integer; `k` is an int64 value."""
    def word(base, index):
        return builder.load(builder.gep(base, [index], source_etype=INT64), typ=INT64)
    following = builder.add(k, ir.Constant(INT64, 1))
    return builder.add(word(bufs, word(args, k)), word(args, following))
