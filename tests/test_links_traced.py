"""Every link, traced: the same outputs, gradients and statistics as eager, recorded once and replayed. (Most of it nightly.)"""
import link_cases
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import initializers, links

CASES = link_cases.cases(hnn, links, initializers)
LINKS = [name for name in CASES if name not in link_cases.INITIALIZED]
OFTEN = ("BatchNormalization", "SpectralNormalization")     # the others take minutes to compile


def run(name, trace):
    """Four calls with gradients; what they gave, and the traced function."""
    make, call = CASES[name]
    np.random.seed(3)
    link = make()

    def step():
        outputs = link_cases.leaves(call(link))
        losses = [F.sum(y * y) for y in outputs if getattr(y, "requires_grad", False)]
        link.cleargrads()
        if losses:
            sum(losses[1:], losses[0]).backward()
        return outputs
    step = trace(step)
    found = []
    for _ in range(4):
        if hasattr(link, "reset_state"):
            link.reset_state()
        found += [np.array(getattr(y, "array", y)) for y in step()]
        found += [p.grad.copy() for p in link.params() if p.grad is not None]
    return [*found, np.asarray(np.random.random())], step


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.nightly) for n in LINKS])
def test_traced_as_eager(name):
    eager, _ = run(name, lambda f: f)
    with hnn.using_config("trace_compile", "sync"):
        traced, step = run(name, hnn.trace)
    assert len(eager) == len(traced)
    for a, b in zip(eager, traced, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 + 1e-5 * np.abs(a).max(initial=0))
    assert step.stats.recordings <= 2 and step.stats.hits >= 1
