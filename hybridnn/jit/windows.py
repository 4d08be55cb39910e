"""Native steps that take the windows of an image apart, and that add them up to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.jit.moves import FLOATS, step
from hybridnn.jit.native import Step, View, pairs

__all__ = ["Windows", "col2im_step", "im2col_step"]


@dataclass(frozen=True)
class Windows:
    """Sliding windows over up to three spatial axes (of an image: height, width). All fields have one entry per axis.

    Output position o and kernel position k read input position ``o * stride + k * dilation - pad``, which is padding outside
    ``size``.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def words(self) -> list[int]:
        """Three axes, size, kernel, out, stride, pad, dilation each; missing leading ones do nothing."""
        axes = list(zip(self.size, self.kernel, self.out, self.stride, self.pad, self.dilation))
        return [w for axis in [(1, 1, 1, 1, 0, 1)] * (3 - len(axes)) + axes for w in axis]


def im2col_step(image: View, cols: View, windows: Windows, dtype: Any, batch_last: bool, padding: float, grain: int) -> Step:
    """``cols[n, c, *k, *o] = image[n, c, *(o * stride + k * dilation - pad)]``, else ``padding``; float32 or float64.

    ``image`` is (N, C, *size) with any strides over N and C and C-contiguous inside. ``cols`` is C-contiguous, (N, C, *kernel,
    *out), or with ``batch_last`` (C, *kernel, N, *out), which makes a convolution one matrix product. ``grain`` counts images
    times channels.
    """
    return _window_step("im2col", image, cols, windows, dtype, batch_last, padding, grain)


def col2im_step(cols: View, image: View, windows: Windows, dtype: Any, batch_last: bool, grain: int) -> Step:
    """The transpose of :func:`im2col_step`: each position of ``image`` gets the sum of its entries, kernel positions in order."""
    return _window_step("col2im", image, cols, windows, dtype, batch_last, 0.0, grain)


def _window_step(kind: str, image: View, cols: View, windows: Windows, dtype: Any, batch_last: bool, padding: float, grain: int) -> Step:
    itemsize = np.dtype(dtype).itemsize
    n, c = image.shape[:2]
    places, kernel = math.prod(windows.out), math.prod(windows.kernel)
    by_image, by_kernel = (places, n * places) if batch_last else (c * kernel * places, places)
    strides = [s // itemsize for s in image.strides[:2]] + [by_image, kernel * by_kernel, by_kernel]
    bits = int(np.array(padding, np.float64).view(np.int64))
    words = [*pairs(image, cols), c, *strides, bits, *windows.words()]
    return step(f"{kind}_{FLOATS[np.dtype(dtype)]}", words, n * c, grain, kind)
