"""When extensions are called and training stops: ``trigger(trainer)`` is True when it fires."""
from hybridnn.training.triggers.best import BestValueTrigger, EarlyStoppingTrigger, MaxValueTrigger, MinValueTrigger
from hybridnn.training.triggers.schedule import IntervalTrigger, ManualScheduleTrigger, OnceTrigger, TimeTrigger, get_trigger
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["BestValueTrigger", "EarlyStoppingTrigger", "IntervalTrigger", "ManualScheduleTrigger", "MaxValueTrigger",
           "MinValueTrigger", "OnceTrigger", "TimeTrigger", "get_trigger"]

_open_paths(__name__, {
    "early_stopping_trigger": "EarlyStoppingTrigger", "interval_trigger": "IntervalTrigger",
    "manual_schedule_trigger": "ManualScheduleTrigger", "minmax_value_trigger": "BestValueTrigger MaxValueTrigger MinValueTrigger",
    "once_trigger": "OnceTrigger", "time_trigger": "TimeTrigger"})
