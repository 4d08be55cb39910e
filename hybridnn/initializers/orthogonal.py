"""``Orthogonal`` (Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2014)."""
from math import prod

import numpy as np

from hybridnn.backend import copyto
from hybridnn.initializer import Initializer

__all__ = ["Orthogonal"]

# mode: (no more inputs than outputs, no more outputs than inputs)
_MODES = {"auto": (False, False), "projection": (False, True), "embedding": (True, False), "basis": (True, True)}


class Orthogonal(Initializer):
    """A matrix with orthogonal rows or columns of length ``scale``; axes after the first count as one.

    Args:
        scale: length of the rows or columns.
        mode: ``"auto"``; or what the matrix has to be, else ``ValueError``: ``"projection"`` (outputs <= inputs),
            ``"embedding"`` (outputs >= inputs), ``"basis"`` (both).
        rng: a ``RandomState`` to draw from; None: the global one.
    """

    def __init__(self, scale=1.1, dtype=None, mode="auto", *, rng=None):
        if mode not in _MODES:
            raise ValueError(f"mode is one of {', '.join(map(repr, _MODES))}; got {mode!r}")
        self.scale, self.mode, self.rng = scale, mode, rng
        super().__init__(dtype)

    def __call__(self, array):
        self._check_dtype(array)
        if not array.shape:
            array[...] = self.scale * (2 * int((self.rng or np.random).randint(2)) - 1)
            return
        if not array.size:
            raise ValueError(f"Orthogonal cannot fill an empty array; got shape {array.shape}")
        n_out, n_in = len(array), prod(array.shape[1:])
        self._check_sizes(array.shape, n_in, n_out)
        values = _orthogonal((self.rng or np.random).normal(size=(n_out, n_in)), self.scale)
        copyto(array, values.reshape(array.shape).astype(array.dtype, copy=False))

    def _check_sizes(self, shape, n_in, n_out):
        no_more_inputs, no_more_outputs = _MODES[self.mode]
        if no_more_inputs and n_in > n_out or no_more_outputs and n_out > n_in:
            raise ValueError(f"an orthogonal {self.mode} cannot have {n_in} inputs and {n_out} outputs (shape {shape})")


def _orthogonal(a, scale):
    """The orthogonal factor of ``a`` (of its transpose if it is wide), its signs fixed by the other factor's diagonal."""
    wide = a.shape[1] > a.shape[0]
    q, r = np.linalg.qr(a.T if wide else a)
    q = q * np.copysign(scale, np.diag(r))
    return q.T if wide else q
