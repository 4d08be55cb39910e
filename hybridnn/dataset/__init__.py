"""What datasets, iterators and batches have in common."""
from hybridnn.dataset import tabular
from hybridnn.dataset.convert import ConcatWithAsyncTransfer, Converter, concat_examples, converter, to_device
from hybridnn.dataset.dataset_mixin import DatasetMixin
from hybridnn.dataset.download import cache_or_load_file, cached_download, get_dataset_directory, get_dataset_root, set_dataset_root
from hybridnn.dataset.iterator import Iterator
from hybridnn.dataset.tabular.tabular_dataset import TabularDataset

__all__ = ["ConcatWithAsyncTransfer", "Converter", "DatasetMixin", "Iterator", "TabularDataset", "cache_or_load_file",
           "cached_download", "concat_examples", "converter", "get_dataset_directory", "get_dataset_root", "set_dataset_root", "tabular", "to_device"]
