"""Optimizers with a step size per element: AdaGrad, AdaDelta, RMSprop and its kin, MSVAG, Lion."""
from hybridnn.optimizer import GradientMethod, HyperparameterProxy, OpRule
from hybridnn.optimizers import _ops
from hybridnn.optimizers._defaults import check_eps, defaults, set_given

__all__ = ["MSVAG", "SMORMS3", "AdaDelta", "AdaDeltaRule", "AdaGrad", "AdaGradRule", "Lion", "LionRule", "MSVAGRule", "RMSprop",
           "RMSpropGraves", "RMSpropGravesRule", "RMSpropRule", "SMORMS3Rule"]

_ADAGRAD = defaults(lr=0.001, eps=1e-8)
_ADADELTA = defaults(rho=0.95, eps=1e-6)
_RMSPROP = defaults(lr=0.01, alpha=0.99, eps=1e-8, eps_inside_sqrt=False)
_GRAVES = defaults(lr=1e-4, alpha=0.95, momentum=0.9, eps=1e-4)
_SMORMS3 = defaults(lr=0.001, eps=1e-16)
_MSVAG = defaults(lr=0.1, beta=0.9, eta=1.0, weight_decay_rate=0)
_LION = defaults(lr=1e-4, beta1=0.9, beta2=0.99, weight_decay_rate=0.0)


class AdaGradRule(OpRule):
    """Rule of ``AdaGrad``; state ``h`` sums squared gradients."""
    op = _ops.adagrad
    slots = ("h",)

    def __init__(self, parent_hyperparam=None, lr=None, eps=None):
        super().__init__(parent_hyperparam or _ADAGRAD)
        set_given(self.hyperparam, lr=lr, eps=eps)

    def numbers(self, param):
        hp = self.hyperparam
        return hp.lr, hp.eps


class AdaGrad(GradientMethod):
    """AdaGrad (Duchi et al. 2011).

    Args:
        lr: learning rate.
        eps: added to the root.
    """
    lr = HyperparameterProxy("lr")
    eps = HyperparameterProxy("eps")

    def __init__(self, lr=0.001, eps=1e-8):
        super().__init__()
        set_given(self.hyperparam, lr=lr, eps=eps)

    def create_update_rule(self):
        return AdaGradRule(self.hyperparam)


class AdaDeltaRule(OpRule):
    """Rule of ``AdaDelta``; states ``msg`` and ``msdx`` are mean squares of gradients and steps."""
    op = _ops.adadelta
    slots = ("msg", "msdx")

    def __init__(self, parent_hyperparam=None, rho=None, eps=None):
        super().__init__(parent_hyperparam or _ADADELTA)
        set_given(self.hyperparam, rho=rho, eps=eps)

    def numbers(self, param):
        hp = self.hyperparam
        return hp.rho, 1 - hp.rho, hp.eps


class AdaDelta(GradientMethod):
    """AdaDelta (Zeiler 2012, arXiv 1212.5701).

    Args:
        rho: decay of the mean squares.
        eps: added to both mean squares.
    """
    rho = HyperparameterProxy("rho")
    eps = HyperparameterProxy("eps")

    def __init__(self, rho=0.95, eps=1e-6):
        super().__init__()
        set_given(self.hyperparam, rho=rho, eps=eps)

    def create_update_rule(self):
        return AdaDeltaRule(self.hyperparam)


class RMSpropRule(OpRule):
    """Rule of ``RMSprop``; state ``ms`` is the mean square of the gradient."""
    slots = ("ms",)

    def __init__(self, parent_hyperparam=None, lr=None, alpha=None, eps=None, eps_inside_sqrt=None):
        super().__init__(parent_hyperparam or _RMSPROP)
        set_given(self.hyperparam, lr=lr, alpha=alpha, eps=eps, eps_inside_sqrt=eps_inside_sqrt)

    @property
    def op(self):
        return _ops.rmsprop_inside if self.hyperparam.eps_inside_sqrt else _ops.rmsprop

    def numbers(self, param):
        hp = self.hyperparam
        check_eps("RMSprop", hp.eps, param.dtype)
        return hp.lr, hp.alpha, 1 - hp.alpha, hp.eps


class RMSprop(GradientMethod):
    """RMSprop (Tieleman and Hinton 2012).

    Args:
        lr: learning rate.
        alpha: decay of the mean square.
        eps: added to the root, or under it if ``eps_inside_sqrt``.
    """
    lr = HyperparameterProxy("lr")
    alpha = HyperparameterProxy("alpha")
    eps = HyperparameterProxy("eps")
    eps_inside_sqrt = HyperparameterProxy("eps_inside_sqrt")

    def __init__(self, lr=0.01, alpha=0.99, eps=1e-8, eps_inside_sqrt=False):
        super().__init__()
        set_given(self.hyperparam, lr=lr, alpha=alpha, eps=eps, eps_inside_sqrt=eps_inside_sqrt)

    def create_update_rule(self):
        return RMSpropRule(self.hyperparam)


class RMSpropGravesRule(OpRule):
    """Rule of ``RMSpropGraves``; states ``n``, ``g`` (mean square and mean of the gradient) and ``delta`` (the last step)."""
    op = _ops.rmsprop_graves
    slots = ("n", "g", "delta")

    def __init__(self, parent_hyperparam=None, lr=None, alpha=None, momentum=None, eps=None):
        super().__init__(parent_hyperparam or _GRAVES)
        set_given(self.hyperparam, lr=lr, alpha=alpha, momentum=momentum, eps=eps)

    def numbers(self, param):
        hp = self.hyperparam
        return hp.lr, hp.alpha, 1 - hp.alpha, hp.momentum, hp.eps


class RMSpropGraves(GradientMethod):
    """RMSprop divided by the standard deviation, with momentum (Graves 2013, arXiv 1308.0850).

    Args:
        lr: learning rate.
        alpha: decay of the means.
        momentum: how much of the last step stays.
        eps: added to the variance.
    """
    lr = HyperparameterProxy("lr")
    alpha = HyperparameterProxy("alpha")
    momentum = HyperparameterProxy("momentum")
    eps = HyperparameterProxy("eps")

    def __init__(self, lr=1e-4, alpha=0.95, momentum=0.9, eps=1e-4):
        super().__init__()
        set_given(self.hyperparam, lr=lr, alpha=alpha, momentum=momentum, eps=eps)

    def create_update_rule(self):
        return RMSpropGravesRule(self.hyperparam)


class SMORMS3Rule(OpRule):
    """Rule of ``SMORMS3``; states ``mem`` (the memory), ``g``, ``g2`` (means of the gradient and its square)."""
    op = _ops.smorms3
    slots = ("mem", "g", "g2")

    def __init__(self, parent_hyperparam=None, lr=None, eps=None):
        super().__init__(parent_hyperparam or _SMORMS3)
        set_given(self.hyperparam, lr=lr, eps=eps)

    def init_state(self, param):
        super().init_state(param)
        self._state["mem"] += 1

    def numbers(self, param):
        hp = self.hyperparam
        return hp.lr, hp.eps


class SMORMS3(GradientMethod):
    """SMORMS3 (Funk 2015): RMSprop whose memory follows the signal-to-noise ratio of the gradient.

    Args:
        lr: largest learning rate.
        eps: added to the denominators.
    """
    lr = HyperparameterProxy("lr")
    eps = HyperparameterProxy("eps")

    def __init__(self, lr=0.001, eps=1e-16):
        super().__init__()
        set_given(self.hyperparam, lr=lr, eps=eps)

    def create_update_rule(self):
        return SMORMS3Rule(self.hyperparam)


class MSVAGRule(OpRule):
    """Rule of ``MSVAG``; states ``m`` and ``v`` are the moments."""
    op = _ops.msvag
    slots = ("m", "v")

    def __init__(self, parent_hyperparam=None, lr=None, beta=None, eta=None, weight_decay_rate=None):
        super().__init__(parent_hyperparam or _MSVAG)
        set_given(self.hyperparam, lr=lr, beta=beta, eta=eta, weight_decay_rate=weight_decay_rate)

    @property
    def beta_power(self):
        """beta^t of the current update."""
        return self.hyperparam.beta ** max(self.t, 1)

    def numbers(self, param):
        hp, power = self.hyperparam, self.beta_power
        beta = hp.beta
        # Eq. 20 of the paper; at t = 1 it is exactly 1, where the variance estimate does not exist.
        rho = (1 - beta) ** 2 * (1 - power ** 2) / ((1 - power) ** 2 * (1 - beta ** 2))
        return hp.lr, 1 - beta, hp.eta, hp.weight_decay_rate, 1 - power, min(rho, 0.9999)


class MSVAG(GradientMethod):
    """Momentum SGD with a variance adaptation (Balles and Hennig 2018, arXiv 1705.07774).

    Args:
        lr: learning rate.
        beta: decay of both moments.
        eta: schedule multiplier.
        weight_decay_rate: decoupled weight decay.
    """
    lr = HyperparameterProxy("lr")
    beta = HyperparameterProxy("beta")
    eta = HyperparameterProxy("eta")
    weight_decay_rate = HyperparameterProxy("weight_decay_rate")

    def __init__(self, lr=0.1, beta=0.9, eta=1.0, weight_decay_rate=0):
        super().__init__()
        set_given(self.hyperparam, lr=lr, beta=beta, eta=eta, weight_decay_rate=weight_decay_rate)

    def create_update_rule(self):
        return MSVAGRule(self.hyperparam)


class LionRule(OpRule):
    """Rule of ``Lion``; state ``m`` is the momentum."""
    op = _ops.lion
    slots = ("m",)

    def __init__(self, parent_hyperparam=None, lr=None, beta1=None, beta2=None, weight_decay_rate=None):
        super().__init__(parent_hyperparam or _LION)
        set_given(self.hyperparam, lr=lr, beta1=beta1, beta2=beta2, weight_decay_rate=weight_decay_rate)

    def numbers(self, param):
        hp = self.hyperparam
        return hp.lr, hp.beta1, 1 - hp.beta1, hp.beta2, 1 - hp.beta2, 1 - hp.lr * hp.weight_decay_rate


class Lion(GradientMethod):
    """Lion (Chen et al. 2023, arXiv 2302.06675): the sign of an interpolated momentum, every element moves by lr.

    Args:
        lr: learning rate, about a tenth of Adam's.
        beta1: interpolation of momentum and gradient for the step.
        beta2: decay of the momentum.
        weight_decay_rate: p shrinks by the factor 1 - lr weight_decay_rate per step.
    """
    lr = HyperparameterProxy("lr")
    beta1 = HyperparameterProxy("beta1")
    beta2 = HyperparameterProxy("beta2")
    weight_decay_rate = HyperparameterProxy("weight_decay_rate")

    def __init__(self, lr=1e-4, beta1=0.9, beta2=0.99, weight_decay_rate=0.0):
        super().__init__()
        set_given(self.hyperparam, lr=lr, beta1=beta1, beta2=beta2, weight_decay_rate=weight_decay_rate)

    def create_update_rule(self):
        return LionRule(self.hyperparam)
