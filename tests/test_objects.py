"""Object code on disk: found again, never run when damaged, never read from a folder that others can write to."""

import logging
import os
import threading
import time

import numpy as np
import pytest

from hybridnn.jit import lowlevel, objects
from hybridnn.jit.native import NativePlan, Step

CALLS = []


def _emit_store(m, number):
    CALLS.append(number)
    f, bufs, *_ = lowlevel.step_function(m, "put")
    f.store(number, f.load(lowlevel.PTR, bufs))
    f.ret()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    _put(0)         # loads what every plan runs in, which is compiled once in a process
    monkeypatch.setenv("HYBRIDNN_CACHE", str(tmp_path))
    CALLS.clear()
    return tmp_path


def _put(number):
    module = lowlevel.load("store", _emit_store, number)
    out = np.zeros(1, np.int64)
    NativePlan.build([Step(module.address("put"), np.zeros(0, np.int64), keep=module)], 1).run(out)
    return int(out[0])


def test_a_second_process_would_not_compile(cache):
    assert [_put(3), _put(3), _put(4), _put(3)] == [3, 3, 4, 3]
    assert CALLS == [3, 4]
    files = list((cache / "objects").iterdir())
    assert len(files) == 2 and all(f.stat().st_mode & 0o077 == 0 for f in files)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:40] + b"x" + d[41:], lambda d: b"", lambda d: d[32:]])
def test_damaged_files_are_compiled_again(cache, damage):
    _put(3)
    (file,) = (cache / "objects").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert _put(3) == 3 and CALLS == [3, 3]
    assert _put(3) == 3 and CALLS == [3, 3]


@pytest.mark.parametrize("spoil", [lambda p: (p / "objects").write_text("a file"), lambda p: p.chmod(0o777)])
def test_an_unsafe_folder_is_not_used_and_said_once(cache, spoil, caplog):
    spoil(cache)
    with caplog.at_level(logging.INFO, "hybridnn.jit"):
        assert [_put(3), _put(3)] == [3, 3]
    assert CALLS == [3, 3]
    assert len([r for r in caplog.records if "not kept on disk" in r.getMessage()]) == 1
    assert not (cache / "objects").is_dir() or not list((cache / "objects").iterdir())


def test_the_number_of_files_is_bounded(cache, monkeypatch):
    monkeypatch.setattr(objects, "KEEP", 2)
    for number in range(4):
        objects.store(f"key{number}", b"code")
    assert len(list((cache / "objects").iterdir())) == 2
    assert objects.load("key3") == b"code" and objects.load("none") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_compilations_of_other_threads():
    begun, forked, free = threading.Event(), [], []

    def compile():
        with objects.compiling(), objects.compiling():
            begun.set()
            time.sleep(0.3)
            forked.append(bool(free))
    thread = threading.Thread(target=compile)
    thread.start()
    begun.wait(60)
    with objects.compiling():        # one of its own does not count: a signal handler may fork
        pid = os.fork()
        if pid == 0:
            os._exit(0 if list(objects._compilers) == [threading.get_ident()] else 1)
    free.append(True)
    thread.join(60)
    assert forked == [False] and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and not objects._compilers
