"""Strided views of the memory that an array is part of."""
import numpy as np

from hybridnn.config import state
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.variable import Variable
from hybridnn.errors import InvalidType
from hybridnn.ops.image import element_offsets

__all__ = ["array_at_hand", "of_memory", "stride_array"]


def array_at_hand(x):
    """The array of ``x``, or None where a traced call has yet to compute it."""
    return x._array if isinstance(x, Variable) else x


def _memory(array):
    """The array that ``array`` is a view of, in the end."""
    while array.base is not None:
        base = array.base if isinstance(array.base, np.ndarray) else getattr(array.base, "base", None)      # what NumPy's as_strided puts between
        if not isinstance(base, np.ndarray):
            break
        array = base
    return array


def stride_array(array, shape, strides, storage_offset):
    """A view of the memory that ``array`` is part of: strides and the first element's place there are counted in elements.

    Raises ValueError if the view would leave that memory.
    """
    array = _memory(array)
    reach = [max(n - 1, 0) * s for n, s in zip(shape, strides)]
    low, high = [storage_offset + sum([r for r in reach if r * sign > 0]) for sign in (-1, 1)]
    if low < 0 or high >= array.size:
        raise ValueError(f"a view from {low} to {high} leaves the array's memory of {array.size} elements")
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array.ravel(order="K"), storage_offset * size, [s * size for s in strides])


def of_memory(x, shape, strides, offset):
    """``as_strided`` of an array that does not lie in memory in row-major order. How it lies is nothing that a trace knows of its values, so
    that a traced call goes on eagerly.

    Args:
        x: Variable or NumPy array.
        shape, strides: of the result, in elements.
        offset: place of the first element in the memory that x is a view of; None: that of x.
    """
    if state.tracer is not None:
        state.tracer.give_up("as_strided of an array that is not in row-major order in memory")
    return _OfMemory(shape, strides, offset).apply((x,))[0]


class _OfMemory(FunctionNode):
    def __init__(self, shape, strides, offset):
        self.shape, self.strides, self.offset = shape, strides, offset

    label = "AsStrided"

    def forward(self, inputs):
        x, = inputs
        self.retain_inputs(())
        start = (x.__array_interface__["data"][0] - _memory(x).__array_interface__["data"][0]) // x.itemsize
        offset = start if self.offset is None else self.offset
        self.source = element_offsets(x.shape, [s // x.itemsize for s in x.strides], start)
        self.target = element_offsets(self.shape, self.strides, offset)
        return stride_array(x, self.shape, self.strides, offset).copy(),

    def backward(self, target_input_indexes, grad_outputs):
        if grad_outputs[0].dtype.kind != "f":
            raise InvalidType("as_strided", "gradients of a floating dtype", str(grad_outputs[0].dtype))
        return _Moved(self.source, self.target, self.source).apply(grad_outputs)


class _Moved(FunctionNode):
    """Elements summed where they lie (``source``), each place shared among the elements of the input there, and read at ``wanted``."""
    label = "AsStridedGrad"

    def __init__(self, wanted, source, shared):
        self.wanted, self.source, self.shared = wanted, source, shared

    def forward(self, inputs):
        g, = inputs
        self.retain_inputs(())
        size = 1 + max([at.max(initial=0) for at in (self.wanted, self.source, self.shared)])
        total, count = np.zeros(size, g.dtype), np.zeros(size, g.dtype)
        np.add.at(total, self.source, g)
        np.add.at(count, self.shared, 1)
        return (total / np.maximum(count, 1))[self.wanted],

    def backward(self, target_input_indexes, grad_outputs):
        return _Moved(self.source, self.wanted, self.shared).apply(grad_outputs)
