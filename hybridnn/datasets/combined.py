"""Datasets made of other datasets."""
import bisect
import itertools

import numpy as np

from hybridnn.dataset import DatasetMixin

__all__ = ["ConcatenatedDataset", "DictDataset", "TransformDataset", "TupleDataset"]


def _same_length(named):
    lengths = {name: len(d) for name, d in named}
    if not lengths:
        raise ValueError("at least one dataset is needed")
    if len(set(lengths.values())) > 1:
        raise ValueError("datasets of one length are needed, not " + ", ".join(f"{n}: {k}" for n, k in lengths.items()))
    return next(iter(lengths.values()))


def _is_many(index):
    return isinstance(index, (slice, list)) or (isinstance(index, np.ndarray) and index.ndim > 0)


class TupleDataset:
    """Examples are tuples of one example of each dataset, all of the same length."""

    def __init__(self, *datasets):
        self._length = _same_length(enumerate(datasets))
        self._datasets = datasets

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        parts = [d[index] for d in self._datasets]
        return list(zip(*parts, strict=True)) if _is_many(index) else tuple(parts)


class DictDataset:
    """Examples are dicts of one example of each named dataset, all of the same length."""

    def __init__(self, **datasets):
        self._length = _same_length(datasets.items())
        self._datasets = datasets

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        parts = {key: d[index] for key, d in self._datasets.items()}
        if not _is_many(index):
            return parts
        return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]


class ConcatenatedDataset(DatasetMixin):
    """One dataset after the other."""

    def __init__(self, *datasets):
        self._datasets = datasets
        self._ends = list(itertools.accumulate(map(len, datasets)))

    def __len__(self):
        return self._ends[-1] if self._ends else 0

    def get_example(self, i):
        n = len(self)
        if not -n <= i < n:
            raise IndexError(f"example {i} of a dataset of {n}")
        i = i % n
        part = bisect.bisect_right(self._ends, i)
        return self._datasets[part][i - (self._ends[part - 1] if part else 0)]


class TransformDataset(DatasetMixin):
    """Examples of ``dataset`` after ``transform(example)``."""

    def __init__(self, dataset, transform):
        self._dataset, self._transform = dataset, transform

    def __len__(self):
        return len(self._dataset)

    def get_example(self, i):
        return self._transform(self._dataset[i])
