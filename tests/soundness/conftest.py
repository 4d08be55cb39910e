"""Most scenarios compute segments with the reference interpreter, which needs no compiler; every night, and where a module says so, natively."""
import pytest
import worlds

from hybridnn.trace import running, segment


def pytest_generate_tests(metafunc):
    native = getattr(metafunc.module, "NATIVE", False)
    metafunc.parametrize("executor", ["native"] if native else ["reference", pytest.param("native", marks=pytest.mark.nightly)], indirect=True)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Every signature is proved at its second call, however long proofs take on a busy machine."""
    monkeypatch.setattr(running, "may_prove", lambda memory, times: True)


@pytest.fixture(autouse=True)
def executor(request, monkeypatch):
    """What runs the segments of a trace."""
    if request.param == "reference":
        monkeypatch.setattr(segment, "jit_compile", worlds.Interpreted)
    else:       # float64 numbers of the scenarios are often made of float32 ones, which kernels round otherwise
        monkeypatch.setattr(worlds, "DOUBLE", 1e-6)
    return request.param
