"""Datasets made of others, of files, and the digits that scikit-learn ships. Nothing is downloaded."""
from hybridnn.datasets.combined import ConcatenatedDataset, DictDataset, TransformDataset, TupleDataset
from hybridnn.datasets.downloads import (
    get_cifar10,
    get_cifar100,
    get_fashion_mnist,
    get_kuzushiji_mnist,
    get_mnist,
    get_ptb_words,
    get_ptb_words_vocabulary,
    get_svhn,
)
from hybridnn.datasets.files import ImageDataset, LabeledImageDataset, TextDataset
from hybridnn.datasets.subsets import (
    SubDataset,
    get_cross_validation_datasets,
    get_cross_validation_datasets_random,
    split_dataset,
    split_dataset_n,
    split_dataset_n_random,
    split_dataset_random,
)
from hybridnn.datasets.toy import get_digits

__all__ = ["ConcatenatedDataset", "DictDataset", "ImageDataset", "LabeledImageDataset", "SubDataset", "TextDataset",
           "TransformDataset", "TupleDataset", "get_cifar10", "get_cifar100", "get_cross_validation_datasets",
           "get_cross_validation_datasets_random", "get_digits", "get_fashion_mnist", "get_kuzushiji_mnist", "get_mnist",
           "get_ptb_words", "get_ptb_words_vocabulary", "get_svhn", "split_dataset", "split_dataset_n",
           "split_dataset_n_random", "split_dataset_random"]
