"""Datasets whose examples are tuples."""
import numpy as np

from hybridnn.dataset.reading import columns_read, examples_read, only_reads

__all__ = ["TupleDataset", "same_length"]


def same_length(named):
    """The length that all of some named datasets have."""
    lengths = {name: len(d) for name, d in named}
    if not lengths:
        raise ValueError("at least one dataset is needed")
    if len(set(lengths.values())) > 1:
        raise ValueError("datasets of one length are needed, not " + ", ".join(f"{n}: {k}" for n, k in lengths.items()))
    return next(iter(lengths.values()))


class TupleDataset:
    """Examples are tuples of one example of each dataset, all of the same length.

    A slice gives a list of examples; any other index goes to the datasets as it is, so that of arrays a list or an array of
    indices gives a tuple of batches (``x, t = data[indices]``).
    """

    def __init__(self, *datasets):
        self._length = same_length(enumerate(datasets))
        self._datasets = datasets

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        parts = tuple([d[index] for d in self._datasets])
        return list(zip(*parts, strict=True)) if isinstance(index, slice) else parts


def _columns(dataset, indices):
    found = tuple([columns_read(part, indices) for part in dataset._datasets])
    return found if all(type(a) is np.ndarray for a in found) else None


def _examples(dataset, indices):
    return list(zip(*[examples_read(part, indices) for part in dataset._datasets], strict=True))


only_reads(TupleDataset, lambda dataset: dataset._datasets, _columns, _examples)
