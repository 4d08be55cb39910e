"""Functions that an optimizer calls around its updates: decay, clipping, noise. Names are Chainer v7's.

All of them work by ops, without reading a value into Python, so that they are part of a traced step.
"""
from hybridnn.optimizer_hooks import noise as _noise
from hybridnn.optimizer_hooks.clipping import GradientClipping, GradientHardClipping
from hybridnn.optimizer_hooks.decay import Lasso, WeightDecay
from hybridnn.optimizer_hooks.lars import GradientLARS
from hybridnn.optimizer_hooks.noise import GradientNoise
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["GradientClipping", "GradientHardClipping", "GradientLARS", "GradientNoise", "Lasso", "WeightDecay"]

_open_paths(__name__, {
    "gradient_clipping": "GradientClipping", "gradient_hard_clipping": "GradientHardClipping", "gradient_lars": "GradientLARS",
    "gradient_noise": _noise, "lasso": "Lasso", "weight_decay": "WeightDecay"})
