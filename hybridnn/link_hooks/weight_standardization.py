"""``WeightStandardization`` (Qiao et al. 2019)."""
from hybridnn import functions as F
from hybridnn.link_hooks.weight_hook import WeightHook

__all__ = ["WeightStandardization"]


class WeightStandardization(WeightHook):
    """Standardises the weights of each output to mean 0 and variance 1.

    Args:
        eps: added to variances.
        weight_name: attribute of the weight.
        name: the hook's name.
    """
    name = "WeightStandardization"

    def __init__(self, *, eps=1e-5, weight_name="W", name=None):
        super().__init__(weight_name, name)
        self.eps = eps

    def new_weight(self, link, W):
        n = W.shape[1]
        return F.group_normalization(W, 1, link.xp.ones(n, W.dtype), link.xp.zeros(n, W.dtype), self.eps)
