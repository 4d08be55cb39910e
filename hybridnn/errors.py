"""Every error the library raises on purpose.

::

    HybridnnError
      InvalidType (TypeError, ValueError)     an operation got shapes, dtypes or values that do not fit
        InvalidArguments (AssertionError)     a link got arguments that do not fit its parameters
      UninitializedParameterError (RuntimeError)   a Link was used before its parameters exist
      SerializationError (ValueError)         a file and a model do not fit together
      BackendError (RuntimeError)             a missing optional dependency or device
      TraceError (RuntimeError)
        TraceMismatch                         a checked replay differed from eager
        RecordingForbidden                    a new path under trace="error_on_record"
        ReleasedGraphError                    the graph of a traced call was used after the call gave it up
    HybridnnWarning (UserWarning)
      TraceWarning                            a traced function that cannot be fast, or fell back
      CacheWarning                            the kernel cache cannot be used
"""

__all__ = ["BackendError", "CacheWarning", "HybridnnError", "HybridnnWarning", "InvalidArguments", "InvalidType", "RecordingForbidden",
           "ReleasedGraphError", "SerializationError", "TraceError", "TraceMismatch", "TraceWarning", "UninitializedParameterError",
           "absent", "checking", "is_own", "not_taken_over", "raised_by_signal", "user_line"]

import functools
import os
import signal
import sys
import threading

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def is_own(filename):
    """Whether a file is the library's."""
    return filename.startswith(_PACKAGE)


def user_line(depth=1):
    """``"file:line in function"`` of the innermost frame outside the library."""
    frame = sys._getframe(depth)
    while frame is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return "<unknown>" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def raised_by_signal(error):
    """Whether a signal handler in Python raised ``error``: then it belongs to the user, whatever code it happened to interrupt."""
    handlers = {_code_of(signal.getsignal(n)) for n in signal.valid_signals()} - {None}
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code not in handlers:
        trace = trace.tb_next
    return trace is not None


def _code_of(handler):
    """The code object of a Python callable, or None."""
    if not callable(handler):
        return None
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    return getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)


class HybridnnError(Exception):
    """Base of the library's errors."""


class _Checking(threading.local):
    function = None       # whose types are being checked


checking = _Checking()


def _as_chainer_says(expected, actual):
    label = getattr(checking.function, "label", None)
    return [*([f"Invalid operation is performed in: {label} (Forward)", ""] if label else []), f"Expect: {expected}", f"Actual: {actual}"]


class InvalidType(HybridnnError, TypeError, ValueError):
    """An operation got arguments that do not fit: says the operation, what it expected, what came, and where.

    Args:
        op: name of the operation.
        expected: what it needs, in words.
        actual: what it saw.
        hint: what to do about it.

    A type check of one's own may give two texts alone, as in Chainer: what was expected and what came. Then the error reads as there.
    """

    def __init__(self, op, expected, actual=None, hint=""):
        if actual is None:
            lines = _as_chainer_says(op, expected)
            op, expected, actual = "type check", op, expected
        else:
            lines = [f"{op}: expected {expected}"]
            lines += [f"  got: {actual}"] if actual != "" else []
        self.op, self.expect, self.actual = op, expected, actual
        lines += [f"  hint: {hint}"] if hint else []
        super().__init__("\n".join([*lines, f"  at {user_line(2)}"]))

    def __reduce__(self):
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls, args, values):
    """An error that was pickled, without its constructor."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(values)
    return error


class InvalidArguments(InvalidType, AssertionError):
    """A link got arguments that do not fit its parameters, where Chainer fails an assertion."""


class UninitializedParameterError(HybridnnError, RuntimeError):
    """A parameter's shape is not known yet."""


class SerializationError(HybridnnError, ValueError):
    """A file and a model do not fit together."""


class BackendError(HybridnnError, RuntimeError):
    """A missing optional dependency or device."""


def not_taken_over(name, hint):
    """The error to raise where something of Chainer's is used that is not taken over."""
    return BackendError(f"{name} is not part of hybridnn\n  hint: {hint}")


def absent(name, hint):
    """A class in the place of one of Chainer's that is not taken over: what only imports it runs, and who makes one gets ``BackendError``."""
    def refuse(self, *args, **kwargs):
        raise not_taken_over(name, hint)

    return type(name, (), {"__init__": refuse, "__doc__": "Not taken over from Chainer: making one raises ``BackendError``."})


class TraceError(HybridnnError, RuntimeError):
    """Base of the tracer's errors."""


class TraceMismatch(TraceError):
    """A checked replay differed from eager execution."""


class RecordingForbidden(TraceError):
    """A new path would have been recorded under ``trace="error_on_record"``."""


class ReleasedGraphError(TraceError):
    """Backpropagation was asked for through a graph that a traced call has already used and given up."""


class HybridnnWarning(UserWarning):
    """Base of the library's warnings."""


class TraceWarning(HybridnnWarning):
    """A traced function cannot be fast, or fell back."""


class CacheWarning(HybridnnWarning):
    """The kernel cache cannot be used."""
