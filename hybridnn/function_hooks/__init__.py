"""Function hooks: time every operation, or print what goes into it."""
from hybridnn.function_hooks.print_hook import PrintHook
from hybridnn.function_hooks.timer import TimerHook
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["PrintHook", "TimerHook"]

_open_paths(__name__, {"debug_print": "PrintHook"})
