"""Gradient clipping: by the norm over all parameters, or element by element."""
import math

from hybridnn._hyperparameter import PlainFloats
from hybridnn.core import OPS, apply, apply_inplace
from hybridnn.optimizer_hooks._ops import clip_rate, hard_clipped, squared_norm

__all__ = ["GradientClipping", "GradientHardClipping"]


class GradientClipping(PlainFloats):
    """Scales all gradients so that their joint L2 norm is at most ``threshold``.

    Args:
        threshold: largest norm.
    """
    name = "GradientClipping"
    timing = "pre"

    def __init__(self, threshold):
        self.threshold = threshold

    def __call__(self, opt):
        grads = [g for g in [param.grad_var for param in opt.target.params(False)] if g is not None]
        if not grads:
            return
        total = apply(squared_norm, (grads[0],))
        for g in grads[1:]:
            total = total + apply(squared_norm, (g,))
        rate = apply(clip_rate, (total, self.threshold))
        for g in grads:
            factor = rate if rate.dtype == g.dtype else apply(OPS["cast"], (rate,), {"dtype": g.dtype.str})
            apply_inplace(OPS["mul"], (g, factor), (0,))


class GradientHardClipping(PlainFloats):
    """Clips every element of a gradient to the interval from ``lower_bound`` to ``upper_bound``; None is no bound."""
    name = "GradientHardClipping"
    call_for_each_param = True
    timing = "pre"

    def __init__(self, lower_bound, upper_bound):
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def __call__(self, rule, param):
        g = param.grad_var
        if g is not None:
            lower, upper = self.lower_bound, self.upper_bound
            apply_inplace(hard_clipped, (g, -math.inf if lower is None else lower, math.inf if upper is None else upper), (0,))
