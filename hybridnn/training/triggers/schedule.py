"""Triggers that go by time: iterations, epochs, seconds."""
import warnings

__all__ = ["IntervalTrigger", "ManualScheduleTrigger", "OnceTrigger", "TimeTrigger", "get_trigger"]


def get_trigger(trigger):
    """A trigger as it is, a pair ``(period, "epoch" or "iteration")`` as ``IntervalTrigger``, None as one that never fires."""
    if trigger is None:
        return _never
    if callable(trigger):
        return trigger
    if not isinstance(trigger, (tuple, list)):
        raise TypeError(f"a trigger is a pair such as (3, 'epoch'), a function of the trainer, or None; got {trigger!r}")
    return IntervalTrigger(*trigger)


def _never(trainer):
    return False


def _load(serializer, name, value, kind, otherwise, then):
    """An entry as ``kind``; a warning and ``otherwise`` if the snapshot, one of Chainer's early versions, has none."""
    try:
        return kind(serializer(name, value))
    except KeyError:
        warnings.warn(f"the snapshot has no {name!r} of the trigger; {then}", stacklevel=3)
        return otherwise


class _Clock:
    """Time in iterations or epochs since the last look, which may be several iterations ago; negative if nothing tells it."""

    def __init__(self, unit):
        if unit not in ("epoch", "iteration"):
            raise ValueError(f"a trigger counts by 'epoch' or 'iteration', not {unit!r}")
        self.unit = unit
        self._previous_iteration, self._previous_epoch_detail = 0, 0.0

    def _look(self, trainer):
        """The time at the last look and now."""
        updater = trainer.updater
        before = self._previous_epoch_detail if self.unit == "epoch" else self._previous_iteration
        if before < 0:
            before = updater.previous_epoch_detail if self.unit == "epoch" else updater.iteration - 1
        self._previous_iteration = updater.iteration
        self._previous_epoch_detail = getattr(updater, "epoch_detail", self._previous_epoch_detail)
        return before, self._previous_epoch_detail if self.unit == "epoch" else self._previous_iteration

    def serialize(self, serializer):
        """Save or load the time of the last look."""
        then = "it counts from the iteration before its next call"
        self._previous_iteration = _load(serializer, "previous_iteration", self._previous_iteration, int, -1, then)
        self._previous_epoch_detail = _load(serializer, "previous_epoch_detail", self._previous_epoch_detail, float, -1.0, then)


class IntervalTrigger(_Clock):
    """Fires each time another ``period`` of iterations or epochs is complete.

    Args:
        period: a number; fractions of an epoch are fine.
        unit: ``"iteration"`` or ``"epoch"``.
    """

    def __init__(self, period, unit):
        super().__init__(unit)
        if period <= 0:
            raise ValueError(f"a period is positive, not {period}")
        self.period, self.count = period, 0

    def __call__(self, trainer):
        before, now = self._look(trainer)
        self.count = now // self.period
        return before // self.period != now // self.period

    def get_training_length(self):
        """Period and unit, for progress bars."""
        return self.period, self.unit

    def __str__(self):
        return f"{type(self).__name__}({self.period}, '{self.unit}')"


class ManualScheduleTrigger(_Clock):
    """Fires at given iterations or epochs.

    Args:
        points: number or list of numbers.
        unit: ``"iteration"`` or ``"epoch"``.

    Attributes:
        finished: whether the last point is past.
    """

    def __init__(self, points, unit):
        super().__init__(unit)
        self.points = points if isinstance(points, list) else [points]
        self.finished = False

    def __call__(self, trainer):
        before, now = self._look(trainer)
        self.finished = self.finished or all(p <= now for p in self.points)
        return any(before < p <= now for p in self.points)

    def serialize(self, serializer):
        super().serialize(serializer)
        self.finished = _load(serializer, "finished", self.finished, bool, False, "its next call tells whether it is finished")


class OnceTrigger:
    """Fires the first time it is asked.

    Args:
        call_on_resume: fire once more after loading a snapshot.
    """

    def __init__(self, call_on_resume=False):
        self._first, self._resumed = True, call_on_resume

    @property
    def finished(self):
        """Whether it will not fire any more."""
        return not (self._first or self._resumed)

    def __call__(self, trainer):
        fire = not self.finished
        self._first = self._resumed = False
        return fire

    def serialize(self, serializer):
        """Save or load whether it has fired."""
        self._first = _load(serializer, "_flag_first", self._first, bool, False, "it counts as fired")


class TimeTrigger:
    """Fires when ``period`` seconds have passed since it last fired."""

    def __init__(self, period):
        self._period, self._next_time = period, period

    def __call__(self, trainer):
        if self._next_time >= trainer.elapsed_time:
            return False
        self._next_time += self._period
        return True

    def serialize(self, serializer):
        """Save or load the time of the next event."""
        self._next_time = float(serializer("next_time", self._next_time))
