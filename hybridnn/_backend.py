"""``Device``, where Chainer has it."""
from hybridnn.backend import Device

__all__ = ["Device"]
