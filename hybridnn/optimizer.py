"""Optimizers: update rules (one per parameter), hooks, loss scaling. Names and order of events are Chainer v7's.

``optimizer.setup(link)`` gives every parameter an ``UpdateRule``; ``optimizer.update()`` calls hooks, then each rule.
"""
import inspect
import math
import types

from hybridnn import optimizer_hooks
from hybridnn._hooks import Hookable, check_callable
from hybridnn._hyperparameter import Hyperparameter, HyperparameterProxy
from hybridnn._other_names import teach
from hybridnn._update_rule import Counted, OpRule, UpdateRule, cast_into, update_blocks
from hybridnn.backend import is_finite
from hybridnn.config import no_backprop_mode, warn
from hybridnn.core import OPS, apply, grouped_updates
from hybridnn.core.argument import unexpected_kwargs

__all__ = ["Counted", "GradientClipping", "GradientHardClipping", "GradientMethod", "GradientNoise", "Hookable", "Hyperparameter",
           "HyperparameterProxy", "Lasso", "OpRule", "Optimizer", "UpdateRule", "WeightDecay", "cast_into", "update_blocks"]


@teach
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

    def __new__(cls, *args, **kwargs):
        """``__init__`` does the work: here, what programs for PyTorch and Keras give is refused with a hint."""
        if (args or kwargs) and getattr(cls.__init__, "__module__", "").startswith("hybridnn.optimizers."):
            _check_hyperparameters(cls, inspect.getfullargspec(cls.__init__), args, kwargs)
        return super().__new__(cls)

    def setup(self, link):
        """Take ``link`` as target and forget all earlier state; returns the optimizer."""
        if isinstance(link, type) or not callable(getattr(link, "namedparams", None)):
            what, example = (f"the class {link.__name__}", f"{link.__name__}(...)") if isinstance(link, type) else (type(link).__name__, "model")
            raise TypeError(f"optimization target must be a link, not {what}\n  hint: optimizer.setup({example})")
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
        check_callable(hook)
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
            if g is not None and not is_finite(g):
                self._loss_scaling_isnan = self._loss_scaling_isnan_ever = True
                warn(f"the gradient of {name} is not finite (iteration {self.t}, loss scale {self._loss_scale}); "
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


_HINTS = {"lr": "the learning rate of Adam and its kind is called alpha", "learning_rate": "the learning rate is called lr, or alpha in Adam and its kind",
          "betas": "beta1 and beta2", "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps", "momentum": "MomentumSGD(lr, momentum)",
          "weight_decay": "weight_decay_rate of AdamW, or optimizer.add_hook(optimizer_hooks.WeightDecay(rate))"}


def _check_hyperparameters(cls, spec, args, kwargs):
    first = spec.args[1]
    texts = [f"{name}={value!r}" for name, value in (*zip(spec.args[1:], args, strict=False), *kwargs.items()) if isinstance(value, str)]
    if texts:
        raise TypeError(f"{cls.__name__} takes numbers, not texts: {', '.join(texts)}\n  hint: float(...)")
    if first in ("lr", "alpha", "rho") and args and (hasattr(args[0], "namedparams") or isinstance(args[0], (list, tuple, types.GeneratorType))):
        raise TypeError(f"{cls.__name__} takes hyperparameters, first {first}; got {type(args[0]).__name__}\n"
                        f"  hint: {cls.__name__}({first}=...).setup(model)")
    unknown = kwargs.keys() - {*spec.args, *spec.kwonlyargs}
    if unknown and spec.varkw is None:
        raise unexpected_kwargs(f"{cls.__name__}.__init__", unknown, _HINTS)


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
        if self.target is None:
            self._check_set_up()
        if lossfun is not None:
            try:
                loss = lossfun(*args, **kwds)
            except TypeError:
                if callable(lossfun):
                    raise
                raise TypeError(f"update takes a function that computes a loss, not {type(lossfun).__name__}\n"
                                "  hint: loss.backward(), then optimizer.update()") from None
            self._backward(loss)
            del loss        # its graph is not held over the update
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
        if loss is None:
            raise TypeError("the function that computes the loss returns None\n  hint: return loss")
        if self._use_cleargrads:
            self.target.cleargrads()
        else:
            for param in self.target.params():
                param._fill_grad()
        loss.backward(loss_scale=self._loss_scale)

    def use_cleargrads(self, use=True):
        """Whether ``update(lossfun)`` clears gradients (the default) or fills them with zeros. Deprecated, as in Chainer."""
        warn("use_cleargrads is deprecated: gradients are cleared anyway", DeprecationWarning, stacklevel=2)
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
        warn(f"optimizer.{name} is deprecated: use optimizer_hooks.{name}", DeprecationWarning, stacklevel=2)
        hook.__init__(self, *args, **kwargs)
    name = hook.__name__
    return type(name, (hook,), {"__init__": __init__, "__doc__": f"Deprecated name of ``optimizer_hooks.{name}``."})


WeightDecay = _deprecated(optimizer_hooks.WeightDecay)
Lasso = _deprecated(optimizer_hooks.Lasso)
GradientClipping = _deprecated(optimizer_hooks.GradientClipping)
GradientNoise = _deprecated(optimizer_hooks.GradientNoise)
GradientHardClipping = _deprecated(optimizer_hooks.GradientHardClipping)
