"""Adafactor: the second moment of a matrix is kept as row and column means, which take little memory."""
import math

import numpy as np

from hybridnn.config import no_backprop_mode
from hybridnn.core import OPS, apply, apply_inplace, elementwise
from hybridnn.optimizer import GradientMethod, HyperparameterProxy, UpdateRule
from hybridnn.optimizers._defaults import defaults, set_given

__all__ = ["Adafactor", "AdafactorRule", "clipped", "factored", "mean_towards", "plain", "stepped"]

_DEFAULTS = defaults(lr=None, eps1=1e-30, eps2=1e-3, clip=1.0, decay=0.8, beta1=None, weight_decay_rate=0.0, scale_parameter=True)


@elementwise("update_adafactor_mean")
def mean_towards(xp, mean, x, beta, rise):
    """beta mean + rise x"""
    return beta * mean + rise * x


@elementwise("update_adafactor_factored", domain=(0.5, 2.0))
def factored(xp, g, row, column, row_mean):
    """g over the root of the second moment row column / mean(row)."""
    return g / (xp.sqrt(row / row_mean) * xp.sqrt(column))


@elementwise("update_adafactor_plain", domain=(0.5, 2.0))
def plain(xp, g, v):
    """g / sqrt(v)"""
    return g / xp.sqrt(v)


@elementwise("update_adafactor_clip", domain=(0.5, 2.0))
def clipped(xp, u, mean_square, threshold):
    """u divided by max(1, RMS(u) / threshold)."""
    return u / xp.maximum(xp.sqrt(mean_square) / threshold, 1.0)


def _step_samples(rng, dtype):
    arrays = [rng.normal(size=(2, 3)).astype(dtype) for _ in range(2)]
    for relative in (True, False):
        yield (*arrays, rng.uniform(.5, 1, ()).astype(dtype), .1, .2, .9), {"dtype": dtype, "relative": relative}


@elementwise("update_adafactor_step", samples=_step_samples)
def stepped(xp, p, u, mean_square, rate, floor, keep, *, dtype, relative):
    """keep p - rate u, with the rate times max(floor, RMS(p)) if ``relative``."""
    size = rate * xp.maximum(xp.sqrt(mean_square), floor) if relative else rate
    return (keep * p - size * u).astype(dtype)


def _mean(x, axes):
    count = math.prod([x.shape[a] for a in axes])
    return apply(OPS["sum"], (x,), {"axis": axes, "keepdims": True}) * (1 / max(count, 1))


class AdafactorRule(UpdateRule):
    """Rule of ``Adafactor``; states ``row`` and ``column`` for two and more axes, else ``v``; ``m`` if beta1 is set."""

    def __init__(self, parent_hyperparam=None, **values):
        super().__init__(parent_hyperparam or _DEFAULTS)
        set_given(self.hyperparam, **values)

    def init_state(self, param):
        shape, xp = param.shape, param.xp
        dtype = np.float64 if param.dtype == np.float64 else np.float32
        if len(shape) >= 2:
            self._state["row"] = xp.zeros((*shape[:-1], 1), dtype)
            self._state["column"] = xp.zeros((*shape[:-2], 1, shape[-1]), dtype)
        else:
            self._state["v"] = xp.zeros(shape, dtype)
        if self.hyperparam.beta1 is not None:
            self._state["m"] = xp.zeros(shape, dtype)

    def update_core(self, param):
        g = param.grad_var
        if g is None or param.size == 0:
            return
        with no_backprop_mode():
            g, p = (apply(OPS["cast"], (x,), {"dtype": "<f4"}) if x.dtype == np.float16 else x for x in (g, param))
            self._step(param, p, self._direction(g))

    def _direction(self, g):
        """The clipped, preconditioned gradient, or its running mean (algorithm 4)."""
        hp = self.hyperparam
        beta = 1.0 - self.t ** -hp.decay
        u = self._preconditioned(g, g * g + hp.eps1, beta)
        u = apply(clipped, (u, _mean(u * u, tuple(range(u.ndim))), hp.clip))
        if hp.beta1 is None:
            return u
        apply_inplace(mean_towards, (self._state["m"], u, hp.beta1, 1.0 - hp.beta1), (0,))
        return self._state["m"]

    def _preconditioned(self, g, square, beta):
        state = self._state
        if "v" in state:
            apply_inplace(mean_towards, (state["v"], square, beta, 1.0 - beta), (0,))
            return apply(plain, (g, state["v"]))
        for name, axis in (("row", g.ndim - 1), ("column", g.ndim - 2)):
            apply_inplace(mean_towards, (state[name], _mean(square, (axis,)), beta, 1.0 - beta), (0,))
        return apply(factored, (g, state["row"], state["column"], _mean(state["row"], (g.ndim - 2,))))

    def _step(self, param, p, u):
        hp = self.hyperparam
        rate = min(1e-2, 1.0 / math.sqrt(self.t)) if hp.lr is None else hp.lr
        keep = 1.0 - rate * hp.weight_decay_rate
        relative = bool(hp.scale_parameter)
        scale = _mean(p * p, tuple(range(p.ndim))) if relative else 1.0
        apply_inplace(stepped, (param, u, scale, rate, hp.eps2, keep), (0,), {"dtype": param.dtype.str, "relative": relative})


class Adafactor(GradientMethod):
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5).

    Args:
        lr: learning rate; None: min(0.01, 1 / sqrt(t)).
        eps1: added to squared gradients.
        eps2: smallest RMS of a parameter that scales its step.
        clip: largest RMS of the preconditioned gradient.
        decay: the second moment's decay at update t is 1 - t^-decay.
        beta1: decay of a running mean of the steps; None: no such mean (and no memory for it).
        weight_decay_rate: p shrinks by the factor 1 - rate weight_decay_rate per step.
        scale_parameter: multiply the step by max(eps2, RMS(p)).
    """
    lr = HyperparameterProxy("lr")
    eps1 = HyperparameterProxy("eps1")
    eps2 = HyperparameterProxy("eps2")
    clip = HyperparameterProxy("clip")
    decay = HyperparameterProxy("decay")
    beta1 = HyperparameterProxy("beta1")
    weight_decay_rate = HyperparameterProxy("weight_decay_rate")
    scale_parameter = HyperparameterProxy("scale_parameter")

    def __init__(self, lr=None, eps1=1e-30, eps2=1e-3, clip=1.0, decay=0.8, beta1=None, weight_decay_rate=0.0,
                 scale_parameter=True):
        super().__init__()
        self.hyperparam.lr, self.hyperparam.beta1 = lr, beta1
        set_given(self.hyperparam, eps1=eps1, eps2=eps2, clip=clip, decay=decay, weight_decay_rate=weight_decay_rate,
                  scale_parameter=scale_parameter)

    def create_update_rule(self):
        return AdafactorRule(self.hyperparam)
