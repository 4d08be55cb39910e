"""Street View House Numbers."""
import os

import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.dataset.download import cache_or_load_file, cached_download, get_dataset_directory
from hybridnn.datasets.tuple_dataset import TupleDataset
from hybridnn.errors import BackendError

__all__ = ["get_svhn"]


def get_svhn(withlabel=True, scale=1., dtype=None, label_dtype=np.int32, add_extra=False):
    """SVHN: colour images of 32 x 32 of digits on houses (Netzer et al. 2011), as training and test set.

    They are read from ``pfnet/chainer/svhn`` in the folder of data sets, and downloaded at the first call, which needs SciPy.

    Args:
        withlabel: pairs of image and label (a ``TupleDataset``), or an array of images (n, 3, 32, 32).
        scale: largest pixel value.
        dtype, label_dtype: of images (None: ``config.dtype``) and labels.
        add_extra: return the extra training set, too, as a third one.
    """
    parts = ("train", "test", "extra") if add_extra else ("train", "test")
    return tuple([_in_form(_retrieve(part), withlabel, scale, get_dtype(dtype), label_dtype) for part in parts])


def _retrieve(part):
    path = os.path.join(get_dataset_directory("pfnet/chainer/svhn"), f"{part}.npz")
    return cache_or_load_file(path, lambda path: _make_npz(part, path), np.load)


def _make_npz(part, path):
    try:
        import scipy.io
    except ImportError:
        raise BackendError("get_svhn needs SciPy to read MATLAB's files\n  hint: pip install scipy") from None
    raw = scipy.io.loadmat(cached_download(f"http://ufldl.stanford.edu/housenumbers/{part}_32x32.mat"))
    arrays = {"x": raw["X"].astype(np.uint8), "y": raw["y"].astype(np.uint8)}
    np.savez_compressed(path, **arrays)
    return arrays


def _in_form(raw, withlabel, scale, dtype, label_dtype):
    """The file has images (height, width, channel, n), and 10 for the digit 0."""
    images = raw["x"].transpose(3, 2, 0, 1).astype(dtype)
    images *= scale / 255
    return TupleDataset(images, (raw["y"].reshape(-1) % 10).astype(label_dtype)) if withlabel else images
