"""Datasets whose examples a function makes of those of another."""
from hybridnn.dataset import DatasetMixin

__all__ = ["TransformDataset"]


class TransformDataset(DatasetMixin):
    """Examples of ``dataset`` after ``transform(example)``."""

    def __init__(self, dataset, transform):
        self._dataset, self._transform = dataset, transform

    def __len__(self):
        return len(self._dataset)

    def get_example(self, i):
        return self._transform(self._dataset[i])
