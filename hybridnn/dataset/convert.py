"""Batches: lists of examples made into arrays."""
import sys

import numpy as np

from hybridnn.backend import Device, cupy, get_array_module, get_device, is_array
from hybridnn.errors import BackendError, InvalidType

__all__ = ["ConcatWithAsyncTransfer", "Converter", "call_converter", "call_with", "concat_examples", "converter", "to_device"]


class Converter:
    """Base of converters that get a ``Device`` (or None), not its number: ``converter(batch, device)``."""

    def __call__(self, batch, device=None):
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class _FunctionConverter(Converter):
    def __init__(self, function):
        if not callable(function):
            raise TypeError(f"converter() decorates a function(batch, device); got {type(function).__name__}")
        self.function = function
        self.__doc__ = function.__doc__
        self.__module__ = getattr(function, "__module__", __name__)

    def __call__(self, batch, device=None, *args, **kwargs):
        return self.function(batch, None if device is None else get_device(device), *args, **kwargs)

    def __reduce__(self):
        """By name where a decorated function has one, as other functions are pickled."""
        name = getattr(self.function, "__qualname__", "")
        return name if getattr(sys.modules.get(self.__module__), name, None) is self else (_FunctionConverter, (self.function,))


def converter():
    """Decorator: ``function(batch, device)`` as a ``Converter``."""
    return _FunctionConverter


def call_converter(function, batch, device):
    """Call a converter with a ``Device``; a plain function gets the device's number (-1: the CPU) or None."""
    if isinstance(function, Converter) or device is None:
        return function(batch, device)
    if not isinstance(device, Device):
        raise InvalidType("converter", "a Device or None", type(device).__name__)
    return function(batch, -1 if device.xp is np else device.device.id)


_call_converter = call_converter      # Chainer's name, which loops that are written by hand use


def call_with(function, arrays):
    """Call a function with what a converter gave: a tuple holds its arguments, a dict its keyword arguments, else it is the argument."""
    if isinstance(arrays, tuple):
        return function(*arrays)
    return function(**arrays) if isinstance(arrays, dict) else function(arrays)


def to_device(device, x):
    """``x`` on a device; None leaves it where it is."""
    return x if device is None else get_device(device).send(x)


@converter()
def concat_examples(batch, device=None, padding=None):
    """Examples stacked into arrays: one array, or a tuple or dict of them if the examples are tuples or dicts.

    Args:
        batch: list of examples, each an array or number, a tuple of those, or a dict of those.
        device: where the arrays go; None: they stay.
        padding: number that fills up examples of different shapes (for tuples and dicts also one per item); None: shapes agree.
    """
    if len(batch) == 0:
        raise ValueError("the batch is empty")
    first = batch[0]
    if isinstance(first, tuple):
        fill = padding if isinstance(padding, tuple) else (padding,) * len(first)
        return tuple([to_device(device, _concat_arrays([example[i] for example in batch], fill[i])) for i in range(len(first))])
    if isinstance(first, dict):
        named = isinstance(padding, dict)
        return {key: to_device(device, _concat_arrays([example[key] for example in batch], padding[key] if named else padding)) for key in first}
    return to_device(device, _concat_arrays(batch, padding))


def _concat_arrays(items, padding):
    if not is_array(items[0]):
        return _concat_arrays_with_padding([np.asarray(x) for x in items], padding) if padding is not None else np.asarray(items)
    if padding is not None:
        return _concat_arrays_with_padding(items, padding)
    shapes = {x.shape for x in items}
    if len(shapes) > 1:
        raise InvalidType("concat_examples", "examples of one shape", ", ".join(map(str, sorted(shapes))), "pass padding=0")
    if items[0].ndim == 1 and all([type(x) is np.ndarray for x in items]):
        return np.concatenate(items).reshape((len(items), *items[0].shape))      # less time than np.stack takes, which makes a view of each first
    return get_array_module(items[0]).stack(items)


def _concat_arrays_with_padding(arrays, padding):
    shape = np.max([x.shape for x in arrays], axis=0).astype(int)
    result = get_array_module(arrays[0]).full((len(arrays), *shape), padding, arrays[0].dtype)
    for i, x in enumerate(arrays):
        result[(i, *map(slice, x.shape))] = x
    return result


class ConcatWithAsyncTransfer:
    """``concat_examples`` that copies to a GPU by way of pinned memory, on a stream of its own.

    Args:
        stream: CuPy stream of the copies; None: a new one.
        compute_stream: stream that uses the arrays and waits for the copies; None: the copy is finished when the call returns.
    """

    def __init__(self, stream=None, compute_stream=None):
        self._stream, self.compute_stream = stream, compute_stream

    def __call__(self, batch, device=None, padding=None):
        arrays = concat_examples(batch, None, padding)
        if device is None or get_device(device).xp is np:
            return to_device(device, arrays)
        if cupy is None:
            raise BackendError("ConcatWithAsyncTransfer needs CuPy to send arrays to a GPU")
        with get_device(device).device:
            return self._transfer(arrays)

    def _transfer(self, arrays):
        if self._stream is None:
            self._stream = cupy.cuda.Stream(non_blocking=True)
        with self._stream:
            result = _map(_copy_pinned, arrays)
        if self.compute_stream is None:
            self._stream.synchronize()
        else:
            self.compute_stream.wait_event(self._stream.record())
        return result


def _map(function, arrays):
    if isinstance(arrays, tuple):
        return tuple([function(a) for a in arrays])
    return {k: function(a) for k, a in arrays.items()} if isinstance(arrays, dict) else function(arrays)


def _copy_pinned(a):
    """A copy on the current GPU and stream, if need be. The pinned block lives until CuPy has finished with it."""
    if not isinstance(a, np.ndarray):
        return get_device(cupy.cuda.Device()).send(a)
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(a.nbytes), a.dtype, a.size).reshape(a.shape)
    pinned[...] = a
    y = cupy.empty(a.shape, a.dtype)
    y.set(pinned)
    return y
