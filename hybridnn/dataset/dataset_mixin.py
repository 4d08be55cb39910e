"""``DatasetMixin``: indexing by slices and lists from ``get_example``."""
import numpy as np

__all__ = ["DatasetMixin", "checked_index"]


def checked_index(i, dataset):
    """``i``, if the dataset has an example of that number, or so many from the end if it is negative."""
    n = len(dataset)
    if not -n <= i < n:
        raise IndexError(f"example {i} of a dataset of {n}")
    return i


class DatasetMixin:
    """Base of datasets that define ``__len__`` and ``get_example(i)``."""

    def __getitem__(self, index):
        """One example, or a list of them for a slice, a list or an array of indices."""
        if isinstance(index, slice):
            return [self.get_example(i) for i in range(*index.indices(len(self)))]
        if isinstance(index, list) or (isinstance(index, np.ndarray) and index.ndim):
            return [self.get_example(i) for i in index]
        return self.get_example(index)

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")

    def get_example(self, i):
        """Example number ``i``."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_example")
