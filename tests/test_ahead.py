"""Native code that is compiled ahead, by another thread: found by plans, made once, and no harm to forked children."""
import os
import signal
import threading
import time

import numpy as np
import pytest

import hybridnn as hnn
from hybridnn import functions as F
from hybridnn.jit import ahead, fpstatus, gemm, lowlevel, objects
from hybridnn.trace import proving

CALLS = []


def _emit_slowly(m, number):
    CALLS.append((number, threading.current_thread().name))
    time.sleep(0.2)
    f, bufs, *_ = lowlevel.step_function(m, "put")
    f.store(number, f.load(lowlevel.PTR, bufs))
    f.ret()


def _emit_wrongly(m):
    CALLS.append("wrong")
    raise ValueError("no such instruction")


@pytest.fixture
def wanted(tmp_path, monkeypatch):
    """Two sources that a plan would ask for, on a machine that has never compiled them."""
    monkeypatch.setenv("HYBRIDNN_CACHE", str(tmp_path))
    monkeypatch.setattr(ahead, "_begun", set())
    sources = [lowlevel.Source("slow", _emit_slowly, (n,)) for n in (1, 2)]
    monkeypatch.setattr(ahead, "_wanted", lambda kinds: sources)
    CALLS.clear()
    yield sources
    _wait()


def _wait():
    for t in _compiling():
        t.join(60)
        assert not t.is_alive()


def _compiling():
    return [t for t in threading.enumerate() if t.name == "hybridnn compiles"]


def test_another_thread_compiles_and_whoever_asks_waits_for_it(wanted):
    ahead.compile_ahead({"matmul"})
    assert wanted[0].load().address("put") and wanted[1].load().address("put")
    assert sorted(number for number, _ in CALLS) == [1, 2]       # whichever thread came first
    _wait()
    assert len(list(objects.folder().iterdir())) == 2


def test_nobody_waits_for_what_he_has_not_asked_for(wanted):
    ahead.compile_ahead({"matmul"})
    other = lowlevel.Source("other", _emit_slowly, (3,))
    assert other.load().address("put")
    assert CALLS.index((3, threading.current_thread().name)) < 2        # beside the first of two


def test_it_begins_once_and_not_for_what_is_on_disk(wanted, monkeypatch):
    for _ in range(2):
        ahead.compile_ahead({"matmul"})
    _wait()
    assert CALLS == [(1, "hybridnn compiles"), (2, "hybridnn compiles")]
    monkeypatch.setattr(ahead, "_begun", set())
    ahead.compile_ahead({"matmul"})
    assert not _compiling()


def test_nothing_is_made_that_could_not_be_found(wanted, monkeypatch):
    monkeypatch.setattr(objects, "folder", lambda: None)
    ahead.compile_ahead({"matmul"})
    assert not _compiling() and not CALLS


def test_a_failure_is_left_to_the_plan(wanted, monkeypatch):
    monkeypatch.setattr(ahead, "_wanted", lambda kinds: [lowlevel.Source("wrong", _emit_wrongly), *wanted])
    ahead.compile_ahead({"matmul"})
    _wait()
    assert CALLS == ["wrong"]
    with pytest.raises(ValueError, match="no such instruction"):
        lowlevel.Source("wrong", _emit_wrongly).load()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_meanwhile_can_compile(wanted):
    ahead.compile_ahead({"matmul"})
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            os._exit(0 if wanted[1].load().address("put") else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_kinds_of_operations_ask_for_what_they_need():
    def names(*kinds):
        return {s.name for s in ahead._wanted(set(kinds))}
    always = names("elementwise")
    assert always == {"copy4", "fill4", "walker"} | ({"fpstatus"} if fpstatus.supported() else set())
    assert names("matmul") == always | (set() if gemm.host_tile() is None else {"gemm"})
    assert names("gather", "reduction") == always | {"gather_i32", "scatter_f32_i32"}


def test_a_function_called_again_begins(monkeypatch):
    seen = []
    monkeypatch.setattr(proving.jit, "compile_ahead", seen.append)
    x, w = np.ones((3, 4), np.float32), np.ones((4, 2), np.float32)
    products, sums, nothing = hnn.trace(lambda: F.tanh(F.matmul(x, w))), hnn.trace(lambda: F.tanh(x) * 2), hnn.trace(lambda: 2)
    for f in (products, sums, nothing):
        f()
    assert not seen
    for f in (products, sums, nothing):
        f()
    assert ["matmul" in kinds for kinds in seen] == [True, False]
