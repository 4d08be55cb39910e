"""Triggers that go by a reported value."""
import operator
import warnings

from hybridnn.reporter import DictSummary
from hybridnn.training.triggers.schedule import get_trigger

__all__ = ["BestValueTrigger", "EarlyStoppingTrigger", "MaxValueTrigger", "MinValueTrigger"]


class _Mean:
    """The mean of one reported value between events of a trigger."""

    def __init__(self, key, trigger):
        self.key, self.trigger, self.summary = key, get_trigger(trigger), DictSummary()

    def __call__(self, trainer):
        """The mean if the trigger fires and there is one, else None."""
        if self.key in trainer.observation:
            self.summary.add({self.key: trainer.observation[self.key]})
        if not self.trigger(trainer):
            return None
        means, self.summary = self.summary.compute_mean(), DictSummary()
        if self.key not in means:
            known = ", ".join(sorted(trainer.observation)) or "nothing"
            warnings.warn(f"{self.key} has not been reported (but {known}), so the trigger does not fire", stacklevel=4)
            return None
        return float(means[self.key])

    def serialize(self, serializer):
        if hasattr(self.trigger, "serialize"):
            self.trigger.serialize(serializer["interval_trigger"])
        self.summary.serialize(serializer["summary"])


class BestValueTrigger:
    """Fires when the mean of a value over an interval is better than ever before.

    Args:
        key: name of the reported value.
        compare: ``compare(best, value)`` tells whether the value is better.
        trigger: the interval.
    """

    def __init__(self, key, compare, trigger=(1, "epoch")):
        self._mean, self._compare, self._best_value = _Mean(key, trigger), compare, None

    def __call__(self, trainer):
        value = self._mean(trainer)
        if value is None or not (self._best_value is None or self._compare(self._best_value, value)):
            return False
        self._best_value = value
        return True

    def serialize(self, serializer):
        """Save or load the best value and the interval."""
        self._mean.serialize(serializer)
        best = serializer("best_value", self._best_value)
        self._best_value = None if best is None else float(best)


class MaxValueTrigger(BestValueTrigger):
    """Fires when the mean of a value over an interval is greater than ever before."""

    def __init__(self, key, trigger=(1, "epoch")):
        super().__init__(key, operator.lt, trigger)


class MinValueTrigger(BestValueTrigger):
    """Fires when the mean of a value over an interval is less than ever before."""

    def __init__(self, key, trigger=(1, "epoch")):
        super().__init__(key, operator.gt, trigger)


class EarlyStoppingTrigger:
    """A stop trigger that fires when a value has not become better for some time.

    Args:
        check_trigger: how often to compare.
        monitor: name of the reported value.
        patience: comparisons without improvement before it fires (default 3); ``patients`` is an old name of it.
        mode: ``"max"``, ``"min"``, or ``"auto"`` (max if the name has "accuracy" in it).
        verbose: print when it stops.
        max_trigger: when to stop in any case.
    """

    def __init__(self, check_trigger=(1, "epoch"), monitor="main/loss", patience=None, mode="auto", verbose=False,
                 max_trigger=(100, "epoch"), *, patients=None):
        if mode not in ("auto", "max", "min"):
            raise ValueError(f"mode is 'auto', 'max' or 'min', not {mode!r}")
        if patience is not None and patients is not None:
            raise TypeError("patients is Chainer's old name of patience; give one of them")
        self.monitor, self.verbose, self.count = monitor, verbose, 0
        self.patience = next((n for n in (patience, patients) if n is not None), 3)
        self._mean, self._max_trigger = _Mean(monitor, check_trigger), get_trigger(max_trigger)
        self._sign = 1 if mode == "max" or (mode == "auto" and "accuracy" in monitor) else -1
        self.best = -self._sign * float("inf")

    def __call__(self, trainer):
        value = self._mean(trainer)
        if self._max_trigger(trainer):
            return True
        if value is None:
            return False
        if self._sign * value > self._sign * self.best:
            self.best, self.count = value, 0
        else:
            self.count += 1
        if self.count >= self.patience and self.verbose:
            print(f"epoch {trainer.updater.epoch}: {self.monitor} did not beat {self.best} in {self.count} checks; stopping")
        return self.count >= self.patience

    def get_training_length(self):
        """Longest training, for progress bars."""
        return self._max_trigger.get_training_length()

    def serialize(self, serializer):
        """Save or load the best value and the counts; Chainer's snapshots have none of them, so it starts anew."""
        try:
            self.best, self.count = float(serializer("best", self.best)), int(serializer("count", self.count))
        except KeyError:
            warnings.warn(f"the snapshot has no state of the early stopping by {self.monitor}; it starts anew", stacklevel=2)
            return
        self._mean.serialize(serializer)
        if hasattr(self._max_trigger, "serialize"):
            self._max_trigger.serialize(serializer["max_trigger"])
