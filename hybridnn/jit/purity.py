"""Which operations of a graph do nothing but compute."""
from hybridnn.core.op import OPS

__all__ = ["is_pure"]

MADE_BY_PASSES = frozenset(["number", "fused", "join", "products", "scatters", "channels last"])


def is_pure(op):
    """Whether the op does nothing but compute its outputs: those that are declared in the registry do, and those that passes make of them."""
    return OPS.get(op.name) is op or op.kind in MADE_BY_PASSES
