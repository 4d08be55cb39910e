"""``Variable``: an array with its place in the graph of the computation.

What an operation does with Variables stands above, in ``application``; Python's operators are bound in ``operators``. Two modules need
this one as it needs them: ``variable_node`` (how a place in the graph is shown) and ``backprop``.
"""
import copy
import weakref

import numpy as np

from hybridnn._other_names import teach
from hybridnn.backend import CpuDevice, Intel64Device, copyto, cupy, get_array_module, get_device, get_device_from_array, is_array, there, to_chx
from hybridnn.backend import copied as copy_of
from hybridnn.config import state, warn
from hybridnn.core import backprop, variable_node
from hybridnn.core.labels import array_label
from hybridnn.core.programs import OPS, as_ndarray
from hybridnn.core.tape import Output, TapeNode, Untaped, make_leaf, note_giver, rank_of, scaled
from hybridnn.errors import InvalidType, UninitializedParameterError
from hybridnn.memory_layouts import require_plain
from hybridnn.spec import spec_of

__all__ = ["READERS", "Variable", "as_array", "as_variable", "connected", "replaying"]

replaying = []        # calls of all threads that have work pending; whoever gets an array could write into it before that has run
_new = object.__new__


def _truth(a):
    if a.size != 1:
        raise InvalidType("bool", "a Variable with one element", str(spec_of(a)), "any() or all() of its array")
    return bool(a)


def _number(name, kind):
    def read(a):
        try:
            return kind(a)
        except (TypeError, ValueError) as error:
            raise _has_many(name, a) or error from None
    return read


def _item(a, *index):
    try:
        return a.item(*index)
    except ValueError as error:
        raise (None if index else _has_many("item", a)) or error from None


def _has_many(name, a):
    """The error for an array of several elements, or none."""
    if a is None or a.size == 1:
        return None
    return InvalidType(name, "a Variable with one element", str(spec_of(a)), "F.sum(x), F.mean(x) or x[i] first")


READERS = {"bool": _truth, "int": _number("int", int), "float": _number("float", float), "index": lambda a: a.item().__index__(), "item": _item}


@teach
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
            state.tracer.assign(self, a)
        self._array = a = np.asarray(a) if isinstance(a, np.generic) else a      # what NumPy computes of arrays without axes
        self._pending = None
        if self._tape is not None and a is not None and (self._tape.shape != a.shape or self._tape.dtype != a.dtype) and self._tape.is_leaf:
            if self._tape.shape != a.shape:
                self._tape = None
            else:
                self._tape.dtype = a.dtype      # that of gradients to come

    data = raw_array = array

    @property
    def shape(self):
        a = self._array
        if a is None:
            a = self._spec if self._pending is not None else self._missing()
        return a.shape

    @property
    def dtype(self):
        a = self._array
        if a is None:
            a = self._spec if self._pending is not None else self._missing()
        return a.dtype

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        a = self._array
        if a is None:
            a = self._spec if self._pending is not None else self._missing()
        return a.size

    def _missing(self):
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

    @requires_grad.setter
    def requires_grad(self, value):
        raise AttributeError(f"{type(self).__name__}.requires_grad is said when a Variable is made\n"
                             "  hint: hnn.Variable(array, requires_grad=False); link.disable_update() keeps parameters as they are")

    @property
    def T(self):
        return self.transpose()

    def item(self, *args):
        """The value of a one-element Variable as a Python number."""
        if state.tracer is not None:
            return state.tracer.read(self, "item", args)
        return _item(self.array, *args)

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
        if axis is not None:
            ndim, axis = self.ndim, axis if isinstance(axis, tuple) else (axis,)
            for a in axis:
                if not -ndim <= a < ndim:
                    raise InvalidType("Variable.mean", f"an axis of {spec_of(self)}", str(a))
            axis = tuple([a % ndim for a in axis])
        return OPS["mean"](self, axis=axis, keepdims=keepdims)

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

    def __setitem__(self, index, value):
        raise TypeError(f"{type(self).__name__!r} object does not support item assignment\n"
                        "  hint: F.where(mask, new, x) or F.scatter_add(x, index, y); x.array[index] = value is outside of the graph")

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype, copy=copy)

    def __copy__(self):
        """As Chainer's: a leaf of its own on the same array, with the same gradient."""
        copied = self._without_graph()
        g = self._grad
        if g is not None:
            copied.grad = g
        return copied

    def _without_graph(self):
        copied = _new(type(self))
        copied.__dict__.update(self.__dict__)
        copied._array = self.array
        copied._tape = copied._pending = None
        return copied

    def __deepcopy__(self, memo):
        copied = self._without_graph()
        memo[id(self)] = copied
        for key, value in list(copied.__dict__.items()):
            copied.__dict__[key] = copy.deepcopy(value, memo)
        g = self._grad
        if g is not None:
            copied.grad = copy_of(g)
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

    def set_creator_node(self, fnode):
        """Make a ``FunctionNode`` the creator, as its first output; None unchains. An operation's node cannot be set again."""
        node = getattr(fnode, "node", fnode)
        if node is None:
            self.unchain()
        elif not isinstance(node, TapeNode) or node._is_op:
            raise TypeError(f"a Variable's creator is a FunctionNode or None; got {type(node).__name__}")
        elif isinstance(self._tape, Output):
            self._tape.owner, self._tape.edges, self._tape.is_leaf = node, (node,), False
        else:
            shape, dtype = (self.shape, self.dtype) if self.is_initialized else (None, None)
            before, self._tape = self._tape, Output(node, 0, shape, dtype)
            self._tape.name = self._name
            self._tape.grad = None if before is None else before.grad

    def set_creator(self, gen_func):
        """Make a ``Function`` (or ``FunctionNode``) the creator."""
        self.set_creator_node(gen_func)

    @property
    def creator(self):
        """The creator node; for an old-style ``Function`` that function; what ``dropout`` drew where no gradient is needed (``creator.mask``)."""
        node = self.creator_node
        if node is None and type(self._shown) is Untaped:
            return self._shown
        if self._shown is not None and node is not None and node._is_op:
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
        return array_label(self) if self._pending is not None or self.array is not None else "(None)"

    @property
    def node(self):
        """The value's node in the graph, as a ``VariableNode``."""
        if self._pending is not None:
            self._pending.resolve(self)
        return variable_node.view_of(self._tape or make_leaf(self), self)

    _node = node

    def retain_data(self):
        """Nothing to do: an operation keeps what its gradient needs."""

    @property
    def _loss_scale(self):
        return None if self._tape is None else self._tape.loss_scale

    @_loss_scale.setter
    def _loss_scale(self, scale):
        scaled[0] = True
        (self._tape or make_leaf(self)).loss_scale = scale

    def unchain(self):
        """Forget the creator: backward stops here."""
        if state.tracer is not None and state.tracer.unchain(self, "unchain"):
            return
        if self._pending is not None:
            self._pending.resolve(self)
        self._forget_creator()

    def _forget_creator(self):
        node = self._tape
        if node is not None and not node.is_leaf:
            node.first_rank = rank_of(node)
            node._forget_creator()

    def unchain_backward(self):
        """Forget all creators from here back: truncated backpropagation."""
        if state.tracer is not None and state.tracer.unchain(self, "unchain_backward"):
            return
        stack = [self._tape] if self._tape is not None else []
        while stack:
            node = stack.pop()
            if node.is_leaf:
                continue
            stack += [p for p in node.edges if p is not None]
            node._forget_creator()

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
        self._store_grad(g)

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
        self._store_grad(g)

    def _store_grad(self, g):
        node = self._tape or make_leaf(self)
        node.grad = g
        if node.owner is not None or self._pending is not None:
            note_giver(node, weakref.ref(self))

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
        warn("Variable.zerograd is deprecated; use cleargrad (a link's cleargrads)", DeprecationWarning, stacklevel=2)
        self._fill_grad()

    def _fill_grad(self):
        if self.array is None:
            return
        g = self.grad_var
        if g is None:
            with there(self.array):
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
            device = self.device
            with device.create_context():
                g = g.copy() if var.device == device else device.send(g)
                self.grad = g if mine is None else as_ndarray(mine + g)

    def copydata(self, var):
        """Copy ``var``'s values into this Variable's array; an uninitialised parameter takes the other's shape."""
        if not _same_initialized(self, var):
            return
        if self.array is None:
            self.array = self.device.send(copy_of(var.array))
        else:
            copyto(self.array, var.array)

    def backward(self, retain_grad=False, enable_double_backprop=False, loss_scale=None):
        """Gradients of this (scalar, unless ``grad`` is set) Variable with respect to all it depends on, accumulated in ``grad``.

        Args:
            retain_grad: keep the gradients of intermediate Variables too.
            enable_double_backprop: record this computation, so that gradients can be differentiated.
            loss_scale: initial gradient instead of 1 (mixed precision); divided out by the optimizer.
        """
        backprop.backward([self], retain_grad, enable_double_backprop, loss_scale)

    # ---- operators (arithmetic, comparison and NumPy's functions: operators.py)

    def __getitem__(self, index):
        """As NumPy does, views included; but what is at a place that an int of NumPy's tells (a label, an action, a token) is none."""
        return OPS["get_item"].index(self, index)

    def __pos__(self):
        return self

    def reshape(self, *shape):
        if len(shape) == 1 and (shape[0] is None or isinstance(shape[0], (tuple, list))):
            shape = shape[0]
        return self if shape == self.shape else OPS["reshape"].to(self, shape)

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
        if self._array is None and cupy is None:        # a trace need not compute it to know that
            return CpuDevice()
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

    def as_layout(self, layout):
        """This Variable; a memory layout other than None, which is cuDNN's, raises ``BackendError``."""
        require_plain(layout, "as_layout")
        return self

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
    with np.errstate(all="ignore"):       # of infinities
        return f"mean={float(a.mean()):.8f}, std={float(a.std()):.8f}" if a.size else "empty"


def _same_initialized(dst, src):
    """False if neither has an array; one that has none takes the other's shape, if it is a parameter."""
    for mine, other in ((dst, src), (src, dst)):
        if not mine.is_initialized and other.is_initialized and hasattr(mine, "initialize"):
            mine.initialize(other.shape)
    return src.is_initialized


def connected(array, node):
    """A Variable over ``array`` at ``node``'s place in the graph."""
    v = _new(Variable)
    v._array = array
    v._tape = node
    v._requires_grad = node is not None
    return v


def as_variable(obj):
    """``obj`` itself if it is a Variable, else a Variable over it that needs no gradient (Python numbers and lists become arrays)."""
    if isinstance(obj, Variable):
        return obj
    v = _new(Variable)
    v._array = obj if is_array(obj) else _numbers(obj)
    v._requires_grad = False
    return v


def _numbers(x):
    try:
        a = np.asarray(x)
    except ValueError as error:
        raise InvalidType("as_variable", "a Variable, an array, a number or a list of numbers", f"{type(x).__name__} {x!r:.60}", str(error)) from None
    if a.dtype.kind not in "biufc":
        hint = "a function that returns nothing gives None" if x is None else ""
        raise InvalidType("as_variable", "a Variable, an array, a number or a list of numbers", f"{type(x).__name__} {x!r:.60}", hint)
    return a


def as_array(obj):
    """The array under a Variable, or ``obj`` itself."""
    return obj.array if isinstance(obj, Variable) else obj
