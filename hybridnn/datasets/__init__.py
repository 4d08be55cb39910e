"""Datasets made of others, of files, and the digits that scikit-learn ships. What ``get_mnist`` and its like name is downloaded."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.datasets.cifar import get_cifar10, get_cifar100
from hybridnn.datasets.concatenated_dataset import ConcatenatedDataset
from hybridnn.datasets.dict_dataset import DictDataset
from hybridnn.datasets.fashion_mnist import get_fashion_mnist, get_fashion_mnist_labels
from hybridnn.datasets.image_dataset import ImageDataset, LabeledImageDataset, LabeledZippedImageDataset, MultiZippedImageDataset, ZippedImageDataset
from hybridnn.datasets.kuzushiji_mnist import get_kuzushiji_mnist, get_kuzushiji_mnist_labels
from hybridnn.datasets.mnist import get_mnist
from hybridnn.datasets.pickle_dataset import PickleDataset, PickleDatasetWriter, open_pickle_dataset, open_pickle_dataset_writer
from hybridnn.datasets.ptb import get_ptb_words, get_ptb_words_vocabulary
from hybridnn.datasets.sub_dataset import (
    SubDataset,
    get_cross_validation_datasets,
    get_cross_validation_datasets_random,
    split_dataset,
    split_dataset_n,
    split_dataset_n_random,
    split_dataset_random,
)
from hybridnn.datasets.svhn import get_svhn
from hybridnn.datasets.text_dataset import TextDataset
from hybridnn.datasets.toy import get_digits
from hybridnn.datasets.transform_dataset import TransformDataset
from hybridnn.datasets.tuple_dataset import TupleDataset

__getattr__ = _names_of(__name__)
__all__ = ["ConcatenatedDataset", "DictDataset", "ImageDataset", "LabeledImageDataset", "LabeledZippedImageDataset",
           "MultiZippedImageDataset", "PickleDataset", "PickleDatasetWriter", "SubDataset", "TextDataset", "TransformDataset",
           "TupleDataset", "ZippedImageDataset", "get_cifar10", "get_cifar100", "get_cross_validation_datasets",
           "get_cross_validation_datasets_random", "get_digits", "get_fashion_mnist", "get_fashion_mnist_labels",
           "get_kuzushiji_mnist", "get_kuzushiji_mnist_labels", "get_mnist", "get_ptb_words", "get_ptb_words_vocabulary",
           "get_svhn", "open_pickle_dataset", "open_pickle_dataset_writer", "split_dataset", "split_dataset_n",
           "split_dataset_n_random", "split_dataset_random"]
