"""Optimizers: hyperparameters, update rules (one per parameter), hooks, loss scaling. Names and order of events are Chainer v7's.

``optimizer.setup(link)`` gives every parameter an ``UpdateRule``; ``optimizer.update()`` calls hooks, then each rule.
Rules of the library write by ``apply_inplace`` only and never read an array, so that a whole step can be traced; rules of
users may work on plain arrays.
"""
import copy
import math
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np

from hybridnn import optimizer_hooks
from hybridnn.backend import cupy, is_array
from hybridnn.config import no_backprop_mode
from hybridnn.config import state as thread_state
from hybridnn.core import OPS, Parameter, Variable, apply, apply_inplace, elementwise, grouped_updates
from hybridnn.errors import BackendError
from hybridnn.initializers import NaN
from hybridnn.optimizer_hooks.decay import loss_scale_of
from hybridnn.serializer import Deserializer

__all__ = ["Counted", "GradientClipping", "GradientHardClipping", "GradientMethod", "GradientNoise", "Hookable", "Hyperparameter",
           "HyperparameterProxy", "Lasso", "OpRule", "Optimizer", "UpdateRule", "WeightDecay", "cast_into", "update_blocks"]


def _cast_samples(rng, dtype):
    yield (rng.normal(size=(2, 3)).astype(dtype), rng.normal(size=(2, 3)).astype("float32")), {"dtype": dtype}


@elementwise(samples=_cast_samples)
def cast_into(xp, target, x, *, dtype):
    """x in the dtype of ``target``, which it replaces: copies a float32 master back into its float16 parameter."""
    return x.astype(dtype)


def _has_array(param):
    return param._array is not None or param._pending is not None


def _dtype_of(param):
    """The dtype that a parameter has or will have; None if nothing tells."""
    if _has_array(param):
        return param.dtype
    own = getattr(getattr(param, "initializer", None), "dtype", None)
    return None if own is None else np.dtype(own)


# --------------------------------------------------------------------------------------------------------------------- hooks

class Hookable:
    """Named hooks in two queues, ``"pre"`` and ``"post"``, each called in order of registration.

    Args:
        warn_timing: warn of a hook whose ``timing`` attribute is unknown; it counts as ``"pre"``.
    """

    def __init__(self, warn_timing=False):
        self.queues = {"pre": OrderedDict(), "post": OrderedDict()}
        self.warn_timing = warn_timing

    def add(self, hook, name, timing):
        _check_callable(hook)
        timing = self._timing(hook, timing)
        name = name or getattr(hook, "name", None) or getattr(hook, "__name__", None)
        if name is None:
            raise ValueError(f"the hook {hook!r} has no name\n  hint: pass name=..., or give it an attribute `name`")
        if any(name in queue for queue in self.queues.values()):
            raise KeyError(f"a hook called {name!r} is there already\n  hint: remove_hook({name!r}) first, or pass another name")
        self.queues[timing][name] = hook

    def _timing(self, hook, timing):
        if timing not in ("pre", "post", "auto"):
            raise ValueError(f"timing is 'pre', 'post' or 'auto', not {timing!r}")
        if timing != "auto":
            return timing
        timing = getattr(hook, "timing", "pre")
        if timing in self.queues:
            return timing
        if self.warn_timing:
            warnings.warn(f"the hook's timing {timing!r} is neither 'pre' nor 'post'; it runs as 'pre'", stacklevel=4)
        return "pre"

    def remove(self, name):
        for queue in self.queues.values():
            if queue.pop(name, None) is not None:
                return
        known = ", ".join(n for queue in self.queues.values() for n in queue)
        raise KeyError(f"there is no hook called {name!r}; known: {known or 'none'}")

    def hooks(self, timing):
        if timing not in self.queues:
            raise ValueError(f"timing is 'pre' or 'post', not {timing!r}")
        return list(self.queues[timing].values())


def _check_callable(hook):
    if not callable(hook):
        raise TypeError(f"a hook is a callable, not {type(hook).__name__}")


# ----------------------------------------------------------------------------------------------------------- hyperparameters

class Hyperparameter:
    """Attributes with a parent to ask for those that are not set here: an optimizer's values are the defaults of its rules'."""

    def __init__(self, parent=None):
        self._parent = parent

    def __getattr__(self, name):
        parent = self.__dict__.get("_parent")
        if parent is None:
            known = ", ".join(sorted(k for k in self.__dict__ if k != "_parent"))
            raise AttributeError(f"no hyperparameter {name!r} here or in a parent (here: {known or 'none'})")
        return getattr(parent, name)

    def __repr__(self):
        return "Hyperparameter(" + ", ".join(f"{k}={v}" for k, v in sorted(self.get_dict().items())) + ")"

    @property
    def parent(self):
        """The Hyperparameter that provides the defaults, or None."""
        return self._parent

    def get_dict(self):
        """All values seen from here, as a new dict."""
        own = self.__dict__
        values = {} if own["_parent"] is None else own["_parent"].get_dict()
        if len(own) > 1:
            values.update(own)
            del values["_parent"]
        return values


class HyperparameterProxy:
    """An optimizer's attribute that stands for ``optimizer.hyperparam.<attr_name>``."""

    def __init__(self, attr_name):
        self._attr_name = attr_name
        self.__doc__ = f"Alias of ``self.hyperparam.{attr_name}``."

    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj.hyperparam, self._attr_name)

    def __set__(self, obj, value):
        setattr(obj.hyperparam, self._attr_name, value)


# -------------------------------------------------------------------------------------------------------------- update rules

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
        raise BackendError("ChainerX is not part of hybridnn\n  hint: define update_core, or update_core_cpu and update_core_gpu")

    def init_state(self, param):
        """Fill ``self.state`` for this parameter; called before the first update."""

    def _init_states(self, param):
        if self._state is None:
            self._state = {}
            self.init_state(param)
        if cupy is not None:
            _move_state(self._state, param.xp)

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


def _move_state(values, xp):
    """Bring the state's arrays to the module of the parameter's array."""
    for key, a in values.items():
        if is_array(a) and (xp is np) != isinstance(a, np.ndarray):
            values[key] = cupy.asnumpy(a) if xp is np else cupy.asarray(a)


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


# ---------------------------------------------------------------------------------------------------------------- optimizers

class Optimizer(Counted):
    """Base of all optimizers: a target link, hooks, counters, loss scaling.

    Attributes:
        target: the link whose parameters are updated; set by ``setup``.
        t: updates made so far.
        epoch: epochs begun so far (``new_epoch``).
        use_auto_new_epoch: an updater calls ``new_epoch`` itself.
    """
    target = None
    epoch = 0
    use_auto_new_epoch = False
    _hooks = None
    _loss_scale = None
    _loss_scale_max = 65504       # the largest float16
    _loss_scaling_is_dynamic = False
    _loss_scaling_isnan = False
    _loss_scaling_isnan_ever = False
    _loss_scaling_multiplier = 1.0

    def setup(self, link):
        """Take ``link`` as target and forget all earlier state; returns the optimizer."""
        if not callable(getattr(link, "namedparams", None)):
            raise TypeError(f"optimization target must be a link, not {type(link).__name__}\n  hint: optimizer.setup(model)")
        self.target = link
        self.t = 0
        self.epoch = 0
        self._hooks = Hookable(warn_timing=True)
        return self

    def update(self, lossfun=None, *args, **kwds):
        """Update the target's parameters, from their gradients or from ``lossfun(*args, **kwds)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def new_epoch(self, auto=False):
        """Count a new epoch. ``auto``: the caller is an updater, which has announced that by ``use_auto_new_epoch``."""
        if auto and not self.use_auto_new_epoch:
            raise RuntimeError("new_epoch(auto=True) without use_auto_new_epoch\n"
                               "  hint: the updater sets optimizer.use_auto_new_epoch = True first")
        if not auto and self.use_auto_new_epoch:
            raise RuntimeError("new_epoch was called although the updater does that\n"
                               "  hint: give the updater auto_new_epoch=False, or do not call new_epoch yourself")
        self.epoch += 1

    def _check_set_up(self):
        if self._hooks is None:
            raise RuntimeError(f"{type(self).__name__} has no target yet\n  hint: call optimizer.setup(link) first")

    def add_hook(self, hook, name=None, timing="auto"):
        """Call ``hook(optimizer)`` at each update, or ``hook(rule, param)`` for each parameter if ``hook.call_for_each_param``.

        Args:
            name: default ``hook.name``.
            timing: ``"pre"`` (before the update), ``"post"`` or ``"auto"`` (``hook.timing``, else before).
        """
        _check_callable(hook)
        self._check_set_up()
        self._hooks.add(hook, name, timing)

    def remove_hook(self, name):
        """Remove the hook of that name."""
        self._check_set_up()
        self._hooks.remove(name)

    def call_hooks(self, timing="pre"):
        """Call the hooks of one timing, in order of registration."""
        self._check_set_up()
        for hook in self._hooks.hooks(timing):
            self.call_hook(hook)

    def call_hook(self, hook):
        """Call one hook."""
        if not getattr(hook, "call_for_each_param", False):
            hook(self)
            return
        for param in self.target.params():
            hook(param.update_rule, param)

    def serialize(self, serializer):
        """Save or load the counters and every rule's state; the parameters themselves belong to the link."""
        self.t = serializer("t", self.t)
        self.epoch = serializer("epoch", self.epoch)
        for name, param in self.target.namedparams():
            if param.update_rule is not None:
                param.update_rule.serialize(serializer[name])

    # ---- loss scaling

    def loss_scaling(self, interval=1000, scale=None):
        """Multiply losses before backward and divide gradients after it, so that float16 gradients do not underflow.

        Args:
            interval: dynamic scaling doubles the scale about every ``interval`` steps once it has found the limit.
            scale: a fixed scale; None: dynamic (starts at 1, doubles each step until a gradient is not finite, halves then).
        """
        if scale is None:
            if interval < 1:
                raise ValueError(f"interval is at least 1, not {interval}")
            self._loss_scaling_is_dynamic = True
            self._loss_scale = 1.0
            self._loss_scaling_multiplier = math.pow(2.0, 1.0 / interval)
            self._loss_scaling_isnan_ever = False
            return
        if scale <= 0:
            raise ValueError(f"a loss scale is positive, not {scale}")
        self._loss_scale = scale

    def set_loss_scale(self, loss_scale):
        """Fix the loss scale."""
        self.loss_scaling(scale=loss_scale)

    def check_nan_in_grads(self):
        """Under dynamic loss scaling, look for gradients that are not finite."""
        self._loss_scaling_isnan = False
        if not self._loss_scaling_is_dynamic:
            return
        for name, param in self.target.namedparams(include_uninit=False):
            g = param.grad
            if g is not None and not param.xp.isfinite(g).all():
                self._loss_scaling_isnan = self._loss_scaling_isnan_ever = True
                warnings.warn(f"the gradient of {name} is not finite (iteration {self.t}, loss scale {self._loss_scale}); "
                              "this update is left out", stacklevel=3)

    def is_safe_to_update(self):
        """False if the last check found a gradient that is not finite."""
        return not self._loss_scaling_isnan

    def update_loss_scale(self):
        """Adapt a dynamic loss scale to what the last check found."""
        if not self._loss_scaling_is_dynamic:
            return
        factor = 0.5 if self._loss_scaling_isnan else self._loss_scaling_multiplier if self._loss_scaling_isnan_ever else 2.0
        self._loss_scale = max(1, min(self._loss_scale_max, self._loss_scale * factor))


class GradientMethod(Optimizer):
    """Base of the optimizers that need one gradient per update. A subclass defines ``create_update_rule``.

    Attributes:
        hyperparam: defaults of all its rules; ``HyperparameterProxy`` makes aliases.
    """
    _use_cleargrads = True

    def __init__(self):
        super().__init__()
        self.hyperparam = Hyperparameter()
        self._use_fp32_update = False

    def setup(self, link):
        super().setup(link)
        for param in link.params():
            param.update_rule = self.create_update_rule()
            if self._use_fp32_update:
                param.update_rule.use_fp32_update()
        return self

    def create_update_rule(self):
        """A new UpdateRule for one parameter."""
        raise NotImplementedError(f"{type(self).__name__} does not define create_update_rule")

    def reallocate_cleared_grads(self):
        """Give zeros to initialised parameters whose gradient is None: they still decay and move by momentum."""
        for param in self.target.params(False):
            if param.grad_var is None:
                with no_backprop_mode():
                    param.grad_var = apply(OPS["where"], (False, param, 0.0))

    def call_hook(self, hook):
        super().call_hook(hook)
        self.reallocate_cleared_grads()

    def update(self, lossfun=None, *args, **kwds):
        """Update all parameters, from the gradients that are there, or from those of the loss ``lossfun(*args, **kwds)``.

        With ``lossfun`` the gradients are cleared between its call and ``backward``.
        """
        if lossfun is not None:
            self._backward(lossfun(*args, **kwds))
        self._update_grouped()

    def _update_grouped(self):
        grouped_updates(self._update_all)

    def _update_all(self):
        self.reallocate_cleared_grads()
        self.check_nan_in_grads()
        self.call_hooks("pre")
        self.t += 1
        if self.is_safe_to_update():
            for param in self.target.params():
                param.update()
        if self._hooks is not None and self._hooks.queues["post"]:
            self.reallocate_cleared_grads()
        self.call_hooks("post")
        self.update_loss_scale()

    def _backward(self, loss):
        if self._use_cleargrads:
            self.target.cleargrads()
        else:
            for param in self.target.params():
                param._fill_grad()
        loss.backward(loss_scale=self._loss_scale)

    def use_cleargrads(self, use=True):
        """Whether ``update(lossfun)`` clears gradients (the default) or fills them with zeros. Deprecated, as in Chainer."""
        warnings.warn("use_cleargrads is deprecated: gradients are cleared anyway", DeprecationWarning, stacklevel=2)
        self._use_cleargrads = use

    def use_fp32_update(self, flag=True):
        """Update float16 parameters in a float32 copy."""
        self._use_fp32_update = flag
        if self.target is not None:
            for param in self.target.params():
                param.update_rule.use_fp32_update(flag)


# ---------------------------------------------------------------------------------------------------- Chainer's older names

def _deprecated(hook):
    def __init__(self, *args, **kwargs):
        warnings.warn(f"optimizer.{name} is deprecated: use optimizer_hooks.{name}", DeprecationWarning, stacklevel=2)
        hook.__init__(self, *args, **kwargs)
    name = hook.__name__
    return type(name, (hook,), {"__init__": __init__, "__doc__": f"Deprecated name of ``optimizer_hooks.{name}``."})


WeightDecay = _deprecated(optimizer_hooks.WeightDecay)
Lasso = _deprecated(optimizer_hooks.Lasso)
GradientClipping = _deprecated(optimizer_hooks.GradientClipping)
GradientNoise = _deprecated(optimizer_hooks.GradientNoise)
GradientHardClipping = _deprecated(optimizer_hooks.GradientHardClipping)
