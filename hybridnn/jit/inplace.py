"""Which results of a kernel may take the memory of an operand: what a plan of memory may do depends on the order in which the text reads and writes."""
from hybridnn.jit.source_row import loops_of_pointers

__all__ = ["inplace_pairs"]

# styles whose text goes over a row several times; "short" works on copies, but not on CUDA
_IN_LOOPS = {"cpu": ("row", "flat"), "cuda": ("row", "flat", "short")}


def inplace_pairs(arranged, target="cpu"):
    """Pairs (output, operand) that a kernel goes through in the same way, reading an element last just before it writes it.

    An operand that the kernel also goes through in another way (x + x.T) does not qualify. In columns, what has an element for every row is read and written
    in one loop, and what has none after it.
    """
    style = arranged.structure.style
    loads_until, stores_from = loops_of_pointers(arranged.structure) if style in _IN_LOOPS[target] else ({}, {})
    loads, stores = {}, []      # operand -> how it is gone through, and until which loop
    for n, ((position, role, _), pointer, strides) in enumerate(zip(arranged.operands, arranged.structure.pointers, arranged.strides)):
        if role == "load":
            loads.setdefault(position, []).append((pointer.kind, strides, loads_until.get(n, 0)))
        elif role == "store":
            stores.append((position, pointer.kind, strides, stores_from.get(n, 0)))
    return tuple([(out, position) for out, kind, strides, first in stores for position, same in loads.items()
                  if all([k == kind and s == strides and last <= first for k, s, last in same])])
