"""``math.fsum`` and the module ``statistics`` on what a call has computed, and on what it keeps."""
import math
import statistics
from collections import deque

import numpy as np
import pytest
from worlds import MODES, arr, check, check_errors, skipped

import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("body", [
    lambda x, kept: (math.fsum(kept), statistics.mean(kept), statistics.fmean(kept), statistics.median(kept)),
    lambda x, kept: (statistics.pstdev(kept), statistics.stdev([F.max(x).item(), 1.0]), statistics.variance([F.sum(x).item(), 1.0, 2])),
    lambda x, kept: (math.fsum([F.sum(x).item(), F.max(x).item()]), math.fsum(x[0]), statistics.mean(x[:, 0].tolist())),
    lambda x, kept: (math.fsum([1, 2.5]), statistics.median([3, 1, 2]), statistics.mean((1, 2))),
])
@pytest.mark.parametrize("kind", [list, lambda: deque(maxlen=4)])
def test_statistics(mode, body, kind):
    def make(wrap):
        kept = kind()

        def step(x):
            kept.append(F.sum(x * x).item())
            return body(x, kept)
        f = wrap(step)

        def forget():
            kept.clear()
            return f(arr(2, 3))
        unusual = [lambda v=v: f(arr(2, 3) * np.float32(v)) for v in ("nan", "inf")]
        return [kept], [*[lambda k=k: f(arr(2, 3, seed=k)) for k in range(3)], forget, *unusual]
    skipped(check(make, mode, steps=[0, 1, 2] * 6 + [3, 0, 1, 2, 4, 0, 5, 1, 2, 3, 1]), mode, least=4)


@pytest.mark.parametrize("body", [
    lambda x: math.fsum([]), lambda x: statistics.mean([]), lambda x: math.fsum(["a"]), lambda x: statistics.stdev([1.0]), lambda x: math.fsum([1e308, 1e308]),
    lambda x: math.fsum([F.sum(x).item() * 1e308, 1e308]), lambda x: statistics.mode([1, 1, 2]), lambda x: statistics.mean([F.sum(x)]),
])
def test_errors(mode, body):
    check_errors(body, mode, abs(arr(2, 3)) * 9, arr(2, 3) * 0)
