"""``TimerHook``: how long each link takes."""
from hybridnn.link_hook import LinkHook
from hybridnn.utils.call_timer import CallTimer

__all__ = ["TimerHook"]


class TimerHook(LinkHook):
    """Times the forward of links; ``print_report()`` shows a table. A link's time includes that of the links inside.

    Attributes:
        call_history: pairs of a class name and seconds.
    """
    name = "TimerHook"

    def __init__(self):
        self._timer = CallTimer()

    @property
    def call_history(self):
        return self._timer.call_history

    def forward_preprocess(self, args):
        self._timer.start()

    def forward_postprocess(self, args):
        self._timer.stop(type(args.link).__name__)

    forward_failed = forward_postprocess

    def total_time(self):
        """Seconds in links that were not called by others."""
        return self._timer.total_time()

    def summary(self):
        """For each class name a dict of ``elapsed_time`` and ``occurrence``."""
        return self._timer.summary()

    def print_report(self, unit="auto", file=None):
        """Print names, times and numbers of calls; see ``CallTimer.report`` for ``unit``."""
        self._timer.report("LinkName", unit, file)
