"""Two devices, streams and events that do nothing, and a runtime that says that there is a driver."""
DEVICES = 2
_current = [0]


class runtime:
    """The driver."""

    class CUDARuntimeError(RuntimeError):
        """What CUDA says."""

    @staticmethod
    def driverGetVersion():
        return 13000

    @staticmethod
    def runtimeGetVersion():
        return 13000

    @staticmethod
    def getDeviceCount():
        return DEVICES


class Device:
    """A device by number; without one, the current one."""

    def __init__(self, device=None):
        self.id = _current[-1] if device is None else int(getattr(device, "id", device))
        if not 0 <= self.id < DEVICES:
            raise runtime.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def use(self):
        _current[-1] = self.id

    def synchronize(self):
        """Nothing to wait for."""

    def __enter__(self):
        _current.append(self.id)
        return self

    def __exit__(self, *exc):
        _current.pop()

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"


class Event:
    """A moment of a stream."""

    def record(self, stream=None):
        """Nothing to record."""

    def synchronize(self):
        """Nothing to wait for."""


class Stream:
    """Everything is done at once."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.waited = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        """Nothing to do."""

    def record(self, event=None):
        return event or Event()

    def wait_event(self, event):
        self.waited.append(event)

    def synchronize(self):
        """Nothing to wait for."""


class MemoryPointer:
    """An address."""

    def __init__(self, a):
        self.ptr = a.__array_interface__["data"][0]


def alloc_pinned_memory(size):
    return bytearray(b"\x71" * max(size, 1))[:size] if size else bytearray()


def get_device_id():
    return _current[-1]


def is_available():
    return True


__all__ = ["Device", "Event", "MemoryPointer", "Stream", "alloc_pinned_memory", "get_device_id", "is_available", "runtime"]
