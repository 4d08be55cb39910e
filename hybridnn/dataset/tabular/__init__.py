"""Datasets with named columns."""
from hybridnn.dataset.tabular.delegate_dataset import DelegateDataset
from hybridnn.dataset.tabular.from_data import from_data

__all__ = ["DelegateDataset", "from_data"]
