"""Noise on gradients."""
from hybridnn._hyperparameter import PlainFloats
from hybridnn.backend import there
from hybridnn.core import OPS, apply_inplace
from hybridnn.core.random import draw
from hybridnn.optimizer_hooks._ops import noisy

__all__ = ["GradientNoise", "exponential_decay_noise"]


def exponential_decay_noise(xp, shape, dtype, hook, opt):
    """Normal noise of variance eta / (1 + t)^0.55 (Neelakantan et al. 2015, arXiv 1511.06807, section 3)."""
    return (_std(hook, opt) * xp.asarray(draw("standard_normal", shape))).astype(dtype)


def _std(hook, opt):
    return (hook.eta / (1 + opt.t) ** 0.55) ** 0.5


class GradientNoise(PlainFloats):
    """Adds noise to gradients.

    Args:
        eta: scale of the variance.
        noise_func: ``noise_func(xp, shape, dtype, hook, rule)`` returns an array of noise.
    """
    name = "GradientNoise"
    call_for_each_param = True
    timing = "pre"

    def __init__(self, eta, noise_func=exponential_decay_noise):
        self.eta = eta
        self.noise_func = noise_func

    def __call__(self, rule, param):
        g = param.grad_var
        if g is None:
            return
        if self.noise_func is exponential_decay_noise:
            # The same numbers, with the drawn array as an operand, so that a trace can draw anew.
            apply_inplace(noisy, (g, draw("standard_normal", g.shape, near=g), _std(self, rule)), (0,), {"dtype": g.dtype.str})
        else:
            with there(g):
                noise = self.noise_func(param.xp, g.shape, g.dtype, self, rule)
            apply_inplace(OPS["add"], (g, noise), (0,))
