"""A user's ``FunctionNode`` inside a traced function: its Python runs on every call, between the segments."""
import weakref

from hybridnn.core.tape import Leaf
from hybridnn.core.variable import Variable, as_variable
from hybridnn.errors import user_line
from hybridnn.graph import Node
from hybridnn.spec import spec_of
from hybridnn.trace.events import FUNCTION, App, Event, vid_of
from hybridnn.trace.matching import match
from hybridnn.trace.operands import untraceable
from hybridnn.trace.recording import effective_backprop, know_leaves, name_output, taken_variables

__all__ = ["apply_function"]

_new = object.__new__


def apply_function(call, function, inputs):
    """A user's FunctionNode: its Python runs on every call, between the segments."""
    if call.mode == "eager":
        return function.apply_eager(inputs)
    if call.inner is not None:
        call.give_up(f"{function.label} inside a gradient")
        return function.apply_eager(inputs)
    if any(x is None for x in inputs):
        call.give_up(f"{function.label} is applied to None")
        return function.apply_eager(inputs)
    variables = [as_variable(x) for x in inputs]
    if call.mode == "replay":
        result = _match_function(call, function, variables)
        if result is not None:
            return result
        call.leave()
    operands = taken_variables(call, variables, function.label)
    return _record_function(call, function, variables, operands, *_run_function(call, function, variables, operands or ()))


def _run_function(call, function, variables, operands):
    try:
        with call.paused():
            return function._run(variables)
    except BaseException:
        call.forget(operands)
        raise


def _match_function(call, function, variables):
    key = (type(function.function or function), effective_backprop())
    for event in call.cursor.children:
        if event.kind == "function" and event.key == key and match(call, event.operands, variables):
            call.flush()
            arrays, outputs = _run_function(call, function, variables, event.operands)
            if call.mode == "replay" and not untraceable(arrays, outputs) and [spec_of(y) for y in outputs] == [o.spec for o in event.outs]:
                call.advance(event)
                call.executed = len(call.path)
                return _take_function(call, event, function, variables, arrays, outputs)
            call.leave()
            call.forget(event.operands)
            return _record_function(call, function, variables, taken_variables(call, variables, function.label), arrays, outputs)
    return None


def _take_function(call, event, function, variables, arrays, outputs):
    """Variables for what a replayed function returned; it is connected to the graph when the call ends. Its arrays may be kept and written by it."""
    results = []
    for y, o in zip(outputs, event.outs, strict=True):
        v = _new(Variable)
        v._array, v._pending, v._vid, v._spec, v._requires_grad = y, call, o.vid, o.spec, o.requires_grad
        call.know(y, o.vid, o.requires_grad)
        call.snapshot(o.vid, y)
        call.survivors.append(weakref.ref(v))
        results.append(v)
    for operand in event.operands:
        origin = call.origin(vid_of(operand))
        if origin not in call.snapshots:
            call.snapshot(origin, call.actual(origin))
    call.functions[event] = function, arrays, outputs
    if event.function.taped:
        function.n_outputs, function.inputs_, function._needs = len(outputs), (), ()
    elif event.key[1]:
        function._keep([Leaf(x.shape, x.dtype) for x in variables], arrays, outputs)
    return tuple(results)


def _record_function(call, function, variables, operands, arrays, outputs):
    problem = untraceable(arrays, outputs)
    if problem and call.mode == "record":
        call.give_up(f"{function.label} returns {problem}")
    with call.paused():
        result = function._wrap(variables, arrays, outputs)
    if call.mode != "record" or operands is None:
        return result
    know_leaves(call, variables)
    event = Event("function", (type(function.function or function), effective_backprop()), operands, line=user_line())
    event.outs = tuple([name_output(call, v) for v in result])
    mask = sum(1 << i for i, x in enumerate(variables) if x._requires_grad)
    node = Node(FUNCTION, tuple([vid_of(o) for o in operands]), tuple([o.vid for o in event.outs]), (), event.line)
    event.function = App(node, mask, any(v._tape is not None for v in result))
    call.add(event)
    call.now_seen()
    return result
