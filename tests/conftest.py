"""What every test can rely on. The environment is set before hybridnn is first imported."""

import gc
import os
import shutil
import tempfile

import numpy as np
import pytest
import streams
from hypothesis import HealthCheck, settings

_own_cache = None


def _private_kernel_cache() -> str:
    """A folder for this session's kernels. HYBRIDNN_TEST_CACHE names one to keep; workers of one run share it."""
    global _own_cache
    if kept := os.environ.get("HYBRIDNN_TEST_CACHE"):
        os.makedirs(kept, mode=0o700, exist_ok=True)
        return kept
    if "PYTEST_XDIST_WORKER" in os.environ:
        return os.environ["HYBRIDNN_CACHE"]
    _own_cache = tempfile.mkdtemp(prefix="hybridnn-test-kernels-")
    return _own_cache


os.environ["HYBRIDNN_CACHE"] = _private_kernel_cache()
# A defect inside trace or jit raises in tests, where users would get one warning and eager execution.
os.environ["HYBRIDNN_STRICT"] = "1"

settings.register_profile("hybridnn", deadline=None, derandomize=True, max_examples=50,
                          suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("hybridnn")


def _why_no_gpu() -> str | None:
    from hybridnn.backend import cupy
    if cupy is None:
        return "CuPy is not installed (extra 'cuda')"
    if cupy.cuda.runtime.driverGetVersion() == 0:
        return "no NVIDIA driver"
    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return str(error)


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = _why_no_gpu() if marked else None
    for item in marked if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure(config):
    if _own_cache:
        shutil.rmtree(_own_cache, ignore_errors=True)


@pytest.fixture(autouse=True, scope="module")
def known():
    """All tests, and what those of other modules have imported and kept, are no garbage: the collector need not look at half a million objects again and
    again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same numbers, whatever ran before it."""
    before = streams.position()
    np.random.seed(0)
    yield
    streams.go_to(before)
