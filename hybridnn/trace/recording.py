"""Recording: operations that run eagerly and become new events, or applications of the event that is being recorded."""
import weakref

import numpy as np

from hybridnn.config import global_config, state
from hybridnn.core.application import apply_eager, run_checked, wrap_outputs
from hybridnn.core.tape import TracedNumber
from hybridnn.core.variable import Variable, as_variable
from hybridnn.errors import user_line
from hybridnn.exact import checker
from hybridnn.graph import Node
from hybridnn.spec import spec_of
from hybridnn.trace.events import App, Event, Leaf, Number, Outcome, vid_of
from hybridnn.trace.numbers import plain_numbers, traced
from hybridnn.trace.operands import NUMBER_TYPES, has_creator, is_number, same_number, unfit, values_of
from hybridnn.trace.values import FOREIGN

__all__ = ["composite", "constant", "derive", "effective_backprop", "know_leaves", "may_refuse", "name_output", "operand_of", "operands_of", "record_inner",
           "record_op", "taken_variables"]

STATIC_NUMBER_OPS = {"pow"}
LARGEST_COPIED = 1 << 20     # bytes of an array from outside of which a recording keeps a copy, so that it sees whether the program writes into it


def effective_backprop():
    """Whether the tape is on in this thread."""
    return global_config.enable_backprop if state.backprop is None else state.backprop


def record_op(call, op, inputs, attrs):
    """Run an operation and add it to the tree."""
    operands, plain, saved = operands_of(call, op, inputs)
    if operands is None:
        return apply_eager(op, inputs, attrs)
    if not call.reports_as_begun():
        call.look_at_errors()
        return apply_eager(op, inputs, attrs)
    event = Event("op", (op, attrs, effective_backprop()), operands, line=user_line())
    event.exactly = checker(attrs)
    event.constants = [(o.vid, o.value) for o in operands if type(o) is Number and o.value is not None]
    mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
    try:
        y = run_checked(op, plain, attrs)
    except BaseException:
        call.forget(operands)
        raise
    result = wrap_outputs(op, inputs, saved, attrs, mask, y)
    know_leaves(call, inputs)
    outs = result if op.multi else (result,)
    event.outs = tuple([name_output(call, v) for v in outs])
    taped = any(v._tape is not None for v in outs)
    event.apps.append(App(_node(op, operands, attrs, event), mask, taped))
    _note_views(call, event, plain, outs)
    event.flush, event.check = may_refuse(op), op.meta.get("check")
    if event.check is None and "check_ints" in op.meta and all(spec_of(x).dtype.kind in "iub" for x in plain):
        event.check = op.meta["check_ints"]
    call.add(event)
    if event.flush:
        call.now_seen()
    return result


def may_refuse(op):
    """Whether an operation may raise for what its operands' values are."""
    return op.kind == "opaque" and op.decompose is None and not op.meta.get("takes_all")


def know_leaves(call, inputs):
    """A Variable that the call made without a creator becomes a leaf of the graph when an operation takes it."""
    for x in inputs:
        if isinstance(x, Variable) and x._pending is call and x._tape is not None and id(x._tape) not in call.nodes:
            call.nodes[id(x._tape)] = x._vid
            call.keep.append(x._tape)


def _note_views(call, event, plain, outs):
    """Outputs that share memory with an operand do so on every call."""
    app = event.apps[0]
    for k, v in enumerate(outs):
        y = v._array
        shared = [i for i, a in enumerate(plain) if type(a) is np.ndarray and (a is y or y.base is not None and _is_view(y, a))]
        if shared and len(plain) == 1:
            event.views[v._vid] = (app.node.inputs[0], app, k)
        elif shared or y.base is not None and not y.flags.writeable:
            call.give_up(f"{app.node.op.name} returns a view that cannot be made again")
    call.view_of.update(event.views)


def _is_view(y, a):
    """Whether one array is a view of another, or of what this is a view of; NumPy says of empty ones that they share nothing."""
    return np.may_share_memory(a, y) or not y.size and (y.base is a or y.base is a.base)


def _node(op, operands, attrs, event):
    vids = tuple([vid_of(o) for o in operands])
    return Node(op, vids, tuple([o.vid for o in event.outs]), tuple(attrs.items()), event.line)


def name_output(call, v):
    """Number a Variable that this call made."""
    vid = call.new_vid(spec_of(v._array))
    v._pending, v._vid, v._spec = call, vid, call.specs[vid]
    call.know_while_held(v._array, vid, v._requires_grad)
    if v._tape is not None:
        call.nodes[id(v._tape)] = vid
        call.keep.append(v._tape)
    call.survivors.append(weakref.ref(v))
    call.fresh.add(vid)
    return Outcome(vid, v._spec, v._requires_grad)


def operands_of(call, op, inputs, targets=None):
    """Numbered operands, the plain values to compute with, and what to put on the tape; None for the first if the call gave up. ``targets``: what an
    operation in place writes."""
    operands, plain, saved = [], [], []
    for i, x in enumerate(inputs):
        if type(x) in NUMBER_TYPES:
            within = values_of(inputs) if type(x) is int else None
            if within is not None and x not in within:
                call.give_up(f"{op.name} takes an int that does not fit its arrays or 64 bits")
                return None, None, None
            static = x if _is_static(call, op, i, x) else None
            number = Number(call.new_vid(spec_of(x)), type(x), static, within)
            call.values[number.vid] = x
            operands.append(number)
            plain.append(x)
            saved.append(x if static is not None else traced(x, number.vid, call))
            continue
        given = x
        if is_number(x):
            x = np.asarray(x)       # NumPy promotes its scalars as it does arrays
        ungraded = (targets is not None or not op.rules or not effective_backprop()) and call.code_of(x) is FOREIGN
        operand = operand_of(call, x, op.name, strided=True, changed=ungraded or targets is not None and i not in targets)
        if operand is None:
            return None, None, None
        if given is not x:
            call.scalars[operand.vid] = given
        operands.append(operand)
        plain.append(x._array if isinstance(x, Variable) else x)
        saved.append(plain[-1])
    return tuple(operands), plain, saved


def _is_static(call, op, i, x):
    """Whether a number belongs to the path: a bool does, and an exponent until another one is met at the same place."""
    if type(x) is bool or op.name not in STATIC_NUMBER_OPS or i == 0:
        return type(x) is bool
    rivals = [e.operands[i] for e in call.cursor.children if e.kind == "op" and e.key[0] is op]
    return not any(type(o) is Number and o.value is not None and not same_number(o.value, x) for o in rivals)


def _known_before(call, x, a, how):
    """A ``Leaf`` for an array that the call knows already, as a value of its own."""
    spec, variable = spec_of(a), isinstance(x, Variable)
    strides = None if a.flags.c_contiguous else a.strides
    leaf = Leaf(call.new_vid(spec), spec, variable and x._requires_grad, variable, False, strides, again=how)
    call.values[leaf.vid] = a
    call.leaves[leaf.vid] = call.wrappers[leaf.vid] = x
    return leaf


def _again(call, x, a, how):
    """A ``Leaf`` for an array of this call's that is not the value which the array had."""
    leaf = _known_before(call, x, a, how)
    call.again[id(x)] = leaf.vid
    return leaf


def _written(call, x, a):
    """A ``Leaf`` for an array from outside that the program has written into since the call used it."""
    leaf = _known_before(call, x, a, "written")
    call.renew(x, a, leaf.vid)
    call.keep.append(a)
    if leaf.requires_grad:
        call.nodes[id(x.__dict__.get("_tape") or x.node._tape)] = leaf.vid
    _watch(call, leaf.vid, x, a)
    return leaf


def operand_of(call, x, name, strided=False, changed=False):
    """The operand that stands for ``x``: the number of a value, or a new ``Leaf``; None if the call gave up. ``changed``: the value may be that of an
    array which the program has written into, of no interest to a gradient."""
    variable = isinstance(x, Variable)
    a = (x._array if x._array is not None else x.array) if variable else x
    vid = call.code_of(x)
    if vid is FOREIGN and call.made_again(x):
        call.nodes[id(x.node._tape)] = call.next_vid
        return _again(call, x, a, "made")
    if changed and (vid is FOREIGN or vid is not None and not call.unchanged(vid_of(vid))) and call.may_have_changed(x):
        return _again(call, x, a, "changed")
    if vid is FOREIGN:
        shared = "as parameters do of what a link's copy() gives; those of copy('copy') and copy.deepcopy() have arrays of their own"
        call.give_up(f"{name} takes a Variable over an array that belongs to another one ({shared})", passing=True)
        return None
    if vid is not None:
        if vid_of(vid) not in call.stale and call.unchanged(vid_of(vid)):
            return vid
        if call.was_written(x):
            return _written(call, x, a)
        call.give_up(f"{name} takes an array that was written inside the function after its first use")
        return None
    problem = unfit(a, strided)
    if problem:
        call.give_up(f"{name} takes {problem}")
        return None
    spec = spec_of(a)
    leaf = Leaf(call.new_vid(spec), spec, variable and x._requires_grad, variable, has_creator(x), None if a.flags.c_contiguous else a.strides)
    call.know(a, leaf.vid, leaf.requires_grad)
    call.leaves[leaf.vid] = call.wrappers[leaf.vid] = x
    if variable and x._requires_grad:
        call.nodes[id(x.__dict__.get("_tape") or x.node._tape)] = leaf.vid
    _watch(call, leaf.vid, x, a)
    return leaf


def _watch(call, vid, x, a):
    """The program may write into an array before the call takes it again."""
    if a is x and a.base is None and a.nbytes <= LARGEST_COPIED and a.flags.writeable:
        call.snapshot(vid, a)


def composite(call, kind, variables):
    """A new event of several applications, taking ``variables``; None if the call gave up."""
    operands = taken_variables(call, map(as_variable, variables), kind)
    return None if operands is None else Event(kind, (), operands, line=user_line())


def taken_variables(call, variables, what):
    """The operands of an event that takes ``variables``; None if the call gave up."""
    operands = []
    for x in variables:
        operands.append(operand_of(call, x, what))
        if operands[-1] is None:
            return None
    return tuple(operands)


def record_inner(call, op, inputs, attrs):
    """Run an operation of a gradient: an application of the composite event that is being recorded, not an event of its own."""
    vids, plain, saved = [], [], []
    for x in inputs:
        vid = _inner_vid(call, x)
        if vid is None:
            call.give_up(f"{op.name} in a gradient takes values that this call did not make (a graph from before the call, or arrays made by a rule)")
            return apply_eager(op, plain_numbers(inputs), attrs)
        vids.append(vid)
        plain.append(x._array if isinstance(x, Variable) else x.plain() if isinstance(x, TracedNumber) else x)
        saved.append(x._array if isinstance(x, Variable) else x)
    mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
    y = run_checked(op, plain, attrs)
    result = wrap_outputs(op, inputs, saved, attrs, mask, y)
    outs = result if op.multi else (result,)
    outcomes = [name_output(call, v) for v in outs]
    node = Node(op, tuple(vids), tuple([o.vid for o in outcomes]), tuple(attrs.items()), call.inner.line)
    call.inner.apps.append(App(node, mask, any(v._tape is not None for v in outs)))
    return result


def _inner_vid(call, x):
    if isinstance(x, TracedNumber):
        return x.vid
    if type(x) in NUMBER_TYPES:
        return constant(call, x)
    vid = call.known_vid(x)
    if vid in call.stale:
        return None if state.backprop and isinstance(x, Variable) and x._requires_grad else _view_again(call, vid)
    if vid is None and isinstance(x, Variable) and x._pending is None:
        a = x._array
        if a is not None and (a.ndim == 0 or not any(a.strides)) and type(x) is Variable and x._tape is None:
            return None
    return vid


def _view_again(call, vid):
    """The number of a view whose memory has been changed in place since it was made: of what it shows now. None if that is not known."""
    base, app, _ = call.view_of[vid]
    if base in call.view_of:
        now = _view_again(call, base) if base in call.stale else base
    else:
        now = call.ids.get(id(call.actual(base)))
        now = now if now is None or now >= 0 else ~now
    if now is None or app.node.op.multi or not call.unchanged(now):
        return None
    new = call.new_vid(spec_of(call.actual(vid)))
    call.inner.apps.append(App(Node(app.node.op, (now,), (new,), app.node.attrs, call.inner.line), 0, False))
    return new


def constant(call, value):
    """The number of a value that the composite event being recorded takes as a constant."""
    vid = call.new_vid(spec_of(value))
    call.inner.constants.append((vid, value))
    call.values[vid] = value
    return vid


def derive(call, fn, args):
    """A number that a gradient rule computes from traced numbers."""
    values = plain_numbers(args)
    result = fn(*values)
    if call.inner is None or call.mode != "record" or type(result) not in (float, int):
        return result
    vids = tuple([x.vid if isinstance(x, TracedNumber) else constant(call, x) for x in args])
    vid = call.new_vid(spec_of(result))
    call.inner.host.append((vid, fn, vids))
    call.values[vid] = result
    return traced(result, vid, call)
