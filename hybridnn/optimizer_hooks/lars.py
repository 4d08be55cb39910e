"""Layer-wise adaptive rate scaling."""
from hybridnn._hyperparameter import PlainFloats
from hybridnn.core import apply, apply_inplace
from hybridnn.optimizer_hooks._ops import lars_scaled, squared_norm

__all__ = ["GradientLARS"]


class GradientLARS(PlainFloats):
    """Scales each parameter's gradient by |p| / (eps + |g| + weight_decay |p|) (You et al. 2017, arXiv 1708.03888).

    Args:
        threshold: parameters whose norm is not above it keep their gradient.
        weight_decay: L2 penalty, which the ratio takes into account.
        eps: added to the denominator.
    """
    name = "GradientLARS"
    call_for_each_param = True
    timing = "pre"

    def __init__(self, threshold=1e-2, weight_decay=0.0, eps=1e-9):
        self.threshold = threshold
        self.weight_decay = weight_decay
        self.eps = eps

    def __call__(self, rule, param):
        g = param.grad_var
        if g is None:
            return
        norms = [apply(squared_norm, (x,)) for x in (param, g)]
        apply_inplace(lars_scaled, (g, param, *norms, self.threshold, self.weight_decay, self.eps), (0,))
