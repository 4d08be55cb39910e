"""Traced functions in threads, forked and spawned processes, at their end, and beside debuggers."""
import collections
import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.jit.executable import Executable
from hybridnn.trace import observe
from hybridnn.trace.events import Event
from hybridnn.trace.segment import Segment

HOT = 8


def arr(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("f")


class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2 = L.Linear(4, 5), L.Linear(5, 2)
        self.lines = 0

    def plain(self, x):
        return self.l2(F.tanh(self.l1(x)))

    @hnn.trace
    def forward(self, x):
        return self.l2(F.tanh(self.l1(x)))


@hnn.trace
def module_level(x):
    return F.sum(F.tanh(x) * 2)


def warm(fn, *args):
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(HOT):
            result = fn(*args)
    return result


@pytest.mark.parametrize("mode", ["auto", "verify"])
def test_eight_threads(mode):
    net = Net()
    f = hnn.trace(net.plain, mode=mode)
    step = hnn.trace(lambda x: float(F.sum(F.exp(x) * 0.5)) if bool(F.sum(x) > 0.1) else F.sum(x * 2), mode=mode)
    failures, barrier = [], threading.Barrier(8)

    def work(k):
        barrier.wait()
        try:
            for i in range(25):
                x = arr(1 + (k + i) % 5, 4, seed=i)
                np.testing.assert_allclose(f(x).array, net.plain(x).array, rtol=1e-5, atol=1e-6)
                want, got = step.__wrapped__(x), step(x)
                assert type(want) is type(got)
                np.testing.assert_allclose(float(got), float(want), rtol=1e-5, atol=1e-5)
        except BaseException as e:
            failures.append(e)
    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not failures and not any(t.is_alive() for t in threads)
    assert f.stats.hits > 0


def answer(f, x):
    return float(F.sum(f(x)).array)


def child(send, x):
    send.send((answer(module_level, x), module_level.stats.calls))
    send.close()


def test_os_fork_after_compilation():
    net = Net()
    x = arr(3, 4)
    want = answer(net.plain, x)
    warm(net.forward, x)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            other = arr(6, 4)
            results = [answer(net.forward, x) for _ in range(5)]
            results += [answer(net.forward, other) - answer(net.plain, other) + want for _ in range(5)]
            os.write(w, repr(results).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(w)
    with os.fdopen(r, "rb") as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    np.testing.assert_allclose(eval(text), [want] * 10, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer(net.forward, x), want, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_os_fork_while_another_thread_records():
    """The child gets a lock that nobody in it will release."""
    f, ready, done = hnn.trace(lambda x: F.tanh(x) * 2), threading.Event(), threading.Event()
    f(arr(3, 4))

    def hold():
        with f._memory.lock:
            ready.set()
            done.wait(60)
    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    ready.wait(60)
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            for n in (5, 5, 5, 3):
                f(arr(n, 4))
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    done.set()
    thread.join(60)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    x = arr(3, 4)
    want = float(warm(module_level, x).array)
    receive, send = (context := multiprocessing.get_context(method)).Pipe(False)
    process = context.Process(target=child, args=(send, x))
    process.start()
    send.close()
    got, calls = receive.recv()
    receive.close()
    process.join(60)
    assert process.exitcode == 0
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert calls == 1 or method == "fork"


# ---- release: objects go with their last name, without the garbage collector

@pytest.fixture
def no_collector():
    import gc
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def over_closure(net):
    return hnn.trace(lambda x: net.plain(x)), lambda f: None


def over_bound_method(net):
    return hnn.trace(net.plain), lambda f: None


def over_link(net):
    net.l1.W.name = "W"
    return hnn.trace(net.l1), lambda f: None


def over_step(net):
    opt = hnn.optimizers.Adam().setup(net)

    @hnn.trace
    def step(x):
        loss = F.sum(net.plain(x) ** 2)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return step, lambda f: None


OWNERS = {"closure": over_closure, "bound method": over_bound_method, "link": over_link, "step": over_step}


@pytest.mark.parametrize("owner", OWNERS)
def test_model_and_function_go_together(owner, no_collector):
    net, x = Net(), arr(3, 4)
    f, _ = OWNERS[owner](net)
    warm(f, x)
    assert f.stats.python_skipped > 0
    memory, parameter, model = weakref.ref(f._memory), weakref.ref(net.l1.W), weakref.ref(net)
    del f, net, _
    assert memory() is None and parameter() is None and model() is None


@pytest.mark.parametrize("owner", OWNERS)
def test_recordings_go_with_the_function(owner, no_collector):
    """Paths, and what was compiled of them, arenas among it, go as soon as the function goes; so does what compiling needed."""
    def left():
        return collections.Counter(type(o) for o in gc.get_objects() if issubclass(type(o), (Event, Segment, Executable)))
    net, x = Net(), arr(3, 4)
    f, _ = OWNERS[owner](net)
    before = left()
    warm(f, x)
    made = left() - before
    assert made[Event] and made[Segment] and made[Executable]
    del f, net, _
    assert left() == before


def test_instance_goes_with_its_recordings(no_collector):
    net, x = Net(), arr(3, 4)
    warm(net.forward, x)
    assert net.forward.stats.python_skipped > 0
    refs = [weakref.ref(o) for o in (net, net.l1, net.l2.W, net.forward._memory)]
    del net
    assert [r() for r in refs] == [None] * 4
    assert not vars(Net)["forward"]._instances


def test_argument_goes(no_collector):
    f = hnn.trace(lambda net, x: net.plain(x))
    net, x = Net(), arr(3, 4)
    warm(f, net, x)
    refs = [weakref.ref(o) for o in (net, net.l1.W)]
    del net
    assert [r() for r in refs] == [None] * 2
    other = Net()
    np.testing.assert_allclose(f(other, x).array, other.plain(x).array, rtol=1e-5)


def test_a_proof_that_ends_inside_the_library_keeps_nothing(no_collector):
    def run(net):
        f = hnn.trace(lambda x: F.forget(lambda h: F.tanh(net.l1(h)), hnn.Variable(x)))
        warm(f, arr(3, 4))
        return [weakref.ref(o) for o in (net, f._memory)]
    refs = run(Net())
    assert [r() for r in refs] == [None] * 2


def test_code_that_programs_write_goes(monkeypatch):
    """Instructions are kept by the code that they are of, for so much code as programs have that nobody writes at run time."""
    monkeypatch.setattr(observe._known, "most", 8)
    codes = []
    for k in range(16):
        space = {"F": F}
        exec(f"def f(x):\n    return F.tanh(x) * {k}.5", space)
        f = hnn.trace(space["f"])
        warm(f, arr(3))
        assert f.stats.python_skipped > 0
        codes.append(weakref.ref(space["f"].__code__))
    del f, space
    gc.collect()
    assert sum(code() is not None for code in codes) <= 8


def test_global_goes(no_collector):
    global GLOBAL_NET
    GLOBAL_NET, x = Net(), arr(3, 4)
    f = hnn.trace(lambda x: GLOBAL_NET.plain(x))
    warm(f, x)
    assert f.stats.python_skipped > 0
    refs = [weakref.ref(o) for o in (GLOBAL_NET, GLOBAL_NET.l1.W)]
    GLOBAL_NET = Net()
    assert [r() for r in refs] == [None] * 2
    np.testing.assert_allclose(f(x).array, GLOBAL_NET.plain(x).array, rtol=1e-5)


def test_outputs_inputs_and_errors_are_not_kept(no_collector):
    def maybe(x, fail):
        y = F.tanh(x) * 2
        if fail:
            raise KeyError(y)
        return y
    f, x = hnn.trace(maybe), hnn.Variable(arr(3, 4))
    warm(f, x, False)
    y = f(x, False)
    refs = [weakref.ref(o) for o in (x, y, x.array, y.array)]
    for _ in range(3):
        try:
            f(x, True)
        except KeyError as e:
            refs.append(weakref.ref(e.args[0]))
    del x, y
    assert [r() for r in refs] == [None] * len(refs)


# ---- copies

def test_deepcopy_and_pickle_of_a_model():
    net, x = Net(), arr(3, 4)
    want = warm(net.forward, x).array
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.copy()):
        np.testing.assert_allclose(other.forward(x).array, want, rtol=1e-5)
        assert other.forward.stats.calls == 1 and other.forward.stats is not net.forward.stats
    other = copy.deepcopy(net)
    warm(other.forward, x)
    other.l1.W.array[...] = 0
    np.testing.assert_allclose(net.forward(x).array, want, rtol=1e-5)
    np.testing.assert_allclose(other.forward(x).array, other.plain(x).array, rtol=1e-5)


def test_deepcopy_of_a_traced_link_is_independent():
    f, x = hnn.trace(L.Linear(4, 2)), arr(3, 4)
    want = warm(f, x).array
    g = copy.deepcopy(f)
    assert g.__wrapped__ is not f.__wrapped__ and g.stats.calls == 0
    g.__wrapped__.W.array[...] = 0
    np.testing.assert_allclose(warm(f, x).array, want, rtol=1e-6)
    assert not np.allclose(warm(g, x).array, want)


def test_module_level_function_pickles_by_name():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    local = hnn.trace(lambda x: x)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_bound_traced_methods_copy_pickle_and_compare():
    net, x = Net(), arr(3, 4)
    want = warm(net.forward, x).array
    assert net.forward == net.forward and len({net.forward, net.forward}) == 1 and net.forward != Net().forward and net.forward != net.plain
    for other in (pickle.loads(pickle.dumps(net.forward)), copy.deepcopy(net.forward)):
        assert other.__self__ is not net and other == other.__self__.forward
        np.testing.assert_allclose(other(x).array, want, rtol=1e-5)
    assert copy.copy(net.forward) == net.forward
    both, bound = copy.deepcopy([net, net.forward])
    assert bound.__self__ is both


@pytest.mark.parametrize("make", [lambda net: net.l1, lambda net: net.plain])
def test_traced_links_and_bound_methods_pickle_by_value(make):
    net, x = Net(), arr(3, 4)
    f = hnn.trace(make(net), mode="verify", max_paths=3)
    want = warm(f, x).array
    g = pickle.loads(pickle.dumps(f))
    np.testing.assert_allclose(warm(g, x).array, want, rtol=1e-5)
    assert g.stats.calls == 8 and g._memory.max_paths == 3 and g.stats.python_skipped == 0


def test_interpreter_shutdown_is_silent():
    text = """
import numpy as np, hybridnn as hnn, hybridnn.functions as F, hybridnn.links as L, threading
net = L.Linear(4, 2)
opt = hnn.optimizers.SGD(0.1).setup(net)
@hnn.trace
def step(x):
    loss = F.sum(F.tanh(net(x)))
    net.cleargrads(); loss.backward(); opt.update()
    return loss
kept = [step(np.ones((3, 4), 'f')) for _ in range(12)]
class Late:
    def __del__(self):
        step(np.ones((3, 4), 'f'))
late = Late()
assert step.stats.python_skipped > 0, step.explain()
print("done")
"""
    got = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=100)
    assert (got.returncode, got.stdout, got.stderr) == (0, "done\n", "")


# ---- beside others who watch

@pytest.mark.parametrize("install", ["settrace", "setprofile"])
def test_foreign_observers_see_every_call(install):
    net, x, seen = Net(), arr(3, 4), []

    def watch(frame, event, arg):
        if event in ("call", "line") and frame.f_code.co_filename == __file__ and frame.f_code.co_name == "plain":
            seen.append(event)
        return watch
    f = hnn.trace(net.plain)
    getter, setter = getattr(sys, install.replace("set", "get")), getattr(sys, install)
    outer = getter()

    def watched(n):
        setter(watch)
        try:
            for _ in range(n):
                f(x)
            return getter()
        finally:
            setter(outer)
    assert watched(6) is watch and seen.count("call") == 6
    warm(f, x)
    assert getter() is outer and f.stats.python_skipped > 0
    skipped = f.stats.python_skipped
    seen.clear()
    assert watched(4) is watch and seen.count("call") == 4
    assert (install == "setprofile" or seen.count("line") >= 4) and f.stats.python_skipped == skipped
    f(x)
    assert f.stats.python_skipped == skipped + 1


def test_tracer_set_inside_the_function_stays():
    """A debugger started by the function itself, while the proof is being gathered."""
    seen = []

    def watch(frame, event, arg):
        seen.append(frame.f_code.co_name)
        return watch
    start = [False]

    def f(x):
        y = F.tanh(x)
        if start[0]:
            sys.settrace(watch)
        return other(y)

    def other(y):
        return y * 2
    outer, traced, x = sys.gettrace(), hnn.trace(f), arr(3)
    traced(x)
    traced(x)
    for _ in range(4):
        start[0] = True
        try:
            y = traced(x)
            assert sys.gettrace() is watch
        finally:
            sys.settrace(outer)
        np.testing.assert_allclose(y.array, np.tanh(x) * 2, rtol=1e-5)
        assert "other" in seen
        seen.clear()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="what one thread stops to watch there, all threads do")
@pytest.mark.parametrize("own", [False, True])
def test_the_librarys_operations_are_computed_unwatched_and_the_programs_own_are_not(own, monkeypatch):
    """While a proof is gathered, CPython asks about every Python function that runs."""
    from hybridnn.core.op import OPS, elementwise
    from hybridnn.trace.observe import Observer
    seen, on_call = [], Observer.on_call

    def noting(self, frame, event, arg):
        seen.append(frame.f_code.co_name)
        return on_call(self, frame, event, arg)
    monkeypatch.setattr(Observer, "on_call", noting)
    try:
        double = elementwise(domain=(-6, 6))(own_double) if own else F.relu
        traced, x, outer = hnn.trace(lambda x: float(F.sum(double(F.tanh(x))))), hnn.Variable(np.ones(3, "f")), sys.gettrace()
        for _ in range(HOT):
            np.testing.assert_allclose(traced(x), 3 * np.tanh(1) * (1 + own), rtol=1e-5)
            assert sys.gettrace() is outer
    finally:
        OPS.pop("own_double", None)
    assert "read" in seen and ("_no_more_needed" in seen) is own
    assert own or traced.stats.python_skipped > 0


def own_double(xp, x):
    return x + x


def test_debugger_steps_into_a_hot_function():
    import io
    import pdb
    net, x = Net(), arr(3, 4)
    f = hnn.trace(net.plain)
    warm(f, x)
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("c\np 'stopped in', x.shape\nc\n"), stdout=out, nosigint=True, readrc=False)
    debugger.set_break(__file__, Net.plain.__code__.co_firstlineno + 1)
    outer = sys.gettrace()
    try:
        debugger.runcall(f, x)
    finally:
        sys.settrace(outer)
        debugger.clear_all_breaks()
    assert "('stopped in', (3, 4))" in out.getvalue()


def test_observer_restores_no_tracer_after_errors():
    def f(x, fail):
        y = F.exp(x)
        if fail:
            raise ValueError("on purpose")
        return y
    traced, x = hnn.trace(f), arr(3)
    for i in range(12):
        before = sys.gettrace()
        if i % 3 == 2:
            with pytest.raises(ValueError, match="on purpose"):
                traced(x, True)
        else:
            traced(x, False)
        assert sys.gettrace() is before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RecursionError, MemoryError])
def test_interruptions_leave_nothing_behind(error):
    when, net, x = [False], Net(), hnn.Variable(arr(3, 4))

    def f(x):
        y = F.tanh(net.l1(x))
        if when[0]:
            raise error
        return F.sum(net.l2(y))
    traced = hnn.trace(f)
    for i in range(15):
        when[0] = i % 4 == 3
        if when[0]:
            with pytest.raises(error):
                traced(x)
        else:
            net.cleargrads()
            got = traced(x)
            got.backward()
            gradient = net.l1.W.grad
            net.cleargrads()
            want = f(x)
            want.backward()
            np.testing.assert_allclose(got.array, want.array, rtol=1e-5)
            np.testing.assert_allclose(gradient, net.l1.W.grad, rtol=1e-5, atol=1e-6)


def test_real_recursion_error_and_recovery():
    @hnn.trace
    def down(x, n):
        return F.tanh(x) if n == 0 else down(x * 0.5, n - 1)
    x = arr(3)
    for _ in range(3):
        with pytest.raises(RecursionError):
            down(x, 100_000)
        np.testing.assert_allclose(down(x, 3).array, np.tanh(x / 8), rtol=1e-5)


def test_alarm_inside_replay():
    """What a signal handler raises anywhere in the replay is raised once, and leaves the function usable."""
    net, x = Net(), arr(3, 4)
    f = hnn.trace(net.plain)
    warm(f, x)
    want = net.plain(x).array

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm
    before, hits = signal.signal(signal.SIGALRM, ring), 0
    gc.disable()        # what strikes in other libraries' callbacks of the collector is lost, traced or not
    try:
        for i in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + i))
                for _ in range(100_000):
                    f(x)
            except Alarm:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert hits == 60
    np.testing.assert_allclose(f(x).array, want, rtol=1e-5)
    with hnn.using_config("trace", "verify"):
        np.testing.assert_allclose(f(x).array, want, rtol=1e-5)
