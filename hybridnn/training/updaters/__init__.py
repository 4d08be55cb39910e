"""What makes one update: takes a batch, computes the loss, calls the optimizer."""
from hybridnn.training.updaters import multiprocess_parallel_updater
from hybridnn.training.updaters.parallel import MultiprocessParallelUpdater, ParallelUpdater
from hybridnn.training.updaters.standard import StandardUpdater, Updater
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["MultiprocessParallelUpdater", "ParallelUpdater", "StandardUpdater", "Updater"]

_open_paths(__name__, {"parallel_updater": "ParallelUpdater", "standard_updater": "StandardUpdater"})
