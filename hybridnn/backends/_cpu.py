"""The CPU as a device, where Chainer has it."""
from hybridnn.backend import CpuDevice
from hybridnn.backend import to_cpu as _to_cpu

__all__ = ["CpuDevice", "_to_cpu"]
