"""What makes one update: takes a batch, computes the loss, calls the optimizer."""
from hybridnn.training.updaters import multiprocess_parallel_updater
from hybridnn.training.updaters.parallel import MultiprocessParallelUpdater, ParallelUpdater
from hybridnn.training.updaters.standard import StandardUpdater, Updater

__all__ = ["MultiprocessParallelUpdater", "ParallelUpdater", "StandardUpdater", "Updater"]
