"""Chainer's updater over several GPUs, which hybridnn does not have, and the gathering of parameters that belongs to it."""
import numpy as np

from hybridnn.backend import cupy
from hybridnn.training.updaters.parallel import MultiprocessParallelUpdater

__all__ = ["MultiprocessParallelUpdater", "gather_grads", "gather_params", "scatter_grads", "scatter_params"]


def _gather(link, attr):
    if link.xp is np:
        raise RuntimeError(f"gather_{attr}: expected a link on a GPU, found one on the CPU\n  hint: link.to_gpu()")
    return cupy.concatenate([getattr(p, attr).ravel() for _, p in sorted(link.namedparams())])


def _scatter(link, array, attr):
    offset = 0
    for _, p in sorted(link.namedparams()):
        setattr(p, attr, array[offset:offset + p.size].reshape(p.shape))
        offset += p.size


def gather_grads(link):
    """The gradients of all parameters of a link on a GPU, as one flat array."""
    return _gather(link, "grad")


def gather_params(link):
    """All parameters of a link on a GPU, as one flat array."""
    return _gather(link, "array")


def scatter_grads(link, array):
    """Set the gradients of a link from what ``gather_grads`` returned."""
    _scatter(link, array, "grad")


def scatter_params(link, array):
    """Set the parameters of a link from what ``gather_params`` returned."""
    _scatter(link, array, "array")
