"""MNIST."""
import numpy as np

from hybridnn.datasets._mnist_helper import retrieve_mnist

__all__ = ["get_mnist"]


def get_mnist(withlabel=True, ndim=1, scale=1., dtype=None, label_dtype=np.int32, rgb_format=False):
    """MNIST: 60000 and 10000 images of 28 x 28 of handwritten digits (LeCun et al. 1998), as training and test set.

    They are read from ``pfnet/chainer/mnist`` in the folder of data sets, and downloaded at the first call.

    Args:
        withlabel: pairs of image and label (a ``TupleDataset``), or an array of images.
        ndim: 1 for (784,), 2 for (28, 28), 3 for (1, 28, 28).
        scale: largest pixel value.
        dtype, label_dtype: of images (None: ``config.dtype``) and labels.
        rgb_format: with ``ndim=3``, three equal channels.
    """
    return retrieve_mnist("mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/", withlabel, ndim, scale, dtype, label_dtype,
                          rgb_format)
