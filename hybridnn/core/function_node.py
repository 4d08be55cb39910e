"""``FunctionNode``: a user's function in plain NumPy code, with its gradient, as in Chainer."""
import copy
import traceback
import weakref
from abc import ABCMeta

import numpy as np

from hybridnn.backend import cupy, is_array, there
from hybridnn.config import config, global_config, state
from hybridnn.core import type_check
from hybridnn.core.debugging import check_nan
from hybridnn.core.op_node import OpNode
from hybridnn.core.tape import Leaf, Output, TapeNode, connect_outputs, next_seq, node_of, rank_of
from hybridnn.core.variable import Variable, as_variable, connected
from hybridnn.core.variable_node import OutputRef, view_of
from hybridnn.errors import InvalidType
from hybridnn.function_hook import FunctionHook, put_on
from hybridnn.memory_layouts import require_plain

__all__ = ["FunctionNode", "input_variable"]

# What an instance knows of its application; the rest is the user's.
_OF_ONE_APPLICATION = ("_retained_inputs", "_retained_outputs", "_input_arrays", "_output_arrays", "_outputs", "_needs", "_cut", "_view", "grad",
                       "inputs_", "is_leaf", "loss_scale", "n_outputs", "name", "retained", "seeded", "seq", "shapes_", "stack")


def input_variable(x):
    """What a function is applied to, as a Variable: None too, for what is not there, such as the gradient of an output that nobody used."""
    if x is not None:
        return as_variable(x)
    absent = Variable(None, requires_grad=False)
    absent._tape = Leaf(None, None)
    return absent


def _positions(indexes, count):
    """Indexes into ``count`` values, counted from the front."""
    return tuple([i + count if i < 0 else i for i in indexes])


def _note_retained(nodes, arrays):
    for node, array in zip(nodes, arrays, strict=True):
        if array is not None:
            node.retained = weakref.ref(array)


class FunctionNode(TapeNode, metaclass=ABCMeta):
    """Base of user-defined differentiable functions; an instance is one application.

    Override ``forward(inputs)`` (a tuple of arrays to a tuple of arrays; or ``forward_cpu`` and ``forward_gpu``) and
    ``backward(target_input_indexes, grad_outputs)`` (Variables to Variables: one gradient per target, None for none). Call ``retain_inputs`` and
    ``retain_outputs`` in forward for what backward needs, ``get_retained_inputs`` and ``get_retained_outputs`` in backward.
    ``y, = MyFunction().apply((x,))`` runs it.
    """
    _retained_inputs: tuple | None = ()      # None: all
    _retained_outputs = ()
    _input_arrays = _output_arrays = inputs_ = None
    n_outputs = 0
    seq = 0
    _outputs = None              # weak references to the outputs' nodes
    _local_hooks = None
    lazy_grad_sum = False
    is_elementwise = False
    stack = None

    @property
    def creator(self):
        return None if self.is_leaf else self

    @property
    def rank(self):
        """The highest rank among the inputs; 0 before the application. Setting it fixes it."""
        return self._fixed_rank if self._fixed_rank is not None else rank_of(self) - 1

    @rank.setter
    def rank(self, rank):
        self._fixed_rank = rank

    _fixed_rank = None

    @property
    def label(self):
        """Name shown in printed graphs."""
        return type(self).__name__

    _impl_name = label

    @property
    def xp(self):
        return np if cupy is None or not self._input_arrays else cupy.get_array_module(*self._input_arrays)

    def _forward_there(self, arrays):
        with there(*arrays):
            return self.forward(arrays)

    # ---- to override

    def forward(self, inputs):
        """Arrays to arrays; dispatches to ``forward_gpu`` if an input is a CuPy array, else to ``forward_cpu``."""
        gpu = cupy is not None and any(isinstance(x, cupy.ndarray) for x in inputs)
        return self.forward_gpu(inputs) if gpu else self.forward_cpu(inputs)

    def forward_cpu(self, inputs):
        """Forward on NumPy arrays."""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor forward_cpu")

    def forward_gpu(self, inputs):
        """Forward on CuPy arrays."""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor forward_gpu")

    def backward(self, target_input_indexes, grad_outputs):
        """Gradients of the target inputs, as a tuple of Variables or None; by default there are none."""
        return (None,) * len(target_input_indexes)

    def check_type_forward(self, in_types):
        """Raise if the input types do not fit: ``type_check.expect(in_types.size() == 2, in_types[0].ndim == 1)``."""

    def check_layout_forward(self, inputs):
        """Raise if the memory layouts of the inputs, which are Variables, do not fit. Here all have NumPy's."""

    @property
    def input_layouts(self):
        """The memory layout of each input, which is None, NumPy's; asked for by ``forward`` in Chainer's style."""
        found = self._input_arrays if self.inputs_ is None else self.inputs_
        assert found is not None, f"{self.label} has not been applied: its inputs are not known"
        return (None,) * len(found)

    @property
    def output_layouts(self):
        """The memory layout of each output, which is None; ``forward`` may set it."""
        assert self._outputs is not None, f"{self.label} has not been applied: its outputs are not known"
        return (None,) * len(self._outputs)

    @output_layouts.setter
    def output_layouts(self, layouts):
        for layout in layouts:
            require_plain(layout, self.label)

    # ---- retaining

    def retain_inputs(self, indexes):
        """Keep these inputs for backward; without this call none is kept."""
        self._retained_inputs = tuple(indexes)

    def retain_outputs(self, indexes):
        """Keep these outputs for backward."""
        self._retained_outputs = tuple(indexes)

    def get_retained_inputs(self):
        """The retained inputs, as Variables in the graph."""
        return tuple([self._retained_input(i) for i in self._kept_inputs()])

    def _retained_input(self, i):
        x = connected(self._input_arrays[i], self.inputs_[i])
        x._requires_grad = self._needs[i]
        return x

    def get_retained_outputs(self):
        """The retained outputs, as Variables in the graph."""
        return tuple([connected(self._output_arrays[i], self._output_node(i)) for i in self._retained_outputs])

    def _kept_inputs(self):
        return range(len(self.inputs_)) if self._retained_inputs is None else self._retained_inputs

    def _output_node(self, i):
        y = self._output_arrays[i]
        return Output(self, i, *((None, None) if y is None else (y.shape, y.dtype)))

    # ---- running

    def apply(self, inputs):
        """Run forward on Variables or arrays; a tuple of Variables. A function that has been applied already stays what it is in the first
        graph: a copy of it, with the same attributes, runs.
        """
        if isinstance(inputs, (Variable, np.ndarray)):      # whose rows would be the inputs
            raise InvalidType(self.label, "a tuple of inputs", type(inputs).__name__, "apply((x,))")
        if self.n_outputs:
            return self._again().apply(inputs)
        if state.tracer is not None:
            return state.tracer.apply_function(self, inputs)
        return self.apply_eager(inputs)

    def __call__(self, *args, **kwargs):
        """Raises ``RuntimeError``: a ``FunctionNode`` is applied; it is a ``Function`` that is called."""
        raise RuntimeError(f"{self.label} is a FunctionNode, which is not called\n  hint: y, = {self.label}(...).apply((x,))")

    def _again(self):
        other = copy.copy(self)
        for name in _OF_ONE_APPLICATION:
            other.__dict__.pop(name, None)
        return other

    def apply_eager(self, inputs):
        variables = [input_variable(x) for x in inputs]
        arrays, outputs = self._run(variables)
        return self._wrap(variables, arrays, outputs)

    def _run(self, variables):
        """Forward with all that belongs to it: the inputs' and the outputs' arrays. ``_wrap`` makes Variables of them."""
        arrays = tuple([x.array for x in variables])
        self._input_arrays = arrays
        if config.type_check:
            self._check_types(arrays)
        if type(self).check_layout_forward is not FunctionNode.check_layout_forward:
            self.check_layout_forward(variables)
        hooks = [*(() if state.hooks is None else state.hooks.values()), *self.local_function_hooks.values()]
        for hook in hooks:
            hook.forward_preprocess(self, arrays)
        outputs = self.forward(arrays) if cupy is None else self._forward_there(arrays)
        for hook in hooks:
            hook.forward_postprocess(self, arrays)
        outputs = self._checked(outputs)
        if config.debug:
            check_nan(self.label, "forward", outputs)
            self.stack = traceback.extract_stack()
        return arrays, outputs

    def _check_types(self, arrays):
        """First on plain values, which is quick; what fails is checked again with expressions, for the text of the error."""
        if getattr(self.check_type_forward, "__func__", None) is FunctionNode.check_type_forward:
            return
        with type_check.get_function_check_context(self):
            try:
                with type_check.light_mode:
                    self.check_type_forward(type_check.get_light_types(arrays))
            except InvalidType:
                self.check_type_forward(type_check.get_types(arrays))
                raise

    def _checked(self, outputs):
        if not isinstance(outputs, tuple) or not all(y is None or is_array(y) or isinstance(y, np.generic) for y in outputs):
            seen = type(outputs).__name__ if not isinstance(outputs, tuple) else ", ".join(type(y).__name__ for y in outputs)
            raise InvalidType(self.label, "a tuple of arrays (forward output must be a tuple of ndarrays)", seen, "return y,")
        if self.is_elementwise and len({y.shape for y in outputs}) > 1:
            shapes = ", ".join(str(y.shape) for y in outputs)
            raise RuntimeError(f"{self.label} is an elementwise function (is_elementwise), but its outputs have different shapes: {shapes}")
        return tuple([np.asarray(y) if isinstance(y, np.generic) else y for y in outputs])

    def _wrap(self, variables, arrays, outputs):
        """Variables for the outputs, connected to the graph when a gradient may be asked for."""
        requires = any(x.requires_grad for x in variables)
        result = tuple([Variable(y, requires_grad=requires) for y in outputs])
        backprop = global_config.enable_backprop if state.backprop is None else state.backprop
        if requires and backprop:
            self._connect([x._tape or node_of(x) for x in variables], [x.requires_grad for x in variables], arrays, outputs)
            connect_outputs(self, result)
            self._take_outputs([y._tape for y in result])
        elif backprop:
            self._keep([x._tape or node_of(x) for x in variables], arrays, outputs)
        else:
            self._input_arrays = None
        return result

    def _keep(self, nodes, arrays, outputs):
        """Keep for ``backward`` what it needs, outside any graph, as no gradient is needed: for programs that call it themselves."""
        self._connect(nodes, [False] * len(nodes), arrays, outputs)
        self.n_outputs = 0      # it may be applied again

    def _connect(self, nodes, needs, arrays, outputs):
        """Become the node of ``outputs`` in the graph, behind the inputs' ``nodes``."""
        self.inputs_, self._needs = tuple(nodes), tuple(needs)
        self.seq = next_seq()       # after its inputs, which may get their nodes just now
        self.n_outputs = len(outputs)
        if self._retained_inputs:
            self._retained_inputs = _positions(self._retained_inputs, len(arrays))
        if self._retained_outputs:
            self._retained_outputs = _positions(self._retained_outputs, len(outputs))
        kept = set(self._kept_inputs())
        self._input_arrays = tuple([a if i in kept else None for i, a in enumerate(arrays)])
        self._output_arrays = tuple([y if i in self._retained_outputs else None for i, y in enumerate(outputs)])
        _note_retained(self.inputs_, self._input_arrays)

    def _take_outputs(self, nodes):
        self._outputs = tuple([weakref.ref(node) for node in nodes])
        _note_retained(nodes, self._output_arrays)

    @property
    def outputs(self):
        """Weak references to the outputs' ``VariableNode``s, or None before the application."""
        return None if self._outputs is None else tuple([OutputRef(ref) for ref in self._outputs])

    @property
    def output_data(self):
        """The arrays of the retained outputs, None for the others."""
        return self._output_arrays

    def unchain(self):
        """Forget inputs and outputs: backward stops at the outputs."""
        for ref in self._outputs or ():
            node = ref()
            if node is not None:
                node.is_leaf, node.edges = True, ()
        self._cut = True
        self._input_arrays = None

    # ---- hooks of this application

    @property
    def local_function_hooks(self):
        """The hooks of this function alone, by name."""
        if self._local_hooks is None:
            self._local_hooks = {}
        return self._local_hooks

    def add_hook(self, hook, name=None):
        """Put a ``FunctionHook`` on this function alone."""
        if not isinstance(hook, FunctionHook):
            raise TypeError(f"add_hook takes a FunctionHook; got {type(hook).__name__}")
        name = hook.name if name is None else name
        put_on(self.local_function_hooks, name, hook, self, f"{self.label} has a hook called {name!r} already")

    def delete_hook(self, name):
        """Take a hook off this function."""
        if name not in self.local_function_hooks:
            raise KeyError(f"{self.label} has no hook called {name!r}")
        self.local_function_hooks.pop(name).deleted(self)

    _cut = False

    @property
    def edges(self):
        """The nodes of the inputs, as the walk needs them (None where no gradient is needed)."""
        if self._cut:
            return None
        return tuple([x if need else None for x, need in zip(self.inputs_, self._needs, strict=True)]) if self.n_outputs else ()

    @edges.setter
    def edges(self, value):
        self.inputs_, self._needs = tuple(value), (True,) * len(value)

    @property
    def inputs(self):
        """The inputs' ``VariableNode``s; None after ``unchain``, and before the application."""
        if self._cut or self.inputs_ is None:
            return None
        return tuple([view_of(x) for x in self.inputs_])

    @inputs.setter
    def inputs(self, nodes):
        """For code that walks a graph itself: what a function that has not been applied is to be taken as a function of."""
        self.inputs_, self._needs = tuple([node._tape for node in nodes]), (True,) * len(nodes)

    def kept_inputs(self):
        """The inputs' arrays, None for those that were not retained."""
        return self._input_arrays

    def gradients(self, gs, as_variables):
        """Called by the walk: ``backward`` on the inputs that need gradients."""
        if state.tracer is not None:
            gs = state.tracer.note_function(self, gs)
        targets = tuple([i for i, need in enumerate(self._needs) if need and self.inputs_[i].wanted])
        if not targets:
            return [None] * len(self.inputs_)
        gys = tuple([None if g is None else as_variable(g) for g in gs])
        hooks = () if not self._local_hooks else list(self._local_hooks.values())
        data = (self._input_arrays, tuple([None if g is None else g.array for g in gys])) if hooks else ()
        for hook in hooks:
            hook.backward_preprocess(self, *data)
        results = self._results(targets, gys)
        for hook in hooks:
            hook.backward_postprocess(self, *data)
        full = [None] * len(self.inputs_)
        if len(results) == len(targets):
            for i, g in zip(targets, results, strict=True):
                full[i] = self._check_gradient(i, g)
        else:
            full = [self._check_gradient(i, g) if i in targets else None for i, g in enumerate(results)]
        return full if as_variables else [None if g is None else g.array for g in full]

    def _results(self, targets, gys):
        """What ``backward`` (or ``backward_accumulate``, where a subclass defines it) returns."""
        results = self.backward_accumulate(targets, gys, (None,) * len(targets))
        if config.debug:
            self._check_strictly(results)
        results = results if isinstance(results, (tuple, list)) else (results,)
        if len(results) not in (len(targets), len(self.inputs_)):
            raise InvalidType(self.label, f"backward to return {len(targets)} gradients, one per target input",
                              f"{len(results)}: the number of gradients returned from backward is incorrect")
        return results

    def backward_accumulate(self, target_input_indexes, grad_outputs, grad_inputs):
        """Gradients of the target inputs, added to ``grad_inputs`` where these are not None."""
        results = self.backward(target_input_indexes, grad_outputs)
        if all(g is None for g in grad_inputs):
            return results
        if len(results) != len(target_input_indexes):
            results = [results[i] for i in target_input_indexes]
        pairs = zip(grad_inputs, results, strict=True)
        return tuple([new if old is None else old if new is None else old + new for old, new in pairs])

    def _check_strictly(self, results):
        """Debug mode: gradients are Variables or None."""
        if not isinstance(results, (tuple, list)) or not all(g is None or isinstance(g, Variable) for g in results):
            raise InvalidType(self.label, "backward to return a tuple of Variables",
                              f"{type(results).__name__}: the type of gradients returned from backward is incorrect")

    def _check_gradient(self, i, g):
        if g is None:
            return None
        x = self.inputs_[i]
        g = as_variable(g)
        if g.shape != x.shape:
            raise InvalidType(self.label, f"a gradient of shape {x.shape} for input {i}",
                              f"{g.shape}: the shape of gradients returned from backward is incorrect")
        if g.dtype != x.dtype:
            raise InvalidType(self.label, f"a gradient of dtype {x.dtype} for input {i}",
                              f"{g.dtype}: the dtype of gradients returned from backward is incorrect")
        return g


FunctionNode.register(OpNode)       # what made a Variable is a FunctionNode to whoever walks the graph
