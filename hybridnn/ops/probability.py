"""What probability distributions need beside mathematics that has other uses."""
import numpy as np

from hybridnn.core.arithmetic import log, where
from hybridnn.core.op import elementwise, operation
from hybridnn.ops.activation import sigmoid


@elementwise(domain=(.1, 2.0))
def xlogx(xp, x):
    """x log(x), and 0 at 0, where the gradient, which is infinite, is taken as 0 (with NumPy's warning)."""
    return x * xp.log(xp.where(x > 0, x, 1))


@xlogx.vjp
def _(g, x):
    return where(x == 0, 0, g * (log(x) + 1))


@elementwise(samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype), rng.integers(0, 2, (2, 3)).astype(dtype)), {})])
def bernoulli_log_prob(xp, logit, x):
    """x log(p) + (1 - x) log(1 - p) where ``logit`` is log(p / (1 - p)); if that is infinite, log of x or of 1 - x."""
    infinite = abs(logit) == np.inf
    finite = xp.where(infinite, 0, logit)
    limit = xp.log(xp.where(infinite, xp.where(logit > 0, x, 1 - x), 1))
    return xp.where(infinite, limit, x * finite - (xp.maximum(finite, 0) + xp.log1p(xp.exp(-abs(finite)))))


@bernoulli_log_prob.vjp_of("logit")
def _(g, logit, x):
    return g * (x - sigmoid(logit))


@bernoulli_log_prob.vjp_of("x")
def _(g, logit):
    return g * logit


@operation(samples=lambda rng, dtype: [((rng.dirichlet(np.ones(4), (2, 3)).astype(dtype), rng.random((5, 2, 3))), {})])
def pick(xp, p, u):
    """For rows p (..., k) of weights and numbers u (n, ...) in [0, 1): the first category that the cumulative share exceeds u at."""
    k, rows = p.shape[-1], p[..., 0].size
    shares = p.reshape(rows, k).astype("float64").cumsum(1)
    row = xp.arange(rows)
    # All rows in one search: each lies in an interval of its own, from its number to the next.
    flat = (shares / shares[:, -1:] + row[:, None]).reshape(-1)
    at = xp.minimum(u.reshape(len(u), rows) + row, xp.nextafter(row + 1., 0))
    return (xp.searchsorted(flat, at, side="right") - row * k).reshape(u.shape)
