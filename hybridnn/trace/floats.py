"""What ``numpy.errstate`` asks for, at the price of a look at a context variable.

Warnings may come when a segment is computed; an exception or a callback has to come where the operation stands, so such calls run eagerly.
"""
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["error_state", "errors_may_wait"]

_judged = (None, False)      # the state last looked at, and whether its errors may wait


def _ask():
    return tuple(np.geterr().values())


error_state: Callable[[], Any] = _ask
"""Gives an object that stays the same, or equal, as long as ``numpy.errstate`` does."""
try:
    from numpy._core.umath import _extobj_contextvar
except ImportError:          # another layout of NumPy: ask it every time
    pass
else:
    error_state = _extobj_contextvar.get


def errors_may_wait():
    """Whether floating-point errors only warn or are ignored."""
    global _judged
    judged = _judged
    state = error_state()
    if judged[0] is not state:
        judged = _judged = (state, {"warn", "ignore"}.issuperset(np.geterr().values()))
    return judged[1]
