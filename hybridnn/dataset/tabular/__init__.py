"""Datasets with named columns."""
from hybridnn.dataset.tabular.from_data import from_data
from hybridnn.dataset.tabular.tabular_dataset import DelegateDataset

__all__ = ["DelegateDataset", "from_data"]
