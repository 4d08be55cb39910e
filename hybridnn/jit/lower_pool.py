"""Lowering of pooling to native steps."""
import numpy as np

from hybridnn.jit.places import channels_first
from hybridnn.jit.pooling import ARRAYS, AXES, KINDS, PLACES, pooling_step

__all__ = ["POOLINGS", "ROLES"]

# op -> arrays that are operands, arrays that are results
ROLES = {
    "max_pooling": ("x", "yp"), "sum_pooling": ("x", "y"), "max_pooling_pick": ("xp", "y"), "max_pooling_grad": ("yp", "x"),
    "sum_pooling_grad": ("y", "x"),
}


def _pooling(low, node):
    name, attrs = node.op.name, dict(node.attrs)
    operands, results = ROLES[name]
    turned = channels_first if node.op.kind == "channels last" else lambda x: x
    places = dict(zip(operands, (turned(low.values[v]) for v in node.inputs)))
    kinds = {**{a: p.dtype for a, p in places.items()}, **{a: low.specs[v].dtype for a, v in zip(results, node.outputs)}}
    axes, place = len(attrs["ksize"]), kinds.get("p", np.dtype(np.int32))
    if not 0 < axes <= AXES or kinds["x"] not in KINDS or kinds["x"] != kinds["y"] or place not in PLACES:
        return False
    if any(low.specs[v].size == 0 for v in (*node.inputs, *node.outputs)):
        return False
    if node.op.kind == "channels last":
        places = dict(zip(operands, (turned(low.dense(v)) for v in node.inputs)))
    if any(s % p.dtype.itemsize for p in places.values() for s in (p.offset, *p.strides)):
        return False
    reads, writes = list(places.values()), [low.new_value(v) for v in node.outputs]
    places.update(zip(results, map(turned, writes)))
    window = attrs["ksize"], attrs["stride"], attrs["pad"]
    low.step("pooling", name, reads, writes,
             lambda at: pooling_step(name, {a: at(places[a]) for a in ARRAYS[name]}, kinds["x"], *window, place), node)
    return True


POOLINGS = dict.fromkeys(ROLES, _pooling)
