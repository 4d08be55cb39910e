"""The writers of snapshots, where Chainer has them."""
from hybridnn.training.extensions.writers import ProcessWriter, SimpleWriter, ThreadWriter

__all__ = ["ProcessWriter", "SimpleWriter", "ThreadWriter"]
