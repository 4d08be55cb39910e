"""Changing an attribute of an optimizer, such as its learning rate, as training goes on.

Each class is a formula for the value after ``t`` calls. ``init`` is the value to start from (None: what the optimizer has),
``target`` the value to stop at, ``optimizer`` the optimizer (None: the updater's "main").
"""
from math import inf

from hybridnn._hyperparameter import Hyperparameter
from hybridnn.serializer import Serializer
from hybridnn.training.extension import Extension

__all__ = ["ExponentialShift", "InverseShift", "LinearShift", "MultistepShift", "PolynomialShift", "StepShift", "WarmupShift"]

_NONE = Hyperparameter()


def _value_of(optimizer, attr):
    if not hasattr(optimizer, attr):
        known = ", ".join(sorted(getattr(optimizer, "hyperparam", _NONE).get_dict()))
        raise AttributeError(f"{type(optimizer).__name__!r} object has no attribute {attr!r}\n  hint: its hyperparameters are {known or 'not known'}")
    return getattr(optimizer, attr)


class _Shift(Extension):
    """Sets ``attr`` to ``value(t)``; saves t and the last value, so that training can be resumed."""

    def __init__(self, attr, init=None, optimizer=None):
        self._attr, self._init, self._optimizer = attr, init, optimizer
        self._t, self._last_value = 0, None

    def value(self, t):
        """The value after t calls."""
        raise NotImplementedError(f"{type(self).__name__} defines no value")

    def initialize(self, trainer):
        optimizer = self._optimizer_of(trainer)
        if self._init is None:
            self._init = _value_of(optimizer, self._attr)
        self._set(optimizer, self.value(self._t) if self._last_value is None else self._last_value)

    def __call__(self, trainer):
        self._t += 1
        self._set(self._optimizer_of(trainer), self.value(self._t))

    def _set(self, optimizer, value):
        setattr(optimizer, self._attr, value)
        self._last_value = value

    def _optimizer_of(self, trainer):
        return self._optimizer or trainer.updater.get_optimizer("main")

    def serialize(self, serializer):
        self._t = int(serializer("_t", self._t))
        self._last_value = _number_or_none(serializer, "_last_value", self._last_value)
        self._init = _number_or_none(serializer, "_init", self._init)


def _number_or_none(serializer, name, value):
    """Save or load a value that files of Chainer's may lack; then it stays."""
    try:
        found = serializer(name, value)
    except KeyError:
        return value
    return None if found is None else float(found)


def _stop_at(value, target, rising):
    """``value`` until it passes ``target`` (None: never). Both may be negative: their ratio is what counts."""
    if target is None:
        return value
    ratio = value / target if target else inf       # towards 0: never there
    return target if (ratio > 1 if rising else ratio < 1) else value


class ExponentialShift(_Shift):
    """init rate^t

    Args:
        attr: name of the optimizer's attribute.
        rate: factor per call.
        init, target, optimizer: see the module.
    """

    def __init__(self, attr, rate, init=None, target=None, optimizer=None):
        if rate < 0:
            raise ValueError(f"the rate of ExponentialShift is not negative; got {rate}")
        super().__init__(attr, init, optimizer)
        self._rate, self._target = rate, target

    def value(self, t):
        return _stop_at(self._init * self._rate ** t, self._target, self._rate > 1)


class InverseShift(_Shift):
    """init (1 + gamma t)^-power

    Args:
        attr: name of the optimizer's attribute.
        gamma, power: of the formula.
        init, target, optimizer: see the module.
    """

    def __init__(self, attr, gamma, power, init=None, target=None, optimizer=None):
        if gamma < 0:
            raise ValueError(f"the gamma of InverseShift is not negative; got {gamma}")
        super().__init__(attr, init, optimizer)
        self._gamma, self._power, self._target = gamma, power, target

    def value(self, t):
        return _stop_at(self._init * (1 + self._gamma * t) ** -self._power, self._target, self._power < 0)


class LinearShift(_Shift):
    """The first value until the first time, the second from the second time on, a line between.

    Args:
        attr: name of the optimizer's attribute.
        value_range, time_range: pairs.
        optimizer: see the module.
    """

    def __init__(self, attr, value_range, time_range, optimizer=None):
        super().__init__(attr, value_range[0], optimizer)
        self._value_range, self._time_range = value_range, time_range

    def value(self, t):
        (v1, v2), (t1, t2) = self._value_range, self._time_range
        if t <= t1:
            return v1
        return v2 if t >= t2 else v1 + (v2 - v1) * (t - t1) / (t2 - t1)


class MultistepShift(_Shift):
    """init gamma^k, where k of the times in ``step_value`` are past.

    Args:
        attr: name of the optimizer's attribute.
        gamma: factor per step.
        step_value: ascending list of times.
        init, optimizer: see the module.
    """

    def __init__(self, attr, gamma, step_value, init=None, optimizer=None):
        super().__init__(attr, init, optimizer)
        self._gamma, self._step_value = gamma, step_value

    def value(self, t):
        return self._init * self._gamma ** self._steps(t)

    def _steps(self, t):
        return sum(t >= s for s in self._step_value)

    def serialize(self, serializer):
        super().serialize(serializer)
        if isinstance(serializer, Serializer):
            serializer("_current_step", self._steps(self._t))       # Chainer looks for it


class PolynomialShift(_Shift):
    """init (1 - t / max_count)^rate, zero from ``max_count`` on.

    Args:
        attr: name of the optimizer's attribute.
        rate, max_count: of the formula.
        init, target, optimizer: see the module.
    """

    def __init__(self, attr, rate, max_count, init=None, target=None, optimizer=None):
        super().__init__(attr, init, optimizer)
        self._rate, self._max_count, self._target = rate, max_count, target

    def value(self, t):
        return _stop_at(self._init * max(1 - t / self._max_count, 0) ** self._rate, self._target, self._rate < 0)


class StepShift(_Shift):
    """init gamma^floor(t / step)

    Args:
        attr: name of the optimizer's attribute.
        gamma: factor per step.
        step: calls per step.
        init, target, optimizer: see the module.
    """

    def __init__(self, attr, gamma, step, init=None, target=None, optimizer=None):
        super().__init__(attr, init, optimizer)
        self._gamma, self._step, self._target = gamma, step, target

    def value(self, t):
        return _stop_at(self._init * self._gamma ** (t // self._step), self._target, self._gamma > 1)


class WarmupShift(_Shift):
    """A line from ``warmup_start`` to ``init`` in ``warmup_iter`` calls; then the attribute is left alone.

    Args:
        attr: name of the optimizer's attribute.
        warmup_start: first value; None: what the optimizer has.
        warmup_iter: calls until ``init``.
        init: last value.
        optimizer: see the module.
    """

    def __init__(self, attr, warmup_start, warmup_iter, init, optimizer=None):
        super().__init__(attr, warmup_start, optimizer)
        self._warmup_iter, self._end = warmup_iter, init

    def value(self, t):
        done = t / self._warmup_iter if t < self._warmup_iter else 1
        return self._end * done + self._init * (1 - done)

    def __call__(self, trainer):
        if self._t < self._warmup_iter:
            super().__call__(trainer)
