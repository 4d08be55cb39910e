"""Writing models for other libraries: Chainer's names, for code that imports them."""
from hybridnn.exporters import caffe

__all__ = ["caffe"]
