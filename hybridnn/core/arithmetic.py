"""The operations that Variables and backward themselves rest on: arithmetic, comparison, cast, broadcasting and its adjoint, views."""
import operator
from math import prod

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.op import Op, elementwise, operation
from hybridnn.errors import InvalidType
from hybridnn.openblas import product

__all__ = ["absolute", "add", "broadcast_to", "cast", "div", "get_item", "identity", "matmul", "mul", "neg", "pow_", "reshape", "sub",
           "sum_to", "transpose", "where"]


@elementwise(fast=np.add)
def add(xp, x, y):
    """x + y"""
    return x + y


@add.vjp
def _(g):
    return g, g


@elementwise(fast=np.subtract)
def sub(xp, x, y):
    """x - y"""
    return x - y


@sub.vjp_of("x")
def _(g):
    return identity(g)


@sub.vjp_of("y")
def _(g):
    return -g


@elementwise(fast=np.multiply)
def mul(xp, x, y):
    """x * y"""
    return x * y


@mul.vjp_of("x")
def _(g, y):
    return g * y


@mul.vjp_of("y")
def _(g, x):
    return g * x


@elementwise(fast=np.true_divide, samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), rng.uniform(1, 2, (3,)).astype(dtype)), {})])
def div(xp, x, y):
    """x / y"""
    return x / y


@div.vjp_of("x")
def _(g, y):
    return g / y


@div.vjp_of("y")
def _(g, x, y):
    return -(g * x) / (y * y)


@elementwise(fast=np.negative)
def neg(xp, x):
    """-x"""
    return -x


@neg.vjp
def _(g):
    return -g


def _check_int_powers(arrays, attrs):
    """NumPy has no integer powers with negative exponents."""
    if np.size(arrays[1]) and np.min(arrays[1]) < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")


@elementwise(name="pow", fast=operator.pow, domain=(0.5, 2.0), check_ints=_check_int_powers)
def pow_(xp, x, y):
    """x ** y"""
    return x ** y


@pow_.vjp_of("x")
def _(g, x, y):
    return g * (y * x ** (y - 1))


@pow_.vjp_of("y")
def _(g, x, y):
    return g * (x ** y * log(x))


@elementwise(fast=np.log, domain=(0.2, 3.0))
def log(xp, x):
    """Natural logarithm."""
    return xp.log(x)


@log.vjp
def _(g, x):
    return g / x


@elementwise(fast=np.absolute, samples=lambda rng, dtype: [(((rng.uniform(.2, 2, (2, 3)) * rng.choice([-1, 1], (2, 3))).astype(dtype),), {})])
def absolute(xp, x):
    """|x|"""
    return xp.absolute(x)


@absolute.vjp
def _(g, x):
    return g * sign(x)


@elementwise(fast=np.sign)
def sign(xp, x):
    """-1, 0 or 1 (the gradient is zero)."""
    return xp.sign(x)


@elementwise()
def floor_divide(xp, x, y):
    """x // y (no gradient)."""
    return xp.floor_divide(x, y)


@elementwise(samples=lambda rng, dtype: [((rng.uniform(3.1, 3.9, (2, 3)).astype(dtype), rng.uniform(1.3, 1.4, (3,)).astype(dtype)), {})])
def remainder(xp, x, y):
    """x % y, with the sign of y."""
    return xp.remainder(x, y)


@remainder.vjp_of("x")
def _(g):
    return g


@remainder.vjp_of("y")
def _(g, x, y):
    return -(g * floor_divide(x, y))


def _comparison(name, text):
    def body(xp, x, y):
        return getattr(xp, name)(x, y)
    body.__doc__ = f"x {text} y, elementwise, as bool."
    return Op(name, body, "elementwise", fast=getattr(np, name), domain=(-2.0, 2.0))


less, less_equal = _comparison("less", "<"), _comparison("less_equal", "<=")
greater, greater_equal = _comparison("greater", ">"), _comparison("greater_equal", ">=")
equal, not_equal = _comparison("equal", "=="), _comparison("not_equal", "!=")


def _where_samples(rng, dtype):
    return [((rng.random((2, 3)) > .5, rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(3,)).astype(dtype)), {})]


@elementwise(samples=_where_samples)
def where(xp, condition, x, y):
    """x where the condition holds, else y."""
    return xp.where(condition, x, y)


@where.vjp_of("x")
def _(g, condition):
    return where(condition, g, 0)


@where.vjp_of("y")
def _(g, condition):
    return where(condition, 0, g)


@elementwise(view=True)
def identity(xp, x):
    """The value itself, as a node of its own (figure 3 of the seed)."""
    return x.view() if hasattr(x, "view") else x


@identity.vjp
def _(g):
    return identity(g)


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype),), {"dtype": "float64"})])
def cast(xp, x, *, dtype):
    """The same numbers in another dtype."""
    return x.astype(dtype)


@cast.vjp
def _(g, dtypes):
    return None if dtypes[0].kind in "iub" else cast(g, dtype=dtypes[0].str)


# ------------------------------------------------------------------------------------------------------ shapes and reductions

def _sample(size, /, **attrs):
    return lambda rng, dtype: [((rng.normal(size=size).astype(dtype),), attrs)]


@operation(kind="view", samples=_sample((2, 6), shape=(3, 4)))
def reshape(xp, x, *, shape):
    """The elements in row-major order under another shape."""
    return x.reshape(shape)


@reshape.vjp
def _(g, shapes):
    return reshape(g, shape=shapes[0])


def _reshape_to(x, shape):
    shape = (shape,) if isinstance(shape, int) else tuple(map(operator.index, shape))
    if -1 in shape:
        rest = -prod(shape)
        if shape.count(-1) > 1 or rest <= 0 or x.size % rest:
            raise InvalidType("reshape", "a shape with the same number of elements", f"x.shape={x.shape}, shape={shape}")
        shape = tuple(x.size // rest if n == -1 else n for n in shape)
    if prod(shape) != x.size:
        raise InvalidType("reshape", "a shape with the same number of elements", f"x.shape={x.shape}, shape={shape}")
    return apply(reshape, (x,), {"shape": shape})


reshape.to = _reshape_to


@operation(kind="view", samples=_sample((2, 3, 4), axes=(2, 0, 1)))
def transpose(xp, x, *, axes):
    """Permuted axes; ``axes`` is a full permutation."""
    return x.transpose(axes)


@transpose.vjp
def _(g, axes):
    return transpose(g, axes=tuple(int(i) for i in np.argsort(axes)))


def _transpose_by(x, axes=None):
    ndim = len(x.shape)
    if axes is None:
        order = tuple(range(ndim))[::-1]
    else:
        given = [operator.index(a) for a in axes] if hasattr(axes, "__iter__") else []
        order = tuple([a + ndim if a < 0 else a for a in given])
        if sorted(order) != list(range(ndim)) or not hasattr(axes, "__iter__"):
            raise InvalidType("transpose", f"a permutation of the {ndim} axes", str(axes))
    return apply(transpose, (x,), {"axes": order})


transpose.by = _transpose_by


@operation(kind="view", samples=_sample((3, 1), shape=(2, 3, 4)))
def broadcast_to(xp, x, *, shape):
    """x repeated along new and one-element axes, without copying."""
    return xp.broadcast_to(x, shape)


@broadcast_to.vjp
def _(g, shapes):
    return sum_to(g, shape=shapes[0])


@operation(kind="reduction", samples=_sample((2, 3, 4), shape=(3, 1)))
def sum_to(xp, x, *, shape):
    """The adjoint of ``broadcast_to``: sums over the axes that broadcasting ``shape`` to ``x.shape`` adds or repeats."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    # No view of a temporary where it can be helped: a gradient that owns its memory can be changed in place.
    if len(axes) == lead:
        return x.sum(axis=axes) if lead else x.reshape(shape)
    y = x.sum(axis=axes, keepdims=True)
    return y.reshape(shape) if lead else y


@sum_to.vjp
def _(g, shapes):
    return broadcast_to(g, shape=shapes[0])


@operation(name="sum", kind="reduction", samples=_sample((2, 3, 4), axis=(0, 2), keepdims=False))
def sum_(xp, x, *, axis=None, keepdims=False):
    """Sum over axes (a tuple; None: all)."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims) if type(x) is np.ndarray else x.sum(axis=axis, keepdims=keepdims)


SMALL = 1 << 14       # elements up to which filling an array is faster than a view that repeats one


@sum_.vjp
def _(g, shapes, axis, keepdims):
    if type(g) is np.ndarray and prod(shapes[0]) <= SMALL:
        y = np.empty(shapes[0], g.dtype)
        y[...] = g if keepdims or axis is None else g.reshape(keepdims_shape(shapes[0], axis))
        return y
    return broadcast_to(g if keepdims else reshape(g, shape=keepdims_shape(shapes[0], axis)), shape=shapes[0])


def keepdims_shape(shape, axis):
    """``shape`` with 1 in place of the reduced axes (None: all)."""
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


# ----------------------------------------------------------------------------------------------------------------- indexing

def encode_index(index):
    """A basic index (ints, slices, None, Ellipsis) as a hashable tuple."""
    index = index if isinstance(index, tuple) else (index,)
    return tuple(("slice", _opt(i.start), _opt(i.stop), _opt(i.step)) if isinstance(i, slice) else
                 i if i is None or i is Ellipsis else operator.index(i) for i in index)


def _opt(i):
    return None if i is None else operator.index(i)


def decode_index(index):
    """The index that ``encode_index`` encoded."""
    return tuple(slice(*i[1:]) if isinstance(i, tuple) else i for i in index)


@operation(kind="view", samples=_sample((4, 5), index=(("slice", 0, 4, 2), 1)))
def get_item(xp, x, *, index):
    """Basic indexing: a view. ``index`` is encoded by ``encode_index``."""
    return x[decode_index(index)]


@get_item.vjp
def _(g, shapes, index):
    return put_item(g, shape=shapes[0], index=index)


@operation(kind="pad", samples=lambda rng, dtype: [((rng.normal(size=(2,)).astype(dtype),), {"shape": (4, 5), "index": (("slice", 0, 4, 2), 1)})])
def put_item(xp, gy, *, shape, index):
    """Zeros of ``shape`` with ``gy`` at ``index``: the adjoint of ``get_item``."""
    y = xp.zeros(shape, gy.dtype)
    y[decode_index(index)] = gy
    return y


@put_item.vjp
def _(g, index):
    return get_item(g, index=index)


def _check_indices(arrays, attrs):
    """Raises ``IndexError`` as the indexing itself; on an array that takes no memory."""
    x, *indices = arrays
    np.broadcast_to(np.zeros((), bool), x.shape)[_fill(attrs["pattern"], indices)]


@operation(samples=lambda rng, dtype: [((rng.normal(size=(4, 5)).astype(dtype), np.array([1, 1, 3])), {"pattern": (("array", 0),)})], kind="gather",
           check=_check_indices)
def take(xp, x, *indices, pattern):
    """Advanced indexing: ``pattern`` is an encoded index whose ("array", k) entries stand for operand k of ``indices``."""
    return x[_fill(pattern, indices)]


@take.vjp_of("x")
def _(g, xs, shapes, pattern):
    return put(g, *[getattr(i, "array", i) for i in xs[1:]], shape=shapes[0], pattern=pattern)


@operation(kind="scatter", samples=lambda rng, dtype: [((rng.normal(size=(3, 5)).astype(dtype), np.array([1, 1, 3])),
                                                        {"shape": (4, 5), "pattern": (("array", 0),)})])
def put(xp, gy, *indices, shape, pattern):
    """Zeros of ``shape`` to which ``gy`` is added at the indices, repeated ones too: the adjoint of ``take``."""
    y = xp.zeros(shape, gy.dtype)
    xp.add.at(y, _fill(pattern, indices), gy)
    return y


@put.vjp_of("gy")
def _(g, xs, pattern):
    return take(g, *[getattr(i, "array", i) for i in xs[1:]], pattern=pattern)


def _fill(pattern, indices):
    return tuple(indices[i[1]] if isinstance(i, tuple) and i[0] == "array" else i for i in decode_pattern(pattern))


def decode_pattern(pattern):
    return [slice(*i[1:]) if isinstance(i, tuple) and i[0] == "slice" else i for i in pattern]


def _get_item(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    if all(p is None or p is Ellipsis or isinstance(p, (slice, int, np.integer)) and not isinstance(p, (bool, np.bool_)) for p in parts):
        return apply(get_item, (x,), {"index": encode_index(parts)})
    if len(parts) == 1 and isinstance(index, np.ndarray) and index.dtype == bool and index.ndim and index.shape == x.shape[:index.ndim]:
        parts = np.nonzero(index)         # what NumPy makes of a mask; the shape of the result then follows from those of the operands
    arrays, pattern = [], []
    for p in parts:
        if p is None or p is Ellipsis or isinstance(p, slice) or (isinstance(p, (int, np.integer)) and not isinstance(p, (bool, np.bool_))):
            pattern += encode_index((p,))
        else:
            pattern.append(("array", len(arrays)))
            arrays.append(_index_array(p) if isinstance(p, (list, bool, tuple)) else p)
    return apply(take, (x, *arrays), {"pattern": tuple(pattern)})


def _index_array(p):
    index = np.asarray(p)
    return index if index.size else index.astype(np.intp)       # an empty list has no dtype of its own


get_item.index = _get_item


# ------------------------------------------------------------------------------------------------------------ matrix product

def _matmul_samples(rng, dtype):
    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)
    for ta in (False, True):
        for tb in (False, True):
            yield (draw(*((3, 2) if ta else (2, 3))), draw(*((4, 3) if tb else (3, 4)))), {"transa": ta, "transb": tb}
    yield (draw(5, 2, 3), draw(3, 4)), {"transa": False, "transb": False}


@operation(kind="matmul", samples=_matmul_samples)
def matmul(xp, a, b, *, transa=False, transb=False):
    """Matrix product of the last two axes, each operand transposed first if asked; leading axes broadcast."""
    a, b = a.swapaxes(-1, -2) if transa else a, b.swapaxes(-1, -2) if transb else b
    return product(a, b) if xp is np else xp.matmul(a, b)


@matmul.vjp_of("a")
def _(g, b, transa, transb):
    return matmul(b, g, transa=transb, transb=True) if transa else matmul(g, b, transa=False, transb=not transb)


@matmul.vjp_of("b")
def _(g, a, transa, transb):
    return matmul(g, a, transa=True, transb=transa) if transb else matmul(a, g, transa=not transa, transb=False)


def _matmul_of(a, b, transa=False, transb=False):
    """NumPy's rules for vectors: a 1-d operand gains an axis that the result loses. A transposed vector is itself."""
    na, nb = len(a.shape), len(b.shape)
    if na == 0 or nb == 0:
        raise InvalidType("matmul", "operands with at least one axis", f"a.shape={a.shape}, b.shape={b.shape}")
    left = _reshape_to(a, (1, a.shape[0])) if na == 1 else a
    right = _reshape_to(b, (b.shape[0], 1)) if nb == 1 else b
    y = apply(matmul, (left, right), {"transa": transa and na > 1, "transb": transb and nb > 1})
    if na == 1 or nb == 1:
        shape = list(y.shape)
        if nb == 1:
            del shape[-1]
        if na == 1:
            del shape[-2 if nb > 1 else -1]
        y = _reshape_to(y, tuple(shape))
    return y


matmul.of = _matmul_of
