"""The arithmetic of the hooks."""
from hybridnn.core import OPS, elementwise, operation


def _sqnorm_fine(x):
    wide = OPS["cast"](x, dtype="<f4") if x.dtype == "float16" else x
    return OPS["sum"](wide * wide, axis=None, keepdims=False)


@operation(name="squared_norm", kind="opaque", decompose=_sqnorm_fine,
           samples=lambda rng, dtype: [((rng.normal(size=(2, 3)).astype(dtype),), {})])
def squared_norm(xp, x):
    """The sum of squares as a 0-d array; of float16 in float32, which does not overflow."""
    flat = x.reshape(-1)
    flat = flat.astype("float32") if x.dtype == "float16" else flat
    return flat.dot(flat)


@elementwise(domain=(0.1, 3.0))
def clip_rate(xp, square, threshold):
    """What gradients of squared norm ``square`` are multiplied by so that their norm is at most ``threshold``. NaN stays NaN."""
    norm = xp.sqrt(square)
    small = norm <= threshold
    return xp.where(small, 1.0, threshold / xp.where(small, 1.0, norm))


@elementwise()
def decayed(xp, g, p, rate):
    """g + rate p"""
    return g + rate * p


@elementwise()
def lassoed(xp, g, p, rate):
    """g + rate sign(p)"""
    return g + rate * xp.sign(p)


def _noise_samples(rng, dtype):
    yield (rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(2, 3)), 0.3), {"dtype": dtype}


@elementwise(samples=_noise_samples)
def noisy(xp, g, noise, std, *, dtype):
    """g + std noise"""
    return g + (std * noise).astype(dtype)


@elementwise()
def hard_clipped(xp, g, lower, upper):
    """g between two bounds; NaN stays NaN."""
    return xp.minimum(xp.maximum(g, lower), upper)


@elementwise(domain=(0.1, 2.0))
def lars_scaled(xp, g, p, p_square, g_square, threshold, decay, eps):
    """You et al. 2017 (arXiv 1708.03888), eq. 6: gradient with decay, times the trust ratio if |p| is above ``threshold``."""
    p_norm = xp.sqrt(p_square)
    rate = xp.where(p_norm > threshold, p_norm / (eps + xp.sqrt(g_square) + decay * p_norm), 1.0)
    return (g + decay * p) * rate
