"""Lowering of what goes along one axis, and of arrays that are filled and copied into."""
import numpy as np

from hybridnn.core.op import OPS
from hybridnn.jit.moves import ITEM_SIZES, fill_step
from hybridnn.jit.places import viewed
from hybridnn.jit.scans import KINDS, OPERANDS, scan_step

__all__ = ["SCANS"]

WHOLE = ("slice", None, None, None)
RUNNING = ("cumsum", "cumprod")  # whose results may have a wider dtype than what they read: of short ints


def _scan(low, node):
    attrs, spec = dict(node.attrs), low.specs[node.inputs[0]]
    axis = attrs["axis"][0] if isinstance(attrs["axis"], tuple) else attrs["axis"]
    if spec.dtype not in KINDS or not spec.size or any(low.specs[v] != spec for v in node.inputs):
        return False
    if node.op.name in RUNNING and low.specs[node.outputs[0]].dtype != spec.dtype:
        return False
    places, y = [low.dense(v) for v in node.inputs], low.new_value(node.outputs[0])
    if axis is None:
        axis, places = 0, [_flat(p) for p in places]
    low.step("scan", node.op.name, places, [y],
             lambda at: scan_step(node.op.name, [at(p) for p in places], at(y), spec.dtype, axis % len(places[0].shape), attrs.get("reverse", False)), node)
    return True


def _flat(place):
    return viewed(place, OPS["reshape"], {"shape": (-1,)})


def _filled(low, node, value):
    """The node's result, filled with a number."""
    spec = low.specs[node.outputs[0]]
    if spec.dtype.itemsize not in ITEM_SIZES or not spec.size:
        return None
    y = low.new_value(node.outputs[0])
    low.step("fill", node.op.name, [], [y], lambda at: fill_step(at(y), value, spec.dtype), node)
    return y


def _part(y, index):
    return viewed(y, OPS["get_item"], {"index": index})


def _shift(low, node):
    """What is moved, in an array full of a constant number."""
    x, fill = node.inputs
    attrs, numbers = dict(node.attrs), dict(low.graph.constants)
    if fill not in numbers or not low.specs[fill].weak or low.specs[x].dtype != low.specs[node.outputs[0]].dtype:
        return False
    y = _filled(low, node, numbers[fill])
    if y is None:
        return False
    n, steps = y.shape[attrs["axis"]], attrs["steps"]
    lead = (WHOLE,) * (attrs["axis"] % len(y.shape))
    if abs(steps) < n:
        parts = ("slice", 0, n - abs(steps), None), ("slice", abs(steps), n, None)
        source, target = parts if steps > 0 else parts[::-1]
        low.must_copy(_part(low.values[x], (*lead, source)), _part(y, (*lead, target)))
    return True


def _pad(low, node):
    attrs = dict(node.attrs)
    value = dict(attrs["options"]).get("constant_values", 0)
    x = node.inputs[0]
    if attrs["mode"] != "constant" or np.ndim(value) or set(dict(attrs["options"])) - {"constant_values"} or not low.specs[x].size:
        return False
    y = _filled(low, node, value)
    if y is None:
        return False
    index = tuple([("slice", a, a + n, None) for (a, _), n in zip(attrs["width"], low.specs[x].shape)])
    low.must_copy(low.values[x], _part(y, index))
    return True


def _copy(low, node):
    """Values do not change: a copy is the value itself."""
    low.values[node.outputs[0]] = low.values[node.inputs[0]]
    return True


def _prod(low, node):
    """Over one axis, or neighbours."""
    x, attrs = node.inputs[0], dict(node.attrs)
    spec, axis = low.specs[x], attrs["axis"]
    n = len(spec.shape)
    gone = list(range(n)) if axis is None else sorted(a % n for a in (axis if isinstance(axis, tuple) else (axis,)))
    if spec.dtype not in KINDS or low.specs[node.outputs[0]].dtype != spec.dtype or not spec.size or not gone or gone[-1] - gone[0] >= len(gone):
        return False
    place, y = low.dense(x), low.new_value(node.outputs[0])
    shape = *spec.shape[:gone[0]], -1, *spec.shape[gone[-1] + 1:]
    place = viewed(place, OPS["reshape"], {"shape": shape})
    low.step("scan", "prod", [place], [y], lambda at: scan_step("prod", [at(place)], at(y), spec.dtype, gone[0]), node)
    return True


def _zeros(low, node):
    return _filled(low, node, 0) is not None


SCANS = {**dict.fromkeys(OPERANDS, _scan), "prod": _prod, "copy": _copy, "shift": _shift, "pad": _pad, "zeros_for": _zeros}
