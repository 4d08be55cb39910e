"""``FunctionNode`` and ``grad``, where Chainer has them."""
from hybridnn.core import FunctionNode, grad

__all__ = ["FunctionNode", "grad"]
