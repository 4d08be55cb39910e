"""Datasets whose examples are dicts."""
import numpy as np

from hybridnn.dataset.reading import columns_read, examples_read, only_reads
from hybridnn.datasets.tuple_dataset import same_length

__all__ = ["DictDataset"]


class DictDataset:
    """Examples are dicts of one example of each named dataset, all of the same length.

    A slice gives a list of examples; any other index goes to the datasets as it is.
    """

    def __init__(self, **datasets):
        self._length = same_length(datasets.items())
        self._datasets = datasets

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        parts = {key: d[index] for key, d in self._datasets.items()}
        if not isinstance(index, slice):
            return parts
        return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]


def _columns(dataset, indices):
    found = {key: columns_read(part, indices) for key, part in dataset._datasets.items()}
    return found if all(type(a) is np.ndarray for a in found.values()) else None


def _examples(dataset, indices):
    rows = zip(*[examples_read(part, indices) for part in dataset._datasets.values()], strict=True)
    return [dict(zip(dataset._datasets, row, strict=True)) for row in rows]


only_reads(DictDataset, lambda dataset: dataset._datasets.values(), _columns, _examples)
