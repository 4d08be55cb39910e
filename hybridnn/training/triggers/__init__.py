"""When extensions are called and training stops: ``trigger(trainer)`` is True when it fires."""
from hybridnn.training.triggers.best import BestValueTrigger, EarlyStoppingTrigger, MaxValueTrigger, MinValueTrigger
from hybridnn.training.triggers.schedule import IntervalTrigger, ManualScheduleTrigger, OnceTrigger, TimeTrigger, get_trigger

__all__ = ["BestValueTrigger", "EarlyStoppingTrigger", "IntervalTrigger", "ManualScheduleTrigger", "MaxValueTrigger",
           "MinValueTrigger", "OnceTrigger", "TimeTrigger", "get_trigger"]
