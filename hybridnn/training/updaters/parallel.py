"""Chainer's updaters over several GPUs, which hybridnn does not have."""
from hybridnn.errors import BackendError

__all__ = ["MultiprocessParallelUpdater", "ParallelUpdater"]


class ParallelUpdater:
    """Not available: raises ``BackendError``."""

    def __init__(self, *args, **kwargs):
        raise BackendError(f"{type(self).__name__} trains on several GPUs, which hybridnn does not do\n"
                           "  hint: StandardUpdater uses one device")


class MultiprocessParallelUpdater(ParallelUpdater):
    """Not available: raises ``BackendError``."""

    @staticmethod
    def available():
        """False."""
        return False
