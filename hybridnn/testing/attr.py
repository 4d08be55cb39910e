"""What a test needs. A test whose need is not met here is skipped, and the reason says what is missing.

With pytest the needs are markers too, as in Chainer, so that ``-m "not slow"`` leaves tests out; under ``--strict-markers`` they have
to be declared (``chainerx``, ``cudnn``, ``gpu``, ``ideep``, ``slow``).
"""
import unittest
from typing import Any

from hybridnn.backend import number_of_gpus

_pytest: Any
try:
    import pytest as _pytest
except ImportError:
    _pytest = None

__all__ = ["check_available", "chainerx", "cudnn", "get_error", "gpu", "ideep", "is_available", "multi_gpu", "slow"]


def is_available():
    """Whether pytest is installed."""
    return _pytest is not None


def get_error():
    """Why this module is not available, or None."""
    return None if is_available() else ImportError("pytest is not installed")


def check_available():
    """Raise ``RuntimeError`` if pytest is missing."""
    if not is_available():
        raise RuntimeError("hybridnn.testing.attr needs pytest\n  hint: pip install pytest")


def _skip(reason):
    return unittest.skip(reason) if _pytest is None else _pytest.mark.skip(reason=reason)


def _marked(name, f):
    return f if _pytest is None else getattr(_pytest.mark, name)(f)


def multi_gpu(gpu_num):
    """The test needs so many CUDA devices."""
    found = number_of_gpus()
    met = found >= gpu_num
    return lambda f: _marked("gpu", f if met else _skip(f"needs {gpu_num} CUDA device(s), {found} found")(f))


def gpu(f):
    """The test needs a CUDA device; ``gpu(n)`` is ``multi_gpu(n)``."""
    return multi_gpu(f) if isinstance(f, int) else multi_gpu(1)(f)


def cudnn(f):
    """The test needs cuDNN, so a CUDA device."""
    return _marked("cudnn", gpu(f))


def slow(f):
    """The test takes long; it runs unless its marker is deselected."""
    return _marked("slow", f)


def chainerx(f):
    """The test is about ChainerX, which hybridnn does not take over."""
    return _marked("chainerx", _skip("ChainerX is not part of hybridnn")(f))


def ideep(f):
    """The test is about iDeep, which hybridnn does not take over."""
    return _marked("ideep", _skip("iDeep is not part of hybridnn")(f))
