"""The order of examples in an epoch."""
import numpy as np

__all__ = ["OrderSampler", "ShuffleOrderSampler"]


class OrderSampler:
    """Base: ``sampler(current_order, current_position)`` returns the indices of the next epoch, as many as in this one."""

    def __call__(self, current_order, current_position):
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class ShuffleOrderSampler(OrderSampler):
    """A new permutation for every epoch.

    Args:
        random_state: ``numpy.random.RandomState``; None: NumPy's global stream, which ``numpy.random.seed`` governs.
    """

    def __init__(self, random_state=None):
        self._random = np.random if random_state is None else random_state

    def __call__(self, current_order, current_position):
        return self._random.permutation(len(current_order))

    def __getstate__(self):
        return {"_random": None if self._random is np.random else self._random}

    def __setstate__(self, state):
        self._random = np.random if state["_random"] is None else state["_random"]
