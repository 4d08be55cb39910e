"""First and second gradients of a composition, along random directions, against central differences in float64."""

import numpy as np
import pytest

import hybridnn as hnn

STEP = 1e-5


def _outputs(function, arrays):
    ys = function(*arrays)
    return ys if isinstance(ys, tuple) else (ys,)


def _project(ys, seeds):
    return sum(float(np.vdot(y.array, s)) for y, s in zip(ys, seeds, strict=True))


def _slope(function, arrays, along):
    ends = [function([x + sign * STEP * d for x, d in zip(arrays, along, strict=True)]) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * STEP)


def _gradients(function, arrays, seeds):
    variables = [hnn.Variable(np.asarray(x)) for x in arrays]
    gs = hnn.grad(_outputs(function, variables), variables, [hnn.Variable(s) for s in seeds], enable_double_backprop=True)
    return variables, gs


def check_gradients(function, *arrays, second=True, tolerance=1e-5):
    """``function`` of float64 arrays, all of which get a gradient; ``second=False`` leaves the second one out."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(x, "float64") for x in arrays]
    seeds = [rng.normal(size=y.shape) for y in _outputs(function, arrays)]
    along, weights = [[rng.normal(size=x.shape) for x in arrays] for _ in range(2)]
    variables, gs = _gradients(function, arrays, seeds)
    assert all(g is not None and g.shape == x.shape for g, x in zip(gs, arrays, strict=True))
    numeric = _slope(lambda moved: _project(_outputs(function, moved), seeds), arrays, along)
    assert _project(gs, along) == pytest.approx(numeric, rel=tolerance, abs=tolerance)
    if second:
        found = hnn.grad(gs, variables, [hnn.Variable(w) for w in weights])
        numeric = _slope(lambda moved: _project(_gradients(function, moved, seeds)[1], weights), arrays, along)
        total = sum(float(np.vdot(g.array, d)) for g, d in zip(found, along, strict=True) if g is not None)
        assert total == pytest.approx(numeric, rel=10 * tolerance, abs=10 * tolerance)
