"""``TimerHook``: how long each operation takes."""
from hybridnn.function_hook import FunctionHook
from hybridnn.utils.call_timer import CallTimer

__all__ = ["TimerHook"]


class TimerHook(FunctionHook):
    """Times the operations inside its ``with`` block, forward and backward; ``print_report()`` shows a table.

    Attributes:
        call_history: pairs of an operation's name and seconds.
    """
    name = "TimerHook"

    def __init__(self):
        self._timer = CallTimer()

    @property
    def call_history(self):
        return self._timer.call_history

    def forward_preprocess(self, function, in_data):
        self._timer.start()

    def forward_postprocess(self, function, in_data):
        self._timer.stop(function._impl_name)

    def backward_preprocess(self, function, in_data, out_grad):
        self._timer.start()

    def backward_postprocess(self, function, in_data, out_grad):
        self._timer.stop(function._impl_name)

    def total_time(self):
        """Seconds in all operations."""
        return self._timer.total_time()

    def summary(self):
        """For each name a dict of ``elapsed_time`` and ``occurrence``."""
        return self._timer.summary()

    def print_report(self, unit="auto", file=None):
        """Print names, times and numbers of calls; see ``CallTimer.report`` for ``unit``."""
        self._timer.report("FunctionName", unit, file)
