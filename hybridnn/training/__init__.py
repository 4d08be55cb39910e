"""The training loop: ``Trainer`` drives an updater and extensions; triggers say when."""
from hybridnn.training import extensions, trigger, triggers, updater, updaters, util
from hybridnn.training.extension import PRIORITY_EDITOR, PRIORITY_READER, PRIORITY_WRITER, Extension, make_extension
from hybridnn.training.trainer import Trainer
from hybridnn.training.triggers import IntervalTrigger, get_trigger
from hybridnn.training.updaters import ParallelUpdater, StandardUpdater, Updater

__all__ = ["PRIORITY_EDITOR", "PRIORITY_READER", "PRIORITY_WRITER", "Extension", "IntervalTrigger", "ParallelUpdater", "StandardUpdater", "Trainer",
           "Updater", "get_trigger", "make_extension"]
