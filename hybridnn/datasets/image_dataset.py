"""Datasets of images, in files or in zip archives, read by Pillow."""
import importlib.util
import io
import os
import threading
import zipfile

import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.dataset import DatasetMixin
from hybridnn.datasets.concatenated_dataset import ConcatenatedDataset
from hybridnn.errors import BackendError

__all__ = ["ImageDataset", "LabeledImageDataset", "LabeledZippedImageDataset", "MultiZippedImageDataset", "ZippedImageDataset",
           "available"]

available = importlib.util.find_spec("PIL") is not None


def _read_image(file, dtype):
    """An image, of a path or an open file, as (channels, height, width)."""
    try:
        from PIL import Image
    except ImportError:
        raise BackendError("image datasets need Pillow\n  hint: pip install pillow") from None
    with Image.open(file) as image:
        a = np.asarray(image, dtype)
    return a[None] if a.ndim == 2 else a.transpose(2, 0, 1)


def _lines(source):
    if not isinstance(source, (str, os.PathLike)):
        return list(source)
    with open(source) as f:
        return [line.strip() for line in f if line.strip()]


def _pairs(source, label_dtype):
    """Pairs of a name and a label, of a list or a text file."""
    pairs = [p.rsplit(None, 1) if isinstance(p, str) else p for p in _lines(source)]
    if any(len(p) != 2 for p in pairs):
        raise ValueError("a label file has lines of a path and a label")
    return [(path, np.dtype(label_dtype).type(label)) for path, label in pairs]


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
        self._pairs = _pairs(pairs, label_dtype)
        self._root, self._dtype = root, get_dtype(dtype)

    def __len__(self):
        return len(self._pairs)

    def get_example(self, i):
        path, label = self._pairs[i]
        return _read_image(os.path.join(self._root, path), self._dtype), np.array(label)


class ZippedImageDataset(DatasetMixin):
    """The images in a zip archive. It may be sent to other processes, and used in several threads.

    Args:
        zipfilename: path of the archive.
        dtype: of the arrays; None: ``config.dtype``.
    """

    def __init__(self, zipfilename, dtype=None):
        self._path, self._dtype = zipfilename, get_dtype(dtype)
        self._open()
        self._names = [name for name in self._archive.namelist() if not name.endswith("/")]

    def _open(self):
        self._archive, self._owner, self._lock = zipfile.ZipFile(self._path), os.getpid(), threading.Lock()

    def __getstate__(self):
        return {"_path": self._path, "_dtype": self._dtype, "_names": self._names}

    def __setstate__(self, values):
        self.__dict__.update(values)
        self._open()

    def __len__(self):
        return len(self._names)

    def get_example(self, i_or_filename):
        """Image number ``i_or_filename``, or the image of that name."""
        name = i_or_filename if isinstance(i_or_filename, str) else self._names[i_or_filename]
        if self._owner != os.getpid():      # a forked process shares the position in its parent's file
            self._open()
        with self._lock:
            data = self._archive.read(name)
        return _read_image(io.BytesIO(data), self._dtype)


class MultiZippedImageDataset(ConcatenatedDataset):
    """The images in several zip archives, one after the other. Arguments as ``ZippedImageDataset``."""

    def __init__(self, zipfilenames, dtype=None):
        super().__init__(*[ZippedImageDataset(name, dtype) for name in zipfilenames])


class LabeledZippedImageDataset(DatasetMixin):
    """Pairs of an image in a zip archive and an integer label.

    Args:
        zipfilename: path of the archive.
        labelfilename: a text file with a name in the archive and a label on each line.
        dtype, label_dtype: of the images (None: ``config.dtype``) and of the labels.
    """

    def __init__(self, zipfilename, labelfilename, dtype=None, label_dtype=np.int32):
        self._images, self._pairs = ZippedImageDataset(zipfilename, dtype), _pairs(labelfilename, label_dtype)

    def __len__(self):
        return len(self._pairs)

    def get_example(self, i):
        name, label = self._pairs[i]
        return self._images.get_example(name), np.array(label)
