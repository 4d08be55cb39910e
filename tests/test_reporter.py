"""Reporting values by name, and means of them."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.reporter import DictSummary, Summary
from hybridnn.serializers import DictionarySerializer, NpzDeserializer


class Thing:
    pass


def test_observers_get_their_names():
    reporter, a, b = hnn.Reporter(), Thing(), Thing()
    reporter.add_observer("a", a)
    reporter.add_observers("a", [("/b", b)])
    with reporter:
        hnn.report({"x": 1}, a)
        hnn.report({"x": 2}, b)
        hnn.report({"x": 3})
    assert reporter.observation == {"a/x": 1, "a/b/x": 2, "x": 3}
    with reporter, pytest.raises(KeyError):
        hnn.report({"x": 1}, Thing())


def test_scopes_nest():
    reporter, outer, inner = hnn.Reporter(), {}, {}
    with reporter.scope(outer):
        hnn.report({"x": 1})
        with hnn.report_scope(inner):
            hnn.report({"x": 2})
        with hnn.Reporter() as other:
            hnn.report({"x": 3})
            assert hnn.get_current_reporter() is other
        hnn.report({"y": 4})
    assert (outer, inner, other.observation) == ({"x": 1, "y": 4}, {"x": 2}, {"x": 3})


def test_nobody_listens():
    hnn.report({"x": 1})
    with pytest.raises(RuntimeError):
        hnn.get_current_reporter()


@pytest.mark.parametrize("keep", [False, True])
def test_graphs_of_reported_values(keep):
    x = hnn.Variable(np.ones(2, "f"))
    with hnn.using_config("keep_graph_on_report", keep), hnn.Reporter() as reporter:
        y = F.sum(x * 2)
        hnn.report({"y": y})
    reported = reporter.observation["y"]
    assert float(reported) == 4
    assert (reported.creator is not None) == keep
    assert y.creator is not None


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_sums_are_in_double_precision(dtype):
    summary = Summary()
    for _ in range(3000):
        summary.add(np.array(300.25, dtype))
    assert summary.compute_mean() == summary.make_statistics()[0] == 300.25
    assert summary.make_statistics()[1] == 0


def test_means_and_deviations():
    summary = Summary()
    for value, weight in ((1.0, 1), (4.0, 2)):
        summary.add(np.array(value), weight)
    mean, std = summary.make_statistics()
    assert summary.compute_mean() == mean == 3
    assert std == pytest.approx(np.std([1, 4, 4]))


def test_dicts_of_means():
    summary = DictSummary()
    summary.add({"a": 1.0, "v": hnn.Variable(np.array(2.0)), "w": (5.0, 3), "array": np.ones(3), "text": "no"})
    summary.add({"a": 3.0, "w": (1.0, 1)})
    assert summary.compute_mean() == {"a": 2, "v": 2, "w": 4}
    statistics = summary.make_statistics()
    assert statistics["a.std"] == 1 and statistics["v"] == 2
    with pytest.raises(ValueError):
        summary.add({"a": (1.0, np.ones(2))})


def test_summaries_are_saved():
    summary, saver = DictSummary(), DictionarySerializer()
    summary.add({"x/y": 1.0, "z": 5.0})
    summary.serialize(saver)
    other = DictSummary()
    other.serialize(NpzDeserializer(saver.target))
    for s in (summary, other):
        s.add({"x/y": 2.0})
    assert other.compute_mean() == summary.compute_mean() == {"x/y": 1.5, "z": 5}
