"""Chainer's downloads. hybridnn ships no data and fetches none: each of these says so, and what to do."""
from hybridnn.errors import BackendError

__all__ = ["get_cifar10", "get_cifar100", "get_fashion_mnist", "get_kuzushiji_mnist", "get_mnist", "get_ptb_words",
           "get_ptb_words_vocabulary", "get_svhn"]


def _refusal(name):
    def get(*args, **kwargs):
        raise BackendError(f"hybridnn does not download {name}\n"
                           "  hint: datasets.get_digits() gives real digits without a download; "
                           "for your own arrays, datasets.TupleDataset(images, labels)")
    get.__doc__ = f"{name}: raises ``BackendError``, since nothing is downloaded."
    return get


get_mnist = _refusal("MNIST")
get_fashion_mnist = _refusal("Fashion-MNIST")
get_kuzushiji_mnist = _refusal("Kuzushiji-MNIST")
get_cifar10 = _refusal("CIFAR-10")
get_cifar100 = _refusal("CIFAR-100")
get_svhn = _refusal("SVHN")
get_ptb_words = _refusal("the Penn Treebank")
get_ptb_words_vocabulary = _refusal("the Penn Treebank")
