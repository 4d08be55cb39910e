"""``TimerHook``: how long each operation takes."""
from hybridnn.function_hook import FunctionHook
from hybridnn.utils.call_timer import TimesCalls

__all__ = ["TimerHook"]


class TimerHook(TimesCalls, FunctionHook):
    """Times the operations inside its ``with`` block, forward and backward; ``print_report()`` shows a table.

    Attributes:
        call_history: pairs of an operation's name and seconds.
    """
    name = "TimerHook"
    _title = "FunctionName"

    def forward_preprocess(self, function, in_data):
        self._timer.start()

    def forward_postprocess(self, function, in_data):
        self._timer.stop(function._impl_name)

    def backward_preprocess(self, function, in_data, out_grad):
        self._timer.start()

    def backward_postprocess(self, function, in_data, out_grad):
        self._timer.stop(function._impl_name)
