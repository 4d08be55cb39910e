"""What ``numpy.errstate`` asks for, at the price of a look at a context variable; and what becomes of warnings.

Warnings may come when a segment is computed; an exception or a callback has to come where the operation stands, so such calls run eagerly.
"""
import sys
import warnings
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import numpy as np

__all__ = ["WARNS_ALIKE", "as_begun", "error_state", "errors_may_wait", "strictly", "under", "warnings_raise", "warns_alike", "ways_to_warn"]

_judged = (None, False)      # the state last looked at, and whether its errors may wait
_strict = (None, None)       # the state last looked at, and the one in which what it warns of is an error


def _ask():
    return tuple(np.geterr().values())


def _put(state):
    np.seterr(**dict(zip(np.geterr(), state, strict=True)))


error_state: Callable[[], Any] = _ask
"""Gives an object that stays the same, or equal, as long as ``numpy.errstate`` does."""
_put_state: Callable[[Any], Any] = _put
try:
    from numpy._core.umath import _extobj_contextvar
except ImportError:          # another layout of NumPy: ask it every time
    pass
else:
    error_state, _put_state = _extobj_contextvar.get, _extobj_contextvar.set


def warnings_raise():
    """Whether a floating-point warning may become an exception, as filters of warnings say."""
    for action, message, category, module, _ in warnings.filters:
        if issubclass(RuntimeWarning, category):
            if action == "error":
                return True
            if message is None and module is None:
                return False
    return False


def errors_may_wait():
    """Whether floating-point errors only warn or are ignored."""
    global _judged
    judged = _judged
    state = error_state()
    if judged[0] is not state:
        judged = _judged = (state, {"warn", "ignore"}.issuperset(np.geterr().values()))
    return judged[1]


def ways_to_warn():
    """What becomes of warnings: the filters (another list in each block of ``catch_warnings``) and what they are now, what shows warnings, and where."""
    return warnings.filters, warnings.filters[:], warnings.showwarning, sys.stderr, vars(warnings).get("_showwarnmsg_impl")


WARNS_ALIKE = "warnings.filters is filters and filters == content and warnings.showwarning is show and sys.stderr is stream"
"""The text of what ``warns_alike`` asks, where the first four of ``ways`` have these names."""


def warns_alike(ways: Any) -> bool:
    """Whether warnings are treated as when ``ways_to_warn`` gave ``ways``."""
    filters, content, show, stream, _ = ways
    return warnings.filters is filters and filters == content and warnings.showwarning is show and sys.stderr is stream


def as_begun(state: Any, ways: Any, fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)`` under the ``numpy.errstate`` and the ways to warn of another time, which ``error_state`` and ``ways_to_warn`` gave then."""
    if not warns_alike(ways):
        return _warning(state, ways, fn, args)
    return fn(*args) if error_state() == state else copy_context().run(_as_then, state, fn, args)


def _warning(state: Any, ways: Any, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    stream = sys.stderr
    try:
        with warnings.catch_warnings():
            _, warnings.filters, warnings.showwarning, sys.stderr, show = ways
            if show is not None:
                vars(warnings)["_showwarnmsg_impl"] = show
            return as_begun(state, ways_to_warn(), fn, *args)
    finally:
        sys.stderr = stream


def _as_then(state: Any, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    _put_state(state)
    return fn(*args)


def strictly(fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)`` where floating-point errors raise, underflow if it is not ignored now."""
    global _strict
    strict = _strict
    state = error_state()
    if strict[0] is not state:
        small = "ignore" if np.geterr()["under"] == "ignore" else "raise"
        strict = _strict = (state, under({"divide": "raise", "over": "raise", "invalid": "raise", "under": small}, error_state))
    return copy_context().run(_as_then, strict[1], fn, args)


def under(errors: dict[str, Any], fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """``fn(*args, **kw)`` under another ``numpy.errstate``, in a context of its own: an alarm that goes off inside ``errstate`` leaves nothing behind."""
    return copy_context().run(_under, errors, fn, args, kw)


def _under(errors: dict[str, Any], fn: Callable[..., Any], args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
    with np.errstate(**errors):
        return fn(*args, **kw)
