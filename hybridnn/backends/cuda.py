"""CUDA through CuPy, under the names of Chainer v7's ``backends.cuda``.

Without CuPy or a device, ``available`` is False, arrays stay NumPy's, ``DummyDevice`` stands for the device of the CPU, and
what needs a GPU raises ``BackendError``.
"""
import functools
import warnings

import numpy

from hybridnn import backend
from hybridnn.backend import GpuDevice, check_cuda_available, get_array_module, to_cpu, to_gpu
from hybridnn.config import config
from hybridnn.errors import BackendError

__all__ = ["Device", "DummyDevice", "DummyDeviceType", "Event", "GpuDevice", "Stream", "available", "check_cuda_available",
           "clear_memo", "copy", "cudnn_enabled", "cupy", "elementwise", "fuse", "get_array_module", "get_device",
           "get_device_from_array", "get_device_from_id", "get_max_workspace_size", "memoize", "ndarray", "raw", "reduce",
           "set_max_workspace_size", "should_use_cudnn", "should_use_cudnn_tensor_core", "to_cpu", "to_gpu"]


def _works():
    try:
        check_cuda_available()
    except BackendError:
        return False
    return True


class DummyDeviceType:
    """The device of NumPy arrays: equal to others of its kind, its number is -1, and using it does nothing."""
    id = -1

    def __init__(self, device=None):
        pass

    def __int__(self):
        return -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def use(self):
        """Nothing to do."""

    def synchronize(self):
        """Nothing to do."""

    def __eq__(self, other):
        return isinstance(other, DummyDeviceType)

    def __hash__(self):
        return -1


class _NeedsCuda:
    """Stands for a class of CuPy's where it is missing."""

    def __init__(self, *args, **kwargs):
        check_cuda_available()


class _NoArray:
    """Stands for ``cupy.ndarray`` where CuPy is missing; nothing is an instance of it."""


class _NoCupy:
    """Stands for ``cupy`` where it is missing."""

    def __getattr__(self, name):
        raise AttributeError(f"there is no cupy.{name}, as CuPy is not installed\n"
                             "  hint: backend.get_array_module(x) is NumPy for its arrays; pip install 'hybridnn[cuda]' brings CuPy")


available = _works()
DummyDevice = DummyDeviceType()
if available:
    cupy = backend.cupy
    ndarray, Device, Event, Stream = cupy.ndarray, cupy.cuda.Device, cupy.cuda.Event, cupy.cuda.Stream
    cudnn_enabled = bool(getattr(cupy.cuda, "cudnn_enabled", False))
else:
    cupy, ndarray, Device, Event, Stream, cudnn_enabled = _NoCupy(), _NoArray, _NeedsCuda, _NeedsCuda, _NeedsCuda, False


def get_device(*args):
    """The ``Device`` of a number, an array or a device; ``DummyDevice`` for None, NumPy arrays and numbers below 0. Deprecated, as in Chainer."""
    warnings.warn("get_device is deprecated: use get_device_from_id or get_device_from_array", DeprecationWarning, stacklevel=2)
    for arg in args:
        found = _device_of(arg)
        if found is not DummyDevice:
            return found
    return DummyDevice


def _device_of(x):
    if isinstance(x, (int, numpy.integer)) and not isinstance(x, bool):
        return get_device_from_id(x)
    if available and isinstance(x, Device):
        return x
    return get_device_from_array(x)


def get_device_from_id(device_id):
    """The ``Device`` of that number; ``DummyDevice`` for None and numbers below 0."""
    if device_id is None or device_id < 0:
        return DummyDevice
    check_cuda_available()
    return Device(int(device_id))


def get_device_from_array(*arrays):
    """The ``Device`` of the first CuPy array (or Variable over one), else ``DummyDevice``."""
    for x in arrays:
        a = getattr(x, "array", x)
        if isinstance(a, ndarray):
            return a.device
    return DummyDevice


def copy(array, out=None, out_device=None, stream=None):
    """A copy of a CuPy array, into ``out`` or on ``out_device``."""
    check_cuda_available()
    if out is not None:
        cupy.copyto(out, array)
        return out
    with get_device_from_id(out_device):
        return cupy.array(array)


@functools.lru_cache(None)
def _kernel(kind, args, kwargs):
    return getattr(cupy, kind)(*args, **dict(kwargs))


def _compiled(kind, args, kwargs):
    check_cuda_available()
    return _kernel(kind, args, tuple(sorted(kwargs.items())))


def elementwise(in_params, out_params, operation, name, **kwargs):
    """CuPy's ``ElementwiseKernel``, compiled once."""
    return _compiled("ElementwiseKernel", (in_params, out_params, operation, name), kwargs)


def reduce(in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name, **kwargs):
    """CuPy's ``ReductionKernel``, compiled once."""
    return _compiled("ReductionKernel", (in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name), kwargs)


def raw(code, name, *args, **kwargs):
    """CuPy's ``RawKernel``, compiled once."""
    return _compiled("RawKernel", (code, name, *args), kwargs)


def memoize(for_each_device=False):
    """Decorator: results are kept per arguments (and device). Without CUDA nothing is kept, so that modules may use it at their top level."""
    return cupy.memoize(for_each_device) if available else lambda f: f


def clear_memo():
    """Forget the results that ``memoize`` keeps."""
    if available:
        cupy.clear_memo()


def fuse(*args, **kwargs):
    """CuPy's ``fuse``; without CUDA a decorator that changes nothing."""
    if available:
        return cupy.fuse(*args, **kwargs)
    if len(args) == 1 and callable(args[0]):
        return args[0]
    return lambda f: f


_workspace = [8 * 1024 * 1024]


def get_max_workspace_size():
    """Bytes that cuDNN may use for a convolution."""
    return _workspace[0]


def set_max_workspace_size(size):
    """Set what ``get_max_workspace_size`` returns."""
    _workspace[0] = size


_LEVELS = {"==always": {"always": True, True: True, "auto": False, "never": False, False: False},
           ">=auto": {"always": True, True: True, "auto": True, "never": False, False: False}}


def should_use_cudnn(level, lowest_version=0):
    """Whether ``config.use_cudnn`` reaches ``level`` (``"==always"`` or ``">=auto"``) and cuDNN is there."""
    if level not in _LEVELS:
        raise ValueError(f"level is '==always' or '>=auto', not {level!r}")
    if config.use_cudnn not in _LEVELS[level]:
        raise ValueError(f"config.use_cudnn is 'always', 'auto' or 'never', not {config.use_cudnn!r}")
    return cudnn_enabled and _LEVELS[level][config.use_cudnn] and cupy.cuda.cudnn.getVersion() >= lowest_version


def should_use_cudnn_tensor_core(dtype):
    """Whether cuDNN may use tensor cores for ``dtype``: where ``config.use_cudnn_tensor_core`` allows it and it is float16."""
    setting = config.use_cudnn_tensor_core
    if setting not in ("always", "auto", "never"):
        raise ValueError(f"config.use_cudnn_tensor_core is 'always', 'auto' or 'never', not {setting!r}")
    return cudnn_enabled and (setting == "always" or (setting == "auto" and numpy.dtype(dtype) == numpy.float16))
