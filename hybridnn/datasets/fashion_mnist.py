"""Fashion-MNIST."""
import numpy as np

from hybridnn.datasets._mnist_helper import retrieve_mnist

__all__ = ["get_fashion_mnist", "get_fashion_mnist_labels"]


def get_fashion_mnist(withlabel=True, ndim=1, scale=1., dtype=None, label_dtype=np.int32, rgb_format=False):
    """Fashion-MNIST: 60000 and 10000 images of 28 x 28 of articles of clothing (Xiao et al. 2017), as training and test set.

    They are read from ``pfnet/chainer/fashion-mnist`` in the folder of data sets, and downloaded at the first call.
    Arguments as ``get_mnist``.
    """
    return retrieve_mnist("fashion-mnist", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", withlabel, ndim, scale, dtype, label_dtype,
                          rgb_format)


def get_fashion_mnist_labels():
    """Names of the ten classes."""
    return ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
