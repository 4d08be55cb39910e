"""Parts of datasets: splits and folds."""
import itertools
import operator

import numpy as np

from hybridnn.dataset import DatasetMixin
from hybridnn.dataset.dataset_mixin import checked_index
from hybridnn.dataset.reading import columns_read, examples_read, only_reads

__all__ = ["SubDataset", "get_cross_validation_datasets", "get_cross_validation_datasets_random", "split_dataset",
           "split_dataset_n", "split_dataset_n_random", "split_dataset_random"]


class SubDataset(DatasetMixin):
    """Examples ``start`` to ``finish`` (exclusive) of a dataset, counted along ``order`` if that is given.

    Args:
        dataset: any dataset.
        start, finish: the part.
        order: permutation of the indices of the whole dataset.
    """

    def __init__(self, dataset, start, finish, order=None):
        if start < 0 or finish > len(dataset):
            raise ValueError(f"the part from {start} to {finish} overruns the dataset of {len(dataset)}")
        if order is not None and len(order) != len(dataset):
            raise ValueError(f"order has one index per example: {len(dataset)}, not {len(order)}")
        self._dataset, self._start, self._finish, self._order = dataset, start, finish, order

    def __len__(self):
        return self._finish - self._start

    def get_example(self, i):
        return self._dataset[self._index(i)]

    def _index(self, i):
        index = (self._start if checked_index(i, self) >= 0 else self._finish) + i
        return index if self._order is None else self._order[index]


def _columns(part, indices):
    if np.any((indices < 0) | (indices >= len(part))) or type(part._order) not in (np.ndarray, type(None)):
        return None
    indices = indices + part._start
    return columns_read(part._dataset, indices if part._order is None else part._order.take(indices))


def _examples(part, indices):
    return examples_read(part._dataset, [part._index(i) for i in indices])


only_reads(SubDataset, lambda part: [part._dataset] if part._order is None else [part._dataset, part._order], _columns, _examples)


def split_dataset(dataset, split_at, order=None):
    """The examples before number ``split_at`` and the rest, as two datasets; ``order``: numbers of examples, in the order to go by (None: the dataset's)."""
    try:
        split_at = operator.index(split_at)
    except TypeError:
        raise TypeError(f"split_at is an integer, not {type(split_at).__name__}") from None
    if not 0 <= split_at <= len(dataset):
        raise ValueError(f"split_at lies between 0 and the length {len(dataset)}, not {split_at}")
    return SubDataset(dataset, 0, split_at, order), SubDataset(dataset, split_at, len(dataset), order)


def split_dataset_random(dataset, first_size, seed=None):
    """``first_size`` random examples and the rest, as two datasets; the same for the same ``seed`` (None: others each time)."""
    return split_dataset(dataset, first_size, _permutation(dataset, seed))


def split_dataset_n(dataset, n, order=None):
    """n datasets of equal length; a remainder is left out."""
    size = len(dataset) // n
    return [SubDataset(dataset, size * i, size * (i + 1), order) for i in range(n)]


def split_dataset_n_random(dataset, n, seed=None):
    """n random datasets of equal length; a remainder is left out."""
    return split_dataset_n(dataset, n, _permutation(dataset, seed))


def get_cross_validation_datasets(dataset, n_folds, order=None):
    """``n_folds`` pairs (training, test) of datasets whose test parts share out the dataset, the last examples first; ``order`` as in ``split_dataset``."""
    order = np.arange(len(dataset)) if order is None else np.array(order)
    borders = [len(dataset) * i // n_folds for i in range(n_folds + 1)]
    splits = []
    for begin, end in reversed(list(itertools.pairwise(borders))):
        size = end - begin
        splits.append(split_dataset(dataset, len(dataset) - size, order))
        order = np.roll(order, size)
    return splits


def get_cross_validation_datasets_random(dataset, n_folds, seed=None):
    """Like ``get_cross_validation_datasets`` in random order, the same for the same ``seed`` (None: others each time)."""
    return get_cross_validation_datasets(dataset, n_folds, _permutation(dataset, seed))


def _permutation(dataset, seed):
    return np.random.RandomState(seed).permutation(len(dataset))
