"""Optimizers: the 15 of Chainer v7 under their names; Lion, Adafactor, schedules, averages and accumulation besides."""
from hybridnn.optimizers import schedules
from hybridnn.optimizers.accumulation import GradientAccumulation
from hybridnn.optimizers.adafactor import Adafactor
from hybridnn.optimizers.adam import AdaBound, Adam, AdamW, AMSBound, AMSGrad
from hybridnn.optimizers.adaptive import MSVAG, SMORMS3, AdaDelta, AdaGrad, Lion, RMSprop, RMSpropGraves
from hybridnn.optimizers.ema import ExponentialMovingAverage
from hybridnn.optimizers.momentum import SGD, CorrectedMomentumSGD, MomentumSGD, NesterovAG
from hybridnn.optimizers.schedules import Schedule

__all__ = ["AMSBound", "AMSGrad", "AdaBound", "AdaDelta", "AdaGrad", "Adafactor", "Adam", "AdamW", "CorrectedMomentumSGD",
           "ExponentialMovingAverage", "GradientAccumulation", "Lion", "MSVAG", "MomentumSGD", "NesterovAG", "RMSprop",
           "RMSpropGraves", "SGD", "SMORMS3", "Schedule"]
