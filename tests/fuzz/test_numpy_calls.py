"""Calls of NumPy's functions and of random generators with any of their options, plain against traced: 150 in the suite;
``python -m pytest -m nightly tests/fuzz`` runs 4,000 new ones.

A call takes arrays that the function has made, that lie outside or that are its argument. Behind it, one of them or the result changes, or the streams go on.
"""
import collections
import functools
import random
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.trace import running, segment
from hybridnn.trace.numpy_functions import is_array_function

QUIET = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))
CALLS = 6
MODULES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft}
FUNCTIONS = sorted(f"{prefix}.{name}" for prefix, module in MODULES.items() for name, fn in vars(module).items()
                   if is_array_function(fn) and not isinstance(fn, type))
STREAMS = {"np.random": np.random, "rng": np.random.default_rng(0), "state": np.random.RandomState(0), "random": random}
NO_DRAWS = {"bytes", "default_rng", "seed", "get_state", "set_state", "spawn", "bit_generator", "getstate", "setstate", "test", "randbytes",
            "get_bit_generator", "set_bit_generator"}
DRAWS = sorted(f"{prefix}.{name}" for prefix, stream in STREAMS.items() for name in dir(stream)
               if name[0].islower() and name not in NO_DRAWS and callable(getattr(stream, name)))
OPERANDS = ["b", "m", "a", "x", "i", "mask", "b[0]", "x[0]", "[b, b]", "(b, a)", "4", "1.5", "b, b", "b, a", "b, 1.5", "b, 2", "b, 0", "b, [0, 1]", "b, (2, 2)",
            "a, 2", "m, b", "m, m", "m, 2", "i, b", "b, i", "b[0], 2.0", "x, b", "mask, b", "mask, b, 0.0", "b, b, b", "b, 0, 1", "b, 1, 9.0", "m, 0, 1",
            "i, (2, 2)", "(2, 2), 1.5", "'i,i->', b, b", "2, 3", "", "0, 10, 4", "b / 5", "[0.2, 0.8]", "2, [0.2, 0.8]", "5, 0.3", "b.tolist(), 2",
            "range(5), 3", "np.zeros(2), np.eye(2)", "np.zeros(2), np.eye(2), 3", "3, 3, 3", "len(x)", "(2, 2)", "int(b[0] * 3) + 2"]

OPTIONS = ["axis=0", "axis=-1", "axis=None", "keepdims=True", "dtype='f'", "dtype=complex", "ddof=1", "out=b", "out=a", "out=np.zeros(4)", "where=mask, out=b",
           "copy=False", "copy=True", "overwrite_input=True", "decimals=1", "initial=2.0", "casting='unsafe'", "order='F'", "kind='stable'", "mode='clip'",
           "return_index=True", "return_counts=True", "return_inverse=True", "k=1", "offset=1", "n=2", "side='right'", "right=True", "ndmin=2",
           "method='nearest'", "weights=b", "minlength=7", "rowvar=False", "full_matrices=False", "hermitian=True", "norm='ortho'", "nan=3.0", "ord=1",
           "returned=True", "endpoint=False", "indexing='ij'", "range=(0, 2)", "bins=3", "axes=(0, 1)", "period=3.0", "size=3", "size=(2, 2)",
           "size=len(x)", "replace=False", "size=2, p=b / b.sum()", "k=2", "shuffle=False, size=2, replace=False", "check_valid='ignore'", "scale=b", "b",
           "a", "np.zeros(4)", "None", "False", "0", "-1"]

AFTERWARDS = ["pass", "b *= 2", "a[0] = 7", "x *= 2", "z = z, np.random.rand(), rng.random(), random.random()", "z = z, F.dropout(hnn.Variable(x), 0.5).array",
              "z[...] = z * 2 if isinstance(z, np.ndarray) and z.ndim else z"]
totals = collections.Counter()


def arrays():
    """Names in the text of a call, when the function runs first."""
    a = np.arange(1, 5.0)
    return {"np": np, "F": F, "hnn": hnn, "random": random, "rng": np.random.default_rng(3), "state": np.random.RandomState(4), "a": a, "i": np.arange(4),
            "mask": np.array([True, False, True, True]), "W": hnn.Parameter(np.ones(4, "f"))}


def is_valid(call):
    """Whether NumPy takes a call."""
    names = arrays()
    names.update(random=random.Random(0), x=np.ones(4, "f"), b=names["a"] * 1, m=np.outer(names["a"], names["a"]) + np.eye(4))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            eval(call, names)
        except Exception:
            return False
    return True


@functools.cache
def operands_of(function):
    """What a function takes."""
    return [given for given in OPERANDS if is_valid(f"{function}({given})")]


@st.composite
def calls(draw):
    function = draw(st.sampled_from(draw(st.sampled_from([FUNCTIONS, DRAWS]))))
    assume(operands_of(function))
    call = f"{function}({', '.join(filter(None, [draw(st.sampled_from(operands_of(function))), draw(st.sampled_from(['', *OPTIONS]))]))})"
    assume(is_valid(call))
    return call, draw(st.sampled_from(AFTERWARDS))


def facts_of(value):
    """What can be seen of a result."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.flags.writeable, value.tobytes() if value.dtype.kind != "O" else repr(value)
    return (type(value).__name__, [facts_of(v) for v in value]) if isinstance(value, (tuple, list)) else (type(value).__name__, repr(value))


def run(call, afterwards, wrap):
    """Facts after each of some calls, and what ``wrap`` has made."""
    names, given, facts = arrays(), np.random.default_rng(0), []
    np.random.seed(7)
    random.seed(7)
    exec(f"def f(x):\n    b = a * 1\n    m = np.outer(b, b) + np.eye(4)\n    z = {call}\n    {afterwards}\n    return F.sum(x * W), b, z", names)
    f = wrap(names["f"])
    for k in range(CALLS):
        x = given.standard_normal(4).astype("f")
        names["a"][...] = np.abs(given.standard_normal(4)) + 0.1
        names["a"][1] = np.nan if k == CALLS - 2 else names["a"][1]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = f(x)[1:]
            except Exception as error:
                found = type(error).__name__, str(error)
            found = facts_of(found)
        facts.append([found, *map(facts_of, (names["a"], names["i"], x)), sorted({str(w.message) for w in caught}), np.random.rand(), random.random(),
                      names["rng"].random(), names["state"].rand()])
    return facts, f


def compare(call, afterwards):
    plain, _ = run(call, afterwards, lambda fn: fn)
    traced, f = run(call, afterwards, hnn.trace)
    assert plain == traced, f"z = {call}; {afterwards}"
    totals.update(calls=1, skipped=f.stats.python_skipped > 0)


@pytest.fixture
def interpreted(monkeypatch):
    """Segments run node by node, and every signature is proved at once."""
    monkeypatch.setattr(segment, "jit_compile", segment.Interpreted)
    monkeypatch.setattr(running, "may_prove", lambda memory, times: True)


@settings(max_examples=150, derandomize=True, **QUIET)
@given(calls())
def test_calls_of_numpy(interpreted, call):
    compare(*call)


def test_calls_are_proved(interpreted):
    """The strategy is no good if its calls run in Python."""
    @settings(max_examples=60, derandomize=True, **QUIET)
    @given(calls())
    def some(call):
        compare(*call)
    totals.clear()
    some()
    assert totals["skipped"] > 15, totals


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=4000, derandomize=False, print_blob=True, **QUIET)
@given(calls())
def test_many_calls_of_numpy(interpreted, call):
    compare(*call)
