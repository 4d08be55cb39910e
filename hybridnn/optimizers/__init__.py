"""Optimizers: the 15 of Chainer v7 under their names, and Lion."""
from hybridnn.optimizers.adam import AdaBound, Adam, AdamW, AMSBound, AMSGrad
from hybridnn.optimizers.adaptive import MSVAG, SMORMS3, AdaDelta, AdaGrad, Lion, RMSprop, RMSpropGraves
from hybridnn.optimizers.momentum import SGD, CorrectedMomentumSGD, MomentumSGD, NesterovAG

__all__ = ["AMSBound", "AMSGrad", "AdaBound", "AdaDelta", "AdaGrad", "Adam", "AdamW", "CorrectedMomentumSGD", "Lion", "MSVAG",
           "MomentumSGD", "NesterovAG", "RMSprop", "RMSpropGraves", "SGD", "SMORMS3"]
