"""Triggers, where Chainer's older code looks for them."""
from hybridnn.training.triggers import IntervalTrigger, get_trigger

__all__ = ["IntervalTrigger", "get_trigger"]
