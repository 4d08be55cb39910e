"""Variables, operations and the tape."""
from hybridnn.core import arithmetic, operators
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import (
    OPS,
    Op,
    Variable,
    VariableNode,
    apply,
    apply_inplace,
    as_array,
    as_variable,
    backward,
    elementwise,
    grad,
    grouped_updates,
    operation,
)

__all__ = ["OPS", "FunctionNode", "Op", "Parameter", "Variable", "VariableNode", "apply", "apply_inplace", "arithmetic", "as_array", "as_variable",
           "backward", "elementwise", "grad", "grouped_updates", "operation", "operators"]
