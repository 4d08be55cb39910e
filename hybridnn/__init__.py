"""hybridnn: neural networks that are flexible and efficient. Define-by-run on NumPy, with ``trace`` for hot functions."""
from hybridnn import errors
from hybridnn.config import config, force_backprop_mode, global_config, no_backprop_mode, using_config
from hybridnn.core import FunctionNode, Parameter, Variable, as_array, as_variable, grad
from hybridnn import optimizer_hooks, optimizers
from hybridnn.optimizer import GradientMethod, Optimizer, UpdateRule
from hybridnn.trace.api import trace

__version__ = "0.1.0"
