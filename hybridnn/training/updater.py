"""The updaters, where Chainer's older code looks for them."""
from hybridnn.training.updaters import ParallelUpdater, StandardUpdater, Updater

__all__ = ["ParallelUpdater", "StandardUpdater", "Updater"]
