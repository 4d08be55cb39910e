"""``Function``: a user's function whose gradient is computed on arrays, as in Chainer's first version.

It cannot be differentiated twice; ``FunctionNode`` can.
"""
import weakref

import numpy as np

from hybridnn.backend import cupy, is_array
from hybridnn.config import config, force_backprop_mode, no_backprop_mode
from hybridnn.core import FunctionNode, Variable, as_array
from hybridnn.errors import InvalidType
from hybridnn.function_hook import FunctionHook

__all__ = ["Function", "FunctionAdapter", "FunctionHook", "force_backprop_mode", "no_backprop_mode"]


def _on_gpu(arrays):
    return cupy is not None and any(isinstance(x, cupy.ndarray) for x in arrays)


class FunctionAdapter(FunctionNode):
    """The node that a ``Function`` has in the graph; ``function`` is that function."""
    _retained_inputs = None      # all, unless the function says otherwise

    def __init__(self, function):
        self._weak_function = weakref.ref(function)
        self._function = None      # set by the application, which the function then lives as long as

    @property
    def function(self):
        """The ``Function``."""
        return self._weak_function() if self._function is None else self._function

    @property
    def label(self):
        return self.function.label

    @property
    def _impl_name(self):
        return self.function.label

    def check_type_forward(self, in_types):
        self.function.check_type_forward(in_types)

    def forward(self, inputs):
        return self.function.forward(inputs)

    def backward(self, target_input_indexes, grad_outputs):
        arrays = tuple([as_array(g) for g in grad_outputs])
        results = self.function.backward(self._input_arrays, arrays)
        grads = [None if results[i] is None else Variable(self._array_of(results[i], i)) for i in target_input_indexes]
        differentiable = config.enable_backprop
        return _once(self.label, grads) if differentiable else tuple(grads)

    def _array_of(self, g, i):
        if not (is_array(g) or isinstance(g, np.generic)):
            raise InvalidType(self.label, f"backward to return an array for input {i}", type(g).__name__)
        return np.asarray(g) if isinstance(g, np.generic) else g


class _Once(FunctionNode):
    """Ties the gradients that a ``Function`` gives to the graph: who goes back there learns that he cannot."""

    def __init__(self, name):
        self.name_of_function = name

    def forward(self, inputs):
        return inputs

    @property
    def closed(self):
        return f"{self.name_of_function} is a Function: its gradient cannot be differentiated\n  hint: write it as a FunctionNode"

    def backward(self, target_input_indexes, grad_outputs):
        raise RuntimeError(self.closed)


def _once(label, grads):
    tied = iter(_Once(label).apply([g for g in grads if g is not None]))
    return tuple([None if g is None else next(tied) for g in grads])


class Function:
    """Base of user-defined functions in the old style; an instance is one application: ``y = MyFunction()(x)``.

    Override ``forward(inputs)`` and ``backward(inputs, grad_outputs)`` (tuples of arrays to tuples of arrays or None), or their
    ``_cpu`` and ``_gpu`` forms. All inputs are retained unless ``retain_inputs`` says otherwise; the others are None in backward.
    """

    @property
    def node(self):
        """The ``FunctionAdapter``."""
        found = None if self._weak_node is None else self._weak_node()
        if found is None:
            found = self._own_node = FunctionAdapter(self)
            self._weak_node = weakref.ref(found)
        return found

    _weak_node = _own_node = None

    def __call__(self, *inputs):
        node = self.node
        node._function, self._own_node = self, None      # from now on the graph owns the node, and the node this function
        outputs = node.apply(inputs)
        return outputs if len(outputs) > 1 else outputs[0]

    # ---- to override

    def check_type_forward(self, in_types):
        """Raise if the input types do not fit."""

    def forward(self, inputs):
        """Arrays to arrays; dispatches to ``forward_gpu`` if an input is a CuPy array, else to ``forward_cpu``."""
        return self.forward_gpu(inputs) if _on_gpu(inputs) else self.forward_cpu(inputs)

    def forward_cpu(self, inputs):
        """Forward on NumPy arrays."""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor forward_cpu")

    def forward_gpu(self, inputs):
        """Forward on CuPy arrays."""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor forward_gpu")

    def backward(self, inputs, grad_outputs):
        """Gradients of all inputs, as arrays or None."""
        arrays = [x for x in (*inputs, *grad_outputs) if x is not None]
        return self.backward_gpu(inputs, grad_outputs) if _on_gpu(arrays) else self.backward_cpu(inputs, grad_outputs)

    def backward_cpu(self, inputs, grad_outputs):
        """Gradients on NumPy arrays; by default there are none."""
        return (None,) * len(inputs)

    def backward_gpu(self, inputs, grad_outputs):
        """Gradients on CuPy arrays; by default there are none."""
        return (None,) * len(inputs)

    # ---- what the node knows

    @property
    def label(self):
        """Name shown in printed graphs."""
        return type(self).__name__

    @property
    def inputs(self):
        """The inputs' ``VariableNode``s."""
        return self.node.inputs

    @property
    def outputs(self):
        """Weak references to the outputs' nodes."""
        return self.node.outputs

    @property
    def output_data(self):
        """The arrays of the retained outputs, None for the others."""
        return self.node.output_data

    @property
    def rank(self):
        """Length of the longest path from a leaf."""
        return self.node.rank

    @property
    def stack(self):
        """Where the function was applied, if that was in debug mode; else None."""
        return self.node.stack

    @property
    def local_function_hooks(self):
        """The hooks of this function alone, by name."""
        return self.node.local_function_hooks

    def add_hook(self, hook, name=None):
        """Put a ``FunctionHook`` on this function alone."""
        self.node.add_hook(hook, name)

    def delete_hook(self, name):
        """Take a hook off this function."""
        self.node.delete_hook(name)

    def retain_inputs(self, indexes):
        """Keep only these inputs for backward."""
        self.node.retain_inputs(indexes)

    def retain_outputs(self, indexes, retain_after_backward=False):
        """Keep these outputs; ``output_data`` has them. ``retain_after_backward`` has no effect, as in Chainer v7."""
        self.node.retain_outputs(indexes)

    def unchain(self):
        """Forget inputs and outputs."""
        self.node.unchain()
