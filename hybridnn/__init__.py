"""hybridnn: neural networks that are flexible and efficient. Define-by-run on NumPy, with ``trace`` for hot functions."""
from hybridnn import (
    dataset,
    datasets,
    errors,
    function_hooks,
    functions,
    initializers,
    iterators,
    link_hooks,
    links,
    optimizer_hooks,
    optimizers,
    serializers,
    training,
)
from hybridnn.backend import get_device, get_dtype, mixed16, using_device
from hybridnn.config import config, force_backprop_mode, global_config, no_backprop_mode, using_config
from hybridnn.core import FunctionNode, Parameter, Variable, as_array, as_variable, grad
from hybridnn.function_hook import FunctionHook, get_function_hooks
from hybridnn.initializer import Initializer
from hybridnn.link import Chain, ChainList, Link
from hybridnn.link_hook import LinkHook, get_link_hooks
from hybridnn.optimizer import GradientMethod, Optimizer, UpdateRule
from hybridnn.profile.measure import profile
from hybridnn.reporter import DictSummary, Reporter, Summary, get_current_reporter, report, report_scope
from hybridnn.sequential import Sequential
from hybridnn.serializer import AbstractSerializer, Deserializer, Serializer
from hybridnn.summary import summary
from hybridnn.trace.api import trace

__version__ = "0.1.0"

__all__ = ["AbstractSerializer", "Chain", "ChainList", "Deserializer", "DictSummary", "FunctionHook", "FunctionNode",
           "GradientMethod", "Initializer", "Link", "LinkHook", "Optimizer", "Parameter", "Reporter", "Sequential",
           "Serializer", "Summary", "UpdateRule", "Variable", "__version__", "as_array", "as_variable", "config",
           "dataset", "datasets", "errors", "force_backprop_mode", "function_hooks", "functions",
           "get_current_reporter", "get_device", "get_dtype", "get_function_hooks", "get_link_hooks", "global_config",
           "grad", "initializers", "iterators", "link_hooks", "links", "mixed16", "no_backprop_mode",
           "optimizer_hooks", "optimizers", "profile", "report", "report_scope", "serializers", "summary", "trace",
           "training", "using_config", "using_device"]
