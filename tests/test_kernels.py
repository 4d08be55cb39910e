"""Kernels on disk: private, atomic, checked, bounded; vectorised code; compiling and loading without numba."""
import os
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from jit_graphs import array, assert_same, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.errors import CacheWarning
from hybridnn.jit import compiler, kernels, machine

TEXT = '''from numba import float32

from hybridnn.jit.vecmath import parallel_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    x = ptr_f32(bufs, args, 0)
    y = ptr_f32(bufs, args, 2)
    for i in range(lo, hi):
        y[i] = x[i] * float32(NUMBER)
    parallel_loops()
'''


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a process that has loaded no kernel and warned of nothing."""
    path = tmp_path / "cache"
    monkeypatch.setenv("HYBRIDNN_CACHE", str(path))
    monkeypatch.setattr(kernels, "_addresses", {})
    monkeypatch.setattr(kernels, "_state", {"warned": False})
    return path


def text(number):
    return TEXT.replace("NUMBER", repr(float(number)))


def objects(path):
    return sorted(p.name for p in path.glob("hnn_*.o"))


def forget(monkeypatch):
    monkeypatch.setattr(kernels, "_addresses", {})


def test_a_kernel_is_compiled_once_and_then_read(cache, monkeypatch):
    assert kernels.load([text(1), text(2), text(1)]).compiled == 2
    assert kernels.load([text(1)]).compiled == 0
    assert len(objects(cache)) == 2
    assert (cache / f"{kernels.symbol(text(2))}.py").read_text() == text(2)
    assert cache.stat().st_mode & 0o777 == 0o700
    forget(monkeypatch)
    assert kernels.load([text(1), text(2)]).compiled == 0


@pytest.mark.parametrize("damage", [b"", b"nonsense", None], ids=["empty", "short", "flipped"])
def test_a_damaged_file_is_said_and_compiled_again(cache, monkeypatch, damage):
    kernels.load([text(3)])
    (path,) = cache.glob("hnn_*.o")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage is None else damage)
    forget(monkeypatch)
    with pytest.warns(CacheWarning, match="corrupt"):
        assert kernels.load([text(3)]).compiled == 1
    assert path.read_bytes()[32:32 + 4] == b"\x7fELF"


def test_a_file_under_another_name_is_not_run(cache, monkeypatch):
    kernels.load([text(4), text(5)])
    one, two = (cache / f"{kernels.symbol(text(n))}.o" for n in (4, 5))
    two.write_bytes(one.read_bytes())
    forget(monkeypatch)
    with pytest.warns(CacheWarning, match="corrupt"):
        assert kernels.load([text(5)]).compiled == 1


def test_a_directory_that_others_can_write_is_refused(cache):
    cache.mkdir(mode=0o777)
    os.chmod(cache, 0o777)
    with pytest.warns(CacheWarning, match="can be written by others"):
        assert kernels.load([text(6)]).compiled == 1
    assert objects(cache) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")             # said once
        assert kernels.load([text(7)]).compiled == 1


def test_a_file_in_the_place_of_the_directory(cache):
    cache.write_text("")
    with pytest.warns(CacheWarning, match="HYBRIDNN_CACHE"):
        assert kernels.load([text(8)]).compiled == 1


def test_a_full_disk_is_survived(cache, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(kernels.tempfile, "mkstemp", full)
    with pytest.warns(CacheWarning, match="No space left"):
        assert kernels.load([text(9)]).compiled == 1


def test_files_that_another_process_removes_are_no_obstacle(cache, monkeypatch):
    """A link to nowhere is what a file is that goes between its listing and the look at it."""
    monkeypatch.setitem(kernels._state, "written", 0)
    cache.mkdir(mode=0o700)
    (cache / "gone.o").symlink_to(cache / "nowhere")
    kernels._bound(cache)
    assert list(kernels._files(cache)) == []


def test_the_cache_is_bounded(cache, monkeypatch):
    cache.mkdir(mode=0o700)
    for k in range(6):
        (cache / f"old{k}").write_bytes(b"x" * 100)
        os.utime(cache / f"old{k}", (k, k))
    monkeypatch.setattr(kernels, "MAX_FILES", 4)
    kernels.load([text(10)])
    assert len(list(cache.iterdir())) == 4
    assert not (cache / "old0").exists() and (cache / "old5").exists()


def test_a_new_toolchain_has_new_keys(monkeypatch):
    before = kernels.symbol.__wrapped__(text(1))
    monkeypatch.setattr(kernels, "toolchain", lambda: "another compiler")
    assert kernels.symbol.__wrapped__(text(1)) != before


@pytest.mark.parametrize("cpus", [1, 4])
def test_code_of_many_kernels_is_that_of_each(cpus, monkeypatch):
    texts = [(f"k{n}", text(n), f"<k{n}>") for n in range(5)]
    each = [machine.target_machine().emit_object(compiler.compile_ir(*t)) for t in texts]
    monkeypatch.setattr(machine, "_cpus", lambda: cpus)
    assert compiler.compile_objects(texts) == each


def test_another_llvmlite_compiles_with_its_own_calls(monkeypatch):
    texts = [(f"k{n}", text(n), f"<k{n}>") for n in range(3)]
    expected = compiler.compile_objects(texts)
    for lib in (types.SimpleNamespace(_name="no library"), types.SimpleNamespace(_name=None), types.SimpleNamespace()):
        with monkeypatch.context() as changed:
            changed.setattr(machine.llvm.ffi, "lib", lib)
            found = machine._long_calls.__wrapped__()
        assert found is None
    monkeypatch.setattr(machine, "_long_calls", lambda: None)
    assert compiler.compile_objects(texts) == expected


@pytest.mark.parametrize("cpus", [1, 4])
def test_a_module_that_cannot_be_compiled_raises(cpus, monkeypatch):
    monkeypatch.setattr(machine, "_cpus", lambda: cpus)
    with pytest.raises(RuntimeError, match="parsing"):
        machine.objects(["define void @f() { ret void }", "no module"] * 3)


def test_kernels_are_vectorised():
    """The inner loops of a chain with exp and tanh and of a softmax work on full vector registers."""
    def chain(x, b):
        return [OPS["tanh"](x + b) * OPS["exp"](x) + OPS["softmax"](x, axis=(1,))]
    x = np.ones((4, 64), "f4")
    for kernel in jit.compile(graph_of(chain, x, np.ones(64, "f4"))).sources:
        assembly = machine.target_machine().emit_assembly(compiler.compile_ir("probe", kernel, "<probe>"))
        wide = sum(r in assembly for r in ("ymm", "zmm", "v0.4s"))
        assert wide, "no vector registers"
        assert "call" not in assembly.replace("tailcall", ""), "a function call in the loop"


def test_neither_a_cold_nor_a_warm_cache_needs_numba(tmp_path):
    code = """
import sys, numpy as np
sys.path[:0] = ["tests", "."]
from jit_graphs import array, assert_same, graph_of
import hybridnn.ops
from hybridnn import jit
from hybridnn.core.op import OPS
x = np.ones((3, 5), "f4")
exe = jit.compile(graph_of(lambda x: [OPS["softmax"](x, axis=(1,))], x))
assert np.allclose(exe([x])[0], 0.2)
print(exe.kernels_compiled, "numba" in sys.modules)
"""
    environment = {**os.environ, "HYBRIDNN_CACHE": str(tmp_path / "kernels")}
    runs = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                           check=True).stdout.split()
            for _ in range(2)]
    assert runs == [["1", "False"], ["0", "False"]]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", ["amax", "amin"])
@pytest.mark.parametrize("n", [25, 64, 1003])
def test_extremes_of_rows_keep_nan(name, dtype, n):
    x = array(9, n).astype(dtype)
    x[1, n // 2], x[2, 0], x[3, -1] = np.nan, np.inf, -np.inf
    x[4], x[5], x[6] = np.nan, np.inf, -np.inf
    x[7, 3], x[7, 5], x[8, 20:] = np.nan, np.inf, -np.nan
    graph = graph_of(lambda x: [OPS[name](x, axis=(1,), keepdims=False)], x)
    assert_same(graph, jit.compile(graph), (x,), 0, 0)
