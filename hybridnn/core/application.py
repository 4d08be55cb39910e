"""``apply``: the only way an operation runs on Variables. Tracers, hooks and the tape all live here."""
import weakref

import numpy as np

from hybridnn.backend import cupy, is_array, there
from hybridnn.config import config, global_config, state
from hybridnn.core.debugging import check_nan, explain, remember_stack
from hybridnn.core.labels import FunctionCall, only_arrays
from hybridnn.core.op_node import OpNode
from hybridnn.core.programs import NO_ATTRS, as_ndarray
from hybridnn.core.tape import connect_outputs, next_seq, node_of
from hybridnn.core.variable import Variable, as_array
from hybridnn.errors import InvalidType
from hybridnn.spec import spec_of

__all__ = ["apply", "apply_eager", "apply_inplace", "apply_inplace_eager", "grouped_updates", "run_checked", "wrap_outputs"]

_new = object.__new__


def apply(op, inputs, attrs=None):
    """Run ``op`` on Variables, arrays and Python numbers; returns a Variable (a tuple of them if the op has several outputs)."""
    if attrs is None:
        attrs = NO_ATTRS
    tracer = state.tracer
    if tracer is not None:
        return tracer.apply(op, inputs, attrs)
    return apply_eager(op, inputs, attrs)


def apply_eager(op, inputs, attrs):
    """Run now and put the application on the tape. (One long function: every call in it costs as much as adding two numbers.)"""
    arrays, edges = [], []
    mask, bit = 0, 1
    for x in inputs:
        if isinstance(x, Variable):
            a = x._array
            arrays.append(_value_of(x) if a is None else a)
            if x._requires_grad:
                mask |= bit
                edges.append(x._tape or node_of(x))
            else:
                edges.append(None)
        else:
            arrays.append(x)
            edges.append(None)
        bit += bit
    if op.multi or state.hooks is not None:
        return _apply_general(op, inputs, arrays, attrs, mask)
    fast = op.fast
    try:
        y = fast(*arrays) if fast is not None and cupy is None else op.run(arrays, attrs)
    except InvalidType:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise explain(op, arrays, attrs, error) from error
    if type(y) is not np.ndarray:
        y = as_ndarray(y)
    v = _new(Variable)
    v._array = y
    if mask == 0 or not op.rules:
        v._requires_grad = False
        return v
    v._requires_grad = True      # as on the class; what is an instance's own is read ten times as fast, here and below
    backprop = state.backprop
    if global_config.enable_backprop if backprop is None else backprop:
        program = op.programs.get(mask | bit) or op.program(mask, len(inputs))
        node = _new(OpNode)
        node.seq, node.program, node.edges, node.attrs = next_seq(), program, edges, attrs
        node.is_leaf, node.owner, node.grad, node.plain = False, None, None, True
        keep = program.keep
        node.saved = [arrays[i] for i in keep] if keep else None
        if program.keep_output:
            node.out = y
        if program.needs_specs:
            node.specs = [spec_of(a) for a in arrays]
        node.shape, node.dtype = y.shape, y.dtype
        v._tape = node
    return v


def _apply_general(op, inputs, arrays, attrs, mask):
    if state.hooks is not None:
        return _apply_hooked(op, inputs, arrays, attrs, mask)
    return wrap_outputs(op, inputs, arrays, attrs, mask, run_checked(op, arrays, attrs))


def _value_of(x):
    a = x.array
    return a if a is not None else x._missing()


def run_checked(op, arrays, attrs):
    try:
        fast = op.fast
        if fast is not None and cupy is None:
            y = fast(*arrays)
            return y if type(y) is np.ndarray else as_ndarray(y)
        return op.run(arrays, attrs)
    except InvalidType:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise explain(op, arrays, attrs, error) from error


def wrap_outputs(op, inputs, arrays, attrs, mask, y):
    """Variables for the results, connected to the tape when a gradient may be asked for."""
    backprop = state.backprop
    if backprop is None:
        backprop = global_config.enable_backprop
    if op.multi:
        return _wrap_several(op, inputs, arrays, attrs, mask, y, backprop)
    v = _new(Variable)
    v._array = y
    if mask == 0:
        v._requires_grad = False
    elif backprop and op.rules:
        node = _tape_node(op, inputs, arrays, attrs, mask, y)
        node.shape, node.dtype = y.shape, y.dtype
        v._tape = node
    elif not op.rules:
        v._requires_grad = False
    return v


def _tape_node(op, inputs, arrays, attrs, mask, y):
    program = op.program(mask, len(inputs))
    edges = []
    for x in inputs:
        edges.append((x._tape or node_of(x)) if isinstance(x, Variable) and x._requires_grad else None)
    keep = program.keep
    saved = [arrays[i] for i in keep] if keep else None
    specs = [spec_of(a) for a in arrays] if program.needs_specs else None
    return OpNode(program, edges, saved, y if program.keep_output else None, attrs, specs)


def _wrap_several(op, inputs, arrays, attrs, mask, ys, backprop):
    out = []
    for y in ys:
        v = _new(Variable)
        v._array = y
        v._requires_grad = mask != 0 and bool(op.rules)
        out.append(v)
    if mask and backprop and op.rules:
        node = _tape_node(op, inputs, arrays, attrs, mask, ys)
        connect_outputs(node, out)
        node._outputs = [weakref.ref(v._tape) for v in out]
    return tuple(out)


def _apply_hooked(op, inputs, arrays, attrs, mask):
    call, data = FunctionCall(op, inputs, attrs), only_arrays(arrays)
    hooks = list(state.hooks.values())
    for hook in hooks:
        hook.forward_preprocess(call, data)
    y = run_checked(op, arrays, attrs)
    for hook in hooks:
        hook.forward_postprocess(call, data)
    result = wrap_outputs(op, inputs, arrays, attrs, mask, y)
    if len(data) < len(arrays):
        _note_numbers(result, arrays)
    if config.debug:
        check_nan(call.label, "forward", y if op.multi else (y,))
        remember_stack(result)
    return result


def _note_numbers(result, arrays):
    """Let the node know the operands that are no arrays, which hooks are not shown on the way back either."""
    node = (result[0] if type(result) is tuple else result)._tape
    if node is not None:
        node = node.owner or node
        node.numbers = {i: a for i, a in enumerate(arrays) if not is_array(a)}


def apply_inplace(op, inputs, targets, attrs=None):
    """Run ``op`` and write output k into the array of ``inputs[targets[k]]`` (a Variable or an array); nothing goes on the tape.

    The one way the library changes an array in place: parameters and states in an optimizer's update, running statistics, gradients in hooks. A float
    of NumPy's counts as Python's does: the arrays decide the precision.
    """
    if attrs is None:
        attrs = NO_ATTRS
    for x in inputs:
        if isinstance(x, np.floating):
            inputs = [float(x) if isinstance(x, np.floating) else x for x in inputs]
            break
    tracer = state.tracer
    if tracer is not None:
        tracer.apply_inplace(op, inputs, targets, attrs)
        return
    apply_inplace_eager(op, inputs, targets, attrs)


def apply_inplace_eager(op, inputs, targets, attrs):
    arrays = [as_array(x) for x in inputs]
    if op.run_inplace is not None and cupy is None:
        op.run_inplace(arrays, attrs)
        return
    results = run_checked(op, arrays, attrs)
    results = results if op.multi else (results,)
    if cupy is not None:
        _store_there(arrays, targets, results)
        return
    for k, y in zip(targets, results, strict=True):
        arrays[k][...] = y


def _store_there(arrays, targets, results):
    with there(*arrays):
        for k, y in zip(targets, results, strict=True):
            arrays[k][...] = y


def grouped_updates(update):
    """Run ``update``, whose ``apply_inplace`` calls change arrays that nobody looks at before its end (an optimizer's): a tracer may settle them together.

    No block of a with statement: an alarm could go off just before its end, which would then never come.
    """
    outer = state.updating
    state.updating = True
    try:
        update()
    finally:
        state.updating = outer
        if state.tracer is not None and not outer:
            state.tracer.settle()
