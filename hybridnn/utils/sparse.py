"""Sparse matrices in coordinate form, where Chainer has them."""
from hybridnn.functions.sparse import CooMatrix, get_order, to_coo

__all__ = ["CooMatrix", "get_order", "to_coo"]
