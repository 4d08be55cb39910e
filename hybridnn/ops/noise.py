"""What the noise functions do with numbers that are already drawn."""
import numpy as np

from hybridnn.core.op import elementwise, operation


@elementwise(samples=lambda rng, dtype: [((rng.random((2, 3)), .4), {"dtype": np.dtype(dtype).str})])
def dropout_mask(xp, r, ratio, *, dtype):
    """0 where r < ratio, else 1 / (1 - ratio), in ``dtype`` (no gradient)."""
    return (r >= ratio).astype(dtype) * (1 / (1 - ratio))


@operation(samples=lambda rng, dtype: [((rng.normal(size=(2, 3, 2)).astype(dtype),), {"axis": 1})], surrogate="identity")
def one_hot_largest(xp, x, *, axis):
    """1 at the largest element along an axis, 0 elsewhere; gradient of the identity ("straight through", Bengio et al. 2013)."""
    y = xp.zeros_like(x)
    xp.put_along_axis(y, xp.expand_dims(x.argmax(axis), axis), 1, axis)
    return y


@one_hot_largest.vjp
def _(g):
    return g
