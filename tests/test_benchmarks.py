"""The workloads that are timed are workloads: they build, learn, and give the same numbers eager and traced."""

import math

import numpy as np
import pytest
from common import GOALS, WORKLOADS, names_from, reseed
from compare import Measurement, best_peer, geometric_mean, line, ratios, summary
from jit_graphs import overlaps
from more_ours import BUILDERS
from ours import builders

import hybridnn as hnn

SMALL = ("mlp_tiny", "mlp_small", "pinn")


def value(result):
    return np.asarray(getattr(result, "array", result))


def run(name, trace, calls):
    reseed()
    call = builders(trace)[name]()
    return [value(call()).copy() for _ in range(calls)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_runs_eagerly(name):
    result, = run(name, lambda f: f, 1)
    assert result.dtype == np.float32 and np.isfinite(result).all()


@pytest.mark.parametrize("name", SMALL)
def test_a_step_learns(name):
    losses = run(name, lambda f: f, 25)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["chain", "chain_grad", *SMALL])
def test_traced_gives_what_eager_gives(name):
    with hnn.using_config("trace_compile", "sync"):
        traced = run(name, hnn.trace, 8)
    np.testing.assert_allclose(traced, run(name, lambda f: f, 8), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_python_runs_and_memory_is_planned_tightly(name):
    made = []

    def trace(fn):
        made.append(hnn.trace(fn))
        return made[-1]
    with hnn.using_config("trace_compile", "sync"):
        run(name, trace, 6)
    stats, report = made[0].stats, str(made[0].explain())
    assert stats.python_skipped > 0, report
    assert stats.arena_bytes <= 1.05 * stats.arena_lower_bound, report
    assert all(s.executable.memory_bytes <= 1.2 * s.executable.memory_lower_bound for p in made[0]._memory.plans for s in p.segments), report
    assert not [pair for s in made[0]._memory.segments for pair in overlaps(s.executable)]


class TestTheTable:
    ROW = {"torch": Measurement(30.0, 1.0), "jax": Measurement(20.0, 2.0),
           "eager": Measurement(80.0, 0.0), "trace": Measurement(10.0, 0.5)}

    def test_ratios(self):
        assert ratios("pinn", self.ROW) == {"eager/tr": 8.0, "goal/tr": GOALS["pinn"] / 10, "peer/tr": 2.0}
        assert "8.00" in line("pinn", self.ROW)

    def test_a_missing_measurement_is_a_dash(self):
        assert "-" in line("pinn", self.ROW | {"torch": Measurement()})
        assert best_peer(self.ROW | {"jax": Measurement()}) == 30.0
        assert math.isnan(best_peer({"eager": Measurement(1.0)}))

    def test_geometric_mean_leaves_out_what_is_missing(self):
        assert geometric_mean([2.0, math.nan, 8.0]) == (pytest.approx(4.0), 2)
        assert "peer/tr 2.00 (1 of 1)" in summary({"pinn": self.ROW})

    def test_an_unknown_workload_is_refused(self):
        with pytest.raises(SystemExit, match="no workload nope; there are chain"):
            names_from(["nope"])


@pytest.mark.filterwarnings("default")      # as errors, those of what NumPy writes would have to come from the program itself
@pytest.mark.parametrize("name", BUILDERS)
def test_more_workloads_give_what_eager_gives_and_run_no_python(name):
    made = []

    def trace(fn):
        made.append(hnn.trace(fn))
        return made[-1]

    def calls(trace):
        reseed()
        call = BUILDERS[name](trace)
        np.random.seed(1)
        return [value(call()).copy() for _ in range(4)]
    np.testing.assert_allclose(calls(trace), calls(lambda f: f), rtol=1e-4, atol=1e-5)
    assert made[0].stats.python_skipped > 0, str(made[0].explain())
