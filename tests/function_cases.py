"""How the tests of public functions are written: a table of cases, each a call and an independent formula for the same."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import hybridnn.functions as F
from hybridnn import Variable
from hybridnn.errors import InvalidType

TOLERANCE = {"float64": 1e-12, "float32": 2e-6}


@dataclass(frozen=True)
class Case:
    """``call(*xs)`` must equal ``formula(*xs)``. ``shapes`` holds a shape (uniform in ``bounds``) or array per operand."""

    name: str
    call: Any
    shapes: tuple
    formula: Any
    bounds: tuple = (-2.0, 2.0)
    note: str = ""

    def inputs(self, dtype):
        rng = np.random.default_rng(zlib.crc32((self.name + self.note).encode()))
        return [s if isinstance(s, np.ndarray) else rng.uniform(*self.bounds, s).astype(dtype) for s in self.shapes]


def case(name, *shapes, formula, bounds=(-2.0, 2.0), note="", **options):
    """``F.<name>(*xs, **options)`` against a formula."""
    return Case(name, lambda *xs: getattr(F, name)(*xs, **options), shapes, formula, bounds, note or str(options))


def several(y):
    return y if isinstance(y, tuple) else (y,)


def check_values(c):
    """On Variables and on arrays, in both precisions: the formula's numbers and shapes, in the operands' dtype."""
    for dtype, tolerance in TOLERANCE.items():
        xs = c.inputs(dtype)
        expected = several(c.formula(*xs))
        floats = [x.dtype for x in xs if x.dtype.kind == "f"]
        for operands in (xs, [Variable(x) for x in xs]):
            ys = several(c.call(*operands))
            assert len(ys) == len(expected)
            for y, e in zip(ys, map(np.asarray, expected), strict=True):
                assert isinstance(y, Variable) and y.shape == e.shape
                assert y.dtype == np.result_type(*floats) if y.dtype.kind == "f" else y.dtype.kind in "ib"
                np.testing.assert_allclose(y.array, e, rtol=tolerance, atol=tolerance * (1 + np.abs(e).max(initial=0)))


def ids(cases):
    return [f"{c.name}-{i}" for i, c in enumerate(cases)]


def check_error(call, name):
    """InvalidType that names the function and says what it expected."""
    with pytest.raises(InvalidType, match=rf"^{name}: expected") as error:
        call()
    assert error.value.expect and isinstance(error.value, (TypeError, ValueError))


def untested(module, cases, elsewhere=()):
    """Public functions of a module that no case calls."""
    return sorted(set(module.__all__) - {c.name for c in cases} - set(elsewhere))
