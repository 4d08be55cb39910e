"""Datasets that read files: images (by Pillow) and lines of text."""
import os

import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.dataset import DatasetMixin
from hybridnn.errors import BackendError

__all__ = ["ImageDataset", "LabeledImageDataset", "TextDataset"]


def _read_image(path, dtype):
    """An image as (channels, height, width)."""
    try:
        from PIL import Image
    except ImportError:
        raise BackendError("image datasets need Pillow\n  hint: pip install pillow") from None
    with Image.open(path) as image:
        a = np.asarray(image, dtype)
    return a[None] if a.ndim == 2 else a.transpose(2, 0, 1)


def _lines(source):
    if not isinstance(source, (str, os.PathLike)):
        return list(source)
    with open(source) as f:
        return [line.strip() for line in f if line.strip()]


class ImageDataset(DatasetMixin):
    """Images as arrays (channels, height, width).

    Args:
        paths: list of paths, or a text file with one per line.
        root: folder that they are relative to.
        dtype: of the arrays; None: ``config.dtype``.
    """

    def __init__(self, paths, root=".", dtype=None):
        self._paths, self._root, self._dtype = _lines(paths), root, get_dtype(dtype)

    def __len__(self):
        return len(self._paths)

    def get_example(self, i):
        return _read_image(os.path.join(self._root, self._paths[i]), self._dtype)


class LabeledImageDataset(DatasetMixin):
    """Pairs of an image and an integer label.

    Args:
        pairs: list of (path, label), or a text file with path and label on each line.
        root, dtype: as for ``ImageDataset``.
        label_dtype: of the labels.
    """

    def __init__(self, pairs, root=".", dtype=None, label_dtype=np.int32):
        pairs = [p.rsplit(None, 1) if isinstance(p, str) else p for p in _lines(pairs)]
        if any(len(p) != 2 for p in pairs):
            raise ValueError("a label file has lines of a path and a label")
        self._pairs = [(path, np.dtype(label_dtype).type(label)) for path, label in pairs]
        self._root, self._dtype = root, get_dtype(dtype)

    def __len__(self):
        return len(self._pairs)

    def get_example(self, i):
        path, label = self._pairs[i]
        return _read_image(os.path.join(self._root, path), self._dtype), np.array(label)


class TextDataset(DatasetMixin):
    """Lines of one text file, or tuples of lines of several parallel ones.

    Args:
        paths: path, or list of paths.
        encoding, errors, newline: as for ``open``.
        filter_func: ``filter_func(*lines)`` tells whether an example is kept.
    """

    def __init__(self, paths, encoding=None, errors=None, newline=None, filter_func=None):
        self._single = isinstance(paths, (str, os.PathLike))
        columns = []
        for path in [paths] if self._single else paths:
            with open(path, encoding=encoding, errors=errors, newline=newline) as f:
                columns.append(f.readlines())
        if len({len(c) for c in columns}) > 1:
            raise ValueError(f"the files have {', '.join(str(len(c)) for c in columns)} lines; parallel texts have equally many")
        self._examples = [e for e in zip(*columns) if filter_func is None or filter_func(*e)]

    def __len__(self):
        return len(self._examples)

    def get_example(self, i):
        return self._examples[i][0] if self._single else self._examples[i]
