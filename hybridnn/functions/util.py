"""Memory for time: ``forget``."""
from hybridnn.config import force_backprop_mode, no_backprop_mode, state, using_config
from hybridnn.core.backprop import grad
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.variable import Variable
from hybridnn.errors import InvalidType

__all__ = ["ResultError", "forget"]


def forget(func, *xs):
    """``func(*xs)`` without keeping what backward would need: ``func`` runs again when gradients are asked for.

    Args:
        func: takes Variables and returns a Variable or a tuple of them; it must do the same when it runs again (draw nothing).
        xs: Variables or arrays.
    Returns:
        What ``func`` gives. Gradients reach ``xs`` and parameters that ``func`` uses; double backprop works. Those parameters'
        gradients are accumulated whenever backpropagation passes, also by ``hnn.grad``.
    """
    if not callable(func):
        raise InvalidType("forget", "func to be callable", repr(func))
    ys = _Forget(func).apply(tuple([x if isinstance(x, Variable) else Variable(x) for x in xs]))
    return ys[0] if len(ys) == 1 else ys


class _Forget(FunctionNode):
    """One application of ``forget``."""
    label = _impl_name = "Forget"

    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        with no_backprop_mode(), using_config("_will_recompute", True):
            return tuple([y.array for y in _outputs(self.func(*map(Variable, inputs)))])

    def backward(self, indexes, grad_outputs):
        double = state.backprop is not False      # what the walk that called set
        xs = self.get_retained_inputs()
        if not double:
            xs = tuple([Variable(x.array) for x in xs])
        with force_backprop_mode(), using_config("in_recomputing", True):
            ys = _outputs(self.func(*xs))
        used = [(y, g) for y, g in zip(ys, grad_outputs, strict=True) if g is not None]
        leaves = _leaves_behind([y for y, _ in used], xs)
        gs = grad([y for y, _ in used], [*xs, *leaves], [g for _, g in used], enable_double_backprop=double)
        for leaf, g in zip(leaves, gs[len(xs):], strict=True):
            if g is not None:
                leaf.grad_var = g if leaf.grad_var is None else leaf.grad_var + g
        return tuple([gs[i] for i in indexes])


def _outputs(ys):
    ys = ys if isinstance(ys, tuple) else (ys,)
    for i, y in enumerate(ys, 1):
        if not isinstance(y, Variable):
            ordinal = f"{i}{'th' if 10 < i % 100 < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(i % 10, 'th')}"
            raise ResultError("forget", "func to return Variables", f"the {ordinal} result is of type {type(y).__name__}")
    return ys


class ResultError(InvalidType, RuntimeError):
    """A user's function returned something of the wrong type."""


def _leaves_behind(ys, xs):
    """Variables for the leaves that ``ys`` depend on otherwise than through ``xs``: the parameters that the function uses."""
    seen, leaves = {x._tape for x in xs}, []
    stack = [y._tape for y in ys]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.is_leaf:
            leaves.append(_variable_of(node))
        else:
            stack += node.edges
    return leaves


def _variable_of(leaf):
    """A Variable that stands for a leaf of the tape: it has its gradient, and no array."""
    v = Variable(None)
    v._tape = leaf
    return v
