"""Datasets from which examples can be read without anything else happening, as traced functions need to know."""
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["columns_read", "examples_read", "only_reads", "parts_read"]

_PLAIN = frozenset([list, tuple, range, np.ndarray])
_NAMES = "__getitem__", "__len__", "__getattribute__", "__getattr__", "get_example", "_index"
_KNOWN: dict[type, tuple[Callable, list]] = {}
_COLUMNS: dict[type, Callable] = {}
_EXAMPLES: dict[type, Callable] = {}


def only_reads(cls: type, datasets: Callable[[Any], Any], columns: Callable | None = None, examples: Callable | None = None) -> None:
    """Reading an example of a dataset of this very class reads the ``datasets`` that it is made of, and does nothing else.

    ``columns(dataset, indices)`` gives what ``concat_examples`` makes of the examples at some indices, by ``columns_read`` of those, or None where it cannot;
    ``examples(dataset, indices)`` gives these examples, by ``examples_read`` of those.
    """
    _KNOWN[cls] = datasets, [(c, name, vars(c).get(name)) for c in cls.__mro__[:-1] for name in _NAMES]
    for known, function in ((_COLUMNS, columns), (_EXAMPLES, examples)):
        if function is not None:
            known[cls] = function


def parts_read(dataset: Any) -> list | None:
    """The arrays and containers, namespaces among them, from which the examples of a dataset are read, or None if it is not known what reading one does."""
    if type(dataset) in _PLAIN:
        return [dataset]
    datasets, methods = _KNOWN.get(type(dataset), (None, ()))
    if datasets is None or not all([vars(cls).get(name) is what for cls, name, what in methods]) or "get_example" in vars(dataset):
        return None
    found = [parts_read(d) for d in datasets(dataset)]
    return None if None in found else [vars(dataset), *[part for parts in found for part in parts or ()]]


def columns_read(dataset: Any, indices: np.ndarray) -> Any:
    """What ``concat_examples`` makes of the examples of a dataset whose parts are known: an array, or a tuple or dict of arrays, of rows that are read at once.

    None if the dataset is not made of arrays, or the indices are no ints.
    """
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        return None
    if type(dataset) is np.ndarray and dataset.ndim and dataset.dtype.kind in "fiub" and dataset.dtype.isnative:
        return dataset.take(indices, axis=0)
    return _COLUMNS[type(dataset)](dataset, indices) if type(dataset) in _COLUMNS else None


def examples_read(dataset: Any, indices: list[int]) -> list:
    """The examples of a dataset at some indices: each by itself, unless it does not matter in which order what they are made of is read."""
    if type(dataset) in _EXAMPLES and parts_read(dataset) is not None:
        return _EXAMPLES[type(dataset)](dataset, indices)
    return [dataset[i] for i in indices]
