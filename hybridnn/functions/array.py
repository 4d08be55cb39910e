"""Shapes, joining, splitting, indexing and rearranging."""
import operator
from math import prod as _prod

import numpy as np

from hybridnn.backend import CpuDevice, beside, cupy, get_device, get_device_from_array
from hybridnn.config import config
from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast as _cast
from hybridnn.core.arithmetic import identity as _identity
from hybridnn.core.arithmetic import where as _where
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.indexing import encode_index as _encode_index
from hybridnn.core.indexing import get_item as _get_item
from hybridnn.core.indexing import is_basic, put, put_item
from hybridnn.core.shapes import broadcast_to as _broadcast_to
from hybridnn.core.shapes import reshape as _reshape
from hybridnn.core.shapes import transpose as _transpose
from hybridnn.core.variable import Variable, as_variable
from hybridnn.errors import BackendError, InvalidType
from hybridnn.ops import array as _o
from hybridnn.ops import selection as _selection
from hybridnn.ops.axes import axes_of, axis_of, of_shape

__all__ = ["broadcast", "broadcast_to", "cast", "concat", "copy", "depth2space", "diagonal", "dstack", "expand_dims",
           "flatten", "flatten_batch", "flip", "fliplr", "flipud", "get_item", "hstack", "moveaxis", "pad",
           "pad_sequence", "permutate", "pixel_shuffle", "repeat", "reshape", "roll", "rollaxis", "scatter_add",
           "select_item", "separate", "space2depth", "split_axis", "squeeze", "stack", "swapaxes", "tile", "top_k",
           "transpose", "transpose_sequence", "vstack", "where"]


# ---------------------------------------------------------------------------------------------------------------------- shapes

def reshape(x, shape):
    """The elements in row-major order under another shape, in which one length may be -1; ``x`` itself if that is its shape."""
    x = of_shape(x)
    return as_variable(x) if x.shape == shape else _reshape.to(x, shape)


def flatten(x):
    """All elements along one axis; ``x`` itself if it has no other."""
    x = of_shape(x)
    return as_variable(x) if len(x.shape) == 1 else _reshape.to(x, (-1,))


def flatten_batch(x):
    """``x`` (N, ...) as a matrix (N, rest)."""
    x = of_shape(x)
    if not x.shape:
        raise InvalidType("flatten_batch", "an array with at least one axis", "x.shape=()")
    return _reshape.to(x, (x.shape[0], _prod(x.shape[1:])))


def transpose(x, axes=None):
    """Permuted axes (None: reversed)."""
    return _transpose.by(of_shape(x), axes)


def swapaxes(x, axis1, axis2):
    """Two axes exchanged."""
    x = of_shape(x)
    order = list(range(x.ndim))
    i, j = axis_of("swapaxes", axis1, x.ndim), axis_of("swapaxes", axis2, x.ndim)
    order[i], order[j] = j, i
    return _transpose.by(x, order)


def rollaxis(x, axis, start=0):
    """One axis moved to lie before the axis ``start``."""
    x = of_shape(x)
    axis = axis_of("rollaxis", axis, x.ndim)
    start = axis_of("rollaxis", start, x.ndim + 1) if operator.index(start) >= 0 else axis_of("rollaxis", start, x.ndim)
    order = [i for i in range(x.ndim) if i != axis]
    order.insert(start - (start > axis), axis)
    return _transpose.by(x, order)


def moveaxis(x, source, destination):
    """Axes moved to other positions; the rest keep their order. Both are ints or tuples of ints."""
    x = of_shape(x)
    pairs = [i if isinstance(i, (tuple, list)) else (i,) for i in (source, destination)]
    source, destination = ([axis_of("moveaxis", i, x.ndim) for i in one] for one in pairs)
    if len(source) != len(destination) or len(set(source)) != len(source) or len(set(destination)) != len(destination):
        raise InvalidType("moveaxis", "as many distinct destinations as sources", f"source={pairs[0]}, destination={pairs[1]}")
    order = [i for i in range(x.ndim) if i not in source]
    for d, s in sorted(zip(destination, source)):
        order.insert(d, s)
    return _transpose.by(x, order)


def expand_dims(x, axis):
    """A new axis of length 1 at position ``axis``."""
    x = of_shape(x)
    axis = axis_of("expand_dims", axis, x.ndim + 1)
    return apply(_reshape, (x,), {"shape": (*x.shape[:axis], 1, *x.shape[axis:])})


def squeeze(x, axis=None):
    """Without axes of length 1: all of them, or those named (an int or a tuple)."""
    x = of_shape(x)
    axes = axes_of("squeeze", axis, x.ndim)
    if axes is not None and any(x.shape[i] != 1 for i in axes):
        raise InvalidType("squeeze", "axes of length 1", f"axis={axis}, x.shape={x.shape}")
    shape = tuple(n for i, n in enumerate(x.shape) if (n != 1 if axes is None else i not in axes))
    return apply(_reshape, (x,), {"shape": shape})


def broadcast_to(x, shape):
    """``x`` repeated along new and one-element axes."""
    x, shape = as_variable(x), tuple(shape)
    if x.shape == shape:
        return x
    lead = len(shape) - x.ndim
    if lead < 0 or any(n != m and n != 1 for n, m in zip(x.shape, shape[lead:])):
        raise InvalidType("broadcast_to", f"a shape that {x.shape} broadcasts to", str(shape))
    return apply(_broadcast_to, (x,), {"shape": shape})


def broadcast(*args):
    """All inputs, broadcast to their common shape: a tuple (one input: itself)."""
    xs = [as_variable(x) for x in args]
    if not xs:
        raise InvalidType("broadcast", "at least one input", "none")
    try:
        shape = np.broadcast_shapes(*[x.shape for x in xs])
    except ValueError:
        raise InvalidType("broadcast", "shapes that broadcast", ", ".join(str(x.shape) for x in xs)) from None
    ys = tuple([broadcast_to(x, shape) for x in xs])
    return ys[0] if len(ys) == 1 else ys


def cast(x, typ):
    """The same numbers in another dtype."""
    x, typ = as_variable(x), np.dtype(typ)
    if x.dtype == typ:      # a node of its own where there is a graph, but the same memory
        return apply(_identity, (x,)) if x.requires_grad and config.enable_backprop else x
    return apply(_cast, (x,), {"dtype": typ.str})


def copy(x, dst):
    """A copy on a device; its gradient comes back to where ``x`` is.

    Args:
        x: Variable or array.
        dst: a number (-1: the CPU), "@numpy", "@cupy:0", a ``Device``, or ``cuda.DummyDevice`` (the CPU). ``BackendError`` for a GPU that is not there.
    """
    device = _device(dst)
    if cupy is None:
        return apply(_o.copy, (x,))
    x = as_variable(x)
    return apply(_o.copy, (x,)) if x.device == device else _Copy(device).apply((x,))[0]


def _device(dst):
    try:
        return CpuDevice() if dst == "native" or getattr(dst, "id", None) == -1 else get_device(dst)
    except (BackendError, TypeError, ValueError) as error:
        raise BackendError(f"copy: expected a device that is there\n  got: {dst!r}\n  {error}") from error


class _Copy(FunctionNode):
    """From one device to another."""

    def __init__(self, device):
        self.device = device

    def forward(self, arrays):
        self.source = get_device_from_array(*arrays)
        return self.device.send(arrays)

    def backward(self, indexes, gradients):
        return copy(gradients[0], self.source),


# ------------------------------------------------------------------------------------------------------------- join and split

def _joined(name, xs):
    xs = tuple([of_shape(x) for x in xs])
    if not xs:
        raise InvalidType(name, "at least one array", "an empty sequence")
    return xs


def _check_fit(name, xs, axis):
    """All arrays agree in rank and, ``axis`` apart, in shape."""
    first = xs[0].shape
    for x in xs[1:]:
        shape = x.shape
        if shape != first and (len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1:] != first[axis + 1:]):
            raise InvalidType(name, f"arrays that agree on all axes but {axis}", ", ".join(str(x.shape) for x in xs))


def concat(xs, axis=1):
    """Arrays one behind the other along an existing axis."""
    xs = _joined("concat", xs)
    axis = axis_of("concat", axis, len(xs[0].shape))
    _check_fit("concat", xs, axis)
    return apply(_o.concat, xs, {"axis": axis})


def stack(xs, axis=0):
    """Arrays of one shape side by side along a new axis."""
    xs = _joined("stack", xs)
    if any(x.shape != xs[0].shape for x in xs):
        raise InvalidType("stack", "arrays of one shape", ", ".join(str(x.shape) for x in xs))
    return apply(_o.stack, xs, {"axis": axis_of("stack", axis, len(xs[0].shape) + 1)})


def _joined_alike(name, xs):
    xs = _joined(name, xs)
    if any(x.ndim != xs[0].ndim for x in xs):
        raise InvalidType(name, "arrays with the same number of axes", ", ".join(str(x.shape) for x in xs))
    return xs


def hstack(xs):
    """Arrays one behind the other along the second axis (the first if they have one axis)."""
    xs = tuple([reshape(x, (1,)) if x.ndim == 0 else x for x in _joined_alike("hstack", xs)])
    return _concat_as("hstack", xs, 0 if xs[0].ndim == 1 else 1)


def vstack(xs):
    """Arrays one below the other along the first axis; vectors are rows."""
    return _concat_as("vstack", tuple([reshape(x, (1, -1)) if x.ndim < 2 else x for x in _joined_alike("vstack", xs)]), 0)


def dstack(xs):
    """Arrays behind each other along the third axis, which is added where it is missing."""
    return _concat_as("dstack", tuple([_with_depth(x) for x in _joined_alike("dstack", xs)]), 2)


def _concat_as(name, xs, axis):
    _check_fit(name, xs, axis)
    return apply(_o.concat, xs, {"axis": axis})


def _with_depth(x):
    return x if x.ndim >= 3 else reshape(x, (1, -1, 1) if x.ndim < 2 else (*x.shape, 1))


def split_axis(x, indices_or_sections, axis, force_tuple=True):
    """Pieces along an axis.

    Args:
        x: Variable or array.
        indices_or_sections: the number of equal pieces, or the sequence of positions at which to cut.
        axis: the axis to cut.
        force_tuple: return a tuple also when there is one piece.
    """
    x = of_shape(x)
    axis = axis_of("split_axis", axis, x.ndim)
    ys = apply(_o.split, (x,), {"axis": axis, "at": _cut_positions(indices_or_sections, x.shape[axis])})
    return ys if force_tuple or len(ys) > 1 else ys[0]


def _cut_positions(where, n):
    if isinstance(where, (int, np.integer)) or getattr(where, "ndim", None) == 0:
        where = int(where)
        if where < 1 or n % where:
            raise InvalidType("split_axis", "a number of sections that divides the axis", f"{where} sections of {n}")
        return tuple(range(n // where, n, n // where)) if n else (0,) * (where - 1)
    try:
        at = [min(max(i + n if i < 0 else i, 0), n) for i in map(operator.index, where)]
    except TypeError:
        raise InvalidType("split_axis", "indices_or_sections as an int or a sequence of ints", repr(where)) from None
    if any(i > n for i in where):
        raise InvalidType("split_axis", f"positions up to the axis' length {n}", str(list(where)))
    if sorted(at) != at:
        raise InvalidType("split_axis", "positions that do not decrease", str(list(where)))
    return tuple(at)


def separate(x, axis=0):
    """The arrays that lie side by side along an axis, which they lose: a tuple."""
    x = of_shape(x)
    axis = axis_of("separate", axis, len(x.shape))
    return apply(_o.separate, (x,), {"axis": axis}) if x.shape[axis] else ()


def pad_sequence(xs, length=None, padding=0):
    """Arrays of several lengths as one (N, length, ...), filled up with ``padding``. ``length`` None: that of the longest."""
    xs = _joined("pad_sequence", xs)
    if any(x.ndim == 0 or x.shape[1:] != xs[0].shape[1:] for x in xs):
        raise InvalidType("pad_sequence", "arrays that agree on all axes but the first", ", ".join(str(x.shape) for x in xs))
    longest = max(x.shape[0] for x in xs)
    length = longest if length is None else length
    if longest > length:
        raise InvalidType("pad_sequence", f"sequences no longer than length={length}", f"one of {longest}")
    return apply(_o.pad_sequence, (padding, *xs), {"length": length})


def transpose_sequence(xs):
    """Batch-major to time-major: output t stacks row t of every input that has one. The inputs' lengths must not increase."""
    xs = tuple([of_shape(x) for x in xs])
    lengths = tuple(x.shape[0] for x in xs)
    if list(lengths) != sorted(lengths, reverse=True):
        raise InvalidType("transpose_sequence", "lengths that do not increase", str(lengths))
    if not lengths or not lengths[0]:
        return ()
    return apply(_o.transpose_sequence, xs, {"lengths": lengths})


# -------------------------------------------------------------------------------------------------------------- repeat and move

def _int_tuple(name, what, x):
    x = x if isinstance(x, (tuple, list)) else (x,)
    if not all(isinstance(i, (int, np.integer)) and i >= 0 for i in x):
        raise InvalidType(name, f"{what} as an int or a tuple of ints, zero or larger", repr(x))
    return tuple(int(i) for i in x)


def tile(x, reps):
    """``x`` repeated as a whole ``reps`` times along each axis."""
    if isinstance(x, (tuple, list)):
        raise InvalidType("tile", "one Variable, array or number", f"a {type(x).__name__} of {len(x)}", "functions.stack makes one of several")
    return apply(_o.tile, (x,), {"reps": _int_tuple("tile", "reps", reps)})


def repeat(x, repeats, axis=None):
    """Each element along an axis ``repeats`` times (an int, or a tuple with a number for each); ``axis`` None: all, flat."""
    x = of_shape(x)
    repeats = _int_tuple("repeat", "repeats", repeats)
    if isinstance(axis, bool):
        raise InvalidType("repeat", "axis as an int or None", repr(axis))
    x, axis = (_reshape.to(x, (-1,)), 0) if axis is None else (x, axis_of("repeat", axis, x.ndim))
    if len(repeats) not in (1, x.shape[axis]):
        raise InvalidType("repeat", f"one number, or {x.shape[axis]} of them", f"repeats={repeats}")
    return apply(_o.repeat, (x,), {"repeats": repeats, "axis": axis})


def flip(x, axis):
    """Reversed along an axis (an int or a tuple of ints)."""
    x = of_shape(x)
    axes = axes_of("flip", axis, x.ndim) or ()
    return x[_reversing(axes, x.ndim)] if isinstance(x, Variable) else _get_item.index(x, _reversing(axes, x.ndim))


def _reversing(axes, ndim):
    return tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim))


def fliplr(a):
    """Reversed along the second axis."""
    a = of_shape(a)
    if a.ndim < 2:
        raise InvalidType("fliplr", "an array with at least 2 axes", f"a.shape={a.shape}")
    return flip(a, 1)


def flipud(a):
    """Reversed along the first axis."""
    a = of_shape(a)
    if a.ndim < 1:
        raise InvalidType("flipud", "an array with at least one axis", f"a.shape={a.shape}")
    return flip(a, 0)


def roll(x, shift, axis=None):
    """Elements moved along axes, those that leave at one end coming in at the other (``axis`` None: in the flattened array)."""
    x = of_shape(x)
    if axis is None:
        return _reshape.to(apply(_o.roll, (_reshape.to(x, (-1,)),), {"shift": (operator.index(shift),), "axis": (0,)}), x.shape)
    axis = axis if isinstance(axis, (tuple, list)) else (axis,)
    shift = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axis)
    if len(shift) != len(axis):
        raise InvalidType("roll", "one shift for each axis", f"shift={shift}, axis={axis}")
    axis = tuple(axis_of("roll", a, x.ndim) for a in axis)
    return apply(_o.roll, (x,), {"shift": tuple(map(operator.index, shift)), "axis": axis})


def pad(x, pad_width, mode, **keywords):
    """NumPy's pad.

    Args:
        x: Variable or array.
        pad_width: an int, a pair (before, after), or such a pair for each axis.
        mode: ``"constant"`` (with ``constant_values``), ``"edge"``, ``"reflect"``, ``"symmetric"`` or ``"wrap"``.
    """
    x = of_shape(x)
    try:
        width = np.broadcast_to(np.asarray(pad_width).astype(int, casting="safe"), (x.ndim, 2))
    except (TypeError, ValueError):
        raise InvalidType("pad", f"pad_width as an int, a pair, or {x.ndim} pairs", repr(pad_width)) from None
    if (width < 0).any():
        raise InvalidType("pad", "pad_width of zero or more", repr(pad_width))
    width = tuple((int(a), int(b)) for a, b in width)
    options = tuple(sorted((k, _frozen(v)) for k, v in keywords.items()))
    if mode == "constant" and repr(_frozen(keywords.get("constant_values", 0))) in ("0", "0.0"):       # -0.0 is another number
        index = tuple(("slice", a, a + n, None) for (a, _), n in zip(width, x.shape))
        return apply(put_item, (x,), {"shape": tuple(a + n + b for (a, b), n in zip(width, x.shape)), "index": index})
    return apply(_o.pad, (x,), {"width": width, "mode": mode, "options": options})


def _frozen(v):
    if isinstance(v, (list, tuple, np.ndarray)) and np.ndim(v):
        return tuple(map(_frozen, v))
    return v.item() if hasattr(v, "item") else v


# ------------------------------------------------------------------------------------------------------------------- selection

def get_item(x, slices):
    """``x[slices]``, with everything that NumPy's indexing takes; indices may be Variables. A view for slices and Python's ints."""
    return _get_item.index(of_shape(x), _as_index("get_item", slices))


def _as_index(name, slices):
    """A list of ints is one index array; another list is a tuple of indices (as in Chainer)."""
    if isinstance(slices, list):
        slices = (slices,) if all(isinstance(s, int) for s in slices) else tuple(slices)
    slices = slices if isinstance(slices, tuple) else (slices,)
    if sum(s is Ellipsis for s in slices) > 1:
        raise InvalidType(name, "at most one Ellipsis", repr(slices))
    return tuple([np.asarray(s, np.intp) if isinstance(s, list) and np.size(s) == 0 else s for s in slices])


def _axes_used(index):
    if getattr(getattr(index, "dtype", None), "kind", "") == "b":
        return max(index.ndim, 1)
    return 0 if index is None or index is Ellipsis else 1


def scatter_add(a, slices, b):
    """``a`` with ``b`` added at ``a[slices]``; places that the index names several times get several additions. Floats keep ``a``'s dtype."""
    a, b = as_variable(a), as_variable(b)
    slices = _as_index("scatter_add", slices)
    used = sum(map(_axes_used, slices))
    if used > a.ndim:
        raise InvalidType("scatter_add", f"at most {a.ndim} indices", f"{used}, a.shape={a.shape}")
    selected = _get_item.index(a, slices)
    if selected.shape != b.shape:
        raise InvalidType("scatter_add", f"b of a[slices]'s shape {selected.shape}", f"b.shape={b.shape}")
    y = a + _placed(a, slices, b)
    return y if y.dtype == a.dtype or a.dtype.kind != "f" else apply(_cast, (y,), {"dtype": a.dtype.str})


def _placed(a, slices, b):
    """Zeros of ``a``'s shape to which ``b`` is added at ``slices``."""
    if all(map(is_basic, slices)):
        return apply(put_item, (b,), {"shape": a.shape, "index": _encode_index(slices)})
    arrays, pattern = [], []
    for s in slices:
        if s is None or s is Ellipsis or isinstance(s, slice):
            pattern += _encode_index((s,))
        else:
            pattern.append(("array", len(arrays)))
            arrays.append(s if hasattr(s, "shape") else np.asarray(s))
    return apply(put, (b, *arrays), {"shape": a.shape, "pattern": tuple(pattern)})


def select_item(x, t):
    """``x[i, t[i]]`` for every row i of ``x`` (N, C); ``t`` (N,) holds ints in [0, C)."""
    x, t = of_shape(x), of_shape(t)
    if x.ndim != 2 or t.ndim != 1 or t.dtype.kind not in "iu" or x.shape[0] != t.shape[0]:
        raise InvalidType("select_item", "x (N, C) and integers t (N,)", f"x.shape={x.shape}, t: {t.dtype}{list(t.shape)}")
    return apply(_selection.select_item, (x, t))


def permutate(x, indices, axis=0, inv=False):
    """Slices along an axis in the order of ``indices``, a permutation; ``inv`` undoes it."""
    x = of_shape(x)
    indices = beside(of_shape(indices), x)
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise InvalidType("permutate", "a one-dimensional array of ints as indices", f"{indices.dtype}{list(indices.shape)}")
    axis = axis_of("permutate", axis, x.ndim)
    if len(indices) != x.shape[axis]:
        raise InvalidType("permutate", f"as many indices as x.shape[{axis}]={x.shape[axis]}", str(len(indices)))
    return apply(_selection.permutate, (x, indices), {"axis": axis, "inv": bool(inv)})


def diagonal(x, offset=0, axis1=0, axis2=1):
    """The diagonals of the planes of two axes, as a new last axis."""
    x = of_shape(x)
    axis1, axis2 = axis_of("diagonal", axis1, x.ndim), axis_of("diagonal", axis2, x.ndim)
    if axis1 == axis2:
        raise InvalidType("diagonal", "two distinct axes", f"axis1={axis1}, axis2={axis2}")
    return apply(_o.diagonal, (x,), {"offset": operator.index(offset), "axis1": axis1, "axis2": axis2})


def where(condition, x, y):
    """``x`` where the condition holds, else ``y``; all three broadcast. The condition is a bool array."""
    dtype = getattr(condition, "dtype", None)
    if dtype is not None and dtype.kind != "b":
        raise InvalidType("where", "a condition of bool", f"dtype {dtype}", "condition != 0")
    return apply(_where, (condition, x, y))


def top_k(x, k, axis=-1, largest=True):
    """The k largest (smallest) elements along an axis, best first.

    Returns:
        Two Variables: the values, through which gradients pass, and their indices (int64).
    """
    x = of_shape(x)
    axis = axis_of("top_k", axis, x.ndim)
    if not 0 < k <= x.shape[axis]:
        raise InvalidType("top_k", f"0 < k <= {x.shape[axis]}", f"k={k}")
    indices = apply(_selection.top_indices, (x,), {"k": int(k), "axis": axis, "largest": bool(largest)})
    return apply(_selection.take_along, (x, indices), {"axis": axis}), indices


# ---------------------------------------------------------------------------------------------------------------------- images

def _images(name, x, divisor=1, channels=1):
    x = of_shape(x)
    if x.ndim != 4 or x.shape[1] % channels or x.shape[2] % divisor or x.shape[3] % divisor:
        raise InvalidType(name, f"images (N, C, H, W) with C a multiple of {channels}, H and W of {divisor}", f"shape {x.shape}")
    return x


def depth2space(X, r):
    """Images (N, r * r * C, H, W) as (N, C, r * H, r * W): blocks of channels become pixels, block by block."""
    n, c, h, w = _images("depth2space", X, channels=r * r).shape
    y = transpose(reshape(X, (n, r, r, c // r ** 2, h, w)), (0, 3, 4, 1, 5, 2))
    return reshape(y, (n, c // r ** 2, h * r, w * r))


def space2depth(X, r):
    """Images (N, C, r * H, r * W) as (N, r * r * C, H, W): the inverse of ``depth2space``."""
    n, c, h, w = _images("space2depth", X, divisor=r).shape
    y = transpose(reshape(X, (n, c, h // r, r, w // r, r)), (0, 3, 5, 1, 2, 4))
    return reshape(y, (n, r * r * c, h // r, w // r))


def pixel_shuffle(x, r):
    """Images (N, C * r * r, H, W) as (N, C, r * H, r * W): each r * r neighbouring channels become a block (Shi et al. 2016)."""
    n, c, h, w = _images("pixel_shuffle", x, channels=r * r).shape
    y = transpose(reshape(x, (n, c // r ** 2, r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(y, (n, c // r ** 2, h * r, w * r))
