"""``DeviceResident``: what lives on a device and moves with all that it holds, such as a link."""

from hybridnn.backend import CpuDevice, GpuDevice, Intel64Device, get_device, to_chx
from hybridnn.config import warn

__all__ = ["DeviceResident", "DeviceResidentsVisitor"]


class DeviceResident:
    """An object with arrays, Variables or other such objects, which ``to_device`` moves together.

    A subclass with state of its own overrides ``device_resident_accept`` and shows it to the visitor. ``to_device`` itself cannot be
    overridden (TypeError); an overridden ``to_cpu`` or ``to_gpu``, as before Chainer v7, warns and is called by all moves.
    """
    _device = CpuDevice()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "to_device" in vars(cls):
            raise TypeError(f"{cls.__name__}.to_device: to_device is not for overriding\n  hint: override device_resident_accept")
        for name in "to_cpu", "to_gpu":
            if name in vars(cls):
                warn(f"{cls.__name__}.{name}: overriding {name} is deprecated; override device_resident_accept",
                              DeprecationWarning, stacklevel=2)

    @property
    def device(self):
        """The device that the object was sent to."""
        return self._device

    @property
    def xp(self):
        """The array module of the object's device."""
        return self._device.xp

    def to_device(self, device):
        """Move to a device ("@numpy", "@cupy:0", a ``Device``) with all that belongs to it; returns the object."""
        self.device_resident_accept(_Mover(get_device(device)))
        return self

    def to_cpu(self):
        """``to_device("@numpy")``; deprecated, as in Chainer v7."""
        return self._move("to_cpu", "@numpy", CpuDevice())

    def to_gpu(self, device=None):
        """``to_device`` of CUDA device number ``device`` (None: 0); deprecated, as in Chainer v7."""
        return self._move("to_gpu", "@cupy:N", get_device(0 if device is None else device))

    def to_intel64(self):
        """Raises ``BackendError``: iDeep is not taken over."""
        Intel64Device()

    def to_chx(self):
        """Raises ``BackendError``: ChainerX is not taken over."""
        to_chx(self)

    def from_chx(self):
        """The object itself: no array belongs to ChainerX."""
        return self

    def _move(self, method, spec, device):
        warn(f"{method} is deprecated; use to_device({spec!r})", DeprecationWarning, stacklevel=3)
        self.device_resident_accept(_Mover(device, self))
        return self

    def device_resident_accept(self, visitor):
        """Show the object and all that it holds to a visitor."""
        visitor.visit_device_resident(self)


class DeviceResidentsVisitor:
    """What ``device_resident_accept`` carries through objects; subclasses define what is done with each."""

    def visit_device_resident(self, device_resident):
        """An object that holds others."""
        raise NotImplementedError

    def visit_array(self, arr):
        """An array; returns the one to be kept instead."""
        raise NotImplementedError

    def visit_variable(self, param):
        """A Variable, changed in place."""
        raise NotImplementedError


class _Mover(DeviceResidentsVisitor):
    """Moves to ``device``; ``start``: the object whose own method began it."""

    def __init__(self, device, start=None):
        self.device, self.start = device, start

    def visit_device_resident(self, device_resident):
        device_resident._device = self.device
        name, args = ("to_gpu", (self.device.device,)) if isinstance(self.device, GpuDevice) else ("to_cpu", ())
        if device_resident is not self.start and getattr(type(device_resident), name) is not getattr(DeviceResident, name):
            getattr(device_resident, name)(*args)

    def visit_array(self, arr):
        return self.device.send(arr)

    def visit_variable(self, param):
        param.to_device(self.device)
