"""``Variable`` and its kin, where Chainer has them, and backpropagation from several at once."""
from hybridnn.core import Parameter, Variable, VariableNode, as_array, as_variable
from hybridnn.core import backward as _backward
from hybridnn.errors import InvalidType

__all__ = ["Parameter", "Variable", "VariableNode", "as_array", "as_variable", "backward", "variable_repr", "variable_str"]

variable_repr, variable_str = Variable.__repr__, Variable.__str__


def backward(outputs, grad_outputs=None, *, retain_grad=False, enable_double_backprop=False, loss_scale=None):
    """Gradients of several Variables at once with respect to all they depend on, accumulated in ``grad``.

    Args:
        outputs: tuple or list of Variables.
        grad_outputs: their initial gradients, as Variables or None (ones, for Variables with one element).
        retain_grad, enable_double_backprop, loss_scale: as in ``Variable.backward``.
    """
    if not isinstance(outputs, (tuple, list)):
        raise InvalidType("backward", "outputs as a tuple or list of Variables", type(outputs).__name__)
    if grad_outputs is None:
        grad_outputs = (None,) * len(outputs)
    if not isinstance(grad_outputs, (tuple, list)) or len(grad_outputs) != len(outputs):
        raise InvalidType("backward", f"grad_outputs as a tuple or list of {len(outputs)}", repr(grad_outputs)[:60])
    for y, g in zip(outputs, grad_outputs):
        if g is not None:
            y.grad_var = g
    _backward(outputs, retain_grad, enable_double_backprop, loss_scale)
