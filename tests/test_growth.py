"""The page on growing costs is made from its numbers, and a point is a measurement of a real step."""

import json

import pytest
from growth import DOCS, SWEEPS, Point, column, conditions, load, measure, page, perceptron, recurrent, table_row

import hybridnn as hnn


def held():
    return json.loads((DOCS / "growth.json").read_text())


def test_the_committed_page_is_made_from_the_committed_numbers():
    assert (DOCS / "growth.md").read_text(encoding="utf-8") == page(held())


def test_every_sweep_was_measured():
    quick = held()["conditions"]["sizes"] == "few"
    for name, sweep in SWEEPS.items():
        rows = column(held()["points"], name)
        assert [value for value, _ in rows] == list(sweep.quick if quick else sweep.values)
        assert all(p.eager_us > 0 and p.traced_us > 0 and p.eager_bytes > 0 and p.traced_bytes > 0 for _, p in rows)


def test_a_point():
    with hnn.using_config("trace_compile", "sync"):
        point = measure("depth", 1, quick=True)
    assert point.eager_us > 0 and point.traced_us > 0
    assert 32 * 64 * 4 < point.eager_bytes < 1 << 20       # the hidden units at least
    assert table_row(1, point).count("|") == 9


@pytest.mark.parametrize("workload, sizes", [(perceptron, {"batch": 4, "width": 8}), (recurrent, {"steps": 3, "units": 8})])
def test_steps_learn(workload, sizes):
    _, call = workload(lambda f: f, **sizes)
    first, *_, last = [float(call()) for _ in range(30)]
    assert last < first


def test_points_of_other_conditions_are_not_reused(tmp_path):
    path = tmp_path / "growth.json"
    assert load(path, conditions(True)) == {}
    path.write_text(json.dumps({"conditions": conditions(True), "points": {"depth 1": vars(Point(1, 1, 1, 1, 1, 1))}}))
    assert list(load(path, conditions(True))) == ["depth 1"]
    assert load(path, conditions(False)) == {}
