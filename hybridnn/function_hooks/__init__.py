"""Function hooks: time every operation, or print what goes into it."""
from hybridnn.function_hooks.print_hook import PrintHook
from hybridnn.function_hooks.timer import TimerHook

__all__ = ["PrintHook", "TimerHook"]
