"""Real data that an installed package ships."""
import numpy as np

from hybridnn.backend import get_dtype
from hybridnn.datasets.sub_dataset import split_dataset_random
from hybridnn.datasets.tuple_dataset import TupleDataset
from hybridnn.errors import BackendError

__all__ = ["get_digits"]


def get_digits(withlabel=True, ndim=1, scale=1.0, dtype=None, label_dtype=np.int32, test_size=360, seed=0):
    """The UCI handwritten digits (1797 images of 8 x 8, 10 classes) that scikit-learn ships, as training and test set.

    Args:
        withlabel: pairs of image and label, or images only.
        ndim: 1 for (64,), 2 for (8, 8), 3 for (1, 8, 8).
        scale: largest pixel value.
        dtype, label_dtype: of images (None: ``config.dtype``) and labels.
        test_size, seed: how many examples are for testing, and which.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise BackendError("get_digits needs scikit-learn\n  hint: pip install scikit-learn, or the extra 'demo'") from None
    if ndim not in (1, 2, 3):
        raise ValueError(f"ndim is 1, 2 or 3, not {ndim}")
    raw = load_digits()
    shape = {1: (64,), 2: (8, 8), 3: (1, 8, 8)}[ndim]
    images = (raw.images * (scale / 16)).astype(get_dtype(dtype)).reshape(-1, *shape)
    data = TupleDataset(images, raw.target.astype(label_dtype)) if withlabel else images
    return split_dataset_random(data, len(images) - test_size, seed)
