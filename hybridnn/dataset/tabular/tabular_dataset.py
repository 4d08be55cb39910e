"""Datasets with named columns, and the views of them: rows and columns chosen, put together, transformed."""
import numbers

import numpy as np

from hybridnn.backend import get_array_module, is_array
from hybridnn.dataset.dataset_mixin import DatasetMixin

__all__ = ["DelegateDataset", "TabularDataset"]


class TabularDataset(DatasetMixin):
    """Base of datasets whose examples have one element for each of some named columns.

    A subclass defines ``__len__``, ``keys``, ``mode`` and ``get_examples``. Views are cheap: what they need of the data is asked
    for when examples are.
    """

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")

    @property
    def keys(self):
        """Names of the columns: a tuple of strings."""
        raise NotImplementedError(f"{type(self).__name__} defines no keys")

    @property
    def mode(self):
        """What an example is: ``tuple`` or ``dict`` of its elements, or None: the one element itself."""
        raise NotImplementedError(f"{type(self).__name__} defines no mode")

    def get_examples(self, indices, key_indices):
        """Columns of some examples.

        Args:
            indices: list of row numbers, a slice, or None for all rows.
            key_indices: tuple of column numbers, or None for all columns.
        Returns: a tuple of lists or arrays, one for each column.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no get_examples")

    @property
    def slice(self):
        """Views by index: ``dataset.slice[rows]``, ``dataset.slice[rows, keys]``.

        ``rows`` is a slice, or a list or array of numbers or of bools. ``keys`` is a tuple of names or numbers, or one of them,
        which makes the examples bare elements.
        """
        return _SliceHelper(self)

    def _in_mode(self, elements):
        """Elements, or columns, in the form that the mode says."""
        return dict(zip(self.keys, elements, strict=True)) if self.mode is dict else elements if self.mode is tuple else elements[0]

    def fetch(self):
        """All data by column: a tuple or dict of lists or arrays, or the one column."""
        return self._in_mode(self.get_examples(None, None))

    def convert(self, data):
        """What ``fetch`` returned, as arrays. ``with_converter`` replaces this."""
        if isinstance(data, dict):
            return {key: _as_array(column) for key, column in data.items()}
        return tuple([_as_array(column) for column in data]) if isinstance(data, tuple) else _as_array(data)

    def astuple(self):
        """A view whose examples are tuples."""
        return _AsMode(self, tuple)

    def asdict(self):
        """A view whose examples are dicts."""
        return _AsMode(self, dict)

    def concat(self, *datasets):
        """A view of the rows of this dataset and then of others with the same keys."""
        return _Concat(self, *datasets)

    def join(self, *datasets):
        """A view of the columns of this dataset and of others of the same length."""
        return _Join(self, *datasets)

    def transform(self, keys, transform):
        """A view of examples made by a function.

        Args:
            keys: names of the new columns, a tuple or one name.
            transform: called with the elements of an example (by keyword if the mode is ``dict``); returns a tuple, a dict by
                key or, for one column, the element. It decides the mode of the view, and always returns the same kind.
        """
        return _Transform(self, keys, transform)

    def transform_batch(self, keys, transform_batch):
        """As ``transform``, with a function that takes and returns columns of many examples."""
        return _TransformBatch(self, keys, transform_batch)

    def with_converter(self, converter):
        """A view that ``converter``, called with the columns, converts the data of."""
        return _WithConverter(self, converter)

    def get_example(self, i):
        """Example number ``i``."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        columns = self.get_examples([i + len(self) if i < 0 else i], None)
        return self._in_mode(tuple([column[0] for column in columns]))

    def __iter__(self):
        return (self.get_example(i) for i in range(len(self)))


class DelegateDataset(TabularDataset):
    """A dataset that hands everything to another; base of datasets that are put together of those that there are.

    Args:
        dataset: the ``TabularDataset``.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    @property
    def keys(self):
        return self.dataset.keys

    @property
    def mode(self):
        return self.dataset.mode

    def get_examples(self, indices, key_indices):
        return self.dataset.get_examples(indices, key_indices)

    def convert(self, data):
        return self.dataset.convert(data)


def _as_array(column):
    return column if is_array(column) else get_array_module(*column[:1]).asarray(column)


class _AsMode(DelegateDataset):
    def __init__(self, dataset, mode):
        super().__init__(dataset)
        self._mode = mode

    @property
    def mode(self):
        return self._mode


class _WithConverter(DelegateDataset):
    def __init__(self, dataset, converter):
        super().__init__(dataset)
        self._converter = converter

    def convert(self, data):
        if isinstance(data, dict):
            return self._converter(**data)
        return self._converter(*data) if isinstance(data, tuple) else self._converter(data)


# --------------------------------------------------------------------------------------------------------------- chosen parts

class _SliceHelper:
    def __init__(self, dataset):
        self._dataset = dataset

    def __getitem__(self, args):
        rows, keys = args if isinstance(args, tuple) else (args, None)
        return _Slice(self._dataset, rows, keys)


class _Slice(DelegateDataset):
    def __init__(self, dataset, rows, keys):
        super().__init__(dataset)
        self._bare = keys is not None and not isinstance(keys, tuple)
        self._rows = _row_numbers(rows, len(dataset))
        self._columns = None if keys is None else _column_numbers((keys,) if self._bare else keys, dataset.keys)

    def __len__(self):
        return len(range(len(self.dataset))[self._rows]) if isinstance(self._rows, slice) else len(self._rows)

    @property
    def keys(self):
        names = self.dataset.keys
        return names if self._columns is None else tuple([names[i] for i in self._columns])

    @property
    def mode(self):
        if self._columns is None:
            return self.dataset.mode
        return None if self._bare else self.dataset.mode or tuple

    def get_examples(self, indices, key_indices):
        rows = self._rows if indices is None else _rows_of(self._rows, indices, len(self.dataset))
        columns = self._columns
        if columns is not None and key_indices is not None:
            columns = tuple([columns[i] for i in key_indices])
        return self.dataset.get_examples(rows, key_indices if columns is None else columns)


def _row_numbers(rows, n):
    """Rows as a slice or a list of numbers that are not negative."""
    if isinstance(rows, slice):
        return rows
    if len(rows) and all(isinstance(i, (bool, np.bool_)) for i in rows):
        if len(rows) != n:
            raise ValueError(f"TabularDataset.slice: expected a bool for each of {n} rows, found {len(rows)}")
        return [i for i, chosen in enumerate(rows) if chosen]
    numbers_ = [int(i) for i in rows]
    if outside := [i for i in numbers_ if not -n <= i < n]:
        raise IndexError(f"TabularDataset.slice: row {outside[0]} of {n} rows")
    return [i % n for i in numbers_]


def _column_numbers(keys, names):
    """Columns named by name or number, as a tuple of numbers that are not negative."""
    found = []
    for key in keys:
        if isinstance(key, numbers.Integral):
            if not -len(names) <= key < len(names):
                raise IndexError(f"TabularDataset.slice: column {key} of {len(names)} columns")
            found.append(int(key) % len(names))
        elif key in names:
            found.append(names.index(key))
        else:
            raise KeyError(f"TabularDataset.slice: no column {key!r} among {names}")
    return tuple(found)


def _rows_of(rows, indices, n):
    """The rows that ``indices`` mean among ``rows`` of a dataset of ``n``."""
    if isinstance(rows, slice):
        numbered = range(n)[rows]
        return _slice_of(numbered[indices]) if isinstance(indices, slice) else [numbered[i] for i in indices]
    return rows[indices] if isinstance(indices, slice) else [rows[i] for i in indices]


def _slice_of(rows):
    """A range of row numbers as a slice, which for a downward one that ends at row 0 has no end."""
    if not rows:
        return slice(0, 0, 1)
    return slice(rows.start, rows.stop if rows.stop >= 0 else None, rows.step)


# --------------------------------------------------------------------------------------------------------------- put together

class _Concat(TabularDataset):
    def __init__(self, *datasets):
        for dataset in datasets[1:]:
            if dataset.keys != datasets[0].keys:
                raise ValueError(f"TabularDataset.concat: expected the keys {datasets[0].keys}, found {dataset.keys}")
        self._datasets = datasets

    def __len__(self):
        return sum([len(dataset) for dataset in self._datasets])

    @property
    def keys(self):
        return self._datasets[0].keys

    @property
    def mode(self):
        return self._datasets[0].mode

    def convert(self, data):
        return self._datasets[0].convert(data)

    def get_examples(self, indices, key_indices):
        count = len(self.keys if key_indices is None else key_indices)
        if indices is None:
            return _stacked([d.get_examples(None, key_indices) for d in self._datasets], count)
        if isinstance(indices, slice):
            return self._get_slice(range(len(self))[indices], key_indices, count)
        return self._get_list(indices, key_indices, count)

    def _get_slice(self, rows, key_indices, count):
        parts = []
        for offset, dataset in self._offsets():
            part = _rows_within(rows.start - offset, rows.stop - offset, rows.step, len(dataset))
            if part is not None:
                parts.append(dataset.get_examples(part, key_indices))
        return _stacked(parts if rows.step > 0 else parts[::-1], count)

    def _get_list(self, indices, key_indices, count):
        places, parts = {}, []
        for offset, dataset in self._offsets():
            wanted = [p for p, i in enumerate(indices) if offset <= i < offset + len(dataset)]
            if wanted:
                places.update({p: (len(parts), k) for k, p in enumerate(wanted)})
                parts.append(dataset.get_examples([indices[p] - offset for p in wanted], key_indices))
        if len(parts) < 2:
            return _stacked(parts, count)
        order = [places[p] for p in range(len(indices))]
        return tuple([[parts[part][column][k] for part, k in order] for column in range(count)])

    def _offsets(self):
        offset = 0
        for dataset in self._datasets:
            yield offset, dataset
            offset += len(dataset)


def _stacked(parts, count):
    """Columns of several datasets one after the other; those of one as they are."""
    if len(parts) == 1:
        return parts[0]
    return tuple([[x for part in parts for x in part[column]] for column in range(count)])


def _rows_within(start, stop, step, n):
    """Those of ``range(start, stop, step)`` that are row numbers of ``n`` rows, as a slice; None if there are none."""
    if step > 0:
        start, stop = start if start >= 0 else start % step, min(stop, n)
    else:
        start, stop = start if start < n else n - 1 + (start - n + 1) % step, max(stop, -1)
    rows = range(start, stop, step)
    return _slice_of(rows) if rows else None


class _Join(TabularDataset):
    def __init__(self, *datasets):
        lengths = {len(dataset) for dataset in datasets}
        if len(lengths) > 1:
            raise ValueError(f"TabularDataset.join: expected datasets of one length, found {sorted(lengths)}")
        keys = [key for dataset in datasets for key in dataset.keys]
        if len(set(keys)) < len(keys):
            raise ValueError(f"TabularDataset.join: expected every key once, found {keys}")
        self._datasets = datasets

    def __len__(self):
        return len(self._datasets[0])

    @property
    def keys(self):
        return tuple([key for dataset in self._datasets for key in dataset.keys])

    @property
    def mode(self):
        return next((dataset.mode for dataset in self._datasets if dataset.mode), tuple)

    def convert(self, data):
        return self._datasets[0].convert(data)

    def get_examples(self, indices, key_indices):
        if key_indices is None:
            return tuple([column for dataset in self._datasets for column in dataset.get_examples(indices, None)])
        columns, offset = {}, 0
        for dataset in self._datasets:
            own = [i for i in dict.fromkeys(key_indices) if offset <= i < offset + len(dataset.keys)]
            if own:
                columns.update(zip(own, dataset.get_examples(indices, tuple([i - offset for i in own])), strict=True))
            offset += len(dataset.keys)
        return tuple([columns[i] for i in key_indices])


# ---------------------------------------------------------------------------------------------------------------- transformed

class _Transform(DelegateDataset):
    _name = "transform"

    def __init__(self, dataset, keys, function):
        super().__init__(dataset)
        self._keys = keys if isinstance(keys, tuple) else (keys,)
        self._function = function
        self._modes = set()

    @property
    def keys(self):
        return self._keys

    @property
    def mode(self):
        if not self._modes:
            self.get_examples([0], None)
        return next(iter(self._modes))

    def get_examples(self, indices, key_indices):
        columns = self.dataset.get_examples(indices, None)
        rows = [self._call(elements) for elements in zip(*columns, strict=True)]
        return tuple([[row[i] for row in rows] for i in self._chosen(key_indices)])

    def _chosen(self, key_indices):
        return range(len(self._keys)) if key_indices is None else key_indices

    def _call(self, elements):
        """What the function makes of elements or of columns, in the order of the keys."""
        source = self.dataset
        result = self._function(**dict(zip(source.keys, elements, strict=True))) if source.mode is dict else self._function(*elements)
        mode = next((kind for kind in (tuple, dict) if isinstance(result, kind)), None)
        if self._modes and mode not in self._modes:
            raise ValueError(f"TabularDataset.{self._name}: the function must not change what kind of thing it returns; "
                             f"expected {self._modes.pop()}, found {type(result).__name__}")
        self._modes.add(mode)
        return tuple([result[key] for key in self._keys]) if mode is dict else result if mode is tuple else (result,)


class _TransformBatch(_Transform):
    _name = "transform_batch"

    def get_examples(self, indices, key_indices):
        n = len(self) if indices is None else len(range(len(self))[indices]) if isinstance(indices, slice) else len(indices)
        columns = self._call(self.dataset.get_examples(indices, None))
        if any(len(column) != n for column in columns):
            raise ValueError(f"TabularDataset.transform_batch: expected columns of {n} examples, found {[len(c) for c in columns]}")
        return tuple([columns[i] for i in self._chosen(key_indices)])
