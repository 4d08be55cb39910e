"""The native plan: order of steps, buffers and scalars, failure, several threads, the check of arguments."""

import gc
import logging
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
from at_once import at_once

from hybridnn.jit import fpstatus, native, threads
from hybridnn.jit.lowlevel import F32, F64, I64, PTR, VOID, Module
from hybridnn.jit.native import NativePlan, Step, View


def _operand(f, index):
    bufs, args = f.params[:2]
    return f.to_ptr(f.load(I64, bufs, f.load(I64, args, 2 * index)) + f.load(I64, args, 2 * index + 1))


@pytest.fixture(scope="module")
def code():
    """``scale_add``: y = x * s + y (float32, s a float64 scalar); ``fail``: status 7, value lo; ``add_int``: n += int scalar."""
    m = Module("test_steps")
    f = m.func("scale_add", VOID, [PTR, PTR, I64, I64])
    x, s, y = (_operand(f, i) for i in range(3))
    scale = f.as_float(f.load(I64, s), F32)
    with f.range(f.params[2], f.params[3]) as i:
        f.store(f.load(F32, x, i) * scale + f.load(F32, y, i), y, i)
    f.ret()
    f = m.func("fail", VOID, [PTR, PTR, I64, I64])
    status = f.load(PTR, f.params[0], -1)
    f.store(7, status, 0)
    f.store(f.params[2], status, 1)
    f.ret()
    f = m.func("add_int", VOID, [PTR, PTR, I64, I64])
    f.store(f.load(I64, _operand(f, 1)) + f.load(I64, _operand(f, 0)), _operand(f, 1))
    f.ret()
    f = m.func("reciprocal", VOID, [PTR, PTR, I64, I64])
    with f.range(f.params[2], f.params[3]) as i:
        f.store(f.value(1.0, F32) // f.load(F32, _operand(f, 0), i), _operand(f, 1), i)
    f.ret()
    return m.compile()


def _scale_add(code, n, offset=0, grain=0, keep=None):
    return Step(code.address("scale_add"), np.array([0, 0, 1, 0, 2, offset]), 0, n, grain, "scale_add", keep)


@pytest.fixture(params=["builtin", "ctypes"])
def layout(request, monkeypatch):
    """Both ways to call a plan."""
    if request.param == "ctypes":
        monkeypatch.setattr(native, "layout_holds", lambda: False)
    return request.param


def test_layout_of_this_interpreter_is_known():
    assert native.layout_holds()


def test_steps_run_in_order_with_offsets_and_scalars(code, layout):
    plan = NativePlan.build([_scale_add(code, 4), _scale_add(code, 2, offset=8)], 3)
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    assert plan.run((x, 2.0), y) is None
    np.testing.assert_array_equal(y, [0, 2, 4, 8])
    assert plan.run([x], (np.float64(1.0), y)) is None
    np.testing.assert_array_equal(y, [0, 3, 6, 12])
    assert plan.names == ("scale_add", "scale_add")
    seconds = plan.times(x, 1.0, y)
    assert seconds.shape == (2,) and (seconds >= 0).all()


def test_python_ints_and_bools_are_int64(code, layout):
    plan = NativePlan.build([Step(code.address("add_int"), np.array([0, 0, 1, 0]))], 2)
    total = np.zeros(1, np.int64)
    for number in (5, -(2**62), True):
        plan.run(number, total)
    assert total[0] == 6 - 2**62


@pytest.mark.parametrize("buffers", [(), (1.0, 2.0, 3.0, 4.0), (1.0, "x", 2.0), (1.0, None), (1.0, 2**80), (1.0, (2.0,), 3)])
def test_wrong_buffers_raise_before_any_step(code, layout, buffers):
    plan = NativePlan.build([_scale_add(code, 4)], 3)
    with pytest.raises(TypeError, match=r"NativePlan.run: (the plan has 3 buffers|buffer 1 is not)"):
        plan.run(buffers)


def test_a_failing_step_stops_the_walk(code, layout):
    fail = Step(code.address("fail"), np.zeros(0, np.int64), 41, 42)
    plan = NativePlan.build([_scale_add(code, 4), fail, _scale_add(code, 4)], 3)
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert plan.run(x, 1.0, y) == (1, 7, 41)
    np.testing.assert_array_equal(y, 1)


def test_more_buffers_than_the_stack_takes(code):
    n = native.MAX_ON_STACK + 10
    step = Step(code.address("add_int"), np.array([n - 1, 0, n - 2, 0]))
    plan = NativePlan.build([step], n)
    total = np.zeros(1, np.int64)
    for _ in range(3):
        plan.run((0,) * (n - 2), total, 5)
    assert total[0] == 15


@pytest.mark.parametrize("n", [10_007, 300_000])
@pytest.mark.parametrize("grain", [1, 16, 1000, 10**6])
def test_a_split_step_covers_its_range_once(code, grain, n):
    plan = NativePlan.build([_scale_add(code, n, grain=grain)], 3)
    x, y = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    with threads.limit(1):
        plan.run(x, 0.5, y)
    for _ in range(15):  # helpers asleep, waking, awake
        plan.run(x, 0.5, y)
    np.testing.assert_array_equal(y, 8 * x + 1)


def test_python_threads_share_a_plan(code):
    n = 5_000
    plan = NativePlan.build([_scale_add(code, n, grain=512)] * 20, 3, release_gil=True)
    results = {}

    def work(k):
        y = np.zeros(n, np.float32)
        for _ in range(10):
            plan.run(np.full(n, k, np.float32), 1.0, y)
        results[k] = y

    at_once(work, range(4))
    for k in range(4):
        np.testing.assert_array_equal(results[k], np.float32(200 * k))


START = """
import threading
import numpy as np
from hybridnn.jit.native import NativePlan, Step

def work():
    for _ in range(20):
        plan = NativePlan.build([], 1)
        plan.run(np.zeros(1))
    done.append(1)

done = []
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert len(done) == 4
"""


def test_the_first_plan_may_be_made_by_several_threads():
    subprocess.run([sys.executable, "-c", START], check=True, timeout=60)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_alone_until_it_builds_a_plan(code):
    n = 100_000
    step = _scale_add(code, n, grain=64)
    plan = NativePlan.build([step], 3)
    x, y = np.ones(n, np.float32), np.zeros(n, np.float32)
    plan.run(x, 1.0, y)
    pid = os.fork()
    if pid == 0:
        alone = threads.TABLE[threads.POOL] == 0
        plan.run(x, 1.0, y)
        for _ in range(20):
            NativePlan.build([step], 3).run(x, 1.0, y)
        helped = threads.TABLE[threads.POOL] != 0 or threads.cores() == 1
        os._exit(0 if alone and helped and (y == 22).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_dropped_plan_drops_what_it_kept(code):
    kept = np.zeros(3)
    gone = weakref.ref(kept)
    plan = NativePlan.build([_scale_add(code, 1, keep=kept)], 3)
    run = plan.run
    gc.disable()
    try:
        del kept, plan
        assert gone() is not None  # run alone still needs it
        del run
        assert gone() is None
    finally:
        gc.enable()


def test_no_object_leaks(code):
    plan = NativePlan.build([_scale_add(code, 4)], 3)
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    before = [sys.getrefcount(o) for o in (x, y, None, native.np.ndarray)]
    for _ in range(1000):
        plan.run((x, 1.5), y)
        with pytest.raises(TypeError):
            plan.run(x)
    after = [sys.getrefcount(o) for o in (x, y, None, native.np.ndarray)]
    assert max(a - b for a, b in zip(after, before, strict=True)) < 50


@pytest.mark.skipif(not fpstatus.supported(), reason="floating-point flags are read on x86 only")
@pytest.mark.parametrize("grain", [0, 100])
@pytest.mark.parametrize("value, flags", [(2.0, 0), (0.0, fpstatus.DIVIDE), (1e-40, fpstatus.OVERFLOW)])
def test_floating_point_flags_of_all_threads(code, grain, value, flags):
    n = 100_000
    step = Step(code.address("reciprocal"), np.array([0, 0, 1, 0]), 0, n, grain)
    plan = NativePlan.build([fpstatus.clear_step(), step, fpstatus.read_step(View(2, 0, (1,), (8,)))], 3)
    out, seen = np.zeros(n, np.float32), np.zeros(1, np.int64)
    for at in (0, n // 2, n - 1):
        x = np.ones(n, np.float32)
        x[at] = value
        for _ in range(10):
            seen[0] = -1
            plan.run(x, out, seen)
            assert seen[0] == flags


def test_unknown_layout_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(native, "_array_layout_holds", lambda: False)
    native.layout_holds.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "hybridnn.jit"):
            assert not native.layout_holds() and not native.layout_holds()
        assert len(caplog.records) == 1 and "ctypes" in caplog.text
    finally:
        native.layout_holds.cache_clear()


def test_thread_limits():
    before = int(threads.TABLE[threads.LIMIT])
    with threads.limit(1):
        assert threads.TABLE[threads.LIMIT] == 1
    assert threads.TABLE[threads.LIMIT] == before
    with pytest.raises(ValueError, match="at least 1"), threads.limit(0):
        pass


@pytest.mark.parametrize("text, cpus", [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("broken", None)])
def test_cgroup_quota(tmp_path, text, cpus):
    (tmp_path / "cpu.max").write_text(text)
    assert threads._cgroup_quota(tmp_path) == cpus


def test_scalars_of_both_widths(code):
    """A float64 read natively is exact."""
    m = Module("copy")
    f = m.func("copy", VOID, [PTR, PTR, I64, I64])
    f.store(f.load(F64, f.load(PTR, f.params[0], 0)), f.load(PTR, f.params[0], 1))
    f.ret()
    m.compile()
    plan = NativePlan.build([Step(m.address("copy"), np.zeros(0, np.int64))], 2)
    out = np.zeros(1)
    for value in (0.1, -0.0, float("inf"), 5e-324):
        plan.run(value, out)
        assert out.tobytes() == np.float64(value).tobytes()
