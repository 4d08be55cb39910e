"""``get_trigger``, where Chainer has it."""
from hybridnn.training.triggers import IntervalTrigger, get_trigger

__all__ = ["IntervalTrigger", "get_trigger"]
