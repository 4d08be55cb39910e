"""Kuzushiji-MNIST."""
import numpy as np

from hybridnn.datasets._mnist_helper import retrieve_mnist

__all__ = ["get_kuzushiji_mnist", "get_kuzushiji_mnist_labels"]


def get_kuzushiji_mnist(withlabel=True, ndim=1, scale=1., dtype=None, label_dtype=np.int32, rgb_format=False):
    """Kuzushiji-MNIST: 60000 and 10000 images of 28 x 28 of handwritten cursive Japanese characters (Clanuwat et al. 2018), as training and test set.

    They are read from ``pfnet/chainer/kuzushiji_mnist`` in the folder of data sets, and downloaded at the first call.
    Arguments as ``get_mnist``.
    """
    return retrieve_mnist("kuzushiji_mnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/", withlabel, ndim, scale, dtype, label_dtype,
                          rgb_format)


def get_kuzushiji_mnist_labels():
    """Names of the ten classes: pairs of the sound and the modern character."""
    return [("o", "お"), ("ki", "き"), ("su", "す"), ("tsu", "つ"), ("na", "な"), ("ha", "は"), ("ma", "ま"), ("ya", "や"), ("re", "れ"),
            ("wo", "を")]
