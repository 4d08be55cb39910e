"""CIFAR-10 and CIFAR-100."""
import os
import pickle
import tarfile

import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.dataset.download import cache_or_load_file, cached_download, get_dataset_directory
from hybridnn.datasets.tuple_dataset import TupleDataset

__all__ = ["get_cifar10", "get_cifar100"]

# For each part the files in the archive, and the key of the labels in them.
_MEMBERS = {
    "cifar-10": ({"train": [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)], "test": ["cifar-10-batches-py/test_batch"]},
                 "labels"),
    "cifar-100": ({"train": ["cifar-100-python/train"], "test": ["cifar-100-python/test"]}, "fine_labels"),
}


def get_cifar10(withlabel=True, ndim=3, scale=1., dtype=None):
    """CIFAR-10: 50000 and 10000 colour images of 32 x 32 in 10 classes (Krizhevsky 2009), as training and test set.

    They are read from ``pfnet/chainer/cifar`` in the folder of data sets, and downloaded at the first call.

    Args:
        withlabel: pairs of image and label (a ``TupleDataset``), or an array of images.
        ndim: 1 for (3072,), 3 for (3, 32, 32).
        scale: largest pixel value.
        dtype: of the images; None: ``config.dtype``. Labels are int32.
    """
    return _get_cifar("cifar-10", withlabel, ndim, scale, dtype)


def get_cifar100(withlabel=True, ndim=3, scale=1., dtype=None):
    """CIFAR-100, of 100 classes. Everything else as ``get_cifar10``."""
    return _get_cifar("cifar-100", withlabel, ndim, scale, dtype)


def _get_cifar(name, withlabel, ndim, scale, dtype):
    if ndim not in (1, 3):
        raise ValueError(f"ndim is 1 or 3, not {ndim}")
    path = os.path.join(get_dataset_directory("pfnet/chainer/cifar"), f"{name}.npz")
    raw = cache_or_load_file(path, lambda path: _make_npz(name, path), np.load)
    shape = (-1, 3072) if ndim == 1 else (-1, 3, 32, 32)
    parts = []
    for part in ("train", "test"):
        images = raw[f"{part}_x"].reshape(shape).astype(get_dtype(dtype))
        images *= scale / 255
        parts.append(TupleDataset(images, raw[f"{part}_y"].astype(np.int32)) if withlabel else images)
    return tuple(parts)


def _make_npz(name, path):
    members, key = _MEMBERS[name]
    arrays = {}
    with tarfile.open(cached_download(f"https://www.cs.toronto.edu/~kriz/{name}-python.tar.gz"), "r:gz") as archive:
        for part, files in members.items():
            batches = [pickle.load(archive.extractfile(file), encoding="latin-1") for file in files]
            arrays[f"{part}_x"] = np.concatenate([np.asarray(b["data"], np.uint8).reshape(-1, 3072) for b in batches])
            arrays[f"{part}_y"] = np.concatenate([np.asarray(b[key], np.uint8) for b in batches])
    np.savez_compressed(path, **arrays)
    return arrays
