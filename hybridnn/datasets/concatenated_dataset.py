"""Datasets one after the other."""
import bisect
import itertools

from hybridnn.dataset import DatasetMixin
from hybridnn.dataset.dataset_mixin import checked_index
from hybridnn.dataset.reading import only_reads

__all__ = ["ConcatenatedDataset"]


class ConcatenatedDataset(DatasetMixin):
    """One dataset after the other."""

    def __init__(self, *datasets):
        self._datasets = datasets
        self._ends = list(itertools.accumulate(map(len, datasets)))

    def __len__(self):
        return self._ends[-1] if self._ends else 0

    def get_example(self, i):
        i = checked_index(i, self) % len(self)
        part = bisect.bisect_right(self._ends, i)
        return self._datasets[part][i - (self._ends[part - 1] if part else 0)]


only_reads(ConcatenatedDataset, lambda dataset: dataset._datasets)
