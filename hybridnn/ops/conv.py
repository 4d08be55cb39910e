"""Convolution over any number of axes, and its two gradients as operations of their own: each is linear in both operands, and
closed under gradients.

With x (n, c, *size), W (out, c / groups, *ksize) and y (n, out, *out): ``convolution(x, W)``, ``convolution_grad_x(y, W)`` (the
transposed convolution, which is also Chainer's deconvolution) and ``convolution_grad_w(x, y)``. Windows are gathered into
columns (im2col), and one matrix product per sample does the rest, or one for several samples where each has few positions.
"""

from math import prod

import numpy as np

from hybridnn.core.op import operation
from hybridnn.openblas import product
from hybridnn.ops.windows import Window, conv_outsize

__all__ = ["convolution", "convolution_grad_w", "convolution_grad_x"]

_FEW = 32             # positions of a sample below which samples share a product: the kernel is read once for all of them
_CHUNK = 1 << 20      # bytes of columns at a time: they stay in the second level cache between gathering and the product


def _attrs(stride=(1, 1), pad=(0, 0), dilate=(1, 1), groups=1, cover_all=False, **more):
    return dict(stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all, **more)


def _cases(rng, dtype):
    """(x, W, attrs) that cover strides, padding, dilation, groups, cover_all, one and three axes."""
    cases = [
        ((2, 2, 5, 4), (3, 2, 3, 2), _attrs()),
        ((2, 4, 5, 6), (2, 2, 3, 2), _attrs((2, 1), (1, 2), (1, 2), groups=2)),
        ((2, 1, 6, 5), (1, 1, 2, 2), _attrs((3, 2), cover_all=True)),
        ((2, 2, 5), (2, 2, 3), _attrs((2,), (1,), (1,))),
        ((1, 1, 3, 3, 3), (1, 1, 2, 2, 2), _attrs((1,) * 3, (0,) * 3, (1,) * 3)),
    ]
    for x, w, attrs in cases:
        yield rng.normal(size=x).astype(dtype), rng.normal(size=w).astype(dtype), attrs


def _window(size, ksize, stride, pad, dilate, cover_all):
    out = tuple([conv_outsize(n, k, s, p, cover_all, d) for n, k, s, p, d in zip(size, ksize, stride, pad, dilate)])
    return Window(tuple(size), tuple(ksize), stride, pad, dilate, out)


def _chunks(n, nbytes):
    """Slices of samples whose columns, of ``nbytes`` each, stay in the cache together."""
    step = max(1, _CHUNK // max(nbytes, 1))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _columns(xp, x, window, groups):
    """Per chunk of samples: its slice, and columns (samples, groups, c / groups * elements, positions) in one buffer for all."""
    n, c = x.shape[:2]
    rows, positions = c // groups * window.elements, prod(window.out)
    if window.elements == 1 and window.padded == x.shape[2:] == window.out:
        yield slice(0, n), x.reshape(n, groups, rows, positions)
        return
    view = window.view(xp, x)
    chunks = _chunks(n, c * window.elements * positions * x.dtype.itemsize)
    buffer = xp.empty((chunks[0].stop if chunks else 0, *view.shape[1:]), x.dtype)
    for part in chunks:
        columns = buffer[:part.stop - part.start]
        xp.copyto(columns, view[part])
        yield part, columns.reshape(len(columns), groups, rows, positions)


def _matmul(xp):
    """Products of the matrices of samples are many, and of middle size each."""
    return product if xp is np else xp.matmul


def _side_by_side(matrices):
    """(samples, groups, rows, positions) as (groups, rows, samples * positions)."""
    return matrices.transpose(1, 2, 0, 3).reshape(*matrices.shape[1:3], -1)


def _apart(matrices, samples):
    """(groups, rows, samples * positions) as (samples, groups, rows, positions), a view."""
    return matrices.reshape(*matrices.shape[:2], samples, -1).transpose(2, 0, 1, 3)


def _samples(rng, dtype):
    for x, w, attrs in _cases(rng, dtype):
        yield (x, w), attrs


@operation(kind="convolution", samples=_samples)
def convolution(xp, x, W, *, stride, pad, dilate, groups, cover_all):
    """Cross correlation of x (n, c, *size) with W (out, c / groups, *ksize)."""
    window = _window(x.shape[2:], W.shape[2:], stride, pad, dilate, cover_all)
    n, out = x.shape[0], W.shape[0]
    kernel = W.reshape(groups, out // groups, prod(W.shape[1:]))
    y, multiply = xp.empty((n, groups, out // groups, prod(window.out)), xp.result_type(x, W)), _matmul(xp)
    for part, columns in _columns(xp, x, window, groups):
        if len(columns) > 1 and y.shape[3] <= _FEW:
            y[part] = _apart(multiply(kernel, _side_by_side(columns)), len(columns))
        else:
            multiply(kernel, columns, out=y[part])
    return y.reshape(n, out, *window.out)


@convolution.vjp_of("x")
def _(g, W, shapes, stride, pad, dilate, groups, cover_all):
    return convolution_grad_x(
        g, W, size=tuple(shapes[0][2:]), stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all
    )


@convolution.vjp_of("W")
def _(g, x, shapes, stride, pad, dilate, groups, cover_all):
    return convolution_grad_w(
        x, g, ksize=tuple(shapes[1][2:]), stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all
    )


def _samples_x(rng, dtype):
    for x, w, attrs in _cases(rng, dtype):
        window = _window(x.shape[2:], w.shape[2:], attrs["stride"], attrs["pad"], attrs["dilate"], attrs["cover_all"])
        yield (rng.normal(size=(x.shape[0], w.shape[0], *window.out)).astype(dtype), w), {**attrs, "size": x.shape[2:]}


@operation(kind="convolution", samples=_samples_x)
def convolution_grad_x(xp, gy, W, *, size, stride, pad, dilate, groups, cover_all):
    """The adjoint of ``convolution`` in x: gy (n, out, *out) to (n, c, *size)."""
    window = Window(size, tuple(W.shape[2:]), stride, pad, dilate, tuple(gy.shape[2:]))
    n, out = gy.shape[:2]
    kernel = W.reshape(groups, out // groups, prod(W.shape[1:])).swapaxes(1, 2)
    rows, dtype = gy.reshape(n, groups, out // groups, prod(window.out)), xp.result_type(gy, W)
    y, multiply = xp.zeros((n, groups * W.shape[1], *window.padded), dtype), _matmul(xp)
    for part in _chunks(n, groups * kernel.shape[1] * rows.shape[3] * dtype.itemsize):
        some = rows[part]
        together = len(some) > 1 and some.shape[3] <= _FEW
        columns = _apart(multiply(kernel, _side_by_side(some)), len(some)) if together else multiply(kernel, some)
        window.add_columns(y[part], columns.reshape(-1, groups * W.shape[1], window.elements, *window.out))
    return window.cropped(y)


@convolution_grad_x.vjp_of("gy")
def _(g, W, size, stride, pad, dilate, groups, cover_all):
    return convolution(g, W, stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all)


@convolution_grad_x.vjp_of("W")
def _(g, gy, shapes, stride, pad, dilate, groups, cover_all):
    return convolution_grad_w(
        g, gy, ksize=tuple(shapes[1][2:]), stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all
    )


def _samples_w(rng, dtype):
    for (g, w), attrs in _samples_x(rng, dtype):
        size = attrs.pop("size")
        x = rng.normal(size=(g.shape[0], w.shape[1] * attrs["groups"], *size)).astype(dtype)
        yield (x, g), {**attrs, "ksize": w.shape[2:]}


@operation(kind="convolution", samples=_samples_w)
def convolution_grad_w(xp, x, gy, *, ksize, stride, pad, dilate, groups, cover_all):
    """The adjoint of ``convolution`` in W: x (n, c, *size) and gy (n, out, *out) to (out, c / groups, *ksize)."""
    window = Window(tuple(x.shape[2:]), ksize, stride, pad, dilate, tuple(gy.shape[2:]))
    n, out = gy.shape[:2]
    rows = gy.reshape(n, groups, out // groups, prod(window.out))
    total, multiply = xp.zeros((groups, out // groups, x.shape[1] // groups * window.elements), xp.result_type(x, gy)), _matmul(xp)
    for part, columns in _columns(xp, x, window, groups):
        if len(columns) > 1 and columns.shape[3] <= _FEW:
            total += multiply(_side_by_side(rows[part]), _side_by_side(columns).swapaxes(1, 2))
            continue
        for row, column in zip(rows[part], columns):
            total += multiply(row, column.swapaxes(1, 2))
    return total.reshape(out, x.shape[1] // groups, *ksize)


@convolution_grad_w.vjp_of("x")
def _(g, gy, shapes, ksize, stride, pad, dilate, groups, cover_all):
    return convolution_grad_x(
        gy, g, size=tuple(shapes[0][2:]), stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all
    )


@convolution_grad_w.vjp_of("gy")
def _(g, x, ksize, stride, pad, dilate, groups, cover_all):
    return convolution(x, g, stride=stride, pad=pad, dilate=dilate, groups=groups, cover_all=cover_all)
