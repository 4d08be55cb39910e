"""``Parameter``: a Variable that a Link owns and an optimizer updates."""
import numpy as np

from hybridnn.backend import get_array_module, get_dtype, is_array, there
from hybridnn.core.tape import Leaf
from hybridnn.core.variable import Variable
from hybridnn.errors import InvalidType, UninitializedParameterError

__all__ = ["Parameter"]


class Fill:
    """The initializer that a number or an array stands for."""
    dtype = None

    def __init__(self, fill_value):
        self.fill_value = fill_value

    def __call__(self, array):
        value = self.fill_value
        if is_array(value) and value.shape != array.shape:
            raise InvalidType("Parameter.initialize", f"an initial array of shape {array.shape}", str(value.shape))
        array[...] = value


class Parameter(Variable):
    """A trainable Variable, possibly without a shape yet.

    Args:
        initializer: an initializer (called with an empty array to fill), an array, a number, or None for NaN.
        shape: shape, or None to decide it later by ``initialize``; an array without a shape is taken as it is.
        name: the attribute name its Link gives it.
        layout: accepted for Chainer's signature; only None.

    A new Parameter's gradient is NaN, which shows whoever forgets ``cleargrad``.
    """
    initializer = None
    update_rule = None
    _first_grad = np.nan      # what the gradient is at initialisation; None: there is none
    _grad_known = False       # whether the gradient can be asked for while there is no array
    _cell = None              # [array, or None while there is no shape]: what parameters that share their array have in common

    def __init__(self, initializer=None, shape=None, name=None, *, layout=None):
        super().__init__(name=name, layout=layout)
        plain = initializer is None or is_array(initializer) or np.isscalar(initializer)
        if not plain and not callable(initializer):
            raise InvalidType("Parameter", "an initializer: a callable, a number, an array or None", f"{type(initializer).__name__} {initializer!r:.60}",
                              "Parameter(numpy.asarray(values, 'float32')) of a list, Parameter(initializer, shape) of a shape")
        self.initializer = Fill(np.nan if initializer is None else initializer) if plain else initializer
        if shape is not None:
            self.initialize(shape)
        if shape is not None or is_array(initializer):
            self._first_grad = None
        if shape is None and is_array(initializer):
            self._set(initializer)

    @property
    def dtype(self):
        """The array's dtype; without an array that of the initializer, if it has one."""
        if self._array is not None:
            return self._array.dtype
        if self._pending is None and not self._adopt():
            own = getattr(self.initializer, "dtype", None)
            if own is not None:
                return np.dtype(own)
        return Variable.dtype.fget(self)

    @property
    def grad(self):
        """The gradient array, or None; an uninitialised parameter has None only after ``cleargrad``, and raises before."""
        g = None if self._tape is None else self._tape.grad
        if g is None and self._array is None and self._pending is None and not self._grad_known and not self._adopt():
            raise UninitializedParameterError("a Parameter without an array has no gradient yet\n  hint: cleargrad() lets it begin without one")
        return g.array if isinstance(g, Variable) else g

    @grad.setter
    def grad(self, g):
        Variable.grad.fset(self, g)
        if self._array is None:
            self._grad_known = True

    @property
    def is_initialized(self):
        """Whether the array exists."""
        return self._array is not None or self._adopt()

    @property
    def array(self):
        """The array, or None for an uninitialised parameter."""
        if self._array is None and self._pending is None:
            self._adopt()
        return Variable.array.fget(self)

    @array.setter
    def array(self, a):
        Variable.array.fset(self, a)

    data = array

    def share(self):
        """Another Parameter over the same array, also if that is yet to be created; it has a gradient of its own."""
        if self._cell is None:
            self._cell = [self._array]
        shared = self._without_graph()
        shared._grad_known = True
        return shared

    __copy__ = share

    def _adopt(self):
        """Take the array that a parameter this one shares it with has created; False if there is none."""
        if self._cell is None or self._cell[0] is None:
            return False
        self._set(self._cell[0])
        return True

    def _missing(self):
        return self if self._pending is None and self._adopt() else super()._missing()

    def initialize(self, shape):
        """Create the array of ``shape`` and fill it by the initializer."""
        a = self._empty((shape,) if isinstance(shape, (int, np.integer)) else tuple(shape))
        self.initializer(a)
        a = a if self._initial_device is None else self._initial_device.send(a)
        if self._cell is not None:
            a = self._put(a)
        self._set(a)

    def _empty(self, shape):
        dtype = get_dtype(getattr(self.initializer, "dtype", None))
        try:
            return np.empty(shape, dtype)
        except (TypeError, ValueError):
            if all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape):
                raise
            raise InvalidType("Parameter.initialize", "a shape of ints, zero or larger", str(shape)) from None

    def _put(self, a):
        """Let those that share the array have the new values."""
        old = self._array
        if old is not None and old.shape == a.shape and old.dtype == a.dtype:
            old[...] = a
            return old
        self._cell[0] = a
        return a

    def _set(self, a):
        self._array = a
        self._tape = Leaf(a.shape, a.dtype)
        self._tape.name = self._name
        if self._first_grad is not None:
            with there(a):
                self._tape.grad = get_array_module(a).full_like(a, self._first_grad)

    def cleargrad(self):
        """Set the gradient to None; an uninitialised parameter starts without one."""
        super().cleargrad()
        if self._array is None:
            self._first_grad, self._grad_known = None, True

    def _fill_grad(self):
        if self._array is not None:
            super()._fill_grad()
        else:
            self._first_grad, self._grad_known = 0, True

    def update(self):
        """Apply the update rule to this parameter, if it has one."""
        if self.update_rule is not None:
            self.update_rule.update(self)
