"""Where values live: roots (blocks of memory with one owner) and places (a root, an offset, a shape and strides)."""
import functools
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.jit.native import View

__all__ = ["Place", "Root", "channels_first", "element_of", "sliced", "whole", "viewed"]

ARENA, INPUT, CONSTANT, OUTPUT, SLOT, SCALAR = "arena", "input", "constant", "output", "slot", "scalar"


@dataclass(eq=False, slots=True)
class Root:
    """A block of memory.

    ``kind`` says who owns it: the arena, an input, a constant, an output array, or a Python step's result ("slot"); ``index``
    which one. It is written at step ``first`` and read last at step ``last``. ``inside``: the root whose memory it takes over.
    """
    kind: str
    index: int
    nbytes: int
    first: int = -1
    last: int = -1
    inside: "Root | None" = None
    offset: int = 0


class Place(NamedTuple):
    """An array within a root; strides in bytes."""
    root: Root
    offset: int
    shape: tuple
    strides: tuple
    dtype: np.dtype

    @property
    def dense(self):
        """Whether the elements lie in C order without gaps."""
        n = self.dtype.itemsize
        for size, stride in zip(reversed(self.shape), reversed(self.strides)):
            if size != 1 and stride != n:
                return False
            n *= size
        return True

    def in_buffer(self, number=0):
        """The View that it is if its root lies at the beginning of a buffer, for what does not depend on where it lies."""
        return View(number, self.offset, self.shape, self.strides)

    @property
    def covers(self):
        """Whether it is the whole root in C order."""
        return self.dense and self.offset == 0 and prod(self.shape) * self.dtype.itemsize == self.root.nbytes


def whole(root, shape, dtype):
    """The root as a C-contiguous array."""
    shape = tuple(shape)
    return Place(root, 0, shape, _strides(shape, dtype.itemsize), dtype)


@functools.lru_cache(4096)
def _strides(shape, step):
    strides = []
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def viewed(place, op, attrs):
    """The place that the view operation ``op`` gives, or None where it must copy."""
    if op is OPS["transpose"]:
        return place._replace(shape=tuple([place.shape[a] for a in attrs["axes"]]), strides=tuple([place.strides[a] for a in attrs["axes"]]))
    if op is OPS["reshape"] and place.dense and min(attrs["shape"], default=1) > 0:
        return whole(place.root, attrs["shape"], place.dtype)._replace(offset=place.offset)
    part = sliced(place, attrs["index"]) if op is OPS["get_item"] else None
    if part is not None:
        return part
    told = tuple([type(i) is bool for i in attrs["index"]]) if "index" in attrs else ()
    found = _view(place.shape, place.strides, place.dtype, op, tuple(attrs.items()), told)
    return found and Place(place.root, place.offset + found[0], *found[1:], place.dtype)


def _is_plain(index, shape):
    """Whether it is ints and slices alone, and leaves an axis (NumPy gives no view of a single element)."""
    kinds = list(map(type, index))
    ints = kinds.count(int)
    return ints + kinds.count(tuple) == len(kinds) <= len(shape) > ints


def sliced(place, index):
    """The place at an index of ints and slices; None for another, or where it takes nothing, or no axis is left."""
    if not _is_plain(index, place.shape):
        return None
    offset, shape, strides = place.offset, [], []
    for i, n, stride in zip(index, place.shape, place.strides):
        if type(i) is int:
            offset += (i % n) * stride
            continue
        _, start, stop, step = i
        if step is None and type(start) is type(stop) is int and 0 <= start < stop <= n:
            count, step = stop - start, 1
        else:
            start, stop, step = slice(start, stop, step).indices(n)
            count = len(range(start, stop, step))
        if not count:
            return None
        offset += start * stride
        shape.append(count)
        strides.append(stride * step)
    rest = len(index)
    return Place(place.root, offset, (*shape, *place.shape[rest:]), (*strides, *place.strides[rest:]), place.dtype)


def element_of(place, op, attrs):
    """The place of the single element that ``op`` takes; None if it takes more."""
    index = attrs["index"] if op is OPS["get_item"] else ()
    if not index or len(index) != len(place.shape) or any(type(i) is not int for i in index):
        return None
    return Place(place.root, place.offset + sum(i % n * stride for i, n, stride in zip(index, place.shape, place.strides)), (), (), place.dtype)


@functools.lru_cache(4096)
def _view(shape, strides, dtype, op, attrs, _):
    """(offset, shape, strides) of a view, found by running the operation on an array over unused memory. The last argument tells True from 1 in an index."""
    low = sum((n - 1) * s for n, s in zip(shape, strides) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides) if s > 0) + dtype.itemsize
    probe = np.ndarray(shape, dtype, np.empty(high - low, np.uint8), -low, strides)
    with np.errstate(all="ignore"):
        y = op.run([probe], dict(attrs))
    if y.dtype != dtype or not np.may_share_memory(y, probe):
        return None
    return y.__array_interface__["data"][0] - probe.__array_interface__["data"][0], y.shape, y.strides


def channels_first(x):
    """A Place or Spec (n, *size, c) as (n, c, *size)."""
    turned = lambda t: (t[0], t[-1], *t[1:-1])
    return x._replace(shape=turned(x.shape), **({"strides": turned(x.strides)} if isinstance(x, Place) else {}))
