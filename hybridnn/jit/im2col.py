"""Convolution without a library for it, as native steps: windows gathered into columns, one matrix product each, and back.

Columns of a few images at a time fit the cache between gathering and the product. Where images are small, several share one
product: their columns lie side by side (``batch_last``), and rows of the other operand are copied next to each other.
"""
from dataclasses import dataclass
from math import prod

import numpy as np

from hybridnn.jit.blas import matmul_step
from hybridnn.jit.moves import copy_step
from hybridnn.jit.native import View
from hybridnn.jit.windows import Windows, col2im_step, im2col_step

__all__ = ["Convolution"]

CHUNK = 1 << 20               # bytes of columns at a time
FEW_POSITIONS = 512           # below, images share products
GRAIN_BYTES = 200_000         # columns that a thread gathers at least


@dataclass(frozen=True)
class Convolution:
    """x (images, channels, *windows.size), W (outputs, channels / groups, *windows.kernel), y (images, outputs, *windows.out).

    ``forward``, ``grad_x`` and ``grad_w`` give lists of native steps over Views, or None where BLAS cannot read them. W is in C
    order, x and y are so within a channel. ``scratch`` has as many Views as ``scratch_bytes`` has sizes.
    """
    images: int
    channels: int
    outputs: int
    groups: int
    windows: Windows
    dtype: np.dtype

    @property
    def positions(self):
        return prod(self.windows.out)

    @property
    def column(self):
        """Elements of x that one position of one group reads."""
        return self.channels // self.groups * prod(self.windows.kernel)

    @property
    def direct(self):
        """Whether x is its own columns."""
        w = self.windows
        return prod(w.kernel) == 1 and set(w.stride) == {1} and not any(w.pad) and w.size == w.out

    @property
    def chunk(self):
        """Images at a time."""
        return max(1, min(self.images, CHUNK // (self.groups * self.column * self.positions * self.dtype.itemsize)))

    @property
    def shared(self):
        return self.chunk > 1 and self.positions < FEW_POSITIONS

    @property
    def scratch_bytes(self):
        if self.direct:
            return ()
        n = self.chunk * self.positions * self.dtype.itemsize
        return (n * self.groups * self.column, n * self.outputs) if self.shared else (n * self.groups * self.column,)

    # ---- the three products

    def forward(self, x, w, y, scratch):
        kernel = self._kernel(w)
        if self.direct:
            return _all([self._product(kernel, self._rows(x, self.channels), self._rows(y, self.outputs))])
        steps = []
        for first, m in self._chunks():
            columns, rows = self._columns(scratch, m), self._rows(_images(y, first, m), self.outputs, scratch, m)
            steps += [self._gather(_images(x, first, m), scratch), self._product(kernel, columns, rows)]
            if self.shared:
                steps.append(self._spread(scratch, _images(y, first, m), back=True))
        return _all(steps)

    def grad_x(self, gy, w, x, scratch):
        kernel = _turned(self._kernel(w))
        if self.direct:
            return _all([self._product(kernel, self._rows(gy, self.outputs), self._rows(x, self.channels))])
        steps = []
        for first, m in self._chunks():
            part, image = _images(gy, first, m), _images(x, first, m)
            if self.shared:
                steps.append(self._spread(scratch, part))
            steps.append(self._product(kernel, self._rows(part, self.outputs, scratch, m), self._columns(scratch, m)))
            steps.append(col2im_step(scratch[0], image, self.windows, self.dtype, self.shared, self._grain(m)))
        return _all(steps)

    def grad_w(self, x, gy, w, scratch):
        total, steps = self._kernel(w), []
        for first, m in self._chunks():
            part = _images(gy, first, m)
            if self.direct:
                columns = self._rows(_images(x, first, m), self.channels)
            else:
                steps.append(self._gather(_images(x, first, m), scratch))
                columns = self._columns(scratch, m)
            if self.shared and not self.direct:
                steps.append(self._spread(scratch, part))
                steps.append(self._product(self._rows(part, self.outputs, scratch, m), _turned(columns), total, first > 0))
                continue
            rows = self._rows(part, self.outputs)
            for i in range(m):
                steps.append(self._product(_image(rows, i), _turned(_image(columns, i)), total, first + i > 0))
        return _all(steps)

    # ---- views and steps

    def _chunks(self):
        return [(i, min(self.chunk, self.images - i)) for i in range(0, self.images, self.chunk)]

    def _grain(self, images):
        nbytes = self.groups * self.column * self.positions * self.dtype.itemsize
        return max(1, GRAIN_BYTES * self.channels // nbytes) if images * nbytes >= 2 * GRAIN_BYTES else 0

    def _kernel(self, w):
        return View.contiguous(w.buf, (self.groups, self.outputs // self.groups, self.column), self.dtype.itemsize, w.offset)

    def _columns(self, scratch, images):
        one = self.groups, self.column
        shape = (*one, images * self.positions) if self.shared else (images, *one, self.positions)
        return View.contiguous(scratch[0].buf, shape, self.dtype.itemsize, scratch[0].offset)

    def _rows(self, image, channels, scratch=(), images=0):
        """(images, groups, channels / groups, positions) of x or y; for shared products, the copy without images in front."""
        per_group = channels // self.groups
        if scratch and self.shared:
            shape = self.groups, per_group, images * self.positions
            return View.contiguous(scratch[1].buf, shape, self.dtype.itemsize, scratch[1].offset)
        n, c = image.strides[:2]
        shape, strides = (image.shape[0], self.groups, per_group, self.positions), (n, per_group * c, c, self.dtype.itemsize)
        return View(image.buf, image.offset, shape, strides)

    def _gather(self, image, scratch):
        return im2col_step(image, scratch[0], self.windows, self.dtype, self.shared, 0.0, self._grain(image.shape[0]))

    def _spread(self, scratch, y, back=False):
        """A copy of (images, outputs, positions) with the images inside, or back from there."""
        item, m = self.dtype.itemsize, y.shape[0]
        outer = View(y.buf, y.offset, (self.outputs, m, self.positions), (y.strides[1], y.strides[0], item))
        inner = View.contiguous(scratch[1].buf, outer.shape, item, scratch[1].offset)
        return copy_step(*((inner, outer) if back else (outer, inner)), item)

    def _product(self, a, b, c, add=False):
        if prod(c.shape[:-2]) == 1:
            a, b, c = map(_matrix, (a, b, c))
        return matmul_step(a, b, c, self.dtype, add)


def _all(steps):
    return None if any(s is None for s in steps) else steps


def _images(view, first, count):
    return View(view.buf, view.offset + first * view.strides[0], (count, *view.shape[1:]), view.strides)


def _image(view, i):
    return View(view.buf, view.offset + i * view.strides[0], view.shape[1:], view.strides[1:])


def _matrix(view):
    """The only matrix of a batch."""
    return View(view.buf, view.offset, view.shape[-2:], view.strides[-2:])


def _turned(view):
    """The matrices transposed."""
    swapped = lambda t: (*t[:-2], t[-1], t[-2])
    return View(view.buf, view.offset, swapped(view.shape), swapped(view.strides))
