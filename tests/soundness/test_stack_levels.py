"""Warnings and log records that blame the caller of a traced function (``stacklevel=2``), as libraries' deprecations do."""
import functools
import logging
import warnings

import numpy as np
import pytest
from worlds import MODES, arr

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", [*MODES, "eager"])


def old(x, blame):
    if blame:
        warnings.warn("old is deprecated", DeprecationWarning, stacklevel=2)
        logging.getLogger("of this test").warning("old was called", stacklevel=2)
    return F.exp(x) * 2


def helper(x, blame):
    if blame:
        warnings.warn("helper", UserWarning, stacklevel=3)
    return F.exp(x)


def through(x, blame):
    return helper(x, blame)


class Thing:
    def __init__(self, mode):
        self.method = hnn.trace(self.plain, mode=mode)

    def plain(self, x, blame):
        return old_here(x, blame)


def old_here(x, blame):
    if blame:
        warnings.warn("old here", UserWarning, stacklevel=3)
    return F.exp(x)


def blamed(call):
    """Where the warnings of a call lie: (file, line)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(w.filename, w.lineno) for w in caught]


@pytest.mark.parametrize("fn", [old, through, functools.partial(old)], ids=["function", "through a helper", "partial"])
@pytest.mark.parametrize("check", [0.0, 1.0])
def test_the_callers_line(mode, fn, check):
    traced = hnn.trace(fn, mode=mode, check=check)
    for k in range(12):
        here, expected = [blamed(lambda f=f, k=k: f(arr(3), k % 3 != 1)) for f in (traced, fn)]
        assert here == expected and all(name == __file__ for name, _ in here)


def test_methods(mode):
    thing = Thing(mode)
    for _ in range(6):
        assert blamed(lambda: thing.method(arr(3), True)) == blamed(lambda: thing.plain(arr(3), True))


def test_filters_and_once_per_line(mode):
    traced = hnn.trace(old, mode=mode)
    counts = []
    for f in (old, traced):
        globals().pop("__warningregistry__", None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.resetwarnings()
            warnings.filterwarnings("ignore")
            warnings.filterwarnings("default", category=DeprecationWarning, module=__name__)
            for _ in range(5):
                f(arr(3), True)
            f(arr(3), True)
        counts.append(len(caught))
    assert counts == [2, 2]


def test_log_records(mode, caplog):
    traced = hnn.trace(old, mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            np.testing.assert_allclose(traced(arr(3), True).array, old(arr(3), True).array, 1e-6)
    assert {(r.pathname, r.funcName) for r in caplog.records} == {(__file__, "test_log_records")}
