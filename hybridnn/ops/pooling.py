"""Pooling: maximum with the place of it, and sum, each with its adjoint as an operation."""

import numpy as np

from hybridnn.core.op import operation
from hybridnn.ops.windows import Window, conv_outsize

__all__ = ["max_pooling", "max_pooling_grad", "max_pooling_pick", "sum_pooling", "sum_pooling_grad"]

_GEOMETRIES = (
    ((2, 2, 5, 4), (3, 2), (2, 2), (1, 0), True),
    ((1, 2, 4, 4), (2, 2), (2, 2), (0, 0), False),
    ((2, 1, 5), (2,), (1,), (1,), False),
    ((1, 1, 3, 4, 3), (2, 2, 2), (1, 2, 1), (0, 1, 0), True),
)


def _window(size, ksize, stride, pad, cover_all):
    out = tuple([conv_outsize(n, k, s, p, cover_all) for n, k, s, p in zip(size, ksize, stride, pad)])
    return Window(tuple(size), ksize, stride, pad, (1,) * len(ksize), out)


def _samples(rng, dtype):
    for shape, ksize, stride, pad, cover_all in _GEOMETRIES:
        x = rng.permutation(np.arange(np.prod(shape)) / 8).reshape(shape).astype(dtype)
        yield (x,), dict(ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)


def _picked_samples(rng, dtype):
    """(an array shaped like the input, places, attrs)"""
    for (x,), attrs in _samples(rng, dtype):
        yield x, max_pooling.run((x,), attrs)[1], attrs


# -------------------------------------------------------------------------------------------------------------------- maximum


@operation(kind="pooling", multi=True, samples=_samples)
def max_pooling(xp, x, *, ksize, stride, pad, cover_all):
    """Maximum of every window of x (n, c, *size), and its place in the window (row-major number, int8 if it fits, else int32; the first of
    equals). Padding never wins.
    """
    window = _window(x.shape[2:], ksize, stride, pad, cover_all)
    padded = window.pad_array(xp, x, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    first, *slots = window.slots()
    y = padded[first].copy()
    place = xp.zeros(y.shape, "int8" if len(slots) <= 127 else "int32")
    for i, slot in enumerate(slots, 1):
        value = padded[slot]
        better = (value > y) | (value != value)  # NaN wins
        xp.copyto(place, i, where=better)
        xp.maximum(y, value, out=y)
    return y, place


@max_pooling.vjp_of("x")
def _(gs, ys, shapes, ksize, stride, pad, cover_all):
    if gs[0] is None:
        return None
    return max_pooling_grad(gs[0], ys[1], size=tuple(shapes[0][2:]), ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)


def _grad_samples(rng, dtype):
    for x, place, attrs in _picked_samples(rng, dtype):
        yield (rng.normal(size=place.shape).astype(dtype), place), {**attrs, "size": x.shape[2:]}


@operation(kind="pooling", samples=_grad_samples)
def max_pooling_grad(xp, gy, place, *, size, ksize, stride, pad, cover_all):
    """``gy`` (n, c, *out) added to zeros (n, c, *size) at each window's ``place``."""
    window = Window(size, ksize, stride, pad, (1,) * len(ksize), tuple(gy.shape[2:]))
    y = xp.zeros((*gy.shape[:2], *window.padded), gy.dtype)
    for i, slot in enumerate(window.slots()):
        y[slot] += xp.where(place == i, gy, gy.dtype.type(0))
    return window.cropped(y)


@max_pooling_grad.vjp_of("gy")
def _(g, place, ksize, stride, pad, cover_all):
    return max_pooling_pick(g, place, ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)


def _pick_samples(rng, dtype):
    for x, place, attrs in _picked_samples(rng, dtype):
        yield (x, place), attrs


@operation(kind="pooling", samples=_pick_samples)
def max_pooling_pick(xp, x, place, *, ksize, stride, pad, cover_all):
    """The element of every window of x at ``place``: the adjoint of ``max_pooling_grad``."""
    window = Window(tuple(x.shape[2:]), ksize, stride, pad, (1,) * len(ksize), tuple(place.shape[2:]))
    padded = window.pad_array(xp, x)
    y = xp.zeros(place.shape, x.dtype)
    for i, slot in enumerate(window.slots()):
        xp.copyto(y, padded[slot], where=place == i)
    return y


@max_pooling_pick.vjp_of("x")
def _(g, place, shapes, ksize, stride, pad, cover_all):
    return max_pooling_grad(g, place, size=tuple(shapes[0][2:]), ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)


# ------------------------------------------------------------------------------------------------------------------------ sum


@operation(kind="pooling", samples=_samples)
def sum_pooling(xp, x, *, ksize, stride, pad, cover_all):
    """Sum of every window of x (n, c, *size); padding counts as zeros."""
    window = _window(x.shape[2:], ksize, stride, pad, cover_all)
    padded = window.pad_array(xp, x)
    first, *slots = window.slots()
    y = padded[first].copy()
    for slot in slots:
        y += padded[slot]
    return y


@sum_pooling.vjp
def _(g, shapes, ksize, stride, pad, cover_all):
    return sum_pooling_grad(g, size=tuple(shapes[0][2:]), ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)


def _sum_grad_samples(rng, dtype):
    for (gy, _), attrs in _grad_samples(rng, dtype):
        yield (gy,), attrs


@operation(kind="pooling", samples=_sum_grad_samples)
def sum_pooling_grad(xp, gy, *, size, ksize, stride, pad, cover_all):
    """Every element of ``gy`` added to its whole window in zeros (n, c, *size): the adjoint of ``sum_pooling``."""
    window = Window(size, ksize, stride, pad, (1,) * len(ksize), tuple(gy.shape[2:]))
    y = xp.zeros((*gy.shape[:2], *window.padded), gy.dtype)
    for slot in window.slots():
        y[slot] += gy
    return window.cropped(y)


@sum_pooling_grad.vjp
def _(g, ksize, stride, pad, cover_all):
    return sum_pooling(g, ksize=ksize, stride=stride, pad=pad, cover_all=cover_all)
