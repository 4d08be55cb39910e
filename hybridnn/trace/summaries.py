"""What the library's own functions do beside computing, for the observer: results as Refs, effects on gradients, counters and graphs."""
import operator

import numpy as np

from hybridnn import optimizer
from hybridnn.core import OPS
from hybridnn.core.variable import Variable
from hybridnn.optimizer import GradientMethod, OpRule
from hybridnn.optimizer_hooks import GradientClipping, GradientHardClipping, GradientLARS, Lasso, WeightDecay
from hybridnn.optimizer_hooks._ops import clip_rate, decayed, hard_clipped, lars_scaled, lassoed
from hybridnn.optimizers.ema import ExponentialMovingAverage, averaged
from hybridnn.reporter import Reporter, _stack
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.batches import asked
from hybridnn.trace.events import vid_of
from hybridnn.trace.namespaces import methods
from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.operands import is_unmade
from hybridnn.trace.overlap import memory_of
from hybridnn.trace.refs import Doubt, Ref, VariableRows, class_lookup, constant, is_library_code, is_pure, mirror, real_array

__all__ = ["array_of", "guard_links", "result", "summarize", "wrapped"]

HOOK_OPS = {GradientClipping: (clip_rate, ("threshold",)), GradientHardClipping: (hard_clipped, ("lower_bound", "upper_bound")),
            Lasso: (lassoed, ("rate",)), WeightDecay: (decayed, ("rate",)), ExponentialMovingAverage: (averaged, ("decay", "rise")),
            GradientLARS: (lars_scaled, ("threshold", "weight_decay", "eps"))}
"""Hooks whose effects are known -> the operation that takes their numbers, and where these are."""
HOOK_OPS |= {older: HOOK_OPS[older.__base__] for older in (optimizer.GradientClipping, optimizer.GradientHardClipping, optimizer.Lasso, optimizer.WeightDecay)}


def summarize(observer, kind, refs, value, start):
    """The Ref of what a library function returned; notes its effects."""
    handler = HANDLERS.get(kind)
    if handler is not None:
        found = handler(observer, refs, value, start)
        if found is not None:
            return found
    return result(observer, value)


def result(observer, value):
    """A returned value as a Ref."""
    if isinstance(value, Variable):
        if value._pending is observer.call:
            observer.keep.append(value)
            return Ref("fresh", value)
        known = observer.origins.get(id(value)) or wrapped(observer, value)
        if known is None:
            raise Doubt("the library returns a Variable whose origin is not known")
        return known
    if type(value) in (tuple, list) and any(isinstance(v, Variable) for v in value):
        return mirror(type(value), [result(observer, v) for v in value])
    if is_pure(value) or isinstance(value, type(np)):
        return constant(value)
    if observer.call.draws and value is observer.call.draws[-1][2]:
        return Ref("drawn", value)
    if value is NotImplemented:
        return constant(value)
    raise Doubt(f"the library returns a {type(value).__name__}")


def wrapped(observer, v, differentiated=True):
    """The Ref of a Variable that the library made of an array from outside, of one that NumPy made, or of one that this call has computed and shown; None if
    it is none. ``differentiated``: a gradient may go on from it."""
    source = observer.origins.get(id(v._array)) or next((r for vid, r in observer.shown.items() if r.value is v._array and vid not in observer.changed), None)
    source = source or _row(observer, v._array)
    begins = v._requires_grad or v._tape is not None if differentiated else v._tape is not None and not v._tape.is_leaf
    if source is None or type(v) is not Variable or begins or source.kind not in ("arg", "state", "view", "array", "fresh"):
        return None
    observer.keep.append(v)
    found = observer.origins[id(v)] = Ref("made", v, ("variable", source, {}))
    return found


def _row(observer, a):
    """The Ref of a view, of which the program and the observer have an object each."""
    return observer.views.get(memory_of(a)) if type(a) is np.ndarray and a.base is not None and observer.views else None


def _read(observer, refs, value, start):
    """A number looked at: bool, int and index are outcomes of the path; a float may be anything."""
    x = refs[0]
    event = observer.call.path[-1] if len(observer.call.path) > start else None
    if event is None or event.kind != "read":
        raise Doubt("reads a value that was not computed in this call")
    if event.key[1] is not None:
        return constant(value)
    observer.keep.append(value)
    return Ref("hole", value, ("read", event, x))


def _array(observer, refs, value, start):
    return observer.array_of(refs[0], value)


def array_of(observer, v, value):
    """The Ref of the array of a Variable."""
    if v.kind == "retained":
        return v.source
    if v.value._pending is observer.call:
        return observer.show_array(value, v.value._vid)
    if v.kind == "static" and value is not None:
        return observer.held_array(v.value)
    if v.kind == "made" and value is real_array(v.source[1]):
        return v.source[1]
    if v.kind in ("arg", "state") and v.source is not None and value is not None and value is v.value._array and type(value) is np.ndarray:
        ref = Ref("arg", value, ("arrayof", v.source))
        observer.note_origin(ref)
        return ref
    raise Doubt("reads the array of a Variable from outside")


def _backward(observer, refs, value, start):
    path = observer.call.path
    plain = all(r.kind == "static" and (r.value is None or r.value is False) for r in refs[1:])
    if observer.applied and refs[0].kind == "fresh" and plain and [e.kind for e in path[start:start + 1]] != ["backward"]:
        return observer.walked(refs[0].value)
    event = _event(observer, "backward", start)
    if refs[0].kind != "fresh":
        raise Doubt("backward from a Variable from outside")
    if event.key[1][0] and refs[0].value.shape:
        raise Doubt("backward from a Variable with one element and axes, which warns")
    observer.add_to_gradients(event)
    observer.effects.append(("backward", event, refs[0].value))
    return constant(None)


def _grad(observer, refs, value, start):
    if isinstance(value, (list, tuple)) or value is None and not refs:
        event = _event(observer, "grad", start)
        if event.key[3]:
            raise Doubt("hnn.grad with set_grad")
        return mirror(type(value), [constant(None) if v is None else result(observer, v) for v in value])
    g = None if refs[0].value._tape is None else refs[0].value._tape.grad
    vid = observer.call.known_vid(g) if value is (g._array if isinstance(g, Variable) else g) and value is not None else None
    return observer.show_gradient(refs[0].value, value, vid)


def _copydata(observer, refs, value, start):
    if any(r.kind != "static" or not isinstance(r.value, Variable) or r.value._array is None for r in refs) or len(refs) != 2:
        raise Doubt("copies a Variable whose origin is not known")
    observer.copy_into(*[observer.held_array(r.value) for r in refs])
    return constant(None)


def _grad_var(observer, refs, value, start):
    if value is None:
        raise Doubt("looks whether a gradient is None")
    return result(observer, value)


def _event(observer, kind, start):
    path = observer.call.path
    if len(path) <= start or path[start].kind != kind:
        raise Doubt(f"{kind} did not replay")
    return path[start]


def _cleargrad(observer, refs, value, start):
    if refs[0].kind == "fresh":
        raise Doubt("clears the gradient of a Variable made in this call")
    if refs[0].kind == "made":       # its gradient is seen in this call only
        return constant(None)
    observer.clear_gradients(refs[:1])
    return constant(None)


def _cleargrads(observer, refs, value, start):
    link = refs[0].value
    guard_links(observer, link)
    params = [Ref("static", p, ("fixed",)) for p in link.params()]
    for p in params:
        guard_methods(observer, p.value)
        observer.note_origin(p)
    observer.clear_gradients(params)
    return constant(None)


def guard_methods(observer, obj):
    """What an object's methods do is what its class, as it is, says."""
    if not methods(type(obj)).isdisjoint(obj.__dict__):
        raise Doubt(f"a {type(obj).__name__} with methods of its own")
    observer.guard("class", obj, type(obj))
    observer.guard("surface", type(obj))
    observer.guard("methods", obj)


WALKS = ("params", "namedparams", "links", "namedlinks", "children", "_named_children")


def guard_links(observer, link):
    """The tree of links and their parameters stays what it is."""
    for each in link.links():
        observer.guard("class", each, type(each))
        for name in WALKS:
            walk = class_lookup(type(each), name)
            if not is_library_code(walk):
                raise Doubt(f"{type(each).__name__} defines its own {name}")
            if name in each.__dict__:
                raise Doubt(f"a {type(each).__name__} has its own {name}")
            observer.guard("classattr", type(each), name, walk)
            observer.guard("noattr", each, name)
        names = frozenset(each._params)
        observer.guard("names", each, names)
        for name in names:
            observer.guard("attr", each, name, each.__dict__[name])
        children = each.__dict__.get("_children")
        if children is not None:
            observer.guard("attr", each, "_children", children)
            observer.guard("members", children, tuple(children))
            for name in children:
                if isinstance(name, str):
                    observer.guard("attr", each, name, each.__dict__[name])


def _update(observer, refs, value, start):
    optimizer = refs[0].value
    check_plain(optimizer)
    guard_links(observer, optimizer.target)
    guard_methods(observer, optimizer)
    observer.guard("attr", optimizer, "target", optimizer.target)
    observer.guard("attr", optimizer, "_steps", optimizer._steps)
    observer.guard("plain", optimizer)
    rules = [p.update_rule for p in optimizer.target.params()]
    if len({id(r) for r in rules}) < len(rules):
        raise Doubt("a parameter is updated twice (it is tied)")
    active = [r for r in rules if r.enabled]        # the others leave their parameters alone
    observer.refuse_assigned([*rules, *_read_by(optimizer, active)])
    guard_hyperparameters(observer, optimizer.hyperparam)
    observer.guard("attr", optimizer, "hyperparam", optimizer.hyperparam)
    for p, rule in zip(optimizer.target.params(), rules, strict=True):
        _guard_rule(observer, p, rule)
    observer.meet_gradients(optimizer.target.params())
    hooks = guard_hooks(observer, optimizer)
    _rule_numbers(observer, start, _hook_numbers(observer, start, hooks))
    _filled(observer, optimizer.target, start)
    observer.effects.append(("update", tuple(c._steps for c in [optimizer, *active]), start))
    return constant(None)


def _guard_rule(observer, p, rule):
    """A parameter is updated as before, by the same numbers and arrays."""
    guard_methods(observer, p)
    guard_methods(observer, rule)
    observer.guard("attr", p, "update_rule", rule)
    observer.guard("rule", rule, rule.enabled)
    if not rule.enabled:
        return
    observer.guard("attr", rule, "hyperparam", rule.hyperparam)
    guard_hyperparameters(observer, rule.hyperparam)
    observer.guard("attr", rule, "_steps", rule._steps)
    observer.guard("attr", rule, "_state", rule.state)
    if is_unmade(p):
        observer.guard_unmade(p)
        return
    for name in rule.slots:
        a = rule.state[name]
        observer.guard("item", rule.state, name, a)
        observer.origins[id(a)] = Ref("state", a, ("slot", rule, name))


def _read_by(optimizer, rules):
    """What an update reads beside parameters and gradients."""
    found = [optimizer, optimizer._steps, optimizer.hyperparam]
    for rule in rules:
        found += [rule, rule._steps, rule.hyperparam, rule.state]
    queues = optimizer._hooks.queues if optimizer._hooks is not None else {}
    for queue in queues.values():
        found += [queue, *queue.values(), *[h.averages for h in queue.values() if type(h) is ExponentialMovingAverage]]
    return [*found, queues]


def guard_hyperparameters(observer, hyperparam):
    """Floats are read on every call; their type, and all else, stays."""
    while hyperparam is not None:
        observer.guard("hyper", hyperparam)
        hyperparam = hyperparam.parent


def check_plain(optimizer):
    """The update does nothing but the rules' arithmetic."""
    if type(optimizer)._update_grouped is not GradientMethod._update_grouped or type(optimizer)._update_all is not GradientMethod._update_all:
        raise Doubt(f"{type(optimizer).__name__} defines its own update")
    if optimizer._loss_scale is not None or optimizer._loss_scaling_is_dynamic:
        raise Doubt("the optimizer scales the loss")
    for p in optimizer.target.params():
        rule = p.update_rule
        if rule is None or not isinstance(rule, OpRule) or type(rule).update_core_cpu is not OpRule.update_core_cpu:
            raise Doubt("a parameter has an update rule of its own")
        if not type(rule).__module__.startswith("hybridnn.") or rule._use_fp32_update is not False or rule._hooks is not None or type(rule.enabled) is not bool:
            raise Doubt("a parameter's update rule is not plain")
        if rule.enabled and rule.state is None and not is_unmade(p):
            raise Doubt("the optimizer's state is not made yet")


def guard_hooks(observer, optimizer):
    """The optimizer's hooks, which stay the same and do what the library's do."""
    queues = optimizer._hooks.queues if optimizer._hooks is not None else {}
    hooks = [h for queue in queues.values() for h in queue.values()]
    for hook in hooks:
        kind = type(hook)
        if kind not in HOOK_OPS:
            raise Doubt(f"the optimizer has the hook {kind.__name__}, whose effects are not known")
        if "call_for_each_param" in vars(hook):
            raise Doubt("the optimizer's hooks are not plain")
        observer.guard("class", hook, kind)
        observer.guard("noattr", hook, "call_for_each_param")
        observer.guard("classattr", kind, "__call__", kind.__call__)
        if kind is ExponentialMovingAverage:
            _averages(observer, hook)
    if len({HOOK_OPS[type(hook)] for hook in hooks}) < len(hooks):
        raise Doubt("the optimizer has several hooks of one kind")
    return hooks


def _averages(observer, hook):
    if hook.warmup is not False:
        raise Doubt("a moving average that warms up")
    observer.guard("attr", hook, "warmup", False)
    observer.guard("attr", hook, "averages", hook.averages)
    observer.guard("members", hook.averages, tuple(hook.averages))
    for name, a in hook.averages.items():
        observer.guard("item", hook.averages, name, a)
        observer.origins[id(a)] = Ref("state", a, ("fixed",))
    _count(observer, hook, "updates")


def _count(observer, obj, name):
    """``obj.name += 1``, which the library does."""
    place = "attr", obj, name
    value = observer.overlaid(*place)
    if value is None:
        value = Ref("arg", obj.__dict__[name] - 1, ("load", *place))
        observer.guard("typed", value.source, int)
    if type(value.value) is not int:
        raise Doubt(f"assigns a number that an update counts ({name})")
    observer.overlay[where_id(place)] = combine(observer, operator.add, value, constant(1))
    observer.counters.add(where_id(place))
    observer.effects.append(("count", obj, name))


def _hook_numbers(observer, start, hooks):
    """Where the numbers of hooks' operations come from; gives the ids of the events in place that the hooks made."""
    known = {op: (hook, names) for hook in hooks for op, names in [HOOK_OPS[type(hook)]]}
    found = set()
    for event in observer.call.path[start:]:
        op = event.key[0]
        if op in known and event.kind in ("op", "inplace"):
            hook, names = known[op]
            numbers = [o for o in event.operands if type(o).__name__ == "Number"]
            if len(numbers) != len(names) or any(o.value is not None for o in numbers):
                raise Doubt("a hook of the optimizer took other numbers than its own")
            for o, name in zip(numbers, names, strict=True):
                observer.numbers[o.vid] = Ref("hook", hook, name)
        if op in known or event.kind == "inplace" and op is OPS["mul"] and clip_rate in known and all(type(o) is int for o in event.operands):
            found.add(id(event))
    return found


def _filled(observer, link, start):
    """Gradients that the update made, of zeros, for parameters that had none."""
    made = set()
    for e in observer.call.path[start:]:
        made.update([o.vid for o in e.outs] if e.kind == "op" else [new for old, new in e.rebinds if old in made])
    for p in link.params():
        g = None if p._tape is None else p._tape.grad
        if isinstance(g, Variable) and g._pending is observer.call and g._vid in made:
            ref = Ref("static", p, ("fixed",))
            observer.note_origin(ref)
            observer.effects.append(("fill", ref, g._vid))


def _rule_numbers(observer, start, by_hooks):
    """The numbers of each in-place event come from its parameter's rule, unless a hook made it."""
    turn = sum(e[0] == "update" for e in observer.effects)
    for event in observer.call.path[start:]:
        if event.kind != "inplace" or id(event) in by_hooks:
            continue
        first = event.operands[0]
        leaf = observer.call.leaves.get(_root_vid(observer, first))
        rule = getattr(leaf, "update_rule", None)
        vids = [o.vid for o in event.operands if type(o).__name__ == "Number"]
        if rule is None or event.key[0] is not rule.op or len(vids) != len(rule.numbers(leaf)):
            raise Doubt("the update did more than its rules' arithmetic")
        for k, vid in enumerate(vids):
            observer.numbers[vid] = Ref("rule", rule, (leaf, k, turn))


def _root_vid(observer, operand):
    return observer.call.introduced().oldest(vid_of(operand))


def _setattr(observer, refs, value, start):
    return constant(None)


def _unchain(observer, refs, value, start):
    event = _event(observer, "unchain", start)
    if event.key[1]:
        raise Doubt("unchains Variables from outside")
    return constant(None)


def _to_device(observer, refs, value, start):
    """What this call has computed stays where the path computes it."""
    if refs[0].kind != "fresh" or len(observer.call.path) > start:
        raise Doubt("moves a Variable from outside to a device")
    return constant(None)


def _report(observer, refs, value, start):
    """Reports go into the current Reporter's dict, under the names that they had."""
    values, reporting = refs[0], refs[1] if len(refs) > 1 else constant(None)
    if not _stack.reporters:
        observer.guard("noreporter", _stack)
        return constant(None)
    reporter = _stack.reporters[-1]
    if values.kind != "mirror" or type(values.value) is not dict or values.source is not None or type(reporter) is not Reporter:
        raise Doubt("reports to a Reporter of its own kind, or a dict from outside")
    if reporting.kind != "static" or "report" in vars(reporter):
        raise Doubt("reports for an object whose origin is not known")
    name = None if reporting.value is None else reporter._observer_names[id(reporting.value)]
    observer.guard("reporter", _stack, Reporter, reporting.value, name)
    for key, ref in values.value.items():
        full = key if name is None else f"{name}/{key}"
        stored = reporter.observation[full]
        observer.effects.append(("report", (_stack, reporter), full, result(observer, stored) if isinstance(stored, Variable) else ref))
    return constant(None)


def _made(observer, refs, value, start):
    source = refs[1]
    outside = source.kind in ("arg", "state", "view") and source.source is not None and isinstance(source.value, np.ndarray)
    made = source.kind == "array" and isinstance(source.value, np.ndarray)
    shown = source.kind == "fresh" and isinstance(source.value, np.ndarray) and source.source[0] == "array"
    if not (outside or made or shown) or any(k not in ("requires_grad", "name") for k in refs[0].source[2]):
        raise Doubt("makes a Variable of an array whose origin is not known")
    return constant(None)


def _rows(observer, refs, value, start):
    return Ref("iterator", VariableRows(refs[0], observer.made_row))


HANDLERS = {"batch": lambda observer, refs, value, start: asked(observer, refs, value), "made": _made, "rows": _rows, "copydata": _copydata, "report": _report,
            "read": _read, "array": _array, "backward": _backward, "grad-or-property": _grad, "grad_var": _grad_var, "cleargrad": _cleargrad,
            "cleargrads": _cleargrads, "update": _update, "__setattr__": _setattr, "unchain": _unchain, "to_device": _to_device,
            "apply_function": lambda observer, refs, value, start: observer.function_applied(refs, value, start),
            "retained": lambda observer, refs, value, start: observer.retained(refs, value)}
