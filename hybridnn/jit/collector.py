"""The search for cyclic garbage, which waits while many objects are made and hardly a cycle."""
import gc
from contextlib import contextmanager

__all__ = ["collector_at_rest"]


@contextmanager
def collector_at_rest():
    """The collector rests, and then is as it was: a quarter of the time of planning, and a third of that of loading what plans, went by in it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
