"""Datasets whose examples are dicts."""
from hybridnn.datasets.tuple_dataset import is_many, same_length

__all__ = ["DictDataset"]


class DictDataset:
    """Examples are dicts of one example of each named dataset, all of the same length."""

    def __init__(self, **datasets):
        self._length = same_length(datasets.items())
        self._datasets = datasets

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        parts = {key: d[index] for key, d in self._datasets.items()}
        if not is_many(index):
            return parts
        return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]
