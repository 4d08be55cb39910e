"""Gradient descent and its forms with a velocity."""
from hybridnn.optimizer import GradientMethod, HyperparameterProxy, OpRule
from hybridnn.optimizers import _ops
from hybridnn.optimizers._defaults import defaults, set_given

__all__ = ["SGD", "CorrectedMomentumSGD", "CorrectedMomentumSGDRule", "MomentumSGD", "MomentumSGDRule", "NesterovAG",
           "NesterovAGRule", "SGDRule"]

_SGD = defaults(lr=0.01)
_MOMENTUM = defaults(lr=0.01, momentum=0.9)


class SGDRule(OpRule):
    """Rule of ``SGD``."""
    op = _ops.sgd

    def __init__(self, parent_hyperparam=None, lr=None):
        super().__init__(parent_hyperparam or _SGD)
        set_given(self.hyperparam, lr=lr)

    def numbers(self, param):
        return (self.hyperparam.lr,)


class SGD(GradientMethod):
    """Stochastic gradient descent: p - lr g.

    Args:
        lr: learning rate.
    """
    lr = HyperparameterProxy("lr")

    def __init__(self, lr=0.01):
        super().__init__()
        set_given(self.hyperparam, lr=lr)

    def create_update_rule(self):
        return SGDRule(self.hyperparam)


class MomentumSGDRule(OpRule):
    """Rule of ``MomentumSGD``; state ``v`` is the velocity."""
    op = _ops.momentum
    slots = ("v",)

    def __init__(self, parent_hyperparam=None, lr=None, momentum=None):
        super().__init__(parent_hyperparam or _MOMENTUM)
        set_given(self.hyperparam, lr=lr, momentum=momentum)

    def numbers(self, param):
        hp = self.hyperparam
        return hp.lr, hp.momentum


class CorrectedMomentumSGDRule(MomentumSGDRule):
    """Rule of ``CorrectedMomentumSGD``; state ``v`` is the velocity before it is multiplied by the learning rate."""
    op = _ops.corrected_momentum


class NesterovAGRule(MomentumSGDRule):
    """Rule of ``NesterovAG``; state ``v`` is the velocity."""
    op = _ops.nesterov

    def numbers(self, param):
        hp = self.hyperparam
        lr, mu = hp.lr, hp.momentum
        return lr, mu, mu * mu, (1 + mu) * lr


class MomentumSGD(GradientMethod):
    """Gradient descent with momentum (Polyak 1964): v = momentum v - lr g; p + v.

    Args:
        lr: learning rate.
        momentum: how much of the velocity stays.
    """
    rule = MomentumSGDRule
    lr = HyperparameterProxy("lr")
    momentum = HyperparameterProxy("momentum")

    def __init__(self, lr=0.01, momentum=0.9):
        super().__init__()
        set_given(self.hyperparam, lr=lr, momentum=momentum)

    def create_update_rule(self):
        return self.rule(self.hyperparam)


class CorrectedMomentumSGD(MomentumSGD):
    """Momentum whose velocity does not hold the learning rate: v = momentum v - g; p + lr v.

    The same as ``MomentumSGD`` while lr is constant.
    """
    rule = CorrectedMomentumSGDRule


class NesterovAG(MomentumSGD):
    """Nesterov's accelerated gradient in the form of Bengio et al. 2012 (arXiv 1212.0901)."""
    rule = NesterovAGRule
