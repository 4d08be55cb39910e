"""Progress bars on the terminal."""
import collections
import datetime
import sys
import time

from hybridnn.training.extension import Extension

__all__ = ["Bar", "IteratorBar", "ProgressBar"]


class Bar:
    """Lines that are written over each other; a subclass defines ``lines()``.

    Args:
        length: characters of a bar.
        out: where to write; None: standard output at the time of writing.
    """

    def __init__(self, length=50, out=None):
        self.length, self._out, self._height = length, out, 0
        self._history = collections.deque(maxlen=100)

    @property
    def out(self):
        return sys.stdout if self._out is None else self._out

    def speed(self, iteration, epoch):
        """Iterations and epochs per second over the last updates."""
        now = time.perf_counter()
        self._history.append((iteration, epoch, now))
        first = self._history[0]
        seconds = now - first[2]
        return ((iteration - first[0]) / seconds, (epoch - first[1]) / seconds) if seconds > 0 else (0.0, 0.0)

    def line(self, name, fraction):
        """One bar."""
        marks = "#" * int(min(max(fraction, 0), 1) * self.length)
        return f"{name:>10} [{marks:.<{self.length}}] {fraction:6.2%}"

    def remaining(self, amount, speed):
        """Time for ``amount`` at ``speed``, as text."""
        return "unknown" if speed <= 0 else str(datetime.timedelta(seconds=round(max(amount, 0) / speed)))

    def lines(self):
        raise NotImplementedError(f"{type(self).__name__} defines no lines")

    def update(self):
        """Draw anew."""
        self.erase()
        text = self.lines()
        self.out.write("".join(line + "\n" for line in text))
        self._height = len(text)
        self.out.flush()

    def erase(self):
        """Remove what was drawn: cursor up, and clear to the end of the screen."""
        if self._height:
            self.out.write(f"\033[{self._height}A\033[J")
            self._height = 0

    def close(self):
        """Remove the bar."""
        self.erase()
        self.out.flush()


class IteratorBar(Bar):
    """The progress of an iterator through its dataset."""

    def __init__(self, iterator, length=50, out=None):
        super().__init__(length, out)
        self.iterator = iterator

    def lines(self):
        it = self.iterator
        _, epochs = self.speed(it.current_position, it.epoch_detail)
        left = self.remaining(1 - it.epoch_detail, epochs)
        return [self.line("validation", it.epoch_detail), f"{it.current_position:10} examples; {left} left"]


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


class _TrainerBar(Bar):
    trainer = training_length = None

    def lines(self):
        updater, (length, unit) = self.trainer.updater, self.training_length
        iteration, epoch = updater.iteration, updater.epoch_detail
        iterations, epochs = self.speed(iteration, epoch)
        done, speed = (epoch, epochs) if unit == "epoch" else (iteration, iterations)
        left = self.remaining(length - done, speed)
        return [self.line("total", done / length), self.line("this epoch", epoch % 1),
                f"{iteration:10} iterations, {int(epoch)} epochs; {iterations:.5g} per second; {left} left"]
