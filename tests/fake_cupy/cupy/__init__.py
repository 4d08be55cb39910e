"""A stand-in for CuPy on two devices that are not there: NumPy inside, and around it an array class that stays away from host arrays as CuPy's does.

What is refused here fails on a GPU: to mix device and host arrays, or arrays of two devices, or to compute on a device that is not the current one; names,
methods and keywords that CuPy lacks (``names.json`` lists what its release has); to make a NumPy array without being asked to. ``transfers`` counts
what goes over the bus, ``allocations`` new arrays. Memory that nobody has written yet holds NaN, or numbers that stand out.
"""
import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy

from cupy import cuda

NAMES = json.loads((Path(__file__).parent / "names.json").read_text())
__version__ = NAMES["version"]

transfers = {"to device": 0, "to host": 0}
allocations = {"arrays": 0}

POISON = {"f": numpy.nan, "c": numpy.nan, "i": -113, "u": 113, "b": True}


def _of_host(a):
    """A device array with the memory of a host array that nobody else has."""
    made = object.__new__(ndarray)
    made._a, made.device = a, cuda.Device()
    allocations["arrays"] += 1
    return made


def _wrapped(y, device=None):
    """What NumPy returned, as CuPy returns it: scalars are arrays without axes."""
    if isinstance(y, tuple) and hasattr(y, "_fields"):
        return type(y)(*map(_wrapped, y))
    if isinstance(y, (tuple, list)):
        return type(y)(map(_wrapped, y))
    if isinstance(y, (numpy.ndarray, numpy.generic)):
        return _of_host(numpy.asarray(y))
    return y


def _bare(x):
    """The host array inside; host arrays from outside are refused."""
    if isinstance(x, ndarray):
        if x.device != cuda.Device():
            raise ValueError(f"an array of device {x.device.id} is used while device {cuda.Device().id} is the current one")
        return x._a
    if isinstance(x, numpy.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(x, (tuple, list)):
        return type(x)([_bare(i) for i in x])
    return x


def _index(index):
    """As CuPy takes it: arrays of the host are sent to the device."""
    if isinstance(index, tuple):
        return tuple([_index(i) for i in index])
    if isinstance(index, (numpy.ndarray, list)):
        transfers["to device"] += 1
        return index
    return _bare(index)


def _checked(name, known, args, kwargs):
    several, named = any(k[:1] == "*" for k in known or "*"), any(k[:2] == "**" for k in known or ("**",))
    extra = set() if named else set(kwargs) - set(known)
    if extra or not several and len(args) > len(known):
        raise TypeError(f"cupy.{name} has no argument {', '.join(sorted(extra)) or len(args)}")


def _function(module, name, known):
    inner = getattr(module, name)

    @functools.wraps(inner)
    def call(*args, **kwargs):
        _checked(name, known, args, kwargs)
        y = inner(*[_bare(a) for a in args], **{k: _bare(v) for k, v in kwargs.items()})
        given = kwargs.get("out")
        return given if given is not None else _wrapped(numpy.asarray(y) if isinstance(y, bool) else y)
    return call


class Flags(NamedTuple):
    """CuPy knows no more of them."""
    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class ufunc:
    """One of CuPy's; of a ufunc's methods only those that CuPy has."""

    def __init__(self, name):
        self.__name__, self._inner = name, getattr(numpy, name)
        self.nin, self.nout, self.nargs = self._inner.nin, self._inner.nout, self._inner.nargs

    def __call__(self, *args, **kwargs):
        _checked(self.__name__, ("out", "dtype", "casting"), (), kwargs)
        out = kwargs.get("out")
        y = self._inner(*[_bare(a) for a in args], **{k: _bare(v) for k, v in kwargs.items()})
        return out if out is not None else args[self.nin] if len(args) > self.nin else _wrapped(y)

    def at(self, a, indices, b=None):
        if self.__name__ not in ("add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"):
            raise NotImplementedError(f"`cupy.{self.__name__}.at` is not supported yet")
        self._inner.at(_bare(a), _index(indices), *(() if b is None else (_bare(b),)))

    def outer(self, a, b, **kwargs):
        return _wrapped(self._inner.outer(_bare(a), _bare(b), **kwargs))

    def reduce(self, a, axis=0, dtype=None, out=None, keepdims=False):
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy.{self.__name__}.reduce` is not supported yet")
        return _wrapped(self._inner.reduce(_bare(a), axis, dtype, None, keepdims))


class ndarray:
    """An array of a device."""
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        a = numpy.empty(shape, dtype, order)
        a[...] = POISON[a.dtype.kind]
        self._a, self.device = a, cuda.Device()
        allocations["arrays"] += 1

    # what is known without the device
    shape, dtype, ndim, size, nbytes, itemsize, strides = (
        property(lambda self, name=name: getattr(self._a, name)) for name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides"))

    @property
    def flags(self):
        return Flags(self._a.flags.c_contiguous, self._a.flags.f_contiguous, self._a.flags.owndata)

    @property
    def T(self):
        return self._view(self._a.T)

    @property
    def real(self):
        return self._view(self._a.real)

    @property
    def imag(self):
        return self._view(self._a.imag)

    @property
    def base(self):
        return self._a.base

    @property
    def data(self):
        return cuda.MemoryPointer(self._a)

    def _view(self, a):
        made = object.__new__(ndarray)
        made._a, made.device = a, self.device
        return made

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        return map(self.__getitem__, range(len(self._a)))

    # over the bus
    def get(self, stream=None, order="C", out=None, blocking=True):
        transfers["to host"] += 1
        return self._a.copy(order)

    def set(self, arr, stream=None):
        if not isinstance(arr, numpy.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"{arr.dtype} array of shape {arr.shape} cannot be set to {self.dtype} array of shape {self.shape}")
        transfers["to device"] += 1
        self._a[...] = arr

    def item(self, *args):
        transfers["to host"] += 1
        return self._a.item(*args)

    def tolist(self):
        transfers["to host"] += 1
        return self._a.tolist()

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __index__(self):
        transfers["to host"] += 1
        return self._a.__index__()

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return array, (self.get(),)

    # elements
    def __getitem__(self, index):
        y = self._a[_index(index)]
        return self._view(y) if isinstance(y, numpy.ndarray) else self._view(numpy.asarray(y))

    @real.setter
    def real(self, value):
        self._a.real = _bare(value)

    @imag.setter
    def imag(self, value):
        self._a.imag = _bare(value)

    def __setitem__(self, index, value):
        _bare(self)
        self._a[_index(index)] = value if isinstance(value, numpy.ndarray) and value.ndim == 0 else _bare(value)

    def copy(self, order="C"):
        """On the current device, as CuPy does it."""
        return _of_host(self._a.copy(order))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo=None):
        with self.device:
            return self.copy()

    # NumPy's functions
    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, ufunc_, method, *inputs, **kwargs):
        if any(not isinstance(i, (ndarray, numpy.ndarray, numpy.generic)) and getattr(i, "__array_ufunc__", None) for i in inputs):
            return NotImplemented
        own = _find({"divide": "true_divide"}.get(ufunc_.__name__, ufunc_.__name__))
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = out[0] if len(out) == 1 else out
        return getattr(own, method)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if not all(issubclass(t, ndarray) for t in types):
            return NotImplemented
        return _find(function.__name__)(*args, **kwargs)


def _method(name):
    known = NAMES["functions"].get(name)

    def method(self, *args, **kwargs):
        if known and name not in ("reshape", "transpose"):
            _checked(name, known[1:], args, kwargs)
        y = getattr(_bare(self), name)(*[_bare(a) for a in args], **{k: _bare(v) for k, v in kwargs.items()})
        if isinstance(y, numpy.ndarray) and y.base is not None:
            return self._view(y)
        return kwargs["out"] if kwargs.get("out") is not None else _wrapped(y)
    method.__name__ = name
    return method


_OPERATORS = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "mod": "remainder", "pow": "power",
              "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift"}
_COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}


def _operator(name, function=None, inplace=False):
    """Others that bring an ``__array_ufunc__`` are asked, as CuPy does."""
    def operator(self, *others):
        if any(not isinstance(o, (ndarray, numpy.ndarray, numpy.generic)) and getattr(o, "__array_ufunc__", None) for o in others):
            return getattr(numpy, function)(self, *others)
        y = getattr(_bare(self), name)(*map(_bare, others))
        return self if inplace else y if y is NotImplemented else _wrapped(y)
    return operator


for _name, _ufunc in {**_OPERATORS, **_COMPARISONS}.items():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", _ufunc))
for _name in _OPERATORS:
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__"))
    setattr(ndarray, f"__i{_name}__", _operator(f"__i{_name}__", inplace=True))
for _name in ("divmod", "neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in NAMES["methods"]:
    if not hasattr(ndarray, _name) and callable(getattr(numpy.ndarray, _name, None)):
        setattr(ndarray, _name, _method(_name))


# ------------------------------------------------------------------------------------------------------------------ the module

def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, blocking=False):
    """A new array on the current device, from whatever device."""
    if not isinstance(obj, ndarray):
        if _holds_arrays(obj):
            return _find("stack")([array(o, dtype) for o in obj])
        transfers["to device"] += 1
        a = numpy.array(obj, dtype, order=order, ndmin=ndmin)
        if a.dtype.kind == "O":
            raise ValueError("Unsupported dtype object")
        return _of_host(a)
    return _of_host(numpy.array(obj._a, dtype, order=order, ndmin=ndmin))


def _holds_arrays(obj):
    return isinstance(obj, (list, tuple)) and any(isinstance(o, ndarray) for o in obj)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """The array itself where it is on a device and has the dtype."""
    if isinstance(a, ndarray) and (dtype is None or a.dtype == dtype) and not copy:
        return a
    return array(a, dtype)


def ascontiguousarray(a, dtype=None):
    """``a`` itself where it is contiguous."""
    return a if isinstance(a, ndarray) and a.flags.c_contiguous and dtype in (None, a.dtype) else array(a, dtype, order="C")


asanyarray = asarray


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """On the host."""
    return a.get() if isinstance(a, ndarray) else numpy.asarray(a)


def empty(shape, dtype=float, order="C"):
    """Poisoned."""
    return ndarray(shape, dtype, order=order)


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    """Poisoned."""
    return ndarray(_bare(prototype).shape if shape is None else shape, prototype.dtype if dtype is None else dtype)


def copyto(dst, src, casting="same_kind", where=None):
    """Into a device array, from one or from a number."""
    if not isinstance(dst, ndarray):
        raise TypeError("dst must be cupy.ndarray")
    if isinstance(src, numpy.ndarray):
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    numpy.copyto(dst._a, src._a if isinstance(src, ndarray) else src, casting, where=True if where is None else _bare(where))


def take(a, indices, axis=None, out=None):
    """Indices of the host are refused, those of the device clipped to what there is."""
    return _wrapped(numpy.take(_bare(a), _bare(indices), axis, mode="wrap"))


def get_array_module(*args):
    """This module if any argument is a device array."""
    import cupy
    return cupy if any(isinstance(a, ndarray) for a in args) else numpy


def shares_memory(a, b, max_work=None):
    """Whether they do."""
    return numpy.shares_memory(a._a, b._a)


may_share_memory = shares_memory


@functools.cache
def _find(name):
    if name in NAMES["ufuncs"]:
        return ufunc(name)
    if name in globals():
        return globals()[name]
    if isinstance(getattr(numpy, name, None), (type, float)) or name == "newaxis":
        return getattr(numpy, name)
    if name in NAMES["functions"]:
        return _function(numpy, name, NAMES["functions"][name])
    raise AttributeError(f"module 'cupy' has no attribute {name!r}")


def __getattr__(name):
    if name == "linalg":
        return _Module(numpy.linalg, NAMES["linalg"])
    if name == "fft":
        return _Module(numpy.fft, NAMES["fft"])
    return _find(name)


class _Module:
    def __init__(self, inner, known):
        self._inner, self._known = inner, known

    def __getattr__(self, name):
        if name == "LinAlgError":
            return numpy.linalg.LinAlgError
        if name not in self._known:
            raise AttributeError(f"cupy.linalg has no attribute {name!r}")
        return _function(self._inner, name, self._known[name])


class _Grid:
    def __getitem__(self, index):
        return _wrapped(numpy.ogrid[index])


class lib:
    """Views."""

    class stride_tricks:
        """Views."""

        @staticmethod
        def as_strided(x, shape=None, strides=None):
            return x._view(numpy.lib.stride_tricks.as_strided(_bare(x), shape, strides))


ogrid = _Grid()


class random:
    """Nothing is drawn on devices: ``numpy.random`` governs all draws."""

    @staticmethod
    def seed(seed=None):
        """Nothing to do."""
