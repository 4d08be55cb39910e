"""What datasets, iterators and batches have in common."""
from hybridnn.dataset.convert import ConcatWithAsyncTransfer, Converter, concat_examples, converter, to_device
from hybridnn.dataset.dataset_mixin import DatasetMixin
from hybridnn.dataset.iterator import Iterator

__all__ = ["ConcatWithAsyncTransfer", "Converter", "DatasetMixin", "Iterator", "concat_examples", "converter", "to_device"]
