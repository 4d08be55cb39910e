"""One step of backpropagation, for code that walks a graph itself, where Chainer has it."""
from hybridnn.core.debugging import check_nan
from hybridnn.functions.math import add

__all__ = ["backprop_step"]


def backprop_step(func, target_input_indexes, grad_outputs, grad_inputs, is_debug):
    """Compute gradients of a ``FunctionNode``'s inputs and accumulate them.

    Args:
        func: the function.
        target_input_indexes: tuple of the numbers of the inputs that need gradients.
        grad_outputs: tuple of the outputs' gradients, None for those that nobody asked for.
        grad_inputs: dict of input nodes (``func.inputs``) to lists of gradients; a list has one afterwards, unless the function's
            ``lazy_grad_sum`` leaves them to be added later.
        is_debug: whether a NaN raises RuntimeError.
    """
    nodes = [func.inputs[i] for i in target_input_indexes]
    before = tuple([grad_inputs[node].pop() if grad_inputs[node] else None for node in nodes])
    results = func.backward_accumulate(tuple(target_input_indexes), tuple(grad_outputs), before)
    if len(results) != len(nodes):
        results = [results[i] for i in target_input_indexes]
    for node, g in zip(nodes, results, strict=True):
        if g is not None:
            grad_inputs[node].append(g)
    if is_debug:
        check_nan(func.label, "backward", [g.array for gs in grad_inputs.values() for g in gs])
    if not func.lazy_grad_sum:
        for gs in grad_inputs.values():
            _reduce(gs)


def _reduce(gradients):
    """The sum of a list of gradients, which is left with just that; None for an empty list."""
    if len(gradients) > 1:
        gradients[:] = [add(*gradients)]
    return gradients[0] if gradients else None
