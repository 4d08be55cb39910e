"""Variables, operations and the tape."""
from hybridnn.core import arithmetic, indexing, operators, product, shapes
from hybridnn.core.application import apply, apply_inplace, grouped_updates
from hybridnn.core.backprop import backward, grad
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.op import OPS, Op, elementwise, operation
from hybridnn.core.parameter import Parameter
from hybridnn.core.variable import Variable, as_array, as_variable
from hybridnn.core.variable_node import VariableNode

__all__ = ["OPS", "FunctionNode", "Op", "Parameter", "Variable", "VariableNode", "apply", "apply_inplace", "arithmetic", "as_array", "as_variable",
           "backward", "elementwise", "grad", "grouped_updates", "indexing", "operation", "operators", "product", "shapes"]
