"""Sparse matrices in coordinate form, where Chainer has them."""
from hybridnn.functions.sparse import CooMatrix, to_coo
from hybridnn.functions.sparse import _order as get_order

__all__ = ["CooMatrix", "get_order", "to_coo"]
