"""Adam and its variants: decoupled weight decay, AMSGrad, AdaBound, AMSBound."""
import math

from hybridnn.config import warn
from hybridnn.optimizer import GradientMethod, HyperparameterProxy, OpRule
from hybridnn.optimizers import _ops
from hybridnn.optimizers._defaults import check_eps, defaults, set_given

__all__ = ["AMSBound", "AMSGrad", "AdaBound", "Adam", "AdamRule", "AdamW"]

_DEFAULTS = defaults(alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, eta=1.0, weight_decay_rate=0, amsgrad=False, adabound=False,
                     final_lr=0.1, gamma=1e-3)
_OPS = {(False, False): _ops.adam, (True, False): _ops.amsgrad, (False, True): _ops.adabound, (True, True): _ops.amsbound}


def _alpha_t(hp, t):
    """The learning rate of update number t with both bias corrections (Kingma and Ba 2015, section 2)."""
    return _rate(hp.alpha, hp.beta1, hp.beta2, t)


def _rate(alpha, beta1, beta2, t):
    if t == 0:
        raise RuntimeError("Adam's learning rate alpha_t depends on the number of updates, and there has been none yet")
    return alpha * math.sqrt(1.0 - math.pow(beta2, t)) / (1.0 - math.pow(beta1, t))


def _renamed(owner):
    warn(f"{owner}.lr is deprecated: it is called alpha_t", DeprecationWarning, stacklevel=3)


class AdamRule(OpRule):
    """Rule of ``Adam`` and its variants; states ``m``, ``v`` and for AMSGrad ``vhat``."""

    def __init__(self, parent_hyperparam=None, alpha=None, beta1=None, beta2=None, eps=None, eta=None, weight_decay_rate=None,
                 amsgrad=None, adabound=None, final_lr=None, gamma=None):
        super().__init__(parent_hyperparam or _DEFAULTS)
        hp = set_given(self.hyperparam, alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, amsgrad=amsgrad,
                       weight_decay_rate=weight_decay_rate, adabound=adabound, final_lr=final_lr, gamma=gamma)
        if hp.adabound:
            self.initial_alpha = hp.alpha

    @property
    def op(self):
        hp = self.hyperparam
        return _OPS[bool(hp.amsgrad), bool(hp.adabound)]

    @property
    def slots(self):
        return ("m", "v", "vhat") if self.hyperparam.amsgrad else ("m", "v")

    def numbers(self, param):
        hp = self.hyperparam.get_dict()
        eps, eta, beta1, beta2 = hp["eps"], hp["eta"], hp["beta1"], hp["beta2"]
        check_eps("Adam", eps, param.dtype)
        common = _rate(hp["alpha"], beta1, beta2, self.t), 1.0 - beta1, 1.0 - beta2, eps, eta, 1.0 - eta * hp["weight_decay_rate"]
        return (*common, *self.bounds) if hp["adabound"] else common

    @property
    def alpha_t(self):
        """The learning rate of the current update, with both bias corrections."""
        return _alpha_t(self.hyperparam, self.t)

    @property
    def lr(self):
        """Deprecated name of ``alpha_t``."""
        _renamed("AdamRule")
        return self.alpha_t

    @property
    def bounds(self):
        """AdaBound's lower and upper bound of the step size at the current update; they follow a change of ``alpha``."""
        if self.t == 0:
            raise RuntimeError("AdaBound's bounds depend on the number of updates, and there has been none yet")
        hp = self.hyperparam
        final, x = hp.final_lr * hp.alpha / self.initial_alpha, hp.gamma * self.t
        return final * (1.0 - 1.0 / (x + 1)), final * (1.0 + 1.0 / x)


class Adam(GradientMethod):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980), with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).

    Args:
        alpha: learning rate.
        beta1, beta2: decay of the first and second moment.
        eps: added to the root of the second moment.
        eta: schedule multiplier of step and decay.
        weight_decay_rate: p shrinks by the factor 1 - eta weight_decay_rate per step.
        amsgrad: keep the maximum of the second moment (Reddi et al. 2018).
        adabound: bound the step size (Luo et al. 2019); ``final_lr`` is where the bounds meet and ``gamma`` how fast they do.
    """

    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, eta=1.0, weight_decay_rate=0, amsgrad=False, adabound=False,
                 final_lr=0.1, gamma=1e-3):
        super().__init__()
        set_given(self.hyperparam, alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, weight_decay_rate=weight_decay_rate,
                  amsgrad=amsgrad, adabound=adabound, final_lr=final_lr, gamma=gamma)

    alpha = HyperparameterProxy("alpha")
    beta1 = HyperparameterProxy("beta1")
    beta2 = HyperparameterProxy("beta2")
    eps = HyperparameterProxy("eps")
    eta = HyperparameterProxy("eta")
    weight_decay_rate = HyperparameterProxy("weight_decay_rate")
    amsgrad = HyperparameterProxy("amsgrad")
    adabound = HyperparameterProxy("adabound")
    final_lr = HyperparameterProxy("final_lr")
    gamma = HyperparameterProxy("gamma")

    def create_update_rule(self):
        return AdamRule(self.hyperparam)

    @property
    def alpha_t(self):
        """The learning rate of the last update, with both bias corrections."""
        return _alpha_t(self.hyperparam, self.t)

    @property
    def lr(self):
        """Deprecated name of ``alpha_t``."""
        _renamed("Adam")
        return self.alpha_t

    @lr.setter
    def lr(self, value):
        raise AttributeError(f"{type(self).__name__}.lr cannot be set\n  hint: the learning rate of {type(self).__name__} is called alpha")


class AdamW(Adam):
    """Adam with its decoupled decay in the signature; ``weight_decay_rate`` is Chainer's default 0 unless you set it."""

    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, eta=1.0, weight_decay_rate=0):
        super().__init__(alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, weight_decay_rate=weight_decay_rate)


class AMSGrad(Adam):
    """Adam with the maximum of the second moment (Reddi et al. 2018, arXiv 1904.09237)."""

    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8, eta=1.0):
        super().__init__(alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, amsgrad=True)


class AdaBound(Adam):
    """Adam with bounds that turn it into SGD (Luo et al. 2019, arXiv 1902.09843)."""

    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, final_lr=0.1, gamma=1e-3, eps=1e-8, eta=1.0):
        super().__init__(alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, adabound=True, final_lr=final_lr, gamma=gamma)


class AMSBound(Adam):
    """AdaBound with the maximum of the second moment (Luo et al. 2019, arXiv 1902.09843)."""

    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, final_lr=0.1, gamma=1e-3, eps=1e-8, eta=1.0):
        super().__init__(alpha=alpha, beta1=beta1, beta2=beta2, eps=eps, eta=eta, amsgrad=True, adabound=True, final_lr=final_lr,
                         gamma=gamma)
