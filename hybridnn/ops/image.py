"""Windows as columns, resizing, sampling grids and strided views, each with its adjoint."""
from functools import lru_cache

import numpy as np

from hybridnn.core.indexing import put, take
from hybridnn.core.op import operation
from hybridnn.errors import InvalidType
from hybridnn.ops.windows import Window, conv_outsize

# -------------------------------------------------------------------------------------------------------- windows as columns

_GEOMETRY = {"ksize": (2, 3), "stride": (2, 1), "pad": (1, 0), "dilate": (1, 2), "cover_all": True}


def _window(size, ksize, stride, pad, dilate, cover_all):
    out = tuple(conv_outsize(n, k, s, p, cover_all, d) for n, k, s, p, d in zip(size, ksize, stride, pad, dilate))
    return Window(size, ksize, stride, pad, dilate, out)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 2, 4, 6)).astype(dtype),), _GEOMETRY)])
def im2col(xp, x, *, ksize, stride, pad, dilate, cover_all):
    """Every window's elements as channels: (n, c, h, w) to (n, c * kh * kw, out_h, out_w)."""
    window = _window(x.shape[2:], ksize, stride, pad, dilate, cover_all)
    return window.view(xp, x).reshape(x.shape[0], x.shape[1] * window.elements, *window.out)


@im2col.vjp
def _(g, shapes, ksize, stride, pad, dilate, cover_all):
    return col2im(g, size=shapes[0][2:], ksize=ksize, stride=stride, pad=pad, dilate=dilate, cover_all=cover_all)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 12, 3, 2)).astype(dtype),), {"size": (4, 6), **_GEOMETRY})])
def col2im(xp, x, *, size, ksize, stride, pad, dilate, cover_all):
    """Windows summed where they lie: the adjoint of ``im2col``."""
    window = _window(size, ksize, stride, pad, dilate, cover_all)
    return window.scatter(xp, x.reshape(x.shape[0], x.shape[1] // window.elements if window.elements else -1, window.elements, *window.out))


@col2im.vjp
def _(g, ksize, stride, pad, dilate, cover_all):
    return im2col(g, ksize=ksize, stride=stride, pad=pad, dilate=dilate, cover_all=cover_all)


# ----------------------------------------------------------------------------------------------------------------- resizing

@lru_cache(maxsize=128)
def _lines(out, size, mode, align_corners):
    """For each of ``out`` lines: the two lines of the source it lies between, and the weight of the second."""
    k = np.arange(out, dtype=np.float64)
    if mode == "nearest":
        first = np.minimum(np.floor(k * (size / out)), size - 1).astype(np.intp)
        return first, first, np.zeros(out)
    if align_corners:
        at = k * ((size - 1) / (out - 1)) if out > 1 else k * 0
    else:
        at = np.clip((k + .5) * (size / out) - .5, 0, size - 1)
    first = np.minimum(at.astype(np.intp), size - 1)
    return first, np.minimum(first + 1, size - 1), at - first


def _interpolate(xp, x, axis, out, mode, align_corners):
    first, second, weight = map(xp.asarray, _lines(out, x.shape[axis], mode, align_corners))
    if mode == "nearest":
        return x.take(first, axis)
    w = xp.asarray(weight, x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    return x.take(first, axis) * (1 - w) + x.take(second, axis) * w


def _interpolate_adjoint(xp, g, axis, size, mode, align_corners):
    first, second, weight = map(xp.asarray, _lines(g.shape[axis], size, mode, align_corners))
    g = xp.moveaxis(g, axis, 0)
    w = xp.asarray(weight, g.dtype).reshape((-1,) + (1,) * (g.ndim - 1))
    y = xp.zeros((size, *g.shape[1:]), g.dtype)
    xp.add.at(y, first, g * (1 - w))
    xp.add.at(y, second, g * w)
    return xp.moveaxis(y, 0, axis)


def _resizings(*size):
    def samples(rng, dtype):
        for mode, align in (("bilinear", True), ("bilinear", False), ("nearest", False)):
            shape = (5, 2) if size == (3, 4) else (3, 4)
            yield (rng.normal(size=(1, 2, *size)).astype(dtype),), {"shape": shape, "mode": mode, "align_corners": align}
    return samples


def _weights(n, out, size, axis, dtype, mode, align_corners):
    """The index arrays of ``_lines`` with the pattern that applies them to an axis, and both weights spread over ``n`` axes."""
    first, second, weight = _lines(out, size, mode, align_corners)
    w = weight.astype(dtype).reshape((-1,) + (1,) * (n - 1 - axis))
    return first, second, (("slice", None, None, None),) * axis + (("array", 0),), 1 - w, w


def _resize_parts(x, *, shape, mode, align_corners):
    for axis, out in ((2, shape[0]), (3, shape[1])):
        first, second, pattern, a, b = _weights(x.ndim, out, x.shape[axis], axis, x.dtype, mode, align_corners)
        x = take(x, first, pattern=pattern) if mode == "nearest" else take(x, first, pattern=pattern) * a + take(x, second, pattern=pattern) * b
    return x


def _resize_adjoint_parts(g, *, shape, mode, align_corners):
    for axis, size in ((3, shape[1]), (2, shape[0])):
        first, second, pattern, a, b = _weights(g.ndim, g.shape[axis], size, axis, g.dtype, mode, align_corners)
        target = (*g.shape[:axis], size, *g.shape[axis + 1:])
        g = put(g * a, first, shape=target, pattern=pattern) + put(g * b, second, shape=target, pattern=pattern)
    return g


@operation(samples=_resizings(3, 4), decompose=_resize_parts)
def resize(xp, x, *, shape, mode, align_corners):
    """Images (n, c, h, w) resized to ``shape``, bilinearly or to the nearest pixel."""
    return _interpolate(xp, _interpolate(xp, x, 2, shape[0], mode, align_corners), 3, shape[1], mode, align_corners)


@resize.vjp
def _(g, shapes, mode, align_corners):
    return resize_adjoint(g, shape=shapes[0][2:], mode=mode, align_corners=align_corners)


@operation(samples=_resizings(5, 2), decompose=_resize_adjoint_parts)
def resize_adjoint(xp, g, *, shape, mode, align_corners):
    """Each pixel's part given back to the pixels of ``shape`` that it was interpolated from."""
    columns = _interpolate_adjoint(xp, g, 3, shape[1], mode, align_corners)
    return _interpolate_adjoint(xp, columns, 2, shape[0], mode, align_corners)


@resize_adjoint.vjp
def _(g, shapes, mode, align_corners):
    return resize(g, shape=shapes[0][2:], mode=mode, align_corners=align_corners)


# -------------------------------------------------------------------------------------------------------------- affine grids

def _coordinates(xp, shape, dtype):
    """Homogeneous coordinates (3, h * w) of the pixels' centres: x and y from -1 to 1, and 1."""
    h, w = shape
    ys, xs = xp.meshgrid(xp.linspace(-1, 1, h, dtype=dtype), xp.linspace(-1, 1, w, dtype=dtype), indexing="ij")
    return xp.stack([xs.ravel(), ys.ravel(), xp.ones(h * w, dtype)])


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 2, 3)).astype(dtype),), {"shape": (3, 4)})])
def affine_grid(xp, theta, *, shape):
    """Affine maps (n, 2, 3) applied to the pixels of ``shape``: (n, 2, h, w), x before y (Jaderberg et al. 2015)."""
    return (theta @ _coordinates(xp, shape, theta.dtype)).reshape(len(theta), 2, *shape)


@affine_grid.vjp
def _(g):
    return affine_grid_adjoint(g)


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 2, 3, 4)).astype(dtype),), {})])
def affine_grid_adjoint(xp, g):
    """The adjoint of ``affine_grid``: (n, 2, h, w) to (n, 2, 3)."""
    return g.reshape(len(g), 2, g.shape[2] * g.shape[3]) @ _coordinates(xp, g.shape[2:], g.dtype).T


@affine_grid_adjoint.vjp
def _(g, shapes):
    return affine_grid(g, shape=shapes[0][2:])


# ------------------------------------------------------------------------------------------------------------- strided views

def element_offsets(shape, strides, offset):
    """The position in flat memory of every element of a strided view."""
    at = np.array(offset)
    for n, step in zip(shape, strides):
        at = at[..., None] + np.arange(n) * step
    return at


def _strided_samples(size, shape):
    return lambda rng, dtype: [((rng.normal(size=size).astype(dtype),), {"shape": shape, "strides": (4, 1, 2), "offset": 1})]


@operation(samples=_strided_samples((3, 4), (2, 3, 2)))
def as_strided(xp, x, *, shape, strides, offset):
    """The elements of x in row-major order at ``offset`` plus steps of ``strides`` (in elements), as a copy."""
    return x.ravel()[xp.asarray(element_offsets(shape, strides, offset))]


@as_strided.vjp
def _(g, shapes, strides, offset):
    if g.dtype.kind not in "fV":
        raise InvalidType("as_strided", "gradients of a floating dtype", str(g.dtype))
    return as_strided_adjoint(g, shape=shapes[0], strides=strides, offset=offset)


@operation(samples=_strided_samples((2, 3, 2), (3, 4)))
def as_strided_adjoint(xp, g, *, shape, strides, offset):
    """Elements of a strided view summed where they lie: the adjoint of ``as_strided``."""
    y = xp.zeros(shape, g.dtype)
    xp.add.at(y.reshape(-1), xp.asarray(element_offsets(g.shape, strides, offset).ravel()), g.ravel())
    return y


@as_strided_adjoint.vjp
def _(g, shapes, strides, offset):
    return as_strided(g, shape=shapes[0], strides=strides, offset=offset)
