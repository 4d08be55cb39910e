"""Link hooks: time links, or change their weights for the call."""
from hybridnn.link_hooks.spectral_normalization import SpectralNormalization
from hybridnn.link_hooks.timer import TimerHook
from hybridnn.link_hooks.weight_standardization import WeightStandardization

__all__ = ["SpectralNormalization", "TimerHook", "WeightStandardization"]
