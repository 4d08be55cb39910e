"""``ProgressBar``: how far training is."""
import datetime
import math

from hybridnn.training.extension import Extension
from hybridnn.training.extensions import util

__all__ = ["ProgressBar", "bar_line", "time_left"]


def bar_line(name, fraction, length):
    """One bar of ``length`` characters, as text."""
    marks = "#" * int(min(max(fraction, 0), 1) * length)
    return f"{name:>10} [{marks:.<{length}}] {fraction:6.2%}"


def time_left(amount, speed):
    """Time for ``amount`` at ``speed``, as text."""
    return str(datetime.timedelta(seconds=round(max(amount, 0) / speed))) if 0 < speed < math.inf else "unknown"


class ProgressBar(Extension):
    """Progress of training and of the epoch, speed, and time left.

    Args:
        training_length: pair such as ``(20, "epoch")``; None: what the stop trigger says.
        update_interval: iterations between drawings.
        bar_length: characters of a bar.
        out: where to write; default: standard output.
    """

    def __init__(self, training_length=None, update_interval=100, bar_length=50, out=None):
        self._training_length, self._update_interval = training_length, update_interval
        self._bar = _TrainerBar(bar_length, out)

    def __call__(self, trainer):
        if self._training_length is None:
            self._training_length = _length_of(trainer.stop_trigger)
        if trainer.updater.iteration % self._update_interval == 0:
            self._bar.trainer, self._bar.training_length = trainer, self._training_length
            self._bar.update()

    def finalize(self):
        self._bar.close()


def _length_of(stop_trigger):
    if not hasattr(stop_trigger, "get_training_length"):
        raise ValueError("the stop trigger does not say how long training takes\n  hint: ProgressBar(training_length=...)")
    return stop_trigger.get_training_length()


class _TrainerBar(util.ProgressBar):
    trainer = training_length = None

    def get_lines(self):
        updater, (length, unit) = self.trainer.updater, self.training_length
        iteration, epoch = updater.iteration, updater.epoch_detail
        iterations, epochs = self.update_speed(iteration, epoch)
        done, speed = (epoch, epochs) if unit == "epoch" else (iteration, iterations)
        return [bar_line("total", min(done / length, 1.0), self._bar_length) + "\n", bar_line("this epoch", epoch % 1, self._bar_length) + "\n",
                f"{iteration:10} iterations, {int(epoch)} epochs; {iterations:.5g} per second; {time_left(length - done, speed)} left\n"]
