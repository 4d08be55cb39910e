"""Backpropagation from Variables: ``backward``, which accumulates in leaves, and ``grad``, which returns gradients."""
import functools

import numpy as np

from hybridnn.backend import cupy, there
from hybridnn.config import state, warn
from hybridnn.core import variable as core_variable
from hybridnn.core.tape import make_leaf, scaled
from hybridnn.core.walk import add_gradients, nodes_behind, own, walk, walk_to
from hybridnn.errors import InvalidType
from hybridnn.spec import spec_of

__all__ = ["backward", "backward_eager", "begins_at_leaf", "grad", "grad_eager", "initial_grad"]

ONE_ELEMENT = ("backward takes the gradient one for a Variable with one element only if it has no axes; with axes that is deprecated\n"
               "  hint: functions.squeeze(y) or functions.sum(y) is a scalar; or set y.grad")


def backward(outputs, retain_grad=False, enable_double_backprop=False, loss_scale=None):
    """Backpropagate from several Variables at once, accumulating into the leaves' ``grad`` (equations 2 and 4 of the seed).

    As in Chainer, the outputs' own gradients are used up: they are None afterwards, unless ``retain_grad`` asks for all.
    So are those that have been set on other outputs of the operations on the way.
    """
    if loss_scale is not None:
        scaled[0] = True
    for v in outputs:
        if (v._array is None or v._array.ndim) and v.shape and v.size == 1 and (v._tape is None or v._tape.grad is None):
            warn(ONE_ELEMENT, DeprecationWarning, stacklevel=3)
    outputs = [v for v in outputs if v._pending is not None or v._tape is not None and not v._tape.is_leaf or not begins_at_leaf(v, loss_scale)]
    if not outputs:
        return None
    tracer = state.tracer
    if tracer is not None:
        return tracer.backward(outputs, retain_grad, enable_double_backprop, loss_scale)
    backward_eager(outputs, retain_grad, enable_double_backprop, loss_scale, enable_double_backprop or state.hooks is not None)


def begins_at_leaf(v, loss_scale):
    """Whether nobody computed ``v``: then backward has nothing to do but to begin, with the gradient one of a single element."""
    if v._tape is not None and not v._tape.is_leaf:
        return False
    if v._requires_grad and v.grad is None and v.size == 1:
        v.grad = initial_grad(v, loss_scale)
    return True


def backward_eager(outputs, retain_grad, enable_double_backprop, loss_scale, as_variables, store=None, keep=None):
    grads = {}
    for v in outputs:
        if v._pending is not None:
            v._pending.connect()
        node = v._tape
        if node is None or node.is_leaf:
            continue
        seed = node.grad
        if seed is None:
            seed = initial_grad(v, loss_scale)
        if as_variables and not isinstance(seed, core_variable.Variable):
            seed = core_variable.Variable(seed, requires_grad=False)
        node.grad = seed if retain_grad else None
        if not as_variables and isinstance(seed, core_variable.Variable):
            seed = seed.array
        grads[node] = seed
    before, state.backprop = state.backprop, enable_double_backprop
    try:
        walk(grads, {v._tape for v in outputs} if retain_grad else (), retain_grad, as_variables, loss_scale, store, keep)
    finally:
        state.backprop = before


def initial_grad(v, loss_scale):
    if v.size != 1 and (v._tape is None or any(n.is_leaf and n.wanted for n in nodes_behind([v._tape]))):
        raise InvalidType("backward", "a Variable with one element, or with its grad set", str(spec_of(v)),
                          "sum() it, or set y.grad = an array of its shape")
    if cupy is None:
        g = _cached_one(v.shape, v.dtype).copy()      # faster than ``np.ones``
        return g if loss_scale is None else np.full_like(g, loss_scale)
    return _filled(v, 1 if loss_scale is None else loss_scale)


def _filled(v, number):
    """Like ``v``, on its device."""
    with there(v):
        return v.xp.full(v.shape, number, v.dtype)


@functools.lru_cache(64)
def _cached_one(shape, dtype):
    return np.ones(shape, dtype)


def grad(outputs, inputs, grad_outputs=None, grad_inputs=None, set_grad=False, retain_grad=False, enable_double_backprop=False,
         loss_scale=None):
    """Gradients of ``outputs`` with respect to ``inputs``, as Variables (None where there is no path), without touching other gradients.

    Args:
        outputs, inputs: sequences of Variables.
        grad_outputs: initial gradients (default: ones).
        grad_inputs: gradients to add to the results, and to those of other inputs that these depend on.
        set_grad, retain_grad: also store results, or all intermediate gradients, in the Variables' ``grad``.
        enable_double_backprop: record the computation, so that the results can be differentiated.
    """
    _check_arguments(outputs, inputs, grad_outputs, grad_inputs)
    tracer = state.tracer
    if tracer is not None:
        return tracer.grad(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale)
    return grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale)


def _check_arguments(outputs, inputs, grad_outputs, grad_inputs):
    for kind, group, like in (("outputs", outputs, None), ("inputs", inputs, None), ("grad_outputs", grad_outputs, outputs),
                              ("grad_inputs", grad_inputs, inputs)):
        if not isinstance(group, (tuple, list)) and (like is None or group is not None):
            raise InvalidType("grad", f"{kind} as a tuple or list of Variables", type(group).__name__, "grad([y], [x])" if like is None else "")
        if like is not None and group is not None and len(group) != len(like):
            raise InvalidType("grad", f"as many {kind} as {kind[5:]}: {len(like)}", str(len(group)))
    for v in (*outputs, *inputs):
        if not isinstance(v, core_variable.Variable):
            nodes_behind([y._tape for y in outputs if isinstance(y, core_variable.Variable) and y._tape is not None])
            raise InvalidType("grad", "outputs and inputs that are Variables", type(v).__name__)


def grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale):
    grads, seeds = {}, []
    for v in (*outputs, *inputs):
        if v._pending is not None:
            v._pending.connect()
    for i, v in enumerate(outputs):
        if v._tape is None and not any(v is x for x in inputs):
            continue
        seed = None if grad_outputs is None else grad_outputs[i]
        if seed is None:
            seed = core_variable.Variable(_filled(v, 1 if loss_scale is None else loss_scale), requires_grad=False)
        seeds.append(core_variable.as_variable(seed))
        node = v._tape or make_leaf(v)
        _accumulate(grads, node, seeds[-1])
    targets = {(x._tape or make_leaf(x)): None for x in inputs}
    old, state.backprop = state.backprop, enable_double_backprop      # the tape is on exactly if double backprop was asked for
    try:
        for x, extra in zip(inputs, grad_inputs or ()):
            if extra is not None:
                _accumulate(grads, x._tape, extra)
        walk_to(grads, targets, retain_grad)
    finally:
        state.backprop = old
    results = [targets[x._tape] for x in inputs]
    for g in results:
        if g is not None and g._array.base is not None and not any(g is seed for seed in [*seeds, *(grad_inputs or ())]):
            own(g)
    if set_grad:
        for x, g in zip(inputs, results, strict=True):
            x.grad_var = g
    return results


def _accumulate(grads, node, g):
    g = core_variable.as_variable(g)
    grads[node] = g if node not in grads else add_gradients(grads[node], g)
