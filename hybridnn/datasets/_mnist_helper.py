"""What MNIST and the data sets made in its image share: the format of the files, and the choice of form."""
import gzip
import os

import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.dataset.download import cache_or_load_file, cached_download, get_dataset_directory
from hybridnn.datasets.tuple_dataset import TupleDataset

__all__ = ["read_idx", "retrieve_mnist"]

_FILES = {"train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
          "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")}
_SHAPES = {1: (784,), 2: (28, 28), 3: (1, 28, 28)}


def read_idx(path):
    """The bytes of a gzipped IDX file: an array whose lengths stand, as big-endian numbers, behind a magic number."""
    with gzip.open(path, "rb") as f:
        content = f.read()
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def retrieve_mnist(folder, base_url, withlabel, ndim, scale, dtype, label_dtype, rgb_format):
    """Training and test set from the cached files ``train.npz`` and ``test.npz`` in ``pfnet/chainer/<folder>``.

    Where they are not there, they are made of the files at ``base_url``, which are downloaded.
    """
    if ndim not in _SHAPES:
        raise ValueError(f"ndim is 1, 2 or 3, not {ndim}")
    form = (withlabel, ndim, scale, get_dtype(dtype), label_dtype, rgb_format)
    return tuple([_in_form(_retrieve(folder, base_url, part), *form) for part in ("train", "test")])


def _retrieve(folder, base_url, part):
    def create(path):
        x, y = (read_idx(cached_download(base_url + name)) for name in _FILES[part])
        arrays = {"x": x.reshape(len(x), 784), "y": y}
        np.savez_compressed(path, **arrays)
        return arrays
    path = os.path.join(get_dataset_directory(f"pfnet/chainer/{folder}"), f"{part}.npz")
    return cache_or_load_file(path, create, np.load)


def _in_form(raw, withlabel, ndim, scale, dtype, label_dtype, rgb_format):
    images = raw["x"].reshape(-1, *_SHAPES[ndim])
    if ndim == 3 and rgb_format:
        images = np.broadcast_to(images, (len(images), 3, 28, 28))
    images = images.astype(dtype)
    images *= scale / 255
    return TupleDataset(images, raw["y"].astype(label_dtype)) if withlabel else images
