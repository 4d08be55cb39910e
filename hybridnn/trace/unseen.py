"""Frames that stand between a traced function and its caller, which ``warnings.warn(..., stacklevel=2)`` and loggers are to pass over.

Python passes over the frames of its import system, which it tells by the name of their file: so ours are named like those.
"""
__all__ = ["unseen"]

LIKE_THOSE_OF_IMPORTS = " (passed over by warnings, as importlib._bootstrap is)"


def unseen(fn):
    """``fn``, whose frames do not count where a warning or a logger looks for the line to blame."""
    code = fn.__code__
    fn.__code__ = code.replace(co_filename=code.co_filename + LIKE_THOSE_OF_IMPORTS)
    return fn
