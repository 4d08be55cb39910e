"""Array modules and devices. The only module that imports cupy.

``CpuDevice`` is always there; a ``GpuDevice`` is one CUDA device seen through CuPy. Without CuPy or a working driver, asking
for a GPU raises ``BackendError``, which says what is missing.
"""
import contextlib
import functools
import importlib
import operator

import numpy

from hybridnn.config import config, global_config
from hybridnn.errors import BackendError, not_taken_over

try:
    import cupy
except ImportError:
    cupy = None

__all__ = ["ChainerxDevice", "CpuDevice", "Device", "GpuDevice", "Intel64Device", "back_after", "beside", "check_cuda_available",
           "copied", "copyto", "cupy", "from_chx", "get_array_module", "get_array_types", "get_cpu_array_types", "get_device",
           "get_device_from_array", "get_dtype", "is_array", "is_arrays_compatible", "is_finite", "missing_libraries", "mixed16", "number_of_gpus",
           "numpy", "special_functions", "there", "to_chx", "to_cpu", "to_gpu", "using_device"]


class _Mixed16:
    """The dtype of mixed precision: NumPy takes it as float16; parameters whose range matters are float32."""
    dtype = numpy.dtype(numpy.float16)

    def __repr__(self):
        return "dtype('mixed16')"

    def __reduce__(self):
        return "mixed16"


mixed16 = _Mixed16()
if isinstance(config.dtype, str):        # as the environment says
    vars(global_config)["dtype"] = mixed16


def get_array_module(*arrays):
    """The module (``numpy`` or ``cupy``) whose functions take these arrays; Variables count as their arrays."""
    if cupy is None:
        return numpy
    for x in arrays:
        if isinstance(getattr(x, "array", x), cupy.ndarray):
            return cupy
    return numpy


def special_functions(xp):
    """The module that holds ``erf`` and the like for an array module other than NumPy: itself, or CuPy's ``scipy.special``."""
    return xp if hasattr(xp, "erf") else importlib.import_module("cupyx.scipy.special")


def get_array_types():
    """The array classes in use: ``numpy.ndarray``, and ``cupy.ndarray`` where CuPy is installed."""
    return (numpy.ndarray,) if cupy is None else (numpy.ndarray, cupy.ndarray)


def get_cpu_array_types():
    """The array classes of the CPU."""
    return (numpy.ndarray,)


def is_arrays_compatible(arrays):
    """Whether arrays (None counts as fitting) belong to one array module, so that an operation may take them together."""
    found = [a for a in arrays if a is not None]
    return any(all(isinstance(a, kind) for a in found) for kind in get_array_types())


def is_array(x):
    """True for an ndarray of NumPy or CuPy."""
    return isinstance(x, numpy.ndarray) or (cupy is not None and isinstance(x, cupy.ndarray))


def get_dtype(dtype=None, map_mixed16=None):
    """``dtype``, or ``config.dtype`` for None, as a ``numpy.dtype``; ``mixed16`` becomes ``map_mixed16`` (float16 if that is
    None)."""
    dtype = config.dtype if dtype is None else dtype
    if dtype is mixed16 or isinstance(dtype, str) and dtype == "mixed16":
        dtype = mixed16.dtype if map_mixed16 is None else map_mixed16
    return numpy.dtype(dtype)


# ------------------------------------------------------------------------------------------------------------------- devices

class Device:
    """Where arrays live; compares by value."""
    name = ""
    xp = numpy
    supported_array_types = (numpy.ndarray,)

    def send(self, arrays):
        """``arrays`` (an array, number, Variable, or tuple, list or dict of them) on this device; what is here already is
        not copied."""
        if isinstance(arrays, (tuple, list)):
            return type(arrays)([self.send(i) for i in arrays])
        if isinstance(arrays, dict):
            return {k: self.send(v) for k, v in arrays.items()}
        return None if arrays is None else self.send_array(getattr(arrays, "array", arrays))

    def is_array_supported(self, array):
        """Whether ``array`` is an array of this kind of device."""
        return isinstance(array, self.supported_array_types)

    def use(self):
        """Make this the current device."""

    def create_context(self):
        """A block in which this is the current device."""
        return contextlib.nullcontext(self)

    def __enter__(self):
        raise RuntimeError(f"a device is no context manager\n  hint: with hybridnn.using_device({self.name!r}):")

    def __exit__(self, *exc_info):
        """Never called: ``__enter__`` raises."""

    def __eq__(self, other):
        return type(self) is type(other) and self.name == other.name

    def __hash__(self):
        return hash(self.name)

    def __str__(self):
        return self.name


class CpuDevice(Device):
    """The CPU, with NumPy arrays."""
    name = "@numpy"

    @staticmethod
    def from_array(array):
        """The device of a NumPy array, else None."""
        return CpuDevice() if isinstance(array, numpy.ndarray) else None

    def send_array(self, array):
        """One array (or number) on the CPU. Raises TypeError for what is neither."""
        if cupy is not None and isinstance(array, cupy.ndarray):
            return cupy.asnumpy(array)
        a = numpy.asarray(array)
        if a.dtype == object and not isinstance(array, numpy.ndarray):
            raise TypeError(f"arrays and numbers can be sent to {self.name}; got {type(array).__name__}")
        return a

    def __repr__(self):
        return "<CpuDevice (numpy)>"


class GpuDevice(Device):
    """One CUDA device, with CuPy arrays.

    Args:
        device: a ``cupy.cuda.Device``; ``from_device_id`` takes a number.
    """

    def __init__(self, device):
        check_cuda_available()
        self.device = device
        self.name = f"@cupy:{device.id}"

    xp = cupy

    @property
    def supported_array_types(self):
        return (cupy.ndarray,)

    @staticmethod
    def from_device_id(device_id):
        """Device number ``device_id``, from 0."""
        check_cuda_available()
        if not (isinstance(device_id, (int, numpy.integer)) and device_id >= 0):
            raise ValueError(f"a CUDA device has a number from 0 on; got {device_id!r}")
        return GpuDevice(cupy.cuda.Device(int(device_id)))

    @staticmethod
    def from_array(array):
        """The device of a CuPy array, else None."""
        return GpuDevice(array.device) if cupy is not None and isinstance(array, cupy.ndarray) else None

    def send_array(self, array):
        """One array (or number) on this GPU."""
        with self.device:
            return array if isinstance(array, cupy.ndarray) and array.device == self.device else cupy.array(array)

    def use(self):
        self.device.use()

    @contextlib.contextmanager
    def create_context(self):
        with self.device:
            yield self

    def __repr__(self):
        return f"<GpuDevice (cupy):{self.device.id}>"


class ChainerxDevice(Device):
    """Stands for the device class of ChainerX, which is not taken over; there are no such devices."""

    def __init__(self, device):
        raise not_taken_over("ChainerX", "'@numpy', or '@cupy:0' with CuPy")

    @staticmethod
    def from_array(array):
        """None: no array belongs to ChainerX."""


class Intel64Device(Device):
    """Stands for the device class of iDeep, which is not taken over; there are no such devices."""

    def __init__(self):
        raise not_taken_over("iDeep", "stay on '@numpy'")

    @staticmethod
    def from_array(array):
        """None: no array belongs to iDeep."""


def check_cuda_available():
    """Raise ``BackendError`` unless CuPy is installed and sees a device."""
    if cupy is None:
        raise BackendError("a GPU was asked for, but CuPy is not installed\n"
                           "  hint: pip install 'hybridnn[cuda]', or stay on '@numpy'")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(f"a GPU was asked for, but CUDA does not work here: {error}\n"
                           "  hint: check the driver with nvidia-smi") from error
    if count == 0:
        raise BackendError("a GPU was asked for, but CUDA sees no device\n  hint: check nvidia-smi and CUDA_VISIBLE_DEVICES")


def missing_libraries():
    """What CuPy says that it does not find of the libraries for matrix products, or None."""
    try:
        importlib.import_module("cupy.cublas")
    except ImportError as error:
        return str(error).partition("\n")[0]
    return None


def get_device(device_spec):
    """The device that ``device_spec`` names: ``"@numpy"``, ``"@cupy:0"``, a number (negative: the CPU; also as text), a ``Device``
    or a ``cupy.cuda.Device``."""
    if isinstance(device_spec, Device):
        return device_spec
    if cupy is not None and isinstance(device_spec, cupy.cuda.Device):
        return GpuDevice(device_spec)
    if isinstance(device_spec, str):
        return _device_named(device_spec)
    try:
        number = operator.index(device_spec)
    except TypeError:
        raise TypeError(f"a device is a number, '@numpy', '@cupy:N' or a Device; got {type(device_spec).__name__}") from None
    return CpuDevice() if number < 0 else GpuDevice.from_device_id(number)


def _device_named(text):
    module, colon, number = text.partition(":")
    if text.lstrip("-").isdigit():
        return get_device(int(text))
    if module == "@numpy" and not colon:
        return CpuDevice()
    if module == "@cupy" and number.isdigit():
        return GpuDevice.from_device_id(int(number))
    if not text.startswith("@"):          # as ChainerX's names
        raise BackendError(f"no device is called {text!r}, and ChainerX, whose devices have such names, is not part of hybridnn\n"
                           "  hint: '@numpy', or '@cupy:0' with CuPy")
    if text == "@intel64":
        return Intel64Device()
    raise ValueError(f"no device is called {text!r}: devices are '@numpy', '@cupy:0', '@cupy:1', ...")


def using_device(device_spec):
    """A block in which the device is the current one."""
    return get_device(device_spec).create_context()


def get_device_from_array(*arrays):
    """The device of the first CuPy array or Variable over one; the CPU if there is none."""
    if cupy is not None:
        for x in arrays:
            device = GpuDevice.from_array(getattr(x, "array", x))
            if device is not None:
                return device
    return CpuDevice()


def beside(array, *others):
    """An array of NumPy's that the library has made, on the GPU of the first of ``others`` that lies on one, if any: arrays, or Variables over arrays.

    What Variables hold is taken as it is: values that a trace has yet to compute are NumPy's.
    """
    device = None if cupy is None else _gpu_of(others)
    return array if device is None else device.send(array)


def there(*arrays):
    """A block in which the GPU is the current one that the first of the arrays (or Variables) lies on that lies on any; else nothing happens."""
    device = None if cupy is None else _gpu_of(arrays)
    return contextlib.nullcontext() if device is None else device.create_context()


@contextlib.contextmanager
def back_after():
    """A block that may ``use`` devices: after it the current one is what it was. Without a driver CuPy knows no current device."""
    with cupy.cuda.Device() if number_of_gpus() else contextlib.nullcontext():
        yield


@functools.cache
def number_of_gpus():
    """How many CUDA devices CuPy sees: 0 without CuPy or without a driver that works. Asked once."""
    if cupy is None:
        return 0
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def _gpu_of(arrays):
    for x in arrays:
        a = getattr(x, "_array", x)
        if isinstance(a, cupy.ndarray):
            return GpuDevice(a.device)
    return None


def copied(array):
    """A copy of an array on the device that it lies on (CuPy's own ``copy`` is on the current one)."""
    with there(array):
        return array.copy()


def is_finite(array):
    """Whether all elements are finite, wherever the array lies."""
    with there(array):
        return bool(get_array_module(array).isfinite(array).all())


def to_cpu(array, stream=None):
    """``array`` as a NumPy array; None stays None. Raises TypeError for a Variable, which has ``to_cpu`` itself. ``stream`` has no effect: copies are waited
    for."""
    return CpuDevice().send(_bare(array, "to_cpu"))


def to_gpu(array, device=None, stream=None):
    """``array`` as a CuPy array on ``device`` (a number; None: the current one). ``stream`` has no effect, as it is deprecated in Chainer v7."""
    check_cuda_available()
    return get_device(cupy.cuda.Device() if device is None else device).send(_bare(array, "to_gpu"))


def _bare(array, name):
    if not isinstance(array, numpy.ndarray) and is_array(getattr(array, "array", None)):
        raise TypeError(f"{name} takes arrays; got {type(array).__name__}\n  hint: x.{name}() moves it, {name}(x.array) gives its array")
    return array


def from_chx(array):
    """``array`` itself: no array belongs to ChainerX."""
    return array


def to_chx(array):
    """Raises ``BackendError``: ChainerX is not taken over."""
    return ChainerxDevice(array)


def copyto(dst, src):
    """Copy the values of ``src`` into the array ``dst``, whatever devices they are on."""
    if not is_array(dst):
        raise TypeError(f"copyto writes into an array; got {type(dst).__name__}")
    src = get_device_from_array(dst).send(src)
    get_array_module(dst).copyto(dst, src)
