"""Tabular datasets made of arrays, lists and functions."""
from hybridnn.backend import is_array
from hybridnn.dataset.tabular.tabular_dataset import TabularDataset

__all__ = ["from_data"]


def from_data(data, *, size=None):
    """A ``TabularDataset`` of columns that are there.

    Args:
        data: one column, or a tuple of columns (examples are tuples then), or a dict from key to column (examples are dicts).
            A column is a list, an array, a pair ``(key, list, array or function)``, or ``((key, ...), function)``; a function
            takes the number of the example and returns its element (elements). A function needs a key.
        size: number of examples, needed if all columns are functions.
    """
    if isinstance(data, dict):
        columns = list(data.items())
        return _joined(columns, size).asdict()
    if not isinstance(data, tuple):
        return _column(None, data, size)
    if len(data) == 2 and _is_key(data[0]):
        return _column(*data, size)
    return _joined([column if isinstance(column, tuple) else (None, column) for column in data], size).astuple()


def _is_key(key):
    return isinstance(key, str) or (isinstance(key, tuple) and all(isinstance(k, str) for k in key))


def _joined(columns, size):
    if size is None:
        size = next((len(column) for _, column in columns if hasattr(column, "__len__")), None)
    first, *rest = [_column(key, column, size) for key, column in columns]
    return first.join(*rest)


def _column(key, data, size):
    if is_array(data) or isinstance(data, list):
        return _Column(f"_{id(data)}" if key is None else key, data)
    if not callable(data):
        raise TypeError(f"from_data: expected a list, an array or a function, found {type(data).__name__}")
    if key is None or size is None:
        raise ValueError(f"from_data: expected a key and a size for a column that is a function, found key={key} and size={size}")
    return _Column("index", range(size)).transform(key, data)


class _Column(TabularDataset):
    """One column: an array, a list, or a range of numbers."""

    def __init__(self, key, data):
        self._key, self._data = key, data

    def __len__(self):
        return len(self._data)

    @property
    def keys(self):
        return (self._key,)

    @property
    def mode(self):
        return None

    def get_examples(self, indices, key_indices):
        data = self._data
        if indices is not None:
            data = data[indices] if is_array(data) or isinstance(indices, slice) else [data[i] for i in indices]
        return (data,) * (1 if key_indices is None else len(key_indices))
