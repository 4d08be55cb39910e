"""``TimerHook``: how long each link takes."""
from hybridnn.link_hook import LinkHook
from hybridnn.utils.call_timer import TimesCalls

__all__ = ["TimerHook"]


class TimerHook(TimesCalls, LinkHook):
    """Times the forward of links; ``print_report()`` shows a table. A link's time includes that of the links inside.

    Attributes:
        call_history: pairs of a class name and seconds.
    """
    name = "TimerHook"
    _title = "LinkName"

    def forward_preprocess(self, args):
        self._timer.start()

    def forward_postprocess(self, args):
        self._timer.stop(type(args.link).__name__)

    forward_failed = forward_postprocess
