"""Images as columns, resizing, spatial transformers, and strided views."""
import operator
from math import prod

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.arithmetic import cast
from hybridnn.core.indexing import put_item
from hybridnn.core.shapes import reshape
from hybridnn.core.variable import as_variable
from hybridnn.errors import InvalidType
from hybridnn.functions._convolution import steps_of
from hybridnn.functions._strided import array_at_hand, of_memory
from hybridnn.functions.math import clip, floor
from hybridnn.ops import image as _o
from hybridnn.ops import selection as _selection
from hybridnn.ops.axes import check_float, of_shape
from hybridnn.ops.expect import tuple_of
from hybridnn.ops.windows import conv_outsize

__all__ = ["as_strided", "im2col", "resize_images", "spatial_transformer_grid", "spatial_transformer_sampler"]


def _check_images(name, x):
    x = of_shape(x)
    check_float(name, x)
    if x.ndim != 4:
        raise InvalidType(name, "images (N, C, H, W)", f"x.shape={x.shape}")
    return x


def im2col(x, ksize, stride=1, pad=0, cover_all=False, dilate=1):
    """Every window's elements as channels: images (N, C, H, W) to (N, C * kh * kw, out_h, out_w).

    Args:
        x: Variable or array.
        ksize, stride, pad, dilate: ints, or pairs for height and width.
        cover_all: let the last window reach the last pixel.
    """
    x = _check_images("im2col", x)
    ksize, (stride, pad, dilate) = tuple_of(ksize, 2, "im2col", "ksize"), steps_of("im2col", 2, stride, pad, dilate)
    if any(conv_outsize(*g, cover_all, d) <= 0 for *g, d in zip(x.shape[2:], ksize, stride, pad, dilate)):
        raise InvalidType("im2col", "a window that fits into the padded image",
                          f"x.shape={x.shape}, ksize={ksize}, pad={pad}, dilate={dilate}")
    return apply(_o.im2col, (x,), {"ksize": ksize, "stride": stride, "pad": pad, "dilate": dilate, "cover_all": bool(cover_all)})


def resize_images(x, output_shape, *, mode="bilinear", align_corners=True):
    """Images (N, C, H, W) resized to ``output_shape`` (height, width).

    Args:
        mode: ``"bilinear"`` or ``"nearest"``.
        align_corners: corner pixels keep their values (bilinear mode only).
    """
    x = _check_images("resize_images", x)
    if mode not in ("bilinear", "nearest"):
        raise InvalidType("resize_images", "mode to be 'bilinear' or 'nearest'", repr(mode))
    shape = tuple(map(operator.index, output_shape))
    if len(shape) != 2 or min(shape) < 1 or min(x.shape[2:]) < 1:
        raise InvalidType("resize_images", "two lengths of at least 1", f"output_shape={output_shape}, x.shape={x.shape}")
    return apply(_o.resize, (x,), {"shape": shape, "mode": mode, "align_corners": bool(align_corners)})


def spatial_transformer_grid(theta, output_shape, **kwargs):
    """Where each output pixel of an affine map lies in the input (Jaderberg et al. 2015).

    Args:
        theta: affine maps (N, 2, 3).
        output_shape: height and width of the output.
    Returns:
        A Variable (N, 2, H, W): x and y coordinates, in [-1, 1] inside the image.
    """
    if kwargs:
        refuse_kwargs(kwargs, "use_cudnn")
    theta = of_shape(theta)
    check_float("spatial_transformer_grid", theta)
    if theta.ndim != 3 or theta.shape[1:] != (2, 3):
        raise InvalidType("spatial_transformer_grid", "theta of shape (N, 2, 3)", f"theta.shape={theta.shape}")
    return apply(_o.affine_grid, (theta,), {"shape": tuple(map(operator.index, output_shape))})


def spatial_transformer_sampler(x, grid, **kwargs):
    """Images read at the places of a grid, bilinearly; outside they are zero (Jaderberg et al. 2015).

    Args:
        x: images (N, C, H, W).
        grid: coordinates (N, 2, out_h, out_w) as ``spatial_transformer_grid`` gives them.
    Returns:
        A Variable (N, C, out_h, out_w); differentiable in both arguments, to any order.
    """
    if kwargs:
        refuse_kwargs(kwargs, "use_cudnn")
    x, grid = as_variable(_check_images("spatial_transformer_sampler", x)), as_variable(grid)
    if grid.ndim != 4 or grid.shape[1] != 2 or grid.shape[0] != x.shape[0] or grid.dtype != x.dtype:
        raise InvalidType("spatial_transformer_sampler", f"a grid ({x.shape[0]}, 2, H, W) of {x.dtype}",
                          f"{grid.dtype}{list(grid.shape)}")
    n, c, h, w = x.shape
    pixels = _with_border(x)
    u, u0 = _position(grid[:, 0], w)
    v, v0 = _position(grid[:, 1], h)
    in_a_row = n, 1, grid.shape[2] * grid.shape[3]
    a, b = reshape.to(u - u0, in_a_row), reshape.to(v - v0, in_a_row)
    at = cast(v0, dtype="<i8") * (w + 2) + cast(u0, dtype="<i8")
    read = lambda shift: apply(_selection.take_along, (pixels, reshape.to(at + shift, in_a_row)), {"axis": 2})
    upper = read(0) * (1 - a) + read(1) * a
    lower = read(w + 2) * (1 - a) + read(w + 3) * a
    return reshape.to(upper * (1 - b) + lower * b, (n, c, *grid.shape[2:]))


def _with_border(x):
    """(n, c, h, w) with a frame of zeros, pixels along one axis."""
    n, c, h, w = x.shape
    inside = (("slice", None, None, None),) * 2 + (("slice", 1, h + 1, None), ("slice", 1, w + 1, None))
    return reshape.to(apply(put_item, (x,), {"shape": (n, c, h + 2, w + 2), "index": inside}), (n, c, (h + 2) * (w + 2)))


def _position(g, size):
    """Coordinates in [-1, 1] as positions in the framed line, and the pixels before them."""
    at = clip((g + 1) * ((size - 1) / 2) + 1, 0, size + 1)
    return at, clip(floor(at), 0, size)


def as_strided(x, shape, strides, storage_offset=None):
    """The elements of ``x`` at ``storage_offset`` plus steps of ``strides``, both counted in elements of its memory.

    Elements that appear several times get the sum of the gradients. This never reads outside the memory of ``x``: its own elements if they
    lie in row-major order, else all of the array that it is a view of (where ``storage_offset=None`` is the place of its first element, and
    elements of ``x`` at one place share that place's gradient). Where a view of the latter kind is traced, the call runs eagerly.
    """
    x, shape, strides = of_shape(x), tuple(shape), tuple(strides)
    if len(shape) != len(strides):
        raise InvalidType("as_strided", "one stride for each axis", f"shape={shape}, strides={strides}")
    array = array_at_hand(x)
    if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
        return of_memory(x, shape, strides, storage_offset)
    offset = int(storage_offset or 0)
    reach = [(n - 1) * s for n, s in zip(shape, strides)]
    low, high = offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0)
    if prod(shape) and not 0 <= low <= high < x.size:
        raise InvalidType("as_strided", f"positions in [0, {x.size})", f"from {low} to {high}")
    return apply(_o.as_strided, (x,), {"shape": shape, "strides": strides, "offset": offset})
