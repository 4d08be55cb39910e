"""hybridnn: neural networks that are flexible and efficient. Define-by-run on NumPy, with ``trace`` for hot functions."""
import importlib
import typing

from hybridnn import (
    _backprop_utils,
    backends,
    basic_math,
    configuration,
    cuda,
    distribution,
    errors,
    function,
    function_hooks,
    function_node,
    functions,
    graph_optimizations,
    initializers,
    link_hooks,
    links,
    memory_layouts,
    optimizer_hooks,
    optimizers,
    serializers,
    types,
    utils,
    variable,
    warnings,
)
from hybridnn._other_names import names_of as _names_of
from hybridnn._runtime_info import print_runtime_info
from hybridnn.backend import (
    get_array_types,
    get_cpu_array_types,
    get_device,
    get_dtype,
    is_arrays_compatible,
    mixed16,
    using_device,
)
from hybridnn.backends.cuda import should_use_cudnn, should_use_cudnn_tensor_core
from hybridnn.config import config, force_backprop_mode, get_compute_mode, global_config, no_backprop_mode, using_config
from hybridnn.core import FunctionNode, Parameter, Variable, as_array, as_variable, grad
from hybridnn.debug import DebugMode, is_debug, set_debug
from hybridnn.device_resident import DeviceResident
from hybridnn.distribution import Distribution, cross_entropy, kl_divergence, register_kl
from hybridnn.function import Function, FunctionAdapter
from hybridnn.function_hook import FunctionHook, get_function_hooks
from hybridnn.graph_optimizations import static_code, static_graph
from hybridnn.initializer import Initializer
from hybridnn.link import Chain, ChainList, Link
from hybridnn.link_hook import LinkHook, get_link_hooks
from hybridnn.optimizer import GradientMethod, Optimizer, UpdateRule
from hybridnn.profile.asked import profile
from hybridnn.reporter import DictSummary, Reporter, Summary, get_current_reporter, report, report_scope
from hybridnn.sequential import Sequential
from hybridnn.serializer import AbstractSerializer, Deserializer, Serializer
from hybridnn.summary import summary
from hybridnn.trace.api import trace
from hybridnn.variable import backward

if typing.TYPE_CHECKING:
    from hybridnn import computational_graph, dataset, datasets, distributions, gradient_check, iterators, training

_ON_DEMAND = {"computational_graph", "dataset", "datasets", "distributions", "gradient_check", "iterators", "training"}
_get_link_hooks = get_link_hooks        # as Chainer calls it: hooks of programs that override __enter__ use it
_other_name = _names_of(__name__)
__version__ = "0.1.0"
disable_experimental_feature_warning = False

__all__ = ["AbstractSerializer", "Chain", "ChainList", "DebugMode", "Deserializer", "DeviceResident", "DictSummary", "Distribution", "Function",
           "FunctionAdapter", "FunctionHook", "FunctionNode", "GradientMethod", "Initializer", "Link", "LinkHook",
           "Optimizer", "Parameter", "Reporter", "Sequential", "Serializer", "Summary", "UpdateRule", "Variable",
           "__version__", "as_array", "as_variable", "backends", "backward", "basic_math", "computational_graph", "config",
           "configuration", "cross_entropy", "cuda", "dataset", "datasets", "disable_experimental_feature_warning", "distribution", "distributions", "errors",
           "force_backprop_mode", "function", "function_hooks", "function_node", "functions", "get_array_types",
           "get_compute_mode", "get_cpu_array_types", "get_current_reporter", "get_device", "get_dtype", "get_function_hooks",
           "get_link_hooks", "global_config", "grad", "gradient_check", "graph_optimizations", "initializers", "is_arrays_compatible",
           "is_debug", "iterators", "kl_divergence", "link_hooks", "links", "memory_layouts", "mixed16", "no_backprop_mode", "optimizer_hooks",
           "optimizers", "print_runtime_info", "profile", "register_kl", "report", "report_scope", "serializers", "set_debug", "should_use_cudnn",
           "should_use_cudnn_tensor_core", "static_code", "static_graph", "summary", "trace", "training", "types", "using_config", "using_device",
           "utils", "variable", "warnings"]


def __getattr__(name):
    """Packages that not every program needs are loaded when they are first named: they take a fifth of the time."""
    if name in _ON_DEMAND:
        return importlib.import_module(f"hybridnn.{name}")
    return _other_name(name)


def __dir__():
    return sorted({*globals(), *_ON_DEMAND})
