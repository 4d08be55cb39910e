"""What tests of functions against formulas share: operands, and the comparison."""
from collections.abc import Callable

import numpy as np


def normals(rng: np.random.Generator) -> Callable:
    """``normal(*shape)``: the generator's next numbers from the normal distribution."""
    return lambda *shape, dtype="float64": rng.normal(size=shape).astype(dtype)


def close(y, expected, rtol=1e-9, atol=1e-10):
    """A Variable holds what the formula gives."""
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.array, expected, rtol=rtol, atol=atol)
