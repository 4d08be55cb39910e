"""What the test cases of functions and of links share: errors, checks of what a test's methods return, comparison of outputs."""
import contextlib

import numpy as np

from hybridnn.backend import CpuDevice, get_array_types
from hybridnn.core import Variable
from hybridnn.gradient_check import NondifferentiableError
from hybridnn.testing.array import as_noncontiguous, assert_allclose

__all__ = ["FunctionTestError", "LinkTestError", "check_array_types", "check_equal", "check_variables", "random_like",
           "until_differentiable", "with_layout"]


class _TestError(AssertionError):
    @classmethod
    def check(cls, expr, message):
        """Raise unless ``expr`` is true."""
        if not expr:
            raise cls(message)

    @classmethod
    def fail(cls, message, exc=None):
        """Raise, from ``exc`` and with its text behind the message if there is one."""
        if exc is None:
            raise cls(message)
        raise cls(f"{message}\n{exc}") from exc

    @classmethod
    @contextlib.contextmanager
    def raise_if_fail(cls, message, error_types=AssertionError):
        """A block whose errors of these types become this error, with the message in front."""
        try:
            yield
        except error_types as error:
            cls.fail(message, error)


class FunctionTestError(_TestError):
    """A function failed its test case."""


class LinkTestError(_TestError):
    """A link failed its test case."""


def check_array_types(arrays, name, device=None):
    """``arrays`` is a tuple of arrays of the device (or None): what a test's own method has to return."""
    device = device or CpuDevice()
    if not isinstance(arrays, tuple):
        raise TypeError(f"{name}() returns a tuple, not {type(arrays).__name__}")
    if not all(a is None or isinstance(a, device.supported_array_types) for a in arrays):
        raise TypeError(f"{name}() returns arrays of {device}, not {', '.join(type(a).__name__ for a in arrays)}")
    return arrays


def check_variables(outputs, device, error_class):
    """``forward`` returned a tuple of Variables on the device."""
    if not isinstance(outputs, tuple) or not all(isinstance(y, Variable) for y in outputs):
        seen = ", ".join(type(y).__name__ for y in outputs) if isinstance(outputs, tuple) else type(outputs).__name__
        raise error_class(f"forward() returns a tuple of Variables, not {seen}")
    if not all(isinstance(y.array, device.supported_array_types) for y in outputs):
        raise error_class(f"forward() returns arrays of {device}, not {', '.join(type(y.array).__name__ for y in outputs)}")
    return outputs


def check_equal(actual, expected, error_class, **options):
    """Arrays agree in number, shape, dtype and values."""
    for arrays in (actual, expected):
        if not isinstance(arrays, tuple) or not all(isinstance(a, get_array_types()) for a in arrays):
            raise error_class(f"outputs are a tuple of arrays, not {arrays!r:.200}")
    props = lambda arrays: ", ".join(f"{a.shape}:{a.dtype}" for a in arrays)
    shown = f"  expected: {props(expected)}\n  actual:   {props(actual)}"
    if props(actual) != props(expected):
        raise error_class(f"outputs differ in number, shape or dtype\n{shown}")
    wrong = []
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        try:
            assert_allclose(a, e, **options)
        except AssertionError as error:
            wrong.append(f"output {i}: {error}")
    if wrong:
        raise error_class("outputs do not have the expected values\n" + "\n".join([shown, *wrong]))


def random_like(arrays):
    """Uniform numbers from [-1, 1) in the shapes and dtypes of arrays."""
    return tuple([np.random.uniform(-1, 1, a.shape).astype(a.dtype) for a in arrays])


def with_layout(arrays, contiguous):
    """Arrays as they are (``"C"``) or in layouts that are not contiguous (None)."""
    if contiguous not in (None, "C"):
        raise ValueError(f"contiguous is None or 'C', not {contiguous!r}")
    return arrays if contiguous == "C" else as_noncontiguous(arrays)


def until_differentiable(check, retry, attempts=1000):
    """Call ``check``, anew if ``retry`` and it hit a kink."""
    for _ in range(attempts - 1 if retry else 0):
        try:
            return check()
        except NondifferentiableError:
            continue
    return check()
