"""``Variable`` and its kin, where Chainer has them, and backpropagation from several at once."""
from hybridnn.config import using_config, warn
from hybridnn.core import Parameter, Variable, VariableNode, as_array, as_variable
from hybridnn.core import backward as _backward
from hybridnn.errors import InvalidType

__all__ = ["Parameter", "Variable", "VariableNode", "as_array", "as_variable", "backward", "variable_repr", "variable_str"]

variable_repr, variable_str = Variable.__repr__, Variable.__str__


def backward(outputs, grad_outputs=None, *, retain_grad=False, enable_double_backprop=False, loss_scale=None):
    """Gradients of several Variables at once with respect to all they depend on, accumulated in ``grad``.

    Nothing begins at a Variable for which there is no gradient, also if it has one element.

    Args:
        outputs: tuple or list of Variables.
        grad_outputs: their initial gradients, as Variables or None; without it, their own ``grad``, which is used up. A Variable without
            one, as one that comes a second time is by then, warns (RuntimeWarning).
        retain_grad, enable_double_backprop, loss_scale: as in ``Variable.backward``.
    """
    _check(outputs, grad_outputs)
    options = retain_grad, enable_double_backprop, loss_scale
    if grad_outputs is None:
        given = {id(y): y for y in outputs if _has_gradient(y)}
        if len(given) < len(outputs):
            warn(_NO_GRADIENT, RuntimeWarning, stacklevel=2)
        _backward(list(given.values()), *options)
    else:
        _backward_with(outputs, grad_outputs, *options)


_NO_GRADIENT = ("backward: among the outputs is one without a gradient, or one twice; nothing begins there\n"
               "  hint: set y.grad, or pass grad_outputs; y.backward() of a scalar begins with one")


def _check(outputs, grad_outputs):
    if not isinstance(outputs, (tuple, list)) or not all(isinstance(y, Variable) for y in outputs):
        seen = type(outputs) if not isinstance(outputs, (tuple, list)) else next(type(y) for y in outputs if not isinstance(y, Variable))
        raise InvalidType("backward", "outputs as a tuple or list of Variables", seen.__name__)
    if grad_outputs is not None and (not isinstance(grad_outputs, (tuple, list)) or len(grad_outputs) != len(outputs)):
        raise InvalidType("backward", f"grad_outputs as a tuple or list of {len(outputs)}", repr(grad_outputs)[:60])


def _has_gradient(y):
    return y._tape is not None and y._tape.grad is not None


def _is_leaf(y):
    return y._pending is None and (y._tape is None or y._tape.is_leaf)


def _backward_with(outputs, grad_outputs, retain_grad, enable_double_backprop, loss_scale):
    """Begin with these gradients; those that the outputs have are no part of it. What nobody computed takes them in."""
    seeds = {}
    with using_config("enable_backprop", enable_double_backprop):
        for y, g in zip(outputs, grad_outputs):
            if g is not None:
                seeds[id(y)] = (y, g if id(y) not in seeds else seeds[id(y)][1] + g)
        leaves = [(y, g) for y, g in seeds.values() if _is_leaf(y)]
        for y, g in leaves:
            y.grad_var = as_variable(g) if y.grad_var is None else y.grad_var + g
    begin = [(y, g, y.grad_var) for y, g in seeds.values() if not _is_leaf(y)]
    for y, g, _ in begin:
        y.grad_var = g
    _backward([y for y, _, _ in begin], retain_grad, enable_double_backprop, loss_scale)
    for y, _, own in begin:
        if own is not None and not retain_grad:
            y.grad_var = own
