"""The arithmetic of every update rule, one elementwise op each: (parameter, gradient, states, numbers) -> (parameter, states).

Numbers that change from step to step are operands. ``wide``: parameter and gradient are float16, everything else,
the states too, is float32; a second moment would underflow in float16.
"""
import functools

import numpy as np

from hybridnn._update_rule import update_blocks
from hybridnn.core import elementwise


def rule(n_states):
    """Declare a rule's body, which is given its parameter, gradient and ``n_states`` states before the numbers."""
    def declare(body):
        @functools.wraps(body)
        def forward(xp, *operands, wide):
            if not wide:
                return body(xp, *operands)
            p, g, *rest = operands
            p, *states = body(xp, p.astype("float32"), g.astype("float32"), *rest)
            return (p.astype("float16"), *states)
        op = elementwise(f"update_{body.__name__}", multi=True, samples=_samples(body, n_states))(forward)
        op.run_inplace = functools.partial(_run_inplace, op, 2 + n_states)
        return op
    return declare


def _run_inplace(op, n, operands, attrs):
    update_blocks(op, operands[:n], operands[n:], attrs)


def _samples(body, n_states):
    """Positive states and numbers, so that every rule is defined on them."""
    count = body.__code__.co_argcount - 3 - n_states

    def samples(rng, dtype):
        pair = [rng.normal(size=(2, 3)).astype(dtype) for _ in range(2)]
        wide = np.dtype(dtype) == np.float16
        states = [rng.uniform(.5, 1, (2, 3)).astype("float32" if wide else dtype) for _ in range(n_states)]
        yield (*pair, *states, *[.25 + .05 * i for i in range(count)]), {"wide": wide}
    return samples


@rule(0)
def sgd(xp, p, g, lr):
    """p - lr g"""
    return (p - lr * g,)


def _sgd_inplace(p, g, lr):
    p -= lr * g


@rule(1)
def momentum(xp, p, g, v, lr, mu):
    """Polyak 1964: v = mu v - lr g."""
    v = mu * v - lr * g
    return p + v, v


def _momentum_inplace(p, g, v, lr, mu):
    v *= mu
    v -= lr * g
    p += v


@rule(1)
def corrected_momentum(xp, p, g, v, lr, mu):
    """v = mu v - g, p + lr v: a change of lr acts on the whole velocity at once."""
    v = mu * v - g
    return p + lr * v, v


@rule(1)
def nesterov(xp, p, g, v, lr, mu, mu2, lead):
    """Bengio et al. 2012 (arXiv 1212.0901), eq. 7; ``mu2`` = mu^2, ``lead`` = (1 + mu) lr."""
    v = mu * v - lr * g
    return p + mu2 * v - lead * g, v


@rule(1)
def adagrad(xp, p, g, h, lr, eps):
    """Duchi et al. 2011, figure 1: h collects squared gradients."""
    h = h + g * g
    return p - lr * g / (xp.sqrt(h) + eps), h


@rule(2)
def adadelta(xp, p, g, msg, msdx, rho, one_minus_rho, eps):
    """Zeiler 2012 (arXiv 1212.5701), algorithm 1."""
    msg = rho * msg + one_minus_rho * g * g
    dx = xp.sqrt((msdx + eps) / (msg + eps)) * g
    return p - dx, msg, rho * msdx + one_minus_rho * dx * dx


@rule(1)
def rmsprop(xp, p, g, ms, lr, alpha, one_minus_alpha, eps):
    """Tieleman and Hinton 2012, lecture 6.5."""
    ms = alpha * ms + one_minus_alpha * g * g
    return p - lr * g / (xp.sqrt(ms) + eps), ms


@rule(1)
def rmsprop_inside(xp, p, g, ms, lr, alpha, one_minus_alpha, eps):
    """The same with eps under the root."""
    ms = alpha * ms + one_minus_alpha * g * g
    return p - lr * g / xp.sqrt(ms + eps), ms


@rule(3)
def rmsprop_graves(xp, p, g, n, m, delta, lr, alpha, one_minus_alpha, mu, eps):
    """Graves 2013 (arXiv 1308.0850), eqs. 38-41."""
    n = alpha * n + one_minus_alpha * g * g
    m = alpha * m + one_minus_alpha * g
    delta = mu * delta - lr * g / xp.sqrt(n - m * m + eps)
    return p + delta, n, m, delta


@rule(3)
def smorms3(xp, p, g, mem, m, m2, lr, eps):
    """Funk 2015, RMSprop loses to SMORMS3: the memory adapts to the signal-to-noise ratio x."""
    r = 1 / (mem + 1)
    m = (1 - r) * m + r * g
    m2 = (1 - r) * m2 + r * g * g
    x = m * m / (m2 + eps)
    return p - g * xp.minimum(x, lr) / (xp.sqrt(m2) + eps), 1 + mem * (1 - x), m, m2


def _moments(g, m, v, rise1, rise2):
    return m + rise1 * (g - m), v + rise2 * (g * g - v)


@rule(2)
def adam(xp, p, g, m, v, alpha_t, rise1, rise2, eps, eta, keep):
    """Kingma and Ba 2015 (arXiv 1412.6980), end of section 2; decoupled decay of arXiv 1711.05101, algorithm 2.

    ``alpha_t`` holds the bias corrections, ``rise`` = 1 - beta, ``keep`` = 1 - eta weight_decay_rate.
    """
    m, v = _moments(g, m, v, rise1, rise2)
    return keep * p - eta * (alpha_t / (xp.sqrt(v) + eps) * m), m, v


def _adam_inplace(p, g, m, v, alpha_t, rise1, rise2, eps, eta, keep):
    t = np.subtract(g, m, out=np.empty(g.shape, g.dtype))
    t *= rise1
    m += t
    np.multiply(g, g, out=t)
    t -= v
    t *= rise2
    v += t
    np.sqrt(v, out=t)
    t += eps
    np.divide(alpha_t, t, out=t)
    t *= m
    # A factor of one changes no bit.
    if eta != 1:
        t *= eta
    if keep != 1:
        p *= keep
    p -= t


@rule(3)
def amsgrad(xp, p, g, m, v, vhat, alpha_t, rise1, rise2, eps, eta, keep):
    """Reddi et al. 2018 (arXiv 1904.09237), algorithm 2."""
    m, v = _moments(g, m, v, rise1, rise2)
    vhat = xp.maximum(vhat, v)
    return keep * p - eta * (alpha_t / (xp.sqrt(vhat) + eps) * m), m, v, vhat


@rule(2)
def adabound(xp, p, g, m, v, alpha_t, rise1, rise2, eps, eta, keep, lower, upper):
    """Luo et al. 2019 (arXiv 1902.09843), algorithm 2."""
    m, v = _moments(g, m, v, rise1, rise2)
    step = xp.minimum(xp.maximum(alpha_t / (xp.sqrt(v) + eps), lower), upper)
    return keep * p - eta * (step * m), m, v


@rule(3)
def amsbound(xp, p, g, m, v, vhat, alpha_t, rise1, rise2, eps, eta, keep, lower, upper):
    """Luo et al. 2019 (arXiv 1902.09843), algorithm 3."""
    m, v = _moments(g, m, v, rise1, rise2)
    vhat = xp.maximum(vhat, v)
    step = xp.minimum(xp.maximum(alpha_t / (xp.sqrt(vhat) + eps), lower), upper)
    return keep * p - eta * (step * m), m, v, vhat


@rule(2)
def msvag(xp, p, g, m, v, lr, rise, eta, decay, unbias, rho):
    """Balles and Hennig 2018 (arXiv 1705.07774), algorithm 1; ``unbias`` = 1 - beta^t, ``decay`` the weight decay rate."""
    m, v = _moments(g, m, v, rise, rise)
    mt = m / unbias
    square = mt * mt
    total = square + rho * ((v / unbias - square) / (1 - rho))
    factor = xp.minimum(xp.maximum(square / xp.where(total == 0, 1.0, total), 0.0), 1.0)
    return p - eta * (lr * mt * factor + decay * p), m, v


@rule(1)
def lion(xp, p, g, m, lr, beta1, rise1, beta2, rise2, keep):
    """Chen et al. 2023 (arXiv 2302.06675), algorithm 2; ``keep`` = 1 - lr weight_decay_rate."""
    direction = xp.sign(beta1 * m + rise1 * g)
    return keep * p - lr * direction, beta2 * m + rise2 * g


# Hand-written versions for eager NumPy: the same operations in the same order, without temporaries.
sgd.inplace, momentum.inplace, adam.inplace = _sgd_inplace, _momentum_inplace, _adam_inplace
