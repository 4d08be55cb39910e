"""Chainer's path of ``DelegateDataset``."""
from hybridnn.dataset.tabular.tabular_dataset import DelegateDataset

__all__ = ["DelegateDataset"]
