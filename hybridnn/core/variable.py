"""The one deliberate knot: ``Op``, ``apply``, the tape, ``Variable``, ``backward`` and ``grad``.

An operation is an ``Op`` record. ``apply(op, inputs, attrs)`` is the only way an operation runs on Variables; tracers, hooks and the
tape all live there. The tape is a graph of ``TapeNode``: a ``Leaf`` for a Variable that nobody computed, an ``OpNode`` for the output of
an op, a user's ``FunctionNode`` (core/function_node.py), and an ``Output`` for each output of a node that has several. A node keeps
what its gradient rules name and nothing else. Gradients live on nodes, so a Variable may die before backward reaches it.

What does not need all of these has modules of its own: ``programs`` (gradient programs), ``walk`` (the walk back), ``operators``, ``debugging``, ``labels``.
"""
import functools
import inspect
import itertools
import warnings
import weakref

import numpy as np

from hybridnn.backend import CpuDevice, Intel64Device, cupy, get_array_module, get_device, get_device_from_array, is_array, to_chx
from hybridnn.config import config, global_config, state
from hybridnn.core.debugging import check_nan, explain, remember_stack
from hybridnn.core.labels import FunctionCall, class_name
from hybridnn.core.labels import label as label_of
from hybridnn.core.programs import NO_ATTRS, OPS, RELEASED, Program, as_ndarray, listed
from hybridnn.core.walk import add_gradients, fit, nodes_behind, walk, walk_to
from hybridnn.errors import InvalidType, ReleasedGraphError, UninitializedParameterError
from hybridnn.memory_layouts import require_plain
from hybridnn.spec import spec_of

__all__ = ["OPS", "Op", "Variable", "apply", "apply_inplace", "as_array", "as_variable", "backward", "grad",
           "grouped_updates", "show"]

ROOM = 1 << 24      # the nodes of a traced call get numbers between two of the sequence, and their outputs numbers between theirs
_sequence = itertools.count(ROOM * ROOM, ROOM * ROOM).__next__


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
        return tuple([as_ndarray(v) for v in y]) if self.multi else as_ndarray(y)

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


def _operand_names(forward):
    params = list(inspect.signature(forward).parameters.values())[1:]
    return tuple(p.name for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


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
    closed: str | None = None         # why nobody can go back through the node, if so
    refusal: type[Exception] = RuntimeError      # what says it
    wanted = True         # whether the value's gradient is asked for, where somebody changes his mind after the application
    _view = None          # weak reference to the VariableNode that users hold

    @property
    def creator(self):
        """The node that computed this value, or None for a leaf."""
        return self

    plain = False         # an operation's, whose gradients of plain arrays come from its program and what it saved
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
        self.seq, self.plain = _sequence(), True
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
            fitted.append(gx if gx.shape == shape and gx.dtype is dtype else fit(gx, shape, dtype))
        return fitted

    def _on_variables(self, g):
        result = [None] * self.program.n
        for rule, targets, getters in self.program.calls:
            value = rule(*[get(self, g, True) for get in getters])
            if targets is None:
                result = listed(value)
            else:
                result[targets[0]] = value
        return result

    def release(self):
        """Forget what the rules need, so that memory is free; backward through here raises from now on."""
        self.saved, self.plain = RELEASED, False
        self.out = None


replaying = []        # calls of all threads that have work pending; whoever gets an array could write into it before that has run
scaled = [False]      # whether any gradient of this process has been scaled, so that a node may say so
RELEASED_TEXT = ("the graph of this value belonged to a traced call that ran backward through it, updated arrays in place and released it\n"
                 "  hint: walk a graph again before the update, inside the traced function; or update outside of it")


class ReleasedNode(TapeNode):
    """The creator of a Variable whose graph a traced call has used and given up."""
    label, closed, refusal = "released", RELEASED_TEXT, ReleasedGraphError

    def __init__(self, shape, dtype):
        self.seq, self.shape, self.dtype = _sequence(), shape, dtype

    @property
    def creator(self):
        return None if self.is_leaf else self

    def gradients(self, g, as_variables):
        """Raises ``ReleasedGraphError``."""
        raise ReleasedGraphError(RELEASED_TEXT)


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
        n = len(inputs)
        program = op.programs.get((mask, n)) or op.program(mask, n)
        node = _new(OpNode)
        node.seq, node.program, node.edges, node.attrs = _sequence(), program, edges, attrs
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
    except (ValueError, TypeError) as error:
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
        remember_stack(result)
    return result


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
        walk(grads, {v._tape for v in outputs} if retain_grad else (), retain_grad, as_variables, loss_scale, store)
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
            nodes_behind([y._tape for y in outputs if isinstance(y, Variable) and y._tape is not None])
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
        grads[node] = as_variable(seed) if node not in grads else add_gradients(grads[node], as_variable(seed))
    targets = {(x._tape or _make_leaf(x)): None for x in inputs}
    old, state.backprop = state.backprop, enable_double_backprop      # the tape is on exactly if double backprop was asked for
    try:
        for x, extra in zip(inputs, grad_inputs or ()):
            if extra is not None:
                grads[x._tape] = as_variable(extra) if x._tape not in grads else add_gradients(grads[x._tape], as_variable(extra))
        walk_to(grads, targets, retain_grad)
    finally:
        state.backprop = old
    results = [targets[x._tape] for x in inputs]
    if set_grad:
        for x, g in zip(inputs, results, strict=True):
            x.grad_var = g
    return results


