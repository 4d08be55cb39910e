"""hnn.profile: what it measures, what it leaves as it was, what its files hold."""

import html.parser
import json
import random
import re
import time

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.profile.heap import Heap
from hybridnn.profile.measure import relative_difference


@pytest.fixture(scope="module")
def net_and_step():
    np.random.seed(0)
    net = hnn.Sequential(L.Linear(6, 8), F.tanh, L.Linear(8, 3))
    optimizer = hnn.optimizers.Adam().setup(net)

    @hnn.trace
    def step(x, t):
        loss = F.softmax_cross_entropy(net(x), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    return net, optimizer, step


X, T = np.random.RandomState(0).randn(5, 6).astype("f"), np.array([0, 1, 2, 1, 0], "i")


@pytest.fixture(scope="module")
def report(net_and_step):
    return hnn.profile(net_and_step[2], X, T, repeat=8)


class TestRows:
    def test_there_is_one_for_each_kind(self, report):
        assert [r.name for r in report.rows] == ["eager", "traced"] and report.rows == (report.eager, report.traced)
        assert report.repeat == 8

    def test_times_are_measured(self, report):
        traced = report.traced
        assert 0 < traced.native_seconds < traced.seconds * 10 and traced.python_seconds >= 0
        assert report.eager.seconds > 0 and report.eager.native_seconds is None
        assert report.speedup == report.eager.seconds / traced.seconds

    def test_the_trace_is_described(self, report):
        traced = report.traced
        assert traced.hits == 8 and traced.recordings == 0
        assert traced.steps >= traced.kernels > 0
        assert traced.memory_planned >= traced.memory_lower_bound >= 0
        assert report.eager.memory_peak > 0

    def test_rows_are_frozen(self, report):
        with pytest.raises(AttributeError):
            report.traced.seconds = 0

    def test_results_agree(self, report):
        assert report.agrees and report.difference < 1e-5

    def test_a_slow_function_takes_its_time(self):
        def f(x):
            time.sleep(0.004)
            return x * 2
        report = hnn.profile(f, hnn.Variable(X), repeat=3)
        assert 0.004 < report.eager.seconds < 0.4
        assert report.traced.native_seconds < 0.004       # the sleep is Python's time

    def test_allocations_of_an_eager_call_are_seen(self):
        def f(x):
            return F.sum(x + 1)
        report = hnn.profile(f, np.zeros(1_000_000, "f"), repeat=1)
        assert 4_000_000 <= report.eager.memory_peak < 20_000_000


class TestText:
    def test_table(self, report):
        lines = str(report).splitlines()
        assert lines[0] == "profile of net_and_step.<locals>.step"
        assert lines[1].split()[:3] == ["time", "Python", "native"]
        assert lines[3].startswith("eager ") and lines[4].startswith("traced ")
        assert len({len(line) for line in lines[1:5]}) == 1

    def test_a_difference_is_told(self):
        outside = Outside()
        report = hnn.profile(lambda x: x * float(len(outside)), hnn.Variable(X), repeat=1)
        assert not report.agrees
        assert any(note.startswith("DIFFERENT: result") for note in report.notes)

    def test_a_function_that_cannot_be_replayed_says_why(self):
        @hnn.trace(mode="eager")
        def f(x):
            return x * 2
        report = hnn.profile(f, hnn.Variable(X), repeat=2)
        assert report.traced.hits == 0 and any("no call was replayed" in note for note in report.notes)


class Outside:
    """Counts where no snapshot reaches: in a generator."""

    def __init__(self):
        self.numbers = iter(range(10**9))

    def __len__(self):
        return next(self.numbers)


class TestState:
    def test_parameters_optimizer_and_gradients_are_as_before(self, net_and_step):
        net, optimizer, step = net_and_step
        step(X, T)
        arrays = [(p, p.array, p.array.copy(), p.grad, p.grad.copy()) for p in net.params()]
        t, states = optimizer.t, [{k: np.copy(v) for k, v in p.update_rule.state.items()} for p in net.params()]
        hnn.profile(step, X, T, repeat=2)
        for p, a, values, g, gradient in arrays:
            assert p.array is a and p.grad is g
            np.testing.assert_array_equal(p.array, values)
            np.testing.assert_array_equal(p.grad, gradient)
        assert optimizer.t == t
        for p, state in zip(net.params(), states, strict=True):
            for k, v in state.items():
                np.testing.assert_array_equal(p.update_rule.state[k], v)

    def test_training_goes_on_as_if_nothing_had_been(self):
        def run(profiled):
            np.random.seed(3)
            net = hnn.Sequential(L.Linear(None, 4), F.relu, L.Linear(4, 3))
            optimizer = hnn.optimizers.MomentumSGD(0.1).setup(net)

            def step(x, t):
                loss = F.softmax_cross_entropy(F.dropout(net(x), 0.3), t)
                net.cleargrads()
                loss.backward()
                optimizer.update()
                return loss
            losses = []
            for i in range(6):
                if profiled and i in (0, 3):
                    hnn.profile(step, X, T, repeat=1)
                losses.append(float(step(X, T)))
            return losses
        assert run(True) == run(False)

    def test_lazy_parameters_stay_uninitialized(self):
        net = L.Linear(None, 2)
        hnn.profile(net, X, repeat=1)
        assert net.W.array is None and not net.W.is_initialized

    def test_random_streams(self):
        generator, legacy = np.random.default_rng(5), np.random.RandomState(5)

        def f(x):
            return x * float(generator.random() + legacy.rand() + np.random.rand() + random.random())
        random.seed(1)
        wanted = [np.random.default_rng(5).random(), np.random.RandomState(5).rand()]
        states = np.random.get_state()[1].copy(), random.getstate()
        report = hnn.profile(f, hnn.Variable(X), repeat=2)
        assert report.agrees       # both saw the same draws
        assert [generator.random(), legacy.rand()] == wanted
        np.testing.assert_array_equal(np.random.get_state()[1], states[0])
        assert random.getstate() == states[1]

    def test_python_state_of_all_kinds(self):
        class Model:
            __slots__ = ("count", "seen")

            def __init__(self):
                self.count, self.seen = 0, {1, 2}
        model, log, table, total = Model(), [1], {"a": 1}, 0

        def f(x):
            nonlocal total
            total += 1
            model.count += 1
            model.seen.add(len(log))
            log.append(total)
            table[len(log)] = x
            return x * 2
        hnn.profile(f, hnn.Variable(X), repeat=2)
        assert (total, model.count, model.seen, log, table) == (0, 0, {1, 2}, [1], {"a": 1})

    def test_arguments_changed_in_place(self):
        a = X.copy()

        def f(x):
            a[...] += 1
            x.array[...] *= 2
            return F.sum(x)
        x = hnn.Variable(X.copy())
        report = hnn.profile(f, x, repeat=2)
        np.testing.assert_array_equal(a, X)
        np.testing.assert_array_equal(x.array, X)
        assert report.agrees

    def test_state_comes_back_after_an_error(self):
        log = []

        def f(x):
            log.append(1)
            raise KeyError("mine")
        with pytest.raises(KeyError, match="mine"):
            hnn.profile(f, X)
        assert log == []

    def test_recurrent_state(self):
        np.random.seed(0)
        net = L.LSTM(6, 3)
        net(X)
        h, values = net.h, net.h.array.copy()
        report = hnn.profile(lambda x: F.sum(net(x)), X, repeat=2)
        assert net.h is h and report.agrees
        np.testing.assert_array_equal(net.h.array, values)

    def test_global_names(self):
        global counter
        counter = 5

        def f(x):
            global counter
            counter += 1
            return x * 2
        hnn.profile(f, hnn.Variable(X), repeat=1)
        assert counter == 5

    def test_other_packages_objects_are_left_alone(self, tmp_path):
        with open(tmp_path / "log", "w") as file:
            def f(x):
                file.write("x")
                return x * 2
            hnn.profile(f, hnn.Variable(X), repeat=2)
        assert len((tmp_path / "log").read_text()) > 4        # written for good, as the docstring says


counter = 0


class TestHeap:
    def test_paths_name_what_a_user_sees(self, net_and_step):
        net = net_and_step[0]
        net.cleargrads()
        paths = Heap.of(net=net).visible()
        assert {"net._children[0].W", "net._children[0].b"} <= set(paths)

    def test_shared_and_circular_objects(self):
        a = [1]
        a.append(a)
        heap = Heap.of(a=a, b=a)
        a.append(3)
        heap.restore()
        assert len(a) == 2 and a[1] is a

    def test_changed_names_the_arrays_that_differ(self):
        a, b = np.zeros(3), np.array([np.nan, 1.0])
        heap = Heap.of(a=a, b=b)
        assert heap.changed() == set()
        a[1] = 1
        assert heap.changed() == {"a"}

    @pytest.mark.parametrize("x, y, wanted", [
        ([1.0, 2], [1.0, 2], 0), ([1.0, 2], [1.0, 2.2], 0.1), ([np.nan, 1], [np.nan, 1], 0), ([np.nan, 1], [1, 1], np.inf),
        ([1, 1], [1, np.inf], np.inf), ([np.inf, 1], [np.inf, 1], 0), ([], [], 0),
        ([1e-9, 0], [0, 0], 1e-6), ([3, 4], [3, 4], 0)])
    def test_relative_difference(self, x, y, wanted):
        assert relative_difference(np.array(x), np.array(y)) == pytest.approx(wanted)


class TestFiles:
    def test_chrome_trace(self, report, tmp_path):
        report.to_chrome_trace(tmp_path / "t.json")
        events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
        spans = [e for e in events if e["ph"] == "X"]
        assert {e["ph"] for e in events} == {"M", "X"}
        assert all(e["ts"] >= 0 and e["dur"] >= 0 and {"name", "pid", "tid"} <= set(e) for e in spans)
        calls = {e["cat"]: e for e in spans if e["name"] == "call"}
        assert set(calls) == {"eager", "traced"}
        for e in spans:      # everything lies inside its call
            call = calls[e["cat"]]
            assert call["ts"] - 1e-3 <= e["ts"] and e["ts"] + e["dur"] <= call["ts"] + call["dur"] + 1e-3
        names = {e["name"] for e in spans if e["cat"] == "eager"}
        assert any(n.startswith("tanh") for n in names) and any(n.endswith("backward") for n in names)
        assert any(e["args"].get("steps") for e in spans if e["cat"] == "traced")

    def test_page_is_well_formed_and_needs_nothing_else(self, report, tmp_path):
        report.save(tmp_path / "r.html")
        text = (tmp_path / "r.html").read_text(encoding="utf-8")
        assert not re.search(r"\b(src|href)\s*=|url\(|@import", text)
        parser = Balanced()
        parser.feed(text)
        assert parser.open == [] and {"html", "table", "svg", "pre"} <= parser.seen
        for row in report.cells():
            for cell in row:
                assert f">{cell}</t" in text


class Balanced(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestArguments:
    @pytest.mark.parametrize("repeat", [0, -1, 2.5, True])
    def test_repeat(self, repeat):
        with pytest.raises(ValueError, match="repeat"):
            hnn.profile(lambda: None, repeat=repeat)

    def test_not_a_function(self):
        with pytest.raises(TypeError, match="function"):
            hnn.profile(3)

    def test_methods_links_and_keywords(self):
        class Net(hnn.Chain):
            def __init__(self):
                super().__init__(l=L.Linear(6, 2))

            @hnn.trace
            def forward(self, x, scale=1.0):
                return self.l(x) * scale
        net = Net()
        assert hnn.profile(net.forward, X, scale=2.0, repeat=1).agrees
        assert hnn.profile(net, X, repeat=1).agrees
        assert hnn.profile(hnn.trace(L.Linear(6, 2)), X, repeat=1).agrees
