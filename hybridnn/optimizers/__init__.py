"""Optimizers: the 15 of Chainer v7 under their names; Lion, Adafactor, schedules, averages and accumulation besides."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.optimizers import adaptive as _adaptive
from hybridnn.optimizers import momentum as _momentum
from hybridnn.optimizers import schedules
from hybridnn.optimizers.accumulation import GradientAccumulation
from hybridnn.optimizers.adafactor import Adafactor
from hybridnn.optimizers.adam import AdaBound, Adam, AdamW, AMSBound, AMSGrad
from hybridnn.optimizers.adaptive import MSVAG, SMORMS3, AdaDelta, AdaGrad, Lion, RMSprop, RMSpropGraves
from hybridnn.optimizers.ema import ExponentialMovingAverage
from hybridnn.optimizers.momentum import SGD, CorrectedMomentumSGD, MomentumSGD, NesterovAG
from hybridnn.optimizers.schedules import Schedule
from hybridnn.utils.paths import open_paths as _open_paths

__getattr__ = _names_of(__name__)
__all__ = ["AMSBound", "AMSGrad", "AdaBound", "AdaDelta", "AdaGrad", "Adafactor", "Adam", "AdamW", "CorrectedMomentumSGD",
           "ExponentialMovingAverage", "GradientAccumulation", "Lion", "MSVAG", "MomentumSGD", "NesterovAG", "RMSprop",
           "RMSpropGraves", "SGD", "SMORMS3", "Schedule"]

_open_paths(__name__, {
    "ada_delta": {"AdaDelta": AdaDelta, "AdaDeltaRule": _adaptive.AdaDeltaRule},
    "ada_grad": {"AdaGrad": AdaGrad, "AdaGradRule": _adaptive.AdaGradRule},
    "corrected_momentum_sgd": {"CorrectedMomentumSGD": CorrectedMomentumSGD, "CorrectedMomentumSGDRule": _momentum.CorrectedMomentumSGDRule},
    "momentum_sgd": {"MomentumSGD": MomentumSGD, "MomentumSGDRule": _momentum.MomentumSGDRule},
    "msvag": {"MSVAG": MSVAG, "MSVAGRule": _adaptive.MSVAGRule},
    "nesterov_ag": {"NesterovAG": NesterovAG, "NesterovAGRule": _momentum.NesterovAGRule},
    "rmsprop": {"RMSprop": RMSprop, "RMSpropRule": _adaptive.RMSpropRule},
    "rmsprop_graves": {"RMSpropGraves": RMSpropGraves, "RMSpropGravesRule": _adaptive.RMSpropGravesRule},
    "sgd": {"SGD": SGD, "SGDRule": _momentum.SGDRule},
    "smorms3": {"SMORMS3": SMORMS3, "SMORMS3Rule": _adaptive.SMORMS3Rule},
})
