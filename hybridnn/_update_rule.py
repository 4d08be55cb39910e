"""Update rules: how one parameter is updated from its gradient.

Rules of the library write by ``apply_inplace`` only and never read an array, so that a whole step can be traced; rules of users may work on
plain arrays.
"""
import copy
import functools
from typing import Any

import numpy as np

from hybridnn._hooks import Hookable
from hybridnn._hyperparameter import Hyperparameter
from hybridnn.backend import cupy, is_array
from hybridnn.config import no_backprop_mode
from hybridnn.config import state as thread_state
from hybridnn.core import OPS, Parameter, Variable, apply, apply_inplace, elementwise
from hybridnn.errors import not_taken_over
from hybridnn.initializers import NaN
from hybridnn.optimizer_hooks.decay import loss_scale_of
from hybridnn.serializer import Deserializer

__all__ = ["Counted", "OpRule", "UpdateRule", "cast_into", "update_blocks"]


def _cast_samples(rng, dtype):
    yield (rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(2, 3)).astype("float32")), {"dtype": dtype}


@elementwise(samples=_cast_samples)
def cast_into(xp, target, x, *, dtype):
    """x in the dtype of ``target``, which it replaces: copies a float32 master back into its float16 parameter."""
    return x.astype(dtype)


class Counted:
    """``t`` counts updates, in a list of its own: a traced step may count on without touching the object's attributes."""

    @property
    def t(self):
        """Updates made so far."""
        steps = self.__dict__.get("_steps")
        return 0 if steps is None else steps[0]

    @t.setter
    def t(self, value):
        self.__dict__.setdefault("_steps", [0])[0] = value


def _on_its_device(update):
    """The method with the parameter's device as the current one."""
    @functools.wraps(update)
    def on_its_device(self, param):
        with param.device.create_context():
            update(self, param)
    return on_its_device


class UpdateRule(Counted):
    """How one parameter is updated from its gradient.

    A rule of your own overrides ``update_core(param)``, or ``update_core_cpu`` and ``update_core_gpu`` with plain array code, and
    ``init_state(param)``, which fills ``self.state`` (a dict of arrays and numbers) at the first update.

    Args:
        parent_hyperparam: Hyperparameter with the defaults.

    Attributes:
        enabled: False leaves the parameter alone.
        hyperparam: this rule's own Hyperparameter; set an attribute to differ from the optimizer.
        t: updates made so far.
        state: dict of the rule's arrays, None before the first update.
    """
    is_elementwise = False

    def __init__(self, parent_hyperparam=None):
        self._state = None
        self.enabled = True
        self.hyperparam = Hyperparameter(parent_hyperparam)
        self.t = 0
        self._use_fp32_update = False
        self._fp32_param = None
        self._hooks = None

    @property
    def state(self):
        return self._state

    def add_hook(self, hook, name=None, timing="auto"):
        """Call ``hook(rule, param)`` before (``"pre"``) or after (``"post"``) each update; ``"auto"`` asks ``hook.timing``."""
        if self._hooks is None:
            self._hooks = Hookable()
        self._hooks.add(hook, name, timing)

    def remove_hook(self, name):
        """Remove the hook of that name."""
        (self._hooks or Hookable()).remove(name)

    def _call_hooks(self, timing, param):
        if self._hooks is not None:
            for hook in self._hooks.hooks(timing):
                hook(self, param)

    def update(self, param):
        """Run the hooks and update ``param`` from its gradient; does nothing while ``enabled`` is False."""
        if not self.enabled:
            return
        self.t += 1
        if self._use_fp32_update and _dtype_of(param) == np.float16:
            self._update_master(param)
        else:
            self._update(param, loss_scale_of(param))

    if cupy is not None:
        update = _on_its_device(update)

    def _update(self, param, loss_scale):
        if _has_array(param):
            self._init_states(param)
            if loss_scale is not None and param.grad_var is not None:
                apply_inplace(OPS["div"], (param.grad_var, loss_scale), (0,))
        self._call_hooks("pre", param)
        self.update_core(param)
        self._call_hooks("post", param)

    def _update_master(self, param):
        """Update the float32 master copy and write it back into the float16 parameter."""
        ready = _has_array(param)
        master = self._fp32_param
        if master is None:
            master = self._fp32_param = Parameter(param.array.astype(np.float32) if ready else NaN(np.float32), name=param.name)
        if not ready:
            self._update(master, None)
            return
        g = param.grad_var
        with no_backprop_mode():
            master.grad_var = None if g is None else apply(OPS["cast"], (g,), {"dtype": "<f4"})
        self._update(master, loss_scale_of(param))
        apply_inplace(cast_into, (param, master), (0,), {"dtype": "<f2"})
        master.cleargrad()

    def update_core(self, param):
        """Update ``param``; by default through ``update_core_cpu`` or ``update_core_gpu``, whichever its array needs."""
        if param.xp is np:
            self.update_core_cpu(param)
        else:
            self.update_core_gpu(param)

    def update_core_cpu(self, param):
        """Update a parameter that is a NumPy array."""
        raise NotImplementedError(f"{type(self).__name__} defines neither update_core nor update_core_cpu")

    def update_core_gpu(self, param):
        """Update a parameter that is a CuPy array."""
        raise NotImplementedError(f"{type(self).__name__} defines neither update_core nor update_core_gpu")

    def update_core_chainerx(self, param):
        """Chainer's method for parameters of ChainerX; there are none, so nothing calls it."""
        raise not_taken_over("ChainerX", "define update_core, or update_core_cpu and update_core_gpu")

    def init_state(self, param):
        """Fill ``self.state`` for this parameter; called before the first update."""

    def _init_states(self, param):
        if self._state is None:
            self._state = {}
            self.init_state(param)
        if cupy is not None:
            _move_state(self._state, param.device)

    def serialize(self, serializer):
        """Save or load ``t`` and the state."""
        self.t = serializer("t", self.t)
        if self._state is not None:
            for key in self._state:
                self._state[key] = serializer(key, self._state[key])
        elif isinstance(serializer, Deserializer):
            self._load_state(serializer)

    def _load_state(self, serializer):
        """Load a state that does not exist yet: a trial ``init_state`` on a tiny parameter, of a copy that shares the state, tells its keys."""
        keys = self._state = {}
        copy.copy(self).init_state(Variable(np.ones(1, np.float32), grad=np.ones(1, np.float32)))
        self._state = None
        loaded = {}
        for key in keys:
            try:
                loaded[key] = serializer(key, None)
            except KeyError:
                if self.enabled:
                    raise
                return
            if loaded[key] is None:
                return
        self._state = loaded

    def use_fp32_update(self, flag=True):
        """Keep a float32 copy of a float16 parameter and update that one."""
        self._use_fp32_update = flag


def _has_array(param):
    return param._array is not None or param._pending is not None


def _dtype_of(param):
    """The dtype that a parameter has or will have; None if nothing tells."""
    if _has_array(param):
        return param.dtype
    own = getattr(getattr(param, "initializer", None), "dtype", None)
    return None if own is None else np.dtype(own)


def _move_state(values, device):
    """Bring the state's arrays to the device of the parameter's array."""
    for key, a in values.items():
        if is_array(a):
            values[key] = device.send(a)


class OpRule(UpdateRule):
    """An update rule that is one elementwise op with several outputs: ``op(p, g, *states, *numbers) -> (p, *states)``.

    A subclass names the op, its state arrays (zeros at first, unless ``init_state`` says otherwise) and the Python numbers of
    a step. A float16 parameter is updated in float32 and has float32 states (op attribute ``wide``).
    """
    is_elementwise = True
    op: Any = None
    slots: tuple[str, ...] = ()

    def init_state(self, param):
        xp = param.xp
        dtype = np.float32 if param.dtype == np.float16 else param.dtype
        for name in self.slots:
            self._state[name] = xp.zeros(param.shape, dtype)

    def numbers(self, param):
        """The step's numbers, as operands of the op after the states."""
        raise NotImplementedError

    def update_core_cpu(self, param):
        g = param.grad_var
        if g is None:
            return
        state = self._state
        states = [state[s] for s in self.slots]
        attrs = _WIDE if param.dtype == np.float16 else _NARROW
        if thread_state.tracer is None and param.xp is np:
            update_blocks(self.op, (param.array, g.array, *states), self.numbers(param), attrs)
        else:
            apply_inplace(self.op, (param, g, *states, *self.numbers(param)), _TARGETS[len(states)], attrs)

    update_core_gpu = update_core_cpu


_WIDE, _NARROW = {"wide": True}, {"wide": False}
_TARGETS = tuple((0, *range(2, 2 + n)) for n in range(5))
_BLOCK = 16384       # elements; a rule's arrays and temporaries of one block stay in the cache


def update_blocks(op, arrays, numbers, attrs):
    """What ``apply_inplace`` does for a rule's op, on NumPy arrays, block by block: large temporaries would be slow.

    An op may bring ``inplace(p, g, *states, *numbers)``, which writes into its arrays and gives the same bits as the op's body.
    """
    inplace = None if attrs["wide"] else getattr(op, "inplace", None)
    size = arrays[0].size
    if size > _BLOCK and all(a.flags.c_contiguous for a in arrays):
        flat = [a.reshape(-1) for a in arrays]
        blocks = [[a[i:i + _BLOCK] for a in flat] for i in range(0, size, _BLOCK)]
    else:
        blocks = [arrays]
    for block in blocks:
        if inplace is not None:
            inplace(*block, *numbers)
            continue
        for k, y in zip(_TARGETS[len(arrays) - 2], op.forward(np, *block, *numbers, **attrs)):
            block[k][...] = y
