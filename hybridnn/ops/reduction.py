"""Reductions and scans. ``axis`` is None or a tuple of non-negative ints."""
from math import prod as _size

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast
from hybridnn.core.op import operation
from hybridnn.core.shapes import broadcast_to, keepdims_shape, reshape, sum_


def _reduction_samples(*cases):
    def samples(rng, dtype):
        for axis, keepdims in cases:
            x = rng.permutation(np.linspace(-1.8, 2.1, 24)).reshape(2, 3, 4)
            yield (x.astype(dtype),), {"axis": axis, "keepdims": keepdims}
    return samples


_CASES = ((None, False), ((1,), False), ((0, 2), True), ((1, 2), False))


def spread(g, shape, axis):
    """The gradient ``g`` of a reduction, repeated over the reduced axes of ``shape``."""
    return broadcast_to(reshape(g, shape=keepdims_shape(shape, axis)), shape=shape)


def count(shape, axis):
    """How many elements one result of the reduction stands for."""
    return _size(shape if axis is None else [shape[i] for i in axis])


# -------------------------------------------------------------------------------------------------------------------- extremes

@operation(kind="reduction", samples=_reduction_samples(*_CASES))
def amax(xp, x, *, axis=None, keepdims=False):
    """Largest element over axes; NaN if there is one. Elements that tie all get the gradient."""
    return x.max(axis=axis, keepdims=keepdims)


@operation(kind="reduction", samples=_reduction_samples(*_CASES))
def amin(xp, x, *, axis=None, keepdims=False):
    """Smallest element over axes; NaN if there is one. Elements that tie all get the gradient."""
    return x.min(axis=axis, keepdims=keepdims)


@amax.vjp
@amin.vjp
def _(g, x, y, axis):
    shape = keepdims_shape(x.shape, axis)
    return broadcast_to(reshape(g, shape=shape), shape=x.shape) * (x == reshape(y, shape=shape))


def _arg_samples(rng, dtype):
    for axis in (None, (1,)):
        yield (rng.permutation(24).reshape(2, 3, 4).astype(dtype),), {"axis": axis}


@operation(kind="reduction", samples=_arg_samples)
def argmax(xp, x, *, axis=None):
    """Index (int32) of the first largest element along one axis, or into the flat array."""
    return xp.asarray(x.argmax(axis=None if axis is None else axis[0])).astype("int32")


@operation(kind="reduction", samples=_arg_samples)
def argmin(xp, x, *, axis=None):
    """Index (int32) of the first smallest element along one axis, or into the flat array."""
    return xp.asarray(x.argmin(axis=None if axis is None else axis[0])).astype("int32")


# ------------------------------------------------------------------------------------------------------------ mean and product

def _is_half(x):
    return x.dtype == np.float16


def _mean_parts(x, axis, keepdims):
    wide = cast(x, dtype="<f4") if _is_half(x) else x
    y = sum_(wide, axis=axis, keepdims=keepdims) / count(x.shape, axis)
    return cast(y, dtype="<f2") if _is_half(x) else y


@operation(samples=_reduction_samples(*_CASES), decompose=_mean_parts)
def mean(xp, x, *, axis=None, keepdims=False):
    """Arithmetic mean over axes; float16 is summed in float32."""
    if _is_half(x):
        return x.mean(axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims) / count(x.shape, axis)


@mean.vjp
def _(g, shapes, axis):
    return spread(g / count(shapes[0], axis), shapes[0], axis)


def _mean_over(x, axis=None, keepdims=False):
    return apply(mean, (x,), {"axis": axis, "keepdims": keepdims})


mean.over = _mean_over


@operation(kind="reduction", samples=_reduction_samples(*_CASES))
def prod(xp, x, *, axis=None, keepdims=False):
    """Product over axes. The gradient is exact where factors are zero."""
    return x.prod(axis=axis, keepdims=keepdims)


@prod.vjp
def _(g, x, axis):
    """Each factor's gradient is the product of the factors before and behind it, found by scans along the flattened axes."""
    order, flat, back = _to_last(x.shape, axis)
    rows = reshape(x.transpose(order), shape=flat)
    before = shift(cumprod(rows, axis=-1, reverse=False), 1, axis=-1, steps=1)
    behind = shift(cumprod(rows, axis=-1, reverse=True), 1, axis=-1, steps=-1)
    permuted = tuple(x.shape[i] for i in order)
    return reshape(before * behind, shape=permuted).transpose(back) * spread(g, x.shape, axis)


def _to_last(shape, axis):
    """The permutation that puts the reduced axes last, the shape with them flattened, and the inverse permutation."""
    axis = tuple(range(len(shape))) if axis is None else axis
    order = tuple(i for i in range(len(shape)) if i not in axis) + axis
    flat = (*(n for i, n in enumerate(shape) if i not in axis), _size(shape[i] for i in axis))
    return order, flat, tuple(int(i) for i in np.argsort(order))


# ----------------------------------------------------------------------------------------------------------------------- scans

def _scan_samples(*extra):
    def samples(rng, dtype):
        for reverse in (False, True):
            arrays = tuple(rng.uniform(.5, 1.5, (2, 3, 2)).astype(dtype) for _ in range(1 + len(extra)))
            yield arrays, {"axis": 1, "reverse": reverse}
    return samples


def _flipped(x, axis):
    return x[(Ellipsis, slice(None, None, -1), *[slice(None)] * (x.ndim - 1 - axis % x.ndim))]


@operation(samples=_scan_samples(), takes_all=True)
def cumsum(xp, x, *, axis, reverse=False):
    """Running sum along an axis, from its end if ``reverse``; of bool and short ints in NumPy's int."""
    return _flipped(_flipped(x, axis).cumsum(axis=axis), axis) if reverse else x.cumsum(axis=axis)


@cumsum.vjp
def _(g, axis, reverse):
    return cumsum(g, axis=axis, reverse=not reverse)


@operation(samples=_scan_samples(), takes_all=True)
def cumprod(xp, x, *, axis, reverse=False):
    """Running product along an axis, from its end if ``reverse``; of bool and short ints in NumPy's int. The gradient is exact where factors are zero."""
    return _flipped(_flipped(x, axis).cumprod(axis=axis), axis) if reverse else x.cumprod(axis=axis)


@cumprod.vjp
def _(g, x, y, axis, reverse):
    """y_k = x_k y_(k-1): with G_k = g_k + x_(k+1) G_(k+1), the gradient of x_k is y_(k-1) G_k."""
    step = -1 if reverse else 1
    later = linear_scan(shift(x, 0, axis=axis, steps=-step), g, axis=axis, reverse=not reverse)
    return shift(y, 1, axis=axis, steps=step) * later


@operation(samples=_scan_samples("b"), takes_all=True)
def linear_scan(xp, a, b, *, axis, reverse=False):
    """The recurrence y_k = a_k y_(k-1) + b_k along an axis (k falling if ``reverse``), from y = 0."""
    a, b = xp.moveaxis(a, axis, 0), xp.moveaxis(b, axis, 0)
    y, last = xp.empty_like(b), xp.zeros_like(b[0]) if len(b) else 0
    for k in range(len(b))[::-1 if reverse else 1]:
        last = y[k] = a[k] * last + b[k]
    return xp.moveaxis(y, 0, axis)


@linear_scan.vjp
def _(g, a, y, axis, reverse):
    step = -1 if reverse else 1
    gb = linear_scan(shift(a, 0, axis=axis, steps=-step), g, axis=axis, reverse=not reverse)
    return gb * shift(y, 0, axis=axis, steps=step), gb


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 4)).astype(dtype), 1.5), {"axis": 1, "steps": s}) for s in (1, -2)], takes_all=True)
def shift(xp, x, fill, *, axis, steps):
    """Elements moved along an axis by ``steps``; ``fill`` (a number) comes in, what leaves is lost."""
    y = xp.full(x.shape, fill, x.dtype)
    whole = (Ellipsis,), (slice(None),) * (x.ndim - 1 - axis % x.ndim)
    source, target = (slice(None, -steps), slice(steps, None)) if steps > 0 else (slice(-steps, None), slice(None, steps))
    y[(*whole[0], target, *whole[1])] = x[(*whole[0], source, *whole[1])]
    return y


@shift.vjp_of("x")
def _(g, axis, steps):
    return shift(g, 0, axis=axis, steps=-steps)
