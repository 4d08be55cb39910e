"""Weight decay and lasso: gradients of penalties, added to the gradient."""
from hybridnn._hyperparameter import PlainFloats
from hybridnn.core import apply_inplace
from hybridnn.optimizer_hooks._ops import decayed, lassoed

__all__ = ["Lasso", "WeightDecay", "loss_scale_of"]


def loss_scale_of(param):
    """The loss scale that the gradient of ``param`` still carries, or None."""
    scale = None if param._tape is None else param._tape.loss_scale
    return getattr(param, "_loss_scale", None) if scale is None else scale


class WeightDecay(PlainFloats):
    """Adds ``rate`` times the parameter to its gradient (an L2 penalty). Under loss scaling the rate is scaled like the gradient.

    Args:
        rate: coefficient.
    """
    name = "WeightDecay"
    call_for_each_param = True
    timing = "pre"

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, rule, param):
        g = param.grad_var
        if g is None:
            return
        scale = loss_scale_of(param)
        apply_inplace(decayed, (g, param, self.rate if scale is None else self.rate * scale), (0,))


class Lasso(PlainFloats):
    """Adds ``rate`` times the sign of the parameter to its gradient (an L1 penalty).

    Args:
        rate: coefficient.
    """
    name = "Lasso"
    call_for_each_param = True
    timing = "pre"

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, rule, param):
        g = param.grad_var
        if g is not None:
            apply_inplace(lassoed, (g, param, self.rate), (0,))
