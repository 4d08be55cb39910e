"""The one deliberate knot: ``Op``, ``apply``, the tape, ``Variable``, ``backward`` and ``grad``.

An operation is an ``Op`` record. ``apply(op, inputs, attrs)`` is the only way an operation runs on Variables; tracers, hooks and the
tape all live there. The tape is a graph of ``TapeNode``: a ``Leaf`` for a Variable that nobody computed, an ``OpNode`` for the output of
an op, a user's ``FunctionNode`` (core/function_node.py), and an ``Output`` for each output of a node that has several. A node keeps
what its gradient rules name and nothing else. Gradients live on nodes, so a Variable may die before backward reaches it.
"""
import functools
import heapq
import inspect
import itertools
import sys
import traceback
import warnings
import weakref

import numpy as np

from hybridnn.backend import CpuDevice, Intel64Device, cupy, get_array_module, get_device, get_device_from_array, is_array, to_chx
from hybridnn.config import config, global_config, state
from hybridnn.core.labels import class_name
from hybridnn.core.labels import label as label_of
from hybridnn.errors import InvalidType, ReleasedGraphError, UninitializedParameterError
from hybridnn.memory_layouts import require_plain
from hybridnn.spec import spec_of

__all__ = ["OPS", "Op", "Variable", "apply", "apply_inplace", "as_array", "as_variable", "backward", "grad",
           "grouped_updates", "show"]

NO_ATTRS = {}
OPS = {}
ROOM = 1 << 24      # the nodes of a traced call get numbers between two of the sequence, and their outputs numbers between theirs
_sequence = itertools.count(ROOM * ROOM, ROOM * ROOM).__next__
_getrefcount = sys.getrefcount


# ---------------------------------------------------------------------------------------------------------------- operations

class Op:
    """One operation: forward body, gradient rules, samples. Everything else is derived from this record.

    ``forward(xp, *operands, **attrs)`` computes on arrays (or Python numbers) and returns an array, or a tuple of arrays when
    ``multi``. Numbers that may change from call to call are operands; ``attrs`` hold structure (axes, shapes, flags, dtypes) and compare by ``==``.

    Called as ``op(x, y, axis=0)`` it is polymorphic: Variables in, Variable out; only arrays in, array out. Gradient rules rely on that.

    Attributes:
        kind: ``"elementwise"``, ``"reduction"``, ``"view"``, ``"matmul"``, ``"row"`` ... : what the JIT may do with it; ``"opaque"`` runs as a Python step.
        fast: a NumPy callable equal to ``forward`` on NumPy operands without attrs, or None.
        decompose: an equivalent function written with finer ops, which a trace records instead of this coarse op, or None.
        samples: ``samples(rng, dtype)`` yields ``(operands, attrs)`` for the derived tests.
        differentiable: per operand, whether a gradient exists (None: all).
    """

    def __init__(self, name, forward, kind="opaque", fast=None, multi=False, samples=None, domain=None, decompose=None, meta=None):
        self.name, self.forward, self.kind, self.fast, self.multi = name, forward, kind, fast, multi
        self.samples, self.domain, self.decompose, self.meta = samples, domain, decompose, meta or {}
        self.params = _operand_names(forward)
        self.rules = []
        self.programs = {}
        self.__name__, self.__doc__ = name, forward.__doc__
        if name in OPS:
            raise ValueError(f"two operations are called {name!r}")
        OPS[name] = self

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return _find_op, (self.name,)

    def __call__(self, *inputs, **attrs):
        for x in inputs:
            if isinstance(x, Variable):
                return apply(self, inputs, attrs)
        return self.run(inputs, attrs)

    def run(self, arrays, attrs):
        """Forward on arrays; results are arrays of the operands' module, never NumPy scalars."""
        xp = np if cupy is None else get_array_module(*arrays)
        y = self.forward(xp, *arrays, **attrs)
        return tuple([_as_ndarray(v) for v in y]) if self.multi else _as_ndarray(y)

    def vjp(self, rule):
        """Register the gradient rule of all operands: returns their gradients (a tuple if there are several operands; None for none).

        A rule names what it needs, and only that is kept alive: operands by name, ``y`` (``ys`` if multi) the output, ``g`` (``gs``) its
        gradient, attrs by name, ``shapes`` and ``dtypes`` of the operands, ``want`` (which operands need one), ``xs`` all operands.
        Rules use operators and ops only, so that they work on Variables (recorded, differentiable) and on plain arrays.
        """
        self.rules.append((rule, None))
        return rule

    def vjp_of(self, *names):
        """Like ``vjp`` for one operand: the decorated rule returns that operand's gradient and runs only when it is needed."""
        def register(rule):
            self.rules.append((rule, tuple(self.params.index(n) for n in names)))
            return rule
        return register

    def program(self, mask, n):
        """The gradient program for operands whose bits are set in ``mask``, of ``n`` operands."""
        key = (mask, n)
        found = self.programs.get(key)
        if found is None:
            found = self.programs[key] = Program(self, mask, n)
        return found


def _find_op(name):
    return OPS[name]


def _as_ndarray(y):
    return y if type(y) is np.ndarray or is_array(y) else np.asarray(y)


def _operand_names(forward):
    params = list(inspect.signature(forward).parameters.values())[1:]
    return tuple(p.name for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


class Program:
    """What an op does backward for one pattern of operands that need gradients: what to keep, and which rules to run."""

    def __init__(self, op, mask, n):
        self.op, self.mask, self.n = op, mask, n
        self.want = tuple(bool(mask >> i & 1) for i in range(n))
        chosen = [(r, t) for r, t in op.rules if t is None or any(self.want[i] for i in t)]
        names = [list(inspect.signature(r).parameters) for r, _ in chosen]
        needed = {name for ns in names for name in ns} - {"g", "gs"}      # these mean the output's gradient, whatever operands are called
        self.keep = tuple(range(n)) if "xs" in needed else tuple(i for i, p in enumerate(op.params) if p in needed)
        self.keep_output = bool({"y", "ys"} & needed - set(op.params))       # an operand may be called y
        self.needs_specs = bool({"shapes", "dtypes"} & needed)
        self.calls = tuple((r, t, tuple(self._getter(p) for p in ns)) for (r, t), ns in zip(chosen, names, strict=True))
        self.on_arrays = self._write(chosen, names)

    def _write(self, chosen, names):
        """``on_arrays(node, g)``: the list of gradients of plain arrays, as a function that does just that."""
        rules = {f"rule{k}": r for k, (r, _) in enumerate(chosen)}
        calls = [f"rule{k}({', '.join(self._expression(p, rules) for p in ns)})" for k, ns in enumerate(names)]
        if len(chosen) == 1 and chosen[0][1] is None:
            body = calls[0] if self.n > 1 else f"_listed({calls[0]})"
        else:
            parts = ["None"] * self.n
            for k, (_, targets) in enumerate(chosen):
                parts[targets[0]] = calls[k]
            body = f"[{', '.join(parts)}]"
        names_of = {**rules, "_listed": _listed}
        exec(f"def on_arrays(node, g):\n    s = node.saved\n    return {body}\n", names_of)
        return names_of["on_arrays"]

    def _expression(self, name, space):
        """How a rule's parameter is read from the node."""
        if name in self.op.params and name not in ("g", "gs"):
            return f"s[{self.keep.index(self.op.params.index(name))}]"
        if name in ("g", "gs"):
            return "g"
        if name in ("y", "ys"):
            return "node.out"
        if name == "xs":
            return "tuple(s)"
        if name in ("shapes", "dtypes"):
            return f"[x.{name[:-1]} for x in node.specs]"
        space[f"default_{name}"] = self.want if name == "want" else inspect.signature(self.op.forward).parameters[name].default
        return "default_want" if name == "want" else f"node.attrs.get({name!r}, default_{name})"

    def _getter(self, name):
        if name in self.op.params and name not in ("g", "gs"):
            position = self.keep.index(self.op.params.index(name))
            return lambda node, g, v: node.operand(position, v)
        special = {
            "g": lambda node, g, v: g, "gs": lambda node, g, v: g,
            "y": lambda node, g, v: node.output(v), "ys": lambda node, g, v: node.output(v),
            "xs": lambda node, g, v: tuple([node.operand(i, v) for i in range(len(node.program.keep))]),
            "shapes": lambda node, g, v: [s.shape for s in node.specs], "dtypes": lambda node, g, v: [s.dtype for s in node.specs],
            "want": lambda node, g, v: node.program.want}
        default = inspect.signature(self.op.forward).parameters[name].default if name not in special else None
        return special.get(name) or (lambda node, g, v: node.attrs.get(name, default))


def _listed(value):
    return value if type(value) in (tuple, list) else [value]


def elementwise(name=None, *, fast=None, domain=(-2.0, 2.0), samples=None, multi=False, decompose=None, **meta):
    """Declare an elementwise operation from its body ``f(xp, x, ...)``; see ``Op``. ``domain`` bounds the derived samples."""
    return lambda body: Op(name or body.__name__, body, "elementwise", fast=fast, multi=multi, samples=samples, domain=domain,
                           decompose=decompose, meta=meta)


def operation(name=None, kind="opaque", *, fast=None, samples=None, multi=False, decompose=None, **meta):
    """Declare any other operation from its body ``f(xp, x, ..., *, attr)``; see ``Op``."""
    return lambda body: Op(name or body.__name__, body, kind, fast=fast, multi=multi, samples=samples, decompose=decompose, meta=meta)


# ---------------------------------------------------------------------------------------------------------------------- tape

class TapeNode:
    """A value in the graph of the computation: who made it (``edges``), and its gradient once known (array, Variable or None)."""
    edges = ()
    grad = None
    shape = dtype = None
    owner = None          # an ``Output``'s node; None otherwise
    name = None           # of the Variable
    function = None       # the old-style ``Function`` that a node stands for
    is_leaf = False
    loss_scale = None
    retained = None       # weak reference to the array, if a user's function retains it
    closed = None         # why nobody can go back through the node, if so
    wanted = True         # whether the value's gradient is asked for, where somebody changes his mind after the application
    _view = None          # weak reference to the VariableNode that users hold

    @property
    def creator(self):
        """The node that computed this value, or None for a leaf."""
        return self

    first_rank = 0        # of a leaf: what its rank was before its creator was forgotten

    def view(self, variable=None):
        """The ``VariableNode`` of this value: the same object as long as somebody holds it."""
        found = None if self._view is None else self._view()
        if found is None:
            found = VariableNode(self, variable)
            self._view = weakref.ref(found)
        elif variable is not None and found.get_variable_or_none() is None:
            found._variable = weakref.ref(variable)
        return found


class TracedNumber:
    """Base of the numbers that a tracer puts on the tape in place of scalar operands, to follow them through gradient rules."""

    def plain(self):
        """The Python number."""
        raise NotImplementedError


class Leaf(TapeNode):
    """A value that no recorded operation made. It comes before all that rests on it, whenever it gets its node: a traced call makes its graph later."""

    def __init__(self, shape, dtype):
        self.seq, self.shape, self.dtype, self.is_leaf, self.grad = -_sequence(), shape, dtype, True, None

    creator = None


class Output(TapeNode):
    """Output number ``index`` of a node with several outputs; a leaf too once the node's creators are forgotten."""
    _cut = False

    def __init__(self, owner, index, shape, dtype):
        self.seq, self.owner, self.index, self.shape, self.dtype = _sequence(), owner, index, shape, dtype
        self.edges = (owner,)

    @property
    def is_leaf(self):
        return self._cut or self.owner.is_leaf

    @is_leaf.setter
    def is_leaf(self, value):
        self._cut = value

    @property
    def creator(self):
        return None if self.is_leaf else self.owner


class OutputRef:
    """A weak reference to an output's ``VariableNode``: calling it gives the node, or None if nothing needs that output any more."""

    def __init__(self, ref):
        self.ref = ref

    def __call__(self):
        node = self.ref()
        return None if node is None else node.view()


def _shown(name, node):
    if name not in node.shown:
        raise AttributeError(f"{node!r} has no {name!r}")
    return node.shown[name](node)


def show(result, **functions):
    """``result``, whose ``creator`` gets attributes: functions of the node, which read them from what it keeps."""
    result._shown = functions
    return result


class OpNode(TapeNode):
    """An application of an ``Op``: its gradient program and what the rules named."""

    out = specs = stack = None
    shown = {}            # names of Chainer's for what was drawn or computed on the way (``creator.mask``): functions of the node

    def __init__(self, program, edges, saved, out, attrs, specs):
        self.seq = _sequence()
        self.program, self.edges, self.saved, self.out, self.attrs, self.specs = program, edges, saved, out, attrs, specs

    y, mask, flag_x, flag_h = [property(functools.partial(_shown, name)) for name in ("y", "mask", "flag_x", "flag_h")]

    @property
    def creator(self):
        return None if self.is_leaf else self

    @property
    def rank(self):
        """The highest rank among the inputs."""
        return rank_of(self) - 1

    @property
    def label(self):
        return label_of(self.program.op, self._numbers(), len(self.shape or ()))

    def __repr__(self):
        return f"<{self.program.op.name} node>"

    @property
    def _impl_name(self):
        return class_name(self.program.op, self._numbers(), len(self.shape or ()))

    def _numbers(self):
        """The operands, of which only numbers that the gradient needs are sure to be known."""
        return [x.plain() if isinstance(x, TracedNumber) else x for x in self.kept_inputs()]

    @property
    def inputs(self):
        """The ``VariableNode``s of the operands that need gradients."""
        return tuple([_view_of_input(x, a) for x, a in zip(self.edges, self.kept_inputs(), strict=False) if x is not None])

    _outputs = None        # weak references to the nodes of several outputs

    @property
    def outputs(self):
        """Weak references to the ``VariableNode``s of the outputs."""
        refs = (self._outputs or ()) if self.program.op.multi else (weakref.ref(self),)
        return tuple([OutputRef(ref) for ref in refs])

    def kept_inputs(self):
        """The operands' arrays or numbers, None for those that were not kept."""
        kept = dict(zip(self.program.keep, self.saved)) if self.saved and self.saved is not RELEASED else {}
        return tuple([kept.get(i) for i in range(self.program.n)])

    def operand(self, position, as_variable):
        """Saved operand number ``position``: the array, or a Variable connected to the graph."""
        x = self.saved[position]
        if type(x) is np.ndarray or is_array(x):
            return _connected(x, self.edges[self.program.keep[position]]) if as_variable else x
        return x.plain() if isinstance(x, TracedNumber) and state.tracer is None else x

    def output(self, as_variable):
        if not as_variable:
            return self.out
        if self.program.op.multi:
            return tuple([_connected(y, Output(self, i, y.shape, y.dtype)) for i, y in enumerate(self.out)])
        return _connected(self.out, self)

    def gradients(self, g, as_variables):
        """Gradients of the inputs, in order; None where none is needed or none exists."""
        if self.saved is RELEASED:
            raise ReleasedGraphError(RELEASED_TEXT)
        result = self._on_variables(g) if as_variables else self.program.on_arrays(self, g)
        fitted = []
        for x, gx in zip(self.edges, result):   # a rule may return fewer
            if x is None or gx is None:
                fitted.append(None)
                continue
            shape, dtype = x.shape, x.dtype
            fitted.append(gx if gx.shape == shape and gx.dtype is dtype else _fit(gx, shape, dtype))
        return fitted

    def _on_variables(self, g):
        result = [None] * self.program.n
        for rule, targets, getters in self.program.calls:
            value = rule(*[get(self, g, True) for get in getters])
            if targets is None:
                result = _listed(value)
            else:
                result[targets[0]] = value
        return result

    def release(self):
        """Forget what the rules need, so that memory is free; backward through here raises from now on."""
        self.saved = RELEASED
        self.out = None


replaying = []        # calls of all threads that have work pending; whoever gets an array could write into it before that has run
scaled = [False]      # whether any gradient of this process has been scaled, so that a node may say so
RELEASED = ("released",)
RELEASED_TEXT = ("the graph of this value belonged to a traced call that ran backward through it, updated arrays in place and released it\n"
                 "  hint: walk a graph again before the update, inside the traced function; or update outside of it")


class ReleasedNode(TapeNode):
    """The creator of a Variable whose graph a traced call has used and given up."""
    label = "released"

    def __init__(self, shape, dtype):
        self.seq, self.shape, self.dtype = _sequence(), shape, dtype

    @property
    def creator(self):
        return None if self.is_leaf else self

    def gradients(self, g, as_variables):
        """Raises ``ReleasedGraphError``."""
        raise ReleasedGraphError(RELEASED_TEXT)


def _fit(g, shape, dtype):
    """``g`` summed over what broadcasting added, in the operand's dtype."""
    if g.shape != shape:
        g = OPS["sum_to"](g, shape=shape)
    return g if g.dtype == dtype else OPS["cast"](g, dtype=np.dtype(dtype).str)


def _connected(array, node):
    v = _new(Variable)
    v._array = array
    v._tape = node
    v._requires_grad = node is not None
    return v


def rank_of(node):
    """A value's rank: the number of applications on the longest path from a leaf to it."""
    ranks, stack = {}, [node]
    while stack:
        n = stack[-1]
        if n in ranks:
            stack.pop()
            continue
        parents = [] if n.is_leaf else [p for p in n.edges if p is not None]
        todo = [p for p in parents if p not in ranks]
        if todo:
            stack += todo
            continue
        stack.pop()
        through = 0 if n.is_leaf or isinstance(n, Output) else 1
        fixed = getattr(n, "_fixed_rank", None)
        ranks[n] = (max((ranks[p] for p in parents), default=n.first_rank) if fixed is None else fixed) + through
    return ranks[node]


# --------------------------------------------------------------------------------------------------------------------- apply

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
                edges.append(x._tape or _make_leaf(x))
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
    except (ValueError, TypeError) as error:
        raise _explain(op, arrays, attrs, error) from error
    if type(y) is not np.ndarray:
        y = _as_ndarray(y)
    v = _new(Variable)
    v._array = y
    if mask == 0 or not op.rules:
        v._requires_grad = False
        return v
    v._requires_grad = True      # as on the class; what is an instance's own is read ten times as fast, here and below
    backprop = state.backprop
    if global_config.enable_backprop if backprop is None else backprop:
        n = len(inputs)
        program = op.programs.get((mask, n)) or op.program(mask, n)
        node = _new(OpNode)
        node.seq, node.program, node.edges, node.attrs = _sequence(), program, edges, attrs
        node.is_leaf, node.owner, node.grad = False, None, None
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
            return y if type(y) is np.ndarray else _as_ndarray(y)
        return op.run(arrays, attrs)
    except InvalidType:
        raise
    except (ValueError, TypeError) as error:
        raise _explain(op, arrays, attrs, error) from error


def _explain(op, arrays, attrs, error):
    names = op.params if len(op.params) == len(arrays) else [f"x{i}" for i in range(len(arrays))]
    seen = ", ".join(f"{n}: {_describe(a)}" for n, a in zip(names, arrays, strict=True))
    if attrs:
        seen += "; " + ", ".join(f"{k}={v!r}" for k, v in attrs.items())
    return InvalidType(op.name, "operands that fit together", seen, str(error).splitlines()[0])


def _describe(x):
    return str(spec_of(x)) if is_array(x) or type(x) in (int, float, bool, complex) or isinstance(x, np.generic) else f"{type(x).__name__} {x!r:.60}"


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
    n = len(inputs)
    program = op.programs.get((mask, n)) or op.program(mask, n)
    edges = []
    for x in inputs:
        edges.append((x._tape or _make_leaf(x)) if isinstance(x, Variable) and x._requires_grad else None)
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


def connect_outputs(node, variables):
    """Give each Variable an ``Output`` of ``node``. (No list of them on the node: that would be a cycle that only the collector frees.)"""
    node.n_outputs = len(variables)
    for i, v in enumerate(variables):
        a = v._array
        v._tape = Output(node, i, v.shape, v.dtype) if a is not None or v._pending is not None else Output(node, i, None, None)


def _make_leaf(x):
    leaf = Leaf(x.shape, x.dtype)
    if x._name is not None:
        leaf.name = x._name
    x._tape = leaf
    return leaf


def _apply_hooked(op, inputs, arrays, attrs, mask):
    call = FunctionCall(op, inputs, attrs)
    hooks = list(state.hooks.values())
    for hook in hooks:
        hook.forward_preprocess(call, tuple(arrays))
    y = run_checked(op, arrays, attrs)
    for hook in hooks:
        hook.forward_postprocess(call, tuple(arrays))
    result = wrap_outputs(op, inputs, arrays, attrs, mask, y)
    if config.debug:
        check_nan(call.label, "forward", y if op.multi else (y,))
        _remember_stack(result)
    return result


def _remember_stack(result):
    """In debug mode: a node knows where it was applied, so that an error in backward can say it."""
    node = (result[0] if type(result) is tuple else result).creator_node
    if node is not None:
        node.stack = traceback.extract_stack()


def _add_stack(error, node):
    """In debug mode: say in the text of an error of a node's gradient where the node was applied."""
    if config.debug and node.stack is not None:
        text = f"{error}\nStacktrace of {node.label}, which this is the gradient of:\n{''.join(traceback.format_list(node.stack))}"
        error.args = (text, *error.args[1:])


def check_nan(label, direction, arrays):
    """In debug mode: raise ``RuntimeError`` if an array has a NaN."""
    for i, a in enumerate(arrays):
        if a is not None and a.dtype.kind in "fc" and bool(get_array_module(a).isnan(a).any()):
            raise RuntimeError(f"NaN is detected on {direction} computation of {label}\n  in number {i}, {spec_of(a)}\n"
                               "  hint: this check belongs to config.debug")


def apply_inplace(op, inputs, targets, attrs=None):
    """Run ``op`` and write output k into the array of ``inputs[targets[k]]`` (a Variable or an array); nothing goes on the tape.

    The one way the library changes an array in place: parameters and states in an optimizer's update, running statistics, gradients in hooks.
    """
    if attrs is None:
        attrs = NO_ATTRS
    tracer = state.tracer
    if tracer is not None:
        tracer.apply_inplace(op, inputs, targets, attrs)
        return
    apply_inplace_eager(op, inputs, targets, attrs)


def apply_inplace_eager(op, inputs, targets, attrs):
    arrays = [as_array(x) for x in inputs]
    results = run_checked(op, arrays, attrs)
    for k, y in zip(targets, results if op.multi else (results,), strict=True):
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


class FunctionCall:
    """What a function hook is shown of an application."""

    def __init__(self, op, inputs, attrs):
        self.op, self.inputs, self.attrs = op, inputs, attrs

    @property
    def label(self):
        return label_of(self.op, self.inputs, _axes(self.inputs))

    @property
    def _impl_name(self):
        return class_name(self.op, self.inputs, _axes(self.inputs))


def _axes(operands):
    """The number of axes of the first array."""
    return next((len(x.shape) for x in operands if hasattr(x, "shape")), 0)


# ------------------------------------------------------------------------------------------------------------------ Variable

class Variable:
    """An array with its place in the graph of the computation.

    Args:
        data: array (NumPy or CuPy), or None for an uninitialised parameter.
        name: shown in printed graphs.
        grad: initial gradient array of the same shape and dtype.
        requires_grad: whether backpropagation reaches this Variable.
        layout: accepted for Chainer's signature; only None.
    """
    _array = None
    _tape = None
    _requires_grad = True
    _pending = None       # the tracer of the call that made this Variable, while that call runs
    _shown = None         # what its creator has to tell
    _name = None
    _has_chainerx_array = False
    layout = None
    __array_priority__ = 200

    def __init__(self, data=None, *, name=None, grad=None, requires_grad=True, layout=None):
        if layout is not None:
            require_plain(layout, type(self).__name__)
        if data is not None and not is_array(data):
            raise InvalidType("Variable", "a numpy.ndarray or cupy.ndarray", type(data).__name__, "numpy.asarray(x) makes one of a list or number")
        self._array, self._requires_grad, self._tape, self._pending = data, bool(requires_grad), None, None
        if name is not None:
            self._name = name
        if grad is not None:
            self.grad = grad

    @staticmethod
    def _init_unchecked(data=None, device=None, name=None, grad=None, grad_valid=True, requires_grad=True, is_chainerx_array=None,
                        node=None, layout=None):
        """A Variable under Chainer's name for a constructor without checks; ``node`` is the ``VariableNode`` it stands for."""
        v = Variable(data, name=name, grad=grad, requires_grad=requires_grad)
        if node is not None:
            v._tape = node._tape
        return v

    @property
    def name(self):
        """A name, or None; a drawing of the graph shows it."""
        return self._name

    @name.setter
    def name(self, name):
        self._name = name
        if self._tape is not None:
            self._tape.name = name

    # ---- values

    @property
    def array(self):
        """The array, or None for an uninitialised parameter."""
        if state.tracer is not None:
            state.tracer.expose(self)
        elif replaying:
            for call in list(replaying):
                call.expose_elsewhere(self)
        a = self._array
        if a is None and self._pending is not None:
            a = self._pending.materialize(self)
        return a

    @array.setter
    def array(self, a):
        if state.tracer is not None:
            state.tracer.assign(self)
        self._array = a
        self._pending = None
        if self._tape is not None and a is not None and self._tape.shape != a.shape and self._tape.is_leaf:
            self._tape = None

    data = raw_array = array

    @property
    def shape(self):
        a = self._array
        return a.shape if a is not None else self._missing().shape

    @property
    def dtype(self):
        a = self._array
        return a.dtype if a is not None else self._missing().dtype

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        a = self._array
        return a.size if a is not None else self._missing().size

    def _missing(self):
        if self._pending is not None:
            return self._spec
        raise UninitializedParameterError(f"{self.name or type(self).__name__} has no array yet\n"
                                          "  hint: its shape is set by the first call of its Link, or by initialize(shape)")

    @property
    def xp(self):
        return np if cupy is None else get_array_module(self._array)

    @property
    def is_initialized(self):
        """Whether the array exists."""
        return self._array is not None or self._pending is not None

    @property
    def requires_grad(self):
        """Whether backpropagation reaches this Variable."""
        return self._requires_grad

    @property
    def T(self):
        return self.transpose()

    def item(self, *args):
        """The value of a one-element Variable as a Python number."""
        if state.tracer is not None:
            return state.tracer.read(self, "item", args)
        return self.array.item(*args)

    def _read(self, kind):
        if state.tracer is not None:
            return state.tracer.read(self, kind, ())
        return READERS[kind](self.array)

    def __bool__(self):
        return self._read("bool")

    def __int__(self):
        return self._read("int")

    def __float__(self):
        return self._read("float")

    def __complex__(self):
        return complex(self.array.item())

    def __index__(self):
        return self._read("index")

    def mean(self, axis=None, *, weights=None, keepdims=False):
        """``functions.average`` of this Variable over axes, without weights."""
        if weights is not None:
            raise InvalidType("Variable.mean", "no weights", type(weights).__name__, "functions.average(x, axis, weights)")
        axes = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        for a in axes:
            if not -self.ndim <= a < self.ndim:
                raise InvalidType("Variable.mean", f"an axis of {spec_of(self)}", str(a))
        axes = None if axis is None else tuple([a % self.ndim for a in axes])
        return apply(OPS["mean"], (self,), {"axis": axes, "keepdims": keepdims})

    def debug_print(self):
        """A text that says what this Variable holds: type, shape, dtype, mean and deviation of values and gradient."""
        a, g = self.array, self.grad
        facts = {"device": None, "backend": None, "shape": None, "dtype": None, "statistics": None, "grad": None}
        if a is not None:
            facts.update(device="CPU" if isinstance(a, np.ndarray) else a.device, backend=type(a), shape=a.shape, dtype=a.dtype, statistics=_statistics(a))
        if g is not None:
            facts["grad"] = _statistics(g) if (g != 0).any() else 0
        return "\n".join([self.summary(), *[f"- {name}: {value}" for name, value in facts.items()]])

    def summary(self):
        """``<variable name>``, or the address where there is no name."""
        return f"<variable {f'at {id(self):#x}' if self.name is None else self.name}>"

    def __len__(self):
        shape = self.shape
        if not shape:
            raise TypeError("len() of a 0-d Variable")
        return shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        op = _UFUNC_OPS.get(ufunc.__name__)
        if method == "__call__" and out is None and not kwargs and op is not None:
            return OPS[op].of(*inputs) if op == "matmul" else apply(OPS[op], inputs)
        if out is not None:
            kwargs["out"] = tuple([x.array if isinstance(x, Variable) else x for x in out])
        return getattr(ufunc, method)(*[x.array if isinstance(x, Variable) else x for x in inputs], **kwargs)

    def __copy__(self):
        if self._pending is not None:
            self._pending.resolve(self)
        copied = self._without_graph()
        copied._tape = self._tape
        return copied

    def _without_graph(self):
        copied = _new(type(self))
        copied.__dict__.update(self.__dict__)
        copied._array = self.array
        copied._tape = copied._pending = None
        return copied

    def __deepcopy__(self, memo):
        import copy
        copied = self._without_graph()
        memo[id(self)] = copied
        for key, value in list(copied.__dict__.items()):
            copied.__dict__[key] = copy.deepcopy(value, memo)
        g = self._grad
        if g is not None:
            copied.grad = g.copy()
        return copied

    def __getstate__(self):
        values = {k: v for k, v in self.__dict__.items() if k not in ("_tape", "_pending")}
        return {**values, "_array": self.array, "grad": self._grad}

    def __setstate__(self, values):
        g = values.pop("grad", None)
        self.__dict__.update(values)
        if g is not None:
            self.grad = g

    def __repr__(self):
        return self._text(", ")

    def __str__(self):
        return self._text(" ")

    def _text(self, separator):
        a = self.array
        head = f"variable {self.name}" if self.name else "variable"
        if a is None:
            return f"{head}(None)"
        if not isinstance(a, np.ndarray):
            return f"{head}({a})"
        if a.size == 0 and a.ndim > 1 and separator == ", ":
            return f"{head}([], shape={a.shape})"
        return f"{head}({np.array2string(a, prefix=head + '(', separator=separator)})"

    def __format__(self, spec):
        return format(self.array.item(), spec) if spec else str(self)

    # ---- graph

    @property
    def creator_node(self):
        """The node that computed this Variable (an ``OpNode`` or a user's ``FunctionNode``), or None."""
        if self._pending is not None:
            self._pending.resolve(self)
        return None if self._tape is None else self._tape.creator

    @creator_node.setter
    def creator_node(self, node):
        self.set_creator_node(node)

    def set_creator_node(self, node):
        """Make a ``FunctionNode`` the creator, as its first output; None unchains. An operation's node cannot be set again."""
        node = getattr(node, "node", node)
        if node is None:
            self.unchain()
        elif not isinstance(node, TapeNode) or isinstance(node, OpNode):
            raise TypeError(f"a Variable's creator is a FunctionNode or None; got {type(node).__name__}")
        elif isinstance(self._tape, Output):
            self._tape.owner, self._tape.edges, self._tape.is_leaf = node, (node,), False
        else:
            shape, dtype = (self.shape, self.dtype) if self.is_initialized else (None, None)
            before, self._tape = self._tape, Output(node, 0, shape, dtype)
            self._tape.name = self._name
            self._tape.grad = None if before is None else before.grad

    def set_creator(self, function):
        """Make a ``Function`` (or ``FunctionNode``) the creator."""
        self.set_creator_node(function)

    @property
    def creator(self):
        """The creator node; for an old-style ``Function`` that function."""
        node = self.creator_node
        if self._shown is not None and isinstance(node, OpNode):
            node.shown = self._shown
        return node if node is None or node.function is None else node.function

    @creator.setter
    def creator(self, node):
        self.creator_node = node

    @property
    def rank(self):
        """The number of applications on the longest path from a leaf to this Variable, also after its creator was forgotten."""
        if self._pending is not None:
            self._pending.resolve(self)
        return 0 if self._tape is None else rank_of(self._tape)

    @property
    def label(self):
        """Shape and dtype as text."""
        return _label(self) if self._pending is not None or self.array is not None else "(None)"

    @property
    def node(self):
        """The value's node in the graph, as a ``VariableNode``."""
        if self._pending is not None:
            self._pending.resolve(self)
        return (self._tape or _make_leaf(self)).view(self)

    _node = node

    def retain_data(self):
        """Nothing to do: an operation keeps what its gradient needs."""

    @property
    def _loss_scale(self):
        return None if self._tape is None else self._tape.loss_scale

    @_loss_scale.setter
    def _loss_scale(self, scale):
        scaled[0] = True
        (self._tape or _make_leaf(self)).loss_scale = scale

    def unchain(self):
        """Forget the creator: backward stops here."""
        if self._pending is not None:
            self._pending.resolve(self)
        node = self._tape
        if node is not None and not node.is_leaf:
            node.first_rank = rank_of(node)
            node.is_leaf, node.edges = True, ()
            if isinstance(node, OpNode):
                node.saved, node.out = None, None

    def unchain_backward(self):
        """Forget all creators from here back: truncated backpropagation."""
        if state.tracer is not None and state.tracer.unchain_backward(self):
            return
        stack = [self._tape] if self._tape is not None else []
        while stack:
            node = stack.pop()
            if node.is_leaf:
                continue
            stack += [p for p in node.edges if p is not None]
            node.is_leaf, node.edges = True, ()
            if isinstance(node, OpNode):
                node.saved, node.out = None, None

    # ---- gradients

    @property
    def grad(self):
        """The gradient array, or None."""
        g = None if self._tape is None else self._tape.grad
        return g.array if isinstance(g, Variable) else g

    @grad.setter
    def grad(self, g):
        if g is None:
            if self._tape is not None:
                self._tape.grad = None
            return
        if not is_array(g):
            raise InvalidType("grad", "an array or None", type(g).__name__)
        self._check_grad(g)
        (self._tape or _make_leaf(self)).grad = g

    _grad = grad      # Chainer's name for it inside

    @property
    def grad_var(self):
        """The gradient as a Variable, or None."""
        g = None if self._tape is None else self._tape.grad
        if g is None or isinstance(g, Variable):
            return g
        self._tape.grad = v = Variable(g)
        return v

    @grad_var.setter
    def grad_var(self, g):
        if g is not None:
            self._check_grad(g)
        (self._tape or _make_leaf(self)).grad = g

    def _check_grad(self, g):
        if self._array is None and self._pending is None:
            return
        if g.shape != self.shape or g.dtype != self.dtype:
            raise InvalidType("grad", f"the Variable's own {spec_of(self)}", str(spec_of(g)))

    def cleargrad(self):
        """Set the gradient to None."""
        if self._tape is not None:
            self._tape.grad = None

    def zerograd(self):
        """Set the gradient to zeros (deprecated in Chainer: ``cleargrad`` is quicker)."""
        warnings.warn("Variable.zerograd is deprecated; use cleargrad (a link's cleargrads)", DeprecationWarning, stacklevel=2)
        self._fill_grad()

    def _fill_grad(self):
        if self.array is None:
            return
        g = self.grad_var
        if g is None:
            self.grad = self.xp.zeros_like(self.array)
        else:
            g.unchain()
            g.array.fill(0)

    def addgrad(self, var):
        """Add ``var``'s gradient to this one's; an uninitialised parameter takes the other's shape."""
        if not _same_initialized(self, var):
            return
        if var.dtype != self.dtype or var.shape != self.shape:
            raise InvalidType("addgrad", f"a Variable like this {spec_of(self)}", str(spec_of(var)))
        g = var.grad
        if g is not None:
            mine = self.grad
            self.grad = g.copy() if mine is None else mine + g

    def copydata(self, var):
        """Copy ``var``'s values into this Variable's array; an uninitialised parameter takes the other's shape."""
        if not _same_initialized(self, var):
            return
        if self.array is None:
            self.array = var.array.copy()
        else:
            self.array[...] = get_device_from_array(self.array).send(var.array)

    def backward(self, retain_grad=False, enable_double_backprop=False, loss_scale=None):
        """Gradients of this (scalar, unless ``grad`` is set) Variable with respect to all it depends on, accumulated in ``grad``.

        Args:
            retain_grad: keep the gradients of intermediate Variables too.
            enable_double_backprop: record this computation, so that gradients can be differentiated.
            loss_scale: initial gradient instead of 1 (mixed precision); divided out by the optimizer.
        """
        backward([self], retain_grad, enable_double_backprop, loss_scale)

    # ---- operators (arithmetic and comparison: core/operators.py)

    def __getitem__(self, index):
        return OPS["get_item"].index(self, index)

    def __pos__(self):
        return self

    def reshape(self, *shape):
        if len(shape) == 1 and (shape[0] is None or isinstance(shape[0], (tuple, list))):
            shape = shape[0]
        return OPS["reshape"].to(self, shape)

    def transpose(self, *axes):
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
            axes = axes[0]
        return OPS["transpose"].by(self, axes or None)

    def __hash__(self):
        return id(self) >> 4

    # ---- devices

    _initial_device = None        # where a Parameter without a shape is to be created; None: the CPU

    @property
    def device(self):
        """The device of the array, or that an uninitialised Parameter will be created on."""
        if self._array is None and self._pending is None:
            return self._initial_device or CpuDevice()
        return get_device_from_array(self.array)

    def to_device(self, device):
        """Move the array and the gradient, in place, to a device ("@numpy", "@cupy:0", a number, a ``Device``)."""
        device = get_device(device)
        self._initial_device = device
        if self.device == device:
            return
        g = self.grad
        self.array = device.send(self.array)
        if g is not None:
            self._tape = None
            self.grad = device.send(g)

    def to_cpu(self):
        """``to_device("@numpy")``."""
        self.to_device("@numpy")

    def to_gpu(self, device=None):
        """``to_device`` of CUDA device number ``device`` (None: 0)."""
        self.to_device(0 if device is None else device)

    def to_intel64(self):
        """Raises ``BackendError``: iDeep is not taken over."""
        self.to_device(Intel64Device())

    def to_chx(self):
        """Raises ``BackendError``: ChainerX is not taken over."""
        to_chx(self)

    def from_chx(self):
        """Nothing to do: no array belongs to ChainerX."""


def _statistics(a):
    return f"mean={float(a.mean()):.8f}, std={float(a.std()):.8f}" if a.size else "empty"


def _same_initialized(dst, src):
    """False if neither has an array; one that has none takes the other's shape, if it is a parameter."""
    for mine, other in ((dst, src), (src, dst)):
        if not mine.is_initialized and other.is_initialized and hasattr(mine, "initialize"):
            mine.initialize(other.shape)
    return src.is_initialized


_new = object.__new__


def _truth(a):
    if a.size != 1:
        raise InvalidType("bool", "a Variable with one element", str(spec_of(a)), "any() or all() of its array")
    return bool(a)


READERS = {"bool": _truth, "int": int, "float": float, "index": lambda a: a.item().__index__()}
_UFUNC_OPS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow", "matmul": "matmul",
              "floor_divide": "floor_divide", "remainder": "remainder", "greater": "greater", "greater_equal": "greater_equal", "less": "less",
              "less_equal": "less_equal", "equal": "equal", "not_equal": "not_equal"}


def _view_of_input(tape, kept):
    """The ``VariableNode`` of an operand that its operation may have kept."""
    view = tape.view()
    if is_array(kept):
        view._kept = kept
    return view


class VariableNode:
    """A value's node as Chainer shows it; two of them are equal if they stand for the same node of the tape."""

    def __init__(self, tape, variable=None, **kwargs):
        if kwargs:
            raise ValueError(f"a VariableNode takes no {', '.join(kwargs)}; what a Variable has is set there")
        self._tape = tape
        self._variable = None if variable is None else weakref.ref(variable)

    _kept = None         # the array, if an operation that takes it kept it

    def __eq__(self, other):
        return isinstance(other, VariableNode) and self._tape is other._tape

    def __hash__(self):
        return hash(self._tape)

    creator_node = property(lambda self: self._tape.creator)
    shape = property(lambda self: self._tape.shape)
    dtype = property(lambda self: self._tape.dtype)
    rank = property(lambda self: rank_of(self._tape))
    _rank = property(lambda self: rank_of(self._tape), lambda self, rank: setattr(self._tape, "first_rank", rank))      # a leaf's
    name = property(lambda self: self._tape.name)
    grad_var = property(lambda self: _as_grad_var(self._tape))
    grad = property(lambda self: getattr(self._tape.grad, "array", self._tape.grad))

    @property
    def creator(self):
        node = self._tape.creator
        return node if node is None or node.function is None else node.function

    @property
    def data(self):
        """The array, if the Variable is alive or its operation kept it."""
        v = self.get_variable_or_none()
        if v is not None:
            return v.array
        kept = getattr(self._tape, "out", None) if self._tape.retained is None else self._tape.retained()
        return self._kept if kept is None else kept

    @property
    def requires_grad(self):
        v = self.get_variable_or_none()
        return self._tape.wanted if v is None else v.requires_grad

    @property
    def _requires_grad(self):
        return self.requires_grad

    @_requires_grad.setter
    def _requires_grad(self, wanted):
        """Chainer's way to change a mind: users' functions that were applied already do not compute this gradient."""
        self._tape.wanted = wanted
        v = self.get_variable_or_none()
        if v is not None:
            v._requires_grad = wanted

    def get_variable_or_none(self):
        """The Variable, if it is alive and known."""
        return None if self._variable is None else self._variable()

    def get_variable(self):
        """The Variable; if it is gone, another one at the same place in the graph."""
        v = self.get_variable_or_none()
        return _connected(self.data, self._tape) if v is None else v

    def unchain(self):
        """Forget the creator."""
        self.get_variable().unchain()

    @property
    def label(self):
        """Shape and dtype as text."""
        return _label(self)


def _label(x):
    return f"({', '.join(map(str, x.shape))}), {x.dtype}" if x.shape else str(x.dtype)


def _as_grad_var(tape):
    if tape.grad is not None and not isinstance(tape.grad, Variable):
        tape.grad = Variable(tape.grad)
    return tape.grad


def as_variable(x):
    """``x`` itself if it is a Variable, else a Variable over it that needs no gradient (Python numbers and lists become arrays)."""
    if isinstance(x, Variable):
        return x
    v = _new(Variable)
    v._array = x if is_array(x) else np.asarray(x)
    v._requires_grad = False
    return v


def as_array(x):
    """The array under a Variable, or ``x`` itself."""
    return x.array if isinstance(x, Variable) else x


# ------------------------------------------------------------------------------------------------------------------ backward

def backward(outputs, retain_grad=False, enable_double_backprop=False, loss_scale=None):
    """Backpropagate from several Variables at once, accumulating into the leaves' ``grad`` (equations 2 and 4 of the seed).

    As in Chainer, the outputs' own gradients are used up: they are None afterwards, unless ``retain_grad`` asks for all.
    """
    if loss_scale is not None:
        scaled[0] = True
    for v in outputs:
        if (v._array is None or v._array.ndim) and v.shape and v.size == 1 and (v._tape is None or v._tape.grad is None):
            warnings.warn(ONE_ELEMENT, DeprecationWarning, stacklevel=3)
    outputs = [v for v in outputs if v._pending is not None or v._tape is not None and not v._tape.is_leaf or not begins_at_leaf(v, loss_scale)]
    if not outputs:
        return None
    tracer = state.tracer
    if tracer is not None:
        return tracer.backward(outputs, retain_grad, enable_double_backprop, loss_scale)
    backward_eager(outputs, retain_grad, enable_double_backprop, loss_scale, enable_double_backprop or state.hooks is not None)


ONE_ELEMENT = ("backward takes the gradient one for a Variable with one element only if it has no axes; with axes that is deprecated\n"
               "  hint: functions.squeeze(y) or functions.sum(y) is a scalar; or set y.grad")


def begins_at_leaf(v, loss_scale):
    """Whether nobody computed ``v``: then backward has nothing to do but to begin, with the gradient one of a single element."""
    if v._tape is not None and not v._tape.is_leaf:
        return False
    if v._requires_grad and v.grad is None and v.size == 1:
        v.grad = initial_grad(v, loss_scale)
    return True


def backward_eager(outputs, retain_grad, enable_double_backprop, loss_scale, as_variables, store=None):
    grads = {}
    for v in outputs:
        node = v._tape
        if node is None or node.is_leaf:
            continue
        seed = node.grad
        if seed is None:
            seed = initial_grad(v, loss_scale)
        if as_variables and not isinstance(seed, Variable):
            seed = Variable(seed, requires_grad=False)
        node.grad = seed if retain_grad else None
        if not as_variables and isinstance(seed, Variable):
            seed = seed.array
        grads[node] = seed
    before, state.backprop = state.backprop, enable_double_backprop
    try:
        _walk(grads, {v._tape for v in outputs} if retain_grad else (), retain_grad, as_variables, loss_scale, store or _store)
    finally:
        state.backprop = before


def initial_grad(v, loss_scale):
    if v.size != 1:
        raise InvalidType("backward", "a Variable with one element, or with its grad set", str(spec_of(v)),
                          "sum() it, or set y.grad = an array of its shape")
    g = _cached_one(v.shape, v.dtype).copy() if cupy is None else v.xp.ones(v.shape, v.dtype)      # faster than ``np.ones``
    return g if loss_scale is None else v.xp.full_like(g, loss_scale)


@functools.lru_cache(64)
def _cached_one(shape, dtype):
    return np.ones(shape, dtype)


def _walk(grads, roots, retain_grad, as_variables, loss_scale, store):
    """Visit nodes from the newest back; ``grads`` maps a node to its gradient (a list of them for a node with several outputs)."""
    heap = [(-n.seq, n) for n in grads]
    heapq.heapify(heap)
    pop, push = heapq.heappop, heapq.heappush
    hooks = state.hooks
    plain = hooks is None and not as_variables and not retain_grad
    while heap:
        node = pop(heap)[1]
        g = grads.pop(node)
        if plain and type(node) is OpNode and not node.is_leaf and type(g) is not dict and node.saved is not RELEASED:
            for x, gx in zip(node.edges, node.program.on_arrays(node, g)):      # what ``gradients`` and the rest below do, where nothing is special
                if x is None or gx is None:
                    continue
                if gx.shape != x.shape or gx.dtype is not x.dtype:
                    gx = _fit(gx, x.shape, x.dtype)
                before = grads.get(x)
                if before is None:
                    grads[x] = gx
                    push(heap, (-x.seq, x))
                else:
                    grads[x] = _add(before, gx)
            gx = before = None       # ``grads`` is to be the only owner
            continue
        if node.is_leaf:
            store(node, g, as_variables, loss_scale)
            continue
        if retain_grad and node not in roots and node.shape is not None:
            node.grad = g if as_variables else _as_ndarray(g).copy()      # nobody else's, as a leaf's is
        if node.owner is not None:
            owner = node.owner
            slots = grads.get(owner)
            if slots is None:
                slots = grads[owner] = {}
                push(heap, (-owner.seq, owner))
            slots[node.index] = g if node.index not in slots else _add(slots[node.index], g)
            continue
        if type(g) is dict:
            g = _all_outputs(node, g)
        gxs = node.gradients(g, as_variables) if hooks is None else _hooked_gradients(node, g, as_variables)
        for x, gx in zip(node.edges, gxs, strict=False):
            if gx is None:
                continue
            before = grads.get(x)
            if before is None:
                grads[x] = gx
                push(heap, (-x.seq, x))
            else:
                grads[x] = _add(before, gx)


def _hooked_gradients(node, g, as_variables):
    """The gradients of a node's inputs, with function hooks, which see the outputs' gradients and the inputs that were kept."""
    hooks = list(state.hooks.values())
    given = tuple([as_array(x) for x in (g if type(g) is tuple else (g,))])
    data = node.kept_inputs()
    for hook in hooks:
        hook.backward_preprocess(node, data, given)
    try:
        result = node.gradients(g, as_variables)
    except Exception as error:
        _add_stack(error, node)
        raise
    for hook in hooks:
        hook.backward_postprocess(node, data, given)
    if config.debug:
        check_nan(node.label, "backward", [as_array(x) for x in result])
    return result


def _all_outputs(node, slots):
    count = node.n_outputs
    return tuple([slots.get(i) for i in range(count)])


def _add(a, b):
    return _as_ndarray(np.add(a, b)) if type(a) is type(b) is np.ndarray else OPS["add"](a, b)


def _store(node, g, as_variables, loss_scale):
    """Accumulate into a leaf. The array stored is nobody else's, so that writing into one gradient never changes another."""
    node.loss_scale = loss_scale
    if node.grad is not None:
        node.grad = _add(node.grad, g) if as_variables else np.add(getattr(node.grad, "array", node.grad), g)
        return
    if not as_variables:
        g = g if type(g) is np.ndarray else _as_ndarray(g)
        if g.base is not None or _getrefcount(g) > SOLE_OWNER:
            g = g.copy()
    elif not _writeable(g._array):
        g._array = g._array.copy()
    node.grad = g


def _writeable(a):
    return type(a) is not np.ndarray or a.flags.writeable


SOLE_OWNER = 3       # the walk's local, this function's parameter, and getrefcount's argument


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
    for kind, group, n in (("outputs", outputs, None), ("inputs", inputs, None), ("grad_outputs", grad_outputs, len(outputs)),
                           ("grad_inputs", grad_inputs, len(inputs))):
        if not isinstance(group, (tuple, list)) and (n is None or group is not None):
            raise InvalidType("grad", f"{kind} as a tuple or list of Variables", type(group).__name__)
        if n is not None and group is not None and len(group) != n:
            raise InvalidType("grad", f"as many {kind} as {kind[5:]}: {n}", str(len(group)))
    for v in (*outputs, *inputs):
        if not isinstance(v, Variable):
            _nodes_behind([y._tape for y in outputs if isinstance(y, Variable) and y._tape is not None])
            raise InvalidType("grad", "outputs and inputs that are Variables", type(v).__name__)
    tracer = state.tracer
    if tracer is not None:
        return tracer.grad(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale)
    return grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale)


def grad_eager(outputs, inputs, grad_outputs, grad_inputs, set_grad, retain_grad, enable_double_backprop, loss_scale):
    grads = {}
    for i, v in enumerate(outputs):
        if v._tape is None and not any(v is x for x in inputs):
            continue
        seed = None if grad_outputs is None else grad_outputs[i]
        if seed is None:
            ones = v.xp.ones(v.shape, v.dtype) if loss_scale is None else v.xp.full(v.shape, loss_scale, v.dtype)
            seed = Variable(ones, requires_grad=False)
        node = v._tape or _make_leaf(v)
        grads[node] = as_variable(seed) if node not in grads else _add(grads[node], as_variable(seed))
    targets = {(x._tape or _make_leaf(x)): None for x in inputs}
    old, state.backprop = state.backprop, enable_double_backprop      # the tape is on exactly if double backprop was asked for
    try:
        for x, extra in zip(inputs, grad_inputs or ()):
            if extra is not None:
                grads[x._tape] = as_variable(extra) if x._tape not in grads else _add(grads[x._tape], as_variable(extra))
        _walk_to(grads, targets, retain_grad)
    finally:
        state.backprop = old
    results = [targets[x._tape] for x in inputs]
    if set_grad:
        for x, g in zip(inputs, results, strict=True):
            x.grad_var = g
    return results


def _walk_to(grads, targets, retain_grad):
    useful = _between(list(grads), targets)
    heap = [(-n.seq, n) for n in grads if n in useful]
    heapq.heapify(heap)
    while heap:
        node = heapq.heappop(heap)[1]
        g = grads.pop(node)
        if type(g) is dict:
            g = _all_outputs(node, g)
        if node in targets:
            targets[node] = g
        if retain_grad and node.shape is not None:
            node.grad = g
        for x, gx in _pull(node, g, useful):
            if x not in grads:
                heapq.heappush(heap, (-x.seq, x))
                grads[x] = gx
            elif type(gx) is dict:
                for i, gi in gx.items():
                    grads[x][i] = gi if i not in grads[x] else _add(grads[x][i], gi)
            else:
                grads[x] = _add(grads[x], gx)


def _pull(node, g, useful):
    """The contributions of one node to its inputs."""
    if node.is_leaf:
        return []
    if node.owner is not None:
        return [(node.owner, {node.index: g})]
    if not any(x in useful for x in node.edges if x is not None):
        return []
    gxs = node.gradients(g, True) if state.hooks is None else _hooked_gradients(node, g, True)
    return [(x, gx) for x, gx in zip(node.edges, gxs, strict=True) if gx is not None and x in useful]


def _nodes_behind(sources):
    """All nodes that ``sources`` depend on, and these. Raises RuntimeError for a gradient that an old-style ``Function`` gave."""
    order, seen, stack = [], set(sources), list(sources)
    while stack:
        node = stack.pop()
        if node.closed is not None:
            raise RuntimeError(node.closed)
        order.append(node)
        for x in () if node.is_leaf else node.edges:
            if x is not None and x not in seen:
                seen.add(x)
                stack.append(x)
    return order


def _between(sources, targets):
    """Nodes on a path from ``sources`` back to ``targets``."""
    users, useful = {}, set()
    for node in _nodes_behind(sources):
        if node in targets:
            useful.add(node)
        for x in () if node.is_leaf else node.edges:
            if x is not None:
                users.setdefault(x, []).append(node)
    stack = list(useful)
    while stack:
        for node in users.get(stack.pop(), ()):
            if node not in useful:
                useful.add(node)
                stack.append(node)
    return useful
