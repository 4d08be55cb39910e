"""The one place where the library draws random numbers.

Draws come from ``numpy.random``'s global stream, so ``numpy.random.seed`` governs them all, and they happen where eager code
makes them. Callers pass the drawn array on as an operand of an op, so that a trace can draw anew and keep the rest.
"""
import numpy as np

from hybridnn.backend import beside
from hybridnn.config import state

__all__ = ["draw"]


def draw(name, *args, near=None):
    """``numpy.random.<name>(*args)``: an array (float64 for most distributions), on the device of ``near`` (an array or Variable)."""
    value = state.given_draws.pop(0) if state.given_draws else getattr(np.random, name)(*args)
    if state.tracer is not None:
        state.tracer.note_draw(name, args, value)
    return beside(value, near)
